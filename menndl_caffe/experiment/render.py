"""Genome + templates -> the two texts that Caffe reads, and the same parsed."""
from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, Iterator, Mapping, Tuple

import jinja2
import jinja2.meta
import jinja2.sandbox
from google.protobuf.text_encoding import CEscape

from menndl_caffe.errors import UserError, did_you_mean
from menndl_caffe.experiment.experiment import RESERVED, Experiment
from menndl_caffe.experiment.sources import Sources
from menndl_caffe.nets import prototxt
from menndl_caffe.nets.proto import caffe_pb2
from menndl_caffe.trial import Trial

FILES = NET_FILE, SOLVER_FILE = "train_test.prototxt", "solver.prototxt"


@dataclass(frozen=True)
class Rendered:
    """One individual's net and solver, as Documents (`.message`, `.line(path)`) and as texts."""

    net_text: str
    solver_text: str
    net: prototxt.Document
    solver: prototxt.Document

    def write(self, directory: Path) -> None:
        """The two files, as `caffe train --solver=DIRECTORY/solver.prototxt` takes them."""
        write_texts(directory, self.net_text, self.solver_text)


def write_texts(directory: Path, net: str, solver: str) -> None:
    """The texts of a net and a solver as files, whatever stands in them."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / NET_FILE).write_text(net)
    (directory / SOLVER_FILE).write_text(solver)


class Template:
    """A Jinja template over Caffe's text format: sandboxed, and every name must be known."""

    def __init__(self, path: Path):
        environment = jinja2.sandbox.SandboxedEnvironment(
            undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True)
        for names, name in ((environment.globals, "lipsum"), (environment.filters, "random")):
            del names[name]  # the same genes must give the same text
        self.path = path
        try:
            source = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(f"{path}: cannot be read as a template: {error}") from None
        try:
            self.names = frozenset(jinja2.meta.find_undeclared_variables(environment.parse(source)))
            self._template = environment.from_string(source)
        except jinja2.TemplateSyntaxError as error:
            raise UserError(f"{path}:{error.lineno}: {error.message}") from None

    def render(self, values: Mapping[str, Any]) -> str:
        """The text with every name replaced; UserError with template and line where one is unknown or a value fails."""
        try:
            return self._template.render(values)
        except jinja2.UndefinedError as error:
            raise UserError(f"{self.path}:{_line(error)}: {_undefined(str(error), values)}") from None
        except (jinja2.TemplateError, ArithmeticError, TypeError, ValueError) as error:
            raise UserError(f"{self.path}:{_line(error)}: {error}") from None


def _undefined(text: str, known: Mapping[str, Any]) -> str:
    """What Jinja says of something undefined, with what a name could have been."""
    name = re.match(r"'(\w+)' is undefined", text)
    if name is None:
        return text
    return f"{text}: the search file has no gene or constant of this name{did_you_mean(name[1], known)}"


def _line(error: BaseException) -> int:
    """The template's line in which a rendering failed: Jinja maps the frames of its own code back to the template."""
    traceback, line = error.__traceback__, 0
    while traceback is not None:
        if traceback.tb_frame.f_code.co_filename == "<template>":
            line = traceback.tb_lineno
        traceback = traceback.tb_next
    return line


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
        return self._net.render(values), self._solver.render(values)

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
