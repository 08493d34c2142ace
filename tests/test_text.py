"""Texts for people: what a journal may hold and a terminal or a page must not be told."""
from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from menndl_caffe.text import printable

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
