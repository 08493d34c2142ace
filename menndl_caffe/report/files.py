"""RUN/report: tables as text and CSV, and the figure: `menndl report`."""
from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Dict, Iterator, List, Sequence

from menndl_caffe.errors import UserError
from menndl_caffe.journal import Record
from menndl_caffe.report.best import best_dict, best_text
from menndl_caffe.report.summary import Generation, counted, fitness_set, generations, searched
from menndl_caffe.report.tables import as_csv, fixed
from menndl_caffe.trial import DEFAULT, TEST

BEST = 5  # individuals in best.txt and best.csv, as in the paper's Table 3


def write_report(run: Path, record: Record) -> List[Path]:
    """Write all tables and figures of a run's record; the paths of what was written.

    UserError where there is no result yet, where RUN cannot be written, and, after the tables, where matplotlib is
    missing.
    """
    message, space = searched(record)
    summaries = generations(record)
    if not summaries:
        raise UserError(f"{run}: no individual has a result yet, so there is nothing to report; "
                        f"`menndl status {run}` says how far it is")
    tables = {"best.txt": best_text(record, BEST) + "\n", "best.csv": _best_csv(record),
              "individuals.csv": _individuals_csv(record, space.names), "generations.csv": _generations_csv(summaries)}
    written = _write(run / "report", {name: text.encode() for name, text in tables.items()})
    return written + _write(run / "report", _figures(run, record, summaries, fitness_set(message)))


def _write(folder: Path, contents: Dict[str, bytes]) -> List[Path]:
    """Write each file aside and rename it, so that nobody ever sees half of one."""
    try:
        folder.mkdir(exist_ok=True)
        for name, content in contents.items():
            aside = folder / f".{name}.{os.getpid()}"
            aside.write_bytes(content)
            os.replace(aside, folder / name)
    except OSError as error:
        raise UserError(f"cannot write {error.filename or folder}: {error.strerror or error}") from None
    return [folder / name for name in contents]


def _figures(run: Path, record: Record, summaries: Sequence[Generation], images: str) -> Dict[str, bytes]:
    try:
        from menndl_caffe.report import figures
    except ImportError as error:
        raise UserError(f"the tables are in {run / 'report'}, but figures need matplotlib ({error}): "
                        "`pip install 'menndl_caffe[report]'`") from None
    return {f"fitness.{kind}": figures.fitness(kind, summaries, record.run["generations"], record.default(), images)
            for kind in ("png", "svg")}


def _best_csv(record: Record) -> str:
    best = best_dict(record, BEST)
    rows = [(str(place), row) for place, row in enumerate(best["best"], 1)]
    rows += [(role, best[role]) for role in (DEFAULT, TEST) if best[role]]
    return as_csv(["place", "id", "generation", "status", *(gene["gene"] for gene in best["genes"]),
                   "accuracy", "loss", "seconds"],
                  ([place, row["id"], row["generation"], row["status"], *row["genes"].values(),
                    fixed(row["accuracy"]), fixed(row["loss"]), fixed(row["seconds"], 3)] for place, row in rows))


def _individuals_csv(record: Record, genes: Sequence[str]) -> str:
    def rows() -> Iterator[List[Any]]:
        for trial, result in record.individuals():
            yield [trial.id, counted(trial.generation), result.status, fixed(result.fitness), fixed(result.loss),
                   *trial.genome.values, fixed(result.seconds, 3), fixed(result.started, 3), result.rank, result.host,
                   result.same_as, result.reason]

    return as_csv(["id", "generation", "status", "fitness", "loss", *genes,
                   "seconds", "started", "rank", "host", "same_as", "reason"], rows())


def _generations_csv(summaries: Sequence[Generation]) -> str:
    return as_csv(["generation", "evaluated", "best", "mean", "median", "failed", "best_so_far"],
                  ([row.number, row.evaluated, fixed(row.best), fixed(row.mean), fixed(row.quartiles[1]), row.failed,
                    fixed(row.best_so_far)] for row in summaries))
