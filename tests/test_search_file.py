"""The search file: what it says is what is searched; each mistake in it is named with its line and what is valid."""
from __future__ import annotations

import tempfile
from math import prod
from pathlib import Path
from typing import Any, List, Set, Tuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from menndl_caffe.errors import UserError
from menndl_caffe.experiment import search_file
from menndl_caffe.genome import ChoiceGene, IntGene, RealGene
from menndl_caffe.nets.proto import menndl_pb2
from tests.conftest import REPOSITORY

GOOD = """\
# Every kind of gene, a field a line.
net: "templates/cifar10_quick/train_test.prototxt.j2"
solver: "solvers/quick.solver.prototxt.j2"
type: "GA"
ga_param {
  population: 6
  generations: 3
  crossover: 0.6
  mutation: 0.2
}
gene {
  name: "kernel1"
  int_range {
    min: 1
    max: 9
    step: 2
  }
  default: 5
}
gene {
  name: "base_lr"
  real_range {
    min: 1e-5
    max: 0.1
    scale: LOG
  }
  default: 0.001
}
gene {
  name: "pool"
  choice {
    value: "MAX"
    value: "AVE"
    default: "AVE"
  }
}
constant {
  name: "pad"
  value: "2"
}
max_iter: 10
trial_timeout: 5
random_seed: 1
"""
PROVIDED = ["random_seed", "max_iter", "solver_mode", "train_source", "test_source", "mean_file", "directory"]
STEPS = "a whole number from 1 to 9 in steps of 2"
CHOICE = 'choice {\n    value: "MAX"\n    value: "AVE"\n    default: "AVE"\n'
NAMES = "letters, digits and _, no digit first"


def named(genes: str) -> str:
    """An individual by name, its genes on lines of their own; that after @ is where the error is."""
    lines = genes.replace("@ ", "@").replace("=", " ").split()
    pairs = zip(*[iter(lines)] * 2)
    return "enqueue {\n" + "".join(
        f'{"@" * name.startswith("@")}gene {{ name: "{name.lstrip("@")}" value: "{value}" }}\n'
        for name, value in pairs) + "}"


# What is replaced, by what (@ is where the error must point), and what the error must say.
MISTAKES = [
    # Fields and their values
    ("generations: 3", "@generatons: 3", ["ga_param.generatons", "did you mean generations? valid: crossover, "]),
    ("max_iter: 10", "@max_itre: 10", ["max_itre", "did you mean max_iter"]),
    ("population: 6", "@population: six", ["ga_param.population", "a whole number", "six"]),
    ("max_iter: 10", "max_iter: 10\n@max_iter: 11", ["max_iter", "given twice; line 41"]),
    ("random_seed: 1\n", "random_seed: 1\n@}\n", ["no '{' is open"]),
    ('type: "GA"', '@type: "SGD"', ["type", "'SGD'", "valid: ", " GA, "]),
    ("population: 6", "@population: 0", ["ga_param.population", "0", "1 or more"]),
    ("generations: 3", "@generations: -3", ["ga_param.generations", "-3", "1 or more"]),
    ("crossover: 0.6", "@crossover: -0.1", ["ga_param.crossover", "-0.1", "a probability in [0, 1]"]),
    ("mutation: 0.2", "@mutation: 1.5", ["ga_param.mutation", "1.5", "a probability in [0, 1]"]),
    ("mutation: 0.2", "@mutation: nan", ["ga_param.mutation", "nan", "a probability in [0, 1]"]),
    ("random_seed: 1", "@random_seed: -1", ["random_seed", "-1", "0 or more"]),
    ("max_iter: 10", "@max_iter: 0", ["max_iter", "0", "1 or more"]),
    ("trial_timeout: 5", "@trial_timeout: -5", ["trial_timeout", "-5", "0 or more"]),
    ("trial_timeout: 5", "@fitness_set: TRAIN", ["fitness_set", "TRAIN", "valid: TEST, VALIDATION"]),
    ("trial_timeout: 5", "@solver_mode: FAST", ["solver_mode", "FAST", "valid: CPU, GPU"]),
    # Objectives
    ("max_iter: 10", 'max_iter: 10\n@objective {\n  measure: "loss"\n}',
     ["objective[0]", "loss does not say which is better", "expected minimize: true, or minimize: false"]),
    ("max_iter: 10", 'max_iter: 10\nobjective {}\n@objective {\n  measure: "memory"\n  minimize: true\n}',
     ["objective[1]", "is a second one, and GA takes one", "or type", "RANDOM"]),
    # Templates
    ('net: "templates/cifar10_quick/train_test.prototxt.j2"\n', "@", ["net", "is missing", "path of a template"]),
    ('solver: "solvers/quick.solver.prototxt.j2"', '@solver: ""', ["solver", "is missing", "path of a template"]),
    ("train_test", "@trian_test", ["net template templates/cifar10_quick/trian_test",
                                   "did you mean templates/cifar10_quick/train_test.prototxt.j2"]),
    ("templates/cifar10_quick/train", "@cifar10/train", ["net template cifar10/train",
                                                         "did you mean templates/cifar10_quick/train_test"]),
    ("solvers/quick.solver", "@solvers/quik.solver", ["solver template solvers/quik.",
                                                      "did you mean solvers/quick.solver.prototxt.j2"]),
    # Genes
    ("int_range {", "@integer_range {", ["gene[0].integer_range", "did you mean int_range"]),
    ("scale: LOG", "@scale: LOGARITHMIC", ["gene[1].real_range.scale", "LOGARITHMIC", "valid: LINEAR, LOG"]),
    ('gene {\n  name: "pool"\n  ' + CHOICE + '  }\n}',
     '@gene {\n  name: "pool"\n}', ["gene[2]", "pool has no range", "int_range, real_range, choice"]),
    ("min: 1\n", "@min: 10\n", ["gene[0].int_range.min", "kernel1", "10, above its max 9"]),
    ("min: 1e-5\n    max: 0.1", "@min: 1e-5\n    max: 1e-6",
     ["gene[1].real_range.min", "base_lr", "1e-05, above its max 1e-06"]),
    ("int_range {\n    min: 1\n", "@int_range {\n", ["gene[0].int_range", "kernel1", "no min"]),
    ("real_range {\n    min: 1e-5\n    max: 0.1\n", "@real_range {\n    min: 1e-5\n",
     ["gene[1].real_range", "base_lr", "no max"]),
    ("step: 2", "@step: 0", ["gene[0].int_range.step", "kernel1", "0", "1 or more"]),
    ("step: 2", "@step: -2", ["gene[0].int_range.step", "kernel1", "-2", "1 or more"]),
    ("max: 9", "@max: 9.5", ["gene[0].int_range.max", "a whole number", "9.5"]),
    ("min: 1e-5", "@min: 0", ["gene[1].real_range.min", "base_lr", "LOG", "above 0"]),
    ("min: 1e-5", "@min: -inf", ["gene[1].real_range.min", "base_lr", "-inf", "finite"]),
    ("max: 0.1", "@max: nan", ["gene[1].real_range.max", "base_lr", "nan", "finite"]),
    ("default: 5", "@default: 11", ["gene[0].default", "kernel1", "11", STEPS]),
    ("default: 5", "@default: 4", ["gene[0].default", "kernel1", "4", STEPS]),
    ("default: 5", "@default: 5.5", ["gene[0].default", "kernel1", "5.5", STEPS]),
    ("default: 5", "@default: nan", ["gene[0].default", "kernel1", "nan", "finite"]),
    ("default: 0.001", "@default: 1", ["gene[1].default", "base_lr", "1", "a number from 1e-05 to 0.1"]),
    ('default: "AVE"', '@default: "MIN"', ["gene[2].choice.default", "pool", "'MIN'", "one of MAX, AVE"]),
    (CHOICE, '@choice {\n', ["gene[2].choice", "pool", "empty"]),
    (CHOICE, '@choice {\n value: "MAX"\n',
     ["gene[2].choice.default", "pool", "is missing", "one of MAX"]),
    ('value: "AVE"', '@value: "MAX"', ["gene[2].choice.value[1]", "pool", "'MAX'", "twice"]),
    ('value: "AVE"', '@value: AVE', ["gene[2].choice.value[1]", "a text in quotes"]),
    ('default: "AVE"\n  }', 'default: "AVE"\n  }\n  @default: 1',
     ["gene[2].default", "pool", "inside it", 'default: "MAX"']),
    ('gene {\n  name: "kernel1"\n  int_range {\n    min: 1\n    max: 9\n    step: 2\n  }\n  default: 5\n}',
     '@gene {\n  name: "kernel1"\n  int_range {\n    min: 1\n    max: 9\n  }\n}', ["gene[0]", "kernel1", "no default"]),
    # Individuals by name, and runs to begin from
    ("random_seed: 1", named("@ kernal1=5"), ["enqueue[0].gene[0].name", "'kernal1' is no gene of this search",
                                              "did you mean kernel1? valid: base_lr, kernel1, pool"]),
    ("random_seed: 1", named("pool=MAX @ pad=2"), ["enqueue[0].gene[1].name", "'pad' is no gene of this search"]),
    ("random_seed: 1", named("@ kernel1=4"), ["enqueue[0].gene[0].value", "of kernel1 is '4'; expected " + STEPS]),
    ("random_seed: 1", named("@ kernel1=x"), ["enqueue[0].gene[0].value", "of kernel1 is 'x'; expected " + STEPS]),
    ("random_seed: 1", named("@ base_lr=1"), ["value: of base_lr is '1'; expected a number from 1e-05 to 0.1"]),
    ("random_seed: 1", named("@ pool=MIN"), ["value: of pool is 'MIN'; expected one of MAX, AVE"]),
    ("random_seed: 1", 'enqueue {\n@ gene { name: "pool" } }', ["enqueue[0].gene[0]", "of pool is ''; expected one"]),
    ("random_seed: 1", named("pool=MAX kernel1=3 @ pool=AVE"),
     ["enqueue[0].gene[2].name", "'pool' is given twice; line 44 has it already"]),
    ("random_seed: 1", named("kernel1=3") + "\n@" + named("kernel1=3"),
     ["enqueue[1]", "is the individual of line 43 again"]),
    ("random_seed: 1", named("kernel1=3 pool=AVE") + "\n@" + named("kernel1=+3 base_lr=1e-3"),
     ["enqueue[1]", "is the individual of line 43 again"]),
    ("random_seed: 1", "enqueue { }\n@" + named("kernel1=5 pool=AVE"), ["enqueue[1]: is the individual of line 43 "]),
    ("random_seed: 1", 'warm_start: "a"\nwarm_start: "b"\n@warm_start: "a"',
     ["warm_start[2]", "'a' stands there twice"]),
    ("random_seed: 1", '@warm_start: ""', ["warm_start[0]", "is empty", "the folder of an earlier run"]),
    # Names
    ('name: "base_lr"', '@name: "kernel1"', ["gene[1].name", "'kernel1'", "the gene of line 11"]),
    ('name: "pad"', '@name: "pool"', ["constant[0].name", "'pool'", "the gene of line 29"]),
    ('name: "pool"', '@name: "2pool"', ["gene[2].name", "'2pool'", NAMES]),
    ('name: "pool"', '@name: "pool size"', ["gene[2].name", "'pool size'", NAMES]),
    ('name: "pool"', '@name: "größe"', ["gene[2].name", "'größe'", NAMES]),
    ('name: "pad"', '@name: ""', ["constant[0].name", "''", NAMES]),
    ('constant {\n  name: "pad"\n  value: "2"\n', '@constant {\n  name: "pad"\n', ["constant[0]", "pad has no value"]),
]


def written(folder: Path, text: str) -> str:
    path = folder / "my.search.prototxt"
    path.write_text(text)
    return str(path)


@pytest.mark.parametrize("old, new, parts", MISTAKES, ids=[str(i) for i in range(len(MISTAKES))])
def test_a_mistake_is_named_with_its_line_and_what_is_valid(old: str, new: str, parts: list, tmp_path: Path) -> None:
    assert old in GOOD
    text = GOOD.replace(old, new, 1)
    line = text[:text.index("@")].count("\n") + 1
    path = written(tmp_path, text.replace("@", ""))
    with pytest.raises(UserError) as caught:
        search_file.load(path)
    said = str(caught.value)
    assert said.startswith(f"{path}:{line}: ") and "\n" not in said, said
    for part in parts:
        assert part in said[len(path):], said


@pytest.mark.parametrize("replaced, most, said", [
    ([], 6, "the first generation has 6 individuals"),
    ([("population: 6", "population: 2")], 2, "the first generation has 2 individuals"),
    ([("random_seed: 1", 'warm_start: "old"')], 5,
     "the first generation has 6 individuals, one of them the best of warm_start"),
    ([('type: "GA"', 'type: "RANDOM" limit { trials: 3 }')], 3, "limit.trials has 3 individuals"),
    ([('type: "GA"', 'type: "RANDOM" limit { trials: 1 } warm_start: "old"')], 0,
     "limit.trials has 1 individuals, one of them the best of warm_start")])
def test_more_individuals_by_name_than_come_first(tmp_path: Path, replaced: List, most: int, said: str) -> None:
    text = GOOD
    for old, new in replaced:
        text = text.replace(old, new, 1)
    individuals = [named(f"kernel1={kernel} pool={pool}") for pool in ("MAX", "AVE") for kernel in (1, 3, 7, 9)]
    enough = written(tmp_path, text + "\n".join(individuals[:most]))
    assert len(search_file.load(enough).enqueued) == most
    text = "\n".join([text, *individuals[:most], "@" + individuals[most]])
    line = text[:text.index("@")].count("\n") + 1
    assert said_of(text.replace("@", ""), tmp_path) == [f"{line}: enqueue[{most}]: is one too many: {said}"]


def test_individuals_by_name(tmp_path: Path) -> None:
    text = GOOD + named("pool=MAX base_lr=0.01") + "enqueue { }" + named("kernel1=+7")
    genomes = search_file.load(written(tmp_path, text)).enqueued
    assert [genome.values for genome in genomes] == [(5, 0.01, "MAX"), (5, 0.001, "AVE"), (7, 0.001, "AVE")]


def test_a_value_is_not_held_against_a_range_that_is_no_good(tmp_path: Path) -> None:
    text = GOOD.replace("step: 2", "step: 0") + named("kernel1=4 pool=MIN") + named("kernel1=4 pool=MAX")
    assert [line.split(": ")[1] for line in said_of(text, tmp_path)] == [
        "gene[0].int_range.step", "enqueue[0].gene[1].value"]


# Several replacements, and the lines of all that is to be said: what the mistakes of a file have to do with each other.
SEVERAL = [
    ([('type: "GA"', 'type: "SGD"'), ("population: 6", "population: 0"), ("max_iter: 10", "max_iter: 0"),
      ('net: "templates/cifar10_quick/train_test', 'net: "templates/cifar10_quick/trian_test')],
     [(2, "net template templates/cifar10_quick/trian_test.prototxt.j2: no such file"), (4, "type: is 'SGD'"),
      (41, "max_iter: is 0; expected 1 or more")]),  # whose population it is nobody knows
    ([("population: 6", "population: 0"), ("generations: 3", "generations: 0"), ("crossover: 0.6", "crossover: 2"),
      ("mutation: 0.2", "mutation: -1"), ("trial_timeout: 5", "trial_timeout: -1"),
      ("random_seed: 1", "random_seed: -1"), ("solvers/quick", "solvers/quik"),
      ('net: "templates/cifar10_quick/train_test.prototxt.j2"', "")],
     [(3, "net: is missing; expected the path of a template"), (3, "solver template solvers/quik.solver.prototxt"),
      (6, "ga_param.population: is 0; expected 1 or more"), (7, "ga_param.generations: is 0"),
      (8, "ga_param.crossover: is 2.0"), (9, "ga_param.mutation: is -1.0"), (42, "trial_timeout: is -1"),
      (43, "random_seed: is -1")]),
    ([("    min: 1\n", "\n"), ("    max: 9\n", "\n"), ("    step: 2", "    step: 0"), ("  default: 5\n", "\n")],
     [(11, "gene[0]: kernel1 has no default"), (13, "gene[0].int_range: of kernel1 has no min"),
      (13, "gene[0].int_range: of kernel1 has no max"), (16, "gene[0].int_range.step: of kernel1 is 0")]),
    ([("min: 1\n", "min: 10\n"), ("step: 2", "step: 0"), ("default: 5", "default: 11")],  # no range to hold it against
     [(14, "gene[0].int_range.min: of kernel1 is 10, above its max 9"), (16, "gene[0].int_range.step: of kernel1")]),
    ([("min: 1e-5", "min: 0"), ("max: 0.1", "max: -1"), ("default: 0.001", "default: nan")],
     [(23, "gene[1].real_range.min: of base_lr is 0, above its max -1"),
      (23, "gene[1].real_range.min: of base_lr is 0; scale LOG needs a min above 0"),
      (27, "gene[1].default: of base_lr is nan; expected a finite number")]),
    ([("min: 1e-5", "min: -inf"), ("max: 0.1", "max: nan")],
     [(23, "gene[1].real_range.min: of base_lr is -inf; expected a finite number"),
      (24, "gene[1].real_range.max: of base_lr is nan; expected a finite number")]),
    ([('value: "AVE"', 'value: "MAX"'), ('    default: "AVE"\n  }\n', '    default: "MIN"\n  }  default: 1\n')],
     [(33, "gene[2].choice.value[1]: of pool: 'MAX' stands there twice"),
      (35, "gene[2].default: of pool is a range's")]),
    ([('    default: "AVE"\n  }\n', '    default: "MIN"\n  }  default: 1\n')],
     [(34, "gene[2].choice.default: of pool is 'MIN'; expected one of MAX, AVE"),
      (35, "gene[2].default: of pool is a range's")]),
    ([('    value: "MAX"\n', "\n"), ('    value: "AVE"\n', "\n"), ('  }\n}\nconstant', "  }  default: 1\n}\nconstant")],
     [(31, "gene[2].choice: of pool is empty"), (35, "gene[2].default: of pool is a range's; the default of a choice "
                                                    'belongs inside it: choice { ... default: "..." }')]),
    ([('name: "base_lr"', 'name: "kernel1"'), ('name: "pool"', 'name: "2"'), ('name: "pad"', 'name: "kernel1"'),
      ('  value: "2"\n', "\n")],
     [(21, "gene[1].name: 'kernel1' is already the gene of line 11"), (30, "gene[2].name: is '2'; expected letters"),
      (37, "constant[0]: kernel1 has no value"), (38, "constant[0].name: 'kernel1' is already the gene of line 11")]),
]


def said_of(text: str, folder: Path) -> List[str]:
    """The lines of what is wrong with a search file, without the file's name; none where it is good."""
    path = written(folder, text)
    try:
        search_file.load(path)
    except UserError as error:
        lines = str(error).split("\n")
        assert all(line.startswith(f"{path}:") for line in lines)
        return [line[len(path) + 1:] for line in lines]
    return []


@pytest.mark.parametrize("replaced, expected", SEVERAL)
def test_all_mistakes_are_named_each_with_its_line(replaced: List, expected: List, tmp_path: Path) -> None:
    text = GOOD
    for old, new in replaced:
        assert old in text
        text = text.replace(old, new, 1)
    said = said_of(text, tmp_path)
    assert len(said) == len(expected), said
    for line, (number, begins) in zip(said, expected):
        assert line.startswith(f"{number}: {begins}"), line


def test_what_is_no_text_of_a_search_ends_at_its_first_mistake(tmp_path: Path) -> None:
    text = GOOD.replace("max: 9", "max: nine").replace("population: 6", "population: 0").replace("max: 0.1", "max: x")
    assert len(said_of(text, tmp_path)) == 1


# Mistakes on one line each, and what they are about: two that are about nothing in common do not know of each other.
APART: List[Tuple[str, str, Set[str]]] = [
    ("train_test", "trian_test", {"net"}),
    ('net: "templates/cifar10_quick/train_test.prototxt.j2"', "", {"net", "solver"}),  # is told at the first line
    ("solvers/quick.solver", "solvers/quik.solver", {"solver"}),
    ('type: "GA"', 'type: "SGD"', {"population", "generations", "crossover", "mutation"}),
    ("population: 6", "population: 0", {"population"}),
    ("generations: 3", "generations: -3", {"generations"}),
    ("crossover: 0.6", "crossover: nan", {"crossover"}),
    ("mutation: 0.2", "mutation: 1.5", {"mutation"}),
    ("min: 1\n", "min: 10\n", {"kernel1's range"}),
    ("    max: 9\n", "\n", {"kernel1's range"}),
    ("step: 2", "step: 0", {"kernel1's step"}),
    ("default: 5", "default: 4", {"kernel1's range", "kernel1's step", "kernel1's default"}),
    ("default: 5", "default: inf", {"kernel1's default"}),
    ("  default: 5\n", "\n", {"kernel1's default"}),
    ("min: 1e-5", "min: 0", {"base_lr", "base_lr's default"}),
    ("max: 0.1", "max: nan", {"base_lr", "base_lr's default"}),
    ("default: 0.001", "default: 1", {"base_lr", "base_lr's default"}),
    ("  default: 0.001\n", "\n", {"base_lr's default"}),
    ('name: "base_lr"', 'name: "kernel1"', {"base_lr", "base_lr's default"}),
    ('value: "AVE"', 'value: "MAX"', {"pool"}),
    ('default: "AVE"', 'default: "MIN"', {"pool"}),
    ('    default: "AVE"\n  }\n', '    default: "AVE"\n  }  default: 1\n', {"pool"}),
    ('name: "pool"', 'name: "2pool"', {"pool"}),
    ('name: "pad"', 'name: "pool"', {"pad", "pool"}),
    ('name: "pad"', 'name: "max_iter"', {"pad"}),
    ('  value: "2"\n', "\n", {"pad"}),
    ("max_iter: 10", "max_iter: 0", {"max_iter"}),
    ("trial_timeout: 5", "trial_timeout: -5", {"trial_timeout"}),
    ("random_seed: 1", "random_seed: -1", {"random_seed"}),
]


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_two_mistakes_are_told_as_each_of_them_alone(data: st.DataObject) -> None:
    first = data.draw(st.sampled_from(APART))
    second = data.draw(st.sampled_from([other for other in APART if first[2].isdisjoint(other[2])]))
    with tempfile.TemporaryDirectory() as folder:
        alone = [said_of(GOOD.replace(old, new, 1), Path(folder)) for old, new, _ in (first, second)]
        both = GOOD
        for old, new, _ in (first, second):
            both = both.replace(old, new, 1)
        said = said_of(both, Path(folder))
    assert sorted(said) == sorted(alone[0] + alone[1])
    assert [int(line.partition(":")[0]) for line in said] == sorted(int(line.partition(":")[0]) for line in said)


def test_the_file_without_mistakes_is_taken(tmp_path: Path) -> None:
    experiment = search_file.load(written(tmp_path, GOOD))
    assert experiment.space.genes == (IntGene("kernel1", 1, 9, 2, 5), RealGene("base_lr", 1e-5, 0.1, True, 0.001),
                                      ChoiceGene("pool", ("MAX", "AVE"), "AVE"))
    assert experiment.space.default.as_dict() == {"kernel1": 5, "base_lr": 0.001, "pool": "AVE"}
    assert experiment.constants == {"pad": "2"}


def test_a_search_without_genes_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path, GOOD[:GOOD.index("gene {")])
    with pytest.raises(UserError, match=r"my\.search\.prototxt:\d+: has no gene; expected at least one gene \{ name: "):
        search_file.load(path)


@pytest.mark.parametrize("kind", ["gene", "constant"])
@pytest.mark.parametrize("name", PROVIDED)
def test_names_that_menndl_provides_are_taken(kind: str, name: str, tmp_path: Path) -> None:
    path = written(tmp_path, GOOD.replace({"gene": '"pool"', "constant": '"pad"'}[kind], f'"{name}"'))
    with pytest.raises(UserError, match=rf":\d+: {kind}\[\d\].name: '{name}' is already a name that menndl provides"):
        search_file.load(path)


@pytest.mark.parametrize("name, hint", [
    ("solvers/papr.search.prototxt", "did you mean solvers/paper.search.prototxt"),
    ("paper", "valid.*: .*solvers/paper.search.prototxt"),
    ("solvers", "valid.*: .*solvers/paper.search.prototxt"),
    ("", "valid.*: .*solvers/paper.search.prototxt"),
    ("/nowhere/papers.search.prototxt", "did you mean solvers/paper.search.prototxt"),
    ("mine/my.serch.prototxt", "did you mean mine/my.search.prototxt"),
])
def test_a_missing_search_file_is_named_with_the_nearest(name: str, hint: str, tmp_path: Path,
                                                         monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine").mkdir()
    written(tmp_path / "mine", GOOD)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=f"^search file {name}: no such file here or among menndl's own; .*{hint}"):
        search_file.load(name)


def test_files_are_looked_up_here_and_then_among_menndl_s_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    packaged = search_file.load("solvers/paper.search.prototxt")
    assert packaged.template("net").samefile(REPOSITORY / "templates/cifar10_quick/train_test.prototxt.j2")
    assert packaged.template("solver").samefile(REPOSITORY / "solvers/quick.solver.prototxt.j2")
    own = tmp_path / "templates" / "cifar10_quick"
    own.mkdir(parents=True)
    (own / "train_test.prototxt.j2").write_text("")
    (tmp_path / "solvers").mkdir()
    (tmp_path / "solvers" / "paper.search.prototxt").write_text(GOOD)
    mine = search_file.load("solvers/paper.search.prototxt")
    assert mine.space.names == ("kernel1", "base_lr", "pool")
    assert mine.template("net").samefile(own / "train_test.prototxt.j2")
    assert mine.template("solver").samefile(REPOSITORY / "solvers/quick.solver.prototxt.j2")


def test_the_command_line_comes_before_the_file(tmp_path: Path) -> None:
    path = written(tmp_path, GOOD)
    message = search_file.load(path, seed=0, data="/elsewhere", max_iter=7).message
    assert (message.random_seed, message.data, message.max_iter) == (0, "/elsewhere", 7)
    message = search_file.load(path).message
    assert (message.random_seed, message.data, message.max_iter) == (1, "data/cifar10", 10)


def test_what_is_left_out_has_the_paper_s_value() -> None:
    message = menndl_pb2.SearchParameter()
    assert (message.type, message.max_iter, message.trial_timeout, message.reuse_results) == ("GA", 4000, 0, True)
    assert message.fitness_set == menndl_pb2.SearchParameter.TEST
    settings = message.ga_param
    assert (settings.population, settings.generations, settings.crossover, settings.mutation) == (500, 35, 0.6, 0.05)


def test_trials_of_one_genome_are_the_same_training_unless_results_are_not_reused(tmp_path: Path) -> None:
    for more, different in (("", 1), ("reuse_results: false", 3)):
        experiment = search_file.load(written(tmp_path, GOOD + more))
        trials = [experiment.trial(id, experiment.space.default, generation=0) for id in (1, 2, 3)]
        assert len({trial.seed for trial in trials}) == different
        assert {trial.max_iter for trial in trials} == {10}


def genes(name: str) -> Tuple:
    return search_file.load(str(REPOSITORY / "solvers" / name)).space.genes


def test_the_paper_s_search_is_the_paper_s() -> None:
    """Table 1, section 4 and the default network in figure 1."""
    experiment = search_file.load(str(REPOSITORY / "solvers" / "paper.search.prototxt"))
    message, ga = experiment.message, experiment.message.ga_param
    assert (message.type, ga.population, ga.generations, ga.crossover, ga.mutation) == ("GA", 500, 35, 0.6, 0.05)
    assert (message.max_iter, message.reuse_results) == (4000, True)
    assert message.fitness_set == menndl_pb2.SearchParameter.TEST
    assert experiment.space.names == ("kernel1", "output1", "kernel2", "output2", "kernel3", "output3")
    in_order: Any = experiment.space.genes
    ranges = [(gene.minimum, gene.maximum) for gene in in_order]
    assert ranges == [(1, 8), (16, 126)] * 3
    assert experiment.space.default.values == (5, 32, 5, 32, 5, 64)
    assert prod(gene.size for gene in in_order) == 8**3 * 56**3


def test_the_hour_has_the_paper_s_genes() -> None:
    assert genes("hour.search.prototxt") == genes("paper.search.prototxt")


@pytest.mark.parametrize("name", ["quick", "guided", "random", "cma_es"])
def test_the_small_searches_have_two_rates_beside_the_paper_s_genes(name: str) -> None:
    found = search_file.load(str(REPOSITORY / f"solvers/{name}.search.prototxt"))
    paper = search_file.load(str(REPOSITORY / "solvers/paper.search.prototxt")).space
    assert found.space.names == (*paper.names, "base_lr", "momentum")
    assert found.space.default.values == (*paper.default.values, 0.001, 0.9), "Table 2 of the paper"
    assert genes(f"{name}.search.prototxt") == genes("quick.search.prototxt")
    assert (found.message.confirm.best, found.message.confirm.seeds) == (1, 5)


@settings(max_examples=60, deadline=None)
@given(st.integers(-10**9, 10**9), st.integers(0, 10**6), st.integers(1, 1000), st.integers(0, 10**6))
def test_a_default_is_taken_exactly_where_the_steps_reach_it(low: int, width: int, step: int, offset: int) -> None:
    gene = f'gene {{ name: "g" int_range {{ min: {low} max: {low + width} step: {step} }} default: {low + offset} }}'
    text = f'net: "n" solver: "s" {gene}'
    if low + offset in range(low, low + width + 1, step):
        assert search_file.of_text(text, "s").space.genes == (IntGene("g", low, low + width, step, low + offset),)
    else:
        with pytest.raises(UserError, match=f"of g is {low + offset}; expected a whole number from {low} to "):
            search_file.of_text(text, "s")


@pytest.mark.parametrize("type_, field, name", [
    ("GA", "ga_param", "population"), ("GA", "ga_param", "generations"), ("ASYNC_GA", "async_ga_param", "population"),
    ("GUIDED_GA", "guided_ga_param", "design"), ("GUIDED_GA", "guided_ga_param", "children"),
    ("BO", "bo_param", "uniform"), ("BO", "bo_param", "rounds"), ("CMA_ES", "cma_es_param", "population"),
    ("GRID", "grid_param", "levels"), ("HYPERGRADIENT", "hypergradient_param", "starts"),
    ("HYPERNET", "hypernet_param", "pairs"), ("HYPERNET", "hypernet_param", "steps"),
    ("ADAPTIVE", "adaptive_param", "every"),
])
def test_no_type_counts_further_than_memory_goes(type_: str, field: str, name: str) -> None:
    limit = "" if type_ == "GA" else "limit { trials: 9 }"

    def text(count: int) -> str:
        return f'''net: "n" solver: "s" type: "{type_}" {limit}
            {field} {{ {name}: {count} }}
            gene {{ name: "g" real_range {{ min: 0 max: 1 }} default: 0 }}'''
    for count in (100_001, 2**31 - 1):
        with pytest.raises(UserError) as error:
            search_file.of_text(text(count), "s")
        assert str(error.value) == f"s:2: {field}.{name}: is {count}; expected 100000 or less"
    assert getattr(getattr(search_file.of_text(text(100_000), "s").message, field), name) == 100_000


def test_a_range_of_reals_is_no_wider_than_a_number() -> None:
    text = 'net: "n" solver: "s"\ngene { name: "g" real_range { min: %s max: %s } default: 0 }'
    with pytest.raises(UserError, match=r"s:2: gene\[0\].real_range: of g is wider than the largest number"):
        search_file.of_text(text % ("-1e308", "1e308"), "s")
    gene = search_file.of_text(text % ("-8e307", "8e307"), "s").space.genes[0]
    assert (gene.from_unit(0.0), gene.from_unit(0.5)) == (-8e307, 0)


OF_GA = GOOD[GOOD.index('type: "GA"'):GOOD.index("gene {")]


@pytest.mark.parametrize("head, expected", [
    ('type: "RANDOM"', "4: type: is RANDOM, which goes on until a limit: expected limit { trials: 100 }, or another "),
    ('type: "RANDOM" limit { }', "4: type: is RANDOM, which goes on until a limit: expected limit { trials: 100 }"),
    ('type: "RANDOM"\nlimit { trials: 0 }', "5: limit.trials: is 0; expected 1 or more"),
    ('limit { trials: 9 }', "4: limit: is for searches without generations, and GA has them; ga_param says how many"),
])
def test_a_limit_is_for_searches_without_generations(tmp_path: Path, head: str, expected: str) -> None:
    with pytest.raises(UserError) as error:
        search_file.load(written(tmp_path, GOOD.replace(OF_GA, head + "\n")))
    assert str(error.value).startswith(f"{tmp_path / 'my.search.prototxt'}:{expected}")


def test_a_random_search_says_how_many_individuals_it_has(tmp_path: Path) -> None:
    head = 'type: "RANDOM" limit { trials: 100 }\n'
    message = search_file.load(written(tmp_path, GOOD.replace(OF_GA, head))).message
    assert (message.type, message.limit.trials) == ("RANDOM", 100)
