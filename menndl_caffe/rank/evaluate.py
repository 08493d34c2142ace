"""On a training rank, Trial -> Result: render, check by Caffe's shape rules, have it trained, name failures if any."""
from __future__ import annotations

import socket
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Dict, List, Mapping, Optional, Sequence

from menndl_caffe.errors import UserError
from menndl_caffe.experiment import adaptive, hypergradient, hypernet
from menndl_caffe.experiment.appraise import measures
from menndl_caffe.experiment.derivatives import Derivatives
from menndl_caffe.experiment.measured import Measured, NeededOutputs, measured_on, needed_outputs
from menndl_caffe.experiment.render import Rendered, Renderer
from menndl_caffe.experiment.solver_check import check_tested
from menndl_caffe.experiment.sources import Sources, sources
from menndl_caffe.nets import prototxt
from menndl_caffe.objective import LOSS, MEASURES, Objective, curve_measure
from menndl_caffe.rank.engine import Engine
from menndl_caffe.rank.messages import Message
from menndl_caffe.rank.process import TrainerDied, TrainerProcess
from menndl_caffe.trial import (
    CRASHED,
    DEFAULT,
    DIVERGED,
    HYPERGRADIENT,
    HYPERNET,
    INVALID,
    RETRAIN,
    STOPPED,
    TIMEOUT,
    TRAIN,
    CurvePoint,
    Result,
    Trial,
    believable,
    failure,
    judged,
)

# Two looks at a trainer are hardly further apart, unless this process was suspended, which is not the trainer's time.
LOOK_SECONDS = 1.0
# Starting a trainer, making a net and its first test pass take as long however short the training is. A trial up to a
# rung has so much time at least, but no more than trial_timeout.
SETTING_UP_SECONDS = 60.0
TALK_SECONDS = 0.1  # a trainer that has this much to say is listened to again at the next poll

# A trainer killed from outside (an operator, the kernel short of memory) says nothing about the individual, which is
# trained again.
ATTEMPTS = 3


@dataclass(frozen=True)
class _Request:
    """What a trainer is asked for, and what is known of the net. Nothing, where Caffe would refuse it."""

    texts: Mapping[str, Any] = field(default_factory=dict)
    max_iter: int = 0
    outputs: NeededOutputs = NeededOutputs()
    measures: Mapping[str, float] = field(default_factory=dict)
    learned: Optional[Path] = None  # where the trainer shall write the decays that it learns
    derivatives: Optional[Derivatives] = None  # that turn the trainer's gradient into one by the genes

    @staticmethod
    def of(rendered: Rendered, weights: Optional[Path], message: Any, objectives: Sequence[Objective],
           default: Measured) -> _Request:
        """UserError where the net cannot exist, where an objective cannot be measured of it, or where it would be
        measured on others than the default."""
        texts: Dict[str, Any] = {"net": rendered.net_text, "solver": rendered.solver_text}
        if weights is not None:
            texts["weights"] = str(weights)
        known = measures(rendered)
        for objective in objectives:
            if objective.measure in MEASURES and objective.measure not in known:
                raise UserError(f"{rendered.net.file}: {objective.measure}, an objective, cannot be known before the "
                                "net runs: it has layers of which Caffe alone knows the shapes")
        needed = needed_outputs(rendered, objectives, message.fitness)
        unlike = measured_on(rendered, needed).unlike(default)
        if unlike:
            raise UserError(f"{rendered.net.file}: {unlike}")
        return _Request(measures=known, outputs=needed, texts=texts, max_iter=rendered.solver.message.max_iter)

    def up_to(self, rung: int, rendered: Rendered) -> _Request:
        """The same up to a rung; UserError where this individual is not tested there."""
        check_tested(rendered, [rung])
        return replace(self, texts={**self.texts, "until": rung})

    @staticmethod
    def of_default(renderer: Renderer) -> _Request:
        """The default net at one iteration and one test batch, which every healthy node can train."""
        experiment = renderer.experiment
        trial = replace(experiment.trial(0, experiment.space.default, role=DEFAULT), max_iter=1)
        rendered = renderer.render(trial, sources(experiment, DEFAULT))
        solver = type(rendered.solver.message).FromString(rendered.solver.message.SerializeToString())
        solver.max_iter, solver.test_iter[:] = 1, [1]
        texts = {"net": rendered.net_text, "solver": prototxt.dumps(solver)}
        return _Request(texts, 1, needed_outputs(rendered, experiment.objectives, experiment.message.fitness))

    def by_program(self, renderer: Renderer, rendered: Rendered, trial: Trial, where: Sources,
                   file: Optional[Path]) -> _Request:
        """The same by the trial's program, not TRAIN; UserError where that is not for this net or these genes.

        `file`: where the decays lie or shall lie.
        """
        experiment, derivatives = renderer.experiment, None
        if trial.program == HYPERGRADIENT:
            settings = hypergradient.asked_of_trainer(rendered, trial, experiment.message)
            derivatives = hypergradient.by_genes(renderer, trial, where)
        elif trial.program == HYPERNET:
            settings = hypernet.asked_of_trainer(experiment, rendered, trial)
        else:
            settings = adaptive.asked_of_trainer(rendered, trial, experiment.message)
        texts = {**self.texts, "program": trial.program, trial.program: settings}
        if file is not None:
            texts["decays" if trial.program == RETRAIN else "learned"] = str(file)
        return replace(self, texts=texts, derivatives=derivatives, learned=None if trial.program == RETRAIN else file)


@dataclass
class _Training:
    """A trial in work, from its beginning to its result."""

    trial: Trial
    request: _Request
    started: float  # seconds since the epoch
    clock: float  # the same moment, as time.monotonic() has it
    looked: float  # the last look at the trainer
    spent: float = 0.0  # seconds of it, but for those in which this process was suspended
    attempt: int = 0
    curve: List[CurvePoint] = field(default_factory=list)
    measured: Dict[str, float] = field(default_factory=dict)  # by the last test pass, of the objectives that are
    gradient: Dict[str, float] = field(default_factory=dict)  # by the genes, and how it was found
    gradient_by: Dict[str, Any] = field(default_factory=dict)
    learned: Dict[str, Any] = field(default_factory=dict)
    result: Optional[Result] = None

    def look(self) -> None:
        """Count the time since the last look."""
        now = time.monotonic()
        self.spent += min(now - self.looked, LOOK_SECONDS)
        self.looked = now


class Evaluator:
    """One trial at a time on one trainer. `start` returns at once; `poll` is asked until it hands over the result."""

    def __init__(self, renderer: Renderer, trainer: TrainerProcess, rank: int = 0, engine: Optional[Engine] = None,
                 run: Optional[Path] = None):
        """`run`: the run's folder, in which the decays lie that trials learn; without, they are not kept."""
        self.rank, self._run = rank, run
        self._renderer, self._trainer, self._engine = renderer, trainer, engine
        self._host = socket.gethostname()
        self._message = renderer.experiment.message
        self._timeout = self._message.trial_timeout
        self._objectives = renderer.experiment.objectives
        self._training: Optional[_Training] = None
        self._defaults: Dict[str, Measured] = {}  # by role
        self._suspect: Optional[Result] = None  # a crash that may be this node's fault

    def start(self, trial: Trial, directory: str = ".", weights: Optional[Path] = None) -> None:
        """Begin a trial; `directory` is what its files would name as their own folder. A training that succeeds
        writes its weights to `weights`, if given."""
        started, clock = time.time(), time.monotonic()
        where = sources(self._renderer.experiment, trial.role)  # that data are missing is not the individual's fault
        file = adaptive.file_of(self._run, trial)  # nor that decays are
        try:
            rendered = self._renderer.render(trial, where, directory)
            default = self._default(trial.role, where)
            request, refused = _Request.of(rendered, weights, self._message, self._objectives, default), ""
            if trial.program != TRAIN:
                request = request.by_program(self._renderer, rendered, trial, where, file)
            if trial.until is not None:
                request = request.up_to(trial.until, rendered)
        except UserError as error:
            request, refused = _Request(), str(error)
        self._training = training = _Training(trial, request, started, clock, clock)
        if refused:
            training.result = self._failure(training, INVALID, refused)
        else:
            self._train(training)

    def poll(self, seconds: float) -> Optional[Result]:
        """The result, waiting at most so long for it; None where it is not there yet.

        A crash is an individual's only where the default net still trains: UserError where it does not, since then
        all would crash, be it for want of memory or of a library on this node.
        """
        result = self._polled(time.monotonic() + seconds)
        if result is None:
            return None
        if self._suspect is not None:
            suspect, self._suspect = self._suspect, None
            if result.status == CRASHED:
                raise UserError(f"the default net does not train on {self._host}: {result.reason}; {suspect.reason} "
                                f"(trial {suspect.id}), which is not recorded: the same command goes on once the node, "
                                "the engine or the net is mended")
            return suspect
        if result.status == CRASHED:
            assert self._training is not None
            trial, clock = self._training.trial, time.monotonic()
            self._suspect = result
            self._training = _Training(trial, _Request.of_default(self._renderer), time.time(), clock, clock)
            self._train(self._training)
            return None
        return result

    def _polled(self, deadline: float) -> Optional[Result]:
        """The end of the training that runs, waiting for it until then."""
        training = self._training
        assert training is not None
        while training.result is None:
            training.look()
            timeout = self._time_for(training.trial)
            if timeout and training.spent > timeout:
                self._trainer.kill()
                late = f"not finished after trial_timeout of {timeout:g} seconds"
                training.result = self._failure(training, TIMEOUT, late)
            elif not self._heard(training, max(0.0, min(deadline - training.looked, LOOK_SECONDS))):
                if training.looked >= deadline:
                    break
            elif training.looked >= deadline + TALK_SECONDS:
                break
        return training.result

    def _time_for(self, trial: Trial) -> float:
        """Seconds that a trial has, 0 for ever: `trial_timeout` for max_iter iterations, and for others in proportion.
        Those up to a rung count from 0, since this rank may not have what was trained of them."""
        whole = self._timeout * max(1.0, trial.max_iter / self._message.max_iter)
        if trial.until is None:
            return whole
        return min(whole, max(SETTING_UP_SECONDS, whole * trial.until / trial.max_iter))

    @property
    def curve(self) -> Sequence[CurvePoint]:
        """The test passes of the training so far."""
        return tuple(self._training.curve) if self._training else ()

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

    def _default(self, role: str, where: Sources) -> Measured:
        """On what the default is measured in this role."""
        if role not in self._defaults:
            experiment = self._renderer.experiment
            rendered = self._renderer.render(experiment.trial(0, experiment.space.default, role=role), where)
            needed = needed_outputs(rendered, self._objectives, self._message.fitness)
            self._defaults[role] = measured_on(rendered, needed)
        return self._defaults[role]

    def _train(self, training: _Training) -> None:
        training.attempt += 1
        training.curve, training.gradient, training.gradient_by, training.learned = [], {}, {}, {}
        if training.request.learned is not None:
            training.request.learned.parent.mkdir(parents=True, exist_ok=True)
        self._trainer.start()
        self._trainer.send(training.request.texts, training.request.max_iter, training.request.outputs.accuracies)

    def _heard(self, training: _Training, seconds: float) -> bool:
        """Whether the trainer said something in this time, or died; the training knows of it then."""
        try:
            message = self._trainer.poll(seconds)
        except TrainerDied as death:
            training.result = self._after(training, death)
            return True
        if message is not None:
            training.result = self._take(training, message)
        return message is not None

    def _after(self, training: _Training, death: TrainerDied) -> Optional[Result]:
        if not (death.ready or death.blameless):
            raise UserError(f"the trainer does not start on {self._host}: {death}")
        if death.blameless and training.attempt < ATTEMPTS:
            self._train(training)
            return None
        times = f" ({training.attempt} times)" if training.attempt > 1 else ""
        return self._failure(training, CRASHED, f"{death}{times}")

    def _take(self, training: _Training, message: Message) -> Optional[Result]:
        """Act on one message of the trainer; the result, if it is the last one."""
        event = message["event"]
        if event == "test":
            return self._take_test(training, message["iteration"], message["outputs"])
        if event == "gradient":
            return self._take_gradient(training, message)
        if event == "learned":
            training.learned = message["of"]
            return None
        if event == "unsuitable":
            raise UserError(f"{training.trial.program} of [{training.trial.genome}]: {message['reason']}")
        if event == "done":
            return self._judged(training, message["engine_seconds"])
        if event == "diverged":
            self._trainer.kill()  # its memory may be damaged: see trainer.Diverged
            return self._failure(training, DIVERGED, message["reason"], message["engine_seconds"])
        if event == "error":
            return self._failure(training, CRASHED, message["reason"])
        if self._engine is not None:
            self._engine.check_trainer(message)
        return None

    def _take_test(self, training: _Training, iteration: int, outputs: Mapping[str, float]) -> Optional[Result]:
        """Add a point to the curve; the failure, where the test net gives out nothing that can be believed."""
        needed, losses = training.request.outputs.of, training.request.outputs.losses
        given = [name for name in losses if name in outputs]
        if not (given and all(name in outputs for name in needed.values())):
            self._trainer.kill()
            expected = "".join(f"{name} and " for name in needed.values())
            return self._failure(training, INVALID, f"the test net's outputs are {', '.join(outputs) or 'none'}; "
                                                    f"expected {expected}of {', '.join(losses)} at least one")
        loss = sum(losses[name] * outputs[name] for name in given)
        if not believable(loss, *outputs.values()):
            self._trainer.kill()
            said = ", ".join(f"{name} {value:g}" for name, value in outputs.items())
            return self._failure(training, DIVERGED, f"test outputs at iteration {iteration} are not finite: {said}")
        training.measured = {**{measure: outputs[name] for measure, name in needed.items()}, LOSS: loss}
        training.curve.append((iteration, training.measured[curve_measure(self._objectives)], loss))
        return None

    def _take_gradient(self, training: _Training, message: Message) -> Optional[Result]:
        """Keep it by the genes, unless it may not be trusted; the failure, where a gene moves what it leaves out."""
        distrust = message["distrust"]
        if not distrust and training.request.derivatives is not None:
            try:
                gradient = training.request.derivatives.chain(message["of"])
            except KeyError as missing:
                self._trainer.kill()
                return self._failure(training, CRASHED, str(missing.args[0]))
            if believable(*gradient.values()):
                training.gradient = gradient
            else:
                distrust = "it is not finite"
        training.gradient_by = {**message["how"], **({"distrust": distrust} if distrust else {})}
        return None

    def _judged(self, training: _Training, engine_seconds: float) -> Result:
        """The result of a training that has come to its end or its rung. What further objectives measure is in its
        measures."""
        known = self._known(training, engine_seconds)
        first, *others = (objective.measure for objective in self._objectives)
        measured = {**training.request.measures, **training.measured}
        known.update(gradient=training.gradient, gradient_by=training.gradient_by, learned=training.learned)
        if training.request.learned is not None:
            known["learned"] = {**training.learned, "sha256": adaptive.hash_of(training.request.learned)}
        known["measures"] = {**known["measures"], **{name: measured[name] for name in others if name != LOSS}}
        result = judged(training.trial.id, float(measured[first]), measured[LOSS], first, **known)
        at_rung = training.trial.until is not None and not result.failed
        return replace(result, status=STOPPED) if at_rung else result

    def _failure(self, training: _Training, status: str, reason: str, engine_seconds: float = 0.0) -> Result:
        return failure(training.trial.id, status, reason, **self._known(training, engine_seconds))

    def _known(self, training: _Training, engine_seconds: float) -> Dict[str, Any]:
        return {"curve": tuple(training.curve), "started": training.started,
                "seconds": time.monotonic() - training.clock, "engine_seconds": engine_seconds, "rank": self.rank,
                "host": self._host, "measures": training.request.measures,
                "log": self._trainer.log() if training.attempt else ""}
