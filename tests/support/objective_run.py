"""A run of random search with objectives of one's own: losses, accuracies, a named output, sizes; a fifth failed."""
from __future__ import annotations

import random
from pathlib import Path
from typing import Any, Dict, List, Optional

from menndl_caffe.files import sha256_of
from menndl_caffe.genome import Genome
from menndl_caffe.journal import Journal
from menndl_caffe.trial import DEFAULT, DIVERGED, INDIVIDUAL, OK, Result, Trial
from tests.support import mixed_run

INDIVIDUALS = 30
LOSS = 'objective { measure: "loss" minimize: true }\n'
ERROR = 'objective { measure: "error" minimize: true }\n'
TWO = 'objective { measure: "accuracy" }\nobjective { measure: "multiply_adds" minimize: true }\n'
THREE = LOSS + 'objective { measure: "error" minimize: true }\nobjective { measure: "accuracy" }\n'
SIZE = 'objective { measure: "parameters" minimize: true }\n'


def measured(id: int) -> Optional[Dict[str, float]]:
    """All that could be measured of this individual; None where it failed. Pairs of them are equal in all."""
    chance = random.Random(f"measures {id // 2}")
    if chance.random() < 0.2 and id:
        return None
    accuracy = round(chance.uniform(0.2, 0.8), 2)
    return {"accuracy": accuracy, "loss": round(2.5 - 2 * accuracy + chance.uniform(-0.3, 0.3), 2),
            "error": round(1 - accuracy + chance.uniform(-0.1, 0.1), 2), "parameters": chance.randint(5, 50) * 1000,
            "multiply_adds": chance.randint(1, 30) * 100_000, "memory": chance.randint(1, 9) * 4096}


def genes(id: int) -> Any:
    """Different ones for every individual."""
    return (2 + 4 * (id % 13), round(0.0001 * (id + 1), 6), 0.5, ("MAX", "AVE", "STOCHASTIC")[id % 3], "no")


def _result(id: int, objectives: List[str]) -> Result:
    known = measured(id)
    times: Dict[str, Any] = {"started": 1000.0 + 20 * id, "seconds": 10.0 + id, "engine_seconds": 9.0 + id,
                             "rank": id % 2, "host": "n1"}
    if known is None:
        return Result(id, DIVERGED, reason="loss is nan", **times)
    first, *others = objectives
    shown = next((name for name in objectives if name in ("accuracy", "loss", "error")), "loss")
    kept = {name: known[name] for name in ("parameters", "multiply_adds", "memory", *others) if name != "loss"}
    curve = ((250, known[shown] * 1.1, 2.4), (500, known[shown], known["loss"]))
    return Result(id, OK, float(known[first]), known["loss"], measures=kept, curve=curve, **times)


def write(folder: Path, objectives: str, more: str = "") -> Path:
    """The folder of the run, in `folder`/run; `objectives` is text of the search file, one a line."""
    net, solver = folder / "net.j2", folder / "solver.j2"
    net.write_text(mixed_run.NET)
    solver.write_text(mixed_run.SOLVER)
    search = mixed_run.SEARCH.format(folder=folder, generations=1).replace(
        "ga_param { population: 4 generations: 1 }", f'type: "RANDOM"\nlimit {{ trials: {INDIVIDUALS} }}')
    names = [line.split('"')[1] for line in objectives.splitlines()]
    with Journal(folder / "run", fsync=False) as journal:
        journal.begin({"search": search + objectives + more, "engine": "caffe", "seed": 9, "image_shape": [1, 8, 8],
                       "templates": {"net": sha256_of(net), "solver": sha256_of(solver)}, "test_images": 1000,
                       "total": INDIVIDUALS, "started": 990.0, "command": "menndl run x"})
        for id in range(INDIVIDUALS + 1):
            role = INDIVIDUAL if id else DEFAULT
            journal.add_trial(Trial(id, Genome(mixed_run.NAMES, genes(id)), id, 500, None, role))
            journal.add_result(_result(id, names))
    return folder / "run"
