"""`menndl doctor --mpi`, all but MPI itself: what a rank sees of its place, and what is made of it."""
from __future__ import annotations

import itertools
import os
import re
from pathlib import Path
from typing import Any, Dict, List, Tuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from menndl_caffe.doctor.job import Place, Trouble, judge, look, report
from menndl_caffe.doctor.job.gpu import listed, visible
from menndl_caffe.doctor.job.judge import cores_of_their_own
from menndl_caffe.doctor.job.table import host_list, ranges
from menndl_caffe.errors import UserError
from menndl_caffe.rank import engine
from tests.support import runs

GIB = 2**30


def place(rank: int, host: str = "node1", **seen: Any) -> Place:
    """A rank with everything it needs, but for what is said of it."""
    usual: Dict[str, Any] = {
        "clock": 1e9, "menndl": "1.0", "python": "3.11.2", "mpi": "Open MPI v5.0.1", "cores": (rank,),
        "memory": 64 * GIB, "engine": "caffe (make caffe)", "data": {"cifar10_train_lmdb": "abc"},
        "images": {"cifar10_train_lmdb": 50_000, "cifar10_test_lmdb": 10_000}, "file_system": "ext4"}
    return Place(rank=rank, host=host, **{**usual, **seen})


def judged(places: List[Place], rank_0_trains: bool = True) -> List[Tuple[str, Tuple[int, ...], str]]:
    """(problem or warning, ranks, what)."""
    found = judge(places, rank_0_trains, launched=len(places))
    assert all(trouble.todo for trouble in found)
    return [("problem" if trouble.is_problem else "warning", trouble.ranks, trouble.what) for trouble in found]


def the_one(found: List[Tuple[str, Tuple[int, ...], str]]) -> Tuple[str, Tuple[int, ...], str]:
    assert len(found) == 1, found
    return found[0]


# GPUs

A, B, C, D = "GPU-aaaa1111-0000", "GPU-bbbb2222-0000", "GPU-c-0", "GPU-d-0"
NVIDIA_SMI = f"""#!/bin/sh
[ "$1" = -L ] || exit 1
echo "GPU 0: Tesla K20X (UUID: {A})"
echo "  MIG 1g.5gb     Device  0: (UUID: MIG-1)"
echo "GPU 1: Tesla (K20X) (UUID: {B})"
"""


def write_nvidia_smi(folder: Path, text: str = NVIDIA_SMI) -> None:
    folder.mkdir(exist_ok=True)
    (folder / "nvidia-smi").write_text(text)
    (folder / "nvidia-smi").chmod(0o755)


def test_nvidia_smi_is_asked_for_uuids(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    write_nvidia_smi(tmp_path)
    assert listed() == (A, B)
    write_nvidia_smi(tmp_path, "#!/bin/sh\necho \"couldn't communicate with the NVIDIA driver\"\nexit 9\n")
    assert listed() == ()
    monkeypatch.setenv("PATH", "")
    assert listed() == ()


@pytest.mark.parametrize("environment, uuids, first", [
    ({}, [], ""),
    ({}, [A, B], A),
    ({"CUDA_VISIBLE_DEVICES": "1"}, [A, B], B),
    ({"CUDA_VISIBLE_DEVICES": "1,0"}, [A, B], B),
    ({"CUDA_VISIBLE_DEVICES": "0"}, [B], B),  # Slurm shows a rank its own GPUs alone, and counts them from 0
    ({"CUDA_VISIBLE_DEVICES": "GPU-bbbb"}, [A, B], B),
    ({"CUDA_VISIBLE_DEVICES": "MIG-7"}, [A, B], "MIG-7"),
    ({"CUDA_VISIBLE_DEVICES": ""}, [A, B], ""),
    ({"CUDA_VISIBLE_DEVICES": "-1"}, [A, B], ""),
    ({"CUDA_VISIBLE_DEVICES": "-1,0"}, [A, B], ""),
    ({"CUDA_VISIBLE_DEVICES": "NoDevFiles"}, [A, B], ""),
    ({"CUDA_VISIBLE_DEVICES": "2"}, [A, B], ""),
    ({"CUDA_VISIBLE_DEVICES": "3"}, [], "3"),
    ({"ROCR_VISIBLE_DEVICES": "5,6"}, [], "5"),
    ({"ZE_AFFINITY_MASK": "1.0"}, [], "1.0"),
])
def test_the_first_visible_gpu(environment: Dict[str, str], uuids: List[str], first: str) -> None:
    assert visible(environment, uuids).first == first


def test_all_gpus_of_the_host_are_known_as_far_as_they_are() -> None:
    assert visible({"CUDA_VISIBLE_DEVICES": "1"}, [A, B]).all == (A, B)
    assert visible({"ROCR_VISIBLE_DEVICES": "5,6"}, []).all == ("5", "6")


def four(*gpus: str, idle: Tuple[str, ...] = (), **seen: Any) -> List[Place]:
    """Four ranks on two hosts with these GPUs; `idle` are more GPUs of the first host."""
    hosts = (gpus[:2] + idle, gpus[2:])
    return [place(rank, f"node{1 + rank // 2}", gpu=gpu, gpus=tuple(filter(None, hosts[rank // 2])), **seen)
            for rank, gpu in enumerate(gpus)]


def test_ranks_with_a_gpu_each_are_fine() -> None:
    assert judged(four(A, B, C, D)) == []
    assert judged(four("0", "1", "0", "1")) == []  # numbers count anew on every host
    assert judged(four("", "", "", "")) == []


def test_a_shared_gpu_while_another_is_idle() -> None:
    kind, ranks, what = the_one(judged(four(A, A, C, D, idle=(B,))))
    assert (kind, ranks) == ("problem", (0, 1)) and "2 ranks share a GPU while their host has 1 idle" in what


def test_more_ranks_than_gpus() -> None:
    kind, ranks, what = the_one(judged(four(A, B, C, C)))
    assert (kind, ranks) == ("problem", (2, 3)) and "more ranks than GPUs" in what


def test_the_same_trouble_of_many_hosts_is_told_once() -> None:
    kind, ranks, _ = the_one(judged([place(rank, f"n{rank // 2}", gpu=f"GPU-{rank // 2}", gpus=(f"GPU-{rank // 2}",))
                                     for rank in range(1000)]))
    assert (kind, ranks) == ("problem", tuple(range(1000)))


def test_a_master_that_does_not_train_needs_no_gpu() -> None:
    assert judged(four("", B, C, D), rank_0_trains=False) == []
    assert judged(four(B, B, C, D), rank_0_trains=False) == []
    assert the_one(judged(four("", B, C, D)))[:2] == ("problem", (0,))
    assert the_one(judged(four(B, "", C, D), rank_0_trains=False))[:2] == ("problem", (1,))


def test_caffe_without_cuda_needs_no_gpu() -> None:
    assert judged(four(A, A, "", D, computes_on_cpu=True)) == []


def test_gpus_known_by_number_alone_may_be_different_ones() -> None:
    assert the_one(judged(four("0", "0", "0", "1")))[:2] == ("warning", (0, 1))


def test_a_container_without_the_driver() -> None:
    kind, ranks, what = the_one(judged([place(0, gpu="0", gpus=("0",), container="caffe.sif")]))
    assert (kind, ranks) == ("warning", (0,)) and "no nvidia-smi in the container" in what
    assert judged([place(0, gpu=A, gpus=(A,), container="caffe.sif")]) == []


# Cores, memory, clocks

CORE_SETS = st.lists(st.lists(st.integers(0, 4), max_size=4, unique=True).map(tuple), max_size=5).map(tuple)


@given(CORE_SETS)
def test_cores_of_their_own_is_the_best_of_all_assignments(allowed: Tuple[Tuple[int, ...], ...]) -> None:
    best = 0
    for assignment in itertools.product(*[(None, *cores) for cores in allowed]):
        used = [core for core in assignment if core is not None]
        if len(set(used)) == len(used):
            best = max(best, len(used))
    assert cores_of_their_own(allowed) == best


def on_cores(*cores: Tuple[int, ...]) -> List[Place]:
    return [place(rank, cores=each) for rank, each in enumerate(cores)]


@pytest.mark.parametrize("cores, rank_0_trains, said", [
    ([(0, 1), (0, 1)], True, None),
    ([(0,), (1,)], True, None),
    ([(0, 1), (0, 1), (0, 1)], False, None),
    ([(0, 1), (0, 1), (0, 1)], True, "3 ranks train on their host, but 2 at a time"),
    ([(0,), (0,)], True, "2 ranks train on their host, but 1 at a time"),
    ([(0,), (0,), (0, 1, 2, 3)], True, "3 ranks train on their host, but 2 at a time"),
])
def test_ranks_and_cores(cores: List[Tuple[int, ...]], rank_0_trains: bool, said: Any) -> None:
    found = judged(on_cores(*cores), rank_0_trains)
    assert found == [] if said is None else the_one(found)[0] == "warning" and the_one(found)[2].startswith(said)


def test_what_to_do_about_cores_depends_on_how_many_there_are() -> None:
    many, bound = (judge(on_cores(*cores), True, 2) for cores in ([(0,), (0,)], [(0,), (0,), (0, 1, 2)]))
    assert "start fewer ranks" in many[0].todo and "bind" in bound[0].todo


def test_the_same_core_on_two_hosts_is_two_cores() -> None:
    assert judged([place(0, "node1", cores=(0,)), place(1, "node2", cores=(0,))]) == []


def test_little_memory() -> None:
    kind, ranks, what = the_one(judged([place(rank, memory=GIB // 2) for rank in range(2)]))
    assert (kind, ranks) == ("warning", (0, 1)) and what.startswith("0.5 GiB are free")


def test_clocks_that_differ() -> None:
    found = judged([place(0), place(1, clock=1e9 + 59), place(2, clock=1e9 - 75)])
    assert the_one(found) == ("warning", (2,),
                              "the clock is 75 s behind rank 0's, and times in the journal with it")


# Data

def test_data_that_are_missing_on_one_rank() -> None:
    kind, ranks, what = the_one(judged([place(0), place(1), place(2, data={}, images={}, data_missing="/d: none")]))
    assert (kind, ranks, what) == ("problem", (2,), "data: /d: none")


def test_data_that_differ_on_one_rank() -> None:
    kind, ranks, _ = the_one(judged([place(0), place(1, data={"cifar10_train_lmdb": "abd"}), place(2)]))
    assert (kind, ranks) == ("problem", (1,))


def test_data_on_a_shared_file_system_work() -> None:
    kind, ranks, what = the_one(judged([place(0), place(1, file_system="lustre")]))
    assert (kind, ranks) == ("warning", (1,)) and "(lustre)" in what


def test_a_lock_file_of_somebody_else() -> None:
    kind, ranks, what = the_one(judged([place(0), place(1, lock_refused="/d/lock.mdb cannot be opened")]))
    assert (kind, ranks) == ("problem", (1,)) and what.startswith("/d/lock.mdb cannot be opened")


# Versions and engines

@pytest.mark.parametrize("seen, kind, said", [
    ({"menndl": "0.9"}, "problem", "menndl is 0.9, on the others 1.0"),
    ({"mpi": "MPICH 4.1"}, "problem", "MPI is MPICH 4.1, on the others Open MPI v5.0.1"),
    ({"python": "3.9.2"}, "warning", "Python is 3.9.2, on the others 3.11.2"),
    ({"engine": "caffe (the system's Python)"}, "warning", "the engine is caffe (the system's Python)"),
    ({"engine": "", "engine_missing": "no Caffe found"}, "problem", "no Caffe found"),
])
def test_ranks_that_are_not_like_the_others(seen: Dict[str, str], kind: str, said: str) -> None:
    found = the_one(judged([place(0, **seen), place(1), place(2)]))
    assert found[:2] == (kind, (0,)) and found[2].startswith(said)


def test_another_version_s_message_can_be_read() -> None:
    assert Place.from_dict({"rank": 3, "menndl": "9.0", "humidity": 0.4}) == Place(rank=3, menndl="9.0")
    assert Place.from_dict(place(5).as_dict()) == place(5)


def test_a_world_of_one_without_a_launcher_may_be_one_of_many() -> None:
    alone, = judge([place(0)], True, launched=0)
    assert not alone.is_problem and "--expect-ranks" in alone.todo
    assert judge([place(0)], True, launched=1) == [] == judge([place(0), place(1)], True, launched=0)


def test_problems_come_before_warnings() -> None:
    kinds = [kind for kind, _, _ in judged([place(0), place(1, python="3.9.2"), place(2, lock_refused="no")])]
    assert kinds == ["problem", "warning"]


# Looking around

def test_looking_around(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runs.small_data(tmp_path / "data")
    monkeypatch.setenv("MENNDL_TRAINER", runs.FAKE_TRAINER)
    monkeypatch.setenv("APPTAINER_CONTAINER", "/images/menndl caffe.sif")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    write_nvidia_smi(tmp_path / "bin")
    seen = look(7, "MPICH Version: 4.1.2", "caffe", tmp_path / "data")
    assert (seen.rank, seen.mpi, seen.container, seen.gpu) == (7, "MPICH Version: 4.1.2", "menndl caffe.sif", B)
    assert (seen.engine, seen.engine_missing) == (runs.FAKE_TRAINER, "") and not seen.computes_on_cpu
    assert seen.images == {"cifar10_train_lmdb": 200, "cifar10_test_lmdb": 50}
    assert set(seen.data) == {*seen.images, "mean.binaryproto"}
    assert (seen.data_missing, seen.lock_refused) == ("", "")
    assert 0 < seen.memory < 1e15 and set(seen.cores) == os.sched_getaffinity(0)
    assert not list(tmp_path.rglob("lock.mdb"))


def test_the_torch_engine_needs_no_lock(tmp_path: Path) -> None:
    data = runs.small_data(tmp_path / "data")
    (data / "cifar10_test_lmdb" / "lock.mdb").mkdir()  # nobody can open this one, not even root
    refused = [look(0, "", engine, data).lock_refused for engine in ("caffe", "torch")]
    assert refused == [f"{data}/cifar10_test_lmdb/lock.mdb cannot be opened for writing: Is a directory", ""]


def test_other_images_and_another_mean_are_other_data(tmp_path: Path) -> None:
    from menndl_caffe.data import write_synthetic

    for name, seed in (("one", 1), ("two", 2)):
        write_synthetic(tmp_path / name, 20, 10, seed=seed, report=lambda text: None)
    one, two = (look(0, "", "caffe", tmp_path / name).data for name in ("one", "two"))
    assert set(one) == set(two) and all(one[name] != two[name] for name in one)


@pytest.mark.parametrize("spoil, said", [
    (lambda data: (data / "cifar10_test_lmdb").rename(data / "else"), "no database *_test_lmdb"),
    (lambda data: (data / "cifar10_test_lmdb" / "data.mdb").unlink(), "cifar10_test_lmdb: not an LMDB"),
    (lambda data: data.rename(data.parent / "elsewhere"), "no database *_train_lmdb"),
])
def test_data_that_cannot_be_used(spoil: Any, said: str, tmp_path: Path) -> None:
    spoil(runs.small_data(tmp_path / "data"))
    seen = look(0, "", "caffe", tmp_path / "data")
    assert said in seen.data_missing and seen.data == {} and seen.file_system


@pytest.mark.parametrize("variables, said", [
    ({"MENNDL_TRAINER": "no/such/exec.sh image.sif"}, "MENNDL_TRAINER is `no/such/exec.sh image.sif`: no command"),
    ({"MENNDL_TRAINER": "", "MENNDL_CAFFE_PYTHON": "/bin/false"}, "no Caffe found: MENNDL_CAFFE_PYTHON is /bin/false"),
])
def test_engines_that_are_not_there(variables: Dict[str, str], said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    seen = look(0, "", "caffe", None)
    assert seen.engine_missing.startswith(said) and seen.engine == "" and seen.file_system == ""


def test_an_engine_that_does_not_come_to_an_end_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "python").write_text("#!/bin/sh\nexec sleep 600\n")
    (tmp_path / "python").chmod(0o755)
    monkeypatch.setattr(engine, "PROBE_SECONDS", 0.1)
    with pytest.raises(UserError, match="engine caffe: .*/python has not imported it after 0.1 seconds"):
        engine.Engine("caffe", "here", (str(tmp_path / "python"),), str(tmp_path / "python")).known()


# The table

def rows(text: str) -> List[List[str]]:
    """The table's cells, without its header."""
    _, table, _ = text.split("\n\n", 2)
    return [re.split(r"  +", line) for line in table.splitlines()[1:]]


def test_the_table_of_a_job() -> None:
    places = [place(0, gpu=""), place(1, gpu=A), place(2, "node2", gpu=B, file_system="nfs4"),
              place(3, "node2", gpu=B, cores=(2,), file_system="nfs4")]
    text = report(places, [Trouble(True, (2, 3), "share", "do not"), Trouble(False, (0, 2), "slow", "wait")], False)
    first, *_ = text.splitlines()
    assert first == "4 ranks on 2 hosts, rank 0 is the master alone; menndl 1.0 on Python 3.11.2"
    common = ["64.0", "Open MPI v5.0.1", "caffe (make caffe)", "train 50,000, test 10,000"]
    assert rows(text) == [["0", "node1", "0", "none", *common, "ext4", "ok"],
                          ["1", "node1", "1", "GPU-aaaa1111...", *common, "ext4", "ok"],
                          ["2-3", "node2", "2", "GPU-bbbb2222...", *common, "nfs4 (shared)", "ok"]]
    assert text.splitlines()[-5:] == ["problem: ranks 2-3 on node2: share", "         -> do not",
                                      "warning: ranks 0,2 on node[1-2]: slow", "         -> wait",
                                      "1 problem, 1 warning"]


def test_the_table_of_500_nodes_can_be_read() -> None:
    places = [place(rank, f"titan-{rank // 4:03}", gpu=f"GPU-{rank}", cores=(rank % 4,), memory=(20 + rank % 7) * GIB)
              for rank in range(2000)]
    places[123] = place(123, "titan-030", gpu="", cores=(3,))
    sound, broken = rows(report(places, [], True))
    assert sound[:5] == ["0-122,124-1999", "titan-[000-499]", "1 each", "one each", "20.0-26.0"]
    assert broken[:4] == ["123", "titan-030", "3", "none"]


@given(st.sets(st.integers(0, 40)))
def test_ranges_name_each_number_once_and_briefly(numbers: Any) -> None:
    named: List[int] = []
    for run in filter(None, ranges(numbers).split(",")):
        ends = [int(end) for end in run.split("-")]
        assert not named or ends[0] > named[-1] + 1, "two runs that are one"
        named += range(ends[0], ends[-1] + 1)
    assert named == sorted(numbers)


@pytest.mark.parametrize("hosts, text", [
    ({"login"}, "login"),
    ({"node7"}, "node7"),
    ({"node007", "node008", "node012"}, "node[007-008,012]"),
    ({"node9", "node10"}, "node10,node9"),
    ({"a1.cluster2.org", "a2.cluster2.org"}, "a[1-2].cluster2.org"),
    ({"nid00001-hsn0", "nid00002-hsn0"}, "nid00001-hsn0,nid00002-hsn0"),
    ({"login", "n1", "n2"}, "login,n[1-2]"),
])
def test_hosts_are_told_as_slurm_tells_them(hosts: Any, text: str) -> None:
    assert host_list(hosts) == text
