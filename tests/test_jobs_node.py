"""What the job scripts do on every node: stage-data.sh, gpu-of-rank.sh, and the choice of a node-local folder."""
from __future__ import annotations

import os
import shlex
import shutil
import signal
import stat
import subprocess
import time
from pathlib import Path
from typing import Any, Callable, Iterator, List, Tuple

import pytest

from tests.conftest import REPOSITORY
from tests.support import runs
from tests.support.cluster import JOBS, TIME_IS_UP, Cluster, write_program

STAGE, GPU = JOBS / "stage-data.sh", JOBS / "gpu-of-rank.sh"


@pytest.fixture
def cluster(tmp_path: Path) -> Cluster:
    return Cluster(tmp_path)


LOCAL_RANKS = ("OMPI_COMM_WORLD_LOCAL_RANK", "MPI_LOCALRANKID", "MV2_COMM_WORLD_LOCAL_RANK", "PALS_LOCAL_RANKID",
               "PMI_LOCAL_RANK", "JSM_NAMESPACE_LOCAL_RANK", "FLUX_TASK_LOCAL_ID", "ALPS_APP_PE", "SLURM_LOCALID")


def gpu_of(cluster: Cluster, **variables: str) -> str:
    environment = {"PATH": f"{cluster.home / 'bin'}:/usr/bin:/bin", "FAKE_CLUSTER": str(cluster.home), **variables}
    done = subprocess.run([str(GPU), "bash", "-c", "echo ${CUDA_VISIBLE_DEVICES-none}"], env=environment, text=True,
                          capture_output=True, check=True)
    return done.stdout.strip()


@pytest.mark.parametrize("name", LOCAL_RANKS)
def test_a_gpu_by_the_local_rank(cluster: Cluster, name: str) -> None:
    assert [gpu_of(cluster, **{name: str(rank)}) for rank in (0, 3, 4, 9)] == ["0", "3", "0", "1"]  # of four
    assert gpu_of(cluster, **{name: "1", "CUDA_VISIBLE_DEVICES": "2,5"}) == "5"
    assert gpu_of(cluster, **{name: "1", "CUDA_VISIBLE_DEVICES": "GPU-a1,GPU-b2"}) == "GPU-b2"
    assert gpu_of(cluster, **{name: "1", "CUDA_VISIBLE_DEVICES": "3"}) == "3"  # the launcher's choice stays
    assert gpu_of(cluster, **{name: "1", "CUDA_VISIBLE_DEVICES": ""}) == ""  # and so does none


def test_the_inner_launcher_knows_the_rank(cluster: Cluster) -> None:
    """mpirun's ranks in a Slurm job all have the SLURM_LOCALID of the batch script."""
    assert gpu_of(cluster, SLURM_LOCALID="0", OMPI_COMM_WORLD_LOCAL_RANK="2") == "2"
    assert gpu_of(cluster, SLURM_LOCALID="0", FLUX_TASK_LOCAL_ID="2") == "2"
    assert gpu_of(cluster) == "0"


def test_a_node_without_nvidia_smi_has_no_gpus(cluster: Cluster, tmp_path: Path) -> None:
    """Whatever the machine of this test has."""
    (tmp_path / "bash").symlink_to(shutil.which("bash") or "/bin/bash")
    assert gpu_of(cluster, SLURM_LOCALID="1", PATH=str(tmp_path)) == "none"


class Node:
    """A node's own disk, and stage-data.sh on it."""

    def __init__(self, root: Path, data: Path):
        self.root, self.data = root, data
        self._holders: List[subprocess.Popen[bytes]] = []
        root.mkdir()

    def local(self, job: str) -> Path:
        return self.root / f"menndl-{os.getuid()}-{job}"

    def __call__(self, *arguments: object, **variables: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([str(STAGE), *map(str, arguments)], text=True, capture_output=True, timeout=120,
                              env={**os.environ, **variables})

    def stage(self, job: str, **variables: str) -> subprocess.CompletedProcess[str]:
        return self(self.data, self.local(job), **variables)

    def hold(self, job: str, *command: str) -> subprocess.Popen[bytes]:
        self._holders.append(subprocess.Popen([str(STAGE), "--hold", str(self.local(job)), *command]))
        return self._holders[-1]

    def close(self) -> None:
        """Whatever a test has seen, nothing of it runs on."""
        for holder in self._holders:
            holder.terminate()
            holder.wait(timeout=60)


@pytest.fixture
def node(cluster: Cluster, tmp_path: Path) -> Iterator[Node]:
    made = Node(tmp_path / "own disk", cluster.data)
    yield made
    made.close()


def with_tar(folder: Path, first: str) -> str:
    """A PATH where tar does something else first; its pid is written down."""
    folder.mkdir()
    write_program(folder / "tar", f'echo $$ >>"{folder}/pids"; {first}; exec {shutil.which("tar")} "$@"')
    return f"{folder}:{os.environ['PATH']}"


def stuck_copy(node: Node, folder: Path) -> subprocess.Popen[bytes]:
    """stage-data.sh in the middle of a copy, at which it stays."""
    partial = node.local("1") / "partial"
    path = with_tar(folder, f'while [[ -d "{partial}" ]]; do sleep 0.05; done')
    process = subprocess.Popen([str(STAGE), str(node.data), str(node.local("1"))], start_new_session=True,
                               env={**os.environ, "PATH": path})
    assert runs.wait_until(partial.exists)
    return process


def age(path: Path, minutes: float) -> None:
    then = time.time() - 60 * minutes
    os.utime(path, (then, then))


def test_a_copy_is_private_writable_and_made_once(node: Node) -> None:
    assert "are in" in node.stage("1").stdout
    copy = node.local("1") / "data" / "cifar10_train_lmdb"
    assert stat.S_IMODE(node.local("1").stat().st_mode) == 0o700
    assert [path.name for path in copy.iterdir()] == ["data.mdb"]
    assert (copy / "data.mdb").stat().st_mode & 0o200  # its source is read-only
    inode = (copy / "data.mdb").stat().st_ino
    assert node.stage("1").returncode == 0 and (copy / "data.mdb").stat().st_ino == inode
    (node.data / "mean.binaryproto").write_bytes(b"another mean")
    assert node.stage("1").returncode == 0
    assert (node.local("1") / "data" / "mean.binaryproto").read_bytes() == b"another mean"
    assert node("--remove", node.local("1")).returncode == 0 and list(node.root.iterdir()) == []
    assert node("--remove", node.local("1")).returncode == 0


def test_called_twice_at_once_it_copies_once(node: Node, tmp_path: Path) -> None:
    path = with_tar(tmp_path / "slow", "sleep 0.5")
    both = [subprocess.Popen([str(STAGE), str(node.data), str(node.local("1"))], env={**os.environ, "PATH": path})
            for _ in range(2)]
    assert [process.wait(timeout=120) for process in both] == [0, 0]
    assert len((tmp_path / "slow" / "pids").read_text().split()) == 2  # one tar that reads, one that writes
    assert (node.local("1") / "data" / "mean.binaryproto").exists()


def test_two_jobs_on_a_node_do_not_disturb_each_other(node: Node) -> None:
    node.stage("1")
    node.stage("2")
    node("--remove", node.local("1"))
    assert [path.name for path in node.root.iterdir()] == [node.local("2").name]
    assert (node.local("2") / "data" / "mean.binaryproto").exists()


def test_a_copy_that_is_stopped_is_removed(node: Node, tmp_path: Path) -> None:
    process = stuck_copy(node, tmp_path / "stuck")
    process.terminate()
    assert process.wait(timeout=60) == 143
    assert list(node.root.iterdir()) == []


def test_a_copy_that_was_killed_is_no_copy(node: Node, tmp_path: Path) -> None:
    process = stuck_copy(node, tmp_path / "stuck")
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert node("--hold", node.local("1"), "true").returncode == 1
    assert node.stage("1").returncode == 0  # the same job, begun again
    assert not (node.local("1") / "partial").exists() and (node.local("1") / "data" / "mean.binaryproto").exists()


def test_what_dead_jobs_left_is_removed_and_nothing_else(node: Node, tmp_path: Path) -> None:
    for job in ("dead", "young", "held"):
        node.stage(job)
    for job, minutes in (("dead", 61), ("young", 50), ("held", 61)):
        age(node.local(job) / "lock", minutes)
    node.hold("held", "sleep", "600")
    assert runs.wait_until(lambda: (node.local("held") / "lock").stat().st_mtime > time.time() - 3000)
    age(node.local("held") / "lock", 61)
    (node.root / "somebody's").mkdir()
    output = node.stage("new").stdout
    assert f"removed {node.local('dead')}" in output and output.count("removed") == 1
    assert {path.name for path in node.root.iterdir()} == {
        "somebody's", *(node.local(job).name for job in ("young", "held", "new"))}


def holding(node: Node, ranks: int) -> Tuple[List[subprocess.Popen[bytes]], List[int]]:
    """Ranks that hold the copy, once their commands run; and these commands' process ids."""
    places = [node.root / f"rank{n}" for n in range(ranks)]
    holders = [node.hold("1", "bash", "-c", 'echo $$ >"$1.new"; mv "$1.new" "$1"; exec sleep 600', "-", str(place))
               for place in places]
    assert runs.wait_until(lambda: all(place.exists() for place in places))
    pids = [int(place.read_text()) for place in places]
    for place in places:
        place.unlink()
    return holders, pids


def test_the_last_of_a_nodes_ranks_that_is_stopped_removes_the_copy(node: Node) -> None:
    node.stage("1")
    ranks, pids = holding(node, 3)
    for rank, left in zip(ranks, (True, True, False)):
        rank.terminate()
        assert rank.wait(timeout=60) == -signal.SIGTERM
        assert node.local("1").exists() == left
    assert all(runs.has_ended(pid) for pid in pids)


def test_ranks_that_are_stopped_together_remove_the_copy_too(node: Node) -> None:
    for _ in range(5):
        node.stage("1")
        ranks, _ = holding(node, 4)
        for rank in ranks:
            rank.terminate()
        assert [rank.wait(timeout=60) for rank in ranks] == [-signal.SIGTERM] * 4
        assert not node.local("1").exists()


def test_a_rank_that_is_stopped_as_soon_as_its_command_begins_ends_with_it(node: Node) -> None:
    pid = node.root / "pid"
    for _ in range(20):
        node.stage("1")
        rank = node.hold("1", "sh", "-c", f"kill -TERM $PPID; echo $$ >{shlex.quote(str(pid))}; exec sleep 600")
        assert rank.wait(timeout=60) == -signal.SIGTERM and not node.local("1").exists()
        assert not pid.exists() or runs.has_ended(int(pid.read_text() or 0))


def test_a_rank_keeps_what_its_launcher_left_open_and_the_lock_is_not_inherited(node: Node) -> None:
    """MPICH speaks to its ranks over a descriptor of any small number."""
    node.stage("1")
    opened, last = node.data / "mean.binaryproto", 19
    launcher = f'for ((n = 3; n <= {last}; n++)); do eval "exec $n<\\"\\$1\\""; done; shift; exec "$@"'
    listed = subprocess.run(["bash", "-c", launcher, "-", str(opened), str(STAGE), "--hold", str(node.local("1")),
                             "ls", "-l", "/proc/self/fd"], capture_output=True, text=True, check=True).stdout
    assert all(f" {descriptor} -> {opened}\n" in listed for descriptor in range(3, last + 1))
    assert "/lock" not in listed


def test_a_rank_that_ends_in_order_when_it_is_told_to_says_so_itself(node: Node) -> None:
    """As those do of which the first has left with code 75, and the launcher stops the others."""
    node.stage("1")
    for code in (0, TIME_IS_UP):
        ready = node.root / f"ready{code}"
        rank = node.hold("1", "bash", "-c", f"trap 'sleep 0.3; exit {code}' TERM; touch {shlex.quote(str(ready))}; "
                                            "while :; do sleep 0.1; done")
        assert runs.wait_until(ready.exists)
        rank.terminate()
        assert rank.wait(timeout=60) == code and not node.local("1").exists()
        node.stage("1")


def test_a_rank_that_ends_by_itself_leaves_the_copy_and_says_how_it_ended(node: Node) -> None:
    """A launcher must be able to tell an exit code from a signal: with fault tolerance, only the latter is a death."""
    node.stage("1")
    for code in (0, 2, TIME_IS_UP):
        assert node("--hold", node.local("1"), "bash", "-c", f"exit {code}").returncode == code
    killed = node("--hold", node.local("1"), "bash", "-c", "kill -9 $$")
    assert killed.returncode == -signal.SIGKILL and (node.local("1") / "data").exists()


def test_a_full_disk_is_told_before_the_copy(node: Node, tmp_path: Path) -> None:
    write_program(tmp_path / "df", "echo header; echo /dev/sda1 100 99 1 99% /")
    done = node.stage("1", PATH=f"{tmp_path}:{os.environ['PATH']}")
    assert done.returncode == 1 and "1 MB are free for" in done.stderr and "the data needs 1 MB" in done.stderr


@pytest.mark.parametrize("arguments", [
    [], ["only one"], ["a", "b", "c"], ["--unknown", "b"], ["no data", "/tmp/menndl-{uid}-1"], ["{data}", "/tmp/data"],
    ["{data}", "menndl-{uid}-1"], ["{data}", "/tmp/menndl-{other}-1"], ["--hold", "/tmp/menndl-{uid}-1"],
    ["--remove"], ["--remove", "/tmp"], ["--remove", "/tmp/menndl-{uid}-"],
])
def test_misuse_of_stage_data(node: Node, arguments: List[str]) -> None:
    uid = os.getuid()
    done = node(*(word.format(data=node.data, uid=uid, other=uid + 1) for word in arguments))
    assert done.returncode == 2 and done.stderr.startswith("stage-data: error: ") and done.stderr.count("\n") == 1
    assert node.data.exists()


@pytest.fixture
def choose(node: Node, cluster: Cluster, tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """common.sh's choice among folders, where the file system of a folder and its free MB are what its name says."""
    for name, answer in (("stat", 'basename "${@: -1}" | cut -d- -f1'),
                         ("df", 'echo; echo disk 0 0 $(basename "${@: -1}" | cut -d- -f2)')):
        write_program(cluster.home / "bin" / name, answer)

    def run(*names: str) -> subprocess.CompletedProcess[str]:
        roots = [str(tmp_path / name) if name else "" for name in names]
        code = f'DATA=$1; shift; source "{JOBS}/common.sh"; choose_local_root "$@"'
        return subprocess.run(["bash", "-c", code, "-", str(node.data), *roots], text=True, capture_output=True,
                              env={"PATH": f"{cluster.home / 'bin'}:/usr/bin:/bin"})

    for name in ("nfs-9000", "lustre-9000", "tmpfs-1", "tmpfs-500", "xfs-9000"):
        (tmp_path / name).mkdir()
    return run


@pytest.mark.parametrize("names, chosen", [
    (["tmpfs-500", "xfs-9000"], "tmpfs-500"), (["", "absent-9000", "xfs-9000"], "xfs-9000"),
    (["nfs-9000", "lustre-9000", "xfs-9000"], "xfs-9000"), (["tmpfs-1", "xfs-9000"], "xfs-9000"),
])
def test_the_node_local_folder_is_local_and_has_room(choose: Callable[..., Any], names: List[str], chosen: str) -> None:
    assert Path(choose(*names).stdout).name == chosen


def test_no_folder_that_will_do(choose: Callable[..., Any]) -> None:
    done = choose("nfs-9000", "tmpfs-1")
    assert done.returncode == 1 and "1 MB free: set LOCAL_ROOT" in done.stderr


@pytest.mark.parametrize("program", [STAGE, GPU, *(REPOSITORY / "tests" / "support").glob("*.sh")])
def test_help(program: Path) -> None:
    done = subprocess.run([str(program), "--help"], capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout.startswith(f"usage: {program.name}") and done.stderr == ""
