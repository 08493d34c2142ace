"""Messages, images and the Transformer against real pycaffe's `io`, and closed forms."""
from __future__ import annotations

from pathlib import Path
from typing import Any, List, Tuple

import numpy as np
import pytest

from menndl_caffe import errors
from menndl_caffe.errors import UserError
from menndl_caffe.nets.proto import caffe_pb2
from menndl_caffe.torchcaffe import io as ours
from menndl_caffe.torchcaffe.io import Transformer, load_image, oversample, resize_image
from tests.support.torchcaffe.real_pycaffe import in_real_caffe

RANDOM = np.random.RandomState(0)
SIZES = [((6, 6), (9, 9)), ((9, 7), (4, 5)), ((5, 8), (5, 8)), ((4, 3), (3, 8)), ((23, 31), (2, 3)), ((1, 5), (4, 4)),
         ((7, 9), (1, 1)), ((40, 50), (27, 27)), ((5, 5), (9, 9))]
IMAGE = RANDOM.uniform(-3, 5, (9, 7, 3)).astype(np.float32)


def everything(io: Any, given: Any) -> Any:
    """What pycaffe gives for the arrays of `given`, by name."""
    found = {}
    for kind in ("float", "int"):
        blob = io.array_to_blobproto(given[kind], given[kind] + 1)
        found[f"blob {kind}"] = np.frombuffer(blob.SerializeToString(), np.uint8)
        found[f"blob {kind} data"] = io.blobproto_to_array(blob)
        found[f"blob {kind} diff"] = io.blobproto_to_array(blob, return_diff=True)
    old = io.caffe_pb2.BlobProto(num=1, channels=2, height=3, width=4, data=range(24))
    found["old blob"] = io.blobproto_to_array(old)
    found["scalar blob"] = io.blobproto_to_array(io.caffe_pb2.BlobProto(data=[3]))
    vector = io.arraylist_to_blobprotovector_str([given["float"], given["int"]])
    found["vector"] = np.frombuffer(vector, np.uint8)
    found["vector 1"] = io.blobprotovector_str_to_arraylist(vector)[1]
    for kind, label in (("bytes", 7), ("int", None), ("float", 0)):
        datum = io.array_to_datum(given[kind], label)
        found[f"datum {kind}"] = np.frombuffer(datum.SerializeToString(), np.uint8)
        found[f"datum {kind} array"] = io.datum_to_array(datum)
    found["oversample"] = io.oversample([given["image"], given["image"] + 1], (4, 5))
    found["oversample odd"] = io.oversample(given["image"][np.newaxis], np.array([4, 4]))
    return found


def test_messages_are_pycaffes(caffe_root: Path, tmp_path: Path) -> None:
    given = {"float": RANDOM.randn(2, 3, 4), "int": np.arange(24).reshape(4, 3, 2), "image": IMAGE,
             "bytes": RANDOM.randint(0, 256, (3, 5, 4)).astype(np.uint8)}
    real, own = in_real_caffe(caffe_root, tmp_path, "caffe.io", everything, given), everything(ours, given)
    assert set(own) == set(real)
    for name in real:
        np.testing.assert_array_equal(own[name], real[name], err_msg=name)
        assert (own[name].dtype, own[name].shape) == (real[name].dtype, real[name].shape), name
    assert own["datum bytes array"].flags.writeable


def transformed(io: Any, given: Any) -> Any:
    """Pre- and deprocessing with each setting alone and with all of them, with every kind of mean."""
    found, image, to_chw = {}, given["image"], {"transpose": (2, 0, 1)}
    settings = {
        "nothing": {}, "raw": {"raw_scale": 255}, "scale": {"input_scale": 0.017}, "transpose": to_chw,
        "swap": dict(to_chw, channel_swap=(2, 0, 1)),
        "all": dict(to_chw, channel_swap=[1, 2, 0], raw_scale=255.0, mean=given["mean"], input_scale=0.5)}
    settings.update((name, dict(to_chw, mean=given[name])) for name in ("channel mean", "small mean", "large mean"))
    for name, chosen in settings.items():
        for shape in ((5, 3, 9, 7), (5, 3, 6, 10)):
            transformer = io.Transformer({"label": (5,), "data": shape})
            for setting, value in chosen.items():
                getattr(transformer, "set_" + setting)("data", value)
            item = transformer.preprocess("data", image.copy())
            found[f"{name} {shape}"] = item
            found[f"{name} {shape} back"] = transformer.deprocess("data", item[np.newaxis])
    grey = io.Transformer({"data": (1, 1, 9, 7)})
    grey.set_mean("data", given["mean"][0])
    found["grey"] = grey.preprocess("data", image[:, :, 0])
    found["grey back"] = grey.deprocess("data", found["grey"])
    return found


def test_transformer_is_pycaffes(caffe_root: Path, tmp_path: Path) -> None:
    given = {"image": IMAGE, "mean": RANDOM.randn(3, 9, 7), "channel mean": np.array([1.0, 2.5, -3.0]),
             "small mean": RANDOM.randn(3, 4, 4), "large mean": RANDOM.randn(3, 20, 15).astype(np.float32)}
    real, own = in_real_caffe(caffe_root, tmp_path, "caffe.io", transformed, given), transformed(ours, given)
    assert set(own) == set(real)
    for name in real:
        np.testing.assert_allclose(own[name], real[name], rtol=0, atol=1e-5 * np.abs(real[name]).max(), err_msg=name)
        assert own[name].dtype == real[name].dtype == np.float32, name


def resized(io: Any, given: Any) -> Any:
    """Keys of `given` say: order, new height, new width."""
    found = {}
    for name, image in given.items():
        order, height, width = [int(number) for number in name.split()[:3]]
        found[name] = io.resize_image(image, (height, width), order)
    return found


def has_ties(old: Tuple[int, int], new: Tuple[int, int]) -> bool:
    """Whether the middle of a new pixel lies on the edge of two old ones."""
    return any((2 * pixel + 1) * before % (2 * after) == 0 for before, after in zip(old, new) for pixel in range(after))


def test_resizing_is_pycaffes(caffe_root: Path, tmp_path: Path) -> None:
    """But for the nearest of two pixels that are equally near: scikit-image's own varies with the kernels of BLAS."""
    given = {f"{order} {new[0]} {new[1]} from {old} x {channels}": RANDOM.uniform(-2, 9, (*old, channels))
             for order in (0, 1) for old, new in SIZES for channels in (1, 2, 3, 5)
             if order or channels in (2, 5) or not has_ties(old, new)}
    given["1 6 10 constant"] = np.full((4, 4, 3), 2.5)
    given["1 5 3 bytes"] = RANDOM.randint(0, 256, (8, 8, 3)).astype(np.uint8)
    real, own = in_real_caffe(caffe_root, tmp_path, "caffe.io", resized, given), resized(ours, given)
    for name in given:
        np.testing.assert_allclose(own[name], real[name], rtol=0, atol=1e-4, err_msg=name)
        assert own[name].dtype == real[name].dtype == np.float32


def test_splines_are_pycaffes(caffe_root: Path, tmp_path: Path) -> None:
    """Those of two channels; those of images changed with scikit-image 0.19, whose they are here."""
    pytest.importorskip("scipy")
    given = {f"{order} {new[0]} {new[1]} from {old}": RANDOM.uniform(-2, 9, (*old, 2))
             for order in (2, 3, 4, 5) for old, new in SIZES if min(old) > 1}
    real, own = in_real_caffe(caffe_root, tmp_path, "caffe.io", resized, given), resized(ours, given)
    for name in given:
        np.testing.assert_allclose(own[name], real[name], rtol=0, atol=1e-4, err_msg=name)


def test_splines_of_images_are_scikit_images() -> None:
    transform = pytest.importorskip("skimage.transform")
    for order in range(6):
        for old, new in SIZES[:2] + SIZES[3:]:
            image = RANDOM.uniform(0, 1, (*old, 3))
            lowest, highest = image.min(), image.max()
            theirs = transform.resize((image - lowest) / (highest - lowest), new, order=order, mode="constant")
            if order == 0 and has_ties(old, new):
                continue
            np.testing.assert_allclose(resize_image(image, new, order), theirs * (highest - lowest) + lowest, atol=1e-4)


def test_doubling_and_halving_by_hand() -> None:
    image = np.array([0.0, 4.0, 8.0])[np.newaxis, :, np.newaxis]
    np.testing.assert_allclose(resize_image(image, (1, 6)).ravel(), [0, 1, 3, 5, 7, 6])  # outside is 0, the lowest
    two = np.concatenate([image, image], axis=2)
    np.testing.assert_allclose(resize_image(two, (1, 5))[0, :, 1], [0, 2, 4, 6, 8])
    smooth = np.exp(-0.5 * np.arange(-2, 3) ** 2 / 0.25)  # sigma 1/2, cut at 4 sigma
    smooth /= smooth.sum()
    line = np.array([0.0, 0, 0, 0, 1, 0, 0, 0])
    smoothed = np.convolve(line, smooth, "same")
    np.testing.assert_allclose(resize_image(line[np.newaxis, :, np.newaxis], (1, 4)).ravel(),
                               (smoothed[::2] + smoothed[1::2]) / 2, atol=1e-6)


PIXELS = RANDOM.randint(0, 256, (6, 5, 4)).astype(np.uint8)


def write_images(folder: Path) -> List[str]:
    """A PNG of each kind; their names."""
    image = pytest.importorskip("PIL.Image")
    pictures = {"RGB": image.fromarray(PIXELS[:, :, :3].copy()), "RGBA": image.fromarray(PIXELS),
                "L": image.fromarray(PIXELS[:, :, 0].copy()),
                "I16": image.fromarray(PIXELS[:, :, 1].astype(np.uint16) * 257 + 3)}
    pictures["P"] = pictures["RGB"].quantize(16)
    for name, picture in pictures.items():
        picture.save(folder / f"{name}.png")
    return sorted(pictures)


def loaded(io: Any, given: Any) -> Any:
    """pycaffe's load_image says as_grey to scikit-image, which has called it as_gray since 0.16."""
    import skimage.io

    imread = skimage.io.imread
    skimage.io.imread = lambda name, as_grey: imread(name, as_gray=as_grey)
    return {f"{name} {color}": io.load_image(f"{name}.png", color=color)
            for name in given["names"] for color in (True, False)}


def test_load_image_is_what_pycaffes_was(caffe_root: Path, tmp_path: Path) -> None:
    """But for the brightness of transparent colours, which scikit-image, since 0.18, lays on white."""
    names = write_images(tmp_path)
    real = in_real_caffe(caffe_root, tmp_path, "caffe.io", loaded, {"names": np.array(names)})
    assert len(real) == 2 * len(names)
    del real["RGBA False"]
    for name, image in real.items():
        kind, color = name.split()
        own = load_image(str(tmp_path / f"{kind}.png"), color == "True")
        np.testing.assert_allclose(own, image, atol=1e-6, err_msg=name)
        assert (own.dtype, own.shape) == (image.dtype, image.shape)


def test_images_in_other_modes(tmp_path: Path) -> None:
    image = pytest.importorskip("PIL.Image")
    grey = image.fromarray(PIXELS[:, :, 0].copy())
    grey.convert("LA").save(tmp_path / "grey.png")
    np.testing.assert_allclose(load_image(tmp_path / "grey.png"), np.stack([PIXELS[:, :, 0]] * 3, 2) / 255, atol=1e-6)
    grey.point(lambda value: 255 * (value > 99)).convert("1").save(tmp_path / "bits.png")
    np.testing.assert_array_equal(load_image(tmp_path / "bits.png", False)[:, :, 0], PIXELS[:, :, 0] > 99)
    with pytest.raises(FileNotFoundError, match="none.png"):
        load_image(tmp_path / "none.png")


def test_oversampling_by_hand() -> None:
    image = np.arange(20.0).reshape(4, 5, 1)
    crops = oversample([image], (2, 2))[:, :, :, 0]
    assert [crop[0, 0] for crop in crops[:5]] == [0, 3, 10, 13, 6]
    np.testing.assert_array_equal(crops[5:], crops[:5, :, ::-1])


def test_the_image_stays_as_it_is() -> None:
    """pycaffe's preprocess scales a float32 image of the right size in place."""
    image = IMAGE.copy()
    transformer = Transformer({"data": (1, 3, 9, 7)})
    transformer.set_raw_scale("data", 255)
    transformer.preprocess("data", image)
    np.testing.assert_array_equal(image, IMAGE)


def test_refusals() -> None:
    transformer = Transformer({"data": (1, 3, 4, 4)})
    for refused, message in (
        (lambda: transformer.preprocess("dta", IMAGE), "'dta' is not one of the net's inputs; did you mean data"),
        (lambda: transformer.deprocess("label", IMAGE), "'label' is not one"),
        (lambda: transformer.set_transpose("data", (1, 0)), "has 2 axes, an item of input data 3"),
        (lambda: transformer.set_channel_swap("data", (1, 0)), "has 2 channels, input data 3"),
        (lambda: transformer.set_mean("data", np.zeros(4)), "a mean of 4 channels"),
        (lambda: transformer.set_mean("data", np.zeros((1, 3, 4, 4))), "not 4"),
        (lambda: resize_image(IMAGE, (0, 4)), "to \\(0, 4\\)"),
        (lambda: resize_image(IMAGE[0], (3, 4)), "not one of shape \\(7, 3\\)"),
        (lambda: resize_image(IMAGE, (3, 4), 6), "interp_order is 0 to 5, not 6"),
        (lambda: oversample([IMAGE], (10, 4)), "9x7 has no crops of 10x4"),
        (lambda: ours.array_to_datum(np.zeros((3, 4))), "not one of 2 axes"),
        (lambda: ours.blobproto_to_array(caffe_pb2.BlobProto(data=[1, 2])), r"shape \(\) holds 2 numbers"),
        (lambda: ours.blobproto_to_array(caffe_pb2.BlobProto(data=[1, 2], shape={"dim": [-1, -2]})), "-1x-2 holds 2"),
        (lambda: ours.blobproto_to_array(caffe_pb2.BlobProto(shape={"dim": [2**62, 3, 0]})), "x3x0 holds 0 numbers"),
        (lambda: ours.blobproto_to_array(caffe_pb2.BlobProto(data=[1], shape={"dim": [1] * 99})), "1x1 holds 1 number"),
        (lambda: ours.datum_to_array(caffe_pb2.Datum(channels=3, height=2, width=2, data=b"PNG", encoded=True)),
         "an encoded image of shape 3x2x2 holds 3 numbers"),
    ):
        with pytest.raises(UserError, match=message):
            refused()


def test_missing_modules_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def without(name: str, *rest: Any, **more: Any) -> Any:
        raise ImportError(f"No module named {name!r}")

    monkeypatch.setattr(errors.importlib, "import_module", without)
    with pytest.raises(UserError, match="reading an image needs pillow .*PIL"):
        load_image("some.png")
    with pytest.raises(UserError, match="interp_order 3 needs scipy"):
        resize_image(IMAGE, (3, 3), 3)
