"""A run is self-contained: RUN/search has its search file and its templates, and a run is resumed, repeated and
reported from there, wherever it lies and whatever becomes of the originals. Templates are found beside the search file,
too."""
from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, Dict, List

import pytest

from menndl_caffe import journal
from menndl_caffe.errors import UserError
from menndl_caffe.experiment import hypernet, recorded, search_file
from menndl_caffe.experiment.places import kept_as
from menndl_caffe.nets import prototxt
from menndl_caffe.nets.proto import menndl_pb2
from menndl_caffe.run.kept import search_text
from tests.support import runs
from tests.support.in_process import Menndl, cut, lines_of, results

NET, SOLVER = "templates/cifar10_quick/train_test.prototxt.j2", "solvers/quick.solver.prototxt.j2"
SEARCH = "small.search.prototxt"


class Place:
    """A folder with a search file and templates of its own, and a run of it that was stopped after its sixth line."""

    def __init__(self, made: Path, folder: Path, menndl: Menndl):
        self.menndl, self.folder = menndl, folder
        shutil.copytree(made, folder, dirs_exist_ok=True)
        self.search, self.results = folder / SEARCH, results(folder / "whole")
        lines = [line.replace(str(made), str(folder)) for line in lines_of(folder / "whole")]
        self.run = cut(lines[:6], folder / "run")
        shutil.copytree(folder / "whole" / "search", self.run / "search")

    def edit(self, name: str, line: str = "# another comment") -> None:
        with open(self.folder / name, "a") as file:
            file.write(line + "\n")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made")
    for name in (NET, SOLVER):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(runs.REPOSITORY / name, folder / name)
    search = runs.write_search(folder / SEARCH, Path("data"), population=3, generations=2)
    search.write_text("# A search of six\n" + search.read_text())
    runs.small_data(folder / "data")
    command = [sys.executable, "-m", "menndl_caffe.cli", "run", SEARCH, "--out", "whole"]
    subprocess.run(command, cwd=folder, env=runs.environment(FAKE_SECONDS="0"), check=True, capture_output=True)
    return folder


@pytest.fixture
def place(made: Path, tmp_path: Path, local: Menndl, monkeypatch: pytest.MonkeyPatch) -> Place:
    monkeypatch.chdir(tmp_path)
    return Place(made, tmp_path, local)


def files_of(folder: Path) -> Dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_what_is_kept(place: Place) -> None:
    kept = files_of(place.run / "search")
    assert kept == {"small.search.prototxt": place.search.read_bytes(),
                    NET: (place.folder / NET).read_bytes(), SOLVER: (place.folder / SOLVER).read_bytes()}
    for how in ([place.search, "--out", place.run], [place.run]):
        assert place.menndl("run", *how) == 0 and results(place.run) == place.results
        assert files_of(place.run / "search") == kept
    (place.run / "search" / SEARCH).write_text("who is it")
    assert place.menndl("run", place.run) == 0 and search_file.load(str(place.run / "search" / SEARCH))


@pytest.mark.parametrize("how", ["original command", "kept search file", "kept search file alone", "folder"])
@pytest.mark.parametrize("changed", [NET, SOLVER])
def test_after_an_edit_the_copies_go_on(place: Place, how: str, changed: str) -> None:
    """The original command is another search then, and says how the run goes on."""
    place.edit(changed)
    kept, run = place.run / "search" / "small.search.prototxt", place.run
    command = {"original command": [place.search, "--out", run], "kept search file": [kept, "--out", run],
               "kept search file alone": [kept], "folder": [run]}[how]
    code = place.menndl("run", *command)
    if how == "original command":
        kind = "net" if changed == NET else "solver"
        assert code == 2
        assert f"is a run of another search: its {kind} template is the one of SHA-256" in place.menndl.said
        assert place.menndl.said.count("\n") == 1
        assert place.menndl.said.endswith(f"; give another --out, or go on with the run's own copies, "
                                          f"`menndl run {run}`\n")
    else:
        assert code == 0 and results(run) == place.results


def test_moved_away_and_the_originals_gone(place: Place, tmp_path_factory: pytest.TempPathFactory) -> None:
    """From another working directory; the data are where they were."""
    moved = tmp_path_factory.mktemp("elsewhere") / "my run"
    place.run.rename(moved)
    for name in (NET, SOLVER):
        (place.folder / name).unlink()
    os.chdir(moved.parent)
    menndl = place.menndl
    assert menndl("run", "my run") == 0, menndl.said
    assert results(moved) == place.results
    assert menndl("best", "my run", "--save", "saved") == 2 and "wrote no weights" in menndl.said  # the fake trainer
    assert "iteration 4 of 4" in menndl.said and "(as recorded)" in menndl.said
    for command in (["status", "my run"], ["best", "my run"], ["export", "my run", "--to", "csv"]):
        assert menndl(*command) == 0, menndl.said
    assert menndl("render", "my run", "--set", "kernel1=3", "--out", "one") == 0, menndl.said
    assert 'kernel_size: 3' in Path("one/train_test.prototxt").read_text()
    assert menndl("evaluate", "my run", "--set", "kernel1=3", "--iterations", 2) == 0, menndl.said
    assert json.loads(menndl.out)["max_iter"] == 2


def test_data_that_are_gone_are_one_line(place: Place) -> None:
    (place.folder / "data").rename(place.folder / "images")
    os.chdir("/")
    menndl = place.menndl
    assert menndl("best", place.run, "--save", place.folder / "saved") == 2
    assert menndl.said == (f"menndl best: {place.run}: its data were in data, which is not here; --data DIR says where "
                           "they are now\n")
    assert menndl("run", place.run) == 2 and "data data: no database" in menndl.said and menndl.said.count("\n") == 1
    assert menndl("run", place.run, "--data", place.folder / "images") == 0, menndl.said
    assert results(place.run) == place.results
    assert recorded.read(place.run).data_folder == place.folder / "images"


@pytest.mark.parametrize("damage", ["changed", "gone", "a link"])
def test_a_damaged_copy_is_one_line_and_the_first_command_mends_it(place: Place, damage: str) -> None:
    copy = place.run / "search" / NET
    if damage == "changed":
        copy.write_text(copy.read_text() + "{% for %}\n")
    else:
        copy.unlink()
        if damage == "a link":
            copy.symlink_to(place.folder / NET)
    said = {"changed": f"{copy} has changed since the run began, which had one of SHA-256 ",
            "gone": f"the run's copy of it, {copy}, is gone", "a link": f"{copy} is a link, which is not followed"}
    for command in (["run", place.run], ["evaluate", place.run], ["best", place.run, "--save", place.folder / "saved"]):
        assert place.menndl(*command) == 2
        assert said[damage] in place.menndl.said and place.menndl.said.count("\n") == 1, place.menndl.said
    assert place.menndl("status", place.run) == 0
    assert place.menndl("run", place.search, "--out", place.run) == 0, place.menndl.said
    assert results(place.run) == place.results and copy.read_bytes() == (place.folder / NET).read_bytes()


def test_a_run_of_menndl_0_1_goes_on_as_it_did(place: Place) -> None:
    """It has no copies; then it has."""
    shutil.rmtree(place.run / "search")
    place.edit(NET)
    assert place.menndl("run", place.search, "--out", place.run) == 2
    assert place.menndl.said.endswith("; give another --out, or the settings it was started with\n")
    shutil.copy(runs.REPOSITORY / NET, place.folder / NET)
    place.menndl.run(place.search, place.run)
    assert results(place.run) == place.results and (place.run / "search" / NET).is_file()


def test_a_larger_search_is_kept_and_a_smaller_text_forgotten(place: Place) -> None:
    text = place.search.read_text()
    place.search.write_text(text.replace("generations: 2", "generations: 3"))
    place.menndl.run(place.search, place.run)
    assert files_of(place.run / "search")["small.search.prototxt"] == place.search.read_bytes()
    assert place.menndl("run", place.run) == 0 and recorded.read(place.run).total == 9


def test_a_run_begins_another_one_like_it(place: Place) -> None:
    other = place.folder / "other"
    assert place.menndl("run", place.run, "--out", other, "--seed", 5) == 0, place.menndl.said
    assert results(other) != place.results and len(results(other)) == len(place.results)
    kept = files_of(other / "search")
    assert kept.keys() == {"run.search.prototxt", NET, SOLVER}
    assert b"random_seed: 5" in kept["run.search.prototxt"]


def test_every_individual_has_its_size_from_the_journal(place: Place) -> None:
    """Nothing is rendered: all copies are gone, and the originals."""
    shutil.rmtree(place.folder / "whole" / "search")
    shutil.rmtree(place.folder / "templates")
    record = journal.read(place.folder / "whole")
    for trial, result in record.individuals():
        assert {"parameters", "multiply_adds"} <= set(result.measures), trial


# The command line's settings in the search file's text

TEXT = 'net: "n"  # data: "here"\nmax_iter: 4  # not max_iter: 5\ngene { name: "g" }\n'


@pytest.mark.parametrize("how, expected", [
    ({}, TEXT),
    ({"max_iter": 9}, TEXT.replace("max_iter: 4", "max_iter: 9")),
    ({"random_seed": 3}, TEXT + "\nrandom_seed: 3\n"),
    ({"max_iter": 9, "random_seed": 3}, TEXT.replace("max_iter: 4", "max_iter: 9") + "\nrandom_seed: 3\n"),
    ({"data": "a \\ b"}, 'net: "n"\ngene {\n  name: "g"\n}\ndata: "a \\\\ b"\nmax_iter: 4\n')])
def test_settings_of_the_command_line(how: Dict[str, Any], expected: str) -> None:
    """In the text's own lines; where a comment looks like one of them, the message's text."""
    message = prototxt.parse(TEXT, menndl_pb2.SearchParameter).message
    search_file.override(message, how.get("random_seed"), how.get("data"), how.get("max_iter"))
    assert search_text(TEXT, message) == expected


# Templates beside the search file

def test_beside_the_search_file_after_the_working_directory(place: Place, tmp_path_factory: pytest.TempPathFactory,
                                                            monkeypatch: pytest.MonkeyPatch) -> None:
    here = tmp_path_factory.mktemp("here")
    monkeypatch.chdir(here)
    assert search_file.load(str(place.search)).template("net") == place.folder / NET
    (here / NET).parent.mkdir(parents=True)
    shutil.copy(place.folder / NET, here / NET)
    assert search_file.load(str(place.search)).template("net").samefile(here / NET)
    assert search_file.load(str(place.search)).template("solver") == place.folder / SOLVER


def test_the_error_names_both_places(place: Place, tmp_path_factory: pytest.TempPathFactory,
                                     monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path_factory.mktemp("here"))
    (place.folder / NET).rename(place.folder / "templates" / "mine.prototxt.j2")
    place.search.write_text(place.search.read_text().replace(NET, "templates/mime.prototxt.j2"))
    with pytest.raises(UserError, match=f"net template templates/mime.prototxt.j2: no such file here, in {place.folder}"
                                        " or among menndl's own; did you mean templates/mine.prototxt.j2"):
        search_file.load(str(place.search))


@pytest.mark.parametrize("name, parts", [
    ("a/b.j2", ["a", "b.j2"]), ("./b.j2", ["b.j2"]), ("../x/b.j2", ["up", "x", "b.j2"]),
    ("/tmp/b.j2", ["root", "tmp", "b.j2"])])
def test_no_copy_leaves_the_folder(name: str, parts: List[str]) -> None:
    assert list(kept_as(name)) == parts


def test_templates_named_by_their_whole_path_are_kept_too(local: Menndl, tmp_path: Path) -> None:
    mine = tmp_path / "mine.j2"
    shutil.copy(runs.REPOSITORY / NET, mine)
    search = runs.write_search(tmp_path / "s.prototxt", runs.small_data(tmp_path / "data"), kind=runs.RANDOM, trials=1)
    search.write_text(search.read_text().replace(NET, str(mine)))
    local.run(search, tmp_path / "run")
    mine.unlink()
    assert local("run", tmp_path / "run") == 0, local.said
    kept = recorded.read(tmp_path / "run").experiment.template("net")
    assert kept.read_bytes() == (runs.REPOSITORY / NET).read_bytes() and tmp_path / "run" in kept.parents


def test_the_templates_of_a_hypernet_are_kept_too(local: Menndl, tmp_path: Path) -> None:
    data = runs.small_data(tmp_path / "data", validation=40)
    local.run(runs.write_hypernet(tmp_path / "s.search.prototxt", data, trials=1), tmp_path / "run")
    experiment = recorded.read(tmp_path / "run").experiment
    files = hypernet.template_files(experiment)
    assert len(files) == 4
    for kind, path in files.items():
        assert tmp_path / "run" / "search" in path.parents
        assert path.read_bytes() == (runs.REPOSITORY / hypernet.template_names(experiment)[kind]).read_bytes()
    assert local("run", tmp_path / "run") == 0, local.said


def test_run_without_a_folder_needs_one(local: Menndl, search: Path) -> None:
    assert local("run", search) == 2
    assert local.said == "menndl run: the following arguments are required: --out; see `menndl run --help`\n"
