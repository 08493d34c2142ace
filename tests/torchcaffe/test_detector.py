"""Detector against real pycaffe's, on a small net with the same weights, and the geometry of windows with context."""
from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType
from typing import Any, Dict

import numpy as np
import pytest

from menndl_caffe.errors import UserError
from menndl_caffe.torchcaffe import detector
from tests.support.torchcaffe.real_pycaffe import in_real_caffe

NET = """
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 2 dim: 3 dim: 13 dim: 13 } } }
layer { name: "ip" type: "InnerProduct" bottom: "data" top: "ip"
        inner_product_param { num_output: 5 weight_filler { type: "gaussian" std: 0.1 } } }
layer { name: "prob" type: "Softmax" bottom: "ip" top: "prob" }
"""
RANDOM = np.random.RandomState(4)
IMAGE = RANDOM.uniform(0, 1, (30, 40, 3)).astype(np.float32)
WINDOWS = np.array([[5, 6, 20, 22], [0, 0, 9, 14], [22, 30, 30, 40], [10, 0, 30, 5], [0, 0, 30, 40], [3, 3, 6, 5],
                    [3, 3, 15, 15]])  # the last one with context 3: border and image are both rounded up
GIVEN = {"image": IMAGE, "windows": WINDOWS, "mean": RANDOM.uniform(0, 1, (3, 13, 13)).astype(np.float32)}


def crops_and_detections(caffe: Any, given: Any) -> Any:
    """Windows cut without context, with it, and with every setting; detections in a file's windows.

    pycaffe cuts an image at whole numbers that are floats, which NumPy refuses since 1.12; the image here takes them.
    Its load_image asks scikit-image for as_grey, which is as_gray since 0.16: so the image is handed over instead.
    """
    import os

    class Forgiving(np.ndarray):
        def __getitem__(self, key: Any) -> Any:
            if isinstance(key, tuple) and isinstance(key[0], slice) and isinstance(key[0].start, float):
                key = tuple(slice(int(part.start), int(part.stop)) for part in key)
            return np.asarray(self)[key]

    if not os.path.exists("net.caffemodel"):
        caffe.set_random_seed(1)
        caffe.Net("net.prototxt", 1).save("net.caffemodel")
    caffe.io.load_image = lambda name: given["image"]
    found, files = {}, ("net.prototxt", "net.caffemodel")
    every = dict(raw_scale=2.0, input_scale=0.3, channel_swap=[2, 0, 1])
    for name, settings in (("plain", {}), ("context", dict(context_pad=3)),
                           ("channels", dict(mean=given["mean"][:, 0, 0], context_pad=1)),
                           ("every", dict(mean=given["mean"], context_pad=2, **every))):
        net = caffe.Detector(*files, **settings)
        for index, window in enumerate(given["windows"]):
            found[f"{name} {index}"] = net.crop(given["image"].view(Forgiving), window)
        net.configure_crop(None)
        detections = net.detect_windows([("a.png", given["windows"][:3]), ("b.png", given["windows"][3:])])
        found[f"{name} predictions"] = np.array([detection["prediction"] for detection in detections])
        found[f"{name} windows"] = np.array([detection["window"] for detection in detections])
        found[f"{name} files"] = np.array([detection["filename"] for detection in detections])
    return found


@pytest.fixture
def real(caffe_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Dict[str, Any]:
    """What real Caffe finds, in whose folder with net and weights the test then works."""
    (tmp_path / "net.prototxt").write_text(NET)
    monkeypatch.chdir(tmp_path)
    return in_real_caffe(caffe_root, tmp_path, "caffe", crops_and_detections, GIVEN)


def test_same_crops_and_detections_as_pycaffe(real: Dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(detector.io, "load_image", None)  # it is replaced below, and is itself again after the test
    own = crops_and_detections(detector, GIVEN)
    assert set(own) == set(real)
    for name in real:
        if real[name].dtype.kind == "U":
            assert list(own[name]) == list(real[name])
        else:
            np.testing.assert_allclose(own[name], real[name], rtol=1e-5, atol=1e-5, err_msg=name)

    refused(detector.Detector("net.prototxt", "net.caffemodel", context_pad=3), monkeypatch)
    with pytest.raises(UserError, match="context_pad 7 on both sides leaves nothing of an input 13 pixels wide"):
        detector.Detector("net.prototxt", "net.caffemodel", context_pad=7)


def refused(net: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for context in (None, 3):
        net.configure_crop(context)
        with pytest.raises(UserError, match=r"window \(50, 0, 60, 9\) .* has no pixel of an image of 30x40"):
            net.crop(IMAGE, (50, 0, 60, 9))
    with pytest.raises(UserError, match="selective search needs .*selective_search_ijcv_with_python"):
        net.detect_selective_search(["a.png"])
    search = ModuleType("selective_search_ijcv_with_python")
    search.get_windows = lambda paths, cmd: [WINDOWS[:2] for path in paths]  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, search.__name__, search)
    found = net.detect_selective_search(["a.png", "b.png"])
    assert [Path(detection["filename"]).name for detection in found] == ["a.png", "a.png", "b.png", "b.png"]
    assert all(Path(detection["filename"]).is_absolute() for detection in found)
    assert net.detect_windows([]) == []


def test_a_window_in_the_middle_is_cut_out_with_its_surroundings(real: Dict[str, Any]) -> None:
    """By hand: 4 of 13 pixels on each side are context, 5 show the window; so of 10 pixels about 30, 26 are seen."""
    net = detector.Detector("net.prototxt", "net.caffemodel", context_pad=4)
    ramp = np.tile(np.arange(60.0)[:, np.newaxis, np.newaxis], (1, 60, 3)).astype(np.float32)
    crop = net.crop(ramp, (25, 25, 34, 34))  # rows 17 to 42, two for each of 13, the middle of which is 29.5
    assert crop.shape == (13, 13, 3)
    np.testing.assert_allclose(crop[2:11, 6, 0], 17.5 + 2 * np.arange(2, 11), atol=1e-4)
