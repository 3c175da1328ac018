"""Connections without and with a proxy: kept, left, and what no answer may look like."""

import gzip
import shutil
import socket
import ssl
import subprocess
import threading
import time

import pytest

from crypto_data.errors import Unreachable
from crypto_data.sandbox.server import Sandbox
from crypto_data.sources.http import HttpClient, Request, Retry

OPENSSL = shutil.which("openssl")
OK = b"HTTP/1.1 200 OK\r\n"
WHOLE = OK + b"Content-Length: 2\r\n\r\n{}"


class Anyone:
    """A way that is open."""

    source = "rest"
    series = "binance/spot/BTCUSDT/1m"

    def enter(self):
        """Let it pass."""

    def answered(self, headers):
        """Take no note."""

    refused = gave_up = answered

    def passed(self):
        """Take no note."""


class Peer:
    """A socket that gives each connection its replies, one a request, and counts both."""

    def __init__(self, *connections, context=None):
        self._context = context
        self._socket = socket.create_server(("127.0.0.1", 0))
        self._connections = connections
        self.requests = []  # the head of each, by connection
        threading.Thread(target=self._run, daemon=True).start()

    @property
    def place(self):
        return f"127.0.0.1:{self._socket.getsockname()[1]}"

    def _run(self):
        with self._socket:
            for replies in self._connections:
                connection, _ = self._socket.accept()
                try:
                    if self._context:
                        connection = self._context.wrap_socket(connection, server_side=True)
                except OSError:
                    continue
                heads = []
                self.requests.append(heads)
                with connection:
                    for reply in replies:
                        heads.append(connection.recv(65536))
                        connection.sendall(reply)


@pytest.fixture
def client():
    client = HttpClient(timeout=0.5, retry=Retry(max_retries=0))
    yield client
    client.close()


def ask(client, place, path="/"):
    """Return the body of an answer."""
    return client.get(Request(f"http://{place}{path}"), Anyone()).body


def test_a_connection_is_kept(client) -> None:
    """Three requests take one connection."""
    peer = Peer([WHOLE] * 3)

    bodies = [ask(client, peer.place, f"/{number}") for number in range(3)]

    assert bodies == [b"{}"] * 3
    assert [len(heads) for heads in peer.requests] == [3]
    assert peer.requests[0][2].startswith(b"GET /2 HTTP/1.1\r\n")


@pytest.mark.parametrize(
    "first",
    [
        pytest.param(WHOLE, id="closed-by-the-host"),
        pytest.param(WHOLE + b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil", id="more-behind"),
        pytest.param(OK + b"Connection: close\r\nContent-Length: 2\r\n\r\n{}", id="said-so"),
        pytest.param(OK + b"\r\n{}", id="without-length"),
        pytest.param(b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\n{}", id="http-1.0"),
    ],
)
def test_a_connection_that_cannot_be_used_again_is_left(client, first) -> None:
    """The next request has one of its own, and no byte of the first answer in its own."""
    peer = Peer([first], [OK + b"Content-Length: 4\r\n\r\ntrue"])

    one = ask(client, peer.place)
    time.sleep(0.05)  # until the end of the connection has arrived
    other = ask(client, peer.place)

    assert (one, other) == (b"{}", b"true")
    assert [len(heads) for heads in peer.requests] == [1, 1]


PACKED = gzip.compress(b"{}")


@pytest.mark.parametrize(
    "reply",
    [
        pytest.param(OK + b"Transfer-Encoding: chunked\r\n\r\n"
            b"1\r\n{\r\n1;a=b\r\n}\r\n0\r\nT: 1\r\n\r\n", id="chunked"),
        pytest.param(b"HTTP/1.1 100 Continue\r\n\r\n" + WHOLE, id="after-a-100"),
        pytest.param(OK + b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(PACKED)
            + PACKED, id="gzip"),
        pytest.param(OK + b"Content-Length: 2\r\nContent-Length: 2\r\n\r\n{}", id="length-twice"),
        pytest.param(OK + b"X: caf\xe9 \xff\r\nContent-Length: 2\r\n\r\n{}", id="latin-1"),
    ],
)  # fmt: skip
def test_forms_of_an_answer(client, reply) -> None:
    """Whole answers, of which the connection is kept."""
    peer = Peer([reply, reply])

    assert [ask(client, peer.place), ask(client, peer.place)] == [b"{}", b"{}"]
    assert [len(heads) for heads in peer.requests] == [2]


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        pytest.param(OK + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}", "conflicting",
            id="two-lengths"),
        pytest.param(OK + b"Content-Length: -2\r\n\r\n{}", "bad Content-Length", id="negative"),
        pytest.param(OK + b"Content-Length: two\r\n\r\n{}", "bad Content-Length", id="word"),
        pytest.param(OK + b"Transfer-Encoding: gzip\r\n\r\n{}", "Only Transfer", id="encoding"),
        pytest.param(OK + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n{}", "illegal", id="chunk"),
        pytest.param(OK + b"Transfer-Encoding: chunked\r\n\r\n9\r\n{}", "peer closed", id="short"),
        pytest.param(OK + b"Content-Length: 9\r\n\r\n{}", "peer closed", id="cut-short"),
        pytest.param(b"SSH-2.0-OpenSSH_9.2\r\n", "disconnected", id="no-http"),
        pytest.param(OK + b"X: " + b"y" * 70_000, "disconnected", id="long-header"),
        pytest.param(b"", "disconnected", id="nothing"),
    ],
)  # fmt: skip
def test_what_no_answer_looks_like(client, reply, said) -> None:
    """An answer whose end cannot be told, or that is no HTTP, is none."""
    peer = Peer([reply])

    with pytest.raises(Unreachable, match=said):
        ask(client, peer.place)


@pytest.mark.skipif(OPENSSL is None, reason="makes its certificate with openssl")
def test_encrypted_connections_are_kept_and_their_hosts_checked(tmp_path, monkeypatch) -> None:
    """A certificate that is trusted serves, over one connection; of another host it does not."""
    certificate, key = tmp_path / "certificate.pem", tmp_path / "key.pem"
    subprocess.run(
        [OPENSSL, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2",
         "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost",
         "-keyout", key, "-out", certificate],
        check=True, capture_output=True,
    )  # fmt: skip
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    peer = Peer([WHOLE] * 2, [WHOLE], context=context)
    client = HttpClient(timeout=2, retry=Retry(max_retries=0))
    port = peer.place.rpartition(":")[2]

    bodies = [client.get(Request(f"https://localhost:{port}/"), Anyone()).body for _ in range(2)]

    assert bodies == [b"{}"] * 2
    assert [len(heads) for heads in peer.requests] == [2]
    with pytest.raises(Unreachable, match="CERTIFICATE_VERIFY_FAILED"):
        client.get(Request(f"https://127.0.0.1:{port}/"), Anyone())
    client.close()


def test_a_proxy_of_the_environment_is_used(monkeypatch) -> None:
    """It gets the whole address; an answer of it that never ends is given up as any other."""
    drip = OK + b"X: " + b"y" * 200
    proxy = Peer([WHOLE], [drip[:100]])
    monkeypatch.setenv("http_proxy", f"http://{proxy.place}")
    client = HttpClient(timeout=0.3, retry=Retry(max_retries=0))

    assert ask(client, "archive.test", "/x?y=1") == b"{}"
    assert proxy.requests[0][0].startswith(b"GET http://archive.test/x?y=1 HTTP/1.1\r\n")
    with pytest.raises(Unreachable):
        ask(client, "archive.test", "/z")
    client.close()


def test_loopback_is_asked_directly(monkeypatch) -> None:
    """A proxy elsewhere cannot reach this machine's own sandbox."""
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    with Sandbox(now_ms=1_718_000_000_000) as sandbox:
        client = HttpClient(timeout=2, retry=Retry(max_retries=0))
        body = ask(client, sandbox.url.removeprefix("http://"), "/api/v3/time")
        client.close()

    assert body == b'{"serverTime": 1718000000000}'
