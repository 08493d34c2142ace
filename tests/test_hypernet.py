"""Hypernets of the templates before small nets, against trainings by scipy in float64, one for each decay."""
from __future__ import annotations

import re
from pathlib import Path
from typing import Dict, Tuple

import numpy as np
import pytest
from scipy.optimize import minimize, minimize_scalar

from menndl_caffe import torchcaffe
from menndl_caffe.data.lmdb_data import Images, write_lmdb
from menndl_caffe.experiment.render import Template
from menndl_caffe.trainer.feeding import Unsuitable
from menndl_caffe.trainer.hypernet import Hypernet, Learned
from menndl_caffe.trainer.train import Diverged
from tests.conftest import REPOSITORY
from tests.support import hands
from tests.support.hand_programs import hypernets

Part = Tuple[np.ndarray, np.ndarray]
ENGINES = "torch", "caffe"
PIXELS, IMAGES = hands.SIDE ** 2, hands.HELD
WEIGHTS = {"linear": (PIXELS + 1) * hands.CLASSES, "tanh": (PIXELS + 1) * 8 + 9 * hands.CLASSES}
TEMPLATES = {  # the decays of each, the net whose weights it writes, its rate
    "global": (1, "linear", 3e-3), "linear": (1, "linear", 1e-2), "global_tanh": (1, "tanh", 1e-3),
    "linear_tanh": (4, "tanh", 1e-3), "factorised_tanh": (12, "tanh", 1e-3),
    "diagonal_tanh": (WEIGHTS["tanh"], "tanh", 1e-3)}


def part(seed: int) -> Part:
    """Labels, four in ten of which are drawn anew, so that decay matters, and pixels."""
    labels, pixels = hands.draw_images(seed, IMAGES)
    random = np.random.RandomState(seed + 10)
    return np.where(random.random_sample(IMAGES) < 0.4, random.randint(hands.CLASSES, size=IMAGES), labels), pixels


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two databases, and a hypernet and its solver for each of the templates above."""
    folder = tmp_path_factory.mktemp("hypernet")
    for seed, name in enumerate(("fit", "held")):
        labels, pixels = part(seed)
        write_lmdb(folder / name, Images(labels.astype(np.uint8), pixels), 8)
    for name, (decays, net, rate) in TEMPLATES.items():
        values = {"pairs": 2, "decays": decays, "weights": WEIGHTS[net], "mean": -3, "deviation": 1.5, "rate": rate,
                  "random_seed": 1, "solver_mode": "CPU"}
        for template, suffix in ((name.split("_")[0], "prototxt"), ("solver", "solver")):
            source = REPOSITORY / "templates" / "hypernet" / f"{template}.prototxt.j2"
            (folder / f"{name}.{suffix}").write_text(Template(source).render(values))
    return folder
