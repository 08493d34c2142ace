"""Solvers: pycaffe's, with the training loop, tests and log lines of `solver.cpp`.

Histories and updates are in `updates`, learning rates in `nets.rates`, files in `snapshots`.
"""
from __future__ import annotations

import enum
import os
import time
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, Optional, Tuple, Type

import numpy as np
import torch

from menndl_caffe.errors import UserError, did_you_mean
from menndl_caffe.nets import prototxt
from menndl_caffe.nets.proto import caffe_pb2
from menndl_caffe.nets.rates import learning_rate
from menndl_caffe.nets.shapes import located
from menndl_caffe.nets.upgrade import upgrade_net, upgrade_solver
from menndl_caffe.torchcaffe import mode, snapshots
from menndl_caffe.torchcaffe.log import ERROR, WARNING, log
from menndl_caffe.torchcaffe.net import Net
from menndl_caffe.torchcaffe.scores import SmoothedLoss, outputs, scores
from menndl_caffe.torchcaffe.updates import Updates, check_settings

TRAIN_NETS = ("net", "net_param", "train_net", "train_net_param")
Callback = Callable[[], None]


class Action(enum.Enum):
    """What may be asked of a solver between two iterations, or two batches of a test."""

    NONE = 0
    STOP = 1
    SNAPSHOT = 2


class Solver:
    """A solver of a file, or with `of_param` of a SolverParameter whose type is `type`.

    `net`, `test_nets`, `iter` (updates so far) and `param` are pycaffe's. UserError where a file or a setting is wrong,
    ImpossibleNet where Caffe could not build a net.
    """

    type = ""

    def __init__(self, param_file: str) -> None:
        self._build(load_solver(param_file))

    @classmethod
    def of_param(cls, param: Any) -> Solver:
        """The solver of a SolverParameter."""
        solver = cls.__new__(cls)
        solver._build(param)
        return solver

    def _build(self, param: Any) -> None:
        self._log(f"Initializing solver from parameters: \n{prototxt.dumps(param)}", 45)
        self.param, self.iter, self.current_step = param, 0, 0
        for name in ("average_loss", "iter_size"):
            if getattr(param, name) < 1:
                raise UserError(f"{name}: {getattr(param, name)}; expected 1 or more")
        check_settings(self.type, param)
        if _is_root() and param.snapshot:
            snapshots.check_prefix(self)
        if param.random_seed >= 0:
            mode.set_random_seed((param.random_seed + mode.solver_rank()) % 2**32)
        self.net = self._train_net()
        self.test_nets = list(self._test_nets())
        self._log("Solver scaffolding done.", 57)
        self.updates = Updates(self.type, param, self.net.learnable)
        self._callbacks: List[Tuple[Callback, Callback]] = []
        self._requests: Callable[[], Action] = lambda: Action.NONE
        self._stops = False
        self._loss = SmoothedLoss(param.average_loss)
        self._displayed, self._displayed_at = 0, 0.0

    # Nets ------------------------------------------------------------------------------------------------------------

    def _train_net(self) -> Net:
        given = [name for name in TRAIN_NETS if self.param.HasField(name)]
        if len(given) != 1:
            raise UserError(f"a solver takes its train net from one of {', '.join(TRAIN_NETS)}, "
                            f"not from {' and '.join(given) or 'none'}")
        source, value = given[0], getattr(self.param, given[0])
        if source.endswith("param"):
            self._log(f"Creating training net specified in {source}.", 97 if source == "net_param" else 88)
        else:
            self._log(f"Creating training net from {source} file: {value}", 102 if source == "net" else 92)
        net = _net(value, caffe_pb2.TRAIN, self.param.train_state)
        self._load_weights(net)
        return net

    def _test_nets(self) -> Iterator[Net]:
        sources = self._test_sources()
        states = self.param.test_state
        if len(states) not in (0, len(sources)):
            raise UserError(f"test_state: given {len(states)} times for {len(sources)} test nets; once each, or never")
        if any(batches < 1 for batches in self.param.test_iter):
            raise UserError("test_iter: expected 1 or more batches for each test net")
        if sources and self.param.test_interval <= 0:
            raise UserError(f"test_interval: {self.param.test_interval} with test nets; expected 1 or more iterations")
        for index, (source, value) in enumerate(sources):
            self._log(f"Creating test net (#{index}) specified by {source}", 190)
            net = _net(value, caffe_pb2.TEST, states[index] if states else caffe_pb2.NetState())
            self._load_weights(net)
            yield net

    def _test_sources(self) -> List[Tuple[str, Any]]:
        """Where the test nets come from, in Caffe's words, with the message or the file's name."""
        param = self.param
        sources: List[Tuple[str, Any]] = [("test_net_param", net) for net in param.test_net_param]
        sources += [(f"test_net file: {name}", name) for name in param.test_net]
        generic = [("net_param", param.net_param)] if param.HasField("net_param") else []
        generic += [(f"net file: {param.net}", param.net)] if param.HasField("net") else []
        rest = len(param.test_iter) - len(sources)
        if rest < 0 or (rest and not generic):
            raise UserError(f"test_iter: given {len(param.test_iter)} times for {len(sources)} test nets "
                            f"(test_net_param, test_net); once each{', or more often' if generic else ''}")
        return sources + generic * rest

    def _load_weights(self, net: Net) -> None:
        for names in self.param.weights:
            for name in map(str.strip, names.split(",")):
                self._log(f"Finetuning from {name}", 72)
                net.copy_from(name)

    # Training --------------------------------------------------------------------------------------------------------

    def step(self, iters: int) -> None:
        """Train for so many iterations, with the tests, displays and snapshots that fall into them (`Solver::Step`)."""
        last = self.iter + iters
        self._loss = SmoothedLoss(self.param.average_loss)
        self._displayed_at = self._displayed_at or time.perf_counter()
        while self.iter < last:
            self.net.clear_param_diffs()
            if self._is_due(self.param.test_interval) and (self.iter > 0 or self.param.test_initialization):
                self.test_all()
                if self._stops:
                    break
            for on_start, _ in self._callbacks:
                on_start()
            self._loss.add(self._forward_backward())
            if self._is_due(self.param.display):
                self._display()
            for _, on_gradients_ready in self._callbacks:
                on_gradients_ready()
            self.apply_update()
            request = self._requests()
            if request is Action.SNAPSHOT or (self._is_due(self.param.snapshot) and _is_root()):
                self.snapshot()
            if request is Action.STOP:
                self._stops = True
                break

    def solve(self, resume_file: Optional[str] = None) -> None:
        """Train up to max_iter, from a .solverstate if given, with a last snapshot and test (`Solver::Solve`)."""
        param = self.param
        self._log(f"Solving {self.net.name}", 289)
        self._log(f"Learning Rate Policy: {param.lr_policy}", 290)
        self._stops = False
        if resume_file is not None:
            self._log(f"Restoring previous solver status from {resume_file}", 296)
            self.restore(resume_file)
        self.step(param.max_iter - self.iter)
        if param.snapshot_after_train and not self._is_due(param.snapshot):
            self.snapshot()
        if self._stops:
            self._log("Optimization stopped early.", 311)
            return
        if self._is_due(param.display):
            self._loss.add(self.net.forward_loss())
            self._log(f"Iteration {self.iter}, loss = {self._loss.mean:g}", 327)
        if self._is_due(param.test_interval):
            self.test_all()
        self._log("Optimization Done.", 332)

    def apply_update(self) -> None:
        """Update the parameters by their gradients: an iteration is done (`ApplyUpdate`)."""
        rate = self.lr
        if self._is_due(self.param.display):
            self._log(f"Iteration {self.iter}, lr = {rate:g}", 112, "sgd_solver.cpp")
        self.updates.apply(rate, self.iter)
        self.iter += 1

    @property
    def lr(self) -> float:
        """The learning rate of the next update; as in Caffe, asking may advance multistep to its next step."""
        rate, step = learning_rate(self.param, self.iter, self.current_step)
        if step != self.current_step and self.param.lr_policy == "multistep":
            self._log(f"MultiStep Status: Iteration {self.iter}, step = {step}", 50, "sgd_solver.cpp")
        self.current_step = step
        return rate

    def test_all(self) -> None:
        """Test all test nets with the train net's weights, unless a stop is requested (`TestAll`)."""
        for index in range(len(self.test_nets)):
            if not self._stops:
                self.test(index)

    def test(self, index: int = 0) -> None:
        """Log the means of a test net's outputs over its test_iter batches, which follow those of its last test."""
        self._log(f"Iteration {self.iter}, Testing net (#{index})", 347)
        net, batches = self.test_nets[index], self.param.test_iter[index]
        self.share_weights(net)
        losses, sums = 0.0, torch.zeros((), device=mode.device())
        for _ in range(batches):
            self._answer_requests()
            if self._stops:
                self._log("Test interrupted.", 396)
                return
            losses += net.forward_loss()
            sums = sums + outputs(net)
        if self.param.test_compute_loss:
            self._log(f"Test loss: {losses / batches:g}", 401)
        for number, score in enumerate(scores(net, sums / batches)):
            self._log(f"    Test net output #{number}: {score}", 414)

    # For users -------------------------------------------------------------------------------------------------------

    def snapshot(self) -> None:
        """Write weights and state to `SNAPSHOT_PREFIX_iter_N.caffemodel` and `.solverstate` (`.h5` in HDF5)."""
        snapshots.write(self)

    def restore(self, state_file: str) -> None:
        """Go on where a snapshot was taken, exactly if it was taken here; UserError where the files do not fit."""
        snapshots.restore(self, Path(state_file))

    def add_callback(self, on_start: Callback, on_gradients_ready: Callback) -> None:
        """Call `on_start()` before an iteration's passes, `on_gradients_ready()` after them, before the update."""
        self._callbacks.append((on_start, on_gradients_ready))

    def share_weights(self, net: Net) -> None:
        """Let a net use the weights of the train net: one memory."""
        net.share_with(self.net)

    def answer_to(self, requests: Callable[[], Action]) -> None:
        """Ask `requests()` after every iteration and test batch what to do (`SetActionFunction`)."""
        self._requests = requests

    # Inside ----------------------------------------------------------------------------------------------------------

    def _is_due(self, interval: int) -> bool:
        return bool(interval) and self.iter % interval == 0

    def _forward_backward(self) -> float:
        """Gradients of iter_size batches, summed; their mean loss."""
        loss = np.float32(0)
        for _ in range(self.param.iter_size):
            loss += np.float32(self.net.forward_loss())
            self.net.backward_all()
            if self.param.debug_info and self._is_due(self.param.display):
                self._log_norms()
        return float(loss / np.float32(self.param.iter_size))

    def _display(self) -> None:
        now = time.perf_counter()
        seconds = int((now - self._displayed_at) * 1e3) / 1e3
        rate = (self.iter - self._displayed) / (seconds or 1)
        self._log(f"Iteration {self.iter} ({rate:g} iter/s, {seconds:g}s/{self.param.display} iters), "
                  f"loss = {self._loss.mean:g}", 239)
        self._displayed, self._displayed_at = self.iter, now
        for number, score in enumerate(scores(self.net, outputs(self.net))):
            self._log(f"    Train net output #{number}: {score}", 258)

    def _log_norms(self) -> None:
        """The one line of debug_info that is cheap; Caffe also logs every layer's."""
        pairs = [(one.blob.value, one.blob.grad) for one in self.net.learnable]
        sums = [sum(float(pair[side].abs().sum()) for pair in pairs) for side in (0, 1)]
        lengths = [sum(float(pair[side].square().sum()) for pair in pairs) ** 0.5 for side in (0, 1)]
        log(f"    [Backward] All net params (data, diff): L1 norm = ({sums[0]:g}, {sums[1]:g}); "
            f"L2 norm = ({lengths[0]:g}, {lengths[1]:g})", ERROR, "net.cpp:721")

    def _answer_requests(self) -> None:
        request = self._requests()
        while request is not Action.NONE:
            if request is Action.SNAPSHOT:
                self.snapshot()
            else:
                self._stops = True
            request = self._requests()

    def _log(self, text: str, line: int, file: str = "solver.cpp") -> None:
        if _is_root():
            log(text, source=f"{file}:{line}")


class SGDSolver(Solver):
    """Stochastic gradient descent with momentum."""

    type = "SGD"


class NesterovSolver(SGDSolver):
    """Nesterov's accelerated gradient."""

    type = "Nesterov"


class AdaGradSolver(SGDSolver):
    """Duchi, Hazan and Singer, 2011."""

    type = "AdaGrad"


class RMSPropSolver(SGDSolver):
    """Tieleman and Hinton, 2012."""

    type = "RMSProp"


class AdaDeltaSolver(SGDSolver):
    """Zeiler, 2012."""

    type = "AdaDelta"


class AdamSolver(SGDSolver):
    """Kingma and Ba, 2014."""

    type = "Adam"


SOLVERS: Dict[str, Type[SGDSolver]] = {solver.type: solver for solver in (
    SGDSolver, NesterovSolver, AdaGradSolver, RMSPropSolver, AdaDeltaSolver, AdamSolver)}


def get_solver(param_file: str) -> Solver:
    """The solver of a file, of the class that its `type` says."""
    return solver_of(load_solver(param_file))


def solver_of(param: Any) -> Solver:
    """The solver of a SolverParameter, of the class that its `type` says."""
    if param.type not in SOLVERS:
        raise UserError(f"type: '{param.type}'{did_you_mean(param.type, SOLVERS)}")
    return SOLVERS[param.type].of_param(param)


def load_solver(param_file: str) -> Any:
    """A file's SolverParameter, in today's format and with a snapshot_prefix (`ReadSolverParamsFromTextFileOrDie`)."""
    read = prototxt.load(param_file, caffe_pb2.SolverParameter).message
    try:
        param = upgrade_solver(read)
    except UserError as error:
        raise UserError(f"{param_file}: {error}") from None
    if param is not read:
        field = "'solver_type' field (enum)"
        for text, level, line in (
                (f"Attempting to upgrade input file specified using deprecated {field}': {param_file}", 0, 1084),
                (f"Successfully upgraded file specified using deprecated {field} to 'type' field (string).", 0, 1091),
                ("Note that future Caffe releases will only support 'type' field (string) for a solver's type.",
                 WARNING, 1093)):
            log(text, level, f"upgrade_proto.cpp:{line}")
    stem = os.path.splitext(param_file)[0]
    if not param.HasField("snapshot_prefix"):
        param.snapshot_prefix = stem
        log(f"snapshot_prefix was not specified and is set to {stem}", source="upgrade_proto.cpp:1108")
    elif os.path.isdir(param.snapshot_prefix):
        param.snapshot_prefix = os.path.join(param.snapshot_prefix, os.path.basename(stem))
        log(f"snapshot_prefix was a directory and is replaced to {param.snapshot_prefix}",
            source="upgrade_proto.cpp:1113")
    return param


def _is_root() -> bool:
    return mode.solver_rank() == 0


def _net(source: Any, phase: int, given: Any) -> Net:
    """A net, of its file's name or its message, in its state: phase, then what it says, then what the solver says."""
    if isinstance(source, str):
        document = prototxt.load(source, caffe_pb2.NetParameter)
        with located(document):
            return _net_of(document.message, phase, given)
    return _net_of(source, phase, given)


def _net_of(param: Any, phase: int, given: Any) -> Net:
    state = caffe_pb2.NetState(phase=phase)
    state.MergeFrom(upgrade_net(param).state)
    state.MergeFrom(given)
    return Net.of_param(param, state.phase, state.level, state.stage)
