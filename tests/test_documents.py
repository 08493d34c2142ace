"""The documents: the tutorial's commands run, pages and picture made from the code fit it, what they name exists."""
from __future__ import annotations

import itertools
import json
import re
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any, Dict, List, Set, Tuple

import pytest

from menndl_caffe import journal
from menndl_caffe.experiment import search_file
from menndl_caffe.nets.proto import menndl_pb2
from menndl_caffe.search import KINDS
from tests.conftest import REPOSITORY
from tests.documents import architecture, commands, tutorial
from tests.documents import search_file as reference
from tests.support import caffe_runs, runs
from tests.support import clone as clones

DOCS = REPOSITORY / "docs"
PAGES = sorted([*DOCS.glob("*.md"), REPOSITORY / "README.md", *REPOSITORY.glob("*/README.md")])
BLOCKS = tutorial.blocks(DOCS / "tutorial.md")


# The tutorial.

@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory, caffe_root: Path) -> Path:
    """What `make run` leaves in a clone, as far as the tutorial uses it."""
    return clones.make(tmp_path_factory.mktemp("tutorial") / "clone", caffe_root)


@pytest.fixture(scope="module")
def printed(clone: Path, caffe_root: Path) -> Dict[int, str]:
    """What each block of commands prints, `make run` aside, which CI runs."""
    done = subprocess.run(["bash", "-c", re.sub("^make run$", "", tutorial.script(BLOCKS), flags=re.MULTILINE)],
                          cwd=clone, env=caffe_runs.environment(caffe_root), stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=3600)
    assert done.returncode == 0, done.stdout[-3000:]
    return tutorial.printed(done.stdout)


@pytest.fixture(scope="module")
def shapes(printed: Dict[int, str], clone: Path) -> Path:
    """The folder that the tutorial's reader has in the end."""
    return clone.parent / "shapes"


def test_ci_runs_what_the_tutorial_leaves_to_make() -> None:
    made = [line for block in BLOCKS if block.language == "sh" for line in block.text.splitlines() if "make " in line]
    assert made == ["make run"]
    assert "make run" in (REPOSITORY / ".ci" / "run").read_text().splitlines()


def test_the_tutorial_prints_what_it_says(printed: Dict[int, str]) -> None:
    shown = [number for number, block in enumerate(BLOCKS) if block.language == "text"]
    assert len(shown) >= 2
    for number in shown:
        for line in filter(str.strip, BLOCKS[number].text.splitlines()):
            assert re.search(tutorial.pattern(line), printed[number - 1]), f"{line}\n\n{printed[number - 1]}"


def test_the_tutorials_search_finds_something(shapes: Path) -> None:
    record = journal.read(shapes / "run")
    individuals = list(record.individuals())
    assert len(individuals) == 24 and {result.status for _, result in individuals} == {"ok"}
    default = record.default()
    assert default is not None and record.best()[0][1].fitness > default.fitness
    assert {result.rank for _, result in individuals} <= {0, 1}


def test_the_tutorials_files_are_where_it_says(shapes: Path) -> None:
    for file in ("run/journal.jsonl", "run/report/report.html", "best/weights.caffemodel", "run/export/trials.csv"):
        assert (shapes / file).stat().st_size > 0, file


def test_caffe_measures_the_saved_weights_as_the_journal_does(printed: Dict[int, str], shapes: Path) -> None:
    number = next(i for i, block in enumerate(BLOCKS) if "caffe test" in block.text)
    said = re.findall(r"\] accuracy = ([\d.]+)$", printed[number], flags=re.MULTILINE)
    assert float(said[-1]) == pytest.approx(journal.read(shapes / "run").best()[0][1].fitness, abs=1e-5)


# The journal's page.

RUNGS = REPOSITORY / "tests" / "journals" / "rungs.jsonl"
ONE_GENE = """\
net: "broken.prototxt.j2"
solver: "solver.prototxt.j2"
data: "data"
ga_param { population: 8 generations: 1 }
gene { name: "kernel" int_range { min: 26 max: 30 } default: 28 }
constant { name: "depth" value: "1" }
constant { name: "filters" value: "2" }
constant { name: "pool" value: "MAX" }
constant { name: "base_lr" value: "0.001" }
max_iter: 1
"""


def menndl(folder: Path, environment: Dict[str, str], *arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "menndl_caffe.cli", *map(str, arguments)], cwd=folder, env=environment,
                          stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=600)


@pytest.fixture(scope="module")
def written(shapes: Path, caffe_root: Path) -> List[Dict[str, Any]]:
    """The lines of five journals: one with nets that cannot exist, and gone on with; the tutorial's; with the fake
    trainer those of a search by gradients, and of one that learns decays and is confirmed; and a stored one with rungs.
    """
    net = (shapes / "net.prototxt.j2").read_text().replace("range(1, depth + 1)", "[1]").replace("pad:", "#")
    (shapes / "broken.prototxt.j2").write_text(net.replace("kernel_size: 2 stride: 2", "kernel_size: 1"))
    (shapes / "one_gene.search.prototxt").write_text(ONE_GENE)
    lines = []
    for _ in range(2):
        done = menndl(shapes, caffe_runs.environment(caffe_root), "run", "one_gene.search.prototxt", "--out", "r")
        assert done.returncode == 0, done.stderr
    few = runs.small_data(shapes / "few", validation=50)
    for search, run in ((runs.write_gradients(shapes / "gradients.search.prototxt", few, "HOAG", trials=2), "g"),
                        (runs.write_adaptive(shapes / "adaptive.search.prototxt", few, trials=2), "a")):
        done = menndl(REPOSITORY, runs.environment(), "run", search, "--out", shapes / run)
        assert done.returncode == 0, done.stderr
    done = menndl(REPOSITORY, runs.environment(), "confirm", shapes / "a", "-k", 1, "--seeds", 2)
    assert done.returncode == 0, done.stderr
    for run in ("r", "run", "g", "a"):
        lines += [json.loads(line) for line in (shapes / run / "journal.jsonl").read_text().splitlines()]
    return lines + [json.loads(line) for line in RUNGS.read_text().splitlines()[1:]]


def section(page: str, heading: str) -> str:
    """What stands below a heading of a page in docs/."""
    return re.split(r"^## ", (DOCS / page).read_text().split(f"\n## {heading}\n")[1], flags=re.MULTILINE)[0]


def described(text: str) -> List[str]:
    """The names in the first column of a section's table."""
    cells = re.findall(r"^\| (`.*?) \|", text, flags=re.MULTILINE)
    return [name for cell in cells for name in re.findall(r"`(\w+)`", cell)]


@pytest.mark.parametrize("events, heading", [({"run", "resume"}, "run and resume"), ({"trial"}, "trial"),
                                             ({"result"}, "result")])
def test_the_journals_page_has_every_field_and_no_other(written: List[Dict[str, Any]], events: Set[str],
                                                        heading: str) -> None:
    lines = [line for line in written if line["event"] in events]
    assert {line["event"] for line in lines} == events
    names = described(section("journal.md", heading))
    assert len(names) == len(set(names))
    assert set(names) == set().union(*lines) - {"event"}


def test_the_journals_page_says_when_a_field_is_there(written: List[Dict[str, Any]]) -> None:
    results = [line for line in written if line["event"] == "result"]
    assert {line["status"] for line in results} == {"ok", "stopped", "invalid", "crashed"}
    always = set.intersection(*map(set, results))
    assert set().union(*results) - always == {"loss", "reason", "same_as", "measures", "gradient", "gradient_by",
                                              "learned"}
    assert all(("loss" in line, "measures" in line, "reason" in line)
               == ((True, True, False) if line["status"] in ("ok", "stopped") else (False, False, True))
               for line in results)
    by_id = {(line["id"], line["started"]): line for line in results}
    copies = [line for line in results if "same_as" in line]
    assert copies
    for copy in copies:
        original = by_id[copy["same_as"], copy["started"]]
        assert (copy["rank"], copy["host"]) == (original["rank"], original["host"])
        assert copy["seconds"] == copy["engine_seconds"] == 0


def test_the_journals_examples_have_the_fields_of_a_real_run(written: List[Dict[str, Any]]) -> None:
    blocks = re.findall(r"```json\n(.*?)```", (DOCS / "journal.md").read_text(), flags=re.DOTALL)
    examples = [json.loads(block) for block in blocks if '"earlier"' not in block and '"ended"' not in block]
    assert {example["event"] for example in examples} == {"run", "trial", "result"}
    for example in examples:
        real = [line for line in written if line["event"] == example["event"]]
        assert any(list(line) == list(example) for line in real), example["event"]
    run = next(example for example in examples if example["event"] == "run")
    real = next(line for line in written if line["event"] == "run")
    assert set(run["templates"]) == set(real["templates"]) and set(run["versions"]) == set(real["versions"])


# The templates' page.

MISTAKES = [
    ("net.prototxt.j2", "pad: {{ kernel // 2 }}", "", ["depth=3", "kernel=7"]),
    ("net.prototxt.j2", "{{ filters }}", "{{ filter }}", []),
    ("net.prototxt.j2", "kernel // 2", "kernel / 2", []),
    ("net.prototxt.j2", "num_output: {{", "num_outputs: {{", []),
    ("net.prototxt.j2", "num_output: 3 ", "num_output: 2 ", []),
    ("solver.prototxt.j2", "random_seed: {{ random_seed }}", "", []),
]


@pytest.mark.parametrize("file, right, wrong, settings", MISTAKES,
                         ids=["pad", "name", "number", "field", "classes", "seed"])
def test_the_templates_page_says_what_is_said(shapes: Path, tmp_path: Path, file: str, right: str, wrong: str,
                                              settings: List[str]) -> None:
    for block in BLOCKS:
        if block.file:
            (tmp_path / block.file).write_text(block.text)
    assert right in (tmp_path / file).read_text()
    (tmp_path / file).write_text((tmp_path / file).read_text().replace(right, wrong))
    done = menndl(tmp_path, runs.environment(), "render", "shapes.search.prototxt", "--data", shapes / "data",
                  "--out", "one", *(word for setting in settings for word in ("--set", setting)))
    assert done.returncode == 2
    said = done.stderr.strip().split("menndl render: ")[1].replace(f"{shapes}/", "")
    assert f"| `{said}` |" in section("templates.md", "What goes wrong")


def test_the_templates_page_has_every_name() -> None:
    assert set(described(section("templates.md", "What a template sees"))) == set(search_file.RESERVED)


# The search file's page.

def test_the_search_files_page_is_what_the_comments_make() -> None:
    assert (DOCS / "search-file.md").read_text() == reference.page(), "run `make docs`"


def test_the_page_of_commands_is_what_their_parsers_know() -> None:
    assert (DOCS / "commands.md").read_text() == commands.page(), "run `make docs`"


def default(field: Any) -> str:
    """A field's default as a search file has it."""
    value = field.default_value
    if field.enum_type:
        return str(field.enum_type.values_by_number[value].name)
    if isinstance(value, bool):
        return str(value).lower()
    return value if isinstance(value, str) else f"{value:g}"


@pytest.mark.parametrize("message", menndl_pb2.DESCRIPTOR.message_types_by_name)
def test_the_search_files_page_has_every_field_and_its_default(message: str) -> None:
    fields = menndl_pb2.DESCRIPTOR.message_types_by_name[message].fields
    lines = section("search-file.md", message).splitlines()
    rows = [line.strip("|").split(" | ") for line in lines if line.startswith("| `")]
    assert [row[0].strip(" `") for row in rows] == [field.name for field in fields]
    for row, field in zip(rows, fields):
        name, kind, shown, meaning, example = row
        assert shown == (f"`{default(field)}`" if field.has_default_value else "-")
        assert kind and len(meaning) > 8 and field.name in example


def test_the_search_files_page_has_every_type_of_search() -> None:
    rows = section("search-file.md", "SearchParameter").splitlines()
    row = next(row for row in rows if row.startswith("| `type`"))
    assert all(f'"{name}"' in row for name in KINDS)


def test_the_example_with_every_field_is_a_good_one() -> None:
    experiment = search_file.of_text(reference.EXAMPLE.read_text(), str(reference.EXAMPLE))
    assert [gene.default for gene in experiment.space.genes] == [5, 32, 0.001, "MAX"]
    assert reference.EXAMPLE.read_text() in (DOCS / "search-file.md").read_text()


# The architecture's page and picture.

SVG = "{http://www.w3.org/2000/svg}"


def closure(edges: Set[Tuple[str, str]]) -> Set[Tuple[str, str]]:
    """All pairs between which a way leads along the edges (Warshall, 1962)."""
    nodes = {node for edge in edges for node in edge}
    found = set(edges)
    for between, first, last in itertools.product(nodes, nodes, nodes):
        if (first, between) in found and (between, last) in found:
            found.add((first, last))
    return found


@pytest.fixture(scope="module")
def picture() -> ElementTree.Element:
    return ElementTree.parse(DOCS / "architecture.svg").getroot()


def test_the_pictures_arrows_are_the_imports(picture: ElementTree.Element) -> None:
    arrows = {(path.attrib["data-from"], path.attrib["data-to"]) for path in picture.iter(f"{SVG}path")
              if "data-from" in path.attrib}
    real = {(room, other) for room, others in architecture.imports().items() for other in others}
    assert arrows <= real, "run `make docs`"
    assert closure(arrows) == closure(real), "run `make docs`"
    for arrow in arrows:
        assert arrow not in closure(arrows - {arrow}), f"{arrow}: other arrows lead there"


def test_the_picture_shows_every_room_once_and_none_over_another(picture: ElementTree.Element) -> None:
    names = [text.text.rstrip("/") for text in picture.iter(f"{SVG}text") if text.text and text.get("class") == "room"]
    assert sorted(names) == sorted(architecture.imports())
    boxes = [tuple(float(box.attrib[side]) for side in ("x", "y", "width", "height"))
             for box in picture.iter(f"{SVG}rect") if box.get("x")]
    width, height = (float(size) for size in picture.attrib["viewBox"].split()[2:])
    assert width <= 900
    rooms = [text for text in picture.iter(f"{SVG}text") if text.get("class") == "room"]
    legend = [text for text in picture.iter(f"{SVG}text") if text.get("class") == "said"]
    assert max(float(text.attrib["x"]) for text in rooms) + 60 < min(float(text.attrib["x"]) for text in legend)
    for x, y, wide, high in boxes:
        assert 0 <= x and x + wide <= width and 0 <= y and y + high <= height
    for (x, y, wide, high), (x2, y2, wide2, high2) in itertools.combinations(boxes, 2):
        assert x + wide <= x2 or x2 + wide2 <= x or y + high <= y2 or y2 + high2 <= y


def test_the_picture_can_be_made_of_the_code_as_it_is() -> None:
    drawn = ElementTree.fromstring(architecture.picture())
    assert {path.get("data-from") for path in drawn.iter(f"{SVG}path")} - {None} <= set(architecture.imports())


def test_the_architectures_page_has_every_room() -> None:
    table = re.findall(r"^\| (`.*?) \|", (DOCS / "architecture.md").read_text(), flags=re.MULTILINE)
    assert sorted(name for cell in table for name in re.findall(r"`(\w+)/?`", cell)) == sorted(architecture.imports())


# All pages.

def anchors(page: Path) -> Set[str]:
    """The names by which a page's headings are linked to."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(), flags=re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(REPOSITORY)))
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if "://" not in target:
            file, _, anchor = target.partition("#")
            place = page.parent / file if file else page
            assert place.exists(), target
            assert not anchor or anchor in anchors(place), target


def test_the_index_has_every_page() -> None:
    linked = set(re.findall(r"\]\(([^)]+)\)", (DOCS / "README.md").read_text()))
    assert linked == {page.name for page in DOCS.glob("*.md")} - {"README.md"}
