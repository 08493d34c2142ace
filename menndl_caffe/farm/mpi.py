"""Master and training ranks over MPI. The master sends trials and takes results; it never waits for any one rank.

    master: submit -> WORK -> rank: evaluate -> RESULT -> master: poll        master: close -> STOP -> rank: LEFT

Messages are plain data. Nobody blocks inside MPI, since an MPI that waits burns the core on which a trainer computes.
Where the MPI outlives a rank that dies (Open MPI 5 under `mpirun --with-ft ulfm`, with mpi4py 4) the search does too:
another rank takes its trial over. Elsewhere the whole job dies with it.
"""
from __future__ import annotations

import atexit
import contextlib
import faulthandler
import os
import re
import signal
import socket
import sys
import time
import traceback
from typing import Any, Callable, Dict, Iterator, List, Optional, Sequence, Set, Tuple, TypeVar

import mpi4py

from menndl_caffe.errors import UserError
from menndl_caffe.farm import Farm, launched_size
from menndl_caffe.farm.local import SerialFarm
from menndl_caffe.rank.evaluate import Evaluator
from menndl_caffe.trial import Result, Trial
from menndl_caffe.walltime import Stopped

FAULT_TOLERANT = os.environ.get("OMPI_MCA_mpi_ft_enable") == "1"  # so tells `mpirun --with-ft ulfm` its ranks
STARTING_SECONDS = 900  # from the first rank's start until all have met

if FAULT_TOLERANT:  # else those that start would wait for ever for a rank that died before MPI_Init, or by MPI_Abort
    faulthandler.dump_traceback_later(STARTING_SECONDS, exit=True)
mpi4py.rc.finalize = False
from mpi4py import MPI  # noqa: E402

if not FAULT_TOLERANT:  # else MPI_Finalize may wait for ever for a rank that has died (Open MPI 5.0)
    atexit.register(MPI.Finalize)

MASTER = 0
WORK, RESULT, STOP, TERMINATED, LEFT = 1, 2, 3, 4, 5
PATIENCE = 0.1  # seconds until a rank in the middle of a trial looks for messages
LONG_MESSAGE = 2**20  # bytes
LEAVING_SECONDS = 10.0  # until ranks that do not answer are left behind

# What a call says that meets a dead rank. mpi4py 3 knows no such errors, and other MPIs' numbers mean something else.
DEATHS = tuple(getattr(MPI, name) for name in ("ERR_PROC_FAILED", "ERR_PROC_FAILED_PENDING")
               if FAULT_TOLERANT and hasattr(MPI, name))

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


@contextlib.contextmanager
def _whoever_died() -> Iterator[None]:
    """What is said to a dead rank is lost. Who has died, the next look for messages finds out."""
    try:
        yield
    except MPI.Exception as error:
        if error.Get_error_class() not in DEATHS:
            raise


def _dead_ranks(comm: MPI.Comm) -> Set[int]:
    """All that have died by now; from here on messages of the others can be taken again."""
    comm.Ack_failed()
    dead = comm.Get_failed()
    return set(dead.Translate_ranks(list(range(dead.size)), comm.Get_group()))


class MpiFarm:
    """The master's side: a slot for every training rank, and one for the master's own trainer where it has one.

    `hosts` are those of the ranks. A rank that dies is taken out, and another slot gets its trial.
    """

    def __init__(self, comm: MPI.Comm, own: Optional[SerialFarm], hosts: Sequence[str]):
        self._comm, self._own, self._hosts = comm, own, hosts
        self._idle_ranks = list(range(comm.size - 1, 0, -1))
        self._running: Dict[int, Trial] = {}  # by rank
        self._sending: Dict[int, MPI.Request] = {}
        self._orphans: List[Trial] = []  # their ranks have died
        self._dead: Set[int] = set()
        self.closed = False

    @property
    def slots(self) -> int:
        """Slots altogether; those of dead ranks do not count."""
        return len(self._idle_ranks) + len(self._running) + (1 if self._own else 0)

    @property
    def idle(self) -> int:
        """Slots without a trial that none waits for."""
        return 0 if self._orphans else self._free

    @property
    def _free(self) -> int:
        return len(self._idle_ranks) + (self._own.idle if self._own else 0)

    def submit(self, trial: Trial) -> int:
        """Send the trial to an idle rank, or begin it here when all others are busy."""
        if self._idle_ranks:
            rank = self._idle_ranks.pop()
            self._running[rank] = trial
            with _whoever_died():
                self._sending[rank] = self._comm.isend(trial.as_dict(), dest=rank, tag=WORK)
            return rank
        assert self._own is not None and self._own.idle
        return self._own.submit(trial)

    def lost(self) -> List[Trial]:
        """None yet."""
        return []

    def poll(self, seconds: float) -> List[Result]:
        """The results that have come."""
        deadline = time.monotonic() + seconds
        backoff = Backoff()
        while True:
            results = self._received() + (self._own.poll(0.0) if self._own else [])
            while self._orphans and self._free:
                self.submit(self._orphans.pop())
            if results or time.monotonic() >= deadline:
                return results
            backoff.sleep()

    def _received(self) -> List[Result]:
        results = []
        for rank, tag, content in self._messages():
            if tag == RESULT and rank in self._running:  # else it has died, and another has the trial
                del self._running[rank]
                with _whoever_died():
                    self._sending.pop(rank).wait()
                self._idle_ranks.append(rank)
                results.append(Result.from_dict(content))
            elif tag == TERMINATED:
                os.kill(os.getpid(), signal.SIGTERM)  # a job of which one rank must end ends as a whole, in order
        if self._dead:
            self._bury()
        return results

    def _messages(self) -> Iterator[Tuple[int, int, Any]]:
        """Rank, tag and content of all that has come.

        Matched probes, since others would find the message of a rank that died while sending it again and again.
        """
        status = MPI.Status()
        while True:
            try:
                message = self._comm.improbe(source=MPI.ANY_SOURCE, tag=MPI.ANY_TAG, status=status)
                if message is None:
                    return
                content = message.recv()
            except MPI.Exception as error:
                if error.Get_error_class() not in DEATHS:
                    raise
                self._dead |= _dead_ranks(self._comm)
            else:
                yield status.Get_source(), status.Get_tag(), content

    def _bury(self) -> None:
        """Take dead ranks out, now that all that could be had of them has been received."""
        for rank in sorted(self._dead):
            if rank in self._running:
                trial = self._running.pop(rank)
                self._orphans.append(trial)
                fate = f"its trial {trial.id} begins anew"
            elif rank in self._idle_ranks:
                self._idle_ranks.remove(rank)
                fate = "it had no trial"
            else:
                continue  # it is buried
            print(f"menndl: rank {rank} on {self._hosts[rank]} has died; {fate}", file=sys.stderr, flush=True)
        if not self.slots:
            raise SystemExit("menndl run: every training rank has died; the same command goes on")

    def close(self) -> None:
        """Stop every rank, also in the middle of a trial, and wait until it has left."""
        if self._own:
            self._own.close()
        staying = set(range(1, self._comm.size)) - self._dead
        stops = []
        for rank in staying:
            with _whoever_died():
                stops.append(self._comm.isend(None, dest=rank, tag=STOP))
        backoff, deadline = Backoff(), time.monotonic() + LEAVING_SECONDS
        while staying and time.monotonic() < deadline:
            staying -= {rank for rank, tag, _ in self._messages() if tag == LEFT}
            staying -= self._dead
            backoff.sleep()
        self.closed = not staying
        if staying:
            atexit.unregister(MPI.Finalize)  # which would wait for them


def serve(comm: MPI.Comm, evaluator: Evaluator, terminated: Callable[[], bool]) -> None:
    """A training rank's side: evaluate what the master sends until it says stop, be it in the middle of a trial.

    Once terminated, it tells the master and gives it no more results: its trainer may have been signalled as well.
    """
    farm, backoff, status, told = SerialFarm(evaluator), Backoff(), MPI.Status(), False
    with contextlib.closing(farm):
        while True:
            if comm.iprobe(source=MASTER, tag=MPI.ANY_TAG, status=status):
                message = comm.recv(source=MASTER, tag=status.Get_tag())
                if status.Get_tag() == STOP:
                    break
                farm.submit(Trial.from_dict(message))
                backoff.reset()
            results = farm.poll(PATIENCE)
            if terminated() and not told:
                comm.send(None, dest=MASTER, tag=TERMINATED)
                told = True
            for result in results if not told else []:
                comm.send(_message(result), dest=MASTER, tag=RESULT)
                backoff.reset()
            if farm.idle:
                backoff.sleep()
    comm.send(None, dest=MASTER, tag=LEFT)


def _message(result: Result) -> Dict[str, Any]:
    return {**result.as_dict(), "log": result.log}


def run_world(expected: Optional[int], prepare: Callable[[], P], evaluator: Callable[[P, int], Evaluator],
              master: Callable[[P, Farm, int], M], terminated: Callable[[], bool]) -> Optional[M]:
    """Play this process's role in the world: what `master` returns on rank 0, None elsewhere.

    Rank 0 prepares first, so that a mistake is told once. What fails later, on whichever rank, ends the whole job: a
    rank that left quietly would let the others wait for ever. `terminated` tells of SIGTERM to this process.
    """
    comm = MPI.COMM_WORLD
    check_world(comm, expected)
    if comm.rank == MASTER:
        return _play_master(comm, prepare, evaluator, master)
    if not comm.bcast(None, root=MASTER):
        raise SystemExit(2)
    try:
        parts = prepare()
        comm.gather(socket.gethostname(), root=MASTER)
        master_trains(comm)
        faulthandler.cancel_dump_traceback_later()
        serve(comm, evaluator(parts, comm.rank), terminated)
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
    farm = None
    try:
        comm.bcast(True, root=MASTER)
        hosts = comm.gather(socket.gethostname(), root=MASTER)
        farm = MpiFarm(comm, SerialFarm(evaluator(parts, MASTER)) if master_trains(comm) else None, hosts or ())
        faulthandler.cancel_dump_traceback_later()
        return master(parts, farm, comm.size)
    except BaseException as error:
        if farm is not None and not farm.closed:
            with contextlib.suppress(MPI.Exception):
                farm.close()
        if farm is None or not farm.closed:
            _abort(comm, error)
        raise


def gather(expected: Optional[int], look: Callable[[int, str], P]) -> Optional[Tuple[List[P], bool]]:
    """What `look(rank, MPI library)` finds on every rank, by rank, and whether rank 0 trains; None but on rank 0.

    All ranks look at the same moment, after a long message to the next one. UserError for a world of the wrong size.
    """
    comm = MPI.COMM_WORLD
    check_world(comm, expected)
    trains = master_trains(comm)
    comm.barrier()
    try:
        # As long as a result with its log, since ranks of a container may find each other and still not talk at length.
        comm.sendrecv(bytes(LONG_MESSAGE), (comm.rank + 1) % comm.size, source=(comm.rank - 1) % comm.size)
        seen = comm.gather(look(comm.rank, library()), root=MASTER)
    except BaseException as error:
        _abort(comm, error)
        raise
    return None if seen is None else (seen, trains)


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
    print(f"menndl: rank {comm.rank} on {socket.gethostname()}: {text}", file=sys.stderr, flush=True)
    if FAULT_TOLERANT and comm.rank != MASTER and not orphaned:
        os.kill(os.getpid(), signal.SIGKILL)  # there the others are not told of an MPI_Abort
    comm.Abort(2 if isinstance(error, UserError) else os.EX_TEMPFAIL if isinstance(error, Stopped) else 1)
