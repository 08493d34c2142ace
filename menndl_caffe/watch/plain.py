"""`menndl watch` where there is no screen: a line when something has changed."""
from __future__ import annotations

import time
from typing import List

from menndl_caffe.report.status import COMPLETE, STOPPED
from menndl_caffe.report.summary import fitness
from menndl_caffe.text import HowFar, duration, show
from menndl_caffe.trial import Result
from menndl_caffe.watch.picture import Picture, Watched

FIRST_WARNING = 300.0  # seconds without a result; the next come after twice as long each


def line(picture: Picture) -> str:
    """How far the run is, as `menndl run` shows it."""
    status, left = picture.status, picture.status["seconds_left"]
    best, default = (picture.fitness.text(status[name] and fitness(status[name])) for name in ("best", "default"))
    over = status["state"] in (COMPLETE, STOPPED)
    ending = status["state"] if over else "" if left is None else f"{duration(left)} left"
    return str(HowFar(status["done"], status["total"], status["generation"], status["generations"], best, default,
                      sum(status["failed"].values()), status["trials_per_hour"], ending,
                      f"{status['to_confirm']} to confirm" if status["to_confirm"] else "",
                      status["stopped"]["count"] if "stopped" in status else 0))


def follow(watched: Watched, interval: float, once: bool) -> None:
    """Print where the run is, then what changes, until the search is finished."""
    last, warn_at = "", FIRST_WARNING
    failures: List[Result] = []
    while True:
        for result in failures:
            show(f"trial {result.id} {result.status}: {result.reason}")
        picture, now = watched.picture, time.time()
        text = "the run has not begun" if picture is None else line(picture)
        if text != last:
            last, warn_at = text, FIRST_WARNING
            show(text)
        if picture is not None and picture.is_quiet(now) and now - (picture.last_result or now) >= warn_at:
            show(picture.silence(now))
            warn_at = 2 * (now - (picture.last_result or now))
        if once or watched.complete:
            return
        time.sleep(interval)
        failures = [entry for entry in watched.look()
                    if isinstance(entry, Result) and entry.failed and entry.same_as is None]
