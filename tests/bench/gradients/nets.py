"""The nets that are trained: their layers from `data`, the pixels of an image, to the loss.

LINEAR has 7,850 weights in 2 blobs, of images of 28 x 28. MLP, with 50 hidden units of TanH, has 10,360 in 4, of 14 x
14, and LENET 2,618 in 8: layer by layer Caffe's own (examples/mnist/lenet_train_test.prototxt) at a smaller size. All
blobs have a decay, biases too.
"""
from __future__ import annotations

DENSE = """\
layer {{ name: "{name}" type: "InnerProduct" bottom: "{bottom}" top: "{name}"
  inner_product_param {{ num_output: {outputs} weight_filler {{ {filler} }} }} }}
"""
CONVOLUTION = """\
layer {{ name: "conv{n}" type: "Convolution" bottom: "{bottom}" top: "conv{n}"
  convolution_param {{ num_output: {filters} kernel_size: 3 weight_filler {{ type: "xavier" }} }} }}
layer {{ name: "pool{n}" type: "Pooling" bottom: "conv{n}" top: "pool{n}"
  pooling_param {{ pool: MAX kernel_size: 2 stride: 2 }} }}
"""
IMAGES = """\
layer { name: "images" type: "Reshape" bottom: "data" top: "images"
  reshape_param { shape { dim: 0 dim: 1 dim: 14 dim: 14 } } }
"""
NEURON = 'layer {{ name: "{name}" type: "{kind}" bottom: "{bottom}" top: "{name}" }}\n'
LOSS = """\
layer { name: "accuracy" type: "Accuracy" bottom: "score" bottom: "label" top: "accuracy" include { phase: TEST } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "score" bottom: "label" top: "loss" }
"""
XAVIER = 'type: "xavier"'

LINEAR = DENSE.format(name="score", bottom="data", outputs=10, filler='type: "gaussian" std: 0.01') + LOSS
MLP = (DENSE.format(name="hidden", bottom="data", outputs=50, filler=XAVIER)
       + NEURON.format(name="active", kind="TanH", bottom="hidden")
       + DENSE.format(name="score", bottom="active", outputs=10, filler=XAVIER) + LOSS)
LENET = (IMAGES + CONVOLUTION.format(n=1, bottom="images", filters=6)
         + CONVOLUTION.format(n=2, bottom="pool1", filters=12)
         + DENSE.format(name="ip1", bottom="pool2", outputs=32, filler=XAVIER)
         + NEURON.format(name="active", kind="ReLU", bottom="ip1")
         + DENSE.format(name="score", bottom="active", outputs=10, filler=XAVIER) + LOSS)
