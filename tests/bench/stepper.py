"""One solver, timed: runs in an engine's own Python, one of several at once.

    python stepper.py ENGINE_MODULE SOLVER SECONDS REPOSITORY [layers]

Says `ready`, waits for a line, then trains for so many seconds and tests for a fourth of them, and prints one JSON
object: the times of single iterations and of single test batches in ms, the process's memory, and with `layers` each
layer's forward and backward time in a training iteration.
"""
from __future__ import annotations

import importlib
import json
import sys
import time
from typing import Any, Callable, Dict, List

WARM_UP = 2


def timed(work: Callable[[], Any], seconds: float) -> List[float]:
    """Milliseconds of each call, after two that do not count; at least three calls."""
    for _ in range(WARM_UP):
        work()
    times: List[float] = []
    end = time.perf_counter() + seconds
    while len(times) < 3 or time.perf_counter() < end:
        start = time.perf_counter()
        work()
        times.append(1e3 * (time.perf_counter() - start))
    return times


def layer_times(net: Any, work: Callable[[], Any]) -> Dict[str, List[float]]:
    """Milliseconds of each layer's forward and backward in a piece of work with the net: medians of five."""
    names = list(net._layer_names)
    times: Dict[str, List[List[float]]] = {name: [[], []] for name in names}
    start = [0.0]

    def begin(layer: int) -> None:
        start[0] = time.perf_counter()

    def end(direction: int) -> Callable[[int], None]:
        return lambda layer: times[names[layer]][direction].append(1e3 * (time.perf_counter() - start[0]))

    net.before_forward(begin)
    net.before_backward(begin)
    net.after_forward(end(0))
    net.after_backward(end(1))
    for _ in range(5):
        work()
    return {name: [sorted(direction)[len(direction) // 2] for direction in both] for name, both in times.items()}


def memory() -> Dict[str, float]:
    """MB of this process: all that is mapped and resident, and what it shares with no one."""
    fields = dict(line.split(":") for line in open("/proc/self/smaps_rollup") if ":" in line and "-" not in line)
    kilobytes = {name: float(value.split()[0]) for name, value in fields.items()}
    return {"resident": kilobytes["Rss"] / 1024,
            "private": (kilobytes["Private_Clean"] + kilobytes["Private_Dirty"]) / 1024}


def main() -> None:
    """Time one solver."""
    module, path, seconds, repository = sys.argv[1:5]
    sys.path.append(repository)
    caffe = importlib.import_module(module)
    caffe.set_mode_cpu()
    solver = caffe.get_solver(path)
    tests = solver.test_nets[0]
    tests.share_with(solver.net)
    print("ready", flush=True)
    sys.stdin.readline()
    steps = timed(lambda: solver.step(1), float(seconds))
    passes = timed(tests.forward, float(seconds) / 4)
    resources = memory()
    layers = layer_times(solver.net, lambda: solver.step(1)) if sys.argv[5:] == ["layers"] else {}
    print(json.dumps({"step": steps, "test": passes, "layers": layers, **resources}), flush=True)


if __name__ == "__main__":
    main()
