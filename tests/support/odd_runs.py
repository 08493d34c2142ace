"""Journals as they seldom are: nothing yet, failures alone, one individual, no generations, hostile text."""
from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path
from typing import Any, Callable, Dict, Iterable, List, Optional, Tuple

from menndl_caffe.genome import Genome
from menndl_caffe.journal import NAME, Journal
from menndl_caffe.trial import CRASHED, DEFAULT, DIVERGED, INDIVIDUAL, OK, TEST, TIMEOUT, Result, Trial

HOSTILE = "</script><script>hacked=1</script>\"'&<b onclick=hacked=1>\u2028\u2029\x00\ud800\u202e"
NAMES = ("base_lr", "momentum", "pool", "fixed", "a_long_name_of_a_gene_that_nobody_would_want_to_read_on_an_axis")
SEARCH = """\
net: "net.j2"
solver: "solver.j2"
{algorithm}
gene {{ name: "base_lr" real_range {{ min: 0.00001 max: 0.1 scale: LOG }} default: 0.001 }}
gene {{ name: "momentum" real_range {{ min: 0.5 max: 0.99 }} default: 0.9 }}
gene {{ name: "pool" choice {{ value: "MAX" value: "<i>AVE</i>" value: "STOCHASTIC" default: "MAX" }} }}
gene {{ name: "fixed" int_range {{ min: 3 max: 3 }} default: 3 }}
gene {{ name: "a_long_name_of_a_gene_that_nobody_would_want_to_read_on_an_axis"
        int_range {{ min: 1 max: 8 }} default: 5 }}
max_iter: 500
random_seed: 9
"""
Pair = Tuple[Trial, Optional[Result]]


def _write(folder: Path, pairs: Iterable[Pair], total: Optional[int] = 4, generations: Optional[int] = 1,
           search_more: str = "", **run: Any) -> Path:
    algorithm = f"ga_param {{ population: {(total or 0) // generations} generations: {generations} }}" \
        if generations else 'type: "RANDOM"\nlimit { trials: 100 }'
    sizes = {name: number for name, number in (("total", total), ("generations", generations)) if number}
    with Journal(folder, fsync=False) as journal:
        journal.begin({"search": SEARCH.format(algorithm=algorithm) + search_more, "engine": "caffe", "seed": 9,
                       "command": "menndl run x", "test_images": 1000, "started": 990.0, **sizes, **run})
        for trial, result in pairs:
            journal.add_trial(trial)
            if result is not None:
                journal.add_result(result)
    return folder


def _trial(id: int, generation: Optional[int] = 0) -> Trial:
    chance = random.Random(id)
    genes = (float(f"{10 ** chance.uniform(-5, -1):.6g}"), round(chance.uniform(0.5, 0.99), 5),
             chance.choice(["MAX", "<i>AVE</i>", "STOCHASTIC"]), 3, chance.randint(1, 8))
    role = DEFAULT if generation is None else INDIVIDUAL
    return Trial(id, Genome(NAMES, genes), 7, 500, generation, role)


def _ok(id: int, accuracy: float, started: float = 1000.0) -> Result:
    return Result(id, OK, accuracy, 2 - accuracy, curve=((250, 0.8 * accuracy, 1.9), (500, accuracy, 2 - accuracy)),
                  started=started, seconds=10, rank=id % 3, host="n1")


def empty(folder: Path) -> Path:
    """Begun, nothing handed out."""
    return _write(folder, [])


def waiting(folder: Path) -> Path:
    """Two trials without a result, and a line that is being written."""
    _write(folder, [(_trial(0, None), None), (_trial(1), None)])
    with open(folder / NAME, "ab") as file:
        file.write(b'{"event": "result", "id": 1, "sta')
    return folder


def failed(folder: Path) -> Path:
    """The default and all four individuals failed."""
    results = [Result(i, DIVERGED, reason=f"loss is nan at iteration {10 * i}", started=1000.0 + i, seconds=1)
               for i in range(1, 5)]
    return _write(folder, [(_trial(0, None), Result(0, CRASHED, reason="killed", started=1000, seconds=1)),
                           *((_trial(result.id), result) for result in results)])


def one(folder: Path) -> Path:
    """One individual, no default."""
    return _write(folder, [(_trial(1), _ok(1, 0.5))], total=1)


def default_only(folder: Path) -> Path:
    """The default has a result, no individual yet."""
    return _write(folder, [(_trial(0, None), _ok(0, 0.5)), (_trial(1), None)])


def hostile(folder: Path) -> Path:
    """Every text that may come from elsewhere tries to be markup, script, or to turn the direction of writing."""
    pairs: List[Pair] = [(_trial(0, None), _ok(0, 0.5))]
    for i in range(1, 120):
        result = _ok(i, random.Random(-i).uniform(0.3, 0.8), 1000.0 + 4 * i)
        if i % 11 == 0:
            result = Result(i, TIMEOUT, reason=f"late {HOSTILE}", started=1000.0 + 4 * i, seconds=20, rank=i % 3,
                            host=HOSTILE)
        pairs.append((_trial(i, i // 40), result))
    run = _write(folder, pairs, 160, 4, engine=HOSTILE, data=HOSTILE, versions={HOSTILE: HOSTILE}, host=HOSTILE,
                 templates={HOSTILE: HOSTILE}, math=HOSTILE, command=f"menndl run '{HOSTILE}' \" --out x")
    (run / "trials" / "11").mkdir(parents=True)
    for name in ("train_test.prototxt", "<img src=x onerror=hacked=1>"):
        (run / "trials" / "11" / name).write_text(HOSTILE.replace("\ud800", "").replace("\x00", ""))
    return run


def validated(folder: Path) -> Path:
    """A search on held-out images without generations, its best one tested in the end."""
    pairs: List[Pair] = [(_trial(0, None), _ok(0, 0.5))]
    pairs += [(replace(_trial(i), generation=None), _ok(i, 0.4 + i / 100, 1000.0 + 4 * i)) for i in range(1, 31)]
    pairs.append((replace(_trial(31), role=TEST, genome=_trial(30).genome, generation=None), _ok(31, 0.65, 1200.0)))
    return _write(folder, pairs, 30, None, "fitness_set: VALIDATION\n")


def open_ended(folder: Path) -> Path:
    """45 individuals of a search without generations, and nobody knows how many will follow; every fifth failed."""
    pairs: List[Pair] = [(_trial(0, None), _ok(0, 0.5))]
    for i in range(1, 46):
        measures = {"parameters": 1000 + i, "multiply_adds": 2_000_000 + i, "memory": 4000 * i}
        result = replace(_ok(i, round(0.4 + i / 100, 2), 1000.0 + 4 * i), measures=measures) if i % 5 else \
            Result(i, DIVERGED, reason="loss is nan", started=1000.0 + 4 * i, seconds=1, measures=measures)
        pairs.append((replace(_trial(i), generation=None), result))
    return _write(folder, [*pairs, (replace(_trial(46), generation=None), None)], None, None)


KINDS: Dict[str, Callable[[Path], Path]] = {
    made.__name__: made for made in (empty, waiting, failed, one, default_only, hostile, validated, open_ended)}
