"""Journals of every kind of run, damaged in every way; and all who read them.

Each damage has a name, and is the same in every run of the tests.
"""
from __future__ import annotations

import copy
import functools
import json
import random
import shutil
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, NamedTuple, Sequence, Tuple

from menndl_caffe import search
from menndl_caffe.experiment import recorded
from menndl_caffe.experiment.recorded import Run
from menndl_caffe.export import csv_files, event_files
from menndl_caffe.genome import Genome
from menndl_caffe.journal import NAME, Journal
from menndl_caffe.report.best import best_dict, best_text
from menndl_caffe.report.page import page
from menndl_caffe.report.status import status_dict, status_text
from menndl_caffe.run.identity import features
from menndl_caffe.run.loop import Loop
from menndl_caffe.run.numbering import Numbering
from menndl_caffe.trial import ADAPTIVE, DEFAULT, OK, RETRAIN, TEST, Earlier, Result, Trial
from menndl_caffe.watch import plain
from menndl_caffe.watch.live import LivePage
from menndl_caffe.watch.picture import Watched
from menndl_caffe.watch.screen import Screen
from tests.support import gradient_run, mixed_run, objective_run, odd_runs

NOW = 5000.0
ASKED = 200  # individuals after which a search that is gone on with is taken for one without an end
DEEP = 100_000

# What stands in the place of a field's value, as JSON or what Python takes for it.
VALUES: Tuple[str, ...] = (
    "null", "true", "false", "0", "-1", "1", "0.5", "1e308", "-1e308", "1e-320", "1e400", "NaN", "Infinity",
    str(10**400), "9" * 5000, str(2**63), str(2**31), str(2**63 - 1), '""', '"x"', '"1"', '"MAX"', '"ok"',
    '"failed"', r'"\u001b[2J\u0007"', r'"\ud800"', r'"\udcff"', '"' + "x" * 70_000 + '"', "[]", "[1]", "[[0, 0, 0]]",
    "[null]", '[["", NaN, {}]]', "{}", '{"x": 1}', '{"": null}', r'{"\ud800": "\ud800"}', '{"loss": 1e308}',
    "[" * DEEP + "]" * DEEP, '{"":' * DEEP + "0" + "}" * DEEP)


def adaptive(folder: Path) -> Path:
    """A run whose trainings learn decays; the test of the best trains with what it learned."""
    text = gradient_run.SEARCH.format(folder=folder, trials=2).replace(
        'type: "HYPERGRADIENT"', 'type: "ADAPTIVE"').replace("hypergradient_param { method: HOAG starts: 2 }\n", "")
    learned = {"groups": "PER_BLOB", "count": 2, "mean": 0.01, "quantiles": [0.0, 0.1], "values": {"a": 0.5},
               "curve": [[0, 0.1, 0.0, 0.2]], "predicted": {"loss": 0.5, "points": [[0.1, 0.2]]}, "sha256": "ab"}
    with Journal(folder / "run", fsync=False) as journal:
        journal.begin({"search": text, "engine": "torch", "started": 990.0, "seed": 9, "total": 2})
        for id, role in enumerate((DEFAULT, "individual", "individual")):
            journal.add_trial(Trial(id, Genome(gradient_run.NAMES, (0.001, 1.0 + id / 4)), 7, 500, role=role,
                                    program=ADAPTIVE), 0)
            journal.add_result(Result(id, OK, 0.5 + id / 9, 0.7, curve=((500, 0.5, 0.7),), started=1000.0 + id,
                                      seconds=1.0, host="n1", learned=learned))
        journal.add_trial(Trial(3, Genome(gradient_run.NAMES, (0.001, 1.5)), 7, 500, role=TEST, program=RETRAIN,
                                decays_of=2, decays="ab"), 0)
    return folder / "run"


def warm(folder: Path) -> Path:
    """A run that knows an individual of an earlier one, was gone on with, and met an individual again."""
    run = mixed_run.write(folder, mixed_run.TRIALS[:4])
    lines = run.joinpath(NAME).read_text().splitlines()
    first, genome = json.loads(lines[0]), Genome(mixed_run.NAMES, mixed_run.TRIALS[3][2])
    earlier = Earlier("other", genome, Result(3, OK, 0.5, 0.7, measures={"parameters": 9})).as_dict()
    again = [Trial(4, genome, 3, 500, 0), Result(3, OK, 0.66, 1.34, host="n1").copied_to(Trial(4, genome, 3, 500, 0))]
    more = {"slots": 2, "data_folder": "data", "data": "d", "versions": {"version": "1", "gpus": ["a"]}, "threads": 1,
            "host": "n1", "ranks": 2, "command": "menndl run x", "engine_found": "here", "mean": "", "math": "float32",
            "search_file": "x", "menndl": "1", "platform": "p", "menndl_python": "3"}
    run.joinpath(NAME).write_text("".join(json.dumps(line) + "\n" for line in (
        {**first, **more, "earlier": {"other": 1}}, {"event": "earlier", **earlier}, *map(json.loads, lines[1:]),
        {**first, **more, "event": "resume"}, {"event": "trial", **again[0].as_dict(), "rank": 1, "given": 1000.5},
        {"event": "result", **again[1].as_dict()}, {"event": "trial", **Trial(5, genome, 4, 500, 1).as_dict()})))
    return run


MORE = {"templates": {"net": "a", "solver": "b"}, "data": "d"}


def played(kind: str) -> Callable[[Path], Path]:
    """A run of this type of search, as it went until the sixth individual."""
    def write(folder: Path) -> Path:
        text = mixed_run.SEARCH.format(folder=folder, generations=1).replace(
            "ga_param { population: 4 generations: 1 }", kind)
        with Journal(folder / "run", fsync=False, judging=recorded.judging) as journal:
            journal.begin({"search": text, "engine": "torch", "started": 990.0, "total": 20, **MORE})
            _loop(journal, folder, 6)
        return folder / "run"
    return write


def _loop(journal: Journal, folder: Path, total: int) -> None:
    run = Run(folder, journal.record)
    numbering = Numbering(run.experiment)
    problem = search.Problem(run.space, run.message.random_seed, numbering, lambda genome: 1.0, run.objectives)
    default = numbering(run.space.default, role=DEFAULT)
    loop = Loop(search.make(run.message, problem), Farm(), journal, numbering, total, lambda *_: None,  # type: ignore
                lambda *_: None)
    loop.run([default])


def _first(write: Callable[[Path], Path], most: int) -> Callable[[Path], Path]:
    """The same run, cut off after so many lines."""
    def cut(folder: Path) -> Path:
        run = write(folder)
        lines = (run / NAME).read_bytes().splitlines(True)
        (run / NAME).write_bytes(b"".join(lines[:most]))
        return run
    return cut


KINDS: Dict[str, Callable[[Path], Path]] = {
    "generations": mixed_run.write, "warm": warm, "adaptive": adaptive, "gradient": gradient_run.write,
    "objectives": _first(lambda folder: objective_run.write(folder, objective_run.THREE), 15),
    "sizes": _first(lambda folder: objective_run.write(folder, objective_run.SIZE), 15),
    "hostile": _first(lambda folder: odd_runs.hostile(folder / "run"), 30),
    "GA": played("ga_param { population: 3 generations: 5 }"),
    "ASYNC_GA": played('type: "ASYNC_GA" limit { trials: 20 } async_ga_param { population: 3 }'),
    "GUIDED_GA": played('type: "GUIDED_GA" limit { trials: 20 }'),
    "CMA_ES": played('type: "CMA_ES" limit { trials: 20 } objective { measure: "loss" minimize: true }'),
    "validated": lambda folder: odd_runs.validated(folder / "run"),
    "waiting": lambda folder: odd_runs.waiting(folder / "run")}


def _replaced(lines: Sequence[bytes], number: int, *by: bytes) -> bytes:
    return b"".join([*lines[:number], *by, *lines[number + 1:]])


LETTERS = ("", "\x1b", "\ud800", "\x00", "{", "}", '"', "9", "-", "x", "#")


class Damage(NamedTuple):
    """A journal of a kind with a damage in it."""

    name: str
    content: bytes


def places(value: Any, path: Tuple[Any, ...] = ()) -> Iterator[Tuple[Any, ...]]:
    """The path of every value in a JSON object, the object's own left out."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, one in inner:
        yield (*path, name)
        yield from places(one, (*path, name))


def _with(line: Any, path: Sequence[Any], change: Callable[[Any, Any], None]) -> Any:
    changed = copy.deepcopy(line)
    inner = changed
    for name in path[:-1]:
        inner = inner[name]
    change(inner, path[-1])
    return changed


PLACE = "\x00here\x00"


def _text(line: Any, value: str = "") -> bytes:
    return json.dumps(line).replace(json.dumps(PLACE), value).encode() + b"\n"


def damages(content: bytes, chance: random.Random) -> Iterator[Damage]:
    """Without an end: a value is another one or missing, a letter of the search another; a line is missing, there
    twice, or another one's copy; a byte is another."""
    lines = content.splitlines(True)
    parsed = [json.loads(line) if line.endswith(b"\n") else None for line in lines]
    while True:
        number = chance.randrange(len(lines))
        line, replaced = parsed[number], functools.partial(_replaced, lines, number)
        how = chance.random()
        if how < 0.1 and line is not None and "search" in line:
            place, letter = chance.randrange(len(line["search"])), chance.choice(LETTERS)
            text = line["search"][:place] + letter + line["search"][place + 1:]
            yield Damage(f"line {number + 1} letter {place} of the search is {letter!r}",
                         replaced(_text({**line, "search": text})))
        elif how < 0.75 and line is not None:
            path = chance.choice(list(places(line)))
            value = chance.choice(VALUES)
            put = _with(line, path, lambda inner, name: inner.__setitem__(name, PLACE))
            yield Damage(f"line {number + 1} {path} = {value[:40]}", replaced(_text(put, value)))
        elif how < 0.85 and line is not None:
            path = chance.choice(list(places(line)))
            yield Damage(f"line {number + 1} without {path}",
                         replaced(_text(_with(line, path, lambda inner, name: inner.__delitem__(name)))))
        elif how < 0.92:
            other = chance.choice(lines)
            yield Damage(f"line {number + 1} is {other[:40]!r}", replaced(*chance.sample(
                [other, lines[number]], chance.choice((0, 1, 2)))))
        else:
            place, byte = chance.randrange(len(content)), chance.randrange(256)
            yield Damage(f"byte {place} is {byte}", content[:place] + bytes([byte]) + content[place + 1:])


class Farm:
    """Trains at once, and as well as the last digits of the trial's seed."""

    slots, hosts = 1, ()

    def __init__(self) -> None:
        self._trials: List[Trial] = []
        self.asked = 0

    @property
    def idle(self) -> bool:
        return not self._trials

    def submit(self, trial: Trial) -> int:
        self.asked += 1
        assert self.asked < ASKED, "a search without an end"
        self._trials.append(trial)
        return 0

    def poll(self, seconds: float) -> List[Result]:
        done, self._trials = self._trials, []
        return [Result(trial.id, OK, trial.seed % 97 / 97, 0.5, measures={"error": 0.5, "accuracy": 0.5})
                for trial in done]

    def lost(self) -> List[Trial]:
        return []


def go_on(folder: Path) -> None:
    """As `menndl run` does, its trainings apart."""
    with Journal(folder, fsync=False, judging=recorded.judging) as journal:
        if not journal.record.run:
            return
        features({**MORE, **Run(folder, journal.record).line}, folder)
        _loop(journal, folder, min(journal.record.run.get("total", 9), 9))


def look(folder: Path) -> None:
    """As `menndl watch` does."""
    watched = Watched(folder)
    if watched.picture is not None:
        plain.line(watched.picture)
        watched.picture.silence(NOW)
        for columns, rows in ((80, 24), (200, 60)):
            Screen(columns, rows).show(folder, watched.picture, NOW)


def export(folder: Path) -> None:
    """To csv and TensorBoard."""
    run = recorded.read(folder)
    for writer in (csv_files, event_files):
        out = folder / "export" / writer.__name__
        out.mkdir(parents=True, exist_ok=True)
        writer.write(run, out)  # type: ignore


READERS: Dict[str, Callable[[Path], Any]] = {
    "status": lambda folder: status_text(recorded.read(folder), NOW),
    "status --json": lambda folder: json.dumps(status_dict(recorded.read(folder), NOW), allow_nan=False),
    "best": lambda folder: best_text(recorded.read(folder)),
    "best --json": lambda folder: json.dumps(best_dict(recorded.read(folder), 3), allow_nan=False),
    "report": lambda folder: page([recorded.read(folder)]),
    "report of two": lambda folder: page([recorded.read(folder)] * 2),
    "report --watch": lambda folder: LivePage(folder, lambda run: page([run])).page(),
    "watch": look, "export": export, "run": go_on}


def write(folder: Path, content: bytes) -> Path:
    """A run's folder with this journal."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    (folder / NAME).write_bytes(content)
    return folder
