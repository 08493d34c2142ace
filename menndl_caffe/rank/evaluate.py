"""On a training rank, Trial -> Result: render, check by Caffe's shape rules, have it trained, name failures if any."""
from __future__ import annotations

import math
import socket
import time
from pathlib import Path
from typing import Any, Dict, List, Optional, Sequence

from menndl_caffe.errors import UserError
from menndl_caffe.experiment.appraise import fitness_outputs, measures
from menndl_caffe.experiment.render import Renderer
from menndl_caffe.experiment.sources import sources
from menndl_caffe.rank.engine import Engine
from menndl_caffe.rank.process import TrainerDied, TrainerProcess
from menndl_caffe.trial import (
    CRASHED,
    DIVERGED,
    INVALID,
    TIMEOUT,
    CurvePoint,
    Result,
    Trial,
    failure,
    judged,
)

# Two looks at a trainer are hardly further apart, unless this process was suspended, which is not the trainer's time.
LOOK_SECONDS = 1.0

# A trainer killed from outside (an operator, the kernel short of memory) says nothing about the individual, which is
# trained again.
ATTEMPTS = 3


class Evaluator:
    """One trial at a time on one trainer. `start` returns at once; `poll` is asked until it hands over the result."""

    def __init__(self, renderer: Renderer, trainer: TrainerProcess, rank: int = 0, engine: Optional[Engine] = None):
        self._renderer, self._trainer, self._rank, self._engine = renderer, trainer, rank, engine
        self._host = socket.gethostname()
        self._timeout = renderer.experiment.message.trial_timeout

    def start(self, trial: Trial, directory: str = ".", weights: Optional[Path] = None) -> None:
        """Begin a trial; `directory` is what its files would name as their own folder. A training that succeeds
        writes its weights to `weights`, if given."""
        self._trial = trial
        self._started, self._clock = time.time(), time.monotonic()
        self._looked, self._spent = self._clock, 0.0
        self._curve: List[CurvePoint] = []
        self._attempt = 0
        self._ready: Optional[Result] = None
        where = sources(self._renderer.experiment, trial.role)  # that data are missing is not the individual's fault
        try:
            rendered = self._renderer.render(trial, where, directory)
            measures(rendered)
            self._outputs = fitness_outputs(rendered)
            self._request = {"net": rendered.net_text, "solver": rendered.solver_text}
            if weights is not None:
                self._request["weights"] = str(weights)
        except UserError as error:
            self._ready = self._failure(INVALID, str(error))
            return
        self._train()

    def poll(self, seconds: float) -> Optional[Result]:
        """The result, waiting at most so long for it; None where it is not there yet."""
        deadline = time.monotonic() + seconds
        while self._ready is None:
            now = time.monotonic()
            self._spent += min(now - self._looked, LOOK_SECONDS)
            self._looked = now
            if self._timeout and self._spent > self._timeout:
                self._trainer.kill()
                return self._failure(TIMEOUT, f"not finished after trial_timeout of {self._timeout:g} seconds")
            try:
                message = self._trainer.poll(max(0.0, min(deadline - now, LOOK_SECONDS)))
            except TrainerDied as death:
                self._ready = self._after(death)
                continue
            if message is not None:
                self._ready = self._take(message)
            elif now >= deadline:
                return None
        return self._ready

    @property
    def curve(self) -> Sequence[CurvePoint]:
        """The test passes of the training so far."""
        return tuple(self._curve)

    def evaluate(self, trial: Trial, directory: str = ".") -> Result:
        """`start`, and wait for the result."""
        self.start(trial, directory)
        result = None
        while result is None:
            result = self.poll(1.0)
        return result

    def close(self) -> None:
        """End the trainer."""
        self._trainer.close()

    def _train(self) -> None:
        self._attempt += 1
        self._curve = []
        self._trainer.start()
        self._trainer.send(self._request)

    def _after(self, death: TrainerDied) -> Optional[Result]:
        if not (death.ready or death.killed):
            raise UserError(f"the trainer does not start on {self._host}: {death}")
        if death.killed and self._attempt < ATTEMPTS:
            self._train()
            return None
        times = f" ({self._attempt} times)" if self._attempt > 1 else ""
        return self._failure(CRASHED, f"{death}{times}")

    def _take(self, message: Dict[str, Any]) -> Optional[Result]:
        """Act on one message of the trainer."""
        event = message["event"]
        if event == "test":
            return self._take_test(message["iteration"], message["outputs"])
        if event == "done":
            _, accuracy, loss = self._curve[-1]
            return judged(self._trial.id, accuracy, loss, **self._known(message["engine_seconds"]))
        if event == "diverged":
            self._trainer.kill()  # its memory may be damaged: see trainer.Diverged
            return self._failure(DIVERGED, message["reason"], message["engine_seconds"])
        if event == "error":
            return self._failure(CRASHED, message["reason"])
        if event == "ready" and self._engine is not None:
            self._engine.check_trainer(message)
        return None

    def _take_test(self, iteration: int, outputs: Dict[str, float]) -> Optional[Result]:
        """Add a point to the curve; the failure, where the test net gives out nothing that can be believed."""
        accuracy, losses = self._outputs
        given = [name for name in losses if name in outputs]
        if accuracy in outputs and given:
            loss = sum(losses[name] * outputs[name] for name in given)
            if math.isfinite(loss) and math.isfinite(outputs[accuracy]):
                self._curve.append((iteration, outputs[accuracy], loss))
                return None
            self._trainer.kill()
            return judged(self._trial.id, outputs[accuracy], loss, **self._known(0.0))
        self._trainer.kill()
        return self._failure(INVALID, f"the test net's outputs are {', '.join(outputs) or 'none'}; "
                                      f"expected {accuracy} and of {', '.join(losses)} at least one")

    def _failure(self, status: str, reason: str, engine_seconds: float = 0.0) -> Result:
        return failure(self._trial.id, status, reason, **self._known(engine_seconds))

    def _known(self, engine_seconds: float) -> Dict[str, Any]:
        return {"curve": tuple(self._curve), "started": self._started, "seconds": time.monotonic() - self._clock,
                "engine_seconds": engine_seconds, "rank": self._rank, "host": self._host,
                "log": self._trainer.log() if self._attempt else ""}
