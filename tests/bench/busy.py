"""How busy ranks are in real runs under mpirun whose trainings sleep, so that only waiting costs anything.

    python -m tests.bench.busy [--kinds ...] [--trials N] [--seconds S] [--runs N]

The length of a training is log-normal, sigma 0.8, drawn by its net. A rank's time is what lies between the start of its
first trial and the end of its last, and it is busy while it has a trial: both as the journal says.
"""
from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Dict, List

from menndl_caffe import journal
from tests.bench.overhead import machine
from tests.support import runs

RANKS = 2
SIGMA = 0.8
GENERATIONS = 10
KINDS = {"GA": runs.GA, **{kind: runs.LIMITED[kind] for kind in ("ASYNC_GA", "GUIDED_GA")}}


def share(run: Path) -> float:
    """Of the ranks' time in which they had a trial."""
    by_rank: Dict[int, List] = {}
    for result in journal.read(run).results.values():
        if result.same_as is None:
            by_rank.setdefault(result.rank, []).append(result)
    assert len(by_rank) == RANKS, f"{len(by_rank)} ranks have trained"
    time = [max(result.started + result.seconds for result in results) - min(result.started for result in results)
            for results in by_rank.values()]
    return sum(result.seconds for results in by_rank.values() for result in results) / sum(time)


def measure(folder: Path, data: Path, kind: str, trials: int, seconds: float, seed: int) -> float:
    """The share of one run."""
    search = runs.write_search(folder / "busy.search.prototxt", data, f"random_seed: {seed}", KINDS[kind],
                               trials=trials, population=trials // GENERATIONS, generations=GENERATIONS)
    out = folder / f"{kind}{seed}"
    code = runs.start(["run", search, "--out", out], RANKS,
                      runs.environment(FAKE_SECONDS=str(seconds), FAKE_SIGMA=str(SIGMA), OMP_NUM_THREADS="1")).wait()
    if code:
        sys.exit(f"the run of {kind} ended with code {code}")
    return 100 * share(out)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS), help="types (default: all)")
    parser.add_argument("--trials", type=int, default=120, help="of each run (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=0.5, help="mean of a training (default: %(default)s)")
    parser.add_argument("--runs", type=int, default=3, help="of each type, with seeds 1, 2, ... (default: %(default)s)")
    arguments = parser.parse_args()
    print(machine())
    with tempfile.TemporaryDirectory() as folder:
        data = runs.small_data(Path(folder) / "data")
        for kind in arguments.kinds:
            shares = sorted(measure(Path(folder), data, kind, arguments.trials, arguments.seconds, seed)
                            for seed in range(1, arguments.runs + 1))
            spread = f"{shares[0]:.1f} to {shares[-1]:.1f}, n = {len(shares)}"
            print(f"{kind:10} {statistics.median(shares):.1f}% ({spread}) of the time of {RANKS} ranks, "
                  f"{arguments.trials} trainings of {arguments.seconds:g} s", flush=True)


if __name__ == "__main__":
    main()
