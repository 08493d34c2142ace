"""A Jinja template over Caffe's text format: the same values give the same text everywhere, or an error with its line.
"""
from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Callable, Iterator, Mapping

import jinja2
import jinja2.meta
import jinja2.sandbox

from menndl_caffe.errors import UserError, did_you_mean
from menndl_caffe.experiment.limits import MEMORY, TooLong, limited

READING_SECONDS, SECONDS = 30.0, 2.0  # of processor time, for a template and for one text that it makes
CHARACTERS = 2**20  # of a text; a net of 1,000 layers has a quarter of that
SAID = 300  # characters of what is told of an error
# Of an object that has no text of its own, another in every process.
_ADDRESS = re.compile(r"<[^<>]* at 0x[0-9a-f]+>", re.IGNORECASE)


class _Environment(jinja2.sandbox.SandboxedEnvironment):
    """Without what gives another text each time: chance, and sets, whose order is another in every process."""

    intercepted_binops = frozenset("-")  # the only way to a set: {...}.keys() - [...]

    def __init__(self) -> None:
        super().__init__(undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True,
                         keep_trailing_newline=True)
        for names, name in ((self.globals, "lipsum"), (self.filters, "random")):
            del names[name]

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        """The difference of two values."""
        difference = super().call_binop(context, operator, left, right)
        if isinstance(difference, (set, frozenset)):
            raise TypeError("a difference of keys has no order; expected one of numbers")
        return difference


class Template:
    """A template of a file: sandboxed, and every name must be known."""

    def __init__(self, path: Path):
        """UserError where there is no template, or where it is none."""
        self.path = path
        try:
            source, environment = path.read_text(encoding="utf-8"), _Environment()
            with limited(READING_SECONDS):
                self.names = frozenset(jinja2.meta.find_undeclared_variables(environment.parse(source)))
                self._template = environment.from_string(source)
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(f"{path}: cannot be read as a template: {error}") from None
        except jinja2.TemplateSyntaxError as error:
            raise UserError(f"{path}:{error.lineno}: {error.message}") from None
        except (Exception, TooLong) as error:
            raise UserError(f"{path}: cannot be read as a template: {_said(error, READING_SECONDS)}") from None

    def render(self, values: Mapping[str, Any], seconds: float = SECONDS) -> str:
        """The text with every name replaced; UserError with template and line for whatever goes wrong in it, and where
        it takes more than so many seconds of processor time, or more memory or a longer text than any net needs."""
        try:
            with limited(seconds):
                text = "".join(self._pieces(values))
                return "".join(self._pieces(values, _no_text)) if _no_text(text) else text
        except jinja2.UndefinedError as error:
            raise self._error(self._line(error), _undefined(str(error), values)) from None
        except UserError:
            raise
        except (Exception, TooLong) as error:
            raise self._error(self._line(error), _said(error, seconds)) from None

    def _pieces(self, values: Mapping[str, Any], wrong_with: Callable[[str], str] = lambda piece: "") -> Iterator[str]:
        """Of the text, in their order; UserError with the line of one that is too much, or wrong."""
        size = 0
        running: Any = self._template.root_render_func(self._template.new_context(dict(values)))
        for piece in running:
            size += len(piece)
            wrong = f"the text has more than {CHARACTERS:,} characters" if size > CHARACTERS else wrong_with(piece)
            if wrong:
                raise self._error(running.gi_frame.f_lineno, wrong)
            yield piece

    def _error(self, line: int, said: str) -> UserError:
        """An error in a line of the compiled template."""
        return UserError(f"{self.path}:{self._template.get_corresponding_lineno(line)}: {said}")

    @staticmethod
    def _line(error: BaseException) -> int:
        """The compiled template's line in which a rendering failed: the innermost of its own code."""
        traceback, line = error.__traceback__, 0
        while traceback is not None:
            if traceback.tb_frame.f_code.co_filename == "<template>":
                line = traceback.tb_lineno
            traceback = traceback.tb_next
        return line


def _undefined(text: str, known: Mapping[str, Any]) -> str:
    """What Jinja says of something undefined, with what a name could have been."""
    name = re.match(r"'(\w+)' is undefined", text)
    if name is None:
        return text
    return f"{text}: the search file has no gene or constant of this name{did_you_mean(name[1], known)}"


def _no_text(piece: str) -> str:
    """Why a piece is none that the same values always give, or that a file can hold; nothing where it is one."""
    if _ADDRESS.search(piece):
        return "gives an object, which has no text; expected a number or a text"
    try:
        piece.encode()
    except UnicodeEncodeError:
        return "gives half of a surrogate pair; expected a number or a text"
    return ""


def _said(error: BaseException, seconds: float) -> str:
    """An error in one line: of Jinja in its own words, of Python with its name, as that of a KeyError is half of it."""
    if isinstance(error, TooLong):
        return f"takes more than {seconds:g} seconds of processor time"
    if isinstance(error, MemoryError):
        return f"takes more than {MEMORY // 2**20} MiB of memory"
    known = _ADDRESS.sub("an object", str(error)).encode(errors="backslashreplace").decode()
    text = " ".join(known.split())[:SAID]
    return text if isinstance(error, jinja2.TemplateError) else f"{type(error).__name__}: {text}"
