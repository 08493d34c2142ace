"""Runs whose trainings learned decays, of a linear net with 640 weights and 10 biases; journal, templates and files by
hand."""
from __future__ import annotations

from pathlib import Path
from typing import Any, Dict, List, Optional, Sequence

import numpy as np

from menndl_caffe.files import sha256_of
from menndl_caffe.genome import Genome
from menndl_caffe.journal import Journal
from menndl_caffe.trial import (
    ADAPTIVE,
    DEFAULT,
    DIVERGED,
    HYPERNET,
    OK,
    RETRAIN,
    TEST,
    YARDSTICK,
    Result,
    Trial,
)
from tests.support import gradient_run

SEARCH = """\
type: "{type}"
net: "{folder}/net.j2"
solver: "{folder}/solver.j2"
limit {{ trials: 4 }}
gene {{ name: "base_lr" real_range {{ min: 0.001 max: 0.1 scale: LOG }} default: 0.01 }}
fitness_set: VALIDATION
max_iter: 20
random_seed: 9
"""
SOLVER = """\
net: "{{ directory }}/train_test.prototxt"
base_lr: {{ base_lr }}
weight_decay: 0.002
max_iter: {{ max_iter }}
random_seed: {{ random_seed }}
"""
NET = gradient_run.NET.replace("{{ of_biases }}", "0.5")  # so decays are stated as 0.002 and 0.001
LAYER = {"groups": "PER_BLOB", "count": 2, "mean": 0.001, "quantiles": [0.0005, 0.0007, 0.001, 0.0014, 0.002],
         "values": {"ip[0]": 0.0005, "ip[1]": 0.002},
         "curve": [[10, 0.0012, 0.001, 0.00144], [20, 0.001, 0.0005, 0.002]]}
WEIGHTS = {"groups": "PER_WEIGHT", "count": 640, "mean": 0.0003, "quantiles": [1e-4, 1.5e-4, 2e-4, 4e-4, 1e-3],
           "values": {}, "curve": [[20, 0.0003, 1e-4, 1e-3]]}
WAY = {"groups": "PER_NET", "count": 1, "mean": 0.003, "quantiles": [0.003] * 5, "values": {"net": 0.003},
       "curve": [[0, 0.01, 0.01, 0.01], [1, 0.005, 0.005, 0.005], [2, 0.003, 0.003, 0.003]],
       "predicted": {"loss": 0.6, "points": [[0.01, 0.9], [0.005, 0.5]]}}
CURVE = {**WAY, "predicted": {"loss": 0.6, "points": [[0.001, 0.7], [0.003, 0.6], [0.01, 0.8], [0.1, 1.9]]}}
LAST = {TEST: (0.88, 0.70), YARDSTICK: (0.84, 0.73)}  # loss and accuracy on the test set


def of_weights() -> Dict[str, np.ndarray]:
    """Half of the weights have a decay of 1e-4, the others one that is e times as much, the biases none."""
    return {"ip[0]": np.repeat([[1e-4], [1e-4 * np.e]], [5, 5], axis=0) * np.ones((10, 64)), "ip[1]": np.zeros(10)}


def write(folder: Path, learned: Dict[str, Any], arrays: Optional[Dict[str, np.ndarray]] = None) -> Path:
    """The folder of the run, in `folder`/run. Individual 2 is the best, 4 is the same again, 3 failed; `learned` is
    told of each, `arrays` lie in the files."""
    folder.mkdir(exist_ok=True)
    (folder / "net.j2").write_text(NET)
    (folder / "solver.j2").write_text(SOLVER)
    program = HYPERNET if "predicted" in learned else ADAPTIVE
    files = {id: _file(folder / "run" / "trials" / str(id), arrays or of_weights()) for id in (1, 2)}
    kind = "HYPERNET" if program == HYPERNET else "ADAPTIVE"
    with Journal(folder / "run", fsync=False) as journal:
        journal.begin({"search": SEARCH.format(folder=folder, type=kind), "engine": "caffe", "seed": 9,
                       "templates": {name: sha256_of(folder / f"{name}.j2") for name in ("net", "solver")},
                       "image_shape": [1, 8, 8], "test_images": 1000, "total": 4, "started": 990.0,
                       "command": "menndl run x"})
        trials, results = _lines(learned, files, program)
        for trial, result in zip(trials, results):
            journal.add_trial(trial)
            journal.add_result(result)
    return folder / "run"


def _file(folder: Path, arrays: Dict[str, np.ndarray]) -> str:
    folder.mkdir(parents=True)
    np.savez(folder / "learned.npz", **arrays)  # type: ignore[arg-type,unused-ignore]
    return sha256_of(folder / "learned.npz")


def _lines(learned: Dict[str, Any], files: Dict[int, str], program: str) -> Any:
    def genome(base_lr: float) -> Genome:
        return Genome(("base_lr",), (base_lr,))

    def result(id: int, accuracy: float, loss: float, **more: Any) -> Result:
        return Result(id, OK, accuracy, loss, curve=((0, 0.1, 2.3), (20, accuracy, loss)), started=1000.0 + 20 * id,
                      seconds=10.0, host="n1", **more)

    trials: List[Trial] = [Trial(0, genome(0.01), 7, 20, role=DEFAULT)]
    trials += [Trial(id, genome(base_lr), 7, 20, program=program) for id, base_lr in
               ((1, 0.01), (2, 0.03), (3, 0.1), (4, 0.03))]
    trials += [Trial(5, genome(0.03), 7, 20, role=TEST, program=RETRAIN, decays_of=2, decays=files[2]),
               Trial(6, genome(0.01), 7, 20, role=YARDSTICK)]
    best = result(2, 0.75, 0.65, learned={**learned, "sha256": files[2]})
    results: Sequence[Result] = [
        result(0, 0.70, 0.9), result(1, 0.72, 0.8, learned={**learned, "sha256": files[1]}), best,
        Result(3, DIVERGED, reason="loss is nan", started=1060.0, seconds=1.0, host="n1"), best.copied_to(trials[4]),
        result(5, LAST[TEST][1], LAST[TEST][0]), result(6, LAST[YARDSTICK][1], LAST[YARDSTICK][0])]
    return trials, results
