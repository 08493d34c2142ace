"""Whole passes of a net replayed as CUDA graphs: one launch in place of one for each kernel.

The first passes run as usual, so that libraries choose their kernels; then a forward and a backward pass are recorded
and from there on repeated on the same memory. Layers that bring data in run before each repetition, as they draw and
read; their numbers are copied to where the recorded pass finds them. A net with layers that do more than compute (see
`Layer.replayable`) is not replayed.
"""
from __future__ import annotations

from typing import Any, Callable, List, Optional, Protocol, Sequence, Tuple

import torch

from menndl_caffe.torchcaffe import mode
from menndl_caffe.torchcaffe.blob import Blob
from menndl_caffe.torchcaffe.graph import Learnable, Node, total
from menndl_caffe.torchcaffe.log import WARNING, log

WARM_UP = 3  # passes before one is recorded
Work = Callable[[], Any]
Repeat = Callable[[], object]


class Recorder(Protocol):
    """Something that can repeat what a piece of work computes, without running its Python."""

    def record(self, work: Work) -> Tuple[Any, Repeat]:
        """Do the work once; its result, and what repeats it: on the same memory, with the result in the same place."""


class CudaRecorder:
    """Records CUDA graphs, which share one pool of memory."""

    def __init__(self) -> None:
        self._pool: Any = None

    def record(self, work: Work) -> Tuple[Any, Repeat]:
        """As Recorder's; RuntimeError where the work waits for the device, which a graph cannot."""
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=self._pool):
            result = work()
        self._pool = graph.pool()
        graph.replay()  # recording itself computes nothing
        return result, graph.replay


def forward(nodes: Sequence[Node]) -> torch.Tensor:
    """Run layers; the sum of their losses times weights, a scalar."""
    return total([loss for node in nodes for loss in node.forward()])


def backward(nodes: Sequence[Node]) -> None:
    """Run layers in reverse."""
    for node in reversed(nodes):
        node.backward()


class Replay:
    """The whole passes of one net, recorded once and repeated from then on."""

    def __init__(self, nodes: Sequence[Node], blobs: Sequence[Blob], learnable: Sequence[Learnable],
                 recorder: Recorder) -> None:
        self._sources = [node for node in nodes if is_source(node)]
        self._rest = [node for node in nodes if not is_source(node)]
        self._parameters = [parameter.blob for parameter in learnable]
        self._blobs = [*blobs, *self._parameters]
        self._inputs = [blob for node in self._sources for blob in node.top]
        self._recorder, self._passes, self._gave_up = recorder, 0, False
        self._places: List[torch.Tensor] = []  # of inputs, and addresses of parameters, when the forward was recorded
        self._addresses: Optional[List[int]] = None
        self._repeat_forward: Repeat = lambda: None
        self._repeat_backward: Optional[Repeat] = None

    def forward(self) -> float:
        """A whole forward pass; the loss."""
        loss = forward(self._sources)
        self._passes += 1
        if self._passes <= WARM_UP or self._gave_up:
            return float(loss + forward(self._rest))
        self._take_arrays_in()
        inputs = [blob.value for blob in self._inputs]
        if self._is_recorded_for(inputs):
            self._put_in_place(inputs)
            self._repeat_forward()
        else:
            self.forget()
            self._loss, self._repeat_forward = self._recorded(lambda: forward(self._rest))
            self._places, self._addresses = inputs, self._addresses_now()
        return float(loss + self._loss)

    def backward(self) -> None:
        """A whole backward pass."""
        if self._passes <= WARM_UP or self._gave_up:
            backward(self._rest)
            return
        self._take_arrays_in()
        if self._repeat_backward is None:
            _, self._repeat_backward = self._recorded(lambda: backward(self._rest))
        else:
            self._repeat_backward()

    def _recorded(self, work: Work) -> Tuple[Any, Repeat]:
        """The result of the work, and what repeats it; where it cannot be recorded, it is done, now and from now on."""
        try:
            return self._recorder.record(work)
        except RuntimeError as error:
            log(f"Passes are not replayed as CUDA graphs: {error}", WARNING, "net.cpp:257")
            self._gave_up = True
            return work(), lambda: None

    def forget(self) -> None:
        """Record anew at the next pass."""
        self._places, self._addresses, self._repeat_backward = [], None, None

    def _is_recorded_for(self, inputs: Sequence[torch.Tensor]) -> bool:
        """Whether inputs have the recorded shapes, and the parameters lie where they lay then."""
        same = [tensor.shape for tensor in inputs] == [tensor.shape for tensor in self._places]
        return same and self._addresses_now() == self._addresses

    def _addresses_now(self) -> List[int]:
        return [tensor.data_ptr() for blob in self._parameters for tensor in (blob.value, blob.grad)]

    def _put_in_place(self, inputs: Sequence[torch.Tensor]) -> None:
        for place, tensor, blob in zip(self._places, inputs, self._inputs):
            if place is not tensor:
                place.copy_(tensor)
                blob.value = place

    def _take_arrays_in(self) -> None:
        """What the user has written to arrays goes to the device, as it does when a layer reads the blob."""
        for blob in self._blobs:
            blob.sync()


def is_source(node: Node) -> bool:
    """Whether a layer brings data in."""
    return not (node.bottom or node.layer.blobs)


def replay_of(nodes: Sequence[Node], blobs: Sequence[Blob], learnable: Sequence[Learnable]) -> Optional[Replay]:
    """The replay of a net that lives on a GPU; None on the CPU, and where layers do more than compute."""
    if mode.device().type != "cuda":
        return None
    others = [node.name for node in nodes if not is_source(node) and not node.layer.replayable]
    if others:
        log(f"Passes are not replayed as CUDA graphs: {', '.join(others)} do more than compute", source="net.cpp:257")
        return None
    return Replay(nodes, blobs, learnable, CudaRecorder())
