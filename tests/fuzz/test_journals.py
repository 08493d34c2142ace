"""Whatever stands in a journal, its readers end in order: with their work done, or one error that names the line."""
from __future__ import annotations

import itertools
import random
from pathlib import Path
from typing import List

import pytest

from menndl_caffe.errors import UserError
from menndl_caffe.experiment import recorded
from tests.fuzz import journals

FEW, MANY = 10, 1500  # damages of a kind


def outcome(name: str, folder: Path) -> str:
    """Nothing where the reader ends in order; else with what it does not."""
    try:
        journals.READERS[name](folder)
    except UserError:
        pass
    except Exception as error:
        return f"{name}: {type(error).__name__}: {str(error)[:200]}"
    return ""


def faults(content: bytes, folder: Path, seed: str, count: int) -> List[str]:
    """What so many damages bring to light. Where the journal is refused, all readers refuse it in the same place."""
    found = []
    for name, damaged in itertools.islice(journals.damages(content, random.Random(seed)), count):
        run = journals.write(folder, damaged)
        try:
            recorded.read(run)
            readers = list(journals.READERS)
        except UserError:
            readers = ["watch", "run"]
        except Exception as error:
            found.append(f"{name}: {type(error).__name__}: {str(error)[:200]}")
            continue
        found += [f"{name}: {fault}" for fault in (outcome(reader, run) for reader in readers) if fault]
    return found


@pytest.mark.parametrize("kind", journals.KINDS)
def test_a_damaged_journal_is_read_or_refused_in_order(kind: str, tmp_path: Path) -> None:
    content = (journals.KINDS[kind](tmp_path) / journals.NAME).read_bytes()
    assert not [outcome(name, journals.write(tmp_path / "whole", content)) for name in journals.READERS if name != "run"
                and outcome(name, journals.write(tmp_path / "whole", content))]
    assert not faults(content, tmp_path / "damaged", f"few {kind}", FEW)


@pytest.mark.slow
@pytest.mark.parametrize("kind", journals.KINDS)
def test_a_journal_damaged_in_many_ways(kind: str, tmp_path: Path) -> None:
    content = (journals.KINDS[kind](tmp_path) / journals.NAME).read_bytes()
    assert not faults(content, tmp_path / "damaged", f"many {kind}", MANY)
