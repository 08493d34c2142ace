"""Propulate's default propagator on one island, without its MPI loop: bred as its `_breed` does, whoever is idle.

Rates are its defaults; the breeding population is 20, or as many as slots. Failures: it knows none; the worst cost.
"""
import importlib.metadata
import math
import random

from pipe import Worst, serve
from propulate.utils import get_default_propagator


class Propulate:
    version = f"propulate {importlib.metadata.version('propulate')}"

    def __init__(self, problem):
        limits = {gene["name"]: self._limits(gene) for gene in problem["genes"]}
        self._genes, self._worst = problem["genes"], Worst(problem)
        self._propagator = get_default_propagator(pop_size=max(20, problem["slots"]), limits=limits,
                                                  rng=random.Random(problem["seed"]))
        self._population, self._asked = [], {}

    @staticmethod
    def _limits(gene):
        """Real numbers in a logarithmic scale, which it has not itself, by their exponents to base 10."""
        if "levels" in gene:
            return (0, gene["levels"] - 1)
        if "choices" in gene:
            return tuple(str(choice) for choice in range(gene["choices"]))
        return (math.log10(gene["low"]), math.log10(gene["high"])) if gene["log"] else (gene["low"], gene["high"])

    def ask(self, number):
        individual = self._propagator(self._population)
        individual.generation = number
        self._asked[number] = individual
        return [self._value(gene, individual[gene["name"]]) for gene in self._genes]

    def tell(self, number, cost):
        individual = self._asked.pop(number)
        individual.loss = self._worst.cost(cost)
        self._population.append(individual)

    @staticmethod
    def _value(gene, value):
        if "low" not in gene:
            return int(value)
        return 10 ** value if gene["log"] else value


serve(Propulate)
