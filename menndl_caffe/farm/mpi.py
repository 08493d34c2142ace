"""Master and training ranks over MPI. The master sends trials and takes results; it never waits for any one rank.

    master: submit -> WORK -> rank: evaluate -> RESULT -> master: poll        master: close -> STOP -> rank: leave

Messages are plain data. Nobody blocks inside MPI, since an MPI that waits burns the core on which a trainer computes.
"""
from __future__ import annotations

import os
import socket
import sys
import time
import traceback
from typing import Any, Callable, Dict, List, Optional, TypeVar

from mpi4py import MPI

from menndl_caffe.errors import UserError
from menndl_caffe.evaluate import Evaluator
from menndl_caffe.farm import Farm, launched_size
from menndl_caffe.farm.serial import SerialFarm
from menndl_caffe.trial import Result, Trial

MASTER = 0
WORK, RESULT, STOP = 1, 2, 3

P = TypeVar("P")  # what a rank prepares
M = TypeVar("M")  # what the master returns


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
    library = MPI.Get_library_version().split(",")[0].strip()
    return f"launcher and MPI library of this Python ({library}) do not belong together; `menndl doctor` shows both"


def master_trains(comm: MPI.Comm) -> bool:
    """Whether rank 0 trains as well: when its host has a core for each of its ranks, its own would be idle otherwise.

    Collective.
    """
    node = comm.Split_type(MPI.COMM_TYPE_SHARED)
    cores = set().union(*node.allgather(os.sched_getaffinity(0)))
    fits = comm.bcast(node.size <= len(cores), root=MASTER)
    node.Free()
    return bool(fits or comm.size == 1)


class Backoff:
    """Sleeps a little longer each time nothing came, from 50 microseconds to 5 milliseconds."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Something came."""
        self._seconds = 5e-5

    def sleep(self) -> None:
        """Nothing came."""
        time.sleep(self._seconds)
        self._seconds = min(2 * self._seconds, 5e-3)


class MpiFarm:
    """The master's side: a slot for every training rank, and one for the master's own trainer where it has one."""

    def __init__(self, comm: MPI.Comm, own: Optional[SerialFarm]):
        self._comm, self._own = comm, own
        self._idle_ranks = list(range(comm.size - 1, 0, -1))
        self._sending: Dict[int, MPI.Request] = {}
        self.slots = comm.size - 1 + (1 if own else 0)

    @property
    def idle(self) -> int:
        """Slots without a trial."""
        return len(self._idle_ranks) + (self._own.idle if self._own else 0)

    @property
    def busy(self) -> bool:
        """Whether another rank is in the middle of a trial."""
        return bool(self._sending)

    def submit(self, trial: Trial) -> None:
        """Send the trial to an idle rank, or begin it here when all others are busy."""
        if self._idle_ranks:
            rank = self._idle_ranks.pop()
            self._sending[rank] = self._comm.isend(trial.as_dict(), dest=rank, tag=WORK)
        else:
            assert self._own is not None and self._own.idle
            self._own.submit(trial)

    def poll(self, seconds: float) -> List[Result]:
        """The results that have come."""
        deadline = time.monotonic() + seconds
        backoff = Backoff()
        while True:
            results = self._received() + (self._own.poll(0.0) if self._own else [])
            if results or time.monotonic() >= deadline:
                return results
            backoff.sleep()

    def _received(self) -> List[Result]:
        results, status = [], MPI.Status()
        while self._comm.iprobe(source=MPI.ANY_SOURCE, tag=RESULT, status=status):
            rank = status.Get_source()
            results.append(Result.from_dict(self._comm.recv(source=rank, tag=RESULT)))
            self._sending.pop(rank).wait()
            self._idle_ranks.append(rank)
        return results

    def close(self) -> None:
        """Stop every rank."""
        for request in [self._comm.isend(None, dest=rank, tag=STOP) for rank in range(1, self._comm.size)]:
            request.wait()
        if self._own:
            self._own.close()


def serve(comm: MPI.Comm, evaluator: Evaluator) -> None:
    """A training rank's side: evaluate what the master sends until it says stop."""
    backoff, status = Backoff(), MPI.Status()
    try:
        while True:
            while not comm.iprobe(source=MASTER, tag=MPI.ANY_TAG, status=status):
                backoff.sleep()
            backoff.reset()
            message = comm.recv(source=MASTER, tag=status.Get_tag())
            if status.Get_tag() == STOP:
                return
            comm.send(_message(evaluator.evaluate(Trial.from_dict(message))), dest=MASTER, tag=RESULT)
    finally:
        evaluator.close()


def _message(result: Result) -> Dict[str, Any]:
    return {**result.as_dict(), "log": result.log}


def run_world(expected: Optional[int], prepare: Callable[[], P], evaluator: Callable[[P, int], Evaluator],
              master: Callable[[P, Farm, int], M]) -> Optional[M]:
    """Play this process's role in the world: what `master` returns on rank 0, None elsewhere.

    Rank 0 prepares first, so that a mistake is told once. What fails later, on whichever rank, ends the whole job: a
    rank that left quietly would let the others wait for ever.
    """
    comm = MPI.COMM_WORLD
    check_world(comm, expected)
    if comm.rank == MASTER:
        return _play_master(comm, prepare, evaluator, master)
    if not comm.bcast(None, root=MASTER):
        raise SystemExit(2)
    try:
        parts = prepare()
        master_trains(comm)
        serve(comm, evaluator(parts, comm.rank))
    except BaseException as error:
        _abort(comm, error)
    return None


def _play_master(comm: MPI.Comm, prepare: Callable[[], P], evaluator: Callable[[P, int], Evaluator],
                 master: Callable[[P, Farm, int], M]) -> M:
    try:
        parts = prepare()
    except BaseException:
        comm.bcast(False, root=MASTER)
        raise
    comm.bcast(True, root=MASTER)
    farm = None
    try:
        farm = MpiFarm(comm, SerialFarm(evaluator(parts, MASTER)) if master_trains(comm) else None)
        return master(parts, farm, comm.size)
    except BaseException as error:
        if farm is None or farm.busy:  # ranks in the middle of a training would hold up an orderly end
            _abort(comm, error)
        raise


def _abort(comm: MPI.Comm, error: BaseException) -> None:
    """Say what happened where, and end the job."""
    mistake = isinstance(error, (UserError, SystemExit))
    text = str(error) if mistake else "".join(traceback.format_exception(type(error), error, error.__traceback__))
    print(f"menndl: rank {comm.rank} on {socket.gethostname()}: {text}", file=sys.stderr, flush=True)
    comm.Abort(2 if isinstance(error, UserError) else 1)
