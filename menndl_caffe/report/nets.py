"""The nets behind a run's individuals: what they cost, and which of their numbers the genes set.

A net is rendered again where the templates are still those of the run; elsewhere it is read from RUN/trials, where the
best individual's and the default's are.
"""
from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any, Dict, FrozenSet, Iterator, List, Mapping, MutableSequence, NamedTuple, Optional, Tuple

from menndl_caffe.data import describe
from menndl_caffe.errors import UserError
from menndl_caffe.experiment.appraise import measures_of
from menndl_caffe.experiment.experiment import TEMPLATES
from menndl_caffe.experiment.recorded import Run
from menndl_caffe.experiment.render import NET_FILE, Renderer
from menndl_caffe.experiment.sources import Sources, parts_of_data
from menndl_caffe.files import inside, sha256_of
from menndl_caffe.genome import Genome
from menndl_caffe.nets import prototxt
from menndl_caffe.nets.proto import caffe_pb2
from menndl_caffe.nets.shapes import ImpossibleNet, NetShape, UnknownShape, infer
from menndl_caffe.nets.wiring import layers_of_phase
from menndl_caffe.trial import ROLES, Trial

SOLVER = ("solver", 0)  # the solver's key among the layers
ANYWHERE = Sources("train_lmdb", "test_lmdb", "mean.binaryproto")  # what a net costs does not depend on them
UNKNOWN_GENE = "?"

Key = Tuple[str, int]  # a layer's name, and how many layers of the same name come before it
Path_ = Tuple[str, ...]  # of a field in its layer: ("convolution_param", "kernel_size")
Leaves = Dict[Path_, Any]
Marks = Dict[Key, Dict[Path_, FrozenSet[str]]]  # layer -> field -> genes that set it; the path () is the whole layer


class Texts(NamedTuple):
    """The two parsed files of an individual; the solver is empty where only the net could be read."""

    net: Any
    solver: Any


class Nets:
    """All nets of one run. `changed` says why the templates cannot be used; it is empty where they can. `image` is the
    shape (C, H, W) of the images, None where it is not recorded and the databases are not here."""

    def __init__(self, run: Run):
        self._run = run
        self.image = _image_shape(run.line)
        self.changed = ""
        self._renderer: Optional[Renderer] = None
        self._sources = {role: _sources(run.line, parts_of_data(run.message, role)) for role in ROLES}
        try:
            self._renderer = _renderer(run)
        except UserError as error:
            self.changed = str(error)

    def texts(self, trial: Trial) -> Optional[Texts]:
        """The files of an individual; None where they cannot be had any more, or never could."""
        try:
            if self._renderer is not None:
                rendered = self._renderer.render(trial, ANYWHERE)
                return Texts(rendered.net.message, rendered.solver.message)
            with inside(self._run.folder, "trials", str(trial.id), NET_FILE) as file:
                text = file.read().decode("utf-8", "surrogateescape")
            return Texts(prototxt.parse(text, caffe_pb2.NetParameter).message, caffe_pb2.SolverParameter())
        except (OSError, UserError):
            return None

    def rendered(self, trial: Trial) -> Optional[Tuple[str, str]]:
        """Net and solver of an individual as text; None where the templates cannot be used or fail for it."""
        try:
            return self._renderer.texts(trial, self._sources[trial.role]) if self._renderer else None
        except UserError:
            return None

    def shape(self, net: Any) -> Optional[NetShape]:
        """Of a net as it trains; None where its shapes cannot be known or it is impossible."""
        try:
            return infer(net, "TRAIN", self._datum_shape)
        except (ImpossibleNet, UnknownShape, UserError):
            return None

    def _datum_shape(self, layer: Any) -> Tuple[int, int, int]:
        if self.image is None:
            raise UnknownShape("the shape of the images is not recorded", layer.name)
        return self.image

    def stated_decays(self, trial: Trial) -> List[float]:
        """The different weight decays that an individual's texts state, ascending, of all that learns; 0 is left out.
        None where the templates cannot be used, or shapes not be known."""
        texts = self.texts(trial)
        shape = self.shape(texts.net) if texts else None
        if texts is None or shape is None:
            return []
        decays = {texts.solver.weight_decay * one.decay_mult for one in shape.learnable if one.lr_mult}
        return sorted(decays - {0.0})

    def measures(self, trial: Trial) -> Mapping[str, float]:
        """What was measured of an individual's net (see appraise.measures): as the journal has it, else as its files
        say; nothing where neither is to be had."""
        result = self._run.record.results.get(trial.id)
        if result is not None and result.measures:
            return result.measures
        texts = self.texts(trial)
        shape = self.shape(texts.net) if texts else None
        return measures_of(shape) if shape else {}

    def searched(self, trial: Trial, other: Optional[Trial]) -> Marks:
        """The fields of an individual's files that genes set.

        Found by rendering it with other values of one gene after the other. Without the templates, what differs from
        the individual `other` is marked, for whatever gene.
        """
        own = self.texts(trial)
        if own is None:
            return {}
        before = layer_leaves(own)
        marks: Dict[Key, Dict[Path_, FrozenSet[str]]] = {}
        for gene, changed in self._alternatives(trial, other):
            after = layer_leaves(changed)
            for key, path in _differences(before, after):
                of_layer = marks.setdefault(key, {})
                of_layer[path] = of_layer.get(path, frozenset()) | {gene}
        return marks

    def _alternatives(self, trial: Trial, other: Optional[Trial]) -> Iterator[Tuple[str, Texts]]:
        """(gene, files with another value of it)."""
        if self._renderer is None:
            texts = self.texts(other) if other else None
            if texts:
                yield UNKNOWN_GENE, texts
            return
        for i, gene in enumerate(self._run.space.genes):
            for value in {gene.from_unit(u) for u in (0.0, 0.5, 1 - 1e-9)} - {trial.genome.values[i]}:
                values = (*trial.genome.values[:i], value, *trial.genome.values[i + 1:])
                texts = self.texts(replace(trial, genome=Genome(trial.genome.names, values)))
                if texts:
                    yield gene.name, texts


def _sources(run: Dict[str, Any], parts: Sources) -> Sources:
    """Where the run's trainings read; of databases that are not here, the folder and what is in them."""
    folder = Path(run.get("data_folder") or ".")
    train, test = (str(min(folder.glob(f"*_{part}_lmdb"), default=folder / f"{part}_lmdb"))
                   for part in (parts.train, parts.test))
    return Sources(train, test, str(folder / parts.mean))


def _image_shape(run: Dict[str, Any]) -> Optional[Tuple[int, int, int]]:
    """(C, H, W) of the images: recorded, or from the databases where those are at hand."""
    if "image_shape" in run:
        channels, height, width = run["image_shape"]
        return channels, height, width
    for database in sorted(Path(run.get("data_folder") or "").glob("*_lmdb")):
        try:
            info = describe(database)
            return info.channels, info.height, info.width
        except UserError:
            pass
    return None


def _renderer(run: Run) -> Renderer:
    """The run's templates; UserError where one is gone, has changed or is none any more."""
    experiment = run.experiment
    for kind in TEMPLATES:
        try:
            path = experiment.template(kind)
        except UserError:
            raise UserError(f"{getattr(experiment.message, kind)} is not here") from None
        if sha256_of(path) != run.line.get("templates", {}).get(kind):
            raise UserError(f"{path} has changed since the run")
    return Renderer(experiment)


def layers(net: Any) -> List[Tuple[Key, Any]]:
    """The layers that a net trains with, in today's format, each with its key; none where the net is impossible."""
    met: Dict[str, int] = Counter()
    keyed = []
    try:
        for wired in layers_of_phase(net, "TRAIN", 0, ()):
            keyed.append(((wired.layer.name, met[wired.layer.name]), wired.layer))
            met[wired.layer.name] += 1
    except (ImpossibleNet, UserError):
        return []
    return keyed


def layer_leaves(texts: Texts) -> Dict[Key, Leaves]:
    """The fields of every layer, and of the solver."""
    found = {key: dict(leaves(layer)) for key, layer in layers(texts.net)}
    found[SOLVER] = dict(leaves(texts.solver))
    return found


def leaves(message: Any, path: Path_ = ()) -> Iterator[Tuple[Path_, Any]]:
    """Path and value of every field that is set, in the message and in those inside it, as Caffe's text has them."""
    for field, value in message.ListFields():
        items = list(value) if isinstance(value, MutableSequence) else [value]
        if field.message_type:
            for i, item in enumerate(items):
                place = f"{field.name}[{i}]" if isinstance(value, MutableSequence) else field.name
                yield from leaves(item, (*path, place))
        else:
            names = field.enum_type.values_by_number if field.enum_type else None
            yield (*path, field.name), " ".join(names[item].name if names else plain(item) for item in items)


def plain(value: Any) -> str:
    """A number or text of a prototxt; Caffe's real numbers are of single precision."""
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _differences(before: Dict[Key, Leaves], after: Dict[Key, Leaves]) -> Iterator[Tuple[Key, Path_]]:
    for key, fields in before.items():
        if key not in after:
            yield key, ()
            continue
        for path, value in fields.items():
            if after[key].get(path) != value:
                yield key, path
