"""A run exported, read back by the tools it is for: pandas, optuna and optuna-dashboard, TensorBoard.

One journal made by hand: every expected number stands in this file.
"""
from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from datetime import datetime
from pathlib import Path
from typing import Any, Dict, Iterator, List, Optional, Tuple

import pytest

from menndl_caffe.errors import UserError
from menndl_caffe.export import command
from menndl_caffe.genome import Genome
from menndl_caffe.journal import Journal
from menndl_caffe.trial import DEFAULT, INDIVIDUAL, TEST, Result, Trial
from tests.conftest import missing

SEARCH = """\
net: "net.j2"
solver: "solver.j2"
ga_param { population: 4 generations: 2 }
gene { name: "output1" int_range { min: 16 max: 127 step: 2 } default: 32 }
gene { name: "base_lr" real_range { min: 0.00001 max: 0.1 scale: LOG } default: 0.001 }
gene { name: "rank" choice { value: "MAX" value: "AVE" default: "MAX" } }
fitness_set: VALIDATION
max_iter: 500
random_seed: 9
"""
RUN = {"search": SEARCH, "engine": "caffe", "versions": {"version": "1.0.0"}, "seed": 9, "host": "node1",
       "command": "menndl run x --out y", "test_images": 1000, "total": 8, "generations": 2, "started": 1790000000.0}
T = 1790000000.0  # 2026-09-21 14:13:20 UTC
# id generation role genes status fitness loss started seconds curve same_as; 8 has no result yet, 9 is on other images
Row = Tuple[Any, ...]
ROWS: List[Row] = [
    (0, None, DEFAULT, (32, 0.001, "MAX"), "ok", 0.7, 0.9, T, 10.5, [(250, 0.5, 1.25), (500, 0.7, 0.9)], None),
    (1, 0, INDIVIDUAL, (126, 0.0123456, "AVE"), "ok", 0.6, 1.2, T + 0.25, 20, [(250, 0.4, 1.5), (500, 0.6, 1.2)], None),
    (2, 0, INDIVIDUAL, (16, 0.1, "MAX"), "diverged", 0.0, None, T + 11, 3, [(250, 0.1, 9.75)], None),
    (3, 0, INDIVIDUAL, (18, 0.002, "AVE"), "ok", 0.8, 0.7, T + 20, 8, [(250, 0.65, 1.0), (500, 0.8, 0.7)], None),
    (4, 0, INDIVIDUAL, (20, 0.00001, "AVE"), "crashed", 0.0, None, T + 21, 0.5, [], None),
    (5, 1, INDIVIDUAL, (18, 0.002, "AVE"), "ok", 0.8, 0.7, T + 20, 0, [(250, 0.65, 1.0), (500, 0.8, 0.7)], 3),
    (6, 1, INDIVIDUAL, (126, 0.002, "MAX"), "ok", 0.5, 1.4, T + 60, 10, [(250, 0.3, 1.75), (500, 0.5, 1.4)], None),
    (8, 1, INDIVIDUAL, (30, 0.003, "MAX"), None, None, None, None, None, [], None),
    (9, None, TEST, (18, 0.002, "AVE"), "ok", 0.95, 0.6, T + 80, 9, [(500, 0.95, 0.6)], None),
]
REASONS = {"diverged": "loss is nan", "crashed": 'Check failed: "x", y'}
# Of individuals 1, 3 and 5, which is 3 met again; of the others it is not known.
MEASURES = {1: {"parameters": 500, "multiply_adds": 7000, "memory": 9000},
            **dict.fromkeys((3, 5), {"parameters": 600, "multiply_adds": 8000, "memory": 10000})}


def write_run(folder: Path, rows: List[Row] = ROWS, **run: Any) -> Path:
    with Journal(folder, fsync=False) as journal:
        journal.begin({**RUN, **run})
        for id, generation, role, genes, status, fitness, loss, started, seconds, curve, same_as in rows:
            trial = Trial(id, Genome(("output1", "base_lr", "rank"), genes), 100 + id, 500, generation, role)
            journal.add_trial(trial)
            if status:
                journal.add_result(Result(id, status, fitness, loss, REASONS.get(status, ""), tuple(curve), started,
                                          seconds, seconds / 2, id % 2, "node1", same_as, MEASURES.get(id, {})))
    return folder


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_run(tmp_path_factory.mktemp("export") / "run")


def exported(run: Path, to: str, out: Optional[Path] = None) -> Path:
    """The folder to which `menndl export` has written."""
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    command.main(parser.parse_args([str(run), "--to", to, *(["--out", str(out)] if out else [])]))
    return out or run / "export"


def library(name: str) -> Any:
    try:
        return __import__(name, fromlist=["it"])
    except ImportError as error:
        missing(f"{error}: pip install '.[test]'")


@contextlib.contextmanager
def served(*command: object) -> Iterator[str]:
    """The address of a server that is started with --port."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    program = Path(sys.executable).with_name(str(command[0]))
    if not program.exists():
        missing(f"no {command[0]} beside {sys.executable}: pip install '.[test]'")
    process = subprocess.Popen([str(program), *map(str, command[1:]), "--port", str(port)],
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()


DIRECTLY = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # past any proxy of the environment


def asked(url: str, wanted: Any = lambda answer: True, body: Optional[Dict[str, Any]] = None) -> Any:
    """The JSON that a server answers, as soon as it is what is wanted."""
    request = urllib.request.Request(url, json.dumps(body).encode() if body else None,
                                     {"Content-Type": "application/json"} if body else {})
    deadline, answer = time.monotonic() + 180, None
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError):
            with DIRECTLY.open(request, timeout=60) as reply:
                answer = json.load(reply)
            if wanted(answer):
                return answer
        time.sleep(0.1)
    raise AssertionError(f"{url}: {answer}")


# ---- tables ----

def tables(run: Path, to: str) -> Tuple[Any, Any]:
    """trials and curves as pandas reads them."""
    pandas, folder = library("pandas"), exported(run, to)
    if to == "csv":
        return pandas.read_csv(folder / "trials.csv", parse_dates=["started"]), pandas.read_csv(folder / "curves.csv")
    library("pyarrow")
    return pandas.read_parquet(folder / "trials.parquet"), pandas.read_parquet(folder / "curves.parquet")


@pytest.mark.parametrize("to", ["csv", "parquet"])
def test_pandas_reads_a_row_a_trial(run: Path, to: str) -> None:
    pandas = library("pandas")
    trials, _ = tables(run, to)
    assert list(trials) == ["id", "generation", "role", "output1", "base_lr", "gene_rank", "status", "fitness", "loss",
                            "seconds", "engine_seconds", "rank", "host", "started", "seed", "reason", "same_as",
                            "parameters", "multiply_adds", "memory"]
    kinds = {name: pandas.api.types.infer_dtype(trials[name], skipna=True) for name in trials}
    for name in ("id", "output1", "seed"):
        assert kinds[name] == "integer", name
    for name in ("base_lr", "fitness", "loss", "seconds", "engine_seconds"):
        assert kinds[name] == "floating", name
    for name in ("role", "gene_rank", "status", "host", "reason"):
        assert kinds[name] == "string", name
    assert kinds["started"].startswith("datetime") and str(trials["started"].dt.tz) == "UTC"
    rows = trials.set_index("id")
    assert list(rows.index) == [0, 1, 2, 3, 4, 5, 6, 8, 9]
    one = rows.loc[1]
    assert [one[name] for name in ("generation", "role", "output1", "base_lr", "gene_rank", "status", "fitness", "loss",
                                   "seconds", "engine_seconds", "rank", "host", "seed")] == [
        1, "individual", 126, 0.0123456, "AVE", "ok", 0.6, 1.2, 20, 10, 1, "node1", 101]
    assert one["started"].isoformat() == "2026-09-21T14:13:20.250000+00:00"
    assert list(rows["generation"].dropna()) == [1, 1, 1, 1, 2, 2, 2]
    assert rows.loc[4, "reason"] == 'Check failed: "x", y'
    assert (rows.loc[5, "same_as"], rows["same_as"].count()) == (3, 1)
    assert rows.loc[8, ["status", "fitness", "loss", "seconds", "rank", "host", "started"]].isna().all()
    assert list(rows["memory"].dropna()) == [9000, 10000, 10000]
    assert [one["parameters"], one["multiply_adds"], rows.loc[5, "parameters"]] == [500, 7000, 600]
    assert rows.loc[8, "seed"] == 108 and rows["reason"].count() == 2
    assert rows[rows["status"] == "ok"].groupby("role")["fitness"].max().to_dict() == {
        "default": 0.7, "individual": 0.8, "test": 0.95}


@pytest.mark.parametrize("to", ["csv", "parquet"])
def test_pandas_reads_the_curves_in_long_form(run: Path, to: str) -> None:
    _, curves = tables(run, to)
    assert list(curves.itertuples(index=False, name=None)) == [
        (0, 250, 0.5, 1.25), (0, 500, 0.7, 0.9), (1, 250, 0.4, 1.5), (1, 500, 0.6, 1.2), (2, 250, 0.1, 9.75),
        (3, 250, 0.65, 1.0), (3, 500, 0.8, 0.7), (6, 250, 0.3, 1.75), (6, 500, 0.5, 1.4), (9, 500, 0.95, 0.6)]


def test_both_tables_are_the_same(run: Path) -> None:
    pandas = library("pandas")
    (csv, csv_curves), (parquet, parquet_curves) = tables(run, "csv"), tables(run, "parquet")
    parquet["started"] = parquet["started"].astype(csv["started"].dtype)  # milliseconds
    for one, other in ((csv, parquet), (csv_curves, parquet_curves)):
        pandas.testing.assert_frame_equal(one, other, check_dtype=False)


# ---- Optuna ----

@pytest.fixture(scope="module")
def study(run: Path) -> Any:
    optuna = library("optuna")
    storage = optuna.storages.JournalStorage(
        optuna.storages.journal.JournalFileBackend(str(exported(run, "optuna") / "optuna.log")))
    return optuna.load_study(storage=storage, study_name="run")


def test_optuna_loads_the_study(study: Any) -> None:
    distributions = library("optuna.distributions")
    assert [trial.user_attrs["id"] for trial in study.trials] == [0, 1, 2, 3, 4, 5, 6, 8]  # the final test is no trial
    assert [trial.state.name for trial in study.trials] == [
        "COMPLETE", "COMPLETE", "FAIL", "COMPLETE", "FAIL", "COMPLETE", "COMPLETE", "RUNNING"]
    assert study.direction.name == "MAXIMIZE" and study.metric_names == ["accuracy"]
    assert (study.best_trial.user_attrs["id"], study.best_value) == (3, 0.8)
    assert study.best_params == {"output1": 18, "base_lr": 0.002, "rank": "AVE"}
    assert study.trials[0].distributions == {
        "output1": distributions.IntDistribution(16, 126, step=2),  # 127 is not reached in steps of 2
        "base_lr": distributions.FloatDistribution(0.00001, 0.1, log=True),
        "rank": distributions.CategoricalDistribution(("MAX", "AVE"))}
    assert study.user_attrs["command"] == "menndl run x --out y" and study.user_attrs["search"] == SEARCH
    assert study.user_attrs["test"]["fitness"] == 0.95


def test_a_trial_of_optuna_has_curve_times_and_reason(study: Any) -> None:
    one, two, five, last = (study.trials[i] for i in (1, 2, 5, 7))
    assert one.intermediate_values == {250: 0.4, 500: 0.6}
    assert one.datetime_start == datetime.fromtimestamp(T + 0.25)
    assert one.duration.total_seconds() == 20
    assert one.user_attrs == {"id": 1, "role": "individual", "generation": 1, "seed": 101, "status": "ok", "loss": 1.2,
                              "seconds": 20, "engine_seconds": 10, "rank": 1, "host": "node1", **MEASURES[1]}
    assert (two.user_attrs["status"], two.user_attrs["reason"], two.values) == ("diverged", "loss is nan", None)
    assert five.user_attrs["same_as"] == 3 and five.duration.total_seconds() == 0
    assert last.user_attrs == {"id": 8, "role": "individual", "generation": 2, "seed": 108}


def test_optuna_goes_on_with_the_study(study: Any, run: Path) -> None:
    """Ranges and values are such that a sampler can learn from them."""
    asked = study.ask({name: kind for name, kind in study.trials[0].distributions.items()})
    assert asked.params["output1"] in range(16, 127, 2) and asked.params["rank"] in ("MAX", "AVE")
    assert set(library("optuna.importance").get_param_importances(study)) == {"output1", "base_lr", "rank"}


def test_optuna_dashboard_shows_it(run: Path) -> None:
    path = exported(run, "optuna") / "optuna.log"
    with served("optuna-dashboard", path) as address:
        summary, = asked(f"{address}/api/studies")["study_summaries"]
        assert (summary["study_name"], summary["directions"]) == ("run", ["maximize"])
        study = asked(f"{address}/api/studies/{summary['study_id']}?after=0")
    assert [trial["state"] for trial in study["trials"]].count("Complete") == 5
    one = study["trials"][1]
    assert one["values"] == [0.6]
    assert {param["name"]: param["param_external_value"] for param in one["params"]} == {
        "output1": "126", "base_lr": "0.0123456", "rank": "AVE"}
    assert [(point["step"], point["value"]) for point in one["intermediate_values"]] == [(250, 0.4), (500, 0.6)]


# ---- TensorBoard ----

@pytest.fixture(scope="module")
def logs(run: Path) -> Path:
    library("tensorboard")
    return exported(run, "tensorboard") / "tensorboard"


def scalars(folder: Path, tag: str) -> List[Tuple[float, int, float]]:
    """Time after the start, step and value of each point, as TensorBoard's own reader has them."""
    accumulator = library("tensorboard.backend.event_processing.event_accumulator").EventAccumulator(str(folder))
    accumulator.Reload()
    make = library("tensorboard.util.tensor_util").make_ndarray
    return [(event.wall_time - T, event.step, pytest.approx(float(make(event.tensor_proto))))
            for event in accumulator.Tensors(tag)]


def test_tensorboard_reads_the_generations(logs: Path) -> None:
    # Fitness 0.6, 0, 0.8, 0 in generation 1, whose last result came at 28 s; 0.8 and 0.5 in generation 2.
    expected = {"best_so_far": (0.8, 0.8), "best": (0.8, 0.8), "mean": (0.35, 0.65), "median": (0.3, 0.65),
                "lower_quartile": (0.0, 0.575), "upper_quartile": (0.65, 0.725), "default": (0.7, 0.7)}
    for name, (first, second) in expected.items():
        assert scalars(logs / "generations" / name, "fitness") == [(28, 1, first), (70, 2, second)], name
    assert scalars(logs / "generations", "individuals_failed") == [(28, 1, 2), (70, 2, 0)]
    assert scalars(logs / "generations", "genes/rank/AVE") == [(28, 1, 0.75), (70, 2, 0.5)]


def test_tensorboard_reads_the_genes_distributions(logs: Path) -> None:
    accumulator = library("tensorboard.backend.event_processing.event_accumulator").EventAccumulator(
        str(logs / "generations"))
    accumulator.Reload()
    buckets = library("tensorboard.util.tensor_util").make_ndarray(accumulator.Tensors("genes/output1")[0].tensor_proto)
    assert (buckets[0, 0], buckets[-1, 1], buckets[:, 2].sum()) == (16, 126, 4)  # of 126, 16, 18, 20
    text = accumulator.Tensors("run")[0].tensor_proto.string_val[0].decode()
    assert "command: menndl run x --out y" in text and '    gene { name: "output1"' in text


def test_tensorboard_reads_the_curves_of_the_best(logs: Path) -> None:
    assert {folder.name for folder in (logs / "trials").iterdir()} == {"0", "1", "3", "6"}  # 5 is 3; 2 and 4 failed
    assert scalars(logs / "trials" / "1", "accuracy") == [(10.25, 250, 0.4), (20.25, 500, 0.6)]
    assert scalars(logs / "trials" / "1", "loss") == [(10.25, 250, 1.5), (20.25, 500, 1.2)]


def test_tensorboards_server_shows_them(logs: Path) -> None:
    with served("tensorboard", "--logdir", logs) as address:
        runs = asked(f"{address}/data/runs", lambda runs: len(runs) == 12)
        assert {"generations/best_so_far", "trials/0", "trials/3"} <= set(runs)
        points = asked(f"{address}/data/plugin/scalars/scalars?run=trials%2F3&tag=accuracy",
                       lambda points: len(points) == 2)
        assert [(step, round(value, 6)) for _, step, value in points] == [(250, 0.65), (500, 0.8)]
        wanted = {"experimentName": "", "startIndex": 0, "sliceSize": 100, "allowedStatuses": ["STATUS_SUCCESS"],
                  "colParams": [{"metric": {"group": "", "tag": "accuracy"}}, {"hparam": "output1"}]}
        groups = asked(f"{address}/data/plugin/hparams/session_groups",
                       lambda answer: sorted(len(group["metricValues"]) for group in answer["sessionGroups"]) == [
                           2, 2, 5, 5],  # what the nets of 1 and 3 cost is known
                       wanted)["sessionGroups"]
    three = next(group for group in groups if group["name"] == "3")
    assert three["hparams"] == {"output1": 18, "base_lr": 0.002, "rank": "AVE"}
    assert {value["name"]["tag"]: round(value["value"], 6) for value in three["metricValues"]} == {
        "accuracy": 0.8, "loss": 0.7, "parameters": 600, "multiply_adds": 8000, "memory": 10000}


def test_tensorboard_is_not_given_more_trainings_than_it_shows_at_first(tmp_path: Path) -> None:
    library("tensorboard")
    many = [(id, 0, INDIVIDUAL, (16 + 2 * (id % 50), 0.001, "MAX"), "ok", id / 100, 1.0, T, 1, [(500, id / 100, 1.0)],
             None) for id in range(1, 51)]
    logs = exported(write_run(tmp_path / "run", [ROWS[0], *many]), "tensorboard") / "tensorboard"
    assert len({path.parent for path in logs.rglob("events*")}) <= 40
    assert {int(path.name) for path in (logs / "trials").iterdir()} == {0, *range(21, 51)}


# ---- the folder ----

FORMATS = ("csv", "parquet", "optuna", "tensorboard")


@pytest.mark.parametrize("to", FORMATS)
def test_an_earlier_export_is_replaced_and_nothing_else_touched(run: Path, to: str, tmp_path: Path) -> None:
    library({"csv": "csv", "parquet": "pyarrow"}.get(to, to))
    short = write_run(tmp_path / "run", ROWS[:3])
    out = exported(short, to, tmp_path / "out")
    names = sorted(path.name for path in out.iterdir())
    (out / "mine.txt").write_text("notes")
    shutil.copyfile(run / "journal.jsonl", short / "journal.jsonl")
    exported(short, to, out)
    assert sorted(path.name for path in out.iterdir()) == sorted([*names, "mine.txt"])
    assert json.loads((out / "run.json").read_text())["command"] == RUN["command"]
    if to == "csv":
        assert len((out / "trials.csv").read_text().splitlines()) == 1 + len(ROWS)
    if to == "tensorboard":
        assert len(list((out / "tensorboard" / "trials").iterdir())) == 4


def test_a_folder_of_something_else_is_refused(run: Path, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "trials.csv").write_text("mine")
    with pytest.raises(UserError, match="holds files that are no export of menndl's"):
        exported(run, "csv", tmp_path / "other")
    assert [path.name for path in (tmp_path / "other").iterdir()] == ["trials.csv"]
    exported(run, "csv", tmp_path / "out")
    another = write_run(tmp_path / "another", seed=10)
    with pytest.raises(UserError, match="holds the export of another run"):
        exported(another, "csv", tmp_path / "out")
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="cannot write .*file"):
        exported(run, "csv", tmp_path / "file")


def test_a_disk_that_refuses_leaves_no_half_file(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = exported(run, "csv", tmp_path / "out")
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    monkeypatch.setattr(os, "replace", lambda *paths: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(UserError, match="cannot write .*No space left on device; --out DIR takes another folder"):
        exported(run, "csv", out)
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before


@pytest.mark.parametrize(("to", "module"), [
    ("parquet", "pyarrow"), ("optuna", "optuna"), ("tensorboard", "tensorboard")])
def test_a_missing_library_is_named(run: Path, to: str, module: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(sys.modules):
        if name.split(".")[0] == module:
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.delitem(sys.modules, f"menndl_caffe.export.{command.FORMATS[to]}", raising=False)
    with pytest.raises(UserError, match=rf"--to {to} needs .*{module}.*pip install 'menndl_caffe\[{to}\]'") as error:
        exported(run, to)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("to", FORMATS)
def test_a_run_without_results_is_exported_too(to: str, tmp_path: Path) -> None:
    library({"csv": "csv", "parquet": "pyarrow"}.get(to, to))
    assert exported(write_run(tmp_path / "run", []), to).is_dir()


def test_no_run_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is not a run"):
        exported(tmp_path, "csv")
    (tmp_path / "journal.jsonl").write_text('{"event": "ru')
    with pytest.raises(UserError, match="the run has not begun"):
        exported(tmp_path, "csv")
    assert not (tmp_path / "export").exists()
