"""Random nets of layers that share memory, work in place or keep their input, and what a program does to them.

`plan` draws them, `walk` runs a plan in either engine: its source goes to real Caffe's Python as it is.
"""
from __future__ import annotations

import json
from typing import Any, Dict, List, Tuple

import numpy as np

Arrays = Dict[str, np.ndarray]
STEPS = ("forward", "both", "edited", "reshape", "net reshape", "edit", "input", "part")
SETTINGS = {
    "Reshape": ["reshape_param { shape { dim: 0 dim: -1 } }", "reshape_param { shape { dim: 0 dim: 3 dim: 2 } }"],
    "Power": ["power_param { scale: 0.5 shift: 0.1 }"],
    "Bias": ["bias_param { axis: 0 num_axes: 0 filler { value: 0.3 } }"],
    "Scale": ["scale_param { axis: 1 filler { value: 0.7 } }"],
    "BatchNorm": ["batch_norm_param { use_global_stats: false eps: 0.1 }"],
}
TYPES = ["Flatten", "Reshape", "Concat", "Slice", "Split", "Power", "TanH", "Bias", "Scale", "BatchNorm"]
IN_PLACE = ["ReLU", "PReLU", "Scale", "BatchNorm", "Bias"]


def plan(seed: int) -> str:
    """A net and 12 steps, as JSON."""
    random = np.random.RandomState(seed)
    net, layers, blobs = _net(random)
    steps: List[Any] = []
    for _ in range(12):
        first, last = sorted(random.randint(len(layers), size=2))
        steps.append([str(random.choice(STEPS)), str(random.choice(blobs)), int(random.randint(2, 6)),
                      layers[first], layers[last]])
    return json.dumps([net, steps, "Flatten" not in net])


def _net(random: Any) -> Tuple[str, List[str], List[str]]:
    """Its text, and the names of its layers and blobs."""
    net = 'force_backward: true layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 4 dim: 6 } } } '
    layers, blobs, read = ["x"], ["x"], {"x"}
    for index in range(random.randint(3, 9)):
        name, last = f"l{index}", blobs[-1]
        in_place = last not in read and random.randint(2)
        type_ = str(random.choice(IN_PLACE if in_place else TYPES))
        bottom = last if in_place else str(random.choice(blobs))
        tops = [bottom] if in_place else [f"{name}a", f"{name}b"][:1 + (type_ == "Split")]
        settings = str(random.choice(SETTINGS.get(type_, [""])))
        net += (f'layer {{ name: "{name}" type: "{type_}" bottom: "{bottom}" '
                + " ".join(f'top: "{top}"' for top in tops) + f" {settings} }} ")
        layers.append(name)
        if not in_place:
            read.add(bottom)
            blobs += tops
    return net, layers, blobs


def walk(caffe: Any, given: Arrays) -> Arrays:
    """All numbers after every step of each plan; gradients where the plan says that they are to be looked at."""
    import json

    found = {}

    def keep(net: Any, label: str, side: str) -> None:
        found.update({f"{label} {side} {name}": np.array(getattr(blob, side)) for name, blob in net.blobs.items()})

    for index, text in enumerate(given["plans"]):
        description, steps, with_gradients = json.loads(str(text))
        random = np.random.RandomState(1)
        with open("net.prototxt", "w") as file:
            file.write(description)
        net = caffe.Net("net.prototxt", caffe.TRAIN)
        net.blobs["x"].data[...] = random.randn(4, 6)
        for number, (step, name, size, start, end) in enumerate(steps):
            if step in ("forward", "both", "edited"):
                net.forward()
            if step in ("edited", "edit", "input"):
                data = net.blobs["x" if step == "input" else name].data
                data[...] = random.randn(*data.shape)
            if step in ("both", "edited"):
                for output in net.outputs:
                    net.blobs[output].diff[...] = random.randn(*net.blobs[output].diff.shape)
                net.backward()
                if with_gradients:
                    keep(net, f"{index}: {number} {step}", "diff")
            if step in ("reshape", "net reshape"):
                net.blobs["x"].reshape(size, 6)
            if step == "net reshape":
                net.reshape()
            if step == "part":
                net.forward(start=start, end=end)
            keep(net, f"{index}: {number} {step}", "data")
    return found
