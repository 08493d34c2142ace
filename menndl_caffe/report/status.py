"""How far a run is: `menndl status`."""
from __future__ import annotations

import math
import shlex
import time
from collections import Counter
from pathlib import Path
from typing import Any, Dict, List, Optional, Tuple

from menndl_caffe.experiment.recorded import Run, counted, expected, worked
from menndl_caffe.genome import Genome
from menndl_caffe.report.best import UNCONFIRMED, objectives_dict, optimized_text
from menndl_caffe.report.busy import BusyTime
from menndl_caffe.report.confirmation import confirmation, lacking
from menndl_caffe.report.descents import descents, distrusted
from menndl_caffe.report.idle import BUSY, idle_text, ranks_time, shares
from menndl_caffe.report.rungs import given_text, of_rungs, stopped, stopped_text
from menndl_caffe.report.summary import (
    best_trained,
    described,
    fitness,
    has_gradients,
    learned_text,
    of_role,
    roles,
)
from menndl_caffe.report.verdict import confirmation_dict
from menndl_caffe.search import KINDS
from menndl_caffe.text import duration
from menndl_caffe.trial import DEFAULT, INDIVIDUAL, TEST, YARDSTICK
from menndl_caffe.writer import writer

COMPLETE, RUNNING, STOPPED, UNKNOWN = "complete", "running", "stopped", "unknown"
# What the journal's first line says beside the search.
CIRCUMSTANCES = ("engine_found", "data", "data_folder", "test_images", "host", "command", "started")


def status_dict(run: Run, now: float) -> Dict[str, Any]:
    """The state of a run at the time `now` (seconds since the epoch); `_speed` says how the time left is estimated.

    None where there is no such thing: `generation` and `generations`, `total`, and the time left without a total.
    """
    status = _counted(run, now)
    return {**status, **state(run.folder, status["complete"]), "last_line_seconds_ago": _since_last_line(run, now)}


def state(folder: Path, complete: bool) -> Dict[str, Any]:
    """`state`: `complete`, `running`, `stopped`, or `unknown`, where it cannot be seen from here whether its `writer`
    still lives: the process that writes the run or did so last, None where that is not recorded."""
    who = writer(folder)
    known = UNKNOWN if who is None or who.lives is None else RUNNING if who.lives else STOPPED
    return {"state": COMPLETE if complete else known,
            "writer": None if who is None else {"process": who.process, "host": who.host}}


def _since_last_line(run: Run, now: float) -> float:
    record = run.record
    times = [*(line["started"] for line in (record.run, *record.resumes) if "started" in line),
             *(given.time for given in record.given.values()),
             *(result.started + result.seconds for result in record.results.values())]
    return round(now - max(times), 1)


def _counted(run: Run, now: float) -> Dict[str, Any]:
    """All that the journal itself says."""
    record, total = run.record, run.total
    best, done = best_trained(run), sum(1 for _ in record.individuals())
    ends = {role: of_role(run, role) for role in roles(run)}
    needed = tuple(ends) if run.fitness_set == "validation" else (DEFAULT,)
    confirmed, to_confirm = confirmation(run), lacking(run)
    return {
        "search": _search(run), "engine": run.engine,
        **{name: run.line.get(name) for name in CIRCUMSTANCES},
        "generation": _generation(run), "generations": run.generations,
        "done": done, "total": total, "hours": run.message.limit.hours or None, "ended": run.ended,
        "iterations": {"limit": run.message.limit.iterations or None, "given": record.iterations}, "over": run.over,
        "unfinished": len(record.trials) - len(record.results),
        "earlier": run.record.run.get("earlier", {}),
        "reused": sum(result.same_as is not None for _, result in record.individuals()),
        **_failures(run), **({"stopped": stopped(run)} if run.rungs else {}),
        "best": described(run, *best[0]) if best else None,
        **{role: described(run, *pair) if pair else None for role, pair in ends.items()},
        **({"front": [described(run, *pair) for pair in run.front()]} if len(run.objectives) > 1 else {}),
        **({"descents": _descents(run)} if has_gradients(run) else {}),
        **_speed(run, done, to_confirm, now),
        "ranks": [{"rank": rank, **{kind: round(seconds, 3) for kind, seconds in spent.items()}}
                  for rank, spent in ranks_time(run.record).items()],
        "confirmed": confirmation_dict(confirmed) if confirmed else None, "to_confirm": to_confirm,
        # Where nobody can know how many there will be (a GA of descents), what comes after the last says so.
        "complete": (done == total or total is None and run.message.HasField("inner"))
        and all(ends[role] for role in needed) and not to_confirm and not record.undecided,
    }


def _search(run: Run) -> Dict[str, Any]:
    message = run.message
    return {"type": message.type, "settings": _settings(message), **_inner(message),
            "net": message.net, "solver": message.solver, "genes": list(run.space.names), "max_iter": message.max_iter,
            "fitness_set": run.fitness_set, "random_seed": message.random_seed, **objectives_dict(run)}


def _settings(message: Any) -> Dict[str, Any]:
    """Of the algorithm that a SearchParameter or its `inner` names."""
    name = KINDS[message.type].field
    settings = getattr(message, name or "limit")
    shown = settings.DESCRIPTOR.fields if name else (field for field, _ in settings.ListFields())
    return {field.name: _setting(field, getattr(settings, field.name)) for field in shown}


def _inner(message: Any) -> Dict[str, Any]:
    """Of a search within each individual, the genes that descend and how often among its settings."""
    if not message.HasField("inner"):
        return {}
    inner, settings = message.inner, _settings(message.inner)
    if inner.gene:
        del settings["starts"]
        settings = {"genes": " ".join(inner.gene), "steps": inner.steps, **settings}
    return {"inner": {"type": inner.type, "settings": settings}}


def _setting(field: Any, value: Any) -> Any:
    """A choice of several by its name."""
    return field.enum_type.values_by_number[value].name if field.enum_type else value


def _descents(run: Run) -> Dict[str, Any]:
    """How many were begun and have a result, and what `distrusted` says."""
    found = descents(run)
    return {"begun": len(found), **distrusted(found)}


def _generation(run: Run) -> Optional[int]:
    """The last generation that was begun; None before the first, and where there are none."""
    begun = (trial.generation for trial in run.record.trials.values() if trial.role == INDIVIDUAL)
    return counted(max((number for number in begun if number is not None), default=None))


def _failures(run: Run) -> Dict[str, Any]:
    """Individuals without success by status, and the last trial that failed."""
    record = run.record
    failed = Counter(result.status for _, result in record.individuals() if result.failed)
    last = next((id for id, result in reversed(list(record.results.items()))
                 if result.failed and result.same_as is None), None)
    return {"failed": dict(failed),
            "last_failure": None if last is None else described(run, record.trials[last], record.results[last])}


def _speed(run: Run, done: int, to_confirm: int, now: float) -> Dict[str, Any]:
    """Trainings an hour over the time in which at least one rank trained, and the time that the remaining individuals
    take at that speed, by iterations, if the same share of them as so far is new, and of these goes on from each rung;
    with them so many trainings from new seeds."""
    trained = [result for result in run.record.results.values() if result.same_as is None]
    busy, last = BusyTime(trained).seconds, max((result.started + result.seconds for result in trained), default=None)
    trials, left, limit = [run.record.trials[result.id] for result in trained], math.inf, run.message.limit
    total = min(run.total or math.inf, expected(run.message, run.record))
    if busy and done and total < math.inf:
        of_individuals = sum(run.record.own_iterations(trial) for trial in trials if trial.role == INDIVIDUAL)
        to_come = (total - done) * of_individuals / done
        to_come += to_confirm * (run.message.confirm.iterations or run.message.max_iter)
        left = to_come * busy / sum(map(run.record.own_iterations, trials))
    if limit.hours and run.ended is None:
        left = min(left, max(0.0, 3600 * limit.hours - worked(run.record)))
    return {"trained": len(trained), "busy_seconds": round(busy, 3),
            "trials_per_hour": round(3600 * len(trained) / busy, 2) if busy else None,
            "seconds_left": None if left == math.inf else round(left, 1),
            "last_result_seconds_ago": None if last is None else round(now - last, 1)}


def settings_text(search: Dict[str, Any]) -> str:
    """Type and settings of `status_dict`'s search: `GA: population 500, generations 35`."""
    settings = ", ".join(f"{name} {value}" for name, value in search["settings"].items())
    return f"{search['type']}: {settings}"


def status_text(run: Run, now: float) -> str:
    """The same for people: one fact a line."""
    status = status_dict(run, now)
    warm = [("warm start", run.earlier)] * bool(run.earlier)
    lines = _what(run, status) + warm + _how_far(run, status) + _how_fast(run, status)
    return "\n".join(f"{name:<12}{text}".rstrip() for name, text in lines)


def _what(run: Run, status: Dict[str, Any]) -> List[Tuple[str, str]]:
    search = status["search"]
    images = f" ({status['test_images']:,} images)" if status["test_images"] else ""
    return [("search", f"{settings_text(search)}, random_seed {search['random_seed']}"),
            *([("within each", settings_text(search["inner"]))] if "inner" in search else []),
            ("genes", " ".join(search["genes"])),
            ("templates", f"{search['net']} {search['solver']}"),
            *_budget(run, status),
            ("objectives" if len(run.objectives) > 1 else "fitness", optimized_text(run) + images),
            ("data", ": ".join(filter(None, (status["data_folder"], status["data"]))) or "not recorded"),
            ("engine", _engine(status))]


def _budget(run: Run, status: Dict[str, Any]) -> List[Tuple[str, str]]:
    """How many individuals, and how far they are trained; with rungs also how many iterations that was so far."""
    individuals = f"{status['total']:,} individuals" if status["total"] else "individuals"
    limit = _limit_text(status)
    if "stopped" not in status:
        return [("budget", f"{individuals} of {run.message.max_iter:,} iterations{limit}")]
    given = given_text(status["stopped"])
    return [("budget", f"{individuals}, {of_rungs(run.message)}{limit}"), *([("", given)] if given else [])]


def _limit_text(status: Dict[str, Any]) -> str:
    """` in at most 2 hours and some 50,000 iterations in all`, or what of it there is."""
    hours, iterations = status["hours"], status["iterations"]["limit"]
    limits = [*([f"at most {hours_text(hours)}"] if hours else []),
              *([f"some {iterations:,} iterations in all"] if iterations else [])]
    return f" in {' and '.join(limits)}" if limits else ""


def _engine(status: Dict[str, Any]) -> str:
    found = f" ({status['engine_found']})" if status["engine_found"] else ""
    host = f" on {status['host']}" if status["host"] else ""
    started = time.strftime(", started %Y-%m-%d %H:%M", time.localtime(status["started"])) if status["started"] else ""
    return status["engine"] + found + host + started


def _how_far(run: Run, status: Dict[str, Any]) -> List[Tuple[str, str]]:
    failed, last = status["failed"], status["last_failure"]
    generation = generation_text(status)
    lines = [("", ""), *([("generation", generation)] if generation else []),
             ("individuals", f"{individuals_text(status)}, "
                             f"{status['reused']:,} of them met before and not trained again")]
    if status["unfinished"]:
        lines.append(("handed out", f"{status['unfinished']:,} without a result yet"))
    lines.append(("failed", f"{sum(failed.values()):,}" + _in_words(failed)))
    if last:
        lines.append(("", f"last: trial {last['id']} {last['status']}: {last['reason']}"))
    if "stopped" in status:
        lines.append(("stopped", stopped_text(status["stopped"])))
    along = [("descents", descents_text(status["descents"]))] if "descents" in status else []
    front = [("front", f"{len(status['front']):,} individuals")] if "front" in status else []
    best = status["best"]
    decays = [("decays", learned_text(best["learned"]))] if best and "learned" in best else []
    return lines + along + [("best", _individual(run, best) + _origin(best)), *decays, *front,
                    ("default", _individual(run, status["default"])), *_test(run, status), *_confirmed(run, status)]


def generation_text(status: Dict[str, Any]) -> str:
    """`2 of 35`, or `2` of nobody knows how many; nothing where there are no generations."""
    begun, planned = status["generation"], status["generations"]
    return f"{begun or 0} of {planned}" if planned else str(begun or "")


def individuals_text(status: Dict[str, Any]) -> str:
    """`7 of 12 (58%)`, or `7` of nobody knows how many."""
    done, total = status["done"], status["total"]
    return f"{done:,} of {total:,} ({100 * done // total}%)" if total else f"{done:,}"


def hours_text(hours: float) -> str:
    """`2 hours`, `1 hour`, `30 minutes`"""
    for number, unit in ((hours, "hour"), (60 * hours, "minute")):
        if number >= 1:
            return f"{number:.4g} {unit}" + "s" * (f"{number:.4g}" != "1")
    return f"{3600 * hours:.4g} seconds"


def state_text(run: Run, status: Dict[str, Any]) -> str:
    """Whether it is complete, is running or was stopped, and what then goes on with it."""
    who, resume = status["writer"], f"`menndl run {shlex.quote(str(run.folder))}` resumes it"
    if status["state"] == RUNNING:
        return f"running: process {who['process']} on {who['host']}"
    if status["state"] == STOPPED:
        return f"stopped; {resume}"
    if status["state"] == COMPLETE:
        return complete_text(status)
    if who is None:
        return f"not complete; if nobody is working at it, {resume}"
    ago = duration(max(0.0, status["last_line_seconds_ago"]))
    return (f"not complete; was being written by process {who['process']} on {who['host']}, the last time {ago} ago; "
            f"if that has ended, {resume}")


def complete_text(status: Dict[str, Any]) -> str:
    """Of a complete search: `complete`; of one that a limit ended `complete after 2 hours, 57 individuals`."""
    if not status["over"]:
        return "complete"
    after = f"{status['iterations']['given']:,} iterations" if status["ended"] is None else hours_text(status["ended"])
    return f"complete after {after}, {status['done']:,} individuals"


def descents_text(found: Dict[str, Any]) -> str:
    """`2; 1 of 9 gradients not trusted, since the loss is not convex`, and in how many cases that was the reason."""
    said = f"{found['begun']:,}; {found['distrusted']:,} of {found['gradients']:,} gradients not trusted"
    if not found["distrusted"]:
        return said
    often = f" ({found['count']:,} of these)" if found["distrusted"] > 1 else ""
    return f"{said}: {found['reason']}{often}"


def _in_words(failed: Dict[str, int]) -> str:
    return f" ({', '.join(f'{count:,} {status}' for status, count in sorted(failed.items()))})" if failed else ""


def _individual(run: Run, described: Any) -> str:
    if described is None:
        return "no result yet"
    value = fitness(described)
    if value is None:
        return f"{described['status']}: {described['reason']}"
    genome = Genome(tuple(described["genes"]), tuple(described["genes"].values()))
    return f"{run.fitness.text(value)}  {genome}"


def _origin(best: Any) -> str:
    """Which individual the best is."""
    generation = f", generation {best['generation']}" if best and best["generation"] else ""
    return f"  (id {best['id']}{generation})" if best else ""


def _test(run: Run, status: Dict[str, Any]) -> List[Tuple[str, str]]:
    if run.fitness_set != "validation":
        return []
    yardstick = [(YARDSTICK, _individual(run, status[YARDSTICK]))] if YARDSTICK in status else []
    return [("on test set", _individual(run, status[TEST])), *yardstick]


def _confirmed(run: Run, status: Dict[str, Any]) -> List[Tuple[str, str]]:
    """What new seeds say, or how many trainings of them are to come, or that there is none."""
    said = confirmed_text(status)
    if said:
        return [("confirmed", said)]
    both = all(row and fitness(row) is not None for row in (status["best"], status["default"]))
    return [("confirmed", "no: " + UNCONFIRMED)] if both and run.fitness.is_tested else []


def confirmed_text(status: Dict[str, Any]) -> str:
    """How many trainings from new seeds are to come, else what they say; nothing where there are none."""
    if status["to_confirm"]:
        return f"not yet; trainings from new seeds to come: {status['to_confirm']:,}"
    return str(status["confirmed"]["verdict"]) if status["confirmed"] else ""


def _how_fast(run: Run, status: Dict[str, Any]) -> List[Tuple[str, str]]:
    lines, ago, left = [("", "")], status["last_result_seconds_ago"], status["seconds_left"]
    if status["trials_per_hour"] is not None:
        lines.append(("speed", f"{status['trials_per_hour']:,.0f} trials an hour: {status['trained']:,} in "
                               f"{duration(status['busy_seconds'])}, not counting time in which no rank trained"))
    lines += _ranks(status)
    if status["complete"]:
        return lines + [("state", state_text(run, status))]
    if ago is not None:
        lines.append(("last result", f"{duration(max(0.0, ago))} ago"))
    return lines + [("time left", "unknown" if left is None else f"about {duration(left)} at this speed"),
                    ("state", state_text(run, status))]


def _ranks(status: Dict[str, Any]) -> List[Tuple[str, str]]:
    """How much of their time the ranks trained, and what they waited for."""
    spent = {row["rank"]: {kind: seconds for kind, seconds in row.items() if kind != "rank"}
             for row in status["ranks"]}
    found = shares(spent)
    if not found:
        return []
    idle = idle_text(spent)
    least = min(shares({rank: of_rank}).get(BUSY, 1.0) for rank, of_rank in spent.items() if rank is not None)
    among = f" (the least {100 * least:.1f}%)" if len(spent) > 1 else ""
    return [("ranks", f"busy {100 * found[BUSY]:.1f}% of their time{among}" + (f"; {idle}" if idle else ""))]
