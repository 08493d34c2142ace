"""Whether a run is being worked at: who holds RUN/lock; and who tells of it: `status`, `list`, `watch`, which also
waits for a run that has not begun."""
from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any, Dict

import pytest

from menndl_caffe import writer
from menndl_caffe.journal import Journal
from menndl_caffe.report import listing
from menndl_caffe.watch import command as watch_command
from menndl_caffe.watch.picture import Watched
from menndl_caffe.watch.plain import line
from tests.support import runs
from tests.support.in_process import Menndl, cut, lines_of
from tests.support.searches import FIRST_LINE

HOLD = """import sys, time
from pathlib import Path
from menndl_caffe.writer import locked
held = locked(Path(sys.argv[1]))
print("held", flush=True)
time.sleep(1000)
"""


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of four."""
    folder = tmp_path_factory.mktemp("runs")
    search = runs.write_search(folder / "s.search.prototxt", runs.small_data(folder / "data"), kind=runs.RANDOM,
                               trials=4)
    assert runs.start(["run", search, "--out", folder / "whole"], env=runs.environment(FAKE_SECONDS="0")).wait() == 0
    return folder / "whole"


@pytest.fixture
def run(whole: Path, tmp_path: Path) -> Path:
    """The same, stopped after its third result."""
    lines = [line for line in lines_of(whole) if json.loads(line).get("id", 0) < 3]
    return cut(lines, tmp_path / "my run")


def state(menndl: Menndl, run: Path) -> Dict[str, Any]:
    status = menndl.json("status", run)
    assert menndl("status", run) == 0
    return {"state": status["state"], "writer": status["writer"], "text": menndl.out.splitlines()[-1][12:]}


def test_a_run_whose_lock_is_held_is_running(local: Menndl, run: Path) -> None:
    """By another process; killed, it is stopped. Nothing is locked by looking."""
    holder = subprocess.Popen([sys.executable, "-c", HOLD, run], stdout=subprocess.PIPE, cwd=runs.REPOSITORY,
                              env=runs.environment())
    assert holder.stdout is not None
    with holder, holder.stdout:
        assert holder.stdout.readline() == b"held\n"
        who = {"process": holder.pid, "host": socket.gethostname()}
        named = f"process {holder.pid} on {who['host']}"
        assert state(local, run) == {"state": "running", "writer": who, "text": f"running: {named}"}
        watched = Watched(run)
        assert watched.picture is not None and "stopped" not in line(watched.picture)
        copy = run.with_name("copy")
        shutil.copytree(run, copy)
        assert state(local, copy)["state"] == "stopped", "what is held is another file"
        holder.kill()
    assert state(local, run) == {"state": "stopped", "writer": who,
                                 "text": f"stopped; `menndl run '{run}'` resumes it"}
    watched.look()
    assert line(watched.picture).endswith("  stopped") and "stopped, last result " in watched.picture.silence(0.0)


def test_a_complete_run_is_neither(local: Menndl, whole: Path) -> None:
    assert state(local, whole)["state"] == "complete" and state(local, whole)["text"] == "complete"


def test_on_another_machine_nobody_can_tell(local: Menndl, run: Path) -> None:
    (run / "lock").write_text("process 12 on node7\n")
    found = state(local, run)
    assert (found["state"], found["writer"]) == ("unknown", {"process": 12, "host": "node7"})
    assert found["text"].startswith("not complete; was being written by process 12 on node7, the last time ")
    assert found["text"].endswith(f" ago; if that has ended, `menndl run '{run}'` resumes it")
    assert "stopped" not in line(Watched(run).picture)


@pytest.mark.parametrize("text", ["", "process twelve on node7\n", "process 12 on node7", "\0" * 300, "process 1 on \n",
                                  "process 12 on node 7\n", "process 12 on node7\nmore\n"])
def test_an_odd_lock_says_nothing(local: Menndl, run: Path, text: str) -> None:
    (run / "lock").write_text(text)
    assert writer.writer(run) is None
    assert state(local, run) == {"state": "unknown", "writer": None, "text":
                                 f"not complete; if nobody is working at it, `menndl run '{run}'` resumes it"}


def test_a_lock_that_is_a_link_is_not_followed(run: Path) -> None:
    (run / "elsewhere").write_text(f"process {os.getpid()} on {socket.gethostname()}\n")
    (run / "lock").symlink_to(run / "elsewhere")
    assert writer.writer(run) is None


@pytest.mark.parametrize("has_open", [True, False])
def test_where_the_file_system_has_no_locks(run: Path, monkeypatch: pytest.MonkeyPatch, has_open: bool) -> None:
    """Who has the file open is at it."""
    monkeypatch.setattr(writer, "lock", lambda file: "No locks available")
    held = writer.locked(run)
    if not has_open:
        held.close()
    assert writer.writer(run) == (os.getpid(), socket.gethostname(), has_open)
    held.close()


def test_a_process_number_that_another_has_now(run: Path) -> None:
    (run / "lock").write_text(f"process 1 on {socket.gethostname()}\n")
    assert writer.writer(run) == (1, socket.gethostname(), False)


def test_the_journals_path_stands_for_the_run(local: Menndl, whole: Path) -> None:
    for command in (["status"], ["best"], ["watch", "--once"], ["export", "--to", "csv"]):
        name, *more = command
        assert local(name, whole / "journal.jsonl", *more) == 0, local.said
        said = local.out.replace("/journal.jsonl", "")
        assert local(name, whole, *more) == 0 and local.out.splitlines()[0] == said.splitlines()[0]
    assert local("status", whole / "nothing.jsonl") == 2


# list

def test_a_table_of_all_runs(local: Menndl, whole: Path, run: Path) -> None:
    folder = run.parent
    shutil.copytree(whole, folder / "deep" / "er" / "run")
    damaged = cut([*lines_of(run)[:3], "{}\n", "{}\n"], folder / "another")
    (folder / "empty").mkdir()
    (folder / "run" / "trials").mkdir(parents=True)
    (folder / "to it").symlink_to(whole)
    os.utime(run / "journal.jsonl", (0, 1e9))
    rows = {row["name"]: row for row in local.json("list", folder)}
    assert list(rows) == ["another", "deep/er/run", "my run"]
    assert list(rows["another"]) == ["name", "size", "changed_seconds_ago", "error"]
    found = rows["deep/er/run"]
    assert (found["type"], found["engine"], found["done"], found["total"], found["state"]) == ("RANDOM", "caffe", 4, 4,
                                                                                              "complete")
    assert found["size"] == sum(path.stat().st_size for path in (folder / "deep").rglob("*") if path.is_file())
    assert found["best"] == pytest.approx(float(found["best_text"]), abs=1e-4)
    assert (rows["my run"]["done"], rows["my run"]["state"]) == (2, "unknown")
    assert local("list", folder) == 0
    head, first, second, error = local.out.splitlines()
    assert head.split() == "run type engine individuals best state last change size".split()
    assert first.startswith("deep/er/run  RANDOM  caffe") and "4 of 4" in first and "complete" in first
    assert second.startswith("my run ") and "2 of 4" in second
    assert error.startswith(f"another: {damaged}/journal.jsonl:4: damaged: ")


def test_where_there_is_nothing_to_list(local: Menndl, tmp_path: Path) -> None:
    assert local("list", tmp_path) == 0 and local.out == f"no run in {tmp_path}, nor below it\n"
    assert local.json("list", tmp_path) == []
    assert local("list", tmp_path / "none") == 2 and "no such folder" in local.said


def test_a_run_is_listed_by_its_own_folder(local: Menndl, whole: Path) -> None:
    assert [row["name"] for row in local.json("list", whole)] == ["."]


@pytest.mark.parametrize("size, text", [(0, "0 B"), (999, "999 B"), (1000, "1 kB"), (1234, "1.2 kB"), (9949, "9.9 kB"),
                                        (9950, "10 kB"), (999_400, "999 kB"), (999_600, "1 MB"), (23_400_000, "23 MB"),
                                        (5 * 10**15, "5000 TB")])
def test_sizes_in_words(size: int, text: str) -> None:
    assert listing.bytes_text(size) == text


# watch

def test_watch_waits_for_a_run_that_is_about_to_begin(local: Menndl, whole: Path, tmp_path: Path,
                                                      monkeypatch: pytest.MonkeyPatch) -> None:
    run, looks = tmp_path / "run", []

    def sleep(seconds: float) -> None:
        """Somebody makes the folder, then begins the journal, then the rest comes."""
        looks.append(seconds)
        if len(looks) == 1:
            run.mkdir()
        elif len(looks) == 2:
            (run / "journal.jsonl").touch()
        elif len(looks) == 3:
            shutil.copy(whole / "journal.jsonl", run / "journal.jsonl")

    monkeypatch.setattr(watch_command.time, "sleep", sleep)
    assert local("watch", run, "--plain") == 0
    assert local.said.count("no run in") == 1
    assert f"menndl watch: no run in {run} yet; waiting until one begins there, Ctrl-C ends that\n" in local.said
    assert local.out.splitlines()[0] == "the run has not begun" and local.out.splitlines()[-1].endswith("complete")
    assert looks[:2] == [watch_command.WAITING_SECONDS] * 2 and len(looks) == 3


def test_watch_once_waits_for_nothing(local: Menndl, tmp_path: Path) -> None:
    assert local("watch", tmp_path / "run", "--once") == 2 and "is not a run" in local.said


def test_watch_does_not_wait_for_what_cannot_be(local: Menndl, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert local("watch", tmp_path / "file") == 2 and "is no folder; expected that of a run" in local.said


def test_a_reader_holds_up_no_run_that_begins(tmp_path: Path) -> None:
    """However often it looks."""
    with Journal(tmp_path) as first:
        first.begin(FIRST_LINE)
    ended = threading.Event()

    def look() -> None:
        while not ended.is_set():
            writer.writer(tmp_path)

    reader = threading.Thread(target=look)
    reader.start()
    try:
        for _ in range(50):
            with Journal(tmp_path):
                pass
    finally:
        ended.set()
        reader.join()
