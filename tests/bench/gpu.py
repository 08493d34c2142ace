"""What the torch engine does on a GPU, in about ten minutes: parity with the CPU, CUDA graphs, individuals an hour.

    python -m tests.bench.gpu [--data DIR] [--seconds S] [--random N] [--json FILE]

It needs this repository, PyTorch for CUDA, and a GPU; exit code 2 where there is none. With `--cpu` the CPU takes the
GPU's place, to try the script itself. What it prints, one table after the other:

parity      the losses of a training's first iterations against the CPU's, and against a second training on the GPU,
            which must be the same to the bit, since a search that was killed trains an individual anew
graphs      an iteration with and without whole passes replayed as CUDA graphs
speed       the paper's individuals an hour, by one process and by several at once, and the share of what a large
            product of matrices reaches
estimate    hours for the paper's 17,500 individuals at the mean time of random genomes
"""
from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Dict, Iterator, List, Sequence

from menndl_caffe.data import write_synthetic
from menndl_caffe.experiment import search_file
from menndl_caffe.experiment.appraise import check
from menndl_caffe.experiment.render import Rendered, Renderer
from menndl_caffe.experiment.sources import sources
from menndl_caffe.trial import DEFAULT
from tests.bench.engines import ITERATIONS, TEST_BATCHES, flops, genomes, run_at_once, without_tests
from tests.bench.overhead import PAPER, machine
from tests.bench.stepper import timed
from tests.conftest import REPOSITORY

PROCESSES = (1, 2, 4)  # at once on one GPU
PARITY_ITERATIONS = 10
INDIVIDUALS = 17_500  # of the paper
Row = Dict[str, Any]  # what was measured of a genome


# ---- one process that trains: what `work` starts ----

def step(solver: str, seconds: float, device: str, graphs: bool) -> Dict[str, Any]:
    """Times of single iterations and test batches in ms, and the losses of the first iterations."""
    made = _solver(solver, device, graphs)
    losses = []
    for _ in range(PARITY_ITERATIONS):
        made.step(1)
        losses.append(float(made.net.blobs["loss"].data))
    tests = made.test_nets[0]
    tests.share_with(made.net)
    print("ready", flush=True)
    sys.stdin.readline()
    # Each call ends on the device before it returns, as it hands out a loss.
    return {"losses": losses, "step": statistics.median(timed(lambda: made.step(1), seconds)),
            "test": statistics.median(timed(tests.forward, seconds / 4))}


def _solver(solver: str, device: str, graphs: bool) -> Any:
    from menndl_caffe import torchcaffe as caffe
    from menndl_caffe.torchcaffe import net

    if not graphs:
        net.replay_of = lambda *_: None  # type: ignore[assignment]
    if device == "gpu":
        caffe.set_mode_gpu()
    else:
        caffe.set_mode_cpu()
    return caffe.get_solver(solver)


def work(solver: Path, seconds: float, device: str, processes: int = 1, graphs: bool = True) -> List[Dict[str, Any]]:
    """What so many processes say of the same training, all at once."""
    command = [sys.executable, "-m", "tests.bench.gpu", "--one", str(solver), str(seconds), device, "01"[graphs]]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "GLOG_minloglevel": "2", "OMP_NUM_THREADS": "1"}
    return [json.loads(line) for line in run_at_once([command] * processes, environment)]


# ---- the tables ----

def measured(rendered: Rendered, folder: Path, device: str, seconds: float) -> Row:
    """One genome: parity, graphs and speed."""
    rendered.write(folder)
    solver = without_tests(folder / "solver.prototxt")
    on_cpu = work(solver, 0.1, "cpu")[0]["losses"]
    first, second = (work(solver, seconds, device)[0] for _ in range(2))
    eager = work(solver, seconds, device, graphs=False)[0]
    at_once = {count: work(solver, seconds, device, count) for count in PROCESSES}
    one = at_once[1][0]
    return {"against_cpu": max(abs(a - b) / abs(b) for a, b in zip(first["losses"], on_cpu)),
            "same_bits": first["losses"] == second["losses"] == eager["losses"],
            "graphs_ms": one["step"], "eager_ms": eager["step"],
            "gflops": flops(check(rendered)) / one["step"] / 1e6,
            "individuals_an_hour": {count: sum(map(_an_hour, said)) for count, said in at_once.items()}}


def _an_hour(said: Dict[str, Any]) -> float:
    return 3.6e6 / (ITERATIONS * said["step"] + TEST_BATCHES * said["test"])


def sgemm(device: str) -> float:
    """GFLOP/s of a large product of matrices in float32."""
    import torch

    size, on = (8192, "cuda") if device == "gpu" else (2048, "cpu")
    a, b = torch.randn(2, size, size, device=on)
    times = []
    for _ in range(12):
        start = time.perf_counter()
        float((a @ b)[0, 0])  # waits for the device
        times.append(time.perf_counter() - start)
    return float(2 * size ** 3 / statistics.median(times) / 1e9)


def rows(data: str, folder: Path, device: str, seconds: float, count: int) -> Iterator[Row]:
    """Measure genome by genome, and print each one's line."""
    experiment = search_file.load(PAPER, data=data)
    if device == "gpu":
        experiment.message.solver_mode = experiment.message.GPU
    renderer, where, peak = Renderer(experiment), sources(experiment, DEFAULT), sgemm(device)
    counts = "".join(f"{f'{processes} at once':>11}" for processes in PROCESSES)
    print(f"{'':10} {'off CPU by':>10} {'same bits':>9} {'graphs ms':>9} {'without':>8} {'of sgemm':>8}{counts}")
    for name, genome in genomes(experiment.space, count):
        row = measured(renderer.render(experiment.trial(0, genome), where, str(folder)), folder, device, seconds)
        an_hour = "".join(f"{speed:11.1f}" for speed in row["individuals_an_hour"].values())
        print(f"{name:10} {row['against_cpu']:10.1e} {'yes' if row['same_bits'] else 'NO':>9} {row['graphs_ms']:9.2f} "
              f"{row['eager_ms']:8.2f} {row['gflops'] / peak:8.1%}{an_hour}", flush=True)
        yield {"name": name, "genes": genome.as_dict(), "sgemm": peak, **row}


def estimate(found: Sequence[Row]) -> str:
    """Of the paper's experiment, from the random genomes."""
    drawn = [row for row in found if row["name"].startswith("random")]
    if not drawn:
        return "no estimate: no random genomes were measured"
    hours = {count: INDIVIDUALS * statistics.mean(1 / row["individuals_an_hour"][count] for row in drawn)
             for count in PROCESSES}
    best = min(hours, key=lambda count: hours[count])
    return (f"the paper's {INDIVIDUALS:,} individuals: {hours[best]:,.0f} hours of such a device with {best} at once, "
            f"by {len(drawn)} random genomes; none is answered from an earlier one")


def main() -> None:
    """Parse the command line, measure, print."""
    if sys.argv[1:2] == ["--one"]:
        solver, seconds, device, graphs = sys.argv[2:]
        return print(json.dumps(step(solver, float(seconds), device, graphs == "1")), flush=True)
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", help="folder of CIFAR-10 databases; default: drawn images")
    parser.add_argument("--seconds", type=float, default=4.0, help="of training for each measurement (default: 4)")
    parser.add_argument("--random", type=int, default=8, help="random genomes (default: 8)")
    parser.add_argument("--json", type=Path, help="also write all figures to this file")
    parser.add_argument("--cpu", action="store_true", help="take the CPU for the GPU, to try this script")
    arguments = parser.parse_args()
    import torch

    if not arguments.cpu and not torch.cuda.is_available():
        parser.error("PyTorch finds no GPU here; expected one, or --cpu to try the script")
    device = "cpu" if arguments.cpu else "gpu"
    print(f"{machine()}; PyTorch {torch.__version__}; {torch.cuda.get_device_name() if device == 'gpu' else 'no GPU'}")
    os.makedirs("build", exist_ok=True)
    with tempfile.TemporaryDirectory(dir="build") as name:
        data = arguments.data or f"{name}/data"
        if not arguments.data:
            write_synthetic(Path(data), images_train=2000, images_test=500, report=lambda text: None)
        found = list(rows(data, Path(name).resolve(), device, arguments.seconds, arguments.random))
    print(estimate(found))
    if arguments.json:
        arguments.json.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
