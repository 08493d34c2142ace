"""Downloads from a server of this test: whole, gone on with, broken off, wrong, and not to be had."""
from __future__ import annotations

import hashlib
import http.server
import io
import socket
import tarfile
import threading
from pathlib import Path
from typing import Iterator, List

import numpy as np
import pytest

from menndl_caffe.data import cifar10, write
from menndl_caffe.data.download import WebFile, download
from menndl_caffe.errors import UserError

CONTENT = np.random.RandomState(4).bytes(20_000_000)
FIRST_ANSWER = 5_000_000


class Server(http.server.ThreadingHTTPServer):
    """Serves `content` at every path; `knows_ranges` and `breaks_off` make it a better or a worse server."""

    content = CONTENT
    knows_ranges = True
    breaks_off = False

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.ranges: List[str] = []
        self.url = f"http://127.0.0.1:{self.server_port}/cifar-10-binary.tar.gz"


class Handler(http.server.BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        asked = self.headers.get("Range", "")
        self.server.ranges.append(asked)
        start = int(asked[len("bytes="):-1]) if asked and self.server.knows_ranges else 0
        body = self.server.content[start:]
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[:FIRST_ANSWER] if self.server.breaks_off else body)

    def log_message(self, format: str, *arguments: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def file_at(url: str, content: bytes = CONTENT) -> WebFile:
    return WebFile(url, len(content), hashlib.sha256(content).hexdigest())


def test_whole(server: Server, tmp_path: Path) -> None:
    lines: List[str] = []
    path = download(file_at(server.url), tmp_path, lines.append)
    assert path == tmp_path / "cifar-10-binary.tar.gz"
    assert path.read_bytes() == CONTENT
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]
    assert lines[0].endswith("(20 MB)") and lines[1:] == ["  17 of 20 MB"]
    download(file_at(server.url), tmp_path, lines.append)
    assert len(server.ranges) == 1, "what is there is not brought again"


@pytest.mark.parametrize("knows_ranges", [True, False])
def test_broken_off_and_gone_on_with(server: Server, tmp_path: Path, knows_ranges: bool) -> None:
    server.breaks_off, server.knows_ranges = True, knows_ranges
    with pytest.raises(UserError, match=f"ended at byte {FIRST_ANSWER} of 20000000; the same command goes on"):
        download(file_at(server.url), tmp_path, print)
    assert [entry.name for entry in tmp_path.iterdir()] == ["cifar-10-binary.tar.gz.part"]
    server.breaks_off = False
    assert download(file_at(server.url), tmp_path, print).read_bytes() == CONTENT
    assert server.ranges == ["", f"bytes={FIRST_ANSWER}-"]


def test_all_there_but_its_name(server: Server, tmp_path: Path) -> None:
    (tmp_path / "cifar-10-binary.tar.gz.part").write_bytes(CONTENT)
    assert download(file_at(server.url), tmp_path, print).read_bytes() == CONTENT
    assert server.ranges == []


@pytest.mark.parametrize("part", [b"", b"x" * 100, b"x" * 30_000_000])
def test_wrong_content_is_thrown_away(server: Server, tmp_path: Path, part: bytes) -> None:
    (tmp_path / "cifar-10-binary.tar.gz.part").write_bytes(part)
    server.content = bytes(len(CONTENT)) if not part else CONTENT
    with pytest.raises(UserError, match="has not the SHA-256"):
        download(file_at(server.url), tmp_path, print)
    assert list(tmp_path.iterdir()) == []
    server.content = CONTENT
    assert download(file_at(server.url), tmp_path, print).read_bytes() == CONTENT


def test_another_file_in_its_place_stays(server: Server, tmp_path: Path) -> None:
    (tmp_path / "cifar-10-binary.tar.gz").write_bytes(b"somebody's own")
    with pytest.raises(UserError, match="binary.tar.gz is not the file of http.*; move it away, or give its path with"):
        download(file_at(server.url), tmp_path, print)
    assert (tmp_path / "cifar-10-binary.tar.gz").read_bytes() == b"somebody's own"


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """The server is this machine's own, whatever it uses for others."""
    monkeypatch.setenv("no_proxy", "*")


@pytest.fixture
def port() -> Iterator[socket.socket]:
    """A port of 127.0.0.1 that is taken, and at which nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken


def url_of(port: socket.socket) -> str:
    return f"http://127.0.0.1:{port.getsockname()[1]}/cifar-10-binary.tar.gz"


def test_no_server_is_one_line_with_the_ways_out(port: socket.socket, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"cannot download http.*refused.*--source, or take `menndl data synthetic`"):
        download(file_at(url_of(port)), tmp_path, print)


def test_a_server_that_never_answers_is_given_up(port: socket.socket, tmp_path: Path) -> None:
    port.listen(1)  # and its queue of connections is never emptied
    with pytest.raises(UserError, match="timed out"):
        download(file_at(url_of(port)), tmp_path, print, timeout=0.3)


def test_cifar10_without_a_source(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    batch, content = bytes(3 * 3073), io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:gz") as archive:
        for name in cifar10.OFFICIAL:
            member = tarfile.TarInfo(f"cifar-10-batches-bin/{name}.bin")
            member.size = len(batch)
            archive.addfile(member, io.BytesIO(batch))
    server.content = content.getvalue()
    monkeypatch.setattr(cifar10, "RECORDS", 3)
    monkeypatch.setattr(cifar10, "ARCHIVE", file_at(server.url, server.content))
    summary = write("cifar10", tmp_path / "data" / "cifar10", report=lambda line: None)
    assert summary.records == {"cifar10_train_lmdb": 15, "cifar10_test_lmdb": 3}
    server.shutdown()
    write("cifar10", tmp_path / "data" / "cifar10", report=lambda line: None, force=True)
