"""One market of one exchange through ccxt: whose addresses and words are ccxt's, requests ours.

ccxt builds the URL and reads the answer. The request goes through our own client, so that gate,
budget, retries and log are those of every other source. Which klines are asked for belongs to
`sources.ccxt_source`.
"""

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import urlsplit

from crypto_data.addresses import place_of, public_url
from crypto_data.errors import Broken, Unreachable
from crypto_data.exchanges import CCXT
from crypto_data.series import Market
from crypto_data.sources.budget import Budget
from crypto_data.sources.ccxt_refusal import UNREADABLE, judge_answer, translate
from crypto_data.sources.clock import date_ms
from crypto_data.sources.gate import Gate, GateDoor
from crypto_data.sources.http import HttpClient, Request, Response
from crypto_data.sources.refusal import DEFAULT_RETRY_AFTER_S

# How long the list of markets is believed; one that lacks a symbol is asked for again sooner.
KEEP_S = 3600.0
LOOK_AGAIN_S = 60.0

T = TypeVar("T")

# Which lists of markets ccxt is to load, where it can load less than all: each is a request or
# several, and one that is refused would spoil the others.
_TYPES: dict[str, dict[Market, list[str]]] = {
    "binance": {Market.SPOT: ["spot"], Market.UM: ["linear"], Market.CM: ["inverse"]},
    "bybit": {Market.SPOT: ["spot"], Market.UM: ["linear"], Market.CM: ["inverse"]},
    "okx": {
        Market.SPOT: ["spot"], Market.UM: ["swap", "future"], Market.CM: ["swap", "future"]
    },
    "kucoin": {Market.SPOT: ["spot"]},
    "gate": {Market.SPOT: ["spot"]},
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Place:
    """One market of one exchange; `url` stands in place of its own address, `""` for none."""

    exchange: str
    market: Market
    url: str
    budget: Budget

    @property
    def source(self) -> str:
        """The word in the `source` column."""
        return f"{CCXT}{self.exchange}"

    @property
    def host(self) -> str:
        """How the gate calls it: by the address that was given, else by the exchange's name."""
        return host_name(self.exchange, self.url)


def host_name(exchange: str, url: str) -> str:
    """Return how the gate calls an exchange behind ccxt, which may have several hosts."""
    return f"{CCXT}{exchange} {place_of(url) or exchange}"


class Trip:
    """The requests of one fetch: through one door, with one feed's retries."""

    detail = ""

    def __init__(self, place: Place, gate: Gate, http: HttpClient, series: str) -> None:
        self.series = series
        self.http = http
        self.door: GateDoor = gate.door(place.host, source=place.source, series=series)
        self.door.toll = lambda: place.budget.spend(1, source=place.source, series=series)

    def spent(self) -> tuple[int, float]:
        """Return requests and seconds since this was last asked."""
        return self.door.spent()


class CcxtClient:
    """ccxt's object for one market; used by one thread at a time, safe to use from several."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self._lock = threading.RLock()
        self._api: Any = None
        self._trip: Trip | None = None
        self._last: Response | None = None  # the newest answer, and its JSON
        self._said: Any = None
        self._listed_at = float("-inf")

    def markets(self, trip: Trip, *, keep_s: float = KEEP_S) -> Mapping[str, Mapping[str, Any]]:
        """Return the markets by ccxt's symbol, as ccxt describes them.

        Raises:
            Broken: the exchange lists none: every symbol would look unknown.
            SourceError: it could not be asked.
        """
        with self._lock:
            if time.monotonic() - self._listed_at > keep_s:
                self.call(trip, lambda api: api.load_markets(True))
                if not self._api.markets:
                    raise Broken(self.place.source, trip.series, "its list of markets is empty")
                self._listed_at = time.monotonic()
            listed: Mapping[str, Mapping[str, Any]] = self._api.markets
            return listed

    def klines(
        self, trip: Trip, symbol: str, interval: str, bounds: Mapping[str, int | None]
    ) -> list[list[Any]]:
        """Return rows of open time, open, high, low, close, volume, as ccxt hands them over.

        Args:
            trip: Through which the request goes.
            symbol: ccxt's.
            interval: ccxt's spelling.
            bounds: `since` (milliseconds), `limit` (rows), and `until` (milliseconds) or None.

        Raises:
            Broken: what came is none of that, and no empty list either.
            SourceError: see `call`.
        """
        since, limit, until = (bounds[name] for name in ("since", "limit", "until"))
        params = {} if until is None else {"until": until}
        with self._lock:
            rows: list[list[Any]] = self.call(
                trip, lambda api: api.fetch_ohlcv(symbol, interval, since, limit, params)
            )
            said = self._said
        if not rows and not holds_empty_list(said):
            # ccxt reads another form as no klines, and drops those before the start.
            detail = f"no klines of the window that was asked for, but {str(said)[:200]}"
            raise Broken(self.place.source, trip.series, detail)
        return rows

    def time(self, trip: Trip) -> tuple[int, float]:
        """Return the exchange's time, UTC epoch milliseconds, and how long it took to tell.

        Where its API has no time, the `Date` header of another answer, whole seconds cut off.

        Raises:
            SourceError: it could not be asked, or told none.
        """
        with self._lock:
            told_ms = self.call(trip, _ask_time)
            answer = self._last
        if answer is None:
            raise Broken(self.place.source, trip.series, "it tells no time")
        return told_ms or date_ms(answer), answer.seconds

    def call(self, trip: Trip, ask: Callable[[Any], T]) -> T:
        """Return what a call of ccxt returns, its requests sent through the trip.

        Raises:
            Rejected: the exchange does not know the symbol.
            RateLimited, Blocked, Unreachable: it refuses us, or is down.
            Broken: it answered with what cannot be read.
        """
        asked = (self.place.source, trip.series, "")
        with self._lock:
            if self._api is None:
                self._api = self._connect(trip.series)
            self._trip = trip
            try:
                return ask(self._api)
            except UNREADABLE as error:
                raise Broken(*asked[:2], f"an answer that ccxt cannot read: {error!r}") from error
            except _ccxt(trip.series, self.place).BaseError as error:
                raise translate(error, asked, DEFAULT_RETRY_AFTER_S) from error
            finally:
                self._trip = None

    def _connect(self, series: str) -> Any:
        """Return ccxt's object, whose requests are ours.

        Raises:
            Unreachable: ccxt is not installed.
        """
        types = _TYPES.get(self.place.exchange, {}).get(self.place.market)
        options: dict[str, Any] = {"fetchMarkets": {"types": types}} if types else {}
        if self.place.exchange == "kucoin":
            options["fetchMarkets"]["fetchTickersFees"] = False  # a request more, of no use here
        api = getattr(_ccxt(series, self.place), self.place.exchange)(
            {"enableRateLimit": False, "options": options}  # the budget is ours
        )
        api.has["fetchCurrencies"] = False  # a request more, and nothing in it about klines
        api.fetch = self._send
        if self.place.url:
            api.urls["api"] = moved(api.urls["api"], self.place.url)
        return api

    def _send(
        self,
        url: str,
        method: str = "GET",
        headers: Mapping[str, Any] | None = None,
        body: object = None,
    ) -> Any:
        """Send what ccxt wants to send, and return its JSON; in place of `ccxt.Exchange.fetch`."""
        trip = self._trip
        if trip is None or method != "GET" or body:
            raise ValueError(f"{method} {url}: only klines and lists are asked for")
        asked = (self.place.source, trip.series, public_url(url))
        request = Request(
            url,
            headers={name: str(value) for name, value in (headers or {}).items() if value},
            judge=lambda *answer: judge_answer(self._api, asked, answer),
        )
        self._last = trip.http.get(request, trip.door)
        self._said = self._api.parse_json(self._last.body.decode("utf-8", "replace"))
        return self._said


def _ask_time(api: Any) -> int | None:
    """Return the time that the API tells; None where it has none, after an answer with a date."""
    if api.has["fetchTime"]:
        told_ms: int | None = api.fetch_time()
        return told_ms
    api.fetch_markets()
    return None


def _ccxt(series: str, place: Place) -> Any:
    """Return the library.

    Raises:
        Unreachable: it is not installed.
    """
    try:
        import ccxt  # noqa: PLC0415 - costs 0.3 s and 77 MB, and is an extra
    except ImportError as error:
        raise Unreachable(
            place.source, series, "ccxt is not installed; run: pip install 'crypto-data[ccxt]'"
        ) from error
    return ccxt


def holds_empty_list(said: Any) -> bool:
    """Return whether an answer says of anything but errors that there are none.

    Example:
        >>> holds_empty_list({"error": [], "result": {"XXBTZUSD": [], "last": 1}})
        True
        >>> holds_empty_list({"error": [], "result": {}})
        False
    """
    if isinstance(said, dict):
        return any(holds_empty_list(one) for name, one in said.items() if name != "error")
    return isinstance(said, list) and not said


def moved(urls: Any, base: str) -> Any:
    """Return ccxt's addresses with another scheme and host, their paths kept.

    Example:
        >>> moved({"rest": "https://{hostname}", "v1": {"spot": "https://a.b/api"}}, "http://c/d")
        {'rest': 'http://c/d', 'v1': {'spot': 'http://c/d/api'}}
    """
    if isinstance(urls, str):
        return base.rstrip("/") + urlsplit(urls).path
    return {name: moved(url, base) for name, url in urls.items()}
