"""Engines: modules that speak pycaffe. Where the real Caffe is looked for, and how a trainer is started in it."""
from __future__ import annotations

import functools
import importlib.util
import json
import os
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, Iterator, Mapping, Optional, Tuple

from menndl_caffe.errors import UserError

PACKAGE = Path(__file__).resolve().parent.parent
NAMES = ("caffe", "torch")
PROBE_SECONDS = 300.0  # an import from a disk or a network that is busy may take minutes
MATHS = ("float32", "tf32", "bf16")  # float32 is Caffe's; the others are coarser and faster
# The trainer's Python takes menndl from the end of its path: nothing installed beside menndl may come before Caffe's
# own modules.
_START = "import sys; sys.path.append(sys.argv.pop(1)); from menndl_caffe.trainer.train import main; main()"


# PyTorch frees and allocates a blob's memory in every pass: the C library shall keep it, in huge pages, and not fetch
# each page of it anew from the kernel. Real Caffe allocates once.
_KEEP_MEMORY = "glibc.malloc.mmap_max=0:glibc.malloc.trim_threshold=4294967296:glibc.malloc.hugetlb=1"


@dataclass(frozen=True)
class Engine:
    """An engine that was found: name, where, its trainer's command, its Python ("" if unknown), its arithmetic."""

    name: str
    found: str
    command: Tuple[str, ...]
    python: str = ""
    math: str = MATHS[0]

    def environment(self, threads: int) -> Dict[str, str]:
        """The trainer's environment: `threads` for every BLAS and OpenMP, so that ranks do not fight over cores."""
        count = str(threads)
        kept = {} if self.name == "caffe" else {"GLIBC_TUNABLES": os.environ.get("GLIBC_TUNABLES", _KEEP_MEMORY)}
        return {**os.environ, "OPENBLAS_NUM_THREADS": count, "OMP_NUM_THREADS": count, "MKL_NUM_THREADS": count,
                "BLIS_NUM_THREADS": count, "PYTHONDONTWRITEBYTECODE": "1", **kept}

    def versions(self) -> Dict[str, Any]:
        """Versions of the engine, its BLAS, Python and numpy, found by running it; UserError where it does not run."""
        return _probe(self.python, self.name) if self.python else {"trainer": shlex.join(self.command)}

    def check_trainer(self, ready: Mapping[str, Any]) -> None:
        """UserError where a trainer of the user's own says that it is another engine than the one asked for."""
        asked, speaks = (self.name, self.math), (ready.get("engine"), ready.get("math", MATHS[0]))
        if speaks[0] in NAMES and speaks != asked:
            raise UserError(f"{self.found} starts a trainer with engine {speaks[0]} and math {speaks[1]}, but --engine "
                            f"{self.name} --math {self.math} was asked for")


def find(name: str, math: str = MATHS[0]) -> Engine:
    """The engine of this name, to compute in this arithmetic; UserError says what to do where there is none."""
    if name not in NAMES:
        raise UserError(f"--engine {name}: valid: {', '.join(NAMES)}")
    if name == "caffe" and math != MATHS[0]:
        raise UserError(f"--math {math}: real Caffe computes in {MATHS[0]} only; {math} is for --engine torch")
    trainer = os.environ.get("MENNDL_TRAINER")  # any command that speaks the protocol, such as one in a container
    if trainer:
        return Engine(name, "MENNDL_TRAINER", tuple(shlex.split(trainer)), math=math)
    return _torch(math) if name == "torch" else _caffe()


def _torch(math: str) -> Engine:
    if importlib.util.find_spec("torch") is None:
        raise UserError("no PyTorch found: --engine torch needs it in the Python that runs menndl: "
                        f"{sys.executable} -m pip install 'menndl_caffe[torch]'   (make run ENGINE=torch does it)")
    return Engine("torch", "the Python that runs menndl", _command(sys.executable, "torch", math), sys.executable, math)


def _caffe() -> Engine:
    for python, found in _pythons():
        if _imports_caffe(python):
            return Engine("caffe", found, _command(python, "caffe", MATHS[0]), python)
    named = os.environ.get("MENNDL_CAFFE_PYTHON")
    if named:
        raise UserError(f"no Caffe found: MENNDL_CAFFE_PYTHON is {named}, which cannot `import caffe`; "
                        "give another Python, or unset it and run `make caffe`")
    raise UserError("no Caffe found: run `make caffe` (Debian's own packages, no root needed), or set "
                    "MENNDL_CAFFE_PYTHON to a Python that can `import caffe`")


def _command(python: str, name: str, math: str) -> Tuple[str, ...]:
    return python, "-c", _START, str(PACKAGE.parent), name, math


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
        done = subprocess.run([python, "-c", _LOOK], capture_output=True, text=True, timeout=PROBE_SECONDS)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.stdout.strip() == "True"


_PROBES = {"caffe": """
import json, os, sys
import caffe, numpy
mapped = {os.path.basename(line.split()[-1]).lower() for line in open('/proc/self/maps')}
known = ('openblas', 'mkl', 'atlas', 'blis')
blas = next((name for name in known if any(name in library for library in mapped)), 'reference')
print(json.dumps({'version': caffe.__version__, 'blas': blas, 'python': sys.version.split()[0],
                  'numpy': numpy.__version__}))
""", "torch": """
import json, sys
import numpy, torch
gpus = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
print(json.dumps({'version': torch.__version__, 'blas': 'mkl' if torch.backends.mkl.is_available() else 'other',
                  'cpu': torch.backends.cpu.get_cpu_capability(), 'gpus': gpus, 'python': sys.version.split()[0],
                  'numpy': numpy.__version__}))
"""}


@functools.cache
def _probe(python: str, name: str) -> Dict[str, Any]:
    try:
        done = subprocess.run([python, "-c", _PROBES[name]], capture_output=True, text=True, timeout=PROBE_SECONDS,
                              env={**os.environ, "GLOG_minloglevel": "2"})
    except subprocess.TimeoutExpired:
        raise UserError(f"engine {name}: {python} has not imported it after {PROBE_SECONDS:g} seconds") from None
    if done.returncode:
        last: Optional[str] = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise UserError(f"engine {name}: {python} cannot import it: {last}")
    versions: Dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return versions
