"""What was run on what, and the command that makes an individual's files: of the journal's `run` and `resume` lines."""
from __future__ import annotations

import shlex
from collections import defaultdict
from typing import Any, Dict, List, Optional, Set, Tuple

from menndl_caffe.experiment.recorded import Run
from menndl_caffe.report.best import optimized_text
from menndl_caffe.report.page.document import moment
from menndl_caffe.report.status import settings_text

HOSTS = 32  # that are listed
MAY_CHANGE = ("command", "ranks", "host", "threads", "data_folder", "engine_found", "platform",
              "total", "generations")  # in a run gone on with


def facts(run: Run, status: Dict[str, Any]) -> List[Tuple[str, str]]:
    """What was run on what, a line each: name and text; what the journal does not say is left out."""
    line, search = run.line, status["search"]
    hashes, images = line.get("templates", {}), line.get("test_images")
    known = [
        ("command", line.get("command")), ("started", moment(run.started)),
        ("resumed", "; ".join(_resumed(one, run) for one in run.record.resumes if "started" in one)),
        ("search", settings_text(search)),
        ("within each individual", settings_text(search["inner"]) if "inner" in search else None),
        ("known from the beginning", run.earlier), ("random seed", line.get("seed")),
        ("iterations", f"{search['max_iter']:,} a training"),
        ("rungs", run.rungs and f"at iterations {', '.join(f'{rung:,}' for rung in run.rungs)}"),
        ("net template", _hashed(search["net"], hashes.get("net"))),
        ("solver template", _hashed(search["solver"], hashes.get("solver"))),
        ("data", line.get("data")), ("data folder", line.get("data_folder")),
        ("objectives" if len(run.objectives) > 1 else "fitness", optimized_text(run)),
        ("images it is measured on", images and f"{images:,}"),
        ("engine", f"{run.engine} ({line.get('engine_found') or 'where it was found is not recorded'})"),
        ("math", line.get("math")), ("threads of a trainer", line.get("threads")),
        ("versions", _versions(line, run.engine)), ("ranks", line.get("ranks")), ("hosts that trained", _hosts(run)),
        ("host of the master", line.get("host")), ("platform", line.get("platform")),
    ]
    return [(name, str(text)) for name, text in known if text]


def _resumed(line: Dict[str, Any], run: Run) -> str:
    """When the run was gone on with, and what was another way then than at its start."""
    first = run.record.run
    changed = [f"{name.replace('_', ' ')} {line[name]}" for name in MAY_CHANGE
               if name in line and line[name] != first.get(name)]
    before, now = (_versions(one, run.engine) for one in (first, line))
    versions = [f"versions {now}"] if now != before else []
    return moment(line["started"]) + "".join(f", {text}" for text in (*changed, *versions))


def _versions(line: Dict[str, Any], engine: str) -> str:
    named = {"menndl": line.get("menndl"), **line.get("versions", {})}
    return ", ".join(f"{engine if name == 'version' else name} {text}" for name, text in named.items()
                     if text is not None)


def _hosts(run: Run) -> str:
    """Each host with the number of its ranks, the first HOSTS of them."""
    ranks: Dict[str, Set[int]] = defaultdict(set)
    for result in run.record.results.values():
        if result.host and result.same_as is None:
            ranks[result.host].add(result.rank)
    named = [f"{host} ({len(ranks[host])} rank{'s' * (len(ranks[host]) > 1)})" for host in sorted(ranks)]
    more = f" and {len(named) - HOSTS:,} more" if len(named) > HOSTS else ""
    return ", ".join(named[:HOSTS]) + more


def _hashed(name: str, known: Optional[str]) -> str:
    return f"{name}, SHA-256 {known}" if known else name


def render_command(run: Run) -> str:
    """The command that writes an individual's two files, up to its genes. Journals of menndl 0.1 do not name the
    search file."""
    line = run.line
    data = f"--data {shlex.quote(str(line['data_folder']))}" if line.get("data_folder") else ""
    return " ".join(filter(None, (
        "menndl render", shlex.quote(str(line.get("search_file") or "SEARCH")), f"--seed {run.message.random_seed}",
        data, f"--iterations {run.message.max_iter}")))
