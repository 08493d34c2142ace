"""What the tests of the page share: its file, the journal read without menndl, and what the page says it has drawn."""
from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Dict, List, Tuple

from menndl_caffe import journal
from menndl_caffe.experiment import recorded
from menndl_caffe.report.page import page
from tests.support.browser import Tab


def written(*runs: Path) -> Path:
    """The page of these runs, in a file beside the first."""
    file = runs[0].with_name(f"{runs[0].name} {len(runs)}.html")
    file.write_bytes(page(list(map(recorded.read, runs))).encode())
    return file


class Lines:
    """The journal's lines, read without menndl: results in their order, each with its trial's fields."""

    def __init__(self, run: Path):
        lines = [json.loads(line) for line in (run / journal.NAME).read_text().splitlines()]
        self.trials = {line["id"]: line for line in lines if line["event"] == "trial"}
        self.results = [{**self.trials[line["id"]], **line} for line in lines if line["event"] == "result"]
        self.individuals = [result for result in self.results if result["role"] == "individual"]
        self.trained = [result for result in self.individuals if result["status"] == "ok"]
        self.failed = [result for result in self.individuals if result["status"] != "ok"]
        self.default = next(result for result in self.results if result["role"] == "default")


def drawn(tab: Tab, expression: str) -> Any:
    """What a part of the page says that it has drawn."""
    return tab.page.evaluate(f"menndl.parts.{expression}")


def painted(tab: Tab, figure: str, colour: Tuple[int, int, int]) -> List[Tuple[int, int]]:
    """The pixels (x, y) of a figure's canvas that have this colour."""
    return list(tab.page.evaluate("""([figure, colour]) => {
        const canvas = document.querySelector(`#${figure} canvas`);
        const copy = new OffscreenCanvas(canvas.width, canvas.height).getContext("2d", { willReadFrequently: true });
        copy.drawImage(canvas, 0, 0);
        const { data } = copy.getImageData(0, 0, canvas.width, canvas.height);
        const found = [];
        for (let i = 0; i < data.length / 4; i++)
          if (colour.every((part, k) => Math.abs(part - data[4 * i + k]) < 3))
            found.push([i % canvas.width, Math.floor(i / canvas.width)]);
        return found;
    }""", [figure, list(colour)]))


def tick_positions(tab: Tab, name: str) -> Dict[str, float]:
    """Where on the screen the labels of a standing axis are: text -> middle, from the top of the figure."""
    return dict(tab.page.evaluate("""(name) => {
        const [figure, rail] = [document.querySelector("#parallel"), document.querySelector(`[data-axis="${name}"]`)];
        const [frame, box] = [figure.getBoundingClientRect(), rail.getBoundingClientRect()];
        return [...figure.querySelectorAll("text.tick")]
          .map((text) => [text.firstChild.data, text.getBoundingClientRect()])
          .filter(([, place]) => place.right <= box.left + 13 && place.right > box.left - 12)
          .map(([text, place]) => [text, (place.top + place.bottom) / 2 - frame.top]);
    }""", name))
