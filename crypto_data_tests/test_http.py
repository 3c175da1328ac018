"""Requests, retries, and which answer becomes which error."""

import logging
import pickle
import socket
import threading
import time
from base64 import b64encode
from concurrent.futures import ThreadPoolExecutor

import pytest

from crypto_data.errors import (
    Absent,
    Blocked,
    Broken,
    Closed,
    RateLimited,
    Rejected,
    SourceError,
    Unreachable,
)
from crypto_data.sandbox.faults import Fault
from crypto_data.sandbox.server import Sandbox
from crypto_data.sources.http import HttpClient, Request, Retry
from crypto_data.sources.refusal import refusal_of

NOW_MS = 1_718_000_000_000
TIME = "/api/v3/time"


class OpenDoor:
    """A way without a gate that notes what passes."""

    source = "rest"
    series = "binance/spot/BTCUSDT/1m"

    def __init__(self):
        self.seen = []

    def enter(self):
        self.seen.append("enter")

    def answered(self, headers):
        assert headers
        self.seen.append("answered")

    def refused(self, error):
        self.seen.append(type(error).__name__)

    def gave_up(self, error):
        assert error.detail
        self.seen.append("gave up")

    def passed(self):
        self.seen.append("passed")


@pytest.fixture(scope="module")
def exchange():
    with Sandbox(now_ms=NOW_MS) as sandbox:
        yield sandbox


@pytest.fixture
def sandbox(exchange):
    exchange.faults.clear()
    exchange.requests.clear()
    return exchange


@pytest.fixture
def client():
    client = HttpClient(timeout=0.5, retry=Retry(max_retries=2, delay_s=0.01))
    yield client
    client.close()


def serve_once(reply, *, pause_s=0.0):
    """Return the URL of a socket that answers any request with `reply`, piece by piece."""
    server = socket.create_server(("127.0.0.1", 0))

    def run():
        with server:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                with connection:
                    connection.recv(65536)
                    try:
                        for piece in reply:
                            connection.sendall(piece)
                            time.sleep(pause_s)
                    except OSError:
                        continue

    threading.Thread(target=run, daemon=True).start()
    return f"http://127.0.0.1:{server.getsockname()[1]}/"


def test_an_answer_brings_body_headers_and_attempts(sandbox, client) -> None:
    """A good answer is handed over whole, with the weight header in lower case."""
    answer = client.get(Request(f"{sandbox.url}{TIME}"), OpenDoor())

    assert answer.body == b'{"serverTime": %d}' % NOW_MS
    assert answer.headers["x-mbx-used-weight-1m"].isdigit()
    assert (answer.status, answer.attempts) == (200, 1)


@pytest.mark.parametrize(
    ("fault", "kind", "requests"),
    [
        pytest.param({"status": 503}, Unreachable, 3, id="503-is-repeated"),
        pytest.param({"action": "drop"}, Unreachable, 3, id="dropped"),
        pytest.param({"action": "drop", "how": "midway"}, Unreachable, 3, id="dropped-midway"),
        pytest.param({"action": "truncate"}, Unreachable, 3, id="shorter-than-content-length"),
        pytest.param({"action": "delay", "seconds": 0.8}, Unreachable, 3, id="too-slow"),
        pytest.param({"status": 404}, Absent, 1, id="404"),
        pytest.param({"status": 403, "body": "html403"}, Blocked, 1, id="firewall"),
        pytest.param({"status": 451, "body": "451"}, Blocked, 1, id="region"),
        pytest.param({"status": 302}, Blocked, 1, id="redirect"),
        pytest.param({"status": 418, "retry_after": 120}, RateLimited, 1, id="ban"),
        pytest.param({"status": 429, "retry_after": 0}, RateLimited, 3, id="short-429-is-repeated"),
        pytest.param({"status": 400, "body": "json", "code": -1121}, Rejected, 1, id="symbol"),
        pytest.param({"status": 400, "body": "json", "code": -1001}, Unreachable, 3, id="-1001"),
        pytest.param({"status": 400, "body": "plain"}, Broken, 1, id="400-without-code"),
    ],
)  # fmt: skip
def test_each_fault_is_its_own_error(sandbox, client, fault, kind, requests) -> None:
    """Faults become the error that says what to do next; only passing ones are repeated."""
    sandbox.faults.add(Fault(TIME, **{"action": "status"} | fault))

    door = OpenDoor()

    with pytest.raises(SourceError) as caught:
        client.get(Request(f"{sandbox.url}{TIME}"), door)

    assert type(caught.value) is kind
    assert door.seen.count("enter") == requests
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)  # noqa: S301


def test_a_passing_fault_is_survived(sandbox, client) -> None:
    """Two faults and then an answer is an answer, with three attempts at the door."""
    sandbox.faults.add(Fault(TIME, "status", status=500, times=2))
    door = OpenDoor()

    answer = client.get(Request(f"{sandbox.url}{TIME}"), door)

    assert answer.attempts == 3
    assert door.seen == ["enter", "answered", "Unreachable"] * 2 + ["enter", "answered", "passed"]


def test_no_retries_is_one_request(sandbox, client) -> None:
    """`max_retries: 0` asks once, with the connections of the same pool."""
    sandbox.faults.add(Fault(TIME, "status", status=503))
    door = OpenDoor()

    with pytest.raises(Unreachable):
        client.retrying(Retry(max_retries=0)).get(Request(f"{sandbox.url}{TIME}"), door)

    assert door.seen == ["enter", "answered", "Unreachable", "gave up"]


def test_a_body_over_its_limit_is_not_read_to_the_end(sandbox, client) -> None:
    """More bytes than the caller allows is broken, and is not asked for again."""
    request = Request(f"{sandbox.url}/api/v3/exchangeInfo", max_bytes=100)
    door = OpenDoor()

    with pytest.raises(Broken, match="more than the 100 bytes"):
        client.get(request, door)

    assert door.seen == ["enter", "Broken", "gave up"]


def test_a_trickle_is_given_up(client) -> None:
    """A body that dribbles in below the lowest speed is no answer, though it never times out."""
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n"
    url = serve_once([head, *[b"x"] * 60], pause_s=0.05)

    with pytest.raises(Unreachable, match="too slow"):
        client.retrying(Retry(max_retries=0)).get(Request(url), OpenDoor())


OK = b"HTTP/1.1 200 OK\r\n"
GZIP = b"Content-Encoding: gzip\r\n\r\n"


@pytest.mark.parametrize(
    ("head", "drop"),
    [
        pytest.param(OK + b"X-A: ", b"a", id="header"),
        pytest.param(b"", b"HTTP/1.1 100 Continue\r\n\r\n", id="continue"),
        pytest.param(OK + GZIP + b"\x1f\x8b\x08\x08" + b"0" * 6, b"n", id="name-in-gzip"),
        pytest.param(OK + b"Transfer-Encoding: chunked\r\n\r\n1;x=", b"x", id="chunk"),
    ],
)  # fmt: skip
def test_an_answer_that_never_gets_anywhere_is_given_up(client, head, drop) -> None:
    """A server that keeps sending, and says nothing by it, is waited for a few timeouts only."""
    url = serve_once([head, *[drop] * 200], pause_s=0.05)

    with pytest.raises(Unreachable, match=r"no whole answer within 1\.5 s"):
        client.retrying(Retry(max_retries=0)).get(Request(url), OpenDoor())


def test_an_answer_on_a_kept_connection_is_given_up_too() -> None:
    """The second request over a connection has a time of its own."""
    whole = OK + b"Content-Length: 2\r\n\r\n{}"
    with socket.create_server(("127.0.0.1", 0)) as server:

        def run():
            connection, _ = server.accept()
            with connection:
                connection.recv(65536)
                time.sleep(0.3)
                connection.sendall(whole)
                connection.recv(65536)
                try:
                    for _ in range(200):
                        connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
                        time.sleep(0.05)
                except OSError:
                    return

        threading.Thread(target=run, daemon=True).start()
        client = HttpClient(timeout=0.5, retry=Retry(max_retries=0))
        request = Request(f"http://127.0.0.1:{server.getsockname()[1]}/")

        first = client.get(request, OpenDoor())

        assert first.body == b"{}"
        with pytest.raises(Unreachable, match="no whole answer"):
            client.get(request, OpenDoor())
        client.close()


def test_a_wait_for_a_free_connection_is_not_counted(sandbox) -> None:
    """Who stands in our own queue for longer than an answer may take is served all the same."""
    sandbox.faults.add(Fault(TIME, "delay", seconds=0.4))
    client = HttpClient(timeout=0.5, concurrency=1, retry=Retry(max_retries=0))
    request = Request(f"{sandbox.url}{TIME}")

    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(lambda _: client.get(request, OpenDoor()).status, range(6)))

    client.close()
    assert answers == [200] * 6


def test_closing_wakes_who_waits_for_an_answer(sandbox) -> None:
    """The request ends at once by an error of its own, and no host is taken for down."""
    sandbox.faults.add(Fault(TIME, "delay", seconds=20))
    client, door = HttpClient(timeout=60), OpenDoor()

    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(client.get, Request(f"{sandbox.url}{TIME}"), door)
        while not client._wires._open:
            time.sleep(0.01)
        client.close()

        assert isinstance(waiting.exception(timeout=10), Closed)
    assert door.seen == ["enter"]


def test_a_closed_client_says_so(sandbox, client) -> None:
    """A request or a wait after the end is refused by our own error."""
    client.close()

    with pytest.raises(Closed, match="closed"):
        client.get(Request(f"{sandbox.url}{TIME}"), OpenDoor())
    with pytest.raises(Closed):
        client.pause(60)


def test_a_login_is_sent_and_not_shown(caplog) -> None:
    """It travels in a header; logs, ours and the library's, and errors have the address alone."""
    heard = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def run():
            connection, _ = server.accept()
            with connection:
                heard.append(connection.recv(65536))
                connection.sendall(b"HTTP/1.1 400 Bad\r\nContent-Length: 0\r\n\r\n")

        threading.Thread(target=run, daemon=True).start()
        place = f"127.0.0.1:{server.getsockname()[1]}"
        client = HttpClient(timeout=5)
        with caplog.at_level(logging.DEBUG), pytest.raises(Broken) as caught:
            client.get(Request(f"http://bob:s3cret@{place}/a?b=c"), OpenDoor())
        client.close()

    assert b64encode(b"bob:s3cret") in heard[0]
    assert heard[0].startswith(b"GET /a?b=c HTTP/1.1")
    assert f"http://{place}/a: HTTP 400" in str(caught.value)
    assert f"http://{place}/a b=c" in caplog.text
    assert "s3cret" not in caplog.text + str(caught.value)


@pytest.mark.parametrize("url", ["ftp://127.0.0.1/x", "file:///etc/passwd"])
def test_only_http_is_asked(client, url) -> None:
    """Another scheme is refused without a request."""
    with pytest.raises(Broken, match="protocol"):
        client.get(Request(url), OpenDoor())


def test_nobody_there_is_unreachable(client) -> None:
    """A closed port is a source that is down."""
    with pytest.raises(Unreachable):
        client.retrying(Retry(max_retries=0)).get(Request("http://127.0.0.1:1/"), OpenDoor())


@pytest.mark.parametrize(
    ("headers", "text", "seconds"),
    [
        pytest.param({"retry-after": "17"}, "", 17.0, id="seconds"),
        pytest.param({"retry-after": "Mon, 10 Jun 2024 06:13:30 GMT"}, "", 10.0, id="date"),
        pytest.param({}, "IP banned until 1718000090000. Please", 90.0, id="banned-until"),
        pytest.param({}, "Way too many requests", 60.0, id="nothing-said"),
        pytest.param({"retry-after": "nan"}, "", 60.0, id="nan"),
        pytest.param({"retry-after": "-5"}, "", 0.0, id="negative"),
        pytest.param({"retry-after": "1e9"}, "", 259_200.0, id="absurd"),
    ],
)
def test_how_long_to_stay_away(headers, text, seconds) -> None:
    """Header first, then the number in the message, else a minute; never more than three days."""
    error = refusal_of(
        418, headers, text.encode(), asked=("rest", "s", "u"), now_ms=NOW_MS
    )  # fmt: skip

    assert isinstance(error, RateLimited)
    assert error.retry_after == seconds


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        pytest.param(403, b"<Error><Code>AccessDenied</Code></Error>", Absent, id="s3-hides-404"),
        pytest.param(400, b'{"code":-1003,"msg":"Too much"}', RateLimited, id="-1003-as-400"),
        pytest.param(401, b"who?", Rejected, id="401"),
        pytest.param(206, b"part", Broken, id="206"),
        pytest.param(400, b"[" * 100_000, Broken, id="deep-json"),
    ],
)
def test_what_else_an_answer_can_mean(status, body, kind) -> None:
    """Status alone does not decide: code and form of the body count."""
    error = refusal_of(status, {}, body, asked=("rest", "s", "u"), now_ms=NOW_MS)

    assert type(error) is kind


def test_debug_log_has_one_line_a_request(sandbox, client, caplog, capsys) -> None:
    """At DEBUG each request shows source, status, latency and weight; retries never on stdout."""
    sandbox.faults.add(Fault(TIME, "status", status=500, times=1))

    with caplog.at_level(logging.DEBUG, "crypto_data.sources"):
        client.get(Request(f"{sandbox.url}{TIME}"), OpenDoor())

    lines = [r.message for r in caplog.records if r.levelno == logging.DEBUG]
    assert [("HTTP 500" in line, "HTTP 200" in line) for line in lines] == [
        (True, False),
        (False, True),
    ]
    assert lines[1].startswith("rest: binance/spot/BTCUSDT/1m")
    assert lines[1].rpartition("weight used ")[2].isdigit()
    assert capsys.readouterr().out == ""
