"""One `menndl run`: find out who is here, check that everything can work, and set the loop going on the master."""
from __future__ import annotations

import contextlib
import platform
import shlex
import socket
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, Iterator, List, Mapping, MutableSequence, Optional, Tuple

import menndl_caffe
from menndl_caffe import search
from menndl_caffe.data import describe, fingerprint, lock_refusal, sha256_of
from menndl_caffe.errors import UserError
from menndl_caffe.experiment import search_file
from menndl_caffe.experiment.appraise import check_experiment, expected_cost, subtracts_mean
from menndl_caffe.experiment.experiment import TEMPLATES, Experiment
from menndl_caffe.experiment.render import Renderer
from menndl_caffe.experiment.sources import Sources, sources
from menndl_caffe.farm import Farm, launched_size, over_mpi
from menndl_caffe.farm.local import SerialFarm
from menndl_caffe.journal import Journal, Record
from menndl_caffe.nets import prototxt
from menndl_caffe.nets.proto import caffe_pb2, menndl_pb2
from menndl_caffe.nets.upgrade import upgrade_net
from menndl_caffe.rank import engine as engines
from menndl_caffe.rank.evaluate import Evaluator
from menndl_caffe.rank.process import TrainerProcess
from menndl_caffe.run.loop import Loop
from menndl_caffe.run.progress import Progress, terminal
from menndl_caffe.run.trial_files import TrialFiles
from menndl_caffe.trial import DEFAULT, OK, TEST
from menndl_caffe.walltime import Walltime


@dataclass(frozen=True)
class Options:
    """What the command line says of a run."""

    search: str
    out: Path
    engine: str = "caffe"
    math: str = "float32"
    seed: Optional[int] = None
    data: Optional[str] = None
    max_iter: Optional[int] = None
    expect_ranks: Optional[int] = None
    threads: int = 1
    live: bool = False
    time_limit: Optional[int] = None


class Parts:
    """What every rank needs: the experiment, its renderer, the engine. UserError where anything cannot work."""

    def __init__(self, options: Options, experiment: Optional[Experiment] = None):
        self.options = options
        self.experiment = experiment or search_file.load(options.search, options.seed, options.data, options.max_iter)
        self.renderer = Renderer(self.experiment)
        self.default = check_experiment(self.renderer)
        self.engine = engines.find(options.engine, options.math)
        if self.engine.name == "caffe":
            _check_locks(sources(self.experiment, DEFAULT))

    def evaluator(self, rank: int = 0) -> Evaluator:
        """A new evaluator with a trainer of its own, which starts with its first trial."""
        trainer = TrainerProcess(self.engine.command, self.engine.environment(self.options.threads))
        return Evaluator(self.renderer, trainer, rank, self.engine)


def _check_locks(where: Sources) -> None:
    """UserError where real Caffe would abort on a database, with every individual."""
    for refusal in map(lock_refusal, (Path(where.train), Path(where.test))):
        if refusal:
            raise UserError(f"{refusal}, and real Caffe opens no database without: copy the data, but for lock.mdb, to "
                            "a folder of your own, and name that with --data")


def run(options: Options) -> Optional[Record]:
    """Run or go on with a search; the record of the run on the master, None on the other ranks.

    Stopped where SIGTERM or the time limit came before the end.
    """
    walltime = Walltime(options.time_limit)
    if not (launched_size() or options.expect_ranks):
        parts = Parts(options)
        return _master(parts, SerialFarm(parts.evaluator()), 1, walltime)
    mpi = over_mpi("started under MPI, but")
    return mpi.run_world(options.expect_ranks, lambda: Parts(options), Parts.evaluator,
                         lambda parts, farm, ranks: _master(parts, farm, ranks, walltime), lambda: walltime.terminated)


def _master(parts: Parts, farm: Farm, ranks: int, walltime: Walltime) -> Record:
    """The master's work from the first line of the journal to the last result, or to the end of its time."""
    experiment, options = parts.experiment, parts.options
    with contextlib.closing(farm), _explained(options.out), Journal(options.out) as journal:
        this = identity(parts)
        _check_identity(options.out, journal.record, this)
        where = sources(experiment, DEFAULT)
        algorithm = search.make(experiment.message, experiment.space, experiment.trial,
                                lambda genome: expected_cost(parts.renderer, where, genome))
        journal.begin({**this, **_circumstances(parts, farm, ranks, algorithm.total)})
        progress = Progress(algorithm.total, experiment.message.ga_param.generations,
                            terminal(launched_size() > 0) if options.live else None)
        files = TrialFiles(options.out, parts.renderer, journal.record)
        loop = Loop(algorithm, farm, journal, experiment.message.reuse_results, files.keep, progress, walltime)
        with contextlib.closing(progress):
            loop.run([experiment.trial(0, experiment.space.default, role=DEFAULT)])
            best, result = journal.record.best(1)[0]
            if experiment.message.fitness_set == menndl_pb2.SearchParameter.VALIDATION and result.status == OK:
                loop.run([experiment.trial(algorithm.total + 1, best.genome, role=TEST)])
        return journal.record


def identity(parts: Parts) -> Dict[str, Any]:
    """What makes a run this run and no other: with all of it equal, the same trials give the same results."""
    experiment = parts.experiment
    message = menndl_pb2.SearchParameter()
    message.CopyFrom(experiment.message)
    message.ClearField("data")  # where the data lies does not matter, what it is does
    message.ClearField("trial_timeout")  # may be mended in the middle of a run
    templates = {kind: sha256_of(experiment.template(kind)) for kind in TEMPLATES}
    where = sources(experiment, DEFAULT)
    databases = [f"{part} {describe(path).records:,} images {fingerprint(path)[:12]}"
                 for part, path in (("train", Path(where.train)), ("test", Path(where.test)))]
    mean = sha256_of(Path(where.mean)) if subtracts_mean(parts.default.net.message) else ""
    return {"search": prototxt.dumps(message), "templates": templates, "data": ", ".join(databases), "mean": mean,
            "engine": parts.engine.name, "math": parts.engine.math}


def _check_identity(out: Path, record: Record, identity: Dict[str, Any]) -> None:
    """UserError where the folder holds a run of something else; what means the same may be written otherwise."""
    if not record.run:
        return
    before, now = features({"mean": identity["mean"], **record.run}, out), features(identity, out)  # older: no mean
    for name in {**before, **now}:
        if before.get(name) != now.get(name):
            raise UserError(f"{out} is a run of another search: its {name} is {before.get(name, 'not there')}, this "
                            f"one's is {now.get(name, 'not there')}; "
                            "give another --out, or the settings it was started with")


def features(identity: Mapping[str, Any], run: Path) -> Dict[str, Any]:
    """An identity as name -> value, the search's fields by their paths, those left out at their defaults; UserError
    where the first line of the run's journal has no such."""
    for name in ("search", "templates", "data", "engine"):
        if name not in identity:
            raise UserError(f"{run}: the journal's first line has no field {name!r}: "
                            "it is of another version of menndl")
    search = dict(_fields(prototxt.parse(identity["search"], menndl_pb2.SearchParameter).message))
    templates = {f"{field} template": f"the one of SHA-256 {checksum[:12]}..."
                 for field, checksum in identity["templates"].items()}
    mean = {"mean": identity["mean"][:12] or "none"} if "mean" in identity else {}
    return {**search, **templates, "data": identity["data"], **mean, "engine": identity["engine"],
            "math": identity.get("math", "float32")}  # journals before the torch engine have none


def _fields(message: Any, path: str = "") -> Iterator[Tuple[str, Any]]:
    """Path and value of every field of a message and of those inside it."""
    for field in message.DESCRIPTOR.fields:
        value = getattr(message, field.name)
        if isinstance(value, MutableSequence):
            values = {f"{path}{field.name}[{i}]": item for i, item in enumerate(value)}
        else:
            left_out = field.containing_oneof is not None and not message.HasField(field.name)
            values = {} if left_out else {path + field.name: value}
        for name, item in values.items():
            if field.message_type:
                yield from _fields(item, f"{name}.")
            else:
                yield name, field.enum_type.values_by_number[item].name if field.enum_type else item


def _circumstances(parts: Parts, farm: Farm, ranks: int, total: int) -> Dict[str, Any]:
    """Where, when and with what a run or its continuation was started."""
    message = parts.experiment.message
    return {"menndl": menndl_caffe.__version__, "versions": parts.engine.versions(), "engine_found": parts.engine.found,
            "threads": parts.options.threads, "seed": message.random_seed,
            "total": total, "generations": message.ga_param.generations,
            "test_images": _test_images(parts), "image_shape": _image_shape(parts), "data_folder": message.data,
            "host": socket.gethostname(), "platform": platform.platform(), "menndl_python": platform.python_version(),
            "ranks": ranks, "slots": farm.slots, "command": shlex.join(sys.argv), "started": round(time.time(), 3)}


def _image_shape(parts: Parts) -> List[int]:
    """Channels, height and width of the training images."""
    images = describe(Path(sources(parts.experiment, DEFAULT).train))
    return [images.channels, images.height, images.width]


def _test_images(parts: Parts) -> int:
    """Different images of which a test pass takes the accuracy; 0 where the test net has no Data layer."""
    batches = parts.default.solver.message.test_iter[0]
    for layer in upgrade_net(parts.default.net.message).layer:
        if layer.type == "Data" and any(rule.phase == caffe_pb2.TEST for rule in layer.include):
            return min(layer.data_param.batch_size * batches, describe(Path(layer.data_param.source)).records)
    return 0


@contextlib.contextmanager
def _explained(out: Path) -> Iterator[None]:
    """A full disk in the middle of a run is not the end of it: say so."""
    try:
        yield
    except OSError as error:
        raise SystemExit(f"menndl run: {error.strerror or error} ({error.filename or out}); "
                         "every recorded result is safe: mend it and start the same command again") from error
