"""The two benchmarks of real Caffe against the torch engine: that they run, and measure what they say."""
from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any, Dict, List

import numpy as np
import pytest

pytest.importorskip("torch")

import menndl_caffe.torchcaffe as caffe  # noqa: E402
from menndl_caffe.nets import prototxt  # noqa: E402
from tests.bench import engines, nets  # noqa: E402
from tests.bench.two_views import two_views  # noqa: E402

OWN = {"examples/cifar10/cifar10_quick_train_test": 100, "examples/mnist/lenet_train_test": 64,
       "examples/hdf5_classification/train_val": 10, "examples/feature_extraction/imagenet_val": 50,
       "examples/finetune_pascal_detection/pascal_finetune_trainval_test": 128, "models/bvlc_alexnet/train_val": 256}


def built(net: Any, folder: Path) -> caffe.Net:
    path = folder / "net.prototxt"
    path.write_text(prototxt.dumps(net))
    return caffe.Net(str(path), caffe.TRAIN)


def test_every_net_of_caffe_but_the_one_in_python_is_a_case(caffe_root: Path, tmp_path: Path) -> None:
    cases = list(nets.cases(caffe_root, tmp_path))
    assert len({case.name for case in cases}) == 29 and "examples/pycaffe/linreg" not in {case.name for case in cases}
    batches: Dict[str, List[int]] = {}
    for case in cases:
        batches.setdefault(case.name, []).append(case.batch)
        assert [layer.type for layer in nets.sources(case.net) if layer.name != "jitter"] == ["Input"], case.name
    assert all(found[:2] == [1, 8] for found in batches.values())
    assert {name: batches[name][-1] for name in OWN} == OWN


@pytest.mark.parametrize("name", ["cifar10/cifar10_quick_train_test", "hdf5_classification/train_val",
                                  "mnist/mnist_autoencoder", "siamese/mnist_siamese_train_test"])
def test_nets_that_train_take_the_images_that_are_given(name: str, caffe_root: Path, tmp_path: Path) -> None:
    case = next(case for case in nets.cases(caffe_root, tmp_path) if (case.name, case.batch) == (f"examples/{name}", 8))
    net = built(case.net, tmp_path)
    first = net.blobs[net.inputs[0]]
    assert first.num == 8
    first.data[...] = np.random.RandomState(1).rand(*first.shape)
    net.forward()
    net.backward()
    assert any(blobs[0].diff.any() for blobs in net.params.values())


def test_the_net_of_two_views_has_the_published_shapes(tmp_path: Path) -> None:
    net = built(two_views(2), tmp_path)
    shapes = {name: net.blobs[name].shape for name in ("data", "view1", "conv1_0", "pool2_1", "conv6_0", "concat9",
                                                       "inception10", "score")}
    assert shapes == {"data": (2, 2, 100, 80), "view1": (2, 1, 100, 80), "conv1_0": (2, 32, 50, 40),
                      "pool2_1": (2, 32, 4, 14), "conv6_0": (2, 58, 4, 13), "concat9": (2, 512, 4, 13),
                      "inception10": (2, 256, 4, 13), "score": (2, 8)}


def test_nets_are_measured(caffe_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                           capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "rows.json"
    monkeypatch.setattr(sys, "argv", ["nets", "--only", "net_surgery/conv", "--images", "1", "--rounds", "1",
                                      "--seconds", "0", "--layers", "--json", str(file)])
    nets.main()
    said, (row,) = capsys.readouterr().out, json.loads(file.read_text())
    assert (row["name"], row["batch"]) == ("examples/net_surgery/conv", 1)
    assert row["ratio"] == row["caffe"]["median"] / row["torch"]["median"]
    assert set(row["layers"]["caffe"]) == set(row["layers"]["torch"]) == {"data", "conv"}
    assert "all: n = 1, median" in said


def test_genomes_are_measured(caffe_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                              capsys: pytest.CaptureFixture[str]) -> None:
    smallest = [("smallest", engines.search_file.load(engines.PAPER).space.with_settings(engines.SMALLEST))]
    monkeypatch.setattr(engines, "genomes", lambda *_: smallest)
    monkeypatch.setattr(engines, "arrangements", lambda cores: [engines.Arrangement(1, 1)])
    monkeypatch.setattr(engines, "sgemm", lambda cores: 100.0)  # which takes seconds, as do versions
    monkeypatch.setattr(engines, "versions", dict)
    file = tmp_path / "rows.json"
    monkeypatch.setattr(sys, "argv", ["engines", "--seconds", "0", "--json", str(file)])
    engines.main()
    (row,) = json.loads(file.read_text())
    assert row["ratio"] == row["torch"]["individuals_an_hour"] / row["caffe"]["individuals_an_hour"] > 0
    assert "smallest: one process's iteration by layers" in capsys.readouterr().out
