"""Optuna's samplers: `with_optuna.py TPESampler|GPSampler|CmaEsSampler`.

Failures: Optuna would have them told as TrialState.FAIL, which its samplers then leave out of their data; the same
failing genome then comes again and again (optuna #3472). Told as the worst cost instead, which is kinder to it.
"""
import sys
import warnings

import optuna
from pipe import Worst, serve

# As the documentation recommends for parallel trials, and for whole numbers.
ARGUMENTS = {"TPESampler": {"multivariate": True, "constant_liar": True}, "GPSampler": {},
             "CmaEsSampler": {"with_margin": True}}


class Optuna:
    version = f"optuna {optuna.__version__}"

    def __init__(self, problem):
        name = sys.argv[1]
        if name == "CmaEsSampler" and any("choices" in gene for gene in problem["genes"]):
            sys.exit("CmaEsSampler takes no choices")
        sampler = getattr(optuna.samplers, name)(seed=problem["seed"], **ARGUMENTS[name])
        self._study = optuna.create_study(sampler=sampler)
        self._space = {gene["name"]: self._distribution(gene) for gene in problem["genes"]}
        self._worst, self._trials = Worst(problem), {}

    @staticmethod
    def _distribution(gene):
        if "levels" in gene:
            return optuna.distributions.IntDistribution(0, gene["levels"] - 1)
        if "choices" in gene:
            return optuna.distributions.CategoricalDistribution(range(gene["choices"]))
        return optuna.distributions.FloatDistribution(gene["low"], gene["high"], log=gene["log"])

    def ask(self, number):
        trial = self._trials[number] = self._study.ask(self._space)
        return [trial.params[name] for name in self._space]

    def tell(self, number, cost):
        self._study.tell(self._trials.pop(number), self._worst.cost(cost))


warnings.simplefilter("ignore")
optuna.logging.set_verbosity(optuna.logging.WARNING)
serve(Optuna)
