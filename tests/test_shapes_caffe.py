"""`infer` against real Caffe: the same shapes, parameters and memory, and the same nets refused.

Real pycaffe builds each net in a child process of its own, because Caffe aborts the process on a net it refuses; then
it runs forward once, because some nets are built and die there.
"""
from __future__ import annotations

import gzip
import json
import random
import subprocess
from itertools import product
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, NamedTuple, Optional, Tuple

import lmdb
import pytest
from google.protobuf import text_format

from menndl_caffe.nets.layer_rules import LAYERS
from menndl_caffe.nets.proto import caffe_pb2
from menndl_caffe.nets.shapes import ImpossibleNet, UnknownShape, infer
from tests.support.shape_nets import (
    RULES,
    SMALL,
    WIRINGS,
    X,
    both,
    each,
    given,
    inner_product,
    layer,
    small_net,
    small_nets,
)

PROBE = r'''
import importlib.util, json, os, re, signal, sys, tempfile
import numpy
sys.path += importlib.util.find_spec("caffe").submodule_search_locations
import _caffe  # the C++ half of pycaffe alone, as a process without the other half forks in half the time

def build(case, path):
    net = _caffe.Net(path, ["TRAIN", "TEST"].index(case["phase"]), level=case["level"], stages=case["stages"] or None)
    names, params = list(net._blob_names), [p for layer in net.layers for p in layer.blobs]
    def wires(ids):
        return [names[blob] for blob in ids]
    found = {"blobs": {name: list(blob.shape) for name, blob in zip(names, net._blobs)},
             "layers": {name: [wires(net._bottom_ids(i)), wires(net._top_ids(i)), [list(p.shape) for p in layer.blobs]]
                        for i, (name, layer) in enumerate(zip(net._layer_names, net.layers))},
             "parameters": sum({p.data.ctypes.data: p.count for p in params}.values())}  # shared ones have one address
    if case["forward"]:
        net._forward(0, len(net.layers) - 1)
        tops = [net._blobs[blob] for blob in net._top_ids(len(net.layers) - 1)]
        found["nonsense"] = bool(any((numpy.abs(top.data) > 1e38).any() for top in tops))
    return found

def probe(case):
    log, out = tempfile.TemporaryFile(), tempfile.TemporaryFile("w+")
    child = os.fork()
    if child == 0:
        signal.alarm(60)
        os.dup2(log.fileno(), 2)
        with tempfile.TemporaryFile("w") as text:  # without a name, so that a child that aborts leaves nothing behind
            text.write(case["net"])
            text.flush()
            found = build(case, f"/proc/self/fd/{text.fileno()}")
        json.dump(found, out)
        out.flush()
        os._exit(0)
    status = os.waitpid(child, 0)[1]
    log.seek(0)
    words = log.read().decode(errors="replace")
    if status:
        return {"died": status, "why": [line for line in words.splitlines() if line.startswith("F")] or words[-300:]}
    out.seek(0)
    return dict(json.load(out), memory=int(re.findall(r"Memory required for data: (\d+)", words)[-1]))

for line in sys.stdin:
    print(json.dumps(probe(json.loads(line))), flush=True)
'''
ABORTED, DIVIDED_BY_ZERO = 6, 8


Shape = Tuple[int, ...]


class Case(NamedTuple):
    """A net and how it is to be built; `forward` is for nets whose data is all there."""

    net: str
    phase: str = "TRAIN"
    forward: bool = True
    stages: Tuple[str, ...] = ()
    level: int = 0


class Verdict(NamedTuple):
    """What a side says of a net: blobs, bottoms, tops and parameters by layer, totals; or (all None) why not."""

    blobs: Optional[Dict[str, Shape]] = None
    layers: Optional[Dict[str, List[Any]]] = None
    parameters: Optional[int] = None
    memory: Optional[int] = None
    reason: str = ""
    nonsense: bool = False

    def agrees(self, other: Verdict) -> bool:
        return self[:4] == other[:4]


Caffe = Callable[[Case], Verdict]


@pytest.fixture(scope="module")
def real_caffe(caffe_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Caffe]:
    """Real Caffe's verdict on a net."""
    command = [str(caffe_root / "bin" / "python3"), "-c", PROBE]
    with subprocess.Popen(command, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                          cwd=tmp_path_factory.mktemp("caffe"), env={"OPENBLAS_NUM_THREADS": "1"}) as process:
        assert process.stdin and process.stdout
        questions, answers = process.stdin, process.stdout

        def ask(case: Case) -> Verdict:
            questions.write(json.dumps(case._asdict()) + "\n")
            questions.flush()
            found: Dict[str, Any] = json.loads(answers.readline())
            if "died" in found:
                assert found["died"] & 127 in (ABORTED, DIVIDED_BY_ZERO), (case, found)
                return Verdict(reason=str(found["why"]))
            blobs = {name: tuple(shape) for name, shape in found["blobs"].items()}
            nonsense = found.get("nonsense", False)
            return Verdict(blobs, found["layers"], found["parameters"], found["memory"], nonsense=nonsense)

        yield ask


def ours(case: Case, datum: Tuple[int, int, int] = (3, 32, 32)) -> Verdict:
    net = text_format.Parse(case.net, caffe_pb2.NetParameter())
    try:
        shape = infer(net, case.phase, lambda layer: datum, level=case.level, stages=case.stages)
    except ImpossibleNet as impossible:
        return Verdict(reason=str(impossible))
    layers = {one.name: [list(one.bottoms), list(one.tops), list(map(list, one.params))] for one in shape.layers}
    return Verdict(shape.blobs, layers, shape.parameters, shape.memory)


def disagreements(caffe: Caffe, nets: Dict[str, str]) -> Dict[str, Tuple[Verdict, Verdict]]:
    """Nets by name of which real Caffe (first) and we (second) do not say the same."""
    verdicts = {name: (caffe(Case(net)), ours(Case(net))) for name, net in nets.items()}
    refused = sum(mine.blobs is None for _, mine in verdicts.values())
    assert 0.1 < refused / len(verdicts) < 0.9, "the nets should be of both kinds"
    return {name: pair for name, pair in verdicts.items() if not pair[0].agrees(pair[1])}


WITHOUT_SHAPE_OR_WITH_FILES = {"Data", "HDF5Data", "ImageData", "MemoryData", "Python", "WindowData"}


def test_a_small_net_of_every_type_is_accepted_or_refused_as_by_caffe(real_caffe: Caffe) -> None:
    assert {row[0].split(" ")[0] for row in SMALL} >= set(LAYERS) - WITHOUT_SHAPE_OR_WITH_FILES
    assert disagreements(real_caffe, small_nets()) == {}


def random_window_net(rng: random.Random) -> str:
    """A convolution, deconvolution or pooling whose numbers are drawn so that about half of them fit."""
    pick = rng.choice
    bottom = f"2x{pick((3, 4))}x{rng.randint(1, 12)}x{rng.randint(1, 12)}"
    windows = " ".join(f"{field}: {value}" for field, value in (
        ("kernel_size", rng.randint(1, 7)), ("stride", rng.randint(1, 4)), ("pad", pick((0, 0, 1, 2, 3)))))
    if rng.random() < 0.3:
        fields = product((("kernel", 1), ("stride", 1), ("pad", 0)), "hw")
        windows = " ".join(f"{field}_{side}: {rng.randint(low, 4)}" for (field, low), side in fields)
    if rng.random() < 0.5:
        body = f"{windows} pool: {pick(('MAX', 'AVE'))} round_mode: {pick(('CEIL', 'CEIL', 'FLOOR'))}"
        return small_net("Pooling", bottom, 1, f"pooling_param {{ {body} }}")
    body = f"{windows} num_output: {rng.randint(1, 4)} group: {pick((1, 1, 1, 2))} dilation: {pick((1, 1, 2, 3))}"
    return small_net(pick(("Convolution", "Deconvolution")), bottom, 1, f"convolution_param {{ {body} }}")


def test_random_windows(real_caffe: Caffe) -> None:
    """As Caffe, but for pooling windows that lie outside the image: Caffe fills them with nonsense, we refuse them."""
    rng = random.Random(1)
    nets = [random_window_net(rng) for _ in range(250)]
    different = disagreements(real_caffe, {net: net for net in nets})
    for net, (theirs, mine) in different.items():
        assert "pooling_param" in net and "empty window" in mine.reason and theirs.blobs, (net, theirs, mine)
        assert theirs.nonsense or "MAX" not in net, net
    assert 3 <= len(different) <= 30


def test_wirings(real_caffe: Caffe) -> None:
    assert disagreements(real_caffe, WIRINGS) == {}


def test_a_change_of_size_in_place_is_refused_though_caffe_builds_it(real_caffe: Caffe) -> None:
    before = given("x", "2x3x8x8") + layer("r", "ReLU", "x", "y")
    pooling = layer("a", "Pooling", "y", "y", "pooling_param { kernel_size: 2 }")
    for net in (before + inner_product("a", "y", "y", 4), before + pooling):
        assert real_caffe(Case(net)).blobs
        assert "in place" in ours(Case(net)).reason
    assert real_caffe(Case(before + pooling)).nonsense


def test_layers_of_a_phase_a_level_and_stages(real_caffe: Caffe) -> None:
    layers = X + "".join(layer(f"r{i}", "ReLU", "x", f"y{i}", rule) for i, rule in enumerate(RULES))
    states, phases = ("", "state { stage: 'c' level: 7 phase: TEST }"), ("TRAIN", "TEST")
    for state, phase, stages, level in product(states, phases, ((), ("a",), ("a", "b")), (0, 2)):
        case = Case(state + layers, phase, True, stages, level)
        theirs, mine = real_caffe(case), ours(case)
        assert theirs.agrees(mine) and theirs.blobs, case


def database(folder: Path, shape: Tuple[int, int, int]) -> Path:
    """An LMDB with one record of this shape."""
    path = folder / "x".join(map(str, shape))
    if not path.exists():
        channels, height, width = shape
        datum = caffe_pb2.Datum(channels=channels, height=height, width=width, data=bytes(channels * height * width))
        with lmdb.open(str(path)) as environment, environment.begin(write=True) as transaction:
            transaction.put(b"0", datum.SerializeToString())
    return path


def test_data_layers(real_caffe: Caffe, tmp_path: Path) -> None:
    """Caffe reads real files: a database, a list of one image, a mean."""
    (tmp_path / "image.ppm").write_bytes(b"P6 6 8 255\n" + bytes(3 * 8 * 6))
    (tmp_path / "list").write_text(f"{tmp_path / 'image.ppm'} 1\n")
    mean = caffe_pb2.BlobProto(num=1, channels=3, height=8, width=6, data=[0.0] * 144)
    (tmp_path / "mean").write_bytes(mean.SerializeToString())
    mean_file = f'mean_file: "{tmp_path / "mean"}" '
    data = f'data_param {{ source: "{database(tmp_path, (3, 8, 6))}" backend: LMDB ? }}'
    images = f'image_data_param {{ source: "{tmp_path / "list"}" ? }}'
    memory = "memory_data_param { batch_size: 2 channels: 3 height: 4 ? }"
    sizes = ["new_height: 9", *each("new_height: 9 new_width: 7 ?", "", "is_color: false batch_size: 3")]
    means = [*("mean_value: 1 " * n for n in (1, 2, 3)), mean_file, mean_file + "mean_value: 1"]
    transforms = each("transform_param { ? }", "", "crop_size: 6", "crop_size: 7", *means)
    rows = [("Data", tops, body) for body in both(each(data, "batch_size: 4"), transforms) for tops in (1, 2)]
    rows += [("Data", 2, data.replace("?", "")), ("Data", 3, data.replace("?", "batch_size: 4"))]
    rows += [("ImageData", 2, body) for body in both(each(images, *sizes), transforms) if mean_file not in body]
    rows += [("ImageData", tops, images.replace("?", "") + transforms[1]) for tops in (1, 2)]
    rows += [("MemoryData", 2, body) for body in both(each(memory, "", "width: 5"), transforms)]
    for type_, tops, body in rows:
        case = Case(small_net(type_, "", tops, body), forward=type_ != "MemoryData")
        theirs, mine = real_caffe(case), ours(case, (3, 8, 6))
        assert theirs.agrees(mine), (case, theirs, mine)


FILE_LAYERS = ("HDF5Data", "ImageData", "WindowData")


def nets_of_caffe(caffe_root: Path) -> Dict[str, Any]:
    """Every net that Caffe ships, by its path in caffe-doc."""
    folder, nets = caffe_root / "root" / "usr" / "share" / "doc" / "caffe-doc", {}
    for path in sorted(folder.glob("*/*/*.prototxt*")):
        raw = path.read_bytes()
        text = (gzip.decompress(raw) if path.suffix == ".gz" else raw).decode()
        if "solver" not in path.name:
            nets[str(path.relative_to(folder)).replace(".gz", "")] = text_format.Parse(text, caffe_pb2.NetParameter())
    return nets


def test_files_that_only_caffe_can_read_are_left_to_it(caffe_root: Path) -> None:
    nets = nets_of_caffe(caffe_root)
    unknown = {path for path, net in nets.items() if any(one.type in (*FILE_LAYERS, "Python") for one in net.layer)}
    for path in unknown:
        if "ImageData" not in {one.type for one in nets[path].layer}:  # whose sizes are given
            with pytest.raises(UnknownShape):
                infer(nets[path], "TRAIN", lambda record: (3, 256, 256))
    assert len(unknown) == 8
