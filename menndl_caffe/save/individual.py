"""An individual of a run trained once more, and its files written."""
from __future__ import annotations

import contextlib
import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any, Callable, Iterator, Tuple

from menndl_caffe.errors import UserError
from menndl_caffe.experiment import recorded
from menndl_caffe.experiment.adaptive import LEARNED, TRIALS
from menndl_caffe.experiment.appraise import subtracts_mean
from menndl_caffe.experiment.recorded import Run
from menndl_caffe.experiment.render import Rendered
from menndl_caffe.experiment.sources import datum_shape, sources
from menndl_caffe.files import staging
from menndl_caffe.nets import prototxt
from menndl_caffe.nets.shapes import ImpossibleNet, UnknownShape
from menndl_caffe.report.summary import chosen, trainings
from menndl_caffe.run.launch import Parts
from menndl_caffe.save.deploy import deploy
from menndl_caffe.save.readme import Saved, difference, measured_text, readme
from menndl_caffe.trial import Result, Trial

WEIGHTS, DEPLOY, MEAN, README = "weights.caffemodel", "deploy.prototxt", "mean.binaryproto", "README.md"
Say = Callable[[str], None]


def save(source: Path, folder: Path, rank: int, data: Any, say: Say) -> str:
    """Train the individual of this rank (1: the best) of a run's folder again and write its files; what came of it, in
    words.

    UserError where there is no such individual, where `folder` is not new, and where templates or data are missing or
    are not those of the run. `folder` appears when all of it is there.
    """
    run = recorded.read(source)
    trial, result = _chosen(run, rank)
    with _new(folder) as aside:
        parts = Parts.of_run(run, data)
        rendered = _write_files(parts, trial, aside)
        no_deploy = _write_deploy(rendered, aside)
        again = _train(parts, trial, result, run, aside / WEIGHTS, say)
        saved = Saved(run, rank, trial, result, again, rendered, parts.versions(), no_deploy)
        (aside / README).write_text(readme(saved), encoding="utf-8")
    return f"{folder}: {', '.join(sorted(path.name for path in folder.iterdir()))}\n{difference(saved)}"


def _chosen(run: Run, rank: int) -> Tuple[Trial, Result]:
    ranked = chosen(run)
    if rank > len(ranked):
        few = f"only {len(ranked)} different individuals have" if ranked else "no individual has"
        if ranked and len(run.objectives) > 1:
            raise UserError(f"{run.folder}: the front has {len(ranked)} individuals, so there is none of rank {rank}")
        raise UserError(f"{run.folder}: {few} succeeded so far, so there is none of rank {rank}")
    return ranked[rank - 1]


@contextlib.contextmanager
def _new(folder: Path) -> Iterator[Path]:
    """A folder beside `folder`, which becomes it in the end."""
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        raise UserError(f"--save {folder}: exists; expected a folder that is new or empty")
    with contextlib.ExitStack() as stack:
        try:
            name = f".{folder.absolute().name}.partial"
            aside = stack.enter_context(staging(folder.absolute().with_name(name)))
        except OSError as error:
            raise UserError(f"--save {folder}: cannot write {error.filename}: {error.strerror}") from None
        yield aside
        os.replace(aside, folder)


def _write_files(parts: Parts, trial: Trial, folder: Path) -> Rendered:
    """Net and solver for commands started in the folder, and the mean beside them, if the net subtracts one."""
    where = sources(parts.experiment, trial.role)
    rendered = parts.renderer.render(trial, replace(where, mean=f"./{MEAN}"), ".")
    rendered.write(folder)
    if subtracts_mean(rendered.net.message):
        shutil.copyfile(where.mean, folder / MEAN)
    return rendered


def _write_deploy(rendered: Rendered, folder: Path) -> str:
    """Write the deploy net; why there is none, if so."""
    try:
        text = prototxt.dumps(deploy(rendered.net.message, datum_shape))
    except (ImpossibleNet, UnknownShape) as error:
        return str(error)
    (folder / DEPLOY).write_text(text, encoding="utf-8")
    return ""


def _train(parts: Parts, trial: Trial, before: Result, run: Run, weights: Path, say: Say) -> Result:
    """Train as the run did, plainly where that was for a gradient, with every test pass told beside the recorded one.
    """
    first = trainings(run, trial)
    say(f"training individual {trial.id} once more: {trial.genome}, {trial.max_iter:,} iterations, engine "
        f"{parts.engine.name}; the first time took {sum(one.seconds for one in first):.0f} seconds on "
        + ", ".join(dict.fromkeys(one.host for one in first)))
    recorded = {iteration: (value, loss) for iteration, value, loss in before.curve}
    evaluator = parts.evaluator(run=weights.parent)
    with contextlib.closing(evaluator):
        evaluator.start(replace(trial.plain, continues=None), ".", weights)
        told, result = 0, None
        while result is None:
            result = evaluator.poll(1.0)
            for iteration, value, loss in evaluator.curve[told:]:
                measured = measured_text(run.curve_measure, value, loss)
                say(f"iteration {iteration:,} of {trial.max_iter:,}: {measured}"
                    + _recorded(run.curve_measure, recorded.get(iteration), (value, loss)))
            told = len(evaluator.curve)
    if result.failed:
        raise SystemExit(f"menndl best: individual {trial.id} did not succeed this time: {result.status}: "
                         f"{result.reason}; nothing was written")
    if not weights.exists():
        raise UserError(f"the trainer ({parts.engine.found}) wrote no weights to {weights}: it is of another version, "
                        "or in a container that does not see this folder; nothing was written")
    if result.learned:
        os.replace(weights.parent / TRIALS / str(trial.id) / LEARNED, weights.with_name(LEARNED))
        shutil.rmtree(weights.parent / TRIALS)
    return result


def _recorded(measure: str, before: Any, now: Tuple[float, float]) -> str:
    if before is None:
        return ""
    return " (as recorded)" if before == now else f" (recorded: {measured_text(measure, *before)})"
