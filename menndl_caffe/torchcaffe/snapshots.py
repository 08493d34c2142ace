"""Snapshots: a solver's weights and state in files that Caffe reads, and what it needs besides to go on exactly.

    PREFIX_iter_N.caffemodel                    weights (see `weights`)
    PREFIX_iter_N.solverstate                   SolverState: iteration, the weights' file, step of the rate, histories
    PREFIX_iter_N.solverstate.resume.json       random generator, and what layers keep, such as their place in the data

With `snapshot_format: HDF5` the first two end in `.h5`. Caffe (`solver.cpp`, `sgd_solver.cpp`) has not the third: it
goes on with the first record and other random numbers, and so does a solver here whose snapshot comes from Caffe. The
third has a checksum of itself, and one of the state that it belongs to.
"""
from __future__ import annotations

import hashlib
import io
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Dict, Iterator, List, NamedTuple, Optional

import numpy as np
import torch

from menndl_caffe.errors import UserError
from menndl_caffe.nets.layer_rules.blob import blob_shape, text
from menndl_caffe.nets.proto import caffe_pb2
from menndl_caffe.text import printable
from menndl_caffe.torchcaffe import mode
from menndl_caffe.torchcaffe.blob import Blob
from menndl_caffe.torchcaffe.files import (
    dataset_of,
    h5py,
    open_hdf5,
    read_array,
    read_group,
    read_message,
    read_value,
    write_file,
)
from menndl_caffe.torchcaffe.layer import numbers_of
from menndl_caffe.torchcaffe.log import WARNING, log
from menndl_caffe.torchcaffe.weights import check_numbers, copy_from, save, save_hdf5

if TYPE_CHECKING:
    from menndl_caffe.torchcaffe.net import Net
    from menndl_caffe.torchcaffe.solver import Solver

OWN_LINES = "snapshots.py:1"
OWN_SUM = "sha256"  # of what the .resume.json itself holds
UNREADABLE = (OSError, ValueError, KeyError, TypeError, AttributeError, IndexError, OverflowError, RuntimeError)


def check_prefix(solver: Solver) -> None:
    """UserError where snapshots could not be written (`CheckSnapshotWritePermissions`)."""
    probe = _name(solver, ".tempfile")
    try:
        with open(probe, "w"):
            os.remove(probe)
    except OSError as error:
        raise UserError(f"snapshot_prefix: '{solver.param.snapshot_prefix}': cannot write {probe}: {error.strerror}; "
                        f"its folder must exist and be writable") from None


def write(solver: Solver) -> None:
    """Write the solver's three files; each is there as a whole or not at all."""
    if solver.param.snapshot_format == caffe_pb2.SolverParameter.HDF5:
        model, state = _name(solver, ".caffemodel.h5"), _name(solver, ".solverstate.h5")
        log(f"Snapshotting to HDF5 file {model}", source="solver.cpp:474")
        save_hdf5(solver.net, Path(model), solver.param.snapshot_diff)
        log(f"Snapshotting solver state to HDF5 file {state}", source="sgd_solver.cpp:296")
        content = _state_as_hdf5(solver, model)
    else:
        model, state = _name(solver, ".caffemodel"), _name(solver, ".solverstate")
        log(f"Snapshotting to binary proto file {model}", source="solver.cpp:464")
        save(solver.net, Path(model), solver.param.snapshot_diff)
        log(f"Snapshotting solver state to binary proto file {state}", source="sgd_solver.cpp:284")
        content = _state_as_message(solver, model)
    write_file(_resume_file(Path(state)), json.dumps(_resume(solver, content)).encode())
    write_file(Path(state), content)  # the last one: a state that is there has all that it needs


def restore(solver: Solver, path: Path) -> None:
    """Set weights, histories and iteration to those of a .solverstate; data and random numbers too if it is from here.

    UserError, and the solver as it was, where a file is none, damaged, or another net's or another type of solver's.
    """
    state = (_read_hdf5 if path.name.endswith(".h5") else _read_message)(solver, path)
    resume = _read_resume(solver, state, path)
    before = _kept(solver)
    try:
        if resume is not None:
            _set_kept(solver, resume, _resume_file(path))
        if state.model is not None:
            copy_from(solver.net, state.model)
    except UserError:
        _set_kept(solver, before, path)
        raise
    solver.iter, solver.current_step = state.iter, state.current_step
    if not path.name.endswith(".h5"):  # of which Caffe says nothing
        log("SGDSolver: restoring history", source="sgd_solver.cpp:336")
    solver.updates.history = [history.to(tensor) for tensor, history in zip(solver.updates.history, state.histories)]
    if resume is not None:
        log(f"Data and random numbers go on where {_resume_file(path)} was written", source=OWN_LINES)


def _name(solver: Solver, extension: str) -> str:
    return f"{solver.param.snapshot_prefix}_iter_{solver.iter}{extension}"


# The state, as Caffe keeps it ---------------------------------------------------------------------------------------

def _state_as_message(solver: Solver, model: str) -> bytes:
    state = caffe_pb2.SolverState(iter=solver.iter, learned_net=model, current_step=solver.current_step)
    state.history.extend(blob.to_proto() for blob in _histories(solver))
    return bytes(state.SerializeToString())


def _state_as_hdf5(solver: Solver, model: str) -> bytes:
    content = io.BytesIO()
    with h5py().File(content, "w") as file:
        file["iter"] = np.array([solver.iter], np.int32)
        file["learned_net"] = np.array(os.fsencode(model), f"S{len(os.fsencode(model)) + 1}")  # Caffe reads up to the 0
        file["current_step"] = np.array([solver.current_step], np.int32)
        group = file.create_group("history")
        for index, tensor in enumerate(solver.updates.history):
            group[str(index)] = tensor.cpu().contiguous().numpy()
    return content.getvalue()


class _State(NamedTuple):
    """What Caffe keeps, read and found to fit the solver; `model` is the weights' file."""

    iter: int
    current_step: int
    model: Optional[Path]
    histories: List[torch.Tensor]


def _read_message(solver: Solver, path: Path) -> _State:
    state = read_message(path, caffe_pb2.SolverState)
    if not state.HasField("iter"):
        raise UserError(f"{path}: has no iter: not a .solverstate")
    _check_shapes(solver, [blob_shape(proto) for proto in state.history], path)
    for index, proto in enumerate(state.history):
        check_numbers(proto, f"{path}: history {index}")
    histories = [numbers_of(proto).view(tensor.shape) for proto, tensor in zip(state.history, solver.updates.history)]
    model = _model(state.learned_net, path) if state.HasField("learned_net") else None
    return _State(_count("iter", state.iter, path), _count("current_step", state.current_step, path), model, histories)


def _read_hdf5(solver: Solver, path: Path) -> _State:
    with open_hdf5(path) as file:
        missing = [name for name in ("iter", "current_step", "history") if name not in file]
        if missing:
            raise UserError(f"{path}: has no {', '.join(missing)}: not a .solverstate.h5")
        group = read_group(file, "history", path)
        datasets = [dataset_of(group, str(index), path) for index in range(len(group))]
        _check_shapes(solver, [dataset.shape for dataset in datasets], path)
        histories = [torch.from_numpy(read_array(dataset)) for dataset in datasets]
        model = _model(read_value(file, "learned_net", path), path) if "learned_net" in file else None
        counts = [_count(name, read_value(file, name, path), path) for name in ("iter", "current_step")]
    return _State(counts[0], counts[1], model, histories)


def _count(name: str, number: Any, path: Path) -> int:
    """A number of iterations or steps."""
    if not isinstance(number, int) or not 0 <= number < 2**31:
        raise UserError(f"{path}: {name} is {number!r}; expected an integer from 0 to 2^31 - 1")
    return number


def _histories(solver: Solver) -> Iterator[Blob]:
    for tensor in solver.updates.history:
        blob = Blob(tuple(tensor.shape))
        blob.value = tensor
        yield blob


def _check_shapes(solver: Solver, found: List[Any], path: Path) -> None:
    expected = [tuple(tensor.shape) for tensor in solver.updates.history]
    if len(found) != len(expected):
        raise UserError(f"{path}: has {len(found)} histories; a solver of type {solver.type} for this net has "
                        f"{len(expected)}")
    for index, (one, other) in enumerate(zip(found, expected)):
        if one != other:
            raise UserError(f"{path}: history {index} has shape {text(one)} there, {text(other)} here")


def _model(recorded: Any, state: Path) -> Path:
    """The weights' file as the state names it, or, when both were moved, of this name beside the state."""
    if not isinstance(recorded, (str, bytes)):
        raise UserError(f"{state}: learned_net is {recorded!r}; expected the name of a file")
    name = Path(os.fsdecode(recorded))
    places = name, state.parent / name.name
    for place in places:
        if place.exists():
            return place
    raise UserError(f"{state}: its weights are neither at {printable(str(places[0]))} nor at "
                    f"{printable(str(places[1]))}")


# What exact resuming needs besides ----------------------------------------------------------------------------------

def _resume_file(state: Path) -> Path:
    return Path(f"{state}.resume.json")


def _resume(solver: Solver, state: bytes) -> Dict[str, Any]:
    resume = {"iteration": solver.iter, "solverstate_sha256": hashlib.sha256(state).hexdigest(), **_kept(solver)}
    return {**resume, OWN_SUM: _digest(resume)}


def _digest(resume: Dict[str, Any]) -> str:
    """The checksum of everything in it but the checksum."""
    rest = {name: value for name, value in resume.items() if name != OWN_SUM}
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()


def _kept(solver: Solver) -> Dict[str, Any]:
    """What an exact resume needs of the process and of the solver's layers."""
    nets = [[[layer.param.name, layer.state()] for layer in net.layers] for net in _nets(solver)]
    return {"generator": mode.generator().state(), "nets": nets}


def _nets(solver: Solver) -> List[Net]:
    return [solver.net, *solver.test_nets]


def _read_resume(solver: Solver, state: _State, state_path: Path) -> Optional[Dict[str, Any]]:
    """What was kept beside the state; None, with a warning, where nothing was, or of another snapshot or net."""
    path = _resume_file(state_path)
    if not path.exists():
        log(f"There is no {path}: as in Caffe, data start with the first record and random numbers anew", WARNING,
            OWN_LINES)
        return None
    try:
        resume: Dict[str, Any] = json.loads(path.read_bytes())
        if resume.get(OWN_SUM, _digest(resume)) != _digest(resume):  # older versions wrote none
            raise ValueError("its checksum is another")
        belongs = (resume["iteration"] == state.iter
                   and resume["solverstate_sha256"] == hashlib.sha256(state_path.read_bytes()).hexdigest()
                   and [[name for name, _ in layers] for layers in resume["nets"]]
                   == [[layer.param.name for layer in net.layers] for net in _nets(solver)])
    except UNREADABLE as error:
        raise _not_a_resume(path, error) from None
    if belongs:
        return resume
    log(f"{path} is of another snapshot or net: data start with the first record and random numbers anew", WARNING,
        OWN_LINES)
    return None


def _set_kept(solver: Solver, kept: Dict[str, Any], path: Path) -> None:
    try:
        mode.generator().set_state(kept["generator"])
        for net, states in zip(_nets(solver), kept["nets"]):
            for layer, (_, state) in zip(net.layers, states):
                layer.set_state(state)
    except UNREADABLE as error:
        raise _not_a_resume(path, error) from None


def _not_a_resume(path: Path, error: Exception) -> UserError:
    return UserError(f"{path}: not what a snapshot wrote ({error!r}); without this file data start with the first "
                     f"record")
