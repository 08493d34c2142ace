"""SMAC3's HyperparameterOptimizationFacade with its defaults, through its ask and tell.

Failures: StatusType.CRASHED, as its documentation says. It stops at its n_trials, which is the budget and the repeats
that a race answers from its memory.
"""
import importlib.metadata
import logging
import tempfile
import warnings
from pathlib import Path

from ConfigSpace import Categorical, ConfigurationSpace, Float, Integer
from pipe import serve
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
        self._asked = {}

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
        value = TrialValue(cost=float("inf"), status=StatusType.CRASHED) if cost is None else TrialValue(cost=cost)
        self._smac.tell(self._asked.pop(number), value)


warnings.simplefilter("ignore")
serve(Smac)
