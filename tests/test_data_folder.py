"""A data folder: whole or not there, left alone when it is, safe from kills, full disks and second writers."""
from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Callable, Dict, List, Tuple

import numpy as np
import pytest

from menndl_caffe.data import describe, how_to_make, read_summary, records, write, write_synthetic
from menndl_caffe.data.lmdb_data import Images, write_lmdb, write_mean
from menndl_caffe.errors import UserError
from tests.test_data_mnist import write_idx

DRAW = """
import sys
from pathlib import Path
from menndl_caffe.data import write_synthetic
write_synthetic(Path(sys.argv[1]), 600, 100, validation=100, force=True, report=lambda line: print(line, flush=True))
"""

# Replaces a whole set again and again, by a process that dies before its first, second, ... change to the folder.
DIE_AT_EACH_STEP = """
import os, sys
from pathlib import Path
from menndl_caffe.data import read_summary, records, write_synthetic

out = Path(sys.argv[1])

def write():
    write_synthetic(out, 20, 10, validation=4, force=True, report=lambda line: None)

def found():
    return {path.name: [(label, image.tobytes()) for label, image in records(path)] for path in out.glob("*_lmdb")}

def die_before(change):
    seen = []
    def hook(event, arguments):
        seen.extend([event] if event in ("os.rename", "os.remove", "os.rmdir") else [])
        if len(seen) > change:
            os._exit(9)
    sys.addaudithook(hook)

change = died = 0
while died == change:
    write()
    whole, summary = found(), read_summary(out)
    child = os.fork()
    if not child:
        die_before(change)
        write()
        os._exit(0)
    died += os.waitpid(child, 0)[1] != 0
    change += 1
    assert summary and read_summary(out) in (None, summary), change
    assert all(content == whole[name] for name, content in found().items()), change
assert found() == whole
print(died)
"""


def quiet(line: str) -> None:
    pass


def draw(out: Path, **keywords: object) -> List[str]:
    lines: List[str] = []
    write_synthetic(out, 60, 20, report=lines.append, **keywords)  # type: ignore[arg-type]
    return lines


def contents(folder: Path) -> Dict[str, object]:
    """All that matters of a folder: records of each LMDB, bytes of each other file."""
    return {path.name: all_records(path) if path.is_dir() else path.read_bytes() for path in folder.iterdir()}


def all_records(path: Path) -> List[Tuple[int, bytes]]:
    return [(label, image.tobytes()) for label, image in records(path)]


def test_the_summary_on_the_disk(tmp_path: Path) -> None:
    draw(tmp_path / "out", validation=5)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "cifar10_fit_lmdb", "cifar10_test_lmdb", "cifar10_train_lmdb", "cifar10_validation_lmdb", "dataset.json",
        "mean.binaryproto", "mean_fit.binaryproto"]
    fields = json.loads((tmp_path / "out" / "dataset.json").read_text())
    assert fields["dataset"] == "synthetic"
    assert fields["source"] == {"kind": "synthetic images of seed 1", "official": False, "sha256": {}}
    assert fields["shape"] == [3, 32, 32]
    assert fields["records"]["cifar10_validation_lmdb"] == 5
    assert fields["made_by"].startswith("menndl_caffe ")


def test_read_summary_gives_what_was_written(tmp_path: Path) -> None:
    assert read_summary(tmp_path / "out") is None
    written = write_synthetic(tmp_path / "out", 60, 20, report=quiet)
    assert read_summary(tmp_path / "out") == written


def test_a_set_that_is_there_is_left_alone(tmp_path: Path) -> None:
    draw(tmp_path / "out")
    before = (tmp_path / "out" / "cifar10_train_lmdb" / "data.mdb").stat()
    assert draw(tmp_path / "out", seed=2) == [
        f"{tmp_path / 'out'}: already there, left as it is (--force writes it anew)"]
    assert (tmp_path / "out" / "cifar10_train_lmdb" / "data.mdb").stat().st_mtime_ns == before.st_mtime_ns
    draw(tmp_path / "out", seed=2, force=True)
    summary = read_summary(tmp_path / "out")
    assert summary and summary.source.kind == "synthetic images of seed 2"


def test_a_split_is_taken_from_the_set_that_is_there(tmp_path: Path) -> None:
    draw(tmp_path / "whole", validation=7)
    draw(tmp_path / "later")
    lines = draw(tmp_path / "later", validation=7)
    assert not any("drawing" in line for line in lines)
    assert contents(tmp_path / "later") == contents(tmp_path / "whole")
    draw(tmp_path / "later", validation=9)
    assert describe(tmp_path / "later" / "cifar10_validation_lmdb").records == 9


def test_force_leaves_no_part_of_the_earlier_set(tmp_path: Path) -> None:
    draw(tmp_path / "out", validation=5)
    (tmp_path / "out" / "notes.txt").write_text("the user's own")
    draw(tmp_path / "out", force=True)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "cifar10_test_lmdb", "cifar10_train_lmdb", "dataset.json", "mean.binaryproto", "notes.txt"]


def test_another_data_set_is_not_overwritten(tmp_path: Path) -> None:
    draw(tmp_path / "out")
    with pytest.raises(UserError, match="holds synthetic; give cifar10 another --out, or --force"):
        write("cifar10", tmp_path / "out", tmp_path, report=quiet)
    assert read_summary(tmp_path / "out")


@pytest.mark.parametrize("validation", [-1, 60, 1000])
def test_validation_out_of_range(tmp_path: Path, validation: int) -> None:
    with pytest.raises(UserError, match=f"--validation {validation}: 0 to 59"):
        draw(tmp_path / "out", validation=validation)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("made_before", [False, True])
def test_a_refused_source_leaves_nothing(tmp_path: Path, made_before: bool) -> None:
    (tmp_path / "source").mkdir()
    if made_before:
        (tmp_path / "out").mkdir()
    with pytest.raises(UserError):
        write("cifar10", tmp_path / "out", tmp_path / "source", report=quiet)
    assert (tmp_path / "out").exists() == made_before
    assert not made_before or list((tmp_path / "out").iterdir()) == []


def test_a_refused_source_leaves_the_earlier_set(tmp_path: Path) -> None:
    draw(tmp_path / "out")
    before = contents(tmp_path / "out")
    with pytest.raises(UserError):
        write("cifar10", tmp_path / "out", tmp_path, report=quiet, force=True)
    assert contents(tmp_path / "out") == before


@pytest.mark.parametrize("dataset", ["cifar10", "mnist"])
def test_a_mistyped_source_is_an_error_where_a_set_is_there_too(tmp_path: Path, dataset: str) -> None:
    draw(tmp_path / "out")
    with pytest.raises(UserError, match="nowhere: no such file or folder"):
        write(dataset, tmp_path / "out", tmp_path / "nowhere", report=quiet)


def remove_test(out: Path) -> None:
    shutil.rmtree(out / "cifar10_test_lmdb")


def truncate_train(out: Path) -> None:
    os.truncate(out / "cifar10_train_lmdb" / "data.mdb", 100_000)


def change_mean(out: Path) -> None:
    (out / "mean.binaryproto").write_bytes(b"")


@pytest.mark.parametrize("damage", [remove_test, truncate_train, change_mean])
def test_an_incomplete_set_is_written_anew(tmp_path: Path, damage: object) -> None:
    draw(tmp_path / "out")
    whole = contents(tmp_path / "out")
    damage(tmp_path / "out")  # type: ignore[operator]
    assert read_summary(tmp_path / "out") is None
    draw(tmp_path / "out")
    assert contents(tmp_path / "out") == whole


def test_kill_while_writing_leaves_a_whole_set_or_none(tmp_path: Path) -> None:
    out = tmp_path / "out"
    command = [sys.executable, "-c", DRAW, str(out)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    whole, summary = contents(out), read_summary(out)
    assert summary
    for lines, delay in ((1, 0), (2, 0), (5, 0), (5, 0.01), (5, 0.02)):
        process = subprocess.Popen(command, stdout=subprocess.PIPE)
        assert process.stdout is not None
        for _ in range(lines):  # drawing, and writing four times
            process.stdout.readline()
        time.sleep(delay)
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
        assert read_summary(out) in (None, summary)
        for path in out.glob("*_lmdb"):  # what lies under its name is whole, whether the set is complete or not
            assert all_records(path) == whole[path.name]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    assert contents(out) == whole


def test_death_at_each_step_of_replacing_a_set(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", DIE_AT_EACH_STEP, str(tmp_path / "out")], capture_output=True,
                          text=True, env={**os.environ, "OPENBLAS_NUM_THREADS": "1"})
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 14, "7 entries are moved away and 7 moved into place"


def test_a_killed_writers_rest_is_no_set(tmp_path: Path) -> None:
    draw(tmp_path / "out")
    whole = contents(tmp_path / "out")
    (tmp_path / "out" / ".menndl_partial").mkdir()
    (tmp_path / "out" / "mean.binaryproto").rename(tmp_path / "out" / ".menndl_partial" / "mean.binaryproto")
    (tmp_path / "out" / "dataset.json").write_text(json.dumps({
        "dataset": "synthetic", "means": {},
        "records": {"cifar10_train_lmdb": None, "cifar10_test_lmdb": None, "mean.binaryproto": None}}))
    assert read_summary(tmp_path / "out") is None
    draw(tmp_path / "out")
    assert contents(tmp_path / "out") == whole


def test_a_full_disk_is_one_line_and_leaves_nothing(tmp_path: Path) -> None:
    """No file may grow beyond 1 MB here, which the system reports as it reports a full disk."""
    limited = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))\n" + DRAW
    done = subprocess.run([sys.executable, "-c", limited, str(tmp_path / "out")], capture_output=True, text=True)
    assert done.returncode == 1
    assert f"UserError: {tmp_path / 'out'}: cannot be written (" in done.stderr.splitlines()[-1]
    assert "MB are free there" in done.stderr
    assert not (tmp_path / "out").exists()


def own_databases(out: Path) -> None:
    """A folder as the tutorial has it."""
    write_synthetic(out, 20, 10, report=quiet)
    (out / "dataset.json").unlink()
    for part in ("train", "test"):
        (out / f"cifar10_{part}_lmdb").rename(out / f"shapes_{part}_lmdb")


def own_under_our_names(out: Path) -> None:
    write_synthetic(out, 20, 10, report=quiet)
    (out / "dataset.json").unlink()


def own_mean(out: Path) -> None:
    """In a set of ours."""
    draw(out)
    write_mean(out / "mean.binaryproto", np.ones((1, 3, 32, 32), np.uint8))


def own_records(out: Path) -> None:
    draw(out)
    shutil.rmtree(out / "cifar10_train_lmdb")
    write_lmdb(out / "cifar10_train_lmdb", Images(np.zeros(3, np.uint8), np.ones((3, 3, 32, 32), np.uint8)), 5)


def own_beside_ours(out: Path) -> None:
    draw(out)
    write_lmdb(out / "faces_fit_lmdb", Images(np.zeros(3, np.uint8), np.ones((3, 3, 32, 32), np.uint8)), 5)


def own_leveldb(out: Path) -> None:
    (out / "faces").mkdir(parents=True)
    (out / "faces" / "CURRENT").write_text("MANIFEST-000001\n")


def own_lmdb_itself(out: Path) -> None:
    write_lmdb(out, Images(np.zeros(3, np.uint8), np.ones((3, 3, 32, 32), np.uint8)), 5)


def own_summary(out: Path) -> None:
    out.mkdir()
    (out / "dataset.json").write_text('{"name": "faces", "records": 3}')


def torn_summary(out: Path) -> None:
    draw(out)
    os.truncate(out / "dataset.json", 50)


@pytest.mark.parametrize("force", [False, True])
@pytest.mark.parametrize("make, said", [
    (own_databases, "out holds mean.binaryproto, shapes_test_lmdb, shapes_train_lmdb, which menndl did not write"),
    (own_under_our_names, "out holds cifar10_test_lmdb, cifar10_train_lmdb, mean.binaryproto, which menndl did not"),
    (own_mean, "out holds mean.binaryproto, which menndl did not write; give another --out, or move them away"),
    (own_records, "out holds cifar10_train_lmdb, which"),
    (own_beside_ours, "out holds faces_fit_lmdb, which"), (own_leveldb, "out holds faces, which"),
    (own_lmdb_itself, "out holds data.mdb, which"),
    (own_summary, "dataset.json is not as menndl writes it; give another --out, or move dataset.json away"),
    (torn_summary, "dataset.json is not as menndl writes it; give another --out, or move dataset.json away"),
])
def test_what_menndl_did_not_write_stays_and_stays_alone(tmp_path: Path, make: Callable[[Path], None], said: str,
                                                         force: bool) -> None:
    def bytes_of(folder: Path) -> Dict[str, bytes]:
        return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    make(tmp_path / "out")
    before = bytes_of(tmp_path)
    with pytest.raises(UserError, match=said):
        write_synthetic(tmp_path / "out", 60, 20, validation=5, force=force, report=quiet)
    assert bytes_of(tmp_path) == before


def test_a_summary_names_nothing_outside_its_folder(tmp_path: Path) -> None:
    """However it came there: what it lists is moved away."""
    (tmp_path / "out").mkdir()
    (tmp_path / "keep_train_lmdb").write_text("kept")
    (tmp_path / "out" / "dataset.json").write_text(json.dumps({
        "dataset": "synthetic", "records": {"../keep_train_lmdb": None, "notes.txt": None}, "means": {}}))
    (tmp_path / "out" / "notes.txt").write_text("the user's own")
    draw(tmp_path / "out")
    assert (tmp_path / "keep_train_lmdb").read_text() == "kept"
    assert (tmp_path / "out" / "notes.txt").read_text() == "the user's own"


def test_force_takes_another_set_away_as_a_whole(tmp_path: Path) -> None:
    source = write_idx(tmp_path / "idx", 12, 5)
    write("mnist", tmp_path / "out", source, validation=2, report=quiet)
    draw(tmp_path / "out", force=True)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "cifar10_test_lmdb", "cifar10_train_lmdb", "dataset.json", "mean.binaryproto"]


@pytest.mark.parametrize("make, advice", [
    (lambda out: out.mkdir(), {
        "*_train_lmdb": "`menndl data cifar10 --out {out}` makes it",
        "mnist_train_lmdb": "`menndl data mnist --out {out}` makes it",
        "*_fit_lmdb": "`menndl data cifar10 --validation 5000 --out {out}` makes it"}),
    (draw, {"*_validation_lmdb": "`menndl data synthetic --validation 2000 --out {out}` makes it",
            "mean_fit.binaryproto": "`menndl data synthetic --validation 2000 --out {out}` makes it",
            "mean.binaryproto": "`menndl data synthetic --out {out}` makes it"}),
    (own_databases, {
        "*_fit_lmdb": "the data there are your own: `menndl data split {out} --validation 0.1 --out OTHER` writes "
                      "OTHER, with a tenth of the training images held out; `data` is to name that (docs/tutorial.md)",
        "shapes_train_lmdb": "the data there are your own: convert_imageset writes it, and so does "
                             "`menndl data images` (docs/tutorial.md)",
        "mean.binaryproto": "the data there are your own: compute_image_mean writes it, and so does "
                            "`menndl data images` (docs/tutorial.md)"}),
])
def test_advice_fits_the_folder(tmp_path: Path, make: Callable[[Path], None], advice: Dict[str, str]) -> None:
    make(tmp_path / "out")
    assert {name: how_to_make(tmp_path / "out" / name) for name in advice} == {
        name: text.format(out=tmp_path / "out") for name, text in advice.items()}


def test_mnist_has_no_mean(tmp_path: Path) -> None:
    write("mnist", tmp_path / "out", write_idx(tmp_path / "idx", 12, 5), report=quiet)
    assert how_to_make(tmp_path / "out" / "mean.binaryproto") == "MNIST has none: leave mean_file out of the net"
    assert "menndl data mnist --validation 10000 --out" in how_to_make(tmp_path / "out" / "*_fit_lmdb")


def test_a_second_writer_is_refused(tmp_path: Path) -> None:
    patient = DRAW.replace("flush=True)", "flush=True) or sys.stdin.read()")  # at each line that it reports
    process = subprocess.Popen([sys.executable, "-c", patient, str(tmp_path / "out")], stdin=subprocess.PIPE,
                               stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()
    with pytest.raises(UserError, match="another menndl is writing there"):
        draw(tmp_path / "out")
    process.communicate()
    summary = read_summary(tmp_path / "out")
    assert summary and summary.validation == 100


def test_out_that_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="no folder to write to"):
        draw(tmp_path / "file")
    with pytest.raises(UserError, match="no folder to write to"):
        draw(tmp_path / "file" / "below")
