"""What tests/bench/busy.py makes of a journal's times."""
from __future__ import annotations

from pathlib import Path

import pytest

from menndl_caffe.journal import Journal
from menndl_caffe.trial import OK, Result, Trial
from tests.bench import busy
from tests.support.searches import FIRST_LINE, SPACE


def test_ranks_are_busy_while_they_have_a_trial(tmp_path: Path) -> None:
    """One has 4 of 5 seconds a trial, the other is there for 3; a result that is known costs nobody any time."""
    results = [Result(1, OK, started=1000.0, seconds=1.0, rank=0), Result(2, OK, started=1002.0, seconds=3.0, rank=0),
               Result(3, OK, started=1001.0, seconds=3.0, rank=1)]
    with Journal(tmp_path) as writer:
        writer.begin(FIRST_LINE)
        for result in [*results, results[2].copied_to(Trial(4, SPACE.default, 1, 4))]:
            writer.add_trial(Trial(result.id, SPACE.default, 1, 4))
            writer.add_result(result)
    assert busy.share(tmp_path) == pytest.approx((4 + 3) / (5 + 3))
