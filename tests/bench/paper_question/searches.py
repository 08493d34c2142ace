"""The searches of the paper's question: what each is, as a search file.

All are solvers/night.search.prototxt, or solvers/more.search.prototxt, with the changes that stand here: the same data,
seed and number of iterations.
"""
from __future__ import annotations

from pathlib import Path
from typing import Dict, List, NamedTuple, Sequence, Tuple

from menndl_caffe.experiment import recorded
from menndl_caffe.genome import Genome
from tests.bench.pages import changed
from tests.conftest import REPOSITORY

NIGHT, MORE = (REPOSITORY / f"solvers/{name}.search.prototxt" for name in ("night", "more"))
TYPE, CONFIRM = 'type: "GUIDED_GA"\n', "confirm { best: 3 seeds: 5 }\n"
STOP = "stop { median { at: 400 at: 600 } curve { } }\n"
LIMIT = "limit { iterations: 50000 }\n"
TABLE_3 = (4, 76, 4, 118, 2, 108)  # the best set of the paper's Table 3, in the genes' order

Change = Tuple[str, str]


class Plan(NamedTuple):
    """A search: its name on the page, the file that it is made of, and what is changed there."""

    label: str
    base: Path
    changes: Sequence[Change] = ()


# Generations of four, so that there are four of them within the iterations.
PLANS: Dict[str, Plan] = {
    "night": Plan("`GUIDED_GA`, rungs", NIGHT),
    "random": Plan("`RANDOM`", NIGHT, ((TYPE, 'type: "RANDOM"\n'), (STOP, ""), (CONFIRM, ""))),
    "ga": Plan("the paper's `GA`", NIGHT, (
        (TYPE, 'type: "GA"\nga_param { population: 4 generations: 4 }\n'), (STOP, ""), (CONFIRM, ""))),
    # The best of these two and the paper's own best set from new seeds, as the first search's best and the default are.
    "finalists": Plan("the others' best", NIGHT, (
        (TYPE, 'type: "RANDOM"\n'), (STOP, ""), (CONFIRM, "confirm { best: 2 seeds: 5 }\n"),
        (LIMIT, "limit { trials: 2 }\n"))),
    "more": Plan("`GUIDED_GA`, rungs, 15 genes", MORE, ((CONFIRM, "confirm { best: 1 seeds: 5 }\n"),)),
}
RIVALS = ("random", "ga")


def search_text(name: str, runs: Path) -> str:
    """A search file; `runs` is the folder of the runs that came before.

    UserError where the file that it is made from is another than this was written for.
    """
    plan = PLANS[name]
    return changed(plan.base, [*plan.changes, *(_finalists(runs) if name == "finalists" else ())])


def _finalists(runs: Path) -> List[Change]:
    """The paper's best set in the default's place, and the rivals' bests as the individuals."""
    genes = [line for line in NIGHT.read_text().splitlines() if line.startswith("gene {")]
    defaults = [(line, f"{line.rpartition('default:')[0]}default: {value} }}") for line, value in zip(genes, TABLE_3)]
    enqueued = "".join(map(_enqueued, dict.fromkeys(best_of(runs / name) for name in RIVALS)))
    return [*defaults, ("max_iter: 4000\n", f"max_iter: 4000\n{enqueued}")]


def _enqueued(genome: Genome) -> str:
    genes = " ".join(f'gene {{ name: "{name}" value: "{value}" }}' for name, value in genome.as_dict().items())
    return f"enqueue {{ {genes} }}\n"


def best_of(run: Path) -> Genome:
    """The genes of a run's best individual."""
    return recorded.read(run).record.best(1)[0][0].genome
