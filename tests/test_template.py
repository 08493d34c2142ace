"""Whatever a template does wrong is an error with its line, soon, in little memory; and no text is of chance."""
from __future__ import annotations

import os
import re
import resource
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any, List

import pytest

from menndl_caffe.errors import UserError
from menndl_caffe.experiment import limits, template
from menndl_caffe.experiment.template import Template
from tests.conftest import REPOSITORY

VALUES = {"kernel": 5, "pool": "MAX", "rate": 0.5, "huge": 10**9}


def rendered(folder: Path, text: str, seconds: float = 60) -> str:
    (folder / "net.j2").write_text(text)
    return Template(folder / "net.j2").render(VALUES, seconds)


def refused(folder: Path, text: str, seconds: float = 60) -> str:
    with pytest.raises(UserError) as error:
        rendered(folder, text, seconds)
    said = str(error.value)
    assert said.startswith(f"{folder}/net.j2:") and "\n" not in said
    return said[len(f"{folder}/net.j2:"):]


@pytest.mark.parametrize(("text", "said"), [
    ("\n{{ [1, 2].pop(kernel) }}", "2: IndexError: pop index out of range"),
    ("\n\n{{ {'a': 1}.pop(pool) }}", "3: KeyError: 'MAX'"),
    ("{% macro m(x) %}\n{{ m(x) }}{% endmacro %}\n{{ m(0) }}", "2: RecursionError: maximum recursion depth exceeded"),
    ("\n{{ range(huge ** 9) }}", "2: OverflowError: "),
    ("\n{{ 2.0 ** huge }}", "2: OverflowError: "),
    ("\n{{ pool.encode('x') }}", "2: LookupError: unknown encoding: x"),
    ("\n{{ pool.x() }}", "2: 'str object' has no attribute 'x'"),
    ("\n{{ pool.encode('punycode').decode('ascii').join(kernel) }}", "2: TypeError: "),
    ("\n{{ '\\ud800'.encode() }}", "2: UnicodeEncodeError: "),
    ("\n{{ pool }}{{ '\\ud800' ~ pool }}", "2: gives half of a surrogate pair; expected a number or a text"),
    # as large as they like
    ("\n{{ pool * huge }}", "2: takes more than 512 MiB of memory"),
    ("\n{{ pool | center(huge) }}", "2: takes more than 512 MiB of memory"),
    ("\n{{ '%*d' % (huge, kernel) }}", "2: takes more than 512 MiB of memory"),
    ("{% set n = namespace(l=[kernel]) %}\n{% for i in range(99) %}{% set n.l = n.l + n.l %}{% endfor %}",
     "2: takes more than 512 MiB of memory"),
    ("\n{% for i in range(9999) %}\n{{ pool * 999 }}\n{% endfor %}", "3: the text has more than 1,048,576 characters"),
    # no text of theirs
    ("\n{{ pool }}{{ joiner() }}", "2: gives an object, which has no text; expected a number or a text"),
    ("\n{{ pool }}{{ cycler(1) ~ pool }}", "2: gives an object, which has no text; expected a number or a text"),
    ("\n{{ pool.join }}", "2: gives an object, which has no text; expected a number or a text"),
    ("\n{{ [[kernel] | map('string')] }}", "2: gives an object, which has no text; expected a number or a text"),
    ("\n{{ joiner() | string | upper }}{{ pool }}", "2: gives an object, which has no text; expected a number or"),
    ("\n{{ {'a': 1, 'b': 2}.keys() - [pool] }}", "2: TypeError: a difference of keys has no order; expected one of"),
])
def test_a_mistake_has_its_line(tmp_path: Path, text: str, said: str) -> None:
    assert refused(tmp_path, text).startswith(said)


NESTED = "{% for a in range(100000) %}" * 3 + "\n{% set b = a + 1 %}" + "{% endfor %}" * 3


@pytest.mark.parametrize("text", [NESTED, "\n{{ kernel ** (huge * 10) }}"], ids=["loops", "a power"])
def test_an_endless_one_has_its_line(tmp_path: Path, text: str) -> None:
    assert refused(tmp_path, text, 0.2) == "2: takes more than 0.2 seconds of processor time"


UNREADABLE = {"blocks": "{% for a in [1] %}" * 25 + "{% endfor %}" * 25, "brackets": "{{ " + "(" * 9999,
              "a power": "{{ 7 ** (10 ** 10) }}"}


@pytest.mark.parametrize("text", UNREADABLE.values(), ids=UNREADABLE)
def test_a_template_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setattr(template, "READING_SECONDS", 0.5)
    (tmp_path / "net.j2").write_text(text)
    with pytest.raises(UserError, match="j2: cannot be read as a template: (SyntaxError|RecursionError|takes more)"):
        Template(tmp_path / "net.j2").render({}, 0.2)


def test_what_was_limited_is_free_again(tmp_path: Path) -> None:
    before = resource.getrlimit(resource.RLIMIT_AS)
    refused(tmp_path, "{{ pool * huge }}")
    refused(tmp_path, NESTED, 0.1)
    assert resource.getrlimit(resource.RLIMIT_AS) == before
    assert rendered(tmp_path, "{{ kernel - 1 }} {{ rate }}\n") == "4 0.5\n"


def test_a_limit_of_the_user_is_never_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: List[Any] = []
    monkeypatch.setattr(limits.resource, "getrlimit", lambda which: (7 * 2**20, 8 * 2**20))
    monkeypatch.setattr(limits.resource, "setrlimit", lambda which, pair: asked.append(pair))
    with limits.limited(60):
        pass
    assert asked == [(7 * 2**20, 8 * 2**20)] * 2


def test_beside_the_main_thread_there_is_text_too(tmp_path: Path) -> None:
    texts: List[str] = []
    thread = threading.Thread(target=lambda: texts.append(rendered(tmp_path, "{{ kernel }}")))
    thread.start()
    thread.join()
    assert texts == ["5"]


def test_every_process_makes_the_same_text(tmp_path: Path) -> None:
    """Though texts have other hashes in each."""
    (tmp_path / "net.j2").write_text("{{ {'a': 1, 'b': kernel} }} {{ ['b', 'a', 'b'] | unique | list }} {{ range(9) }}"
                                     "{% for name in {'x': 1, 'y': 2, 'z': 3} %}{{ name }}{% endfor %}")
    code = ("from pathlib import Path; from menndl_caffe.experiment.template import Template; "
            f"print(Template(Path({str(tmp_path / 'net.j2')!r})).render({VALUES}))")
    texts = {subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, text=True, capture_output=True, check=True,
                            env={**os.environ, "PYTHONHASHSEED": str(seed), "PYTHONPATH": str(REPOSITORY)}).stdout
             for seed in range(3)}
    assert len(texts) == 1 and re.match(r"\{'a': 1, 'b': 5\} \['b', 'a'\]", *texts)
