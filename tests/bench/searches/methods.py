"""Who races: menndl's types by the text of a search file, the peers by their names."""
from __future__ import annotations

from menndl_caffe.search import KINDS
from menndl_caffe.trial import TRAIN
from tests.bench.searches.ours import Ours
from tests.bench.searches.peers import PEERS, Peer
from tests.bench.searches.problems import Landscape
from tests.bench.searches.race import Contestant

# Optuna races by itself, and tables have no gradients.
OURS = tuple(kind for kind in KINDS if kind != "OPTUNA" and KINDS[kind].program == TRAIN)
METHODS = (*OURS, *PEERS)
SLOW = ("optuna-gp", "deephyper", "smac")  # a second or so a proposal


def is_one(method: str) -> bool:
    """Whether there is such a method: a peer, a type, or a type with settings such as `GUIDED_GA rounds: 2`."""
    return method in PEERS or method.partition(" ")[0] in KINDS


def contestant(method: str, landscape: Landscape, seed: int, slots: int, budget: int) -> Contestant:
    """Ready to be asked."""
    if method in PEERS:
        return Peer(method, landscape, seed, slots, budget)
    return Ours(method, landscape, seed, slots)
