"""One of the best individuals saved for Caffe's users: the files give in real Caffe what the run has recorded."""
from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Dict, Iterator, List, NamedTuple, Tuple

import pytest

from menndl_caffe import journal
from menndl_caffe.errors import UserError
from menndl_caffe.nets import prototxt
from menndl_caffe.nets.proto import caffe_pb2
from menndl_caffe.nets.upgrade import upgrade_net
from menndl_caffe.record import Record
from menndl_caffe.save import command
from menndl_caffe.save.deploy import deploy
from tests.conftest import missing
from tests.support import caffe_runs, runs, zoo

FILES = ["README.md", "deploy.prototxt", "mean.binaryproto", "solver.prototxt", "train_test.prototxt",
         "weights.caffemodel"]


def saved(run: Path, folder: Path, *more: object) -> None:
    """`menndl best RUN --save DIR`."""
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    command.main(parser.parse_args([str(run), "--save", str(folder), *map(str, more)]))


# ---- with real Caffe, and with the torch engine ----

@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return runs.small_data(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module", params=["caffe", "torch"])
def engine(request: pytest.FixtureRequest, caffe_root: Path) -> str:
    if request.param == "torch":
        try:
            __import__("torch")
        except ImportError:
            missing("no PyTorch: pip install '.[torch]'")
    return str(request.param)


@pytest.fixture(scope="module")
def in_caffe(caffe_root: Path) -> Iterator[None]:
    """Where `menndl` finds real Caffe, and the repository's templates."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MENNDL_CAFFE_PYTHON", str(caffe_root / "bin" / "python3"))
        patch.delenv("MENNDL_TRAINER", raising=False)
        patch.chdir(runs.REPOSITORY)
        yield


@pytest.fixture(scope="module")
def run(engine: str, caffe_root: Path, data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A test pass takes 200 images, which are the 50 of the test set four times over."""
    folder = tmp_path_factory.mktemp(engine)
    search = caffe_runs.write_narrow_search(folder / "narrow.search.prototxt", data, population=3, generations=1,
                                            max_iter=8, test_interval=4)
    with open(folder / "log", "wb") as log:
        command = ["run", search, "--out", folder / "run", "--engine", engine]
        code = runs.start(command, env=caffe_runs.environment(caffe_root), log=log).wait(runs.PATIENCE)
    assert code == 0, (folder / "log").read_text()
    return folder / "run"


@pytest.fixture(scope="module")
def record(run: Path) -> Record:
    return journal.read(run)


class Best(NamedTuple):
    folder: Path
    out: str
    progress: str


@pytest.fixture(scope="module")
def best(run: Path, in_caffe: None, tmp_path_factory: pytest.TempPathFactory) -> Best:
    """The best individual, saved, and what was said meanwhile."""
    folder, out, progress = tmp_path_factory.mktemp("saved") / "best", io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(progress):
        saved(run, folder)
    return Best(folder, out.getvalue(), progress.getvalue())


def measured(command: List[object], folder: Path) -> Dict[str, str]:
    """The last value of each output that a `caffe` command prints."""
    done = subprocess.run(list(map(str, command)), cwd=folder, text=True, capture_output=True, timeout=runs.PATIENCE,
                          env={**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1",
                               "PYTHONPATH": str(runs.REPOSITORY)})
    assert done.returncode == 0, done.stderr[-2000:]
    return dict(re.findall(r"\] +(?:Test net output #\d+: )?(\w+) = (\S+)", done.stderr))


def caffe_command(engine: str, caffe_root: Path) -> List[object]:
    return [caffe_root / "bin" / "caffe"] if engine == "caffe" else [sys.executable, "-m", "menndl_caffe.torchcaffe"]


def test_the_second_training_is_the_first(best: Best, record: Record) -> None:
    trial, result = record.best(1)[0]
    equal = f"accuracy {result.fitness:g}, loss {result.loss:g}: equal to the recorded ones, in all 2 test passes"
    assert equal in best.out
    assert re.findall(r"iteration (\d+) of 8: .* \(as recorded\)", best.progress) == ["4", "8"]
    assert f"training individual {trial.id} once more" in best.progress and "the first time took" in best.progress
    assert sorted(path.name for path in best.folder.iterdir()) == FILES
    assert [path.name for path in best.folder.parent.iterdir()] == ["best"]
    readme = (best.folder / "README.md").read_text()
    assert f"# Individual {trial.id} of run: accuracy {result.fitness:g}" in readme and str(trial.genome) in readme


def test_caffe_test_measures_the_recorded_accuracy(engine: str, best: Best, record: Record, caffe_root: Path) -> None:
    """With the very command of the README."""
    result = record.best(1)[0][1]
    command = re.search(r"^caffe (test .*)$", (best.folder / "README.md").read_text(), re.MULTILINE)
    assert command
    values = measured([*caffe_command(engine, caffe_root), *command[1].split()], best.folder)
    assert (values["accuracy"], values["loss"]) == (f"{result.fitness:g}", f"{result.loss:g}")


PREDICT = """
import json, sys
import lmdb, numpy
{engine}
text = open("README.md").read()
code = text.split("```python")[1].split("```")[0]
exec(code.replace("import caffe\\n", "") if {torch} else code)
with lmdb.open(sys.argv[1], readonly=True, lock=False) as database, database.begin() as reading:
    records = [caffe.proto.caffe_pb2.Datum.FromString(value) for _, value in reading.cursor()]
tested = caffe.Net("train_test.prototxt", caffe.TEST, weights="weights.caffemodel")
tested.forward()
scores = numpy.exp(tested.blobs["ip2"].data.astype(float))
right = []
for datum, expected in zip(records, scores):
    image = numpy.frombuffer(datum.data, numpy.uint8).reshape(datum.channels, datum.height, datum.width)
    outputs = predict(image.astype(float))
    expected = expected / expected.sum()
    assert list(outputs) == ["prob"] and abs(outputs["prob"] - expected).max() < 1e-6, (outputs, expected)
    right.append(int(outputs["prob"].argmax()) == datum.label)
print(json.dumps([len(right), sum(right) / len(right)]))
"""


def test_the_deploy_net_predicts_with_the_recorded_accuracy(engine: str, best: Best, record: Record, data: Path,
                                                            caffe_root: Path) -> None:
    """With the very code of the README, image by image; and each image's probabilities are those of the tested net."""
    python = caffe_root / "bin" / "python3" if engine == "caffe" else sys.executable
    imported = "import menndl_caffe.torchcaffe as caffe" if engine == "torch" else ""
    script = PREDICT.format(engine=imported, torch=engine == "torch")
    database, = data.glob("*_test_lmdb")
    done = subprocess.run([str(python), "-c", script, str(database)], cwd=best.folder, text=True, capture_output=True,
                          timeout=runs.PATIENCE, env={**os.environ, "PYTHONPATH": str(runs.REPOSITORY)})
    assert done.returncode == 0, done.stderr[-2000:]
    assert json.loads(done.stdout.splitlines()[-1]) == [50, pytest.approx(record.best(1)[0][1].fitness, abs=1e-9)]


def weights(path: Path) -> Dict[str, List[bytes]]:
    net = caffe_pb2.NetParameter.FromString(path.read_bytes())
    return {layer.name: [blob.SerializeToString() for blob in layer.blobs] for layer in net.layer if layer.blobs}


def test_the_weights_are_those_of_caffe_train(engine: str, best: Best, record: Record, caffe_root: Path,
                                              tmp_path: Path) -> None:
    """Bit for bit: `caffe train` in the folder, or in one to which it was moved, writes them as its last snapshot."""
    folder = Path(shutil.copytree(best.folder, tmp_path / "moved"))
    values = measured([*caffe_command(engine, caffe_root), "train", "-solver", "solver.prototxt"], folder)
    assert values["accuracy"] == f"{record.best(1)[0][1].fitness:g}"
    snapshot = weights(folder / "cifar10_quick_iter_8.caffemodel")
    assert list(snapshot) == ["conv1", "conv2", "conv3", "ip1", "ip2"]
    assert weights(folder / "weights.caffemodel") == snapshot


only_caffe = pytest.mark.parametrize("engine", ["caffe"], indirect=True)


@only_caffe
def test_another_rank_is_another_individual(run: Path, record: Record, in_caffe: None, tmp_path: Path) -> None:
    saved(run, tmp_path / "second", "-n", 2)
    trial = record.best(2)[1][0]
    assert f"# Individual {trial.id} of" in (tmp_path / "second" / "README.md").read_text()
    with pytest.raises(UserError, match="only . different individuals have succeeded so far, .* none of rank 9"):
        saved(run, tmp_path / "ninth", "-n", 9)


# ---- what can have changed since ----

def copied(run: Path, folder: Path, change: Any) -> Path:
    """The run's journal with every line changed."""
    lines = [json.loads(line) for line in (run / "journal.jsonl").read_text().splitlines()]
    for line in lines:
        change(line)
    folder.mkdir()
    (folder / "journal.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder


@only_caffe
def test_a_difference_is_told_with_what_has_changed(run: Path, in_caffe: None, tmp_path: Path,
                                                    capsys: pytest.CaptureFixture[str]) -> None:
    def change(line: Dict[str, Any]) -> None:
        if line["event"] == "run":
            line["versions"]["numpy"] = "0.9"
        if line["event"] == "result":
            line.update(fitness=0.999, loss=0.001, curve=[[4, 0.5, 1.0], [8, 0.999, 0.001]])

    saved(copied(run, tmp_path / "run", change), tmp_path / "best")
    out, progress = capsys.readouterr()
    assert "NOT the recorded ones, accuracy 0.999, loss 0.001 (numpy was 0.9, is " in out
    assert "(recorded: accuracy 0.999, loss 0.001)" in progress
    assert "NOT the recorded ones" in (tmp_path / "best" / "README.md").read_text()


@pytest.fixture
def fake_run(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, in_repository: Path) -> Path:
    """A run with the fake trainer, whose templates are the user's own."""
    monkeypatch.setenv("MENNDL_TRAINER", runs.FAKE_TRAINER)
    search = runs.write_search(tmp_path / "own.search.prototxt", data, population=3, generations=1)
    net = "templates/cifar10_quick/train_test.prototxt.j2"
    shutil.copy(net, tmp_path / "net.j2")
    search.write_text(search.read_text().replace(net, f"{tmp_path}/net.j2"))
    assert runs.start(["run", search, "--out", tmp_path / "run"]).wait(runs.PATIENCE) == 0
    return tmp_path / "run"


def refusal(run: Path, folder: Path, *more: object) -> str:
    """Why nothing is saved; nothing is left then."""
    before = sorted(folder.parent.iterdir())
    with pytest.raises(UserError) as error:
        saved(run, folder, *more)
    assert "\n" not in str(error.value) and sorted(folder.parent.iterdir()) == before
    return str(error.value)


def test_changed_templates_and_data_are_refused(fake_run: Path, tmp_path: Path) -> None:
    """Of a run of menndl 0.1, which has no copies of its own (test_kept.py)."""
    shutil.rmtree(fake_run / "search")
    template = tmp_path / "net.j2"
    template.write_text(template.read_text() + "# changed\n")
    said = refusal(fake_run, tmp_path / "best")
    assert re.search(r"its net template is the one of SHA-256 b457a59763fc\.\.\., the one here is .* SHA-256 ", said)
    template.unlink()
    assert re.search(r"net template .*net\.j2: no such file", refusal(fake_run, tmp_path / "best"))


def test_other_or_missing_data_are_refused(fake_run: Path, tmp_path: Path) -> None:
    from menndl_caffe.data import write_synthetic

    def forget(line: Dict[str, Any]) -> None:
        line.update({"data_folder": "gone/data"} if line["event"] == "run" else {})

    moved = copied(fake_run, tmp_path / "moved", forget)
    said = refusal(moved, tmp_path / "best")
    assert "its data were in gone/data, which is not here; --data DIR says where they are now" in said
    write_synthetic(tmp_path / "data", images_train=200, images_test=60, report=lambda text: None)
    said = refusal(moved, tmp_path / "best", "--data", tmp_path / "data")
    assert re.search(r"its data is train 200 images \w+, test 50 images \w+, the one here is .* test 60 images", said)


def test_a_journal_of_another_version_is_refused(fake_run: Path, tmp_path: Path) -> None:
    old = copied(fake_run, tmp_path / "old", lambda line: line.pop("templates", None))
    assert "the journal's first line has no field 'templates'" in refusal(old, tmp_path / "best")


def test_only_a_new_folder_is_written(fake_run: Path, tmp_path: Path) -> None:
    (tmp_path / "best").mkdir()
    (tmp_path / "best" / "mine").touch()
    assert "exists; expected a folder that is new or empty" in refusal(fake_run, tmp_path / "best")


def test_a_trainer_that_writes_no_weights_is_told(fake_run: Path, tmp_path: Path) -> None:
    assert "the trainer (MENNDL_TRAINER) wrote no weights to" in refusal(fake_run, tmp_path / "best")


def test_what_fails_this_time_is_told(fake_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MENNDL_TRAINER", f"{sys.executable} -c 'import os; os.abort()'")
    with pytest.raises((SystemExit, UserError), match="trainer"):
        saved(fake_run, tmp_path / "best")
    assert not (tmp_path / "best").exists()


SAVE = """
import sys
from pathlib import Path
from menndl_caffe.save.individual import save
save(Path(sys.argv[1]), Path(sys.argv[2]), 1, None, print)
"""


def test_a_killed_one_leaves_no_half_folder(fake_run: Path, tmp_path: Path) -> None:
    process = subprocess.Popen([sys.executable, "-c", SAVE, str(fake_run), str(tmp_path / "best")],
                               env={**runs.environment(), "FAKE_SECONDS": "60"}, stdout=subprocess.DEVNULL)
    assert runs.wait_until(lambda: (tmp_path / ".best.partial" / "deploy.prototxt").exists())
    time.sleep(0.2)
    process.kill()
    process.wait()
    assert not (tmp_path / "best").exists()
    with pytest.raises(UserError, match="wrote no weights"):  # the next one clears away what was left
        saved(fake_run, tmp_path / "best")
    assert not (tmp_path / ".best.partial").exists()


def test_a_test_pass_of_other_images_is_told(tmp_path: Path, data: Path, in_caffe: None) -> None:
    """Of 120 test images a pass takes 100: the second begins with number 100."""
    from menndl_caffe.data import write_synthetic

    write_synthetic(tmp_path / "data", images_train=200, images_test=120, report=lambda text: None)
    search = caffe_runs.write_narrow_search(tmp_path / "s.prototxt", tmp_path / "data", population=1, generations=1,
                                            max_iter=2, test_interval=1, test_iter=1)
    assert runs.start(["run", search, "--out", tmp_path / "run"], env=dict(os.environ)).wait(runs.PATIENCE) == 0
    saved(tmp_path / "run", tmp_path / "best")
    readme = (tmp_path / "best" / "README.md").read_text()
    assert re.search(r"takes 100 of the 120 test images\. The last one of the training began with number 100 ", readme)


# ---- the deploy net ----

EXAMPLES, MODELS = "examples/{}.prototxt", "models/{}.prototxt"
PAIRS = [(EXAMPLES.format(f"cifar10/cifar10_{name}_train_test"), EXAMPLES.format(f"cifar10/cifar10_{name}"))
         for name in ("quick", "full")]
PAIRS += [(EXAMPLES.format("mnist/lenet_train_test"), EXAMPLES.format("mnist/lenet"))]
PAIRS += [(MODELS.format(f"{name}/train_val"), MODELS.format(f"{name}/deploy"))
          for name in ("bvlc_alexnet", "bvlc_reference_caffenet", "finetune_flickr_style", "bvlc_googlenet")]


def bare(net: Any) -> List[Any]:
    """The layers of a deploy net without what its authors chose freely: its batch, and what only training reads."""
    layers = list(upgrade_net(net).layer)
    for layer in layers:
        layer.ClearField("param")
        for _, settings in layer.ListFields():
            for filler in ("weight_filler", "bias_filler"):
                if filler in getattr(getattr(settings, "DESCRIPTOR", None), "fields_by_name", ()):
                    settings.ClearField(filler)
        if layer.type == "Input":
            layer.name = layer.top[0]
            layer.input_param.shape[0].dim[0] = 1
    return layers


@pytest.fixture(scope="module")
def nets(caffe_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Dict[str, Path]:
    return zoo.unpack(caffe_root, tmp_path_factory.mktemp("zoo")).nets


@pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: pair[0])
def test_it_is_the_one_that_caffes_authors_wrote(nets: Dict[str, Path], pair: Tuple[str, str]) -> None:
    net, theirs = (prototxt.load(nets[name], caffe_pb2.NetParameter).message for name in pair)
    ours = deploy(net, zoo.datum_shape)
    # GoogLeNet's authors leave out the two heads that only help in training; here they stay, as outputs.
    main = [layer for layer in bare(ours) if not layer.name.startswith(("loss1/", "loss2/", "prob_"))]
    assert main == bare(theirs)
    assert ours.layer[0].input_param.shape[0].dim[0] == 1
    assert not any(layer.include or layer.loss_weight or "filler" in str(layer) for layer in ours.layer)


def layers(text: str) -> List[Tuple[str, str, List[str], List[str]]]:
    made = deploy(prototxt.parse(text, caffe_pb2.NetParameter).message, zoo.datum_shape)
    return [(layer.name, layer.type, list(layer.bottom), list(layer.top)) for layer in made.layer]


INPUT = 'layer { name: "in" type: "Input" top: "x" top: "y" input_param { shape { dim: 4 dim: 6 } shape { dim: 4 } } } '
SCORES = 'layer { name: "ip" type: "InnerProduct" bottom: "x" top: "s" inner_product_param { num_output: 3 } } '


@pytest.mark.parametrize(("text", "expected"), [
    ('layer { name: "l" type: "HingeLoss" bottom: "s" bottom: "y" top: "l" }', []),
    ('layer { name: "l" type: "SigmoidCrossEntropyLoss" bottom: "s" bottom: "s" top: "l" }',
     [("prob", "Sigmoid", ["s"], ["prob"])]),
    ('layer { name: "p" type: "Softmax" bottom: "s" top: "p" } '
     'layer { name: "l" type: "MultinomialLogisticLoss" bottom: "p" bottom: "y" top: "l" }',
     [("p", "Softmax", ["s"], ["p"])]),
    ('layer { name: "shift" type: "Power" bottom: "y" top: "y2" } layer { name: "q" type: "Silence" bottom: "y2" } '
     'layer { name: "r" type: "ReLU" bottom: "s" top: "s" } '
     'layer { name: "a" type: "Accuracy" bottom: "s" bottom: "y" top: "a" include { phase: TEST } } '
     'layer { name: "d" type: "Dropout" bottom: "s" top: "d" include { phase: TRAIN } } '
     'layer { name: "l" type: "SoftmaxWithLoss" bottom: "s" bottom: "y" top: "l" }',
     [("r", "ReLU", ["s"], ["s"]), ("prob", "Softmax", ["s"], ["prob"])]),
])
def test_losses_labels_and_what_only_they_read_are_left_out(text: str, expected: List[Any]) -> None:
    assert layers(INPUT + SCORES + text) == [("x", "Input", [], ["x"]), ("ip", "InnerProduct", ["x"], ["s"]), *expected]


def test_the_axis_of_the_classes_is_kept() -> None:
    loss = ('layer { name: "l" type: "SoftmaxWithLoss" bottom: "x" bottom: "y" top: "l" softmax_param { axis: -1 } }')
    net = prototxt.parse(INPUT + loss, caffe_pb2.NetParameter).message
    assert deploy(net, zoo.datum_shape).layer[-1].softmax_param.axis == -1
