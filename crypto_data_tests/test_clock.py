"""The exchange's clock: who is asked, in which order, and what happens when nobody answers."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from crypto_data.errors import Unreachable
from crypto_data.sandbox.faults import Fault
from crypto_data.sandbox.server import Sandbox
from crypto_data.series import Market
from crypto_data.sources.clock import ExchangeClock, Teller
from crypto_data.sources.gate import Gate
from crypto_data.sources.http import HttpClient

AHEAD_MS = 3_600_000


def local_ms():
    return time.time_ns() // 1_000_000


@pytest.fixture
def client():
    client = HttpClient(timeout=2)
    yield client
    client.close()


@pytest.fixture
def gate(tmp_path):
    return Gate(tmp_path, local_ms)


def build(sandbox, client, gate, **options):
    """Return a clock over the sandbox's three markets and its listing."""
    hosts = [(market, sandbox.url) for market in Market]
    return ExchangeClock(client, gate, hosts=hosts, listing=f"{sandbox.url}/listing", **options)


def test_the_exchange_time_is_used(client, gate) -> None:
    """An exchange an hour ahead of us decides what is closed."""
    with Sandbox(now_ms=local_ms() + AHEAD_MS) as sandbox:
        clock = build(sandbox, client, gate)
        ahead_ms = clock.now_ms() - local_ms()

    assert abs(ahead_ms - AHEAD_MS) < 1000
    assert clock.measured_by == f"{sandbox.url}/api/v3/time"


def test_it_is_measured_once(client, gate) -> None:
    """Threads that ask at the same time cost one request, and later ones none."""
    with Sandbox() as sandbox, ThreadPoolExecutor(8) as pool:
        clock = build(sandbox, client, gate)
        times = list(pool.map(lambda _: clock.now_ms(), range(100)))

    assert len(sandbox.requests) == 1
    assert max(times) - min(times) < 5000


@pytest.mark.parametrize(
    ("faults", "measured_by"),
    [
        pytest.param([("/api/v3/time", "status")], "/fapi/v1/time", id="next-market"),
        pytest.param([("/api/v3/time", "html200")], "/fapi/v1/time", id="html-is-no-time"),
    ],
)
def test_the_next_one_is_asked(client, gate, faults, measured_by) -> None:
    """A host that cannot tell is passed over."""
    with Sandbox() as sandbox:
        sandbox.faults.add(*(Fault(path, action) for path, action in faults))
        clock = build(sandbox, client, gate)
        off_ms = clock.now_ms() - local_ms()

    assert clock.measured_by.endswith(measured_by)
    assert abs(off_ms) < 500


class Dated(BaseHTTPRequestHandler):
    """An archive half a day ahead of us, told by the Date header alone."""

    def date_time_string(self, timestamp=None):
        return super().date_time_string((timestamp or time.time()) + 43_200)

    def do_GET(self):
        self.send_response(200 if self.path.startswith("/listing") else 503)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        """Say nothing."""


def test_the_archive_tells_the_time_when_no_host_does(client, gate) -> None:
    """The Date header is whole seconds, so it is behind by up to one, never ahead."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Dated) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_address[1]}"
        clock = ExchangeClock(client, gate, hosts=[(Market.UM, url)], listing=f"{url}/listing")
        off_ms = clock.now_ms() - local_ms()
        server.shutdown()

    assert clock.measured_by == f"{url}/listing"
    assert -1500 < off_ms - 43_200_000 < 500


def test_the_local_clock_is_the_last_resort(client, gate) -> None:
    """Without any answer our own time serves, and says so."""
    nobody = [(Market.SPOT, "http://127.0.0.1:1")]
    clock = ExchangeClock(client, gate, hosts=nobody, local_ms=lambda: 1_700_000_000_000)

    assert clock.now_ms() == 1_700_000_000_000
    assert clock.measured_by == "local clock"


def test_a_banned_host_is_not_asked_for_the_time(client, gate) -> None:
    """The gate holds for the clock as well."""
    with Sandbox() as sandbox:
        sandbox.faults.add(Fault("/api/v3/time", "status", status=418, retry_after=600))
        build(sandbox, client, gate).now_ms()
        build(sandbox, client, gate).now_ms()

    asked = [request.path for request in sandbox.requests]
    assert asked == ["/api/v3/time", "/fapi/v1/time", "/fapi/v1/time"]


def test_another_teller_is_asked_last(client, gate) -> None:
    """An exchange behind ccxt tells its time; where it can't, our own clock serves."""

    def told():
        return local_ms() + AHEAD_MS, 0.0

    def silent():
        raise Unreachable("ccxt:okx", "exchange time", "down")

    clock = ExchangeClock(client, gate, teller=Teller("ccxt:okx okx", told))
    assert abs(clock.now_ms() - local_ms() - AHEAD_MS) < 1000
    assert (clock.measured_by, clock.is_measured) == ("ccxt:okx okx", True)

    clock = ExchangeClock(client, gate, teller=Teller("ccxt:okx okx", silent))
    assert abs(clock.now_ms() - local_ms()) < 1000
    assert not clock.is_measured
