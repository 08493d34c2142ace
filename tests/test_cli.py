"""The command `menndl` as users meet it: help, results as JSON, and for each mistake exit code 2 and one clear line."""
from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Callable, List, Set, Tuple

import numpy as np
import pytest

from menndl_caffe import journal
from menndl_caffe.data import write_synthetic
from menndl_caffe.data.lmdb_data import Images, write_lmdb, write_mean
from tests.conftest import REPOSITORY, Runner
from tests.support import mixed_run, runs
from tests.support.cluster import write_program

Refused = Callable[..., str]
Done = subprocess.CompletedProcess[str]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return runs.small_data(tmp_path_factory.mktemp("data") / "data")


@pytest.fixture(scope="module")
def search(tmp_path_factory: pytest.TempPathFactory, data: Path) -> Path:
    path = tmp_path_factory.mktemp("search") / "my.search.prototxt"
    return runs.write_search(path, data, population=4, generations=2)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, search: Path) -> Path:
    """The folder of a finished run. No test may write there."""
    run = tmp_path_factory.mktemp("finished") / "run"
    assert runs.start(["run", search, "--out", run]).wait(runs.PATIENCE) == 0
    return run


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Path:
    """A finished run that a test may spoil."""
    return Path(shutil.copytree(finished, tmp_path / "run"))


@pytest.fixture
def fake(menndl: Runner) -> Runner:
    """`menndl` with the fake trainer."""
    return lambda *arguments, **variables: menndl(*arguments, env=runs.environment(**variables))


def only_line(done: Done) -> str:
    """The one line of a command that was refused: exit code 2, nothing else was printed."""
    assert done.returncode == 2, done
    assert done.stdout == ""
    assert re.fullmatch(r"menndl[^\n]*\n", done.stderr), done.stderr
    return done.stderr


@pytest.fixture
def refused(fake: Runner) -> Refused:
    return lambda *arguments, **variables: only_line(fake(*arguments, **variables))


def changed(search: Path, folder: Path, old: str, new: str) -> Path:
    """The search file with something replaced."""
    text = search.read_text()
    assert old in text
    path = folder / "changed.search.prototxt"
    path.write_text(text.replace(old, new, 1))
    return path


# Help and results

@pytest.mark.parametrize("command, parts", [
    ([], ["data", "render", "evaluate", "run", "status", "best", "watch", "report", "export", "doctor", "--ranks 4",
          "--version", "75"]),
    (["data"], ["cifar10", "mnist", "synthetic", "images", "split"]),
    (["data", "cifar10"], ["--source PATH", "--out DIR", "--validation N", "--force"]),
    (["data", "images"], ["FOLDER|LIST", "--out DIR", "--test N|PART", "--validation N|PART", "--seed N", "--root DIR",
                          "--resize HxW", "--gray", "--encoded", "--encode-type {jpg,png}", "--no-shuffle", "--force",
                          "--skip-broken"]),
    (["data", "split"], ["DIR|DATABASE", "--out DIR", "--test N|PART", "--validation N|PART", "--seed N"]),
    (["render"], ["SEARCH", "--set GENE=VALUE", "--out DIR", "--seed N", "--data DIR", "--iterations N"]),
    (["evaluate"], ["SEARCH", "--set GENE=VALUE", "--engine {caffe,torch}", "--iterations N", "as JSON"]),
    (["run"], ["SEARCH", "--out RUN", "--engine {caffe,torch}", "--ranks N", "--expect-ranks N", "mpirun", "goes on",
               "--time-limit TIME"]),
    (["status"], ["RUN", "--json"]),
    (["best"], ["RUN", "-n N", "--json", "default: 5", "Table 3", "--save DIR"]),
    (["report"], ["RUN", "RUN/report", "--out DIR", "--watch", "--port N", "--host ADDRESS", "ssh -L"]),
    (["watch"], ["RUN", "--interval SECONDS", "--plain", "--once"]),
    (["export"], ["RUN", "--to", "csv", "parquet", "optuna", "tensorboard", "--out"]),
    (["doctor"], ["--json", "what to do", "--mpi", "--expect-ranks N", "--data DIR"]),
])
def test_help_mentions_what_there_is(command: List[str], parts: List[str], menndl: Runner) -> None:
    done = menndl(*command, "--help")
    assert done.returncode == 0 and done.stderr == ""
    for part in parts:
        assert part in " ".join(done.stdout.split()), part


@pytest.mark.parametrize("words, rooms", [("--help", set()), ("render --help", {"experiment", "arguments"}),
                                          ("report --help", {"watch", "arguments"})])
def test_help_imports_no_more_than_it_says(words: str, rooms: Set[str]) -> None:
    """What is loaded is waited for: of menndl the room that was asked for, and no library."""
    code = f"""import contextlib, sys
with contextlib.suppress(SystemExit):
    import menndl_caffe.cli
    menndl_caffe.cli.main({words.split()})
print(*{{name.partition(".")[0] for name in sys.modules}})
print(*{{name.split(".")[1] for name in sys.modules if name.startswith("menndl_caffe.")}})"""
    done = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    libraries, loaded = (set(line.split()) for line in done.stdout.splitlines()[-2:])
    assert not libraries & {"numpy", "google", "jinja2", "lmdb", "mpi4py", "torch"}
    assert loaded == {"cli", "errors", "startup", "text", "walltime", *rooms}


def test_status_and_best_as_json(fake: Runner, finished: Path) -> None:
    status = json.loads(fake("status", finished, "--json").stdout)
    assert (status["complete"], status["done"], status["total"]) == (True, 8, 8)
    best = json.loads(fake("best", finished, "-n", 3, "--json").stdout)
    ranked = [(trial.genome.as_dict(), result.fitness) for trial, result in journal.read(finished).best(3)]
    assert [(row["genes"], row["accuracy"]) for row in best["best"]] == ranked
    for command in ("status", "best"):
        done = fake(command, finished)
        assert done.returncode == 0 and done.stdout and done.stderr == ""


def test_a_reader_that_stops_reading_is_no_error(finished: Path) -> None:
    """As in `menndl best RUN | head -n 1`."""
    command = [sys.executable, "-m", "menndl_caffe.cli", "best", str(finished)]
    process = subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout and process.stderr
    process.stdout.close()
    with process.stderr:
        assert (process.stderr.read(), process.wait(runs.PATIENCE)) == (b"", 0)


@pytest.mark.parametrize("redirection, more, code", [
    (">&-", [], 0), ("2>&-", [], 0), (">/dev/full", [], 1), (">&-", ["--help"], 0)])
def test_closed_and_full_streams(finished: Path, redirection: str, more: List[str], code: int) -> None:
    command = [sys.executable, "-m", "menndl_caffe.cli", "best", str(finished), *more]
    script = ["sh", "-c", f'exec "$@" {redirection}', "sh", *command]
    done = subprocess.run(script, cwd=REPOSITORY, capture_output=True)
    assert done.returncode == code and b"Traceback" not in done.stderr
    assert (b"No space left on device" in done.stderr) == (code == 1)


def test_render_writes_two_files_and_needs_no_caffe(menndl: Runner, search: Path, tmp_path: Path) -> None:
    out, env = tmp_path / "new" / "one", {**os.environ, "MENNDL_TRAINER": "", "MENNDL_CAFFE_PYTHON": "/bin/false"}
    done = menndl("render", search, "--set", "kernel1=3", "--set", "output2=64", "--out", out, env=env)
    assert done.returncode == 0 and done.stderr == ""
    assert "kernel1=3 output1=32 kernel2=5 output2=64 kernel3=5 output3=64" in done.stdout
    net, solver = out / "train_test.prototxt", out / "solver.prototxt"
    assert set(out.iterdir()) == {net, solver}
    assert "kernel_size: 3\n" in net.read_text() and net.read_text().count("num_output: 64\n") == 3
    assert f'net: "{net}"' in solver.read_text()


def test_render_needs_no_data(menndl: Runner, search: Path, tmp_path: Path) -> None:
    """The paths are those that the search file or --data says, and the names those that `menndl data` gives."""
    (tmp_path / "half" / "faces_train_lmdb").mkdir(parents=True)
    for data, train, test in (("no/where", "cifar10_train_lmdb", "cifar10_test_lmdb"),
                              ("mnist", "mnist_train_lmdb", "mnist_test_lmdb"),
                              (tmp_path / "half", "faces_train_lmdb", "cifar10_test_lmdb")):
        done = menndl("render", search, "--data", data, "--out", tmp_path / "one")
        assert (done.returncode, done.stderr) == (0, "")
        assert re.search(f"size is not known before it runs: .*: layer cifar: {data}/{test} is not here\n", done.stdout)
        net = (tmp_path / "one" / "train_test.prototxt").read_text()
        assert re.findall('source: "(.*)"', net) == [f"{data}/{train}", f"{data}/{test}"]
        assert set(re.findall('mean_file: "(.*)"', net)) == {f"{data}/mean.binaryproto"}


@pytest.mark.parametrize("old, new, said", [
    ("kernel_size: {{ kernel1 }}", "kernel_size: 99", "layer conv1: kernel_size 99x99 is larger than its padded input"),
    ("kernel_size: {{ kernel1 }}", "kernel_size: -{{ kernel1 }}", "convolution_param.kernel_size[0]: expected a whole"),
    ("kernel_size: {{ kernel1 }}", "kernel_sise: {{ kernel1 }}", "did you mean kernel_size or"),
])
def test_render_writes_also_what_cannot_exist(menndl: Runner, search: Path, tmp_path: Path, old: str, new: str,
                                              said: str) -> None:
    """The default is as impossible as the individual; the line that is named is one of the file that is written."""
    template = (REPOSITORY / "templates" / "cifar10_quick" / "train_test.prototxt.j2").read_text()
    assert old in template
    used = "# {{ kernel1 }}\n"
    (tmp_path / "net.j2").write_text(used + template.replace(old, new, 1))
    path = tmp_path / "my.search.prototxt"
    path.write_text(re.sub('net: ".*"', f'net: "{tmp_path}/net.j2"', search.read_text(), count=1))
    done = menndl("render", path, "--set", "kernel1=3", "--out", tmp_path / "one")
    line = re.fullmatch(rf"menndl render: {tmp_path}/net.j2 \(rendered\):(\d+): .*{re.escape(said)}.*\n", done.stderr)
    assert done.returncode == 2 and line, done.stderr
    lines = (tmp_path / "one" / "train_test.prototxt").read_text().splitlines()
    assert new.split(":")[0] in lines[int(line[1]) - 1] or lines[int(line[1]):int(line[1]) + 1] == ['  name: "conv1"']
    assert (tmp_path / "one" / "solver.prototxt").exists()


def test_evaluate_prints_its_result_as_json(fake: Runner, search: Path, tmp_path: Path) -> None:
    done = fake("evaluate", search, "--set", "kernel1=4", "--iterations", 8, "--out", tmp_path / "one")
    result = json.loads(done.stdout)
    assert (result["status"], result["max_iter"], result["genes"]["kernel1"]) == ("ok", 8, 4)
    assert [point[0] for point in result["curve"]] == [4, 8] and result["fitness"] == result["curve"][-1][1]
    files = {path.name for path in (tmp_path / "one").iterdir()}
    assert files == {"train_test.prototxt", "solver.prototxt", "caffe.log"}


def test_doctor_says_what_works_and_what_to_do(menndl: Runner, fake: Runner) -> None:
    done = menndl("doctor", "--json", env={**os.environ, "MENNDL_TRAINER": "", "MENNDL_CAFFE_PYTHON": "/bin/false"})
    assert done.returncode == 0 and done.stderr == ""
    findings = {finding["what"]: finding for finding in json.loads(done.stdout)}
    assert {"menndl", "caffe", "torch", "mpirun", "mpi4py", "cores", "gpu", "containers", "data"} == set(findings)
    assert findings["menndl"]["works"] and findings["mpi4py"]["works"]
    assert not findings["caffe"]["works"] and "make caffe" in findings["caffe"]["todo"]
    own = fake("doctor").stdout
    assert re.search(r"^ok +caffe +fake 0 \(MENNDL_TRAINER: ", own, re.M)
    broken = fake("doctor", MENNDL_TRAINER="/bin/false").stdout
    assert re.search(r"^-- +caffe +MENNDL_TRAINER: /bin/false\n +-> trainer ended by exit code 1", broken, re.M)


def test_doctor_tells_the_cause_where_the_mpi_library_gives_up(menndl: Runner, tmp_path: Path) -> None:
    """Open MPI without HOME says it first, and much else after it."""
    package = tmp_path / "mpi4py"
    package.mkdir()
    (package / "__init__.py").write_text("class rc: pass\n")
    (package / "MPI.py").write_text("import os\nos.write(2, b'no home folder\\n---\\nSorry!\\n')\nos._exit(14)\n")
    write_program(tmp_path / "mpirun", "printf 'no home folder\\n---\\nSorry!\\n' >&2; exit 1")
    done = menndl("doctor", "--json", env=runs.environment(PYTHONPATH=f"{tmp_path}:{REPOSITORY}",
                                                           PATH=f"{tmp_path}:{os.environ['PATH']}"))
    findings = {finding["what"]: finding for finding in json.loads(done.stdout)}
    mpi4py, mpirun = findings["mpi4py"], findings["mpirun"]
    assert (mpi4py["works"], mpi4py["found"]) == (False, "no home folder")
    assert mpi4py["todo"] == f"all it says: {sys.executable} -c 'import mpi4py.MPI'"
    assert (mpirun["works"], mpirun["found"]) == (False, f"{tmp_path}/mpirun: no home folder")


def test_a_trainers_command_with_an_open_quote(refused: Refused, fake: Runner, search: Path, tmp_path: Path) -> None:
    command = "exec.sh 'my image.sif python3"
    said = refused("run", search, "--out", tmp_path / "run", MENNDL_TRAINER=command)
    assert said.startswith(f"menndl run: MENNDL_TRAINER is `{command}`: No closing quotation; expected a command")
    assert command in fake("doctor", MENNDL_TRAINER=command).stdout
    assert command in fake("doctor", "--mpi", MENNDL_TRAINER=command).stdout


# Mistakes on the command line

RUN = ["run", "{search}", "--out", "{tmp}/run"]
RENDER = ["render", "{search}", "--out", "{tmp}/one"]


@pytest.mark.parametrize("arguments, parts", [
    ([*RUN, "--math", "bf16"], ["--math bf16", "float32 only"]),
    ([*RUN, "--engine", "tensorflow"], ["--engine", "'tensorflow'", "caffe"]),
    ([*RUN, "--seed", "-1"], ["--seed", "'-1'", "a whole number from 0"]),
    ([*RUN, "--seed", "9" * 20], ["--seed", "a whole number from 0 to"]),
    ([*RUN, "--iterations", "0"], ["--iterations", "'0'", "a whole number from 1"]),
    ([*RUN, "--expect-ranks", "0"], ["--expect-ranks", "'0'", "a whole number from 1"]),
    ([*RUN, "--threads", "0"], ["--threads", "'0'", "a whole number from 1"]),
    ([*RUN, "--data", "{tmp}/no"], ["data {tmp}/no", "_train_lmdb", "menndl data cifar10"]),
    (["run", "{search}", "--out", "{search}"], ["--out", "{search}", "is a file"]),
    (["run", "{search}", "--out", "{search}/run"], ["--out", "{search}/run", "is a file"]),
    (["run", "{search}", "--out", "r" * 300], ["--out", "cannot be a folder", "File name too long"]),
    (["run", "{search}"], ["required: --out", "menndl run --help"]),
    (["run", "{tmp}/no.search.prototxt", "--out", "{tmp}/run"], ["no such file", "solvers/quick.search.prototxt"]),
    ([*RUN, "--sed", "1"], ["unrecognized arguments: --sed 1", "--help"]),
    ([*RENDER, "--set", "kernl1=3"], ["--set kernl1=3: unknown gene", "did you mean kernel1"]),
    ([*RENDER, "--set", "kernel1=9"], ["--set kernel1=9", "a whole number from 1 to 8"]),
    ([*RENDER, "--set", "output1=33"], ["--set output1=33", "from 16 to 126 in steps of 2"]),
    ([*RENDER, "--set", "kernel1"], ["--set kernel1", "expected GENE=VALUE"]),
    (["render", "{search}", "--out", "{search}"], ["--out", "is a file"]),
    (["evaluate", "{search}", "--out", "{search}"], ["--out", "is a file"]),
    (["status", "{tmp}"], ["{tmp} is not a run", "journal.jsonl", "menndl run --out"]),
    (["report", "{search}"], ["{search} is not a run"]),
    (["best", "{finished}", "-n", "0"], ["-n", "'0'", "a whole number from 1"]),
    (["data", "cifar10", "--source", "{tmp}/no", "--out", "{tmp}/d"], ["{tmp}/no: no such file or folder"]),
    (["data", "mnist", "--out", "{tmp}/d"], ["menndl data mnist needs --source", "train-images-idx3-ubyte"]),
    (["data", "synthetic", "--source", "{tmp}", "--out", "{tmp}/d"], ["--source {tmp}", "drawn"]),
    (["data", "cifar100"], ["'cifar100'", "cifar10"]),
    (["data", "cifar10", "--validation", "-5"], ["--validation", "'-5'", "a whole number from 0"]),
    (["train"], ["'train'", "run", "doctor"]),
    ([], ["COMMAND"]),
], ids=lambda value: " ".join(value)[:60])
def test_a_mistake_on_the_command_line(arguments: List[str], parts: List[str], refused: Refused, search: Path,
                                       finished: Path, tmp_path: Path) -> None:
    names = {"search": search, "tmp": tmp_path, "finished": finished}
    said = refused(*(argument.format(**names) for argument in arguments))
    for part in parts:
        assert part.format(**names) in said
    assert list(tmp_path.iterdir()) == [], "a refused command left something behind"


@pytest.mark.parametrize("source, said", [("empty", "a folder without any batch"), ("text", "not a tar archive")])
def test_data_that_cannot_be_read(source: str, said: str, fake: Runner, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "text").write_text("not at all\n" * 100)
    done = fake("data", "cifar10", "--source", tmp_path / source, "--out", tmp_path / "out")
    begins, *rest = done.stderr.splitlines()
    assert (done.returncode, begins, len(rest)) == (2, f"reading {tmp_path / source}", 1)
    assert rest[0].startswith(f"menndl data: {tmp_path / source}: {said}") and "cifar-10-binary.tar.gz" in rest[0]
    assert not (tmp_path / "out").exists()


# Mistakes in the files that a search names

@pytest.mark.parametrize("old, new, line, parts", [
    ("mutation", "mutaton", 3, ["ga_param.mutaton", "did you mean mutation"]),
    ("min: 1 max: 8", "min: 9 max: 8", 4, ["gene[0].int_range.min", "kernel1", "9, above its max 8"]),
    ("min: 1 max: 8", "max: 8", 4, ["gene[0].int_range", "kernel1", "no min"]),
    ("train_test", "trian_test", 1, ["net template", "did you mean templates/cifar10_quick/train_test"]),
    ('"kernel1"', '"kernel4"', 4, ["'kernel4'", "used by neither", "did you mean kernel"]),
], ids=["field", "min above max", "no min", "template", "gene"])
def test_a_mistake_in_the_search_file(old: str, new: str, line: int, parts: List[str], refused: Refused, search: Path,
                                      tmp_path: Path) -> None:
    path = changed(search, tmp_path, old, new)
    for command in (["run", "--out", tmp_path / "run"], ["render", "--out", tmp_path / "one"]):
        said = refused(command[0], path, *command[1:])
        assert said.startswith(f"menndl {command[0]}: {path}:{line}: ")
        for part in parts:
            assert part in said
    assert list(tmp_path.iterdir()) == [path]


def test_each_mistake_in_the_search_file_is_a_line(fake: Runner, search: Path, tmp_path: Path) -> None:
    path = changed(search, tmp_path, "min: 1 max: 8", "min: 9 max: 8")
    path.write_text(path.read_text().replace("train_test", "trian_test"))
    done = fake("run", path, "--out", tmp_path / "run")
    assert done.returncode == 2 and done.stdout == "" and list(tmp_path.iterdir()) == [path]
    begins = [f"menndl run: {path}:1: net template ", f"menndl run: {path}:4: gene[0].int_range.min: of kernel1 is 9"]
    assert [line[:len(begin)] for line, begin in zip(done.stderr.splitlines(), begins)] == begins
    assert done.stderr.count("\n") == 2


def images(channels: int, size: int) -> Images:
    return Images(np.zeros(20, np.uint8), np.zeros((20, channels, size, size), np.uint8))


def break_data(folder: Path, how: str) -> None:
    """Spoil a data folder in one way."""
    if how in ("no test", "test of another shape"):
        shutil.rmtree(folder / "cifar10_test_lmdb")
    if how in ("two", "test of another shape"):
        write_lmdb(folder / "mnist_test_lmdb", images(1, 28), 8)
    if how == "no mean":
        (folder / "mean.binaryproto").unlink()
    if how == "mean of another shape":
        write_mean(folder / "mean.binaryproto", images(3, 28).pixels)
    if how == "no LMDB":
        (folder / "cifar10_test_lmdb" / "data.mdb").write_text("something else")


@pytest.mark.parametrize("how, parts", [
    ("no test", ["no database *_test_lmdb", "menndl data synthetic --out {folder}"]),
    ("no mean", ["{folder}/mean.binaryproto: no mean file", "menndl data synthetic --out {folder}"]),
    ("two", ["{folder}", "cifar10_test_lmdb and mnist_test_lmdb", "expected one"]),
    ("test of another shape", ["{folder}/mnist_test_lmdb: 1x28x28", "cifar10_train_lmdb are 3x32x32"]),
    ("mean of another shape", ["{folder}/mean.binaryproto: 3x28x28", "cifar10_train_lmdb are 3x32x32"]),
    ("no LMDB", ["{folder}/cifar10_test_lmdb: not an LMDB"]),
])
def test_data_that_do_not_fit(how: str, parts: List[str], refused: Refused, search: Path, data: Path,
                              tmp_path: Path) -> None:
    folder = Path(shutil.copytree(data, tmp_path / "data"))
    break_data(folder, how)
    said = refused("run", search, "--data", folder, "--out", tmp_path / "run")
    for part in parts:
        assert part.format(folder=folder) in said
    assert not (tmp_path / "run").exists()


# Engines

NOT_PYCAFFE = [program for program in ("/bin/false", "/nowhere/python3", sys.executable)
               if program != sys.executable or importlib.util.find_spec("caffe") is None]


@pytest.mark.parametrize("python", NOT_PYCAFFE)
def test_no_caffe(python: str, menndl: Runner, search: Path, tmp_path: Path) -> None:
    env = {**os.environ, "MENNDL_TRAINER": "", "MENNDL_CAFFE_PYTHON": python}
    for command in (["run", search, "--out", tmp_path / "run"], ["evaluate", search]):
        said = only_line(menndl(*command, env=env))
        assert "no Caffe" in said and "make caffe" in said and f"MENNDL_CAFFE_PYTHON is {python}" in said
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("trainer, said", [
    ("/nowhere/trainer", "trainer command /nowhere/trainer: No such file"),
    ("/bin/false", "the trainer does not start on .*: trainer ended by exit code 1"),
])
def test_a_trainer_that_does_not_start(trainer: str, said: str, refused: Refused, search: Path, tmp_path: Path) -> None:
    assert re.search(said, refused("run", search, "--out", tmp_path / "run", MENNDL_TRAINER=trainer))


# The wrong world

def test_ranks_that_mpirun_did_not_bring_together(refused: Refused, search: Path, tmp_path: Path) -> None:
    """A launcher of another MPI than mpi4py's: each process believes to be alone."""
    command = ["run", search, "--out", tmp_path / "run"]
    assert "world has 1 rank, --expect-ranks wants 3" in refused(*command, "--expect-ranks", 3)
    assert "world has 1 rank, the launcher started 3" in refused(*command, OMPI_COMM_WORLD_SIZE="3")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("more, said", [
    (["--expect-ranks", "3"], "the MPI world has 2 ranks, --expect-ranks wants 3"),
    (["--expect-ranks", "2", "--data", "/nowhere"], "data /nowhere: no database"),
])
def test_two_ranks_tell_of_a_mistake_once(more: List[str], said: str, search: Path, tmp_path: Path) -> None:
    with open(tmp_path / "log", "wb") as log:
        assert runs.start(["run", search, "--out", tmp_path / "run", *more], ranks=2, log=log).wait(runs.PATIENCE) == 2
    text = (tmp_path / "log").read_text()
    assert len(re.findall(r"^menndl", text, re.M)) == 1 and f"menndl run: {said}" in text, text
    assert "Traceback" not in text and not (tmp_path / "run").exists()


# RUN

@pytest.mark.parametrize("old, new, more, said", [
    ("min: 1 max: 8", "min: 1 max: 7", [], "its gene[0].int_range.max is 8, this one's is 7"),
    ("population: 4", "population: 5", [], "its ga_param.population is 4, this one's is 5"),
    ('"pad" value: "2"', '"pad" value: "SAME"', [], "its constant[1].value is 2, this one's is SAME"),
    ("solver:", "fitness_set: TEST reuse_results: false solver:", [], "its reuse_results is True, this one's is False"),
    ("net:", "net:", ["--seed", "2"], "its random_seed is 1, this one's is 2"),
    ("net:", "net:", ["--iterations", "8"], "its max_iter is 4, this one's is 8"),
])
def test_a_run_of_another_search(old: str, new: str, more: List[str], said: str, refused: Refused, search: Path,
                                 finished: Path, tmp_path: Path) -> None:
    before = (finished / "journal.jsonl").read_bytes()
    line = refused("run", changed(search, tmp_path, old, new), "--out", finished, *more)
    assert f"{finished} is a run of another search: {said}; give another --out" in line
    assert (finished / "journal.jsonl").read_bytes() == before


def test_a_run_of_other_templates_or_data(fake: Runner, refused: Refused, search: Path, tmp_path: Path) -> None:
    own = Path(shutil.copytree(REPOSITORY / "templates" / "cifar10_quick", tmp_path / "templates"))
    path = changed(search, tmp_path, "templates/cifar10_quick", str(own))
    path.write_text(path.read_text().replace("population: 4 generations: 2", "population: 1 generations: 1"))
    assert fake("run", path, "--out", tmp_path / "run").returncode == 0
    write_synthetic(tmp_path / "other", images_train=200, images_test=50, seed=2, report=lambda text: None)
    said = refused("run", path, "--out", tmp_path / "run", "--data", tmp_path / "other")
    assert "its data is train 200 images " in said
    with open(own / "train_test.prototxt.j2", "a") as template:
        template.write("# another comment\n")
    assert "its net template is the one of SHA-256 " in refused("run", path, "--out", tmp_path / "run")


def test_the_same_search_written_otherwise_goes_on(fake: Runner, search: Path, run: Path, tmp_path: Path) -> None:
    said = '# comment\ntype: "GA" random_seed: 1 trial_timeout: 60 objective {}\nsolver:'
    path = changed(search, tmp_path, "solver:", said)
    before = runs.result_lines(run)
    assert fake("run", path, "--out", run, "--seed", 1, "--iterations", 4).returncode == 0
    assert runs.result_lines(run) == before


def spoil(lines: List[str], how: str) -> Tuple[List[str], int]:
    """The journal's lines with one damaged, and its number."""
    number = next(i for i in range(4, len(lines)) if '"event": "result"' in lines[i])
    if how == "twice":
        again = re.sub(r'"fitness": [0-9.e-]+', '"fitness": 0.125', lines[number])
        return [*lines[:number + 1], again, *lines[number + 1:]], number + 2
    line = lines[number]
    damaged = {"torn": line[:40], "no JSON": "hello", "no object": "[]", "no event": "{}",
               "no trial": re.sub(r'"id": \d+', '"id": 999', line), "no id": line.replace('"id"', '"Id"')}[how]
    return lines[:number] + [damaged] + lines[number + 1:], number + 1


@pytest.mark.parametrize("how", ["torn", "no JSON", "no object", "no event", "no trial", "no id", "twice"])
def test_a_damaged_journal(how: str, refused: Refused, search: Path, run: Path) -> None:
    path = run / "journal.jsonl"
    lines, number = spoil(path.read_text().splitlines(), how)
    path.write_text("\n".join(lines) + "\n")
    before = path.read_bytes()
    readers = [["status", run], ["best", run], ["report", run]] if how == "torn" else []
    for command in [["run", search, "--out", run], *readers]:
        assert f"{path}:{number}: damaged: " in refused(*command)
    assert path.read_bytes() == before


def test_two_masters_on_one_run(refused: Refused, search: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    first = runs.start(["run", search, "--out", run], env=runs.environment(FAKE_SECONDS="60"))
    try:
        assert runs.wait_until(lambda: (run / "journal.jsonl").exists())
        said = refused("run", search, "--out", run)
    finally:
        runs.kill(first, "everything")
        first.wait(runs.PATIENCE)
    assert f"{run} is being written by process {first.pid} on " in said and "wait for it" in said


def test_an_interrupted_run_goes_on(fake: Runner, search: Path, finished: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    with open(tmp_path / "log", "wb") as log:
        process = runs.start_held(["run", search, "--out", run], tmp_path, log=log)
        family = runs.descendants(process.pid)
        process.send_signal(signal.SIGINT)
        assert process.wait(runs.PATIENCE) == 130
    recorded = runs.result_lines(run)
    text = (tmp_path / "log").read_text()
    assert text.splitlines()[-1] == "menndl run: interrupted; the same command goes on where this one stopped"
    assert "Traceback" not in text and len(re.findall("^menndl", text, re.M)) == 1
    assert family and runs.wait_until(lambda: all(map(runs.has_ended, family)))
    assert fake("run", search, "--out", run).returncode == 0
    assert 1 <= len(recorded) < 9 and runs.result_lines(run)[:len(recorded)] == recorded
    assert runs.individuals(run) == runs.individuals(finished)


def test_report_of_several_runs_and_what_does_not_go_together(menndl: Runner, tmp_path: Path) -> None:
    folders = [tmp_path / "one", tmp_path / "two"]
    for folder in folders:
        folder.mkdir()
    compared = [mixed_run.write(folder) for folder in folders]
    done = menndl("report", *compared, "--out", tmp_path / "both")
    assert done.returncode == 0 and done.stdout.strip() == str(tmp_path / "both" / "comparison.html")
    done = menndl("report", compared[0], "--out", tmp_path / "elsewhere")  # as of a run that may only be read
    assert done.returncode == 0 and done.stdout.startswith(f"{tmp_path / 'elsewhere' / 'report.html'}\n")
    assert not (compared[0] / "report").exists() and (tmp_path / "elsewhere" / "genes.svg").exists()
    for options, message in ((["--port", "1"], "--port and --host go with --watch"),
                             (["--watch", "--out", tmp_path / "x"], "--watch is for one run")):
        refused = menndl("report", compared[0], *options)
        assert refused.returncode == 2 and message in refused.stderr and refused.stderr.count("\n") == 1
