"""The command `caffe` on this engine, with its flags, log lines and signals (`tools/caffe.cpp`, `signal_handler.cpp`).

    python -m menndl_caffe.torchcaffe train -solver solver.prototxt [-weights A,B | -snapshot S.solverstate] [-gpu 0]
    python -m menndl_caffe.torchcaffe test -model net.prototxt -weights W.caffemodel [-iterations 50]
    python -m menndl_caffe.torchcaffe time -model net.prototxt [-phase TRAIN] [-iterations 50]
    python -m menndl_caffe.torchcaffe device_query -gpu all

glog's flags are taken as well. All lines go to standard error, as they do in Caffe beside its log files; there are none
here.
"""
from __future__ import annotations

import argparse
import re
import signal
import sys
from typing import Any, Callable, Dict, Iterator, List, NoReturn, Sequence, Set

import torch

from menndl_caffe.arguments import whole
from menndl_caffe.errors import UserError, did_you_mean
from menndl_caffe.nets.layer_rules.blob import LayerError
from menndl_caffe.nets.proto import caffe_pb2
from menndl_caffe.torchcaffe import mode
from menndl_caffe.torchcaffe.log import WARNING, init_log, log, show_prefix
from menndl_caffe.torchcaffe.net import Net
from menndl_caffe.torchcaffe.scores import outputs, scores
from menndl_caffe.torchcaffe.solver import Action, load_solver, solver_of
from menndl_caffe.torchcaffe.timer import Timer

PROGRAM = "python -m menndl_caffe.torchcaffe"
VERSION = "caffe version 1.0.0"
OWN_LINES = "command.py:1"
FLAGS: Dict[str, Dict[str, Any]] = {  # -name value, -name=value, --name value and --name=value, as gflags takes them
    "solver": {"metavar": "FILE", "help": "the solver's prototxt (train)"},
    "model": {"metavar": "FILE", "help": "the net's prototxt (test, time)"},
    "weights": {"metavar": "FILES", "help": "weights to start from (train; several with commas) or to test"},
    "snapshot": {"metavar": "FILE", "help": "the .solverstate to go on from (train)"},
    "gpu": {"metavar": "N", "help": "compute on this GPU; `all` where there is one"},
    "iterations": {"metavar": "N", "type": whole(1), "default": 50, "help": "batches to test, or passes to time (50)"},
    "phase": {"choices": ("TRAIN", "TEST"), "default": "TRAIN", "help": "of the net to time (TRAIN)"},
    "level": {"metavar": "N", "type": int, "default": 0, "help": "of the net's state (0)"},
    "stage": {"metavar": "NAMES", "help": "of the net's state; several with commas"},
    "sigint_effect": {"choices": ("stop", "snapshot", "none"), "default": "stop", "help": "what SIGINT does (stop)"},
    "sighup_effect": {"choices": ("stop", "snapshot", "none"), "default": "snapshot",
                      "help": "what SIGHUP does (snapshot)"},
    "math": {"choices": mode.MATHS, "default": "float32",
             "help": "arithmetic of convolutions and inner products (float32, as Caffe)"},
}

GLOG: Dict[str, Dict[str, Any]] = {
    "minloglevel": {"metavar": "N", "type": whole(0), "default": 0, "help": "least level shown, INFO (0) to FATAL (3)"},
    "log_dir": {"metavar": "DIR", "help": "taken for Caffe's sake: no log files are written"},
    **{name: {"type": int, "default": 0, "help": argparse.SUPPRESS} for name in (
        "v", "stderrthreshold", "max_log_size", "logbufsecs", "logbuflevel", "logfile_mode", "logemaillevel")},
    **{name: {"help": argparse.SUPPRESS} for name in ("vmodule", "log_link", "log_backtrace_at", "alsologtoemail")},
}
SWITCHES = ("log_prefix", "logtostderr", "alsologtostderr", "colorlogtostderr", "stop_logging_if_full_disk")
TRUTHS = {**dict.fromkeys(("1", "t", "true", "y", "yes"), True), **dict.fromkeys(("0", "f", "false", "n", "no"), False)}


def main(arguments: Sequence[str]) -> int:
    """Run a command; exit code 2 and one line on standard error for a user's mistake."""
    parser = _parser()
    try:
        flags = parser.parse_args(_without_switches(arguments))
        if flags.minloglevel:
            init_log(flags.minloglevel)
        if flags.log_dir:
            log("-log_dir: no log files are written here; standard error has all lines", WARNING, OWN_LINES)
        if flags.command is None:
            parser.print_help()
            return 0
        if flags.command not in COMMANDS:
            raise UserError(f"unknown action: {flags.command}{did_you_mean(flags.command, COMMANDS)}")
        mode.set_math(flags.math)
        COMMANDS[flags.command](flags)
    except (UserError, LayerError) as error:
        print(f"caffe: {error}", file=sys.stderr)
        return 2
    return 0


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UserError(message)


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog=PROGRAM, allow_abbrev=False, add_help=False,
                     formatter_class=argparse.RawDescriptionHelpFormatter,
                     description="\n".join(f"{name:14}{command.__doc__}" for name, command in COMMANDS.items()))
    parser.add_argument("-h", "-help", "--help", action="help", help="show this help")
    parser.add_argument("command", nargs="?", metavar="|".join(COMMANDS))
    parser.add_argument("-version", "--version", action="version", version=VERSION, help="show Caffe's version")
    for name, settings in {**FLAGS, **GLOG}.items():
        parser.add_argument(f"-{name}", f"--{name}", **{"default": "", **settings})
    return parser


def _without_switches(arguments: Sequence[str]) -> List[str]:
    """The other arguments: a switch of gflags is `-name`, `-noname` or `-name=true`, and takes no word after it."""
    others = []
    for argument in arguments:
        found = re.fullmatch(f"--?(no)?({'|'.join(SWITCHES)})(?:=(.*))?", argument)
        if not found:
            others.append(argument)
            continue
        no, name, value = found.groups()
        if value is not None and (no or value.lower() not in TRUTHS):
            raise UserError(f"{argument}: valid: -{name}, -no{name}, -{name}=true and -{name}=false")
        if name == "log_prefix":
            show_prefix(not no if value is None else TRUTHS[value.lower()])
    return others


# Commands ------------------------------------------------------------------------------------------------------------

def train(flags: argparse.Namespace) -> None:
    """train or finetune a model"""
    _need(flags.solver, "-solver: need a solver definition to train")
    if flags.snapshot and flags.weights:
        raise UserError("-snapshot and -weights: give a snapshot to resume training or weights to finetune, not both")
    param = load_solver(flags.solver)
    param.train_state.level = flags.level
    param.train_state.stage.extend(flags.stage.split(","))
    if not flags.gpu and param.HasField("solver_mode") and param.solver_mode == param.GPU:
        if not mode.gpus():
            raise UserError(f"{flags.solver}: solver_mode: GPU, but PyTorch finds no GPU here: set solver_mode: CPU")
        flags.gpu = str(param.device_id)
    _use_device(flags.gpu, "Using GPUs {0}", "GPU {0}: {1}", (197, 204, 209))
    if flags.snapshot or flags.weights:
        param.ClearField("weights")
    if flags.weights:
        param.weights.append(flags.weights)
    signals = Signals({signal.SIGINT: flags.sigint_effect, signal.SIGHUP: flags.sighup_effect})
    solver = solver_of(param)
    solver.answer_to(signals.requested)
    if flags.snapshot:
        _log(f"Resuming from {flags.snapshot}", 235)
        solver.restore(flags.snapshot)
    _log("Starting Optimization", 239)
    solver.solve()
    _log("Optimization Done.", 250)


def test(flags: argparse.Namespace) -> None:
    """score a model"""
    _need(flags.model, "-model: need a model definition to score")
    _need(flags.weights, "-weights: need model weights to score")
    _use_device(flags.gpu, "Use GPU with device ID {0}", "GPU device name: {1}", (275, 266, 270))
    net = Net(flags.model, caffe_pb2.TEST, level=flags.level, stages=flags.stage.split(","))
    net.copy_from(flags.weights)
    _log(f"Running for {flags.iterations} iterations.", 281)
    sums, losses = torch.zeros((), device=mode.device()), 0.0
    for batch in range(flags.iterations):
        losses += net.forward_loss()
        values = outputs(net)
        sums = sums + values
        for score in scores(net, values):
            _log(f"Batch {batch}, {score.name} = {score.value:g}", 304)
    _log(f"Loss: {losses / flags.iterations:g}", 309)
    for score in scores(net, sums / flags.iterations):
        _log(str(score), 321)


def device_query(flags: argparse.Namespace) -> None:
    """show GPU diagnostic information"""
    _log(f"Querying GPUs {flags.gpu}", 138)
    for index in _gpus(flags.gpu):
        mode.set_device(index)
        device = torch.cuda.get_device_properties(index)
        for what, value in (("Device id:", index), ("Major revision number:", device.major),
                            ("Minor revision number:", device.minor), ("Name:", device.name),
                            ("Total global memory:", device.total_memory), ("Warp size:", device.warp_size),
                            ("Number of multiprocessors:", device.multi_processor_count)):
            log(f"{what:31}{value}", source="common.cpp:178")


def time(flags: argparse.Namespace) -> None:
    """benchmark model execution time"""
    _need(flags.model, "-model: need a model definition to time")
    _use_device(flags.gpu, "Use GPU with device ID {0}", "", (343, 339, 0))
    net = Net(flags.model, caffe_pb2.Phase.Value(flags.phase), level=flags.level, stages=flags.stage.split(","))
    _log("Performing Forward", 351)
    _log(f"Initial loss: {net.forward_loss():g}", 356)
    _log("Performing Backward", 357)
    net.backward_all()
    _log("*** Benchmark begins ***", 365)
    _log(f"Testing for {flags.iterations} iterations.", 366)
    names = list(net.layer_dict)
    forward, backward = [0.0] * len(names), [0.0] * len(names)
    for iteration in range(1, flags.iterations + 1):
        once = list(_timed_pass(net, forward, backward))
        _log(f"Iteration: {iteration} forward-backward time: {sum(once):g} ms.", 394)
    _log("Average time per layer: ", 397)
    for index, name in enumerate(names):
        _log(f"{name:>10}\tforward: {forward[index] / flags.iterations:g} ms.", 400)
        _log(f"{name:>10}\tbackward: {backward[index] / flags.iterations:g} ms.", 403)
    for what, total, line in (("Forward pass", sum(forward), 408), ("Backward pass", sum(backward), 410),
                              ("Forward-Backward", sum(forward) + sum(backward), 412)):
        _log(f"Average {what}: {total / flags.iterations:g} ms.", line)
    _log(f"Total Time: {sum(forward) + sum(backward):g} ms.", 414)
    _log("*** Benchmark ends ***", 415)


COMMANDS: Dict[str, Callable[[argparse.Namespace], None]] = {
    "train": train, "test": test, "device_query": device_query, "time": time}


# What they need ------------------------------------------------------------------------------------------------------

class Signals:
    """What SIGINT and SIGHUP ask for, once each; a signal with effect `none` is taken and forgotten."""

    def __init__(self, effects: Dict[signal.Signals, str]) -> None:
        self._effects = {number: Action[effect.upper()] for number, effect in effects.items()}
        self._received: Set[int] = set()
        for number in effects:
            signal.signal(number, lambda received, frame: self._received.add(received))

    def requested(self) -> Action:
        """The next thing that a signal has asked for since the last call."""
        for number in (signal.SIGHUP, signal.SIGINT):
            if number in self._received:
                self._received.remove(number)
                return self._effects[number]
        return Action.NONE


def _timed_pass(net: Net, forward: List[float], backward: List[float]) -> Iterator[float]:
    """Run every layer forward, then every one back; the milliseconds of each, which are added to its totals."""
    timer, order = Timer(), range(len(net.layers))
    for totals, run, indices in ((forward, net._forward, order), (backward, net._backward, order[::-1])):
        for index in indices:
            timer.start()
            run(index, index)
            timer.stop()
            totals[index] += timer.ms
            yield timer.ms


def _gpus(flag: str) -> List[int]:
    if flag == "all":
        return list(range(len(mode.gpus())))
    try:
        return [int(number) for number in flag.split(",")] if flag else []
    except ValueError:
        raise UserError(f"-gpu {flag}: expected a GPU's number, or all") from None


def _use_device(flag: str, used: str, named: str, lines: Sequence[int]) -> None:
    """Compute on the GPU that -gpu names, or on the CPU; `lines` are those of caffe.cpp that say so."""
    on_cpu, on_gpu, name = lines
    numbers = _gpus(flag)
    if flag and not numbers:
        mode.set_device(0)  # says that there is none
    if flag and len(numbers) != 1:
        raise UserError(f"-gpu {flag}: {len(numbers)} GPUs; one process computes on one GPU here")
    if not numbers:
        _log("Use CPU.", on_cpu)
        mode.set_mode_cpu()
        return
    mode.set_device(numbers[0])
    mode.set_mode_gpu()
    _log(used.format(numbers[0]), on_gpu)
    if named:
        _log(named.format(numbers[0], mode.gpus()[numbers[0]]), name)


def _need(value: str, text: str) -> None:
    if not value:
        raise UserError(text)


def _log(text: str, line: int) -> None:
    log(text, source=f"caffe.cpp:{line}")
