"""On what individuals are measured: an accuracy that is what its layer made of it, and for all of them the same."""
from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any, List

import pytest

from menndl_caffe.errors import UserError
from menndl_caffe.experiment import search_file
from menndl_caffe.experiment.appraise import check_experiment
from menndl_caffe.experiment.measured import needed_outputs
from menndl_caffe.experiment.render import Renderer
from menndl_caffe.experiment.sources import sources
from menndl_caffe.objective import Objective
from menndl_caffe.rank.evaluate import Evaluator
from menndl_caffe.rank.process import TrainerProcess
from menndl_caffe.trial import DEFAULT, INVALID, OK
from tests.conftest import REPOSITORY
from tests.support import runs

TEMPLATE = (REPOSITORY / "templates/cifar10_quick/train_test.prototxt.j2").read_text()
SOLVER = (REPOSITORY / "solvers/quick.solver.prototxt.j2").read_text()
ACCURACY = 'type: "Accuracy"'


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


# ---- which accuracy counts ----

TOP5 = layer("second", "Accuracy", "ip2 label", "top5", "accuracy_param { top_k: 5 }")


def test_of_two_accuracies_the_search_file_names_the_one_that_counts(renderer: Maker) -> None:
    for net in (TEMPLATE + TOP5, TOP5.join(re.split(r"(?<=\n)(?=layer \{\n  name: \"accuracy)", TEMPLATE))):
        with pytest.raises(UserError) as error:
            check_experiment(renderer(net=net))
        assert re.search(r"net.j2 \(rendered\): has 2 layers of type Accuracy in phase TEST, with the tops (accuracy, "
                         r'top5|top5, accuracy); expected fitness: "(accuracy|top5)" in the search', str(error.value))
        for name in ("accuracy", "top5"):
            made = renderer(f'fitness: "{name}"', net=net)
            assert needed_outputs(check_experiment(made), made.experiment.objectives, name).of == {"accuracy": name}
        with pytest.raises(UserError, match="no layer of type Accuracy with the top 'top1' in phase TEST, which is the "
                                            "fitness; did you mean top5"):
            check_experiment(renderer('fitness: "top1"', net=net))
        check_experiment(renderer('objective { measure: "loss" minimize: true }', net=net, kind=runs.RANDOM))


def test_a_fitness_that_is_no_objective(renderer: Maker) -> None:
    with pytest.raises(UserError, match="fitness: names the accuracy, which is no objective here"):
        renderer('fitness: "accuracy" objective { measure: "loss" minimize: true }', kind=runs.RANDOM)


def test_to_be_among_all_classes_is_nothing(renderer: Maker) -> None:
    for top_k in (10, 11):
        net = TEMPLATE.replace(ACCURACY, f"{ACCURACY} accuracy_param {{ top_k: {top_k} }}")
        with pytest.raises(UserError, match=f"layer accuracy: top_k {top_k} (of|is more than the) 10 classes"):
            check_experiment(renderer(net=net))


# ---- all on the same ----

def gene(name: str, low: int, high: int, default: int) -> str:
    return f'gene {{ name: "{name}" int_range {{ min: {low} max: {high} }} default: {default} }}'


BATCH = TEMPLATE.replace("batch_size: 100", "batch_size: {{ tested }}")


@pytest.mark.parametrize(("more", "net", "solver", "said"), [
    (gene("n", 1, 9, 2), TEMPLATE, SOLVER.replace("{{ test_iter }}", "{{ n }}  # {{ test_iter }}"),
     "n is no gene of a search: who has n=1 is measured on 100 images, the default on 200; expected as many"),
    (gene("tested", 10, 100, 100), BATCH, SOLVER, "who has tested=16 is measured on 32 images, the default on 200"),
    (gene("tested", 10, 100, 100), BATCH, SOLVER.replace("{{ test_iter }}", "{{ 200 // tested }}  # {{ test_iter }}"),
     "who has tested=16 is measured on 192 images, the default on 200"),
    (gene("k", 1, 5, 1), TEMPLATE.replace(ACCURACY, ACCURACY + " accuracy_param { top_k: {{ k }} }"), SOLVER,
     "who has k=2 is measured otherwise than the default, by accuracy_param of layer accuracy"),
    (gene("label", 0, 9, 0), TEMPLATE.replace(ACCURACY, ACCURACY + " accuracy_param { ignore_label: {{ label }} }"),
     SOLVER, "by accuracy_param of layer accuracy"),
    ('gene { name: "on" choice { value: "test" value: "train" default: "test" } }',
     TEMPLATE.replace("{{ test_source }}", "{{ test_source if on == 'test' else train_source }}"), SOLVER,
     "who has on=train is measured otherwise than the default, by the source of layer cifar"),
])
def test_no_gene_changes_on_what_is_measured(renderer: Maker, more: str, net: str, solver: str, said: str) -> None:
    made = renderer(more, net=net, solver=solver)
    with pytest.raises(UserError) as error:
        check_experiment(made)
    assert re.match(rf"{renderer.folder}/s.search.prototxt:\d+: gene\[6\]: ", str(error.value))
    assert said in str(error.value) and "\n" not in str(error.value)


def test_how_many_at_a_time_is_free(renderer: Maker) -> None:
    solver = SOLVER.replace("{{ test_iter }}", "{{ 200 // tested }}  # {{ test_iter }}")
    halves = 'gene { name: "part" choice { value: "20" value: "50" value: "100" value: "200" default: "100" } }'
    net, solver = BATCH.replace("tested", "part"), solver.replace("tested", "part | int")
    check_experiment(renderer(halves, net=net, solver=solver))


def test_an_individual_that_is_measured_on_others_is_invalid(renderer: Maker, evaluators: List[Any]) -> None:
    """Though each of its genes alone changes nothing."""
    solver = SOLVER.replace("{{ test_iter }}", "{{ 3 if a * b == 81 else 2 }}  # {{ test_iter }}")
    made = renderer(gene("a", 1, 9, 1) + gene("b", 1, 9, 1), net=TEMPLATE, solver=solver)
    check_experiment(made)
    evaluators.append(Evaluator(made, TrainerProcess(runs.FAKE_TRAINER.split(), os.environ)))
    results = [evaluators[0].evaluate(made.experiment.trial(1, made.experiment.space.with_settings([f"a={a}", "b=9"])))
               for a in (8, 9)]
    assert [result.status for result in results] == [OK, INVALID]
    assert results[1].reason.endswith("(rendered): is measured on 300 images, the default on 200; expected as many")
