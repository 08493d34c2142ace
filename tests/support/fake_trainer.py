"""A trainer of a few milliseconds for tests of all that surrounds a training: it speaks the trainer's protocol, and its
accuracy is a smooth function of the net's kernel sizes and numbers of outputs. Some nets misbehave on purpose:

    kernel1 1: aborts        kernel1 2: hangs        kernel1 3: diverges        (only where FAKE_FAILURES is set)

For the program hypergradient it says a gradient by the layers' decays that leads to a decay of 0.003, for adaptive and
hypernet that it learned a decay of 0.003, in a file of the net's checksum; retrain reads the file.

A training takes FAKE_SECONDS, and a little more for a wide net; where FAKE_SIGMA is set, a time that the net draws,
log-normal with this sigma and FAKE_SECONDS as its mean.

With FAKE_NOISE the accuracy has a normal error of this standard deviation, which the training's seed draws.

It tests every test_interval iterations and at max_iter, or where that is but once at half of max_iter too, and knows
`until`: what it says of an iteration, and how long it takes up to there, does not depend on where a training ends.

Where FAKE_HELD names a folder, each trainer is held in its second training: it leaves a file there, and goes on when
the folder has another name.
"""
from __future__ import annotations

import hashlib
import json
import math
import os
import random
import re
import signal
import sys
import time
from typing import Dict, List

LEARNED = {"groups": "PER_NET", "count": 1, "mean": 0.003, "quantiles": [0.003] * 5, "values": {"net": 0.003},
           "curve": [[1, 0.003, 0.003, 0.003]]}
SAID_OF = {"adaptive": LEARNED, "hypernet": {**LEARNED, "predicted": {"loss": 1.5, "points": [[0.001, 1.75]]}}}


def say(**message: object) -> None:
    print(json.dumps(message), flush=True)


def misbehave(number: int, kernel1: int) -> bool:
    """True where the training has been answered."""
    if kernel1 == 1:
        print("F1121 08:03:04.628316 1 fake.cpp:1] Check failed: kernel_size is not to my liking", file=sys.stderr)
        sys.stderr.flush()
        os.kill(os.getpid(), signal.SIGABRT)
    if kernel1 == 2:
        time.sleep(3600)
    if kernel1 == 3:
        say(id=number, event="diverged", reason="training loss is nan at iteration 3", engine_seconds=0.001)
    return kernel1 == 3


def tested(solver: str) -> List[int]:
    """The iterations of test passes."""
    given = {name: int(number) for name, number in re.findall(r"^(\w+): (\d+)$", solver, re.MULTILINE)}
    max_iter, interval = given["max_iter"], given.get("test_interval", 0)
    return [*(range(interval, max_iter, interval) if 0 < interval < max_iter else [max_iter // 2]), max_iter]


def duration(net: str, sizes: List[int]) -> float:
    """Seconds of a training."""
    mean, sigma = float(os.environ.get("FAKE_SECONDS", "0.02")), float(os.environ.get("FAKE_SIGMA", "0"))
    if sigma:
        return random.Random(net).lognormvariate(math.log(mean) - sigma ** 2 / 2, sigma)
    return mean * (1 + sum(sizes) / 378)


def gradient(net: str) -> Dict[str, float]:
    """By the decay of each layer's weights, the solver's being 1."""
    decays = re.findall(r'name: "(\w+)"\n  type: "InnerProduct".*?decay_mult: (\S+)', net, re.DOTALL)
    return {f"decay {layer}[0]": math.log(float(decay) / 0.003) / float(decay) for layer, decay in decays}


def noise(request: Dict[str, str]) -> float:
    """Of this standard deviation, by the training's seed."""
    deviation = float(os.environ.get("FAKE_NOISE", "0"))
    seed = re.search(r"random_seed: (\d+)", request["solver"])
    return random.Random(seed and seed.group(1)).gauss(0, deviation) if deviation else 0.0


def learn(request: Dict[str, str]) -> None:
    """Write what was learned, where it is to be kept."""
    if "learned" in request:
        with open(request["learned"], "w") as file:
            file.write(hashlib.sha256(request["net"].encode()).hexdigest())


def hold(folder: str) -> None:
    """Say that this trainer is in the middle of a training, and stay there."""
    try:
        open(os.path.join(folder, str(os.getpid())), "w").close()
    except FileNotFoundError:
        return
    while os.path.exists(folder):
        time.sleep(0.02)


def main() -> None:
    say(event="ready", engine="fake", version="0", pid=os.getpid())
    for training, line in enumerate(sys.stdin):
        request = json.loads(line)
        number = request["id"]
        kernels = [int(k) for k in re.findall(r"kernel_size: (\d+)\n    stride: 1", request["net"])]
        sizes = [int(n) for n in re.findall(r"num_output: (\d+)", request["net"])[:3]]
        tests = tested(request["solver"])
        until = request.get("until", tests[-1])
        time.sleep(duration(request["net"], sizes) * until / tests[-1])
        if training and os.environ.get("FAKE_HELD"):
            hold(os.environ["FAKE_HELD"])
        if os.environ.get("FAKE_FAILURES") and misbehave(number, kernels[0]):
            continue
        accuracy = round(0.8 - sum((k - 4) ** 2 for k in kernels) / 100 + sum(sizes) / 4000 + noise(request), 6)
        for iteration in (iteration for iteration in tests if iteration <= until):
            so_far = accuracy * (iteration / tests[-1])
            say(id=number, event="test", iteration=iteration, outputs={"accuracy": so_far, "loss": 2 - so_far})
        if request.get("program") == "hypergradient":
            say(id=number, event="gradient", of=gradient(request["net"]), how={"method": "FAKE"}, distrust="")
        if request.get("program") in SAID_OF:
            learn(request)
            say(id=number, event="learned", of=SAID_OF[request["program"]])
        if request.get("program") == "retrain":
            open(request["decays"]).close()
        say(id=number, event="done", engine_seconds=0.01)


if __name__ == "__main__":
    main()
