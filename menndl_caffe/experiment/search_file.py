"""The search file: read, checked, and turned into an Experiment."""
from __future__ import annotations

import math
import re
from itertools import chain
from operator import itemgetter
from typing import Any, Dict, FrozenSet, Iterable, Iterator, Mapping, Optional, Sequence, Tuple

from menndl_caffe.errors import UserError, did_you_mean, in_utf8
from menndl_caffe.experiment.experiment import RESERVED, TEMPLATES, Experiment, find_template
from menndl_caffe.experiment.places import HERE, Places
from menndl_caffe.genome import ChoiceGene, Gene, IntGene, RealGene, SearchSpace
from menndl_caffe.nets import prototxt
from menndl_caffe.nets.proto import menndl_pb2
from menndl_caffe.objective import ACCURACY, Objective
from menndl_caffe.search import KINDS, Kind, rungs
from menndl_caffe.trial import HYPERGRADIENT, TRAIN

OVERRIDDEN = ("random_seed", "data", "max_iter")  # by the command line
MOST = 100_000  # of individuals, rounds, levels: whatever an algorithm counts
Wrong = Tuple[prototxt.PathOf, str]  # a field's place, and what is wrong there
Error = Tuple[int, str]  # a line's number, and what is said of it


def load(name: str, seed: Optional[int] = None, data: Optional[str] = None,
         max_iter: Optional[int] = None) -> Experiment:
    """Read a search file; `seed`, `data` and `max_iter` from the command line take the place of the file's own.

    UserError names file, line and field of every mistake, a line each in the file's order: settings, names, genes,
    missing templates. What is no text of a SearchParameter ends at its first one.
    """
    path = HERE.find(name, "search file")
    document, places = prototxt.load(path, menndl_pb2.SearchParameter), Places.of_search_file(path)
    override(document.message, seed, data, max_iter)
    return _checked(document, places, _missing_templates(document, places))


def override(message: Any, seed: Optional[int], data: Optional[str], max_iter: Optional[int]) -> None:
    """Put what is given in the place of a SearchParameter's own (OVERRIDDEN)."""
    values = (seed, None if data is None else in_utf8(data), max_iter)
    for field, value in zip(OVERRIDDEN, values):
        if value is not None:
            setattr(message, field, value)


def of_text(text: str, name: str, places: Places = HERE) -> Experiment:
    """The experiment of a search file's text, such as a journal has it; `name` stands in errors for the file's.

    UserError as `load`; whether the templates are there is not looked at.
    """
    return _checked(prototxt.parse(text, menndl_pb2.SearchParameter, name), places)


def _checked(document: prototxt.Document, places: Places, more: Iterable[Error] = ()) -> Experiment:
    """The experiment, or one UserError for all that is wrong with it."""
    message = document.message
    wrong = chain(_settings(message), _objectives(document), _names(document), _genes(message), _earlier(message),
                  _enqueue(document))
    errors = [*((document.line(path), str(document.error(path, text))) for path, text in wrong), *more]
    if errors:
        raise UserError("\n".join(text for _, text in sorted(errors, key=itemgetter(0))))
    return Experiment(document, SearchSpace(tuple(map(_gene, message.gene))), places)


def _missing_templates(document: prototxt.Document, places: Places) -> Iterator[Error]:
    for kind in TEMPLATES:
        try:
            if getattr(document.message, kind):
                find_template(document, kind, places)
        except UserError as error:
            yield document.line((kind,)), str(error)


def _settings(message: Any) -> Iterator[Wrong]:
    """The fields with a fixed range of values, those of the algorithm as it says itself."""
    for field in TEMPLATES:
        if not getattr(message, field):
            yield (field,), "is missing; expected the path of a template"
    for field, least, expected in (("random_seed", 0, "0 or more"), ("max_iter", 1, "1 or more"),
                                   ("trial_timeout", 0, "seconds, 0 or more (0: none)")):
        if not getattr(message, field) >= least:
            yield (field,), f"is {getattr(message, field)}; expected {expected}"
    if message.type in KINDS:
        kind = KINDS[message.type]
        yield from _of_kind(message, kind)
        yield from _limit(message, kind)
    else:
        yield ("type",), f"is {message.type!r}{did_you_mean(message.type, KINDS)}"
    if not message.gene:
        yield (), "has no gene; expected at least one gene { name: ... }"
    if message.HasField("inner"):
        yield from ((("inner", *path), text) for path, text in _inner(message))
    if message.HasField("confirm"):
        yield from ((("confirm", *path), text) for path, text in _confirm(message))
    if message.HasField("stop"):
        yield from ((("stop", *path), text) for path, text in _stop(message))


def _confirm(message: Any) -> Iterator[Wrong]:
    """What is wrong with what shall be trained again."""
    confirm = message.confirm
    for name, least in (("best", 1), ("seeds", 2)):
        if not least <= getattr(confirm, name) <= MOST:
            yield (name,), f"is {getattr(confirm, name)}; expected {least} to {MOST}"
    if confirm.iterations and confirm.iterations < message.max_iter:
        yield ("iterations",), (f"is {confirm.iterations}; expected max_iter, {message.max_iter}, or more, or 0 for as "
                                "many as that")
    if not any(Objective(one.measure).is_tested for one in message.objective or [Objective()]):
        yield (), "is not for a search whose objectives no seed changes"


def _stop(message: Any) -> Iterator[Wrong]:
    """What is wrong with rungs. Whether a test pass is due at each is seen where the solver is there:
    appraise.check_experiment."""
    plain = [name for name, kind in KINDS.items() if kind.program == TRAIN]
    if message.HasField("inner"):
        yield (), "cannot be used together with inner, whose trainings all go to their ends; expected one of the two"
    elif message.type in KINDS and message.type not in plain:
        yield (), (f"cannot be used with type {message.type}, whose trainings all go to their ends; expected a type of "
                   f"{', '.join(plain)}, or no stop")
    objectives = [Objective(one.measure) for one in message.objective] or [Objective()]
    if len(objectives) > 1 or not objectives[0].is_tested:
        yield (), "needs one objective, and one that test passes measure"
    yield from ((path, f"{found}; expected {expected}") for path, found, expected in rungs.check(message.stop,
                                                                                                 message.max_iter))


def _of_kind(message: Any, kind: Kind) -> Iterator[Wrong]:
    """What an algorithm itself says of its settings."""
    settings = kind.settings(message)
    for name, found, expected in chain(kind.check(settings), _too_large(settings)):
        yield (kind.field, name), f"is {found}; expected {expected}"


def _inner(message: Any) -> Iterator[Wrong]:
    """What is wrong with a search within each individual. Whether its genes are differentiable is seen where the
    templates are there: derivatives.derivatives."""
    inner, learning = message.inner, [name for name, kind in KINDS.items() if kind.program != TRAIN]
    if inner.type not in learning:
        yield ("type",), f"is {inner.type!r}; expected one of {', '.join(learning)}"
        return
    yield from _of_kind(inner, KINDS[inner.type])
    if message.type in learning:
        yield ("type",), (f"is within {message.type}, whose trainings learn already; expected an outer type that is "
                          f"none of {', '.join(learning)}")
    if KINDS[inner.type].program != HYPERGRADIENT:
        if inner.gene:
            yield ("gene", 0), f"is not for {inner.type}, whose trainings learn decays that are no genes"
        return
    if not 1 <= inner.steps <= MOST:
        yield ("steps",), f"is {inner.steps}; expected 1 to {MOST}"
    if inner.hypergradient_param.HasField("starts"):
        yield ("hypergradient_param", "starts"), "is not for inner: each individual has one descent"
    yield from _inner_genes(inner.gene, [gene.name for gene in message.gene])


def _inner_genes(inner: Sequence[str], names: Sequence[str]) -> Iterator[Wrong]:
    if not inner:
        yield (), 'has no gene; expected those that go down the gradient: gene: "weight_decay"'
    elif not set(names) - set(inner):
        yield ("gene", len(inner) - 1), "leaves none to the outer search; expected at least one that is not inner"
    for i, name in enumerate(inner):
        if name not in names:
            yield ("gene", i), f"{name!r} is no gene of this search{did_you_mean(name, names)}"
        elif name in inner[:i]:
            yield ("gene", i), f"{name!r} is given twice"


def _too_large(settings: Any) -> Iterator[Tuple[str, Any, str]]:
    """Whole numbers that would fill the memory, or the time before the first individual."""
    for field, value in settings.ListFields() if settings else ():
        if field.cpp_type == field.CPPTYPE_INT32 and value > MOST:
            yield field.name, value, f"{MOST} or less"


def _limit(message: Any, kind: Kind) -> Iterator[Wrong]:
    limit = message.limit
    given, timed, counted = (limit.HasField(name) for name in ("trials", "hours", "iterations"))
    if timed and not 0 < limit.hours < math.inf:
        yield ("limit", "hours"), f"is {limit.hours:g}; expected a number above 0"
    if counted and limit.iterations < 1:
        yield ("limit", "iterations"), f"is {limit.iterations}; expected 1 or more"
    if kind.limited and not kind.ends and not (given or timed or counted):
        yield ("type",), (f"is {message.type}, which goes on until a limit: expected limit {{ trials: 100 }}, or "
                          "another number of individuals, or limit { hours: 2 }, or limit { iterations: 100000 }")
    elif kind.limited and given and limit.trials < 1:
        yield ("limit", "trials"), f"is {limit.trials}; expected 1 or more"
    if message.HasField("limit") and not kind.limited and (given or not timed and not counted):
        yield ("limit",), (f"is for searches without generations, and {message.type} has them; {kind.field} says how "
                           "many individuals there are; limit { hours: 2 } or { iterations: 100000 } are for all")


def _objectives(document: prototxt.Document) -> Iterator[Wrong]:
    """Each measure once, its direction said, and no more of them than the algorithm takes. Whether the net has an
    output of such a name is seen where the net is there: appraise.check_experiment."""
    message, lines = document.message, {}  # type: Any, Dict[str, int]
    for i, objective in enumerate(message.objective):
        if objective.measure in lines:
            yield ("objective", i, "measure"), (f"{objective.measure!r} is already the objective of line "
                                                f"{lines[objective.measure]}")
        elif objective.measure != ACCURACY and not objective.HasField("minimize"):
            yield ("objective", i), (f"{objective.measure} does not say which is better; expected minimize: true, or "
                                     "minimize: false where more of it is")
        lines.setdefault(objective.measure, document.line(("objective", i)))
    if message.fitness and lines and ACCURACY not in lines:
        yield ("fitness",), (f"names the {ACCURACY}, which is no objective here; expected an objective of this "
                             "measure, or no such field")
    if len(message.objective) > 1 and message.type in KINDS and not KINDS[message.type].several:
        those = ", ".join(sorted(name for name, kind in KINDS.items() if kind.several))
        yield ("objective", 1), (f"is a second one, and {message.type} takes one; expected one objective, or type "
                                 f"{those}")


def _names(document: prototxt.Document) -> Iterator[Wrong]:
    """Every gene and constant has a name of its own that a template can use, and every constant a value."""
    seen: Dict[str, str] = {name: "a name that menndl provides" for name in RESERVED}
    for kind in ("gene", "constant"):
        for i, item in enumerate(getattr(document.message, kind)):
            if not re.fullmatch(r"[A-Za-z_]\w*", item.name, re.ASCII):
                yield (kind, i, "name"), f"is {item.name!r}; expected letters, digits and _, no digit first"
            elif item.name in seen:
                yield (kind, i, "name"), f"{item.name!r} is already {seen[item.name]}"
            else:
                seen[item.name] = f"the {kind} of line {document.line((kind, i))}"
    for i, constant in enumerate(document.message.constant):
        if not constant.HasField("value"):
            yield ("constant", i), f"{constant.name} has no value"


def _genes(message: Any) -> Iterator[Wrong]:
    """The genes' ranges and defaults."""
    for i, gene in enumerate(message.gene):
        for path, text in _values(gene):
            yield ("gene", i, *path), text


def _values(gene: Any) -> Iterator[Wrong]:
    kind = gene.WhichOneof("range")
    if kind is None:
        return iter([((), f"{gene.name or 'the gene'} has no range; expected one of int_range, real_range, choice")])
    return _choice(gene) if kind == "choice" else _range(gene, kind)


def _range(gene: Any, kind: str) -> Iterator[Wrong]:
    """What is wrong with a range of numbers; a default is held against it where nothing is."""
    wrong = list(_bounds(gene, kind))
    if not gene.HasField("default"):
        wrong.append(((), f"{gene.name} has no default; expected a value of its range"))
    elif not math.isfinite(gene.default):
        wrong.append((("default",), f"of {gene.name} is {gene.default}; expected a finite number"))
    yield from wrong
    if not wrong:
        made = _gene(gene)
        try:
            made.parse(f"{gene.default:.17g}")
        except ValueError:
            yield ("default",), f"of {gene.name} is {gene.default:.15g}; expected {made.describe()}"


def _bounds(gene: Any, kind: str) -> Iterator[Wrong]:
    limits, finite = getattr(gene, kind), {}
    for bound in ("min", "max"):
        value = getattr(limits, bound)
        if not limits.HasField(bound):
            yield (kind,), f"of {gene.name} has no {bound}"
        elif not math.isfinite(value):
            yield (kind, bound), f"of {gene.name} is {value}; expected a finite number"
        else:
            finite[bound] = value
    if len(finite) == 2 and limits.min > limits.max:
        yield (kind, "min"), f"of {gene.name} is {limits.min:.15g}, above its max {limits.max:.15g}"
    if len(finite) == 2 and math.isinf(finite["max"] - finite["min"]):
        yield (kind,), f"of {gene.name} is wider than the largest number; expected a max - min that is finite"
    if kind == "int_range" and limits.step < 1:
        yield (kind, "step"), f"of {gene.name} is {limits.step}; expected 1 or more"
    if kind == "real_range" and limits.scale == menndl_pb2.RealRange.LOG and finite.get("min", 1) <= 0:
        yield (kind, "min"), f"of {gene.name} is {limits.min:g}; scale LOG needs a min above 0"


def _choice(gene: Any) -> Iterator[Wrong]:
    """What is wrong with a choice; a default is held against its values where nothing is wrong with them."""
    values, default = tuple(gene.choice.value), gene.choice.default
    first = {value: k for k, value in reversed(list(enumerate(values)))}
    twice = [k for k, value in enumerate(values) if first[value] != k]
    if not values:
        yield ("choice",), f"of {gene.name} is empty; expected at least one value"
    for k in twice:
        yield ("choice", "value", k), f"of {gene.name}: {values[k]!r} stands there twice"
    if gene.HasField("default"):
        yield ("default",), (f"of {gene.name} is a range's; the default of a choice belongs inside it: "
                             f'choice {{ ... default: "{values[0] if values else "..."}" }}')
        if not gene.choice.HasField("default"):
            return
    if values and not twice and default not in values:
        stands = f"is {default!r}" if gene.choice.HasField("default") else "is missing"
        yield ("choice", "default"), f"of {gene.name} {stands}; expected one of {', '.join(values)}"


def _earlier(message: Any) -> Iterator[Wrong]:
    """Runs to begin from; whether they are there is seen when the run begins."""
    for i, folder in enumerate(message.warm_start):
        if not folder:
            yield ("warm_start", i), "is empty; expected the folder of an earlier run"
        elif folder in message.warm_start[:i]:
            yield ("warm_start", i), f"{folder!r} stands there twice"


def _enqueue(document: prototxt.Document) -> Iterator[Wrong]:
    """Individuals by name: of genes and values of this search, each another, and no more than come first."""
    message = document.message
    sound = {gene.name: _gene(gene) for gene in message.gene if not any(_values(gene))}
    seen: Dict[FrozenSet[Tuple[str, Any]], int] = {}
    for i, individual in enumerate(message.enqueue):
        wrong = list(_named(document, i, sound))
        yield from wrong
        if not wrong and all(gene.name in sound for gene in individual.gene):
            before = seen.setdefault(_changed(individual, sound), i)
            if before != i:
                yield ("enqueue", i), f"is the individual of line {document.line(('enqueue', before))} again"
    yield from _too_many(message)


def _named(document: prototxt.Document, i: int, sound: Mapping[str, Gene]) -> Iterator[Wrong]:
    """What is wrong with the genes of one individual; values are held against ranges in which nothing is."""
    names = [gene.name for gene in document.message.gene]
    seen: Dict[str, int] = {}
    for k, gene in enumerate(document.message.enqueue[i].gene):
        path = ("enqueue", i, "gene", k)
        if gene.name not in names:
            yield (*path, "name"), f"{gene.name!r} is no gene of this search{did_you_mean(gene.name, names)}"
        elif gene.name in seen:
            yield (*path, "name"), f"{gene.name!r} is given twice; line {seen[gene.name]} has it already"
        elif gene.name in sound:
            try:
                sound[gene.name].parse(gene.value)
            except ValueError:
                yield (*path, "value"), f"of {gene.name} is {gene.value!r}; expected {sound[gene.name].describe()}"
        seen.setdefault(gene.name, document.line(path))


def _changed(individual: Any, genes: Mapping[str, Gene]) -> FrozenSet[Tuple[str, Any]]:
    """The genes of an individual that are not at their defaults, and their values."""
    values = {gene.name: genes[gene.name].parse(gene.value) for gene in individual.gene}
    return frozenset((name, value) for name, value in values.items() if value != genes[name].default)


def _too_many(message: Any) -> Iterator[Wrong]:
    kind = KINDS.get(message.type)
    of_kind = kind and kind.first(kind.settings(message))
    places = of_kind or message.limit.trials
    most = places - bool(message.warm_start)  # whose best comes first as well
    if 0 < places and most < len(message.enqueue):
        which = "the first generation" if of_kind else "limit.trials"
        yield ("enqueue", most), (f"is one too many: {which} has {places} individuals"
                                  + ", one of them the best of warm_start" * bool(message.warm_start))


def _gene(gene: Any) -> Gene:
    """The gene of a message in which nothing is wrong but maybe its default."""
    kind = gene.WhichOneof("range")
    limits = getattr(gene, kind)
    if kind == "choice":
        return ChoiceGene(gene.name, tuple(limits.value), limits.default)
    if kind == "int_range":
        return IntGene(gene.name, limits.min, limits.max, limits.step, int(gene.default))
    return RealGene(gene.name, limits.min, limits.max, limits.scale == menndl_pb2.RealRange.LOG, gene.default)
