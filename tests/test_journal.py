"""The journal: what was recorded is read back, a torn end is forgiven, other damage is named, one writer writes."""
from __future__ import annotations

import errno
import fcntl
import json
import multiprocessing
import os
import shutil
import signal
from dataclasses import replace
from pathlib import Path
from typing import Callable, List

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from menndl_caffe import journal
from menndl_caffe.errors import UserError
from menndl_caffe.genome import Genome
from menndl_caffe.journal import Journal
from menndl_caffe.text import printable
from menndl_caffe.trial import DEFAULT, STATUSES, Result, Trial
from tests.support import runs


def trial(id: int, value: int = 0, role: str = "individual") -> Trial:
    return Trial(id, Genome(("kernel1", "pool"), (value, "MAX")), seed=7, max_iter=10, generation=0, role=role)


def result(id: int, fitness: float = 0.5) -> Result:
    return Result(id, "ok", fitness, loss=1.25, curve=((0, 0.1, 2.3), (10, fitness, 1.25)), started=1e9, seconds=2.5,
                  engine_seconds=2.0, rank=3, host="node7")


FIRST = {"search": "x", "engine": "caffe", "started": 1e9}


def write(run: Path, n: int) -> None:
    with Journal(run) as writer:
        writer.begin(FIRST)
        for id in range(n):
            writer.add_trial(trial(id, id))
            writer.add_result(result(id, id / 10))


def test_what_is_recorded_is_read_back(tmp_path: Path) -> None:
    write(tmp_path, 4)
    record = journal.read(tmp_path)
    assert record.run["search"] == "x"
    assert record.trials == {id: trial(id, id) for id in range(4)}
    assert record.results == {id: result(id, id / 10) for id in range(4)}


fields = st.fixed_dictionaries({
    "status": st.sampled_from(STATUSES), "fitness": st.floats(0, 1), "loss": st.none() | st.floats(0, 100),
    "reason": st.text(max_size=30),
    "curve": st.lists(st.tuples(st.integers(0, 4000), st.floats(0, 1), st.floats(0, 90))).map(tuple),
    "rank": st.integers(0, 18688), "host": st.text(max_size=9), "same_as": st.none() | st.integers(0, 9)})


@given(fields)
def test_every_result_survives_json(known: dict) -> None:
    told = {name: printable(known[name]) for name in ("reason", "host")}  # what the master writes there
    before = Result(5, **{**known, **told})
    assert Result.from_dict(json.loads(json.dumps(before.as_dict(), allow_nan=False))) == before


@given(st.integers(0, 10**6))
@settings(max_examples=60, deadline=None)
def test_a_journal_cut_anywhere_loses_at_most_its_last_line(tmp_path_factory: pytest.TempPathFactory, cut: int) -> None:
    run = tmp_path_factory.mktemp("run")
    write(run, 3)
    path = run / journal.NAME
    whole = path.read_bytes()
    cut = cut % (len(whole) + 1)
    path.write_bytes(whole[:cut])
    kept = whole[:cut].count(b"\n")
    record = journal.read(run)
    assert len(record.trials) == kept // 2 and len(record.results) == max(0, (kept - 1) // 2)
    with Journal(run) as writer:  # going on after the tear leaves a whole journal
        writer.begin(FIRST)
        for id in range(3):
            if id not in writer.record.results:
                writer.add_trial(trial(id, id))
                writer.add_result(result(id, id / 10))
    assert journal.read(run).results == {id: result(id, id / 10) for id in range(3)}


def damage(lines: List[str], number: int, line: str) -> List[str]:
    return lines[:number - 1] + [line] + lines[number:]


@pytest.mark.parametrize("number, line, expected", [
    (3, "{garbage", "damaged"),
    (3, '{"event": "result"}', "field 'id' is missing; expected a whole number"),
    (3, '{"event": "banana"}', "field 'event' is \"banana\"; expected one of run, earlier, resume, trial, result"),
    (3, '{"event": "run"}', "first line"),
    (1, '{"event": "trial", "id": 0}', "first line"),
    (5, '{"event": "result", "id": 0, "status": "ok", "fitness": 1.0}', "second result of trial 0"),
    (5, '{"event": "result", "id": 9, "status": "ok", "fitness": 1.0}', "never handed out"),
    (3, '{"event": "result", "id": 0, "status": "fine", "fitness": 1.0}', "'status' is \"fine\"; expected one of ok"),
    (3, '{"event": "result", "id": 0, "status": "ok", "fitness": 1.0, "seconds": "long"}', "field 'seconds' is"),
    (3, '{"event": "result", "id": 0, "status": "ok", "fitness": NaN}', "NaN is no number"),
    (3, '{"event": "result", "id": 0, "status": "ok", "fitness": 1e400}', "'fitness' is Infinity; expected a finite"),
    (3, '{"event": "result", "id": 0, "status": "ok", "fitness": 1e39}', "'fitness' is 1e+39; expected a finite"),
    (3, "[" * 100_000 + "]" * 100_000, "lists or objects within each other, too many"),
    (3, "9" * 5000, "damaged"),
    (3, '{"event": "result", "id": 0, "status": "ok", "fitness": true}', "field 'fitness' is true"),
    (1, '{"event": "run", "search": "x", "engine": "caffe"}', "field 'started' is missing"),
    (1, '{"event": "run", "search": "x", "engine": "caffe", "started": 1, "total": 0}', "field 'total' is 0; expected"),
    (3, '[1, 2]', "damaged"),
    (3, '\x00\x00\x00', "damaged"),
])
def test_damage_is_an_error_that_names_the_line(tmp_path: Path, number: int, line: str, expected: str) -> None:
    write(tmp_path, 3)
    path = tmp_path / journal.NAME
    path.write_text("\n".join(damage(path.read_text().splitlines(), number, line)) + "\n")
    before = path.read_bytes()
    for attempt in (lambda: journal.read(tmp_path), lambda: Journal(tmp_path)):
        with pytest.raises(UserError, match=f"journal.jsonl:{number}: ") as error:
            attempt()
        assert expected in str(error.value)
    assert path.read_bytes() == before  # and nothing is lost by the attempt


def hold(run: Path, held: multiprocessing.synchronize.Event) -> None:
    with Journal(run):
        held.set()
        signal.pause()


def test_two_masters_on_one_run_are_refused_and_a_killed_one_leaves_no_lock(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    held = context.Event()
    other = context.Process(target=hold, args=(tmp_path, held))
    other.start()
    try:
        assert held.wait(runs.PATIENCE)
        with pytest.raises(UserError, match=f"is being written by process {other.pid} on "):
            Journal(tmp_path)
        journal_path = tmp_path / journal.NAME
        assert journal_path.exists()
    finally:
        other.kill()
        other.join()
    with Journal(tmp_path):
        pass


def test_a_file_system_without_locks_is_worked_on_and_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                                           capsys: pytest.CaptureFixture) -> None:
    """That nobody else writes there cannot be known, but it is not said of anybody either."""
    write(tmp_path, 1)
    monkeypatch.setattr(fcntl, "flock", lambda *_: (_ for _ in ()).throw(OSError(errno.ENOLCK, "No locks available")))
    with Journal(tmp_path) as writer:
        assert writer.record.results.keys() == {0}
    said = capsys.readouterr().err
    assert said.startswith(f"menndl run: warning: {tmp_path}/lock cannot be locked (No locks available): ")


def test_a_folder_without_journal_and_a_file_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is not a run"):
        journal.read(tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="--out .*file: File exists; expected a folder"):
        Journal(tmp_path / "file")


def test_a_result_is_on_disk_before_add_result_returns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: List[int] = []
    monkeypatch.setattr(os, "fsync", lambda fd: synced.append(os.fstat(fd).st_size))
    with Journal(tmp_path) as writer:
        writer.begin(FIRST)
        writer.add_trial(trial(0))
        before = len(synced)
        writer.add_result(result(0))
        assert len(synced) == before + 1 and synced[-1] == (tmp_path / journal.NAME).stat().st_size


def test_a_result_is_not_written_into_a_deleted_file(tmp_path: Path) -> None:
    with Journal(tmp_path / "run") as writer:
        writer.begin({**FIRST, "seed": 11})
        writer.add_trial(trial(0))
        shutil.rmtree(tmp_path / "run")
        with pytest.raises(UserError, match=r"run/journal\.jsonl was deleted or moved"):
            writer.add_result(result(0))


# ---- what is no longer the file that was written ----

def by_an_editor(path: Path) -> None:
    """Or `sed -i`, or a folder moved away and copied back: the same text in another file."""
    content = path.read_bytes()
    path.unlink()
    path.write_bytes(content)


def by_a_link(path: Path) -> None:
    path.rename(path.with_name("elsewhere"))
    path.symlink_to(path.with_name("copy"))
    path.with_name("copy").write_bytes(path.with_name("elsewhere").read_bytes())


def by_a_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


CHANGES = {by_an_editor: "is another file than", by_a_link: "is another file than", by_a_pipe: "is another file than",
           lambda path: path.write_bytes(b""): "has 0 bytes, and the search has written up to ",
           lambda path: grow(path.parent, b"\n"): "another `menndl run`, or another program, writes it",
           lambda path: path.rename(path.with_name("moved")): "was deleted or moved"}


@pytest.mark.parametrize("what", ["begin", "trial", "result"])
@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_nothing_is_added_to_a_journal_that_was_changed(tmp_path: Path, what: str,
                                                        change: Callable[[Path], None]) -> None:
    write(tmp_path, 2)
    path = tmp_path / journal.NAME
    with Journal(tmp_path) as writer:
        writer.add_trial(trial(2))
        own = path.open("rb")  # what the writer writes, wherever the name leads
        before = own.read()
        change(path)
        then = path.read_bytes() if path.is_file() else b""
        add = {"begin": lambda: writer.begin(FIRST), "trial": lambda: writer.add_trial(trial(3), 1),
               "result": lambda: writer.add_result(result(2))}[what]
        with pytest.raises(UserError, match=CHANGES[change]):
            add()
        assert (path.read_bytes() if path.is_file() else b"") == then
        own.seek(0)
        assert own.read() in (before, then)
        own.close()


def test_two_masters_see_each_other_where_locks_exclude_nobody(tmp_path: Path) -> None:
    """As on NFS with nolock, or where somebody removes RUN/lock: the one that was there first ends, the other goes on,
    and nothing that was recorded is lost."""
    first = Journal(tmp_path)
    first.begin(FIRST)
    first.add_trial(trial(0), 0)
    first.add_result(result(0))
    first.add_trial(trial(1, 1), 0)
    (tmp_path / "lock").unlink()
    second = Journal(tmp_path)
    first.add_result(result(1, 0.1))  # before the second one writes anything
    with pytest.raises(UserError, match="another `menndl run`, or another program, writes it"):
        second.begin(FIRST)
    first.add_trial(trial(2, 2), 0)
    for master in (first, second):
        master.__exit__(None, None, None)
    record = journal.read(tmp_path)
    assert record.results == {0: result(0), 1: result(1, 0.1)} and list(record.trials) == [0, 1, 2]


def test_a_torn_line_of_a_living_master_is_not_cut_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may have become whole since it was read."""
    write(tmp_path, 1)
    line = json.dumps({"event": "trial", **trial(1).as_dict()}).encode() + b"\n"
    grow(tmp_path, line[:20])
    look = journal.Follower.look

    def look_and_grow(follower: journal.Follower) -> list:
        entries = look(follower)
        grow(tmp_path, line[20:])
        return entries

    monkeypatch.setattr(journal.Follower, "look", look_and_grow)
    with Journal(tmp_path) as writer, pytest.raises(UserError, match="another `menndl run`"):
        writer.begin(FIRST)
    monkeypatch.undo()
    assert list(journal.read(tmp_path).trials) == [0, 1]


def test_equal_trials_and_results_of_two_masters_are_no_damage(tmp_path: Path) -> None:
    write(tmp_path, 2)
    before = journal.read(tmp_path)
    again = replace(result(0, 0.0), started=2e9, seconds=9.0, engine_seconds=8.0, rank=1, host="node8")
    for line in ({"event": "resume"}, {"event": "trial", **trial(0).as_dict(), "rank": 5, "given": 2e9},
                 {"event": "result", **again.as_dict()}):
        grow(tmp_path, json.dumps(line).encode() + b"\n")
    record = journal.read(tmp_path)
    assert (record.results, record.trials, record.calls, record.given) == (before.results, before.trials, before.calls,
                                                                           before.given)
    with Journal(tmp_path) as writer:
        writer.begin(FIRST)
    grow(tmp_path, json.dumps({"event": "result", **replace(again, fitness=0.5).as_dict()}).encode() + b"\n")
    with pytest.raises(UserError, match="second result of trial 0"):
        journal.read(tmp_path)


def test_a_journal_that_is_a_pipe_holds_nobody_up_and_links_are_not_written_through(tmp_path: Path) -> None:
    (tmp_path / "pipe").mkdir()
    os.mkfifo(tmp_path / "pipe" / journal.NAME)
    for attempt in (journal.read, Journal):
        with pytest.raises(UserError, match=r"journal\.jsonl: is no regular file"):
            attempt(tmp_path / "pipe")
    for name in (journal.NAME, "lock"):
        run, own = tmp_path / f"link {name}", tmp_path / f"own {name}"
        run.mkdir()
        own.write_bytes(b"")
        (run / name).symlink_to(own)
        with pytest.raises(UserError, match="is a link, which is not followed|Too many levels of symbolic links"):
            Journal(run).begin(FIRST)
        assert own.read_bytes() == b""


def test_best_are_different_individuals_fittest_first(tmp_path: Path) -> None:
    with Journal(tmp_path) as writer:
        writer.begin(FIRST)
        writer.add_trial(trial(0, 99, role=DEFAULT))
        writer.add_result(result(0, 0.99))  # the default is no individual
        for id, value, fitness in ((1, 4, 0.5), (2, 5, 0.7), (3, 5, 0.7), (4, 6, 0.7), (5, 7, 0.1)):
            writer.add_trial(trial(id, value))
            writer.add_result(result(id, fitness))
        record = writer.record
    assert [t.id for t, _ in record.best(3)] == [2, 4, 1]
    assert record.default() == result(0, 0.99)


def grow(run: Path, *pieces: bytes) -> None:
    with open(run / journal.NAME, "ab") as file:
        file.writelines(pieces)


def test_a_journal_can_be_followed_while_it_is_written(tmp_path: Path) -> None:
    with Journal(tmp_path) as writer:
        follower = journal.Follower(tmp_path)
        assert follower.look() == [] and follower.record.run == {}
        writer.begin(FIRST)
        assert follower.look() == [{"event": "run", **FIRST}]
        writer.add_trial(trial(0))
        writer.add_result(result(0))
        assert follower.look() == [trial(0), result(0)] and follower.look() == []
    with Journal(tmp_path) as writer:
        writer.begin({"host": "other"})
        writer.add_trial(trial(1))
        writer.add_result(result(1, 0.9))
    assert follower.look() == [{"event": "resume", "host": "other"}, trial(1), result(1, 0.9)]
    assert follower.record == journal.read(tmp_path)


def test_a_torn_line_waits_for_its_end(tmp_path: Path) -> None:
    write(tmp_path, 2)
    whole = (tmp_path / journal.NAME).read_bytes()
    (tmp_path / journal.NAME).write_bytes(b"")
    follower, entries = journal.Follower(tmp_path), []
    for i in range(len(whole)):
        grow(tmp_path, whole[i:i + 1])
        new = follower.look()
        assert len(new) == (whole[i:i + 1] == b"\n")
        entries += new
    assert entries[1:] == [trial(0, 0), result(0, 0.0), trial(1, 1), result(1, 0.1)]


def test_a_torn_line_may_be_another_after_a_resume(tmp_path: Path) -> None:
    write(tmp_path, 1)
    follower = journal.Follower(tmp_path)
    follower.look()
    grow(tmp_path, b'{"event": "trial", "id": 77, "a much longer line than the one that takes its place')
    assert follower.look() == []
    with Journal(tmp_path) as writer:
        writer.begin({"seed": 1})
    assert follower.look() == [{"event": "resume", "seed": 1}]


def test_only_what_is_new_is_read(tmp_path: Path) -> None:
    write(tmp_path, 3)
    follower = journal.Follower(tmp_path)
    follower.look()
    with open(tmp_path / journal.NAME, "r+b") as file:
        file.write(b"not any more what it was" * 5)
    grow(tmp_path, b'{"event": "resume"}\n')
    assert follower.look() == [{"event": "resume"}]


def test_damage_is_named_by_its_line_also_later(tmp_path: Path) -> None:
    write(tmp_path, 1)
    follower = journal.Follower(tmp_path)
    follower.look()
    grow(tmp_path, b'{"event": "resume"}\n{"event": "banana"}\n')
    with pytest.raises(UserError, match="journal.jsonl:5: damaged: field 'event' is \"banana\""):
        follower.look()


@pytest.mark.parametrize("change", ["shorter", "other", "gone"])
def test_a_journal_that_is_another_one_is_not_followed(tmp_path: Path, change: str) -> None:
    write(tmp_path, 3)
    path = tmp_path / journal.NAME
    follower = journal.Follower(tmp_path)
    follower.look()
    if change == "shorter":
        os.truncate(path, 20)
    elif change == "other":
        path.write_bytes(b"x" * 5000)
    else:
        path.unlink()
    with pytest.raises(UserError, match="is not a run" if change == "gone" else "was cut or replaced"):
        follower.look()


# ---- every field of every line is judged ----

TRIAL_LINE = {"event": "trial", **trial(1).as_dict(), "rank": 2, "given": 1e9}
RESULT_LINE = {"event": "result", **replace(result(1), measures={"parameters": 5}).as_dict(), "same_as": 0}
NO_GOOD = {
    "run": {"search": [7, None], "engine": [7], "started": ["now", -1, True], "total": [0, 1.5, "3", True],
            "generations": [0, "3"], "templates": ["x", {"net": 1}], "data": [7], "mean": [None], "math": [{}],
            "versions": ["1", {"version": 1}, {"gpus": [1]}], "image_shape": [3, [1, 2], [1, 2, 0], [1, 2, 2**31]],
            "test_images": [-1, "1"], "seed": [-1], "earlier": [[], {"a": 0}], "search_file": [7, "a\0"],
            "data_folder": [[], "\ud800"],
            "menndl": [7], "engine_found": [7], "host": [7], "platform": [7], "menndl_python": [3.11], "command": [[]],
            "threads": [0], "ranks": ["2"], "slots": [None]},
    "trial": {"id": [-1, 1.0, "1", None, True], "role": ["banana", 7], "generation": [-1, 0.5, "0", 2**31],
              "genes": [{}, [], {"kernel1": None}, {"kernel1": True}, {"kernel1": [1]}], "seed": [-1, "7", 0.5],
              "max_iter": [0, "10"], "rank": [-1, "2", 0.5], "given": ["now", -1, None, 1e12]},
    "result": {"id": [-1, 1.0, "1", None], "status": ["fine", None], "fitness": [True, "0.5", None, 10**400],
               "loss": ["1", True, None], "reason": [7, None], "host": [7], "started": ["now", -1, 1e12],
               "seconds": ["long", -1, True], "engine_seconds": ["long"], "rank": [-1, 0.5, "3"], "same_as": [-1, "0"],
               "measures": [[], {"parameters": "5"}, {"parameters": None}],
               "curve": ["", [7], [[1, 2]], [["1", 0.1, 2.3]], [[1, None, 2.3]], [[1, 0.1, True]], [[-1, 0.1, 2.3]]]},
}


@pytest.mark.parametrize("event, name, value", [(event, name, value) for event, names in NO_GOOD.items()
                                                for name, values in names.items() for value in values])
def test_a_field_that_is_no_good_is_named(tmp_path: Path, event: str, name: str, value: object) -> None:
    lines = [{"event": "run", **FIRST, "total": 3, "generations": 1}, {"event": "trial", **trial(0).as_dict()},
             TRIAL_LINE, RESULT_LINE]
    path = tmp_path / journal.NAME
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert len(journal.read(tmp_path).results) == 1
    number = max(i for i, line in enumerate(lines) if line["event"] == event)
    lines[number] = {**lines[number], name: value}
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    with pytest.raises(UserError, match=rf"journal.jsonl:{number + 1}: damaged: field '{name}' is .*; expected "):
        journal.read(tmp_path)


def test_a_trial_may_be_given_to_another_rank_until_its_result(tmp_path: Path) -> None:
    with Journal(tmp_path) as writer:
        writer.begin(FIRST)
        writer.add_trial(trial(1), 4)
        writer.add_trial(trial(1), 2)
        writer.add_trial(trial(2))
        writer.add_trial(trial(2))
        assert journal.read(tmp_path).calls == [trial(1), trial(2)] == writer.record.calls
        assert {id: given.rank for id, given in journal.read(tmp_path).given.items()} == {1: 2}
        writer.add_result(result(1))
        with pytest.raises(ValueError, match="handed out again after its result"):
            writer.add_trial(trial(1), 3)
        with pytest.raises(ValueError, match="another one than before"):
            writer.add_trial(trial(2, value=9), 3)
    assert len((tmp_path / journal.NAME).read_text().splitlines()) == 5
    assert journal.read(tmp_path).calls == [trial(1), trial(2), result(1)]
