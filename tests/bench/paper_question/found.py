"""What the searches found, read from their kept journals.

| symbol | here | meaning |
|---|---|---|
| given | `Searched.given` | training iterations of all individuals, up to where each ended (`limit { iterations }`) |
| best so far | `Searched.steps` | the highest validation accuracy of those trained to their ends, against the given |
| mean, interval | `Finalist.mean` | of a genome's trainings from new seeds, on the test set: report.confirmed |
| epsilon^2 | `explained` | share of the accuracy's variance that one gene explains alone: report.importance |
"""
from __future__ import annotations

from pathlib import Path
from typing import Dict, Iterator, List, NamedTuple, Optional, Sequence, Tuple

import numpy as np

from menndl_caffe.experiment import recorded
from menndl_caffe.experiment.recorded import Run
from menndl_caffe.genome import Genome
from menndl_caffe.report.confirmation import Repeated, confirmation
from menndl_caffe.report.confirmed import Difference, Mean
from menndl_caffe.report.importance import Importance, explained
from menndl_caffe.trial import INDIVIDUAL, STOPPED
from tests.bench.pages import markdown
from tests.bench.paper_question.kept import RUNS
from tests.bench.paper_question.searches import PLANS, RIVALS

COMPARED = ("night", *RIVALS)  # the same genes, the same number of iterations
EARLY = 400  # the first rung: so far every individual was trained
PLACES = ("best", "second", "third")


class Searched(NamedTuple):
    """A search; accuracies are in [0, 1], on the validation images, of one training each."""

    label: str
    given: int
    individuals: int
    stopped: int
    default: float
    steps: List[Tuple[int, float]]  # the iterations given by then, and the best so far from there on

    @property
    def best(self) -> float:
        """In the end."""
        return self.steps[-1][1]


class Finalist(NamedTuple):
    """A genome that was trained again from new seeds."""

    label: str
    genome: Genome
    validation: Optional[float]  # in the search; None where that failed
    values: Tuple[float, ...]  # on the test set

    @property
    def mean(self) -> Optional[Mean]:
        """None without values."""
        return Mean.of(self.values, (0.0, 1.0))

    def above(self, default: Finalist) -> Optional[Difference]:
        """None where one of both has fewer than two values."""
        return Difference.of(self.mean, default.mean) if self.mean and default.mean else None


def runs(folder: Path = RUNS) -> Dict[str, Run]:
    """Those that have begun."""
    return {name: recorded.read(folder / name) for name in PLANS if (folder / name).is_dir()}


def compared(of: Dict[str, Run]) -> List[Searched]:
    """Those with the same genes."""
    return [searched(name, of[name]) for name in COMPARED if name in of]


def searched(name: str, run: Run) -> Searched:
    """What a search came to."""
    given, best, steps = 0, 0.0, []
    for result in run.record.results.values():
        trial = run.record.trials[result.id]
        if trial.role == INDIVIDUAL:
            given += run.record.own_iterations(trial)
            if result.finished and result.fitness > best:
                best = result.fitness
                steps.append((given, best))
    individuals = [result for _, result in run.record.individuals()]
    default = run.record.default()
    assert default is not None
    return Searched(PLANS[name].label, given, len(individuals), sum(one.status == STOPPED for one in individuals),
                    default.fitness, steps)


def finalists(of: Dict[str, Run]) -> List[Finalist]:
    """The default, the first search's best ones, the rivals' bests, the paper's set; those that have values."""
    labels = {run.record.best(1)[0][0].genome: f"{PLANS[name].label}, best"
              for name, run in of.items() if name in RIVALS}
    night, others = (confirmation(of[name]) if name in of else None for name in ("night", "finalists"))
    found = []
    if night:
        found += [_finalist("the default", night.default)]
        found += [_finalist(f"{PLANS['night'].label}, {place}", one) for place, one in zip(PLACES, night.best)]
    if others:
        found += [_finalist(labels[one.genome], one) for one in others.best]
        found += [_finalist("the paper's best set", others.default)]
    return [one for one in found if one.values]


def _finalist(label: str, one: Repeated) -> Finalist:
    return Finalist(label, one.genome, one.reported, one.values)


def importances(of: Dict[str, Run], iteration: int) -> List[Importance]:
    """What each gene explains of the accuracy at an iteration, over all different individuals that came so far."""
    accuracies = dict(_reached(of, iteration))
    columns = zip(*(genome.values for genome in accuracies))
    genes = of[COMPARED[0]].space.genes
    return [explained(gene, values, np.array(list(accuracies.values()))) for gene, values in zip(genes, columns)]


def _reached(of: Dict[str, Run], iteration: int) -> Iterator[Tuple[Genome, float]]:
    for run in (of[name] for name in COMPARED if name in of):
        for trial, result in run.record.individuals():
            yield from ((trial.genome, accuracy) for at, accuracy, _ in result.curve if at == iteration)


def search_table(found: Sequence[Searched]) -> str:
    """The page's first table."""
    rows = [[one.label, f"{one.given:,}", str(one.individuals), str(one.stopped), f"{one.best:.4f}",
             f"{one.best - one.default:+.4f}"] for one in found]
    head = ["search", "iterations", "individuals", "stopped early", "best, validation", "above the default"]
    return markdown(head, rows)


def finalist_table(found: Sequence[Finalist]) -> str:
    """The page's second table; the first of these is the default."""
    return markdown(["network", "kernels", "outputs", "validation", "test, mean", "95% interval", "seeds",
                     "above the default", "95% interval "], [_row(one, found[0]) for one in found])


def _row(one: Finalist, default: Finalist) -> List[str]:
    genes, mean, above = one.genome.as_dict(), one.mean, one.above(default) if one is not default else None
    assert mean is not None
    return [one.label, *(", ".join(f"{genes[f'{kind}{i}']:g}" for i in (1, 2, 3)) for kind in ("kernel", "output")),
            "" if one.validation is None else f"{one.validation:.4f}", f"{mean.mean:.4f}",
            "{:.4f} to {:.4f}".format(*mean.interval) if mean.interval else "", str(mean.count),
            f"{above.value:+.4f}" if above else "", "{:+.4f} to {:+.4f}".format(*above.interval) if above else ""]


def importance_table(of: Dict[str, Run]) -> str:
    """The page's third table: at the first rung, and in the end."""
    iterations = EARLY, of[COMPARED[0]].message.max_iter
    columns = [importances(of, iteration) for iteration in iterations]
    rows = [[f"`{genes[0].gene}`", *(f"{one.share:.2f} ± {one.noise:.2f}{' (clear)' * one.is_clear}" for one in genes)]
            for genes in zip(*columns)]
    heads = [f"at iteration {iteration:,}, n = {genes[0].individuals}" for iteration, genes in zip(iterations, columns)]
    return markdown(["gene", *heads], rows)
