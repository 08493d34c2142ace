"""The page of a run in headless Chromium: what it shows is read back and held against the journal's own lines."""
from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any, Dict, List

import pytest

from menndl_caffe import journal
from menndl_caffe.errors import UserError
from menndl_caffe.experiment import recorded
from menndl_caffe.genome import Genome
from menndl_caffe.journal import Journal
from menndl_caffe.report.page import page
from menndl_caffe.report.page.document import moment
from menndl_caffe.report.page.facts import render_command
from tests.support import big_journal, mixed_run, odd_runs
from tests.support.browser import WIDTHS, Tab
from tests.support.page_tools import Lines, drawn, painted, tick_positions, written

GENES = ("kernel1", "output1", "kernel2", "output2", "kernel3", "output3")


def tiles(tab: Tab) -> Dict[str, List[str]]:
    texts = tab.page.locator(".tiles > div").all_inner_texts()
    return {text.split("\n")[0]: [part.strip() for part in text.split("\n")[1:] if part.strip()] for text in texts}


# The whole, at two widths

@pytest.mark.parametrize("width", WIDTHS)
def test_nothing_is_wrong_at_first_sight(chromium: Any, html: Path, width: int) -> None:
    opened = Tab(chromium, html, width)
    assert opened.faults() == []
    # Individuals, history, by generation, two learning curves, ranks twice; genes by generation and against the
    # accuracy, two together; accuracy against parameters, multiply-adds and time.
    assert opened.page.locator("figure").count() == 7 + 6 + 6 + 1 + 3
    opened.close()


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("kind", odd_runs.KINDS)
def test_odd_runs(chromium: Any, tmp_path: Path, kind: str, width: int) -> None:
    opened = Tab(chromium, written(odd_runs.KINDS[kind](tmp_path / kind)), width)
    assert opened.faults() == []
    opened.close()


def test_faults_are_found(chromium: Any, tmp_path: Path) -> None:
    """The checker itself: a page with one fault of every kind."""
    file = tmp_path / "bad.html"
    text = '<text x="{}" y="20">{}</text>'
    file.write_text(f"""<!DOCTYPE html><html data-drawn="true"><meta charset="utf-8"><body style="width: 3000px">
        <figure id="a" style="width: 300px; margin: 0"><svg width="300" height="40">{text.format(10, "left")}
        {text.format(20, "over")}{text.format(290, "beyond")}</svg><canvas></canvas></figure>\u0378
        <script>console.error("wrong"); missing()</script></body></html>""")
    opened = Tab(chromium, file)
    faults = opened.faults()
    assert sorted(fault.split(":")[0] for fault in faults) == [
        "empty plot", "missing is not defined", "no glyph", "overlap", "overlap", "wider than the window", "wrong"]
    assert "overlap: a: left / over" in faults and "overlap: a: beyond stands out" in faults
    opened.close()


def test_it_loads_and_runs_nothing_but_itself(tab: Tab, html: Path) -> None:
    text = html.read_text()
    assert len(text) < 400_000
    assert [part.split('"')[0] for part in text.split("://")[1:]] == ["www.w3.org/2000/svg"]  # a name, never fetched
    policy = tab.page.locator("meta[http-equiv]").get_attribute("content")
    assert "default-src 'none'" in policy and "unsafe" not in policy and "*" not in policy
    tab.page.evaluate("""() => {
        const script = document.createElement("script");
        script.text = "hacked = 1";
        document.body.append(script);
        document.body.insertAdjacentHTML("beforeend", "<p id=styled style='color: red' onclick='hacked = 1'>x</p>");
    }""")
    tab.page.locator("#styled").click()
    assert tab.page.evaluate("typeof hacked") == "undefined"
    assert len(tab.errors) == 3 and all("Content Security Policy" in error for error in tab.errors)
    tab.errors.clear()


# Numbers, read back

def test_the_head(tab: Tab, lines: Lines) -> None:
    best = max(lines.trained, key=lambda result: (result["fitness"], -result["id"]))
    shown, failed = tiles(tab), Counter(result["status"] for result in lines.failed)
    assert tab.text("h1") == "a run" and tab.page.title().startswith("a run")
    assert tab.text("#state") == "Complete: all 240 individuals are evaluated."
    assert shown["best"] == [f"{best['fitness']:.4f}", f"individual {best['id']}, generation {best['generation'] + 1}"]
    assert shown["default"][0] == f"{lines.default['fitness']:.4f}"
    difference, images = best["fitness"] - lines.default["fitness"], 10000
    error = sum(x * (1 - x) / images for x in (best["fitness"], lines.default["fitness"])) ** 0.5
    assert shown["default"][1] == f"best is {difference:+.4f} ± {error:.4f}"
    assert shown["individuals"] == ["240", f"{sum('same_as' in r for r in lines.individuals)} of them met before"]
    assert shown["failed"][0] == str(len(lines.failed))
    assert shown["failed"][1] == ", ".join(f"{count} {kind}" for kind, count in sorted(failed.items()))


def test_the_best(tab: Tab, lines: Lines) -> None:
    ranked = sorted(lines.trained, key=lambda result: (-result["fitness"], result["id"]))
    different = list({tuple(result["genes"].values()): result for result in reversed(ranked)}.values())[::-1]
    different.sort(key=lambda result: (-result["fitness"], result["id"]))
    expected = [[str(place), str(result["id"]), str(result["generation"] + 1),
                 *(str(result["genes"][name]) for name in GENES), f"{result['fitness']:.4f}", f"{result['loss']:.4f}",
                 f"{parameters(result['genes']):,}", f"{million_multiply_adds(result):.3g} M",
                 f"{result['seconds']:.1f}"] for place, result in enumerate(different[:5], 1)]
    rows = tab.table("#best table.individuals")
    assert rows[:5] == expected
    assert rows[5][:3] == ["default", "0", "–"] and rows[5][9] == f"{lines.default['fitness']:.4f}"
    assert rows[5][11:13] == ["145,578", "12.4 M"]  # Caffe's cifar10_quick
    table_3 = {row[0]: row[1:] for row in tab.table("#best table.paper")}
    for name, values in (("parameters", [parameters(result["genes"]) for result in different[:5]]),
                         ("multiply-adds (millions)", [million_multiply_adds(result) for result in different[:5]]),
                         ("training time (s)", [result["seconds"] for result in different[:5]])):
        form = "{:,}" if name == "parameters" else "{:.3g}"
        assert table_3[name][1] == f"{form.format(min(values))}-{form.format(max(values))}"
    kernels = [result["genes"]["kernel1"] for result in different[:5]]
    assert table_3["kernel1"] == ["5", f"{min(kernels)}-{max(kernels)}"]
    assert table_3["accuracy"][0] == f"{lines.default['fitness']:.4f}"


def parameters(genes: Dict[str, int]) -> int:
    """Of cifar10_quick with padding 2: weights and biases of three convolutions and two inner products."""
    size, channels, total = 32, 3, 0
    for i in "123":
        kernel, outputs = genes[f"kernel{i}"], genes[f"output{i}"]
        total += kernel * kernel * channels * outputs + outputs
        size, channels = -(-(size + 4 - kernel + 1 - 3) // 2) + 1, outputs
    return total + size * size * channels * 64 + 64 + 64 * 10 + 10


def million_multiply_adds(result: Dict[str, Any]) -> float:
    return big_journal.multiply_adds(Genome(GENES, tuple(result["genes"][name] for name in GENES))) / 1e6


def test_the_history(tab: Tab, lines: Lines) -> None:
    accuracy = [result["fitness"] if result["status"] == "ok" else None for result in lines.individuals]
    assert drawn(tab, "history.points()") == [[place, value] for place, value in enumerate(accuracy, 1)]
    best, rises = 0.0, []
    for place, value in enumerate(accuracy, 1):
        if value is not None and value > best:
            best = value
            rises.append([place, value])
    assert drawn(tab, "history.best()") == rises
    tab.page.get_by_label("generation", exact=True).check()
    assert drawn(tab, "history.points()") == [
        [result["generation"] + 1, value] for result, value in zip(lines.individuals, accuracy)]
    assert tab.faults() == []
    tab.page.get_by_label("time", exact=True).check()
    first, hours = min(result["started"] for result in lines.results), 3600
    for result, (time, _) in zip(lines.individuals, drawn(tab, "history.points()")):
        if "same_as" not in result:
            assert time * hours == pytest.approx(result["started"] + result["seconds"] - first, abs=0.01)
    assert tab.faults() == []


@pytest.mark.parametrize("axis, name", [(1, "kernel1"), (4, "output2"), (7, "accuracy")])
def test_lines_cross_the_axes_where_their_values_are(tab: Tab, lines: Lines, axis: int, name: str) -> None:
    ticks = tick_positions(tab, name)
    failed = ticks.pop("failed", None)
    (low, bottom), *_, (high, top) = ((float(text), place) for text, place in ticks.items())
    by_id = {result["id"]: result for result in lines.individuals}
    crossings = drawn(tab, "parallel.lines()")
    assert len(crossings) == 240
    for id, points in crossings:
        result = by_id[id]
        value = result["genes"][name] if name in GENES else result["fitness"]
        if name == "accuracy" and result["status"] != "ok":
            assert abs(points[axis][1] - failed) < 3
        else:
            expected = bottom + (value - low) / (high - low) * (top - bottom)
            assert abs(points[axis][1] - expected) < (6 if name in GENES else 3), (id, value)


@pytest.mark.parametrize("figure", ["parallel", "history-plot", "curves-value", "curves-loss"])
def test_best_and_default_stand_out(tab: Tab, figure: str) -> None:
    """Lines of their own colours, those of the legends, long enough to be seen."""
    colours = tab.page.locator(f"#{figure.split('-')[0]}-legend line").evaluate_all(
        "(lines) => lines.map((line) => [line.closest('span').innerText, line.getAttribute('stroke')])")
    for name in ("best", "default"):
        colour = next(colour for text, colour in colours if text.startswith(name))
        red, green, blue = (int(colour[i:i + 2], 16) for i in (1, 3, 5))
        assert len(painted(tab, figure, (red, green, blue))) > 200, (name, colour)


def test_the_default_has_no_generation(tab: Tab) -> None:
    first, second = (tab.page.locator("#parallel .rail").nth(i).bounding_box() for i in (0, 1))
    left = tab.page.locator("#parallel").bounding_box()["x"]
    between = range(round(first["x"] - left + 30), round(second["x"] - left - 5))
    assert not [x for x, _ in painted(tab, "parallel", (0x1b, 0x1f, 0x24)) if x in between]


def test_the_bests_curve_ends_at_its_accuracy(tab: Tab, lines: Lines) -> None:
    ticks = tab.page.evaluate("""() => [...document.querySelectorAll("#curves-value text[text-anchor=end]")]
        .filter((text) => text.textContent.startsWith("0."))
        .map((text) => [Number(text.textContent), Number(text.getAttribute("y")) - 4])""")
    (low, bottom), *_, (high, top) = ticks
    best = max(result["fitness"] for result in lines.trained)
    expected = bottom + (best - low) / (high - low) * (top - bottom)
    assert min(y for _, y in painted(tab, "curves-value", (0xc2, 0x41, 0x0c))) == pytest.approx(expected, abs=3)


def test_curves(tab: Tab, lines: Lines) -> None:
    trained = [result["id"] for result in lines.individuals if result["curve"] and "same_as" not in result]
    sample = drawn(tab, "curves.sample()")
    assert len(sample) == min(150, len(trained)) and set(sample) <= set(trained)
    assert f"{len(sample)} of all" in tab.text("#curves-legend")
    kept = tab.page.evaluate("[menndl.run.curves, menndl.run.curve, menndl.run.id]")
    by_id = {result["id"]: result for result in lines.results}
    for id, place in zip(kept[2], kept[1]):
        curve = by_id[id]["curve"]
        if curve:
            columns = kept[0]["iterations"][kept[0]["grid"][place]], kept[0]["value"][place], kept[0]["loss"][place]
            assert [list(point) for point in zip(*columns)] == curve
        else:
            assert place is None


def test_a_few_huge_losses_leave_the_others_to_be_seen(chromium: Any, tmp_path: Path) -> None:
    run = odd_runs.validated(tmp_path / "run")
    first, rest = (run / journal.NAME).read_text().split("\n", 1)
    (run / journal.NAME).write_text(f"{first}\n{rest.replace(', 1.9]', ', 87.3]', 2)}")
    opened = Tab(chromium, written(run))
    assert "87.3" in str(opened.page.evaluate("menndl.run.curves.loss"))
    ticks = opened.page.locator("#curves-loss text[text-anchor=end]").all_text_contents()[:-1]
    assert max(map(float, ticks)) < 3 and len(ticks) > 3  # the others' losses are 1.3 to 1.9
    opened.close()


def test_ticks_are_values_of_the_gene(chromium: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mixed_run, "SEARCH", mixed_run.SEARCH.replace("max: 50 step: 4", "max: 23 step: 4"))
    opened = Tab(chromium, written(mixed_run.write(tmp_path, mixed_run.TRIALS[3:])))
    assert list(tick_positions(opened, "filters")) == ["2", "6", "10", "14", "18", "22"]
    opened.close()


def test_ranks(tab: Tab, lines: Lines) -> None:
    trained = [result for result in lines.results if "same_as" not in result]
    first = min(result["started"] for result in trained)
    expected = [[r["rank"], r["started"] - first, r["started"] - first + r["seconds"]] for r in trained]
    for found, wanted in zip(drawn(tab, "ranks.boxes()"), expected):
        assert found == pytest.approx(wanted, abs=0.002)
    end = max(stop for _, _, stop in expected)
    busy = Counter({rank: 0.0 for rank in range(5)})
    for rank, start, stop in expected:
        busy[rank] += (stop - start) / end
    mean, least, most = sum(busy.values()) / 5, min(busy.values()), max(busy.values())
    assert (f"busy {100 * mean:.1f}% of the time on average, the least {100 * least:.1f}%, the most {100 * most:.1f}%"
            in tab.text("#ranks"))


def test_failures_by_kind_and_reason(tab: Tab, lines: Lines) -> None:
    rows = tab.table("#failures table")
    counts = Counter(result["status"] for result in lines.failed)  # one reason a kind in this journal
    assert {row[1]: int(row[0]) for row in rows} == counts
    for _, kind, reason, id in rows:
        result = min((r for r in lines.failed if r["status"] == kind), key=lambda r: r["id"])
        assert (reason, id) == (result["reason"], str(result["id"]))


def test_reasons_that_differ_in_numbers_are_one(chromium: Any, tmp_path: Path) -> None:
    opened = Tab(chromium, written(odd_runs.failed(tmp_path / "failed")))
    assert opened.table("#failures table") == [["4", "diverged", "loss is nan at iteration 10", "1"]]
    assert "All 4 individuals failed" in opened.text("#best")
    opened.close()


def test_what_was_run(tab: Tab, run: Path) -> None:
    first = json.loads((run / journal.NAME).read_text().splitlines()[0])
    shown = {row[0]: row[1] for row in tab.table("#facts table")}
    assert shown["command"] == first["command"] and shown["data"] == first["data"]
    assert first["templates"]["net"] in shown["net template"] and "paper" not in shown["net template"]
    assert shown["versions"] == "menndl 0.1.0, caffe 1.0.0, blas openblas, python 3.9.2, numpy 1.19.5"
    assert shown["started"].startswith("2026-09-2") and "resumed" not in shown  # the 21st, or later in the far east
    assert shown["hosts that trained"] == "nid00101 (5 ranks)"
    assert tab.page.locator("#facts pre").text_content().strip() == first["search"].strip()


def test_who_went_on_with_it(chromium: Any, tmp_path: Path) -> None:
    run = odd_runs.one(tmp_path / "resumed")
    first = {name: value for name, value in journal.read(run).run.items() if name != "event"}
    with Journal(run, fsync=False) as writer:
        writer.begin({**first, "started": 86400.0})
        writer.begin({**first, "started": 2 * 86400.0, "host": "n8", "ranks": 4, "versions": {"version": "1.1"}})
    opened = Tab(chromium, written(run))
    text = {row[0]: row[1] for row in opened.table("#facts table")}["resumed"]
    unchanged, changed = text.split("; ")
    assert unchanged.startswith("1970-01-0") and "," not in unchanged
    assert changed.startswith("1970-01-0") and changed.endswith(", ranks 4, host n8, versions caffe 1.1")
    opened.close()


@pytest.mark.parametrize("line, rendering", [
    ({"search_file": "x.prototxt", "data_folder": "data/cifar10"},
     "menndl render x.prototxt --seed 9 --data data/cifar10 --iterations 500"),
    ({"search_file": "a b", "data_folder": "d d"}, "menndl render 'a b' --seed 9 --data 'd d' --iterations 500"),
    ({"command": "menndl run x.prototxt"}, "menndl render SEARCH --seed 9 --iterations 500")])
def test_the_command_renders_as_the_run_did(tmp_path: Path, line: Dict[str, Any], rendering: str) -> None:
    assert render_command(recorded.read(mixed_run.write(tmp_path, **line))) == rendering


# What is not yet, and what should not be

def test_a_run_that_goes_on(chromium: Any, tmp_path: Path) -> None:
    run = odd_runs.default_only(tmp_path / "young")
    file = run.with_suffix(".html")
    file.write_text(page([recorded.read(run)], now=1022.0))
    opened = Tab(chromium, file)
    state = opened.text("#state")
    assert "0 of 4 individuals (0%)" in state and moment(1022.0) in state and "12.0 s after its last result" in state
    opened.close()


@pytest.mark.parametrize("kind", ["empty", "waiting"])
def test_without_a_result_it_says_so(chromium: Any, tmp_path: Path, kind: str) -> None:
    opened = Tab(chromium, written(odd_runs.KINDS[kind](tmp_path / kind)))
    assert "No trial has a result yet" in opened.text("#no-results")
    assert f"{2 if kind == 'waiting' else 0} are" in opened.text("#no-results")
    assert opened.page.locator("figure").count() == 0 and opened.text("#facts")
    opened.close()


def test_a_search_without_generations_on_held_out_images(chromium: Any, tmp_path: Path) -> None:
    opened = Tab(chromium, written(odd_runs.validated(tmp_path / "validated")))
    shown = tiles(opened)
    assert shown["best"] == ["0.7000", "individual 30"]
    assert shown["best on the test set"] == ["0.6500", "unbiased by the search"]
    assert opened.page.locator("#parallel text.title").first.text_content().startswith("group of 2")  # 30 in 20 groups
    assert "accuracy on the validation set" in opened.text("#history-plot")
    rows = opened.table("#best table.individuals")
    assert [row[0] for row in rows] == ["1", "2", "3", "4", "5", "default", "best on the test set"]
    assert rows[6][-5] == "0.6500"
    opened.close()


def test_text_stays_text(chromium: Any, tmp_path: Path) -> None:
    opened = Tab(chromium, written(odd_runs.hostile(tmp_path / "<img src=x onerror=hacked=1>")))
    seen = "</script><script>hacked=1</script>\"'&<b onclick=hacked=1>\\u2028\\u2029\\u0000\\ud800\\u202e"
    assert opened.text("h1") == "<img src=x onerror=hacked=1>"
    assert seen in opened.text("#facts") and f"late {seen}" in opened.text("#failures")
    opened.page.locator("#failures .link").first.click()
    assert f"timeout: late {seen}" in opened.text("#panel")
    assert {row[0]: row[1] for row in opened.table("#panel .facts")}["host"] == seen
    assert "<img src=x onerror=hacked=1>, train_test.prototxt" in opened.text("#panel")
    assert seen.replace("\\u0000\\ud800", "") in opened.text("#panel pre")
    assert opened.page.evaluate("typeof hacked") == "undefined"
    assert opened.page.locator("script").count() == 2 and opened.page.locator("img, b").count() == 0
    assert opened.errors == []
    opened.close()


def test_no_file_but_those_of_a_trial_is_read(tmp_path: Path) -> None:
    """An id of a journal from elsewhere is a number or nothing; trials/ may be a file."""
    from menndl_caffe.report.page.files import kept_files

    run = odd_runs.one(tmp_path / "run")
    (run / "trials").write_text("")
    assert kept_files(recorded.read(run), []) == {}
    text = (run / journal.NAME).read_text()
    (run / journal.NAME).write_text(text.replace('"id": 1', '"id": "../../secret"'))
    with pytest.raises(UserError, match=r"field 'id' is \"../../secret\""):
        recorded.read(run)


def test_the_same_journal_gives_the_same_page(run: Path) -> None:
    assert page([recorded.read(run)], now=1.0) == page([recorded.read(run)], now=1.0)
