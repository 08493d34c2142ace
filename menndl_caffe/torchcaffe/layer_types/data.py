"""Layers that read data from LMDBs, LevelDBs and image files, and those whose data the program or a filler gives.

Sources: `base_data_layer.cpp`, `data_layer.cpp`, `image_data_layer.cpp`, `memory_data_layer.cpp`, `input_layer.cpp`,
`dummy_data_layer.cpp`. Caffe prepares batches in a thread; here they are made when they are asked for, which gives the
same batches. The draws from the process's generator, on which all later weights depend, are Caffe's.
"""
from __future__ import annotations

import re
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Dict, Iterator, List, Optional, Tuple

import numpy as np
import torch

from menndl_caffe.data.image_files import read_image, resize
from menndl_caffe.errors import UserError
from menndl_caffe.nets.layer_rules.blob import LayerError, UnknownShape, text
from menndl_caffe.nets.proto import caffe_pb2
from menndl_caffe.torchcaffe import mode
from menndl_caffe.torchcaffe.blob import Blob
from menndl_caffe.torchcaffe.files import read_list
from menndl_caffe.torchcaffe.fillers import fill
from menndl_caffe.torchcaffe.layer import Blobs, Layer, register
from menndl_caffe.torchcaffe.log import log
from menndl_caffe.torchcaffe.records import image_of, open_records
from menndl_caffe.torchcaffe.rng import Generator
from menndl_caffe.torchcaffe.transform import Transformer

Batch = Tuple[torch.Tensor, torch.Tensor]  # images and labels


class Source(Layer):
    """A layer without bottoms: its tops get their shapes in `setup`, not in every pass."""

    def reshape(self, bottom: Blobs, top: Blobs) -> None:
        """Nothing."""

    def shape_tops(self, top: Blobs) -> None:
        """Give the tops the shapes that the type's rule knows, if it does."""
        try:
            shapes = self.outcome(()).tops
        except UnknownShape:
            return
        for blob, shape in zip(top, shapes):
            blob.reshape(*shape)

    @contextmanager
    def named(self) -> Iterator[None]:
        """Errors say which layer."""
        try:
            yield
        except UserError as error:
            raise UserError(f"layer {self.param.name}: {error}") from None
        except LayerError as error:
            raise type(error)(error.reason, self.param.name) from None


class ImageSource(Source):
    """Transformed images and their labels, batch after batch (`BasePrefetchingDataLayer`)."""

    def setup(self, bottom: Blobs, top: Blobs) -> None:
        """Caffe seeds the transformer twice, then the thread that it reads in."""
        with self.named():
            self._transformer = Transformer(self.param.transform_param, self.phase)
            self._transformer.seed()
            self.open(top)
            self._transformer.seed()
        mode.generator().draw()
        log(f"output data size: {','.join(map(str, top[0].shape))}", source="data_layer.cpp:45")

    def forward(self, bottom: Blobs, top: Blobs) -> None:
        with self.named():
            batch = self.next_batch()
        for blob, tensor in zip(top, batch):
            give(blob, tensor)

    def open(self, top: Blobs) -> None:
        """Find the data, and shape the tops by the first image."""
        raise NotImplementedError

    def next_batch(self) -> Batch:
        """n x C x H x W and n."""
        raise NotImplementedError


@register("Data")
class Data(ImageSource):
    """Records of a database in the order of its keys, over and over; of several solvers each takes its share."""

    def open(self, top: Blobs) -> None:
        param = self.param.data_param
        self._records = open_records(param.source, param.backend)
        self._held = self._records.on(mode.device()) if mode.device().type != "cpu" else None
        self._offset = 0  # records that have been read, or left to other solvers
        train = self.phase == caffe_pb2.TRAIN
        self._solvers, self._rank = (mode.solver_count(), mode.solver_rank()) if train else (1, 0)
        image = self._records.shape or tuple(self._image(0)[0].shape)
        for blob, shape in zip(top, self.rule.shapes((image,), self.param).tops):
            blob.reshape(*shape)

    def next_batch(self) -> Batch:
        indices = self._advance()
        rows = (self._held or self._records).rows(indices)
        if rows is not None:
            return self._transformer(rows.pixels.to(mode.device())), rows.labels
        images, labels = zip(*map(self._image, indices.tolist()))
        return self._transformer.batch(images), torch.tensor(labels, dtype=torch.float32)

    def state(self) -> Dict[str, Any]:
        return {"offset": self._offset, "generator": self._transformer.state()}

    def set_state(self, state: Dict[str, Any]) -> None:
        self._offset = state["offset"]
        self._transformer.set_state(state["generator"])

    def _advance(self) -> np.ndarray:
        """The places of the next batch's records."""
        first = self._offset + (self._rank - self._offset) % self._solvers
        offsets = first + self._solvers * np.arange(self.param.data_param.batch_size)
        self._offset = int(offsets[-1]) + 1
        return offsets % len(self._records)

    def _image(self, index: int) -> Tuple[torch.Tensor, int]:
        datum = self._records.datum(index)
        what = f"{self._records.path}: record {index} of {len(self._records)}"
        return image_of(datum, self.param.transform_param, what), datum.label


@register("ImageData")
class ImageData(ImageSource):
    """Image files of a list, `path label` a line; shuffled, if asked for, before each time through."""

    def open(self, top: Blobs) -> None:
        param = self.param.image_data_param
        self.shape_tops(top)
        self._list = _read_list(Path(param.source))
        self._order = list(range(len(self._list)))
        self._position = 0
        self._generator: Optional[Generator] = None
        if param.shuffle:
            self._generator = Generator(mode.generator().draw())
            self._generator.shuffle(self._order)
        if param.rand_skip:
            self._position = mode.generator().draw() % param.rand_skip
            if self._position >= len(self._list):
                raise UserError(f"{param.source}: rand_skip skips {self._position} images of {len(self._list)}")
        image = tuple(self._image(self._position).shape)
        top[0].reshape(param.batch_size, *self._transformer.shape_of(image))
        top[1].reshape(param.batch_size)

    def next_batch(self) -> Batch:
        images, labels = [], []
        for _ in range(self.param.image_data_param.batch_size):
            images.append(self._image(self._position))
            labels.append(self._list[self._order[self._position]][1])
            self._position += 1
            if self._position == len(self._list):
                self._position = 0
                if self._generator:
                    self._generator.shuffle(self._order)
        return self._transformer.batch(images), torch.tensor(labels, dtype=torch.float32)

    def state(self) -> Dict[str, Any]:
        state: Dict[str, Any] = {"position": self._position, "generator": self._transformer.state()}
        if self._generator:
            state.update(order=list(self._order), shuffle=self._generator.state())
        return state

    def set_state(self, state: Dict[str, Any]) -> None:
        self._position = state["position"]
        self._transformer.set_state(state["generator"])
        if self._generator:
            self._order = list(state["order"])
            self._generator.set_state(state["shuffle"])

    def _image(self, position: int) -> torch.Tensor:
        """C x H x W, of the size asked for."""
        param = self.param.image_data_param
        name = param.root_folder + self._list[self._order[position]][0]
        what = f"{name} (in the list {param.source})"
        pixels = read_image(name, bool(param.is_color), what)
        if param.new_height:
            pixels = resize(pixels, param.new_height, param.new_width)
        return torch.from_numpy(pixels).permute(2, 0, 1)


@register("MemoryData")
class MemoryData(Source):
    """What the program sets with `net.set_input_arrays`, a batch at a time, over and over.

    Caffe's top is the program's memory itself, so that a layer that works in place overwrites it; here it is a copy.
    """

    def setup(self, bottom: Blobs, top: Blobs) -> None:
        self.shape_tops(top)
        with self.named():
            Transformer(self.param.transform_param, self.phase).seed()  # used by Caffe's C++ programs alone
        self._arrays: Optional[Tuple[np.ndarray, np.ndarray]] = None

    def set_arrays(self, data: np.ndarray, labels: np.ndarray) -> None:
        """N x C x H x W and N (or N x 1 x 1 x 1), float32: kept, not copied, so that changes to them are seen."""
        param = self.param.memory_data_param
        n, shape = len(data), (param.channels, param.height, param.width)
        wrong = None
        if data.shape[1:] != shape or labels.shape not in ((n,), (n, 1, 1, 1)):
            wrong = f"takes Nx{text(shape)} and N labels, not {text(data.shape)} and {text(labels.shape)}"
        elif data.dtype != np.float32 or labels.dtype != np.float32:
            wrong = f"takes arrays of float32, not {data.dtype} and {labels.dtype}"
        elif n == 0 or n % param.batch_size:
            wrong = f"takes a multiple of its batch_size {param.batch_size}, not {n} items"
        elif not data.flags.c_contiguous:
            wrong = "takes C contiguous data, which it keeps: numpy.ascontiguousarray makes such a copy"
        if wrong:
            raise UserError(f"layer {self.param.name}: set_input_arrays {wrong}")
        self._arrays, self._position = (data, np.ascontiguousarray(labels)), 0

    def forward(self, bottom: Blobs, top: Blobs) -> None:
        if self._arrays is None:
            raise UserError(f"layer {self.param.name}: has no data: call set_input_arrays first")
        data, labels = self._arrays
        batch = slice(self._position, self._position + self.param.memory_data_param.batch_size)
        give(top[0], torch.tensor(data[batch]))
        give(top[1], torch.tensor(labels[batch].reshape(-1, 1, 1, 1)))
        self._position = batch.stop % len(data)


@register("Input")
class Input(Source):
    """What the program writes into its tops."""

    def setup(self, bottom: Blobs, top: Blobs) -> None:
        self.shape_tops(top)

    def forward(self, bottom: Blobs, top: Blobs) -> None:
        """Nothing."""


@register("DummyData")
class DummyData(Source):
    """Filled with constants once, or by other fillers in every pass, from the process's generator."""

    def setup(self, bottom: Blobs, top: Blobs) -> None:
        self.shape_tops(top)
        for blob, filler in self._filled(top):
            if filler.type == "constant":
                fill(filler, blob, mode.generator())

    def forward(self, bottom: Blobs, top: Blobs) -> None:
        for blob, filler in self._filled(top):
            if filler.type != "constant":
                fill(filler, blob, mode.generator())

    def _filled(self, top: Blobs) -> Iterator[Tuple[Blob, Any]]:
        fillers = list(self.param.dummy_data_param.data_filler) or [caffe_pb2.FillerParameter()]
        return zip(top, fillers if len(fillers) > 1 else fillers * len(top))


def give(blob: Blob, tensor: torch.Tensor) -> None:
    """Make the tensor, which no one else has, a blob's value, and its shape the blob's."""
    blob.reshape(*tensor.shape)
    blob.value = tensor.to(mode.device(), mode.dtype())


def _read_list(path: Path) -> List[Tuple[str, int]]:
    """Paths and labels. As in Caffe a path ends at the line's last space; what is not a number is label 0."""
    lines = read_list(path, "list of images").split("\n")
    lines = lines[:-1] if lines[-1] == "" else lines
    if not lines:
        raise UserError(f"{path}: a list without images; each line has a path and a label")
    return [(line.rpartition(" ")[0] if " " in line else line, _number(line.rpartition(" ")[2])) for line in lines]


def _number(word: str) -> int:
    """C's atoi."""
    match = re.match(r"\s*[+-]?\d+", word)
    return int(match.group()) if match else 0
