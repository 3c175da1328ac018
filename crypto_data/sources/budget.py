"""The request weight that all processes of this machine may spend at one host in a minute.

A sliding window in a file, exact across processes. Bans and Retry-After belong to `sources.gate`;
what a call weighs belongs to the source that makes it.
"""

import os
import re
import sqlite3
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import cast

from pyrate_limiter import Rate, RateItem, SQLiteBucket

from crypto_data.errors import RateLimited

MINUTE_MS = 60_000
# Headers just after the full minute may still tell of the minute before: clocks differ.
SETTLING_MS = 2_000
# Rows that have left the window are deleted this often.
LEAK_MS = 10_000
LONGEST_WAIT_S = 180.0

_COUNT_SINCE = "SELECT COUNT(*) FROM weight WHERE item_timestamp >= ?"


class Budget:
    """A weight budget shared by all threads and processes that name the same file.

    pyrate-limiter's bucket is used without its Limiter: that one stamps a waiting request with
    the time it meant to wake up, so that windows of real time exceed the limit, and it polls.

    Args:
        directory: Where the bucket's file lies; made when absent.
        name: Whose budget it is (`rest-spot`).
        limit: Weight a window.
        window_ms: Length of the window, milliseconds.
        longest_wait_s: `spend` gives up after this.
        sleep: Waits that many seconds.
    """

    def __init__(  # noqa: PLR0913 - three of them have defaults
        self,
        directory: Path,
        name: str,
        limit: int,
        *,
        window_ms: int = MINUTE_MS,
        longest_wait_s: float = LONGEST_WAIT_S,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.limit = limit
        self._name = name
        self._path = directory / f"weight-{re.sub(r'[^A-Za-z0-9.-]', '_', name)}.sqlite"
        self._window_ms = window_ms
        self._longest_wait_s = longest_wait_s
        self._sleep = sleep
        self._lock = threading.Lock()
        self._bucket: SQLiteBucket | None = None
        self._owner = 0
        self._leaked_ms = 0
        self._booked = (0, 0)  # start of a window, and what this process has spent since

    def spend(self, weight: int, *, source: str, series: str) -> None:
        """Return as soon as `weight` fits into the window, and count it.

        Raises:
            RateLimited: it did not fit within `longest_wait_s`: too many others want it too.
        """
        weight = min(weight, self.limit)
        deadline = time.monotonic() + self._longest_wait_s
        while (wait_ms := self._try(weight)) > 0:
            if time.monotonic() + wait_ms / 1000 > deadline:
                detail = f"the weight budget of {self._name} is used up for {wait_ms / 1000:.0f} s"
                raise RateLimited(source, series, detail, wait_ms / 1000)
            self._sleep(wait_ms / 1000)

    def observe(self, used: int, sent_ms: int) -> None:
        """Take over the exchange's own count where it is ahead of ours.

        Others behind the same address spend too. Their weight is booked at the start of the
        minute, so it is free again when the exchange starts a new count.

        Args:
            used: `X-MBX-USED-WEIGHT-1M`, counted since the full minute.
            sent_ms: When the request left, UTC epoch milliseconds; an answer that belongs to the
                minute before says nothing about this one.
        """
        now_ms = _now_ms()
        start_ms = now_ms - now_ms % self._window_ms
        if sent_ms < start_ms + min(SETTLING_MS, self._window_ms // 10):
            return
        if self._booked >= (start_ms, used):
            return  # the file counts at least what we alone have spent; no need to look
        with self._lock:
            bucket = self._opened()
            with bucket.lock:
                ours = _count_since(bucket, start_ms)
                room = self.limit - _count_since(bucket, now_ms - self._window_ms)
                surplus = min(used - ours, room)
                if surplus > 0:
                    _book(bucket, surplus, start_ms)

    def used(self) -> int:
        """Return the weight counted within the window that ends now."""
        with self._lock:
            bucket = self._opened()
            with bucket.lock:
                return _count_since(bucket, _now_ms() - self._window_ms)

    def _try(self, weight: int) -> int:
        """Book the weight and return 0, or return the milliseconds until it may fit."""
        # The thread lock first: threads would otherwise poll for the file lock every 50 ms.
        with self._lock:
            bucket = self._opened()
            with bucket.lock:
                now_ms = _now_ms()
                if now_ms - self._leaked_ms > LEAK_MS:
                    bucket.leak(now_ms)
                    self._leaked_ms = now_ms
                item = RateItem("weight", now_ms, weight=weight)
                if bucket.put(item):
                    self._note(weight, now_ms)
                    return 0
                wait_ms = int(cast(int, bucket.waiting(item)))
                if wait_ms > self._window_ms + 1:  # the clock was set back since these were booked
                    bucket.flush()
                    self._booked = (0, 0)
                return max(1, min(wait_ms, self._window_ms))

    def _note(self, weight: int, now_ms: int) -> None:
        start_ms = now_ms - now_ms % self._window_ms
        before = self._booked[1] if self._booked[0] == start_ms else 0
        self._booked = (start_ms, before + weight)

    def _opened(self) -> SQLiteBucket:
        """Return this process's bucket; a connection must not cross a fork."""
        if self._bucket is None or self._owner != os.getpid():
            try:
                self._bucket = self._connect()
            except sqlite3.DatabaseError:  # a damaged file only holds one minute's memory
                self._path.unlink(missing_ok=True)
                self._booked = (0, 0)
                self._bucket = self._connect()
            self._owner = os.getpid()
        return self._bucket

    def _connect(self) -> SQLiteBucket:
        return SQLiteBucket.init_from_file(
            [Rate(self.limit, self._window_ms)],
            table="weight",
            db_path=str(self._path),
            use_file_lock=True,
        )


def _now_ms() -> int:
    """Return the clock that all processes of this machine share, as the bucket reads it."""
    return time.time_ns() // 1_000_000


def _count_since(bucket: SQLiteBucket, start_ms: int) -> int:
    return int(bucket.conn.execute(_COUNT_SINCE, (start_ms,)).fetchone()[0])


def _book(bucket: SQLiteBucket, weight: int, time_ms: int) -> None:
    rows = [("others", time_ms)] * weight
    bucket.conn.executemany("INSERT INTO weight (name, item_timestamp) VALUES (?, ?)", rows)
    bucket.conn.commit()
