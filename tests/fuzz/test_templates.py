"""Templates by chance, from sound parts and from all that ever went wrong: each gives a text, or a UserError, soon."""
from __future__ import annotations

import random
import resource
from pathlib import Path

import pytest

from menndl_caffe.errors import UserError
from menndl_caffe.experiment import appraise, search_file
from menndl_caffe.experiment.render import Renderer
from menndl_caffe.experiment.sources import sources
from menndl_caffe.trial import DEFAULT
from tests.conftest import REPOSITORY
from tests.support import runs

NET = (REPOSITORY / "templates/cifar10_quick/train_test.prototxt.j2").read_text()
VALUES = ("kernel1", "output2", "pad", "train_source", "7", "-1", "10**6", "0.5", "1e308", "'a'", "'\\ud800'", "[]",
          "[1, 2]", "{}", "{'a': 1}", "none", "true", "joiner", "cycler(1, 2)", "namespace()", "range(9)", "range",
          "dict", "self", "loop", "missing", "''.join", "kernel1.real", "(1, 2)")
OPERATORS = ("+", "-", "*", "/", "//", "%", "**", "~", "==", "<", "in", "and", "is", "|", ".")
NAMES = ("int", "float", "string", "list", "length", "upper", "join", "sum", "sort", "first", "batch(3)", "slice(2)",
         "center(10**9)", "map('int')", "tojson", "pprint", "format(1)", "round(400)", "replace('', pad)", "items",
         "urlize", "indent(9)", "dictsort", "groupby(0)", "attr('x')", "unique", "wordwrap(0)", "xmlattr", "pop(9)",
         "format", "append", "even", "divisibleby(0)", "defined", "__class__", "keys()", "encode()", "reverse")
BLOCKS = ("{{% for i in {0} %}}{1}{{% endfor %}}", "{{% if {0} %}}{1}{{% endif %}}", "{{% set s = {0} %}}{1}",
          "{{% macro m(a) %}}{1}{{{{ m(a) }}}}{{% endmacro %}}{{{{ m({0}) }}}}",
          "{{% filter {0} %}}{1}{{% endfilter %}}",
          "{{% call {0} %}}{1}{{% endcall %}}", "{{% block b %}}{1}{{% endblock %}}", "{{% extends {0} %}}{1}",
          "{{% for i in range(9999) recursive %}}{1}{{{{ loop({0}) }}}}{{% endfor %}}", "{{% include {0} %}}{1}",
          "{{% with x = {0} %}}{1}{{% endwith %}}", "{1}{{{{ {0} }}}}", "{{# {0} #}}{1}", "{1}{{{{", "{1}%}}", "{1}{0}")


def expression(draw: random.Random) -> str:
    value = draw.choice(VALUES)
    for _ in range(draw.randrange(4)):
        operator = draw.choice(OPERATORS)
        other = draw.choice(NAMES if operator in ("is", "|", ".") else VALUES)
        value = f"({value}) {operator} {other}" if operator != "." else f"({value}).{other}"
    return value


def mangled(draw: random.Random) -> str:
    """The net's template with blocks around some of its lines, or values in the place of its numbers."""
    lines = NET.splitlines(keepends=True)
    for _ in range(draw.randrange(1, 4)):
        at = draw.randrange(len(lines))
        if draw.random() < 0.5:
            lines[at] = draw.choice(BLOCKS).format(expression(draw), lines[at])
        else:
            lines[at] = f"{lines[at].split(':')[0]}: {{{{ {expression(draw)} }}}}\n"
    return "".join(lines)


@pytest.fixture(scope="module")
def search(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("search")
    path = runs.write_search(folder / "s.search.prototxt", runs.small_data(folder / "data"), "trial_timeout: 0.2")
    path.write_text(path.read_text().replace("templates/cifar10_quick/train_test.prototxt.j2", str(folder / "net.j2")))
    return path


def _peak() -> int:
    """The most memory that this process has had, in kB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


@pytest.mark.parametrize("seeds", [range(80), pytest.param(range(80, 6000), marks=pytest.mark.slow)])
def test_a_template_gives_a_net_or_an_error(search: Path, in_repository: Path, seeds: range) -> None:
    """Two in a row give the same."""
    nets, before = 0, _peak()
    for seed in seeds:
        search.with_name("net.j2").write_text(mangled(random.Random(seed)), errors="surrogatepass")
        said = []
        for _ in range(2):
            try:
                renderer = Renderer(search_file.load(str(search)))
                trial = renderer.experiment.trial(0, renderer.experiment.space.default)
                rendered = renderer.render(trial, sources(renderer.experiment, DEFAULT))
                said.append(rendered.net_text)
                appraise.measures(rendered)
                appraise.check_experiment(renderer)
                nets += 1
            except UserError as error:
                said.append(str(error))
        if "processor time" not in "".join(said):
            assert said[:len(said) // 2] == said[len(said) // 2:], seed
    assert nets > len(seeds) / 20
    assert _peak() < max(2**20, before + 1)  # other tests of this process may have had more
