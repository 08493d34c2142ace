"""What was run on what, and the command that makes an individual's files: of the journal's `run` and `resume` lines."""
from __future__ import annotations

import shlex
from collections import defaultdict
from typing import Any, Dict, List, Sequence, Set, Tuple

from menndl_caffe.journal import Record
from menndl_caffe.report.page.document import moment

HOSTS = 32  # that are listed
MAY_CHANGE = ("command", "ranks", "host", "threads", "data_folder", "engine_found", "platform")  # in a run gone on with


def facts(record: Record, status: Dict[str, Any]) -> List[Tuple[str, str]]:
    """What was run on what, a line each: name and text; what the journal does not say is left out."""
    run, search = record.run, status["search"]
    hashes, images = run.get("templates"), run.get("test_images")
    settings = ", ".join(f"{name} {value}" for name, value in search["settings"].items())
    engine = f"{run['engine']} ({run.get('engine_found') or 'where it was found is not recorded'})"
    known = [
        ("command", run.get("command")), ("started", moment(run["started"])),
        ("resumed", "; ".join(_resumed(line, run) for line in record.resumes if "started" in line)),
        ("search", f"{search['type']}: {settings}"), ("random seed", run.get("seed")),
        ("iterations", f"{search['max_iter']:,} a training"),
        ("net template", _hashed(search["net"], hashes, "net")),
        ("solver template", _hashed(search["solver"], hashes, "solver")),
        ("data", run.get("data")), ("data folder", run.get("data_folder")),
        ("fitness", f"accuracy on the {search['fitness_set']} set"),
        ("images it is measured on", images and f"{images:,}"),
        ("engine", engine), ("math", run.get("math")), ("threads of a trainer", run.get("threads")),
        ("versions", _versions(run)), ("ranks", run.get("ranks")), ("hosts that trained", _hosts(record)),
        ("host of the master", run.get("host")), ("platform", run.get("platform")),
    ]
    return [(name, str(text)) for name, text in known if text]


def _resumed(line: Dict[str, Any], first: Dict[str, Any]) -> str:
    """When the run was gone on with, and what was another way then than at its start."""
    changed = [f"{name.replace('_', ' ')} {line[name]}" for name in MAY_CHANGE
               if name in line and line[name] != first.get(name)]
    versions = [f"versions {_versions(line)}"] if _versions(line) != _versions(first) else []
    return moment(line["started"]) + "".join(f", {text}" for text in (*changed, *versions))


def _versions(line: Dict[str, Any]) -> str:
    of_engine = line.get("versions")
    named = {"menndl": line.get("menndl"), **(of_engine if isinstance(of_engine, dict) else {})}
    return ", ".join(f"{line['engine'] if name == 'version' else name} {text}" for name, text in named.items()
                     if text is not None)


def _hosts(record: Record) -> str:
    """Each host with the number of its ranks, the first HOSTS of them."""
    ranks: Dict[str, Set[int]] = defaultdict(set)
    for result in record.results.values():
        if result.host and result.same_as is None:
            ranks[result.host].add(result.rank)
    named = [f"{host} ({len(ranks[host])} rank{'s' * (len(ranks[host]) > 1)})" for host in sorted(ranks)]
    more = f" and {len(named) - HOSTS:,} more" if len(named) > HOSTS else ""
    return ", ".join(named[:HOSTS]) + more


def _hashed(name: str, hashes: Any, kind: str) -> str:
    known = hashes.get(kind) if isinstance(hashes, dict) else None
    return f"{name}, SHA-256 {known}" if known else name


def render_command(run: Dict[str, Any]) -> str:
    """The command that writes an individual's two files, up to its genes."""
    try:
        words = shlex.split(str(run.get("command", "")))
    except ValueError:
        words = []
    search, options = _arguments(words[words.index("run") + 1:] if "run" in words else [])
    given = [f"{name} {shlex.quote(value)}" for name, value in options.items()
             if "--data".startswith(name) or "--iterations".startswith(name)]
    return " ".join(["menndl render", shlex.quote(search), f"--seed {run.get('seed', 1)}", *given])


def _arguments(words: Sequence[str]) -> Tuple[str, Dict[str, str]]:
    """The search file and the options of a `menndl run`; argparse takes shortened names of options too."""
    search, options, waiting = "", {}, ""
    for word in words:
        if waiting:
            options[waiting], waiting = word, ""
        elif word.startswith("-"):
            name, has_value, value = word.partition("=")
            if has_value or "--plain".startswith(name):
                options[name] = value
            else:
                waiting = name
        else:
            search = search or word
    return search or "SEARCH", options
