"""Table 3 of the paper, with what the sets cost: as CSV, Markdown and LaTeX."""
from __future__ import annotations

import re
from typing import Any, Callable, Dict, List, Mapping, Optional, Sequence

from menndl_caffe.experiment.recorded import Run
from menndl_caffe.objective import Objective
from menndl_caffe.report.best import sets_text
from menndl_caffe.report.nets import Nets
from menndl_caffe.report.summary import optimized
from menndl_caffe.text import as_csv, gene_text, interval
from menndl_caffe.trial import BESIDE

Rows = List[List[str]]
Costs = Mapping[int, Mapping[str, float]]


def costs_of(best: Dict[str, Any], run: Run, nets: Nets) -> Costs:
    """What was measured of the nets of `best_dict`'s individuals, by id; nothing where that is unknown."""
    listed = [row for row in (*best["best"], *(best.get(role) for role in BESIDE)) if row]
    return {row["id"]: nets.measures(run.record.trials[row["id"]]) for row in listed}


def table_3(run: Run, best: Dict[str, Any], costs: Costs) -> Rows:
    """Header and rows of three columns: default against the range of the best sets. `best` is `best_dict`'s, `costs`
    those of its individuals. Multiply-adds are in millions, of one image forward; what is unknown is `-`."""
    rows, default = best["best"], best["default"] or {}
    table = [["parameter", "default", sets_text(run, len(rows))]]
    table += [[gene["gene"], gene_text(gene["default"]), gene["best"]] for gene in best["genes"]]

    def measured(name: str, unit: float, form: Callable[[Any], str]) -> List[str]:
        known = (costs[row["id"]].get(name) for row in rows)
        of_default = costs[default["id"]].get(name) if default else None
        return _spans(None if of_default is None else of_default / unit,
                      [value / unit for value in known if value is not None], form)

    def reached(objective: Objective) -> List[str]:
        known = [optimized(row)[objective.measure] for row in rows]
        of_default = optimized(default)[objective.measure] if default else None
        return _spans(of_default, [value for value in known if value is not None], objective.text)

    return table + [
        *([objective.measure, *reached(objective)] for objective in run.objectives
          if objective.measure not in ("parameters", "multiply_adds")),
        ["parameters", *measured("parameters", 1, "{:,.0f}".format)],
        ["multiply-adds (millions)", *measured("multiply_adds", 1e6, three_digits)],
        ["training time (s)", *_spans(default.get("seconds"), [row["seconds"] for row in rows], three_digits)]]


def _spans(default: Optional[float], values: Sequence[float], form: Callable[[Any], str]) -> List[str]:
    span = interval(form(min(values)), form(max(values))) if values else "-"
    return ["-" if default is None else form(default), span]


def three_digits(value: float) -> str:
    """Three significant digits, and all that are left of the point."""
    return f"{value:.3g}" if value < 1000 else f"{value:,.0f}"


def table_3_csv(rows: Rows) -> str:
    """The same for programs: numbers without separators."""
    return as_csv(rows[0], ([name, *(re.sub(r"(?<=\d),(?=\d)", "", cell) for cell in cells)]
                            for name, *cells in rows[1:]))


def table_3_markdown(rows: Rows) -> str:
    """The same as a table of GitHub's Markdown."""
    header, *body = (" | ".join(cell.replace("|", r"\|") for cell in row) for row in rows)
    return "".join(f"| {line} |\n" for line in (header, "---|--:|--:", *body))


def table_3_latex(rows: Rows) -> str:
    """The same as a tabular that needs no package."""
    header, *body = (" & ".join(_latex(cell) for cell in row) + r" \\" for row in rows)
    return "\n".join([r"\begin{tabular}{lrr}", r"\hline", header, r"\hline", *body, r"\hline", r"\end{tabular}", ""])


def _latex(cell: str) -> str:
    """A cell with TeX's special characters escaped, and ranges with a dash of their own."""
    escaped = re.sub(r"([_%&#$])", r"\\\1", cell)
    return re.sub(r"(?<=\d)-(?=\d)", "--", escaped)
