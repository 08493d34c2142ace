"""The best individuals against the default: `menndl best`, in the shape of the paper's Table 3."""
from __future__ import annotations

import math
from typing import Any, Dict, List, Optional, Sequence, Tuple

from menndl_caffe.experiment.recorded import Run
from menndl_caffe.genome import ChoiceGene, Gene, Value
from menndl_caffe.report.summary import best_trained, described, of_role, standard_error
from menndl_caffe.text import aligned, fixed, gene_text, interval
from menndl_caffe.trial import DEFAULT, TEST


def best_dict(run: Run, n: int) -> Dict[str, Any]:
    """The n fittest different individuals that did not fail, the default, and what the difference means."""
    ranked, images = best_trained(run), run.line.get("test_images")
    best = [described(run, trial, result) for trial, result in ranked[:n]]
    roles = {role: of_role(run, role) for role in (DEFAULT, TEST)}
    default, test = (described(run, *pair) if pair else None for pair in roles.values())
    genomes = [trial.genome for trial, _ in run.record.individuals()]
    return {
        "type": run.message.type, "max_iter": run.message.max_iter, "fitness_set": run.fitness_set,
        "engine": run.engine, "test_images": images,
        "evaluated": len(genomes), "total": run.total, "different": len(set(genomes)), "asked": n,
        "genes": [{"gene": gene.name, "default": gene.default,
                   "best": _span(gene, [row["genes"][gene.name] for row in best])} for gene in run.space.genes],
        "default": default, "best": best, "test": test,
        "difference": _difference(best, default, images, len(ranked)),
    }


def _span(gene: Gene, values: Sequence[Value]) -> str:
    """What the values of a gene have in common: their range, or those of its choices that occur."""
    if not values:
        return "-"
    if isinstance(gene, ChoiceGene):
        return ", ".join(choice for choice in gene.choices if choice in values)
    return interval(gene_text(min(values)), gene_text(max(values)))


def _difference(best: Sequence[Dict[str, Any]], default: Optional[Dict[str, Any]], images: Optional[int],
                candidates: int) -> Optional[Dict[str, Any]]:
    """The best's accuracy above the default's, and its standard error if each is a binomial share of `images`.

    The same images decide both, which makes the true error smaller; that another seed trains another net, and that the
    best was picked out of `candidates`, makes it larger, by more than can be known from one training of each.
    """
    if not best or default is None or default["accuracy"] is None:
        return None
    error = math.hypot(*(standard_error(row["accuracy"], images) for row in (best[0], default))) if images else None
    return {"accuracy": best[0]["accuracy"] - default["accuracy"], "candidates": candidates, "standard_error": error}


def best_text(run: Run, n: int = 5) -> str:
    """The same for people: Table 3, the individuals one a row, and what the difference to the default means."""
    best = best_dict(run, n)
    blocks = [_head(best)]
    if best["best"] or best["default"]:
        blocks += [_table_3(best), _individuals(best)]
    return "\n\n".join([*blocks, "\n".join(_remarks(best))]).rstrip()


def _head(best: Dict[str, Any]) -> str:
    found, done, total = len(best["best"]), best["evaluated"], best["total"]
    if not done:
        return f"No individual has a result yet; {total:,} are to come." if total else "No individual has a result yet."
    whole = f" ({total:,} when complete)" if total else ""
    progress = f"{done:,} individuals" if done == total else f"{done:,} individuals so far{whole}"
    which = f"Best {found}" if found else "None"
    few = f" Only {found} different ones succeeded." if found else " All of them failed."
    return (f"{which} of {progress}, {best['different']:,} of them different; {best['max_iter']:,} iterations each, "
            f"engine {best['engine']}, accuracy on the {best['fitness_set']} set."
            + (few if found < best["asked"] else ""))


def _table_3(best: Dict[str, Any]) -> str:
    rows, default = best["best"], best["default"] or {}
    sets = f"best {len(rows)} sets" if len(rows) > 1 else "best set"
    table = [["gene", "default", sets]]
    table += [[gene["gene"], gene_text(gene["default"]), gene["best"]] for gene in best["genes"]]
    for name in ("accuracy", "loss"):
        known = [row[name] for row in rows if row[name] is not None]
        span = interval(fixed(min(known)), fixed(max(known))) if known else "-"
        table.append([name, fixed(default.get(name)) or "-", span])
    return aligned(table, left=(0, 2))


def _individuals(best: Dict[str, Any]) -> str:
    genes = [gene["gene"] for gene in best["genes"]]
    generation = ["generation"] * any(row["generation"] for row in best["best"])  # not every search has such
    rows = [["", "id", *generation, *genes, "accuracy", "loss", "seconds"]]
    for place, row in _places(best):
        rows.append([place, str(row["id"]), *(str(row[name] or "-") for name in generation),
                     *(gene_text(row["genes"][name]) for name in genes),
                     fixed(row["accuracy"]) or row["status"], fixed(row["loss"]) or "-", fixed(row["seconds"], 1)])
    return aligned(rows)


def _places(best: Dict[str, Any]) -> List[Tuple[str, Dict[str, Any]]]:
    """The individuals to list, each with its place: 1, 2, ..., default."""
    places = [(str(place), row) for place, row in enumerate(best["best"], 1)]
    return places + ([(DEFAULT, best["default"])] if best["default"] else [])


def _remarks(best: Dict[str, Any]) -> List[str]:
    """What a reader must know before believing the numbers, one line each."""
    return [line for line in (_on_default(best["default"]), _on_difference(best), _on_test(best)) if line]


def _on_default(default: Optional[Dict[str, Any]]) -> str:
    if default is None:
        return "default: no result yet, so there is nothing to compare with."
    return "" if default["accuracy"] is not None else f"default: {default['status']}: {default['reason']}"


def _on_difference(best: Dict[str, Any]) -> str:
    difference = best["difference"]
    if difference is None:
        return ""
    text = f"difference: the best is {difference['accuracy']:+.4f} from the default"
    if difference["standard_error"] is None:
        return text + "; the number of test images is not recorded, so its error is unknown."
    return (f"{text}, with a standard error of {difference['standard_error']:.4f} for being measured on "
            f"{best['test_images']:,} images;\n            another training seed would move both, "
            f"and the best was picked out of {difference['candidates']:,}.")


def _on_test(best: Dict[str, Any]) -> str:
    """The accuracy on images that decided nothing, when there are such."""
    test, images = best["test"], best["test_images"]
    if best["fitness_set"] != "validation":
        return ""
    if test is None:
        return "test set: the best individual's accuracy on it, unbiased by the search, follows when that is finished."
    if test["accuracy"] is None:
        return f"test set: no figure: {test['status']}: {test['reason']}"
    error = f" (standard error {standard_error(test['accuracy'], images):.4f})" if images else ""
    return (f"test set: the best individual has accuracy {test['accuracy']:.4f}{error} on it: an unbiased figure, "
            "the search never saw these images.")
