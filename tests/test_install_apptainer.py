"""containers/install-apptainer.sh: its decisions, over packages and an apt made here, and the real one once."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import stat
import subprocess
import tempfile
from pathlib import Path
from typing import Iterator

import pytest

from tests.conftest import missing

SCRIPT = Path(__file__).resolve().parents[1] / "containers" / "install-apptainer.sh"
INTERNAL = "lib/x86_64-linux-gnu/apptainer/bin"  # where Debian's package has its starter, and looks for helpers
FAKES = {
    "apt-get": """
        echo "$*" >>"$FAKE/apt.log"
        folder=${APT_CONFIG%/apt.conf}
        suite=$(sed -n 's/.* \\([a-z]*\\) main$/\\1/p' "$folder/etc/apt/sources.list" 2>/dev/null)
        case "$*" in
            *update) [ ! -e "$FAKE/no-$suite" ] ;;
            *"download "*) for name; do :; done; echo "$suite $name" >>"$FAKE/downloads"
                cp "$FAKE/$name-$suite.deb" "${name}_1_amd64.deb" ;;
            *--download-only*) cp "$FAKE"/own/*.deb "$folder/var/cache/apt/archives" ;;
        esac""",
    "dpkg-query": 'for name; do :; done; [ -e "$FAKE/lacks-$name" ] || echo "ii "',
    # A program with an interpreter runs as long as that is where it was, and is young enough.
    "patchelf": """
        for program; do :; done
        echo "$*" >>"$FAKE/patchelf.log"
        case "$1" in --set-interpreter) echo "$(dirname "$2")/libc.so.6" >"$program.libc" ;; esac""",
}
APPTAINER = """
    case "$*" in
        --version) echo apptainer version 9.9 ;;
        *exec*) [ ! -e "$FAKE/no-namespaces" ] || { echo "FATAL: no user namespaces" >&2; exit 255; } ;;
    esac"""
STARTER = 'echo "no engine config" >&2; exit 1'
YOUNG_STARTER = """
    grep -qs young "$(cat "$0.libc" 2>/dev/null)" && exit 1
    echo "$0: libc.so.6: version GLIBC_9.9 not found (required by $0)" >&2; exit 1"""


def script(path: Path, body: str) -> None:
    """An executable shell script at `path`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("#!/bin/sh\n" + body + "\n")
    path.chmod(0o755)


def path_without_apptainer(folder: Path) -> str:
    """This machine's PATH; for a folder with an apptainer stands one with links to all else that is there."""
    path = []
    for number, place in enumerate(map(Path, os.environ["PATH"].split(":"))):
        if os.path.exists(place / "apptainer") or os.path.exists(place / "singularity"):
            links = folder / f"path{number}"
            links.mkdir()
            for program in place.iterdir():
                if program.name not in ("apptainer", "singularity"):
                    (links / program.name).symlink_to(program)
            place = links
        path.append(str(place))
    return ":".join(path)


class Machine:
    """A machine without apptainer, whose apt serves the packages that a test puts into `folder`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.prefix = folder / "prefix"
        for name, body in FAKES.items():
            script(folder / "bin" / name, body)
        (folder / "own").mkdir()
        self.path = f"{folder / 'bin'}:{path_without_apptainer(folder)}"
        self.environment = {**os.environ, "MIRROR": "", "APPTAINER_DEB": "", "PATH": self.path, "FAKE": str(folder)}

    def package(self, file: str, name: str, files: dict[str, str]) -> Path:
        """A Debian package of these executable files."""
        tree = self.folder / (file + ".tree")
        for path, body in files.items():
            script(tree / path, body)
        (tree / "DEBIAN").mkdir()
        (tree / "DEBIAN/control").write_text(
            f"Package: {name}\nVersion: 9.9-1\nArchitecture: amd64\nMaintainer: nobody\nDescription: for a test\n")
        deb = self.folder / file
        subprocess.run(["dpkg-deb", "--build", tree, deb], check=True, capture_output=True)
        return deb

    def apptainer(self, file: str = "apptainer-sid.deb", starter: str = STARTER) -> Path:
        """A package of apptainer, in Debian's layout."""
        return self.package(file, "apptainer", {
            "usr/bin/apptainer": APPTAINER, f"usr/{INTERNAL}/starter": starter, "etc/apptainer/apptainer.conf": ""})

    def libc(self, suite: str, age: str) -> None:
        """A release's C library; `age` young or old."""
        self.package(f"libc6-{suite}.deb", "libc6", {"usr/lib/x86_64-linux-gnu/libc.so.6": f"# {age}"})

    def install(self, *arguments: object, prefix: Path | None = None, **environment: str) -> tuple[int, str]:
        """Run the script; its exit code, and all that it said."""
        words = [str(word) for word in (SCRIPT, *(arguments or ("--mirror", "file:/mirror")), prefix or self.prefix)]
        finished = subprocess.run(words, env={**self.environment, **environment}, stdout=subprocess.PIPE,
                                  stderr=subprocess.STDOUT, text=True, timeout=300)
        return finished.returncode, finished.stdout

    def said(self, log: str) -> str:
        """What a fake program wrote down."""
        file = self.folder / log
        return file.read_text() if file.exists() else ""


@pytest.fixture(scope="module", autouse=True)
def usual_umask() -> Iterator[None]:
    """Whose packages dpkg-deb takes, and whose files another user can run."""
    before = os.umask(0o022)
    yield
    os.umask(before)


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """A machine with no apptainer of its own."""
    if not shutil.which("dpkg-deb") or not list(Path("/usr/share/keyrings").glob("debian-archive-keyring.*")):
        missing("no Debian: dpkg-deb and debian-archive-keyring are needed")
    return Machine(tmp_path)


def version(prefix: Path) -> dict[str, str]:
    """What the installation says of itself."""
    return dict(line.split("=", 1) for line in (prefix / "VERSION").read_text().splitlines())


def test_help_names_every_option(machine: Machine) -> None:
    code, said = machine.install("--help")
    assert code == 0
    assert all(word in said for word in ("--mirror URL", "--force", "--help", "PREFIX", "APPTAINER_DEB", "MIRROR"))


@pytest.mark.parametrize("arguments, found", [
    (["--nonsense"], "--nonsense"), (["one"], "one"), (["--mirror", ""], "--mirror"),
])
def test_usage_mistakes_end_with_2_and_say_what_was_found(machine: Machine, arguments: list[str], found: str) -> None:
    code, said = machine.install(*arguments)
    assert code == 2
    assert found in said and said.count("\n") == 1


def test_a_prefix_with_a_space_is_refused(machine: Machine) -> None:
    code, said = machine.install(prefix=machine.folder / "my containers")
    assert code == 2 and "my containers" in said and said.count("\n") == 1
    assert not (machine.folder / "my containers").exists()


def test_a_folder_of_somebody_else_is_left_alone(machine: Machine) -> None:
    machine.prefix.mkdir()
    (machine.prefix / "thesis.tex").write_text("")
    assert machine.install()[0] == 2
    assert [path.name for path in machine.prefix.iterdir()] == ["thesis.tex"]


def test_the_mirror_without_sid_is_named(machine: Machine) -> None:
    (machine.folder / "no-sid").touch()
    code, said = machine.install()
    assert code == 1 and "file:/mirror" in said.splitlines()[-1]
    assert not (machine.prefix / "VERSION").exists()


@pytest.mark.parametrize("name", ["apptainer", "singularity"])
def test_the_machines_own_wins_unless_forced(machine: Machine, name: str) -> None:
    machine.apptainer()
    script(machine.folder / "bin" / name, f"echo {name} 3.8.7")
    code, said = machine.install()
    assert code == 0 and f"bin/{name}" in said and "3.8.7" in said
    assert not machine.prefix.exists()
    assert machine.install("--force", "--mirror=file:/mirror")[0] == 0
    assert version(machine.prefix)["apptainer"] == "9.9-1"


def test_the_game_singularity_is_no_apptainer(machine: Machine) -> None:
    machine.apptainer()
    script(machine.folder / "bin/singularity", "echo cannot open display >&2; exit 1")
    assert machine.install()[0] == 0
    assert (machine.prefix / "bin/apptainer").exists()


def test_the_installed_one_on_the_path_is_not_the_machines_own(machine: Machine) -> None:
    machine.apptainer()
    machine.install()
    (machine.prefix / "VERSION").unlink()  # as after an interruption
    machine.install(PATH=f"{machine.prefix}/bin:{machine.path}")
    assert (machine.prefix / "VERSION").exists()


def test_what_lies_in_the_prefix(machine: Machine) -> None:
    deb = machine.apptainer()
    code, said = machine.install()
    assert code == 0, said
    digest = hashlib.sha256(deb.read_bytes()).hexdigest()
    assert version(machine.prefix) == {"apptainer": "9.9-1", "sha256": digest, "libc": "this machine's"}
    assert digest in said and "9.9-1" in said
    for name in ("apptainer", "singularity"):
        assert "9.9" in subprocess.run([machine.prefix / "bin" / name, "--version"], capture_output=True,
                                       text=True).stdout
    for above in (machine.prefix, machine.prefix / "lib"):
        assert (above / "etc/apptainer/apptainer.conf").exists() and (above / "var/lib/apptainer/mnt/session").is_dir()
    assert not (machine.prefix / ".work").exists()
    assert machine.said("downloads") == "sid apptainer\n" and machine.said("patchelf.log") == ""


def test_nothing_runs_with_another_users_rights(machine: Machine) -> None:
    tree = machine.folder / "apptainer-sid.deb.tree"
    script(tree / "usr/bin/starter-suid", "")
    (tree / "usr/bin/starter-suid").chmod(0o4755)
    machine.apptainer()
    assert machine.install()[0] == 0
    assert not (machine.prefix / "bin/starter-suid").stat().st_mode & stat.S_ISUID


def test_a_given_package_needs_no_network(machine: Machine) -> None:
    given = str(machine.apptainer("mine.deb"))
    code, said = machine.install("--force", APPTAINER_DEB=given)
    assert code == 0, said
    assert machine.said("apt.log") == ""
    assert "already" in machine.install("--force", APPTAINER_DEB=given)[1]
    other = machine.apptainer("other.deb", starter=STARTER + " # another")
    machine.install("--force", APPTAINER_DEB=str(other))
    assert version(machine.prefix)["sha256"] == hashlib.sha256(other.read_bytes()).hexdigest()


def test_a_given_package_of_something_else_is_refused(machine: Machine) -> None:
    machine.libc("sid", "old")
    code, said = machine.install(APPTAINER_DEB=str(machine.folder / "libc6-sid.deb"))
    assert code == 2 and "libc6-sid.deb" in said


def test_the_second_call_has_nothing_to_do(machine: Machine) -> None:
    machine.apptainer()
    machine.install()
    before = machine.said("apt.log")
    code, said = machine.install()
    assert code == 0 and "already" in said
    assert machine.said("apt.log") == before


@pytest.mark.parametrize("ages, taken, downloads", [
    (("young", "young"), "trixie", ["sid apptainer", "trixie libc6"]),
    (("old", "young"), "sid", ["sid apptainer", "trixie libc6", "sid libc6"]),
])
def test_the_c_library_comes_from_the_first_release_whose_one_does(
        machine: Machine, ages: tuple[str, str], taken: str, downloads: list[str]) -> None:
    machine.apptainer(starter=YOUNG_STARTER)
    for suite, age in zip(("trixie", "sid"), ages):
        machine.libc(suite, age)
    code, said = machine.install()
    assert code == 0, said
    assert version(machine.prefix)["libc"] == taken
    assert machine.said("downloads").splitlines() == downloads


def test_a_program_that_never_starts_is_no_installation(machine: Machine) -> None:
    machine.apptainer(starter=YOUNG_STARTER)
    machine.libc("trixie", "old")
    machine.libc("sid", "old")
    code, said = machine.install()
    assert code == 1 and "GLIBC_9.9" in said.splitlines()[-1]
    assert not (machine.prefix / "VERSION").exists()


def test_a_moved_prefix_is_installed_again(machine: Machine) -> None:
    machine.apptainer(starter=YOUNG_STARTER)
    machine.libc("trixie", "young")
    machine.install()
    moved = machine.folder / "moved"
    machine.prefix.rename(moved)
    code, said = machine.install(prefix=moved)
    assert code == 0 and "already" not in said
    assert "already" in machine.install(prefix=moved)[1]
    assert str(moved / "libc/libc.so.6") in (moved / INTERNAL / "starter.libc").read_text()


def test_helpers_that_the_machine_lacks_come_from_its_own_releases(machine: Machine) -> None:
    machine.apptainer()
    (machine.folder / "lacks-squashfuse").touch()
    machine.package("own/squashfuse.deb", "squashfuse", {
        "usr/bin/squashfuse_ll": "true", "usr/lib/x86_64-linux-gnu/libsquashfuse.so.0": "", "usr/share/doc/x": ""})
    code, said = machine.install()
    assert code == 0, said
    assert re.search(r"--download-only install squashfuse patchelf$", machine.said("apt.log"), re.MULTILINE)
    assert {path.name for path in (machine.prefix / INTERNAL).iterdir()} == {
        "starter", "squashfuse_ll", "libsquashfuse.so.0"}
    assert f"--set-rpath $ORIGIN {machine.prefix / INTERNAL}/squashfuse_ll" in machine.said("patchelf.log")


def test_a_machine_that_forbids_containers_gets_a_warning(machine: Machine) -> None:
    machine.apptainer()
    (machine.folder / "no-namespaces").touch()
    code, said = machine.install()
    assert code == 0 and "warning" in said and "no user namespaces" in said
    assert (machine.prefix / "VERSION").exists()


def test_two_calls_at_once_install_once(machine: Machine) -> None:
    machine.apptainer()
    calls = [subprocess.Popen([SCRIPT, "--mirror", "file:/mirror", machine.prefix], env=machine.environment,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT) for _ in range(3)]
    said = [call.communicate(timeout=300)[0] for call in calls]
    assert [call.returncode for call in calls] == [0, 0, 0], said
    assert machine.said("downloads") == "sid apptainer\n"


def test_no_host_is_named() -> None:
    for file in (SCRIPT, SCRIPT.with_name("private-apt.sh")):
        assert not re.search(r"https?://\w", file.read_text())


# The real one, and what an ordinary user can do with it.


@pytest.fixture(scope="module")
def real() -> Iterator[Path]:
    """A real apptainer in a folder that every user may enter, and a sandbox with two programs."""
    if not shutil.which("apt-get"):
        missing("no apt-get, so no real apptainer")
    folder = Path(tempfile.mkdtemp(prefix="menndl-apptainer-"))
    folder.chmod(0o755)
    finished = subprocess.run([SCRIPT, "--force", folder / "prefix"], capture_output=True, text=True, timeout=1800)
    assert finished.returncode == 0 and "warning" not in finished.stderr, finished.stdout + finished.stderr
    for name in ("proc", "sys", "dev", "tmp", "var/tmp", "etc", "root", "home"):
        (folder / "sandbox" / name).mkdir(parents=True)
    for program in ("/bin/sh", "/usr/bin/id"):
        linked = subprocess.run(["ldd", program], capture_output=True, text=True, check=True).stdout
        for file in {program, *re.findall(r"/\S+", linked)}:
            copy = folder / "sandbox" / file[1:]
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(file, copy)
    yield folder
    shutil.rmtree(folder)


def as_ordinary_user(real: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    """What apptainer does for a user without rights."""
    home = real / "home"
    identity = {}
    home.mkdir(exist_ok=True)
    if os.getuid() == 0:
        os.chown(home, 1000, 1000)
        identity = {"user": 1000, "group": 1000, "extra_groups": []}
    words = [str(word) for word in (real / "prefix/bin/apptainer", "--quiet", *arguments)]
    return subprocess.run(words, env={**os.environ, "HOME": str(home)}, cwd="/", text=True, timeout=300,
                          capture_output=True, **identity)  # type: ignore[call-overload]


def test_a_real_apptainer_runs_a_sandbox_for_an_ordinary_user(real: Path) -> None:
    finished = as_ordinary_user(real, "exec", real / "sandbox", "/usr/bin/id", "-u")
    assert finished.returncode == 0, finished.stderr
    assert finished.stdout.strip() == str(os.getuid() or 1000)


def test_a_real_apptainer_builds_an_image_and_unpacks_it_for_an_ordinary_user(real: Path) -> None:
    image = real / "home/x.sif"
    built = as_ordinary_user(real, "build", image, real / "sandbox")
    assert built.returncode == 0 and image.read_bytes()[:32].startswith(b"#!/usr/bin/env run-singularity"), built.stderr
    finished = as_ordinary_user(real, "exec", "--unsquash", image, "/usr/bin/id", "-u")
    assert finished.returncode == 0, finished.stderr
    assert finished.stdout.strip() == str(os.getuid() or 1000)
