"""A run as its journal tells it: the record, and the experiment that it describes, parsed once."""
from __future__ import annotations

import bisect
import functools
import math
from dataclasses import replace
from pathlib import Path
from typing import Any, Dict, List, Optional, Tuple

from menndl_caffe import fields, journal, search
from menndl_caffe.errors import UserError
from menndl_caffe.experiment.experiment import Experiment
from menndl_caffe.experiment.places import Places
from menndl_caffe.experiment.search_file import load, of_text, override
from menndl_caffe.genome import Genome, SearchSpace
from menndl_caffe.journal import Entry, Follower, Judge
from menndl_caffe.nets.proto import menndl_pb2
from menndl_caffe.objective import ACCURACY, LOSS, MEASURES, Objective, costs, curve_measure, front
from menndl_caffe.record import Record
from menndl_caffe.trial import CONFIRM, INDIVIDUAL, LEARNING, OK, STOPPED, Earlier, Result, Trial

SIZE = ("search", "total", "generations")  # of the first line, what a resume line may say anew: how far a run shall go
_MEASURED = {ACCURACY: fields.number(0, 1), **dict.fromkeys(MEASURES, fields.number(0, 2**62))}
GROUPS = 20  # into which a search without generations is divided, at most


class Run:
    """What every reader of a run gets. `record` may grow while a Follower reads on; of the experiment nothing changes
    then but how far it shall go."""

    def __init__(self, folder: Path, record: Record):
        """UserError where the run has not begun, or its search is not one of this version of menndl."""
        if not record.run:
            raise UserError(f"{folder}: the journal has no first line: the run has not begun, or died before it did; "
                            "start it again")
        self.folder, self.record = folder, record
        self._parsed = self._parse()

    @property
    def name(self) -> str:
        """The folder's own name."""
        return self.folder.resolve().name

    @property
    def experiment(self) -> Experiment:
        """What is searched."""
        if self._parsed[0] != self._newest["search"]:
            self._parsed = self._parse()
        return self._parsed[1]

    def _parse(self) -> Tuple[str, Experiment]:
        """The search file's text and what it says."""
        text, line = self._newest["search"], ":1" if self._newest is self.record.run else ", its last resume"
        return text, of_text(text, f"{self.folder / journal.NAME}{line}: search", Places.of_run(self.folder))

    @property
    def _newest(self) -> Dict[str, Any]:
        """The line that says how far the run shall go."""
        return next((line for line in reversed(self.record.resumes) if "search" in line), self.record.run)

    @property
    def message(self) -> Any:
        """The SearchParameter, with the command line's settings in it."""
        return self.experiment.message

    @property
    def space(self) -> SearchSpace:
        """The space of the genes."""
        return self.experiment.space

    @property
    def fitness_set(self) -> str:
        """`test` or `validation`: the images whose accuracy is the fitness."""
        return menndl_pb2.SearchParameter.FitnessSet.Name(self.message.fitness_set).lower()

    @functools.cached_property
    def objectives(self) -> Tuple[Objective, ...]:
        """What is optimized, the fitness first."""
        return self.experiment.objectives

    @property
    def fitness(self) -> Objective:
        """What the fitness is."""
        return self.objectives[0]

    @property
    def curve_measure(self) -> str:
        """What learning curves show beside the loss."""
        return curve_measure(self.objectives)

    def front(self) -> List[Tuple[Trial, Result]]:
        """The different individuals that no other one dominates, fittest first, of those that were trained to their
        ends."""
        pairs = sorted(self.record.individuals(), key=lambda pair: self.fitness.rank_key(pair[1]))
        known = [(trial, result) for trial, result in pairs if result.finished]
        different: Dict[Genome, Tuple[Trial, Result]] = {}
        for place in front([costs(self.objectives, result) or () for _, result in known]):
            different.setdefault(known[place][0].genome, known[place])
        return list(different.values())

    @property
    def line(self) -> Dict[str, Any]:
        """The journal's first line, but for SIZE, which is the newest. Its fields beside those below may be missing.
        """
        return {**self.record.run, **{name: self._newest[name] for name in SIZE if name in self._newest}}

    @property
    def data_folder(self) -> Path:
        """Where the run's data are: as it was started last, here or in the folder in which that was, and else before;
        where they are no more, as the journal names them."""
        lines = (*reversed(self.record.resumes), self.record.run)
        named = [(line.get("directory", ""), line["data_folder"]) for line in lines if "data_folder" in line]
        places = [place for directory, name in named for place in (Path(name), Path(directory, name))]
        return next(filter(Path.is_dir, places), Path(named[0][1] if named else "."))

    @property
    def engine(self) -> str:
        """What trained: `caffe` or `torch`."""
        return str(self.line["engine"])

    @property
    def started(self) -> float:
        """Seconds since the epoch."""
        return float(self.line["started"])

    @property
    def ended(self) -> Optional[float]:
        """The hours after which the search was over; None where it is not, or came to its end without a limit of time.
        """
        limit, ended = self.message.limit, self.record.ended
        return limit.hours if limit.hours and ended is not None and ended >= limit.hours else None

    @property
    def over(self) -> bool:
        """Whether a limit of hours or of iterations has been reached."""
        return self.ended is not None or used_up(self.message, self.record)

    @property
    def total(self) -> Optional[int]:
        """Individuals of the whole search, of one that is over those begun; None where it is not known how many there
        will be."""
        return self.record.begun if self.over else self.line.get("total")

    @property
    def rungs(self) -> List[int]:
        """The iterations at which trainings may be stopped, ascending; none in a search without `stop`."""
        return search.rungs_of(self.message)

    @property
    def generations(self) -> Optional[int]:
        """Generations of the whole search, the same way; None where it has none, or no known number of them."""
        planned = self.line.get("generations")
        return self.stages.begun if planned is not None and self.over else planned

    @property
    def earlier(self) -> str:
        """Which runs' individuals the search knew from the beginning: `37 individuals of runs/a`; nothing for none."""
        counts = self.record.run.get("earlier", {})
        return ", ".join(f"{count:,} individual{'s' * (count > 1)} of {run}" for run, count in counts.items())

    @property
    def stages(self) -> Stages:
        """The time axis of all reports, as of now: counted anew at each call."""
        planned = self.line.get("generations")
        stages = Stages(self.record, self.line.get("total") if planned else self.total, planned)
        if self.over:
            stages.planned = stages.begun or None
        return stages


class Stages:
    """Generations, or where a search has none, groups of consecutive individuals. They are numbered 1, 2, ...

    `name` is what one is called, `plural` what several are: `generation`, `group of 25`, `individual`. `planned` is how
    many there will be, None where nobody knows; `begun` how many there are so far.
    """

    def __init__(self, record: Record, total: Optional[int], generations: Optional[int]):
        self._record = record
        members = sorted(id for id, trial in record.trials.items()
                         if trial.role == INDIVIDUAL and trial.continues is None)
        known = [trial.generation + 1 for trial in map(record.trials.__getitem__, members)
                 if trial.generation is not None]
        self._total = total
        self._groups: Optional[Dict[int, int]] = None  # individual -> group; None where there are generations
        self._size: Optional[int]
        self.planned: Optional[int]
        if len(known) == len(members) and (members or generations):
            self.name, self.plural, self.planned = "generation", "generations", generations
            self._size = total // generations if total and generations else None
            self.begun = max(known, default=0)
        else:
            self._size = size = max(1, -(-(total or len(members)) // GROUPS))
            grouped = (f"group of {size}", f"groups of {size}")
            self.name, self.plural = grouped if size > 1 else (INDIVIDUAL, f"{INDIVIDUAL}s")
            self.planned = -(-total // size) if total else None
            self._groups = {id: place // size + 1 for place, id in enumerate(members)}
            self.begun = max(self._groups.values(), default=0)

    @property
    def until(self) -> int:
        """The last one's number that an axis has room for: of those planned, else of those begun; at least 1."""
        return self.planned or max(self.begun, 1)

    def of(self, trial: Trial) -> Optional[int]:
        """The stage of a trial; None for the default and the final test, which are members of none."""
        return counted(trial.generation) if self._groups is None else self._groups.get(self._record.chain(trial)[0].id)

    def size(self, number: int) -> Optional[int]:
        """Individuals of a stage when it is complete; None where nobody knows."""
        if self._groups is None or not self._total or not self._size:
            return self._size
        return min(self._size, self._total - (number - 1) * self._size)


def used_up(message: Any, record: Record) -> bool:
    """Whether a search has given all its training iterations, `limit { iterations: ... }`."""
    return 0 < message.limit.iterations <= record.iterations


def expected(message: Any, record: Record) -> float:
    """How many individuals a search with `limit { iterations: ... }` will have, as far as its individuals came so far;
    infinite without such a limit, and before there are any."""
    limit = message.limit.iterations
    return record.begun * max(1.0, limit / record.iterations) if limit and record.iterations else math.inf


def worked(record: Record) -> float:
    """Seconds in which a search was worked at: of each start but one without any, to the last that is recorded of it.
    What trained for the sake of `menndl confirm` does not count."""
    starts = sorted(line["started"] for line in (record.run, *record.resumes) if "started" in line)
    again = {id for id, trial in record.trials.items() if trial.role == CONFIRM}
    times = sorted([*(given.time for id, given in record.given.items() if id not in again),
                    *(result.started + result.seconds for id, result in record.results.items() if id not in again)])
    seconds = 0.0
    for start, following in zip(starts, (*starts[1:], math.inf)):
        last = bisect.bisect_left(times, following) - 1
        seconds += max(0.0, times[last] - start) if last >= 0 else 0.0
    return seconds


def counted(generation: Optional[int]) -> Optional[int]:
    """The generation's number for people: the journal's 0 is the first."""
    return None if generation is None else generation + 1


def judging(text: str, name: str) -> Judge:
    """Holds the lines of a journal against its search, whose text this is (journal.Judging)."""
    experiment = of_text(text, name)
    space, objectives, message = experiment.space, experiment.objectives, experiment.message
    descending = search.descending(message, space).names
    fitness = {"fitness": _MEASURED.get(objectives[0].measure, fields.number())}
    rungs = search.rungs_of(message)
    trials: Dict[int, Trial] = {}
    going_on: Dict[int, int] = {}  # trial -> the one that continues it
    needed = {objective.measure: _MEASURED.get(objective.measure, fields.number()) for objective in objectives[1:]}

    def check_result(result: Result) -> None:
        fields.read({"fitness": result.fitness}, fitness)
        fields.read_present(result.measures, _MEASURED)
        known = result.measures if result.loss is None else {LOSS: result.loss, **result.measures}
        if not result.failed:
            fields.read(known, needed)
            if result.id in trials and trials[result.id].program in LEARNING:
                fields.read(result.learned, {"sha256": fields.TEXT})
        if result.gradient and result.gradient.keys() != set(descending):
            raise ValueError(f"its gradient is by {' '.join(result.gradient)}; expected {' '.join(descending)}")

    def check_rung(trial: Trial) -> None:
        if trial.until is not None and trial.until not in rungs:
            raise ValueError(f"trial {trial.id} ends at iteration {trial.until:,}; expected a rung of its search"
                             + (f": {', '.join(map(str, rungs))}" if rungs else ", which has none"))
        if trial.continues is None:
            return
        before = trials[trial.continues]
        if going_on.setdefault(before.id, trial.id) != trial.id:
            raise ValueError(f"trial {trial.id} continues trial {before.id}, as {going_on[before.id]} does already")
        if replace(trial, id=before.id, until=before.until, continues=before.continues) != before:
            raise ValueError(f"trial {trial.id} continues trial {before.id}, which has other genes or another seed")
        if before.until is None or trial.until is not None and trial.until <= before.until:
            raise ValueError(f"trial {trial.id} continues trial {before.id}, which does not end before it")

    def check_status(result: Result, until: Optional[int]) -> None:
        expected = OK if until is None else STOPPED
        if not result.failed and result.status != expected:
            where = "goes to its end" if until is None else f"ends at iteration {until:,}"
            raise ValueError(f"its status is {result.status}; expected {expected}, or a failure, of one that {where}")

    def judge(entry: Entry) -> None:
        if isinstance(entry, (Trial, Earlier)):
            space.check(entry.genome)
        if isinstance(entry, Trial):
            check_rung(entry)
            trials[entry.id] = entry
        elif isinstance(entry, Earlier):
            check_status(entry.result, None)
            check_result(entry.result)
        elif isinstance(entry, Result):
            check_status(entry, trials[entry.id].until)
            check_result(entry)
        if isinstance(entry, dict) and "search" in entry:
            now = of_text(entry["search"], name)
            if (now.space, now.objectives, now.message.type, now.message.inner) != (space, objectives, message.type,
                                                                                    message.inner):
                raise ValueError("its search has other genes, objectives or another type than the first line's")

    return judge


def is_run(name: str) -> bool:
    """Whether this is the folder of a run, and no search file."""
    return (Path(name) / journal.NAME).is_file()


def experiment_of(name: str, seed: Optional[int], data: Optional[str], max_iter: Optional[int]) -> Experiment:
    """The experiment of a search file (search_file.load), or that of the run with this folder, on its data."""
    if not is_run(name):
        return load(name, seed, data, max_iter)
    run = read(Path(name))
    override(run.message, seed, data or str(run.data_folder), max_iter)
    return run.experiment


def follower(folder: Path) -> Follower:
    """Reads on in the journal of a run."""
    return Follower(folder, judging)


def read(folder: Path) -> Run:
    """The run of a folder; UserError where there is none, where it has not begun, or where its journal is damaged."""
    return Run(folder, journal.read(folder, judging))
