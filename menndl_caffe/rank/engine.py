"""Engines: modules that speak pycaffe. Where the real Caffe is looked for, and how a trainer is started in it."""
from __future__ import annotations

import contextlib
import functools
import importlib.util
import os
import shlex
import socket
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, Mapping, Optional, Tuple

from menndl_caffe.errors import UserError
from menndl_caffe.rank.messages import Message
from menndl_caffe.rank.process import TrainerDied, TrainerProcess
from menndl_caffe.startup import blas_threads
from menndl_caffe.walltime import Stopped

PACKAGE = Path(__file__).resolve().parent.parent
TRAINER = str(PACKAGE / "trainer")  # started by its path: whatever Python runs it needs no menndl
NAMES = ("caffe", "torch")
PROBE_SECONDS = 300.0  # an import from a disk or a network that is busy may take minutes
STARTING_SECONDS = 3.0  # are left to a trainer that starts, even where time is up: a run may need no other
MATHS = ("float32", "tf32", "bf16")  # float32 is Caffe's; the others are coarser and faster
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
    version: str = ""  # that its trainers must have, as `version_of` tells it; "" for any

    def environment(self, threads: int) -> Dict[str, str]:
        """The trainer's environment: `threads` for every BLAS and OpenMP, so that ranks do not fight over cores, and
        texts in UTF-8 whatever the locale."""
        kept = {} if self.name == "caffe" else {"GLIBC_TUNABLES": os.environ.get("GLIBC_TUNABLES", _KEEP_MEMORY)}
        return {**os.environ, **blas_threads(threads), "PYTHONUTF8": "1", "PYTHONDONTWRITEBYTECODE": "1", **kept}

    def trainer(self, threads: int = 1) -> TrainerProcess:
        """A new trainer, which starts when it is needed."""
        return TrainerProcess(self.command, self.environment(threads))

    def introduction(self, seconds: float, stop: Callable[[], str] = lambda: "") -> Optional[Message]:
        """What a trainer that is started for that says of itself when it is ready; None where it takes longer.

        TrainerDied where it ends, UserError where there is no such command, or it is another engine's trainer. Stopped
        where it takes long and `stop` says why nobody must wait any more.
        """
        begun, ready = time.monotonic(), None
        with contextlib.closing(self.trainer()) as trainer:
            trainer.start()
            while ready is None and time.monotonic() < begun + seconds:
                if time.monotonic() > begun + STARTING_SECONDS and stop():
                    raise Stopped(f"{stop()}: before a trainer was ready; the same command goes on")
                ready = trainer.poll(0.1)
        if ready is not None:
            self.check_trainer(ready)
        return ready

    def known(self, stop: Callable[[], str] = lambda: "") -> Tuple[Engine, Dict[str, Any]]:
        """This engine of the version that it has now; and versions of it, its BLAS, Python and numpy, as a trainer says
        them, of a trainer of the user's own also its command. UserError where none starts; `stop` as in `introduction`.
        """
        command = shlex.join(self.command)
        where = f"engine {self.name}: {self.python or command}"
        try:
            ready = self.introduction(PROBE_SECONDS, stop)
        except TrainerDied as death:
            raise UserError(f"{where}: the trainer does not start on {socket.gethostname()}: {death}") from None
        if ready is None:
            raise UserError(f"{where} has not imported it after {PROBE_SECONDS:g} seconds")
        versions = {**({} if self.python else {"trainer": command}), **ready.get("versions", {})}
        return replace(self, version=version_of(ready)), versions

    def check_trainer(self, ready: Mapping[str, Any]) -> None:
        """UserError where a trainer says that it is another engine than the one asked for, or of another version."""
        asked, speaks = (self.name, self.math), (ready.get("engine"), ready.get("math", MATHS[0]))
        if speaks[0] in NAMES and speaks != asked:
            raise UserError(f"{self.found} starts a trainer with engine {speaks[0]} and math {speaks[1]}, but --engine "
                            f"{self.name} --math {self.math} was asked for")
        if self.version and version_of(ready) != self.version:
            raise UserError(f"{self.found} starts a trainer of version {version_of(ready)} on {socket.gethostname()}, "
                            f"the run's is {self.version}: have the same everywhere")


def version_of(ready: Mapping[str, Any]) -> str:
    """The version that a trainer says of its engine, and that of what this computes with."""
    said = (str(versions.get("version") or "unknown") for versions in (ready, ready.get("versions", {})))
    return " on ".join(dict.fromkeys(said))


def find(name: str, math: str = MATHS[0]) -> Engine:
    """The engine of this name, to compute in this arithmetic; UserError says what to do where there is none."""
    if name not in NAMES:
        raise UserError(f"--engine {name}: valid: {', '.join(NAMES)}")
    if name == "caffe" and math != MATHS[0]:
        raise UserError(f"--math {math}: real Caffe computes in {MATHS[0]} only; {math} is for --engine torch")
    own = _own_trainer()
    if own:
        return Engine(name, "MENNDL_TRAINER", own, math=math)
    return _torch(math) if name == "torch" else _caffe()


def _own_trainer() -> Tuple[str, ...]:
    """Any command that speaks the protocol, such as one in a container; empty where the user names none."""
    command = os.environ.get("MENNDL_TRAINER", "")
    try:
        return tuple(shlex.split(command))
    except ValueError as error:  # a quote that nobody closes
        raise UserError(f"MENNDL_TRAINER is `{command}`: {error}; expected a command as a shell takes it") from None


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
    return python, TRAINER, name, math


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


@functools.cache
def _imports_caffe(python: str) -> bool:
    """Whether this Python finds a module `caffe` that is pycaffe."""
    try:
        done = subprocess.run([python, TRAINER, "--has", "caffe"], capture_output=True, text=True,
                              timeout=PROBE_SECONDS, env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"})
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.stdout.strip() == "True"
