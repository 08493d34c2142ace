"""How far a run is: `menndl status`."""
from __future__ import annotations

import time
from collections import Counter
from typing import Any, Dict, List, Optional, Tuple

from menndl_caffe.genome import Genome
from menndl_caffe.journal import Record
from menndl_caffe.report.summary import best_trained, busy_seconds, counted, described, fitness_set, of_role, searched
from menndl_caffe.search import KINDS
from menndl_caffe.text import duration
from menndl_caffe.trial import DEFAULT, INDIVIDUAL, OK, TEST

# What the journal's first line says beside the search.
CIRCUMSTANCES = ("engine_found", "data", "data_folder", "test_images", "host", "command", "started")


def status_dict(record: Record, now: float) -> Dict[str, Any]:
    """The state of a run at the time `now` (seconds since the epoch); `_speed` says how the time left is estimated."""
    message, space = searched(record)
    best, done, total = best_trained(record), sum(1 for _ in record.individuals()), record.run["total"]
    ends = {role: of_role(record, role) for role in (DEFAULT, TEST)}
    needed = (DEFAULT, TEST) if fitness_set(message) == "validation" else (DEFAULT,)
    return {
        "search": _search(message, space.names), "engine": record.run["engine"],
        **{name: record.run.get(name) for name in CIRCUMSTANCES},
        "generation": _generation(record), "generations": record.run["generations"],
        "done": done, "total": total, "unfinished": len(record.trials) - len(record.results),
        "reused": sum(result.same_as is not None for _, result in record.individuals()),
        **_failures(record),
        "best": described(record, *best[0]) if best else None,
        **{role: described(record, *pair) if pair else None for role, pair in ends.items()},
        **_speed(record, done, total, now),
        "complete": done == total and all(ends[role] for role in needed),
    }


def _search(message: Any, genes: Tuple[str, ...]) -> Dict[str, Any]:
    kind = KINDS[message.type]
    settings = getattr(message, kind.field or "limit")
    return {"type": message.type,
            "settings": {field.name: getattr(settings, field.name) for field in settings.DESCRIPTOR.fields},
            "net": message.net, "solver": message.solver, "genes": list(genes), "max_iter": message.max_iter,
            "fitness_set": fitness_set(message), "random_seed": message.random_seed}


def _generation(record: Record) -> Optional[int]:
    """The last generation that was begun; None before the first."""
    begun = (trial.generation for trial in record.trials.values() if trial.role == INDIVIDUAL)
    return counted(max((number for number in begun if number is not None), default=None))


def _failures(record: Record) -> Dict[str, Any]:
    """Individuals without success by status, and the last trial that failed."""
    failed = Counter(result.status for _, result in record.individuals() if result.status != OK)
    last = next((id for id, result in reversed(list(record.results.items()))
                 if result.status != OK and result.same_as is None), None)
    return {"failed": dict(failed),
            "last_failure": None if last is None else described(record, record.trials[last], record.results[last])}


def _speed(record: Record, done: int, total: int, now: float) -> Dict[str, Any]:
    """Trainings an hour over the time in which at least one rank trained, and the time that the remaining individuals
    take at that speed if the same share of them as so far is new."""
    trained = [result for result in record.results.values() if result.same_as is None]
    busy, last = busy_seconds(trained), max((result.started + result.seconds for result in trained), default=None)
    new = sum(result.same_as is None for _, result in record.individuals())
    return {"trained": len(trained), "busy_seconds": round(busy, 3),
            "trials_per_hour": round(3600 * len(trained) / busy, 2) if busy else None,
            "seconds_left": round((total - done) * new / done * busy / len(trained), 1) if busy and done else None,
            "last_result_seconds_ago": None if last is None else round(now - last, 1)}


def status_text(record: Record, now: float) -> str:
    """The same for people: one fact a line."""
    status = status_dict(record, now)
    lines = _what(status) + _how_far(status) + _how_fast(status)
    return "\n".join(f"{name:<12}{text}".rstrip() for name, text in lines)


def _what(status: Dict[str, Any]) -> List[Tuple[str, str]]:
    search = status["search"]
    settings = ", ".join(f"{name} {value}" for name, value in search["settings"].items())
    images = f" ({status['test_images']:,} images)" if status["test_images"] else ""
    return [("search", f"{search['type']}: {settings}, random_seed {search['random_seed']}"),
            ("genes", " ".join(search["genes"])),
            ("templates", f"{search['net']} {search['solver']}"),
            ("budget", f"{status['total']:,} individuals of {search['max_iter']:,} iterations"),
            ("fitness", f"accuracy on the {search['fitness_set']} set{images}"),
            ("data", ": ".join(filter(None, (status["data_folder"], status["data"]))) or "not recorded"),
            ("engine", _engine(status))]


def _engine(status: Dict[str, Any]) -> str:
    found = f" ({status['engine_found']})" if status["engine_found"] else ""
    host = f" on {status['host']}" if status["host"] else ""
    started = time.strftime(", started %Y-%m-%d %H:%M", time.localtime(status["started"])) if status["started"] else ""
    return status["engine"] + found + host + started


def _how_far(status: Dict[str, Any]) -> List[Tuple[str, str]]:
    done, total, failed, last = (status[name] for name in ("done", "total", "failed", "last_failure"))
    lines = [("", ""), ("generation", f"{status['generation'] or 0} of {status['generations']}"),
             ("individuals", f"{done:,} of {total:,} ({100 * done // total}%), "
                             f"{status['reused']:,} of them met before and not trained again")]
    if status["unfinished"]:
        lines.append(("handed out", f"{status['unfinished']:,} without a result yet"))
    lines.append(("failed", f"{sum(failed.values()):,}" + _in_words(failed)))
    if last:
        lines.append(("", f"last: trial {last['id']} {last['status']}: {last['reason']}"))
    return lines + [(name, _individual(status[name])) for name in ("best", "default")] + _test(status)


def _in_words(failed: Dict[str, int]) -> str:
    return f" ({', '.join(f'{count:,} {status}' for status, count in sorted(failed.items()))})" if failed else ""


def _individual(described: Any) -> str:
    if described is None:
        return "no result yet"
    if described["status"] != OK:
        return f"{described['status']}: {described['reason']}"
    genome = Genome(tuple(described["genes"]), tuple(described["genes"].values()))
    origin = f"  (id {described['id']}, generation {described['generation']})" if described["generation"] else ""
    return f"{described['accuracy']:.4f}  {genome}{origin}"


def _test(status: Dict[str, Any]) -> List[Tuple[str, str]]:
    return [("on test set", _individual(status[TEST]))] if status["search"]["fitness_set"] == "validation" else []


def _how_fast(status: Dict[str, Any]) -> List[Tuple[str, str]]:
    lines, ago, left = [("", "")], status["last_result_seconds_ago"], status["seconds_left"]
    if status["trials_per_hour"] is not None:
        lines.append(("speed", f"{status['trials_per_hour']:,.0f} trials an hour: {status['trained']:,} in "
                               f"{duration(status['busy_seconds'])}, not counting time in which no rank trained"))
    if status["complete"]:
        return lines + [("state", "complete")]
    if ago is not None:
        lines.append(("last result", f"{duration(max(0.0, ago))} ago"))
    return lines + [("time left", "unknown" if left is None else f"about {duration(left)} at this speed"),
                    ("state", "not complete; the command that started it goes on with it")]
