"""DeepHyper's CBO with all its defaults, which are extra-trees, UCBd, mixedga and cl_max, through its ask and tell.

Failures: the objective "F_failed", as its documentation says.
"""
import importlib.metadata
import logging
import tempfile
import warnings

from deephyper.hpo import CBO, HpProblem
from pipe import serve


class DeepHyper:
    version = f"deephyper {importlib.metadata.version('deephyper')}"

    def __init__(self, problem):
        space = HpProblem()
        self._genes = problem["genes"]
        for gene in self._genes:
            space.add_hyperparameter(self._dimension(gene), gene["name"])
        self._search = CBO(space, random_state=problem["seed"], log_dir=tempfile.mkdtemp(),
                           checkpoint_history_to_csv=False)
        self._asked = {}

    @staticmethod
    def _dimension(gene):
        if "levels" in gene:
            return (0, gene["levels"] - 1)
        if "choices" in gene:
            return [str(choice) for choice in range(gene["choices"])]
        return (gene["low"], gene["high"], "log-uniform") if gene["log"] else (gene["low"], gene["high"])

    def ask(self, number):
        values = self._asked[number] = self._search.ask(1)[0]
        return [float(values[gene["name"]]) if "low" in gene else int(values[gene["name"]]) for gene in self._genes]

    def tell(self, number, cost):
        objective = "F_failed" if cost is None else -cost
        self._search.tell([(self._asked.pop(number), objective)])


warnings.simplefilter("ignore")
logging.disable(logging.CRITICAL)
serve(DeepHyper)
