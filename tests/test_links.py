"""A run that comes from elsewhere: what is read of it are regular files inside it, and nothing is written beyond it."""
from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Callable

import pytest

from menndl_caffe.errors import UserError
from menndl_caffe.experiment import adaptive, recorded
from menndl_caffe.experiment.render import NET_FILE, SOLVER_FILE, Renderer
from menndl_caffe.experiment.sources import Sources
from menndl_caffe.export import command as export
from menndl_caffe.files import replacing, write
from menndl_caffe.report.files import PAGE, write_comparison, write_report
from menndl_caffe.report.nets import Nets
from menndl_caffe.report.page.files import kept_files
from menndl_caffe.run import trial_files
from menndl_caffe.run.trial_files import LOG, TrialFiles
from menndl_caffe.trial import DIVERGED, LEARNING, OK, Result, Trial
from tests.support import mixed_run

SECRET = "nobody may read or change this"


@pytest.fixture
def elsewhere(tmp_path: Path) -> Path:
    """A folder that is not the run's."""
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    for name in (NET_FILE, SOLVER_FILE, LOG, PAGE, "run.json"):
        (folder / name).write_text(SECRET)
    return folder


@pytest.fixture
def run(tmp_path: Path, elsewhere: Path) -> Path:
    """Links and pipes in RUN/trials, and one file that is in order."""
    folder = mixed_run.write(tmp_path)
    for id in (0, 1, 5):
        (folder / "trials" / str(id)).mkdir(parents=True)
    (folder / "trials" / "0" / SOLVER_FILE).write_text("type: 'SGD'")
    (folder / "trials" / "0" / NET_FILE).symlink_to(elsewhere / NET_FILE)
    (folder / "trials" / "0" / LOG).symlink_to(elsewhere / LOG)
    os.mkfifo(folder / "trials" / "5" / NET_FILE)
    (folder / "trials" / "6").symlink_to(elsewhere)
    return folder


@pytest.fixture(autouse=True)
def untouched(elsewhere: Path) -> object:
    yield
    assert {path.read_text() for path in elsewhere.iterdir()} == {SECRET} and len(list(elsewhere.iterdir())) == 5


def test_the_page_has_regular_files_inside_the_run_alone(run: Path) -> None:
    of = kept_files(recorded.read(run), [])
    assert of["0"] == {"names": [SOLVER_FILE], "texts": {SOLVER_FILE: "type: 'SGD'"}}
    assert of["5"] == {"names": [], "texts": {}} and "6" not in of


def test_a_folder_of_trials_that_leads_elsewhere(run: Path, elsewhere: Path) -> None:
    (run / "trials").rename(elsewhere.parent / "trials")
    (run / "trials").symlink_to(elsewhere.parent / "trials")
    assert kept_files(recorded.read(run), []) == {}


def test_a_net_is_read_from_a_regular_file_alone(run: Path) -> None:
    (run.parent / "net.j2").write_text("changed since")
    nets = Nets(recorded.read(run))
    trials = recorded.read(run).record.trials
    assert nets.changed and [nets.texts(trials[id]) for id in (0, 5, 6)] == [None] * 3
    (run / "trials" / "1" / NET_FILE).write_text('name: "own"')
    texts = nets.texts(trials[1])
    assert texts is not None and texts.net.name == "own"


def test_a_report_replaces_links_and_its_folder_is_none(run: Path, elsewhere: Path,
                                                        monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("menndl_caffe.report.files._figures", lambda *_: iter(()))
    (run / "report").mkdir()
    (run / "report" / PAGE).symlink_to(elsewhere / PAGE)
    write_report(recorded.read(run))
    assert not (run / "report" / PAGE).is_symlink() and "<html" in (run / "report" / PAGE).read_text()
    (run / "report").rename(run / "before")
    (run / "report").symlink_to(elsewhere)
    for attempt in (lambda: write_report(recorded.read(run)), lambda: write_comparison([recorded.read(run)] * 2)):
        with pytest.raises(UserError, match=f"^{run}/report is a link, which is not followed; --out DIR takes another"):
            attempt()


def test_an_export_does_not_follow_links(run: Path, elsewhere: Path, tmp_path: Path) -> None:
    (run / "export").symlink_to(elsewhere)
    with pytest.raises(UserError, match="export: is a link, which is not followed; --out DIR takes another folder"):
        export.main(argparse.Namespace(run=run, to="csv", out=None))
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "run.json").symlink_to(elsewhere / "run.json")
    with pytest.raises(UserError, match="no export of menndl's"):
        export.main(argparse.Namespace(run=run, to="csv", out=tmp_path / "out"))


@pytest.fixture
def renderer(run: Path, monkeypatch: pytest.MonkeyPatch) -> Renderer:
    monkeypatch.setattr(trial_files, "sources", lambda *_: Sources("train", "test", "mean"))
    return Renderer(recorded.read(run).experiment)


def failed(id: int) -> Result:
    return Result(id, DIVERGED, reason="loss is nan", log="the engine's words")


def test_the_files_of_a_trial_replace_links(run: Path, renderer: Renderer) -> None:
    record = recorded.read(run).record
    TrialFiles(run, renderer, record).keep(record.trials[0], failed(0))
    for name, begin in ((NET_FILE, "layer { name:"), (SOLVER_FILE, "net: "), (LOG, "the engine's words")):
        path = run / "trials" / "0" / name
        assert not path.is_symlink() and path.read_text().startswith(begin)


def test_the_folder_of_a_trial_is_no_link(run: Path, renderer: Renderer, elsewhere: Path) -> None:
    """Nor is what it leads to removed for a better individual."""
    record = recorded.read(run).record
    with pytest.raises(OSError, match="is a link, which is not followed"):
        TrialFiles(run, renderer, record).keep(record.trials[6], failed(6))
    (run / "trials" / "5" / NET_FILE).unlink()
    (run / "trials" / "5").rmdir()
    (run / "trials" / "5").symlink_to(elsewhere)  # 5 was the best so far
    TrialFiles(run, renderer, record).keep(record.trials[7], Result(7, OK, 0.9, 0.1))
    assert (run / "trials" / "7" / LOG).exists()


@pytest.mark.parametrize("link", ["trials", "trials/3", "trials/3/learned.npz"])
def test_learned_decays_lie_inside_the_run(tmp_path: Path, elsewhere: Path, link: str) -> None:
    (tmp_path / "own" / link).parent.mkdir(parents=True)
    (tmp_path / "own" / link).symlink_to(elsewhere)
    trial = Trial(3, recorded.Genome(("a",), (1,)), 1, 1, program=LEARNING[0])
    with pytest.raises(UserError, match=f"{link}: is a link, which is not followed"):
        adaptive.file_of(tmp_path / "own", trial)


@pytest.mark.parametrize("put", [lambda path: write(path, "own"), lambda path: _replace(path)])
def test_what_lies_beside_a_file_that_is_replaced_is_not_followed(tmp_path: Path, elsewhere: Path,
                                                                  put: Callable[[Path], None]) -> None:
    for which in ("new", "old"):
        (tmp_path / f".x.{which}.{os.getpid()}").symlink_to(elsewhere / PAGE)
    (tmp_path / "x").symlink_to(elsewhere / PAGE)
    put(tmp_path / "x")
    assert not (tmp_path / "x").is_symlink() and not list(tmp_path.glob(".x.*"))


def _replace(path: Path) -> None:
    with replacing(path) as aside:
        aside.mkdir()
