"""`menndl run --ranks N`: this command once more on N ranks under mpirun, in whose place this process stands: what ends
it ends them, in order, and it exits as they do."""
from __future__ import annotations

import contextlib
import ctypes
import importlib.util
import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Dict, Iterator, List, Optional, Sequence, Tuple

from menndl_caffe.farm.launched import CODE, FOLDER, MASTER
from menndl_caffe.text import say
from menndl_caffe.walltime import SIGNALS, Stopped

# Open MPI 4 and 5: work as root, and with more ranks than cores; other MPIs do not look at these.
OPEN_MPI = {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
            "OMPI_MCA_rmaps_base_oversubscribe": "1", "OMPI_MCA_hwloc_base_binding_policy": "none",
            "PRTE_MCA_rmaps_default_mapping_policy": ":oversubscribe", "PRTE_MCA_hwloc_default_binding_policy": "none"}
_LIBC = ctypes.CDLL(None)
_ENDING = (*SIGNALS, signal.SIGINT)


def mpirun() -> Optional[str]:
    """The launcher on the search path, else the one beside this Python; None where there is none."""
    beside = Path(sys.executable).with_name("mpirun")
    return shutil.which("mpirun") or (str(beside) if beside.exists() else None)


def command() -> List[str]:
    """The launcher and its options: MENNDL_MPIRUN, else `mpirun`; nothing where ranks cannot be had here."""
    given = shlex.split(os.environ.get("MENNDL_MPIRUN", ""))
    found = mpirun()
    works = importlib.util.find_spec("mpi4py") is not None
    return (given or ([found] if found else [])) if works else []


def launch(launcher: Sequence[str], ranks: int) -> int:
    """Run this process's own command line on so many ranks; the exit code of rank 0.

    SystemExit where the launcher ended without one; Stopped or KeyboardInterrupt where a signal came before there was
    a rank 0.
    """
    program = [sys.argv[0]] if Path(sys.argv[0]).suffix != ".py" else ["-m", "menndl_caffe.cli"]
    # A TMPDIR of its own: where Open MPI 5 was killed it leaves TMPDIR/ompi.PID, and one that gets the same process id
    # there does not start.
    folder = Path(tempfile.mkdtemp(prefix="menndl-"))
    try:
        words = [*launcher, "-n", str(ranks), sys.executable, *program, *sys.argv[1:]]
        ended, told = _wait(words, {**OPEN_MPI, **os.environ, "TMPDIR": str(folder), FOLDER: str(folder)}, folder)
        answer = folder / CODE
        if answer.exists():
            return int(answer.read_text())
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    if told == signal.SIGINT:
        raise KeyboardInterrupt
    if told:
        raise Stopped(f"{signal.Signals(told).name} received; the same command goes on")
    raise SystemExit(f"menndl: `{shlex.join(words[:len(launcher) + 2])}` ended with exit code {ended}, and says "
                     "why above; the same command goes on, and with --ranks 1 it needs no MPI")


def _wait(words: Sequence[str], environment: Dict[str, str], folder: Path) -> Tuple[int, Optional[int]]:
    """The launcher's exit code, and which signal came meanwhile."""
    told: Optional[int] = None

    def pass_on(number: int, *_: object) -> None:
        """The first time to rank 0, which ends in order; then, or where there is none yet, the launcher ends all."""
        nonlocal told
        master = folder / MASTER
        first, told = told is None, number
        if first and master.exists():
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(master.read_text()), number)
        else:
            process.terminate()

    with _held_back():
        # In a session of its own, where a terminal's Ctrl-C does not reach it.
        process = subprocess.Popen(words, env=environment, stdin=subprocess.DEVNULL, start_new_session=True,
                                   preexec_fn=_as_a_launcher)
        for number in _ENDING:
            if signal.getsignal(number) != signal.SIG_IGN:
                signal.signal(number, pass_on)
    return process.wait(), told


@contextlib.contextmanager
def _held_back() -> Iterator[None]:
    """What would end this process comes when it is known what shall become of it."""
    signal.pthread_sigmask(signal.SIG_BLOCK, _ENDING)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _ENDING)


def _as_a_launcher() -> None:
    """To be told to end when this command dies, however it dies (prctl(2), PR_SET_PDEATHSIG), and to hear it."""
    pr_set_pdeathsig = 1
    _LIBC.prctl(pr_set_pdeathsig, signal.SIGTERM)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _ENDING)


def all_cores(threads: int) -> int:
    """The ranks that keep the cores busy which this process may use, with so many threads each."""
    return max(1, len(os.sched_getaffinity(0)) // threads)


def alone() -> None:
    """Say why there will be one rank."""
    say("menndl: one rank only, since there is no mpirun here, or no mpi4py: `pip install 'menndl_caffe[mpi]'`, or "
        "the system's openmpi-bin")
