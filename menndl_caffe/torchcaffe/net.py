"""Net: pycaffe's, with the passes of `net.cpp` and the conveniences of `pycaffe.py`."""
from __future__ import annotations

import errno
import os
from collections import OrderedDict
from pathlib import Path
from typing import Any, Callable, Dict, Iterable, Iterator, List, Mapping, Optional, Sequence, Tuple, Union

import numpy as np

from menndl_caffe.errors import UserError
from menndl_caffe.nets import prototxt
from menndl_caffe.nets.proto import caffe_pb2
from menndl_caffe.nets.shapes import located
from menndl_caffe.torchcaffe import weights as weights_files
from menndl_caffe.torchcaffe.blob import Blob
from menndl_caffe.torchcaffe.duals import hessian_product
from menndl_caffe.torchcaffe.graph import Graph, build, find_layer, log_shapes, total
from menndl_caffe.torchcaffe.layer import Layer
from menndl_caffe.torchcaffe.replay import Recorder, Replay, replay_of

Callback = Callable[[int], None]
Arrays = Dict[str, np.ndarray]


class MissingFile(UserError, RuntimeError):
    """A net's file or its weights do not exist: pycaffe raises a RuntimeError."""


class Net:
    """A net in one phase.

    `Net(file, phase, level=0, stages=None, weights=None)`, or as in old programs `Net(file, weights, phase)`.
    UserError where a file cannot be read, ImpossibleNet (a ValueError) with layer and reason where Caffe would abort.
    """

    def __init__(self, network_file: str, phase: Union[int, str], level: Optional[int] = None,
                 stages: Optional[Iterable[str]] = None, weights: Optional[str] = None) -> None:
        if isinstance(phase, (str, Path)):  # the old order
            if level is None:
                raise TypeError(f"Net({network_file!r}, {phase!r}): the phase is missing: caffe.TRAIN or caffe.TEST")
            weights, phase, level = str(phase), level, None
        for path in (network_file, *([] if weights is None else [weights])):
            if not Path(path).exists():
                raise MissingFile(f"{path}: {os.strerror(errno.ENOENT)}")
        document = prototxt.load(Path(network_file), caffe_pb2.NetParameter)
        with located(document):
            self._build(document.message, int(phase), level or 0, stages or ())
        if weights is not None:
            self.copy_from(weights)

    @classmethod
    def of_param(cls, param: Any, phase: int, level: int = 0, stages: Iterable[str] = ()) -> Net:
        """The net of a NetParameter."""
        net = cls.__new__(cls)
        net._build(param, phase, level, stages)
        return net

    def _build(self, param: Any, phase: int, level: int, stages: Iterable[str]) -> None:
        graph: Graph = build(param, phase, level, stages)
        log_shapes(graph)
        self.name, self.phase = param.name, phase
        self._nodes, self.learnable = graph.nodes, graph.learnable
        self._blobs, self._blob_names = graph.blobs, graph.blob_names
        self._blob_loss_weights = graph.loss_weights
        self._layer_names = [node.name for node in graph.nodes]
        self._outputs = [graph.available[name] for name in sorted(graph.available)]
        self._inputs = [index for node in graph.nodes if node.layer.type == "Input" for index in node.top_ids]
        self.layers: List[Layer] = [node.layer for node in graph.nodes]
        self.layer_dict = OrderedDict(zip(self._layer_names, self.layers))
        self.blobs: OrderedDict[str, Blob] = OrderedDict(zip(self._blob_names, self._blobs))
        self.params = OrderedDict((node.name, node.layer.blobs) for node in graph.nodes if node.layer.blobs)
        self.blob_loss_weights = OrderedDict(zip(self._blob_names, self._blob_loss_weights))
        self.bottom_names = self._names_of([node.bottom_ids for node in graph.nodes])
        self.top_names = self._names_of([node.top_ids for node in graph.nodes])
        self.inputs = [self._blob_names[index] for index in self._inputs]
        self.outputs = [self._blob_names[index] for index in self._outputs]
        self._replay = replay_of(graph.nodes, graph.blobs, graph.learnable)
        self._callbacks: Dict[str, List[Callback]] = {when: [] for when in (
            "before_forward", "after_forward", "before_backward", "after_backward")}

    def _names_of(self, ids: Sequence[Sequence[int]]) -> OrderedDict[str, List[str]]:
        names = ([self._blob_names[index] for index in indices] for indices in ids)
        return OrderedDict(zip(self._layer_names, names))

    # Passes ----------------------------------------------------------------------------------------------------------

    def _forward(self, start: int, end: int) -> float:
        """Run layers `start` to `end`, that one included; the sum of their losses times weights (`ForwardFromTo`)."""
        self._forget_replay()
        losses = []
        has_callbacks = self._has_callbacks()
        for index in range(start, end + 1):
            if has_callbacks:
                self._call("before_forward", index)
            losses += self._nodes[index].forward()
            if has_callbacks:
                self._call("after_forward", index)
        return float(total(losses))

    def _backward(self, start: int, end: int) -> None:
        """Run layers `start` down to `end`, that one included, in reverse (`BackwardFromTo`)."""
        self._forget_replay()
        has_callbacks = self._has_callbacks()
        for index in range(start, end - 1, -1):
            if has_callbacks:
                self._call("before_backward", index)
            self._nodes[index].backward()
            if has_callbacks:
                self._call("after_backward", index)

    def forward_loss(self) -> float:
        """A whole forward pass; the loss."""
        if self._replay is not None and not self._has_callbacks():
            return self._replay.forward()
        return self._forward(0, len(self._nodes) - 1)

    def backward_all(self) -> None:
        """A whole backward pass."""
        if self._replay is not None and not self._has_callbacks():
            self._replay.backward()
        else:
            self._backward(len(self._nodes) - 1, 0)

    def replay_with(self, recorder: Recorder) -> None:
        """Replay whole passes from now on, recorded by `recorder`."""
        self._replay = Replay(self._nodes, self._blobs, self.learnable, recorder)

    def _has_callbacks(self) -> bool:
        return any(self._callbacks.values())

    def forward(self, blobs: Optional[Sequence[str]] = None, start: Optional[str] = None, end: Optional[str] = None,
                **kwargs: np.ndarray) -> Arrays:
        """Forward pass from layer `start` to layer `end`; keywords set all the net's inputs first.

        Gives the arrays of the outputs (those of layer `end`) and of `blobs`: views, which the next pass overwrites.
        """
        first, last = find_layer(self._nodes, start, 0), find_layer(self._nodes, end, len(self._nodes) - 1)
        self._set(kwargs, self.inputs, "input", "data")
        if (first, last) == (0, len(self._nodes) - 1):
            self.forward_loss()
        else:
            self._forward(first, last)
        names = [*(self.outputs if end is None else self.top_names[end]), *(blobs or ())]
        return {name: self.blobs[name].data for name in names}

    def backward(self, diffs: Optional[Sequence[str]] = None, start: Optional[str] = None, end: Optional[str] = None,
                 **kwargs: np.ndarray) -> Arrays:
        """Backward pass from layer `start` down to layer `end`; keywords set all the outputs' gradients first.

        Gives the gradients of the inputs (of the bottoms of layer `end`) and of `diffs`: views, as `forward` does.
        """
        first, last = find_layer(self._nodes, start, len(self._nodes) - 1), find_layer(self._nodes, end, 0)
        self._set(kwargs, self.outputs, "output", "diff")
        if (first, last) == (len(self._nodes) - 1, 0):
            self.backward_all()
        else:
            self._backward(first, last)
        names = [*(self.inputs if end is None else self.bottom_names[end]), *(diffs or ())]
        return {name: self.blobs[name].diff for name in names}

    def forward_all(self, blobs: Optional[Sequence[str]] = None, **kwargs: np.ndarray) -> Arrays:
        """Forward passes over inputs of any number of items, batch by batch, the last one padded; copies."""
        outputs: Dict[str, List[np.ndarray]] = {}
        for batch in self._batch(kwargs):
            for name, array in self.forward(blobs=blobs, **batch).items():
                outputs.setdefault(name, []).extend(array.copy())
        return self._unpadded(outputs, kwargs)

    def forward_backward_all(self, blobs: Optional[Sequence[str]] = None, diffs: Optional[Sequence[str]] = None,
                             **kwargs: np.ndarray) -> Tuple[Arrays, Arrays]:
        """As `forward_all`, with a backward pass after each; keywords name inputs and outputs."""
        values: Dict[str, List[np.ndarray]] = {}
        gradients: Dict[str, List[np.ndarray]] = {}
        tops = {name: array for name, array in kwargs.items() if name in self.outputs}
        bottoms = {name: array for name, array in kwargs.items() if name in self.inputs}
        for batch, top_diffs in zip(self._batch(bottoms), self._batch(tops) if tops else _endless()):
            for name, array in self.forward(blobs=blobs, **batch).items():
                values.setdefault(name, []).extend(array.copy())
            for name, array in self.backward(diffs=diffs, **top_diffs).items():
                gradients.setdefault(name, []).extend(array.copy())
        return self._unpadded(values, bottoms), self._unpadded(gradients, bottoms)

    def reshape(self) -> None:
        """Give all blobs the shapes that follow from the inputs' (`Net::Reshape`)."""
        for node in self._nodes:
            node.layer.reshape_again(node.bottom, node.top)

    def clear_param_diffs(self) -> None:
        """Set the gradients of the parameters to 0: passes add to them."""
        for learnable in self.learnable:
            if self._replay is None:
                learnable.blob.clear_grad()
            else:  # recorded passes add, whatever is there
                learnable.blob.grad.zero_()

    def hessian_product(self, direction: Sequence[np.ndarray], start: Optional[str] = None) -> List[np.ndarray]:
        """The Hessian of the batch's loss by the parameters, times a vector: exact but for rounding (see `duals`).

        `direction` and what is returned have an array for each parameter, in the order of `learnable`: that of
        `params`, shared ones once. What has no gradient, such as BatchNorm's statistics, gets 0, and takes 0.

        The batch is what the tops of layers without bottoms hold: such layers do not run, nor do any before `start`.
        Weights, data, diffs and loss are afterwards as before; a backward pass needs a forward pass first. Dropout
        draws new masks: the same `set_random_seed` before this and before other passes repeats them. LSTM and RNN begin
        where the last pass ended. It takes the time of 3 to 5 gradients of the batch, and more in very small nets.

        UserError where a Python layer would run; ValueError where shapes do not fit, or `start` is no layer.
        """
        first = find_layer(self._nodes, start, 0)
        return hessian_product(self._nodes[first:], self._blobs, self.learnable, direction)

    # Weights ---------------------------------------------------------------------------------------------------------

    def copy_from(self, path: str) -> None:
        """Take the weights of a .caffemodel, binary or HDF5, by layers' names (`Net::CopyTrainedLayersFrom`)."""
        weights_files.copy_from(self, Path(path))

    def share_with(self, other: Net) -> None:
        """Use the weights of another net, by layers' names: one memory from now on (`Net::ShareTrainedLayersWith`)."""
        weights_files.share(self, other)

    def save(self, path: str, write_diff: bool = False) -> None:
        """Write a binary .caffemodel, with gradients if `write_diff`."""
        weights_files.save(self, Path(path), write_diff)

    def save_hdf5(self, path: str, write_diff: bool = False) -> None:
        """Write a .caffemodel.h5."""
        weights_files.save_hdf5(self, Path(path), write_diff)

    def load_hdf5(self, path: str) -> None:
        """Take the weights of a .caffemodel.h5."""
        weights_files.load_hdf5(self, Path(path))

    # MemoryData and callbacks ----------------------------------------------------------------------------------------

    def set_input_arrays(self, data: np.ndarray, labels: np.ndarray) -> None:
        """What a MemoryData layer, the net's first, hands out: N x C x H x W and N (or N x 1 x 1 x 1), float32."""
        set_arrays = getattr(self.layers[0], "set_arrays", None)
        if set_arrays is None:
            raise ValueError(f"set_input_arrays may only be called if the first layer is a MemoryData layer, "
                             f"not {self.layers[0].type}")
        set_arrays(np.asarray(data), np.asarray(labels))

    _set_input_arrays = set_input_arrays

    def before_forward(self, callback: Callback) -> None:
        """Call `callback(layer's index)` before every layer's forward."""
        self._callbacks["before_forward"].append(callback)

    def after_forward(self, callback: Callback) -> None:
        """Call `callback(layer's index)` after every layer's forward."""
        self._callbacks["after_forward"].append(callback)

    def before_backward(self, callback: Callback) -> None:
        """Call `callback(layer's index)` before every layer's backward."""
        self._callbacks["before_backward"].append(callback)

    def after_backward(self, callback: Callback) -> None:
        """Call `callback(layer's index)` after every layer's backward."""
        self._callbacks["after_backward"].append(callback)

    def _forget_replay(self) -> None:
        """A pass of single layers gives blobs other memory than was recorded."""
        if self._replay is not None:
            self._replay.forget()

    def _call(self, when: str, index: int) -> None:
        for callback in self._callbacks[when]:
            callback(index)

    # pycaffe's names of private things that programs use -------------------------------------------------------------

    def _top_ids(self, layer: int) -> List[int]:
        return list(self._nodes[layer].top_ids)

    def _bottom_ids(self, layer: int) -> List[int]:
        return list(self._nodes[layer].bottom_ids)

    def _batch(self, blobs: Mapping[str, np.ndarray]) -> Iterator[Dict[str, Any]]:
        """Batches of the size of the first input blob; the last one is padded with zeros."""
        count = len(next(iter(blobs.values())))
        size = self.blobs[next(iter(blobs))].num
        for start in range(0, count, size):
            batch = {name: np.asarray(array)[start:start + size] for name, array in blobs.items()}
            yield {name: _padded(array, size) for name, array in batch.items()}

    def _unpadded(self, outputs: Mapping[str, List[np.ndarray]], inputs: Mapping[str, np.ndarray]) -> Arrays:
        count = len(next(iter(inputs.values())))
        return {name: np.asarray(items[:count]) for name, items in outputs.items()}

    def _set(self, arrays: Mapping[str, np.ndarray], names: Sequence[str], what: str, side: str) -> None:
        if not arrays:
            return
        if set(arrays) != set(names):
            raise ValueError(f"arrays for {', '.join(sorted(arrays))}, but this net's {what}s are {', '.join(names)}")
        for name, array in arrays.items():
            blob = self.blobs[name]
            if np.shape(array)[:1] != blob.shape[:1]:
                raise ValueError(f"{what} {name} holds {blob.num} items, not {len(array)}: see forward_all, or reshape")
            getattr(blob, side)[...] = array


def _padded(array: np.ndarray, size: int) -> np.ndarray:
    missing = size - len(array)
    return np.concatenate([array, np.zeros((missing, *array.shape[1:]), array.dtype)]) if missing else array


def _endless() -> Iterator[Dict[str, Any]]:
    while True:
        yield {}
