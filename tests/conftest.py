"""What the tests share: real Caffe, real images, and small experiments on small data."""
from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, Callable, Iterator, List

import pytest
from hypothesis import HealthCheck, settings

from tests.support import drawn_images, once
from tests.support.again import pytest_sessionfinish, pytest_testnodedown

__all__ = ["pytest_sessionfinish", "pytest_testnodedown"]

REPOSITORY = Path(__file__).resolve().parent.parent
SHARED_IMAGES = REPOSITORY.parent / "shared" / "data"
UNPACK = SHARED_IMAGES / "unpack-cifar-10"

# A busy machine may take long for any example.
settings.register_profile("busy", settings(), deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("busy")

# Users have it not, and what they see may differ: what is printed waits in a buffer.
os.environ.pop("PYTHONUNBUFFERED", None)

# A shell that runs the tests in the background lets them ignore SIGINT, and so would every command that they start.
signal.signal(signal.SIGINT, signal.default_int_handler)


def missing(what: str) -> None:
    """A test cannot run: under CI that is a failure, elsewhere a skip that says what to do."""
    if os.environ.get("CI") == "true":
        pytest.fail(what)
    pytest.skip(what)


@pytest.fixture(scope="session")
def caffe_root() -> Path:
    """The folder of real Caffe as `make caffe` writes it."""
    root = Path(os.environ.get("MENNDL_TEST_CAFFE", REPOSITORY / "build" / "caffe"))
    if not (root / "VERSION").exists():
        missing(f"no real Caffe in {root}: run `make caffe`")
    return root


@pytest.fixture(scope="session")
def container_image() -> Path:
    """The image of what lies here, as `make container` builds it."""
    image = REPOSITORY / "build" / "menndl-caffe.sif"
    built = subprocess.run([REPOSITORY / "containers" / "build.sh", image], text=True, capture_output=True)
    if built.returncode:
        missing(f"no image of containers, since `make container` does not work here: {built.stderr}")
    return image


@pytest.fixture(scope="session", autouse=True)
def own_temporary_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Where Open MPI 5 was killed it leaves TMPDIR/ompi.PID, and one with the same process id does not start there."""
    tmp_path_factory.getbasetemp()  # stays where it was
    folder = tempfile.mkdtemp(prefix="menndl-tests-")
    os.chmod(folder, 0o1777)  # as /tmp: some tests are other users
    os.environ["TMPDIR"] = tempfile.tempdir = folder
    yield
    shutil.rmtree(folder, ignore_errors=True)


def pytest_report_header() -> str:
    """Which images the tests read is no secret."""
    return f"images: {f'the JPEG copy of CIFAR-10 in {SHARED_IMAGES}' if UNPACK.exists() else 'drawn ones'}"


@pytest.fixture(scope="session")
def cifar10_source() -> Path:
    """60,000 images in CIFAR-10's official binary layout: the shared JPEG copy of it, else drawn ones."""
    kept = REPOSITORY / "build" / "test-data"  # unpacking takes 15 s
    if UNPACK.exists():
        command = [sys.executable, str(UNPACK)]
        once.made(kept / "cifar10", lambda new: subprocess.run([*command, new], check=True, capture_output=True))
        return kept / "cifar10" / "cifar-10-batches-bin"
    return once.made(kept / "drawn" / "cifar-10-batches-bin", drawn_images.write_as_cifar10)


@pytest.fixture(scope="session")
def cifar10_data(cifar10_source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The databases of these images, with 5,000 held out. No test may write there."""
    from menndl_caffe.data import write

    base = tmp_path_factory.getbasetemp()
    base = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base  # the processes that run the tests share it
    return once.made(base / "cifar10 with held out", lambda new: write(
        "cifar10", new, cifar10_source, validation=5000, report=lambda text: None))


@pytest.fixture
def in_repository(monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in the repository's folder, as its own files' relative paths expect."""
    monkeypatch.chdir(REPOSITORY)
    return REPOSITORY


@pytest.fixture
def evaluators() -> Iterator[List[Any]]:
    """A list for the Evaluators that a test opens; all in it are closed in the end."""
    opened: List[Any] = []
    yield opened
    for evaluator in opened:
        evaluator.close()


@pytest.fixture
def local(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    """`menndl` in this process, with the fake trainer."""
    from tests.support.in_process import Menndl

    return Menndl(monkeypatch, capsys)


@pytest.fixture
def quiet_engine() -> Iterator[None]:
    """The torch engine in this process, without its log; what comes later has it again."""
    import menndl_caffe.torchcaffe as engine

    engine.init_log(2)
    yield
    engine.init_log()


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    """A headless Chromium, as playwright's Browser."""
    from tests.support.browser import browser

    with browser() as started:
        yield started


@pytest.fixture(scope="module")
def search(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A search file of 18 individuals on small data."""
    from tests.support import runs

    folder = tmp_path_factory.mktemp("search")
    return runs.write_search(folder / "small.search.prototxt", runs.small_data(folder / "data"))


@pytest.fixture(scope="module")
def undisturbed(search: Path, tmp_path_factory: pytest.TempPathFactory) -> List:
    """The individuals of that search when nothing goes wrong."""
    return _undisturbed(search, tmp_path_factory.mktemp("undisturbed") / "run")


@pytest.fixture(scope="module")
def random_search(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As many individuals by random search."""
    from tests.support import runs

    folder = tmp_path_factory.mktemp("search")
    return runs.write_search(folder / "random.search.prototxt", runs.small_data(folder / "data"), kind=runs.RANDOM)


@pytest.fixture(scope="module")
def random_undisturbed(random_search: Path, tmp_path_factory: pytest.TempPathFactory) -> List:
    """The individuals of that search when nothing goes wrong."""
    return _undisturbed(random_search, tmp_path_factory.mktemp("undisturbed") / "run")


def _undisturbed(search: Path, run: Path) -> List:
    from tests.support import runs

    assert runs.start(["run", search, "--out", run]).wait(runs.PATIENCE) == 0
    assert len(runs.individuals(run)) == 18
    return runs.individuals(run)


Runner = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def menndl(tmp_path: Path) -> Runner:
    """Runs the command `menndl` in a process of its own, in the repository."""

    def run(*arguments: object, timeout: float = 600, **keywords: object) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "menndl_caffe.cli", *map(str, arguments)]
        return subprocess.run(command, cwd=REPOSITORY, text=True, capture_output=True, timeout=timeout,
                              stdin=subprocess.DEVNULL, **keywords)  # type: ignore[call-overload]

    return run
