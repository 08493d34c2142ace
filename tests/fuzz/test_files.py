"""Files from elsewhere, by chance: read, or refused by the errors that are documented, soon and in little memory."""
from __future__ import annotations

import importlib.util

import pytest

from tests.fuzz import bounds

FUZZERS = {  # cases in `make test`, and up to where `make test-slow` goes
    "prototxts": (1000, 20_000), "search_files": (80, 5000), "archives": (500, 20_000)}
if importlib.util.find_spec("torch"):
    FUZZERS["model_files"] = (80, 5000)


@pytest.mark.parametrize("fuzzer", FUZZERS)
def test_a_few(fuzzer: str) -> None:
    bounds.run(fuzzer, range(FUZZERS[fuzzer][0]))


@pytest.mark.slow
@pytest.mark.parametrize("fuzzer", FUZZERS)
def test_many(fuzzer: str) -> None:
    bounds.run(fuzzer, range(*FUZZERS[fuzzer]))
