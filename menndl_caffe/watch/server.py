"""The report over HTTP: the page, the figures in RUN/report and the files in RUN/trials; nothing else, and read only.

A request's path is never decoded, and must fit one of a few patterns with no slash or leading dot in any name; each
folder on the way to a file is opened without following links. What a browser gets may load nothing from elsewhere.
"""
from __future__ import annotations

import gzip
import html
import io
import ipaddress
import json
import os
import re
import socket
import sys
import threading
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from socketserver import TCPServer
from typing import Any, Callable

from menndl_caffe.errors import UserError
from menndl_caffe.files import inside
from menndl_caffe.watch.live import LivePage

HERE = Path(__file__).parent
SHELL = {"/": ("shell.html", "text/html"), "/shell.js": ("shell.js", "text/javascript"),
         "/shell.css": ("shell.css", "text/css")}
PAGE, STATUS = "/report/report.html", "/status.json"
CLIENTS = 32  # that are answered at a time; one more finds its connection closed
CHUNK = 2**16  # bytes that are sent at a time: a client that takes none for a minute is given up
HOST = re.compile(r"(?:\[([^\]]*)\]|([^\[\]:]*))(?::[0-9]*)?", re.ASCII)  # an IPv6 address or a name, and a port
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
        self._room = threading.BoundedSemaphore(CLIENTS)
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

    def process_request(self, request: Any, client_address: Any) -> None:
        """In a thread of its own, as long as there is room."""
        if self._room.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """And then make room."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._room.release()

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
        if not self.server.only_local:
            return True
        match = HOST.fullmatch(",".join(self.headers.get_all("Host", [])))
        return match is not None and _is_local(match[1] or "", match[2] or "")

    def _send_page(self) -> None:
        try:
            page = self.server.page.page()
        except UserError as error:
            self._send(TROUBLE.format(html.escape(str(error))).encode(), "text/html", INERT,
                       HTTPStatus.SERVICE_UNAVAILABLE)
            return
        packed = "gzip" in self.headers.get("Accept-Encoding", "")
        self._begin(HTTPStatus.OK, "text/html", SELF_CONTAINED, len(page.packed) if packed else page.size, packed)
        content = io.BytesIO(page.packed)
        self._copy(content.read if packed else gzip.GzipFile(fileobj=content).read)

    def _send_status(self) -> None:
        try:
            status = {"results": self.server.page.results()}
        except UserError:  # the page says what it is
            status = {"results": 0}
        self._send(json.dumps(status).encode(), "application/json", INERT)

    def _send_file(self, path: str) -> None:
        match = FILES.fullmatch(path)
        try:
            file = inside(self.server.run, *(name for name in match.groups() if name)) if match else None
        except OSError:
            file = None
        if file is None:
            return self._refuse(HTTPStatus.NOT_FOUND)
        with file:
            kind = TYPES.get(os.path.splitext(path)[1], "application/octet-stream")
            self._begin(HTTPStatus.OK, kind, INERT, os.fstat(file.fileno()).st_size)
            self._copy(file.read)

    def _refuse(self, status: HTTPStatus) -> None:
        self._send(f"{status.value} {status.phrase}\n".encode(), "text/plain", INERT, status)

    def _send(self, content: bytes, kind: str, policy: str, status: HTTPStatus = HTTPStatus.OK) -> None:
        self._begin(status, kind, policy, len(content))
        self._copy(io.BytesIO(content).read)

    def _begin(self, status: HTTPStatus, kind: str, policy: str, length: int, packed: bool = False) -> None:
        """The headers of so many bytes."""
        self.send_response(status)
        self.send_header("Content-Type", kind + ("; charset=utf-8" if kind.startswith("text") else ""))
        self.send_header("Content-Security-Policy", policy)
        if packed:
            self.send_header("Content-Encoding", "gzip")
        self.send_header("Content-Length", str(length))
        self._left = length
        self.end_headers()

    def _copy(self, read: Callable[[int], bytes]) -> None:
        """As many bytes as were announced: a log may still grow."""
        while self._left and self.command != "HEAD":
            chunk = read(min(CHUNK, self._left))
            if not chunk:
                break
            self.wfile.write(chunk)
            self._left -= len(chunk)

    def end_headers(self) -> None:
        """Every answer has these, refusals included."""
        for name, value in HEADERS.items():
            self.send_header(name, value)
        super().end_headers()

    def log_message(self, format: str, *arguments: object) -> None:
        """Nothing: requests are no news."""


def _is_local(address: str, name: str) -> bool:
    """Whether an IPv6 address, or a name or another address, can mean this machine alone."""
    if name.lower().rstrip(".") == "localhost":
        return True
    try:
        return ipaddress.ip_address(address or name).is_loopback and (":" in address) == bool(address)
    except ValueError:
        return False
