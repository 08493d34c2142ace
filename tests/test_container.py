"""Container definitions and how they are rendered, what `exec.sh` starts, and the real image of `make container`."""
from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any, Dict, List

import pytest

import menndl_caffe
from menndl_caffe import journal
from menndl_caffe.trial import OK
from tests.conftest import REPOSITORY, missing
from tests.support import caffe_runs, runs
from tests.support.cluster import write_program

CONTAINERS = REPOSITORY / "containers"
DEFINITIONS = sorted(CONTAINERS.glob("*.def"))
EXEC = CONTAINERS / "exec.sh"
NOT_BUILT_HERE = {"menndl-caffe-gpu.def", "menndl-torch.def"}


def run(*command: object, **keywords: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(part) for part in command], capture_output=True, text=True, timeout=600, **keywords)


def rendered(*arguments: object) -> str:
    done = run(sys.executable, CONTAINERS / "definition.py", *arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout


def sections(definition: str) -> Dict[str, str]:
    """The sections of a definition by name; "" is the header."""
    parts = re.split(r"^%(.*)$", definition, flags=re.MULTILINE)
    return {"": parts[0], **dict(zip(parts[1::2], parts[2::2]))}


# ---------------------------------------------------------------------------------------------------------- Definitions

@pytest.mark.parametrize("path", DEFINITIONS, ids=lambda path: path.name)
def test_a_definition_renders_flat(path: Path) -> None:
    flat = rendered(path)
    assert "{{" not in flat and "%arguments" not in flat
    names = set(sections(path.read_text()))
    assert set(sections(flat)) == names - {"arguments"}
    assert {"", "files", "post", "environment", "test"} <= names


@pytest.mark.parametrize("path", DEFINITIONS, ids=lambda path: path.name)
def test_shell_of_a_definition_is_sound(path: Path) -> None:
    for name, text in sections(rendered(path)).items():
        if name in ("post", "environment", "test", "runscript") or name.startswith("apprun"):
            done = run("sh", "-n", "-c", text)
            assert done.returncode == 0, f"%{name}: {done.stderr}"


@pytest.mark.parametrize("path", DEFINITIONS, ids=lambda path: path.name)
def test_what_was_not_built_says_so_on_its_first_line(path: Path) -> None:
    assert path.read_text().startswith("# NOT BUILT OR RUN BY US") == (path.name in NOT_BUILT_HERE)


@pytest.mark.parametrize("path", DEFINITIONS, ids=lambda path: path.name)
def test_files_that_a_definition_copies_are_there(path: Path) -> None:
    made_by_build = ("{{ MPI4PY }}", "{{ PYTHON }}")
    for line in sections(path.read_text())["files"].split("\n"):
        source = line.strip().rsplit(" ", 1)[0]
        assert not source or source in made_by_build or (REPOSITORY / source).exists(), source


def test_the_fast_variant_differs_in_its_header_alone() -> None:
    path = CONTAINERS / "menndl-caffe.def"
    alone, fast = sections(rendered(path)), sections(rendered(path, "--from", "/a folder/rootfs"))
    assert fast.pop("").split("\n\n")[0].endswith("Bootstrap: localimage\nFrom: /a folder/rootfs")
    del alone[""]
    assert fast == alone


def test_no_definition_names_a_debian_mirror() -> None:
    for path in DEFINITIONS:
        text = path.read_text()
        assert not re.search(r"https?://", text), path.name


@pytest.mark.parametrize(("arguments", "message"), [
    (["menndl-caffe.def", "MIROR=x"],
     "MIROR is not an argument; valid: CAFFE_VERSION, COMMIT, MIRROR, PYTHON, SECURITY"),
    (["menndl-caffe.def", "MIRROR"], "MIRROR; expected NAME=VALUE"),
    (["none.def"], "No such file"),
])
def test_a_mistake_in_rendering_is_one_line(arguments: List[str], message: str) -> None:
    done = run(sys.executable, CONTAINERS / "definition.py", CONTAINERS / arguments[0], *arguments[1:])
    assert done.returncode == 2 and message in done.stderr and done.stderr.count("\n") == 1


def test_values_are_taken_as_they_are(tmp_path: Path) -> None:
    definition = tmp_path / "x.def"
    definition.write_text("Bootstrap: docker\nFrom: {{ A }}\n\n%arguments\n    A=one\n    B=\n\n%post\n  echo {{B}}\n")
    value = "a=b & \\1 {{ A }}"
    assert rendered(definition, f"B={value}") == f"Bootstrap: docker\nFrom: one\n\n%post\n  echo {value}\n"


# -------------------------------------------------------------------------------------------------------------- exec.sh

FAKE = """#!/bin/bash
[[ $1 == --version ]] && { echo "apptainer version 1.2.5"; exit; }
printf '<%s>' "$@"; echo
env
"""


@pytest.fixture
def fake(tmp_path: Path) -> Dict[str, str]:
    """An environment with an Apptainer that says how it was called, and an image that is none."""
    folder = tmp_path / "a folder"
    folder.mkdir()
    (folder / "apptainer").write_text(FAKE)
    (folder / "apptainer").chmod(0o755)
    (folder / "x.sif").mkdir()  # an unpacked one, which any user can run
    return {**os.environ, "PATH": f"{folder}:{os.environ['PATH']}", "IMAGE": str(folder / "x.sif"), "APPTAINER": ""}


def words(done: subprocess.CompletedProcess[str]) -> List[str]:
    assert done.returncode == 0, done.stderr
    return re.findall("<(.*?)>", done.stdout.splitlines()[0])


def test_exec_hands_everything_on(fake: Dict[str, str]) -> None:
    done = run(EXEC, "--bind", "/a b:/data:ro", "--nv", fake["IMAGE"], "menndl", "--help", "two words", "", env=fake)
    called = words(done)
    assert called[:2] == ["--quiet", "exec"] and called[-5:] == [fake["IMAGE"], "menndl", "--help", "two words", ""]
    assert {"--nv", "/a b:/data:ro"} <= set(called) and "--cleanenv" not in called


def test_exec_leaves_the_hosts_python_and_mpi_outside(fake: Dict[str, str]) -> None:
    outside = {"PYTHONPATH": "/host", "OPAL_PREFIX": "/host", "MENNDL_TRAINER": "self", "OMPI_COMM_WORLD_RANK": "3"}
    done = run(EXEC, fake["IMAGE"], "true", env={**fake, **outside})
    inside = dict(line.split("=", 1) for line in done.stdout.splitlines()[1:] if "=" in line)
    assert not {"PYTHONPATH", "OPAL_PREFIX", "MENNDL_TRAINER"} & set(inside)
    assert inside["OMPI_COMM_WORLD_RANK"] == "3" and inside["PMIX_MCA_gds"] == "hash"


def test_exec_binds_the_hosts_mpi(fake: Dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "mpi" / "lib").mkdir(parents=True)
    refused = run(EXEC, "--host-mpi", tmp_path / "mpi", fake["IMAGE"], "true", env=fake)
    assert refused.returncode == 2 and "no libmpi.so" in refused.stderr
    (tmp_path / "mpi" / "lib" / "libmpi.so.40").touch()
    for folder in (tmp_path / "mpi", "mpi"):
        called = words(run(EXEC, "--host-mpi", folder, fake["IMAGE"], "true", env=fake, cwd=tmp_path))
        assert f"{tmp_path}/mpi:{tmp_path}/mpi:ro" in called and f"LD_LIBRARY_PATH={tmp_path}/mpi/lib" in called


def test_exec_asks_for_no_privileges_where_root_has_too_few(fake: Dict[str, str]) -> None:
    status = Path("/proc/self/status").read_text()
    permitted = int(re.search(r"CapPrm:\t(\w+)", status)[1], 16)  # type: ignore[index]
    known = int(Path("/proc/sys/kernel/cap_last_cap").read_text())
    lacking = os.geteuid() == 0 and permitted != 2 ** (known + 1) - 1
    assert ("--no-privs" in words(run(EXEC, fake["IMAGE"], "true", env=fake))) == lacking


def test_exec_takes_no_game_for_singularity(fake: Dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "apptainer").write_text("#!/bin/sh\necho cannot open display >&2; exit 1\n")
    (tmp_path / "bin" / "apptainer").chmod(0o755)
    done = run(EXEC, fake["IMAGE"], "true", env={**fake, "PATH": f"{tmp_path / 'bin'}:{fake['PATH']}"})
    assert words(done)[-1] == "true"


@pytest.mark.parametrize(("arguments", "message"), [
    ([], "no IMAGE given"),
    (["IMAGE"], "no COMMAND given"),
    (["/nowhere.sif", "true"], "no image at /nowhere.sif; make container builds"),
    (["--binds", "x"], "unknown option --binds"),
    (["--bind"], "--bind needs a folder"),
])
def test_a_mistake_in_exec_is_one_line(fake: Dict[str, str], arguments: List[str], message: str) -> None:
    done = run(EXEC, *(fake["IMAGE"] if word == "IMAGE" else word for word in arguments), env=fake)
    assert done.returncode == 2 and message in done.stderr and done.stderr.count("\n") == 1


@pytest.mark.skipif(os.geteuid() != 0, reason="for root alone")
def test_root_of_an_identity_namespace_has_every_capability() -> None:
    done = run(CONTAINERS / "identity-namespace.py", "sh", "-c", "id -u; cat /proc/self/uid_map /proc/self/status")
    if "no new user namespace" in done.stderr:
        missing(done.stderr)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0] == "0" and lines[1].split() == ["0", "0", "65536"]
    effective = next(line.split()[1] for line in lines if line.startswith("CapEff"))
    assert int(effective, 16) == 2 ** (int(Path("/proc/sys/kernel/cap_last_cap").read_text()) + 1) - 1


# -------------------------------------------------------------------------------------------------------- Other scripts

@pytest.mark.parametrize("busy, code", [(0, 0), (2, 0), (3, 1)])
def test_the_hosts_apt_is_asked_again_while_it_is_busy(tmp_path: Path, busy: int, code: int) -> None:
    write_program(tmp_path / "sleep", "")
    write_program(tmp_path / "apt-get", f'[[ $* == *install* ]] || exit 100; echo "$*" >>"{tmp_path}/asked"; '
                                        f'(($(wc -l <"{tmp_path}/asked") > {busy}))')
    done = run("bash", "-c", '. "$0"; install_on_host one two', CONTAINERS / "host.sh",
               env={**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"})
    asked = (tmp_path / "asked").read_text().splitlines()
    assert done.returncode == code and len(asked) == min(busy + 1, 3)
    assert all(line.endswith(" one two") for line in asked)


# ------------------------------------------------------------------------------------------------------- The real image

def inside(image: Path, *command: object, **keywords: Any) -> str:
    done = run(EXEC, image, *command, **keywords)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_image_has_the_packages_of_the_lock(container_image: Path) -> None:
    lines = (CONTAINERS / "packages.lock").read_text().splitlines()
    lock = [line.split()[0] for line in lines if not line.startswith("#")]
    found = inside(container_image, "cat", "/opt/menndl/packages.txt").splitlines()
    names = [line.split("=")[0] for line in found]
    assert names == [line.split("=")[0] for line in lock]
    assert {line for line in found if "caffe" in line} == {line for line in lock if "caffe" in line}


def test_the_image_has_the_python_packages_of_their_lock(container_image: Path) -> None:
    lock = re.findall(r"^(\w+)==(\S+)", (CONTAINERS / "python.lock").read_text(), re.MULTILINE)
    code = "import sys, importlib.metadata as m; print([(name, m.version(name)) for name in sys.argv[1:]])"
    assert inside(container_image, "python3", "-c", code, *(name for name, _ in lock)) == f"{lock}\n"


LEARNING = {"GUIDED_GA": "guided_ga_param {{ design: 4 }}", "CMA_ES": "cma_es_param {{ population: 4 }}"}
PAD = 'gene { name: "pad" choice { value: "2" value: "SAME" default: "2" } }'


@pytest.mark.parametrize("kind, choices", [("GUIDED_GA", True), ("CMA_ES", False), ("CMA_ES", True)])
def test_a_master_in_the_image_learns(container_image: Path, tmp_path: Path, kind: str, choices: bool) -> None:
    """With bullseye's numpy and scipy, and with the packages that bullseye has not, or not new enough."""
    search, run = tmp_path / "small.search.prototxt", tmp_path / "run"
    caffe_runs.write_narrow_search(search, runs.small_data(tmp_path / "data"), trials=10,
                                   kind=f"{runs.LIMITED[kind]} {LEARNING[kind]}")
    if choices:
        search.write_text(search.read_text().replace('constant { name: "pad" value: "2" }', PAD))
    inside(container_image, "menndl", "run", search, "--out", run, cwd=REPOSITORY)
    record = journal.read(run)
    genomes = {trial.genome for trial, _ in record.individuals()}
    assert record.run["menndl_python"].startswith("3.9.")
    assert {result.status for result in record.results.values()} == {OK}
    assert len(genomes) == 10 and len({genome.as_dict().get("pad") for genome in genomes}) == 1 + choices


def test_the_image_says_what_it_is(container_image: Path) -> None:
    labels = json.loads(inside(container_image, "cat", "/.singularity.d/labels.json"))
    assert labels["org.opencontainers.image.version"] == menndl_caffe.__version__
    assert re.match(r"[0-9a-f]{40}(\+changes)?$|unknown$", labels["org.opencontainers.image.revision"])
    assert labels["menndl.caffe"].startswith("1.0.0+git") and labels["menndl.openmpi"].startswith("4.1")


def test_the_image_runs_real_caffe_and_menndl(container_image: Path) -> None:
    assert "caffe version 1.0.0" in inside(container_image, "caffe", "--version")
    found = json.loads(inside(container_image, "menndl", "doctor", "--json"))
    findings = {finding["what"]: finding for finding in found}
    assert findings["caffe"]["works"] and "openblas" in findings["caffe"]["found"]
    assert findings["mpi4py"]["works"] and "Open MPI v4.1" in findings["mpi4py"]["found"]


def test_a_users_own_python_packages_stay_outside(container_image: Path, tmp_path: Path) -> None:
    """The home folder is the host's; what is installed there is for another Python."""
    package = tmp_path / "lib" / "python3.9" / "site-packages" / "numpy"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("raise SystemExit('not this one')")
    code = "import caffe, numpy; print(numpy.__version__)"
    environment = {**os.environ, "PYTHONUSERBASE": str(tmp_path)}
    assert inside(container_image, "python3", "-c", code, env=environment).startswith("1.19")


def test_ranks_that_do_not_find_each_other_are_caught(container_image: Path, tmp_path: Path) -> None:
    """Three processes that a launcher of another MPI starts are three worlds of one, without any error of MPI's."""
    command = ["menndl", "run", "solvers/quick.search.prototxt", "--out", str(tmp_path / "run")]
    environment = {**os.environ, "PMI_SIZE": "3", "PMI_RANK": "0"}  # as an MPICH launcher says it
    for options, told_by in (["--expect-ranks", "3"], "--expect-ranks wants 3"), ([], "the launcher started 3"):
        done = run(EXEC, container_image, *command, *options, cwd=REPOSITORY, env=environment)
        assert done.returncode == 2 and f"the MPI world has 1 rank, {told_by}" in done.stderr
    assert not (tmp_path / "run").exists()
