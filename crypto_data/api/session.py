"""What an open lake holds between two calls: configuration, ledgers of files, connections.

Whatever is held is looked at again before it is used: files are replaced, never edited, so the
system tells when one has changed. What is asked of it belongs to `api.asking`.
"""

import os
import threading
import time
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from crypto_data.catalog.configuration import Catalog, Feed
from crypto_data.catalog.location import state_folder
from crypto_data.coverage import DayFacts
from crypto_data.errors import Closed
from crypto_data.exchanges import MADE
from crypto_data.lake.feeds import exchange_ms
from crypto_data.lake.layout import FEEDS, part_path
from crypto_data.lake.ledger import Ledger
from crypto_data.lake.store import Lake
from crypto_data.lake.universe import universe_path
from crypto_data.partitions import periods_of
from crypto_data.resolving import open_catalog
from crypto_data.series import Series

if TYPE_CHECKING:
    from crypto_data.sources.connect import Chains
    from crypto_data.sources.failover import FailoverChain

# Ledgers of so many files are held: 50 symbols over a year of 1m, at some 30 kB each.
MOST_LEDGERS = 1000
# A file that changed a shorter while ago may change again within a tick of its file system's clock.
SETTLE_NS = 2_000_000_000

# What tells one state of a file from another: inode, when it last changed, size. None: no file.
Stamp = tuple[int, int, int] | None


def stamp_of(path: Path) -> Stamp:
    """Return what a file looks like at this moment."""
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    return status.st_ino, status.st_ctime_ns, status.st_size


def local_ms() -> int:
    """Return this machine's clock, UTC epoch milliseconds."""
    return time.time_ns() // 1_000_000


class Ledgers:
    """The ledgers of a lake's files, read once and again when a file has changed."""

    def __init__(self, lake: Lake) -> None:
        self._lake = lake
        self._held: dict[Path, tuple[Stamp, Ledger]] = {}
        self._lock = threading.Lock()

    def ledger(self, series: Series, days: Iterable[date]) -> Ledger:
        """Return what is known of the files that some days lie in.

        Where rows came from is left out, so that days that are alike share their facts; of what
        klines were made stays.

        Raises:
            LakeDamaged: one of the files cannot be read.
        """
        known: Ledger = {}
        for period in periods_of(series.interval, days):
            known |= self._of_file(series, period)
        return known

    def _of_file(self, series: Series, period: str) -> Ledger:
        path = part_path(self._lake.root, series, period)
        stamp = stamp_of(path)  # before it is read: a newer ledger under an older stamp is harmless
        if stamp is None:
            return {}
        held = self._held.get(path)
        if held is not None and held[0] == stamp:
            return held[1]
        ledger = _slim(self._lake.period_ledger(series, period))
        if time.time_ns() - stamp[1] > SETTLE_NS:
            self._keep(path, stamp, ledger)
        return ledger

    def _keep(self, path: Path, stamp: Stamp, ledger: Ledger) -> None:
        with self._lock:
            if len(self._held) >= MOST_LEDGERS:
                del self._held[next(iter(self._held))]  # the oldest
            self._held[path] = (stamp, ledger)


def _slim(ledger: Ledger) -> Ledger:
    alike: dict[DayFacts, DayFacts] = {}
    slim = {
        day: replace(facts, checksum=facts.checksum if _is_made(facts) else "", etag="", address="")
        for day, facts in ledger.items()
    }
    return {day: alike.setdefault(facts, facts) for day, facts in slim.items()}


def _is_made(facts: DayFacts) -> bool:
    return any(answer.source.startswith(MADE) for answer in facts.answers)


class Session:
    """One state of the configuration, its lake, and the connections to its sources.

    Connections are made by the first call that needs one. They end with the session, which lasts
    as long as somebody uses it: a call in another thread may still be fetching by it.
    """

    def __init__(self, path: Path) -> None:
        stamp = stamp_of(path)  # before it is read, so that no change is overlooked
        self.catalog: Catalog = open_catalog(path, os.environ, datetime.now(UTC).date())
        self.feeds: dict[Series, Feed] = self.catalog.all_series()
        self.lake = Lake(self.catalog.lake)
        self.ledgers = Ledgers(self.lake)
        self._read_from = [
            path,
            *(
                universe_path(self.catalog.lake, feed.exchange, feed.market)
                for feed in self.catalog.feeds
                if feed.has_patterns
            ),
        ]
        self._stamps = [stamp, *self._look()[1:]]
        self._clock: tuple[Stamp, int] | None = None  # of which file, how far ahead
        self._stack = ExitStack()
        self._chains: Chains | None = None
        self._is_closed = False
        self._lock = threading.Lock()
        self._turns: dict[Series, threading.Lock] = {}

    def is_current(self) -> bool:
        """Return whether it is open, and the configuration as it was read."""
        return not self._is_closed and self._stamps == self._look()

    def _look(self) -> list[Stamp]:
        return [stamp_of(path) for path in self._read_from]

    def now_ms(self) -> int:
        """Return the exchange's clock as it was last measured, UTC epoch ms; asks nobody."""
        stamp = stamp_of(self.catalog.lake / FEEDS)
        clock = self._clock
        if clock is None or clock[0] != stamp:
            clock = self._clock = (stamp, exchange_ms(self.catalog.lake, 0))
        return local_ms() + clock[1]

    def chain(self, feed: Feed) -> "FailoverChain":
        """Return the chain of a feed; what it is asked goes over connections that stay open.

        Raises:
            Closed: the session is closed.
        """
        return self._open_chains().chain(feed)

    def _open_chains(self) -> "Chains":
        from crypto_data.sources.connect import open_chains

        with self._lock:
            self.check()
            if self._chains is None:
                ahead_ms = exchange_ms(self.catalog.lake, 0)
                self._chains = self._stack.enter_context(
                    open_chains(self.catalog, state_folder(os.environ), known_ahead_ms=ahead_ms)
                )
            return self._chains

    def check(self) -> None:
        """Refuse to go on once it is closed.

        Raises:
            Closed: it is.
        """
        if self._is_closed:
            raise Closed

    def turn(self, series: Series) -> threading.Lock:
        """Return the lock of one series: two threads never ask for the same days at once."""
        with self._lock:
            return self._turns.setdefault(series, threading.Lock())

    def close(self) -> None:
        """End the connections; who fetches over them in another thread is told by `Closed`."""
        with self._lock:
            self._is_closed = True
            self._chains = None
            self._stack.close()
