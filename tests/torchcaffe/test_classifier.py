"""Classifier against real pycaffe's, on a small net with the same weights."""
from __future__ import annotations

from pathlib import Path
from typing import Any, Dict

import numpy as np
import pytest

from menndl_caffe.errors import UserError
from menndl_caffe.torchcaffe import classifier
from tests.support.torchcaffe.real_pycaffe import in_real_caffe

NET = """
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 4 dim: 3 dim: 6 dim: 5 } } }
layer { name: "ip" type: "InnerProduct" bottom: "data" top: "ip"
        inner_product_param { num_output: 7 weight_filler { type: "gaussian" std: 0.3 } } }
layer { name: "prob" type: "Softmax" bottom: "ip" top: "prob" }
"""
RANDOM = np.random.RandomState(3)
GIVEN = {"small": RANDOM.uniform(0, 1, (7, 9, 3)).astype(np.float32), "mean": RANDOM.uniform(0, 1, (3, 6, 5)),
         "large": RANDOM.uniform(0, 1, (20, 16, 3)).astype(np.float32)}


def predictions(caffe: Any, given: Any) -> Any:
    """With the input's own dimensions and with larger ones; ten crops and one; without settings and with all."""
    import os

    if not os.path.exists("net.caffemodel"):
        caffe.set_random_seed(1)
        caffe.Net("net.prototxt", 1).save("net.caffemodel")
    found, images = {}, [given["small"], given["large"], given["small"]]
    every = dict(mean=given["mean"], input_scale=0.3, raw_scale=2.0, channel_swap=(2, 1, 0))
    for name, settings in (("plain", {}), ("dims", dict(image_dims=(9, 8))),
                           ("every", dict(image_dims=[8, 8], **every))):
        net = caffe.Classifier("net.prototxt", "net.caffemodel", **settings)
        for oversample in (True, False):
            found[f"{name} {oversample}"] = net.predict(images, oversample)
    return found


@pytest.fixture
def real(caffe_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Dict[str, Any]:
    """What real Caffe predicts, in whose folder with net and weights the test then works."""
    (tmp_path / "net.prototxt").write_text(NET)
    monkeypatch.chdir(tmp_path)
    return in_real_caffe(caffe_root, tmp_path, "caffe", predictions, GIVEN)


def test_same_predictions_as_pycaffe(real: Dict[str, Any]) -> None:
    own = predictions(classifier, GIVEN)
    assert set(own) == set(real)
    for name in real:
        np.testing.assert_allclose(own[name], real[name], rtol=1e-5, atol=1e-6, err_msg=name)
        assert own[name].shape == (3, 7)
    assert np.abs(own["dims True"] - own["dims False"]).max() > 1e-3

    net = classifier.Classifier("net.prototxt", "net.caffemodel", image_dims=(5, 5))
    with pytest.raises(UserError, match="an image of 5x5 has no crops of 6x5"):
        net.predict([GIVEN["small"]])
