"""The trainer: a process of its own that trains one net after the other through pycaffe's API. No genes, no MPI.

    PYTHON -m menndl_caffe.trainer caffe|torch [float32|tf32|bf16]     trains what it is sent, until its input ends
    PYTHON .../menndl_caffe/trainer caffe|torch [float32|tf32|bf16]    the same, wherever PYTHON has its modules
    PYTHON .../menndl_caffe/trainer --has caffe                        prints whether PYTHON has a pycaffe: True, False

It runs in the engine's own Python, for real Caffe Python 3.9 with numpy 1.19, so it needs nothing but the engine.
One JSON object a line, on standard input and output; the engine's log goes to standard error. First of all:

    <-  {"event": "ready", "engine": "caffe", "math": "float32", "version": "1.0.0", "versions": {...}, "pid": 123}

Then for each request, whose number comes back with every answer to it:

    ->  {"id": 1, "net": text, "solver": text}       and "weights": path, where the trained net's weights shall go
                                                     and "until": N, where the training shall end before max_iter
                                                     and "program": another than "train", with its settings
    <-  {"id": 1, "event": "test", "iteration": 500, "outputs": {"accuracy": 0.55, "loss": 1.28}}
    <-  {"id": 1, "event": "done", "engine_seconds": 97.1}                             after its last test
    <-  {"id": 1, "event": "diverged", "reason": "...", "engine_seconds": 1.1}         see `Diverged`
    <-  {"id": 1, "event": "error", "reason": "..."}                                   an exception of the engine
    <-  {"id": 1, "event": "gradient", "of": {"momentum": 0.2}, "how": {}, "distrust": ""}   "hypergradient", at the end
    <-  {"id": 1, "event": "learned", "of": {"count": 4, "mean": 0.003, ...}}          of what learns, at the end
    <-  {"id": 1, "event": "unsuitable", "reason": "..."}                              no net for this program

A training that ended at `until` is kept. A request of the same texts that ends later goes on with it, and says its
tests again before new ones; any other request drops it before it begins.

Where the engine aborts or is killed the process ends, and whoever started it sees that. docs/trainer.md says the same
to those who write a trainer of their own.
"""
from __future__ import annotations

import ctypes
import functools
import importlib.util
import json
import os
import signal
import sys
from typing import IO, Any, Callable, Dict

if not __package__:  # started by its path: menndl_caffe is then the one around this file, whatever PYTHON has
    sys.path[0] = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
from menndl_caffe.trainer.train import Clock, Diverged, Kept, Unsuitable, train

if not __package__:  # and nothing that lies beside menndl_caffe comes before the engine's own modules
    sys.path[0] = ""

MODULES = {"caffe": "caffe", "torch": "menndl_caffe.torchcaffe"}
# Beside "train": a function and the module that has it.
PROGRAMS = {"hypergradient": "hypergradient.program", "adaptive": "retrained", "hypernet": "retrained",
            "retrain": "retrained"}
BLAS = ("openblas", "mkl", "atlas", "blis")


def main() -> None:
    """Serve trainings until standard input ends. Arguments: the engine, and its arithmetic if it is not Caffe's."""
    if sys.argv[1:] == ["--has", "caffe"]:
        return print(has_pycaffe())
    name = sys.argv[1] if len(sys.argv) > 1 else "caffe"
    arithmetic = sys.argv[2] if len(sys.argv) > 2 else "float32"
    _die_with_parent()
    replies = _own_stdout()

    def say(**message: Any) -> None:
        replies.write(json.dumps(message) + "\n")
        replies.flush()

    engine = importlib.import_module(MODULES[name])
    engine.init_log(0, True)
    if arithmetic != "float32":
        engine.set_math(arithmetic)
    say(event="ready", engine=name, math=arithmetic, version=str(engine.__version__), versions=versions(name, engine),
        pid=os.getpid())
    kept = Kept()
    for line in sys.stdin:
        request = json.loads(line)
        answer(engine, request, kept, functools.partial(say, id=request["id"]))


def answer(engine: Any, request: Dict[str, Any], kept: Kept, say: Callable[..., None]) -> None:
    """Train what a request says; the last thing that is said tells how it ended."""
    clock, name = Clock(), request.get("program", "train")
    begun = kept.take(request)
    try:
        if name == "train":
            kept.keep(train(engine, request, clock, say, begun))
        else:
            program(name)(engine, request, clock, say)
        say(event="done", engine_seconds=clock.seconds)
    except Diverged as error:
        say(event="diverged", reason=str(error), engine_seconds=clock.seconds)
    except Unsuitable as error:
        say(event="unsuitable", reason=str(error))
    except Exception as error:  # whatever an engine raises belongs to this training, not to the next
        say(event="error", reason=f"{type(error).__name__}: {error}")


def program(name: str) -> Callable[..., None]:
    """One of PROGRAMS. Its module is imported now: where only a pycaffe is looked for there may be no numpy."""
    found: Callable[..., None] = getattr(importlib.import_module(f"menndl_caffe.trainer.{PROGRAMS[name]}"), name)
    return found


def has_pycaffe() -> bool:
    """Whether this Python finds a module `caffe` that is pycaffe: an unrelated package of that name has no Net."""
    spec = importlib.util.find_spec("caffe")
    return bool(spec and spec.origin and os.path.exists(os.path.join(os.path.dirname(spec.origin), "pycaffe.py")))


def versions(name: str, engine: Any) -> Dict[str, Any]:
    """Versions of the engine, once it is imported, and of what it computes with; texts, of GPUs a list of texts."""
    common = {"python": sys.version.split()[0], "numpy": importlib.import_module("numpy").__version__}
    if name == "torch":
        torch = importlib.import_module("torch")
        gpus = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
        return {"version": torch.__version__, "blas": "mkl" if torch.backends.mkl.is_available() else "other",
                "cpu": torch.backends.cpu.get_cpu_capability(), "gpus": gpus, **common}
    with open("/proc/self/maps") as file:
        mapped = {os.path.basename(line.split()[-1]).lower() for line in file}
    blas = next((known for known in BLAS if any(known in library for library in mapped)), "reference")
    return {"version": str(engine.__version__), "blas": blas, **common}


def _own_stdout() -> IO[str]:
    """The real standard output, for replies alone; what the engine prints goes to standard error from now on.

    Line by line, in order with what its library says, and not lost where the process dies.
    """
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    sys.stdout = open(1, "w", buffering=1, closefd=False)
    return replies


def _die_with_parent() -> None:
    """Ask Linux to kill this process when the one that started it dies, since a step may hold Python for minutes."""
    pr_set_pdeathsig = 1
    ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGKILL)


if __name__ == "__main__":
    main()
