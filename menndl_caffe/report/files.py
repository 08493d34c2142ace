"""RUN/report, or another folder: one page, tables as text, CSV, Markdown and LaTeX, and figures as PNG, SVG and PDF.

| figure                | in the paper | its data                |
|---|---|---|
| network, network_best | Figure 1     | network.csv, network_best.csv |
| parallel_coordinates  | Figure 2     | individuals.csv         |
| genes                 | Figure 3     | genes.csv               |
| fitness               |              | generations.csv         |
| front                 |              | individuals.csv         |
| paths                 |              | descents.csv            |
| decays                |              | decays.csv, RUN/trials/ID/learned.npz |
"""
from __future__ import annotations

import functools
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, Mapping, Optional, Sequence, Tuple, Union

from menndl_caffe.errors import UserError
from menndl_caffe.experiment.recorded import Run, Stages, counted, seconds
from menndl_caffe.files import replacing, unlinked
from menndl_caffe.objective import LOSS, MEASURES, Objective
from menndl_caffe.report.best import best_dict, best_text, cell, shown
from menndl_caffe.report.boxes import Spread, spreads, spreads_csv
from menndl_caffe.report.confirmation import confirmation
from menndl_caffe.report.decays import Decays, best_decays, decays_csv
from menndl_caffe.report.descents import descents, descents_csv
from menndl_caffe.report.nets import Nets
from menndl_caffe.report.network import Layer, network, network_csv
from menndl_caffe.report.page import page
from menndl_caffe.report.summary import (
    Generation,
    best_trained,
    generations,
    has_gradients,
    learns_decays,
    told_fitness,
)
from menndl_caffe.report.table_3 import Costs, costs_of, table_3, table_3_csv, table_3_latex, table_3_markdown
from menndl_caffe.report.verdict import confirmed_csv
from menndl_caffe.text import as_csv, fixed, printable, say
from menndl_caffe.trial import BESIDE, DEFAULT

PAGE, COMPARISON = "report.html", "comparison.html"
Note = Callable[[str], None]


def write_report(run: Run, note: Note = say, folder: Optional[Path] = None) -> List[Path]:
    """Write the page, all tables and figures of a run into `folder`, without one into RUN/report; the paths of what
    was written, the page's first. `note` is told what could not be shown, and why.

    UserError where there is no result yet, where the folder cannot be written, and, after page and tables, where
    matplotlib is missing.
    """
    folder = folder or _own(run.folder)
    stages, summaries = run.stages, generations(run)
    if not summaries:
        raise UserError(f"{run.folder}: no individual has a result yet, so there is nothing to report; "
                        f"`menndl status {run.folder}` says how far it is")
    nets = Nets(run)
    networks = _networks(nets, run)
    boxes = spreads(run)
    tables = {**_tables(run, nets), "generations.csv": _generations_csv(run, summaries, stages.name),
              "genes.csv": spreads_csv(boxes, stages.name),
              **{f"{name}.csv": network_csv(layers) for name, layers in networks.items()}}
    texts = {PAGE: page([run]), **{name: printable(text, lines=True) for name, text in tables.items()}}
    written = [_write(folder, name, text) for name, text in texts.items()]
    for text in _notes(run, nets, networks):
        note(text)
    figures = _figures(folder, run, stages, summaries, boxes, networks, best_decays(run, nets))
    return written + [_write(folder, name, content) for name, content in figures]


def write_comparison(runs: Sequence[Run], folder: Optional[Path] = None) -> Path:
    """Write the page that compares runs into `folder`, without one into the first run's RUN/report. UserError where
    that cannot be written."""
    return _write(folder or _own(runs[0].folder), COMPARISON, page(runs))


def _own(run: Path) -> Path:
    try:
        return unlinked(run, "report")
    except OSError as error:
        raise UserError(f"{error.filename} {error.strerror}; --out DIR takes another folder") from None


def _write(folder: Path, name: str, content: Union[str, bytes]) -> Path:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with replacing(folder / name) as aside:
            aside.write_bytes(content.encode(errors="backslashreplace") if isinstance(content, str) else content)
    except OSError as error:
        raise UserError(f"cannot write {error.filename or folder}: {error.strerror or error}") from None
    return folder / name


def _figures(folder: Path, run: Run, stages: Stages, summaries: Sequence[Generation],
             boxes: Mapping[str, Sequence[Spread]], networks: Mapping[str, List[Layer]], decays: Sequence[Decays]
             ) -> Iterator[Tuple[str, bytes]]:
    """Name and content of every figure's files, made one after the other."""
    try:
        from menndl_caffe.report import figures
    except ImportError as error:
        raise UserError(f"page and tables are in {folder}, but figures need matplotlib ({error}): "
                        "`pip install 'menndl_caffe[report]'`") from None
    default = run.record.default()
    draw = figures.files_of
    yield from draw("fitness", lambda: figures.fitness_figure(run, summaries, stages, default))
    yield from draw("genes", lambda: figures.genes_figure(boxes, run.space, stages))
    yield from draw("parallel_coordinates", lambda: figures.parallel_figure(run))
    if len(run.objectives) > 1:
        yield from draw("front", lambda: figures.front_figure(run))
    if has_gradients(run):
        yield from draw("paths", lambda: figures.paths_figure(run, descents(run)))
    if decays:
        yield from draw("decays", lambda: figures.decays_figure(run, decays))
    for name, layers in networks.items():
        yield from draw(name, functools.partial(figures.network_figure, layers))


def _networks(nets: Nets, run: Run) -> Dict[str, List[Layer]]:
    """Figure 1 of the default, and of the best individual if there is one yet; those whose nets are to be had."""
    default = next((trial for trial in run.record.trials.values() if trial.role == DEFAULT),
                   run.experiment.trial(0, run.space.default, role=DEFAULT))
    best = next((trial for trial, _ in best_trained(run)), None)
    drawn = {"network": network(nets, default, best)}
    if best is not None:
        drawn["network_best"] = network(nets, best, default)
    return {name: layers for name, layers in drawn.items() if layers}


def _notes(run: Run, nets: Nets, networks: Mapping[str, List[Layer]]) -> Iterator[str]:
    """What a reader would miss, one line each."""
    if nets.changed and networks:
        yield (f"network: drawn from the run's trials/, and what differs between default and best is marked, since the "
               f"templates cannot tell which values the genes set: {nets.changed}")
    elif not networks:
        yield f"network: not drawn: {nets.changed or 'its template cannot be rendered'}, and trials/ has no net of it"
    if any(layer.output is None for layer in networks.get("network", [])[:1]):
        why = "the net has layers whose shapes Caffe alone knows" if nets.image else \
            f"the journal does not tell the shape of the images, and no database is in {run.line.get('data_folder')}"
        yield f"network: shapes, parameters and multiply-adds are unknown: {why}"


def _tables(run: Run, nets: Nets) -> Dict[str, str]:
    """Names and texts of the tables of single individuals."""
    best, confirmed = best_dict(run), confirmation(run)
    costs = costs_of(best, run, nets)
    rows = table_3(run, best, costs)
    return {"best.txt": best_text(run) + "\n", "best.csv": _best_csv(run, best, costs),
            "table_3.csv": table_3_csv(rows), "table_3.md": table_3_markdown(rows), "table_3.tex": table_3_latex(rows),
            "individuals.csv": _individuals_csv(run),
            **({"confirmed.csv": confirmed_csv(confirmed)} if confirmed else {}),
            **({"descents.csv": descents_csv(run, descents(run))} if has_gradients(run) else {}),
            **({"decays.csv": decays_csv(run)} if learns_decays(run) else {})}


def _best_csv(run: Run, best: Dict[str, Any], costs: Costs) -> str:
    measured = [objective for objective in shown(run, Objective(LOSS)) if objective.measure not in MEASURES]
    rows = [(str(place), row) for place, row in enumerate(best["best"], 1)]
    rows += [(role, best[role]) for role in BESIDE if best.get(role)]
    return as_csv(["place", "id", "generation", "status", *(gene["gene"] for gene in best["genes"]),
                   *(objective.measure for objective in measured), "seconds", *MEASURES],
                  ([place, row["id"], row["generation"], row["status"], *row["genes"].values(),
                    *(objective.digits(cell(row, objective)) for objective in measured), fixed(row["seconds"], 3),
                    *map(costs[row["id"]].get, MEASURES)] for place, row in rows))


def _individuals_csv(run: Run) -> str:
    """With `front`, 1 or 0, and what further objectives measure, where there are such; and in a search with rungs with
    `iterations`, up to where each was trained. `seconds` are those of all its rungs."""
    several = len(run.objectives) > 1
    front = {trial.id for trial, _ in run.front()} if several else set()
    further = [one for one in run.objectives[1:] if one.measure not in (LOSS, *MEASURES)]

    def rows() -> Iterator[List[Any]]:
        for trial, result in run.record.individuals():
            yield [trial.id, counted(trial.generation), result.status, run.fitness.digits(told_fitness(run, result)),
                   fixed(result.loss), *trial.genome.values, *map(result.measures.get, MEASURES),
                   *(one.digits(result.measures.get(one.measure)) for one in further),
                   *([int(trial.id in front)] if several else []),
                   *([trial.end] if run.rungs else []), fixed(seconds(run.record, trial), 3),
                   fixed(result.started, 3), result.rank, result.host, result.same_as, result.reason]

    return as_csv(["id", "generation", "status", "fitness", "loss", *run.space.names, *MEASURES,
                   *(one.measure for one in further), *(["front"] if several else []),
                   *(["iterations"] if run.rungs else []),
                   "seconds", "started", "rank", "host", "same_as", "reason"], rows())


def _generations_csv(run: Run, summaries: Sequence[Generation], unit: str) -> str:
    digits = run.fitness.digits
    return as_csv([unit, "evaluated", "best", "mean", "lower_quartile", "median", "upper_quartile", "failed",
                   *(["stopped"] if run.rungs else []), "best_so_far"],
                  ([row.number, row.evaluated, digits(row.best), digits(row.mean), *map(digits, row.quartiles),
                    row.failed, *([row.stopped] if run.rungs else []), digits(row.best_so_far)] for row in summaries))
