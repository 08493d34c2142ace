"""The text of a search file, with what each gene is in comments."""
from __future__ import annotations

from typing import Iterable, Sequence

from google.protobuf.text_encoding import CEscape

from menndl_caffe.genome import IntGene
from menndl_caffe.init.genes import Proposal

TRIALS = 100  # with so many, GUIDED_GA is far ahead of chance (docs/benchmarks.md)


def gene_line(proposal: Proposal) -> str:
    """`gene { name: "conv1_kernel" int_range { min: 1 max: 9 step: 2 } default: 5 }`"""
    gene = proposal.gene
    if isinstance(gene, IntGene):
        step = f" step: {gene.step}" if gene.step > 1 else ""
        limits = f"int_range {{ min: {gene.minimum} max: {gene.maximum}{step} }}"
    else:
        scale = " scale: LOG" if gene.log else ""
        limits = f"real_range {{ min: {gene.minimum:g} max: {gene.maximum:g}{scale} }}"
    return f'gene {{ name: "{gene.name}" {limits} default: {gene.default} }}'


def search_text(command: str, templates: Sequence[str], data: str, proposals: Iterable[Proposal],
                settings: Iterable[str]) -> str:
    """The search file; `templates` are the paths of net and solver, `settings` further lines."""
    net, solver, data = (f'"{CEscape(name, as_utf8=True)}"' for name in (*templates, data))
    genes = "\n".join(f"# {one.origin}\n{gene_line(one)}" for one in proposals)
    more = "\n".join(settings)
    return f"""\
# Written by `{command}`, as a proposal: change what you like (docs/templates.md, docs/search-file.md).
# `menndl check` says whether these ranges make possible nets, and how long the search will take.
net: {net}
solver: {solver}
# Folder of *_train_lmdb and *_test_lmdb, and of mean.binaryproto where the net subtracts a mean.
data: {data}

# The search that we recommend: a genetic algorithm, and a model of all results that chooses among its children.
type: "GUIDED_GA"
# Individuals that are trained. It may be raised later: the run goes on.
limit {{ trials: {TRIALS} }}

# Genes: what may vary, in which range, and the value of your files as the default, with which the best is compared.
{genes}

{more}
"""
