"""Detector: a net that is shown windows of images (pycaffe's `detector.py`; R-CNN, Girshick et al. 2014).

    window       ymin, xmin, ymax, xmax in pixels of the image
    context_pad  width of the border of surroundings around the window, in pixels of the net's input
"""
from __future__ import annotations

from pathlib import Path
from typing import Any, Dict, Iterable, List, Optional, Sequence, Tuple

import numpy as np

from menndl_caffe.errors import UserError
from menndl_caffe.nets.proto import caffe_pb2
from menndl_caffe.torchcaffe import io
from menndl_caffe.torchcaffe.classifier import image_transformer
from menndl_caffe.torchcaffe.net import Net

Windows = Iterable[Sequence[int]]


class Detector(Net):
    """A net in phase TEST and how windows of images become its input: `io.Transformer`'s settings and `context_pad`."""

    def __init__(self, model_file: str, pretrained_file: str, mean: Optional[np.ndarray] = None,
                 input_scale: Optional[float] = None, raw_scale: Optional[float] = None,
                 channel_swap: Optional[Sequence[int]] = None, context_pad: Optional[int] = None) -> None:
        super().__init__(model_file, caffe_pb2.TEST, weights=pretrained_file)
        self.transformer = image_transformer(self, mean, input_scale, raw_scale, channel_swap)
        self.configure_crop(context_pad)

    def detect_windows(self, images_windows: Iterable[Tuple[str, Windows]]) -> List[Dict[str, Any]]:
        """The first output for every window of every image file: dicts of filename, window and prediction."""
        name = self.inputs[0]
        detections: List[Dict[str, Any]] = []
        items = []
        for filename, windows in images_windows:
            image = io.load_image(filename)
            for window in windows:
                items.append(self.transformer.preprocess(name, self.crop(image, window)))
                detections.append({"window": window, "filename": filename})
        if items:
            inputs: Dict[str, Any] = {name: np.stack(items)}
            for detection, prediction in zip(detections, self.forward_all(**inputs)[self.outputs[0]]):
                detection["prediction"] = prediction
        return detections

    def detect_selective_search(self, image_fnames: Iterable[str]) -> List[Dict[str, Any]]:
        """`detect_windows` on the windows that selective search proposes.

        Needs the module selective_search_ijcv_with_python, and with it MATLAB; UserError without it.
        """
        try:
            import selective_search_ijcv_with_python as selective_search
        except ImportError as error:
            raise UserError(f"selective search needs sergeyk's module selective_search_ijcv_with_python ({error}): "
                            "give windows found in another way to detect_windows") from None
        paths = [str(Path(name).resolve()) for name in image_fnames]  # for MATLAB
        return self.detect_windows(zip(paths, selective_search.get_windows(paths, cmd="selective_search_rcnn")))

    def crop(self, im: np.ndarray, window: Sequence[int]) -> np.ndarray:
        """The window of an H x W x K image; with context, that and its surroundings in the size of the net's input.

        What lies beyond the image is `crop_mean`. UserError where the window has no pixel of the image.
        """
        if not self.context_pad:
            cut = im[window[0]:window[2], window[1]:window[3]]
            if not cut.size:
                raise _outside(window, im)
            return cut
        size = self._input_width()
        box = _with_context(window, size / (size - 2 * self.context_pad))
        per_pixel = size / (box[2:] - box[:2] + 1)
        start = np.round(np.maximum(-box[:2], 0) * per_pixel).astype(int)
        top, left, bottom, right = box = np.clip(box, 0, np.tile(im.shape[:2], 2))
        if bottom <= top or right <= left:
            raise _outside(window, im)
        height, width = np.minimum(np.round((box[2:] - box[:2] + 1) * per_pixel).astype(int), size - start)
        crop = np.ones(self.crop_dims, np.float32) * self.crop_mean
        crop[start[0]:start[0] + height, start[1]:start[1] + width] = io.resize_image(
            im[top:bottom, left:right], (height, width))
        return crop

    def configure_crop(self, context_pad: Optional[int]) -> None:
        """Set the context around windows; the mean, as an image before preprocessing, becomes `crop_mean`."""
        name = self.inputs[0]
        to_image = np.argsort(self.transformer.transpose[name])
        self.crop_dims = np.array(self.blobs[name].data.shape[1:])[to_image]
        self.context_pad = context_pad
        if not context_pad:
            return
        if 2 * context_pad >= self._input_width():
            raise UserError(f"context_pad {context_pad} on both sides leaves nothing of an input {self._input_width()} "
                            "pixels wide")
        mean = self.transformer.mean.get(name)
        if mean is None:
            self.crop_mean = np.zeros(self.crop_dims, np.float32)
            return
        if name in self.transformer.channel_swap:
            mean = mean[np.argsort(self.transformer.channel_swap[name])]
        self.crop_mean = mean.transpose(to_image) / self.transformer.raw_scale.get(name, 1)

    def _input_width(self) -> int:
        """Windows are scaled alike on both axes: the input is taken to be square."""
        return int(self.blobs[self.inputs[0]].data.shape[3])


def _with_context(window: Sequence[int], scale: float) -> np.ndarray:
    """The window's box, `scale` times as large about the same centre, to whole pixels."""
    begin, end = np.array(window[:2]), np.array(window[2:])
    half = (end - begin + 1) / 2
    center = begin + half
    return np.round(np.concatenate([center - scale * half, center + scale * half])).astype(int)


def _outside(window: Sequence[int], image: np.ndarray) -> UserError:
    return UserError(f"window {tuple(window)} (ymin, xmin, ymax, xmax) has no pixel of an image of "
                     f"{image.shape[0]}x{image.shape[1]}")
