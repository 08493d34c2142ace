"""What is searched, as one value: the space of the genes, the templates, and the settings around them."""
from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, List, Optional, Tuple

from menndl_caffe.experiment.places import HERE, Places
from menndl_caffe.genome import Genome, SearchSpace
from menndl_caffe.nets import prototxt
from menndl_caffe.objective import BY_ACCURACY, Objective
from menndl_caffe.trial import INDIVIDUAL, Trial, training_seed

TEMPLATES = ("net", "solver")
# What menndl itself gives to the templates.
RESERVED = ("random_seed", "max_iter", "solver_mode", "train_source", "test_source", "mean_file", "directory")


def find_template(document: prototxt.Document, kind: str, places: Places) -> Path:
    """The file of this kind of TEMPLATES that a SearchParameter names; UserError where there is none."""
    what = f"{document.file}:{document.line((kind,))}: {kind} template"
    return places.find(getattr(document.message, kind), what)


@dataclass(frozen=True)
class Experiment:
    """A checked search file, the space that its genes span, and where the files are that it names."""

    document: prototxt.Document
    space: SearchSpace
    places: Places = HERE

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
        return find_template(self.document, kind, self.places)

    def trial(self, id: int, genome: Genome, generation: Optional[int] = None, role: str = INDIVIDUAL) -> Trial:
        """The trial of a genome at this experiment's budget, with its own seed."""
        salt = "" if self.message.reuse_results else str(id)
        seed = training_seed(self.message.random_seed, genome, salt)
        return Trial(id, genome, seed, self.message.max_iter, generation, role)
