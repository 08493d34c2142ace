"""What the page of one run says: the numbers of `menndl status` and `menndl best`, and the columns behind its plots."""
from __future__ import annotations

import re
from collections import Counter, defaultdict
from typing import Any, Dict, List, NamedTuple, Optional, Tuple

from menndl_caffe.experiment.recorded import Run
from menndl_caffe.objective import LOSS, Objective, costs, hypervolume
from menndl_caffe.report.best import UNCONFIRMED, best_dict, cell, shown
from menndl_caffe.report.confirmation import Confirmation, confirmation
from menndl_caffe.report.idle import idle_text, ranks_time
from menndl_caffe.report.importance import importance
from menndl_caffe.report.nets import Nets
from menndl_caffe.report.page import convergence, decays, descents, test_set
from menndl_caffe.report.page.columns import MEASURED, columns
from menndl_caffe.report.page.document import lasting
from menndl_caffe.report.page.facts import facts, render_command
from menndl_caffe.report.page.files import kept_files, rendered_files
from menndl_caffe.report.rungs import stopped_text
from menndl_caffe.report.slowness import slowness
from menndl_caffe.report.status import status_dict
from menndl_caffe.report.summary import fitness
from menndl_caffe.report.table_3 import costs_of, table_3
from menndl_caffe.report.verdict import interval_text, remarks
from menndl_caffe.text import printable
from menndl_caffe.trial import BESIDE, DEFAULT, TEST, YARDSTICK

NAMES = {DEFAULT: "default", TEST: "best on the test set", YARDSTICK: "yardstick on the test set"}
REASONS = 25  # different reasons that are listed, the most frequent first


def content(run: Run, now: float) -> Tuple[Dict[str, Any], Dict[str, Any]]:
    """The template's context and the script's data."""
    status, best, nets = status_dict(run, now), best_dict(run), Nets(run)
    of_best, difference, confirmed = costed(best, run, nets), best["difference"], confirmation(run)
    data, shares = columns(run), importance(run)
    of_descents, descents_drawn = descents.section(run)
    of_decays, decays_drawn = decays.section(run, nets)
    first = [row["id"] for row in best["best"]] + list(run.record.trials)[:1]
    data.update(kind="run", folder=printable(str(run.folder), lines=True),
                render=printable(render_command(run), lines=True), files=kept_files(run, first),
                rendered=rendered_files(nets, run), **convergence.section(run),
                shares={gene.gene: gene.share for gene in shares}, **descents_drawn, **decays_drawn)
    context = {
        "name": run.name, "now": now, "status": status, "tiles": tiles(run, status, best),
        "costed": of_best, **of_best, "stage": run.stages.name, "plural": run.stages.plural,
        "genes": len(run.space.genes), "measure": run.fitness.measure,
        "curve_measure": run.curve_measure,
        "difference": difference and run.fitness.signed(difference[run.fitness.measure]),
        "unconfirmed": UNCONFIRMED if run.fitness.is_tested else "",
        "confirmed": [text for _, text in remarks(confirmed)] if confirmed else [],
        **of_descents, **of_decays, "test_set": test_set.section(run, best), "objectives": run.objectives,
        "dominated": dominated(run), "slowness": slowness(run),
        "importance": sorted(shares, key=lambda gene: -gene.share),
        "failures": failures(run), "facts": facts(run, status), "search": run.line["search"],
        "evaluated": bool(run.record.results), "passes": most_passes(data["curves"]),
        "stopped": stopped_text(status["stopped"]) if "stopped" in status else "",
        "succeeded": any(result.finished for _, result in run.record.individuals()),
        "busy": rank_shares(run, status["busy_seconds"]),
    }
    return context, data


def costed(best: Dict[str, Any], run: Run, nets: Nets) -> Dict[str, Any]:
    """The best, what was measured of their nets, by id, Table 3; and of the table of these individuals the columns
    `shown`, with the cells in them by id."""
    of_nets = costs_of(best, run, nets)
    measured = [objective for objective in shown(run, Objective(LOSS)) if objective.measure not in MEASURED]
    beside = [(role, best.get(role)) for role in BESIDE]
    rows = [row for row in (*best["best"], *(row for _, row in beside)) if row]
    return {"best": best, "beside": [(NAMES[role], row) for role, row in beside if row],
            "costs": of_nets, "table_3": table_3(run, best, of_nets),
            "shown": [objective.measure for objective in measured],
            "cells": {row["id"]: [objective.text(cell(row, objective)) for objective in measured] for row in rows}}


def most_passes(curves: Dict[str, Any]) -> int:
    """Test passes of the longest learning curve; 0 where there is none. Of one pass there is no curve to draw."""
    return max(map(len, curves["value"]), default=0)


def dominated(run: Run) -> Optional[float]:
    """How much of what lies between the worst and the best of two objectives the front dominates: see hypervolume."""
    known = [one for one in (costs(run.objectives, result) for _, result in run.record.individuals()) if one]
    return hypervolume(known) if known and len(run.objectives) == 2 else None


class Tile(NamedTuple):
    """A number at the head of the page."""

    name: str
    number: str
    remark: str


def tiles(run: Run, status: Dict[str, Any], best: Dict[str, Any]) -> List[Tile]:
    """The numbers that one looks for first."""
    found, failed = status["best"], status["failed"]
    generation = f", generation {found['generation']}" if found and found["generation"] else ""
    row = [Tile("best", _fitness(run, found), f"individual {found['id']}{generation}" if found else "none yet"),
           Tile("default", _fitness(run, status["default"]),
                _without_fitness(status["default"]) or _difference(run, best))]
    if best["fitness_set"] == "validation":
        row.append(Tile(NAMES[TEST], _fitness(run, best[TEST]),
                        _without_fitness(best[TEST]) or "unbiased by the search"))
    if YARDSTICK in best:
        row.append(Tile(NAMES[YARDSTICK], _fitness(run, best[YARDSTICK]),
                        _without_fitness(best[YARDSTICK]) or "the default, trained on all images"))
    found = confirmation(run)
    if found is not None:
        row.append(_from_new_seeds(found))
    kinds = ", ".join(f"{count:,} {kind}" for kind, count in sorted(failed.items()))
    return row + [Tile("individuals", f"{status['done']:,}", f"{status['reused']:,} of them met before"),
                  Tile("failed", f"{sum(failed.values()):,}", kinds or "none"), *_stopped(status),
                  Tile("time", lasting(status["busy_seconds"]), _speed(status))]


def _stopped(status: Dict[str, Any]) -> List[Tile]:
    """How many were stopped early, and what that spared; nothing in a search without rungs."""
    if "stopped" not in status:
        return []
    share = status["stopped"]["share"]
    trained = "" if share is None else f"{100 * share:.0f}% of all iterations trained"
    return [Tile("stopped early", f"{status['stopped']['count']:,}", trained)]


def _fitness(run: Run, row: Optional[Dict[str, Any]]) -> str:
    return run.fitness.text(fitness(row)) if row else ""


def _without_fitness(row: Optional[Dict[str, Any]]) -> str:
    """Why a row has none; nothing where it has one."""
    return "no result yet" if row is None else row["status"] if fitness(row) is None else ""


def _difference(run: Run, best: Dict[str, Any]) -> str:
    difference = best["difference"]
    if difference is None:
        return ""
    each = ", one training each" if run.fitness.is_tested else ""
    return f"best is {run.fitness.signed(difference[run.fitness.measure])}{each}"


def _from_new_seeds(found: Confirmation) -> Tile:
    """The difference, its interval and how many seeds stand behind it."""
    held = "no verdict yet" if found.holds is None else "holds" if found.holds else "does not hold"
    number = found.objective.signed(found.difference.value) if found.difference else ""
    return Tile("best from new seeds", number, f"{held}, {interval_text(found)}" if found.difference else held)


def _speed(status: Dict[str, Any]) -> str:
    if status["seconds_left"] and not status["complete"]:
        return f"about {lasting(status['seconds_left'])} to go"
    return f"{status['trials_per_hour']:,.0f} trainings an hour" if status["trials_per_hour"] else "no training yet"


def failures(run: Run) -> List[Dict[str, Any]]:
    """Failed individuals by status and reason, the most frequent first; reasons that differ in their numbers alone
    count as one. `id` is the first of them."""
    counts: Counter[Tuple[str, str]] = Counter()
    example: Dict[Tuple[str, str], Tuple[int, str]] = {}
    for trial, result in run.record.individuals():
        if result.failed:
            kind = (result.status, re.sub(r"\d+", "0", result.reason))
            counts[kind] += 1
            example.setdefault(kind, (trial.id, result.reason))
    rows: List[Dict[str, Any]] = [
        {"status": kind[0], "count": count, "id": example[kind][0], "reason": example[kind][1]}
        for kind, count in counts.most_common(REASONS)]
    left = sum(counts.values()) - sum(row["count"] for row in rows)
    return rows + ([{"status": "", "count": left, "id": None, "reason": "other reasons"}] if left else [])


def rank_shares(run: Run, busy: float) -> Dict[str, Any]:
    """How many ranks trained, and their shares of the run's busy time: mean, lowest and highest; {} before a result."""
    seconds: Dict[int, float] = defaultdict(float)
    for result in run.record.results.values():
        seconds[result.rank] += result.seconds if result.same_as is None else 0.0
    trained = sorted(value for value in seconds.values() if value)
    if not trained or not busy:
        return {}
    return {"ranks": len(trained), "mean": sum(trained) / len(trained) / busy,
            "least": trained[0] / busy, "most": trained[-1] / busy, "idle": idle_text(ranks_time(run.record))}
