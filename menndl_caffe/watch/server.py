"""The report over HTTP: the page, the figures in RUN/report and the files in RUN/trials; nothing else, and read only.

A request's path is never decoded, and must fit one of a few patterns with no slash or leading dot in any name; each
folder on the way to a file is opened without following links. What a browser gets may load nothing from elsewhere.
"""
from __future__ import annotations

import gzip
import html
import ipaddress
import json
import os
import re
import socket
import sys
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from socketserver import TCPServer
from typing import Any, Optional, Sequence

from menndl_caffe.errors import UserError
from menndl_caffe.files import inside
from menndl_caffe.watch.live import LivePage

HERE = Path(__file__).parent
SHELL = {"/": ("shell.html", "text/html"), "/shell.js": ("shell.js", "text/javascript"),
         "/shell.css": ("shell.css", "text/css")}
PAGE, STATUS = "/report/report.html", "/status.json"
NAME = r"[A-Za-z0-9_][A-Za-z0-9_.-]*"
FILES = re.compile(rf"/(report)/({NAME}\.(?:png|svg|pdf|csv|txt))|/(trials)/([0-9]+)/({NAME})", re.ASCII)
TYPES = {".png": "image/png", ".svg": "image/svg+xml", ".pdf": "application/pdf",
         **dict.fromkeys((".csv", ".txt", ".log", ".prototxt"), "text/plain")}
HEADERS = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer",
           "Cross-Origin-Resource-Policy": "same-origin"}
SELF_CONTAINED = "frame-ancestors 'self'"  # what it may load, the page says itself
INERT = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'; " \
    "frame-ancestors 'self'"
OWN = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; frame-src 'self'; img-src data:; " \
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
TROUBLE = """<!DOCTYPE html>
<html lang="en"><meta charset="utf-8"><meta http-equiv="refresh" content="4"><title>menndl report</title>
<p>{}</p><p>This page looks again every four seconds.</p></html>
"""


class ReportServer(ThreadingHTTPServer):
    """Serves one run on an address until it is closed."""

    daemon_threads = True

    def __init__(self, run: Path, page: LivePage, host: str, port: int):
        """Port 0 is any free one. UserError where the address cannot be had."""
        self.run, self.page = run, page
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        try:
            super().__init__((host, port), _Handler)
        except OSError as error:
            raise UserError(f"--host {host} --port {port}: {error.strerror or error}; expected an address of this "
                            "machine and a free port (0: any)") from None
        self.only_local = ipaddress.ip_address(self.server_name).is_loopback

    def server_bind(self) -> None:
        """Without looking up the host's name, which may take long."""
        TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), self.server_address[1]

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A browser that went away is none; others are shown."""
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    server: ReportServer
    server_version, sys_version = "menndl", ""
    timeout = 60  # seconds for a client that says nothing

    def do_GET(self) -> None:
        """Answer one request."""
        path = self.path.partition("?")[0]
        if not self._is_for_us():
            self._refuse(HTTPStatus.FORBIDDEN)
        elif path in SHELL:
            name, kind = SHELL[path]
            self._send((HERE / name).read_bytes(), kind, OWN)
        elif path == PAGE:
            self._send_page()
        elif path == STATUS:
            self._send_status()
        else:
            self._send_file(path)

    do_HEAD = do_GET

    def _is_for_us(self) -> bool:
        """A page from elsewhere whose name was made to mean this machine must not read the report (DNS rebinding)."""
        host = self.headers.get("Host", "")
        name = host[1:].partition("]")[0] if host.startswith("[") else host.partition(":")[0]
        return not self.server.only_local or name in ("localhost", "127.0.0.1", "::1", self.server.server_name)

    def _send_page(self) -> None:
        try:
            page = self.server.page.html()
        except UserError as error:
            self._send(TROUBLE.format(html.escape(str(error))).encode(), "text/html", INERT,
                       HTTPStatus.SERVICE_UNAVAILABLE)
        else:
            self._send(page.encode(), "text/html", SELF_CONTAINED)

    def _send_status(self) -> None:
        try:
            status = {"results": self.server.page.results()}
        except UserError:  # the page says what it is
            status = {"results": 0}
        self._send(json.dumps(status).encode(), "application/json", INERT)

    def _send_file(self, path: str) -> None:
        match = FILES.fullmatch(path)
        content = _content(self.server.run, [name for name in match.groups() if name]) if match else None
        if content is None:
            self._refuse(HTTPStatus.NOT_FOUND)
        else:
            kind = TYPES.get(os.path.splitext(path)[1], "application/octet-stream")
            self._send(content, kind, INERT)

    def _refuse(self, status: HTTPStatus) -> None:
        self._send(f"{status.value} {status.phrase}\n".encode(), "text/plain", INERT, status)

    def _send(self, content: bytes, kind: str, policy: str, status: HTTPStatus = HTTPStatus.OK) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind + ("; charset=utf-8" if kind.startswith("text") else ""))
        self.send_header("Content-Security-Policy", policy)
        if kind == "text/html" and "gzip" in self.headers.get("Accept-Encoding", ""):
            content = gzip.compress(content, 4)
            self.send_header("Content-Encoding", "gzip")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def end_headers(self) -> None:
        """Every answer has these, refusals included."""
        for name, value in HEADERS.items():
            self.send_header(name, value)
        super().end_headers()

    def log_message(self, format: str, *arguments: object) -> None:
        """Nothing: requests are no news."""


def _content(folder: Path, names: Sequence[str]) -> Optional[bytes]:
    try:
        with inside(folder, *names) as file:
            return file.read()
    except OSError:
        return None
