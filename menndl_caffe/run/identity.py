"""What makes a run this run and no other, and whether a folder holds the run that is asked for."""
from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any, Dict, Iterator, Mapping, MutableSequence, Optional, Tuple

from menndl_caffe.data import checksum, describe, fingerprint
from menndl_caffe.errors import UserError
from menndl_caffe.experiment import hypernet
from menndl_caffe.experiment.appraise import subtracts_mean
from menndl_caffe.experiment.experiment import Experiment
from menndl_caffe.experiment.places import KEPT
from menndl_caffe.experiment.render import Rendered
from menndl_caffe.experiment.sources import parts_of_data, sources
from menndl_caffe.files import sha256_of
from menndl_caffe.nets import prototxt
from menndl_caffe.nets.proto import menndl_pb2
from menndl_caffe.rank.engine import Engine
from menndl_caffe.record import Record
from menndl_caffe.search import program
from menndl_caffe.trial import DEFAULT, TEST, TRAIN, YARDSTICK


def identity(experiment: Experiment, default: Rendered, engine: Engine) -> Dict[str, Any]:
    """What makes a run this run and no other: with all of it equal, the same trials give the same results."""
    message = menndl_pb2.SearchParameter()
    message.CopyFrom(experiment.message)
    message.ClearField("data")  # where the data lies does not matter, what it is does
    message.ClearField("trial_timeout")  # may be mended in the middle of a run
    templates = {kind: sha256_of(path) for kind, path in hypernet.template_files(experiment).items()}
    where = sources(experiment, DEFAULT)
    databases = [f"{part} {describe(path).records:,} images {fingerprint(path)[:12]}"
                 for part, path in (("train", Path(where.train)), ("test", Path(where.test)))]
    mean = sha256_of(Path(where.mean)) if subtracts_mean(default.net.message) else ""
    return {"search": prototxt.dumps(message), "templates": templates, "data": ", ".join(databases), "mean": mean,
            "records": _records(experiment), "engine": engine.name, "math": engine.math}


def _records(experiment: Experiment) -> Dict[str, str]:
    """Checksums of all databases that the run reads, its last trials' too, by their part of the data."""
    message, roles = experiment.message, [DEFAULT]
    if message.fitness_set == menndl_pb2.SearchParameter.VALIDATION:
        roles += [TEST] if program(message) == TRAIN else [TEST, YARDSTICK]
    found: Dict[str, str] = {}
    for role in roles:
        parts, where = parts_of_data(message, role), sources(experiment, role)
        for part, path in ((parts.train, where.train), (parts.test, where.test)):
            found[part] = found.get(part) or checksum(Path(path))[:12]
    return found


# How far a search goes, and not how: what may change when a run is gone on with.
COUNTS = ("ga_param.generations", "limit.trials", "limit.iterations")
SIZE = (*COUNTS, "limit.hours")
AGAIN = "confirm."  # what shall be trained again may change as well: how its fields' names begin


def check_identity(out: Path, record: Record, identity: Dict[str, Any]) -> None:
    """UserError where the folder holds a run of something else; what means the same may be written otherwise, and how
    far the search goes may be another now."""
    if not record.run:
        return
    known = {name: identity[name] for name in ("mean", "records")}  # of which older journals say nothing
    before, now = features({**known, **record.run}, out), features(identity, out)
    for name in {**before, **now}:
        if before.get(name) != now.get(name) and name not in SIZE and not name.startswith(AGAIN):
            own = name.endswith(" template") and (out / KEPT).is_dir()
            raise UserError(f"{out} is a run of another search: its {name} is {before.get(name, 'not there')}, this "
                            f"one's is {now.get(name, 'not there')}; give another --out, or "
                            + (f"go on with the run's own copies, `menndl run {shlex.quote(str(out))}`" if own else
                               "the settings it was started with"))


def check_size(out: Path, record: Record, total: Optional[int]) -> None:
    """UserError where the folder has more individuals than a search that ends after `total` ones asks for."""
    if total is not None and record.begun > total:
        raise UserError(f"{out} has {record.begun:,} individuals already, this search ends after {total:,}; expected "
                        f"{', '.join(COUNTS)} for as many or more, or another --out")


def features(identity: Mapping[str, Any], run: Path) -> Dict[str, Any]:
    """An identity as name -> value, the search's fields by their paths, those left out at their defaults; UserError
    where the first line of the run's journal has no such."""
    for name in ("search", "templates", "data", "engine"):
        if name not in identity:
            raise UserError(f"{run}: the journal's first line has no field {name!r}: "
                            "it is of another version of menndl")
    message = prototxt.parse(identity["search"], menndl_pb2.SearchParameter).message
    if not message.objective:
        message.objective.add()  # the accuracy, as if it were said
    search = dict(_fields(message))
    templates = {f"{field} template": f"the one of SHA-256 {checksum[:12]}..."
                 for field, checksum in identity["templates"].items()}
    mean = {"mean": identity["mean"][:12] or "none"} if "mean" in identity else {}
    records = {f"records of {part}": checksum for part, checksum in identity.get("records", {}).items()}
    return {**search, **templates, "data": identity["data"], **mean, **records, "engine": identity["engine"],
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
