"""What a trainer says: a table of odd messages; a good conversation that is changed never gives a wrong result."""
from __future__ import annotations

import contextlib
import json
import os
import re
from pathlib import Path
from typing import Any, List

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from menndl_caffe.errors import UserError
from menndl_caffe.experiment import search_file
from menndl_caffe.experiment.render import Renderer
from menndl_caffe.rank.evaluate import Evaluator
from menndl_caffe.rank.messages import ANSWERS, INTRODUCTION, LINE_BYTES, Conversation, Unfit
from menndl_caffe.rank.process import LOG_BYTES, LONGEST_LOG, TrainerDied, TrainerProcess
from menndl_caffe.trial import ADAPTIVE, CRASHED, DIVERGED, HYPERGRADIENT, HYPERNET, INVALID, OK, TRAIN
from tests.support import runs

READY = '{"event": "ready", "engine": "caffe"}'
TEST = '{"id": 2, "event": "test", "iteration": 4, "outputs": {"accuracy": 0.5, "loss": 1}}'
DONE = '{"id": 2, "event": "done", "engine_seconds": 0.5}'


def second_request(*lines: str) -> Conversation:
    """A conversation in which the second request runs, of 4 iterations, and these lines have been said."""
    conversation = Conversation()
    conversation.take(READY.encode())
    for _ in range(2):
        conversation.number(4, ["accuracy", "top5"])
    for line in lines:
        conversation.take(line.encode())
    return conversation


def refusal(conversation: Conversation, line: str) -> Unfit:
    with pytest.raises(Unfit) as error:
        conversation.take(line.encode("utf-8", "surrogatepass"))
    return error.value


def test_a_good_conversation() -> None:
    conversation = second_request()
    assert conversation.take(TEST.replace("4", "0").encode())["iteration"] == 0
    message = conversation.take(TEST.replace("}}", '}, "more": true}').encode())
    assert message["outputs"] == {"accuracy": 0.5, "loss": 1.0} and type(message["outputs"]["loss"]) is float
    assert conversation.take(DONE.encode())["engine_seconds"] == 0.5
    assert conversation.number(4, ()) == 3
    reason = '{"id": 3, "event": "error", "reason": "\\u00fc"}'
    assert conversation.take(reason.encode())["reason"] == "ü"


def test_numbers_that_are_not_finite_are_left_to_those_who_know_the_net() -> None:
    for value in ("NaN", "Infinity", "-Infinity", "1e999"):
        second_request().take(TEST.replace("0.5", value).encode())


NO_MESSAGE = "no message of its protocol"
EVENTS = "expected test or done or diverged or error or gradient or learned or unsuitable"
ODD = [
    ("", NO_MESSAGE), ("hello", NO_MESSAGE), ("[]", NO_MESSAGE), ("null", NO_MESSAGE), (DONE[:-1], NO_MESSAGE),
    (DONE * 2, NO_MESSAGE), ("[" * 100_000, NO_MESSAGE), (DONE + "\udcff", NO_MESSAGE),
    ('{"id": 2, ' + DONE[1:], NO_MESSAGE),  # which of the two?
    ("{}", f"whose event is null; {EVENTS}"),
    ('{"event": ["test"]}', f"whose event is a list or an object; {EVENTS}"),
    (TEST.replace("test", "Test"), f'whose event is "Test"; {EVENTS}'),
    (READY, f'whose event is "ready"; {EVENTS}'),
    (TEST.replace('"id": 2, ', ""), "without id; expected a whole number"),
    (TEST.replace("2", "true"), "whose id is true; expected a whole number"),
    (TEST.replace("2", "2.0"), "whose id is 2.0; expected a whole number"),
    (TEST.replace("2", '"2"'), 'whose id is "2"; expected a whole number'),
    (TEST.replace("2", "3"), "whose id is 3; expected 2"),
    (TEST.replace("2", "0"), "whose id is 0; expected 2"),
    (TEST.replace("4", "5"), "whose iteration is 5; expected more than -1, at most 4"),
    (TEST.replace("4", "-1"), "whose iteration is -1; expected more than -1, at most 4"),
    (TEST.replace("4", "4.0"), "whose iteration is 4.0; expected a whole number"),
    (TEST.replace("4", "true"), "whose iteration is true; expected a whole number"),
    (TEST.replace("0.5", "79.5"), "whose accuracy is 79.5; expected 0 to 1"),
    (TEST.replace("0.5", "2"), "whose accuracy is 2; expected 0 to 1"),
    (TEST.replace("0.5", "-1"), "whose accuracy is -1; expected 0 to 1"),
    (TEST.replace("loss", "top5").replace("1}", "1.5}"), "whose top5 is 1.5; expected 0 to 1"),
    (TEST.replace("0.5", "true"), "whose accuracy is true; expected a number"),
    (TEST.replace("0.5", '"0.5"'), 'whose accuracy is "0.5"; expected a number'),
    (TEST.replace("0.5", "null"), "whose accuracy is null; expected a number"),
    (TEST.replace("0.5", "[0.5]"), "whose accuracy is a list or an object; expected a number"),
    (TEST.replace("0.5", "1" + 400 * "0"), f"whose accuracy is 1{79 * '0'}; expected a number"),
    (TEST.replace("accuracy", "\\ud800"), "whose outputs is a list or an object; expected an object of numbers"),
    (TEST.replace('{"accuracy": 0.5, "loss": 1}', "0.5"), "whose outputs is 0.5; expected an object of numbers"),
    (DONE, "before a test at iteration 4"),
    ('{"id": 2, "event": "unsuitable", "reason": "no"}', "which no training may be"),
]
LAST_ODD = [
    (TEST, "whose iteration is 4; expected more than 4, at most 4"),
    (DONE.replace("0.5", "NaN"), "whose engine_seconds is NaN; expected seconds, 0 or more"),
    (DONE.replace("0.5", "-1"), "whose engine_seconds is -1; expected seconds, 0 or more"),
    (DONE.replace("0.5", "false"), "whose engine_seconds is false; expected seconds, 0 or more"),
    (DONE.replace("done", "diverged"), "without reason; expected a text"),
    ('{"id": 2, "event": "error", "reason": 7}', "whose reason is 7; expected a text"),
    ('{"id": 2, "event": "error", "reason": "\\ud800"}', 'whose reason is "\\ud800"; expected a text'),
]


@pytest.mark.parametrize(("said", "line", "why"), [*(([], *odd) for odd in ODD), *(([TEST], *odd) for odd in LAST_ODD)],
                         ids=lambda value: value[:40] if isinstance(value, str) else None)
def test_odd_messages(said: List[str], line: str, why: str) -> None:
    unfit = refusal(second_request(*said), line)
    assert str(unfit) == why and not unfit.late


@pytest.mark.parametrize("line", [TEST, DONE, DONE.replace("done", "diverged").replace("}", ', "reason": ""}')])
def test_an_answer_to_an_earlier_request_is_known_as_that(line: str) -> None:
    unfit = refusal(second_request(), line.replace('"id": 2', '"id": 1'))
    assert str(unfit) == "whose id is 1; expected 2" and unfit.late


def test_the_page_for_users_is_true() -> None:
    page = (runs.REPOSITORY / "docs" / "trainer.md").read_text()
    conversation, said = Conversation(), []
    for way, text in re.findall(r"^(<-|->) (.*)$", page, flags=re.MULTILINE):
        if way == "<-":
            said.append(conversation.take(text.encode())["event"])
        else:
            request = json.loads(text)
            number = conversation.number(4, ["accuracy"], request.get("program", TRAIN), request.get("until"))
            assert request["id"] == number
    assert said == ["ready", "test", "test", "done", "diverged", "test", "gradient", "done", "test", "learned", "done",
                    *["test", "done"], *["test", "test", "done"]]
    for event, fields in {"ready": INTRODUCTION, **ANSWERS}.items():
        told, = re.findall(rf"^\| `{event}` \| (.*?) \|", page, flags=re.MULTILINE)
        assert set(re.findall(r"`(\w+)`", told)) == set(fields)


def test_a_training_up_to_a_rung_ends_there() -> None:
    """And a trainer that knows no `until` is found out."""
    first = TEST.replace("4", "3"), DONE
    for said, line, why in (([], DONE, "before a test at iteration 3"),
                            ([TEST.replace("4", "2")], DONE, "before a test at iteration 3"),
                            ([first[0]], first[0], "whose iteration is 3; expected more than 3, at most 3")):
        conversation = second_request()
        conversation.number(4, ["accuracy"], TRAIN, 3)
        for one in said:
            conversation.take(one.replace('"id": 2', '"id": 3').encode())
        assert str(refusal(conversation, line.replace('"id": 2', '"id": 3'))) == why
    conversation = second_request()
    conversation.number(4, ["accuracy"], TRAIN, 3)
    with pytest.raises(UserError) as error:
        conversation.take(TEST.replace('"id": 2', '"id": 3').encode())
    assert str(error.value) == ("the trainer was to end a training at iteration 3, and tests at 4: a search file with "
                                "`stop` needs a trainer that knows `until` (docs/trainer.md)")
    for line in first:
        conversation.take(line.replace('"id": 2', '"id": 3').encode())


GRADIENT = ('{"id": 1, "event": "gradient", "of": {"momentum": 0.5}, "how": {"growth": 2, "method": "DRMAD"}, '
            '"distrust": ""}')
LEARNED = ('{"id": 1, "event": "learned", "of": {"groups": "PER_NET", "count": 1, "mean": 0.5, '
           '"quantiles": [0.5, 0.5], "values": {"net": 0.5}, "curve": [[4, 0.5, 0.5, 0.5]], "more": 1}}')
PREDICTED = LEARNED.replace('"more": 1', '"predicted": {"loss": -1.5, "points": [[0.5, 2]]}')
LEARNED_ODD = [
    ([], LEARNED, "before a test at iteration 4"),
    ([TEST], DONE, "before event learned"),
    ([TEST, LEARNED], LEARNED, "which nobody asked for"),
    ([TEST], GRADIENT, "which nobody asked for"),
    ([TEST], LEARNED.replace('"count": 1', '"count": 0'), "whose count is 0; expected a whole number, 1 or more"),
    ([TEST], LEARNED.replace('"mean": 0.5', '"mean": NaN'), "whose mean is NaN; expected "
     "a finite number from 0 to 3.40282e+38"),
    ([TEST], LEARNED.replace('"mean": 0.5, ', ""), "without mean; expected a finite number from 0 to 3.40282e+38"),
    ([TEST], LEARNED.replace("[0.5, 0.5]", "[]"),
     "whose quantiles is a list or an object; expected a list of finite numbers, 0 or more"),
    ([TEST], LEARNED.replace('"net": 0.5', '"net": -1'),
     "whose values is a list or an object; expected names with finite numbers, 0 or more"),
    ([TEST], LEARNED.replace("[4, 0.5, 0.5, 0.5]", "[4, 0.5]"),
     "whose curve is a list or an object; expected [iteration, mean, lowest, highest] of some iterations"),
    ([TEST], LEARNED.replace('{"groups"', '[{"groups"').replace('"more": 1}', '"more": 1}]'),
     "whose of is a list or an object; expected an object of what was learned"),
]
PREDICTED_ODD = [
    ([TEST], PREDICTED.replace("-1.5", "NaN"), "whose loss is NaN; expected "
     "a finite number from -3.40282e+38 to 3.40282e+38"),
    ([TEST], PREDICTED.replace('"loss": -1.5, ', ""), "without loss; expected "
     "a finite number from -3.40282e+38 to 3.40282e+38"),
    ([TEST], PREDICTED.replace("[0.5, 2]]}", "[-0.5, 2]]}"),
     "whose points is a list or an object; expected [decay, loss] of some decays"),
    ([TEST], PREDICTED.replace("[[0.5, 2]]}", "2}"), "whose points is 2; expected [decay, loss] of some decays"),
    ([TEST], PREDICTED.replace('{"loss"', '[{"loss"').replace("2]]}", "2]]}]"),
     "whose predicted is a list or an object; expected what a hypernet predicts: loss and points"),
]
GRADIENT_ODD = [
    ([], GRADIENT, "before a test at iteration 4"),
    ([TEST], DONE, "before event gradient"),
    ([TEST, GRADIENT], GRADIENT, "which nobody asked for"),
    ([TEST], GRADIENT.replace("0.5", '"much"'), 'whose momentum is "much"; expected a finite number'),
    ([TEST], GRADIENT.replace("0.5", "NaN"), "whose momentum is NaN; expected a finite number"),
    ([TEST], GRADIENT.replace("2,", "NaN,"), "whose growth is NaN; expected "
     "a finite number from -3.40282e+38 to 3.40282e+38"),
    ([TEST], GRADIENT.replace("2,", "{},"), "whose growth is a list or an object; "
     "expected a finite number from -3.40282e+38 to 3.40282e+38"),
    ([TEST], GRADIENT.replace('""', "null"), "whose distrust is null; expected a text"),
]


CASES = [*((HYPERGRADIENT, GRADIENT, *case) for case in GRADIENT_ODD),
         *((ADAPTIVE, LEARNED, *case) for case in LEARNED_ODD),
         *((HYPERNET, PREDICTED, *case) for case in [*LEARNED_ODD[:2], *PREDICTED_ODD])]


@pytest.mark.parametrize(("program", "owed", "said", "line", "why"), CASES)
def test_what_is_owed_comes_once_after_the_last_test_and_before_the_end(program: str, owed: str, said: List[str],
                                                                        line: str, why: str) -> None:
    def first(text: str) -> bytes:
        return text.replace('"id": 2', '"id": 1').encode()

    def asked(*messages: str) -> Conversation:
        conversation = Conversation()
        conversation.take(b'{"event": "ready"}')
        conversation.number(4, ["accuracy"], program)
        for message in messages:
            conversation.take(first(message))
        return conversation

    assert asked(TEST, owed, DONE)
    with pytest.raises(Unfit) as unfit:
        asked(*said).take(first(line))
    assert str(unfit.value) == why


def test_ready_comes_first() -> None:
    assert str(refusal(Conversation(), DONE)) == 'whose event is "done"; expected ready'
    for odd, valid in (('"engine": 7', "a text"), ('"pid": 7.5', "a whole number"),
                       ('"versions": {"numpy": NaN}', "an object of texts and of lists of texts")):
        assert str(refusal(Conversation(), f'{{"event": "ready", {odd}}}')).endswith(f"; expected {valid}")


# ---- through a process, whatever it writes ----

def died(command: str, net: str = "") -> TrainerDied:
    """How a trainer of this shell script ends that is sent this net."""
    with contextlib.closing(TrainerProcess(["sh", "-c", command], os.environ)) as process:
        process.start()
        process.send({"net": net}, 4)
        with pytest.raises(TrainerDied) as death:
            runs.wait_until(lambda: process.poll(0.1) and False)
        return death.value


def test_a_line_without_end_is_no_message() -> None:
    death = died(f"echo '{READY}'; exec tr '\\0' x </dev/zero")
    assert f"'{80 * 'x'}', more than {LINE_BYTES} bytes without an end of line" in str(death) and not death.blameless


@pytest.mark.parametrize("seconds", [0.0, 0.2])
def test_who_speaks_without_end_keeps_nobody_waiting(seconds: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """However slowly: of a line that never ends each poll reads what comes in its time, or one piece."""
    monkeypatch.setattr("menndl_caffe.rank.process.os.read", lambda pipe, size, read=os.read: read(pipe, 1))
    with contextlib.closing(TrainerProcess(["sh", "-c", "exec tr '\\0' x </dev/zero"], os.environ)) as process:
        process.start()
        for _ in range(3):
            assert process.poll(seconds) is None
        assert len(process._unread) < LINE_BYTES


def test_a_log_does_not_fill_the_memory() -> None:
    script = f"head -c {LONGEST_LOG} /dev/zero | tr '\\0' x >&2; echo the end >&2; echo '{READY}'; exec sleep 1000"
    with contextlib.closing(TrainerProcess(["sh", "-c", script], os.environ)) as process:
        process.start()
        assert runs.wait_until(lambda: process.poll(0.1) is not None)  # so all is written
        log, = (link for link in Path("/proc/self/fd").iterdir() if "trainer's log" in os.path.realpath(link))
        process.poll(0.0)
        assert log.stat().st_size == LOG_BYTES and process.log().endswith("xxxthe end\n")


def test_a_trainer_that_closes_its_output_and_stays_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("menndl_caffe.rank.process.CLOSING_SECONDS", 0.3)
    assert str(died(f"echo '{READY}'; exec >&-; sleep 1000")) == "trainer ended by closing its output"


def test_a_trainer_that_reads_nothing_keeps_nobody_waiting() -> None:
    with contextlib.closing(TrainerProcess(["sleep", "1000"], os.environ)) as process:
        process.start()
        process.send({"net": "x" * 10_000_000}, 4)
        assert process.poll(0.1) is None


def test_a_large_net_arrives_whole() -> None:
    """More than a pipe holds: {"id": 1, "net": "xxx..."} and the end of the line."""
    death = died(f"echo '{READY}'; head -n 1 | wc -c", "x" * 3_000_000)
    assert str(death) == "trainer ended by saying '3000021', no message of its protocol"


# ---- a good conversation, changed ----

KINDS = ("dropped", "twice", "later", "cut", "noise", "missing", "field", "output", "all twice", "all later")
# No believable accuracy, and no iteration or number of a request that would be due.
VALUES = (True, False, None, "", "0.5", "test", "done", 79.5, 2.5, -1, 10**400, 10**9, float("nan"), float("inf"), [],
          [0.5], {}, {"accuracy": 1.5, "loss": 0.0}, "\ud800")
CHANGES = st.fixed_dictionaries({"line": st.integers(0, 9), "kind": st.sampled_from(KINDS), "at": st.integers(0, 16),
                                 "value": st.sampled_from(VALUES), "again": st.booleans()})


class OddTrainer(TrainerProcess):
    """Instead of a process, which ends where it has no more to say. Its accuracy is a sixteenth of the net's first
    kernel size, and of the lines that it says one is changed; `again` after each start."""

    def __init__(self, change: Any):
        super().__init__([], {})
        self._change, self._said = change, 0
        self._held: List[str] = []  # what is said after the next request
        self._runs = False

    def start(self) -> None:
        if not self._runs:
            self._runs, self._conversation, self._unread, self._held = True, Conversation(), bytearray(), []
            self._searched = 0
            self._said = 0 if self._change["again"] else self._said
            self._say(event="ready", engine="odd", version="0")

    def kill(self) -> None:
        self._runs = False

    def _write(self) -> None:
        request, self._unsent = json.loads(self._unsent), b""
        before, self._unread = self._unread, bytearray()
        held, self._held = "".join(self._held).encode(), []
        accuracy = int(re.findall(r"kernel_size: (\d+)", request["net"])[0]) / 16
        last = int(re.findall(r"max_iter: (\d+)", request["solver"])[0])
        for iteration, share in ((last // 2, 0.5), (last, 1.0)):
            outputs = {"accuracy": accuracy * share, "loss": 2.0}
            self._say(id=request["id"], event="test", iteration=iteration, outputs=outputs)
        self._say(id=request["id"], event="done", engine_seconds=0.25)
        if self._change["kind"] == "all later":
            self._held.append(self._unread.decode())
        answer = {"all later": b"", "all twice": 2 * self._unread}.get(self._change["kind"], self._unread)
        self._unread = before + held + answer

    def _exchanged(self, seconds: float) -> bool:
        raise self._dead("exit code 0")

    def _say(self, **message: Any) -> None:
        line = json.dumps(message)
        lines = self._changed(line) if self._said == self._change["line"] else [line]
        self._unread += "".join(f"{each}\n" for each in lines).encode()
        self._said += 1

    def _changed(self, line: str) -> List[str]:
        """The lines in place of one."""
        kind, at, value = (self._change[name] for name in ("kind", "at", "value"))
        if kind == "later":
            self._held.append(line + "\n")
        message = json.loads(line)
        fields = message["outputs"] if kind == "output" and "outputs" in message else message
        name = list(fields)[at % len(fields)]
        if kind == "missing":
            del fields[name]
        elif kind in ("field", "output"):
            fields[name] = value
        return {"dropped": [], "later": [], "twice": [line, line], "cut": [line[:5 * at]],
                "noise": [json.dumps(value), line]}.get(kind, [json.dumps(message)])


def change(line: int, kind: str, value: Any = None) -> Any:
    return {"line": line, "kind": kind, "at": 0, "value": value, "again": False}


@example(change(0, "all twice"))
@example(change(0, "all later"))
@example(change(2, "output", True))
@example(change(2, "output", 79.5))
@example(change(2, "dropped"))
@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(CHANGES)
def test_a_changed_conversation_never_gives_a_wrong_result(renderer: Renderer, in_repository: Path,
                                                           change: Any) -> None:
    """Three trainings in a row, of which each is right or has failed."""
    experiment = renderer.experiment
    with contextlib.closing(Evaluator(renderer, OddTrainer(change))) as evaluator:
        for kernel in (3, 5, 7):
            trial = experiment.trial(kernel, experiment.space.with_settings([f"kernel1={kernel}"]))
            try:
                result = evaluator.evaluate(trial)
            except UserError as error:
                assert str(error).startswith(("the trainer does not start on ", "the default net does not train on "))
                return
            assert result.status in (OK, CRASHED, DIVERGED, INVALID)
            assert (result.id, result.fitness) == (kernel, kernel / 16 if result.status == OK else 0.0)
            assert bool(result.reason) == (result.status != OK) and result.measures["parameters"] > 1000
            json.dumps(result.as_dict(), allow_nan=False)


@pytest.fixture(scope="module")
def renderer(search: Path) -> Renderer:
    return Renderer(search_file.load(str(search)))
