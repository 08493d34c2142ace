"""`menndl report RUN --watch`: the report in a browser, kept new while the search runs."""
from __future__ import annotations

import contextlib
import socket
from pathlib import Path
from typing import Optional

from menndl_caffe.experiment.recorded import Run
from menndl_caffe.text import show
from menndl_caffe.watch.live import LivePage, Make
from menndl_caffe.watch.server import ReportServer


def serve(run: Path, host: str, port: int, make: Optional[Make] = None) -> None:
    """Serve the report of a run until Ctrl-C. UserError where there is no run or the address cannot be had."""
    page = LivePage(run, make or _page)
    with ReportServer(run, page, host, port) as server:
        show(f"{run}: http://{_name(server)}:{server.server_port}/  (Ctrl-C ends it)")
        if server.only_local:
            show(f"from another machine: `ssh -L {server.server_port}:localhost:{server.server_port} "
                 f"{socket.gethostname()}`, then the same address there")
        with contextlib.suppress(KeyboardInterrupt):
            server.serve_forever()


def _name(server: ReportServer) -> str:
    if server.server_name in ("127.0.0.1", "::1"):
        return "localhost"
    return f"[{server.server_name}]" if ":" in server.server_name else server.server_name


def _page(run: Run) -> str:
    from menndl_caffe.report.page import page

    return page([run])
