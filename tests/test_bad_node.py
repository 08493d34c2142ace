"""A node that can train nothing, for want of memory or threads or a library: that is no individual's fault."""
from __future__ import annotations

import json
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any, List

from tests.support import runs
from tests.test_farm import ended

WORDS = "Check failed: memory_ptr Cannot allocate memory"
# Starts, says that it is ready, and dies of whatever it is asked for: all, or some of the kernel sizes alone.
CRASHES = f"""
import os, re, sys
sys.path.insert(0, {str(runs.REPOSITORY)!r})
from tests.support import fake_trainer
def dies(net):
    return re.search(r"kernel_size: ([%s])\\n    stride: 1", net) is not None
class Lines:
    def __iter__(self):
        for line in sys.__stdin__:
            if dies(line.replace("\\\\n", "\\n").split("conv2")[0]):
                print("F1121 08:03:04.6 1 syncedmem.cpp:9] {WORDS}", file=sys.stderr, flush=True)
                os.abort()
            yield line
sys.stdin = Lines()
fake_trainer.main()
"""


def trainer(folder: Path, kernels: str = "1-8") -> str:
    """The command of one that dies of these kernel1."""
    path = folder / "crashes.py"
    path.write_text(CRASHES % kernels)
    return f"{sys.executable} {path}"


def run(search: Path, folder: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "menndl_caffe.cli", "run", str(search), "--out", str(folder / "run")]
    return ended(command, **variables)


def test_nothing_is_blamed_on_individuals_and_nothing_recorded(search: Path, undisturbed: List, tmp_path: Path) -> None:
    done = run(search, tmp_path, MENNDL_TRAINER=trainer(tmp_path))
    assert done.returncode == 2
    last = done.stderr.splitlines()[-1]
    assert last.startswith(f"menndl run: the default net does not train on {socket.gethostname()}: trainer ended by "
                           f"SIGABRT: {WORDS}; trainer ended by SIGABRT: {WORDS} (trial 0)")
    assert runs.result_lines(tmp_path / "run") == [] and "Traceback" not in done.stderr
    assert run(search, tmp_path).returncode == 0
    assert runs.individuals(tmp_path / "run") == undisturbed


def test_a_rank_of_such_a_node_is_named(search: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "menndl_caffe.cli", "run", str(search), "--out", str(tmp_path / "run")]
    bad = ["env", f"MENNDL_TRAINER={trainer(tmp_path)}", *command]
    done = ended([*runs.launcher(1), *command, ":", "-n", "1", *bad])
    assert done.returncode == 2
    assert f"menndl: rank 1 on {socket.gethostname()}: the default net does not train on " in done.stderr
    assert all('"status": "ok"' in line for line in runs.result_lines(tmp_path / "run"))


def test_a_net_that_crashes_where_others_train_is_to_blame(search: Path, tmp_path: Path) -> None:
    done = run(search, tmp_path, MENNDL_TRAINER=trainer(tmp_path, "1-4"))
    assert done.returncode == 0, done.stderr
    results: List[Any] = list(map(json.loads, runs.result_lines(tmp_path / "run")))
    crashed = [result for result in results if result["status"] == "crashed"]
    assert len(results) == 19 and 0 < len(crashed) < 19
    assert {result["reason"] for result in crashed} == {f"trainer ended by SIGABRT: {WORDS}"}
