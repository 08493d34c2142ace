"""What the test set says of a search that fits the validation set: against the default, trained on all images."""
from __future__ import annotations

import math
from typing import Any, Dict, List, Optional

from menndl_caffe.experiment.recorded import Run
from menndl_caffe.objective import ACCURACY, Objective
from menndl_caffe.report.summary import fitness, standard_error

ONLY_THE_TEST_SET_COUNTS = ("The validation loss is what such a search fits, as a training fits its images: it is no "
                            "result. Only the test set counts.")
ALL_IMAGES = "the default, trained on the training and the validation images"
Row = Optional[Dict[str, Any]]  # of summary.described


def verdict(run: Run, test: Row, yardstick: Row) -> str:
    """Whether the best individual is better than the yardstick, on the test set, in a sentence or two."""
    objective, images = run.fitness, run.line.get("test_images")
    reached, measured = (fitness(row) if row else None for row in (test, yardstick))
    if reached is None or measured is None:
        return f"The best individual is still to be compared with the yardstick: {_missing(test, yardstick)}."
    gain = objective.cost(measured) - objective.cost(reached)
    first, second = map(objective.text, (measured, reached) if gain < 0 else (reached, measured))
    names = ("yardstick", "best individual") if gain < 0 else ("best individual", "yardstick")
    chance = _chance(objective, reached, measured, images)
    said = (f"The {names[0]} is {'better than' if gain else 'as good as'} the {names[1]}: {objective.measure} {first} "
            f"against {second} on the test set{chance}.")
    worse = " Training the default on all images is worth more than what this search found."
    return said + (worse if gain < 0 and not chance else "")


def _missing(test: Row, yardstick: Row) -> str:
    names = {"the best individual": test, "the yardstick": yardstick}
    why: List[str] = []
    for name, row in names.items():
        if row is None:
            why.append(f"{name} has no result on the test set yet")
        elif fitness(row) is None:
            why.append(f"{name} failed: {row['status']}: {row['reason']}")
    return "; ".join(why)


def _chance(objective: Objective, reached: float, measured: float, images: Optional[int]) -> str:
    """Whether so small a difference of accuracies says nothing; that both are of the same images is not used."""
    if not images or objective.measure != ACCURACY or reached == measured:
        return ""
    error = math.hypot(standard_error(reached, images), standard_error(measured, images))
    if abs(reached - measured) >= 2 * error:
        return ""
    return f" (less apart than twice the standard error of the difference, {error:.4f}: it may be chance)"
