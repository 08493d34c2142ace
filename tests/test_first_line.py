"""What the first line of a run's journal tells of its test set."""
from __future__ import annotations

from pathlib import Path

import pytest

from menndl_caffe import journal
from tests.conftest import REPOSITORY
from tests.support import runs

INCLUDED = "include {\n    phase: TEST\n  }"


@pytest.mark.parametrize("rule", [INCLUDED, "exclude { phase: TRAIN }", "include { not_stage: 'deploy' phase: TEST }"],
                         ids=["include TEST", "exclude TRAIN", "a stage"])
def test_the_test_images_are_those_of_the_layer_that_caffe_takes(rule: str, tmp_path: Path) -> None:
    """50 there are; 2 batches of 100 would be more."""
    template = (REPOSITORY / "templates" / "cifar10_quick" / "train_test.prototxt.j2").read_text()
    layers = template.partition('name: "conv1"')[0]
    assert layers.count(INCLUDED) == 1
    (tmp_path / "net.j2").write_text(template.replace(INCLUDED, rule, 1))
    search = runs.write_search(tmp_path / "search.prototxt", runs.small_data(tmp_path / "data"), population=2,
                               generations=1)
    search.write_text(search.read_text().replace("templates/cifar10_quick/train_test.prototxt.j2",
                                                 str(tmp_path / "net.j2")))
    assert runs.start(["run", search, "--out", tmp_path / "run"]).wait() == 0
    assert journal.read(tmp_path / "run").run["test_images"] == 50
