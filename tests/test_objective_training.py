"""Objectives from the search file to the result: what is checked before a run, what the rank measures, what fails."""
from __future__ import annotations

import json
import os
import re
import sys
from pathlib import Path
from typing import Any, Dict, Iterator, List, Mapping, Sequence, Tuple

import pytest

from menndl_caffe import journal
from menndl_caffe.errors import UserError
from menndl_caffe.experiment import search_file
from menndl_caffe.experiment.appraise import check_experiment
from menndl_caffe.experiment.recorded import judging
from menndl_caffe.experiment.render import Renderer
from menndl_caffe.objective import MEASURES, Objective
from menndl_caffe.rank.evaluate import Evaluator
from menndl_caffe.rank.process import TrainerProcess
from menndl_caffe.record import Record
from menndl_caffe.trial import DEFAULT, DIVERGED, INVALID, OK, Result
from tests.conftest import REPOSITORY, Runner
from tests.support import caffe_runs, runs

RANDOM = 'type: "RANDOM"\nlimit {{ trials: {trials} }}'
TEMPLATE = REPOSITORY / "templates/cifar10_quick/train_test.prototxt.j2"
# A trainer whose last test pass gives out what its second argument says.
TRAINER = """
import json, sys
print(json.dumps({"event": "ready"}), flush=True)
for line in sys.stdin:
    request = json.loads(line)
    answers = [{"event": "test", "iteration": 4, "outputs": json.loads(sys.argv[1])},
               {"event": "done", "engine_seconds": 0.25}]
    for answer in answers:
        print(json.dumps({"id": request["id"], **answer}), flush=True)
"""


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return runs.small_data(tmp_path_factory.mktemp("data"))


def without_accuracy(net: str, loss: str = "cross_entropy") -> str:
    """A net's template without its Accuracy layer, its loss of another name."""
    layers = re.split(r"(?=^layer \{)", net, flags=re.MULTILINE)
    kept = "".join(layer for layer in layers if 'type: "Accuracy"' not in layer)
    assert len(re.findall('top: "loss"', kept)) == 1 and len(kept) < len(net)
    return kept.replace('top: "loss"', f'top: "{loss}"')


def experiment(folder: Path, data: Path, objectives: Sequence[str], net: str = "", kind: str = RANDOM,
               trials: int = 3) -> Path:
    """A search file with these objectives, a line each from the file's first on; `net` is its net's template."""
    path = runs.write_search(folder / "s.search.prototxt", data, kind=kind, trials=trials)
    (folder / "net.j2").write_text(net or TEMPLATE.read_text())
    text = re.sub("^net: .*", f'net: "{folder}/net.j2"', path.read_text(), flags=re.MULTILINE)
    path.write_text("\n".join([*(f"objective {{ {one} }}" for one in objectives), text]))
    return path


def renderer(*arguments: Any, **keywords: Any) -> Renderer:
    return Renderer(search_file.load(str(experiment(*arguments, **keywords))))


Point = Tuple[int, float, float]
LOSS, SIZE = 'measure: "loss" minimize: true', 'measure: "parameters" minimize: true'
NAMED = 'measure: "cross_entropy" minimize: true'


def test_no_objective_is_the_accuracy_alone(tmp_path: Path, data: Path, in_repository: Path) -> None:
    assert renderer(tmp_path, data, []).experiment.objectives == (Objective("accuracy", False),)
    made = renderer(tmp_path, data, ['measure: "accuracy"', LOSS]).experiment
    assert made.objectives == (Objective("accuracy", False), Objective("loss", True))


@pytest.mark.parametrize("objectives, expected", [
    ([LOSS, SIZE, 'measure: "loss" minimize: false'], "3: objective[2].measure: 'loss' is already the objective of"),
    (["", 'measure: "memory"'], "2: objective[1]: memory does not say which is better; expected minimize: true, or"),
    (['measure: "iou"'], "1: objective[0]: iou does not say which is better;"),
])
def test_mistakes_in_objectives(tmp_path: Path, data: Path, in_repository: Path, objectives: List[str],
                                expected: str) -> None:
    with pytest.raises(UserError) as error:
        renderer(tmp_path, data, objectives)
    assert str(error.value).startswith(f"{tmp_path}/s.search.prototxt:{expected}")


def test_more_of_a_loss_may_be_wanted_by_who_says_so(tmp_path: Path, data: Path, in_repository: Path) -> None:
    check_experiment(renderer(tmp_path, data, ['measure: "loss" minimize: false']))


def test_an_output_that_the_default_net_has_not(tmp_path: Path, data: Path, in_repository: Path) -> None:
    with pytest.raises(UserError) as error:
        check_experiment(renderer(tmp_path, data, [LOSS, 'measure: "acuracy" minimize: false']))
    assert str(error.value) == (
        f"{tmp_path}/s.search.prototxt:2: objective[1].measure: is 'acuracy'; the outputs of the default net's TEST "
        "phase are accuracy, loss; did you mean accuracy? valid: accuracy, loss, memory, multiply_adds, parameters")


def test_an_output_of_many_numbers_is_no_measure(tmp_path: Path, data: Path, in_repository: Path) -> None:
    net = (TEMPLATE.read_text()
           + 'layer { name: "s" type: "Softmax" bottom: "ip2" top: "prob" include { phase: TEST } }\n')
    with pytest.raises(UserError, match="is 'prob'; the outputs of the default net's TEST phase are accuracy, loss;"):
        check_experiment(renderer(tmp_path, data, ['measure: "prob" minimize: true'], net))


def test_sizes_that_caffe_alone_knows_are_refused_at_the_start(tmp_path: Path, data: Path, in_repository: Path) -> None:
    net = TEMPLATE.read_text() + ('layer { name: "own" type: "Python" bottom: "ip2" top: "own" '
                                  'python_param { module: "m" layer: "L" } }\n')
    check_experiment(renderer(tmp_path, data, ['measure: "own" minimize: true'], net))
    with pytest.raises(UserError, match=r"2: objective\[1\].measure: is parameters, which cannot be known of the"):
        check_experiment(renderer(tmp_path, data, [LOSS, SIZE], net))


def test_a_net_needs_an_accuracy_only_where_one_is_an_objective(tmp_path: Path, data: Path,
                                                                in_repository: Path) -> None:
    net = without_accuracy(TEMPLATE.read_text())
    check_experiment(renderer(tmp_path, data, [NAMED, SIZE], net))
    check_experiment(renderer(tmp_path, data, [LOSS], net))
    for objectives, what in (([], "the fitness"), ([LOSS, ""], "an objective")):
        with pytest.raises(UserError, match=f"has no layer of type Accuracy in phase TEST; it is {what}$"):
            check_experiment(renderer(tmp_path, data, objectives, net))


def test_a_loss_is_always_needed(tmp_path: Path, data: Path, in_repository: Path) -> None:
    net = re.sub(r'(top: "loss")', r"\1 include { phase: TRAIN }", TEMPLATE.read_text())
    with pytest.raises(UserError, match="has no loss in phase TEST; the accuracy2 counts only if the loss is finite"):
        check_experiment(renderer(tmp_path, data, ['measure: "accuracy2" minimize: false'],
                                  net.replace('top: "accuracy"', 'top: "accuracy2"')))


@pytest.fixture
def evaluators() -> Iterator[List[Evaluator]]:
    made: List[Evaluator] = []
    yield made
    for each in made:
        each.close()


OUTPUTS = {"accuracy": 0.75, "loss": 0.5, "iou": 12.5}


def result(evaluators: List[Evaluator], renderer: Renderer, outputs: Mapping[str, float] = OUTPUTS,
           *genes: str) -> Result:
    """Of a training whose last test pass gives out these."""
    command = [sys.executable, "-c", TRAINER, json.dumps(outputs)]
    evaluators.append(Evaluator(renderer, TrainerProcess(command, os.environ)))
    space = renderer.experiment.space
    return evaluators[-1].evaluate(renderer.experiment.trial(1, space.with_settings(genes)))


IOU = 'measure: "iou" minimize: false'


@pytest.mark.parametrize("objectives, fitness, further, point", [
    ([], 0.75, {}, (4, 0.75, 0.5)),
    ([LOSS], 0.5, {}, (4, 0.5, 0.5)),
    ([IOU], 12.5, {}, (4, 12.5, 0.5)),
    ([LOSS, "", IOU], 0.5, {"accuracy": 0.75, "iou": 12.5}, (4, 0.5, 0.5)),
    (["", LOSS, SIZE], 0.75, {}, (4, 0.75, 0.5)),
    ([SIZE], 145578.0, {}, (4, 0.5, 0.5)),
    ([SIZE, ""], 145578.0, {"accuracy": 0.75}, (4, 0.75, 0.5)),
])
def test_what_the_objectives_measure_is_in_the_result(tmp_path: Path, data: Path, in_repository: Path, evaluators: Any,
                                                      objectives: List[str], fitness: float,
                                                      further: Dict[str, float], point: Point) -> None:
    found = result(evaluators, renderer(tmp_path, data, objectives))
    assert (found.status, found.fitness, found.loss, found.curve) == (OK, fitness, 0.5, (point,))
    assert found.measures["parameters"] == 145578  # of Caffe's cifar10_quick
    assert {name: value for name, value in found.measures.items() if name not in MEASURES} == further
    assert Result.from_dict(json.loads(json.dumps(found.as_dict()))).fitness == fitness


@pytest.mark.parametrize("outputs, status, reason", [
    ({"accuracy": 0.75, "loss": 0.5}, INVALID, "the test net's outputs are accuracy, loss; expected iou and of loss at "
                                               "least one"),
    ({"iou": float("nan"), "loss": 0.5}, DIVERGED, "test outputs at iteration 4 are not finite: iou nan, loss 0.5"),
    ({"iou": 0.5, "loss": float("inf")}, DIVERGED, "test outputs at iteration 4 are not finite: iou 0.5, loss inf"),
    ({"iou": 0.5}, INVALID, "the test net's outputs are iou; expected iou and of loss at least one"),
    ({"iou": -7.5, "loss": 0.5, "accuracy": 79.0}, OK, ""),  # what is no objective may be anything
])
def test_what_cannot_be_measured_fails(tmp_path: Path, data: Path, in_repository: Path, evaluators: Any,
                                       outputs: Dict[str, float], status: str, reason: str) -> None:
    found = result(evaluators, renderer(tmp_path, data, [IOU]), outputs)
    assert (found.status, found.reason) == (status, reason)


def test_an_accuracy_that_is_none_ends_the_trainer_whichever_objective_it_is(tmp_path: Path, data: Path,
                                                                             in_repository: Path,
                                                                             evaluators: Any) -> None:
    with pytest.raises(UserError, match="whose accuracy is 79; expected 0 to 1"):  # of the default as well
        result(evaluators, renderer(tmp_path, data, [LOSS, ""]), {"accuracy": 79.0, "loss": 0.5})


def test_an_individual_of_unknown_size_is_invalid(tmp_path: Path, data: Path, in_repository: Path,
                                                  evaluators: Any) -> None:
    net = TEMPLATE.read_text() + ('{% if kernel1 == 7 %}layer { name: "own" type: "Python" bottom: "ip2" top: "own" '
                                  'python_param { module: "m" layer: "L" } }\n{% endif %}')
    made = renderer(tmp_path, data, [LOSS, SIZE], net)
    check_experiment(made)
    assert result(evaluators, made).status == OK
    found = result(evaluators, made, OUTPUTS, "kernel1=7")
    assert (found.status, found.fitness) == (INVALID, 0.0)
    assert "parameters, an objective, cannot be known before the net runs" in found.reason


# ---- the journal ----

def recorded(folder: Path, search: str, fitness: float) -> Record:
    folder.mkdir()
    lines = [{"event": "run", "search": search, "engine": "caffe", "started": 0},
             {"event": "trial", "id": 0, "role": DEFAULT, "genes": {"a": 1}, "seed": 1, "max_iter": 1,
              "generation": None},
             {"event": "result", "id": 0, "status": "ok", "fitness": fitness, "loss": 0.5, "curve": []}]
    (folder / journal.NAME).write_text("".join(json.dumps(line) + "\n" for line in lines))
    return journal.read(folder, judging)


def test_a_fitness_may_be_any_number_where_the_search_has_objectives(tmp_path: Path) -> None:
    rest = '\nsolver: "s"\ngene { name: "a" int_range { min: 1 max: 2 } default: 1 }\n'
    objective = f'net: "n"{rest}objective {{\n  measure: "loss"\n  minimize: true\n}}\n'
    assert recorded(tmp_path / "loss", objective, -7.5).results[0].fitness == -7.5
    assert recorded(tmp_path / "accuracy", f'net: "n"{rest}', 0.5).results[0].fitness == 0.5
    for search in (f'net: "n"{rest}', f'net: "objective"{rest}'):
        with pytest.raises(UserError, match="field 'fitness' is -7.5; expected a finite number from 0 to 1"):
            recorded(tmp_path / str(len(search)), search, -7.5)


# ---- whole runs ----

def finished(search: Path, run: Path, environment: Mapping[str, str], *more: str) -> Record:
    log = run.with_suffix(".log")
    with open(log, "wb") as file:
        code = runs.start(["run", search, "--out", run, *more], 0, environment, file).wait(600)
    assert code == 0, log.read_text()
    return journal.read(run)


@pytest.fixture(scope="module")
def narrow(tmp_path_factory: pytest.TempPathFactory, cifar10_data: Path) -> Path:
    """Three individuals of a net without an Accuracy layer: least cross_entropy, least multiply-adds."""
    folder = tmp_path_factory.mktemp("narrow")
    path = experiment(folder, cifar10_data, [NAMED, 'measure: "multiply_adds" minimize: true'],
                      without_accuracy(TEMPLATE.read_text()))
    path.write_text(re.sub(r"min: 16 max: 126 step: 2 } default: \d+", "min: 4 max: 12 step: 2 } default: 8",
                           path.read_text()))
    return path


def check(record: Record) -> None:
    assert {result.status for result in record.results.values()} == {OK} and len(record.results) == 4
    for result in record.results.values():
        assert result.fitness == result.loss and 2 < result.fitness < 3
        assert result.curve == ((4, result.fitness, result.loss),)
        assert set(result.measures) == {"parameters", "multiply_adds", "memory"}


def test_a_run_with_real_caffe_without_an_accuracy_layer(caffe_root: Path, narrow: Path, tmp_path: Path,
                                                         menndl: Runner) -> None:
    record = finished(narrow, tmp_path / "run", caffe_runs.environment(caffe_root))
    check(record)
    best = min((result for id, result in record.results.items() if id), key=lambda result: (result.fitness, result.id))
    assert {int(folder.name) for folder in (tmp_path / "run" / "trials").iterdir()} == {0, best.id}
    printed = caffe_runs.caffe_train(caffe_root, tmp_path / "run" / "trials" / str(best.id) / "solver.prototxt")
    assert printed == [(4, {"cross_entropy": f"{best.fitness:g}"})]
    said = json.loads(menndl("best", tmp_path / "run", "--json").stdout)
    assert said["best"][0]["objectives"] == {"cross_entropy": best.fitness,
                                             "multiply_adds": best.measures["multiply_adds"]}
    saved = menndl("best", tmp_path / "run", "--save", tmp_path / "saved", env=caffe_runs.environment(caffe_root))
    first = said["best"][0]["objectives"]["cross_entropy"]
    assert f"cross_entropy {first:g}, loss {first:g}: equal to the recorded ones" in saved.stdout, saved.stderr
    assert (tmp_path / "saved" / "README.md").read_text().startswith("# Individual ")


def test_a_run_with_the_torch_engine_without_an_accuracy_layer(narrow: Path, tmp_path: Path) -> None:
    pytest.importorskip("torch")
    environment = {name: value for name, value in runs.environment().items() if name != "MENNDL_TRAINER"}
    check(finished(narrow, tmp_path / "run", environment, "--engine", "torch"))


ASYNC_GA = 'type: "ASYNC_GA"\nasync_ga_param {{ population: 4 }}\nlimit {{ trials: {trials} }}'
LEAST_WORK = 'measure: "multiply_adds" minimize: true'


def stopped_and_resumed(search: Path, folder: Path) -> Tuple[Record, Record]:
    """A run to its end, and one that is gone on with from the middle of that one's journal."""
    whole = finished(search, folder / "whole", runs.environment())
    lines = (folder / "whole" / journal.NAME).read_bytes().splitlines(keepends=True)
    (folder / "cut").mkdir()
    (folder / "cut" / journal.NAME).write_bytes(b"".join(lines[:len(lines) // 2]))
    return whole, finished(search, folder / "cut", runs.environment())


@pytest.mark.parametrize("objectives, kind", [([LOSS], runs.GA), (["", LEAST_WORK], ASYNC_GA)])
def test_a_resumed_run_is_the_same(objectives: List[str], kind: str, tmp_path: Path, data: Path) -> None:
    whole, cut = stopped_and_resumed(experiment(tmp_path, data, objectives, kind=kind, trials=18), tmp_path)
    assert len(whole.trials) == 19 and cut.trials == whole.trials
    assert {id: (result.fitness, result.measures) for id, result in cut.results.items()} == {
        id: (result.fitness, result.measures) for id, result in whole.results.items()}


def test_a_search_goes_towards_less(tmp_path: Path, data: Path) -> None:
    record = finished(experiment(tmp_path, data, [LOSS], kind=runs.GA), tmp_path / "run", runs.environment())
    first, last = ([result.fitness for trial, result in record.individuals() if trial.generation == generation]
                   for generation in (0, 2))
    assert sum(last) / len(last) < sum(first) / len(first)
    best = min(record.individuals(), key=lambda pair: (pair[1].fitness, pair[0].id))[0].id
    assert {int(folder.name) for folder in (tmp_path / "run" / "trials").iterdir()} == {0, best}
