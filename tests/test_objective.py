"""What is optimized: costs, the order of individuals, and the front against its definition."""
from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import Any, List, Optional, Tuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from menndl_caffe.experiment.recorded import Run
from menndl_caffe.genome import Genome
from menndl_caffe.objective import Objective, costs, curve_measure, front, hypervolume, measured, translated
from menndl_caffe.record import Record
from menndl_caffe.trial import CRASHED, OK, Result, Trial
from tests.support import mixed_run

ACCURACY, LOSS, SIZE = Objective(), Objective("loss", True), Objective("parameters", True)
Points = List[Tuple[float, ...]]
# Few values, so that equals and ties in one objective are frequent.
POINTS = st.integers(1, 4).flatmap(lambda n: st.lists(st.tuples(*[st.integers(0, 4)] * n), max_size=25))


def non_dominated(points: Points) -> List[int]:
    """By the definition, word for word."""
    return [i for i, point in enumerate(points)
            if not any(all(a <= b for a, b in zip(other, point)) and any(a < b for a, b in zip(other, point))
                       for other in points)]


@given(POINTS)
def test_the_front_is_who_no_other_dominates(points: Points) -> None:
    assert front(points) == non_dominated(points)


@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), min_size=1, max_size=15))
def test_hypervolume_counts_the_squares_that_are_dominated(points: Points) -> None:
    xs, ys = (sorted(axis) for axis in zip(*points))
    squares = [(x, y) for x, y in product(range(xs[0], xs[-1]), range(ys[0], ys[-1]))]  # by their lower corners
    share = hypervolume(points)
    if not squares:
        assert share is None
    else:
        dominated = sum(any(a <= x and b <= y for a, b in points) for x, y in squares)
        assert share == pytest.approx(dominated / len(squares))


OUTCOMES = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3), st.booleans(), st.integers(0, 5)), max_size=20)
SEARCH = mixed_run.SEARCH.format(folder=".", generations=1).replace("ga_param { population: 4 generations: 1 }",
                                                                    'type: "RANDOM" limit { trials: 9 }')


def run_of(outcomes: Any, objectives: str) -> Run:
    """A run of these losses, sizes, failures and genomes."""
    record = Record({"search": SEARCH + objectives, "engine": "caffe", "started": 0.0})
    for id, (loss, size, failed, genome) in enumerate(outcomes):
        record.trials[id] = Trial(id, Genome(mixed_run.NAMES, (2 + 4 * genome, 0.001, 0.5, "MAX", "no")), 1, 10)
        record.results[id] = Result(id, CRASHED, reason="dead", measures={"parameters": size}) if failed else \
            Result(id, OK, loss, loss, measures={"parameters": size})
    return Run(Path("run"), record)


@given(OUTCOMES)
def test_a_runs_front_has_different_individuals_and_no_failures(outcomes: Any) -> None:
    run = run_of(outcomes, 'objective { measure: "loss" minimize: true }\n'
                           'objective { measure: "parameters" minimize: true }\n')
    points = {id: (loss, size) for id, (loss, size, failed, _) in enumerate(outcomes) if not failed}
    best = [list(points)[place] for place in non_dominated(list(points.values()))]
    found = [trial.id for trial, _ in run.front()]
    assert set(found) <= set(best)
    assert {outcomes[id][3] for id in found} == {outcomes[id][3] for id in best}, "a genome was lost"
    assert len({outcomes[id][3] for id in found}) == len(found)
    assert found == sorted(found, key=lambda id: (points[id][0], id))


def test_of_results_of_one_genome_the_fittest_stands_for_it() -> None:
    run = run_of([(1, 1, False, 0), (0, 3, False, 0), (1, 1, False, 2)],
                 'objective { measure: "loss" minimize: true }\nobjective { measure: "parameters" minimize: true }\n')
    assert [trial.id for trial, _ in run.front()] == [1, 2]


@given(OUTCOMES)
def test_the_best_has_the_least_loss_and_the_failed_come_last(outcomes: Any) -> None:
    record = run_of(outcomes, "").record
    ranked = [id for id, _ in sorted(((id, result) for id, result in record.results.items()),
                                     key=lambda pair: (pair[1].failed, pair[1].fitness, pair[0]))]
    firsts = [id for place, id in enumerate(ranked) if outcomes[id][3] not in [outcomes[i][3] for i in ranked[:place]]]
    assert [trial.id for trial, _ in record.best(len(outcomes), LOSS)] == firsts


@pytest.mark.parametrize("fitness, expected", [(0.7, (-0.7, 1000.0)), (0.0, (0.0, 1000.0))])
def test_costs_of_what_is_large_and_of_what_is_small(fitness: float, expected: Any) -> None:
    result = Result(1, OK, fitness, 0.9, measures={"parameters": 1000})
    assert costs([ACCURACY, SIZE], result) == expected
    assert costs([LOSS, ACCURACY], Result(1, OK, 0.9, 0.9, measures={"accuracy": 0.7})) == (0.9, -0.7)
    assert costs([ACCURACY, LOSS], result) == (expected[0], 0.9)
    assert costs([ACCURACY, SIZE], Result(1, CRASHED, measures={"parameters": 1000})) is None
    with pytest.raises(KeyError):
        measured(result, "memory")


def test_a_result_of_other_objectives_is_read_by_what_it_measured() -> None:
    result = Result(1, OK, 0.7, 0.9, measures={"parameters": 1000, "iou": 0.5})
    before = [ACCURACY, Objective("iou")]
    assert translated(result, before, before) == result and translated(result, before, [ACCURACY]) == result
    less = translated(result, before, [LOSS, ACCURACY, SIZE])
    assert (less.fitness, costs([LOSS, ACCURACY, SIZE], less)) == (0.9, (0.9, -0.7, 1000))
    assert translated(less, [LOSS, ACCURACY], before) == Result(1, OK, 0.7, 0.9, measures=less.measures)
    for objective in (Objective("memory"), Objective("error", True)):
        for now in ([objective], [ACCURACY, objective]):
            with pytest.raises(KeyError):
                translated(result, before, now)
    with pytest.raises(KeyError):
        translated(Result(1, OK, 0.7), before, [ACCURACY, LOSS])
    lost = Result(1, CRASHED, reason="dead")
    assert translated(lost, before, [LOSS]) == lost


@pytest.mark.parametrize("measures, expected", [
    (["accuracy"], "accuracy"), (["loss"], "loss"), (["parameters"], "loss"), (["parameters", "iou"], "iou"),
    (["loss", "accuracy"], "loss"), (["multiply_adds", "accuracy", "loss"], "accuracy")])
def test_curves_show_the_first_that_test_passes_measure(measures: List[str], expected: str) -> None:
    assert curve_measure([Objective(measure) for measure in measures]) == expected


@pytest.mark.parametrize("objective, value, text, digits", [
    (ACCURACY, 0.71234, "0.7123", "0.7123"), (LOSS, 87.3365, "87.3365", "87.3365"), (ACCURACY, None, "", ""),
    (SIZE, 1234567.0, "1,234,567", "1234567"), (Objective("iou"), 0.00012345678, "0.0001235", "0.000123457"),
    (Objective("iou"), None, "", ""), (Objective("iou"), 1e-7, "1e-07", "1e-07")])
def test_numbers_as_people_and_programs_read_them(objective: Objective, value: Optional[float], text: str,
                                                  digits: str) -> None:
    assert (objective.text(value), objective.digits(value)) == (text, digits)
