"""A function of a test, run with pycaffe in real Caffe's Python: what it gives there is what ours must give here."""
from __future__ import annotations

import inspect
import os
import subprocess
import textwrap
from pathlib import Path
from typing import Any, Callable, Dict, Mapping

import numpy as np

Arrays = Dict[str, np.ndarray]

FRAME = """\
from __future__ import annotations
import importlib, sys, warnings
import numpy as np
warnings.simplefilter("ignore")

{function}
given = dict(np.load("given.npz"))
np.savez("found.npz", **{name}(importlib.import_module("{module}"), given))
"""


def in_real_caffe(caffe_root: Path, folder: Path, module: str, function: Callable[[Any, Arrays], Arrays],
                  given: Mapping[str, np.ndarray]) -> Arrays:
    """`function(module, given)` in a process of real Caffe working in `folder`; the function sees `np` alone."""
    np.savez(folder / "given.npz", **given)
    source = textwrap.dedent(inspect.getsource(function))
    script = FRAME.format(function=source, name=function.__name__, module=module)
    done = subprocess.run([str(caffe_root / "bin" / "python3"), "-c", script], cwd=folder, capture_output=True,
                          env={**os.environ, "GLOG_minloglevel": "2", "OPENBLAS_NUM_THREADS": "1"}, text=True,
                          timeout=600)
    assert done.returncode == 0, done.stderr[-3000:]
    with np.load(folder / "found.npz") as found:
        return dict(found)
