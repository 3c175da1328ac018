"""Sources built from the configuration, and the chain of each feed.

Holds the connections of one run open. What a chain does belongs to `sources.failover`.
"""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from crypto_data.catalog.configuration import Catalog, Feed
from crypto_data.catalog.settings import SourceSettings
from crypto_data.errors import LakeNotWritable
from crypto_data.series import Market
from crypto_data.sources.base import Source
from crypto_data.sources.budget import Budget
from crypto_data.sources.clock import ExchangeClock
from crypto_data.sources.failover import FailoverChain
from crypto_data.sources.gate import Gate
from crypto_data.sources.http import HttpClient, Retry
from crypto_data.sources.rest import RestSource
from crypto_data.sources.rest_trip import RestEndpoint
from crypto_data.sources.vision import VisionSource


def local_ms() -> int:
    """Return this machine's clock, UTC epoch milliseconds."""
    return time.time_ns() // 1_000_000


class Chains:
    """The failover chains of a configuration's feeds, over one pool of connections.

    Args:
        settings: Addresses, budgets, timeouts.
        client: The pool of connections.
        directory: Where bans and used weight are remembered, for all processes.
        known_ahead_ms: How far the exchange's clock was ahead of ours when it last told.
    """

    def __init__(
        self, settings: SourceSettings, client: HttpClient, directory: Path, known_ahead_ms: int = 0
    ) -> None:
        self._known_ahead_ms = known_ahead_ms
        self._settings = settings
        self._client = client
        self._gate = Gate(directory, local_ms)
        self._endpoints = {market: self._endpoint(market, directory) for market in Market}
        self._clocks: dict[tuple[Market, bool], ExchangeClock] = {}
        self._chains: dict[str, FailoverChain] = {}
        self._lock = threading.Lock()

    def chain(self, feed: Feed) -> FailoverChain:
        """Return the chain of a feed, the same one each time."""
        with self._lock:
            if feed.name not in self._chains:
                clock = self._clock(feed)
                sources = [self._source(name, feed, clock) for name in feed.sources]
                self._chains[feed.name] = FailoverChain(sources, clock.now_ms)
            return self._chains[feed.name]

    def clock_ahead_ms(self) -> int:
        """Return how far the exchange's clock is ahead of ours, as far as it was asked for."""
        offsets = [clock.now_ms() - local_ms() for clock in self._clocks.values()]
        return offsets[0] if offsets else 0

    def measured_ahead_ms(self) -> int | None:
        """Return how far the exchange's clock is ahead of ours; None where it does not answer."""
        for clock in self._clocks.values():
            ahead_ms = clock.now_ms() - local_ms()  # asks, unless it has lately
            if clock.is_measured:
                return ahead_ms
        return None

    def _clock(self, feed: Feed) -> ExchangeClock:
        asks_rest = "rest" in feed.sources
        key = (feed.market, asks_rest)
        if key not in self._clocks:
            hosts = self._endpoints[feed.market].hosts if asks_rest else ()
            self._clocks[key] = ExchangeClock(
                self._client,
                self._gate,
                hosts=[(feed.market, host) for host in hosts],
                listing=self._settings.vision.listing if "vision" in feed.sources else "",
                local_ms=local_ms,
                known_ahead_ms=self._known_ahead_ms,
            )
        return self._clocks[key]

    def _endpoint(self, market: Market, directory: Path) -> RestEndpoint:
        hosts: tuple[str, ...] = getattr(self._settings.rest, market)
        limit: int = getattr(self._settings.weights, market)
        # The exchange counts by host family; a stand-in elsewhere has a count of its own.
        name = f"rest-{market}-{urlsplit(hosts[0]).netloc}"
        return RestEndpoint(hosts, Budget(directory, name, limit))

    def _source(self, name: str, feed: Feed, clock: ExchangeClock) -> Source:
        client = self._client.retrying(Retry(feed.max_retries, feed.retry_delay))
        if name == "vision":
            return VisionSource(client, self._gate, self._settings.vision, clock.now_ms)
        return RestSource(client, self._gate, self._endpoints, clock.now_ms)


@contextmanager
def open_chains(catalog: Catalog, directory: Path, *, known_ahead_ms: int = 0) -> Iterator[Chains]:
    """Hold the connections of a configuration's sources open while the context lasts.

    Args:
        catalog: The configuration.
        directory: Where bans and used weight are remembered; shared by all processes and lakes.
        known_ahead_ms: How far the exchange's clock was ahead of ours when it last told.

    Raises:
        LakeNotWritable: that folder cannot be made.
    """
    settings = catalog.sources
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise LakeNotWritable(
            str(directory),
            f"bans and used weight cannot be remembered here ({error.strerror}). Permit writing, "
            "or set XDG_STATE_HOME to another folder",
        ) from error
    client = HttpClient(timeout=settings.timeout, concurrency=settings.concurrency)
    try:
        yield Chains(settings, client, directory, known_ahead_ms)
    finally:
        client.close()
