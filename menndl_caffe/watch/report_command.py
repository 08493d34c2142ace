"""`menndl report`: a run's page, tables and figures in a folder, or with --watch the page in a browser."""
from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from menndl_caffe.arguments import new_folder, whole
from menndl_caffe.errors import UserError
from menndl_caffe.text import show

HOST, PORT = "127.0.0.1", 8000


def add_arguments(command: argparse.ArgumentParser) -> None:
    """The arguments of `menndl report`."""
    command.add_argument("--watch", action="store_true",
                         help="serve the report of one run while it goes on, for reading only, until Ctrl-C; from "
                              "another machine: `ssh -L 8000:localhost:8000 LOGIN`, then http://localhost:8000 there")
    command.add_argument("--port", type=whole(0, 65535), metavar="N",
                         help=f"with --watch: the port; 0 is any free one (default: {PORT})")
    command.add_argument("--host", metavar="ADDRESS",
                         help="with --watch: the address to serve on; any but this machine's own lets others read the "
                              f"report too (default: {HOST}, which everyone with an account on this machine can read)")
    command.add_argument("runs", type=Path, nargs="+", metavar="RUN",
                         help="folder of the run; of several, a comparison")
    command.add_argument("--out", type=new_folder, metavar="DIR",
                         help="where to write (default: RUN/report; of several runs, the first one's)")


def main(arguments: Any) -> None:
    """Serve, compare or write; the paths of what was written are printed."""
    if arguments.watch:
        return _serve(arguments)
    if arguments.port is not None or arguments.host:
        raise UserError("--port and --host go with --watch")
    from menndl_caffe.experiment import recorded
    from menndl_caffe.report.files import write_comparison, write_report

    run, *others = arguments.runs
    if others:
        return show(write_comparison(list(map(recorded.read, arguments.runs)), arguments.out))
    page, *files = write_report(recorded.read(run), folder=arguments.out)
    tables = [path for path in files if path.suffix in (".csv", ".txt", ".md", ".tex")]
    figures = set(files) - set(tables)
    names, formats = {path.stem for path in figures}, {path.suffix for path in figures}
    show(f"{page}\n{page.parent}: {len(tables)} tables, {len(names)} figures in {len(formats)} formats")


def _serve(arguments: Any) -> None:
    from menndl_caffe.watch.serve import serve

    if len(arguments.runs) > 1 or arguments.out:
        raise UserError("--watch is for one run, and writes nothing")
    serve(arguments.runs[0], arguments.host or HOST, PORT if arguments.port is None else arguments.port)
