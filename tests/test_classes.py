"""A net needs an output for each class of its images: what is refused, and what a run tells of its classes."""
from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Dict

import numpy as np
import pytest

from menndl_caffe.data.lmdb_data import Images, write_lmdb
from menndl_caffe.experiment.classes import check_outputs, images_of_classes
from menndl_caffe.nets import prototxt
from menndl_caffe.nets.proto import caffe_pb2
from menndl_caffe.nets.shapes import ImpossibleNet, infer
from menndl_caffe.nets.wiring import layers_of_phase
from tests.conftest import REPOSITORY
from tests.support import runs
from tests.support.in_process import Menndl

TEMPLATE = (REPOSITORY / "templates/cifar10_quick/train_test.prototxt.j2").read_text()


@pytest.fixture
def menndl(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Menndl:
    return Menndl(monkeypatch, capsys)


@pytest.fixture(scope="module")
def five(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An LMDB with the labels 0, 1, 2 and 4."""
    path = tmp_path_factory.mktemp("five") / "lmdb"
    write_lmdb(path, Images(np.array([4, 0, 1, 2, 2], np.uint8), np.zeros((5, 1, 4, 4), np.uint8)), 5)
    return path


def net(five: Path, outputs: int, loss: str = 'type: "SoftmaxWithLoss"', score: str = "score", more: str = "",
        backend: str = "LMDB") -> str:
    return f"""
layer {{ name: "read" type: "Data" top: "data" top: "label"
         data_param {{ source: "{five}" batch_size: 2 backend: {backend} }} }}
layer {{ name: "score" type: "InnerProduct" bottom: "data" top: "score"
         inner_product_param {{ num_output: {outputs} }} }}
{more}
layer {{ name: "loss" {loss} bottom: "{score}" bottom: "label" top: "loss" }}"""


def check(text: str) -> None:
    message = prototxt.parse(text, caffe_pb2.NetParameter).message
    check_outputs(layers_of_phase(message, "TRAIN", 0, ()), infer(message, "TRAIN", lambda layer: (1, 4, 4)))


RELU = 'layer { name: "relu" type: "ReLU" bottom: "score" top: "score" }'
SIGMOID = 'layer { name: "act" type: "Sigmoid" bottom: "score" top: "act" }'


@pytest.mark.parametrize("how, said", [
    ({"outputs": 4}, "4 outputs ('score', for loss), but {five} has labels up to 4, 4 classes; expected 5 outputs"),
    ({"outputs": 1, "loss": 'type: "Accuracy"'}, "has 1 output "),
    ({"outputs": 4, "loss": 'type: "HingeLoss"'}, "has 4 outputs"),
    ({"outputs": 4, "more": RELU}, "layer score"),
    ({"outputs": 4, "more": SIGMOID, "score": "act"}, "layer act"),
    ({"outputs": 4, "loss": 'type: "SoftmaxWithLoss" loss_param { ignore_label: 2 }'}, "up to 4"),
    ({"outputs": 2, "loss": 'type: "SoftmaxWithLoss" loss_param { ignore_label: 4 }'}, "up to 2"),
])
def test_too_few_outputs(five: Path, how: Dict[str, object], said: str) -> None:
    with pytest.raises(ImpossibleNet) as caught:
        check(net(five, **how))  # type: ignore[arg-type]
    assert said.format(five=five) in str(caught.value)


@pytest.mark.parametrize("how", [
    {"outputs": 5}, {"outputs": 9}, {"outputs": 5, "more": RELU},
    {"outputs": 3, "loss": 'type: "SoftmaxWithLoss" loss_param { ignore_label: 4 }'},
    {"outputs": 1, "loss": 'type: "EuclideanLoss"'},  # takes numbers
    {"outputs": 2, "backend": "LEVELDB"},  # is not looked into
])
def test_enough_outputs_or_no_classes(five: Path, how: Dict[str, object]) -> None:
    check(net(five, **how))  # type: ignore[arg-type]


def test_labels_below_0(tmp_path: Path) -> None:
    from tests.support.torchcaffe.data_sets import raw_data
    from tests.support.torchcaffe.data_sets import write_lmdb as write_values
    write_values(tmp_path / "lmdb", raw_data([np.zeros((1, 4, 4), np.uint8)] * 2, [0, -1]))
    with pytest.raises(ImpossibleNet, match="has the label -1; expected labels from 0, or ignore_label"):
        check(net(tmp_path / "lmdb", 5))
    check(net(tmp_path / "lmdb", 5, 'type: "SoftmaxWithLoss" loss_param { ignore_label: -1 }'))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return runs.small_data(tmp_path_factory.mktemp("data") / "data")


def search(folder: Path, data: Path, outputs: str, gene: str = "") -> Path:
    """A search whose last layer has so many outputs."""
    (folder / "net.j2").write_text(TEMPLATE.replace("num_output: 10", f"num_output: {outputs}"))
    path = runs.write_search(folder / "s.search.prototxt", data, gene)
    path.write_text("\n".join(f'net: "{folder}/net.j2"' if line.startswith("net:") else line
                              for line in path.read_text().splitlines()))
    return path


def test_a_search_is_refused_before_it_begins(menndl: Menndl, data: Path, tmp_path: Path) -> None:
    path = search(tmp_path, data, "9")
    assert menndl("run", path, "--out", tmp_path / "run") == 2
    assert f"{tmp_path}/net.j2 (rendered):" in menndl.said
    assert "layer ip2: has 9 outputs ('ip2', for " in menndl.said
    assert f"but {data}/cifar10_test_lmdb has labels up to 9, 10 classes; expected 10 outputs or more" in menndl.said
    assert not (tmp_path / "run" / "journal.jsonl").exists()


def test_an_individual_with_too_few_is_impossible(menndl: Menndl, data: Path, tmp_path: Path) -> None:
    path = search(tmp_path, data, "{{ outputs }}",
                  'gene { name: "outputs" int_range { min: 5 max: 12 } default: 10 }')
    menndl("evaluate", path, "--set", "outputs=8")
    result = json.loads(menndl.out)
    assert result["status"] == "invalid" and "labels up to 9" in result["reason"]


def test_a_run_says_which_classes_it_has(menndl: Menndl, data: Path, tmp_path: Path) -> None:
    path = search(tmp_path, data, "10")
    menndl.run(path, tmp_path / "run")
    line = json.loads((tmp_path / "run" / "journal.jsonl").read_text().splitlines()[0])
    assert sum(train for train, _ in line["classes"].values()) == 200
    assert sum(test for _, test in line["classes"].values()) == 50
    assert list(line["classes"]) == [str(label) for label in range(10)], "drawn ones have no names"


def test_class_names_come_from_the_summary(data: Path, tmp_path: Path) -> None:
    shutil.copytree(data, tmp_path / "data")
    summary = json.loads((tmp_path / "data" / "dataset.json").read_text())
    summary["classes"] = [f"kind {label}" for label in range(10)]
    (tmp_path / "data" / "dataset.json").write_text(json.dumps(summary))
    train, test = (tmp_path / "data" / f"cifar10_{part}_lmdb" for part in ("train", "test"))
    found = images_of_classes(train, test)
    assert list(found) == summary["classes"]
    assert [counts[0] for counts in found.values()] == summary["labels"]["cifar10_train_lmdb"]


def test_many_labels_are_no_classes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, five: Path) -> None:
    monkeypatch.setattr("menndl_caffe.experiment.classes.MOST", 3)
    assert images_of_classes(five, five) == {}
