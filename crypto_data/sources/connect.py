"""Sources built from the configuration, and the chain of each feed.

Holds the connections of one run open. What a chain does belongs to `sources.failover`.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from crypto_data.addresses import place_of
from crypto_data.catalog.configuration import Catalog, Feed
from crypto_data.catalog.settings import SourceSettings
from crypto_data.errors import LakeNotWritable
from crypto_data.exchanges import CCXT, EXCHANGES
from crypto_data.series import Market
from crypto_data.sources.archive import BINANCE
from crypto_data.sources.base import Source
from crypto_data.sources.budget import LONGEST_WAIT_S, Budget
from crypto_data.sources.ccxt_client import CcxtClient, Place
from crypto_data.sources.ccxt_client import host_name as host_name_of
from crypto_data.sources.ccxt_source import CcxtSource, Connection
from crypto_data.sources.clock import ExchangeClock, Teller
from crypto_data.sources.directory import Directory, ForeignDirectory, Lists
from crypto_data.sources.failover import FailoverChain
from crypto_data.sources.gate import Closing, Gate
from crypto_data.sources.http import HttpClient, Retry
from crypto_data.sources.rest import RestSource
from crypto_data.sources.rest_trip import RestEndpoint, host_name
from crypto_data.sources.sent import Sent
from crypto_data.sources.vision import VisionSource


def local_ms() -> int:
    """Return this machine's clock, UTC epoch milliseconds."""
    return time.time_ns() // 1_000_000


@dataclass(frozen=True, slots=True)
class Manner:
    """How sources are asked; the defaults are those of a run.

    `longest_wait_s` is how long a request waits for free weight. Without `asks_time` the exchange
    is not asked for its time: what it told last counts. `on_sent` is told of every request.
    """

    gate: Callable[..., Gate] = Gate
    longest_wait_s: float = LONGEST_WAIT_S
    asks_time: bool = True
    on_sent: Callable[[Sent], None] = lambda _sent: None


class Chains:
    """The failover chains of a configuration's feeds, over one pool of connections.

    Args:
        settings: Addresses, budgets, timeouts.
        client: The pool of connections.
        directory: Where bans and used weight are remembered, for all processes.
        known_ahead_ms: How far the exchange's clock was ahead of ours when it last told.
        manner: How they are asked.
    """

    def __init__(
        self,
        settings: SourceSettings,
        client: HttpClient,
        directory: Path,
        known_ahead_ms: int = 0,
        manner: Manner | None = None,
    ) -> None:
        self._manner = manner or Manner()
        self._known_ahead_ms = known_ahead_ms
        self._settings = settings
        self._client = client
        self._gate = self._manner.gate(directory, local_ms, sleep=client.pause)
        self._endpoints = {market: self._endpoint(market, directory) for market in Market}
        self._directory = directory
        self._others: dict[tuple[str, Market], CcxtClient] = {}
        self._clocks: dict[tuple[str, Market, bool], ExchangeClock] = {}
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

    def closings(self, source: str, market: Market) -> dict[str, Closing]:
        """Return the hosts of a source that are left alone at this moment, and why."""
        vision = self._settings.vision
        hosts = {
            "vision": [f"vision {place_of(vision.url)}", f"listing {place_of(vision.listing)}"],
            "rest": [host_name(market, url) for url in self._endpoints[market].hosts],
        }.get(source, [])
        return {
            host: closing
            for host, closing in self._gate.closings().items()
            if host in hosts or host.startswith(f"{source} ")
        }

    def budget(self, source: str, market: Market) -> Budget | None:
        """Return the weight that a source's requests share, None where nobody counts it."""
        if source.startswith(CCXT):
            return self._ccxt(source, market).place.budget
        return self._endpoints[market].budget if source == "rest" else None

    def directory(self, retry: Retry) -> Directory:
        """Return the lists that binance has of its symbols."""
        client = self._client.retrying(retry)
        return Directory(client, self._gate, self._settings.vision, self._endpoints)

    def lists(self, exchange: str, market: Market, retry: Retry) -> Lists:
        """Return who says which symbols a market of an exchange has."""
        if exchange == BINANCE:
            return self.directory(retry)
        client = self._ccxt(f"{CCXT}{exchange}", market)
        connection = Connection(client, self._client.retrying(retry), self._gate)
        return ForeignDirectory(CcxtSource(connection, local_ms).symbols)

    def _clock(self, feed: Feed) -> ExchangeClock:
        asks_rest = "rest" in feed.sources
        key = (feed.exchange, feed.market, asks_rest)
        if key not in self._clocks:
            asks_rest = asks_rest and self._manner.asks_time
            asks_listing = "vision" in feed.sources and self._manner.asks_time
            asks_ccxt = feed.sources[0].startswith(CCXT) and self._manner.asks_time
            hosts = self._endpoints[feed.market].hosts if asks_rest else ()
            self._clocks[key] = ExchangeClock(
                self._client,
                self._gate,
                hosts=[(feed.market, host) for host in hosts],
                listing=self._settings.vision.listing if asks_listing else "",
                teller=self._teller(feed) if asks_ccxt else None,
                local_ms=local_ms,
                known_ahead_ms=self._known_ahead_ms,
            )
        return self._clocks[key]

    def _teller(self, feed: Feed) -> Teller:
        client = self._ccxt(feed.sources[0], feed.market)
        http = self._client.retrying(Retry(max_retries=1, delay_s=0.2))
        connection = Connection(client, http, self._gate)
        return Teller(client.place.host, lambda: client.time(connection.trip("exchange time")))

    def _ccxt(self, source: str, market: Market) -> CcxtClient:
        """Return ccxt's object for one market of one exchange, the same one each time."""
        exchange = source.removeprefix(CCXT)
        if (exchange, market) not in self._others:
            url = self._settings.ccxt.urls.get(exchange, "")
            # Its markets share an address, and so its count of requests.
            budget = Budget(
                self._directory,
                host_name_of(exchange, url),
                EXCHANGES[exchange].requests_a_minute,
                longest_wait_s=self._manner.longest_wait_s,
                sleep=self._client.pause,
            )
            self._others[exchange, market] = CcxtClient(Place(exchange, market, url, budget))
        return self._others[exchange, market]

    def _endpoint(self, market: Market, directory: Path) -> RestEndpoint:
        hosts: tuple[str, ...] = getattr(self._settings.rest, market)
        limit: int = getattr(self._settings.weights, market)
        # The exchange counts by host family; a stand-in elsewhere has a count of its own.
        name = f"rest-{market}-{place_of(hosts[0])}"
        budget = Budget(
            directory,
            name,
            limit,
            longest_wait_s=self._manner.longest_wait_s,
            sleep=self._client.pause,
        )
        return RestEndpoint(hosts, budget)

    def _source(self, name: str, feed: Feed, clock: ExchangeClock) -> Source:
        client = self._client.retrying(Retry(feed.max_retries, feed.retry_delay))
        if name == "vision":
            return VisionSource(client, self._gate, self._settings.vision, clock.now_ms)
        if name.startswith(CCXT):
            connection = Connection(self._ccxt(name, feed.market), client, self._gate)
            return CcxtSource(connection, clock.now_ms)
        return RestSource(client, self._gate, self._endpoints, clock.now_ms)


@contextmanager
def open_chains(
    catalog: Catalog, directory: Path, *, known_ahead_ms: int = 0, manner: Manner | None = None
) -> Iterator[Chains]:
    """Hold the connections of a configuration's sources open while the context lasts.

    Args:
        catalog: The configuration.
        directory: Where bans and used weight are remembered; shared by all processes and lakes.
        known_ahead_ms: How far the exchange's clock was ahead of ours when it last told.
        manner: How the sources are asked; by default as a run asks them.

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
    manner = manner or Manner()
    client = HttpClient(
        timeout=settings.timeout, concurrency=settings.concurrency, on_sent=manner.on_sent
    )
    try:
        yield Chains(settings, client, directory, known_ahead_ms, manner)
    finally:
        client.close()
