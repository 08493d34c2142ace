"""Template + style + script + data -> one HTML document that may load nothing and run nothing but itself."""
from __future__ import annotations

import base64
import gzip
import hashlib
import json
import time
from pathlib import Path
from typing import Any, Dict

import jinja2
import markupsafe

import menndl_caffe
from menndl_caffe.report.table_3 import three_digits
from menndl_caffe.text import fixed, gene_text, printable

FOLDER = Path(__file__).parent
# The script's files in the order of their use; together they are one script.
SCRIPTS = ("colours", "data", "scales", "draw", "scatter", "arrangement", "parallel", "brushes", "handles", "ranges",
           "history", "convergence", "curves", "values", "costs", "front", "paths", "decays", "ranks", "table",
           "download", "individual", "link", "comparison", "main")


def assembled(template: str, context: Dict[str, Any], data: Dict[str, Any]) -> str:
    """The document of a template with its context (any text, escaped here) and the data for the script."""
    style = (FOLDER / "style.css").read_text(encoding="utf-8")
    parts = [(FOLDER / "script" / f"{name}.js").read_text(encoding="utf-8") for name in SCRIPTS]
    script = "\n".join(['(() => {', '"use strict";', *parts, "})();"])
    environment = jinja2.Environment(loader=jinja2.FileSystemLoader(str(FOLDER)), autoescape=True, finalize=_shown,
                                     undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters.update(fixed=fixed, gene=gene_text, duration=lasting, moment=moment,
                               three_digits=three_digits, count="{:,}".format)
    # Between the tags stands exactly what was hashed; the files hold no `</`.
    return environment.get_template(template).render(
        context, policy=_policy(style, script), version=menndl_caffe.__version__, packed=packed(data),
        style=markupsafe.Markup(style), script=markupsafe.Markup(script))


def _shown(value: Any) -> Any:
    """What the template writes: any text but the page's own may come from a journal."""
    own = not isinstance(value, str) or isinstance(value, markupsafe.Markup)
    return value if own else printable(value, lines=True)


def packed(data: Any) -> str:
    """JSON, compressed, in base64: the same data, the same text."""
    text = json.dumps(data, allow_nan=False, separators=(",", ":"))
    return base64.b64encode(gzip.compress(text.encode(), 6, mtime=0)).decode()


def moment(seconds: float) -> str:
    """A time of the day with its zone, as the reader of the report counts it."""
    return time.strftime("%Y-%m-%d %H:%M:%S %Z", time.localtime(seconds))


UNITS = ((86400, "d"), (3600, "h"), (60, "min"), (1, "s"))


def lasting(seconds: float) -> str:
    """A time with its units, the two largest of them: `12.3 s`, `2 min 5 s`, `3 h 20 min`; as scales.js writes it."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    first = next(place for place, (size, _) in enumerate(UNITS) if whole >= size)
    size, unit = UNITS[first]
    smaller, name = UNITS[first + 1]
    rest = whole % size // smaller
    return f"{whole // size} {unit}" + (f" {rest} {name}" if rest else "")


def _policy(style: str, script: str) -> str:
    """A Content-Security-Policy under which nothing is loaded, and only this style and this script count."""
    allowed = {"default-src": "'none'", "script-src": _digest(script), "style-src": _digest(style),
               "img-src": "data:", "base-uri": "'none'", "form-action": "'none'"}
    return "; ".join(f"{what} {source}" for what, source in allowed.items())


def _digest(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
