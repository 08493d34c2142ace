"""Runs a fuzzer in a process of its own: with 1 GB of memory beyond what its modules take, and so much processor time
for each case.

A fuzzer is a module of this folder with `one(chance, folder)`: a case that is drawn from `chance`, which may write into
`folder`, and raises nothing where only documented errors came.
"""
from __future__ import annotations

import faulthandler
import importlib
import os
import random
import resource
import signal
import subprocess
import sys
import tempfile
import traceback
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[2]
MEMORY = 1 << 30
SECONDS = 30  # of processor time; no case takes one


def run(fuzzer: str, seeds: range) -> None:
    """AssertionError with seed and traceback of each case that ends otherwise than it may, or of the one in which the
    process died."""
    done = subprocess.run([sys.executable, "-m", __name__, fuzzer, str(seeds.start), str(seeds.stop)], cwd=REPOSITORY,
                          env={**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1",
                               "GLOG_minloglevel": "2", "PYTHONPATH": str(REPOSITORY)}, capture_output=True, text=True)
    assert done.returncode == 0, f"{fuzzer}: exit code {done.returncode}, last seed {done.stdout[-20:]}\n{done.stderr}"


def _hangs(*_: Any) -> None:
    raise TimeoutError("it takes for ever")


def main(fuzzer: str, first: int, last: int) -> int:
    """The number of cases that ended otherwise than they may."""
    one = importlib.import_module(f"tests.fuzz.{fuzzer}").one
    faulthandler.enable()
    signal.signal(signal.SIGPROF, _hangs)
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + MEMORY,) * 2)
    wrong = 0
    for seed in range(first, last):
        print(seed, flush=True)
        signal.setitimer(signal.ITIMER_PROF, SECONDS)
        with tempfile.TemporaryDirectory() as folder:
            try:
                one(random.Random(f"{fuzzer} {seed}"), Path(folder))
            except Exception:
                wrong += 1
                print(f"{fuzzer}, seed {seed}: {traceback.format_exc(-6)}", file=sys.stderr)
        signal.setitimer(signal.ITIMER_PROF, 0)
    return min(wrong, 1)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
