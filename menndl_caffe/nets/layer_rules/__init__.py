"""The layer types of Caffe 1.0: how many bottoms and tops each takes, and which rule gives the shapes of its tops.

A rule is a function of the bottoms' shapes and the LayerParameter; it raises `ImpossibleNet` for what Caffe refuses.
It stands in the file whose namesake in `torchcaffe/layer_types/` computes the layer.
"""
from __future__ import annotations

import sys
from typing import Callable, Dict, NamedTuple, Union

from menndl_caffe.nets.layer_rules import (
    arrange,
    classification,
    combine,
    convolution,
    data,
    hdf5,
    losses,
    neurons,
    pooling,
    python,
    recurrent,
    scaling,
    spatial,
    window,
)
from menndl_caffe.nets.layer_rules.blob import InPlace, Message, Outcome, Shapes

NONE, ONE, TWO, THREE = range(0, 1), range(1, 2), range(2, 3), range(3, 4)
ONE_OR_TWO, TWO_OR_THREE = range(1, 3), range(2, 4)
SOME, SEVERAL, ANY = range(1, sys.maxsize), range(2, sys.maxsize), range(0, sys.maxsize)


class Rule(NamedTuple):
    """`loss`: Caffe adds a loss_weight of 1 and, if there is none, an anonymous top.

    `in_place`: what Caffe computes there; a function of the layer where its settings decide.
    `sums`: its parameters are sums that it keeps: where the net states no rates for one, Caffe states lr_mult 0.
    """

    shapes: Callable[[Shapes, Message], Outcome]
    bottoms: range
    tops: range
    loss: bool = False
    in_place: Union[InPlace, Callable[[Message], InPlace]] = InPlace.FINE
    sums: bool = False

    def is_in_place(self, layer: Message) -> InPlace:
        """What this layer computes in place."""
        return self.in_place if isinstance(self.in_place, InPlace) else self.in_place(layer)


NONSENSE, NOT_ITS_GRADIENT = InPlace.NONSENSE, InPlace.NOT_ITS_GRADIENT
NEURON = Rule(neurons.elementwise, ONE, ONE)

LAYERS: Dict[str, Rule] = {
    "AbsVal": Rule(neurons.elementwise, ONE, ONE, in_place=NONSENSE),
    "Accuracy": Rule(classification.accuracy, TWO, ONE_OR_TWO, in_place=NONSENSE),
    "ArgMax": Rule(combine.argmax, ONE, ONE),
    "BatchNorm": Rule(scaling.batch_norm, ONE, ONE, sums=True),
    "BatchReindex": Rule(arrange.batch_reindex, TWO, ONE, in_place=NONSENSE),
    "Bias": Rule(scaling.bias, ONE_OR_TWO, ONE),
    "BNLL": NEURON,
    "Clip": NEURON,
    "Concat": Rule(arrange.concat, SOME, ONE),
    "ContrastiveLoss": Rule(losses.contrastive_loss, THREE, ONE, loss=True, in_place=NONSENSE),
    "Convolution": Rule(convolution.convolution, SOME, SOME, in_place=NONSENSE),
    "Crop": Rule(spatial.crop, TWO, ONE, in_place=NOT_ITS_GRADIENT),
    "Data": Rule(data.of_database, NONE, ONE_OR_TWO),
    "Deconvolution": Rule(convolution.deconvolution, SOME, SOME, in_place=NONSENSE),
    "Dropout": Rule(neurons.dropout, ONE, ONE),
    "DummyData": Rule(data.dummy_data, NONE, SOME),
    "Eltwise": Rule(combine.eltwise, SEVERAL, ONE, in_place=combine.eltwise_in_place),
    "ELU": NEURON,
    "Embed": Rule(arrange.embed, ONE, ONE, in_place=NOT_ITS_GRADIENT),
    "EuclideanLoss": Rule(losses.euclidean_loss, TWO, ONE, loss=True, in_place=NONSENSE),
    "Exp": Rule(neurons.exponential, ONE, ONE),
    "Filter": Rule(arrange.filter_, SEVERAL, SOME, in_place=NONSENSE),
    "Flatten": Rule(arrange.flatten, ONE, ONE, in_place=NONSENSE),
    "HDF5Data": Rule(hdf5.hdf5_data, NONE, SOME),
    "HDF5Output": Rule(hdf5.hdf5_output, TWO, NONE),
    "HingeLoss": Rule(losses.hinge_loss, TWO, ONE, loss=True, in_place=NONSENSE),
    "Im2col": Rule(spatial.im2col, ONE, ONE, in_place=NONSENSE),
    "ImageData": Rule(data.image_data, NONE, TWO),
    "InfogainLoss": Rule(classification.infogain_loss, TWO_OR_THREE, ONE_OR_TWO, loss=True, in_place=NONSENSE),
    "InnerProduct": Rule(scaling.inner_product, ONE, ONE, in_place=NONSENSE),
    "Input": Rule(data.input_, NONE, SOME),
    "Log": Rule(neurons.logarithm, ONE, ONE, in_place=NOT_ITS_GRADIENT),
    "LRN": Rule(spatial.lrn, ONE, ONE, in_place=NONSENSE),
    "LSTM": Rule(recurrent.lstm, SEVERAL, SOME, in_place=NOT_ITS_GRADIENT),
    "LSTMUnit": Rule(recurrent.lstm_unit, THREE, TWO, in_place=NOT_ITS_GRADIENT),
    "MemoryData": Rule(data.memory_data, NONE, TWO),
    "MultinomialLogisticLoss": Rule(losses.multinomial_logistic_loss, TWO, ONE, loss=True, in_place=NONSENSE),
    "MVN": Rule(combine.mvn, ONE, ONE, in_place=combine.mvn_in_place),
    "Parameter": Rule(scaling.parameter, NONE, ONE),
    "Pooling": Rule(pooling.pooling, ONE, ONE_OR_TWO, in_place=NONSENSE),
    "Power": Rule(neurons.elementwise, ONE, ONE, in_place=NOT_ITS_GRADIENT),
    "PReLU": Rule(neurons.prelu, ONE, ONE),
    "Python": Rule(python.python, ANY, ANY),
    "Reduction": Rule(combine.reduction, ONE, ONE, in_place=NOT_ITS_GRADIENT),
    "ReLU": NEURON,
    "Reshape": Rule(arrange.reshape, ONE, ONE, in_place=NONSENSE),
    "RNN": Rule(recurrent.rnn, SEVERAL, SOME, in_place=NOT_ITS_GRADIENT),
    "Scale": Rule(scaling.scale, ONE_OR_TWO, ONE),
    "Sigmoid": NEURON,
    "SigmoidCrossEntropyLoss": Rule(losses.sigmoid_cross_entropy_loss, TWO, ONE, loss=True, in_place=NONSENSE),
    "Silence": Rule(arrange.silence, SOME, NONE),
    "Slice": Rule(arrange.slice_, ONE, SOME),
    "Softmax": Rule(classification.softmax, ONE, ONE),
    "SoftmaxWithLoss": Rule(classification.softmax_with_loss, TWO, ONE_OR_TWO, loss=True, in_place=NONSENSE),
    "Split": Rule(arrange.split, ONE, SOME, in_place=NONSENSE),
    "SPP": Rule(spatial.spp, ONE, ONE, in_place=NONSENSE),
    "Swish": NEURON,
    "TanH": NEURON,
    "Threshold": NEURON,
    "Tile": Rule(arrange.tile, ONE, ONE),
    "WindowData": Rule(window.window_data, NONE, TWO),
}
