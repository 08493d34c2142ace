"""Snapshots: a solver's weights and state in files that Caffe reads, and what it needs besides to go on exactly.

    PREFIX_iter_N.caffemodel                    weights (see `weights`)
    PREFIX_iter_N.solverstate                   SolverState: iteration, the weights' file, step of the rate, histories
    PREFIX_iter_N.solverstate.resume.json       random generator, and what layers keep, such as their place in the data

With `snapshot_format: HDF5` the first two end in `.h5`. Caffe (`solver.cpp`, `sgd_solver.cpp`) has not the third: it
goes on with the first record and other random numbers, and so does a solver here whose snapshot comes from Caffe.
"""
from __future__ import annotations

import hashlib
import io
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Dict, Iterator, List

import numpy as np
import torch

from menndl_caffe.errors import UserError
from menndl_caffe.nets.layer_rules.blob import blob_shape, text
from menndl_caffe.nets.proto import caffe_pb2
from menndl_caffe.torchcaffe import mode
from menndl_caffe.torchcaffe.blob import Blob
from menndl_caffe.torchcaffe.files import data_set, h5py, open_hdf5, read_array, read_message, write_file
from menndl_caffe.torchcaffe.log import WARNING, log
from menndl_caffe.torchcaffe.weights import copy_from, fill_from, save, save_hdf5

if TYPE_CHECKING:
    from menndl_caffe.torchcaffe.net import Net
    from menndl_caffe.torchcaffe.solver import Solver

OWN_LINES = "snapshots.py:1"


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

    UserError where the file is none, or another net's or another type of solver's.
    """
    if path.name.endswith(".h5"):
        _restore_hdf5(solver, path)
    else:
        _restore_message(solver, path)
    _restore_resume(solver, path)


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


def _restore_message(solver: Solver, path: Path) -> None:
    state = read_message(path, caffe_pb2.SolverState)
    if not state.HasField("iter"):
        raise UserError(f"{path}: has no iter: not a .solverstate")
    _check_shapes(solver, [blob_shape(proto) for proto in state.history], path)
    if state.HasField("learned_net"):
        copy_from(solver.net, _model(state.learned_net, path))
    solver.iter, solver.current_step = state.iter, state.current_step
    log("SGDSolver: restoring history", source="sgd_solver.cpp:336")
    for blob, proto in zip(_histories(solver), state.history):
        fill_from(blob, proto, path)


def _restore_hdf5(solver: Solver, path: Path) -> None:
    with open_hdf5(path) as file:
        missing = [name for name in ("iter", "current_step", "history") if name not in file]
        if missing:
            raise UserError(f"{path}: has no {', '.join(missing)}: not a .solverstate.h5")
        group = file["history"]
        names = [str(index) for index in range(len(group))]
        _check_shapes(solver, [data_set(group, name, path).shape for name in names], path)
        arrays = [read_array(group, name, path) for name in names]
        if "learned_net" in file:
            copy_from(solver.net, _model(os.fsdecode(bytes(file["learned_net"][()]).rstrip(b"\0")), path))
        solver.iter = int(np.ravel(file["iter"][()])[0])
        solver.current_step = int(np.ravel(file["current_step"][()])[0])
    for tensor, array in zip(solver.updates.history, arrays):
        tensor.copy_(torch.from_numpy(array))


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


def _model(recorded: str, state: Path) -> Path:
    """The weights' file as the state names it, or, when both were moved, of this name beside the state."""
    places = Path(recorded), state.parent / Path(recorded).name
    for place in places:
        if place.exists():
            return place
    raise UserError(f"{state}: its weights are neither at {places[0]} nor at {places[1]}")


# What exact resuming needs besides ----------------------------------------------------------------------------------

def _resume_file(state: Path) -> Path:
    return Path(f"{state}.resume.json")


def _resume(solver: Solver, state: bytes) -> Dict[str, Any]:
    return {
        "iteration": solver.iter,
        "solverstate_sha256": hashlib.sha256(state).hexdigest(),
        "generator": mode.generator().state(),
        "nets": [[[layer.param.name, layer.state()] for layer in net.layers] for net in _nets(solver)],
    }


def _nets(solver: Solver) -> List[Net]:
    return [solver.net, *solver.test_nets]


def _restore_resume(solver: Solver, state: Path) -> None:
    path = _resume_file(state)
    if not path.exists():
        log(f"There is no {path}: as in Caffe, data start with the first record and random numbers anew", WARNING,
            OWN_LINES)
        return
    try:
        resume = json.loads(path.read_bytes())
        belongs = _belongs(solver, resume, state)
        if belongs:
            _set_states(solver, resume)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path}: not what a snapshot wrote ({error!r}); without this file data start with the first "
                        f"record") from None
    if not belongs:
        log(f"{path} is of another snapshot or net: data start with the first record and random numbers anew", WARNING,
            OWN_LINES)
        return
    log(f"Data and random numbers go on where {path} was written", source=OWN_LINES)


def _set_states(solver: Solver, resume: Dict[str, Any]) -> None:
    mode.generator().set_state(resume["generator"])
    for net, states in zip(_nets(solver), resume["nets"]):
        for layer, (_, kept) in zip(net.layers, states):
            layer.set_state(kept)


def _belongs(solver: Solver, resume: Dict[str, Any], state: Path) -> bool:
    names = [[layer.param.name for layer in net.layers] for net in _nets(solver)]
    return bool(resume["iteration"] == solver.iter
                and resume["solverstate_sha256"] == hashlib.sha256(state.read_bytes()).hexdigest()
                and [[name for name, _ in states] for states in resume["nets"]] == names)
