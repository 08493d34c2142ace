"""Which races there are, and running them side by side; each that ends is a line of a file, and is not run again."""
from __future__ import annotations

import json
import multiprocessing
import os
import traceback
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Dict, Iterable, Iterator, List

from tests.bench.searches import environments
from tests.bench.searches.methods import contestant
from tests.bench.searches.problems import landscape
from tests.bench.searches.race import Race

# Clocks: durations drawn by a hash of the genome, or the table's train_time where it has one.
LOG_NORMAL, TABLE = "log-normal", "table"


@dataclass(frozen=True)
class Spec:
    """A race. The instance is also the seed of the search."""

    problem: str
    instance: int
    method: str
    slots: int
    budget: int
    clock: str = LOG_NORMAL


def run(spec: Spec) -> Dict[str, Any]:
    """The race's line: the spec, the outcome, the version of the tool; `error` instead where it broke."""
    try:
        ground = landscape(spec.problem, spec.instance)
        duration = ground.train_time if spec.clock == TABLE and ground.train_time else ground.log_normal
        with closing(contestant(spec.method, ground, spec.instance, spec.slots, spec.budget)) as searching:
            outcome = asdict(Race(ground, searching, spec.slots, spec.budget, duration).run())
            outcome["regrets"] = [None if regret is None else round(regret, 6) for regret in outcome["regrets"]]
            return {**asdict(spec), "version": searching.version, **outcome}
    except RuntimeError as error:  # a peer ended
        return {**asdict(spec), "error": str(error)}
    except Exception:  # of ours: the other races go on
        return {**asdict(spec), "error": traceback.format_exc()}


def read(path: Path) -> List[Dict[str, Any]]:
    """The lines of a file, whose last may be broken off."""
    if not path.exists():
        return []
    lines = []
    for line in path.read_text().splitlines():
        try:
            lines.append(json.loads(line))
        except ValueError:
            continue
    return lines


def spec_of(line: Dict[str, Any]) -> Spec:
    """Of which race a line is."""
    return Spec(**{name: line[name] for name in Spec.__dataclass_fields__})


def run_all(specs: Iterable[Spec], path: Path, workers: int) -> Iterator[Dict[str, Any]]:
    """Run what the file has not, each in a process of its own with one thread; the lines as they come."""
    done = {spec_of(line) for line in read(path) if "error" not in line}
    os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1"))
    path.parent.mkdir(parents=True, exist_ok=True)
    pools = multiprocessing.get_context("spawn")
    with pools.Pool(workers, _begin, (environments.FOLDER,), maxtasksperchild=1) as pool, path.open("a") as file:
        file.write("" if _ends_well(path) else "\n")
        for line in pool.imap_unordered(run, [spec for spec in specs if spec not in done]):
            file.write(json.dumps(line) + "\n")
            file.flush()
            yield line


def _begin(folder: Path) -> None:
    environments.FOLDER = folder


def _ends_well(path: Path) -> bool:
    return not path.stat().st_size or path.read_bytes().endswith(b"\n")
