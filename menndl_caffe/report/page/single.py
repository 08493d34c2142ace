"""What the page of one run says: the numbers of `menndl status` and `menndl best`, and the columns behind its plots."""
from __future__ import annotations

import re
import shlex
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any, Dict, List, NamedTuple, Optional, Tuple

from menndl_caffe.journal import Record
from menndl_caffe.progress import duration
from menndl_caffe.report.best import best_dict
from menndl_caffe.report.importance import importance
from menndl_caffe.report.page.columns import columns, printable
from menndl_caffe.report.page.files import kept_files
from menndl_caffe.report.status import status_dict
from menndl_caffe.report.summary import searched
from menndl_caffe.tables import fixed
from menndl_caffe.trial import OK

BEST = 5  # individuals in Table 3
REASONS = 25  # different reasons that are listed, the most frequent first


def content(folder: Path, record: Record, now: float) -> Tuple[Dict[str, Any], Dict[str, Any]]:
    """The template's context and the script's data; UserError where the run has not begun."""
    message, space = searched(record)
    status, best = status_dict(record, now), best_dict(record, BEST)
    data = columns(record, space)
    first = [row["id"] for row in best["best"]] + list(record.trials)[:1]
    data.update(kind="run", images=best["fitness_set"], folder=printable(str(folder)),
                render=printable(render_command(record.run)), files=kept_files(folder, record, first))
    context = {
        "name": folder.resolve().name, "now": now, "status": status, "best": best, "tiles": tiles(status, best),
        "importance": sorted(importance(record, space), key=lambda gene: -gene.share),
        "failures": failures(record), "facts": facts(record.run, status), "search": record.run["search"],
        "evaluated": bool(record.results), "curves": bool(data["curves"]["grid"]),
        "busy": rank_shares(record, status["busy_seconds"]),
    }
    return context, data


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


def failures(record: Record) -> List[Dict[str, Any]]:
    """Failed individuals by status and reason, the most frequent first; reasons that differ in their numbers alone
    count as one. `id` is the first of them."""
    counts: Counter[Tuple[str, str]] = Counter()
    example: Dict[Tuple[str, str], Tuple[int, str]] = {}
    for trial, result in record.individuals():
        if result.status != OK:
            kind = (result.status, re.sub(r"\d+", "0", result.reason))
            counts[kind] += 1
            example.setdefault(kind, (trial.id, result.reason))
    rows: List[Dict[str, Any]] = [
        {"status": kind[0], "count": count, "id": example[kind][0], "reason": example[kind][1]}
        for kind, count in counts.most_common(REASONS)]
    left = sum(counts.values()) - sum(row["count"] for row in rows)
    return rows + ([{"status": "", "count": left, "id": None, "reason": "other reasons"}] if left else [])


def rank_shares(record: Record, busy: float) -> Dict[str, Any]:
    """How many ranks trained, and their shares of the run's busy time: mean, lowest and highest; {} before a result."""
    seconds: Dict[int, float] = defaultdict(float)
    for result in record.results.values():
        seconds[result.rank] += result.seconds if result.same_as is None else 0.0
    trained = sorted(value for value in seconds.values() if value)
    if not trained or not busy:
        return {}
    return {"ranks": len(trained), "mean": sum(trained) / len(trained) / busy,
            "least": trained[0] / busy, "most": trained[-1] / busy}


def render_command(run: Dict[str, Any]) -> str:
    """The command that writes an individual's two files, up to its genes."""
    try:
        words = shlex.split(str(run.get("command", "")))
    except ValueError:
        words = []
    after = words[words.index("run") + 1:] if "run" in words else []
    search = next((word for word in after if not word.startswith("-")), "SEARCH")
    return f"menndl render {shlex.quote(search)} --seed {run.get('seed', 1)}"


def facts(run: Dict[str, Any], status: Dict[str, Any]) -> List[Tuple[str, str]]:
    """What was run on what, a line each: name and text; what the journal does not say is left out."""
    search, hashes, versions = status["search"], run.get("templates"), run.get("versions")
    settings = ", ".join(f"{name} {value}" for name, value in search["settings"].items())
    engine = f"{run['engine']} ({run.get('engine_found') or 'where it was found is not recorded'})"
    known = [
        ("command", run.get("command")), ("search", f"{search['type']}: {settings}"),
        ("random seed", run.get("seed")), ("iterations", f"{search['max_iter']:,} a training"),
        ("net template", _hashed(search["net"], hashes, "net")),
        ("solver template", _hashed(search["solver"], hashes, "solver")),
        ("data", run.get("data")), ("data folder", run.get("data_folder")),
        ("fitness", f"accuracy on the {search['fitness_set']} set"),
        ("images it is measured on", run.get("test_images")),
        ("engine", engine), ("math", run.get("math")), ("threads of a trainer", run.get("threads")),
        ("versions", _listed({"menndl": run.get("menndl"), **(versions if isinstance(versions, dict) else {})})),
        ("ranks", run.get("ranks")), ("host of the master", run.get("host")), ("platform", run.get("platform")),
    ]
    return [(name, str(text)) for name, text in known if text]


def _hashed(name: str, hashes: Any, kind: str) -> str:
    known = hashes.get(kind) if isinstance(hashes, dict) else None
    return f"{name}, SHA-256 {known}" if known else name


def _listed(named: Dict[str, Any]) -> str:
    return ", ".join(f"{name} {text}" for name, text in named.items() if text is not None)
