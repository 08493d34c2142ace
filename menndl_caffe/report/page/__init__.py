"""One self-contained HTML page of a run, or of several in comparison: opens from a file, anywhere, without a network.

Python makes the text and the tables, and packs the results as columns (columns.py); the script (script/*.js) unpacks
them and draws. It draws by itself, on canvas and SVG, and so needs nothing beyond menndl's own dependencies: for
parallel coordinates plotly.js needs WebGL and `unsafe-eval`, and without a GPU about ten seconds for 17,500 lines.
"""
from __future__ import annotations

import time
from typing import Optional, Sequence

from menndl_caffe.experiment.recorded import Run
from menndl_caffe.report.page import comparison, document, single

__all__ = ["page"]


def page(runs: Sequence[Run], now: Optional[float] = None) -> str:
    """The HTML of one run, or of a comparison where there are several: at least one.

    Reads RUN/trials beside, writes nothing. `now` is when the journals were read, in seconds since the epoch: this
    moment, unless given. May be written as UTF-8 whatever the journal holds.
    """
    moment = time.time() if now is None else now
    if len(runs) == 1:
        return document.assembled("run.html.j2", *single.content(runs[0], moment))
    return document.assembled("comparison.html.j2", *comparison.content(runs, moment))
