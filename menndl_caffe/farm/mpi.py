"""Master and training ranks over MPI. The master sends trials and takes results; it never waits for any one rank.

    master: submit -> WORK -> rank: evaluate -> RESULT -> master: poll        master: close -> STOP -> rank: LEFT

Messages are plain data. Nobody blocks inside MPI, since an MPI that waits burns the core on which a trainer computes.
Where the MPI outlives a rank that dies (Open MPI 5 under `mpirun --with-ft ulfm`, with mpi4py 4) the search does too:
the farm tells which trials are lost. Elsewhere the whole job dies with it.
"""
from __future__ import annotations

import atexit
import contextlib
import faulthandler
import os
import time
from itertools import chain
from typing import Any, Dict, Iterator, List, Optional, Sequence, Set, Tuple

import mpi4py

from menndl_caffe.farm import whose
from menndl_caffe.farm.local import LocalFarm
from menndl_caffe.rank.evaluate import Evaluator
from menndl_caffe.text import say
from menndl_caffe.trial import Result, Trial
from menndl_caffe.walltime import Walltime

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

    `hosts` are those of the ranks. A rank that dies is taken out. A job of which one rank was told to end (SIGTERM)
    ends as a whole, in order: `walltime` hears of it.
    """

    def __init__(self, comm: MPI.Comm, own: Optional[LocalFarm], hosts: Sequence[str], walltime: Walltime):
        self._comm, self._own, self._hosts, self._walltime = comm, own, hosts, walltime
        self._idle_ranks = dict.fromkeys(range(comm.size - 1, 0, -1))  # the last one is the next to get a trial
        self._running: Dict[int, Tuple[int, Trial]] = {}  # trial id -> rank, trial
        self._last: Dict[int, int] = {}  # rank -> the trial that it had last, or has
        self._sending: Dict[int, MPI.Request] = {}  # by trial id
        self._lost: List[Trial] = []
        self._dead: Set[int] = set()
        self._buried: Set[int] = set()  # of these, whose trials are lost
        self.closed = False

    @property
    def slots(self) -> int:
        """Slots altogether; those of dead ranks do not count."""
        return len(self._idle_ranks) + len(self._running) + (1 if self._own else 0)

    @property
    def idle(self) -> int:
        """Slots without a trial."""
        return len(self._idle_ranks) + (self._own.idle if self._own else 0)

    def submit(self, trial: Trial) -> int:
        """Send the trial to an idle rank, first of all to the one that can go on with it, or begin it here when all
        others are busy; which rank it is."""
        own = [MASTER] if self._own is not None and self._own.idle else []
        rank = whose(trial, chain(self._idle_ranks, own), self._last)
        if rank is None:
            rank = next(reversed(self._idle_ranks), MASTER)
        self._last[rank] = trial.id
        if rank == MASTER:
            assert self._own is not None and self._own.idle
            return self._own.submit(trial)
        del self._idle_ranks[rank]
        self._running[trial.id] = rank, trial
        with _whoever_died():
            self._sending[trial.id] = self._comm.isend(trial.as_dict(), dest=rank, tag=WORK)
        return rank

    def poll(self, seconds: float) -> List[Result]:
        """The results that have come; returns as well when trials are lost."""
        deadline = time.monotonic() + seconds
        backoff = Backoff()
        while True:
            results = self._received() + (self._own.poll(0.0) if self._own else [])
            if results or self._lost or time.monotonic() >= deadline:
                return results
            backoff.sleep()

    def lost(self) -> List[Trial]:
        """The trials of ranks that have died since the last call."""
        lost, self._lost = self._lost, []
        return lost

    def _received(self) -> List[Result]:
        results = []
        for rank, tag, content in self._messages():
            if tag == RESULT and self._running.get(content["id"], (None, None))[0] == rank:  # else it was buried
                result = Result.from_dict(content)
                del self._running[result.id]
                with _whoever_died():
                    self._sending.pop(result.id).wait()
                self._idle_ranks[rank] = None
                results.append(result)
            elif tag == TERMINATED:
                self._walltime.note(content)
        for rank in sorted(self._dead - self._buried):
            self._bury(rank)
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

    def _bury(self, rank: int) -> None:
        """Take a dead rank out, now that all that could be had of it has been received."""
        self._buried.add(rank)
        self._idle_ranks.pop(rank, None)
        lost = [id for id, (holder, _) in self._running.items() if holder == rank]
        self._lost += [self._running.pop(id)[1] for id in lost]
        fate = f"its trial {', '.join(map(str, lost))} begins anew" if lost else "it had no trial"
        say(f"menndl: rank {rank} on {self._hosts[rank]} has died; {fate}")
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


def serve(comm: MPI.Comm, evaluator: Evaluator, walltime: Walltime) -> None:
    """A training rank's side: evaluate what the master sends until it says stop, be it in the middle of a trial.

    Once terminated, it tells the master and gives it no more results: its trainer may have been signalled as well.
    """
    farm, backoff, status, told = LocalFarm(evaluator), Backoff(), MPI.Status(), False
    with contextlib.closing(farm):
        while True:
            if comm.iprobe(source=MASTER, tag=MPI.ANY_TAG, status=status):
                message = comm.recv(source=MASTER, tag=status.Get_tag())
                if status.Get_tag() == STOP:
                    break
                farm.submit(Trial.from_dict(message))
                backoff.reset()
            results = farm.poll(PATIENCE)
            if walltime.terminated and not told:
                comm.send(walltime.terminated, dest=MASTER, tag=TERMINATED)
                told = True
            for result in results if not told else []:
                comm.send(_message(result), dest=MASTER, tag=RESULT)
                backoff.reset()
            if farm.idle:
                backoff.sleep()
    comm.send(None, dest=MASTER, tag=LEFT)


def _message(result: Result) -> Dict[str, Any]:
    return {**result.as_dict(), "log": result.log}
