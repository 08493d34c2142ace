"""What the page of several runs says: the best so far of each, their best individuals, the genes of these."""
from __future__ import annotations

from pathlib import Path
from typing import Any, Dict, List, Optional, Sequence, Tuple

from menndl_caffe.errors import UserError
from menndl_caffe.experiment.recorded import Run
from menndl_caffe.genome import ChoiceGene, Gene
from menndl_caffe.report.best import best_dict, optimized_text
from menndl_caffe.report.confirmation import confirmation
from menndl_caffe.report.nets import Nets
from menndl_caffe.report.page.columns import columns, gene_dict
from menndl_caffe.report.page.facts import facts
from menndl_caffe.report.page.single import costed
from menndl_caffe.report.status import status_dict
from menndl_caffe.report.summary import best_trained, fitness, roles
from menndl_caffe.report.verdict import signed_text
from menndl_caffe.text import printable
from menndl_caffe.trial import BESIDE, YARDSTICK

TOP = 50  # different individuals of a run whose genes are shown


def content(runs: Sequence[Run], now: float) -> Tuple[Dict[str, Any], Dict[str, Any]]:
    """The template's context and the script's data. UserError where the runs have different objectives."""
    first, *others = runs
    for run in others:
        if run.objectives != first.objectives:
            raise UserError(f"{first.folder} is of {optimized_text(first)}, {run.folder} of {optimized_text(run)}: "
                            "runs of different objectives have nothing to be compared by")
    names = different([run.folder for run in runs])
    described = [{"name": name, "status": status_dict(run, now), "search": run.line["search"],
                  **costed(best_dict(run), run, Nets(run))} for name, run in zip(names, runs)]
    known = [dict(facts(run, of_run["status"])) for of_run, run in zip(described, runs)]
    sets = sorted({run.fitness_set for run in runs})
    data = {"kind": "comparison", "label": first.fitness.label(" or ".join(sets)),
            "runs": [{"name": printable(name, lines=True), **progress(run)} for name, run in zip(names, runs)],
            "genes": spreads(runs)}
    for of_run, run in zip(described, runs):
        of_run.update(fitnesses(run, of_run["status"], of_run["best"]))
    return {"measure": first.fitness.measure, "runs": described, "now": now, "sets": sets, "top": TOP,
            "rungs": any(run.rungs for run in runs),
            "yardsticks": any(YARDSTICK in roles(run) for run in runs),
            "facts": in_common(known), "side_by_side": side_by_side(described)}, data


def fitnesses(run: Run, status: Dict[str, Any], best: Dict[str, Any]) -> Dict[str, str]:
    """What the first table says of a run: best, default, best on the test set, yardstick, difference, and that over new
    seeds; empty for what is not."""
    rows = {name: status.get(name) for name in ("best", *BESIDE)}
    texts = {f"{name}_text": run.fitness.text(fitness(row)) or row["status"] if row else ""
             for name, row in rows.items()}
    difference, found = best["difference"], confirmation(run)
    return {**texts, "difference": run.fitness.signed(difference[run.fitness.measure]) if difference else "",
            "confirmed_text": signed_text(found) if found else ""}


def in_common(known: Sequence[Dict[str, str]]) -> List[Tuple[str, List[str]]]:
    """Each fact's name with what it is in every run, or once what it is in all of them."""
    names = dict.fromkeys(name for facts_of in known for name in facts_of)
    rows = [(name, [facts_of.get(name, "") for facts_of in known]) for name in names]
    return [(name, texts[:1] if len(set(texts)) == 1 else texts) for name, texts in rows]


def side_by_side(described: Sequence[Dict[str, Any]]) -> List[Dict[str, Any]]:
    """Table 3 of all runs in one: the default and the range of the best, of every gene and of what was measured."""
    columns_of = [{name: (default, best) for name, default, best in run["table_3"][1:]} for run in described]
    measured = list(columns_of[0])[len(described[0]["best"]["genes"]):]
    names = dict.fromkeys(name for column in columns_of for name in column if name not in measured)
    return [{"gene": name, "cells": [column.get(name, ("", "")) for column in columns_of]}
            for name in (*names, *measured)]


def different(folders: Sequence[Path]) -> List[str]:
    """Names of the runs: of each folder's path as many of the last parts as tell them apart."""
    parts = [folder.resolve().parts for folder in folders]
    length = next((n for n in range(1, max(map(len, parts))) if len({part[-n:] for part in parts}) == len(parts)), 1)
    names = ["/".join(part[-length:]) for part in parts]
    return names if len(set(names)) == len(names) else [f"{name} ({i})" for i, name in enumerate(names, 1)]


def progress(run: Run) -> Dict[str, Any]:
    """When the best so far rose, in individuals evaluated and in seconds of the run's clock; where the run ended."""
    kept = columns(run)
    steps: List[Dict[str, Any]] = []
    evaluations, last, default = 0, 0.0, kept["role"].get("default")
    cost = run.fitness.cost
    for individual, reached, time in zip(kept["individual"], kept["fitness"], kept["time"]):
        evaluations, last = evaluations + individual, max(last, time)
        if individual and reached is not None and (not steps or cost(reached) < cost(steps[-1]["fitness"])):
            steps.append({"evaluations": evaluations, "time": time, "fitness": reached})
    return {"steps": steps, "end": {"evaluations": evaluations, "time": last},
            "default": None if default is None else kept["fitness"][default]}


def spreads(runs: Sequence[Run]) -> List[Dict[str, Any]]:
    """Every gene of any run: the range over all of them, and each run's values in its TOP best individuals."""
    best = [best_trained(run)[:TOP] for run in runs]
    genes: Dict[str, List[Optional[Gene]]] = {}
    for i, run in enumerate(runs):
        for gene in run.space.genes:
            genes.setdefault(gene.name, [None] * len(runs))[i] = gene
    return [_spread(of_runs, [[trial.genome.as_dict().get(name) for trial, _ in some] for some in best])
            for name, of_runs in genes.items()]


def _spread(genes: Sequence[Optional[Gene]], values: Sequence[Sequence[Any]]) -> Dict[str, Any]:
    known = [gene_dict(gene) for gene in genes if gene]
    merged = dict(known[0])
    positions: List[List[Any]]
    defaults: List[Any]
    if any(isinstance(gene, ChoiceGene) for gene in genes):  # of another kind in another run: all values as choices
        choices = list(dict.fromkeys(str(value) for gene, some in zip(genes, values) if gene
                                     for value in (*getattr(gene, "choices", ()), gene.default, *some)))
        place = {choice: i for i, choice in enumerate(choices)}
        merged.update(kind="choice", choices=[printable(choice, lines=True) for choice in choices])
        positions = [[place[str(value)] for value in some] if gene else [] for gene, some in zip(genes, values)]
        defaults = [place[str(gene.default)] if gene else None for gene in genes]
    else:
        merged.update(low=min(gene["low"] for gene in known), high=max(gene["high"] for gene in known))
        if len({gene["kind"] for gene in known}) > 1:
            merged["kind"] = "linear"
        positions = [list(some) if gene else [] for gene, some in zip(genes, values)]
        defaults = [gene.default if gene else None for gene in genes]
    return {**merged, "values": positions, "defaults": defaults}
