"""What simulations say: a table for people, JSON, CSV."""
from __future__ import annotations

from typing import Any, Dict, Iterator, List, Optional, Sequence

from menndl_caffe.report.idle import REASONS
from menndl_caffe.simulate.landscape import Landscape
from menndl_caffe.simulate.simulation import HOUR, Circumstances, Outcome, Setup
from menndl_caffe.text import aligned, as_csv, duration

IDLE = {"generation": "generation's end", "no_trial": "no trial", "master": "master", "lost": "lost", "dead": "dead"}


def row(outcome: Outcome, setup: Setup, accuracy: Optional[float]) -> Dict[str, Any]:
    """One simulation as plain data: times in hours, shares of the ranks' time in [0, 1]."""
    objective = setup.experiment.objectives[0]
    found: Dict[str, Any] = {}
    if setup.landscape.is_known:
        when, best = outcome.best[-1] if outcome.best else (None, None)
        found = {"best": best, "hours_to_best": _hours(when)}
        if accuracy is not None:
            found[f"hours_to_{accuracy:g}"] = _hours(outcome.reached(accuracy, objective))
    return {"search": outcome.search, "type": outcome.type, "ranks": outcome.ranks, "hours": _hours(outcome.seconds),
            "individuals": outcome.individuals, "trained": outcome.trained, "failed": outcome.failed,
            "stopped_early": outcome.early, "iterations": round(outcome.iterations),
            "ranks_died": outcome.died, "individuals_an_hour": _an_hour(outcome), **found,
            "utilisation": round(outcome.utilisation, 6),
            **{f"idle_{kind}": round(outcome.share(kind), 6) for kind in REASONS}, "ended_early": outcome.stopped}


def _hours(seconds: Optional[float]) -> Optional[float]:
    return None if seconds is None else round(seconds / HOUR, 6)


def _an_hour(outcome: Outcome) -> Optional[float]:
    return round(outcome.individuals * HOUR / outcome.seconds, 3) if outcome.seconds else None


def text(rows: Sequence[Dict[str, Any]], setups: Sequence[Setup], outcomes: Sequence[Outcome], how: Circumstances
         ) -> str:
    """The table, and what it rests on."""
    kinds = [kind for kind in REASONS if any(one[f"idle_{kind}"] >= 0.00005 for one in rows)]
    times = list(dict.fromkeys(name for one in rows for name in one if name.startswith("hours_to_")))
    best = ["best"] if any("best" in one for one in rows) else []
    several, rungs = len(setups) > 1, any(setup.rungs for setup in setups)
    head = [*(["search"] if several else []), "ranks", "time", "individuals", "trained",
            *(["stopped early", "iterations"] if rungs else []), "an hour", *best,
            *(f"to {name[len('hours_to_'):]}" for name in times), "busy", *(IDLE[kind] for kind in kinds)]
    lines = [[*([one["search"]] if several else []), f"{one['ranks']:,}", _clock(one["hours"]),
              f"{one['individuals']:,}", f"{one['trained']:,}",
              *([f"{one['stopped_early']:,}", f"{one['iterations']:,}"] if rungs else []),
              f"{one['individuals_an_hour'] or 0:,.0f}",
              *(_value(one, setups) for _ in best), *(_clock(one.get(name)) for name in times),
              _percent(one["utilisation"]), *(_percent(one[f"idle_{kind}"]) for kind in kinds)] for one in rows]
    return "\n".join([aligned([head, *lines], left=(0,) if several else ()), "", *_rests_on(setups, how),
                      *_remarks(outcomes)])


def _value(one: Dict[str, Any], setups: Sequence[Setup]) -> str:
    objective = next(setup.experiment.objectives[0] for setup in setups if setup.name == one["search"])
    return objective.text(one.get("best"))


def _clock(hours: Optional[float]) -> str:
    return "-" if hours is None else duration(hours * HOUR)


def _percent(share: float) -> str:
    return f"{100 * share:.1f}%"


def _rests_on(setups: Sequence[Setup], how: Circumstances) -> Iterator[str]:
    for name, said in (("times", [setup.times.said for setup in setups]),
                       ("fitness", [setup.landscape.said for setup in setups])):
        for one in dict.fromkeys(said):
            names = [setup.name for setup, its in zip(setups, said) if its == one]
            yield f"{name:<9}{one}" + (f" ({', '.join(names)})" if len(dict.fromkeys(said)) > 1 else "")
    yield f"master   {1000 * how.master:.2g} ms a trial, one after the other" + _delay(setups)
    if how.deaths:
        yield f"deaths   {how.deaths:g} a rank and hour; a dead rank's trial begins anew on another one"


def _delay(setups: Sequence[Setup]) -> str:
    delay = max(setup.times.delay for setup in setups)
    return f"; {1000 * delay:.3g} ms until a rank begins" if delay else ""


def _remarks(outcomes: Sequence[Outcome]) -> Iterator[str]:
    for one in outcomes:
        if one.stopped:
            yield f"{one.search} on {one.ranks:,} ranks ended early: {one.stopped}"
    each = [1000 * one.cpu_seconds / max(1, one.individuals) for one in outcomes]
    yield (f"Search, loop and nets took {sum(one.cpu_seconds for one in outcomes):.1f} s of CPU time here, up to "
           f"{max(each):.2g} ms an individual; --master says what the master needs for a trial.")


def csv(rows: Sequence[Dict[str, Any]]) -> str:
    """The rows with all their columns."""
    names: List[str] = list(dict.fromkeys(name for one in rows for name in one))
    return as_csv(names, ([one.get(name) for name in names] for one in rows))


def best_csv(outcomes: Sequence[Outcome], landscapes: Sequence[Landscape]) -> str:
    """The best fitness against hours, a row for each time that it got better."""
    return as_csv(["search", "ranks", "hours", "best"],
                  ([one.search, one.ranks, _hours(when), value] for one, landscape in zip(outcomes, landscapes)
                   if landscape.is_known for when, value in one.best))


def curve(outcome: Outcome) -> List[Any]:
    """Hours and best fitness, up to the end."""
    return [(when / HOUR, value) for when, value in outcome.best] + \
        [(outcome.seconds / HOUR, outcome.best[-1][1])] * bool(outcome.best)
