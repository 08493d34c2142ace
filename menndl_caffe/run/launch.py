"""One `menndl run`: find out who is here, check that everything can work, and set the loop going on the master."""
from __future__ import annotations

import contextlib
import functools
import os
import platform
import shlex
import socket
import sys
import time
from dataclasses import dataclass, replace
from math import inf
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, Mapping, Optional

import menndl_caffe
from menndl_caffe import search
from menndl_caffe.data import describe, lock_refusal
from menndl_caffe.errors import UserError, in_utf8
from menndl_caffe.experiment import recorded
from menndl_caffe.experiment.appraise import check_experiment, expected_cost, is_steady
from menndl_caffe.experiment.classes import images_of_classes
from menndl_caffe.experiment.experiment import Experiment
from menndl_caffe.experiment.recorded import Run, expected, used_up
from menndl_caffe.experiment.render import Renderer
from menndl_caffe.experiment.sources import Sources, sources
from menndl_caffe.farm import Farm, launched_size, over_mpi
from menndl_caffe.farm.local import LocalFarm
from menndl_caffe.genome import Genome
from menndl_caffe.journal import Journal
from menndl_caffe.nets.wiring import layers_of_phase
from menndl_caffe.objective import Objective
from menndl_caffe.rank import engine as engines
from menndl_caffe.rank.evaluate import Evaluator
from menndl_caffe.record import Record
from menndl_caffe.report.confirmation import candidates
from menndl_caffe.report.rungs import of_rungs
from menndl_caffe.run import confirm
from menndl_caffe.run.identity import check_identity, check_size, features, identity
from menndl_caffe.run.kept import check_copies, keep
from menndl_caffe.run.loop import Loop, never
from menndl_caffe.run.numbering import Numbering
from menndl_caffe.run.progress import Progress, terminal
from menndl_caffe.run.trial_files import TrialFiles
from menndl_caffe.run.warm_start import begun_with, taken_over
from menndl_caffe.run.worktime import Worktime, to_confirm
from menndl_caffe.trial import DEFAULT, TEST, TRAIN, YARDSTICK, Trial
from menndl_caffe.walltime import Walltime


@dataclass(frozen=True)
class Options:
    """What the command line says of a run."""

    search: str
    out: Path
    engine: Optional[str] = None  # the run's, of a run's folder in the place of a search file; else the first
    math: Optional[str] = None
    seed: Optional[int] = None
    data: Optional[str] = None
    max_iter: Optional[int] = None
    expect_ranks: Optional[int] = None
    threads: Optional[int] = None
    live: bool = False

    def progress(self, total: Optional[int], generations: Optional[int], fitness: Objective,
                 end: float = inf) -> Progress:
        """On the terminal where there is one and the user wants that, else in plain lines."""
        return Progress(total, generations, terminal(launched_size() > 0) if self.live else None, fitness, end)


class Parts:
    """What every rank needs: the experiment, its renderer, the engine. UserError where anything cannot work."""

    def __init__(self, experiment: Experiment, engine: str, math: str, threads: int):
        """`engine` and `math` are names; `threads` of each trainer's BLAS."""
        self.experiment, self.threads = experiment, threads
        self.renderer = Renderer(experiment)
        self.default = check_experiment(self.renderer)
        self.engine, self._versions = engines.find(engine, math), None  # type: engines.Engine, Optional[Dict[str, Any]]
        if self.engine.name == "caffe":
            _check_locks(sources(experiment, DEFAULT))

    @staticmethod
    def of(options: Options) -> Parts:
        """Those that a command line asks for."""
        line: Dict[str, Any] = {}
        if recorded.is_run(options.search):
            run = recorded.read(Path(options.search))
            check_copies(run)
            line = run.line
        experiment = recorded.experiment_of(options.search, options.seed, options.data, options.max_iter)
        return Parts(experiment, options.engine or line.get("engine", engines.NAMES[0]),
                     options.math or line.get("math", engines.MATHS[0]), options.threads or line.get("threads", 1))

    @staticmethod
    def of_run(run: Run, data: Optional[Path] = None) -> Parts:
        """Those of a run, from its journal and its copies of the templates; `data` where the data have moved.

        UserError where something is missing or is another now.
        """
        then, where = features(run.line, run.folder), data or run.data_folder
        check_copies(run)
        if not where.is_dir():
            raise UserError(f"{run.folder}: its data were in {where}, which is not here; "
                            "--data DIR says where they are now")
        run.message.data = in_utf8(str(where.absolute()))
        parts = Parts(run.experiment, run.engine, run.line.get("math", engines.MATHS[0]), run.line.get("threads", 1))
        now = features(parts.identity, run.folder)
        changed = [f"its {name} is {then[name]}, the one here is {now[name]}"
                   for name in then if then[name] != now[name]]
        if changed:
            raise UserError(f"{run.folder}: cannot be repeated with what is here now: {'; '.join(changed)}")
        return parts

    @functools.cached_property
    def identity(self) -> Dict[str, Any]:
        """What makes a run this run."""
        return identity(self.experiment, self.default, self.engine)

    def versions(self, stop: Callable[[], str] = never) -> Dict[str, Any]:
        """As `Engine.known`; trainers that start from now on must have the same."""
        if self._versions is None:
            self.engine, self._versions = self.engine.known(stop)
        return self._versions

    def evaluator(self, rank: int = 0, run: Optional[Path] = None) -> Evaluator:
        """A new evaluator with a trainer of its own, which starts with its first trial. `run`: as in Evaluator."""
        return Evaluator(self.renderer, self.engine.trainer(self.threads), rank, self.engine, run)


def _check_locks(where: Sources) -> None:
    """UserError where real Caffe would abort on a database, with every individual."""
    for refusal in map(lock_refusal, (Path(where.train), Path(where.test))):
        if refusal:
            raise UserError(f"{refusal}, and real Caffe opens no database without: copy the data, but for lock.mdb, to "
                            "a folder of your own, and name that with --data")


class Job:
    """A run, as the ranks of a world play it (farm.world.Job)."""

    def __init__(self, options: Options, walltime: Walltime):
        self.options, self.walltime = options, walltime
        self.record: Optional[Record] = None  # of the master, in the end

    @functools.cached_property
    def parts(self) -> Parts:
        """What this rank needs."""
        return Parts.of(self.options)

    def prepare(self) -> None:
        """UserError where anything cannot work."""
        self.parts.identity  # noqa: B018

    def has(self) -> Dict[str, str]:
        """Of what all ranks must have the same."""
        self.parts.versions(self.walltime)
        return {**self._compared, "engine's version": self.parts.engine.version}

    def check(self, first: Mapping[str, str]) -> None:
        """UserError where this rank has another; its trainers say for themselves of which version they are."""
        self.parts.engine = replace(self.parts.engine, version=first["engine's version"])
        for name, mine in self._compared.items():
            if first.get(name) != mine:
                raise UserError(f"its {name} is {mine}, rank 0's is {first.get(name, 'not there')}; expected the same "
                                "search, templates, data, engine and menndl on every rank")

    @property
    def _compared(self) -> Dict[str, str]:
        known = {"menndl": menndl_caffe.__version__, **features(self.parts.identity, self.options.out)}
        return {name: str(value) for name, value in known.items()}

    def evaluator(self, rank: int) -> Evaluator:
        """With a trainer of its own."""
        return self.parts.evaluator(rank, self.options.out)

    def master(self, farm: Farm, ranks: int) -> None:
        """The search itself."""
        self.record = _master(self.parts, self.options, farm, ranks, self.walltime)


def play(job: Job) -> Optional[Record]:
    """Play a job alone or in the world that a launcher has started; the record of the run on the master, None on the
    other ranks.

    Stopped where a signal or the time limit came before the end.
    """
    expected = job.options.expect_ranks
    if launched_size() or expected:
        over_mpi("started under MPI, but").play(job, expected)
    else:
        job.master(LocalFarm(job.evaluator(0)), 1)
    return job.record


def run(options: Options, walltime: Walltime) -> Optional[Record]:
    """Run or go on with a search: see `play`."""
    return play(Job(options, walltime))


def _master(parts: Parts, options: Options, farm: Farm, ranks: int, walltime: Walltime) -> Record:
    """The master's work from the first line of the journal to the last result, or to the end of its time."""
    experiment, message = parts.experiment, parts.experiment.message
    with contextlib.closing(farm), explained(options.out), Journal(options.out, judging=recorded.judging) as journal:
        this = parts.identity
        check_identity(options.out, journal.record, this)
        numbering, where = Numbering(experiment), sources(experiment, DEFAULT)
        default = numbering(experiment.space.default, role=DEFAULT)
        cost = functools.cache(functools.partial(expected_cost, parts.renderer, where))  # individuals are met again
        problem = search.Problem(experiment.space, message.random_seed, numbering, cost,
                                 experiment.objectives, steady=functools.partial(is_steady, parts.renderer, where))
        earlier = taken_over(experiment, problem, journal, this)
        algorithm = search.make(message, begun_with(problem, experiment.enqueued, earlier))
        size = _size(experiment, algorithm)
        check_size(options.out, journal.record, size.get("total"))
        here = circumstances(parts, farm, ranks, walltime)
        keep(options.out, _search_name(journal.record.run.get("search_file", options.search)), experiment)
        journal.begin({**this, "search_file": options.search, **here, **size}, earlier)
        files = TrialFiles(options.out, parts.renderer, journal.record)
        fitness = experiment.objectives[0]
        worktime = Worktime(journal, message.limit.hours,
                            lambda: to_confirm(Run(options.out, journal.record), max(1, farm.slots)))
        wanted = message.confirm if message.HasField("confirm") else None
        with contextlib.closing(options.progress(size.get("total"), size.get("generations"), fitness,
                                                 worktime.end)) as progress:
            progress.expected = lambda: expected(message, journal.record)
            progress.confirms = wanted.seeds * (wanted.best + 1) if wanted else 0
            if of_rungs(message):
                progress.say(of_rungs(message))
            search.hear_of_stopped(algorithm, progress.stopped)
            with progress.repeating():
                loop = Loop(algorithm, farm, journal, numbering, size.get("total"), files.keep, progress, walltime,
                            lambda: used_up(message, journal.record) or worktime(), search.going_on(algorithm))
                if not journal.record.undecided:  # as its last line says
                    search.nobody_goes_on(algorithm)
            if default.id not in journal.record.results:
                progress.tell(f"training the default first, {default.max_iter:,} iterations")
            loop.run([default])
            if journal.record.undecided:  # else the next trial's line says so
                journal.add_end()
            run = Run(options.out, journal.record)
            again = confirm.trials(run, wanted) if wanted and candidates(run, 1) else []
            progress.confirms = len(again)
            loop.run([*_last(run, numbering, experiment), *again])
        return journal.record


def _search_name(first: str) -> str:
    """Under which name the search file is kept: that with which the run began. That may have been another run's folder.
    """
    return Path(first).name if Path(first).suffix else f"{Path(first).name}.search.prototxt"


def _size(experiment: Experiment, algorithm: search.Search) -> Dict[str, int]:
    """How many individuals and generations there will be, as far as the search or its limit knows."""
    total = search.total(experiment.message, algorithm)
    return {name: number for name, number in (("total", total), ("generations", algorithm.generations)) if number}


def _last(run: Run, numbering: Numbering, experiment: Experiment) -> Iterator[Trial]:
    """Of a search that fits the validation set the trials on the test set: the best individual's, and the yardstick.

    Earlier starts may have begun them; or done, for a best that is still the best in a search that goes further.
    """
    found = run.record.best(1, run.objectives[0]) if run.fitness_set == "validation" else []
    if not found or not found[0][1].finished:
        return
    best, result = found[0]

    def trial(genome: Genome, role: str, **how: Any) -> Trial:
        begun = (trial for trial in run.record.trials.values() if (trial.genome, trial.role) == (genome, role))
        return next(begun, None) or replace(numbering(genome, role=role), **how)

    yield trial(best.genome, TEST, **confirm.as_tested(experiment.message, best, result))
    if search.program(experiment.message) != TRAIN:
        yield trial(experiment.space.default, YARDSTICK)


def circumstances(parts: Parts, farm: Farm, ranks: int, walltime: Walltime) -> Dict[str, Any]:
    """Where, when and with what a run or its continuation was started."""
    message = parts.experiment.message
    return {"menndl": menndl_caffe.__version__, "versions": parts.versions(walltime),
            "engine_found": parts.engine.found, "threads": parts.threads, "seed": message.random_seed,
            "test_images": _test_images(parts), "image_shape": _image_shape(parts), **_classes(parts),
            "data_folder": message.data, "directory": os.getcwd(),
            "host": socket.gethostname(), "platform": platform.platform(), "menndl_python": platform.python_version(),
            "ranks": ranks, "slots": farm.slots, "command": shlex.join(sys.argv), "started": round(time.time(), 3)}


def _image_shape(parts: Parts) -> List[int]:
    """Channels, height and width of the training images."""
    images = describe(Path(sources(parts.experiment, DEFAULT).train))
    return [images.channels, images.height, images.width]


def _classes(parts: Parts) -> Dict[str, Any]:
    """Images of each class, where they were counted."""
    where = sources(parts.experiment, DEFAULT)
    found = images_of_classes(Path(where.train), Path(where.test))
    return {"classes": found} if found else {}


def _test_images(parts: Parts) -> int:
    """Different images on which a test pass measures; 0 where the test net has no Data layer."""
    batches = parts.default.solver.message.test_iter[0]
    for layer, *_ in layers_of_phase(parts.default.net.message, "TEST", 0, ()):
        if layer.type == "Data":
            return min(layer.data_param.batch_size * batches, describe(Path(layer.data_param.source)).records)
    return 0


@contextlib.contextmanager
def explained(out: Path) -> Iterator[None]:
    """A full disk in the middle of a run is not the end of it: say so."""
    try:
        yield
    except OSError as error:
        raise SystemExit(f"menndl run: {error.strerror or error} ({error.filename or out}); "
                         "every recorded result is safe: mend it and start the same command again") from error
