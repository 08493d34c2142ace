"""The search file: read, checked, and turned into an Experiment."""
from __future__ import annotations

import math
import re
from typing import Any, Dict, List, Optional, Tuple

from menndl_caffe.errors import did_you_mean
from menndl_caffe.experiment.experiment import RESERVED, TEMPLATES, Experiment, find_file
from menndl_caffe.genome import ChoiceGene, Gene, IntGene, RealGene, SearchSpace
from menndl_caffe.nets import prototxt
from menndl_caffe.nets.proto import menndl_pb2
from menndl_caffe.search import KINDS


def load(name: str, seed: Optional[int] = None, data: Optional[str] = None,
         max_iter: Optional[int] = None) -> Experiment:
    """Read a search file; `seed`, `data` and `max_iter` from the command line take the place of the file's own.

    UserError names file, line and field of the first mistake: a field, a gene, a range, a missing template.
    """
    document = prototxt.load(find_file(name, "search file"), menndl_pb2.SearchParameter)
    message = document.message
    if seed is not None:
        message.random_seed = seed
    if data is not None:
        message.data = data
    if max_iter is not None:
        message.max_iter = max_iter
    experiment = _checked(document)
    for kind in TEMPLATES:
        experiment.template(kind)  # that they are there
    return experiment


def of_text(text: str, name: str) -> Experiment:
    """The experiment of a search file's text, such as a journal has it; `name` stands in errors for the file's.

    UserError as `load`; whether the templates are there is not looked at.
    """
    return _checked(prototxt.parse(text, menndl_pb2.SearchParameter, name))


def _checked(document: Any) -> Experiment:
    _check_settings(document)
    _check_names(document)
    return Experiment(document, space_of(document))


def space_of(document: Any) -> SearchSpace:
    """The space that the genes of a SearchParameter span; UserError names the line of a range that is none."""
    return SearchSpace(tuple(_gene(document, i) for i in range(len(document.message.gene))))


def _check_settings(document: Any) -> None:
    """The fields with a fixed range of values."""
    message = document.message
    for field in ("net", "solver"):
        if not getattr(message, field):
            raise document.error((field,), "is missing; expected the path of a template")
    rules: List[Tuple[Tuple[str, ...], Any, bool, str]] = [
        (("random_seed",), message.random_seed, message.random_seed >= 0, "0 or more"),
        (("max_iter",), message.max_iter, message.max_iter > 0, "1 or more"),
        (("trial_timeout",), message.trial_timeout, message.trial_timeout >= 0, "seconds, 0 or more (0: none)"),
    ]
    if message.type not in KINDS:
        raise document.error(("type",), f"is {message.type!r}{did_you_mean(message.type, KINDS)}")
    kind = KINDS[message.type]
    if kind.field:
        rules += [((kind.field, name), found, False, expected)
                  for name, found, expected in kind.check(getattr(message, kind.field))]
    if kind.limited and message.limit.trials < 1:
        raise document.error(("limit", "trials"), f"is {message.limit.trials}; {message.type} goes on until then: "
                                                  "expected 1 or more, as in limit { trials: 100 }")
    if message.HasField("limit") and not kind.limited:
        raise document.error(("limit",), f"is for searches without generations, and {message.type} has them; "
                                         f"{kind.field} says how many individuals there are")
    for path, found, valid, expected in rules:
        if not valid:
            raise document.error(path, f"is {found}; expected {expected}")
    if not message.gene:
        raise document.error((), "has no gene; expected at least one gene { name: ... }")


def _check_names(document: Any) -> None:
    """Every gene and constant has a name of its own that a template can use."""
    seen: Dict[str, str] = {name: "a name that menndl provides" for name in RESERVED}
    for kind in ("gene", "constant"):
        for i, item in enumerate(getattr(document.message, kind)):
            if not re.fullmatch(r"[A-Za-z_]\w*", item.name, re.ASCII):
                raise document.error((kind, i, "name"),
                                     f"is {item.name!r}; expected letters, digits and _, no digit first")
            if item.name in seen:
                raise document.error((kind, i, "name"), f"{item.name!r} is already {seen[item.name]}")
            seen[item.name] = f"the {kind} of line {document.line((kind, i))}"
    for i, constant in enumerate(document.message.constant):
        if not constant.HasField("value"):
            raise document.error(("constant", i), f"{constant.name} has no value")


def _gene(document: Any, i: int) -> Gene:
    """The i-th gene of the file, its range checked."""
    message = document.message.gene[i]
    kind = message.WhichOneof("range")
    if kind is None:
        raise document.error(("gene", i), f"{message.name or 'the gene'} has no range; "
                                          "expected one of int_range, real_range, choice")
    if kind == "choice":
        return _choice_gene(document, i, message)
    for bound in ("min", "max"):
        if not getattr(message, kind).HasField(bound):
            raise document.error(("gene", i, kind), f"of {message.name} has no {bound}")
    if not message.HasField("default"):
        raise document.error(("gene", i), f"{message.name} has no default; expected a value of its range")
    limits = getattr(message, kind)
    for path, value in (((kind, "min"), limits.min), ((kind, "max"), limits.max), (("default",), message.default)):
        if not math.isfinite(value):
            raise document.error(("gene", i, *path), f"of {message.name} is {value}; expected a finite number")
    if limits.min > limits.max:
        raise document.error(("gene", i, kind, "min"),
                             f"of {message.name} is {limits.min:.15g}, above its max {limits.max:.15g}")
    gene = _int_gene(document, i, message) if kind == "int_range" else _real_gene(document, i, message)
    try:
        gene.parse(f"{message.default:.17g}")
    except ValueError:
        raise document.error(("gene", i, "default"),
                             f"of {message.name} is {message.default:.15g}; expected {gene.describe()}") from None
    return gene


def _int_gene(document: Any, i: int, message: Any) -> IntGene:
    limits = message.int_range
    if limits.step < 1:
        raise document.error(("gene", i, "int_range", "step"),
                             f"of {message.name} is {limits.step}; expected 1 or more")
    return IntGene(message.name, limits.min, limits.max, limits.step, int(message.default))


def _real_gene(document: Any, i: int, message: Any) -> RealGene:
    limits = message.real_range
    log = limits.scale == menndl_pb2.RealRange.LOG
    if log and limits.min <= 0:
        raise document.error(("gene", i, "real_range", "min"),
                             f"of {message.name} is {limits.min:g}; "
                             "scale LOG needs a min above 0")
    return RealGene(message.name, limits.min, limits.max, log, message.default)


def _choice_gene(document: Any, i: int, message: Any) -> ChoiceGene:
    values = tuple(message.choice.value)
    if not values:
        raise document.error(("gene", i, "choice"), f"of {message.name} is empty; expected at least one value")
    for k, value in enumerate(values):
        if value in values[:k]:
            raise document.error(("gene", i, "choice", "value", k), f"of {message.name}: {value!r} stands there twice")
    if message.HasField("default"):
        raise document.error(("gene", i, "default"),
                             f"of {message.name} is a range's; the default of a choice belongs inside it: "
                             f'choice {{ ... default: "{values[0]}" }}')
    if message.choice.default not in values:
        stands = f"is {message.choice.default!r}" if message.choice.HasField("default") else "is missing"
        raise document.error(("gene", i, "choice", "default"),
                             f"of {message.name} {stands}; expected one of {', '.join(values)}")
    return ChoiceGene(message.name, values, message.choice.default)
