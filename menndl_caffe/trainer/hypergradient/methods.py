"""The estimators by their names."""
from __future__ import annotations

from typing import NamedTuple, Optional

import numpy as np

from menndl_caffe.trainer.hypergradient.cholesky import estimate as by_cholesky
from menndl_caffe.trainer.hypergradient.drmad import drmad
from menndl_caffe.trainer.hypergradient.estimate import Estimate
from menndl_caffe.trainer.hypergradient.implicit import Settings
from menndl_caffe.trainer.hypergradient.implicit import estimate as implicit
from menndl_caffe.trainer.hypergradient.unrolled import unrolled
from menndl_caffe.trainer.net_in_hand import NetInHand
from menndl_caffe.trainer.plain import Batches, Tested

ALONG_THE_PATH = {"UNROLLED": unrolled, "DRMAD": drmad}  # they train as "train" does, and test when it does


class Method(NamedTuple):
    """How a hypergradient is found."""

    name: str  # UNROLLED, DRMAD, IMPLICIT, HOAG or CHOLESKY
    tolerance: float = 0.0  # of IMPLICIT and HOAG, relative to
    reference: Optional[float] = None  # this |g|; None: that at the weights in hand
    start: Optional[np.ndarray] = None  # `Estimate.solution` of the step before


def estimate(method: Method, hand: NetInHand, batches: Batches, tested: Tested) -> Estimate:
    """Of a net in hand, which is trained or solved for on the way.

    A method at the minimum tests once, as if it were at max_iter. Unsuitable where the method is not for such a net.
    """
    if method.name in ALONG_THE_PATH:
        return ALONG_THE_PATH[method.name](hand, batches.validation, tested)
    if method.name == "CHOLESKY":
        found = by_cholesky(hand, batches.train, batches.validation)
    else:
        settings = Settings(method.name, method.tolerance, batches.train, batches.validation, method.reference,
                            method.start)
        found = implicit(hand, settings)
    tested(hand.param.max_iter)
    return found
