"""Real Caffe and the torch engine side by side on nets of all kinds: time and memory of a pass, by size.

    python -m tests.bench.nets [--only TEXT] [--rounds N] [--seconds S] [--longest S] [--layers] [--json FILE]

The nets are those that ship with Caffe (package caffe-doc), each with 1 image, with 8, and with as many as its file
says, and a net of two views, of the shapes of the one that MENNDL's authors have published. A pass is forward and
backward in phase TRAIN, on drawn numbers that stay, so that no disk is measured. Each engine has one process of one
thread; they take turns, and what counts is CPU time, which other work on the machine disturbs least.
"""
from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import tempfile
from pathlib import Path
from typing import Any, Dict, Iterator, List, NamedTuple, Sequence, Tuple

from menndl_caffe.nets import prototxt
from menndl_caffe.nets.proto import caffe_pb2
from menndl_caffe.nets.upgrade import upgrade_net
from menndl_caffe.rank import engine as engines
from tests.bench.engines import MODULES, versions
from tests.bench.overhead import machine
from tests.bench.two_views import two_views
from tests.conftest import REPOSITORY
from tests.support.zoo import IMAGENET, datum_shape, unpack

BATCHES = (1, 8)  # and the file's own
HDF5_NUMBERS = (4,)  # an item of the example with HDF5
SIZES = (1.0, 3.0, 20.0, 500.0)  # ms of a pass in real Caffe, between which nets are summed up


class Case(NamedTuple):
    """A net with so many images."""

    name: str
    batch: int
    net: Any


class Measured(NamedTuple):
    """Of a case and an engine: a pass's CPU milliseconds, median, tenth and nine tenths; the process's own MB."""

    median: float
    low: float
    high: float
    private: float


# ---- nets ----

def cases(caffe_root: Path, folder: Path) -> Iterator[Case]:
    """All of them, one net after the other, smaller batches first."""
    for name, path in unpack(caffe_root, folder).nets.items():
        net = upgrade_net(prototxt.load(path, caffe_pb2.NetParameter).message)
        if not any(layer.type == "Python" for layer in net.layer):
            for batch in sorted({*BATCHES, own_batch(net)}):
                yield Case(name.replace(".prototxt", ""), batch, with_batch(net, batch))
    for batch in (*BATCHES, 16):
        yield Case("two views", batch, two_views(batch))


def sources(net: Any) -> List[Any]:
    """The layers that bring data in when the net trains."""
    return [layer for layer in net.layer if not layer.bottom
            and (not layer.include or caffe_pb2.TRAIN in [rule.phase for rule in layer.include])]


def own_batch(net: Any) -> int:
    """How many images the file says."""
    source = sources(net)[0]
    if source.type == "Input":
        return int(source.input_param.shape[0].dim[0])
    return int(max(part.batch_size for part in (source.data_param, source.image_data_param, source.window_data_param,
                                                source.hdf5_data_param)))


def with_batch(net: Any, batch: int) -> Any:
    """The net of phase TRAIN on drawn images, all of class 0; weights without a filler are drawn, too."""
    drawn = caffe_pb2.NetParameter()
    drawn.CopyFrom(net)
    first = sources(drawn)
    for layer in [layer for layer in drawn.layer if not layer.bottom and layer not in first]:
        drawn.layer.remove(layer)
    for layer in first:
        replacement = given(layer, batch)
        layer.Clear()
        layer.CopyFrom(replacement)
    for layer in drawn.layer:
        for param in (layer.convolution_param, layer.inner_product_param):
            if param.num_output and not param.HasField("weight_filler"):
                param.weight_filler.type = "xavier"
    return drawn


def given(source: Any, batch: int) -> Any:
    """What takes numbers of the same shapes from the caller: images, and labels where the layer reads them."""
    layer = caffe_pb2.LayerParameter(name=source.name, type="Input", top=source.top)
    for shape in ((batch, *item_shape(source)), (batch,))[:len(source.top)]:
        layer.input_param.shape.add(dim=shape)
    return layer


def item_shape(source: Any) -> Tuple[int, ...]:
    """Of one image."""
    if source.type == "Input":
        return tuple(source.input_param.shape[0].dim[1:])
    if source.type == "HDF5Data":
        return HDF5_NUMBERS
    channels, height, width = datum_shape(source) if source.type == "Data" else IMAGENET
    crop = source.transform_param.crop_size
    return channels, crop or height, crop or width


# ---- measurements ----

class Worker:
    """An engine's process with one net."""

    def __init__(self, engine: engines.Engine, path: Path, layers: bool) -> None:
        command = [engine.python, "-m", "tests.bench.passer", MODULES[engine.name], str(path), *["layers"] * layers]
        environment = {**engine.environment(1), "GLOG_minloglevel": "2", "PYTHONPATH": str(REPOSITORY)}
        self._process = subprocess.Popen(command, cwd=REPOSITORY, env=environment, text=True, stdin=subprocess.PIPE,
                                         stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        self.answers: List[Dict[str, Any]] = []

    def ask(self, seconds: float) -> None:
        """Measure for so long."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(f"{seconds}\n")
        self._process.stdin.flush()
        self.answers.append(json.loads(self._process.stdout.readline()))

    def close(self) -> Dict[str, List[float]]:
        """End the process; each layer's times, if they were asked for."""
        said, _ = self._process.communicate()
        return dict(json.loads(said)) if said else {}

    def measured(self) -> Measured:
        """Of all answers."""
        passes = sorted(time for answer in self.answers for time in answer["passes"])
        return Measured(statistics.median(passes), passes[len(passes) // 10], passes[len(passes) * 9 // 10],
                        max(answer["private"] for answer in self.answers))


def measure(case: Case, folder: Path, rounds: int, seconds: float, layers: bool) -> Dict[str, Any]:
    """A row: both engines, in turns."""
    path = folder / "net.prototxt"
    path.write_text(prototxt.dumps(case.net))
    workers = {name: Worker(engines.find(name), path, layers) for name in MODULES}
    for _ in range(rounds):
        for worker in workers.values():
            worker.ask(seconds)
    by_layer = {name: worker.close() for name, worker in workers.items()}
    found = {name: worker.measured() for name, worker in workers.items()}
    return {"name": case.name, "batch": case.batch, "ratio": found["caffe"].median / found["torch"].median,
            "layers": by_layer, **{name: speed._asdict() for name, speed in found.items()}}


def rows(arguments: argparse.Namespace, folder: Path) -> Iterator[Dict[str, Any]]:
    """Measure case by case, and print each one's line."""
    print(f"{'net':42} {'images':>6} {'caffe ms':>9} {'10-90%':>15} {'torch ms':>9} {'10-90%':>15} {'ratio':>5} "
          f"{'caffe MB':>8} {'torch MB':>8}")
    each_image: Dict[str, float] = {}  # ms of the last batch, by net
    for case in cases(REPOSITORY / "build" / "caffe", folder / "caffe-doc"):
        if arguments.only not in case.name or case.batch > arguments.images:
            continue
        if each_image.get(case.name, 0) * case.batch > 1e3 * arguments.longest:
            print(f"{case.name:42} {case.batch:6}  not measured: it would take longer than {arguments.longest:g} s")
            continue
        row = measure(case, folder, arguments.rounds, arguments.seconds, arguments.layers)
        each_image[case.name] = row["caffe"]["median"] / case.batch
        print(f"{case.name:42} {case.batch:6} {_ms(row['caffe'])} {_ms(row['torch'])} {row['ratio']:5.2f} "
              f"{row['caffe']['private']:8.0f} {row['torch']['private']:8.0f}", flush=True)
        if arguments.layers:
            print_layers(row["layers"])
        yield row


def _ms(speed: Dict[str, float]) -> str:
    return f"{speed['median']:9.2f} {_range(speed['low'], speed['high']):>15}"


def _range(low: float, high: float) -> str:
    return f"{low:.2f}-{high:.2f}"


def print_layers(layers: Dict[str, Dict[str, List[float]]]) -> None:
    """Forward and backward of each layer, that first which loses most to real Caffe."""
    caffe, torch = layers["caffe"], layers["torch"]
    for name in sorted(caffe, key=lambda name: sum(caffe[name]) - sum(torch[name])):
        (theirs_up, theirs_down), (up, down) = caffe[name], torch[name]
        print(f"    {name:38}  caffe {theirs_up:8.3f} {theirs_down:8.3f}  torch {up:8.3f} {down:8.3f}")


def summary(found: Sequence[Dict[str, Any]]) -> None:
    """Ratios and memory by size."""
    print("\nreal Caffe's time over the torch engine's, by size of the pass in real Caffe")
    for low, high in zip((0.0, *SIZES), (*SIZES, float("inf"))):
        within = sorted(row["ratio"] for row in found if low <= row["caffe"]["median"] < high)
        if within:
            print(f"{low:5.0f} to {high:4.0f} ms: n = {len(within):2}, median {statistics.median(within):.2f}, "
                  f"{within[0]:.2f} to {within[-1]:.2f}, below 1: {sum(ratio < 1 for ratio in within)}")
    if found:
        ratios = [row["ratio"] for row in found]
        memory = [row["torch"]["private"] / row["caffe"]["private"] for row in found]
        print(f"all: n = {len(ratios)}, median {statistics.median(ratios):.2f}; memory of the torch engine over real "
              f"Caffe's: median {statistics.median(memory):.2f}, {min(memory):.2f} to {max(memory):.2f}")


def main() -> None:
    """Parse the command line, measure, print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", default="", metavar="TEXT", help="only nets whose name has this text")
    parser.add_argument("--images", type=int, default=1000, metavar="N", help="only batches of at most N images")
    parser.add_argument("--rounds", type=int, default=3, metavar="N", help="turns of each engine (default: 3)")
    parser.add_argument("--seconds", type=float, default=0.5, metavar="S", help="of a turn (default: 0.5)")
    parser.add_argument("--longest", type=float, default=4.0, metavar="S",
                        help="leave out what would take longer in real Caffe (default: 4 s a pass)")
    parser.add_argument("--layers", action="store_true", help="each layer, too")
    parser.add_argument("--json", type=Path, help="also write all figures to this file")
    arguments = parser.parse_args()
    print(f"{machine()}; {versions()}")
    with tempfile.TemporaryDirectory(dir=REPOSITORY / "build") as folder:
        found = list(rows(arguments, Path(folder)))
    summary(found)
    if arguments.json:
        arguments.json.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
