"""The best individuals against the default: `menndl best`, in the shape of the paper's Table 3."""
from __future__ import annotations

from typing import Any, Dict, List, Optional, Sequence, Tuple

from menndl_caffe.experiment.recorded import Run
from menndl_caffe.genome import ChoiceGene, Gene, Value
from menndl_caffe.objective import ACCURACY, BY_ACCURACY, LOSS, Objective
from menndl_caffe.report.confirmation import confirmation
from menndl_caffe.report.summary import (
    chosen,
    described,
    fitness,
    learned_text,
    of_role,
    optimized,
    roles,
    standard_error,
)
from menndl_caffe.report.verdict import confirmation_dict, paragraphs, remarks
from menndl_caffe.report.yardstick import ALL_IMAGES, ONLY_THE_TEST_SET_COUNTS, verdict
from menndl_caffe.text import aligned, fixed, gene_text, interval
from menndl_caffe.trial import DEFAULT, STOPPED, TEST, YARDSTICK, Result, Trial

UNCONFIRMED = "one training each; `menndl confirm RUN` tells whether the difference holds"
FEW = 5  # individuals that are listed unless others are asked for, as in the paper; of a front all


def listed(run: Run, n: Optional[int] = None) -> List[Tuple[Trial, Result]]:
    """The n fittest that the search was made for; without a number FEW, or the whole front."""
    return chosen(run)[:n or (FEW if len(run.objectives) == 1 else None)]


def best_dict(run: Run, n: Optional[int] = None) -> Dict[str, Any]:
    """The individuals that are `listed`, the default, and what the difference means."""
    images = run.line.get("test_images")
    best = [described(run, trial, result) for trial, result in listed(run, n)]
    pairs = {role: of_role(run, role) for role in roles(run)}
    beside = {role: described(run, *pair) if pair else None for role, pair in pairs.items()}
    default = beside[DEFAULT]
    genomes = [trial.genome for trial, _ in run.record.individuals()]
    confirmed = confirmation(run)
    return {
        "type": run.message.type, "max_iter": run.message.max_iter, "fitness_set": run.fitness_set,
        "engine": run.engine, "test_images": images, **objectives_dict(run),
        "evaluated": len(genomes), "total": run.total, "different": len(set(genomes)), "asked": n or FEW,
        "genes": [{"gene": gene.name, "default": gene.default,
                   "best": _span(gene, [row["genes"][gene.name] for row in best])} for gene in run.space.genes],
        "default": default, "best": best, **{role: row for role, row in beside.items() if role != DEFAULT},
        "difference": _difference(run.fitness, best, default, _candidates(run)),
        "confirmed": confirmation_dict(confirmed) if confirmed else None,
    }


def objectives_dict(run: Run) -> Dict[str, Any]:
    """What is optimized, where it is not just the accuracy."""
    given = [{"measure": objective.measure, "minimize": objective.minimize} for objective in run.objectives]
    return {} if run.objectives == (BY_ACCURACY,) else {"objectives": given}


def _span(gene: Gene, values: Sequence[Value]) -> str:
    """What the values of a gene have in common: their range, or those of its choices that occur."""
    if not values:
        return "-"
    if isinstance(gene, ChoiceGene):
        return ", ".join(choice for choice in gene.choices if choice in values)
    return interval(gene_text(min(values)), gene_text(max(values)))


def _candidates(run: Run) -> int:
    """Different individuals out of which the best was picked; those that were stopped early had lost against others."""
    return len({trial.genome for trial, result in run.record.individuals() if not result.failed})


def _difference(objective: Objective, best: Sequence[Dict[str, Any]], default: Optional[Dict[str, Any]],
                candidates: int) -> Optional[Dict[str, Any]]:
    """The best's fitness above the default's. It has no interval: another seed trains another net, and the best was
    picked out of `candidates`; how much that is one training of each cannot tell."""
    reached, before = (fitness(row) if row else None for row in (best[0] if best else None, default))
    if reached is None or before is None:
        return None
    return {objective.measure: reached - before, "candidates": candidates}


def best_text(run: Run, n: Optional[int] = None) -> str:
    """The same for people: Table 3, the individuals one a row, and what the difference to the default means."""
    best = best_dict(run, n)
    blocks = [_head(run, best)]
    if best["best"] or best["default"]:
        blocks += [_table_3(run, best), _individuals(run, best)]
    return "\n\n".join([*blocks, "\n".join(_remarks(run, best))]).rstrip()


def _head(run: Run, best: Dict[str, Any]) -> str:
    found, done, total = len(best["best"]), best["evaluated"], best["total"]
    if not done:
        return f"No individual has a result yet; {total:,} are to come." if total else "No individual has a result yet."
    whole = f" ({total:,} when complete)" if total else ""
    progress = f"{done:,} individuals" if done == total else f"{done:,} individuals so far{whole}"
    several = len(run.objectives) > 1
    which = f"{'Front: ' if several else 'Best '}{found}" if found else "None"
    ended = "came to their ends" if run.rungs else "succeeded"
    few = f" Only {found} different ones {ended}." if found else _none(run)
    return (f"{which} of {progress}, {best['different']:,} of them different; {best['max_iter']:,} iterations each, "
            f"engine {best['engine']}, {optimized_text(run)}."
            + (few if found < best["asked"] and not (found and several) else ""))


def _none(run: Run) -> str:
    """Why no individual is the best."""
    stopped = sum(result.status == STOPPED for _, result in run.record.individuals())
    return f" {stopped:,} were stopped early, and all others failed." if stopped else " All of them failed."


def optimized_text(run: Run) -> str:
    """What is optimized, in words: `accuracy on the test set`, `least loss on the test set and least parameters`."""
    if run.objectives == (BY_ACCURACY,):
        return run.fitness.label(run.fitness_set)
    return " and ".join(f"{'least' if objective.minimize else 'most'} {objective.label(run.fitness_set)}"
                        for objective in run.objectives)


def shown(run: Run, *more: Objective) -> List[Objective]:
    """The objectives, and those of `more` that are none of them: what a table of individuals shows."""
    measures = [objective.measure for objective in run.objectives]
    return [*run.objectives, *(objective for objective in more if objective.measure not in measures)]


def cell(row: Dict[str, Any], objective: Objective) -> Optional[float]:
    """What a `described` individual has of an objective or of the loss."""
    return optimized(row).get(objective.measure, row["loss"])


def _table_3(run: Run, best: Dict[str, Any]) -> str:
    rows, default = best["best"], best["default"]
    sets = sets_text(run, len(rows))
    table = [["gene", "default", sets]]
    table += [[gene["gene"], gene_text(gene["default"]), gene["best"]] for gene in best["genes"]]
    for objective in shown(run, Objective(LOSS)):
        known = [value for value in (cell(row, objective) for row in rows) if value is not None]
        span = interval(objective.text(min(known)), objective.text(max(known))) if known else "-"
        table.append([objective.measure, objective.text(default and cell(default, objective)) or "-", span])
    return aligned(table, left=(0, 2))


def sets_text(run: Run, found: int) -> str:
    """What so many individuals in a table are called: `best 5 sets`."""
    if len(run.objectives) > 1:
        return f"front of {found} sets" if found > 1 else "front"
    return f"best {found} sets" if found > 1 else "best set"


def _individuals(run: Run, best: Dict[str, Any]) -> str:
    genes = [gene["gene"] for gene in best["genes"]]
    generation = ["generation"] * any(row["generation"] for row in best["best"])  # not every search has such
    measured = shown(run, Objective(LOSS))
    rows = [["", "id", *generation, *genes, *(objective.measure for objective in measured), "seconds"]]
    for place, row in _places(best):
        first, *others = (objective.text(cell(row, objective)) for objective in measured)
        rows.append([place, str(row["id"]), *(str(row[name] or "-") for name in generation),
                     *(gene_text(row["genes"][name]) for name in genes),
                     first or row["status"], *(text or "-" for text in others), fixed(row["seconds"], 1)])
    return aligned(rows)


def _places(best: Dict[str, Any]) -> List[Tuple[str, Dict[str, Any]]]:
    """The individuals to list, each with its place: 1, 2, ..., default."""
    places = [(str(place), row) for place, row in enumerate(best["best"], 1)]
    return places + ([(DEFAULT, best["default"])] if best["default"] else [])


def _remarks(run: Run, best: Dict[str, Any]) -> List[str]:
    """What a reader must know before believing the numbers, one line each."""
    objective = run.fitness
    lines = (_on_default(best["default"]), _on_difference(run, best), _on_decays(best),
             _on_test(objective, best), *(_on_yardstick(run, best) if YARDSTICK in best else ()))
    return [line for line in lines if line]


def _on_default(default: Optional[Dict[str, Any]]) -> str:
    if default is None:
        return "default: no result yet, so there is nothing to compare with."
    return "" if fitness(default) is not None else f"default: {default['status']}: {default['reason']}"


def _on_difference(run: Run, best: Dict[str, Any]) -> str:
    """What new seeds say of it; without them, that it is one training of each."""
    confirmed = confirmation(run)
    if confirmed is not None:
        return paragraphs(remarks(confirmed))
    difference, objective = best["difference"], run.fitness
    if difference is None:
        return ""
    of = "" if objective == BY_ACCURACY else f" in {objective.measure}"
    text = (f"difference: the best is {objective.signed(difference[objective.measure])} from the default{of}; "
            f"it was picked out of {difference['candidates']:,}.")
    return f"{text}\n            It is {UNCONFIRMED}." if objective.is_tested else text


def _on_decays(best: Dict[str, Any]) -> str:
    first = best["best"][0] if best["best"] else {}
    return f"decays: the best individual learned {learned_text(first['learned'])}." if "learned" in first else ""


def _on_test(objective: Objective, best: Dict[str, Any]) -> str:
    """The fitness on images that decided nothing, when there are such."""
    test, images, measure = best["test"], best["test_images"], objective.measure
    if best["fitness_set"] != "validation":
        return ""
    if test is None:
        return (f"test set: the best individual's {measure} on it, unbiased by the search, follows when that is "
                "finished.")
    value = fitness(test)
    if value is None:
        return f"test set: no figure: {test['status']}: {test['reason']}"
    return (f"test set: the best individual has {measure} {_with_error(objective, value, images)} on it: an unbiased "
            "figure, the search never saw these images.")


def _with_error(objective: Objective, value: float, images: Optional[int]) -> str:
    error = f" (standard error {standard_error(value, images):.4f})" if images and objective.measure == ACCURACY else ""
    return objective.text(value) + error


def _on_yardstick(run: Run, best: Dict[str, Any]) -> Sequence[str]:
    """The default, trained on all images, on the test set, and what that says of the best."""
    yardstick = best[YARDSTICK]
    value = fitness(yardstick) if yardstick else None
    if yardstick is None:
        first = f"follows: {ALL_IMAGES}, on the test set."
    elif value is None:
        first = f"no figure: {yardstick['status']}: {yardstick['reason']}"
    else:
        first = (f"{ALL_IMAGES}, has {run.fitness.measure} "
                 f"{_with_error(run.fitness, value, best['test_images'])} on the test set.")
    return f"yardstick: {first}", verdict(run, best[TEST], yardstick), ONLY_THE_TEST_SET_COUNTS
