"""What is searched, as one value: the space of the genes, the templates, and the settings around them."""
from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, List, Optional, Set, Tuple

from menndl_caffe.errors import UserError, did_you_mean
from menndl_caffe.genome import Genome, SearchSpace
from menndl_caffe.nets import prototxt
from menndl_caffe.objective import BY_ACCURACY, Objective
from menndl_caffe.trial import INDIVIDUAL, Trial, training_seed

PACKAGE = Path(__file__).resolve().parent.parent
TEMPLATES = ("net", "solver")
# What menndl itself gives to the templates.
RESERVED = ("random_seed", "max_iter", "solver_mode", "train_source", "test_source", "mean_file", "directory")


def find_file(name: str, what: str) -> Path:
    """The file of this name in the working directory, else among menndl's own; UserError where neither has it."""
    for path in (Path(name), PACKAGE / name, PACKAGE.parent / name):
        if path.is_file():
            return path
    alike = _files_alike(name)
    hint = did_you_mean(name, alike) if alike else ""
    raise UserError(f"{what} {name}: no such file here or among menndl's own{hint}")


def find_template(document: prototxt.Document, kind: str) -> Path:
    """The file of this kind of TEMPLATES that a SearchParameter names; UserError where there is none."""
    return find_file(getattr(document.message, kind), f"{document.file}:{document.line((kind,))}: {kind} template")


def _files_alike(name: str) -> Set[str]:
    """The files that could be meant: those beside the place that `name` names and menndl's own, if they end alike."""
    pattern = f"*{Path(name).suffix or '.prototxt*'}"
    own = {str(path.relative_to(place)) for place in (PACKAGE, PACKAGE.parent) for folder in ("solvers", "templates")
           for path in (place / folder).rglob(pattern) if path.is_file()}
    return own | {str(path) for path in Path(name).parent.glob(pattern) if path.is_file()}


@dataclass(frozen=True)
class Experiment:
    """A checked search file and the space that its genes span."""

    document: prototxt.Document
    space: SearchSpace

    @property
    def message(self) -> Any:
        """The SearchParameter, with the command line's settings in it."""
        return self.document.message

    @property
    def constants(self) -> Dict[str, str]:
        """Name -> text of the search file's constants."""
        return {constant.name: constant.value for constant in self.message.constant}

    @property
    def enqueued(self) -> List[Genome]:
        """The individuals that the search file names, in its order."""
        return [self.space.with_settings([f"{gene.name}={gene.value}" for gene in one.gene])
                for one in self.message.enqueue]

    @property
    def objectives(self) -> Tuple[Objective, ...]:
        """What is optimized, the fitness first; the accuracy where the search file says nothing."""
        given = (Objective(one.measure, one.minimize) for one in self.message.objective)
        return tuple(given) or (BY_ACCURACY,)

    def template(self, kind: str) -> Path:
        """Where the template of this kind of TEMPLATES is; UserError where there is none."""
        return find_template(self.document, kind)

    def trial(self, id: int, genome: Genome, generation: Optional[int] = None, role: str = INDIVIDUAL) -> Trial:
        """The trial of a genome at this experiment's budget, with its own seed."""
        salt = "" if self.message.reuse_results else str(id)
        seed = training_seed(self.message.random_seed, genome, salt)
        return Trial(id, genome, seed, self.message.max_iter, generation, role)
