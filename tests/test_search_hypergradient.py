"""HYPERGRADIENT as a search: where its descents go, when they end, and what a gradient that fails does to them."""
from __future__ import annotations

import math
from itertools import count
from typing import Dict, List, Optional

import numpy as np
import pytest

from menndl_caffe.genome import Genome, RealGene, SearchSpace
from menndl_caffe.nets.proto import menndl_pb2
from menndl_caffe.search import KINDS, Problem, make
from menndl_caffe.search.descents import Descent
from menndl_caffe.search.hypergradient import Hypergradient
from menndl_caffe.trial import DIVERGED, HYPERGRADIENT, OK, Result, Trial

SPACE = SearchSpace((RealGene("decay", 1e-6, 1.0, True, 1e-5), RealGene("momentum", 0.0, 0.99, False, 0.1)))
BEST = {"decay": math.log(3e-3), "momentum": 0.7}  # in the genes' own scales


def made(**settings: object) -> Hypergradient:
    ids = count(1)
    message = menndl_pb2.SearchParameter(type="HYPERGRADIENT")
    message.hypergradient_param.CopyFrom(menndl_pb2.HypergradientParameter(**settings))
    search = make(message, Problem(SPACE, 5, lambda genome, generation: Trial(next(ids), genome, 7, 10, generation)))
    assert isinstance(search, Hypergradient)
    return search


def scaled(genome: Genome) -> Dict[str, float]:
    decay, momentum = (float(value) for value in genome.values)
    return {"decay": math.log(decay), "momentum": momentum}


def told(trial: Trial, steepness: float = 1.0) -> Result:
    """A bowl: a hundred times as steep in momentum as in decay, and `steepness` times all of it."""
    at = scaled(trial.genome)
    off = {name: at[name] - BEST[name] for name in BEST}
    loss = 0.01 * off["decay"] ** 2 + off["momentum"] ** 2
    gradient = {"decay": 0.02 * off["decay"] * steepness, "momentum": 2 * off["momentum"] * steepness}
    return Result(trial.id, OK, 0.5, loss, gradient=gradient)


def asked(search: Hypergradient) -> Trial:
    trial = search.ask()
    assert trial is not None and trial.program == HYPERGRADIENT
    return trial


def losses(search: Hypergradient, trials: int, steepness: float = 1.0) -> List[float]:
    found = []
    for _ in range(trials):
        trial = asked(search)
        result = told(trial, steepness)
        found.append(result.loss or 0.0)
        search.tell(trial, result)
    return found


def test_it_goes_down_to_the_bottom() -> None:
    found = losses(made(), 30)
    assert min(found[:15]) < 0.02 * found[0] and min(found) < 1e-3 * found[0]


def test_the_gradient_s_length_does_not_matter() -> None:
    assert losses(made(), 20) == losses(made(), 20, 1e-9) == losses(made(), 20, 1e9)


def test_the_first_descent_begins_at_the_default_and_others_anywhere() -> None:
    search = made(starts=3)
    trials = [asked(search) for _ in range(3)]
    assert trials[0].genome == SPACE.default and len({trial.genome for trial in trials}) == 3
    assert search.ask() is None, "each waits for its result"
    search.tell(trials[1], told(trials[1]))
    after = asked(search)
    moved = np.abs(np.subtract(SPACE.to_unit(after.genome), SPACE.to_unit(trials[1].genome)))
    assert moved == pytest.approx([0.1, 0.1], abs=1e-5) and search.ask() is None


def test_a_gradient_that_may_not_be_trusted_is_not_used() -> None:
    """Whatever the loss is: the descent goes back, or where it had none before another one begins."""
    search = made()
    first = asked(search)
    search.tell(first, told(first))
    second = asked(search)
    search.tell(second, Result(second.id, OK, 0.9, 0.0, gradient_by={"distrust": "it grew"}))
    points = [np.array(SPACE.to_unit(trial.genome)) for trial in (first, second, asked(search))]
    assert points[2] == pytest.approx((points[0] + points[1]) / 2, abs=1e-5)
    search = made()
    trial = asked(search)
    search.tell(trial, Result(trial.id, OK, 0.9, 0.1, gradient_by={"distrust": "it grew"}))
    other = asked(search)
    assert other.descent == 1
    assert np.abs(np.subtract(SPACE.to_unit(other.genome), SPACE.to_unit(trial.genome))).max() > 0.11


def test_a_descent_that_stands_still_makes_room_for_another() -> None:
    """At a corner to which the gradient points, at the bottom, and where the first trial of all fails."""
    corner = SPACE.genome((1e-6, 0.0))
    for result in (Result(1, OK, 0.5, 1.0, gradient={"decay": 1.0, "momentum": 2.0}),
                   Result(1, OK, 0.5, 1.0, gradient={"decay": 0.0, "momentum": 0.0}), Result(1, DIVERGED)):
        search = Hypergradient(Problem(SPACE, 1, lambda genome, _: Trial(1, genome, 7, 10), first=[corner]),
                               menndl_pb2.HypergradientParameter())
        trial = asked(search)
        assert trial.genome == corner
        search.tell(trial, result)
        assert asked(search).genome == SPACE.default, "the next that there is to begin with"


def test_failures_lead_back() -> None:
    """Half of the way each time, and slower from then on."""
    descent = Descent(np.array([0.5, 0.5]), np.array([0.2, 0.1]))
    descent.learn(np.array([1.0, -1.0]))
    assert descent.point == pytest.approx([0.3, 0.6])
    descent.go_back()
    assert descent.point == pytest.approx([0.4, 0.55]) and descent.sizes == pytest.approx([0.1, 0.05])
    descent.go_back()
    assert descent.point == pytest.approx([0.45, 0.525]) and not descent.is_over
    for _ in range(8):
        descent.go_back()
    assert descent.is_over


def test_steps_grow_and_shrink() -> None:
    """By hand: u = 0.5, s = 0.1; the first gene keeps its sign, the second turns, then keeps it."""
    descent = Descent(np.array([0.5, 0.5]), np.array([0.1, 0.1]))
    descent.learn(np.array([-1.0, -1.0]))
    assert descent.point == pytest.approx([0.6, 0.6])
    descent.learn(np.array([-1.0, 1.0]))
    assert descent.sizes == pytest.approx([0.12, 0.05]) and descent.point == pytest.approx([0.72, 0.55])
    descent.learn(np.array([-1.0, 1.0]))
    assert descent.sizes == pytest.approx([0.144, 0.06]) and descent.point == pytest.approx([0.864, 0.49])
    descent.learn(np.array([-1.0, 0.0]))
    assert descent.sizes == pytest.approx([0.1728, 0.06]) and descent.point == pytest.approx([1.0, 0.49])


def test_a_turn_beside_a_gene_at_its_bound_is_no_end() -> None:
    descent = Descent(np.array([0.0, 0.5]), np.array([0.1, 0.1]))
    for second in (-0.5, 0.25, -0.1, 0.1):
        descent.take(Result(1, OK, 0.5, 1.0, gradient={"decay": 3.0, "momentum": second}), ["decay", "momentum"])
        assert not descent.is_over and descent.point[0] == 0
    assert descent.point[1] == pytest.approx(0.5 + 0.1 - 0.05 + 0.025 - 0.0125)


@pytest.mark.parametrize(("method", "expected"), [
    ("UNROLLED", [None] * 4), ("IMPLICIT", [1e-3] * 4), ("HOAG", [4e-3, 2e-3, 1e-3, 1e-3])])
def test_tolerances(method: str, expected: List[Optional[float]]) -> None:
    search = made(method=method, tolerance=1e-3, first_tolerance=4e-3)
    found = []
    for _ in expected:
        trial = asked(search)
        found.append(trial.tolerance)
        search.tell(trial, told(trial))
    assert found == expected


def test_bad_settings() -> None:
    def wrong(**settings: object) -> List[str]:
        return [field for field, *_ in KINDS["HYPERGRADIENT"].check(menndl_pb2.HypergradientParameter(**settings))]

    assert wrong() == []
    assert wrong(starts=0, step=0, tolerance=1e-7) == ["starts", "step", "tolerance"]
    assert wrong(step=1.1, first_tolerance=1, tolerance=math.nan) == ["step", "tolerance", "first_tolerance"]
