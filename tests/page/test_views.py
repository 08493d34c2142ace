"""What the page says of single genes, of cost and of generations, against numbers worked out from the journal's lines;
axes that move, addresses that bring a view back, files that are downloaded, dark screens and paper."""
from __future__ import annotations

import csv
import io
import json
import statistics
from pathlib import Path
from typing import Any, Dict, List

import pytest

from menndl_caffe import journal
from menndl_caffe.report.page.document import lasting
from tests.support import gradient_run, odd_runs
from tests.support.browser import NEXT_FRAME, Tab
from tests.support.page_tools import Lines, drawn, painted, tick_positions, written

NAMES = ["generation", "kernel1", "output1", "kernel2", "output2", "kernel3", "output3", "accuracy"]


def once(lines: Lines) -> List[Dict[str, Any]]:
    """Trainings of individuals that succeeded; those that were met again are left out."""
    return [result for result in lines.trained if "same_as" not in result]


# ---- genes, cost, generations ----

def test_median_by_value(tab: Tab, lines: Lines) -> None:
    found = dict(drawn(tab, "values.medians()"))
    by_value: Dict[int, List[float]] = {}
    for result in once(lines):
        by_value.setdefault(result["genes"]["kernel1"], []).append(result["fitness"])
    assert [(group["from"], group["to"], group["count"]) for group in found["kernel1"]] == [
        (value, value, len(by_value[value])) for value in sorted(by_value) if len(by_value[value]) >= 3]
    for group in found["kernel1"]:
        assert group["median"] == pytest.approx(statistics.median(by_value[group["from"]]))
    assert len({result["genes"]["output1"] for result in once(lines)}) > 10  # so its neighbouring values are joined
    counts = [group["count"] for group in found["output1"]]
    assert len(counts) == 10 and sum(counts) == len(once(lines)) and max(counts) - min(counts) <= 1


def test_the_gene_that_explains_most_comes_first(tab: Tab) -> None:
    shares = tab.page.evaluate("menndl.run.shares")
    titles = tab.page.locator("#values-plots text.title").evaluate_all("(all) => all.map((one) => one.firstChild.data)")
    assert titles == [f"{name}: explains {100 * share:.0f}% alone"
                      for name, share in sorted(shares.items(), key=lambda pair: -pair[1])]
    assert drawn(tab, "pairs.axes()") == sorted(shares, key=lambda name: -shares[name])[:2]


def test_none_is_better_for_less(tab: Tab, lines: Lines) -> None:
    fronts = dict(drawn(tab, "costs.fronts()"))
    for name in ("parameters", "multiply_adds"):
        cost = {r["id"]: (r["measures"][name] if name == "parameters" else float(f"{r['measures'][name]:.3g}"),
                          -r["fitness"]) for r in lines.trained}
        undominated = {point for point in cost.values() if not any(
            other != point and other[0] <= point[0] and other[1] <= point[1] for other in cost.values())}
        assert [cost[id] for id in fronts[name]] == sorted(undominated)
    assert set(fronts) == {"parameters", "multiply_adds", "time"}


def test_by_generation(tab: Tab, lines: Lines) -> None:
    stages = drawn(tab, "convergence.shown()")
    best = 0.0
    for k in range(6):
        members = [result for result in lines.individuals if result["generation"] == k]
        fitness = [result["fitness"] if result["status"] == "ok" else 0.0 for result in members]
        best = max(best, *fitness)
        quartiles = statistics.quantiles(fitness, n=4, method="inclusive")
        assert [stages[name][k] for name in ("number", "evaluated", "soFar")] == [k + 1, 40, best]
        assert [stages[name][k] for name in ("lower", "upper")] == pytest.approx([quartiles[0], quartiles[2]])
        assert stages["mean"][k] == pytest.approx(statistics.fmean(fitness))
        values = [result["genes"]["output2"] for result in members]
        assert stages["genes"][3][k][2:5] == pytest.approx(statistics.quantiles(values, n=4, method="inclusive"))


def test_a_gene_that_does_not_descend_has_no_panel(chromium: Any, tmp_path: Path) -> None:
    run = gradient_run.write(tmp_path)
    text = (run / journal.NAME).read_text().replace('type: \\"HYPERGRADIENT\\"', 'type: \\"RANDOM\\"').replace(
        "hypergradient_param { method: HOAG starts: 2 }",
        'inner { gene: \\"decay\\" steps: 4 hypergradient_param { method: HOAG } }')
    kept = []
    for line in map(json.loads, text.splitlines()):
        for name in ("gradient", "gradient_by"):
            line.get(name, {}).pop("of_biases", None)
        kept.append(json.dumps(line))
    (run / journal.NAME).write_text("\n".join(kept) + "\n")
    opened = Tab(chromium, written(run))
    assert [figure.get_attribute("aria-label") for figure in opened.page.locator("#paths-genes figure").all()] == [
        "decay by step of each descent"]
    assert opened.table("#descents table")[0][6:8] == ["0.001 → 8e-05", "1"]
    assert opened.faults() == []
    opened.close()


# ---- curves ----

def test_what_rises_out_of_a_plot_is_said(chromium: Any, tmp_path: Path) -> None:
    run = odd_runs.validated(tmp_path / "run")
    first, rest = (run / journal.NAME).read_text().split("\n", 1)
    (run / journal.NAME).write_text(f"{first}\n{rest.replace(', 1.9]', ', 87.3]', 2)}")
    opened = Tab(chromium, written(run))
    assert "2 curves (marked by a triangle) rise above, up to 87.3" in opened.text("#curves-cut")
    assert len(painted(opened, "curves-loss", (0xe6, 0x9f, 0x00))) > 30
    opened.page.get_by_label("logarithmic").check()
    ticks = opened.page.locator("#curves-loss text[text-anchor=end]").all_text_contents()[:-1]
    assert ticks and opened.faults() == []
    opened.close()


def test_a_curve_is_pointed_at(tab: Tab, lines: Lines) -> None:
    figure = tab.page.locator("#curves-value")
    figure.scroll_into_view_if_needed()
    box = figure.bounding_box()
    x, y = max(painted(tab, "curves-value", (0xc2, 0x41, 0x0c)), key=lambda pixel: pixel[0])
    best = max(lines.trained, key=lambda result: (result["fitness"], -result["id"]))
    tab.page.mouse.move(box["x"] + x - 3, box["y"] + y)
    assert f"Individual {best['id']}," in tab.text("#hint")
    tab.page.mouse.click(box["x"] + x - 3, box["y"] + y)
    assert str(best["id"]) in tab.text("#panel-title")


def test_of_single_test_passes_there_is_a_sentence(chromium: Any, tmp_path: Path) -> None:
    run = odd_runs.validated(tmp_path / "run")
    lines = [json.loads(line) for line in (run / journal.NAME).read_text().splitlines()]
    for line in lines:
        if "curve" in line:
            line["curve"] = line["curve"][-1:]
    (run / journal.NAME).write_text("".join(json.dumps(line) + "\n" for line in lines))
    opened = Tab(chromium, written(run))
    assert "a single test pass" in opened.text("#curves") and opened.page.locator("#curves figure").count() == 0
    assert opened.faults() == []
    opened.close()


# ---- axes, addresses, files ----

def test_axes_move_flip_and_zoom(tab: Tab, lines: Lines) -> None:
    frame = tab.page.locator("#parallel").bounding_box()

    def rail(name: str) -> Dict[str, float]:
        return dict(tab.page.locator(f"[data-axis={name}]").bounding_box())

    before = tick_positions(tab, "kernel1")
    name = tab.page.locator("#parallel text.title", has_text="kernel1").bounding_box()
    tab.page.mouse.move(name["x"] + name["width"] / 2, name["y"] + name["height"] / 2)
    tab.page.mouse.down()
    tab.page.mouse.move(rail("output2")["x"] + 10, name["y"], steps=4)
    tab.page.mouse.up()
    order = sorted(NAMES, key=lambda name: rail(name)["x"])
    assert order == ["generation", "output1", "kernel2", "output2", "kernel1", "kernel3", "output3", "accuracy"]
    tab.page.locator("#ranges summary").click()
    tab.page.get_by_role("button", name="kernel1: flip").click()
    after = tick_positions(tab, "kernel1")
    turned = {str(9 - int(value)): place for value, place in before.items()}
    assert after == pytest.approx(turned)
    tab.page.get_by_role("button", name="accuracy: zoom").click()
    failed = tick_positions(tab, "accuracy")["failed"]
    inside = [points[-1][1] for _, points in drawn(tab, "parallel.lines()")
              if rail("accuracy")["y"] - frame["y"] + 14 <= points[-1][1] + 0.01 and points[-1][1] < failed - 50]
    assert len(lines.trained) > len(inside) >= 0.9 * len(lines.trained)
    tab.page.get_by_role("button", name="axes as at first").click()
    assert sorted(NAMES, key=lambda name: rail(name)["x"]) == NAMES and tick_positions(tab, "kernel1") == before


def test_a_brush_begins_outside_and_ends_at_values(tab: Tab, lines: Lines) -> None:
    ticks = tick_positions(tab, "kernel1")
    frame, rail = (tab.page.locator(where).bounding_box() for where in ("#parallel", "[data-axis=kernel1]"))
    x = rail["x"] + rail["width"] / 2
    tab.page.mouse.move(x, frame["y"] + ticks["1"] + 12)  # below the axis
    tab.page.mouse.down()
    tab.page.mouse.move(x, frame["y"] + ticks["4"] + 0.4 * (ticks["3"] - ticks["4"]), steps=5)  # not yet at 4
    tab.page.mouse.up()
    tab.page.locator("#ranges summary").click()
    assert [tab.page.get_by_label(f"kernel1 {end}").input_value() for end in ("from", "to")] == ["1", "3"]
    assert set(drawn(tab, "table.rows()")) == {r["id"] for r in lines.individuals if r["genes"]["kernel1"] <= 3}
    assert "brush=kernel1%7E1%7E3" in tab.page.evaluate("location.hash")


def test_an_address_brings_a_view_back(chromium: Any, html: Path, lines: Lines) -> None:
    best = max(lines.trained, key=lambda result: (result["fitness"], -result["id"]))
    opened = Tab(chromium, html)
    opened.page.goto(f"{html.resolve().as_uri()}#individual={best['id']}&brush=kernel1~2~3&brush=accuracy~0.7~1"
                     "&flip=output1&zoom=output2~40~80&order=0.2.1.3.4.5.6.7")
    opened.page.wait_for_selector("#panel:not([hidden])")
    for _ in range(2):  # found at once, and again after a reload
        expected = {r["id"] for r in lines.trained if 2 <= r["genes"]["kernel1"] <= 3 and r["fitness"] >= 0.7}
        assert set(drawn(opened, "table.rows()")) == expected
        assert str(best["id"]) in opened.text("#panel-title")
        assert opened.page.evaluate("menndl.arranged.order.slice(0, 3)") == [0, 2, 1]
        assert opened.page.evaluate("[...menndl.arranged.flipped]") == [2]
        low, high = opened.page.evaluate("menndl.arranged.zoomed.get(4)")
        assert (16 + low * 110, 16 + high * 110) == pytest.approx((40, 80))
        opened.page.reload()
        opened.page.wait_for_selector("html[data-drawn]", state="attached")
    assert opened.errors == []
    opened.close()


def test_addresses_that_nobody_wrote(tab: Tab) -> None:
    for fragment in ("individual=nobody&brush=kernel1~a~b&brush=nothing~1~2&brush=x", "order=0.1&zoom=~~&flip=",
                     "order=0.0.0.0.0.0.0.0&brush=kernel1~~3&individual=", "%E0%A4%A=1&<img>=2"):
        tab.page.evaluate("(fragment) => { location.hash = fragment; }", fragment)
        tab.page.evaluate(NEXT_FRAME)
        assert len(drawn(tab, "table.rows()")) == 240
        assert tab.page.evaluate("menndl.arranged.isPlain()") and tab.page.locator("#panel").is_hidden()


def test_downloads_have_what_is_listed(tab: Tab, lines: Lines) -> None:
    tab.page.evaluate("menndl.chosen.set(1, menndl.chosen.snapped(1, [0, 0.2]))")
    expected = {r["id"]: r for r in lines.individuals if r["genes"]["kernel1"] <= 2}
    files = {}
    for kind in ("CSV", "JSON"):
        with tab.page.expect_download() as download:
            tab.page.get_by_role("button", name=f"download {kind}").click()
        assert download.value.suggested_filename == f"individuals.{kind.lower()}"
        files[kind] = Path(download.value.path()).read_text()
    rows, records = list(csv.DictReader(io.StringIO(files["CSV"]))), json.loads(files["JSON"])
    assert [record["id"] for record in records] == drawn(tab, "table.rows()") == [int(row["id"]) for row in rows]
    for row, record in zip(rows, records):
        result = expected.pop(record["id"])
        assert (record["accuracy"], record["loss"]) == (result["fitness"] if result["status"] == "ok" else None,
                                                        result.get("loss"))
        assert {name: record[name] for name in result["genes"]} == result["genes"]
        assert row["accuracy"] == ("" if record["accuracy"] is None else str(record["accuracy"]))
        assert record["parameters"] == result["measures"]["parameters"] and row["status"] == result["status"]
    assert not expected


def test_no_cell_of_a_download_is_a_formula(chromium: Any, tmp_path: Path) -> None:
    run = odd_runs.failed(tmp_path / "run")
    text = (run / journal.NAME).read_text().replace("loss is nan at iteration 10", '=1+1,\\"x\\"')
    (run / journal.NAME).write_text(text)
    opened = Tab(chromium, written(run))
    with opened.page.expect_download() as download:
        opened.page.get_by_role("button", name="download CSV").click()
    rows = list(csv.DictReader(io.StringIO(Path(download.value.path()).read_text())))
    assert rows[0]["reason"] == "'=1+1,\"x\""
    opened.close()


# ---- dark, paper, times ----

def test_on_a_dark_screen(tab: Tab) -> None:
    tab.page.emulate_media(color_scheme="dark")
    tab.page.evaluate(NEXT_FRAME)
    background, ink = tab.page.evaluate("""[document.documentElement, document.querySelector("h1")].map((one, k) =>
        getComputedStyle(one)[k ? "color" : "backgroundColor"].match(/\\d+/g).slice(0, 3).map(Number))""")
    assert max(background) < 50 and min(ink) > 200
    assert "the lighter, the better" in tab.text("#individuals")
    assert len(painted(tab, "history-plot", (0xff, 0x92, 0x57))) > 200  # the best so far
    assert tab.faults() == []


def test_on_paper_nothing_is_cut(tab: Tab) -> None:
    tab.page.emulate_media(color_scheme="dark", media="print")
    tab.page.evaluate(NEXT_FRAME)
    width = 182 / 25.4 * 96  # CSS pixels of what A4 leaves between its margins
    assert tab.page.evaluate("[...document.querySelectorAll('figure > svg, figure > canvas')].every("
                             f"(drawing) => drawing.getBoundingClientRect().width <= {width + 1})")
    assert tab.page.evaluate("[...document.querySelectorAll('.wide')].every((wide) => "
                             "wide.firstElementChild.getBoundingClientRect().width <= wide.clientWidth + 1)")
    assert len(painted(tab, "curves-value", (0xc2, 0x41, 0x0c))) > 200  # light on paper, whatever the screen is
    assert not tab.page.locator("#parallel .handle").first.is_visible()
    assert tab.faults() == []


@pytest.mark.parametrize("seconds, text", [(0.04, "0.0 s"), (12.34, "12.3 s"), (60, "1 min"), (125.4, "2 min 5 s"),
                                           (3600, "1 h"), (12000, "3 h 20 min"), (100800, "1 d 4 h")])
def test_times_have_units(seconds: float, text: str) -> None:
    assert lasting(seconds) == text


def test_script_and_tables_write_times_alike(tab: Tab) -> None:
    result = tab.page.evaluate("menndl.run.seconds.map((seconds, row) => [seconds, menndl.run.same[row], row])")
    seconds, _, row = next(one for one in result if one[1] is None and one[0] > 60)
    tab.page.evaluate(f"menndl.run.show({row})")
    assert {cells[0]: cells[1] for cells in tab.table("#panel .facts")}["training"] == lasting(seconds)
