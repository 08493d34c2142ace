"""The GPU that a process computes on, which is the first that is visible to it."""
from __future__ import annotations

import re
import shutil
import subprocess
from typing import Mapping, NamedTuple, Sequence, Tuple

VARIABLES = ("CUDA_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES", "ZE_AFFINITY_MASK")
# Anything else, such as -1 or Slurm's NoDevFiles, ends the list of what is visible.
_DEVICE = re.compile(r"\d+(\.\d+)?|(GPU|MIG)-.+")
_LISTED = re.compile(r"^GPU \d+: .*\(UUID: (\S+)\)", re.M)
LISTING_SECONDS = 60.0  # the first nvidia-smi on a node may have to wake the driver


class Gpus(NamedTuple):
    """The `first` visible one ("" for none), and `all` of the host that are known; by UUID where it is known."""

    first: str
    all: Tuple[str, ...]


def listing() -> Tuple[bool, str]:
    """Whether `nvidia-smi -L` works, and what it says."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return False, "no nvidia-smi (Debian's Caffe computes on the CPU alone)"
    try:
        done = subprocess.run([tool, "-L"], capture_output=True, text=True, timeout=LISTING_SECONDS)
    except (OSError, subprocess.TimeoutExpired) as error:
        return False, str(error)
    return done.returncode == 0, done.stdout.strip() or done.stderr.strip()


def listed() -> Tuple[str, ...]:
    """The UUIDs that `nvidia-smi -L` shows; a job that is given some of a host's GPUs may see those alone."""
    return tuple(_LISTED.findall(listing()[1]))


def visible(environment: Mapping[str, str], uuids: Sequence[str]) -> Gpus:
    """The GPUs of a process with this environment, where nvidia-smi lists these UUIDs."""
    chosen = next((environment[name] for name in VARIABLES if name in environment), None)
    if chosen is None:
        return Gpus(uuids[0] if uuids else "", tuple(uuids))
    entries = [entry.strip() for entry in chosen.split(",")]
    known = [_identity(entry, uuids) for entry in entries if _DEVICE.fullmatch(entry)]
    first = known[0] if _DEVICE.fullmatch(entries[0]) else ""
    return Gpus(first, tuple(uuids) or tuple(known))


def is_certain(gpu: str) -> bool:
    """Whether this names one GPU of the world: a number may count the GPUs of a rank's own control group."""
    return "-" in gpu


def _identity(entry: str, uuids: Sequence[str]) -> str:
    """The UUID of a GPU that is named by its number or by the beginning of its UUID; "" for a number beyond the last.

    As it stands where nothing is listed.
    """
    if entry.isdigit() and uuids:
        return uuids[int(entry)] if int(entry) < len(uuids) else ""
    return next((uuid for uuid in uuids if uuid.startswith(entry)), entry)
