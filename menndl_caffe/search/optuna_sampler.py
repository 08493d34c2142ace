"""Any sampler of the library Optuna, through its ask and tell, with the study in memory.

Optuna hears costs, to be minimized: of each individual when it is told, of a genome met before at once, and of a
failure the worst that was met in each objective. A failure waits for the first success, before which there is no worst.
It is not told as failed: Optuna leaves such trials out of its models, and GPSampler would propose them for ever.

A sampler's state is in the study, so a new one is made for each draw, with a seed of the run's and the draw's number.
Those that go through a sequence keep the first seed. When a run is resumed its draws are repeated, which for GPSampler
takes as long as they took.
"""
from __future__ import annotations

import contextlib
import inspect
import json
import warnings
from typing import Any, Dict, Iterator, List, Optional, Tuple

from menndl_caffe.errors import UserError, did_you_mean
from menndl_caffe.genome import ChoiceGene, Gene, Genome, IntGene
from menndl_caffe.objective import Costs
from menndl_caffe.search.search import Kind, Problem, Search, Wrong
from menndl_caffe.search.unrepeated import Unrepeated

SEEDS = 2**31 - 1
STARTUP = 10  # trials, after which samplers use their models: the default of those that wait for some
SEQUENCES = ("QMCSampler", "GridSampler")  # whose next point follows from the seed and a count
NUMBERS_ONLY = ("CmaEsSampler", "QMCSampler")  # which leave choices to chance


def _optuna() -> Any:
    try:
        import optuna
    except ImportError:
        raise UserError('type OPTUNA needs the package optuna: pip install "menndl_caffe[optuna]"') from None
    return optuna


class OptunaSampler:
    """Draws genomes as a sampler of Optuna does (see Sampler). A token is a trial of the study."""

    def __init__(self, problem: Problem, settings: Any):
        """`settings`: an OptunaParameter. UserError where the library is missing or the sampler is not for this."""
        self._optuna, self._problem, self._settings = _optuna(), problem, settings
        self._distributions = {gene.name: self._distribution(gene) for gene in problem.space.genes}
        self._worst: Optional[Costs] = None  # that was met, in each objective
        self._failed: List[Any] = []  # trials that wait for it
        with self._quiet():
            self._check()
            self._study = self._new_study()
            for genome, costs in problem.earlier:
                self._add(genome, costs or self._worst)

    def draw(self, number: int) -> Tuple[Genome, Any]:
        """See Sampler."""
        with self._quiet():
            self._study.sampler = self._sampler(number)
            return self._asked()

    def stand_in(self, token: Any, genome: Genome) -> Any:
        """See Sampler: the draw is forgotten."""
        with self._quiet():
            self._study.tell(token, state=self._optuna.trial.TrialState.FAIL)
        return self.injected(genome)

    def injected(self, genome: Genome) -> Any:
        """A trial as if this genome had been drawn."""
        with self._quiet():
            self._study.enqueue_trial(genome.as_dict())
            return self._asked()[1]

    def learn(self, token: Any, costs: Optional[Costs]) -> None:
        """See Sampler."""
        if costs is None:
            self._failed.append(token)
        else:
            self._note(costs)
            self._tell(token, costs)
        if self._worst is not None:
            while self._failed:
                self._tell(self._failed.pop(0), self._worst)

    def stuck(self) -> bool:
        """Nothing would come of more draws."""
        return False

    def _asked(self) -> Tuple[Genome, Any]:
        """The study's next trial."""
        trial = self._study.ask(self._distributions)
        space = self._problem.space
        return space.from_unit(space.to_unit(space.from_dict(trial.params))), trial

    def _add(self, genome: Genome, costs: Optional[Costs]) -> None:
        """An individual of an earlier run; the failed come last, and there may be no success before them."""
        if costs is not None:
            self._study.add_trial(self._optuna.trial.create_trial(
                params=genome.as_dict(), distributions=self._distributions, values=costs))
            self._note(costs)

    def _note(self, costs: Costs) -> None:
        self._worst = costs if self._worst is None else tuple(map(max, self._worst, costs))

    def _tell(self, trial: Any, costs: Costs) -> None:
        # Samplers that have been through all of a finite space stop the study, which is for others; it is told first.
        with self._quiet(), contextlib.suppress(RuntimeError):
            self._study.tell(trial, list(costs))

    def _new_study(self) -> Any:
        return self._optuna.create_study(directions=["minimize"] * len(self._problem.objectives),
                                         sampler=self._sampler(0))

    def _sampler(self, number: int) -> Any:
        name = self._settings.sampler
        seed = int(self._problem.rng(0 if name in SEQUENCES else number).randint(SEEDS))
        return getattr(self._optuna.samplers, name)(**_arguments(self._settings), seed=seed)

    def _check(self) -> None:
        """UserError unless the sampler can be made, and knows what is searched: tried on a study of its own."""
        name, samplers = self._settings.sampler, self._optuna.samplers
        classes = {key for key, value in vars(samplers).items() if inspect.isclass(value)
                   and issubclass(value, samplers.BaseSampler) and "seed" in inspect.signature(value).parameters}
        if name not in classes:
            raise UserError(f"type OPTUNA: optuna_param.sampler is {name!r}{did_you_mean(name, classes)}")
        choices = [gene.name for gene in self._problem.space.genes if isinstance(gene, ChoiceGene) and gene.size > 1]
        if name in NUMBERS_ONLY and choices:
            raise UserError(f"type OPTUNA: {name} knows numbers only and would draw {', '.join(choices)} by chance; "
                            "type CMA_ES knows choices, as do TPESampler, GPSampler and NSGAIISampler")
        try:
            study = self._new_study()
            for number in range(STARTUP):
                study.tell(study.ask(self._distributions), [float(number)] * len(self._problem.objectives))
            study.ask(self._distributions)
        except RuntimeError:
            pass  # the whole of a small space was gone through
        except (TypeError, ValueError, ImportError, NotImplementedError) as error:
            raise UserError(f"type OPTUNA: {name} with arguments {self._settings.arguments} cannot search this: "
                            f"{error}") from None

    def _distribution(self, gene: Gene) -> Any:
        kinds = self._optuna.distributions
        if isinstance(gene, ChoiceGene):
            return kinds.CategoricalDistribution(gene.choices)
        if isinstance(gene, IntGene):
            return kinds.IntDistribution(gene.minimum, gene.minimum + gene.step * (gene.size - 1), step=gene.step)
        return kinds.FloatDistribution(gene.minimum, gene.maximum, log=gene.log)

    @contextlib.contextmanager
    def _quiet(self) -> Iterator[None]:
        """Without what Optuna says of every trial and of samplers that are experimental."""
        logging = self._optuna.logging
        verbosity = logging.get_verbosity()
        logging.set_verbosity(logging.ERROR)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                yield
        finally:
            logging.set_verbosity(verbosity)


def _arguments(settings: Any) -> Dict[str, Any]:
    """ValueError where they are no JSON object."""
    arguments = json.loads(settings.arguments)
    if not isinstance(arguments, dict):
        raise ValueError
    return arguments


def check(settings: Any) -> Iterator[Wrong]:
    """What is wrong with an OptunaParameter, as far as one can say without Optuna."""
    try:
        if "seed" in _arguments(settings):
            yield "arguments", settings.arguments, "no seed: random_seed is the run's"
    except ValueError:
        yield "arguments", repr(settings.arguments), """a JSON object, such as '{"multivariate": true}'"""


def make(problem: Problem, settings: Any) -> Search:
    """UserError where Optuna is missing or its sampler is not for this search."""
    return Unrepeated(problem, OptunaSampler(problem, settings))


KIND = Kind(make, "optuna_param", check, limited=True, several=True)
