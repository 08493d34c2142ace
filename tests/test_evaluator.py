"""The evaluator on trainers that follow a script: deaths, kills, hangs, nonsense, and what each of them costs."""
from __future__ import annotations

import json
import os
import re
import socket
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Callable, List, Optional

import pytest

from menndl_caffe.errors import UserError
from menndl_caffe.experiment import search_file
from menndl_caffe.experiment.appraise import check_experiment
from menndl_caffe.experiment.render import Renderer
from menndl_caffe.genome import Genome
from menndl_caffe.rank import evaluate
from menndl_caffe.rank.evaluate import Evaluator
from menndl_caffe.rank.process import LOG_BYTES, TrainerProcess
from menndl_caffe.trial import CRASHED, DIVERGED, INVALID, OK, STOPPED, TIMEOUT, Result, Trial
from tests.support import runs

PRELUDE = """
import json, os, re, signal, subprocess, sys, time
request, DEFAULT_TRAINS = {}, True
def say(**message):
    print(json.dumps({**request, **message}), flush=True)
def test(iteration=4, **outputs):
    say(event="test", iteration=iteration, outputs=outputs or {"accuracy": 0.5, "loss": 1.0})
def done():
    say(event="done", engine_seconds=0.25)
def note(text):
    with open(sys.argv[1], "a") as file:
        file.write(str(text) + "\\n")
"""
LOOP = """
note(os.getpid())
say(event="ready", engine="script", version="0", pid=os.getpid())
for trial, line in enumerate(sys.stdin):
    request = {"id": json.loads(line)["id"]}
    kernel = int(re.findall(r"kernel_size: (\\d+)", line)[0])
    if re.search(r"max_iter: 1\\b", line) and DEFAULT_TRAINS:  # after a crash, whether others are all right
        test(1)
        done()
        continue
    starts = len(open(sys.argv[1]).readlines())
"""


@pytest.fixture(scope="module")
def search(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("search")
    return runs.write_search(folder / "s.search.prototxt", runs.small_data(folder / "data"))


@pytest.fixture(scope="module")
def renderer(search: Path) -> Renderer:
    return Renderer(search_file.load(str(search)))


def changed(search: Path, folder: Path, old: str, new: str) -> Renderer:
    """Of that search with something else in its net template, or in the search file itself."""
    text, net = search.read_text(), Path("templates/cifar10_quick/train_test.prototxt.j2").read_text()
    assert (text + net).count(old) == 1
    (folder / "net.j2").write_text(net.replace(old, new))
    other = folder / "changed.search.prototxt"
    other.write_text(re.sub('^net: .*', f'net: "{folder}/net.j2"', text.replace(old, new)))
    return Renderer(search_file.load(str(other)))


class Scripted:
    """An evaluator whose trainer does, for each trial, what the given lines of Python say."""

    def __init__(self, renderer: Renderer, notes: Path, lines: str, prelude: str = PRELUDE + LOOP, timeout: float = 0):
        indented = "".join(f"    {line}\n" for line in lines.splitlines())
        command = [sys.executable, "-c", prelude + indented, str(notes)]
        self.notes, self._experiment = notes, renderer.experiment
        renderer.experiment.message.trial_timeout = timeout
        self.evaluator = Evaluator(renderer, TrainerProcess(command, os.environ), rank=5)

    def evaluate(self, kernel1: int = 5) -> Result:
        space = self._experiment.space
        self.evaluator.start(self._experiment.trial(4, space.with_settings([f"kernel1={kernel1}"])))
        result: Optional[Result] = None
        deadline = time.monotonic() + runs.PATIENCE
        while result is None and time.monotonic() < deadline:
            result = self.evaluator.poll(0.5)
        assert result is not None
        return result

    @property
    def noted(self) -> List[int]:
        """What the trainers noted, first of all their process ids."""
        return [int(line) for line in self.notes.read_text().splitlines()]


Make = Callable[..., Scripted]


@pytest.fixture
def scripted(renderer: Renderer, tmp_path: Path, in_repository: Path) -> Any:
    made: List[Scripted] = []

    def make(lines: str, renderer: Renderer = renderer, **keywords: Any) -> Scripted:
        made.append(Scripted(renderer, tmp_path / "notes", lines, **keywords))
        return made[-1]

    yield make
    for each in made:
        each.evaluator.close()


def test_a_good_training(scripted: Make) -> None:
    rank = scripted("test(2, accuracy=0.25, loss=2.0)\ntest(4, accuracy=0.5, loss=1.5)\ndone()")
    for _ in range(2):
        result = rank.evaluate()
        assert (result.id, result.status, result.fitness, result.loss) == (4, OK, 0.5, 1.5)
        assert result.curve == ((2, 0.25, 2.0), (4, 0.5, 1.5))
        assert (result.rank, result.host, result.engine_seconds) == (5, socket.gethostname(), 0.25)
        assert 0 < result.seconds < 20 and abs(result.started - time.time()) < 20
    assert len(rank.noted) == 1, "a trainer that is well is used again"


def test_polling_does_not_wait(scripted: Make) -> None:
    rank = scripted("time.sleep(60)\ntest()\ndone()")
    rank.evaluator.start(rank._experiment.trial(0, rank._experiment.space.default))
    before = time.monotonic()
    assert rank.evaluator.poll(0.0) is None
    assert rank.evaluator.poll(0.1) is None
    assert time.monotonic() - before < 30


@pytest.mark.parametrize(("start", "why"), [
    ("print('ImportError: no caffe here', file=sys.stderr)\nsys.exit(3)",
     "trainer ended by exit code 3: ImportError: no caffe here"),
    ("print('Welcome to this machine', flush=True)\ntime.sleep(9)",
     "trainer ended by saying 'Welcome to this machine', no message of its protocol"),
])
def test_a_trainer_that_does_not_start_is_no_fault_of_the_individual(scripted: Make, start: str, why: str) -> None:
    with pytest.raises(UserError) as error:
        scripted("", prelude=PRELUDE + start + "\nif True:\n    pass\n").evaluate()
    assert str(error.value) == f"the trainer does not start on {socket.gethostname()}: {why}"


def test_a_command_that_does_not_exist(renderer: Renderer, in_repository: Path) -> None:
    evaluator = Evaluator(renderer, TrainerProcess(["/no/such/trainer"], os.environ))
    with pytest.raises(UserError, match="^trainer command /no/such/trainer: No such file or directory$"):
        evaluator.start(renderer.experiment.trial(0, renderer.experiment.space.default))
    evaluator.close()


CHECK = "F1121 08:03:04.628316 4711 blob.cpp:33] Check failed: shape[i] >= 0 (-1 vs. 0)"


@pytest.mark.parametrize(("end", "reason"), [
    (f"print({CHECK!r}, '*** Check failure stack trace: ***', sep='\\n', file=sys.stderr)\nos.abort()",
     "trainer ended by SIGABRT: Check failed: shape[i] >= 0 (-1 vs. 0)"),
    ("print('last words', file=sys.stderr)\nos.kill(os.getpid(), signal.SIGSEGV)",
     "trainer ended by SIGSEGV: last words"),
    ("os._exit(134)", "trainer ended by SIGABRT"),  # as a shell around it says it
    ("os._exit(7)", "trainer ended by exit code 7"),
    ("print('hello', flush=True)\ntime.sleep(9)", "trainer ended by saying 'hello', no message of its protocol"),
    ("say(event='error', reason='ValueError: no')", "ValueError: no"),
])
def test_a_death_in_the_middle_costs_the_trial_alone(scripted: Make, end: str, reason: str) -> None:
    fatal = "".join(f"    {line}\n" for line in end.splitlines())
    rank = scripted(f"if starts == 1 and trial == 0:\n    test(3)\n{fatal}    continue\ntest()\ndone()")
    result = rank.evaluate()
    assert (result.status, result.fitness, result.reason, result.curve) == (CRASHED, 0.0, reason, ((3, 0.5, 1.0),))
    assert rank.evaluate().status == OK
    assert len(rank.noted) == (1 if "error" in end else 2)


def test_a_trainer_that_died_between_two_trials_is_replaced(scripted: Make) -> None:
    rank = scripted("test()\ndone()\nsys.exit(3)")
    assert rank.evaluate().status == OK
    assert runs.wait_until(lambda: runs.has_ended(rank.noted[0]))
    assert rank.evaluate().status == OK


@pytest.mark.parametrize("kill", ["os.kill(os.getpid(), signal.SIGKILL)", "os.kill(os.getpid(), signal.SIGTERM)",
                                  "os._exit(137)", "signal.raise_signal(signal.SIGINT)",
                                  "os.kill(os.getpid(), signal.SIGUSR2)"])
def test_a_kill_from_outside_is_tried_again(scripted: Make, kill: str) -> None:
    rank = scripted(f"test()\nif starts < 3:\n    {kill}\ndone()")
    result = rank.evaluate()
    assert (result.status, result.fitness, result.curve) == (OK, 0.5, ((4, 0.5, 1.0),))
    assert len(rank.noted) == 3


def test_three_kills_are_enough(scripted: Make) -> None:
    rank = scripted("test()\nos.kill(os.getpid(), signal.SIGKILL)")
    result = rank.evaluate()
    assert (result.status, result.reason, result.fitness) == (CRASHED, "trainer ended by SIGKILL (3 times)", 0.0)
    assert len(rank.noted) == 3 + 1, "and one on which the default shows that this node can train"


def test_a_hang_ends_with_all_that_the_trainer_started(scripted: Make) -> None:
    rank = scripted("if starts == 1:\n    note(subprocess.Popen(['sleep', '1000']).pid)\n    time.sleep(1000)\n"
                    "test()\ndone()", timeout=4.5)
    result = rank.evaluate()
    assert (result.status, result.fitness) == (TIMEOUT, 0.0)
    assert result.reason == "not finished after trial_timeout of 4.5 seconds"
    assert 4.5 < result.seconds < 60
    assert len(rank.noted) == 2 and runs.wait_until(lambda: all(map(runs.has_ended, rank.noted)))
    assert rank.evaluate().status == OK
    assert len(rank.noted) == 3


def test_a_training_of_more_iterations_has_more_time(scripted: Make) -> None:
    """In proportion, as where an individual is confirmed with ten times as many."""
    rank = scripted("time.sleep(1000)", timeout=0.2)
    trial = rank._experiment.trial(0, rank._experiment.space.default)
    result = rank.evaluator.evaluate(replace(trial, max_iter=10 * trial.max_iter))
    assert result.reason == "not finished after trial_timeout of 2 seconds" and result.seconds > 2


def test_time_in_which_the_rank_was_suspended_does_not_count(scripted: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """As by Ctrl-Z, or by a scheduler that lets another job go first: then the result may lie there already."""
    monkeypatch.setattr(evaluate, "LOOK_SECONDS", 0.1)
    rank = scripted("while not os.path.exists(sys.argv[1] + '.suspended'):\n    time.sleep(0.01)\n"
                    "test()\ndone()\nnote('done')", timeout=1.5)
    rank.evaluator.start(rank._experiment.trial(0, rank._experiment.space.default))
    assert rank.evaluator.poll(0.1) is None
    rank.notes.with_name("notes.suspended").touch()
    time.sleep(2)
    assert runs.wait_until(lambda: rank.notes.exists() and rank.notes.read_text().endswith("done\n"))
    result = rank.evaluator.poll(0.1)
    assert result is not None and result.status == OK


def test_a_log_needs_no_disk(scripted: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """A node whose /tmp is full or missing must not fail one individual after the other."""
    monkeypatch.setattr(tempfile, "tempdir", "/nowhere")
    rank = scripted("print('a log', file=sys.stderr, flush=True)\ntest()\ndone()")
    assert rank.evaluate().log == "a log\n"


def test_after_a_divergence_comes_a_new_process(scripted: Make) -> None:
    rank = scripted("test(1)\nsay(event='diverged', reason='training loss is nan at iteration 3', engine_seconds=0.5)")
    for starts in (1, 2):
        result = rank.evaluate()
        assert (result.status, result.reason) == (DIVERGED, "training loss is nan at iteration 3")
        assert (result.fitness, result.curve, result.engine_seconds) == (0.0, ((1, 0.5, 1.0),), 0.5)
        assert len(set(rank.noted)) == starts


@pytest.mark.parametrize("outputs", ["accuracy=1.0, loss=float('nan')", "accuracy=float('inf'), loss=1.0"])
def test_any_trainers_numbers_are_looked_at(scripted: Make, outputs: str) -> None:
    rank = scripted(f"test(1)\ntest(2, {outputs})\ndone()")
    result = rank.evaluate()
    assert (result.status, result.fitness, result.curve) == (DIVERGED, 0.0, ((1, 0.5, 1.0),))
    json.dumps(result.as_dict(), allow_nan=False)
    assert rank.evaluate().status == DIVERGED, "what was left of the first training has been taken for the second"


@pytest.mark.parametrize(("accuracy", "said"), [("79.5", "whose accuracy is 79.5; expected 0 to 1"),
                                                ("True", "whose accuracy is true; expected a number")])
def test_an_accuracy_that_is_none_is_a_crash(scripted: Make, accuracy: str, said: str) -> None:
    """Each would win any search."""
    rank = scripted(f"test(2)\ntest(4, accuracy={accuracy}, loss=1.0)\ndone()")
    for starts in (2, 3):
        result = rank.evaluate()
        assert (result.status, result.fitness, result.curve) == (CRASHED, 0.0, ((2, 0.5, 1.0),))
        assert result.reason.startswith("trainer ended by saying '{") and result.reason.endswith(f"', {said}")
        assert len(rank.noted) == starts, "who says such things is replaced"


ANSWER = "test(4, accuracy=kernel / 16, loss=1.0)\ndone()\n"


def test_who_answers_twice_shifts_no_result(scripted: Make) -> None:
    """What answers an earlier request is no fault of the individual that is trained now: it is trained anew."""
    rank = scripted(ANSWER + ANSWER)
    results = [rank.evaluate(kernel) for kernel in (3, 5, 7)]
    assert [(result.status, result.fitness) for result in results] == [(OK, kernel / 16) for kernel in (3, 5, 7)]
    assert len(rank.noted) == 3


def test_what_is_said_between_two_trainings_is_no_fault_of_the_next(scripted: Make) -> None:
    rank = scripted(ANSWER + "print('good bye', flush=True)\nnote('said')")
    for kernel in (3, 5, 7):
        result = rank.evaluate(kernel)
        assert (result.status, result.fitness) == (OK, kernel / 16)
        assert runs.wait_until(lambda: rank.notes.read_text().endswith("said\n"))
    assert rank.notes.read_text().count("said") == 3


def test_an_answer_without_its_number_is_nobodys(scripted: Make) -> None:
    result = scripted("request = {}\n" + ANSWER).evaluate()
    assert result.status == CRASHED and result.reason.endswith("without id; expected a whole number")


def test_endless_output_ends(scripted: Make) -> None:
    endless = scripted("while True:\n    print('x' * 100_000, end='')")
    assert endless.evaluate().reason.endswith("more than 1048576 bytes without an end of line")


# Of cifar10_quick: three convolutions of 5x5 windows at 32x32, 16x16 and 8x8 places, two inner products; with biases.
WINDOWS = [(75, 32, 32 * 32), (800, 32, 16 * 16), (800, 64, 8 * 8), (1024, 64, 1), (64, 10, 1)]
MEASURES = {"parameters": sum((inputs + 1) * outputs for inputs, outputs, _ in WINDOWS),
            "multiply_adds": sum(inputs * outputs * places for inputs, outputs, places in WINDOWS)}


@pytest.mark.parametrize(("lines", "status"), [
    ("test()\ndone()", OK), ("say(event='error', reason='no')", CRASHED), ("os.abort()", CRASHED),
    ("say(event='diverged', reason='no', engine_seconds=1)", DIVERGED), ("time.sleep(9)", TIMEOUT),
    ("test(accuracy=1, loss=float('nan'))", DIVERGED), ("test(top5=1)", INVALID),
])
def test_every_result_of_a_net_that_is_known_has_its_measures(scripted: Make, lines: str, status: str) -> None:
    result = scripted(lines, timeout=0.5 if status == TIMEOUT else 0).evaluate()
    assert result.status == status
    assert {name: result.measures[name] for name in MEASURES} == MEASURES and result.measures["memory"] > 1e6
    trial = Trial(9, Genome((), ()), 0, 0)
    assert Result.from_dict(json.loads(json.dumps(result.as_dict()))).copied_to(trial).measures == result.measures


@pytest.mark.parametrize(("outputs", "reason"), [
    ("accuracy=0.5", "the test net's outputs are accuracy; expected accuracy and of loss at least one"),
    ("loss=0.5, top5=1", "the test net's outputs are loss, top5; expected accuracy and of loss at least one"),
])
def test_an_accuracy_without_a_loss_does_not_count(scripted: Make, outputs: str, reason: str) -> None:
    rank = scripted(f"test(2, {outputs})\ntest()\ndone()")
    for _ in range(2):
        result = rank.evaluate()
        assert (result.status, result.fitness, result.reason) == (INVALID, 0.0, reason)


def test_a_log_belongs_to_its_trial_and_has_an_end(scripted: Make) -> None:
    rank = scripted("print(f'begin {trial}', file=sys.stderr)\n"
                    f"print('x' * {3 * LOG_BYTES}, file=sys.stderr)\n"
                    "print(f'end {trial}', file=sys.stderr, flush=True)\ntest()\ndone()")
    for trial in range(2):
        log = rank.evaluate().log
        assert log.endswith(f"x\nend {trial}\n") and len(log) <= LOG_BYTES and "begin" not in log
    small = scripted("print(f'only {trial}', file=sys.stderr, flush=True)\ntest()\ndone()")
    assert [small.evaluate().log for _ in range(2)] == ["only 0\n", "only 1\n"]


def test_an_individual_that_is_refused_costs_no_training_and_has_no_log(scripted: Make, search: Path,
                                                                        tmp_path: Path) -> None:
    """Without padding kernel1 8 leaves too little for kernel3 5, kernel1 1 does not."""
    narrow = tmp_path / "narrow.search.prototxt"
    narrow.write_text(search.read_text().replace("max: 8 } default: 5", "max: 8 } default: 1"))
    tight = changed(narrow, tmp_path, 'name: "pad" value: "2"', 'name: "pad" value: "0"')
    rank = scripted("print('something', file=sys.stderr, flush=True)\ntest()\ndone()", tight)
    good, refused = rank.evaluate(kernel1=1), rank.evaluate(kernel1=8)
    assert (good.status, good.log) == (OK, "something\n")
    assert (refused.status, refused.fitness, refused.log, refused.engine_seconds) == (INVALID, 0.0, "", 0.0)
    assert refused.measures == {} and "measures" not in refused.as_dict()
    assert re.search(r":\d+: layer conv3: kernel_size 5x5 is larger than its padded input 4x4", refused.reason)
    assert rank.evaluate(kernel1=1).status == OK and len(rank.noted) == 1


SOFTMAX = 'type: "SoftmaxWithLoss"\n'


@pytest.mark.parametrize(("old", "new", "error"), [
    ('type: "Accuracy"', 'type: "HingeLoss"', "has no layer of type Accuracy in phase TEST; it is the fitness"),
    (SOFTMAX, SOFTMAX + "  include {\n    phase: TRAIN\n  }\n",
     "has no loss in phase TEST; an accuracy counts only if the loss is finite"),
])
def test_a_test_net_needs_an_accuracy_and_a_loss(search: Path, in_repository: Path, tmp_path: Path, old: str, new: str,
                                                 error: str) -> None:
    with pytest.raises(UserError, match=re.escape(error) + "$"):
        check_experiment(changed(search, tmp_path, old, new))


@pytest.mark.parametrize(("new", "loss"), [(SOFTMAX, 1.5), (SOFTMAX + "  loss_weight: 0.5\n", 0.75)])
def test_the_loss_is_weighted_as_caffe_weights_it(scripted: Make, search: Path, tmp_path: Path, new: str,
                                                  loss: float) -> None:
    rank = scripted("test(4, accuracy=0.5, loss=1.5)\ndone()", changed(search, tmp_path, SOFTMAX, new))
    assert rank.evaluate().loss == loss


@pytest.mark.parametrize("slope, trusted", [(1e38, True), (1e39, False), (float("nan"), False), (float("inf"), False)])
def test_a_gradient_that_no_single_precision_holds_is_not_trusted(slope: float, trusted: bool) -> None:
    """Nor could the journal be read that has it."""
    derivatives = SimpleNamespace(chain=lambda of: {"gene": of["decay"]})
    training = SimpleNamespace(gradient={}, gradient_by={}, request=SimpleNamespace(derivatives=derivatives))
    rank: Any = SimpleNamespace()
    message = {"event": "gradient", "of": {"decay": slope}, "how": {"method": "HOAG"}, "distrust": ""}
    assert Evaluator._take_gradient(rank, training, message) is None  # type: ignore
    assert training.gradient == ({"gene": slope} if trusted else {})
    assert training.gradient_by == {"method": "HOAG", **({} if trusted else {"distrust": "it is not finite"})}


# ---- up to a rung ----

@pytest.fixture
def often_tested(search: Path, tmp_path: Path) -> Renderer:
    return changed(search, tmp_path, 'name: "test_interval" value: "4"', 'name: "test_interval" value: "2"')


def at_rung(rank: Scripted, until: int, continues: Optional[int] = None) -> Result:
    trial = rank._experiment.trial(4, rank._experiment.space.default)
    return rank.evaluator.evaluate(replace(trial, until=until, continues=continues))


UP_TO = "asked = json.loads(line)\nnote(asked['until'])\n"


def test_a_trial_up_to_a_rung_is_stopped_there(scripted: Make, often_tested: Renderer) -> None:
    rank = scripted(f"{UP_TO}test(0, accuracy=0.1, loss=2.5)\ntest(2, accuracy=0.25, loss=2.0)\ndone()", often_tested)
    for continues in (None, 3):
        result = at_rung(rank, 2, continues)
        assert (result.status, result.fitness, result.loss, result.reason) == (STOPPED, 0.25, 2.0, "")
        assert result.curve == ((0, 0.1, 2.5), (2, 0.25, 2.0)) and result.measures["parameters"] > 0
    assert rank.noted[1:] == [2, 2]


def test_at_a_rung_too_only_finite_numbers_count(scripted: Make, often_tested: Renderer) -> None:
    rank = scripted("test(2, accuracy=1.0, loss=float('nan'))\ndone()", often_tested)
    assert (at_rung(rank, 2).status, at_rung(rank, 2).fitness) == (DIVERGED, 0.0)


def test_who_is_not_tested_at_a_rung_is_invalid(scripted: Make) -> None:
    """As where the test_interval is a gene."""
    rank = scripted("test()\ndone()")
    result = at_rung(rank, 2)
    assert result.status == INVALID and not rank.notes.exists()
    assert result.reason == ("solvers/quick.solver.prototxt.j2 (rendered):7: test_interval: is 4, so no test pass is "
                             "due at iteration 2, where `stop` has a rung; expected 2 or a divisor of it, or rungs at "
                             "multiples of 4")


def test_a_trainer_that_knows_no_rungs_ends_the_run(scripted: Make, often_tested: Renderer) -> None:
    rank = scripted("test(2)\ntest(4)\ndone()", often_tested)
    with pytest.raises(UserError, match="was to end a training at iteration 2, and tests at 4: a search file with"):
        at_rung(rank, 2)


@pytest.mark.parametrize(("timeout", "until", "seconds"), [
    (0, 2, 0), (1000, None, 1000), (1000, 2, 500), (1000, 3, 750), (80, 2, 60), (50, 2, 50)])
def test_the_time_up_to_a_rung_is_in_proportion(scripted: Make, timeout: float, until: Optional[int], seconds: float
                                                ) -> None:
    """But a minute is needed however short the training is, and it is never more than that for the whole."""
    rank = scripted("", timeout=timeout)
    trial = replace(rank._experiment.trial(4, rank._experiment.space.default), until=until)
    assert rank.evaluator._time_for(trial) == seconds
    longer = replace(trial, max_iter=8, until=None)
    assert rank.evaluator._time_for(longer) == 2 * timeout


def test_a_trial_up_to_a_rung_is_given_up_in_time(scripted: Make, often_tested: Renderer,
                                                  monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluate, "SETTING_UP_SECONDS", 0.1)
    result = at_rung(scripted("time.sleep(1000)", often_tested, timeout=0.5), 2)
    assert (result.status, result.reason) == (TIMEOUT, "not finished after trial_timeout of 0.25 seconds")
