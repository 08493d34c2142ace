"""The transformer against its definition, pixel by pixel, with the draws that Caffe takes for each image in turn."""
from __future__ import annotations

from pathlib import Path
from typing import Any, List, Optional

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch")

from menndl_caffe.errors import UserError  # noqa: E402
from menndl_caffe.nets.layer_rules.blob import ImpossibleNet  # noqa: E402
from menndl_caffe.nets.proto import caffe_pb2  # noqa: E402
from menndl_caffe.torchcaffe import mode  # noqa: E402
from menndl_caffe.torchcaffe.rng import Generator  # noqa: E402
from menndl_caffe.torchcaffe.transform import Transformer, channels_last  # noqa: E402

TRAIN, TEST = caffe_pb2.TRAIN, caffe_pb2.TEST
f32 = np.float32


def transformer_of(param: Any, phase: int, seed: int) -> Transformer:
    """One that a data layer has seeded twice."""
    mode.set_random_seed(seed)
    transformer = Transformer(param, phase)
    transformer.seed()
    transformer.seed()
    return transformer


def draws_of(param: Any, phase: int, seed: int) -> Generator:
    """The generator whose seed is the second draw of the process's."""
    process = Generator(seed)
    process.draw()
    return Generator(process.draw())


def by_definition(image: np.ndarray, param: Any, phase: int, draws: Generator,
                  mean: Optional[np.ndarray]) -> np.ndarray:
    """One image, one pixel after the other."""
    channels, height, width = image.shape
    mirror = bool(param.mirror) and draws.draw() % 2 == 1
    crop, top, left = param.crop_size, 0, 0
    if crop and phase == TRAIN:
        top = draws.draw() % (height - crop + 1)
        left = draws.draw() % (width - crop + 1)
    elif crop:
        top, left = (height - crop) // 2, (width - crop) // 2
    rows, columns = crop or height, crop or width
    out = np.empty((channels, rows, columns), f32)
    for c, h, w in np.ndindex(*out.shape):
        pixel = f32(image[c, top + h, left + w])
        if mean is not None:
            pixel = pixel - mean[c, top + h, left + w]
        elif len(param.mean_value):
            pixel = pixel - f32(param.mean_value[c % len(param.mean_value)])
        out[c, h, columns - 1 - w if mirror else w] = pixel * f32(param.scale)
    return out


@st.composite
def settings_of(draw: Any) -> Any:
    """Shape, and a TransformationParameter that fits it; the mean file comes later."""
    channels, height, width = draw(st.integers(1, 4)), draw(st.integers(1, 6)), draw(st.integers(1, 6))
    param = caffe_pb2.TransformationParameter(mirror=draw(st.booleans()), scale=draw(st.sampled_from(
        [1, 0.00390625, 0.017, -2])), crop_size=draw(st.integers(0, min(height, width))))
    means = draw(st.sampled_from(["none", "one", "each", "file"]))
    if means in ("one", "each"):
        param.mean_value.extend(draw(st.lists(st.floats(0, 255, width=32), min_size=channels, max_size=channels))
                                [:1 if means == "one" else channels])
    return (channels, height, width), param, means == "file"


@settings(max_examples=150, deadline=None)
@given(settings_of(), st.sampled_from([TRAIN, TEST]), st.integers(0, 2**32 - 1), st.booleans(), st.integers(1, 3))
def test_by_definition(tmp_path_factory: Any, setting: Any, phase: int, seed: int, as_float: bool, calls: int) -> None:
    shape, param, with_file = setting
    random = np.random.RandomState(seed)
    mean = None
    if with_file:
        mean = random.uniform(0, 255, shape).astype(f32)
        path = tmp_path_factory.getbasetemp() / "mean.binaryproto"
        path.write_bytes(caffe_pb2.BlobProto(shape=caffe_pb2.BlobShape(dim=(1, *shape)),
                                             data=mean.ravel()).SerializeToString())
        param.mean_file = str(path)
    transformer, draws = transformer_of(param, phase, seed), draws_of(param, phase, seed)
    for _ in range(calls):
        images = random.randint(0, 256, (3, *shape)).astype(f32 if as_float else np.uint8)
        before = images.copy()
        found = transformer(torch.from_numpy(images)).numpy()
        expected = [by_definition(image, param, phase, draws, mean) for image in images]
        np.testing.assert_array_equal(found, np.stack(expected))
        np.testing.assert_array_equal(images, before)


def test_images_of_different_sizes() -> None:
    param = caffe_pb2.TransformationParameter(mirror=True, crop_size=3, mean_value=[1.5])
    random = np.random.RandomState(1)
    images = [random.randint(0, 256, (2, size, size + 1)).astype(np.uint8) for size in (3, 7, 5, 5)]
    transformer, draws = transformer_of(param, TRAIN, 9), draws_of(param, TRAIN, 9)
    found = transformer.batch([torch.from_numpy(image) for image in images]).numpy()
    np.testing.assert_array_equal(found, [by_definition(image, param, TRAIN, draws, None) for image in images])
    with pytest.raises(UserError, match="image 1 of a batch would be 2x7x8, image 0 is 2x3x4"):
        Transformer(caffe_pb2.TransformationParameter(), TRAIN).batch([torch.from_numpy(image) for image in images])


@pytest.mark.parametrize("text, phase, draws", [
    ({}, TRAIN, 0), ({"mirror": True}, TRAIN, 1), ({"mirror": True}, TEST, 1), ({"crop_size": 2}, TRAIN, 1),
    ({"crop_size": 2}, TEST, 0), ({"crop_size": 2, "mirror": True}, TRAIN, 1), ({"scale": 2}, TRAIN, 0),
])
def test_draws_from_the_process_s_generator(text: Any, phase: int, draws: int) -> None:
    """One for a seed, where anything is random."""
    mode.set_random_seed(3)
    Transformer(caffe_pb2.TransformationParameter(**text), phase).seed()
    untouched = Generator(3)
    untouched.draws(draws)
    assert mode.generator().draw() == untouched.draw()


def test_state() -> None:
    param = caffe_pb2.TransformationParameter(mirror=True, crop_size=3)
    images = torch.arange(4 * 2 * 6 * 6, dtype=torch.float32).view(4, 2, 6, 6)
    first, second = transformer_of(param, TRAIN, 1), transformer_of(param, TRAIN, 2)
    first(images)
    second.set_state(first.state())
    assert torch.equal(first(images), second(images))
    assert Transformer(caffe_pb2.TransformationParameter(), TRAIN).state() is None


@pytest.mark.parametrize("shape", [(2, 3, 4, 5), (2, 1, 4, 5), (1, 4, 1, 1), (3, 2, 1, 7)])
def test_channels_last(shape: List[int]) -> None:
    images = torch.arange(int(np.prod(shape))).view(shape)
    for given_in in (images, images.contiguous(memory_format=torch.channels_last)):
        rows = channels_last(given_in)
        assert rows.is_contiguous()
        assert torch.equal(rows, images.permute(0, 2, 3, 1))
    result = Transformer(caffe_pb2.TransformationParameter(mean_value=[2]), TEST)(images.to(torch.uint8))
    assert result.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("param, wrong", [
    (dict(crop_size=5), "crop_size 5 is larger than its images 3x4x6"),
    (dict(mean_value=[1, 2]), "mean_value is given 2 times for 3 channels"),
])
def test_what_caffe_refuses(param: Any, wrong: str) -> None:
    with pytest.raises(ImpossibleNet, match=wrong):
        Transformer(caffe_pb2.TransformationParameter(**param), TEST)(torch.zeros(2, 3, 4, 6))


def test_mean_files(tmp_path: Path) -> None:
    path = tmp_path / "mean.binaryproto"
    param = caffe_pb2.TransformationParameter(mean_file=str(path))
    with pytest.raises(UserError, match="mean.binaryproto: no mean file"):
        Transformer(param, TEST)
    path.write_bytes(b"not a mean")
    with pytest.raises(UserError, match="mean.binaryproto: not a mean file"):
        Transformer(param, TEST)
    path.write_bytes(caffe_pb2.BlobProto(num=1, channels=3, height=2, width=2, data=range(11)).SerializeToString())
    with pytest.raises(UserError, match="11 values in the shape 1x3x2x2"):
        Transformer(param, TEST)
    path.write_bytes(caffe_pb2.BlobProto(num=1, channels=3, height=2, width=2, data=range(12)).SerializeToString())
    with pytest.raises(UserError, match="mean.binaryproto is 3x2x2, but its images are 3x2x3"):
        Transformer(param, TEST)(torch.zeros(1, 3, 2, 3))
