"""containers/install-caffe.sh: its command line, and what the Caffe it installed can do."""

from __future__ import annotations

import json
import os
import re
import signal
import stat
import subprocess
from pathlib import Path
from typing import Callable

import pytest

SCRIPT = Path(__file__).resolve().parents[1] / "containers" / "install-caffe.sh"
LOCK = SCRIPT.with_name("caffe.lock")
PIN = "1.0.0+git20180821.99bd997-8+b2"
DEBIAN_KEYS = list(Path("/usr/share/keyrings").glob("debian-archive-keyring.*"))
TOOLS = """caffe caffe-gtest classification compute_image_mean convert_cifar_data convert_imageset convert_mnist_data
    convert_mnist_siamese_data extract_features upgrade_net_proto_binary upgrade_net_proto_text
    upgrade_solver_proto_text""".split()

Find = Callable[..., "subprocess.CompletedProcess[str]"]


def run(*command: object, **environment: str) -> subprocess.CompletedProcess[str]:
    """The finished command; its environment is this process's own with the given variables on top."""
    words = [str(word) for word in command]
    return subprocess.run(words, env={**os.environ, **environment}, capture_output=True, text=True, timeout=300)


def installed_python(root: Path, code: str, **environment: str) -> str:
    """What the installed Python prints for `code`."""
    finished = run(root / "bin" / "python3", "-c", code, **environment)
    assert finished.returncode == 0, finished.stderr
    return finished.stdout.strip()


def locked_versions() -> dict[str, str]:
    """Package name to Debian version, from caffe.lock."""
    lines = [line for line in LOCK.read_text().splitlines() if not line.startswith("#")]
    return dict(line.split()[0].split("=", 1) for line in lines)


def test_help_names_every_option() -> None:
    finished = run(SCRIPT, "--help")
    assert finished.returncode == 0
    assert all(word in finished.stdout for word in ("--mirror URL", "--help", "DIR", "build/caffe"))


@pytest.mark.parametrize("arguments, found", [
    (["--nonsense"], "--nonsense"),
    (["one", "two"], "two"),
    (["--mirror"], "--mirror"),
    (["/tmp/a:b"], "/tmp/a:b"),
])
def test_usage_mistakes_end_with_2_and_say_what_was_found(arguments: list[str], found: str) -> None:
    finished = run(SCRIPT, *arguments)
    assert finished.returncode == 2
    assert found in finished.stderr and finished.stderr.count("\n") == 1


def test_a_folder_of_somebody_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("")
    assert run(SCRIPT, tmp_path).returncode == 2
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


@pytest.mark.skipif(not DEBIAN_KEYS, reason="needs apt and the package debian-archive-keyring")
def test_a_mirror_without_bullseye_ends_with_1_and_names_it(tmp_path: Path) -> None:
    mirror = f"file:{tmp_path}/no-mirror"
    finished = run(SCRIPT, "--mirror", mirror, tmp_path / "caffe", ARCHIVE=f"file:{tmp_path}/no-archive")
    assert finished.returncode == 1
    assert mirror in finished.stderr.splitlines()[-1]
    assert not (tmp_path / "caffe" / "VERSION").exists()


# Where bullseye is, once mirrors have it no more

APT_GET = """#!/bin/sh
# An apt-get that reads from mirrors which exist as folders, and notes where it looked.
for word; do case $word in update)
    mirror=$(sed 's/.*] \\([^ ]*\\) .*/\\1/' "${APT_CONFIG%/apt.conf}/etc/apt/sources.list")
    echo "$mirror" >>"$FAKE/tried"
    [ -d "${mirror#copy:}/dists" ] && exit
    echo "E: The repository '$mirror bullseye Release' does not have a Release file." >&2; exit 100 ;;
esac; done"""
APT_CACHE = """#!/bin/sh
printf 'Package: caffe\\nVersion: 1.0\\nSHA256: %s\\n\\nPackage: libone\\nVersion: 2\\nSHA256: 22\\n' "$FAKE_HASH" """


@pytest.fixture
def bullseye(tmp_path: Path) -> Find:
    """Looks for it with a fake apt: prints the mirror that has it."""
    for name, body in (("apt-get", APT_GET), ("apt-cache", APT_CACHE)):
        (tmp_path / name).write_text(body)
        (tmp_path / name).chmod(0o755)
    (tmp_path / "lock").write_text("# a comment\ncaffe=1.0 aa\nlibone=1 11\n")
    script = """set -euo pipefail
        say() { echo "$@" >&2; }; fail() { say "error: $@"; exit 1; }
        dir=$1 megabytes_needed=1 mirror=$2; . "$0"
        find_suite "$dir/apt" bullseye "$dir/lock"; echo "$mirror" """

    def find(mirror: object, archive: object = "", caffe: str = "aa") -> subprocess.CompletedProcess[str]:
        return run("bash", "-c", script, SCRIPT.with_name("private-apt.sh"), tmp_path, mirror, ARCHIVE=str(archive),
                   FAKE=str(tmp_path), FAKE_HASH=caffe, PATH=f"{tmp_path}:{os.environ['PATH']}")
    return find


def tried(folder: Path) -> list[str]:
    return (folder / "tried").read_text().split()


def a_mirror(folder: Path) -> Path:
    (folder / "dists").mkdir(parents=True)
    return folder


needs_keys = pytest.mark.skipif(not DEBIAN_KEYS, reason="needs apt and the package debian-archive-keyring")


@needs_keys
def test_the_mirror_is_taken_where_it_has_bullseye(bullseye: Find, tmp_path: Path) -> None:
    mirror = a_mirror(tmp_path / "debian")
    assert bullseye(f"file:{mirror}").stdout == f"file:{mirror}\n"
    assert tried(tmp_path) == [f"copy:{mirror}"]


@needs_keys
def test_an_archive_that_is_named_is_the_only_other_place(bullseye: Find, tmp_path: Path) -> None:
    archive = a_mirror(tmp_path / "old")
    found = bullseye(f"file:{tmp_path}/empty", f"file:{archive}")
    assert found.stdout == f"file:{archive}\n", found.stderr
    assert tried(tmp_path) == [f"copy:{tmp_path}/empty", f"copy:{archive}"]
    lost = bullseye(f"file:{tmp_path}/empty", f"file:{tmp_path}/nothing")
    assert lost.returncode == 1 and len(tried(tmp_path)) == 4
    assert f"tried file:{tmp_path}/empty, file:{tmp_path}/nothing, in vain" in lost.stderr.splitlines()[-1]
    assert "ARCHIVE=URL" in lost.stderr.splitlines()[-1]


@needs_keys
def test_an_archive_beside_the_mirror_is_found(bullseye: Find, tmp_path: Path) -> None:
    archive = a_mirror(tmp_path / "debian-archive" / "debian")
    for mirror in (f"file:{tmp_path}/debian", f"file:{tmp_path}/debian/"):
        assert bullseye(mirror).stdout == f"file:{archive}\n"


@needs_keys
def test_the_distributions_own_archive_comes_after_it(bullseye: Find, tmp_path: Path) -> None:
    """As far as this machine's own configuration leads there."""
    release = dict(line.split("=", 1) for line in Path("/etc/os-release").read_text().splitlines() if "=" in line)
    sources = [path for path in (Path("/etc/apt/sources.list"), *Path("/etc/apt/sources.list.d").glob("*"))
               if path.is_file()]
    expected = [f"copy:{tmp_path}/debian", f"copy:{tmp_path}/debian-archive/debian"]
    if release["ID"] == "debian":
        expected.append(release["HOME_URL"].strip('"').replace("www.", "archive.").replace("https", "http") + "debian")
        expected += [address for path in sources for address in
                     re.findall(r"^# *(\S+/archive/debian/\d{8}T\d{6}Z)/?$", path.read_text(), re.MULTILINE)]
    assert bullseye(f"file:{tmp_path}/debian").returncode == 1
    assert tried(tmp_path) == expected


@needs_keys
def test_another_file_of_a_locked_version_is_refused(bullseye: Find, tmp_path: Path) -> None:
    """Whoever has signed for it; another version of another package may come with a point release."""
    mirror = a_mirror(tmp_path / "debian")
    refused = bullseye(f"file:{mirror}", caffe="ab")
    assert refused.returncode == 1
    assert refused.stderr.splitlines()[-1] == (f"error: file:{mirror} has other files than {tmp_path}/lock says, under "
                                               "the same versions: caffe=1.0")


@pytest.mark.parametrize("name", ["caffe.lock", "packages.lock"])
def test_every_locked_package_has_its_hash(name: str) -> None:
    lines = [line for line in LOCK.with_name(name).read_text().splitlines() if not line.startswith("#")]
    assert len(lines) > 200 and lines == sorted(lines, key=lambda line: line.encode())
    assert [line for line in lines if not re.fullmatch(r"[a-z0-9.+-]+=[^ =]+ [0-9a-f]{64}", line)] == []


def test_a_machine_without_a_debian_mirror_is_told_what_to_do(tmp_path: Path) -> None:
    """As Ubuntu: two lines to type."""
    (tmp_path / "apt-get").write_text("#!/bin/sh\n")
    (tmp_path / "grep").write_text("#!/bin/sh\ncase $* in *ID=debian*) exit 1;; esac\nexec /bin/grep \"$@\"\n")
    for name in ("apt-get", "grep"):
        (tmp_path / name).chmod(0o755)
    finished = run(SCRIPT, tmp_path / "caffe", MIRROR="", PATH=f"{tmp_path}:{os.environ['PATH']}")
    assert finished.returncode == 1
    assert "apt-get install debian-archive-keyring" in finished.stderr and "MIRROR=URL" in finished.stderr
    assert not (tmp_path / "caffe" / "VERSION").exists()


def test_the_lock_pins_one_build_of_caffe_and_openblas() -> None:
    versions = locked_versions()
    assert {versions[name] for name in ("caffe", "python3-caffe", "libcaffe1")} == {PIN}
    assert PIN.startswith(versions["caffe-doc"])
    assert "libopenblas0-pthread" in versions and "python3-mpi4py" not in versions


def test_no_host_is_named() -> None:
    assert not re.search(r"https?://|\bdebian\.org", SCRIPT.read_text() + LOCK.read_text())


def test_the_second_call_has_nothing_to_do(caffe_root: Path) -> None:
    before = (caffe_root / "VERSION").read_bytes()
    finished = run(SCRIPT, caffe_root, MIRROR="file:/nowhere")
    assert finished.returncode == 0 and "already" in finished.stdout
    assert (caffe_root / "VERSION").read_bytes() == before


def test_version_file_agrees_with_what_runs(caffe_root: Path) -> None:
    version = json.loads((caffe_root / "VERSION").read_text())
    code = "import sys, caffe, numpy; print(caffe.__version__, sys.version.split()[0], numpy.__version__)"
    assert installed_python(caffe_root, code).split() == [version["caffe"], version["python"], version["numpy"]]
    assert version["package"] == PIN and version["caffe"] == "1.0.0"
    assert version["blas"].startswith("OpenBLAS ")


def test_pycaffe_computes_with_openblas(caffe_root: Path) -> None:
    code = """if True:
        import caffe, numpy
        numpy.ones((9, 9)) @ numpy.ones((9, 9))
        print(open("/proc/self/maps").read())"""
    mapped = set(re.findall(r"\S*/lib(?:blas|cblas|lapack|openblas|atlas)\S*", installed_python(caffe_root, code)))
    assert any("libopenblas" in path for path in mapped)
    assert {Path(path).parent.name for path in mapped} == {"openblas-pthread"}


@pytest.mark.skipif(" avx2 " not in Path("/proc/cpuinfo").read_text(), reason="needs a processor with AVX2")
@pytest.mark.parametrize("wish, kernels", [("", "Haswell"), ("Prescott", "Prescott")])
def test_openblas_uses_this_processor_unless_told_otherwise(caffe_root: Path, wish: str, kernels: str) -> None:
    finished = run(caffe_root / "bin" / "caffe", "--version", OPENBLAS_CORETYPE=wish, OPENBLAS_VERBOSE="2")
    assert f"Core: {kernels}" in finished.stdout + finished.stderr


@pytest.mark.parametrize("tool", TOOLS)
def test_every_tool_runs(caffe_root: Path, tool: str) -> None:
    finished = run(caffe_root / "bin" / tool, "--help")
    assert re.search("usage|command line flags", finished.stdout + finished.stderr, re.IGNORECASE)
    assert "error while loading" not in finished.stderr


def test_the_trainers_modules_and_caffes_examples_are_there(caffe_root: Path) -> None:
    installed_python(caffe_root, "import caffe.io, google.protobuf, jinja2, lmdb")
    assert (caffe_root / "root/usr/share/doc/caffe-doc/examples/cifar10/cifar10_quick_train_test.prototxt").is_file()


def test_nothing_runs_with_another_users_rights(caffe_root: Path) -> None:
    files = [path for path in caffe_root.rglob("*") if not path.is_symlink()]
    assert len(files) > 1000
    assert not [path for path in files if path.stat().st_mode & (stat.S_ISUID | stat.S_ISGID)]


def test_links_and_spaces_in_the_path(caffe_root: Path, tmp_path: Path) -> None:
    spaced = tmp_path / "with a space"
    spaced.symlink_to(caffe_root)
    other_name = tmp_path / "brew"
    other_name.symlink_to(spaced / "bin" / "caffe")
    assert "caffe version 1.0.0" in run(other_name, "--version").stdout
    assert installed_python(spaced, "import caffe; print(caffe.__version__)") == "1.0.0"


def test_a_callers_environment_does_not_shadow_caffe(caffe_root: Path, tmp_path: Path) -> None:
    (tmp_path / "numpy.py").write_text("__version__ = 'shadow'")
    (tmp_path / "extra.py").write_text("word = 'reachable'")
    code = "import caffe, numpy, extra; print(numpy.__version__, extra.word)"
    hostile = {"PYTHONPATH": str(tmp_path), "PYTHONHOME": "/nowhere", "LD_LIBRARY_PATH": "/usr/lib/x86_64-linux-gnu"}
    numpy, word = installed_python(caffe_root, code, **hostile).split()
    assert f":{numpy}-" in locked_versions()["python3-numpy"] and word == "reachable"


def test_children_see_the_callers_environment(caffe_root: Path) -> None:
    code = "import os; print(os.environ.get('PYTHONPATH'), os.environ.get('LD_LIBRARY_PATH'))"
    assert installed_python(caffe_root, code, PYTHONPATH="/a", LD_LIBRARY_PATH="/b") == "/a /b"


def test_sys_executable_runs_caffe(caffe_root: Path) -> None:
    code = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'import caffe; print(caffe.__version__)'])"
    assert installed_python(caffe_root, code) == "1.0.0"


def test_the_wrapper_becomes_the_program(caffe_root: Path) -> None:
    code = "import os, sys, time; print(os.getpid()); sys.stdout.flush(); time.sleep(600)"
    with subprocess.Popen([caffe_root / "bin" / "python3", "-c", code], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert int(process.stdout.readline()) == process.pid
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=60) == -signal.SIGTERM


def test_the_command_line_tools_log_to_stderr(caffe_root: Path, tmp_path: Path) -> None:
    net = tmp_path / "net.prototxt"
    net.write_text('layer { name: "d" type: "DummyData" top: "d" dummy_data_param { shape { dim: 1 } } }')
    finished = run(caffe_root / "bin" / "caffe", "time", "-model", net, "-iterations", 1, GLOG_log_dir=str(tmp_path))
    assert finished.returncode == 0 and "Average Forward pass" in finished.stderr
    assert list(tmp_path.iterdir()) == [net]


@pytest.mark.parametrize("name", ["python.lock", "mpich.lock"])
def test_every_locked_python_package_has_its_hash(name: str) -> None:
    lines = [line for line in LOCK.with_name(name).read_text().splitlines() if not line.startswith("#")]
    assert lines and all(re.fullmatch(r"\w+==[\d.]+ --hash=sha256:[0-9a-f]{64}", line) for line in lines)
    assert f'--require-hashes --requirement "$containers/{name}"' in LOCK.with_name("build.sh").read_text()
