"""One net in hand: its weights as a vector, a batch shown as often as one likes, gradients, and the way back from its
outputs. The one place that knows pycaffe's ways with all this; the same on both engines.

| symbol | here | meaning |
|---|---|---|
| w | `take`, `put` | the learned weights, shape (n,), blob after blob; those with lr_mult 0 stay what they are |
| L(w) | `gradient` | the loss of the batch that is shown, without decay |
| z(w) | | what the loss layer judges (logits), before it |
| J' u | `pull` | back from z: the gradient of u'z |
| d | `decay` | the decay of each weight, shape (n,), at first that of the texts; d_i w_i^2 / 2 is added to L |
"""
from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Dict, Iterator, List, NamedTuple, Tuple

import numpy as np

from menndl_caffe.trainer.feeding import Feed, fed, is_in
from menndl_caffe.trainer.nets import make_net, make_solver, solver_parameter, take_tests_over
from menndl_caffe.trainer.train import Unsuitable, total_loss

TRAIN, VALIDATION = "train", "validation"
RANDOM = ("Dropout",)  # layers that are another function in each pass


@dataclass(frozen=True)
class Parameter:
    """One blob of learned weights."""

    layer: str
    index: int  # in its layer
    shape: Tuple[int, ...]
    place: slice  # in w
    decay: float
    lr_mult: float

    @property
    def name(self) -> str:
        """As a stated value is named: `conv1[0]`."""
        return f"{self.layer}[{self.index}]"


class NetInHand:
    """A solver's training net, and its test net on the same weights, whose images are those of the validation."""

    def __init__(self, engine: Any, net: str, solver: str, periods: Tuple[int, int], own_decay: bool = False):
        """From the two texts. `periods`: after how many batches of training and of validation the images come again.

        `own_decay`: `step` goes by `decay`, which may be changed, and not by the texts.
        Unsuitable where the net reads no images, or has not one loss.
        """
        self.engine = engine
        self.param = solver_parameter(engine, net, solver)
        take_tests_over(self.param)
        own, phases = self.param.net_param, (engine.TRAIN, engine.TEST)
        if own.layers:
            raise Unsuitable("the net is in the form of Caffe before 2014 (layers); expected layer { ... }")
        feeds = {phase: Feed(engine, own, phase, period) for phase, period in zip(phases, periods)}
        plain = self._plain(own)
        own.CopyFrom(fed(own, feeds))
        stated = self.param.weight_decay
        if own_decay:
            self.param.weight_decay = 0.0
        self._feeds = dict(zip((TRAIN, VALIDATION), feeds.values()))
        self.solver = make_solver(engine, self.param)
        for layer, blobs in plain.params.items():
            for blob, first in zip(self.solver.net.params[layer], blobs):
                blob.data[...] = first.data
        self.solver.test_nets[0].share_with(self.solver.net)
        self._nets = {TRAIN: self.solver.net, VALIDATION: self.solver.test_nets[0]}
        self.parameters = tuple(self._learned(stated))
        self.size = self.parameters[-1].place.stop if self.parameters else 0
        self._losses = {part: _loss_of(net, part) for part, net in self._nets.items()}
        self._part, self._shown = TRAIN, 0
        self.decay = self.of_blobs([parameter.decay for parameter in self.parameters])
        if own_decay:
            self.solver.add_callback(lambda: None, self._add_decay)

    def _plain(self, net: Any) -> Any:
        """The training net with its readers. Its weights are others than those of a net of Input layers: each reader
        takes a number from the stream from which fillers draw, for its thread (internal_thread.cpp)."""
        if self.param.random_seed >= 0:
            self.engine.set_random_seed(self.param.random_seed)
        return make_net(self.engine, net, self.engine.TRAIN)

    # ---- what is shown ----

    @property
    def is_random(self) -> bool:
        """Whether a training pass of the same batch and weights is another function each time."""
        return self._feeds[TRAIN].is_random or any(self._has(kind) for kind in RANDOM)

    @property
    def has_random_images(self) -> bool:
        """Whether plain training reads other images in each round, while those that are shown come again."""
        return self._feeds[TRAIN].is_random

    @property
    def has_statistics(self) -> bool:
        """Whether a training pass moves what later passes of the validation depend on."""
        return self._has("BatchNorm")

    def _has(self, kind: str) -> bool:
        return any(layer.type == kind for layer in self._nets[TRAIN].layer_dict.values())

    def show(self, part: str, number: int) -> None:
        """Put a batch of a part into its net; whatever follows is about this batch. The same number: the same images
        and the same Dropout masks."""
        self._part, self._shown = part, number
        for name, images in self._feeds[part].batch(number).items():
            self._net.blobs[name].data[...] = images

    @property
    def _net(self) -> Any:
        return self._nets[self._part]

    # ---- weights ----

    def take(self) -> np.ndarray:
        """A copy of w, in the engine's precision."""
        return self._joined([blob.data for blob in self._blobs(TRAIN)])

    def put(self, weights: np.ndarray) -> None:
        """Make w this."""
        for parameter, blob in zip(self.parameters, self._blobs(TRAIN)):
            blob.data[...] = weights[parameter.place].reshape(parameter.shape)

    def of_blobs(self, values: List[float]) -> np.ndarray:
        """A vector like w with one value for each blob."""
        return np.concatenate([np.full(parameter.place.stop - parameter.place.start, value)
                               for parameter, value in zip(self.parameters, values)])

    def by_blob(self, vector: np.ndarray) -> List[float]:
        """The sums over the blobs of a vector like w."""
        return [float(vector[parameter.place].sum(dtype=np.float64)) for parameter in self.parameters]

    @property
    def lr_mult(self) -> np.ndarray:
        """The lr_mult of each weight, as the texts state it, shape (n,)."""
        return self.of_blobs([parameter.lr_mult for parameter in self.parameters])

    def _blobs(self, part: str) -> List[Any]:
        params = self._nets[part].params
        return [params[parameter.layer][parameter.index] for parameter in self.parameters]

    @staticmethod
    def _joined(arrays: List[np.ndarray]) -> np.ndarray:
        return np.concatenate([array.ravel() for array in arrays])

    # ---- passes over the batch that is shown ----

    def loss(self) -> float:
        """L(w)."""
        self._seed()
        self._net.forward()
        return total_loss(self._net)

    def gradient(self) -> Tuple[float, np.ndarray]:
        """L(w) and its gradient, shape (n,)."""
        self._net.clear_param_diffs()
        loss = self.loss()
        self._net.backward()
        return loss, self._joined([blob.diff for blob in self._blobs(self._part)])

    def output_gradient(self) -> np.ndarray:
        """dL/dz at w, in the same shape."""
        loss = self._losses[self._part]
        self.loss()
        self._net.backward(end=loss.after)
        return self._net.blobs[loss.bottom].diff.copy()

    def pull(self, d_outputs: np.ndarray) -> np.ndarray:
        """J' u for u = `d_outputs`, shape (n,)."""
        loss = self._losses[self._part]
        self.loss()
        self._net.clear_param_diffs()
        self._net.blobs[loss.bottom].diff[...] = d_outputs
        self._net.backward(start=loss.producer)
        return self._joined([blob.diff for blob in self._blobs(self._part)])

    @property
    def has_exact_products(self) -> bool:
        """Whether the engine multiplies the Hessian by a vector itself: the torch engine does."""
        return hasattr(self._nets[TRAIN], "hessian_product")

    def exact_product(self, direction: np.ndarray) -> np.ndarray:
        """H v of the training batch that is shown, v = `direction`, float64, shape (n,)."""
        net = self._nets[TRAIN]
        parts = [np.zeros(one.blob.data.shape, np.float32) for one in net.learnable]
        places = {id(one.blob): part for one, part in zip(net.learnable, parts)}
        mine = [places[id(blob)] for blob in self._blobs(TRAIN)]
        for parameter, part in zip(self.parameters, mine):
            part[...] = direction[parameter.place].reshape(parameter.shape)
        self._seed()
        found = dict(zip(map(id, parts), net.hessian_product(parts)))
        return self._joined([found[id(part)] for part in mine]).astype(np.float64)

    def _seed(self) -> None:
        if self._part == TRAIN and self.is_random:
            self.engine.set_random_seed(self._shown)

    # ---- training ----

    def step(self) -> float:
        """One iteration of the solver on the training batch that is shown; L(w) before it."""
        self._seed()
        self.solver.step(1)
        return total_loss(self._nets[TRAIN])

    def update(self) -> np.ndarray:
        """What the last `step` subtracted from w, shape (n,): of SGD, its velocity."""
        return self._joined([blob.diff for blob in self._blobs(TRAIN)])

    def _add_decay(self) -> None:
        decays = self.decay.astype(np.float32)
        for parameter, blob in zip(self.parameters, self._blobs(TRAIN)):
            with np.errstate(all="ignore"):  # what overflows shows in the loss
                blob.diff[...] += decays[parameter.place].reshape(parameter.shape) * blob.data

    def _learned(self, weight_decay: float) -> Iterator[Parameter]:
        """The blobs that the solver moves, shared ones once, at their owner (net.cpp, Net::AppendParam)."""
        net, settings = self.solver.net, _settings(self.param.net_param, self.engine.TRAIN)
        start = 0
        for layer, blobs in net.params.items():
            for index, blob in enumerate(blobs):
                owner, given = settings.get((layer, index), ((layer, index), None))
                if owner != (layer, index) or (given is not None and given.lr_mult == 0):
                    continue
                if net.layer_dict[layer].type == "BatchNorm":  # statistics, which Caffe itself never learns
                    continue
                decay = weight_decay * (1.0 if given is None else given.decay_mult)
                shape, rate = tuple(blob.data.shape), 1.0 if given is None else given.lr_mult
                yield Parameter(layer, index, shape, slice(start, start + blob.data.size), decay, rate)
                start += blob.data.size


class _Loss(NamedTuple):
    """Where a net's one loss is: the blob that it judges, the layer that made it, and the layer that comes after that.
    """

    bottom: str
    producer: str
    after: str


def _loss_of(net: Any, part: str) -> _Loss:
    tops = [top for top, weight in net.blob_loss_weights.items() if weight]
    layers = [name for name, own in net.top_names.items() if set(own) & set(tops)]
    if len(layers) != 1:
        raise Unsuitable(f"the net of {part} has {len(layers)} losses; expected one")
    bottom = net.bottom_names[layers[0]][0]
    names = list(net.top_names)
    # A blob that several layers read was copied for each of them; its name goes on with the word split then.
    original = net.bottom_names[_maker(net, bottom)][0] if _is_copy(net, bottom) else bottom
    producer = _maker(net, original)
    return _Loss(original, producer, names[names.index(producer) + 1])


def _maker(net: Any, blob: str) -> str:
    """The last layer that has this top: those in place come after the one that made it."""
    return [name for name, tops in net.top_names.items() if blob in tops][-1]


def _is_copy(net: Any, blob: str) -> bool:
    return bool(net.layer_dict[_maker(net, blob)].type == "Split")


def _settings(net: Any, phase: int) -> Dict[Tuple[str, int], Tuple[Tuple[str, int], Any]]:
    """(layer, index) -> its blob's owner, and what all who share the blob say of it together (a ParamSpec)."""
    owners: Dict[str, Tuple[str, int]] = {}
    said: Dict[Tuple[str, int], Any] = {}
    owner_of: Dict[Tuple[str, int], Tuple[str, int]] = {}
    for layer in net.layer:
        if is_in(layer, phase):
            for index, given in enumerate(layer.param):
                place = (layer.name, index)
                owner = owner_of[place] = owners.setdefault(given.name, place) if given.name else place
                said.setdefault(owner, type(given)()).MergeFrom(given)
    return {place: (owner, said[owner]) for place, owner in owner_of.items()}
