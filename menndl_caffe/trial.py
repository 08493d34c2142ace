"""What travels between master, ranks and journal: a Trial goes out, a Result comes back. All plain data."""
from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace
from typing import Any, Dict, List, Mapping, NamedTuple, Optional, Tuple

from menndl_caffe import fields
from menndl_caffe.fields import Field
from menndl_caffe.genome import Genome, Value
from menndl_caffe.text import printable

INDIVIDUAL = "individual"  # a member of the population
DEFAULT = "default"  # the network that the search starts from, at the same budget
TEST = "test"  # the best individual once more, on the test set (fitness_set: VALIDATION)
YARDSTICK = "yardstick"  # the default on the test set, trained on the validation images as well (searches by gradients)
CONFIRM = "confirm"  # one of the best, or the default, once more from a new seed (`menndl confirm`)
BESIDE = (DEFAULT, TEST, YARDSTICK)  # the roles beside the individuals, in the order in which they are shown
ROLES = (INDIVIDUAL, *BESIDE, CONFIRM)

TRAIN = "train"  # as `caffe train` does it
HYPERGRADIENT = "hypergradient"  # and the gradient of the validation loss with respect to the genes
ADAPTIVE = "adaptive"  # decays learned on the way, then as TRAIN with these, from the same seed
HYPERNET = "hypernet"  # decays learned by a hypernet, then the same
RETRAIN = "retrain"  # as TRAIN with decays that one of LEARNING learned
LEARNING = (ADAPTIVE, HYPERNET)
PROGRAMS = (TRAIN, HYPERGRADIENT, *LEARNING, RETRAIN)  # what a trainer can be asked to do with a net and a solver

OK = "ok"
STOPPED = "stopped"  # at a rung, on purpose: its fitness is what it had there, and never the best
INVALID = "invalid"  # refused before training: the net cannot exist
DIVERGED = "diverged"  # a loss that is not finite
CRASHED = "crashed"  # the trainer died
TIMEOUT = "timeout"  # given up after trial_timeout seconds
STATUSES = (OK, STOPPED, INVALID, DIVERGED, CRASHED, TIMEOUT)

LARGEST = 3.4028235e38  # of single precision, in which Caffe measures; what is computed from such numbers is finite

CurvePoint = Tuple[int, float, float]  # iteration; accuracy, or see objective.curve_measure; loss of one test pass
# Genome, seed, max_iter, the role where that decides on which images, program, tolerance, decays, until.
Work = Tuple[Genome, int, int, str, str, Optional[float], Optional[str], Optional[int]]


@dataclass(frozen=True)
class Trial:
    """One evaluation of an individual: everything that decides its result."""

    id: int
    genome: Genome
    seed: int
    max_iter: int
    generation: Optional[int] = None
    role: str = INDIVIDUAL
    program: str = TRAIN
    tolerance: Optional[float] = None  # to which a HYPERGRADIENT that solves for its weights does so, relative
    descent: Optional[int] = None  # which one of a search with gradients it is a step of, from 0 on
    decays_of: Optional[int] = None  # of a RETRAIN: the trial that learned its decays,
    decays: Optional[str] = None  # and the SHA-256 of the file that has them
    repetition: Optional[int] = None  # of a CONFIRM: which training of its genes from a new seed, from 1 on
    until: Optional[int] = None  # the iteration at which this trial ends, a rung; None: max_iter
    continues: Optional[int] = None  # the trial with whose training it goes on; who has that no more trains anew

    @property
    def work(self) -> Work:
        """All that decides the result: trials of the same work need to be trained once."""
        images = self.role if self.role in (TEST, YARDSTICK, CONFIRM) else ""
        return self.genome, self.seed, self.max_iter, images, self.program, self.tolerance, self.decays, self.until

    @property
    def plain(self) -> Trial:
        """The same without the way to a gradient: the training whose weights are worth keeping."""
        if self.program != HYPERGRADIENT:
            return self
        return replace(self, program=TRAIN, tolerance=None, descent=None)

    @property
    def end(self) -> int:
        """The iteration at which it ends: a rung, or max_iter."""
        return self.max_iter if self.until is None else self.until

    def as_dict(self) -> Dict[str, Any]:
        """The form in which it is recorded and sent."""
        given = {"program": self.program if self.program != TRAIN else None, "tolerance": self.tolerance,
                 "descent": self.descent, "decays_of": self.decays_of, "decays": self.decays,
                 "repetition": self.repetition, "until": self.until, "continues": self.continues}
        more = {name: value for name, value in given.items() if value is not None}
        return {"id": self.id, "role": self.role, "generation": self.generation, "genes": self.genome.as_dict(),
                "seed": self.seed, "max_iter": self.max_iter, **more}

    @staticmethod
    def from_dict(record: Mapping[str, Any]) -> Trial:
        """Inverse of `as_dict`; ValueError names a field that is missing or no good."""
        known = fields.read(record, _TRIAL)
        return Trial(genome=known.pop("genes"), **known, **fields.read_present(record, _TRIAL_MORE))


def _told(text: Any) -> str:
    return printable(fields.TEXT.read(text))


TOLD = Field(fields.TEXT.valid, _told)  # that people are told, or nobody: see `printable`


def _genome(genes: Any) -> Genome:
    values: Tuple[Value, ...] = tuple(fields.OBJECT.read(genes).values())
    if not genes:
        raise ValueError
    for value in values:
        if type(value) is not str:
            fields.number().read(value)
    return Genome(tuple(genes), values)


_NUMBER = fields.whole(0, 2**31 - 1)  # which reports count from 1
_GENES = Field("names with numbers or texts", _genome)
_TRIAL = {"id": fields.whole(), "genes": _GENES, "seed": fields.whole(),
          "max_iter": fields.whole(1), "generation": fields.or_none(_NUMBER), "role": fields.one_of(ROLES)}
_TRIAL_MORE = {"program": fields.one_of(PROGRAMS), "tolerance": fields.number(0, 1),
               "descent": _NUMBER, "decays_of": fields.whole(), "decays": TOLD,
               "repetition": fields.whole(1), "until": fields.whole(1), "continues": fields.whole()}


@dataclass(frozen=True)
class Result:
    """What became of a trial. Fitness is what the first objective measures, an accuracy in [0, 1] unless a search says
    otherwise. `stopped` has that of its last test pass; every further status has fitness 0, which means nothing, and a
    reason."""

    id: int
    status: str
    fitness: float = 0.0
    loss: Optional[float] = None
    reason: str = ""
    curve: Tuple[CurvePoint, ...] = ()
    started: float = 0.0  # seconds since the epoch
    seconds: float = 0.0  # wall time on the rank, from receiving the trial to its result
    engine_seconds: float = 0.0  # of these, inside the engine: training and testing
    rank: int = 0
    host: str = ""
    same_as: Optional[int] = None  # the trial of the same work whose result this is
    measures: Mapping[str, float] = field(default_factory=dict, hash=False)  # of the net; of further objectives
    # d validation loss / d gene, for the logarithm of a gene whose scale is LOG; empty where it may not be trusted.
    gradient: Mapping[str, float] = field(default_factory=dict, hash=False)
    gradient_by: Mapping[str, Value] = field(default_factory=dict, hash=False)  # how it was found, and `distrust`
    # The decays that one of LEARNING learned, as `what_was_learned` reads them, and `sha256` of the file that has that
    # of each weight.
    learned: Mapping[str, Any] = field(default_factory=dict, hash=False)
    log: str = ""  # the engine's own log; travels, but is not in the journal

    @property
    def failed(self) -> bool:
        """Whether there is no fitness."""
        return self.status not in (OK, STOPPED)

    @property
    def finished(self) -> bool:
        """Whether it was trained to its end: no other result is held against others by its fitness."""
        return self.status == OK

    def as_dict(self) -> Dict[str, Any]:
        """The form in which it is recorded; `log` is left out, empty fields too."""
        record: Dict[str, Any] = {"id": self.id, "status": self.status, "fitness": self.fitness}
        optional = {"loss": self.loss, "reason": self.reason or None}
        record.update({name: value for name, value in optional.items() if value is not None})
        record.update(started=round(self.started, 3), seconds=round(self.seconds, 3),
                      engine_seconds=round(self.engine_seconds, 3), rank=self.rank, host=self.host)
        if self.same_as is not None:
            record["same_as"] = self.same_as
        if self.measures:
            record["measures"] = dict(self.measures)
        for name, known in (("gradient", self.gradient), ("gradient_by", self.gradient_by), ("learned", self.learned)):
            if known:
                record[name] = dict(known)
        record["curve"] = [list(point) for point in self.curve]
        return record

    @staticmethod
    def from_dict(record: Mapping[str, Any]) -> Result:
        """Inverse of `as_dict`; fields it does not know are ignored. ValueError names one that is missing or no good.
        """
        return Result(**fields.read(record, _RESULT), **fields.read_present(record, _KNOWN))

    def measured_as(self, other: Result) -> bool:
        """Whether another training of the trial gave the same, wherever and whenever that was."""
        where: Dict[str, Any] = {"started": 0.0, "seconds": 0.0, "engine_seconds": 0.0, "rank": 0, "host": "",
                                 "log": ""}
        return replace(self, **where) == replace(other, **where)

    def copied_to(self, trial: Trial) -> Result:
        """The same result for another trial of the same individual; it cost no time."""
        return replace(self, id=trial.id, same_as=self.id if self.same_as is None else self.same_as,
                       seconds=0.0, engine_seconds=0.0, log="")


def _curve(points: Any) -> Tuple[CurvePoint, ...]:
    if not isinstance(points, list):
        raise ValueError
    return tuple((fields.whole().read(iteration), _FINITE.read(accuracy), _FINITE.read(loss))
                 for iteration, accuracy, loss in points)


def _measures(measures: Any) -> Dict[str, float]:
    for value in fields.OBJECT.read(measures).values():
        _FINITE.read(value)
    return {printable(name): value for name, value in measures.items()}


def _how(known: Any) -> Dict[str, Value]:
    for value in fields.OBJECT.read(known).values():
        if type(value) is not str:
            _FINITE.read(value)
    return {printable(name): printable(value) if type(value) is str else value for name, value in known.items()}


def _values(known: Any) -> Dict[str, float]:
    return {printable(name): _DECAY.read(value) for name, value in fields.OBJECT.read(known).items()}


def _decays(values: Any) -> List[float]:
    if type(values) is not list or not values:
        raise ValueError
    return [_DECAY.read(value) for value in values]


def _decay_curve(points: Any) -> List[List[float]]:
    if type(points) is not list:
        raise ValueError
    return [[fields.whole().read(iteration), *map(_DECAY.read, (mean, lowest, highest))]
            for iteration, mean, lowest, highest in points]


def _predictions(points: Any) -> List[List[float]]:
    if type(points) is not list:
        raise ValueError
    return [[_DECAY.read(decay), _FINITE.read(loss)] for decay, loss in points]


def _predicted(known: Any) -> Dict[str, Any]:
    return fields.read(fields.OBJECT.read(known),
                       {"loss": _FINITE, "points": Field("[decay, loss] of some decays", _predictions)})


def what_was_learned(known: Any) -> Dict[str, Any]:
    """What is told of learned decays, by those who learned them and in the journal; errors as those of a Field."""
    return {**fields.read(fields.OBJECT.read(known), _LEARNED), **fields.read_present(known, _LEARNED_AT_TIMES)}


def _learned(known: Any) -> Dict[str, Any]:
    return {**what_was_learned(known), **fields.read_present(known, {"sha256": TOLD})}


_FINITE, _DECAY = fields.number(-LARGEST, LARGEST), fields.number(0, LARGEST)
_LEARNED = {"groups": TOLD, "count": fields.whole(1), "mean": _DECAY,
            "quantiles": Field("a list of finite numbers, 0 or more", _decays),
            "values": Field("names with finite numbers, 0 or more", _values),
            "curve": Field("[iteration, mean, lowest, highest] of some iterations", _decay_curve)}
_LEARNED_AT_TIMES = {"predicted": Field("what a hypernet predicts: loss and points", _predicted),
                     "by": Field("names with finite numbers or texts", _how)}
_RESULT = {"id": fields.whole(), "status": fields.one_of(STATUSES), "fitness": _FINITE}
_KNOWN = {"loss": _FINITE, "reason": TOLD,
          "curve": Field("[iteration, accuracy, loss] of each test pass", _curve),
          "started": fields.SECONDS, "seconds": fields.SECONDS, "engine_seconds": fields.SECONDS,
          "rank": fields.whole(), "host": TOLD,
          "same_as": fields.whole(), "measures": Field("names with finite numbers", _measures),
          "gradient": Field("names with finite numbers", _measures),
          "gradient_by": Field("names with finite numbers or texts", _how),
          "learned": Field("a JSON object", _learned), "log": fields.TEXT}


class Earlier(NamedTuple):
    """An individual of an earlier run that a search knows from the beginning."""

    run: str  # the folder, as the search file names it
    genome: Genome
    result: Result  # with its id there; no more of it than a search learns from

    @staticmethod
    def of(run: str, genome: Genome, result: Result) -> Earlier:
        """The same without what concerns the other run alone: when, where and how it was trained."""
        return Earlier(run, genome, Result(result.id, result.status, result.fitness, result.loss,
                                           measures=result.measures))

    def as_dict(self) -> Dict[str, Any]:
        """The form in which it is recorded."""
        known = self.result.as_dict()
        return {"run": self.run, "genes": self.genome.as_dict(),
                **{name: known[name] for name in ("id", "status", "fitness", "loss", "measures") if name in known}}

    @staticmethod
    def from_dict(record: Mapping[str, Any]) -> Earlier:
        """Inverse of `as_dict`; ValueError names a field that is missing or no good."""
        known = fields.read(record, {"run": fields.TEXT, "genes": _GENES})
        return Earlier.of(known["run"], known["genes"], Result.from_dict(record))


def failure(trial_id: int, status: str, reason: str, **known: Any) -> Result:
    """A result of fitness 0 that says why."""
    return Result(trial_id, status, fitness=0.0, reason=printable(" ".join(reason.split())), **known)


def believable(*values: float) -> bool:
    """Whether these can have been measured in single precision: finite, and no larger than it has numbers."""
    return all(abs(value) <= LARGEST for value in values)


def judged(trial_id: int, fitness: float, loss: float, measure: str = "accuracy", **known: Any) -> Result:
    """`ok` with this fitness, which is what `measure` is, if the loss is finite: Caffe reports accuracy 1.0 for outputs
    of NaN (accuracy_layer.cpp counts the scores that are >= the true one, and nothing is >= NaN)."""
    if not believable(loss, fitness):
        return failure(trial_id, DIVERGED, f"test loss is {loss}, {measure} {fitness} is not to be believed", **known)
    return Result(trial_id, OK, fitness=fitness, loss=loss, **known)


def training_seed(run_seed: int, genome: Genome, salt: str = "") -> int:
    """Caffe's random_seed of an individual, in [0, 2**31): from the run's seed and the genome, so that an individual
    met again is the same training. `salt` makes another one of it."""
    text = f"{run_seed}|{genome}|{salt}".encode()
    return int.from_bytes(hashlib.sha256(text).digest()[:4], "big") >> 1
