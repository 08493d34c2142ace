"""LEAP's asynchronous steady state: the body of `leap_ec.distrib.asynchronous.steady_state`, without its dask.

As in its documentation: random_selection, clone, a mutation with one expected change, pool of 1; inserted by
`greedy_insert_into_pop`, its default. Whole numbers and choices by mutate_randint, real numbers by mutate_gaussian
with sigma 0.2 of the range within hard bounds; of the genes of both kinds a child's expected changes are shared out
by their number. Ours: 20 parents, or as many as slots. Failures: an individual that is not viable, as LEAP itself
marks exceptions.
"""
import importlib.metadata
import math
import random

import numpy as np
import toolz
from leap_ec import ops
from leap_ec.distrib.asynchronous import greedy_insert_into_pop
from leap_ec.distrib.individual import DistributedIndividual
from leap_ec.int_rep.ops import individual_mutate_randint
from leap_ec.problem import ScalarProblem
from leap_ec.real_rep.ops import genome_mutate_gaussian
from leap_ec.representation import Representation
from pipe import serve

SIGMA = 0.2


class Minimized(ScalarProblem):
    def __init__(self):
        super().__init__(maximize=False)

    def evaluate(self, phenome):
        raise NotImplementedError("the race does")


class Leap:
    version = f"leap_ec {importlib.metadata.version('leap_ec')}"

    def __init__(self, problem):
        random.seed(problem["seed"])
        np.random.seed(problem["seed"])
        self._genes = problem["genes"]
        self._real = np.array(["low" in gene for gene in self._genes])
        self._size = max(20, problem["slots"])
        representation = Representation(initialize=self._drawn, individual_cls=DistributedIndividual)
        self._first = representation.create_population(self._size, problem=Minimized())
        self._population, self._asked = [], {}

    def ask(self, number):
        if self._first:
            child = self._first.pop()
        elif self._population:
            pipeline = [ops.random_selection, ops.clone, self._mutate, ops.pool(size=1)]
            child = toolz.pipe(self._population, *pipeline)[0]
        else:
            return None
        self._asked[number] = child
        return [self._value(gene, x) for gene, x in zip(self._genes, child.genome)]

    def tell(self, number, cost):
        individual = self._asked.pop(number)
        individual.is_viable = cost is not None
        individual.fitness = math.nan if cost is None else cost
        greedy_insert_into_pop(individual, self._population, self._size)

    def _drawn(self):
        return np.array([random.random() if "low" in gene else random.randrange(self._levels(gene))
                         for gene in self._genes], float)

    @staticmethod
    def _levels(gene):
        return gene.get("levels") or gene["choices"]

    def _mutate(self, individuals):
        for individual in individuals:
            genome, real = individual.genome.copy(), self._real
            if real.any():
                genome[real] = genome_mutate_gaussian(genome[real], std=SIGMA, expected_num_mutations=real.mean(),
                                                      bounds=(0, 1))
            if not real.all():
                bounds = [(0, self._levels(gene) - 1) for gene in self._genes if "low" not in gene]
                genome[~real] = individual_mutate_randint(genome[~real], bounds, expected_num_mutations=1 - real.mean())
            individual.genome, individual.fitness = genome, None
            yield individual

    @staticmethod
    def _value(gene, x):
        if "low" not in gene:
            return int(x)
        if gene["log"]:
            return math.exp(math.log(gene["low"]) + float(x) * math.log(gene["high"] / gene["low"]))
        return gene["low"] + float(x) * (gene["high"] - gene["low"])


serve(Leap)
