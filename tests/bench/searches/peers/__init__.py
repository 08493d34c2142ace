"""The other tools: a script each, for an environment of its own, and the near end of the pipe to it."""
from __future__ import annotations

import json
import subprocess
import tempfile
from pathlib import Path
from typing import Any, Dict, List, Optional, Tuple

from menndl_caffe.genome import ChoiceGene, Gene, Genome, IntGene, Value
from tests.bench.searches import environments
from tests.bench.searches.problems import Landscape

FOLDER = Path(__file__).parent
# method -> its environment, its script, the script's arguments
PEERS: Dict[str, Tuple[str, List[str]]] = {
    "optuna-tpe": ("optuna", ["with_optuna.py", "TPESampler"]),
    "optuna-gp": ("optuna", ["with_optuna.py", "GPSampler"]),
    "optuna-cmaes": ("optuna", ["with_optuna.py", "CmaEsSampler"]),
    "deap": ("deap", ["with_deap.py"]),
    "leap": ("leap", ["with_leap.py"]),
    "deephyper": ("deephyper", ["with_deephyper.py"]),
    "propulate": ("propulate", ["with_propulate.py"]),
    "smac": ("smac", ["with_smac.py"]),
}


def _described(gene: Gene) -> Dict[str, Any]:
    if isinstance(gene, IntGene):
        return {"name": gene.name, "levels": gene.size}
    if isinstance(gene, ChoiceGene):
        return {"name": gene.name, "choices": len(gene.choices)}
    return {"name": gene.name, "low": gene.minimum, "high": gene.maximum, "log": gene.log}


def _value(gene: Gene, answered: Any) -> Value:
    if isinstance(gene, IntGene):
        return gene.minimum + gene.step * answered
    if isinstance(gene, ChoiceGene):
        return gene.choices[answered]
    return min(max(float(f"{answered:.6g}"), gene.minimum), gene.maximum)


class Peer:
    """A Contestant in another process; RuntimeError with what it said last where it ends early."""

    def __init__(self, method: str, landscape: Landscape, seed: int, slots: int, budget: int):
        self.cpu, self._asked, self._space = 0.0, 0, landscape.space
        environment, (script, *arguments) = PEERS[method]
        command = [str(environments.python_of(environment)), str(FOLDER / script), *arguments]
        self._errors = tempfile.TemporaryFile("w+")
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._errors,
                                         text=True)
        self._send({"genes": [_described(gene) for gene in self._space.genes], "seed": seed, "slots": slots,
                    "budget": budget, "worst": 1.0 if landscape.accuracy else None})
        self.version = self._answer()["version"]

    def ask(self) -> Optional[Tuple[int, Genome]]:
        """See Contestant."""
        number = self._asked
        self._asked += 1
        self._send({"ask": number})
        answer = self._answer()
        self.cpu = answer["cpu"]
        if answer["values"] is None:
            return None
        return number, self._space.genome(map(_value, self._space.genes, answer["values"]))

    def tell(self, number: int, cost: Optional[float]) -> None:
        """See Contestant."""
        self._send({"tell": number, "cost": cost})

    def close(self) -> None:
        """See Contestant."""
        self._process.kill()
        self._process.communicate()
        self._errors.close()

    def _send(self, message: Dict[str, Any]) -> None:
        try:
            self._process.stdin.write(json.dumps(message) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise RuntimeError(self._last_words()) from None

    def _answer(self) -> Dict[str, Any]:
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(self._last_words())
        return json.loads(line)

    def _last_words(self) -> str:
        self._process.wait()
        self._errors.seek(0)
        lines = self._errors.read().strip().splitlines()
        return lines[-1] if lines else f"ended with code {self._process.returncode}"
