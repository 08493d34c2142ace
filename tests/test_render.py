"""Templates: the default renders to Caffe's own example, a gene changes its own fields, and a mistake has its line."""
from __future__ import annotations

import re
from itertools import product
from math import ceil
from pathlib import Path
from typing import Any, Dict, Iterator, List, Optional, Set, Tuple

import pytest
from google.protobuf import text_format
from hypothesis import given, settings
from hypothesis import strategies as st

from menndl_caffe.errors import UserError
from menndl_caffe.experiment import appraise, search_file
from menndl_caffe.experiment.render import Rendered, Renderer
from menndl_caffe.experiment.sources import Sources
from menndl_caffe.nets.proto import caffe_pb2
from tests.conftest import REPOSITORY
from tests.support import runs

SEARCH = REPOSITORY / "solvers" / "paper.search.prototxt"
SOURCES = Sources("some/train_lmdb", "some/test_lmdb", "some/mean.binaryproto")
Genes = Dict[str, Any]
LAYERS = ["cifar", "cifar", "conv1", "pool1", "relu1", "conv2", "relu2", "pool2", "conv3", "relu3", "pool3",
          "ip1", "ip2", "accuracy", "loss"]


def fields(message: Any, path: str = "") -> Iterator[Tuple[str, Any]]:
    """Path and value of every field, where it is not given its default; messages that are not given are left out."""
    for field in message.DESCRIPTOR.fields:
        value = getattr(message, field.name)
        if hasattr(value, "extend"):
            items = {f"{path}{field.name}[{i}]": item for i, item in enumerate(value)}
        else:
            given = field.message_type is None or message.HasField(field.name)
            items = {path + field.name: value} if given else {}
        for name, item in items.items():
            if field.message_type:
                yield name, "is there"
                yield from fields(item, f"{name}.")
            else:
                yield name, item


def different(one: Any, other: Any) -> Set[str]:
    """Paths of the fields in which two messages differ."""
    left, right = dict(fields(one)), dict(fields(other))
    return {path for path in {**left, **right} if path not in left or path not in right or left[path] != right[path]}


def with_constants(folder: Path, **constants: str) -> Path:
    """The paper's search file with other constants."""
    text = SEARCH.read_text()
    for name, value in constants.items():
        text, found = re.subn(rf'(constant {{ name: "{name}" value: )"\w+"', rf'\1"{value}"', text)
        assert found == 1
    path = folder / "other.search.prototxt"
    path.write_text(text)
    return path


def individual(renderer: Renderer, genes: Genes, sources: Sources = SOURCES) -> Rendered:
    experiment = renderer.experiment
    return renderer.render(experiment.trial(0, experiment.space.from_dict(genes)), sources)


def rendered(search: Path, genes: Optional[Genes] = None) -> Rendered:
    """The default individual but for these genes."""
    renderer = Renderer(search_file.load(str(search)))
    return individual(renderer, {**renderer.experiment.space.default.as_dict(), **(genes or {})})


@pytest.fixture(scope="module")
def renderer() -> Renderer:
    return Renderer(search_file.load(str(SEARCH)))


def test_the_default_net_is_caffe_s_own(caffe_root: Path) -> None:
    shipped = caffe_root / "root/usr/share/doc/caffe-doc/examples/cifar10/cifar10_quick_train_test.prototxt"
    caffe = text_format.Parse(shipped.read_text(), caffe_pb2.NetParameter())
    default = text_format.Parse(rendered(SEARCH).net_text, caffe_pb2.NetParameter())
    assert [layer.name for layer in default.layer] == [layer.name for layer in caffe.layer] == LAYERS
    assert len(dict(fields(default))) > 300
    assert different(default, caffe) == {f"layer[{i}].{path}" for i in (0, 1)
                                         for path in ("data_param.source", "transform_param.mean_file")}


def test_the_default_solver_is_caffe_s_own(caffe_root: Path) -> None:
    shipped = caffe_root / "root/usr/share/doc/caffe-doc/examples/cifar10/cifar10_quick_solver.prototxt"
    caffe = text_format.Parse(shipped.read_text(), caffe_pb2.SolverParameter())
    default = text_format.Parse(rendered(SEARCH).solver_text, caffe_pb2.SolverParameter())
    assert different(default, caffe) == {"net", "snapshot_prefix", "solver_mode", "random_seed"}


def test_the_solver_is_table_2() -> None:
    solver = rendered(SEARCH).solver.message
    numbers = {name: f"{getattr(solver, name):g}" for name in ("base_lr", "momentum", "weight_decay")}
    assert numbers == {"base_lr": "0.001", "momentum": "0.9", "weight_decay": "0.004"}
    assert (solver.lr_policy, solver.max_iter) == ("fixed", 4000)


def test_what_is_not_a_gene_comes_from_the_trial_and_the_search(tmp_path: Path) -> None:
    search = with_constants(tmp_path, batch_size="7", test_iter="3", test_interval="5", test_initialization="false")
    search.write_text(search.read_text().replace("max_iter: 4000", "max_iter: 12\nsolver_mode: GPU"))
    experiment = search_file.load(str(search))
    trial = experiment.trial(3, experiment.space.default)
    files = Renderer(experiment).render(trial, Sources("a b/train", "a b/test", "a b/mean"), "RUN/trials/3")
    train, test = files.net.message.layer[:2]
    assert (train.data_param.source, test.data_param.source) == ("a b/train", "a b/test")
    assert {layer.transform_param.mean_file for layer in (train, test)} == {"a b/mean"}
    assert (train.data_param.batch_size, test.data_param.batch_size) == (7, 100)
    assert different(files.solver.message, rendered(SEARCH).solver.message) == {
        "net", "snapshot_prefix", "solver_mode", "test_iter[0]", "test_interval", "test_initialization", "max_iter"}
    solver = files.solver.message
    assert (solver.net, solver.snapshot_prefix) == ("RUN/trials/3/train_test.prototxt", "RUN/trials/3/cifar10_quick")
    assert (solver.random_seed, solver.max_iter, solver.solver_mode) == (trial.seed, 12, caffe_pb2.SolverParameter.GPU)
    assert (list(solver.test_iter), solver.test_interval, solver.test_initialization) == ([3], 5, False)


GENES = ["kernel1", "output1", "kernel2", "output2", "kernel3", "output3"]
GENOMES = st.fixed_dictionaries({f"{kind}{i}": values for i in (1, 2, 3) for kind, values in (
    ("kernel", st.integers(1, 8)), ("output", st.integers(8, 63).map(lambda half: 2 * half)))})


@settings(max_examples=60, deadline=None)
@given(one=GENOMES, other=GENOMES, which=st.sampled_from(GENES))
def test_a_gene_changes_its_own_field_alone(renderer: Renderer, one: Genes, other: Genes, which: str) -> None:
    before, after = individual(renderer, one), individual(renderer, {**one, which: other[which]})
    field = {"kernel": "kernel_size[0]", "output": "num_output"}[which[:-1]]
    path = f"layer[{LAYERS.index(f'conv{which[-1]}')}].convolution_param.{field}"
    expected = {path} if one[which] != other[which] else set()
    assert different(before.net.message, after.net.message) == expected
    assert dict(fields(after.net.message))[path] == other[which]
    assert different(before.solver.message, after.solver.message) == ({"random_seed"} if expected else set())


@settings(max_examples=30, deadline=None)
@given(genes=GENOMES)
def test_every_gene_arrives(renderer: Renderer, genes: Genes) -> None:
    convolutions = [layer.convolution_param for layer in individual(renderer, genes).net.message.layer
                    if layer.type == "Convolution"]
    assert [(c.num_output, list(c.kernel_size), list(c.pad)) for c in convolutions] == [
        (genes[f"output{i}"], [genes[f"kernel{i}"]], [2]) for i in (1, 2, 3)]


def test_pad_same_keeps_the_size_under_odd_kernels(tmp_path: Path) -> None:
    search = with_constants(tmp_path, pad="SAME")
    for kernel, pad in zip(range(1, 9), [0, 0, 1, 1, 2, 2, 3, 3]):
        for i in (1, 2, 3):
            layer = rendered(search, {f"kernel{i}": kernel}).net.message.layer[LAYERS.index(f"conv{i}")]
            assert list(layer.convolution_param.pad) == [pad]
        assert kernel % 2 == 0 or 32 + 2 * pad - kernel + 1 == 32


def test_the_same_individual_is_the_same_text_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    genes = {"kernel2": 3, "output3": 126}
    first = rendered(SEARCH, genes)
    monkeypatch.chdir(tmp_path)
    again = rendered(SEARCH, genes)
    assert (first.net_text, first.solver_text) == (again.net_text, again.solver_text)
    assert list(tmp_path.iterdir()) == []


# What Caffe's shape rules make of the kernels

@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return runs.small_data(tmp_path_factory.mktemp("data") / "data")


def first_impossible(kernels: Tuple[int, ...], pad: int) -> Optional[str]:
    """The layer that has no output: convolutions round down, 3x3 pooling of stride 2 rounds up."""
    size = 32
    for i, kernel in enumerate(kernels, 1):
        size += 2 * pad - kernel + 1
        if size < 1:
            return f"conv{i}"
        size = ceil((size - 3) / 2) + 1
        if size < 1:
            return f"pool{i}"
    return None


@pytest.mark.parametrize("pad, valid", [(2, 512), (0, 256), (1, 460)])
def test_kernels_that_fit(pad: int, valid: int, tmp_path: Path, data: Path) -> None:
    """So many of the 512 kernel sizes real Caffe takes; a net that it would refuse is refused with layer and line."""
    renderer = Renderer(search_file.load(str(with_constants(tmp_path, pad=str(pad)))))
    default = renderer.experiment.space.default.as_dict()
    databases = Sources(*(str(data / name) for name in ("cifar10_train_lmdb", "cifar10_test_lmdb", "mean.binaryproto")))
    for kernels in product(range(1, 9), repeat=3):
        net = individual(renderer, {**default, **{f"kernel{i}": k for i, k in enumerate(kernels, 1)}}, databases)
        bad = first_impossible(kernels, pad)
        if bad is None:
            valid -= 1
            assert appraise.check(net).blobs["ip2"] == (100, 10)
            continue
        with pytest.raises(UserError) as caught:
            appraise.check(net)
        said = re.match(rf"(.*)/train_test\.prototxt\.j2 \(rendered\):(\d+): layer {bad}: .+", str(caught.value))
        assert said, caught.value
        assert net.net_text.splitlines()[int(said[2]) - 1:][:2] == ["layer {", f'  name: "{bad}"']
    assert valid == 0


@pytest.mark.parametrize("old, new, said", [
    ('"pad" value: "2"', '"pad" value: "0"', r"\(rendered\):\d+: layer pool3: kernel_size 3x3 with stride 2x2"),
    ('"pad" value: "2"', '"pad" value: "x"', r"\(rendered\):\d+: layer\[2\].convolution_param.pad\[0\]: .* found x"),
    ('"test_iter" value: "100"', '"test_iter" value: "0"', r"solver.prototxt.j2 \(rendered\):6: test_iter: .* below 1"),
    ('constant { name: "pad" value: "2" }', "", r"train_test.prototxt.j2:3: 'pad' is undefined"),
    ("set: TEST", "set: VALIDATION", r"no database \*_fit_lmdb; `menndl data synthetic --validation 2000 --out "),
])
def test_a_default_that_cannot_be_trained_is_refused(old: str, new: str, said: str, tmp_path: Path, data: Path) -> None:
    text = SEARCH.read_text()
    assert old in text
    path = tmp_path / "my.search.prototxt"
    path.write_text(text.replace(old, new))
    with pytest.raises(UserError, match=said):
        appraise.check_experiment(Renderer(search_file.load(str(path), data=str(data))))


def test_an_engine_for_gpus_is_refused_before_training_on_a_cpu(tmp_path: Path, data: Path) -> None:
    search = SEARCH.read_text()
    template = Path(re.search('net: "(.*)"', search)[1]).read_text()  # type: ignore[index]
    (tmp_path / "net.j2").write_text(template.replace("convolution_param {", "convolution_param {\n    engine: CUDNN"))
    path = tmp_path / "my.search.prototxt"
    path.write_text(re.sub('net: ".*"', f'net: "{tmp_path}/net.j2"', search) + "\nsolver_mode: CPU\n")
    with pytest.raises(UserError, match=r"rendered.:[0-9]+: layer conv1: engine: CUDNN is for GPUs, and solver_mode"):
        appraise.check_experiment(Renderer(search_file.load(str(path), data=str(data))))
    path.write_text(path.read_text().replace("solver_mode: CPU", "solver_mode: GPU"))
    appraise.check_experiment(Renderer(search_file.load(str(path), data=str(data))))


def test_the_paper_s_default_can_be_trained(data: Path) -> None:
    appraise.check_experiment(Renderer(search_file.load(str(SEARCH), data=str(data))))


# Mistakes in templates

SOLVER = "random_seed: {{ random_seed }}\nmax_iter: {{ max_iter }}\n# {{ kernel1 }} {{ pad }}\n"
SEARCH_TEXT = """\
net: "net.j2"
solver: "solver.j2"
gene {
  name: "kernel1"
  int_range { min: 1 max: 8 }
  default: 5
}
constant {
  name: "pad"
  value: "2"
}
"""


def render_texts(folder: Path, net: str, solver: str = SOLVER, search: str = SEARCH_TEXT) -> Rendered:
    """The default individual of a search over these templates, which are looked up in the working directory."""
    for name, text in (("net.j2", net), ("solver.j2", solver), ("my.search.prototxt", search)):
        (folder / name).write_text(text)
    return rendered(Path("my.search.prototxt"))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def refusals(folder: Path, net: str = "", solver: str = SOLVER, search: str = SEARCH_TEXT) -> List[str]:
    with pytest.raises(UserError) as caught:
        render_texts(folder, net, solver, search)
    return str(caught.value).split("\n")


def refused(folder: Path, net: str = "", solver: str = SOLVER, search: str = SEARCH_TEXT) -> str:
    said, *more = refusals(folder, net, solver, search)
    assert not more
    return said


@pytest.mark.parametrize("net, line, parts", [
    # Names
    ('name: "a"\n\n# {{ kernle1 }}', 3, ["'kernle1' is undefined", "did you mean kernel1?"]),
    ("{% for i in range(2) %}\n# {{ i }}\n# {{ pda }}\n{% endfor %}", 3, ["'pda' is undefined", "did you mean pad?"]),
    ("{% macro same(k) %}\n# {{ k }} {{ zzz }}\n{% endmacro %}\n\n{{ same(kernel1) }}", 2,
     ["'zzz' is undefined", "no gene or constant", "valid: ", "kernel1", "train_source"]),
    ("\n{% if pads == 2 %}{% endif %}", 2, ["'pads' is undefined", "did you mean pad?"]),
    ("# {{ zzz.depth }} {{ aaa }}", 1, ["'zzz' is undefined"]),
    ("\n# {{ kernel1.size }}", 2, ["has no attribute 'size'"]),
    # Syntax
    ('name: "a"\nlayer { name: "{{ kernel1 pad }}" }', 2, ["expected token 'end of print statement'"]),
    ("\n\n{% for i in range(2) %}\n", 3, ["Unexpected end of template", "'endfor'"]),
    ("\n{% endfor %}", 2, ["unknown tag 'endfor'"]),
    ("\n{{ kernel1 | squared }}", 2, [" filter named 'squared'"]),
    # Expressions
    ("\n# {{ kernel1 // 0 }}", 2, ["division"]),
    ("\n# {{ pad + 1 }}", 2, ["str"]),
    ("\n{% include 'other.j2' %}", 2, ["loader"]),
    # The sandbox: nothing but the names that are handed in, and the same genes give the same text
    ("# {{ ''.__class__.__mro__ }}", 1, ["'__class__'", "unsafe"]),
    ("\n# {{ kernel1.__class__.__base__.__subclasses__() }}", 2, ["'__class__'", "unsafe"]),
    ("\n# {{ range.__init__.__globals__ }}", 2, ["unsafe"]),
    ("\n# {{ '{0.__class__}'.format(kernel1) }}", 2, ["'__class__'", "unsafe"]),
    ("\n{% for i in range(999999999) %}{% endfor %}", 2, ["Range too big"]),
    ("\n# {{ lipsum() }}", 2, ["'lipsum' is undefined"]),
    ("\n# {{ [1, 2] | random }}", 2, [" filter named 'random'"]),
])
def test_a_mistake_in_a_template_is_named_with_its_line(net: str, line: int, parts: list, folder: Path) -> None:
    said = refused(folder, net)
    assert said.startswith(f"net.j2:{line}: "), said
    for part in parts:
        assert part in said


def test_a_folder_may_have_any_name(folder: Path) -> None:
    odd = 'a "b" \'c\' \\n ü\nd'
    render_texts(folder, 'name: "{{ directory }}"\n# {{ kernel1 }}', SOLVER + "net: '{{ directory }}'")
    renderer = Renderer(search_file.load("my.search.prototxt"))
    trial = renderer.experiment.trial(0, renderer.experiment.space.default)
    both = renderer.render(trial, Sources("", "", ""), odd)
    assert both.net.message.name == both.solver.message.net == odd


def test_a_template_that_is_no_text_is_refused(folder: Path) -> None:
    render_texts(folder, "")
    (folder / "net.j2").write_bytes(b'name: "\xff"')
    with pytest.raises(UserError, match="^net.j2: cannot be read as a template: .*utf-8"):
        rendered(Path("my.search.prototxt"))


@pytest.mark.parametrize("net, said", [
    ('name: "a"\n{# gone #}\nlayer {\n  nam: "b"\n}',
     "3: layer[0].nam: is no field of LayerParameter; did you mean name"),
    ("{% for i in range(3) %}\nlayer {\n  convolution_param { kernel_sise: {{ kernel1 }} }\n}\n{% endfor %}",
     "2: layer[0].convolution_param.kernel_sise: is no field of ConvolutionParameter; did you mean kernel_size"),
    ("layer {\n  convolution_param {\n    pad: {{ kernel1 / 2 }}\n  }\n}",
     "3: layer[0].convolution_param.pad[0]: expected a whole number in 0..4294967295, found 2.5"),
    ("layer {\n  pooling_param {\n    pool: {{ kernel1 }}\n  }\n}", "3: layer[0].pooling_param.pool: "),
    ("layer {\n", "1: layer[0]: '{' is never closed; expected a '}'"),
])
def test_a_text_that_is_no_net_is_refused(net: str, said: str, folder: Path) -> None:
    assert refused(folder, net).startswith(f"net.j2 (rendered):{said}")


def test_a_text_that_is_no_solver_is_refused(folder: Path) -> None:
    said = refused(folder, "", SOLVER + "momentun: 0.9\n")
    assert said.startswith("solver.j2 (rendered):4: momentun: is no field of SolverParameter; did you mean momentum")


@pytest.mark.parametrize("name", ["random_seed", "max_iter"])
def test_a_solver_that_the_search_does_not_rule_is_refused(name: str, folder: Path) -> None:
    said = refused(folder, "", SOLVER.replace(f"{{{{ {name} }}}}", "3"))
    assert said.startswith("solver.j2: ") and f"expected a line '{name}: {{{{ {name} }}}}'" in said


@pytest.mark.parametrize("name, place", [("kernel1", "4: gene[0].name: "), ("pad", "9: constant[0].name: ")])
def test_a_name_that_no_template_uses_is_refused(name: str, place: str, folder: Path) -> None:
    said = refused(folder, "# {{ kernel1 }}", search=SEARCH_TEXT.replace(f'"{name}"', f'"{name}x"'))
    unused = f"'{name}x' is used by neither net.j2 nor solver.j2; did you mean {name}?"
    assert said.startswith(f"my.search.prototxt:{place}{unused}")


def test_all_names_that_no_template_uses_are_told_at_once(folder: Path) -> None:
    search = SEARCH_TEXT.replace('"kernel1"', '"kernel1x"').replace('"pad"', '"padx"')
    said = refusals(folder, "# {{ kernel1 }}", SOLVER.replace("{{ max_iter }}", "3"), search)
    assert [line.split(" ")[0] for line in said] == ["my.search.prototxt:4:", "my.search.prototxt:9:", "solver.j2:"]
