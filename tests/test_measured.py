"""On what individuals are measured: an accuracy that is what its layer made of it, and for all of them the same."""
from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from menndl_caffe.errors import UserError
from menndl_caffe.experiment import search_file
from menndl_caffe.experiment.appraise import check_experiment
from menndl_caffe.experiment.measured import needed_outputs
from menndl_caffe.experiment.render import Renderer
from menndl_caffe.experiment.sources import sources
from menndl_caffe.objective import Objective
from menndl_caffe.trial import DEFAULT
from tests.conftest import REPOSITORY
from tests.support import runs

TEMPLATE = (REPOSITORY / "templates/cifar10_quick/train_test.prototxt.j2").read_text()
SOLVER = (REPOSITORY / "solvers/quick.solver.prototxt.j2").read_text()


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return runs.small_data(tmp_path_factory.mktemp("data"))


class Maker:
    """Renderers of that search with other lines, templates, and settings in it."""

    def __init__(self, folder: Path, data: Path):
        self.folder, self._data = folder, data

    def __call__(self, more: str = "", net: str = TEMPLATE, solver: str = SOLVER, **settings: Any) -> Renderer:
        path = runs.write_search(self.folder / "s.search.prototxt", self._data, more, **settings)
        text = path.read_text()
        for kind, template in (("net", net), ("solver", solver)):
            (self.folder / f"{kind}.j2").write_text(template)
            text = re.sub(f'^{kind}: .*', f'{kind}: "{self.folder}/{kind}.j2"', text, flags=re.MULTILINE)
        path.write_text(text)
        return Renderer(search_file.load(str(path)))


@pytest.fixture
def renderer(tmp_path: Path, data: Path) -> Maker:
    return Maker(tmp_path, data)


def layer(name: str, kind: str, bottoms: str, top: str = "", more: str = "") -> str:
    names = " ".join(f'bottom: "{bottom}"' for bottom in bottoms.split())
    tops = f'top: "{top}"' if top else ""
    return f'layer {{ name: "{name}" type: "{kind}" {names} {tops} {more} include {{ phase: TEST }} }}\n'


@pytest.mark.parametrize(("further", "who"), [
    (layer("times100", "Power", "accuracy", "accuracy", "power_param { scale: 100 }"), "times100"),
    (layer("up", "Exp", "accuracy", "accuracy"), "up"),
    (layer("flip", "Python", "accuracy", "accuracy", 'python_param { module: "m" layer: "L" }'), "flip"),
    # a blob of its own, but the accuracy's memory
    (layer("view", "Reshape", "accuracy", "one", "reshape_param { shape { dim: 1 } }")
     + layer("up", "Exp", "one", "one"), "view"),
    (layer("gone", "Silence", "accuracy"), "gone"),
    (layer("again", "Accuracy", "ip2 label", "accuracy"), "again"),
])
def test_nobody_has_the_accuracy_after_its_layer(renderer: Maker, further: str, who: str) -> None:
    """A blob that is written again is another number, such as 79.5."""
    with pytest.raises(UserError) as error:
        check_experiment(renderer(net=TEMPLATE + further))
    assert re.search(rf"net.j2 \(rendered\):\d+: layer {who}: (takes 'accuracy' further|top 'accuracy' exists already)",
                     str(error.value))


def test_nor_has_anybody_an_accuracy_that_is_an_objective_by_its_name(renderer: Maker) -> None:
    second = layer("second", "Accuracy", "ip2 label", "top5", "accuracy_param { top_k: 5 }")
    wide = layer("wide", "Power", "top5", "top5", "power_param { scale: 100 }")
    made = renderer(net=TEMPLATE + second + wide)
    rendered = made.render(made.experiment.trial(0, made.experiment.space.default), sources(made.experiment, DEFAULT))
    with pytest.raises(UserError, match="layer wide: takes 'top5' further"):
        needed_outputs(rendered, [Objective("loss", True), Objective("top5", False)])
    assert needed_outputs(rendered, [Objective("loss", True)]).accuracies == frozenset()
