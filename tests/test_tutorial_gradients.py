"""docs/tutorial-gradients.md as its reader takes it: every command runs, and prints what the page says."""
from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Dict

import pytest

from menndl_caffe import journal
from menndl_caffe.trial import TEST, YARDSTICK
from tests.conftest import REPOSITORY
from tests.documents import tutorial
from tests.support import caffe_runs
from tests.support import clone as clones

BLOCKS = tutorial.blocks(REPOSITORY / "docs" / "tutorial-gradients.md")


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory, caffe_root: Path) -> Path:
    return clones.make(tmp_path_factory.mktemp("tutorial") / "clone", caffe_root)


@pytest.fixture(scope="module")
def printed(clone: Path, caffe_root: Path) -> Dict[int, str]:
    script = re.sub("^make run$", "", tutorial.script(BLOCKS), flags=re.MULTILINE)
    done = subprocess.run(["bash", "-c", script], cwd=clone, env=caffe_runs.environment(caffe_root), text=True,
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=1800)
    assert done.returncode == 0, done.stdout[-3000:]
    return tutorial.printed(done.stdout)


def test_it_prints_what_it_says(printed: Dict[int, str]) -> None:
    shown = [number for number, block in enumerate(BLOCKS) if block.language == "text"]
    assert len(shown) == 4
    for number in shown:
        for line in filter(str.strip, BLOCKS[number].text.splitlines()):
            assert re.search(tutorial.pattern(line), printed[number - 1]), f"{line}\n\n{printed[number - 1]}"


def test_it_went_down(printed: Dict[int, str], clone: Path) -> None:
    folder = clone.parent / "decays"
    record = journal.read(folder / "run")
    losses = [result.loss for _, result in record.individuals() if result.loss is not None]
    assert len(losses) == 12 and min(losses) < 0.9 * losses[0]
    assert {trial.role for trial in record.trials.values()} >= {TEST, YARDSTICK}
    assert json.loads((folder / "best.json").read_text())["yardstick"]["accuracy"] > 0


def test_make_gradients_searches_on_what_images_there_are(clone: Path, caffe_root: Path) -> None:
    """With real Caffe on two ranks; the file that menndl brings along, but smaller."""
    text = (REPOSITORY / "solvers" / "gradients.search.prototxt").read_text()
    for old, new in (("trials: 24", "trials: 3"), ('"hidden" value: "50"', '"hidden" value: "4"')):
        assert old in text
        text = text.replace(old, new)
    (clone / "small.search.prototxt").write_text(text)
    command = ["make", "gradients", "NP=2", "SEARCH=small.search.prototxt", "OPTIONS=--iterations 10"]
    done = subprocess.run(command, cwd=clone, env=caffe_runs.environment(caffe_root), text=True, capture_output=True,
                          stdin=subprocess.DEVNULL, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    record = journal.read(clone / "runs" / "gradients")
    assert len(list(record.individuals())) == 3 and {result.status for result in record.results.values()} == {"ok"}
    assert (clone / "runs" / "gradients" / "report" / "report.html").exists()
