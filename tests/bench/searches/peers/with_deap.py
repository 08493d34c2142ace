"""DEAP's eaSimple, driven in ask and tell: `varAnd` and `selTournament` as in its source, one generation after the
other.

As in the documentation: cxTwoPoint, mutUniformInt for whole numbers, tournament of 3, cxpb 0.5, mutpb 0.2. Ours: a
population of 20 or of the number of slots, where the examples' 300 is more than the budget; indpb 1/N where the
examples' 0.05 would leave most mutants of few genes as they were; mutGaussian's part for real numbers, sigma 0.2 of
the range, clipped. A generation begins when the last one has all its results. Failures: DEAP knows none; the worst
cost.
"""
import importlib.metadata
import math
import random

from deap import base, tools
from deap.algorithms import varAnd
from pipe import Worst, serve

CXPB, MUTPB, TOURNAMENT, SIGMA = 0.5, 0.2, 3, 0.2


class Fitness(base.Fitness):
    weights = (-1.0,)


class Individual(list):
    def __init__(self, values):
        super().__init__(values)
        self.fitness = Fitness()


class Deap:
    version = f"deap {importlib.metadata.version('deap')}"

    def __init__(self, problem):
        random.seed(problem["seed"])
        self._genes, self._worst = problem["genes"], Worst(problem)
        self._toolbox = base.Toolbox()
        self._toolbox.register("mate", tools.cxTwoPoint)
        self._toolbox.register("mutate", self._mutate)
        size = max(20, problem["slots"])
        self._population = [Individual(map(self._drawn, self._genes)) for _ in range(size)]
        self._asked, self._open = {}, list(self._population)

    def ask(self, number):
        while not self._open and not self._asked:
            self._breed()
        if not self._open:
            return None
        individual = self._asked[number] = self._open.pop(0)
        return [self._value(gene, x) for gene, x in zip(self._genes, individual)]

    def tell(self, number, cost):
        self._asked.pop(number).fitness.values = (self._worst.cost(cost),)

    def _breed(self):
        chosen = tools.selTournament(self._population, len(self._population), tournsize=TOURNAMENT)
        self._population = varAnd(chosen, self._toolbox, CXPB, MUTPB)
        self._open = [individual for individual in self._population if not individual.fitness.valid]

    def _mutate(self, individual):
        for i, gene in enumerate(self._genes):
            if random.random() < 1 / len(self._genes):
                individual[i] = (min(max(random.gauss(individual[i], SIGMA), 0.0), 1.0) if "low" in gene
                                 else self._drawn(gene))
        return individual,

    @staticmethod
    def _drawn(gene):
        """A level, a choice, or a point of [0, 1]."""
        return random.random() if "low" in gene else random.randrange(gene.get("levels") or gene["choices"])

    @staticmethod
    def _value(gene, x):
        if "low" not in gene:
            return x
        if gene["log"]:
            return math.exp(math.log(gene["low"]) + x * math.log(gene["high"] / gene["low"]))
        return gene["low"] + x * (gene["high"] - gene["low"])


serve(Deap)
