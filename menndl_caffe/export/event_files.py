"""TensorBoard: `tensorboard --logdir RUN/export/tensorboard`. The only module that imports tensorboard.

TensorBoard wants a folder a training and shows a few dozen of them well. So the whole population is in statistics by
generation, and of single trainings there are the default's and those of the BEST different individuals.

    generations/best_so_far, best, mean, ...   "fitness" by generation, in one chart (Time Series, Scalars)
    generations                                the distribution of each gene by generation (Distributions, Histograms),
                                               the share of each choice, failures, stopped; what was searched (Text)
    trials/ID                                  accuracy, or another measure, and loss by iteration; genes and what the
                                               net costs (HParams); learned_decay/mean, lowest, highest by iteration,
                                               of a hypernet by step of the decays
    descents/NUMBER                            of a search along gradients, by step: loss, genes/NAME, and where it was
                                               trusted gradient/NAME

Of a search without generations the first two are by groups of individuals, and named so: `groups of 25`.
"""
from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any, Iterator, List, Optional, Sequence

from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.plugins.histogram.summary_v2 import histogram_pb
from tensorboard.plugins.hparams import metadata, plugin_data_pb2
from tensorboard.plugins.hparams import summary_v2 as hparams
from tensorboard.plugins.hparams.api_pb2 import STATUS_SUCCESS
from tensorboard.plugins.scalar.summary_v2 import scalar_pb
from tensorboard.plugins.text.summary_v2 import text_pb
from tensorboard.summary.writer.event_file_writer import EventFileWriter

from menndl_caffe.experiment.recorded import Run
from menndl_caffe.files import replacing
from menndl_caffe.genome import ChoiceGene, Gene, IntGene
from menndl_caffe.objective import LOSS, MEASURES
from menndl_caffe.report.descents import Descent, descents, leading
from menndl_caffe.report.summary import (
    Generation,
    best_trained,
    generations,
    has_gradients,
    members_of,
    of_role,
)
from menndl_caffe.text import printable
from menndl_caffe.trial import DEFAULT, Result, Trial

OPEN = "tensorboard --logdir '{0}'"
BEST = 30  # trainings and descents; with the other folders 39: from 41 on TensorBoard shows none until one is chosen
DESCENTS = 10  # of these


class Writer:
    """The event file of one folder."""

    def __init__(self, folder: Path):
        self._file = EventFileWriter(str(folder))

    def add(self, summary: Any, step: int, time: float) -> None:
        """Write a summary; `time` is in seconds since the epoch."""
        self._file.add_event(Event(summary=summary, step=step, wall_time=time))

    def close(self) -> None:
        """Write the rest."""
        self._file.close()


def write(run: Run, folder: Path) -> List[Path]:
    """The folder tensorboard/, new as a whole."""
    path = folder / "tensorboard"
    default = of_role(run, DEFAULT)
    trainings = [default] if default and not default[1].failed else []
    found = descents(run) if has_gradients(run) else []
    along = [found[place] for place in leading(found, DESCENTS)]
    trainings += best_trained(run)[:BEST - len(along)]
    names = dict.fromkeys((*MEASURES, *(objective.measure for objective in run.objectives)))
    measured = [name for name in names if name != run.curve_measure
                and any(name in result.measures for _, result in trainings)]
    with replacing(path) as aside:
        _write_generations(run, measured, aside / run.stages.plural)
        for trial, result in trainings:
            _write_trial(run.curve_measure, measured, trial, result, aside / "trials" / str(trial.id))
        for descent in along:
            _write_descent(descent, aside / "descents" / str(descent.number))
    return [path]


@contextlib.contextmanager
def _writer(folder: Path) -> Iterator[Writer]:
    with contextlib.closing(Writer(folder)) as writer:
        yield writer


def _write_generations(run: Run, measured: Sequence[str], folder: Path) -> None:
    summaries, members = generations(run), members_of(run)
    ends = {number: max(result.started + result.seconds for _, result in pairs) for number, pairs in members.items()}
    for name in ("best_so_far", "best", "upper_quartile", "median", "mean", "lower_quartile", "default"):
        with _writer(folder / name) as writer:
            for summary in summaries:
                value = _statistic(summary, run.record.default(), name)
                if value is not None:
                    writer.add(scalar_pb("fitness", value), summary.number, ends[summary.number])
    with _writer(folder) as writer:
        _write_about(run, measured, writer)
        for summary in summaries:
            time = ends[summary.number]
            writer.add(scalar_pb("individuals_failed", summary.failed), summary.number, time)
            if run.rungs:
                writer.add(scalar_pb("individuals_stopped", summary.stopped), summary.number, time)
            for i, gene in enumerate(run.space.genes):
                values = [trial.genome.values[i] for trial, _ in members[summary.number]]
                _write_gene(gene, values, writer, summary.number, time)


def _statistic(summary: Generation, default: Optional[Result], name: str) -> Optional[float]:
    lower, median, upper = summary.quartiles
    values = {"best_so_far": summary.best_so_far, "best": summary.best, "mean": summary.mean, "median": median,
              "lower_quartile": lower, "upper_quartile": upper,
              "default": default.fitness if default and not default.failed else None}
    return values[name]


def _write_about(run: Run, measured: Sequence[str], writer: Writer) -> None:
    """What was searched and with what, and the genes' ranges and the metrics for HParams."""
    lines = [f"{name}: {value}" for name, value in run.line.items() if name not in ("event", "search")]
    lines += ["", *run.line["search"].splitlines()]
    text = "\n".join(f"    {printable(line)}" for line in lines)  # Markdown for: as it stands
    writer.add(text_pb("run", text), 0, run.started)
    genes = [hparams.HParam(gene.name, _domain(gene)) for gene in run.space.genes]
    metrics = [hparams.Metric(name) for name in dict.fromkeys((run.curve_measure, LOSS, *measured))]
    writer.add(hparams.hparams_config_pb(genes, metrics, run.started), 0, run.started)


def _domain(gene: Gene) -> hparams.Domain:
    if isinstance(gene, ChoiceGene):
        return hparams.Discrete(gene.choices)
    return (hparams.IntInterval if isinstance(gene, IntGene) else hparams.RealInterval)(gene.minimum, gene.maximum)


def _write_gene(gene: Gene, values: List[Any], writer: Writer, step: int, time: float) -> None:
    """The distribution of a gene's values in one generation."""
    if not isinstance(gene, ChoiceGene):
        writer.add(histogram_pb(f"genes/{gene.name}", values), step, time)
        return
    for choice in gene.choices:
        writer.add(scalar_pb(f"genes/{gene.name}/{choice}", values.count(choice) / len(values)), step, time)


def _write_trial(measure: str, measured: Sequence[str], trial: Trial, result: Result, folder: Path) -> None:
    end = result.started + result.seconds
    with _writer(folder) as writer:
        writer.add(hparams.hparams_pb(trial.genome.as_dict(), str(trial.id), result.started), 0, result.started)
        for iteration, value, loss in result.curve:
            time = result.started + result.seconds * iteration / trial.max_iter  # roughly: it is not recorded
            for name, shown in {measure: value, LOSS: loss}.items():
                writer.add(scalar_pb(name, shown), iteration, time)
        for at, *decays in result.learned.get("curve", []):
            for name, decay in zip(("mean", "lowest", "highest"), decays):
                writer.add(scalar_pb(f"learned_decay/{name}", decay), at, end)
        for name in measured:
            if name in result.measures:
                writer.add(scalar_pb(name, result.measures[name]), trial.max_iter, end)
        writer.add(_session_end(end), trial.max_iter, end)


def _write_descent(descent: Descent, folder: Path) -> None:
    """The losses, genes and gradients of its steps."""
    with _writer(folder) as writer:
        for step, (trial, result) in enumerate(descent.steps, 1):
            loss = {} if result.loss is None else {LOSS: result.loss}
            genes = {f"genes/{name}": value for name, value in trial.genome.as_dict().items()
                     if not isinstance(value, str)}
            gradient = {f"gradient/{name}": value for name, value in result.gradient.items()}
            for name, value in {**loss, **genes, **gradient}.items():
                writer.add(scalar_pb(name, value), step, result.started + result.seconds)


def _session_end(time: float) -> Summary:
    """HParams' word for a training that has ended well (TensorBoard's own function for it needs TensorFlow)."""
    end = plugin_data_pb2.SessionEndInfo(status=STATUS_SUCCESS, end_time_secs=time)
    about = metadata.create_summary_metadata(plugin_data_pb2.HParamsPluginData(session_end_info=end))
    value = Summary.Value(tag=metadata.SESSION_END_INFO_TAG, metadata=about, tensor=metadata.NULL_TENSOR)
    return Summary(value=[value])
