"""Layers that read and write HDF5 files, through h5py.

Sources: `hdf5_data_layer.cpp`, `hdf5_output_layer.cpp`, `hdf5.cpp`. Shuffling is not left to Caffe's generator but to
the C library's: libstdc++'s std::random_shuffle with glibc's rand, which no seed of Caffe's changes.
"""
from __future__ import annotations

from pathlib import Path
from typing import Any, Dict, List, Sequence

import numpy as np
import torch

from menndl_caffe.errors import UserError, did_you_mean
from menndl_caffe.nets.layer_rules.blob import Shape, text
from menndl_caffe.nets.proto import caffe_pb2
from menndl_caffe.torchcaffe import mode
from menndl_caffe.torchcaffe.files import dataset_of, h5py, open_hdf5, read_array, read_list
from menndl_caffe.torchcaffe.layer import Blobs, Layer, register
from menndl_caffe.torchcaffe.layer_types.data import Source, give


class CRand:
    """glibc's rand as it is before srand: a shift register of 34 words of which each new one adds two earlier ones."""

    def __init__(self) -> None:
        words = [1]
        while len(words) < 31:
            words.append(words[-1] * 16807 % (2**31 - 1))
        self._words = words + words[:3]
        for _ in range(310):
            self()

    def __call__(self) -> int:
        """The next number, 0 to 2^31 - 1."""
        self._words = self._words[1:] + [(self._words[-31] + self._words[-3]) % 2**32]
        return self._words[-1] >> 1

    def shuffle(self, items: List[int]) -> None:
        """Reorder a list as libstdc++'s std::random_shuffle does."""
        for index in range(1, len(items)):
            other = self() % (index + 1)
            items[index], items[other] = items[other], items[index]

    def state(self) -> List[int]:
        """What the next numbers depend on."""
        return self._words

    def set_state(self, state: List[int]) -> None:
        """Go on where `state` was taken."""
        self._words = state


_rand = CRand()  # the process's


@register("HDF5Data")
class HDF5Data(Source):
    """Rows of the files in a list, one data set for each top and of its name; one file at a time is in memory."""

    def setup(self, bottom: Blobs, top: Blobs) -> None:
        self.shape_tops(top)
        param = self.param.hdf5_data_param
        self._rows: List[int] = []
        with self.named():
            self._files = _read_list(Path(param.source))
            self._order = list(range(len(self._files)))
            self._shuffle(self._order)
            self._file = self._row = self._offset = 0
            self._load()
            for blob, array in zip(top, self._arrays):
                blob.reshape(param.batch_size, *array.shape[1:])

    def forward(self, bottom: Blobs, top: Blobs) -> None:
        with self.named():
            rows = [self._next_row() for _ in range(self.param.hdf5_data_param.batch_size)]
        for index, blob in enumerate(top):
            give(blob, torch.from_numpy(np.stack([row[index] for row in rows])))

    def state(self) -> Dict[str, Any]:
        state: Dict[str, Any] = {"file": self._file, "row": self._row, "offset": self._offset}
        if self.param.hdf5_data_param.shuffle:
            state.update(files=list(self._order), rows=list(self._rows), rand=_rand.state())
        return state

    def set_state(self, state: Dict[str, Any]) -> None:
        self._order, self._file = state.get("files", self._order), state["file"]
        self._load()
        self._row, self._offset = state["row"], state["offset"]
        self._rows = state.get("rows", self._rows)
        if "rand" in state:
            _rand.set_state(state["rand"])

    def _next_row(self) -> List[np.ndarray]:
        """One of each data set; in training those of other solvers are left out."""
        train = self.phase == caffe_pb2.TRAIN
        while train and self._offset % mode.solver_count() != mode.solver_rank():
            self._advance()
        row = [array[self._rows[self._row]] for array in self._arrays]
        self._advance()
        return row

    def _advance(self) -> None:
        self._offset += 1
        self._row += 1
        if self._row < len(self._rows):
            return
        if len(self._files) > 1:
            self._file += 1
            if self._file == len(self._files):
                self._file = 0
                self._shuffle(self._order)
            self._load()
        self._row = 0
        self._shuffle(self._rows)

    def _load(self) -> None:
        """Read a file; its rows are shuffled here, and those of a later one a second time."""
        path = Path(self._files[self._order[self._file]])
        names = list(self.param.top)
        with open_hdf5(path) as file:
            count = _check_rows(names, [_shape(file, name, path) for name in names], path)
            self._arrays = [read_array(dataset_of(file, name, path)) for name in names]
        self._rows = list(range(count))
        self._shuffle(self._rows)

    def _shuffle(self, items: List[int]) -> None:
        if self.param.hdf5_data_param.shuffle:
            _rand.shuffle(items)


@register("HDF5Output")
class HDF5Output(Layer):
    """Writes its bottoms as the data sets `data` and `label` of a file: one batch, a second is an error as in Caffe."""

    @property
    def replayable(self) -> bool:
        """No: it writes a file."""
        return False

    def setup(self, bottom: Blobs, top: Blobs) -> None:
        self._is_written = False
        self._write([])

    def forward(self, bottom: Blobs, top: Blobs) -> None:
        if self._is_written:
            raise UserError(f"layer {self.param.name}: {self.param.hdf5_output_param.file_name} has its batch: "
                            "HDF5Output writes one, so the net can be run once")
        self._write(bottom)
        self._is_written = True

    def backward(self, top: Blobs, propagate_down: Sequence[bool], bottom: Blobs) -> None:
        """Nothing: the bottoms' gradients stay what they are."""

    def _write(self, blobs: Blobs) -> None:
        name = self.param.hdf5_output_param.file_name
        try:
            with h5py().File(name, "w") as file:
                for data_set, blob in zip(("data", "label"), blobs):
                    file[data_set] = blob.value.cpu().reshape(blob.num, blob.channels, blob.height, blob.width).numpy()
        except OSError as error:
            raise UserError(f"layer {self.param.name}: {name} cannot be written: {error}") from None


def _read_list(path: Path) -> List[str]:
    names = read_list(path, "list of HDF5 files").split()
    if not names:
        raise UserError(f"{path}: a list without HDF5 files")
    return names


def _shape(file: Any, name: str, path: Path) -> Shape:
    if name not in file:
        raise UserError(f"{path}: has no data set {name}{did_you_mean(name, file)}")
    shape: Shape = dataset_of(file, name, path).shape
    if not shape:
        raise UserError(f"{path}: {name} is a single number: a row for each item is needed")
    return shape


def _check_rows(names: Sequence[str], shapes: Sequence[Shape], path: Path) -> int:
    """The number of rows, which all data sets have in common."""
    count = shapes[0][0]
    if not count or any(shape[0] != count for shape in shapes):
        found = ", ".join(f"{name} {text(shape)}" for name, shape in zip(names, shapes))
        raise UserError(f"{path}: its data sets must have as many rows, at least 1: {found}")
    return count
