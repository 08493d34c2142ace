"""Passes of one net, timed: runs in an engine's own Python, beside the other engine's.

    python -m tests.bench.passer ENGINE_MODULE NET [layers]

Answers each line on standard input, a number of seconds, with one JSON object: the CPU milliseconds of single passes,
forward and backward in phase TRAIN, for so long, and the process's memory in MB. With `layers` each layer's forward and
backward time comes last.
"""
from __future__ import annotations

import importlib
import json
import sys
import time
from typing import Any, List

import numpy as np

from tests.bench.stepper import WARM_UP, layer_times, memory

SEED = 1


def run(net: Any) -> None:
    """A pass."""
    net._forward(0, len(net.layers) - 1)
    net._backward(len(net.layers) - 1, 0)


def passes(net: Any, seconds: float) -> List[float]:
    """CPU milliseconds of each pass; at least one."""
    times: List[float] = []
    end = time.perf_counter() + seconds
    while not times or time.perf_counter() < end:
        start = time.process_time()
        run(net)
        times.append(1e3 * (time.process_time() - start))
    return times


def main() -> None:
    """Answer until the input ends."""
    module, path, *layers = sys.argv[1:]
    caffe = importlib.import_module(module)
    caffe.set_mode_cpu()
    caffe.set_random_seed(SEED)
    net, random = caffe.Net(path, caffe.TRAIN), np.random.RandomState(SEED)
    for blob in (net.blobs[name] for name in net.inputs):
        if len(blob.shape) > 1:  # images; labels stay 0
            blob.data[...] = random.uniform(0, 1, blob.data.shape)
    for _ in range(WARM_UP):
        run(net)
    for line in sys.stdin:
        print(json.dumps({"passes": passes(net, float(line)), **memory()}), flush=True)
    if layers:
        print(json.dumps(layer_times(net, lambda: run(net))), flush=True)


if __name__ == "__main__":
    main()
