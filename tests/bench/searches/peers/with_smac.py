"""SMAC3's HyperparameterOptimizationFacade with its defaults, through its ask and tell.

Failures: StatusType.CRASHED with the worst cost, as its `crash_cost` is for; with the default of that, infinity, its
model ends with "Input y contains NaN".
"""
import importlib.metadata
import logging
import tempfile
import warnings
from pathlib import Path

from ConfigSpace import Categorical, ConfigurationSpace, Float, Integer
from pipe import Worst, serve
from smac import HyperparameterOptimizationFacade, Scenario
from smac.runhistory import StatusType, TrialValue


class Smac:
    version = f"smac {importlib.metadata.version('smac')}"

    def __init__(self, problem):
        self._genes = problem["genes"]
        space = ConfigurationSpace(seed=problem["seed"])
        space.add([self._hyperparameter(gene) for gene in self._genes])
        scenario = Scenario(space, deterministic=True, n_trials=problem["budget"], seed=problem["seed"],
                            output_directory=Path(tempfile.mkdtemp()))
        self._smac = HyperparameterOptimizationFacade(scenario, lambda config, seed=0: 0.0, overwrite=True,
                                                      logging_level=logging.CRITICAL)
        self._asked, self._worst = {}, Worst(problem)

    @staticmethod
    def _hyperparameter(gene):
        if "levels" in gene:
            return Integer(gene["name"], (0, gene["levels"] - 1))
        if "choices" in gene:
            return Categorical(gene["name"], list(range(gene["choices"])))
        return Float(gene["name"], (gene["low"], gene["high"]), log=gene["log"])

    def ask(self, number):
        info = self._asked[number] = self._smac.ask()
        return [float(info.config[gene["name"]]) if "low" in gene else int(info.config[gene["name"]])
                for gene in self._genes]

    def tell(self, number, cost):
        status = StatusType.CRASHED if cost is None else StatusType.SUCCESS
        self._smac.tell(self._asked.pop(number), TrialValue(cost=self._worst.cost(cost), status=status))


warnings.simplefilter("ignore")
serve(Smac)
