"""What `make test` has reported as failed runs once more by itself: `python -m tests.support.again`, for CI.

It fails where a test fails twice, or is skipped the second time, where more than MOST failed, and where the first run
did not come to its end: a crash or an error of collection leaves tests that nobody has seen fail. A test that passes
only now is named.
"""
from __future__ import annotations

import sys
from typing import Any, List

import pytest

MOST = 10  # tests that may fail by chance
STATUS = "menndl/exit_status"
CRASHED = pytest.StashKey[bool]()


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any, error: object) -> None:
    """One of xdist's processes has ended; whether the others did all of its tests is not known. For conftest.py."""
    if error:
        node.config.stash[CRASHED] = True


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Keeps how the tests ended, beside pytest's own list of those that failed. For conftest.py."""
    config = session.config
    cache = getattr(config, "cache", None)
    if cache is not None and not hasattr(config, "workerinput"):  # of all tests, not one process's share
        cache.set(STATUS, None if config.stash.get(CRASHED, False) else int(exitstatus))


class Repetition:
    """A plugin of pytest: refuses what cannot be repeated, and names what passed."""

    def __init__(self) -> None:
        self.failed: List[str] = []
        self.passed: List[str] = []

    def pytest_configure(self, config: Any) -> None:
        self.failed = sorted(config.cache.get("cache/lastfailed", {}))
        ended = config.cache.get(STATUS, None) == pytest.ExitCode.TESTS_FAILED
        if not ended or not self.failed or not all("::" in test for test in self.failed):
            raise pytest.UsageError("nothing to repeat: the tests did not come to their end")
        if len(self.failed) > MOST:
            raise pytest.UsageError(f"{len(self.failed)} tests failed, which is no chance; at most {MOST} are repeated")

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        reports = {name: {report.nodeid for report in terminalreporter.getreports(name)}
                   for name in ("passed", "failed", "error")}
        self.passed = sorted(reports["passed"] - reports["failed"] - reports["error"])
        for test in self.passed:
            terminalreporter.write_line(f"passed only when repeated: {test}")


def main() -> int:
    """The exit code of the repetition, in this one process."""
    repetition = Repetition()
    code = pytest.main(["--last-failed", "--last-failed-no-failures", "none"], plugins=[repetition])
    return int(code) or int(repetition.passed != repetition.failed)


if __name__ == "__main__":
    sys.exit(main())
