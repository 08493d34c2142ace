"""Small runs with real Caffe: their environment, nets that train in a moment, and `caffe train` itself."""
from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path
from typing import Any, Dict, List, Tuple

from tests.support import runs

Pass = Tuple[int, Dict[str, str]]  # iteration -> output -> the digits that Caffe's log prints


def environment(caffe_root: Path, **variables: str) -> Dict[str, str]:
    """The environment of a run with the Caffe of this folder."""
    caffe = runs.environment(MENNDL_CAFFE_PYTHON=str(caffe_root / "bin" / "python3"), **variables)
    return {name: value for name, value in caffe.items() if name != "MENNDL_TRAINER"}


def write_narrow_search(path: Path, data: Path, more: str = "", **settings: int) -> Path:
    """cifar10_quick with 4 to 12 filters a layer."""
    runs.write_search(path, data, more, **settings)
    narrow = re.sub(r"min: 16 max: 126 step: 2 } default: \d+", "min: 4 max: 12 step: 2 } default: 8", path.read_text())
    path.write_text(narrow)
    return path


def caffe_train(caffe_root: Path, solver: Path) -> List[Pass]:
    """Every test pass that `caffe train` prints; of an output with a loss weight the value itself.

    Its snapshots are removed.
    """
    command = [str(caffe_root / "bin" / "caffe"), "train", f"--solver={solver}"]
    done = subprocess.run(command, cwd=runs.REPOSITORY, env={**os.environ, "OPENBLAS_NUM_THREADS": "1"}, text=True,
                          capture_output=True, timeout=600)
    assert done.returncode == 0, done.stderr[-2000:]
    for snapshot in solver.parent.glob("*_iter_*"):
        snapshot.unlink()
    passes: List[Pass] = []
    for line in done.stderr.splitlines():
        begins = re.search(r"\] Iteration (\d+), Testing net \(#0\)$", line)
        output = re.search(r"\]     Test net output #\d+: (\w+) = (\S+)", line)
        if begins:
            passes.append((int(begins[1]), {}))
        elif output:
            passes[-1][1][output[1]] = output[2]
    return passes


def as_printed(curve: Any) -> List[Pass]:
    """A result's curve in the digits in which Caffe prints numbers."""
    return [(iteration, {"accuracy": f"{accuracy:g}", "loss": f"{loss:g}"}) for iteration, accuracy, loss in curve]
