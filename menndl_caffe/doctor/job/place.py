"""What one rank sees of its place."""
from __future__ import annotations

import os
import platform
import re
import shlex
import shutil
import socket
import time
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Dict, Mapping, Optional, Tuple

import menndl_caffe
from menndl_caffe.data import checksum, describe, lock_refusal
from menndl_caffe.doctor.job import gpu
from menndl_caffe.doctor.job.file_system import current_file_system_of
from menndl_caffe.errors import UserError
from menndl_caffe.experiment import search_file
from menndl_caffe.experiment.hypernet import template_files
from menndl_caffe.files import sha256_of
from menndl_caffe.rank import engine as engines


@dataclass(frozen=True)
class Place:
    """One rank's place. What is empty is not there, or was not looked at."""

    rank: int = 0
    host: str = ""
    clock: float = 0.0  # seconds since 1970, at a moment that is the same for all ranks
    menndl: str = ""
    python: str = ""
    mpi: str = ""
    container: str = ""  # file name of the image
    cores: Tuple[int, ...] = ()  # on which it may run
    memory: int = 0  # bytes that are free on its host
    gpu: str = ""  # the first that is visible to it
    gpus: Tuple[str, ...] = ()  # all of its host that it knows of
    engine: str = ""
    engine_missing: str = ""  # why there is none
    computes_on_cpu: bool = False  # whatever GPU there is
    data: Dict[str, str] = field(default_factory=dict)  # file name -> beginning of a checksum
    images: Dict[str, int] = field(default_factory=dict)  # database -> records
    data_missing: str = ""  # why
    templates: Dict[str, str] = field(default_factory=dict)  # and the search file: kind -> beginning of a checksum
    templates_missing: str = ""  # why
    file_system: str = ""  # of the data
    lock_refused: str = ""  # why Caffe could not open a database

    def as_dict(self) -> Dict[str, Any]:
        """Plain data, for a message or for JSON."""
        return asdict(self)

    @staticmethod
    def from_dict(seen: Mapping[str, Any]) -> Place:
        """A place as another rank sent it, which may have another version of menndl."""
        known = {each.name for each in fields(Place)}
        return Place(**{name: value for name, value in seen.items() if name in known})


def look(rank: int, mpi: str, engine: str, data: Optional[Path], search: Optional[str] = None) -> Place:
    """Look around: `mpi` names the MPI library, `data` is a folder of databases. Trains nothing."""
    clock = time.time()
    gpus = gpu.visible(os.environ, gpu.listed())
    image = os.environ.get("APPTAINER_CONTAINER") or os.environ.get("SINGULARITY_CONTAINER") or ""
    return Place(rank=rank, host=socket.gethostname(), clock=clock, menndl=menndl_caffe.__version__,
                 python=platform.python_version(), mpi=mpi,
                 container=Path(image).name, cores=tuple(sorted(os.sched_getaffinity(0))),
                 memory=_free_memory(), gpu=gpus.first, gpus=gpus.all,
                 **_engine(engine), **(_data(data, engine) if data else {}),
                 **(_templates(search) if search else {}))


def _free_memory() -> int:
    text = Path("/proc/meminfo").read_text()
    available = re.search(r"^MemAvailable: +(\d+) kB", text, re.M)
    return int(available[1]) * 1024 if available else 0


def _engine(name: str) -> Dict[str, Any]:
    try:
        engine = engines.find(name)
    except UserError as error:
        return {"engine_missing": str(error)}
    if engine.python:
        return {"engine": f"{name} ({engine.found})", "computes_on_cpu": engine.found == "make caffe"}
    command = shlex.join(engine.command)
    if shutil.which(engine.command[0]) is None:
        return {"engine_missing": f"{engine.found} is `{command}`: no command {engine.command[0]} from {os.getcwd()}"}
    return {"engine": command}


def _templates(search: str) -> Dict[str, Any]:
    try:
        experiment = search_file.load(search)
        files = {"search file": Path(experiment.document.file), **template_files(experiment)}
        return {"templates": {kind: sha256_of(path)[:12] for kind, path in files.items()}}
    except UserError as error:
        return {"templates_missing": str(error)}


def _data(folder: Path, engine: str) -> Dict[str, Any]:
    seen: Dict[str, Any] = {"file_system": current_file_system_of(folder)}
    try:
        return {**seen, **_databases(folder, engine)}
    except UserError as error:
        return {**seen, "data_missing": str(error)}
    except OSError as error:
        return {**seen, "data_missing": f"{error.filename}: {error.strerror}"}


def _databases(folder: Path, engine: str) -> Dict[str, Any]:
    databases = {path.name: path for path in sorted(folder.glob("*_lmdb"))}
    for part in ("train", "test"):
        if not any(name.endswith(f"_{part}_lmdb") for name in databases):
            raise UserError(f"{folder}: no database *_{part}_lmdb")
    checksums = {name: checksum(path) for name, path in databases.items()}
    checksums.update((path.name, sha256_of(path)) for path in sorted(folder.glob("*.binaryproto")))
    locking = databases.values() if engine == "caffe" else ()  # the torch engine reads without a lock
    refusals = filter(None, map(lock_refusal, locking))
    return {"data": {name: checksum[:12] for name, checksum in checksums.items()},
            "images": {name: describe(path).records for name, path in databases.items()},
            "lock_refused": next(refusals, "")}
