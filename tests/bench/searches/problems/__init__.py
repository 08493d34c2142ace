"""What is raced on; `PROBLEMS` has the makers by name: make(name, instance) -> Landscape."""
from __future__ import annotations

from typing import Callable, Dict

from tests.bench.searches.problems import cifar10_quick, synthetic, tables
from tests.bench.searches.problems.landscape import Landscape

PROBLEMS: Dict[str, Callable[[str, int], Landscape]] = {
    "cifar10_quick": cifar10_quick.make,
    **{name: tables.make for name in tables.TABLES},
    **{name: synthetic.make for name in synthetic.SPACES},
}


def landscape(name: str, instance: int) -> Landscape:
    """An instance of a problem, 0 or more."""
    return PROBLEMS[name](name, instance)


__all__ = ["PROBLEMS", "Landscape", "landscape"]
