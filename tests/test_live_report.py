"""`menndl report --watch`: real requests to a real server, friendly and hostile, and a real browser."""
from __future__ import annotations

import contextlib
import http.client
import json
import os
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any, Dict, Iterator, List, Tuple

import pytest

from menndl_caffe import journal
from menndl_caffe.errors import UserError
from menndl_caffe.experiment.recorded import Run
from menndl_caffe.journal import Journal
from menndl_caffe.report.page import page as report_page
from menndl_caffe.trial import Result
from menndl_caffe.watch import live
from menndl_caffe.watch import server as report_server
from menndl_caffe.watch.live import LivePage
from menndl_caffe.watch.server import ReportServer
from tests.support.browser import WIDTHS, new_page
from tests.support.runs import PATIENCE, wait_until
from tests.test_report import TRIALS, record

SECRET = "nobody may read this"
PAGE = "/report/report.html"


def made(run: Run) -> str:
    """A stand-in for the report."""
    return f"<!DOCTYPE html><title>{run.name}</title><p>{len(run.record.results)} results</p></html>"


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run with files, beside one that is not to be read."""
    folder = tmp_path / "run"
    record(folder, TRIALS)
    (tmp_path / "secret.txt").write_text(SECRET)
    (tmp_path / "secret").mkdir()
    for path in (tmp_path / "secret" / "caffe.log", folder / "secret.txt"):
        path.write_text(SECRET)
    (folder / "report").mkdir()
    (folder / "report" / "fitness.png").write_bytes(b"\x89PNG")
    (folder / "report" / ".hidden.txt").write_text(SECRET)
    (folder / "report" / "page.html").write_text(SECRET)
    (folder / "trials" / "5").mkdir(parents=True)
    (folder / "trials" / "5" / "train_test.prototxt").write_text("name: \"net\"  # <script>ä\n")
    (folder / "trials" / "5" / "solver.prototxt").symlink_to(tmp_path / "secret.txt")
    (folder / "trials" / "6").symlink_to(tmp_path / "secret")
    os.mkfifo(folder / "trials" / "5" / "caffe.log")
    (folder / "trials" / "5" / "a folder").mkdir()
    (folder / "trials" / "5" / "weights.caffemodel").write_bytes(b"\0\1\2")
    return folder


Answer = Tuple[int, Dict[str, str], bytes]


class Client:
    """Asks a server; `path` goes out as it is."""

    def __init__(self, server: ReportServer):
        self.port = server.server_port

    def __call__(self, path: str, method: str = "GET", host: str = "", **headers: str) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
        connection.putheader("Host", host or f"localhost:{self.port}")
        for name, value in headers.items():
            connection.putheader(name.replace("_", "-"), value)
        connection.endheaders()
        answer = connection.getresponse()
        content = answer.read()
        connection.close()
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}, content

    def text(self, path: str) -> str:
        return self(path)[2].decode()

    def results(self) -> int:
        return int(json.loads(self.text("/status.json"))["results"])


@pytest.fixture
def serving() -> Iterator[Any]:
    servers: List[ReportServer] = []

    def serve(run: Path, make: Any = made, host: str = "127.0.0.1") -> Client:
        servers.append(ReportServer(run, LivePage(run, make), host, 0))
        threading.Thread(target=servers[-1].serve_forever, args=(0.02,), daemon=True).start()
        return Client(servers[-1])

    yield serve
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture
def ask(run: Path, serving: Any) -> Client:
    client: Client = serving(run)
    return client


@pytest.fixture
def no_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "REST", 0.0)


def add_result(run: Path, id: int = 8) -> None:
    with Journal(run, fsync=False) as writer:
        writer.add_result(Result(id, "ok", 0.5, 1.0, started=2015, seconds=5))


def test_what_there_is_to_see(ask: Client) -> None:
    for path, kind, part in (("/", "text/html; charset=utf-8", b"<iframe"), ("/shell.js", "text/javascript", b"poll"),
                             ("/shell.css", "text/css", b"iframe"), (PAGE, "text/html", b"8 results"),
                             (PAGE + "?x=1", "text/html", b"8 results"), ("/report/fitness.png", "image/png", b"PNG"),
                             ("/trials/5/train_test.prototxt", "text/plain; charset=utf-8", "<script>ä".encode()),
                             ("/trials/5/weights.caffemodel", "application/octet-stream", b"\0\1\2")):
        status, headers, content = ask(path)
        assert status == 200 and headers["content-type"].startswith(kind) and part in content, path
        assert int(headers["content-length"]) == len(content)
        status, head, nothing = ask(path, method="HEAD")
        assert (status, head["content-length"], nothing) == (200, headers["content-length"], b"")


@pytest.mark.parametrize("path", [PAGE, "/", "/status.json", "/trials/5/train_test.prototxt", "/nothing", "/%00"])
def test_every_answer_is_guarded(ask: Client, path: str) -> None:
    _, headers, _ = ask(path)
    assert (headers["cache-control"], headers["x-content-type-options"]) == ("no-store", "nosniff")
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["cross-origin-resource-policy"] == "same-origin"
    assert "frame-ancestors" in headers["content-security-policy"] and "Python" not in headers["server"]
    if path != PAGE:
        assert "default-src 'none'" in headers["content-security-policy"]
        assert "'unsafe-inline'" not in headers["content-security-policy"].split("style-src")[0]


@pytest.mark.parametrize("path", [
    "/../secret.txt", "/trials/../../secret.txt", "/trials/5/../../../secret.txt", "/report/../../secret.txt",
    "/%2e%2e/secret.txt", "/trials/%2e%2e/%2e%2e/secret.txt", "/trials/5/..%2f..%2f..%2fsecret.txt",
    "/report/..%5c..%5csecret.txt", "/report/%252e%252e/secret.txt", "//etc/passwd", "/etc/passwd", "etc/passwd",
    "file:///etc/passwd", "http://localhost/secret.txt", "/trials//etc/passwd", "/report//etc/passwd.txt",
    "/trials/5/solver.prototxt", "/trials/6/caffe.log", "/trials/5/caffe.log", "/trials/5/a%20folder",
    "/trials/5/", "/trials/5", "/trials/", "/report/", "/report", "/journal.jsonl", "/lock", "/secret.txt",
    "/report/.hidden.txt", "/report/page.html", "/trials/5/train_test.prototxt/", "/trials/5/train_test.prototxt%00",
    "/trials/-5/train_test.prototxt", "/trials/05x/x", "/trials/٥/train_test.prototxt".encode().decode("latin-1"),
    "/trials/5/train_test.prototxt%00.png", "/shell.html", "/server.py", "/trials/999/caffe.log",
])
def test_nothing_else_can_be_had(ask: Client, path: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(http.client.HTTPConnection, "_validate_path", lambda self, url: None)
        patch.setattr(http.client.HTTPConnection, "_encode_request", lambda self, request: request.encode("latin-1"))
        status, _, content = ask(path)
    assert status == 404 and content == b"404 Not Found\n"


def test_a_report_folder_that_leads_elsewhere(run: Path, serving: Any, tmp_path: Path) -> None:
    (run / "report").rename(tmp_path / "elsewhere")
    (run / "report").symlink_to(tmp_path / "elsewhere")
    link = tmp_path / "link"
    link.symlink_to(run)
    ask = serving(link)
    assert ask("/report/fitness.png")[0] == 404
    assert ask("/trials/5/train_test.prototxt")[0] == 200  # the user's own link to the run is the user's matter


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "TRACE", "CONNECT", "PATCH"])
def test_nothing_can_be_changed(ask: Client, run: Path, method: str) -> None:
    before = sorted((str(path), path.lstat().st_mtime_ns) for path in run.rglob("*"))
    assert ask("/trials/5/train_test.prototxt", method=method)[0] == 501
    ask(PAGE)
    assert sorted((str(path), path.lstat().st_mtime_ns) for path in run.rglob("*")) == before


@pytest.mark.parametrize("host, status", [
    ("localhost", 200), ("localhost:9999", 200), ("127.0.0.1:8000", 200), ("[::1]:8000", 200),
    ("evil.example", 403), ("evil.example:8000", 403), ("localhost.evil.example", 403), ("127.0.0.1.evil.example", 403),
    ("LOCALHOST:8000", 200), ("localhost.", 200), ("127.0.0.2", 200), ("[0:0:0:0:0:0:0:1]:80", 200),
    ("[::1", 403), ("[evil]", 403), (" ", 403), ("localhost@evil.example", 403), ("[localhost]", 403),
    ("[127.0.0.1].evil.example", 403), ("[::1].evil.example:80", 403), ("[127.0.0.1]", 403), ("::1", 403),
    ("localhost:evil.example", 403), ("localhost:80:80", 403), ("10.0.0.1", 403), ("[fe80::1]", 403), ("[]", 403),
    ("localhost, evil.example", 403), ("\xff\xfe", 403), ("localhost\xa0", 403), ("x" * 30_000, 403), ("%31", 403)])
def test_a_name_that_was_made_to_mean_this_machine(ask: Client, host: str, status: int) -> None:
    for path in ("/", PAGE, "/status.json", "/trials/5/train_test.prototxt"):
        answered, _, content = ask(path, host=host)
        assert answered == status and (status == 200 or content == b"403 Forbidden\n")


def test_a_request_without_a_host(ask: Client) -> None:
    with socket.create_connection(("127.0.0.1", ask.port), timeout=PATIENCE) as connection:
        connection.sendall(b"GET /status.json HTTP/1.0\r\n\r\n")
        with connection.makefile("rb") as answer:
            assert answer.readline().startswith(b"HTTP/1.0 403")


def test_a_request_with_two_hosts(ask: Client) -> None:
    with socket.create_connection(("127.0.0.1", ask.port), timeout=PATIENCE) as connection:
        connection.sendall(b"GET /status.json HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n")
        with connection.makefile("rb") as answer:
            assert answer.readline().startswith(b"HTTP/1.0 403")


def test_only_this_machine_unless_told_otherwise(run: Path, serving: Any) -> None:
    local, others = serving(run), []
    with contextlib.suppress(socket.gaierror):  # a machine's own name need not have an address
        others = [info[4][0] for info in socket.getaddrinfo(socket.gethostname(), None, socket.AF_INET)]
    for address in [other for other in others if not str(other).startswith("127.")][:1]:
        with pytest.raises(OSError):
            socket.create_connection((address, local.port), timeout=2)
    everywhere = serving(run, host="0.0.0.0")
    assert everywhere(PAGE, host="node7.cluster:8000")[0] == 200


def test_addresses_that_cannot_be_had(run: Path, ask: Client) -> None:
    for host, port in (("127.0.0.1", ask.port), ("203.0.113.1", 0), ("no such host", 0)):
        with pytest.raises(UserError, match="expected an address of this machine"):
            ReportServer(run, LivePage(run, made), host, port)
    with pytest.raises(UserError, match="is not a run"):
        LivePage(run / "trials", made)


def test_the_page_is_made_only_when_there_is_something_new(run: Path, serving: Any, no_rest: None) -> None:
    times: List[int] = []
    ask = serving(run, lambda *known: times.append(1) or made(*known))  # type: ignore[func-returns-value]
    assert [ask.text(PAGE) for _ in range(3)] == [ask.text(PAGE)] * 3 and len(times) == 1
    assert ask.results() == 8 and ask.text(PAGE).endswith("<!--8-->")
    with open(run / journal.NAME, "ab") as file:
        file.write(b'{"event": "result", "id": 8')
    assert ask.results() == 8 and "8 results" in ask.text(PAGE) and len(times) == 1
    add_result(run)
    assert ask.results() == 9 and "9 results" in ask.text(PAGE) and len(times) == 2


def test_the_page_is_not_made_too_often(run: Path, serving: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [100.0]
    monkeypatch.setattr(live.time, "monotonic", lambda: clock[0])

    def slow(*known: Any) -> str:
        clock[0] += 2
        return made(*known)

    ask = serving(run, slow)
    assert "8 results" in ask.text(PAGE)
    add_result(run)
    clock[0] = 111.9  # it was ready at 102, and took 2 s: another one 10 s later
    assert "8 results" in ask.text(PAGE) and ask.results() == 8  # what is not to be had is not promised
    clock[0] = 112.0
    assert ask.results() == 9 and "9 results" in ask.text(PAGE)


def test_many_browsers_share_one_page(run: Path, serving: Any) -> None:
    times: List[int] = []

    def slow(*known: Any) -> str:
        times.append(1)
        time.sleep(0.3)
        return made(*known)

    ask = serving(run, slow)
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(ask.text, [PAGE] * 8))
    assert len(times) == 1 and len(set(answers)) == 1 and "8 results" in answers[0]


def test_a_large_page_travels_compressed(run: Path, serving: Any) -> None:
    import gzip

    ask = serving(run, lambda *known: "<p>ä</p>" * 100000)
    status, headers, content = ask(PAGE, Accept_Encoding="gzip, deflate")
    assert headers["content-encoding"] == "gzip" and len(content) == int(headers["content-length"]) < 10000
    assert gzip.decompress(content).decode() == ask.text(PAGE)


def stalled(ask: Client, headers: str = "") -> socket.socket:
    """A client that asks for the page and reads no more than that it comes."""
    connection = socket.create_connection(("127.0.0.1", ask.port), timeout=PATIENCE)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.sendall(f"GET {PAGE} HTTP/1.0\r\nHost: localhost\r\n{headers}\r\n".encode())
    assert connection.recv(15) == b"HTTP/1.0 200 OK"
    return connection


def add_individual(run: Path, id: int) -> None:
    with Journal(run, fsync=False) as writer:
        writer.add_trial(replace(writer.record.trials[5], id=id))
    add_result(run, id)


def test_clients_that_stall_share_their_pages(run: Path, serving: Any, no_rest: None,
                                              monkeypatch: pytest.MonkeyPatch) -> None:
    """However many they are, PAGES are in memory, and those who come later get the newest of these."""
    noise = os.urandom(8_000_000).hex()  # what the system takes on the way is far less
    made_pages: List[int] = []
    compressed = live.Page

    def counted(text: str, results: int) -> live.Page:
        made_pages.append(results)
        return compressed(text, results)

    monkeypatch.setattr(live, "Page", counted)
    ask = serving(run, lambda run: made(run) + noise)
    clients = []
    try:
        for i in range(3 * live.PAGES):
            clients.append(stalled(ask, "Accept-Encoding: gzip\r\n" if i % 2 else ""))
            add_individual(run, 8 + i)
        assert made_pages == [8 + i for i in range(live.PAGES)]
        assert ask.results() == made_pages[-1]  # what is not to be had is not promised
    finally:
        for client in clients:
            client.close()
    assert wait_until(lambda: ask.results() == 8 + 3 * live.PAGES)


def test_no_more_clients_than_there_is_room_for(run: Path, serving: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report_server, "CLIENTS", 2)
    ask = serving(run, lambda run: "x" * 50_000_000)
    with stalled(ask), stalled(ask):
        with socket.create_connection(("127.0.0.1", ask.port), timeout=PATIENCE) as late:
            late.sendall(b"GET / HTTP/1.0\r\nHost: localhost\r\n\r\n")
            with contextlib.suppress(ConnectionError):
                assert late.recv(1) == b""
    assert wait_until(lambda: _answers(ask))


def _answers(ask: Client) -> bool:
    try:
        return ask("/")[0] == 200
    except OSError:
        return False


def test_a_log_that_grows_while_it_is_sent(run: Path, serving: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """So many bytes come as were announced."""
    path = run / "trials" / "5" / "train_test.prototxt"
    before = path.read_bytes()
    inside = report_server.inside

    def grown(*where: Any) -> Any:
        file = inside(*where)
        begin = report_server._Handler._begin

        def grow_then(handler: Any, *known: Any, **more: Any) -> None:
            begin(handler, *known, **more)
            path.write_bytes(before * 2)

        monkeypatch.setattr(report_server._Handler, "_begin", grow_then)
        return file

    monkeypatch.setattr(report_server, "inside", grown)
    assert serving(run)("/trials/5/train_test.prototxt")[2] == before


def test_what_is_wrong_is_said_in_the_page(run: Path, serving: Any, no_rest: None) -> None:
    def refusing(run: Run) -> str:
        raise UserError(f"nothing to report <script>alert({len(run.record.results)})</script>")

    status, _, content = serving(run, refusing)(PAGE)
    assert status == 503 and b"nothing to report &lt;script&gt;alert(8)" in content and b"<script>" not in content
    ask, good = serving(run), (run / journal.NAME).read_bytes()
    with open(run / journal.NAME, "ab") as file:
        file.write(b"banana\n")
    assert ask(PAGE)[0] == 503 and ask.results() == 0
    (run / journal.NAME).write_bytes(good)  # mended
    assert ask.results() == 8 and "8 results" in ask.text(PAGE)
    record(run / "new", TRIALS[:3])  # begun anew
    (run / "new" / journal.NAME).replace(run / journal.NAME)
    assert ask(PAGE)[0] == 503 and "3 results" in ask.text(PAGE)


# In a browser

class Window:
    """The address of a server, opened; `pass_time` lets the page's clock run ahead."""

    def __init__(self, chromium: Any, ask: Client, width: int = WIDTHS[0]):
        self.errors: List[str] = []
        self.page = new_page(chromium, width, 700)
        self.page.on("console", lambda message: self.errors.append(message.text))
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.clock.install()
        self.page.goto(f"http://localhost:{ask.port}/")
        self.frame = self.page.frame_locator("iframe")

    def waits_for(self, text: str) -> None:
        self.frame.get_by_text(text).wait_for()

    def is_loaded(self) -> None:
        """Until the page knows that the report has come."""
        assert wait_until(lambda: self.page.title() == "run")

    def pass_time(self) -> None:
        """Until it has asked for new results once more."""
        with self.page.expect_response("**/status.json"):
            self.page.clock.fast_forward(5000)

    @property
    def bar(self) -> Any:
        return self.page.get_by_role("status")

    def scrolled(self) -> Any:
        return self.page.evaluate("document.querySelector('iframe').contentWindow.scrollY")


@pytest.fixture
def window(chromium: Any) -> Iterator[Any]:
    opened: List[Window] = []

    def start(ask: Client, **keywords: Any) -> Window:
        opened.append(Window(chromium, ask, **keywords))
        return opened[-1]

    yield start
    for one in opened:
        one.page.close()


def long(run: Run) -> str:
    return made(run).replace("</html>", "<div style='height: 5000px'>a long page</div></html>")


@pytest.mark.parametrize("width", WIDTHS)
def test_a_page_that_nobody_works_with_renews_itself(run: Path, serving: Any, window: Any, no_rest: None,
                                                     width: int) -> None:
    shown = window(serving(run, long), width=width)
    shown.waits_for("8 results")
    shown.is_loaded()
    shown.page.evaluate("document.querySelector('iframe').contentWindow.scrollTo(0, 1234)")
    shown.pass_time()
    assert shown.bar.is_hidden()
    add_result(run)
    shown.pass_time()
    shown.waits_for("9 results")
    assert wait_until(lambda: shown.scrolled() == 1234)
    assert shown.bar.is_hidden() and shown.errors == []


def test_a_page_that_is_worked_with_waits_for_the_button(run: Path, serving: Any, window: Any, no_rest: None) -> None:
    first, second = (window(serving(run, long)) for _ in range(2))
    for shown in (first, second):
        shown.waits_for("8 results")
        shown.is_loaded()
    first.page.evaluate("document.querySelector('iframe').contentWindow.scrollTo(0, 777)")
    first.page.mouse.click(300, 300)
    add_result(run)
    for shown in (first, second):
        shown.page.clock.fast_forward(60000)
        shown.pass_time()
    second.waits_for("9 results")  # which was not touched
    first.bar.wait_for(state="visible")
    assert "1 new result" in first.bar.inner_text()
    before = first.scrolled()
    assert before > 0 and first.frame.get_by_text("9 results").count() == 0
    first.page.get_by_role("button").click()
    first.frame.get_by_text("9 results").wait_for(state="attached")
    assert wait_until(lambda: first.scrolled() == before)
    assert first.bar.is_hidden() and first.errors == second.errors == []


def test_a_server_that_has_ended(run: Path, serving: Any, window: Any) -> None:
    ask = serving(run)
    shown = window(ask)
    shown.waits_for("8 results")
    shown.page.route("**/status.json", lambda route: route.abort())
    shown.page.clock.fast_forward(5000)
    shown.bar.wait_for(state="visible")
    assert "not being served any more" in shown.bar.inner_text()
    assert shown.page.get_by_role("button").is_hidden() and shown.frame.get_by_text("8 results").is_visible()


def test_a_run_that_begins_later(tmp_path: Path, serving: Any, window: Any, no_rest: None) -> None:
    """The real report, from the moment before the first line."""
    (tmp_path / journal.NAME).write_text('{"event": "run"')
    shown = window(serving(tmp_path, lambda run: report_page([run])))
    shown.waits_for("has not begun")
    record(tmp_path / "source", TRIALS)
    (tmp_path / "source" / journal.NAME).replace(tmp_path / journal.NAME)  # all at once: the page may look at any time
    shown.frame.locator("html[data-drawn]").wait_for(state="attached")
    assert shown.frame.get_by_text("0.7400").count()
    assert all("status of 503" in error for error in shown.errors)  # which Chromium notes of the first answers
