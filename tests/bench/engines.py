"""Real Caffe and the torch engine side by side: the same genomes, in one run, with all cores busy.

    python -m tests.bench.engines [--data DIR] [--seconds S] [--random N] [--json FILE]

For each genome and engine, every arrangement of processes and threads that fills the cores is tried, the engines taking
turns, and the better one counts: one process a core, or fewer with several threads. An individual is the paper's: 4,000
iterations and 9 test passes of 100 batches. The reference of what the cores can do is a large sgemm by PyTorch's BLAS.
"""
from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, Dict, List, NamedTuple, Sequence, Tuple

from menndl_caffe.data import write_synthetic
from menndl_caffe.experiment import search_file
from menndl_caffe.experiment.appraise import check
from menndl_caffe.experiment.render import Renderer
from menndl_caffe.experiment.sources import sources
from menndl_caffe.genome import Genome
from menndl_caffe.rank import engine as engines
from menndl_caffe.trial import DEFAULT
from tests.bench.overhead import PAPER, machine
from tests.conftest import REPOSITORY

MODULES = {"caffe": "caffe", "torch": "menndl_caffe.torchcaffe"}
ITERATIONS, TEST_BATCHES = 4000, 9 * 100
# The middle of the best five sets of Table 3.
TABLE3 = ["kernel1=4", "output1=76", "kernel2=4", "output2=118", "kernel3=2", "output3=108"]
LARGEST = [f"{gene}{i}={value}" for i in (1, 2, 3) for gene, value in (("kernel", 8), ("output", 126))]
SMALLEST = [f"{gene}{i}={value}" for i in (1, 2, 3) for gene, value in (("kernel", 1), ("output", 16))]

SGEMM = """
import sys, time, torch
torch.set_num_threads(int(sys.argv[1]))
a, b = torch.randn(2, 3072, 3072)
a @ b
print('ready', flush=True)
sys.stdin.readline()
times = []
for _ in range(12):
    start = time.perf_counter(); a @ b; times.append(time.perf_counter() - start)
print(2 * 3072**3 / sorted(times)[6] / 1e9)
"""


class Arrangement(NamedTuple):
    """So many processes at once, each with so many threads."""

    processes: int
    threads: int


class Speed(NamedTuple):
    """Of an engine on a genome: `step` and `test` in ms (medians of all processes), spread of `step`, memory in MB."""

    arrangement: Arrangement
    step: float
    low: float
    high: float
    test: float
    resident: float
    private: float
    layers: Dict[str, List[float]]

    @property
    def individuals_an_hour(self) -> float:
        """Of the paper's individuals, by all processes together."""
        seconds = (ITERATIONS * self.step + TEST_BATCHES * self.test) / 1e3
        return self.arrangement.processes * 3600 / seconds


def arrangements(cores: int) -> List[Arrangement]:
    """One process a core; one process for all cores; and the middle where there is one."""
    threads = sorted({1, cores, *(count for count in (2, 4) if cores % count == 0)})
    return [Arrangement(cores // count, count) for count in threads]


def run_at_once(commands: Sequence[Sequence[str]], environment: Dict[str, str]) -> List[str]:
    """Start all, wait until each says `ready`, let them go together; the last line of each."""
    processes = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                                  env=environment, text=True) for command in commands]
    for process in processes:
        assert process.stdin is not None and process.stdout is not None
        if process.stdout.readline().strip() != "ready":
            sys.exit(f"{' '.join(process.args)} does not start")  # type: ignore[arg-type]
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    return [process.communicate()[0].splitlines()[-1] for process in processes]


def measure(engine: engines.Engine, solver: Path, arrangement: Arrangement, seconds: float, layers: bool) -> Speed:
    """Time an engine on rendered files; `layers`: each layer, too."""
    command = [engine.python, str(REPOSITORY / "tests" / "bench" / "stepper.py"), MODULES[engine.name], str(solver),
               str(seconds), str(REPOSITORY), *["layers"] * layers]
    environment = {**engine.environment(arrangement.threads), "GLOG_minloglevel": "2"}
    answers = [json.loads(line) for line in run_at_once([command] * arrangement.processes, environment)]
    steps = sorted(time for answer in answers for time in answer["step"])
    tests = [time for answer in answers for time in answer["test"]]
    return Speed(arrangement, statistics.median(steps), steps[len(steps) // 10], steps[len(steps) * 9 // 10],
                 statistics.median(tests), max(answer["resident"] for answer in answers),
                 max(answer["private"] for answer in answers), answers[0]["layers"])


def best(engine: engines.Engine, solver: Path, cores: int, seconds: float, layers: bool) -> Speed:
    """The speed in the engine's better arrangement."""
    return max((measure(engine, solver, arrangement, seconds, layers) for arrangement in arrangements(cores)),
               key=lambda speed: speed.individuals_an_hour)


def sgemm(cores: int) -> float:
    """GFLOP/s of a large matrix product, one process a core."""
    return sum(float(line) for line in run_at_once([[sys.executable, "-c", SGEMM, "1"]] * cores, dict(os.environ)))


def genomes(space: Any, count: int) -> List[Tuple[str, Genome]]:
    """The genomes of the table."""
    draw = random.Random(1)
    named = [("default", space.default), ("Table 3", space.with_settings(TABLE3)),
             ("largest", space.with_settings(LARGEST)), ("smallest", space.with_settings(SMALLEST))]
    points = [[draw.random() for _ in space.genes] for _ in range(count)]
    return named + [(f"random {i + 1}", space.from_unit(point)) for i, point in enumerate(points)]


def flops(net: Any) -> float:
    """Of a training iteration: forward, gradients of weights, and of bottoms, which the first layer does not need."""
    layers = [layer.multiply_adds for layer in net.layers if layer.multiply_adds]
    return 2.0 * (3 * sum(layers) - layers[0])


def table(data: str, seconds: float, count: int, folder: Path) -> List[Dict[str, Any]]:
    """Measure and print line by line."""
    cores = len(os.sched_getaffinity(0))
    experiment = search_file.load(PAPER, data=data)
    renderer, where = Renderer(experiment), sources(experiment, DEFAULT)
    found = {name: engines.find(name) for name in MODULES}
    print(f"{'':10} {'genes':22} {'caffe ms':>9} {'10-90%':>11} {'torch ms':>9} {'10-90%':>11} "
          f"{'caffe /h':>8} {'torch /h':>8} {'ratio':>5} {'GFLOP/s':>8} {'of sgemm':>8}")
    rows = []
    for name, genome in genomes(experiment.space, count):
        rendered = renderer.render(experiment.trial(0, genome), where, str(folder))
        rendered.write(folder)
        solver = without_tests(folder / "solver.prototxt")
        layers = not name.startswith("random")
        speeds = {engine: best(found[engine], solver, cores, seconds, layers) for engine in found}
        caffe, torch = speeds["caffe"], speeds["torch"]
        reference = sgemm(cores)
        shape = check(rendered)
        rate = torch.arrangement.processes * flops(shape) / torch.step / 1e6
        ratio = torch.individuals_an_hour / caffe.individuals_an_hour
        genes = ",".join(str(value) for value in genome.as_dict().values())
        print(f"{name:10} {genes:22} {_ms(caffe)} {_ms(torch)} {caffe.individuals_an_hour:8.1f} "
              f"{torch.individuals_an_hour:8.1f} {ratio:5.2f} {rate:8.0f} {100 * rate / reference:7.0f}%", flush=True)
        work = {layer.name: 2e-9 * layer.multiply_adds for layer in shape.layers}
        rows.append({"name": name, "genes": genome.as_dict(), "ratio": ratio, "gflops": rate, "sgemm": reference,
                     "gflop_of_layers": work,
                     **{engine: {**speed._asdict(), "individuals_an_hour": speed.individuals_an_hour}
                        for engine, speed in speeds.items()}})
    return rows


def _ms(speed: Speed) -> str:
    arranged = f"{speed.arrangement.processes}x{speed.arrangement.threads}"
    return f"{speed.step:5.0f} {arranged:>3} {f'{speed.low:.0f}-{speed.high:.0f}':>11}"


def without_tests(solver: Path) -> Path:
    """The same solver, which does not test while it steps."""
    text = "\n".join(line for line in solver.read_text().splitlines() if not line.startswith("test_interval"))
    solver.write_text(f"{text}\ntest_interval: 1000000\ntest_initialization: false\n".replace(
        "test_initialization: true\n", ""))
    return solver


def by_layer(row: Dict[str, Any]) -> None:
    """Where one genome's time goes: each layer's ms in both engines, and what its arithmetic reaches in the torch one.

    The first convolution has no gradient of its bottom to compute, the others do a forward's work twice on their way
    back.
    """
    print(f"\n{row['name']}: one process's iteration by layers, ms forward and backward; GFLOP/s of the torch engine")
    first = next(name for name, work in row["gflop_of_layers"].items() if work)
    for name, (forward, backward) in row["torch"]["layers"].items():
        theirs, work = row["caffe"]["layers"][name], row["gflop_of_layers"][name]
        back = work if name == first else 2 * work
        reached = f"{1e3 * work / forward:8.0f} {1e3 * back / backward:6.0f}" if work and backward else ""
        print(f"{name:8} caffe {theirs[0]:7.2f} {theirs[1]:7.2f}   torch {forward:7.2f} {backward:7.2f} {reached}")


def summary(rows: Sequence[Dict[str, Any]]) -> None:
    """Median and range of the ratios, and the memory of a rank with the default genome."""
    ratios = sorted(row["ratio"] for row in rows)
    print(f"individuals an hour, torch over caffe: median {statistics.median(ratios):.2f}, from {ratios[0]:.2f} to "
          f"{ratios[-1]:.2f}, {len(ratios)} genomes")
    default = rows[0]["torch"]
    print(f"a rank of the torch engine, default genome: {default['resident']:.0f} MB resident, of which "
          f"{default['private']:.0f} MB its own")


def versions() -> Dict[str, Dict[str, Any]]:
    """Of both engines, and of what they compute with."""
    return {name: engines.find(name).known()[1] for name in MODULES}


def main() -> None:
    """Parse the command line, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", help="folder of CIFAR-10 databases; default: synthetic images")
    parser.add_argument("--seconds", type=float, default=4.0, help="of training for each measurement (default: 4)")
    parser.add_argument("--random", type=int, default=20, help="random genomes (default: 20)")
    parser.add_argument("--json", type=Path, help="also write all figures to this file")
    arguments = parser.parse_args()
    os.makedirs("build", exist_ok=True)
    print(f"{machine()}; {versions()}")
    with tempfile.TemporaryDirectory(dir="build") as folder:
        data = arguments.data
        if data is None:
            data = f"{folder}/data"
            write_synthetic(Path(data), images_train=2000, images_test=500, report=lambda text: None)
        rows = table(data, arguments.seconds, arguments.random, Path(folder).resolve())
    summary(rows)
    for row in rows:
        if row["name"] in ("default", "largest", "smallest"):
            by_layer(row)
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
