"""`menndl watch` where there is no screen: a line when something has changed."""
from __future__ import annotations

import time
from typing import List

from menndl_caffe.text import duration, printable
from menndl_caffe.trial import OK, Result
from menndl_caffe.watch.picture import Picture, Watched

FIRST_WARNING = 300.0  # seconds without a result; the next come after twice as long each


def line(picture: Picture) -> str:
    """generation, done/total, best, default, failures, speed and time left, as `menndl run` shows them."""
    status = picture.status
    parts = [f"generation {status['generation'] or 0}/{status['generations']}", f"{status['done']}/{status['total']}"]
    parts += [f"{name} {status[name]['accuracy']:.4f}" for name in ("best", "default")
              if status[name] and status[name]["accuracy"] is not None]
    failed = sum(status["failed"].values())
    if failed:
        parts.append(f"failed {failed}")
    if status["trials_per_hour"] is not None:
        parts.append(f"{status['trials_per_hour']:.0f} trials/h")
    if status["complete"]:
        parts.append("complete")
    elif status["seconds_left"] is not None:
        parts.append(f"{duration(status['seconds_left'])} left")
    return "  ".join(parts)


def follow(watched: Watched, interval: float, once: bool) -> None:
    """Print where the run is, then what changes, until the search is finished."""
    last, warn_at = "", FIRST_WARNING
    failures: List[Result] = []
    while True:
        for result in failures:
            print(printable(f"trial {result.id} {result.status}: {result.reason}"), flush=True)
        picture, now = watched.picture, time.time()
        text = "the run has not begun" if picture is None else line(picture)
        if text != last:
            last, warn_at = text, FIRST_WARNING
            print(text, flush=True)
        if picture is not None and picture.is_quiet(now) and now - (picture.last_result or now) >= warn_at:
            print(picture.silence(now), flush=True)
            warn_at = 2 * (now - (picture.last_result or now))
        if once or watched.complete:
            return
        time.sleep(interval)
        failures = [entry for entry in watched.look()
                    if isinstance(entry, Result) and entry.status != OK and entry.same_as is None]
