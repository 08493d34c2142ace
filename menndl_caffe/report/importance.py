"""Which hyper-parameter mattered: the share of the accuracy's variance that one gene explains alone.

| symbol | meaning |
|---|---|
| y_i | accuracy of individual i, n of them, all different and trained to their ends |
| k | a value of the gene, or a bin of neighbouring values; K of them, n_k individuals in each |
| eta^2 | correlation ratio (Pearson 1905): sum_k n_k (mean_k(y) - mean(y))^2 / sum_i (y_i - mean(y))^2 |
| epsilon^2 | the same less what chance gives (Kelley 1935): 1 - (1 - eta^2) (n - 1) / (n - K) |

A gene without effect has eta^2 ~ Beta((K - 1) / 2, (n - K) / 2) where the accuracies are normal: its mean
(K - 1) / (n - 1) is why eta^2 alone flatters genes of many values, its spread is the `noise` of epsilon^2.

What it is not: genes that matter only together show nothing here, and an evolutionary search tries what did well again
and again, so that its genes vary together and their shares may add up to more than 1.
"""
from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, List, Sequence

import numpy as np

from menndl_caffe.experiment.recorded import Run
from menndl_caffe.genome import Gene
from menndl_caffe.report.summary import best_trained

BINS = 10  # at most so many bins of a gene
IN_A_BIN = 5  # individuals, on average and at least


@dataclass(frozen=True)
class Importance:
    """What one gene explains alone."""

    gene: str
    share: float  # epsilon^2, in [0, 1]: below 0, which is chance, counts as 0
    noise: float  # standard deviation of epsilon^2 if the gene had no effect
    ratio: float  # eta^2, in [0, 1]
    bins: int  # K
    individuals: int  # n

    @property
    def is_clear(self) -> bool:
        """Whether chance alone would rarely, about once in forty, give so much."""
        return self.share > 2 * self.noise


def importance(run: Run) -> List[Importance]:
    """Every gene's share in gene order; empty where the individuals are too few, or all equally good, to tell."""
    trained = best_trained(run)
    accuracy = np.array([result.fitness for _, result in trained])
    if len(accuracy) < 2 * IN_A_BIN or np.ptp(accuracy) == 0:
        return []
    columns = zip(*(trial.genome.values for trial, _ in trained))
    return [explained(gene, values, accuracy) for gene, values in zip(run.space.genes, columns)]


def explained(gene: Gene, values: Sequence[Any], accuracy: Any) -> Importance:
    """Of n values of a gene and the accuracies, shape (n,), that came with them; n is 2 IN_A_BIN or more."""
    bin_of = bins(np.array([gene.to_unit(value) for value in values]))
    n, counts = len(accuracy), np.bincount(bin_of)
    k = len(counts)
    means = np.bincount(bin_of, weights=accuracy) / counts
    deviation = accuracy - accuracy.mean()
    ratio = float((counts * (means - accuracy.mean()) ** 2).sum() / (deviation ** 2).sum())
    ratio = min(max(ratio, 0.0), 1.0)
    share = 1 - (1 - ratio) * (n - 1) / (n - k)
    spread = math.sqrt(2 * (k - 1) * (n - k) / (n + 1)) / (n - 1)
    return Importance(gene.name, max(share, 0.0), spread * (n - 1) / (n - k), ratio, k, n)


def bins(positions: Any) -> Any:
    """The bin 0 ... K-1 of each position, shape (n,): one a value where every value is met often enough, else
    neighbouring values together, so that bins are about equally full. No bin is empty."""
    values, value_of, counts = np.unique(positions, return_inverse=True, return_counts=True)
    most = max(2, min(BINS, len(positions) // IN_A_BIN))
    if len(values) <= most:
        return value_of
    middle = (np.cumsum(counts) - counts / 2) / len(positions)  # of each value in the order of all, in (0, 1)
    joined = np.minimum((middle * most).astype(int), most - 1)
    return np.unique(joined, return_inverse=True)[1][value_of]
