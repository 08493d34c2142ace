"""Genome + templates -> the two texts that Caffe reads, and the same parsed."""
from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Dict, Iterator, List, Tuple

from google.protobuf.text_encoding import CEscape

from menndl_caffe.errors import UserError, did_you_mean
from menndl_caffe.experiment.experiment import RESERVED, Experiment
from menndl_caffe.experiment.sources import Sources, datum_shape
from menndl_caffe.experiment.template import SECONDS, Template
from menndl_caffe.files import write
from menndl_caffe.nets import prototxt
from menndl_caffe.nets.proto import caffe_pb2
from menndl_caffe.nets.shapes import DatumShape, NetShape, Outcomes, shapes_of
from menndl_caffe.nets.wiring import Wired, layers_of_phase
from menndl_caffe.trial import Trial

FILES = NET_FILE, SOLVER_FILE = "train_test.prototxt", "solver.prototxt"


@dataclass(frozen=True)
class Rendered:
    """One individual's net and solver, as Documents (`.message`, `.line(path)`) and as texts."""

    net_text: str
    solver_text: str
    net: prototxt.Document
    solver: prototxt.Document

    _layers: Dict[str, List[Wired]] = field(default_factory=dict, repr=False, compare=False)
    _met: Outcomes = field(default_factory=dict, repr=False, compare=False)
    _shapes: Dict[Tuple[str, DatumShape], NetShape] = field(default_factory=dict, repr=False, compare=False)

    def layers(self, phase: str) -> List[Wired]:
        """Those that phase TRAIN or TEST includes; ImpossibleNet where there are none."""
        if phase not in self._layers:
            self._layers[phase] = layers_of_phase(self.net.message, phase, 0, ())
        return self._layers[phase]

    def shapes(self, phase: str, image: DatumShape = datum_shape) -> NetShape:
        """Of the net in phase TRAIN or TEST, worked out once; ImpossibleNet or UnknownShape where there are none.

        `image` tells C, H, W of what a Data layer reads.
        """
        known, solver = (phase, image), self.solver.message
        if known not in self._shapes:
            cpu = solver.solver_mode == solver.CPU
            self._shapes[known] = shapes_of(self.layers(phase), phase, image, cpu, self._met)
        return self._shapes[known]

    def write(self, directory: Path) -> None:
        """The two files, as `caffe train --solver=DIRECTORY/solver.prototxt` takes them."""
        write_texts(directory, self.net_text, self.solver_text)


def write_texts(directory: Path, net: str, solver: str) -> None:
    """The texts of a net and a solver as files, whatever stands in them."""
    directory.mkdir(parents=True, exist_ok=True)
    write(directory / NET_FILE, net, "surrogateescape")
    write(directory / SOLVER_FILE, solver, "surrogateescape")


class Renderer:
    """The two templates of an experiment, ready to render any of its individuals."""

    def __init__(self, experiment: Experiment):
        self.experiment = experiment
        self._net = Template(experiment.template("net"))
        self._solver = Template(experiment.template("solver"))
        self._fixed: Dict[str, Any] = dict(experiment.constants)
        mode = experiment.message.DESCRIPTOR.fields_by_name["solver_mode"].enum_type
        self._fixed["solver_mode"] = mode.values_by_number[experiment.message.solver_mode].name
        wrong = [*self._unused_names(), *self._missing_names()]
        if wrong:
            raise UserError("\n".join(wrong))

    def render(self, trial: Trial, sources: Sources, directory: str = ".") -> Rendered:
        """The files of one trial; `directory` is where they are or would be.

        UserError where a template names something unknown or renders to something that is not a net or a solver.
        """
        return self.parsed(*self.texts(trial, sources, directory))

    def parsed(self, net_text: str, solver_text: str) -> Rendered:
        """The two texts, read; UserError where one is not a net or a solver."""
        net = prototxt.parse(net_text, caffe_pb2.NetParameter, f"{self._net.path} (rendered)")
        solver = prototxt.parse(solver_text, caffe_pb2.SolverParameter, f"{self._solver.path} (rendered)")
        return Rendered(net_text, solver_text, net, solver)

    def texts(self, trial: Trial, sources: Sources, directory: str = ".") -> Tuple[str, str]:
        """The same as texts alone, net and solver, unread."""
        paths = {"train_source": sources.train, "test_source": sources.test, "mean_file": sources.mean,
                 "directory": directory}
        values = {**self._fixed, **trial.genome.as_dict(), "random_seed": trial.seed, "max_iter": trial.max_iter,
                  **{name: CEscape(path, as_utf8=True) for name, path in paths.items()}}  # they stand in quotes there
        seconds = min(SECONDS, self.experiment.message.trial_timeout or SECONDS)
        return self._net.render(values, seconds), self._solver.render(values, seconds)

    def _unused_names(self) -> Iterator[str]:
        """Every gene and constant is to be used: else a search would vary nothing."""
        used = self._net.names | self._solver.names
        for kind in ("gene", "constant"):
            for i, item in enumerate(getattr(self.experiment.message, kind)):
                if item.name not in used:
                    text = (f"{item.name!r} is used by neither {self._net.path} nor {self._solver.path}"
                            f"{did_you_mean(item.name, used - set(RESERVED))}")
                    yield str(self.experiment.document.error((kind, i, "name"), text))

    def _missing_names(self) -> Iterator[str]:
        """And so are the seed and the budget."""
        for name in ("random_seed", "max_iter"):
            if name not in self._solver.names:
                yield (f"{self._solver.path}: names no {{{{ {name} }}}}; "
                       f"expected a line '{name}: {{{{ {name} }}}}', so that it is the search that sets it")
