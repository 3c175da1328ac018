"""Hosts that are left alone: for how long, by whom, and what a waiting caller does."""

import subprocess
import sys
import threading

import pytest

from crypto_data.errors import Absent, Blocked, Broken, RateLimited, Rejected, Unreachable
from crypto_data.sandbox.faults import Fault
from crypto_data.sandbox.server import Sandbox
from crypto_data.sources.gate import Gate, Reason
from crypto_data.sources.http import HttpClient, Request, Retry

HOST = "rest-spot api.binance.com"
WHO = {"source": "rest", "series": "binance/spot/BTCUSDT/1m"}
NOON_MS = 1_717_243_200_000  # 2024-06-01 12:00:00 UTC


class Time:
    """A clock that moves when someone sleeps."""

    def __init__(self, now_ms=NOON_MS):
        self.now_ms = now_ms

    def __call__(self):
        return self.now_ms

    def sleep(self, seconds):
        self.now_ms += int(seconds * 1000)


@pytest.fixture
def clock():
    return Time()


@pytest.fixture
def gate(tmp_path, clock):
    return Gate(tmp_path, clock, sleep=clock.sleep)


@pytest.mark.parametrize(
    ("error", "seconds"),
    [
        pytest.param(RateLimited("rest", "s", "HTTP 418", 3600.0), 3600, id="ban"),
        pytest.param(Blocked("rest", "s", "HTTP 403"), 600, id="firewall"),
        pytest.param(Blocked("rest", "s", "HTTP 451"), 3600, id="region"),
        pytest.param(Absent("rest", "s", "HTTP 404"), None, id="absent"),
        pytest.param(Broken("rest", "s", "HTML"), None, id="broken"),
        pytest.param(Rejected("rest", "s", "-1121"), None, id="rejected"),
    ],
)
def test_which_errors_close_the_gate(gate, error, seconds) -> None:
    """Refusals of us close a host for their time; faults of one file never do."""
    gate.close_after(HOST, error)

    closing = gate.closing(HOST)
    assert (closing and (closing.until_ms - NOON_MS) / 1000) == seconds


def test_a_closed_gate_says_until_when_and_why(gate) -> None:
    """The error of a host that is left alone names the time and the first refusal."""
    gate.close_after(HOST, Blocked("rest", "s", "HTTP 403: Request blocked."))

    with pytest.raises(Blocked, match=r"left alone until 12:10:00 UTC after HTTP 403: Request"):
        gate.check(HOST, **WHO)
    gate.check("another host", **WHO)


def test_a_host_that_stays_down_is_left_alone_ever_longer(gate, clock) -> None:
    """Half a minute, doubling to ten minutes; a success begins anew."""
    waits = []
    for _ in range(7):
        gate.close_down(HOST, "no answer")
        waits.append((gate.closing(HOST).until_ms - clock.now_ms) // 1000)
        with pytest.raises(Unreachable):
            gate.check(HOST, **WHO)
        clock.now_ms = gate.closing(HOST).until_ms
    gate.opened(HOST)
    gate.close_down(HOST, "no answer")

    assert waits == [30, 60, 120, 240, 480, 600, 600]
    assert gate.closing(HOST).failures == 1


def test_failures_at_the_same_time_count_once(gate) -> None:
    """Sixteen threads that meet the same dead host close it for half a minute, not for ten."""
    for _ in range(16):
        gate.close_down(HOST, "no answer")

    assert gate.closing(HOST).until_ms == NOON_MS + 30_000


def test_a_short_limit_is_waited_for(gate, clock) -> None:
    """A limit that ends within our patience delays the request and does not fail it."""
    gate.close_after(HOST, RateLimited("rest", "s", "HTTP 429", 42.0))

    gate.check(HOST, **WHO)

    assert clock.now_ms == NOON_MS + 42_000


def test_a_long_limit_is_not_waited_for(gate, clock) -> None:
    """A ban fails at once and says how long it still runs."""
    gate.close_after(HOST, RateLimited("rest", "s", "HTTP 418", 91.0))

    with pytest.raises(RateLimited) as caught:
        gate.check(HOST, **WHO)

    assert caught.value.retry_after == 91.0
    assert clock.now_ms == NOON_MS


def test_a_later_closing_never_shortens_a_ban(gate) -> None:
    """A 429 of a slow thread does not lift the ban that another one met."""
    gate.close_after(HOST, RateLimited("rest", "s", "HTTP 418", 3600.0))
    gate.close_after(HOST, RateLimited("rest", "s", "HTTP 429", 5.0))
    gate.opened(HOST)

    assert gate.closing(HOST).until_ms == NOON_MS + 3_600_000


def test_a_success_that_was_sent_before_does_not_lift_a_refusal(gate, clock) -> None:
    """Of two requests on their way one is refused, then the other is answered."""
    gate.close_after(HOST, Blocked("rest", "s", "HTTP 403"))
    gate.opened(HOST)

    assert gate.closing(HOST) is not None

    clock.now_ms = gate.closing(HOST).until_ms
    gate.opened(HOST)
    gate.close_after(HOST, Blocked("rest", "s", "HTTP 403"))

    assert gate.closing(HOST).failures == 1


def test_a_ban_survives_a_restart_and_binds_other_processes(tmp_path, clock) -> None:
    """What one process closed, a fresh one finds closed."""
    script = (
        "import sys; from pathlib import Path; from crypto_data.sources.gate import Gate, Reason\n"
        f"Gate(Path({str(tmp_path)!r}), lambda: {NOON_MS}).close("
        f"{HOST!r}, {NOON_MS + 3_600_000}, Reason.LIMITED, 'HTTP 418')"
    )
    subprocess.run([sys.executable, "-c", script], check=True)

    with pytest.raises(RateLimited, match="HTTP 418"):
        Gate(tmp_path, clock).check(HOST, **WHO)


def test_a_running_process_sees_what_another_one_closed(tmp_path, clock, gate) -> None:
    """The file is read again when it has changed."""
    gate.check(HOST, **WHO)
    Gate(tmp_path, clock).close(HOST, NOON_MS + 600_000, Reason.BLOCKED, "HTTP 403")

    with pytest.raises(Blocked):
        gate.check(HOST, **WHO)


def test_threads_lose_no_closing(tmp_path, clock) -> None:
    """Closings at the same time all stand in the file."""
    gates = [Gate(tmp_path, clock) for _ in range(4)]

    def close(number):
        for host in range(5):
            name = f"host {number}-{host}"
            gates[number].close(name, NOON_MS + 60_000, Reason.DOWN, "no answer")

    threads = [threading.Thread(target=close, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(Gate(tmp_path, clock).closings()) == 20


@pytest.mark.parametrize("text", ["", "{", "[]", '{"h": 1}', '{"h": {"until_ms": 1}}'])
def test_a_damaged_file_keeps_nobody_out(tmp_path, gate, text) -> None:
    """The memory is advisory: when it cannot be read, hosts are asked, and it is replaced."""
    (tmp_path / "gate.json").write_text(text)

    gate.check(HOST, **WHO)
    gate.close(HOST, NOON_MS + 60_000, Reason.DOWN, "no answer")

    assert gate.closing(HOST) is not None


@pytest.mark.parametrize(
    ("fault", "kind", "reason"),
    [
        pytest.param({"status": 418, "retry_after": 300}, RateLimited, Reason.LIMITED, id="ban"),
        pytest.param({"status": 403, "body": "html403"}, Blocked, Reason.BLOCKED, id="firewall"),
        pytest.param({"status": 503}, Unreachable, Reason.DOWN, id="down"),
    ],
)
def test_after_a_refusal_no_request_is_sent(tmp_path, clock, fault, kind, reason) -> None:
    """A door closes its gate, and the next caller is told without a request."""
    with Sandbox() as sandbox:
        sandbox.faults.add(Fault("*", "status", **fault))
        client = HttpClient(retry=Retry(max_retries=1, delay_s=0.01))
        gate = Gate(tmp_path, clock)
        for _ in range(3):
            with pytest.raises(kind):
                client.get(Request(f"{sandbox.url}/api/v3/time"), gate.door(HOST, **WHO))
        client.close()

    assert len(sandbox.requests) == (2 if reason is Reason.DOWN else 1)
    assert gate.closing(HOST).reason is reason


def test_429_makes_others_wait_before_it_is_repeated(tmp_path) -> None:
    """The gate closes with the first 429, not after the last retry; the retry succeeds."""
    clock = Time()
    with Sandbox() as sandbox:
        sandbox.faults.add(Fault("*", "status", status=429, retry_after=1, times=1))
        client = HttpClient(retry=Retry(max_retries=1, delay_s=0.01))
        gate = Gate(tmp_path, clock, sleep=clock.sleep)
        door = gate.door(HOST, **WHO)
        answer = client.get(Request(f"{sandbox.url}/api/v3/time"), door)
        client.close()

    assert answer.attempts == 2
    assert clock.now_ms >= NOON_MS + 1000  # the second attempt waited at the gate
    assert door.spent()[0] == 2
