"""On what file system a rank finds its data, and whether LMDB may lock a database there."""
from __future__ import annotations

import errno
import os
import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Iterator

import lmdb
import pytest

from menndl_caffe.data import lock_refusal
from menndl_caffe.doctor.job.file_system import current_file_system_of, file_system_of, is_shared

# Mounts, as Linux shows them (proc(5)): a Slurm node, in a container that binds two folders

MOUNTS = r"""
22 27 0:21 / /proc rw,relatime - proc proc rw
27 1 254:0 / / rw,relatime shared:1 - xfs /dev/vda rw
31 27 0:30 / /home rw,relatime shared:5 master:2 - autofs systemd-1 rw,fd=42
32 31 0:44 / /home rw,relatime - nfs4 filer:/home rw,vers=4.2
33 27 0:45 / /lustre/atlas rw - lustre 10.0.0.1@o2ib:/atlas rw
34 27 0:46 / /scratch rw - gpfs gpfs rw
35 34 0:47 / /scratch/my\040data ro - tmpfs tmpfs ro
36 27 0:48 / /data rw - beegfs beegfs_nodev rw
37 27 0:49 / /mnt/ssh rw - fuse.sshfs me@there: rw
"""


@pytest.mark.parametrize("path, file_system, shared", [
    ("/", "xfs", False),
    ("/database/cifar10", "xfs", False),  # not below /data
    ("/data", "beegfs", True),
    ("/data/cifar10", "beegfs", True),
    ("/home/me", "nfs4", True),  # mounted over what mounts it
    ("/lustre", "xfs", False),
    ("/lustre/atlas/x/y", "lustre", True),
    ("/scratch/other", "gpfs", True),
    ("/scratch/my data/cifar10", "tmpfs", False),
    ("/mnt/ssh/cifar10", "fuse.sshfs", True),
])
def test_on_what_a_folder_lies(path: str, file_system: str, shared: bool) -> None:
    assert file_system_of(path, MOUNTS) == file_system
    assert is_shared(file_system) is shared


def test_a_node_without_mounts_is_no_error() -> None:
    assert file_system_of("/data", "") == "" and not is_shared("")


@pytest.mark.parametrize("path", [path for path in ("/", "/proc/self", "/dev/shm") if os.path.exists(path)])
def test_this_machine_s_mounts_are_read_as_df_reads_them(path: str) -> None:
    done = subprocess.run(["df", "--output=fstype", path], capture_output=True, text=True, check=True)
    assert current_file_system_of(Path(path)) == done.stdout.split()[1]


def test_the_file_system_of_what_is_not_there_is_its_parent_s(tmp_path: Path) -> None:
    assert current_file_system_of(tmp_path / "no" / "where") == current_file_system_of(tmp_path) != ""


# The lock file

@pytest.fixture
def ordinary_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Work in tmp_path as a user for whom permissions count, which they do not for root."""
    monkeypatch.chdir(tmp_path)
    tmp_path.chmod(0o755)
    if os.geteuid() != 0:
        yield
        return
    group = os.getegid()
    os.setegid(65534)
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(group)


@pytest.fixture
def database(tmp_path: Path) -> Path:
    """A tiny database without a lock file, in a folder that nobody but its owner may write to."""
    folder = tmp_path / "db"
    lmdb.open(str(folder)).close()
    (folder / "data.mdb").chmod(0o644)  # whatever the umask is
    (folder / "lock.mdb").unlink()
    folder.chmod(0o555)
    return folder


@pytest.mark.parametrize("folder, lock, refused", [
    (0o777, None, None),
    (0o777, 0o666, None),
    (0o555, 0o666, None),
    (0o777, 0o444, "cannot be opened for writing: Permission denied"),
    (0o555, None, "is not there and may not be made"),
])
def test_who_can_lock_is_whom_lmdb_lets(folder: int, lock: Any, refused: Any, database: Path,
                                        request: pytest.FixtureRequest) -> None:
    """LMDB itself, opening as Caffe does, is the judge."""
    database.chmod(0o755)
    if lock is not None:
        (database / "lock.mdb").touch()
        (database / "lock.mdb").chmod(lock)
    database.chmod(folder)
    request.getfixturevalue("ordinary_user")
    before = sorted(os.listdir("db"))
    said = lock_refusal(Path("db"))
    assert sorted(os.listdir("db")) == before, "looking left a lock file behind"
    assert said == (f"db/lock.mdb {refused}" if refused else "")
    if refused:
        with pytest.raises(lmdb.Error, match="Permission denied"):
            lmdb.open("db", readonly=True)
    else:
        lmdb.open("db", readonly=True).close()


def test_on_a_read_only_file_system_no_lock_is_needed(monkeypatch: pytest.MonkeyPatch, database: Path) -> None:
    """As LMDB does in mdb_env_setup_locks. What the kernel answers there is made up: to mount needs rights."""
    def open_read_only(path: Any, flags: int) -> int:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(os, "access", lambda *arguments, **keywords: False)
    flags = os.statvfs(database).f_flag
    monkeypatch.setattr(os, "statvfs", lambda path: SimpleNamespace(f_flag=flags | os.ST_RDONLY))
    assert lock_refusal(database) == ""  # where there is none
    monkeypatch.setattr(os, "open", open_read_only)
    assert lock_refusal(database) == ""  # where there is one
