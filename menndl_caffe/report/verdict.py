"""Whether a run's best individual holds against new seeds, in words, in a table and as plain data."""
from __future__ import annotations

import textwrap
from typing import Any, Dict, Iterator, List, Mapping, Optional, Sequence, Tuple

from menndl_caffe.experiment.recorded import Run
from menndl_caffe.report.confirmation import Confirmation, Repeated
from menndl_caffe.report.confirmed import LEVEL, Interval
from menndl_caffe.text import aligned, as_csv, fixed
from menndl_caffe.trial import DEFAULT, TEST

WIDTH = 118  # of lines
COLUMNS = ("the intervals are Student's of a mean and Welch's of a difference to the default; `no better` is the "
           "chance that it is no better than the default, `expected` the mean after shrinkage (docs/fidelity.md)")


def verdict(found: Confirmation) -> str:
    """`holds: 0.3460 against 0.2990, +0.0470 (95%: +0.0310 to +0.0630), 5 seeds each`, and what is to be known beside.
    """
    best, default, difference = found.best[0], found.default, found.difference
    if difference is None or best.mean is None or default.mean is None:
        return "no verdict yet: two results of the best and two of the default are needed" + _failures(found)
    text, (low, high) = found.objective.text, found.gains(difference)
    numbers = f"{text(best.mean.mean)} against {text(default.mean.mean)}, {signed_text(found)}, {_seeds(found)}"
    chance = "" if low > 0 else ": the best is worse than the default" if high < 0 else \
        ": the difference may be chance"
    held = "holds" if found.holds else "holds only where it trains" if low > 0 else "does not hold"
    return f"{held}: {numbers}{chance}{_failures(found)}"


def signed_text(found: Confirmation) -> str:
    """`+0.0470 (95%: +0.0310 to +0.0630)`; nothing before that can be said."""
    difference = found.difference
    if difference is None:
        return ""
    return f"{found.objective.signed(difference.value)} (95%: {_interval(found.objective.signed, difference.interval)})"


def interval_text(found: Confirmation) -> str:
    """`95%: +0.0310 to +0.0630, 5 seeds each`, once that can be said."""
    difference = found.difference
    return f"95%: {_interval(found.objective.signed, difference.interval)}, {_seeds(found)}" if difference else ""


def _seeds(found: Confirmation) -> str:
    best, default = len(found.best[0].values), len(found.default.values)
    budget = f" of {found.iterations:,} iterations" if found.iterations > found.max_iter else ""
    images = " on the test set" if found.fitness_set != TEST else ""
    return (f"{best} seeds each" if best == default else f"{best} and {default} seeds") + budget + images


def _failures(found: Confirmation) -> str:
    said = [f"{sum(one.failed.values())} of {one.trainings} trainings of the {name} failed ({_kinds(one.failed)})"
            for name, one in (("best", found.best[0]), ("default", found.default)) if one.failed]
    return "".join(f"; {text} and {'is' if text.startswith('1 ') else 'are'} left out" for text in said)


def _kinds(failed: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {status}" for status, count in sorted(failed.items()))


def luck(found: Confirmation) -> str:
    """What the search reported, and why new seeds give something else."""
    best, default = found.best[0], found.default
    if best.reported is None or default.reported is None or found.difference is None:
        return ""
    signed = found.objective.signed
    images = f" on the {found.fitness_set} set" if found.fitness_set != TEST else ""
    return (f"the search reported {signed(best.reported - default.reported)}{images} from one training each, and "
            "picked the best of many: that favours the lucky; new seeds do not, and give "
            f"{signed(found.difference.value)}")


def chance_text(found: Confirmation) -> str:
    """`the chance that the best is no better than the default is 0.3%`; nothing before that can be said."""
    if found.difference is None:
        return ""
    chance = found.difference.chance(found.objective.minimize)
    return f"the chance that the best is no better than the default is {_percent(chance)}"


def _percent(share: float) -> str:
    return "below 0.1%" if share < 0.001 else "above 99.9%" if share > 0.999 else f"{100 * share:.1f}%"


def remarks(found: Confirmation) -> List[Tuple[str, str]]:
    """Names and sentences: the verdict first, then what it rests on."""
    said = [("confirmed", verdict(found)), ("", chance_text(found)), ("", luck(found)), ("", _after_shrinkage(found))]
    unfinished = sum(one.unfinished for one in (*found.best, found.default))
    if unfinished:
        said.append(("", f"{unfinished} of these trainings {'has' if unfinished == 1 else 'have'} no result yet"))
    if found.newer is not None:
        said.append(("", f"individual {found.newer} is the best now and is not among them: `menndl confirm` adds it"))
    return [(name, text) for name, text in said if text]


def paragraphs(said: Sequence[Tuple[str, str]]) -> str:
    """`remarks` as lines, a name before them where there is one."""
    return "\n".join(textwrap.fill(f"{text}.", WIDTH, initial_indent=f"{name + ':' if name else '':<12}",
                                   subsequent_indent=" " * 12, break_on_hyphens=False, break_long_words=False)
                     for name, text in said)


def _after_shrinkage(found: Confirmation) -> str:
    id = found.expected_best
    if id is None or len(found.best) < 2:
        return ""
    return (f"shrunk towards the mean of the {len(found.best)}, for the same reason, individual {id} is the best of "
            f"them: {found.objective.text(found.expected()[id])} is to be expected of it")


def confirmation_text(run: Run, found: Confirmation) -> str:
    """The table of `menndl confirm`, and what it says."""
    objective = found.objective
    head = (f"{'Best ' + str(len(found.best)) if len(found.best) > 1 else 'The best'} and the default trained again "
            f"from new seeds: {found.iterations:,} iterations each, engine {run.engine}, {objective.label(TEST)}.")
    rows = [["", "id", "search", "seeds", "failed", "mean", "95% interval", "difference", "95% interval",
             "no better", "expected"]]
    expected = found.expected()
    for place, one in [*((str(place), one) for place, one in enumerate(found.best, 1)), (DEFAULT, found.default)]:
        mean, difference = one.mean, found.above(one) if place != DEFAULT else None
        of_mean = (objective.text(mean.mean), _interval(objective.text, mean.interval)) if mean else ("-", "-")
        above = (objective.signed(difference.value), _interval(objective.signed, difference.interval),
                 _percent(difference.chance(objective.minimize))) if difference else ("-", "-", "-")
        rows.append([place, str(one.id), objective.text(one.reported) or "-", str(len(one.values)),
                     str(sum(one.failed.values())), *of_mean, *above, objective.text(expected.get(one.id)) or "-"])
    return "\n\n".join([head, aligned(rows), paragraphs([*remarks(found), ("columns", COLUMNS)])])


def _interval(form: Any, interval: Optional[Interval]) -> str:
    return "{} to {}".format(*map(form, interval)) if interval else "-"


def confirmation_dict(found: Confirmation) -> Dict[str, Any]:
    """As plain data; what cannot be said yet is None."""
    expected = found.expected()
    return {"measure": found.objective.measure, "fitness_set": TEST, "iterations": found.iterations,
            "level": LEVEL, "default": _described(found.default),
            "best": [{**_described(one), "difference": _difference(found, one), "expected": expected.get(one.id)}
                     for one in found.best],
            "expected_best": found.expected_best, "holds": found.holds, "verdict": verdict(found)}


def _described(one: Repeated) -> Dict[str, Any]:
    mean = one.mean
    return {"id": one.id, "genes": one.genome.as_dict(), "search": one.reported, "values": list(one.values),
            "failed": dict(one.failed), "unfinished": one.unfinished, "mean": mean and mean.mean,
            "interval": list(mean.interval) if mean and mean.interval else None}


def _difference(found: Confirmation, one: Repeated) -> Optional[Dict[str, Any]]:
    difference = found.above(one)
    if difference is None:
        return None
    return {"value": difference.value, "interval": list(difference.interval),
            "chance_no_better": difference.chance(found.objective.minimize)}


def confirmed_csv(found: Confirmation) -> str:
    """The table of `menndl confirm` for programs: of the best, the search's first, and of the default."""
    digits, expected = found.objective.digits, found.expected()

    def rows() -> Iterator[List[Any]]:
        for place, one in [*enumerate(found.best, 1), (DEFAULT, found.default)]:
            difference = found.above(one) if place != DEFAULT else None
            yield [place, one.id, *one.genome.values, digits(one.reported), len(one.values), sum(one.failed.values()),
                   *map(digits, [one.mean and one.mean.mean, *(one.mean and one.mean.interval or (None, None)),
                                 *((difference.value, *difference.interval) if difference else (None,) * 3)]),
                   difference and fixed(difference.chance(found.objective.minimize), 6), digits(expected.get(one.id))]

    return as_csv(["place", "id", *found.default.genome.names, "search", "seeds", "failed", "mean", "mean_low",
                   "mean_high", "difference", "difference_low", "difference_high", "chance_no_better", "expected"],
                  rows())
