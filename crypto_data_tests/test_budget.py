"""The weight budget: exact across processes, and never behind the exchange's own count."""

import subprocess
import sys
import threading
import time

import pytest

from crypto_data.errors import RateLimited
from crypto_data.sources.budget import MINUTE_MS, Budget

WHO = {"source": "rest", "series": "binance/spot/BTCUSDT/1m"}

SPENDER = """
import sys, time
from pathlib import Path
from crypto_data.sources.budget import Budget
budget = Budget(Path(sys.argv[1]), "rest-spot", 20, window_ms=500)
end = time.time() + 2.0
while time.time() < end:
    budget.spend(2, source="rest", series="s")
    print(time.time_ns() // 1_000_000, flush=True)
"""


def worst_window(times_ms, weight, window_ms):
    """Return the largest weight within any half-open window."""
    return max(
        sum(weight for time_ms in times_ms if start <= time_ms < start + window_ms)
        for start in times_ms
    )


def test_four_processes_never_exceed_the_budget(tmp_path) -> None:
    """In no window of real time do four processes together spend more than the limit."""
    spenders = [
        subprocess.Popen(
            [sys.executable, "-c", SPENDER, str(tmp_path)], stdout=subprocess.PIPE, text=True
        )
        for _ in range(4)
    ]
    texts = [spender.communicate(timeout=30)[0] for spender in spenders]
    times_ms = sorted(int(line) for text in texts for line in text.split())

    # A process notes the time a little after it was let through: 40 ms of slack.
    assert worst_window(times_ms, 2, 460) <= 20
    # And the budget is used: 10 calls a window, 4 windows and more.
    assert len(times_ms) >= 30


def test_threads_share_a_budget(tmp_path) -> None:
    """Sixteen threads of one process are let through at the same rate as one."""
    budget = Budget(tmp_path, "rest-um", 20, window_ms=300)
    times_ms = []

    def spend():
        for _ in range(3):
            budget.spend(1, **WHO)
            times_ms.append(time.time_ns() // 1_000_000)

    threads = [threading.Thread(target=spend) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(times_ms) == 48
    assert worst_window(times_ms, 1, 260) <= 20


def test_an_uncontended_call_is_quick(tmp_path) -> None:
    """Booking a weight costs well under the millisecond a request costs at least."""
    budget = Budget(tmp_path, "rest-spot", 6000)
    budget.spend(2, **WHO)

    started = time.perf_counter()
    for _ in range(50):
        budget.spend(2, **WHO)

    assert (time.perf_counter() - started) / 50 < 0.01


def test_the_exchange_ahead_of_our_count_wins(tmp_path) -> None:
    """Weight that others behind our address spent is booked, once."""
    budget = Budget(tmp_path, "rest-spot", 1000, window_ms=60_000_000)
    budget.spend(10, **WHO)
    late_ms = time.time_ns() // 1_000_000 + 7_000_000

    for _ in range(3):
        budget.observe(400, late_ms)
    budget.observe(7, late_ms)

    assert budget.used() == 400


def test_a_count_that_is_ours_alone_is_not_looked_up(tmp_path) -> None:
    """Where nobody else spends, an answer costs no look into the shared file."""
    budget = Budget(tmp_path, "rest-spot", 1000, window_ms=60_000_000)
    budget.spend(10, **WHO)
    late_ms = time.time_ns() // 1_000_000 + 7_000_000
    statements = []
    budget._bucket.conn.set_trace_callback(statements.append)

    budget.observe(10, late_ms)
    looks = len(statements)
    budget.observe(11, late_ms)

    assert (looks, budget.used()) == (0, 11)


def test_a_used_up_budget_fails_with_the_time_it_takes(tmp_path) -> None:
    """When the exchange counts more than the limit, a caller is told to come back."""
    budget = Budget(tmp_path, "rest-spot", 100, window_ms=60_000_000, longest_wait_s=0.1)
    budget.observe(5000, time.time_ns() // 1_000_000 + 7_000_000)

    with pytest.raises(RateLimited, match="weight budget of rest-spot is used up") as caught:
        budget.spend(1, **WHO)

    assert caught.value.retry_after > 0.1


def test_an_answer_of_the_last_minute_says_nothing(tmp_path) -> None:
    """A count that was sent for before the full minute is not booked on the new one."""
    budget = Budget(tmp_path, "rest-spot", 100)
    now_ms = time.time_ns() // 1_000_000

    budget.observe(90, now_ms - now_ms % MINUTE_MS - 1)

    assert budget.used() == 0


def test_a_restart_does_not_reset_the_count(tmp_path) -> None:
    """Weight of the last minute is known to a process that starts now."""
    Budget(tmp_path, "rest-spot", 100).spend(30, **WHO)

    assert Budget(tmp_path, "rest-spot", 100).used() == 30


def test_a_damaged_file_is_begun_anew(tmp_path) -> None:
    """A file that is no database costs one minute's memory, not the run."""
    (tmp_path / "weight-rest-spot.sqlite").write_bytes(b"this is no database" * 100)

    budget = Budget(tmp_path, "rest-spot", 100)
    budget.spend(5, **WHO)

    assert budget.used() == 5


def test_a_call_heavier_than_the_budget_takes_all_of_it(tmp_path) -> None:
    """A tiny budget slows calls down; it does not make them impossible."""
    budget = Budget(tmp_path, "rest-spot", 5)

    budget.spend(20, **WHO)

    assert budget.used() == 5
