"""Search files: an experiment, whose searches ask for individuals of its space, or errors with their lines."""
from __future__ import annotations

import itertools
import random
import re
from pathlib import Path

from menndl_caffe import search
from menndl_caffe.errors import UserError
from menndl_caffe.experiment import search_file
from menndl_caffe.search import KINDS, Problem
from menndl_caffe.trial import TRAIN, Trial
from tests.conftest import REPOSITORY
from tests.fuzz.mangle import mangled_tokens

TEXTS = [path.read_text() for folder in ("solvers", "tests/documents") for path in
         sorted((REPOSITORY / folder).glob("*.search.prototxt"))]
OTHERS = ("0", "-1", "1", "2", "0.5", "1e-320", "1e308", "-1e308", "1e309", "nan", "inf", "-inf", "2147483647",
          "2147483648", "100001", "9223372036854775807", "-9223372036854775808", "true", "GA", '""', '"a"', '"kernel1"',
          '"x y"', "{", "}", "[", "]", ":", "#", "'", '"', "\n", "LOG", "LINEAR", *(f'"{kind}"' for kind in KINDS),
          "limit { trials: 5 }", "limit { trials: 2147483647 }", "gene { }", 'gene { name: "g" }', "step: 0", "min: 1",
          'objective { measure: "loss" minimize: true }', 'enqueue { gene { name: "kernel1" value: "1" } }',
          'gene { name: "huge" int_range { min: -9223372036854775808 max: 9223372036854775807 } default: 0 }',
          'gene { name: "wide" real_range { min: -1e308 max: 1e308 } default: 0 }', "population: 0", "x" * 5000)
TOKEN = re.compile(r"\s+|[\w.+-]+|\"[^\"\n]*\"|.", re.DOTALL)


def one(chance: random.Random, folder: Path) -> None:
    """A mangled search file."""
    text = mangled_tokens(TOKEN.findall(chance.choice(TEXTS)), OTHERS, chance)
    try:
        experiment = search_file.of_text(text, "file")
    except UserError as error:
        assert all(re.match(r"file:\d+: ", line) for line in str(error).split("\n")), error
        return
    space, message = experiment.space, experiment.message
    for point in (0.0, 0.5, 1 - 2**-53):
        genome = space.from_unit([point] * len(space.genes))
        assert space.adopted(genome) == genome and space.from_unit(space.to_unit(genome))
    if KINDS[message.type].program == TRAIN:
        ids = itertools.count(1)
        problem = Problem(space, message.random_seed, lambda genome, number: Trial(next(ids), genome, 1, 1, number),
                          objectives=experiment.objectives, first=experiment.enqueued)
        try:
            found = search.make(message, problem)
            trials = [found.ask() for _ in range(3)]
        except UserError as error:
            assert len(str(error)) < 2000
            return
        assert trials[0] is not None and all(space.adopted(trial.genome) for trial in trials if trial)
