"""A net and a solver of the user's as a search: all that is proposed, and the three files that it makes."""
from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Iterable, List, Optional, Sequence, Tuple

from menndl_caffe.errors import UserError, did_you_mean, in_utf8
from menndl_caffe.experiment import search_file
from menndl_caffe.experiment.measured import needed_outputs
from menndl_caffe.experiment.render import Rendered
from menndl_caffe.files import write as write_file
from menndl_caffe.init.genes import KINDS, Proposal, genes_of_net, genes_of_solver
from menndl_caffe.init.images import Images
from menndl_caffe.init.narrow import guessed, narrowed
from menndl_caffe.init.search_text import search_text
from menndl_caffe.init.solver import solver_edits
from menndl_caffe.init.texts import number_edits, template
from menndl_caffe.init.whole import check_net, check_solver, fitness_settings, of_net, solver_mode
from menndl_caffe.nets import prototxt
from menndl_caffe.nets.proto import caffe_pb2
from menndl_caffe.nets.prototxt import Document, PrototxtError
from menndl_caffe.nets.shapes import UnknownShape
from menndl_caffe.nets.solver_rules import refused

NAMES = "train_test.prototxt.j2", "solver.prototxt.j2", "search.prototxt"
MANY = 30  # genes are more than a hundred individuals can tell about


@dataclass(frozen=True)
class Project:
    """What `menndl init` makes of a net and a solver; `remarks` are for the user."""

    net: Document
    solver: Document
    images: Images
    proposals: Tuple[Proposal, ...]
    settings: Tuple[str, ...]  # lines of the search file
    remarks: Tuple[str, ...]

    @staticmethod
    def of(net_file: str, solver_file: str, data: Optional[str], wanted: Sequence[str]) -> Project:
        """Of two files; `wanted` are names or kinds of genes, all where there are none.

        UserError with file and line where they are no net and solver that can be searched over.
        """
        net = _read(net_file, caffe_pb2.NetParameter, caffe_pb2.SolverParameter)
        solver = _read(solver_file, caffe_pb2.SolverParameter, caffe_pb2.NetParameter)
        check_solver(solver)
        check_net(net)
        with of_net(net):
            images = Images.of(net, in_utf8(data) if data else None)
            of_net_, remarks = genes_of_net(net)
            proposals = _wanted([*of_net_, *genes_of_solver(solver)], wanted)
            proposals, more = _possible(net, proposals, images)
        if not proposals:
            raise UserError(f"{net_file}: has no number that a search may vary; expected kernels, filters, units or "
                            "dropout, or a base_lr in the solver")
        settings, of_fitness = fitness_settings(net)
        rest = [*_of_solver(solver, solver_file), *_line_ends(net, solver), *_many(proposals)]
        return Project(net, solver, images, tuple(proposals), (*settings, *_budget(solver.message)),
                       (*images.remarks, *of_fitness, *remarks, *more, *rest))

    @property
    def templates(self) -> Tuple[str, str]:
        """The texts of net and solver."""
        edits = {document: [] for document in (self.net, self.solver)}  # type: Any
        for proposal in self.proposals:
            of_solver = len(proposal.places[0].path) == 1
            edits[self.solver if of_solver else self.net].append(proposal)
        return (template(self.net.text, [*number_edits(self.net, edits[self.net]), *self.images.edits(self.net)]),
                template(self.solver.text, [*number_edits(self.solver, edits[self.solver]),
                                            *solver_edits(self.solver)]))


def write(project: Project, out: Path, command: str) -> List[Path]:
    """The three files in a folder, the search file last; UserError, and none of them, where one is there and another.
    """
    paths = [out / name for name in NAMES]
    texts = [*project.templates, search_text(command, list(NAMES[:2]), str(project.images.folder),
                                             project.proposals, project.settings)]
    experiment = search_file.of_text(texts[-1], str(paths[-1]))
    needed_outputs(Rendered("", "", project.net, project.solver), experiment.objectives, experiment.message.fitness)
    others = [path for path, text in zip(paths, texts) if path.exists() and path.read_bytes() != text.encode()]
    if others:
        raise UserError(f"{' and '.join(map(str, others))}: there already, and other than what would be written; "
                        "expected another --out, or none of these files")
    out.mkdir(parents=True, exist_ok=True)
    for path, text in zip(paths, texts):
        write_file(path, text)
    return paths


def _read(file: str, kind: Any, other: Any) -> Document:
    """UserError where it is no such message, or cannot be a template, which is UTF-8."""
    try:
        document = prototxt.load(file, kind)
    except PrototxtError:
        if _is_a(file, other):
            raise UserError(f"{file}: is a {other.__name__}, expected a {kind.__name__}: `menndl init NET SOLVER`"
                            ) from None
        raise
    try:
        document.text.encode()
    except UnicodeEncodeError as error:
        line = document.text.count("\n", 0, error.start) + 1
        raise UserError(f"{file}:{line}: is not UTF-8, as templates are; expected UTF-8: `iconv -f latin1 -t utf-8`"
                        ) from None
    return document


def _is_a(file: str, kind: Any) -> bool:
    try:
        prototxt.load(file, kind)
    except PrototxtError:
        return False
    return True


def _wanted(proposals: List[Proposal], wanted: Sequence[str]) -> List[Proposal]:
    """Of these names and kinds; UserError for one that is neither."""
    words = [word.strip() for word in wanted]
    names = [one.gene.name for one in proposals]
    for word in words:
        if word not in (*KINDS, *names):
            raise UserError(f"--genes {word}: no kind or name of a gene here{did_you_mean(word, {*KINDS, *names})}")
    return [one for one in proposals if not words or one.kind in words or one.gene.name in words]


def _possible(net: Document, proposals: List[Proposal], images: Images) -> Tuple[List[Proposal], List[str]]:
    """With ranges narrowed, where the shapes are known."""
    try:
        return narrowed(net.message, proposals, guessed(images.shape))
    except UnknownShape as unknown:
        return proposals, [f"{unknown}: whether all values in the ranges make possible nets is not known yet; "
                           "`menndl check` says it"]


def _budget(solver: Any) -> Iterable[str]:
    yield "# Iterations of each individual: those of your solver. Often fewer tell good ones from bad ones."
    yield f"max_iter: {solver.max_iter or 1000}"
    yield from solver_mode(solver)
    yield "# Of the search, and with the genes of every training."
    yield f"random_seed: {max(solver.random_seed, 1)}"


def _of_solver(solver: Document, file: str) -> Iterable[str]:
    for field, text in refused(solver.message):
        yield f"{solver.error((field,), text)}, on which Caffe ends"
    if not solver.message.max_iter:
        yield f"{file}: has no max_iter; the search file says 1000 for now"


def _line_ends(net: Document, solver: Document) -> Iterable[str]:
    for document in (net, solver):
        if "\r" in document.text:
            yield f"{document.file}: its lines end in CR LF, those of templates and of what they make in LF"


def _many(proposals: Sequence[Proposal]) -> Iterable[str]:
    if len(proposals) > MANY:
        yield (f"{len(proposals)} genes are many: with fewer (--genes) a search finds more in the same time")
