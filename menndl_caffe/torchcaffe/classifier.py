"""Classifier: a net that names what is in images (pycaffe's `classifier.py`)."""
from __future__ import annotations

from typing import Any, Dict, Optional, Sequence

import numpy as np

from menndl_caffe.nets.proto import caffe_pb2
from menndl_caffe.torchcaffe import io
from menndl_caffe.torchcaffe.net import Net


def image_transformer(net: Net, mean: Optional[np.ndarray], input_scale: Optional[float], raw_scale: Optional[float],
                      channel_swap: Optional[Sequence[int]]) -> io.Transformer:
    """What makes H x W x K images ready for the net's first input."""
    name = net.inputs[0]
    transformer = io.Transformer({name: net.blobs[name].data.shape})
    transformer.set_transpose(name, (2, 0, 1))
    if mean is not None:
        transformer.set_mean(name, mean)
    if input_scale is not None:
        transformer.set_input_scale(name, input_scale)
    if raw_scale is not None:
        transformer.set_raw_scale(name, raw_scale)
    if channel_swap is not None:
        transformer.set_channel_swap(name, channel_swap)
    return transformer


class Classifier(Net):
    """A net in phase TEST and how images become its input.

    Images are resized to `image_dims` (height, width; the input's own where None), from which crops of the input's size
    are taken; mean, input_scale, raw_scale and channel_swap are those of `io.Transformer`.
    """

    def __init__(self, model_file: str, pretrained_file: str, image_dims: Optional[Sequence[int]] = None,
                 mean: Optional[np.ndarray] = None, input_scale: Optional[float] = None,
                 raw_scale: Optional[float] = None, channel_swap: Optional[Sequence[int]] = None) -> None:
        super().__init__(model_file, caffe_pb2.TEST, weights=pretrained_file)
        self.transformer = image_transformer(self, mean, input_scale, raw_scale, channel_swap)
        self.crop_dims = np.array(self.blobs[self.inputs[0]].data.shape[2:])
        self.image_dims: io.Dims = self.crop_dims if image_dims is None else image_dims

    def predict(self, inputs: Sequence[np.ndarray], oversample: bool = True) -> np.ndarray:
        """The first output for each of N images (H x W x K), N x classes: the central crop's, or the mean of ten."""
        images = [io.resize_image(image, self.image_dims) for image in inputs]
        if oversample:
            crops = io.oversample(images, self.crop_dims)
        else:
            row, column = io.crop_origins(self.image_dims, self.crop_dims)[-1]
            height, width = self.crop_dims
            crops = np.stack([image[row:row + height, column:column + width] for image in images])
        name = self.inputs[0]
        items: Dict[str, Any] = {name: np.stack([self.transformer.preprocess(name, crop) for crop in crops])}
        predictions = self.forward_all(**items)[self.outputs[0]]
        return predictions.reshape(len(images), 10, -1).mean(1) if oversample else predictions
