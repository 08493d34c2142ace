"""Arrays to and from Caffe's messages, and images made ready for a net (pycaffe's `io.py`).

Images are H x W x K arrays; a net's input blob is N x K x H x W. Resizing is linear in the pixels, so an axis is
resized by a matrix, whose rows are the weights of the old pixels in the new ones:

    n, m     old and new number of pixels of an axis
    f        n / m
    x        place of a new pixel among the old ones, pixel 0 being centred at 0
    sigma    (f - 1) / 2: standard deviation of the Gaussian that smooths before an image shrinks, 0 where it grows
"""
from __future__ import annotations

from contextlib import suppress
from math import prod
from typing import Any, Dict, Iterable, List, Mapping, Optional, Sequence, Tuple, Union

import numpy as np

from menndl_caffe.errors import UserError, did_you_mean, optional_module
from menndl_caffe.nets.layer_rules.blob import MAX_AXES, Shape, blob_shape, text
from menndl_caffe.nets.proto import caffe_pb2

Dims = Union[Sequence[int], np.ndarray]  # height, width

GREY_MODES = ("1", "L", "I", "I;16", "I;16B", "I;16L", "F")  # Pillow's
LARGEST = {"1": 1, "L": 255, "F": 1}  # of a pixel; old Pillows call the 16 bits of a PNG "I"
LUMINANCE = np.array([0.2125, 0.7154, 0.0721])  # of red, green and blue, as scikit-image has them
SMOOTH_TO = 4.0  # sigmas at which the Gaussian is cut off


# Messages ------------------------------------------------------------------------------------------------------------

def _shaped(values: np.ndarray, shape: Shape, what: str) -> np.ndarray:
    if values.size == prod(shape) and min(shape, default=0) >= 0 and len(shape) <= MAX_AXES:
        with suppress(ValueError):  # of none at all, in a shape whose other sides NumPy cannot count
            return values.reshape(shape)
    raise UserError(f"{what} of shape {text(shape)} holds {values.size} numbers")


def blobproto_to_array(blob: Any, return_diff: bool = False) -> np.ndarray:
    """The data, or the gradient, of a BlobProto, in its shape or in the num, channels, height, width of old files.

    UserError where the numbers do not fill the shape.
    """
    return _shaped(np.array(blob.diff if return_diff else blob.data, float), blob_shape(blob), "a BlobProto")


def array_to_blobproto(arr: np.ndarray, diff: Optional[np.ndarray] = None) -> Any:
    """The BlobProto of an array, and of a gradient of the same shape."""
    blob = caffe_pb2.BlobProto(data=np.asarray(arr, float).ravel())
    blob.shape.dim.extend(arr.shape)
    if diff is not None:
        blob.diff.extend(np.asarray(diff, float).ravel())
    return blob


def arraylist_to_blobprotovector_str(arraylist: Iterable[np.ndarray]) -> bytes:
    """Arrays as a serialized BlobProtoVector."""
    return caffe_pb2.BlobProtoVector(blobs=[array_to_blobproto(arr) for arr in arraylist]).SerializeToString()


def blobprotovector_str_to_arraylist(str: bytes) -> List[np.ndarray]:
    """The arrays of a serialized BlobProtoVector."""
    return [blobproto_to_array(blob) for blob in caffe_pb2.BlobProtoVector.FromString(str).blobs]


def array_to_datum(arr: np.ndarray, label: Optional[int] = None) -> Any:
    """The Datum of a channels x height x width array: bytes of uint8, floats of everything else."""
    if arr.ndim != 3:
        raise UserError(f"a Datum takes an array of channels x height x width, not one of {arr.ndim} axes")
    channels, height, width = arr.shape
    datum = caffe_pb2.Datum(channels=channels, height=height, width=width)
    if arr.dtype == np.uint8:
        datum.data = arr.tobytes()
    else:
        datum.float_data.extend(np.asarray(arr, float).ravel())
    if label is not None:
        datum.label = label
    return datum


def datum_to_array(datum: Any) -> np.ndarray:
    """The channels x height x width array of a Datum, uint8 or float64; its label is `datum.label`.

    UserError where the numbers do not fill the shape, as those of an encoded image.
    """
    values = np.frombuffer(datum.data, np.uint8).copy() if datum.data else np.array(datum.float_data, float)
    what = "a Datum with an encoded image" if datum.encoded else "a Datum"
    return _shaped(values, (datum.channels, datum.height, datum.width), what)


# Images --------------------------------------------------------------------------------------------------------------

class Transformer:
    """Makes images ready for the inputs of a net; `inputs` maps their names to shapes N x K x H x W.

    What has been set is done in this order: resize, transpose, swap channels, times raw scale, minus mean, times input
    scale. UserError for an unknown input and for settings that do not fit its shape.
    """

    def __init__(self, inputs: Mapping[str, Sequence[int]]) -> None:
        self.inputs = inputs
        self.transpose: Dict[str, Sequence[int]] = {}
        self.channel_swap: Dict[str, Sequence[int]] = {}
        self.raw_scale: Dict[str, float] = {}
        self.mean: Dict[str, np.ndarray] = {}
        self.input_scale: Dict[str, float] = {}

    def preprocess(self, in_: str, data: np.ndarray) -> np.ndarray:
        """An H' x W' x K image as a float32 K x H x W item of input `in_`; the image stays as it is."""
        height_width = self._shape(in_)[2:]
        item = np.array(data, np.float32)
        if item.shape[:2] != height_width:
            item = resize_image(item, height_width)
        if in_ in self.transpose:
            item = item.transpose(self.transpose[in_])
        if in_ in self.channel_swap:
            item = item[list(self.channel_swap[in_])]
        if in_ in self.raw_scale:
            item *= self.raw_scale[in_]
        if in_ in self.mean:
            item -= self.mean[in_]
        if in_ in self.input_scale:
            item *= self.input_scale[in_]
        return item

    def deprocess(self, in_: str, data: np.ndarray) -> np.ndarray:
        """The H x W x K image of an item of input `in_`: `preprocess` undone, resizing aside."""
        self._shape(in_)
        image = data.copy().squeeze()
        if in_ in self.input_scale:
            image /= self.input_scale[in_]
        if in_ in self.mean:
            image += self.mean[in_]
        if in_ in self.raw_scale:
            image /= self.raw_scale[in_]
        if in_ in self.channel_swap:
            image = image[np.argsort(self.channel_swap[in_])]
        if in_ in self.transpose:
            image = image.transpose(np.argsort(self.transpose[in_]))
        return image

    def set_transpose(self, in_: str, order: Sequence[int]) -> None:
        """The order of axes: (2, 0, 1) makes K x H x W of H x W x K."""
        axes = len(self._shape(in_)) - 1
        if len(order) != axes:
            raise UserError(f"transpose order {tuple(order)} has {len(order)} axes, an item of input {in_} {axes}")
        self.transpose[in_] = order

    def set_channel_swap(self, in_: str, order: Sequence[int]) -> None:
        """The order of channels, axis 0 after the transpose: (2, 1, 0) makes BGR of RGB."""
        channels = self._shape(in_)[1]
        if len(order) != channels:
            raise UserError(f"channel swap {tuple(order)} has {len(order)} channels, input {in_} {channels}")
        self.channel_swap[in_] = order

    def set_raw_scale(self, in_: str, scale: float) -> None:
        """What to multiply by before the mean: 255 for nets trained on bytes, as images are in [0, 1]."""
        self._shape(in_)
        self.raw_scale[in_] = scale

    def set_mean(self, in_: str, mean: np.ndarray) -> None:
        """The mean to subtract: one number a channel, or K x H x W (H x W for one channel), resized where needed."""
        shape = self._shape(in_)
        if mean.ndim == 1:
            if len(mean) != shape[1]:
                raise UserError(f"a mean of {len(mean)} channels for input {in_}, which has {shape[1]}")
            mean = mean[:, np.newaxis, np.newaxis]
        elif mean.ndim not in (2, 3):
            raise UserError(f"a mean has 1, 2 or 3 axes (channels, or channels x height x width), not {mean.ndim}")
        elif (1,) * (3 - mean.ndim) + mean.shape != shape[1:]:
            image = mean[:, :, np.newaxis] if mean.ndim == 2 else mean.transpose(1, 2, 0)
            mean = resize_image(image, shape[2:]).transpose(2, 0, 1)
        self.mean[in_] = mean

    def set_input_scale(self, in_: str, scale: float) -> None:
        """What to multiply by after the mean."""
        self._shape(in_)
        self.input_scale[in_] = scale

    def _shape(self, in_: str) -> Tuple[int, ...]:
        if in_ not in self.inputs:
            raise UserError(f"{in_!r} is not one of the net's inputs{did_you_mean(in_, self.inputs)}")
        return tuple(self.inputs[in_])


def load_image(filename: str, color: bool = True) -> np.ndarray:
    """An image file as float32 in [0, 1], H x W x 3 (RGB) if `color`, else H x W x 1; transparency is left out.

    Needs Pillow (UserError without it), whose OSError tells of a file that cannot be read.
    """
    with optional_module("PIL.Image", "reading an image", "pillow").open(filename) as image:
        if image.mode == "P":
            image = image.convert("RGBA")  # its colours may be transparent, each in its own way
        if image.mode not in (*GREY_MODES, "RGB"):
            image = image.convert("L" if image.mode in ("LA", "La") else "RGB")
        pixels = np.asarray(image, float) / LARGEST.get(image.mode, 255 if image.mode == "RGB" else 65535)
    if color:
        pixels = pixels if pixels.ndim == 3 else np.stack([pixels] * 3, axis=2)
    else:
        pixels = (pixels if pixels.ndim == 2 else pixels @ LUMINANCE)[:, :, np.newaxis]
    return pixels.astype(np.float32)


def resize_image(im: np.ndarray, new_dims: Dims, interp_order: int = 1) -> np.ndarray:
    """An H x W x K image with (height, width) `new_dims`, float32, by splines of `interp_order` 0 (nearest) to 5.

    With 1 or 3 channels as scikit-image's `resize(mode="constant")`: pixels are squares, shrinking smooths first, and
    beyond its edge the image has its smallest value. With others as SciPy's `zoom`: the centres of the first and of the
    last pixels stay where they are. Orders above 1 need SciPy; for 1 or 3 channels they are scikit-image 0.19's.
    """
    if im.ndim != 3 or len(new_dims) != 2 or min(*new_dims, *im.shape) < 1:
        raise UserError("an image of height x width x channels is resized to a height and a width, not one of shape "
                        f"{im.shape} to {tuple(new_dims)}")
    if interp_order not in range(6):
        raise UserError(f"interp_order is 0 to 5, not {interp_order}")
    is_image = im.shape[2] in (1, 3)
    weights = _image_weights if is_image else _zoom_weights
    rows, columns = (weights(old, int(new), interp_order) for old, new in zip(im.shape, new_dims))
    lowest = float(im.min())
    resized = columns @ np.tensordot(rows, im.astype(float) - lowest, 1)
    if is_image and interp_order > 1:  # splines overshoot
        resized = resized.clip(0, float(im.max()) - lowest)
    return (resized + lowest).astype(np.float32)


def _image_weights(old: int, new: int, order: int) -> np.ndarray:
    """m x n weights: x = (i + 1/2) f - 1/2, after the smoothing."""
    factor = old / new
    if order > 1:
        weights = _spline_weights(old, new, order, mode="grid-constant", grid_mode=True)
    else:
        weights = _linear_weights((np.arange(new) + 0.5) * factor - 0.5, old, order)
    sigma = (factor - 1) / 2
    if sigma <= 0:
        return weights
    reach = int(SMOOTH_TO * sigma + 0.5)
    bell = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
    bell /= bell.sum()
    return np.stack([np.convolve(row, bell)[reach:reach + old] for row in weights])


def _zoom_weights(old: int, new: int, order: int) -> np.ndarray:
    """m x n weights: x = i (n - 1) / (m - 1)."""
    if order > 1:
        return _spline_weights(old, new, order)
    return _linear_weights(np.arange(new) * ((old - 1) / max(new - 1, 1)), old, order)


def _linear_weights(x: np.ndarray, old: int, order: int) -> np.ndarray:
    """Weights of the two pixels around x, or (order 0) of the one that is nearest, the later of two."""
    if order == 0:
        x = np.clip(np.floor(x + 0.5), 0, old - 1)
    return np.maximum(1 - np.abs(x[:, np.newaxis] - np.arange(old)), 0)


def _spline_weights(old: int, new: int, order: int, **how: Any) -> np.ndarray:
    zoom = optional_module("scipy.ndimage", f"interp_order {order}", "scipy").zoom
    weights: np.ndarray = zoom(np.eye(old), (new / old, 1), order=order, **how)
    return weights


def crop_origins(image_dims: Dims, crop_dims: Dims) -> List[Tuple[int, int]]:
    """Top left corners (row, column) of the crops at the four corners and of the central one.

    UserError where the image is smaller than the crop.
    """
    down, right = (int(image) - int(crop) for image, crop in zip(image_dims, crop_dims))
    if min(down, right) < 0:
        raise UserError(f"an image of {image_dims[0]}x{image_dims[1]} has no crops of {crop_dims[0]}x{crop_dims[1]}")
    return [(0, 0), (0, right), (down, 0), (down, right), (down // 2, right // 2)]


def oversample(images: Sequence[np.ndarray], crop_dims: Dims) -> np.ndarray:
    """Ten crops of each H x W x K image: the four corners and the centre, then the same five mirrored.

    10 N x height x width x K, float32; UserError where an image is smaller than the crop.
    """
    height, width = (int(dim) for dim in crop_dims)
    crops: List[np.ndarray] = []
    for image in images:
        five = [image[row:row + height, column:column + width] for row, column in crop_origins(image.shape, crop_dims)]
        crops += five + [crop[:, ::-1] for crop in five]
    return np.array(crops, np.float32)
