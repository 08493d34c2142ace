"""A run of HOAG over two descents: one gradient is not trusted, one trial failed; journal and templates by hand."""
from __future__ import annotations

from pathlib import Path
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Sequence, Tuple

from menndl_caffe.files import sha256_of
from menndl_caffe.genome import Genome
from menndl_caffe.journal import Journal
from menndl_caffe.trial import DEFAULT, DIVERGED, HYPERGRADIENT, OK, TEST, YARDSTICK, Result, Trial

NAMES = ("decay", "of_biases")
SEARCH = """\
type: "HYPERGRADIENT"
net: "{folder}/net.j2"
solver: "{folder}/solver.j2"
hypergradient_param {{ method: HOAG starts: 2 }}
limit {{ trials: {trials} }}
gene {{ name: "decay" real_range {{ min: 0.000001 max: 0.1 scale: LOG }} default: 0.001 }}
gene {{ name: "of_biases" real_range {{ min: 0 max: 2 }} default: 1 }}
fitness_set: VALIDATION
max_iter: 500
random_seed: 9
"""
SOLVER = """\
net: "{{ directory }}/train_test.prototxt"
base_lr: 0.01
weight_decay: {{ decay }}
max_iter: {{ max_iter }}
random_seed: {{ random_seed }}
"""
NET = """\
layer { name: "images" type: "Data" top: "data" top: "label"
        data_param { source: "{{ train_source }}" batch_size: 5 } include { phase: TRAIN } }
layer { name: "held" type: "Data" top: "data" top: "label"
        data_param { source: "{{ test_source }}" batch_size: 5 } include { phase: TEST } }
layer { name: "ip" type: "InnerProduct" bottom: "data" top: "ip" inner_product_param { num_output: 10 }
        param { decay_mult: 1 } param { decay_mult: {{ of_biases }} } }
layer { name: "accuracy" type: "Accuracy" bottom: "ip" bottom: "label" top: "accuracy" include { phase: TEST } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "label" top: "loss" }
"""
CURVATURE = "negative curvature -0.31 after 12 iterations"


class Row(NamedTuple):
    """A step of a descent."""

    descent: int  # from 0 on, as in the journal
    genes: Tuple[float, float]
    loss: Optional[float]  # None: diverged
    accuracy: float
    gradient: Optional[Tuple[float, float]]
    distrust: str = ""


# Trials 1, 2, ... The least loss is of 5, the highest accuracy of 3.
STEPS: List[Row] = [
    Row(0, (0.001, 1.0), 0.90, 0.70, (0.02, -0.01)),
    Row(1, (0.03, 0.4), 1.40, 0.50, (0.1, 0.05)),
    Row(0, (0.00032, 1.2), 0.82, 0.74, (0.01, -0.004)),
    Row(1, (0.0095, 0.2), None, 0.0, None),
    Row(0, (0.00008, 1.44), 0.80, 0.72, (0.002, -0.003)),
    Row(1, (0.017, 0.3), 1.10, 0.58, (0.08, 0.03)),
    Row(0, (0.000015, 1.73), 0.85, 0.71, None, CURVATURE),
    Row(1, (0.0128, 0.25), 0.95, 0.64, (0.06, 0.02)),
]
DEFAULT_GENES = (0.001, 1.0)
LAST = {TEST: (0.88, 0.70), YARDSTICK: (0.84, 0.73)}  # loss and accuracy on the test set


def _result(id: int, row: Row) -> Result:
    known: Dict[str, Any] = {"started": 1000.0 + 20 * id, "seconds": 10.0 + id, "rank": id % 2, "host": "n1"}
    if row.loss is None:
        return Result(id, DIVERGED, reason="loss is nan", **known)
    how: Dict[str, Any] = {"method": "HOAG", "iterations": 30 + id, "residual": 0.004}
    return Result(id, OK, row.accuracy, row.loss, curve=((500, row.accuracy, row.loss),),
                  gradient=dict(zip(NAMES, row.gradient)) if row.gradient else {},
                  gradient_by={**how, "distrust": row.distrust} if row.distrust else how, **known)


def _plain(id: int, loss: float, accuracy: float) -> Result:
    return Result(id, OK, accuracy, loss, curve=((0, 0.1, 2.3), (500, accuracy, loss)), started=1000.0 + 20 * id,
                  seconds=10.0 + id, rank=id % 2, host="n1")


def write(folder: Path, steps: Sequence[Row] = tuple(STEPS), last: Optional[Dict[str, Tuple[float, float]]] = None,
          trials: Optional[int] = None, more: str = "", best: Callable[[Row], float] = lambda row: row.accuracy
          ) -> Path:
    """The folder of the run, in `folder`/run; `last` are the trials on the test set, TEST that of the `best` step, and
    `trials` is the search's limit."""
    net, solver = folder / "net.j2", folder / "solver.j2"
    net.write_text(NET)
    solver.write_text(SOLVER)
    limit = trials or len(steps)
    tested = Genome(NAMES, max(steps, key=best).genes)
    with Journal(folder / "run", fsync=False) as journal:
        journal.begin({"search": SEARCH.format(folder=folder, trials=limit) + more, "engine": "caffe",
                       "seed": 9, "templates": {"net": sha256_of(net), "solver": sha256_of(solver)},
                       "image_shape": [1, 8, 8], "test_images": 1000, "total": limit, "started": 990.0,
                       "command": "menndl run x"})
        journal.add_trial(Trial(0, Genome(NAMES, DEFAULT_GENES), 7, 500, role=DEFAULT))
        journal.add_result(_plain(0, 0.905, 0.70))
        for id, row in enumerate(steps, 1):
            before = sum(one.descent == row.descent for one in steps[:id - 1])
            tolerance = max(1e-4, 1e-2 / 2 ** before)
            journal.add_trial(Trial(id, Genome(NAMES, row.genes), 7, 500, program=HYPERGRADIENT, tolerance=tolerance,
                                    descent=row.descent))
            journal.add_result(_result(id, row))
        for id, (role, (loss, accuracy)) in enumerate((LAST if last is None else last).items(), len(steps) + 1):
            genome = tested if role == TEST else Genome(NAMES, DEFAULT_GENES)
            journal.add_trial(Trial(id, genome, 7, 500, role=role))
            journal.add_result(_plain(id, loss, accuracy))
    return folder / "run"
