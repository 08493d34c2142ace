"""RUN/search: the search file and the templates of a run, so that it can be gone on with wherever it lies and whatever
becomes of the originals."""
from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Dict

from menndl_caffe.errors import UserError
from menndl_caffe.experiment import hypernet
from menndl_caffe.experiment.experiment import Experiment
from menndl_caffe.experiment.places import KEPT, kept_as
from menndl_caffe.experiment.recorded import Run
from menndl_caffe.experiment.search_file import OVERRIDDEN
from menndl_caffe.files import inside, replacing, sha256_of
from menndl_caffe.nets import prototxt
from menndl_caffe.nets.proto import menndl_pb2

VALUE = rf"(?:{prototxt.STRING}|[^\s;,}}#]+)"


def keep(run: Path, name: str, experiment: Experiment) -> None:
    """Write the copies where they are not there yet, or are not what the run goes on with; `name` is the search file's.
    OSError where they cannot be written."""
    names, files = hypernet.template_names(experiment), hypernet.template_files(experiment)
    wanted = {str(Path(*kept_as(names[kind]))): path.read_bytes() for kind, path in files.items()}
    there = _there(run)
    # What a run goes on with by its own copies is a journal's text, which has no comments.
    text = there[name].decode("utf-8", "surrogateescape") if experiment.places.run and name in there else ""
    wanted[name] = search_text(text or experiment.document.text, experiment.message).encode("utf-8", "surrogateescape")
    if there == wanted:
        return
    with replacing(run / KEPT) as aside:
        for place, content in wanted.items():
            (aside / place).parent.mkdir(parents=True, exist_ok=True)
            (aside / place).write_bytes(content)


def check_copies(run: Run) -> None:
    """UserError where a run's copy of a template is not what the run was made with, or is gone."""
    if run.experiment.places.run is None:
        return
    for kind, path in hypernet.template_files(run.experiment).items():
        recorded = run.line.get("templates", {}).get(kind, "")
        if sha256_of(path) != recorded:
            raise UserError(f"{path} has changed since the run began, which had one of SHA-256 {recorded[:12]}...: "
                            "restore it, or start the command that began the run, which writes it anew")


def _there(run: Path) -> Dict[str, bytes]:
    """The copies that there are, by their place; without those that are links, or behind one."""
    found = {}
    for path in (run / KEPT).rglob("*"):
        place = path.relative_to(run / KEPT)
        try:
            with inside(run, KEPT, *place.parts) as file:
                found[str(place)] = file.read()
        except OSError:
            pass
    return found


def search_text(text: str, message: Any) -> str:
    """The text of a search file with the command line's settings in it, as the message has them; where that cannot be,
    the message as text."""
    for field in OVERRIDDEN:
        value = getattr(message, field)
        if getattr(_message(text), field) != value:
            line = prototxt.dumps(menndl_pb2.SearchParameter(**{field: value})).strip()
            changed = re.sub(rf"\b{field}\s*:\s*{VALUE}", line.replace("\\", r"\\"), text, count=1)
            text = changed if changed != text else f"{text}\n{line}\n"
    return text if _message(text) == message else prototxt.dumps(message)


def _message(text: str) -> Any:
    try:
        return prototxt.parse(text, menndl_pb2.SearchParameter).message
    except UserError:  # a copy that somebody has edited
        return menndl_pb2.SearchParameter()
