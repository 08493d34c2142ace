"""What is wrong with the places of a job's ranks: problems, with which a run fails or is not what was meant, and
warnings, with which it works."""
from __future__ import annotations

import functools
from collections import Counter, defaultdict
from typing import Any, Callable, Dict, Iterable, Iterator, List, NamedTuple, Sequence, Set, Tuple

from menndl_caffe.doctor.job.file_system import is_shared
from menndl_caffe.doctor.job.gpu import is_certain
from menndl_caffe.doctor.job.place import Place

SECONDS_APART = 60.0
ONE_GPU_A_RANK = ("have the launcher give each rank its own (srun --gpus-per-task=1, jsrun -g 1, flux run -g 1), "
                  "or set CUDA_VISIBLE_DEVICES to the rank's number on its host")
TRAINER_BYTES = 300e6  # of a trainer with real Caffe, as `menndl doctor` says


class Trouble(NamedTuple):
    """One thing that is wrong on some ranks, and what to do about it."""

    is_problem: bool
    ranks: Tuple[int, ...]
    what: str
    todo: str


def judge(places: Sequence[Place], rank_0_trains: bool, launched: int) -> List[Trouble]:
    """All that is wrong, problems first. `launched` is how many ranks the launcher speaks of, 0 for no launcher.

    A rank 0 that does not train needs neither a GPU nor a core.
    """
    training = [place for place in places if place.rank or rank_0_trains]
    found = [*_versions(places), *_engines(places), *_gpus(training), *_data(places), *_shared_data(places),
             *_templates(places),
             *_cores(training), *_memory(training), *_clocks(places), *_alone(places, launched)]
    return sorted(_merged(found), key=lambda trouble: not trouble.is_problem)


def _merged(troubles: Iterable[Trouble]) -> Iterator[Trouble]:
    """The same trouble on many ranks or hosts, as one."""
    ranks: Dict[Any, Set[int]] = defaultdict(set)
    for trouble in troubles:
        ranks[trouble.is_problem, trouble.what, trouble.todo].update(trouble.ranks)
    for (is_problem, what, todo), on in ranks.items():
        yield Trouble(is_problem, tuple(sorted(on)), what, todo)


def by_host(places: Iterable[Place]) -> Dict[str, List[Place]]:
    """The ranks of every host."""
    hosts: Dict[str, List[Place]] = defaultdict(list)
    for place in places:
        hosts[place.host].append(place)
    return hosts


def _ranks(places: Iterable[Place]) -> Tuple[int, ...]:
    return tuple(place.rank for place in places)


def _unlike(places: Sequence[Place], value: Callable[[Place], Any]) -> Iterator[Tuple[Any, Any, List[Place]]]:
    """A value that is not what most have, what most have, and the ranks with it; of equally many, rank 0's first."""
    values = [value(place) for place in places if value(place)]
    if values:
        usual = Counter(map(_hashable, values)).most_common(1)[0][0]
        for other in dict.fromkeys(map(_hashable, values)):
            if other != usual:
                yield other, usual, [place for place in places if _hashable(value(place)) == other]


def _hashable(value: Any) -> Any:
    return tuple(value.items()) if isinstance(value, dict) else value


def _versions(places: Sequence[Place]) -> Iterator[Trouble]:
    versions: Dict[str, Callable[[Place], str]] = {
        "menndl": lambda place: place.menndl, "MPI": lambda place: place.mpi, "Python": lambda place: place.python}
    for name, version in versions.items():
        for other, usual, ranks in _unlike(places, version):
            yield Trouble(name != "Python", _ranks(ranks), f"{name} is {other}, on the others {usual}",
                          "start the same installation or image on every node")


def _engines(places: Sequence[Place]) -> Iterator[Trouble]:
    for place in places:
        if place.engine_missing:
            yield Trouble(True, (place.rank,), place.engine_missing, "make the engine's files visible on every node")
    for other, usual, ranks in _unlike(places, lambda place: place.engine):
        yield Trouble(False, _ranks(ranks), f"the engine is {other}, on the others {usual}",
                      "set MENNDL_TRAINER or MENNDL_CAFFE_PYTHON to the same on all of them")



def _gpus(training: Sequence[Place]) -> Iterator[Trouble]:
    places = [place for place in training if not place.computes_on_cpu]
    without = [place for place in places if not place.gpu]
    if 0 < len(without) < len(places):
        yield Trouble(True, _ranks(without), "no GPU is visible, while other ranks have one", ONE_GPU_A_RANK)
    for ranks in by_host(places).values():
        yield from _shared_gpus([place for place in ranks if place.gpu])
    for place in places:
        if place.gpu and place.container and not is_certain(place.gpu):
            yield Trouble(False, (place.rank,), f"has GPU {place.gpu} by its number, but no nvidia-smi in the "
                                                "container shows one", "NVIDIA's GPUs need apptainer exec --nv")


def _shared_gpus(places: Sequence[Place]) -> Iterator[Trouble]:
    """What is wrong with the GPUs of one host."""
    users = Counter(place.gpu for place in places)
    idle = {gpu for place in places for gpu in place.gpus} - set(users)
    for gpu, count in users.items():
        if count > 1:
            ranks = _ranks(place for place in places if place.gpu == gpu)
            if idle:
                what, todo = f"{count} ranks share a GPU while their host has {len(idle)} idle", ONE_GPU_A_RANK
            else:
                what = f"{count} ranks share a GPU, as their host has more ranks than GPUs"
                todo = "start a rank a GPU; for a run on the CPU alone, set CUDA_VISIBLE_DEVICES to nothing"
            yield Trouble(is_certain(gpu), ranks, what, todo)


def _data(places: Sequence[Place]) -> Iterator[Trouble]:
    stage = "copy the databases onto every node before menndl starts, and name the copy with --data"
    for place in places:
        if place.data_missing:
            yield Trouble(True, (place.rank,), f"data: {place.data_missing}", stage)
        if place.lock_refused:
            yield Trouble(True, (place.rank,), f"{place.lock_refused}: Caffe ends with `mdb_status == 0 (13 vs. 0)`",
                          "give each node a copy of its own, made by the user who runs and without lock.mdb")
    for _, _, ranks in _unlike(places, lambda place: place.data):
        yield Trouble(True, _ranks(ranks), "the data are not those of the other ranks", stage)


def _templates(places: Sequence[Place]) -> Iterator[Trouble]:
    same = "have the same files on every node, such as on a file system that all share"
    for place in places:
        if place.templates_missing:
            yield Trouble(True, (place.rank,), f"the search: {place.templates_missing}", same)
    for other, usual, ranks in _unlike(places, lambda place: place.templates):
        kinds = [kind for kind, checksum in other if (kind, checksum) not in usual]
        yield Trouble(True, _ranks(ranks), f"not the same {' and '.join(kinds)} as the other ranks have", same)


def _shared_data(places: Sequence[Place]) -> Iterator[Trouble]:
    for place in places:
        if is_shared(place.file_system):
            what = f"the data lie on a shared file system ({place.file_system}), which every rank reads all the time"
            todo = "copy them to a disk or the memory of each node (/tmp, /dev/shm), and name the copy with --data"
            yield Trouble(False, (place.rank,), what, todo)


def _cores(training: Sequence[Place]) -> Iterator[Trouble]:
    for places in by_host(training).values():
        cores = {core for place in places for core in place.cores}
        at_once = cores_of_their_own(tuple(place.cores for place in places))
        if at_once == len(places):
            continue
        if len(places) > len(cores):
            todo = "start fewer ranks a node, or ask for more cores"
        else:
            todo = "let the launcher bind each to its own (mpirun --bind-to core, srun --cpu-bind=cores, aprun -cc cpu)"
        yield Trouble(False, _ranks(places), f"{len(places)} ranks train on their host, but {at_once} at a time have a "
                                             f"core of their own of the {len(cores)} they may use", todo)


@functools.cache  # the hosts of a job are alike
def cores_of_their_own(allowed: Tuple[Tuple[int, ...], ...]) -> int:
    """How many of the ranks that may run on these cores can run at once: the largest matching of ranks and cores."""
    owner: Dict[int, int] = {}

    def settle(rank: int, refused: Set[int]) -> bool:
        """Give the rank a core, free or freed by moving its owner to another one."""
        free = next((core for core in allowed[rank] if core not in owner), None)
        if free is not None:
            owner[free] = rank
            return True
        for core in allowed[rank]:
            if core not in refused:
                refused.add(core)
                if settle(owner[core], refused):
                    owner[core] = rank
                    return True
        return False

    return sum(settle(rank, set()) for rank in range(len(allowed)))


def _memory(training: Sequence[Place]) -> Iterator[Trouble]:
    for places in by_host(training).values():
        free = min(place.memory for place in places)
        if 0 < free < TRAINER_BYTES * len(places):
            yield Trouble(False, _ranks(places), f"{free / 2**30:.1f} GiB are free on the host of {len(places)} ranks, "
                                                 "and a trainer takes about 0.3", "start fewer ranks a node")


def _clocks(places: Sequence[Place]) -> Iterator[Trouble]:
    for place in places:
        ahead = place.clock - places[0].clock
        if abs(ahead) > SECONDS_APART:
            direction = "ahead of" if ahead > 0 else "behind"
            what = f"the clock is {abs(ahead):.0f} s {direction} rank 0's, and times in the journal with it"
            yield Trouble(False, (place.rank,), what, "set the clocks of the nodes (chrony, ntpd)")


def _alone(places: Sequence[Place], launched: int) -> Iterator[Trouble]:
    if len(places) == 1 and not launched:
        yield Trouble(False, _ranks(places), "the world is this rank alone, and no launcher says otherwise",
                      "if a launcher has started more, --expect-ranks N tells")
