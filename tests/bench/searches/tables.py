"""Markdown of races: regrets, ranks, duels with GUIDED_GA, costs. Losses stay in.

| symbol | here | meaning |
|---|---|---|
| regret | `regret_at` | of the genome with the lowest cost so far; infinite where all failed |
| place | `places` | among the methods of one instance: 0 the best, 1 the last, shared by ties |
| p | `sign_test` | of the sign test, two-sided, ties left out: how likely so unequal a duel is among equals |
"""
from __future__ import annotations

import math
from collections import defaultdict
from typing import Any, Dict, Iterable, List, Sequence, Tuple

import numpy as np

from tests.bench import pages
from tests.bench.searches.problems import PROBLEMS

CHECKPOINTS = (25, 50, 100, 200)
CHAMPION = "GUIDED_GA"
UTILIZATION = 1000  # races of such a budget and more are about busy slots

Line = Dict[str, Any]
Case = Tuple[str, int]  # problem, instance


def regret_at(line: Line, n: int) -> float:
    """After n trainings, or in the end where the search ended earlier."""
    regrets = line["regrets"][:n]
    return math.inf if not regrets or regrets[-1] is None else regrets[-1]


def sign_test(wins: int, losses: int) -> float:
    """p."""
    n, least = wins + losses, min(wins, losses)
    return min(1.0, 2 * sum(math.comb(n, k) for k in range(least + 1)) / 2 ** n)


def places(regrets: Sequence[float]) -> List[float]:
    """In [0, 1], of each of two or more."""
    return [(sum(other < regret for other in regrets) + sum(other == regret for other in regrets) / 2 - 0.5)
            / (len(regrets) - 1) for regret in regrets]


def markdown(lines: Iterable[Line]) -> str:
    """All tables, mode by mode."""
    lines = [line for line in lines if "error" not in line]
    modes: Dict[Tuple[int, str, int], List[Line]] = defaultdict(list)
    for line in lines:
        modes[line["slots"], line["clock"], line["budget"]].append(line)
    parts = []
    for (slots, clock, budget), of_mode in sorted(modes.items()):
        if budget < UTILIZATION:
            parts += [f"### {slots} at a time, {budget} trainings, {clock} durations", *_mode(of_mode)]
    busy = [line for key, of_mode in modes.items() if key[2] >= UTILIZATION for line in of_mode]
    versions = sorted({line["version"] for line in lines})
    if busy:
        parts += ["### Busy slots", _busy(busy)]
    return "\n\n".join([*parts, f"Versions: {', '.join(versions)}."])


def _mode(lines: List[Line]) -> List[str]:
    problems = [problem for problem in PROBLEMS if any(line["problem"] == problem for line in lines)]
    budget = lines[0]["budget"]
    at = [*(n for n in CHECKPOINTS if n < budget), budget]
    return ["Regret after so many trainings, median [quartiles]:",
            *(f"**{problem}**\n\n{_regrets([line for line in lines if line['problem'] == problem], at)}"
              for problem in problems),
            f"All problems; duels are {CHAMPION}'s wins-ties-losses by instance, p of the sign test:",
            _summary(lines, at)]


def _by_method(lines: Iterable[Line]) -> Dict[str, Dict[Case, Line]]:
    methods: Dict[str, Dict[Case, Line]] = defaultdict(dict)
    for line in lines:
        methods[line["method"]][line["problem"], line["instance"]] = line
    return methods


def _regrets(lines: List[Line], at: List[int]) -> str:
    rows = [(np.median([regret_at(line, at[-1]) for line in cases.values()]),
             [f"`{method}`", *(_quartiles([regret_at(line, n) for line in cases.values()]) for n in at),
              str(len(cases))]) for method, cases in _by_method(lines).items()]
    return pages.markdown(["method", *map(str, at), "n"], [row for _, row in sorted(rows, key=lambda row: row[0])])


def _quartiles(regrets: List[float]) -> str:
    low, high = np.quantile(regrets, (0.25, 0.75), method="inverted_cdf")  # a regret may be infinite
    middle = np.median(regrets)
    return f"{_number(middle)} [{_number(low)}, {_number(high)}]"


def _number(x: float) -> str:
    return "failed" if math.isinf(x) else f"{x:.2f}"


def _summary(lines: List[Line], at: List[int]) -> str:
    methods = _by_method(lines)
    place = {n: _mean_places(methods, n) for n in at}
    rows = []
    for method in sorted(methods, key=lambda method: place[at[-1]].get(method, 1.0)):
        of_it = list(methods[method].values())
        asked, trained = sum(line["asked"] for line in of_it), sum(len(line["regrets"]) for line in of_it)
        rows.append([f"`{method}`", " / ".join(f"{place[n].get(method, math.nan):.2f}" for n in at),
                     *(_duel(methods, method, n) for n in at), f"{sum(line['cpu'] for line in of_it) / asked:.4f}",
                     f"{100 * sum(line['repeats'] for line in of_it) / asked:.0f}%",
                     f"{100 * sum(line['lost'] for line in of_it) / trained:.1f}%", str(len(of_it))])
    return pages.markdown(["method", "mean place", *(f"duel at {n}" for n in at), "CPU s a proposal", "repeats", "lost",
                           "n"], rows)


def _mean_places(methods: Dict[str, Dict[Case, Line]], n: int) -> Dict[str, float]:
    found: Dict[str, List[float]] = defaultdict(list)
    for case in sorted({case for cases in methods.values() for case in cases}):
        there = [method for method in methods if case in methods[method]]
        if len(there) > 1:
            for method, place in zip(there, places([regret_at(methods[method][case], n) for method in there])):
                found[method].append(place)
    return {method: float(np.mean(of_it)) for method, of_it in found.items()}


def _duel(methods: Dict[str, Dict[Case, Line]], method: str, n: int) -> str:
    champion, other = methods.get(CHAMPION, {}), methods[method]
    pairs = [(regret_at(champion[case], n), regret_at(other[case], n)) for case in champion if case in other]
    if method == CHAMPION or not pairs:
        return "-"
    wins, losses = sum(a < b for a, b in pairs), sum(a > b for a, b in pairs)
    return f"{wins}-{len(pairs) - wins - losses}-{losses}, p {sign_test(wins, losses):.2g}"


def _busy(lines: List[Line]) -> str:
    """Median (lowest to highest) of each number of slots."""
    shares: Dict[Tuple[str, int], List[float]] = defaultdict(list)
    for line in lines:
        shares[line["method"], line["slots"]].append(100 * line["utilization"])
    slots = sorted({number for _, number in shares})

    def cell(method: str, number: int) -> str:
        of_it = shares.get((method, number))
        return f"{np.median(of_it):.1f}% ({min(of_it):.1f} to {max(of_it):.1f}, n = {len(of_it)})" if of_it else "-"

    return pages.markdown(["method", *(f"{number} slots" for number in slots)],
                          [[f"`{method}`", *(cell(method, number) for number in slots)]
                           for method in dict.fromkeys(method for method, _ in shares)])
