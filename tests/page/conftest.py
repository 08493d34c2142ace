"""What the tests of the page share: a run, its page in a file, and that opened in Chromium."""
from __future__ import annotations

from pathlib import Path
from typing import Any, Iterator

import pytest

from tests.support import big_journal
from tests.support.browser import Tab
from tests.support.page_tools import Lines, written


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """240 individuals on 5 ranks, some failed, some met again."""
    return big_journal.write(tmp_path_factory.mktemp("page") / "a run", population=40, generations=6, ranks=5,
                             failures=0.05)


@pytest.fixture(scope="module")
def html(run: Path) -> Path:
    """The file that `tab` opens."""
    return written(run)


@pytest.fixture
def tab(chromium: Any, html: Path) -> Iterator[Tab]:
    """The page in Chromium, which must have nothing to complain of."""
    opened = Tab(chromium, html)
    yield opened
    assert opened.errors == []
    opened.close()


@pytest.fixture(scope="module")
def lines(run: Path) -> Lines:
    """The run's journal."""
    return Lines(run)
