"""Texts for people: what a journal may hold and a terminal or a page must not be told."""
from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from menndl_caffe.text import large, memory, printable

# Of Unicode's categories those that are seen nowhere: controls, formats, surrogates, private, unassigned, separators.
UNSEEN = ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")
ANYTHING = st.text(st.characters())  # halves of surrogate pairs too


@given(ANYTHING)
def test_nothing_unseen_reaches_a_terminal(text: str) -> None:
    assert not [letter for letter in printable(text) if unicodedata.category(letter) in UNSEEN]


@given(ANYTHING)
def test_a_page_keeps_lines_and_tabs_and_shows_each_line_as_a_terminal_does(text: str) -> None:
    shown = printable(text, lines=True)
    assert [[printable(cell) for cell in line.split("\t")] for line in text.split("\n")] \
        == [line.split("\t") for line in shown.split("\n")]


@pytest.mark.parametrize("text, shown", [
    ("kernel 5, größe 雪", "kernel 5, größe 雪"), ("\x1b[2J\r", r"\u001b[2J\u000d"),
    ("a\u202eb\ud800", r"a\u202eb\ud800"), ("a\tb\n", r"a\u0009b\u000a"), ("", "")])
def test_what_is_written_out(text: str, shown: str) -> None:
    assert printable(text) == shown


@pytest.mark.parametrize("number, said", [
    (0, "0"), (812, "812"), (9_999, "9,999"), (10_000, "10 thousand"), (145_578, "146 thousand"),
    (999_499, "999 thousand"), (999_500, "1.0 million"), (1_440_000, "1.4 million"), (9_949_999, "9.9 million"),
    (9_960_000, "10 million"), (12_298_240, "12 million"), (1.2e9, "1.2 billion"), (5.3e15, "5,300 trillion")])
def test_large_numbers_as_one_says_them(number: float, said: str) -> None:
    assert large(number) == said


def test_memory_as_one_says_it() -> None:
    assert [memory(size) for size in (0, 31_978_804, 999_900_000, 1_048_600_000)] == [
        "0.0 MB", "32.0 MB", "999.9 MB", "1.0 GB"]
