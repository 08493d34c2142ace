"""The page of a run worked with in headless Chromium: sorted, brushed, hovered, clicked, by pointer and keyboard."""
from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

from menndl_caffe.experiment import search_file
from tests.support import mixed_run
from tests.support.browser import Tab
from tests.support.page_tools import Lines, drawn, tick_positions, written


def test_the_list_is_sorted_and_paged(tab: Tab, lines: Lines) -> None:
    ranked = sorted(lines.trained, key=lambda result: (-result["fitness"], result["id"]))
    failed = sorted(result["id"] for result in lines.failed)
    assert drawn(tab, "table.rows()") == [result["id"] for result in ranked] + failed
    rows = tab.table("#table")
    assert len(rows) == 25 and [row[8] for row in rows] == [f"{result['fitness']:.4f}" for result in ranked[:25]]
    tab.page.get_by_role("button", name="next").click()
    assert tab.table("#table")[0][0] == str(ranked[25]["id"])
    tab.page.locator("#table").get_by_role("button", name="kernel1").click()
    assert tab.page.locator("#table th[aria-sort]").inner_text() == "kernel1 ▲"
    expected = sorted(lines.individuals, key=lambda result: (result["genes"]["kernel1"], result["id"]))
    assert [row[0] for row in tab.table("#table")] == [str(result["id"]) for result in expected[:25]]


def test_what_each_net_costs_is_listed(tab: Tab, lines: Lines) -> None:
    """A column each, which sorts; in the hint and the panel too. They are the journal's own."""
    names = tab.page.locator("#table thead th").evaluate_all("(cells) => cells.map((cell) => cell.title)")
    at = names.index("multiply-adds")
    assert names[at - 2:at + 2] == ["loss", "parameters", "multiply-adds", "seconds"]
    tab.page.locator("#table").get_by_role("button", name="multiply-adds").click()
    expected = sorted(lines.individuals, key=lambda result: (  # of three digits
        float(f"{result['measures']['multiply_adds']:.3g}"), result["id"]))[:25]
    assert [[row[0], row[at - 1], row[at]] for row in tab.table("#table")] == [
        [str(result["id"]), f"{result['measures']['parameters']:,}",
         f"{result['measures']['multiply_adds'] / 1e6:.3g} M"] for result in expected]
    result = expected[0]
    costs = f"parameters {result['measures']['parameters']:,}, multiply-adds "
    shown = tab.page.evaluate(f"menndl.run.show(menndl.run.rowOf({result['id']})), menndl.run.measured.length")
    facts = {row[0]: row[1] for row in tab.table("#panel .facts")}
    assert shown == 2 and f"parameters {facts['parameters']}, multiply-adds " == costs


def test_journals_that_do_not_say_what_nets_cost(chromium: Any, tmp_path: Path) -> None:
    opened = Tab(chromium, written(mixed_run.write(tmp_path)))
    names = opened.page.locator("#table thead th").evaluate_all("(cells) => cells.map((cell) => cell.title)")
    assert names[-5:] == ["accuracy", "loss", "seconds", "rank", "host"] and opened.errors == []
    opened.close()


def test_a_brush_by_pointer_filters_all_views(tab: Tab, lines: Lines) -> None:
    ticks = tick_positions(tab, "kernel1")
    step = ticks["3"] - ticks["4"]
    frame = tab.page.locator("#parallel").bounding_box()
    rail = tab.page.locator("[data-axis=kernel1]").bounding_box()
    x = rail["x"] + rail["width"] / 2
    tab.page.mouse.move(x, frame["y"] + ticks["3"] + step / 2)
    tab.page.mouse.down()
    tab.page.mouse.move(x, frame["y"] + ticks["4"], steps=3)
    tab.page.mouse.move(x, frame["y"] + ticks["5"] - step / 2, steps=3)
    tab.page.mouse.up()
    chosen = {result["id"] for result in lines.individuals if 3 <= result["genes"]["kernel1"] <= 5}
    assert 0 < len(chosen) < 240
    assert tab.text("#brushed span") == f"{len(chosen)} of 240 individuals"
    assert tab.text("#list-count").startswith(f"{len(chosen)} of 240")
    assert set(drawn(tab, "table.rows()")) == chosen and set(drawn(tab, "curves.sample()")) <= chosen
    assert "of the brushed" in tab.text("#curves-legend")
    # A second axis: both count. A click on a brush removes it.
    tab.page.locator("#ranges summary").click()
    tab.page.get_by_label("output1 from").fill("100")
    tab.page.get_by_label("output1 from").press("Enter")
    both = {result["id"] for result in lines.individuals
            if result["id"] in chosen and result["genes"]["output1"] >= 100}
    assert set(drawn(tab, "table.rows()")) == both != chosen
    tab.page.locator("#parallel").scroll_into_view_if_needed()  # from where the form was
    tab.page.mouse.click(x, tab.page.locator("#parallel").bounding_box()["y"] + ticks["4"])
    assert "kernel1" not in tab.text("#brushed") and len(drawn(tab, "table.rows()")) > len(both)
    tab.page.get_by_role("button", name="show all").click()
    assert tab.page.locator("#brushed").is_hidden() and len(drawn(tab, "table.rows()")) == 240
    assert tab.page.get_by_label("output1 from").input_value() == ""


def test_brushing_where_axes_lie(chromium: Any, html: Path, lines: Lines) -> None:
    narrow = Tab(chromium, html, 390)
    rail = narrow.page.locator("[data-axis=accuracy]")
    rail.scroll_into_view_if_needed()
    box = rail.bounding_box()
    y = box["y"] + box["height"] / 2
    narrow.page.mouse.move(box["x"] + box["width"] - 40, y)
    narrow.page.mouse.down()
    narrow.page.mouse.move(box["x"] + box["width"], y, steps=4)
    narrow.page.mouse.up()
    rows = drawn(narrow, "table.rows()")
    ranked = [r["id"] for r in sorted(lines.trained, key=lambda result: (-result["fitness"], result["id"]))]
    assert 0 < len(rows) < 240 and rows == ranked[:len(rows)]
    assert narrow.errors == []
    narrow.close()


def test_the_failed_can_be_brushed(tab: Tab, lines: Lines) -> None:
    tab.page.locator("#ranges summary").click()
    best = max(result["fitness"] for result in lines.trained)
    tab.page.get_by_label("accuracy to").fill("0")
    tab.page.get_by_label("accuracy to").press("Enter")
    assert set(drawn(tab, "table.rows()")) == {result["id"] for result in lines.failed}
    tab.page.get_by_label("accuracy to").fill("")
    tab.page.get_by_label("accuracy from").fill(str(best))
    tab.page.get_by_label("accuracy from").press("Enter")
    assert set(drawn(tab, "table.rows()")) == {r["id"] for r in lines.trained if r["fitness"] == best}


def test_hover_and_click_show_an_individual(tab: Tab, lines: Lines) -> None:
    place, accuracy = drawn(tab, "history.best()")[-1]
    result = lines.individuals[place - 1]
    figure = tab.page.locator("#history-plot")
    figure.scroll_into_view_if_needed()
    texts = tab.page.evaluate("""() => [...document.querySelectorAll("#history-plot text")].map((text) => {
        const box = text.getBoundingClientRect();
        const [x, y] = [(box.left + box.right) / 2, (box.top + box.bottom) / 2];
        return [text.firstChild.data, text.getAttribute("text-anchor"), x, y];
    })""")
    (_, _, x0, _), (right, _, x1, _) = [text for text in texts if text[1] == "middle"][:2]
    (low, _, _, y0), *_, (high, _, _, y1) = [text for text in texts if text[1] == "end" and text[0].startswith("0.")]
    x = x0 + place / int(right) * (x1 - x0)
    y = y0 + (accuracy - float(low)) / (float(high) - float(low)) * (y1 - y0)
    tab.page.mouse.move(x, y)
    found = tab.text("#hint")
    tab.page.mouse.click(x, y)
    assert f"Individual {result['id']}," in found
    assert f"generation {result['generation'] + 1}" in found
    assert f"accuracy {result['fitness']:.4f}, loss {result['loss']:.4f}" in found
    assert ", ".join(f"{name} {value}" for name, value in result["genes"].items()) in found
    assert f"parameters {result['measures']['parameters']:,}, multiply-adds " in found
    assert tab.page.locator("#panel").is_visible() and str(result["id"]) in tab.text("#panel-title")
    facts = {row[0]: row[1] for row in tab.table("#panel .facts")}
    assert (facts["seed"], facts["rank"], facts["host"]) == (str(result["seed"]), str(result["rank"]), result["host"])
    assert tab.page.locator("#panel pre").first.is_visible()  # the net
    tab.page.get_by_text("as numbers").click()
    assert tab.table("#panel .numbers") == [
        [f"{iteration:,}", f"{accuracy:.4f}", f"{loss:.4f}"] for iteration, accuracy, loss in result["curve"]]
    assert tab.faults() == []


def test_a_failed_individual_by_keyboard(tab: Tab, run: Path, lines: Lines) -> None:
    button = tab.page.locator("#failures .link").first
    id = int(button.inner_text())
    button.focus()
    tab.page.keyboard.press("Enter")
    result = next(r for r in lines.failed if r["id"] == id)
    assert result["reason"] in tab.text("#panel")
    assert tab.page.evaluate("document.activeElement.id") == "panel-title"
    shown = tab.page.locator("#panel details pre").all_text_contents()
    names = ("train_test.prototxt", "solver.prototxt")
    assert shown == [(run / "trials" / str(id) / name).read_text() for name in names]
    assert "caffe.log" in tab.text("#panel")
    tab.page.keyboard.press("Escape")
    assert tab.page.locator("#panel").is_hidden()
    assert tab.page.evaluate("document.activeElement.dataset.show") == str(id)


def test_the_command_that_makes_the_files(tab: Tab, run: Path, lines: Lines, in_repository: Path) -> None:
    kept = {int(folder.name) for folder in (run / "trials").iterdir()}
    result = next(r for r in lines.trained if r["id"] not in kept and "same_as" not in r)
    tab.page.evaluate(f"menndl.run.show(menndl.run.rowOf({result['id']}))")
    words = shlex.split(tab.page.locator("#panel pre.command").inner_text())
    assert words[:3] == ["menndl", "render", "solvers/paper.search.prototxt"] and "--out" in words
    settings = [word for before, word in zip(words, words[1:]) if before == "--set"]
    experiment = search_file.load(words[2], seed=int(words[words.index("--seed") + 1]))
    trial = experiment.trial(result["id"], experiment.space.with_settings(settings))
    assert (trial.genome.as_dict(), trial.seed) == (result["genes"], result["seed"])


def test_nets_that_were_not_kept_are_shown_as_rendered(tab: Tab, run: Path, lines: Lines) -> None:
    kept = {int(folder.name) for folder in (run / "trials").iterdir()}
    for result in [r for r in lines.trained if r["id"] not in kept][::20]:
        tab.page.evaluate(f"menndl.run.show(menndl.run.rowOf({result['id']}))")
        net, solver = tab.page.locator("#panel details pre").all_text_contents()
        assert tab.page.locator("#panel summary").all_inner_texts()[1:] == ["train_test.prototxt", "solver.prototxt"]
        genes = result["genes"]
        assert re.findall(r"num_output: (\d+)", net) == [str(genes[f"output{i}"]) for i in "123"] + ["64", "10"]
        assert re.findall(r"kernel_size: (\d+)", net)[::2] == [str(genes[f"kernel{i}"]) for i in "123"]
        assert f"random_seed: {result['seed']}\n" in solver and "max_iter: 4000\n" in solver
        assert 'source: "data/cifar10/' in net


def test_nets_of_different_depth(chromium: Any, tmp_path: Path) -> None:
    opened = Tab(chromium, written(mixed_run.write(tmp_path)))
    for id, _, (filters, base_lr, dropout, pool, second), _ in mixed_run.TRIALS:
        opened.page.evaluate(f"menndl.run.show(menndl.run.rowOf({id}))")
        net, solver = opened.page.locator("#panel details pre").all_text_contents()
        assert net.count("Convolution") == (2 if second == "yes" else 1)
        assert f"num_output: {filters} " in net and f"pool: {pool} " in net and f"dropout_ratio: {dropout} " in net
        assert f"base_lr: {base_lr}\n" in solver
    opened.close()


def test_print_leaves_the_controls_out(tab: Tab) -> None:
    tab.page.emulate_media(media="print")
    assert not tab.page.locator("nav").is_visible() and not tab.page.locator("#pages").is_visible()
    assert tab.page.locator("#parallel").is_visible() and tab.page.locator("#table").is_visible()


def test_drawn_anew_for_another_width(tab: Tab) -> None:
    tab.page.set_viewport_size({"width": 390, "height": 800})
    tab.page.wait_for_function("""() => [...document.querySelectorAll("figure > svg")].every(
        (drawing) => drawing.getAttribute("width") <= 390)""")
    assert tab.faults() == []
