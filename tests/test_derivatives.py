"""The chain rule through templates, against closed forms: powers of a gene have their exponent as derivative."""
from __future__ import annotations

import math
from pathlib import Path
from typing import Any, Dict, List, Tuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from menndl_caffe.errors import UserError
from menndl_caffe.experiment import search_file
from menndl_caffe.experiment.derivatives import DECAY, KINDS, Derivatives, derivatives, stated
from menndl_caffe.experiment.render import Rendered, Renderer
from menndl_caffe.experiment.sources import Sources

NOWHERE = Sources("", "", "")
EXACT = 1e-4  # relative: float32 rates, and a step of 0.01 in the logarithm
INPUTS = ('layer { name: "x" type: "Input" top: "x" top: "t" '
          "input_param { shape { dim: 4 dim: 6 } shape { dim: 4 } } }\n")
LOSS = 'layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip2" bottom: "t" }\n'
SOLVER = "random_seed: {{ random_seed }} max_iter: {{ max_iter }}\n"


def inner_product(name: str, bottom: str, *params: str, outputs: str = "6") -> str:
    blocks = " ".join(f"param {{ {param} }}" for param in params)
    return (f'layer {{ name: "{name}" type: "InnerProduct" bottom: "{bottom}" top: "{name}" {blocks}\n'
            f"  inner_product_param {{ num_output: {outputs} }} }}\n")


def net(first: Tuple[str, ...] = (), second: Tuple[str, ...] = (), between: str = "") -> str:
    """Two inner products with these param blocks."""
    return INPUTS + inner_product("ip1", "x", *first) + between + inner_product("ip2", "ip1", *second) + LOSS


def log(name: str, default: float) -> str:
    return f'gene {{ name: "{name}" real_range {{ min: 1e-6 max: 10 scale: LOG }} default: {default} }}\n'


def linear(name: str, default: float, low: float = 0, high: float = 1) -> str:
    return f'gene {{ name: "{name}" real_range {{ min: {low} max: {high} }} default: {default} }}\n'


class Small:
    """The default individual of an experiment of these texts."""

    def __init__(self, folder: Path, genes: str, net_text: str, solver: str = ""):
        files = {"net.j2": net_text, "solver.j2": SOLVER + solver}
        for name, text in files.items():
            (folder / name).write_text(text)
        search = folder / "small.search.prototxt"
        search.write_text("".join(f'{name.split(".")[0]}: "{folder / name}"\n' for name in files) + genes)
        self.renderer = Renderer(search_file.load(str(search)))
        self.trial = self.renderer.experiment.trial(7, self.renderer.experiment.space.default)

    @property
    def rendered(self) -> Rendered:
        return self.renderer.render(self.trial, NOWHERE)

    @property
    def stated(self) -> Dict[str, float]:
        return stated(self.rendered)

    def derivatives(self, allowed: Tuple[str, ...] = KINDS) -> Derivatives:
        return derivatives(self.renderer, self.trial, NOWHERE, self.trial.genome.names, allowed)

    def refusals(self, allowed: Tuple[str, ...] = KINDS) -> List[str]:
        with pytest.raises(UserError) as caught:
            self.derivatives(allowed)
        return str(caught.value).split("\n")


def near(expected: Dict[str, float]) -> Any:
    return pytest.approx(expected, rel=EXACT)


def check(small: Small, expected: Dict[str, Dict[str, float]]) -> None:
    assert {gene: dict(slopes) for gene, slopes in small.derivatives().of.items()} == {
        gene: near(slopes) for gene, slopes in expected.items()}


# What the texts state

def test_caffe_s_defaults(tmp_path: Path) -> None:
    """Rates are 1 times the solver's where none are stated; a solver without decay and momentum has none."""
    small = Small(tmp_path, log("rate", 0.25), net(), "base_lr: {{ rate }}")
    blobs = ["ip1[0]", "ip1[1]", "ip2[0]", "ip2[1]"]
    assert small.stated == {**{f"decay {blob}": 0 for blob in blobs}, **{f"lr {blob}": 0.25 for blob in blobs},
                            "momentum": 0}


def test_products_of_the_solver_s_and_the_layer_s(tmp_path: Path) -> None:
    small = Small(tmp_path, log("d", 0.5), net(("lr_mult: 3 decay_mult: {{ d }}", "lr_mult: 0"), ("decay_mult: 0",)),
                  "base_lr: 0.25 weight_decay: 0.125 momentum: 0.75")
    assert small.stated == {"decay ip1[0]": 0.0625, "lr ip1[0]": 0.75, "decay ip2[0]": 0, "lr ip2[0]": 0.25,
                            "decay ip2[1]": 0.125, "lr ip2[1]": 0.25, "momentum": 0.75}


@pytest.mark.parametrize("params", ["", "param { lr_mult: 0 }", "param { lr_mult: 0 } " * 3])
def test_batch_norm_s_statistics_are_not_learned(params: str, tmp_path: Path) -> None:
    layer = f'layer {{ name: "bn" type: "BatchNorm" bottom: "ip1" top: "ip1" {params} }}\n'
    small = Small(tmp_path, log("d", 0.5), net(between=layer), "weight_decay: {{ d }} base_lr: 1")
    assert [name for name in small.stated if "[0]" in name] == ["decay ip1[0]", "lr ip1[0]", "decay ip2[0]",
                                                                "lr ip2[0]"]


SHARED = [("name: 'w'", "name: 'w' decay_mult: {{ d }} lr_mult: 2"),
          ("name: 'w' decay_mult: {{ d }} lr_mult: 2", "name: 'w'"),
          ("name: 'w' decay_mult: {{ d }}", "name: 'w' lr_mult: 2 decay_mult: {{ d }}")]


@pytest.mark.parametrize("first, second", SHARED)
def test_a_shared_parameter_counts_once_with_the_rates_that_any_states(first: str, second: str, tmp_path: Path) -> None:
    small = Small(tmp_path, log("d", 0.5), net((first,), (second,)), "base_lr: 1 weight_decay: 0.25")
    assert [name for name in small.stated if name.startswith(DECAY)] == [
        "decay ip1[0]", "decay ip1[1]", "decay ip2[1]"]
    assert (small.stated["decay ip1[0]"], small.stated["lr ip1[0]"]) == (0.125, 2)
    check(small, {"d": {"decay ip1[0]": 0.125}})


@pytest.mark.parametrize("first, second", SHARED)
def test_the_torch_engine_learns_the_same(first: str, second: str, tmp_path: Path) -> None:
    pytest.importorskip("torch")
    from menndl_caffe.nets.proto import caffe_pb2
    from menndl_caffe.torchcaffe.graph import build

    batch_norm = 'layer { name: "bn" type: "BatchNorm" bottom: "ip1" top: "ip1" }\n'
    small = Small(tmp_path, log("d", 0.5), net((first, "lr_mult: 4"), (second, "decay_mult: 8"), batch_norm),
                  "base_lr: 1 weight_decay: 1")
    learned = {}
    for one in build(small.rendered.net.message, caffe_pb2.TRAIN).learnable:
        layer, index = one.layers[0]
        if one.lr_mult:
            learned.update({f"decay {layer}[{index}]": one.decay_mult, f"lr {layer}[{index}]": one.lr_mult})
    assert small.stated == {**learned, "momentum": 0}


def test_a_net_of_an_older_caffe(tmp_path: Path) -> None:
    def old(name: str, bottom: str, rates: str) -> str:
        return (f'layers {{ name: "{name}" type: INNER_PRODUCT bottom: "{bottom}" top: "{name}" {rates}\n'
                "  inner_product_param { num_output: 6 } }\n")

    text = ('input: "x" input_dim: [4, 6, 1, 1] input: "t" input_dim: [4, 1, 1, 1]\n'
            + old("ip1", "x", "blobs_lr: {{ r }} blobs_lr: 2 weight_decay: {{ d }} weight_decay: 0")
            + old("ip2", "ip1", "") + 'layers { name: "loss" type: SOFTMAX_LOSS bottom: "ip2" bottom: "t" }')
    small = Small(tmp_path, log("d", 0.5) + log("r", 4), text, "weight_decay: 0.5 base_lr: 0.125")
    check(small, {"d": {"decay ip1[0]": 0.25}, "r": {"lr ip1[0]": 0.5}})


@pytest.mark.parametrize("net_text, solver, said", [
    (net(), "regularization_type: 'L1'", r"solver.j2 (rendered):2: regularization_type: is 'L1'; expected 'L2'"),
    (net(between='layer { name: "p" type: "Python" bottom: "ip1" top: "p" }\n'), "", "net.j2 (rendered):4: layer p: "),
    (net(("name: 'w' decay_mult: 1",), ("name: 'w' decay_mult: 2",)), "", "shared parameter 'w' has decay_mult 2 here"),
    (net(between=inner_product("ip1", "ip1").replace('top: "ip1"', 'top: "y"')), "", "two layers are named ip1"),
])
def test_texts_that_state_nothing_clear(net_text: str, solver: str, said: str, tmp_path: Path) -> None:
    small = Small(tmp_path, log("d", 0.5), net_text, "weight_decay: {{ d }} " + solver)
    with pytest.raises(UserError) as caught:
        small.derivatives()
    assert said in str(caught.value)


# Closed forms

def test_a_gene_in_three_places(tmp_path: Path) -> None:
    small = Small(tmp_path, log("d", 0.04), net(
        ("decay_mult: {{ d }}", "decay_mult: {{ 3 * d ** 2 }}"), ("decay_mult: {{ 5 / d }}",)), "weight_decay: 0.1")
    check(small, {"d": {"decay ip1[0]": 0.004, "decay ip1[1]": 2 * 0.00048, "decay ip2[0]": -12.5}})
    gradient = {**dict.fromkeys(small.stated, math.nan),
                "decay ip1[0]": 1000, "decay ip1[1]": 10000, "decay ip2[0]": 0.5}
    assert small.derivatives().chain(gradient) == near({"d": 4 + 9.6 - 6.25})


def test_one_learning_rate_for_weights_and_twice_it_for_biases(tmp_path: Path) -> None:
    rates = "lr_mult: {{ lrm }}", "lr_mult: {{ 2 * lrm }}"
    small = Small(tmp_path, log("lrm", 0.3), net(rates, rates), "base_lr: 0.01")
    once, twice = 0.003, 0.006
    check(small, {"lrm": {"lr ip1[0]": once, "lr ip1[1]": twice, "lr ip2[0]": once, "lr ip2[1]": twice}})


def test_a_product_of_two_genes(tmp_path: Path) -> None:
    small = Small(tmp_path, log("all", 0.002) + log("one", 0.7),
                  net(("decay_mult: {{ one }}", "decay_mult: 0"), ("decay_mult: 0", "decay_mult: 1")),
                  "weight_decay: {{ all }}")
    check(small, {"all": {"decay ip1[0]": 0.0014, "decay ip2[1]": 0.002}, "one": {"decay ip1[0]": 0.0014}})


def test_a_linear_gene_is_its_own_scale(tmp_path: Path) -> None:
    """The rate is .1 (1 - mu), so it falls by .1 where mu grows by 1."""
    frozen = "lr_mult: 0"
    small = Small(tmp_path, linear("mu", 0.9), net(("", frozen), (frozen, frozen)),
                  "momentum: {{ mu }} base_lr: {{ 0.1 * (1 - mu) }}")
    check(small, {"mu": {"momentum": 1, "lr ip1[0]": -0.1}})


@pytest.mark.parametrize("low, high, value", [(0, 1, 0), (0, 1, 1), (0.9, 0.9001, 0.9), (-1e4, 1e4, 0.5)])
def test_a_linear_gene_at_a_bound_and_in_a_narrow_range(low: float, high: float, value: float, tmp_path: Path) -> None:
    small = Small(tmp_path, linear("mu", value, low, high), net(), "momentum: {{ 3 * mu + 5 }}")
    check(small, {"mu": {"momentum": 3}})


def test_the_whole_chain_is_the_derivative_of_the_loss(tmp_path: Path) -> None:
    """E = sum over s of s^2, of which the closed form is d E / d log gene = sum of 2 p s^2."""
    small = Small(tmp_path, log("d", 0.5) + log("r", 0.02) + log("idle", 1), net(
        ("decay_mult: {{ d ** 3 }} lr_mult: {{ r ** 0.5 / d }}", "lr_mult: 0"), ("lr_mult: 0", "lr_mult: 0")),
        "weight_decay: 0.3 base_lr: {{ r }} # {{ idle }}")
    decay, rate = 0.3 * 0.5 ** 3, 0.02 ** 1.5 / 0.5
    by_values = {name: 2 * value for name, value in small.stated.items()}
    assert small.derivatives().chain(by_values) == near({
        "d": 2 * 3 * decay ** 2 - 2 * rate ** 2, "r": 2 * 1.5 * rate ** 2, "idle": 0})


POWERS = st.sampled_from([-3, -1, -0.5, 0, 0.5, 1, 2, 3])


@settings(max_examples=40, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(POWERS, POWERS), min_size=4, max_size=4),
       st.floats(-4, 0.9).map(lambda x: float(f"{10 ** x:.6g}")), st.floats(0.1, 9).map(lambda x: float(f"{x:.6g}")))
def test_power_laws(tmp_path: Path, powers: List[Tuple[float, float]], a: float, b: float) -> None:
    blocks = [f"decay_mult: {{{{ 0.7 * a ** {p} * b ** {q} }}}}" for p, q in powers]
    small = Small(tmp_path, log("a", a) + log("b", b), net(tuple(blocks[:2]), tuple(blocks[2:])) + "# {{ a }} {{ b }}",
                  "weight_decay: 0.01")
    names = ["decay ip1[0]", "decay ip1[1]", "decay ip2[0]", "decay ip2[1]"]
    values = [0.007 * a ** p * b ** q for p, q in powers]
    check(small, {gene: {name: of[k] * value for name, of, value in zip(names, powers, values) if of[k]}
                  for k, gene in enumerate("ab")})


# Genes that have no derivative

DROPOUT = 'layer {{ name: "drop" type: "Dropout" bottom: "ip1" top: "ip1" dropout_param {{ {} }} }}\n'
DECAY_OF_D = "weight_decay: {{ d }}"
PLAIN, WIDTH = net(), INPUTS + inner_product("ip1", "x", outputs="{{ (100 * d) | int }}") + inner_product(
    "ip2", "ip1") + LOSS


@pytest.mark.parametrize("gene, net_text, solver, said", [
    ('gene { name: "d" int_range { min: 1 max: 4 } default: 2 }', PLAIN, DECAY_OF_D,
     "is a whole number from 1 to 4; expected a real_range"),
    ('gene { name: "d" choice { value: "1" value: "2" default: "2" } }', PLAIN, DECAY_OF_D, "is one of 1, 2; expected"),
    (linear("d", 0.5, 0.5, 0.5), PLAIN, DECAY_OF_D, "is a number from 0.5 to 0.5; expected a real_range, of more than"),
    (log("d", 0.5), WIDTH, "", "changes more than decays, learning rates and momentum: "
                               "layer ip1: inner_product_param.num_output"),
    (log("d", 0.5), net(between=DROPOUT.format("dropout_ratio: {{ d }}")), DECAY_OF_D,
     "changes more than decays, learning rates and momentum: layer drop: dropout_param.dropout_ratio"),
    (log("d", 0.5), net(between=DROPOUT.format("{% if d > 0.5 %}dropout_ratio: 0.5{% endif %}")), "",
     "momentum: layer drop: dropout_param.dropout_ratio"),
    (log("d", 0.5), net(("{% if d < 0.5 %} name: 'w' {% endif %}", "")), DECAY_OF_D,
     "momentum: layer ip1: param[0].name"),
    (log("d", 0.5), PLAIN, "base_lr: 1 gamma: {{ d }} power: {{ d }}", "momentum: gamma, power"),
    (log("d", 0.5), PLAIN, "weight_decay: {{ [d, 0.5] | min }}",
     "is at a kink: the derivative of decay ip1[0] by it is 0.5"),
    (log("d", 0.498), PLAIN, "weight_decay: {{ [d, 0.5] | min }}", "is at a kink: "),
    (log("d", 0.498336), PLAIN, "weight_decay: {{ [d, 0.5] | min }}", "is at a kink: "),  # h/3 beside it
    (log("d", 0.497), PLAIN, "weight_decay: {{ [d, 0.5] | min }}", "is at a kink: "),
    (log("d", 0.503), PLAIN, "weight_decay: {{ [d, 0.5] | max }}", "is at a kink: "),
    (linear("d", 0.5), PLAIN, "weight_decay: {{ (d - 0.5) | abs }}", "is at a kink: "),
    (log("d", 0.0123), PLAIN, "weight_decay: {{ d | round(4) }}", "is at a kink: "),
    (linear("d", 0), PLAIN, "weight_decay: {{ d ** 0.5 }}", "has no derivative at 0: at -0.000976562 beside it: "),
    (linear("d", 0), net(("lr_mult: {{ d }}",)), "base_lr: 1",
     "has no derivative at 0: beside it other parameters are learned: decay ip1[0], lr ip1[0]"),
])
def test_refused_by_name_and_line(gene: str, net_text: str, solver: str, said: str, tmp_path: Path) -> None:
    refusal, = Small(tmp_path, "\n" + gene, net_text, solver).refusals()
    assert refusal.startswith(f"{tmp_path / 'small.search.prototxt'}:4: gene[0]: d ") and said in refusal, refusal


@pytest.mark.parametrize("value, slope", [(0.49, {"momentum": 0.49}), (0.51, {})])
def test_beside_a_kink_there_is_a_derivative(value: float, slope: Dict[str, float], tmp_path: Path) -> None:
    check(Small(tmp_path, log("d", value), net(), "momentum: {{ [d, 0.5] | min }}"), {"d": slope})


def test_a_method_may_have_a_gradient_by_decays_alone(tmp_path: Path) -> None:
    small = Small(tmp_path, log("d", 0.5) + log("r", 0.1) + linear("mu", 0.5), net(),
                  "weight_decay: {{ d }} base_lr: {{ r }} momentum: {{ mu }}")
    assert list(small.derivatives().of) == ["d", "r", "mu"]
    rate, momentum = small.refusals(allowed=(DECAY,))
    assert ":4: gene[1]: r changes lr ip1[0]; this method has gradients by decay alone" in rate
    assert ":5: gene[2]: mu changes momentum; this method has gradients by decay alone" in momentum


def test_genes_that_are_not_asked_for_may_be_of_any_kind(tmp_path: Path) -> None:
    small = Small(tmp_path, log("d", 0.5) + 'gene { name: "n" int_range { min: 1 max: 4 } default: 2 }',
                  net(), "weight_decay: {{ d }} # {{ n }}")
    assert list(derivatives(small.renderer, small.trial, NOWHERE, ["d"]).of) == ["d"]


def test_a_gradient_that_lacks_what_a_gene_moves_is_not_taken_as_zero() -> None:
    of = Derivatives({"d": {"decay ip1[0]": 2.0, "momentum": 3.0}})
    assert of.chain({"decay ip1[0]": 1, "momentum": 10, "lr ip1[0]": math.nan}) == {"d": 32}
    with pytest.raises(KeyError, match=r"no derivative by momentum, which genes move; there are decay ip1\[0\]"):
        of.chain({"decay ip1[0]": 1})
