"""Passes of one net, timed: runs in an engine's own Python, beside the other engine's.

    python -m tests.bench.passer ENGINE_MODULE NET

Answers each line on standard input, a number of seconds, with one JSON object: the CPU milliseconds of single passes,
forward and backward in phase TRAIN, for so long, those of each layer, and the process's memory in MB.
"""
from __future__ import annotations

import importlib
import json
import sys
import time
from typing import Any, Dict, List

import numpy as np

from tests.bench.stepper import memory

WARM_UP = 2  # passes that do not count
SEED = 1


def passes(net: Any, seconds: float) -> List[float]:
    """CPU milliseconds of each pass; at least one."""
    times: List[float] = []
    end = time.perf_counter() + seconds
    while not times or time.perf_counter() < end:
        start = time.process_time()
        net._forward(0, len(net.layers) - 1)
        net._backward(len(net.layers) - 1, 0)
        times.append(1e3 * (time.process_time() - start))
    return times


def layer_times(net: Any) -> Dict[str, List[float]]:
    """CPU milliseconds of each layer, forward and backward, each run by itself."""
    times = {}
    for run, order in ((net._forward, range(len(net.layers))), (net._backward, reversed(range(len(net.layers))))):
        for layer in order:
            start = time.process_time()
            run(layer, layer)
            times.setdefault(net._layer_names[layer], []).append(1e3 * (time.process_time() - start))
    return times


def main() -> None:
    """Answer until the input ends."""
    module, path = sys.argv[1:3]
    caffe = importlib.import_module(module)
    caffe.set_mode_cpu()
    caffe.set_random_seed(SEED)
    net, random = caffe.Net(path, caffe.TRAIN), np.random.RandomState(SEED)
    for blob in (net.blobs[name] for name in net.inputs):
        if len(blob.shape) > 1:  # images; labels stay 0
            blob.data[...] = random.uniform(0, 1, blob.data.shape)
    for _ in range(WARM_UP):
        passes(net, 0)
    for line in sys.stdin:
        answer: Dict[str, Any] = {"passes": passes(net, float(line)), "layers": layer_times(net), **memory()}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
