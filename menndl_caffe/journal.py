"""The append-only record of a run, RUN/journal.jsonl: one JSON object a line. Resume and every report read only this.

    {"event": "run", ...}      first line: what is searched, with what, and how to repeat it
    {"event": "earlier", ...}  an individual of another run, which the search knows: as many as the first line says
    {"event": "resume", ...}   the same command was started again, or one for a larger search
    {"event": "trial", ...}    a Trial that the search was asked for, with the rank that trains it; once more where that
                               is another rank: after a resume, or when the first one died
    {"event": "result", ...}   its Result, on disk before the search hears of it
    {"event": "ended", ...}    the search's time was over, or the last at rungs are stopped: it asks for no more

It is the log of the calls: of a search's trials, each first `trial` line is one `ask` and each `result` line one
`tell`, in that order. A search is resumed by making it anew and repeating these calls (run/loop.py).

One process writes (a lock on RUN/lock holds others off; where that cannot, or was removed, each sees before it writes
that the file is no longer what it has written); any number may read, also while it is being written.
"""
from __future__ import annotations

import json
import os
import time
from collections import Counter
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Callable, Dict, List, Optional, Sequence, Type, Union

from menndl_caffe import fields
from menndl_caffe.errors import UserError
from menndl_caffe.fields import Field
from menndl_caffe.files import fsync, opened
from menndl_caffe.record import Given, Record
from menndl_caffe.text import printable
from menndl_caffe.trial import INDIVIDUAL, STOPPED, TOLD, Earlier, Result, Trial
from menndl_caffe.writer import locked

NAME = "journal.jsonl"
EVENTS = ("run", "earlier", "resume", "trial", "result", "ended")
Entry = Union[Dict[str, Any], Earlier, Trial, Result]  # what a line says; of run and resume lines the known fields
# Is given every line; ValueError where the run's search cannot have it.
Judge = Callable[[Entry], None]
Judging = Callable[[str, str], Judge]  # makes that of the search's text and a name for it; UserError where it is none


def _no_judge(text: str, name: str) -> Judge:
    return lambda entry: None


def read(run: Path, judging: Judging = _no_judge) -> Record:
    """The record of a run's folder. A torn last line is passed over: its writer died, or is writing it now.

    UserError where there is no journal, and for any other damage, naming the line.
    """
    follower = Follower(run, judging)
    follower.look()
    return follower.record


class Follower:
    """Reads on in a journal that is being written, any number of times; `record` is all that was read so far."""

    def __init__(self, run: Path, judging: Judging = _no_judge):
        self.record = Record()
        self.position, self.torn = 0, 0  # bytes up to the end of the last whole line, and behind it at the last look
        self._run, self._lines = run, 0
        self._judging, self._judge = judging, _no_judge("", "")  # the latter of the first line's search

    def look(self) -> List[Entry]:
        """What the lines say that are new since the last look. A torn last line is left for the next one.

        UserError as `read`, and where the file is not a longer one than before.
        """
        path = self._run / NAME
        content = self._rest(path)
        whole = content[:content.rfind(b"\n") + 1]
        self.position += len(whole)
        self.torn = len(content) - len(whole)
        return [self._taken(path, line) for line in whole.splitlines()]

    def _rest(self, path: Path) -> bytes:
        """The file's end from `position`. Opened at each look, so that a network file system asks its server."""
        try:
            with open(opened(path), "rb") as file:
                before = max(0, self.position - 1)
                file.seek(before)
                content = file.read()
        except (FileNotFoundError, NotADirectoryError):
            raise UserError(f"{self._run} is not a run: it has no {NAME}; "
                            "expected the folder given to `menndl run --out`") from None
        except OSError as error:
            raise UserError(f"{path}: {error.strerror}; expected a journal that can be read") from None
        if self.position and not content.startswith(b"\n"):
            raise UserError(f"{path} was cut or replaced while it was read: start again") from None
        return content[self.position - before:]

    def _taken(self, path: Path, line: bytes) -> Entry:
        self._lines += 1
        try:
            entry = _take(self.record, fields.parsed(line), self._lines)
            if self._lines == 1:
                self._judge = self._judging(self.record.run["search"], f"{path}:1: search")
            self._judge(entry)
            return entry
        except UserError:
            raise
        except ValueError as error:
            raise UserError(f"{path}:{self._lines}: damaged: {error}; only the last line may be torn, so this is "
                            "not menndl's doing: restore the file, or cut it before this line to repeat the rest"
                            ) from None


def _take(record: Record, line: Dict[str, Any], number: int) -> Entry:
    """Add one line to the record, and return what it says; ValueError where it cannot stand there.

    A trial and a result that stand there already are no damage: two masters wrote them, where locks exclude nobody.
    """
    event = fields.read(line, _LINE)["event"]
    if (event == "run") != (number == 1):
        raise ValueError("the first line, and no other, is the event 'run'")
    if event == "trial":
        given = Given(*fields.read(line, _GIVEN).values()) if "rank" in line else None
        trial = Trial.from_dict(line)
        is_again = trial.id in record.results and trial == record.trials[trial.id]
        return trial if is_again else _take_trial(record, trial, given)
    if event == "result":
        result = Result.from_dict(line)
        before = record.results.get(result.id)
        is_again = before is not None and result.measured_as(before)
        return result if is_again else _take_result(record, result)
    if event == "earlier":
        return _take_earlier(record, Earlier.from_dict(line))
    return _take_about(record, line)


def _take_about(record: Record, line: Dict[str, Any]) -> Dict[str, Any]:
    if line["event"] == "ended":
        fields.read(line, _ENDED)
        hours = fields.read_present(line, _LIMIT)
        if hours:
            record.ended = hours["hours"]
        else:
            record.undecided.clear()
        return {"event": "ended", **hours}
    known = {"event": line["event"], **fields.read_present(line, {**_RUN, **_ABOUT})}
    if known["event"] == "run":
        fields.read(line, _RUN)
        record.run = known
    else:
        record.resumes.append(known)
    return known


def _take_earlier(record: Record, earlier: Earlier) -> Earlier:
    if not record.lacking:
        raise ValueError("the first line promises fewer individuals of earlier runs")
    record.earlier.append(earlier)
    return earlier


def _take_trial(record: Record, trial: Trial, given: Optional[Given]) -> Trial:
    if trial.id not in record.trials:
        if trial.continues is not None and trial.continues not in record.results:
            raise ValueError(f"trial {trial.id} continues trial {trial.continues}, which has no result")
        if record.lacking:
            raise ValueError(f"{record.lacking} individuals of earlier runs are missing before the first trial")
        record.trials[trial.id] = trial
        record.continued.add(trial.continues)
        record.calls.append(trial)
        if trial.role == INDIVIDUAL:
            record.decide(trial)
            record.begun += trial.continues is None
            record.iterations += record.own_iterations(trial)
    elif trial.id in record.results:
        raise ValueError(f"trial {trial.id} is handed out again after its result")
    elif trial != record.trials[trial.id]:
        raise ValueError(f"trial {trial.id} is another one than before")
    if given is not None:
        record.given[trial.id] = given
        record.handings.append((trial.id, given, len(record.results)))
    return trial


def _take_result(record: Record, result: Result) -> Result:
    if result.id not in record.trials:
        raise ValueError(f"result of trial {result.id}, which was never handed out")
    if result.id in record.results:
        raise ValueError(f"second result of trial {result.id}")
    record.results[result.id] = result
    record.calls.append(result)
    if result.status == STOPPED:
        record.undecided.append(result.id)
    return result


def _counts(counts: Any) -> Dict[str, int]:
    return {name: fields.whole(1).read(count) for name, count in fields.OBJECT.read(counts).items()}


def _object_of(read: Callable[[Any], Any]) -> Callable[[Any], Dict[str, Any]]:
    return lambda value: {printable(name): read(item) for name, item in fields.OBJECT.read(value).items()}


def _version(said: Any) -> Any:
    return list(map(TOLD.read, said)) if type(said) is list else TOLD.read(said)


def _path(path: Any) -> str:
    if b"\0" in os.fsencode(fields.TEXT.read(path)):
        raise ValueError
    return str(path)


def _list_of(item: Field, length: int) -> Callable[[Any], List[Any]]:
    def read(value: Any) -> List[Any]:
        if type(value) is not list or len(value) != length:
            raise ValueError
        return list(map(item.read, value))
    return read


_LINE = {"event": fields.one_of(EVENTS)}
_GIVEN = {"rank": fields.whole(), "given": fields.SECONDS}
_ENDED, _LIMIT = {"time": fields.SECONDS}, {"hours": fields.number(0)}
_SIDE = fields.whole(1, 2**31 - 1)
_RUN = {"search": fields.TEXT, "engine": TOLD, "started": fields.SECONDS}  # what every reader needs of a first line
# What run and resume lines may say beside; docs/journal.md has the meanings. Paths stay as they are, to be opened.
_ABOUT = {**dict.fromkeys(("templates", "records"), Field("an object of texts", _object_of(TOLD.read))),
          "versions": Field("an object of texts and lists of texts", _object_of(_version)),
          "image_shape": Field("channels, height, width, 1 or more", _list_of(_SIDE, 3)), "test_images": fields.whole(),
          "classes": Field("an object of two whole numbers each", _object_of(_list_of(fields.whole(), 2))),
          "seed": fields.whole(), "earlier": Field("folders with whole numbers, 1 or more", _counts),
          **dict.fromkeys(("search_file", "data_folder", "directory"), Field("a path", _path)),
          **dict.fromkeys(("data", "mean", "math", "menndl", "engine_found", "host", "platform", "menndl_python",
                           "command"), TOLD),
          **dict.fromkeys(("threads", "ranks", "slots", "total", "generations"), fields.whole(1))}


class Journal:
    """The one writer of a run's journal. `record` always says what is on disk.

    `fsync=False` leaves it to the operating system when a result reaches the disk; `clock` tells the time, in seconds.
    """

    def __init__(self, run: Path, fsync: bool = True, judging: Judging = _no_judge,
                 clock: Callable[[], float] = time.time):
        """Open or begin the journal of the folder `run`; UserError where another process writes it or it is damaged."""
        self.run_dir = run
        self._fsync, self._clock = fsync, clock
        try:
            run.mkdir(parents=True, exist_ok=True)
            self._lock = locked(run)
        except OSError as error:
            raise UserError(f"--out {error.filename or run}: {error.strerror}; "
                            "expected a folder to write to, new or of an earlier run") from None
        self._path = run / NAME
        try:
            follower = Follower(run, judging)
            if self._path.exists():
                follower.look()
            self.record, self._size = follower.record, follower.position
            self._file = self._opened(follower.torn)
        except BaseException:
            self._lock.close()
            raise

    def _opened(self, torn: int) -> IO[bytes]:
        """The file to add to, without so many bytes of a torn last line, which would spoil the next one."""
        try:
            descriptor = opened(self._path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW)
        except OSError as error:
            why = "is a link, which is not followed" if self._path.is_symlink() else error.strerror
            raise UserError(f"{self._path}: {why}; expected a file that can be written") from None
        file = open(descriptor, "ab", buffering=0)  # lines go out as they are given, never in parts
        if torn and os.fstat(descriptor).st_size == self._size + torn:
            file.truncate(self._size)
        return file

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, kind: Optional[Type[BaseException]], error: Optional[BaseException],
                 traceback: Optional[TracebackType]) -> None:
        self._file.close()
        self._lock.close()

    def begin(self, run: Dict[str, Any], earlier: Sequence[Earlier] = ()) -> None:
        """The first line of a new run and all that it knows of earlier ones, or a `resume` line in one that goes on.

        That comes after those of `earlier` that are not there yet: who began the run may have died over them.
        """
        missing = earlier[len(self.record.earlier):]
        lines = [{"event": "earlier", **one.as_dict()} for one in missing]
        self.record.earlier.extend(missing)
        if self.record.run:
            lines.append({"event": "resume", **run})
        else:
            counts = dict(Counter(one.run for one in earlier))
            lines.insert(0, {"event": "run", **run, **({"earlier": counts} if counts else {})})
        _take_about(self.record, lines[0] if lines[0]["event"] == "run" else lines[-1])
        self._append(*lines, sync=True)

    def add_trial(self, trial: Trial, rank: Optional[int] = None) -> None:
        """Record a trial that was handed out, and to which rank; or, without a rank, one that is not trained itself.

        One that stands there already is not written again, unless another rank has it now.
        """
        if trial.id in self.record.trials and rank is None:
            return
        given = None if rank is None else Given(rank, round(self._clock(), 3))
        _take_trial(self.record, trial, given)
        to = {} if given is None else {"rank": given.rank, "given": given.time}
        self._append({"event": "trial", **trial.as_dict(), **to}, sync=False)

    def add_result(self, result: Result) -> None:
        """Record a result; when this returns it is on disk."""
        _take_result(self.record, result)
        self._append({"event": "result", **result.as_dict()}, sync=True)

    def add_end(self, hours: Optional[float] = None) -> None:
        """Record that the search's time is over, after so many hours of work; or without, that nobody goes on of those
        that came to a rung last."""
        limit = {} if hours is None else {"hours": hours}
        line: Dict[str, Any] = {"event": "ended", **limit, "time": round(time.time(), 3)}
        _take_about(self.record, line)
        self._append(line, sync=True)

    def _append(self, *lines: Dict[str, Any], sync: bool) -> None:
        """UserError where the file is not as this process has left it."""
        self._check_file()
        content = b"".join(json.dumps(line, allow_nan=False, separators=(", ", ": ")).encode() + b"\n"
                           for line in lines)
        self._size += len(content)
        while content:
            content = content[self._file.write(content):]
        if sync and self._fsync:
            fsync(self._file.fileno())
        self._check_size(os.fstat(self._file.fileno()).st_size)

    def _check_file(self) -> None:
        """What is open may be deleted, and then takes every line, and nobody sees them again. Opened anew, so that a
        network file system asks its server."""
        try:
            descriptor = os.open(self._path, os.O_RDONLY | os.O_NONBLOCK)
        except OSError:
            raise UserError(f"{self._path} was deleted or moved while the search was writing it; "
                            "if moved, --out and its new folder go on with it") from None
        try:
            found, own = os.fstat(descriptor), os.fstat(self._file.fileno())
        finally:
            os.close(descriptor)
        if not os.path.samestat(found, own):
            raise UserError(f"{self._path} is another file than the one that the search was writing: an editor, "
                            "`sed -i` or a copy took its place. What stands there is left as it is; the same command "
                            "goes on from it")
        self._check_size(found.st_size)

    def _check_size(self, found: int) -> None:
        if found != self._size:
            raise UserError(f"{self._path} has {found:,} bytes, and the search has written up to {self._size:,}: "
                            "another `menndl run`, or another program, writes it. End that; the same command goes on "
                            "from what stands there")
