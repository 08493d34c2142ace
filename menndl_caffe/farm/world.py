"""A world of ranks, from its start to its end: who plays which role, and what becomes of the others when one fails."""
from __future__ import annotations

import contextlib
import faulthandler
import os
import re
import signal
import socket
import traceback
from typing import Any, Callable, Iterator, List, Optional, Protocol, Tuple

from menndl_caffe.errors import UserError
from menndl_caffe.farm import Farm, launched, launched_size
from menndl_caffe.farm.local import LocalFarm
from menndl_caffe.farm.mpi import DEATHS, FAULT_TOLERANT, LONG_MESSAGE, MASTER, MPI, MpiFarm, serve
from menndl_caffe.rank.evaluate import Evaluator
from menndl_caffe.text import say
from menndl_caffe.walltime import Stopped, Walltime


class Job(Protocol):
    """What a world does; every rank has one."""

    walltime: Walltime

    def prepare(self) -> object:
        """Make what the rest needs, on rank 0 before all others, so that a mistake is told once."""

    def has(self) -> Any:
        """On rank 0, of what all must have the same: plain data."""

    def check(self, first: Any) -> None:
        """On the others, UserError where they have another than rank 0."""

    def evaluator(self, rank: int) -> Evaluator:
        """What a rank that trains trains with."""

    def master(self, farm: Farm, ranks: int) -> None:
        """Rank 0's work, until the farm is closed."""


def play(job: Job, expected: Optional[int] = None) -> None:
    """Play this process's role in the world. UserError for a world of the wrong size.

    What fails after rank 0 has prepared, on whichever rank, ends the whole job: a rank that left quietly would let the
    others wait for ever.
    """
    comm = MPI.COMM_WORLD
    job.walltime.listen()
    launched.meet(comm.rank == MASTER)
    check_world(comm, expected)
    if comm.rank == MASTER:
        _lead(comm, job)
    else:
        _follow(comm, job)


def _lead(comm: MPI.Comm, job: Job) -> None:
    try:
        job.prepare()
        first = job.has()
    except BaseException as error:
        comm.bcast((_exit_code(error), None), root=MASTER)
        raise
    farm = None
    try:
        comm.bcast((0, first), root=MASTER)
        hosts = comm.gather(socket.gethostname(), root=MASTER)
        own = LocalFarm(job.evaluator(MASTER)) if master_trains(comm) else None
        farm = MpiFarm(comm, own, hosts or (), job.walltime)
        faulthandler.cancel_dump_traceback_later()
        job.master(farm, comm.size)
    except BaseException as error:
        if farm is not None and not farm.closed:
            with contextlib.suppress(MPI.Exception):
                farm.close()
        if farm is None or not farm.closed:
            _abort(comm, error)
        raise


def _follow(comm: MPI.Comm, job: Job) -> None:
    failed, first = comm.bcast(None, root=MASTER)
    if failed:
        raise SystemExit(failed)
    with _or_abort(comm):
        job.prepare()
        job.check(first)
        comm.gather(socket.gethostname(), root=MASTER)
        master_trains(comm)
        faulthandler.cancel_dump_traceback_later()
        serve(comm, job.evaluator(comm.rank), job.walltime)


def check_world(comm: MPI.Comm, expected: Optional[int]) -> None:
    """UserError unless the world is as large as the user and the launcher say. Only rank 0 says so.

    Where launcher and MPI library do not fit together, every process believes to be alone.
    """
    launched = launched_size()
    wanted, who = (expected, "--expect-ranks wants") if expected else (launched, "the launcher started")
    if wanted and comm.size != wanted:
        if comm.rank != MASTER:
            raise SystemExit(2)
        ranks = f"{comm.size} rank" + "s" * (comm.size != 1)
        raise UserError(f"the MPI world has {ranks}, {who} {wanted}: {_why_not(comm, launched, wanted)}")


def _why_not(comm: MPI.Comm, launched: int, wanted: int) -> str:
    """What a world of the wrong size is likely to come from."""
    if not launched:
        return f"no launcher started this process; `mpirun -n {wanted} menndl run ...` does (or srun, aprun)"
    if launched == comm.size:
        return f"the launcher was told to start {launched}"
    return (f"launcher and MPI library of this Python ({library()}) do not belong together; "
            "`menndl doctor` shows both")


def library() -> str:
    """Name and version of the MPI library: of the paragraphs that some say, the beginning."""
    return " ".join(re.split("[,\n]", MPI.Get_library_version())[0].split())


def master_trains(comm: MPI.Comm) -> bool:
    """Whether rank 0 trains as well: when its host has a core for each of its ranks, its own would be idle otherwise.

    Collective.
    """
    node = comm.Split_type(MPI.COMM_TYPE_SHARED)
    cores = set().union(*node.allgather(os.sched_getaffinity(0)))
    fits = comm.bcast(node.size <= len(cores), root=MASTER)
    node.Free()
    return bool(fits or comm.size == 1)


def gather(expected: Optional[int], look: Callable[[int, str], Any]) -> Optional[Tuple[List[Any], bool]]:
    """What `look(rank, MPI library)` finds on every rank, by rank, and whether rank 0 trains; None but on rank 0.

    All ranks look at the same moment, after a long message to the next one. UserError for a world of the wrong size.
    """
    comm = MPI.COMM_WORLD
    check_world(comm, expected)
    trains = master_trains(comm)
    comm.barrier()
    with _or_abort(comm):
        # As long as a result with its log, since ranks of a container may find each other and still not talk at length.
        comm.sendrecv(bytes(LONG_MESSAGE), (comm.rank + 1) % comm.size, source=(comm.rank - 1) % comm.size)
        seen = comm.gather(look(comm.rank, library()), root=MASTER)
    return None if seen is None else (seen, trains)


@contextlib.contextmanager
def _or_abort(comm: MPI.Comm) -> Iterator[None]:
    try:
        yield
    except BaseException as error:
        _abort(comm, error)
        raise


def _abort(comm: MPI.Comm, error: BaseException) -> None:
    """Say what happened where, and end the job; one that is fault tolerant goes on without a rank that breaks."""
    orphaned = isinstance(error, MPI.Exception) and error.Get_error_class() in DEATHS
    if orphaned:
        text = "a rank that it needs has died; the same command goes on"
    elif isinstance(error, KeyboardInterrupt):
        text = "interrupted; the same command goes on"
    elif isinstance(error, (UserError, SystemExit, Stopped)):
        text = str(error)
    else:
        text = "".join(traceback.format_exception(type(error), error, error.__traceback__))
    say(f"menndl: rank {comm.rank} on {socket.gethostname()}: {text}")
    if FAULT_TOLERANT and comm.rank != MASTER and not orphaned:
        os.kill(os.getpid(), signal.SIGKILL)  # there the others are not told of an MPI_Abort
    comm.Abort(_exit_code(error))


def _exit_code(error: BaseException) -> int:
    return 2 if isinstance(error, UserError) else os.EX_TEMPFAIL if isinstance(error, Stopped) else 1
