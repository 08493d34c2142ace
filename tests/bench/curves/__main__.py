"""How much rules that end trainings early save, and what they lose, on whole recorded trainings.

    python -m tests.bench.curves [--journal RUN] [--out DIR] [--orders N] [--first N]

Writes curves.json and curves.png into DIR, and prints the tables. Without --journal: the curves beside this.
"""
from __future__ import annotations

import argparse
import contextlib
import json
from pathlib import Path
from typing import Any, Dict, Iterator, List, Sequence, Tuple
from unittest import mock

import numpy as np

from menndl_caffe.search import curve
from menndl_caffe.trial import STOPPED
from tests.bench.curves import calibration, recorded
from tests.bench.curves.recorded import Recorded
from tests.bench.curves.replay import order, replay

OUT = Path("runs/bench/curves")
RULES = (
    "halving { first: 80 factor: 3 }", "halving { first: 120 factor: 3 }", "halving { first: 80 factor: 2 }",
    "halving { first: 120 factor: 2 }", "halving { first: 200 factor: 2 }", "median { }",
    "median { at: 80 at: 160 at: 320 at: 640 }", "median { at: 40 at: 80 at: 160 at: 320 at: 640 }",
    "curve { probability: 0.05 }", "curve { probability: 0.1 }", "curve { }", "curve { probability: 0.3 }",
    "median { at: 80 at: 120 } curve { }", "median { at: 40 at: 80 } curve { }")
RANKS = {"all": (1, 8)}  # of the parts: one


@contextlib.contextmanager
def drawn_once() -> Iterator[None]:
    """A curve's forecast at an iteration is drawn once, for all orders and rules: it is the same but for chance."""
    known: Dict[Tuple[bytes, int], curve.Forecast] = {}
    forecast = curve.forecast

    def known_forecast(t: np.ndarray, y: np.ndarray, end: int, rng: np.random.RandomState, lowest: float) -> Any:
        key = y.tobytes(), end
        if key not in known:
            known[key] = forecast(t, y, end, rng, lowest)
        return known[key]

    with mock.patch.object(curve, "forecast", known_forecast):
        yield


def measured(curves: Sequence[Recorded], stop: str, ranks: int, orders: int) -> Dict[str, Any]:
    """Over so many orders of all these trainings. One test pass of n images has a standard error of its own: who is
    within that of the best may be as good."""
    best = max(one.fitness for one in curves)
    runs = [replay(curves, order(len(curves), seed), stop, ranks, seed) for seed in range(orders)]
    regrets = np.array([best - run.found for run in runs])
    spent = np.array([run.spent for run in runs])
    told = [abs(fitness - curves[index].fitness) for run in runs for index, (status, fitness) in run.told.items()
            if status == STOPPED]
    return {"stop": stop, "ranks": ranks, "trainings": len(curves), "orders": orders, "spent": spent.mean(),
            "spent least": spent.min(), "spent most": spent.max(), "kept": int((regrets == 0).sum()),
            "within": int((regrets <= _error(best)).sum()), "regret": regrets.mean(), "regret most": regrets.max(),
            "told off": float(np.mean(told)) if told else 0.0}


def _error(accuracy: float, images: int = 2000) -> float:
    return float(np.sqrt(accuracy * (1 - accuracy) / images))


def rows(of_all: Sequence[Dict[str, Any]]) -> List[str]:
    """As a table in a page: those of one rule side by side, as the ranks are."""
    cells: Dict[str, List[str]] = {}
    for one in of_all:
        cells.setdefault(one["stop"], []).append(
            f"{one['spent']:.3f} | {one['kept']} | {one['within']} | {one['regret']:.4f}, {one['regret most']:.4f}")
    lines = [f"| `{stop}` | {' | '.join(of_ranks)} |" for stop, of_ranks in cells.items()]
    columns = "spent | kept | within | regret, most | " * len(next(iter(cells.values())))
    return [f"| rules | {columns.strip()}", f"|{'---|' * (1 + columns.count('|'))}", *lines]


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--journal", type=Path, help="the folder of a run whose individuals all came to their ends")
    parser.add_argument("--keep", action="store_true", help="make its curves those beside this")
    parser.add_argument("--out", type=Path, default=OUT)
    parser.add_argument("--orders", type=int, default=20)
    parser.add_argument("--first", type=int, default=60, help="on so many rules were chosen; the others are held back")
    arguments = parser.parse_args()
    curves = recorded.of_journal(arguments.journal) if arguments.journal else recorded.read()
    if arguments.keep:
        recorded.write(curves)
    arguments.out.mkdir(parents=True, exist_ok=True)
    first, end = arguments.first, curves[0].curve[-1][0]
    parts = {f"first {first}": curves[:first], "others": curves[first:], "all": curves}
    found: Dict[str, Any] = {}
    for name, part in parts.items():
        with drawn_once():
            found[name] = [measured(part, stop, ranks, arguments.orders) for ranks in RANKS.get(name, (1,))
                           for stop in RULES]
        print("", f"{name}: {len(part)} trainings", "", *rows(found[name]), sep="\n", flush=True)
    forecasts = [calibration.forecasts(curves, end * k // 4) for k in (1, 2, 3)]
    found["calibration"] = [calibration.numbers(one, curves) for one in forecasts]
    for one in found["calibration"]:
        print(json.dumps(one))
    calibration.figure(forecasts, curves, arguments.out / "curves.png")
    (arguments.out / "curves.json").write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
