"""Small runs for tests: a data set of a few images, a search on it with the fake trainer, the processes of a run."""
from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Dict, Iterable, List, Mapping, Optional, Sequence, Tuple

from tests.conftest import REPOSITORY

PATIENCE = 120.0  # seconds until what does not come is given up; what comes in order never takes so long
FAKE_TRAINER = f"{sys.executable} {REPOSITORY / 'tests' / 'support' / 'fake_trainer.py'}"
GA = "ga_param {{ population: {population} generations: {generations} mutation: 0.2 }}"
LIMITED = {kind: f'type: "{kind}" limit {{{{ trials: {{trials}} }}}}'
           for kind in ("RANDOM", "ASYNC_GA", "GUIDED_GA", "CMA_ES")}
RANDOM = LIMITED["RANDOM"]
DECAYS = """\
net: "templates/mlp/train_test.prototxt.j2"
solver: "solvers/gradients.solver.prototxt.j2"
{kind}
limit {{ trials: {trials} }}
gene {{ name: "decay_hidden" real_range {{ min: 1e-6 max: 1 scale: LOG }} default: 1e-4 }}
gene {{ name: "decay_score" real_range {{ min: 1e-6 max: 1 scale: LOG }} default: 1e-3 }}
constant {{ name: "base_lr" value: "0.02" }}
constant {{ name: "momentum" value: "0.8" }}
constant {{ name: "hidden" value: "{hidden}" }}
constant {{ name: "batch_size" value: "20" }}
constant {{ name: "test_iter" value: "2" }}
constant {{ name: "test_interval" value: "4" }}
data: "{data}"
fitness_set: VALIDATION
max_iter: {max_iter}
random_seed: 3
"""
SEARCH = """\
net: "templates/cifar10_quick/train_test.prototxt.j2"
solver: "solvers/quick.solver.prototxt.j2"
{kind}
gene {{ name: "kernel1" int_range {{ min: 1 max: 8 }} default: 5 }}
gene {{ name: "output1" int_range {{ min: 16 max: 126 step: 2 }} default: 32 }}
gene {{ name: "kernel2" int_range {{ min: 4 max: 5 }} default: 5 }}
gene {{ name: "output2" int_range {{ min: 16 max: 126 step: 2 }} default: 32 }}
gene {{ name: "kernel3" int_range {{ min: 4 max: 5 }} default: 5 }}
gene {{ name: "output3" int_range {{ min: 16 max: 126 step: 2 }} default: 64 }}
constant {{ name: "batch_size" value: "{batch_size}" }}
constant {{ name: "pad" value: "2" }}
constant {{ name: "test_iter" value: "{test_iter}" }}
constant {{ name: "test_interval" value: "{test_interval}" }}
constant {{ name: "test_initialization" value: "false" }}
data: "{data}"
max_iter: {max_iter}
{more}
"""


def write_search(path: Path, data: Path, more: str = "", kind: str = GA, **settings: int) -> Path:
    """A search file over cifar10_quick; `settings` take the place of the small numbers used otherwise."""
    numbers = {"population": 6, "generations": 3, "trials": 18, "batch_size": 10, "test_iter": 2, "test_interval": 4,
               "max_iter": 4, **settings}
    path.write_text(SEARCH.format(data=data, more=more, kind=kind.format(**numbers), **numbers))
    return path


def write_gradients(path: Path, data: Path, method: str = "UNROLLED", starts: int = 1, **settings: int) -> Path:
    """A search by gradients, over the decays of two layers; `settings` as in `write_search`."""
    kind = f'type: "HYPERGRADIENT"\nhypergradient_param {{ method: {method} starts: {starts} }}'
    return _write_decays(path, data, kind, settings)


def write_adaptive(path: Path, data: Path, groups: str = "PER_BLOB", **settings: int) -> Path:
    """A search whose trainings adapt these decays."""
    return _write_decays(path, data, f'type: "ADAPTIVE"\nadaptive_param {{ groups: {groups} }}', settings)


def write_hypernet(path: Path, data: Path, how: str = "groups: PER_NET", **settings: int) -> Path:
    """A search whose trainings learn these decays by a hypernet; `how` stands in its hypernet_param."""
    return _write_decays(path, data, f'type: "HYPERNET"\nhypernet_param {{ {how} }}', settings)


def write_inner(path: Path, data: Path) -> Path:
    """A GA over the hidden units, whose six individuals each are three steps down the gradient by the two decays."""
    kind = ('type: "GA"\nga_param { population: 3 generations: 2 mutation: 0.5 }\n'
            'inner { gene: "decay_hidden" gene: "decay_score" steps: 3 }\n'
            'gene { name: "hidden" int_range { min: 2 max: 8 } default: 4 }')
    lines = _write_decays(path, data, kind, {}).read_text().splitlines(keepends=True)
    path.write_text("".join(line for line in lines if not line.startswith(("limit", 'constant { name: "hidden"'))))
    return path


def _write_decays(path: Path, data: Path, kind: str, settings: Mapping[str, int]) -> Path:
    numbers = {"trials": 18, "hidden": 4, "max_iter": 4, **settings}
    path.write_text(DECAYS.format(data=data, kind=kind, **numbers))
    return path


def small_data(folder: Path, validation: int = 0) -> Path:
    """Synthetic images, as few as make sense."""
    from menndl_caffe.data import write_synthetic

    write_synthetic(folder, images_train=200, images_test=50, validation=validation, report=lambda text: None)
    return folder


def launcher(ranks: int) -> List[str]:
    """The command before `menndl` that starts so many ranks; none for 0."""
    if not ranks:
        return []
    beside = Path(sys.executable).with_name("mpirun")
    return [shutil.which("mpirun") or str(beside), "-n", str(ranks)]


def environment(**variables: str) -> Dict[str, str]:
    """The environment of a run with the fake trainer; MPI as root and with more ranks than cores."""
    return {**os.environ, "MENNDL_TRAINER": FAKE_TRAINER, "PYTHONPATH": str(REPOSITORY),
            "OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
            "OMPI_MCA_rmaps_base_oversubscribe": "1", "PRTE_MCA_rmaps_default_mapping_policy": ":oversubscribe",
            "PRTE_MCA_hwloc_default_binding_policy": "none", **variables}


def start(arguments: Sequence[object], ranks: int = 0, env: Optional[Mapping[str, str]] = None,
          log: Any = subprocess.DEVNULL) -> subprocess.Popen[bytes]:
    """`menndl ARGUMENTS` in a session of its own, under mpirun for ranks > 0."""
    command = [*launcher(ranks), sys.executable, "-m", "menndl_caffe.cli", *map(str, arguments)]
    return subprocess.Popen(command, cwd=REPOSITORY, env=dict(env or environment()), stdin=subprocess.DEVNULL,
                            stdout=log, stderr=log, start_new_session=True)


def descendants(pid: int) -> Dict[int, str]:
    """Process id -> command line of all that a process has started, and of what those have."""
    parents: Dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parents[int(entry.name)] = int((entry / "stat").read_text().rsplit(")", 1)[1].split()[1])
            except (OSError, IndexError):
                pass
    found, new = {}, {pid}
    while new:
        new = {child for child, parent in parents.items() if parent in new}
        for child in new:
            try:
                found[child] = (Path("/proc") / str(child) / "cmdline").read_text().replace("\0", " ")
            except OSError:
                pass
    return found


def has_ended(pid: int) -> bool:
    """Whether this process runs no more; one that nobody has waited for yet has ended too."""
    try:
        return (Path("/proc") / str(pid) / "stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except OSError:
        return True


def tell(pids: Iterable[int], number: int) -> None:
    """Send the signal to these processes, as far as they live."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def sweep(pids: Iterable[int]) -> None:
    """Remove what Open MPI keeps of processes that were killed: one that gets the same id later would not start."""
    for pid in pids:
        shutil.rmtree(Path(tempfile.gettempdir()) / f"ompi.{pid}", ignore_errors=True)


def kill(process: subprocess.Popen[bytes], target: str) -> None:
    """kill -9 of the `master`, of a rank's `trainer`, or of `everything`, as far as it has been started and lives."""
    if process.poll() is not None:
        return
    family = descendants(process.pid)
    trainers = [pid for pid, command in family.items() if "fake_trainer" in command]
    ranks = sorted(pid for pid, command in family.items() if "menndl_caffe.cli" in command and pid not in trainers)
    victims = {"trainer": trainers[-1:], "master": ranks[:1] or [process.pid], "everything": [process.pid, *family]}
    tell(victims[target], signal.SIGKILL)


def training_ranks(ranks: int, cores: int = len(os.sched_getaffinity(0))) -> int:
    """How many of them train: all where there is a core for each, else all but the master."""
    return max(1, ranks - (ranks > cores))


def are_held(folder: Path, trainers: int) -> bool:
    """Whether so many fake trainers come to be in the middle of a training, in which `folder` holds them."""
    return wait_until(lambda: len(list(folder.iterdir())) >= trainers)


def start_held(arguments: Sequence[object], folder: Path, ranks: int = 0, log: Any = subprocess.DEVNULL,
               **variables: str) -> subprocess.Popen[bytes]:
    """As `start`, once all that train are in the middle of a training without end."""
    held = folder / "held"
    held.mkdir()
    process = start(arguments, ranks, environment(FAKE_HELD=str(held), **variables), log)
    assert are_held(held, training_ranks(ranks))
    return process


def individuals(run: Path) -> List[Any]:
    """(id, genes, seed, status, fitness, loss, curve) of every individual of a run, by id: all that matters."""
    from menndl_caffe import journal

    return [(trial.id, trial.genome, trial.seed, result.status, result.fitness, result.loss, result.curve)
            for trial, result in journal.read(run).individuals()]


def result_lines(run: Path) -> List[str]:
    """The journal's whole result lines, as they stand there."""
    path = run / "journal.jsonl"
    lines = path.read_text().splitlines(keepends=True) if path.exists() else []
    return [line for line in lines if line.endswith("\n") and json.loads(line)["event"] == "result"]


def wait_until(condition: Any, seconds: float = PATIENCE) -> bool:
    """Whether the condition came true in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def ended(process: subprocess.Popen[bytes], folder: Path) -> Tuple[int, str]:
    """Exit code and what FOLDER/log says, when the process and all below it have ended."""
    family = descendants(process.pid)
    code = process.wait(PATIENCE)
    assert wait_until(lambda: all(map(has_ended, family))), "somebody lives on"
    return code, (folder / "log").read_text()
