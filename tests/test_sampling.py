"""Random search: each individual is drawn anew, uniform in every gene's own scale, and depends on nothing else."""
from __future__ import annotations

from collections import Counter
from itertools import count
from types import SimpleNamespace
from typing import List, Optional

import pytest

from menndl_caffe.errors import UserError
from menndl_caffe.genome import ChoiceGene, Gene, Genome, IntGene, RealGene, SearchSpace
from menndl_caffe.search import OtherTrial, Problem
from menndl_caffe.search.sampling import Grid, RandomSearch
from menndl_caffe.trial import Result, Trial

SPACE = SearchSpace((IntGene("kernel", 1, 9, 2, 5), ChoiceGene("pool", ("MAX", "AVE"), "MAX"),
                     RealGene("rate", 1e-5, 1e-1, True, 1e-3)))


def search(seed: int = 1) -> RandomSearch:
    ids = count(1)

    def new_trial(genome: Genome, generation: Optional[int]) -> Trial:
        return Trial(next(ids), genome, 7, 10, generation)

    return RandomSearch(Problem(SPACE, seed, new_trial))


def ask(of: RandomSearch, n: int) -> List[Trial]:
    asked = (of.ask() for _ in range(n))
    return [trial for trial in asked if trial is not None]


def test_every_gene_is_uniform_in_its_own_scale() -> None:
    genomes = [trial.genome.as_dict() for trial in ask(search(), 5000)]
    kernels, pools = (Counter(genome[name] for genome in genomes) for name in ("kernel", "pool"))
    decades = Counter(int(f"{float(genome['rate']):.5e}".split("e")[1]) for genome in genomes)
    # Binomial(5000, p): 4.5 standard deviations
    assert sorted(kernels) == [1, 3, 5, 7, 9] and all(abs(n - 1000) < 128 for n in kernels.values()), kernels
    assert all(abs(n - 2500) < 160 for n in pools.values()), pools
    assert sorted(decades) == [-5, -4, -3, -2] and all(abs(n - 1250) < 138 for n in decades.values()), decades


def test_individuals_are_independent() -> None:
    """Pairs of consecutive kernels are as frequent as chance has it."""
    kernels = [trial.genome.values[0] for trial in ask(search(2), 5001)]
    pairs = Counter(zip(kernels, kernels[1:]))
    assert len(pairs) == 25 and all(abs(n - 200) < 63 for n in pairs.values()), pairs


def test_what_is_told_changes_nothing_and_each_seed_is_another_search() -> None:
    one, other = search(), search()
    first = ask(one, 3)
    for trial in first:
        one.tell(trial, Result(trial.id, "ok", 0.5))
    assert ask(one, 5) == ask(other, 8)[3:]
    assert [trial.genome for trial in ask(search(2), 8)] != [trial.genome for trial in ask(search(), 8)]
    assert (one.total, one.generations, one.finished) == (None, None, False)


def test_a_recorded_trial_is_the_next_or_of_another_search() -> None:
    recorded = ask(search(), 4)
    again = search()
    for trial in recorded[:3]:
        again.asked(trial)
    assert again.ask() == recorded[3]
    with pytest.raises(OtherTrial):
        search().asked(recorded[1])


@pytest.mark.parametrize("genes, said", [
    ([IntGene("seed", 0, 2**31, 1, 0)], "every value of gene seed, which has 2147483649; expected 100000 at most"),
    ([RealGene(f"r{i}", 0.0, 1.0, False, 0.0) for i in range(310)], "more than 1e.300 combinations"),
])
def test_a_grid_that_nobody_can_count_is_refused(genes: List[Gene], said: str) -> None:
    problem = Problem(SearchSpace(tuple(genes)), 1, lambda genome, generation: Trial(1, genome, 7, 10, generation))
    with pytest.raises(UserError, match=said):
        Grid(problem, SimpleNamespace(levels=10))
