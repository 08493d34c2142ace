"""The nets that are trained: their layers from `data`, the pixels of an image, to the loss.

LINEAR has 7,850 weights in 2 blobs, of images of 28 x 28; MLP, with 50 hidden units of TanH, 10,360 in 4, of 14 x 14.
All blobs have a decay, biases too.
"""
from __future__ import annotations

DENSE = """\
layer {{ name: "{name}" type: "InnerProduct" bottom: "{bottom}" top: "{name}"
  inner_product_param {{ num_output: {outputs} weight_filler {{ {filler} }} }} }}
"""
TANH = 'layer { name: "active" type: "TanH" bottom: "hidden" top: "active" }\n'
LOSS = """\
layer { name: "accuracy" type: "Accuracy" bottom: "score" bottom: "label" top: "accuracy" include { phase: TEST } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "score" bottom: "label" top: "loss" }
"""
XAVIER = 'type: "xavier"'

LINEAR = DENSE.format(name="score", bottom="data", outputs=10, filler='type: "gaussian" std: 0.01') + LOSS
MLP = (DENSE.format(name="hidden", bottom="data", outputs=50, filler=XAVIER) + TANH
       + DENSE.format(name="score", bottom="active", outputs=10, filler=XAVIER) + LOSS)
