"""A solver's text: what menndl says in it from now on."""
from __future__ import annotations

from pathlib import PurePosixPath
from typing import Iterator

from menndl_caffe.experiment.render import NET_FILE
from menndl_caffe.init.texts import Edit
from menndl_caffe.nets.prototxt import Document

# By menndl for each individual; where the solver has no such field it gets one.
SET = {"net": f'"{{{{ directory }}}}/{NET_FILE}"', "max_iter": "{{ max_iter }}", "solver_mode": "{{ solver_mode }}",
       "random_seed": "{{ random_seed }}"}


def solver_edits(solver: Document) -> Iterator[Edit]:
    """The fields SET and the folder of snapshot_prefix; those that are missing stand at the end."""
    end, missing = len(solver.text), []
    for field, value in SET.items():
        span = solver.span((field,))
        if span:
            yield Edit(*span, value)
        else:
            missing.append(f"{field}: {value}\n")
    prefix = solver.span(("snapshot_prefix",))
    if prefix:
        name = PurePosixPath(solver.message.snapshot_prefix).name or "snapshot"
        yield Edit(*prefix, f'"{{{{ directory }}}}/{name}"')
    if missing:
        newline = "" if solver.text.endswith("\n") or not solver.text else "\n"
        yield Edit(end, end, newline + "".join(missing))
