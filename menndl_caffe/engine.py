"""Engines: modules that speak pycaffe. Where the real Caffe is looked for, and how a trainer is started in it."""
from __future__ import annotations

import functools
import json
import os
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, Iterator, Optional, Tuple

from menndl_caffe.errors import UserError

PACKAGE = Path(__file__).resolve().parent
NAMES = ("caffe", "torch")
# The trainer's Python takes menndl from the end of its path: nothing installed beside menndl may come before Caffe's
# own modules.
_START = "import sys; sys.path.append(sys.argv.pop(1)); from menndl_caffe.trainer import main; main()"


@dataclass(frozen=True)
class Engine:
    """An engine that was found: name, where, its trainer's command, and the Python that it lives in ("" if unknown)."""

    name: str
    found: str
    command: Tuple[str, ...]
    python: str = ""

    def environment(self, threads: int) -> Dict[str, str]:
        """The trainer's environment: `threads` for every BLAS and OpenMP, so that ranks do not fight over cores."""
        count = str(threads)
        return {**os.environ, "OPENBLAS_NUM_THREADS": count, "OMP_NUM_THREADS": count, "MKL_NUM_THREADS": count,
                "BLIS_NUM_THREADS": count, "PYTHONDONTWRITEBYTECODE": "1"}

    def versions(self) -> Dict[str, Any]:
        """Versions of the engine, its BLAS, Python and numpy, found by running it; UserError where it does not run."""
        return _probe(self.python, self.name) if self.python else {"trainer": shlex.join(self.command)}


def find(name: str) -> Engine:
    """The engine of this name; UserError says what to do where there is none."""
    if name not in NAMES:
        raise UserError(f"--engine {name}: valid: {', '.join(NAMES)}")
    if name == "torch":
        raise UserError("--engine torch: this version of menndl has no torch engine yet; valid: caffe")
    trainer = os.environ.get("MENNDL_TRAINER")  # any command that speaks the protocol, such as one in a container
    if trainer:
        return Engine(name, "MENNDL_TRAINER", tuple(shlex.split(trainer)))
    for python, found in _pythons():
        if _imports_caffe(python):
            return Engine(name, found, (python, "-c", _START, str(PACKAGE.parent), name), python)
    named = os.environ.get("MENNDL_CAFFE_PYTHON")
    if named:
        raise UserError(f"no Caffe found: MENNDL_CAFFE_PYTHON is {named}, which cannot `import caffe`; "
                        "give another Python, or unset it and run `make caffe`")
    raise UserError("no Caffe found: run `make caffe` (Debian's own packages, no root needed), or set "
                    "MENNDL_CAFFE_PYTHON to a Python that can `import caffe`")


def _pythons() -> Iterator[Tuple[str, str]]:
    """Where real Caffe may be, in this order: what the user names, what the host has, what `make caffe` unpacked."""
    named = os.environ.get("MENNDL_CAFFE_PYTHON")
    if named:
        yield named, "MENNDL_CAFFE_PYTHON"
        return
    yield sys.executable, "the Python that runs menndl"
    yield "/usr/bin/python3", "the system's Python"
    for caffe in (Path.cwd() / "build" / "caffe", PACKAGE.parent / "build" / "caffe"):
        if (caffe / "VERSION").exists():  # written last: what was interrupted is none
            yield str(caffe / "bin" / "python3"), "make caffe"


_LOOK = """
import importlib.util, os
spec = importlib.util.find_spec('caffe')
print(bool(spec and spec.origin and os.path.exists(os.path.join(os.path.dirname(spec.origin), 'pycaffe.py'))))
"""


@functools.cache
def _imports_caffe(python: str) -> bool:
    """Whether this Python finds a module `caffe` that is pycaffe (an unrelated package of that name has no Net)."""
    try:
        done = subprocess.run([python, "-c", _LOOK], capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.stdout.strip() == "True"


_PROBE = """
import json, os, sys, importlib
engine = importlib.import_module(sys.argv[1])
import numpy
mapped = {os.path.basename(line.split()[-1]).lower() for line in open('/proc/self/maps')}
known = ('openblas', 'mkl', 'atlas', 'blis')
blas = next((name for name in known if any(name in library for library in mapped)), 'reference')
print(json.dumps({'version': engine.__version__, 'blas': blas, 'python': sys.version.split()[0],
                  'numpy': numpy.__version__}))
"""


@functools.cache
def _probe(python: str, module: str) -> Dict[str, Any]:
    done = subprocess.run([python, "-c", _PROBE, module], capture_output=True, text=True, timeout=120,
                          env={**os.environ, "GLOG_minloglevel": "2"})
    if done.returncode:
        last: Optional[str] = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise UserError(f"engine {module}: {python} cannot import it: {last}")
    versions: Dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return versions
