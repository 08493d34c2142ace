"""CHOLESKY: the hypergradient of least squares, by back-propagation through the solution itself (Bengio 2000).

| symbol | here | meaning |
|---|---|---|
| w, n | `Solution.weights` | the weights, shape (n,) |
| A, b | `matrix`, `right` | the training loss is w'A w / 2 - b'w + constant |
| d, D | `decay` | the decay of each weight, shape (n,), and the matrix with d on its diagonal |
| R | `Solution.factor` | lower triangular, R R' = A + D |
| u | `Solution.half` | R' w, shape (n,) |
| E(w), E_x | `by_...` | the validation loss, and its derivative with respect to x |

Forward, R column after column:

    R_ii = sqrt(M_ii - sum_{k<i} R_ik^2)              (1)   M = A + D
    R_ji = (M_ji - sum_{k<i} R_jk R_ik) / R_ii        (2)   j > i
    R u = b                                           (3)
    R' w = u                                          (4)

Backward, each in turn, E_R lower triangular and starting at 0:

    R E_u = E_w,      E_R -= w E_u'                                                                (4')
    R' E_b = E_u,     E_R -= E_b u'                                                                (3')
    and column after column from the last one, with f_j = E_R,ji / R_ii:
    E_R,ii -= f_j R_ji,     E_R,jk -= f_j R_ik,     E_R,ik -= f_j R_jk     for all j > i, k < i    (2')
    E_M,ii = E_R,ii / 2 R_ii,     E_R,ik -= 2 E_M,ii R_ik                  for all k < i           (1')

and dE/dd_i = E_M,ii. A and b are read through the gradient of the net, which is A w - b at any w: b = -gradient(0), and
the columns of A are differences of it, exact with any step.
"""
from __future__ import annotations

from typing import Any, Callable, Dict, NamedTuple, Tuple

import numpy as np

from menndl_caffe.trainer.hypergradient import lbfgs
from menndl_caffe.trainer.hypergradient.estimate import Estimate, validation_gradient
from menndl_caffe.trainer.hypergradient.implicit import check_fixed
from menndl_caffe.trainer.hypergradient.product import HESSIAN
from menndl_caffe.trainer.net_in_hand import NetInHand
from menndl_caffe.trainer.train import Unsuitable

LARGEST = 2000  # weights: A is read by as many gradients, and the rest is their number cubed
AFFINE = 1e-3  # how far from affine float32 may make the gradient, and from 0 at w
Gradient = Callable[[np.ndarray], np.ndarray]  # of w: the gradient of the training loss, float64


class Solution(NamedTuple):
    """The forward pass."""

    factor: np.ndarray
    half: np.ndarray
    weights: np.ndarray


def solve(matrix: np.ndarray, right: np.ndarray, decay: np.ndarray) -> Solution:
    """(1) to (4). numpy.linalg.LinAlgError where A + D is not positive definite."""
    factor = np.linalg.cholesky(matrix + np.diag(decay))
    half = np.linalg.solve(factor, right)
    return Solution(factor, half, np.linalg.solve(factor.T, half))


def decay_gradient(solution: Solution, by_weights: np.ndarray) -> np.ndarray:
    """dE/dd from E_w by (4') to (1'), shape (n,)."""
    factor, half, weights = solution
    by_half = np.linalg.solve(factor, by_weights)
    by_right = np.linalg.solve(factor.T, by_half)
    by_factor = -np.outer(weights, by_half) - np.outer(by_right, half)
    by_decay = np.zeros(weights.size)
    for i in reversed(range(weights.size)):
        pivot, above, below = factor[i, i], factor[i, :i], factor[i + 1:, i]
        shares = by_factor[i + 1:, i] / pivot
        by_factor[i + 1:, :i] -= np.outer(shares, above)
        by_factor[i, :i] -= shares @ factor[i + 1:, :i]
        by_decay[i] = (by_factor[i, i] - shares @ below) / (2 * pivot)
        by_factor[i, :i] -= 2 * by_decay[i] * above
    return by_decay


def read(gradient: Gradient, size: int) -> Tuple[np.ndarray, np.ndarray]:
    """A and b of a gradient A w - b, by `size` + 3 values of it. Unsuitable where it is not affine in w."""
    constant = gradient(np.zeros(size))
    probe = np.random.RandomState(0).standard_normal(size)
    once, twice = gradient(probe) - constant, gradient(2 * probe) - constant
    bend = float(np.linalg.norm(twice - 2 * once))
    if bend > AFFINE * float(np.linalg.norm(twice) + np.linalg.norm(constant)):
        raise Unsuitable("not least squares: the gradient of the training loss is not linear in the weights; expected "
                         "EuclideanLoss of outputs that are linear in them")
    # A column is about as long as A v / sqrt(n) is; the step makes it ten times b, so that float32 is spent on A.
    column = float(np.linalg.norm(once)) / np.sqrt(size)
    step = 10 * float(np.linalg.norm(constant)) / column if column and constant.any() else 1.0
    columns = [(gradient(step * unit) - constant) / step for unit in np.eye(size)]
    matrix = np.array(columns)
    return (matrix + matrix.T) / 2, -constant


def estimate(hand: NetInHand, train_batches: int, validation_batches: int) -> Estimate:
    """The hypergradient at the minimum of the training criterion; the weights in hand end there.

    Unsuitable where the loss is not quadratic in w, A + D not positive definite, or n above LARGEST.
    """
    check_fixed(hand)
    if hand.size > LARGEST:
        raise Unsuitable(f"too large a Hessian: the net learns {hand.size} weights; expected at most {LARGEST}")
    decay, start = hand.decay, hand.take()
    criterion = lbfgs.criterion(hand, train_batches, decay)
    without_decay = lbfgs.criterion(hand, train_batches, np.zeros(hand.size))
    begun = float(np.linalg.norm(criterion(start)[1]))
    matrix, right = read(lambda weights: without_decay(weights.astype(start.dtype))[1], hand.size)
    solution = _solution(matrix, right, decay)
    inner = float(np.linalg.norm(criterion(solution.weights.astype(start.dtype))[1])) / (begun or 1.0)
    by_weights = validation_gradient(hand, validation_batches)
    how: Dict[str, Any] = {"method": "CHOLESKY", "product": HESSIAN, "inner": inner, "curvature": "positive",
                           "gradients": train_batches * (hand.size + 5) + validation_batches}
    distrust = "" if inner <= AFFINE else f"the gradient is {inner:.2g} of that at the start; expected {AFFINE:.2g}"
    return Estimate(decay_gradient(solution, by_weights), {}, how, distrust)


def _solution(matrix: np.ndarray, right: np.ndarray, decay: np.ndarray) -> Solution:
    try:
        return solve(matrix, right, decay)
    except np.linalg.LinAlgError as error:
        raise Unsuitable("the Hessian of the training criterion is not positive definite; expected more decay, or "
                         "fewer inputs that repeat each other") from error
