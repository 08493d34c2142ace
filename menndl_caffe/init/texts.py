"""Caffe's texts as templates: what is replaced is replaced, every other byte stays."""
from __future__ import annotations

import re
from typing import Iterable, Iterator, NamedTuple

from menndl_caffe.init.genes import Proposal
from menndl_caffe.nets.prototxt import Document


class Edit(NamedTuple):
    """What stands in a template in place of the characters from `start` to before `end`."""

    start: int
    end: int
    text: str


def template(text: str, edits: Iterable[Edit]) -> str:
    """The template of a text, with line ends as Jinja's; `edits` do not overlap."""
    pieces, position = [], 0
    for edit in sorted(edits):
        pieces += [_literal(text[position:edit.start]), edit.text]
        position = edit.end
    return "".join([*pieces, _literal(text[position:])])


def _literal(text: str) -> str:
    """What Jinja gives out as this text, which may have `{{`, `{%` or `{#` in a comment."""
    return re.sub(r"\{[{%#]", lambda found: f'{{{{ "{found[0]}" }}}}', text)


def number_edits(document: Document, proposals: Iterable[Proposal]) -> Iterator[Edit]:
    """The genes in place of the numbers that follow them. With the default the number is the same to the letter."""
    for proposal in proposals:
        gene = proposal.gene
        for place in proposal.places:
            span = document.span(place.path)
            if span is None:  # of a message that was upgraded, and stands elsewhere in the text
                raise LookupError(place.path)
            written, expression = document.text[slice(*span)], place.expression(gene.name)
            if str(place.value(gene.default)) != written:
                expression = f'"{written}" if {gene.name} == {gene.default} else {expression}'
            yield Edit(*span, f"{{{{ {expression} }}}}")
