"""The table of a job's ranks, and below it what is wrong. Ranks that are alike are one row."""
from __future__ import annotations

import re
from typing import Any, Callable, Dict, Iterable, List, Sequence, Set, Tuple

from menndl_caffe.doctor.job.file_system import is_shared
from menndl_caffe.doctor.job.judge import Trouble, by_host
from menndl_caffe.doctor.job.place import Place
from menndl_caffe.text import aligned, interval

MANY = 32  # rows; where there would be more, hosts, cores and GPUs are told in sum
COMMAND = 40  # characters of a trainer's command
HEADER = ("rank", "host", "cores", "GPU", "free GiB", "MPI", "engine", "container", "images", "on", "lock.mdb")
_LAST_NUMBER = re.compile(r"([^.]*?)(\d+)([^\d.]*(?:\..*)?)")

Group = List[Place]


def report(places: Sequence[Place], troubles: Sequence[Trouble], rank_0_trains: bool) -> str:
    """The whole text."""
    rows = [_row(group) for group in _groups(places)]
    columns = [column for column in zip(HEADER, *rows) if any(column[1:])]
    cells = [[cell or "-" for cell in row] for row in zip(*columns)]
    role = "trains as well" if rank_0_trains else "is the master alone"
    first = places[0]
    about = (f"{_count(len(places), 'rank')} on {_count(len(by_host(places)), 'host')}, rank 0 {role}; "
             f"menndl {first.menndl} on Python {first.python}")
    return "\n".join([about, "", aligned(cells, left=range(len(columns))), "", *_told(places, troubles)])


def _told(places: Sequence[Place], troubles: Sequence[Trouble]) -> List[str]:
    hosts = {place.rank: place.host for place in places}
    lines = []
    for trouble in troubles:
        kind = "problem" if trouble.is_problem else "warning"
        where = f"{'rank' if len(trouble.ranks) == 1 else 'ranks'} {ranges(trouble.ranks)}"
        on = host_list({hosts[rank] for rank in trouble.ranks})
        lines += [f"{kind}: {where} on {on}: {trouble.what}", f"         -> {trouble.todo}"]
    problems = sum(trouble.is_problem for trouble in troubles)
    return [*lines, f"{_count(problems, 'problem')}, {_count(len(troubles) - problems, 'warning')}"]


def _groups(places: Sequence[Place]) -> List[Group]:
    exact = _folded(places, lambda place: (place.host, place.cores, place.gpu, *_common(place)))
    if len(exact) <= MANY:
        return exact
    return _folded(places, lambda place: (len(place.cores), bool(place.gpu), *_common(place)))


def _folded(places: Sequence[Place], key: Callable[[Place], Any]) -> List[Group]:
    groups: Dict[Any, Group] = {}
    for place in places:
        groups.setdefault(key(place), []).append(place)
    return list(groups.values())


def _row(group: Group) -> Tuple[str, ...]:
    free = [f"{amount(place.memory for place in group) / 2**30:.1f}" for amount in (min, max)]
    return (ranges(place.rank for place in group), host_list({place.host for place in group}), _cores(group),
            _gpu(group), interval(*free), *_common(group[0]))


def _cores(group: Group) -> str:
    sets = {place.cores for place in group}
    return ranges(group[0].cores) if len(sets) == 1 else f"{len(group[0].cores)} each"


def _gpu(group: Group) -> str:
    """The GPU, or how many ranks of the group use how many."""
    distinct = {(place.host, place.gpu) for place in group if place.gpu}
    if len(distinct) > 1:
        return "one each" if len(distinct) == len(group) else f"{len(distinct)} for {len(group)} ranks"
    return _short(group[0].gpu, 12) if distinct else "none"


def _common(place: Place) -> Tuple[str, ...]:
    """The last cells of a row."""
    looked_at = place.data or place.data_missing
    on = f"{place.file_system or 'unknown'}{' (shared)' if is_shared(place.file_system) else ''}"
    return (place.mpi, _short(place.engine, COMMAND) if place.engine else "missing", place.container,
            _images(place), on if looked_at else "", ("refused" if place.lock_refused else "ok") if place.data else "")


def _images(place: Place) -> str:
    counts = [f"{part} {count:,}" for part in ("train", "test")
              for name, count in place.images.items() if name.endswith(f"_{part}_lmdb")]
    return ", ".join(counts) or ("missing" if place.data_missing else "")


def _short(text: str, length: int) -> str:
    return text if len(text) <= length else f"{text[:length]}..."


def _count(number: int, what: str) -> str:
    return f"{number or 'no'} {what}{'' if number == 1 else 's'}"


def ranges(numbers: Iterable[int], width: int = 1) -> str:
    """Ascending numbers as people write them: `0-2,5`, with zeros before them up to `width` digits."""
    runs: List[List[int]] = []
    for number in sorted(numbers):
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return ",".join("-".join(f"{end:0{width}}" for end in sorted(set(run))) for run in runs)


def host_list(hosts: Set[str]) -> str:
    """Hosts as Slurm writes them: `node[001-004,007]`; the number is the last one before any dot."""
    families: Dict[Tuple[str, str, int], List[int]] = {}
    single: List[str] = []
    for host in sorted(hosts):
        match = _LAST_NUMBER.fullmatch(host)
        if match:
            families.setdefault((match[1], match[3], len(match[2])), []).append(int(match[2]))
        else:
            single.append(host)
    lists = [f"{before}{numbers[0]:0{width}}{after}" if len(numbers) == 1 else
             f"{before}[{ranges(numbers, width)}]{after}" for (before, after, width), numbers in families.items()]
    return ",".join(single + lists)
