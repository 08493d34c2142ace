"""What a journal says, as every reader gets it."""
from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Dict, Iterator, List, NamedTuple, Optional, Set, Tuple, Union

from menndl_caffe.genome import Genome
from menndl_caffe.objective import BY_ACCURACY, Objective
from menndl_caffe.trial import DEFAULT, INDIVIDUAL, Earlier, Result, Trial


class Given(NamedTuple):
    """To which rank a trial was given last, and when, in seconds since the epoch."""

    rank: int
    time: float


@dataclass
class Record:
    """What a journal says: the run's first line, what it knows of earlier runs, its trials and their results by id, in
    the order of their coming, who trains what, and the lines of those who went on with the run. `calls` has trials and
    results as they interleave. `ended` is after how many hours the search was said to be over, None where it was not.
    `begun` is how many individuals were handed out, whether they have a result or not, and `iterations` are those that
    were given to them, up to where their last trials end.
    """

    run: Dict[str, Any] = field(default_factory=dict)
    trials: Dict[int, Trial] = field(default_factory=dict)
    results: Dict[int, Result] = field(default_factory=dict)
    resumes: List[Dict[str, Any]] = field(default_factory=list)
    given: Dict[int, Given] = field(default_factory=dict)  # by trial; not those that were answered without training
    handings: List[Tuple[int, Given, int]] = field(default_factory=list)  # all, each after so many results
    calls: List[Union[Trial, Result]] = field(default_factory=list)
    earlier: List[Earlier] = field(default_factory=list)
    ended: Optional[float] = None
    begun: int = 0
    iterations: int = 0
    continued: Set[Optional[int]] = field(default_factory=set)  # trials with which others go on
    undecided: List[int] = field(default_factory=list)  # that came to a rung, and no line says yet what became of them

    @property
    def lacking(self) -> int:
        """How many individuals of earlier runs the first line promises that do not follow."""
        return sum(self.run.get("earlier", {}).values()) - len(self.earlier)

    def own_iterations(self, trial: Trial) -> int:
        """Iterations of a trial, but for those of the one that it continues."""
        return trial.end - (0 if trial.continues is None else self.trials[trial.continues].end)

    def decide(self, trial: Trial) -> None:
        """Take note that this individual was begun or is gone on with: a search has decided by then about all at rungs
        that it had heard of before, up to the one that goes on."""
        if trial.continues is None:
            self.undecided.clear()
        elif trial.continues in self.undecided:
            del self.undecided[:self.undecided.index(trial.continues) + 1]

    def individuals(self) -> Iterator[Tuple[Trial, Result]]:
        """The evaluated members of the population, by id; of one that went from rung to rung, its last trial. One that
        goes on has no result yet."""
        for id in sorted(self.results):
            if self.trials[id].role == INDIVIDUAL and id not in self.continued:
                yield self.trials[id], self.results[id]

    def chain(self, trial: Trial) -> List[Trial]:
        """The trials of an individual from its first rung up to this one."""
        chain = [trial]
        while chain[-1].continues is not None:
            chain.append(self.trials[chain[-1].continues])
        return chain[::-1]

    def seconds(self, trial: Trial) -> float:
        """That an individual was trained up to the result of this trial; what another one's trainings took is no part
        of it."""
        return sum(self.results[one.id].seconds for one in self.chain(trial) if one.id in self.results)

    def default(self) -> Optional[Result]:
        """The result of the network that the search starts from."""
        ids = (id for id, trial in self.trials.items() if trial.role == DEFAULT and id in self.results)
        return next((self.results[id] for id in ids), None)

    def best(self, n: int = 1, objective: Objective = BY_ACCURACY) -> List[Tuple[Trial, Result]]:
        """The n fittest different individuals, fittest first; of equals the one met first; then those that were stopped
        early, and in the end those that failed."""
        ranked = sorted(self.individuals(), key=lambda pair: objective.rank_key(pair[1]))
        first: Dict[Genome, Tuple[Trial, Result]] = {}
        for trial, result in ranked:
            first.setdefault(trial.genome, (trial, result))
        return list(first.values())[:n]
