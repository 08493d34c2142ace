"""What the page of one run says: the numbers of `menndl status` and `menndl best`, and the columns behind its plots."""
from __future__ import annotations

import re
from collections import Counter, defaultdict
from typing import Any, Dict, List, NamedTuple, Optional, Tuple

from menndl_caffe.experiment.recorded import Run
from menndl_caffe.report.best import best_dict
from menndl_caffe.report.importance import importance
from menndl_caffe.report.nets import Nets
from menndl_caffe.report.page.columns import columns
from menndl_caffe.report.page.facts import facts, render_command
from menndl_caffe.report.page.files import kept_files, rendered_files
from menndl_caffe.report.status import status_dict
from menndl_caffe.report.table_3 import costs_of, table_3
from menndl_caffe.text import duration, fixed, printable

BEST = 5  # individuals in Table 3
REASONS = 25  # different reasons that are listed, the most frequent first


def content(run: Run, now: float) -> Tuple[Dict[str, Any], Dict[str, Any]]:
    """The template's context and the script's data."""
    status, best, nets = status_dict(run, now), best_dict(run, BEST), Nets(run)
    data = columns(run)
    first = [row["id"] for row in best["best"]] + list(run.record.trials)[:1]
    data.update(kind="run", images=run.fitness_set, folder=printable(str(run.folder), lines=True),
                render=printable(render_command(run), lines=True), files=kept_files(run, first),
                rendered=rendered_files(nets, run))
    context = {
        "name": run.name, "now": now, "status": status, "tiles": tiles(status, best),
        **costed(best, run, nets), "stage": run.stages.name,
        "importance": sorted(importance(run), key=lambda gene: -gene.share),
        "failures": failures(run), "facts": facts(run, status), "search": run.line["search"],
        "evaluated": bool(run.record.results), "curves": bool(data["curves"]["grid"]),
        "busy": rank_shares(run, status["busy_seconds"]),
    }
    return context, data


def costed(best: Dict[str, Any], run: Run, nets: Nets) -> Dict[str, Any]:
    """The best, what was measured of their nets, by id, and Table 3."""
    costs = costs_of(best, run, nets)
    return {"best": best, "costs": costs, "table_3": table_3(best, costs)}


class Tile(NamedTuple):
    """A number at the head of the page."""

    name: str
    number: str
    remark: str


def tiles(status: Dict[str, Any], best: Dict[str, Any]) -> List[Tile]:
    """The numbers that one looks for first."""
    found, failed = status["best"], status["failed"]
    generation = f", generation {found['generation']}" if found and found["generation"] else ""
    row = [Tile("best", _accuracy(found), f"individual {found['id']}{generation}" if found else "none yet"),
           Tile("default", _accuracy(status["default"]), _without_accuracy(status["default"]) or _difference(best))]
    if best["fitness_set"] == "validation":
        row.append(Tile("best on the test set", _accuracy(best["test"]),
                        _without_accuracy(best["test"]) or "unbiased by the search"))
    kinds = ", ".join(f"{count:,} {kind}" for kind, count in sorted(failed.items()))
    return row + [Tile("individuals", f"{status['done']:,}", f"{status['reused']:,} of them met before"),
                  Tile("failed", f"{sum(failed.values()):,}", kinds or "none"),
                  Tile("time", duration(status["busy_seconds"]), _speed(status))]


def _accuracy(row: Optional[Dict[str, Any]]) -> str:
    return fixed(row["accuracy"]) if row else ""


def _without_accuracy(row: Optional[Dict[str, Any]]) -> str:
    """Why a row has none; nothing where it has one."""
    return "no result yet" if row is None else row["status"] if row["accuracy"] is None else ""


def _difference(best: Dict[str, Any]) -> str:
    difference = best["difference"] or {}
    error = f" ± {fixed(difference['standard_error'])}" if difference.get("standard_error") else ""
    return f"best is {difference['accuracy']:+.4f}{error}" if difference else ""


def _speed(status: Dict[str, Any]) -> str:
    if status["seconds_left"] and not status["complete"]:
        return f"about {duration(status['seconds_left'])} to go"
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
            "least": trained[0] / busy, "most": trained[-1] / busy}
