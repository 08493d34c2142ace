"""What a run takes over from earlier ones (`warm_start`): copied into its own journal when it begins, and known to its
search. From then on the other folders are not needed, and not looked at."""
from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, Dict, List, Optional, Sequence, Tuple

from menndl_caffe.errors import UserError
from menndl_caffe.experiment import recorded
from menndl_caffe.experiment.experiment import Experiment
from menndl_caffe.experiment.recorded import Run
from menndl_caffe.genome import Genome
from menndl_caffe.journal import Journal
from menndl_caffe.objective import Costs, translated
from menndl_caffe.run.identity import features
from menndl_caffe.search import Problem
from menndl_caffe.text import say
from menndl_caffe.trial import INDIVIDUAL, STOPPED, Earlier, Result, Trial, Work

# What an accuracy depends on beside the genes, by the names that identity.features has.
MATTERS = ("net template", "solver template", "constant[", "max_iter", "data", "mean", "records", "fitness_set",
           "engine", "math")
NEW = ("mean", "records")  # of which older journals say nothing


def taken_over(experiment: Experiment, problem: Problem, journal: Journal, identity: Dict[str, Any]) -> List[Earlier]:
    """What a run knows of earlier ones: what its journal has, and if that was not yet finished the rest as well.

    UserError where a run is not there, is this one itself, or has nothing that fits; or where the copying was cut short
    and that run is another one now.
    """
    record, wanted = journal.record, experiment.message.warm_start
    if record.run and not record.lacking:
        return record.earlier
    promised: Dict[str, int] = record.run.get("earlier", {})
    # A journal only grows, so what was to be copied at the first start is still at the beginning of it.
    found = [one for i, folder in enumerate(wanted)
             for one in _of_run(experiment, i, problem, journal.run_dir, identity)[:promised.get(folder)]]
    if record.run and (len(found) != sum(promised.values()) or found[:len(record.earlier)] != record.earlier):
        raise UserError(f"{journal.run_dir} was stopped when it copied the individuals of {' and '.join(wanted)}, "
                        "which has others now; give another --out")
    return found


def begun_with(problem: Problem, enqueued: Sequence[Genome], earlier: Sequence[Earlier]) -> Problem:
    """The problem of a search that tries the enqueued first, then the best that it knows of earlier runs."""
    pairs: List[Tuple[Genome, Optional[Costs]]] = [(one.genome, problem.costs(one.result)) for one in earlier]
    pairs.sort(key=lambda pair: (pair[1] is None, pair[1] and pair[1][0]))
    best = [genome for genome, costs in pairs[:1] if costs is not None and genome not in enqueued]
    return replace(problem, first=[*enqueued, *best], earlier=pairs)


def _of_run(experiment: Experiment, i: int, problem: Problem, out: Path, identity: Dict[str, Any]) -> List[Earlier]:
    """The individuals of the i-th run of `warm_start` that this search can know, in the order of their results."""
    name, path = experiment.message.warm_start[i], ("warm_start", i)
    if Path(name).resolve() == out.resolve():
        raise experiment.document.error(path, f"{name} is this run itself; expected the folder of an earlier one")
    try:
        run = recorded.read(Path(name))
        differs = _differences(features(run.line, run.folder), features(identity, out))
    except UserError as error:
        raise experiment.document.error(path, str(error)) from None
    individuals = _individuals(run)
    fitting = [one for one in (_fitted(name, run, *pair, problem) for pair in individuals) if one is not None]
    if not fitting:
        raise experiment.document.error(path, f"{name}: none of its {len(individuals):,} individuals with a result "
                                              f"fits the genes of this search: {' '.join(problem.space.names)}")
    left_out = len(individuals) - len(fitting)
    stopped = sum(result.status == STOPPED for _, result in run.record.individuals())
    say(f"menndl run: warm_start {name}: {len(fitting):,} different individuals are known"
        + f", {left_out:,} are left out, whose genes or measures are not this search's" * bool(left_out)
        + f", {stopped:,} were stopped early and are not known" * bool(stopped))
    if differs:
        say(f"menndl run: warning: warm_start {name} may not compare: {'; '.join(differs)}")
    return fitting


def _individuals(run: Run) -> List[Tuple[Trial, Result]]:
    """Those that have a result, by its coming; of those of the same work the first. What a training had at a rung is
    not known as a result."""
    first: Dict[Work, Tuple[Trial, Result]] = {}
    for id, result in run.record.results.items():
        trial = run.record.trials[id]
        if trial.role == INDIVIDUAL and result.status != STOPPED:
            first.setdefault(trial.work, (trial, result))
    return list(first.values())


def _fitted(name: str, run: Run, trial: Trial, result: Result, problem: Problem) -> Optional[Earlier]:
    """An individual as this search knows it; None where its genes are others, or an objective was not measured."""
    try:
        measured = translated(result, run.objectives, problem.objectives)
        return Earlier.of(name, problem.space.adopted(trial.genome), measured)
    except (KeyError, ValueError):
        return None


def _differences(then: Dict[str, Any], now: Dict[str, Any]) -> List[str]:
    """What differs of that on which a result depends; what an older journal says nothing of is the same."""
    names = [name for name in {**then, **now}
             if name.startswith(MATTERS) and (name in then or not name.startswith(NEW))]
    return [f"its {name} is {then.get(name, 'not there')}, this one's is {now.get(name, 'not there')}"
            for name in names if then.get(name) != now.get(name)]
