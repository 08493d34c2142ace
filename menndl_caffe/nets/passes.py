"""At which iterations Caffe tests (`Solver::Step` and `Solver::Solve`, `solver.cpp`)."""
from __future__ import annotations

from typing import Any, Set


def test_iterations(parameter: Any) -> Set[int]:
    """Of a SolverParameter: the numbers of iterations after which a test pass is due."""
    interval, max_iter = parameter.test_interval, parameter.max_iter
    regular = range(0 if parameter.test_initialization else interval, max_iter, interval) if interval else ()
    return {*regular, max_iter}
