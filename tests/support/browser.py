"""Headless Chromium for tests of pages: opens a file and says what a person would see to be wrong with it."""
from __future__ import annotations

import contextlib
import shutil
from pathlib import Path
from typing import Any, Iterator, List

from tests.conftest import missing
from tests.support.runs import PATIENCE

WIDTHS = (1280, 390)  # CSS pixels: a laptop, a telephone
NAMES = ("chromium", "chromium-browser", "google-chrome")
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
             "--disable-component-update", "--disable-sync"]

# Pairs of texts of one plot whose boxes share more than a pixel, and texts that stand out of their plot's sides.
OVERLAPS = """() => [...document.querySelectorAll("figure")].flatMap((figure) => {
  const frame = figure.getBoundingClientRect();
  const texts = [...figure.querySelectorAll("svg text")]
    .map((text) => [text.firstChild.data, text.getBoundingClientRect()]).filter(([, box]) => box.width > 0);
  const apart = (a, b) => a.right - b.left < 1 || b.right - a.left < 1 || a.bottom - b.top < 1 || b.bottom - a.top < 1;
  const faults = texts.filter(([, box]) => box.left < frame.left - 1 || box.right > frame.right + 1)
    .map(([text]) => `${figure.id || figure.ariaLabel}: ${text} stands out`);
  texts.forEach(([text, box], i) => texts.slice(i + 1).forEach(([other, place]) => {
    if (!apart(box, place)) faults.push(`${figure.id || figure.ariaLabel}: ${text} / ${other}`);
  }));
  return faults;
})"""

# Plots without text, and canvases with next to nothing painted.
EMPTY = """() => [...document.querySelectorAll("figure")].filter((figure) => {
  const canvas = figure.querySelector("canvas:last-of-type");
  if (!canvas || !figure.querySelector("svg text")) return true;
  const copy = new OffscreenCanvas(canvas.width, canvas.height).getContext("2d", { willReadFrequently: true });
  copy.drawImage(canvas, 0, 0);
  const { data } = copy.getImageData(0, 0, canvas.width, canvas.height);
  let painted = 0;
  for (let i = 3; i < data.length; i += 4) painted += data[i] > 0;
  return painted < 20;
}).map((figure) => figure.id || figure.ariaLabel)"""

# Characters of the page that are drawn as the box of a character that no font has (U+0378 is none).
WITHOUT_GLYPH = """() => {
  const canvas = document.createElement("canvas");
  const context = canvas.getContext("2d", { willReadFrequently: true });
  const drawn = (letter) => {
    context.clearRect(0, 0, 60, 60);
    context.font = "24px " + getComputedStyle(document.body).fontFamily;
    context.fillText(letter, 10, 40);
    return context.getImageData(0, 0, 60, 60).data.join();
  };
  const none = drawn("\\u0378");
  return [...new Set(document.documentElement.textContent)]
    .filter((letter) => letter.trim() && letter > "~" && drawn(letter) === none);
}"""

# Parts that cannot be reached by scrolling down: wider than the window.
TOO_WIDE = """() => {
  const width = document.documentElement.scrollWidth;
  return width > window.innerWidth ? [width] : [];
}"""
# What was asked of the page has been drawn: a frame with it has begun, and has ended.
NEXT_FRAME = "() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))"
FAULTS = {"overlap": OVERLAPS, "empty plot": EMPTY, "no glyph": WITHOUT_GLYPH, "wider than the window": TOO_WIDE}


def executable() -> str:
    """The path of a Chromium; the test is skipped, or fails under CI, where there is none."""
    found = next(filter(None, map(shutil.which, NAMES)), None)
    if found is None:
        missing("no Chromium: `make chromium` installs Debian's, by root")
    return str(found)


@contextlib.contextmanager
def browser() -> Iterator[Any]:
    """A headless Chromium with an empty profile, as playwright's Browser."""
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        missing("no playwright: `pip install 'menndl_caffe[test]'`")
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=executable(), args=ARGUMENTS, timeout=1000 * PATIENCE)
        try:
            yield chromium
        finally:
            chromium.close()


def new_page(chromium: Any, width: int, height: int) -> Any:
    """An empty page, patient with slow machines."""
    page = chromium.new_page(viewport={"width": width, "height": height})
    page.set_default_timeout(1000 * PATIENCE)
    return page


class Tab:
    """A page opened from a file; `errors` is what its console and its scripts complained of."""

    def __init__(self, chromium: Any, file: Path, width: int = WIDTHS[0], height: int = 900):
        self.errors: List[str] = []
        self.page = new_page(chromium, width, height)
        self.page.on("console", self._hear)
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("request", self._see)
        self.page.goto(file.resolve().as_uri())
        self.page.wait_for_selector("html[data-drawn], #trouble:not([hidden])", state="attached")

    def _hear(self, message: Any) -> None:
        if message.type in ("error", "warning"):
            self.errors.append(message.text)

    def _see(self, request: Any) -> None:
        if not request.url.startswith(("file:", "data:")):
            self.errors.append(f"asked the network for {request.url}")

    def faults(self) -> List[str]:
        """All that is wrong at first sight; nothing for a page that is well."""
        self.page.evaluate(NEXT_FRAME)
        return [*self.errors, *(f"{what}: {fault}" for what, script in FAULTS.items()
                                for fault in self.page.evaluate(script))]

    def text(self, selector: str) -> str:
        """The visible text of the first element that matches, its white space made single."""
        return " ".join(self.page.locator(selector).first.inner_text().split())

    def table(self, selector: str) -> List[List[str]]:
        """The rows of a table's body, as one reads them."""
        return list(self.page.locator(f"{selector} tbody tr").evaluate_all(
            "(rows) => rows.map((row) => [...row.cells].map((cell) => cell.innerText.trim()))"))

    def close(self) -> None:
        """Ends the page."""
        self.page.close()
