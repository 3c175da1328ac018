"""What an exchange's own lists say of its symbols: which there are, which trade, since when.

Asks and forgets. What is kept of it belongs to `lake.universe`, when to ask to `universe`.
"""

import re
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Protocol

from crypto_data.catalog.settings import VisionAddress
from crypto_data.errors import SourceError
from crypto_data.intervals import Interval
from crypto_data.partitions import day_of
from crypto_data.series import Market, Series
from crypto_data.sources.archive import BINANCE, Archive, symbol_folders
from crypto_data.sources.gate import Gate
from crypto_data.sources.http import HttpClient
from crypto_data.sources.rest_symbols import SymbolBook
from crypto_data.sources.rest_trip import RestEndpoint, Trip

# What binance has priced anything in, for symbols that only the archive still knows; where none
# fits, base and quote stay empty.
# Source: names in recorded listings of the archive; checked 2026-11.
_SPOT_QUOTES = (
    "AEUR", "ARS", "AUD", "BIDR", "BKRW", "BNB", "BRL", "BTC", "BUSD", "BVND", "COP", "CZK", "DAI",
    "DOGE", "DOT", "ETH", "EUR", "EURI", "FDUSD", "GBP", "GYEN", "IDRT", "JPY", "MXN", "NGN",
    "PAX", "PLN", "RON", "RUB", "SOL", "TRX", "TRY", "TUSD", "UAH", "USD", "USD1", "USDC", "USDP",
    "USDS", "USDSB", "USDT", "UST", "VAI", "XRP", "ZAR",
)  # fmt: skip
# A market at a time: BNBUSD_PERP is priced in USD and not in BUSD.
QUOTES: Mapping[Market, frozenset[str]] = {
    Market.SPOT: frozenset(_SPOT_QUOTES),
    Market.UM: frozenset(("BTC", "BUSD", "USDC", "USDT")),
    Market.CM: frozenset(("USD",)),
}
_SETTLED = re.compile(r"(_?SETTLED)+$")


@dataclass(frozen=True, slots=True)
class Told:
    """One symbol as the lists have it; `is_trading` is None where only the archive knows it."""

    symbol: str
    base: str = ""
    quote: str = ""
    is_trading: bool | None = None


@dataclass(frozen=True, slots=True)
class MarketList:
    """All symbols of a market by name, and which lists could not be read, or not to their end.

    `tells_trading`: the exchange itself has answered, so that a symbol it does not name has ended.
    """

    symbols: Mapping[str, Told]
    failures: tuple[SourceError, ...] = ()
    tells_trading: bool = False


class Lists(Protocol):
    """Who can say which symbols a market has."""

    def market(self, market: Market) -> MarketList:
        """Return all symbols of a market; a failure is told, never raised."""


class ForeignDirectory:
    """The markets of another exchange as ccxt lists them; it names only what trades now.

    Args:
        symbols: Returns ccxt's names of a market's symbols, or raises a `SourceError`.
    """

    def __init__(self, symbols: Callable[[Market], Iterable[str]]) -> None:
        self._symbols = symbols

    def market(self, market: Market) -> MarketList:
        """Return the symbols of a market, `BTC/USD` or `BTC/USDT:USDT`."""
        try:
            names = list(self._symbols(market))
        except SourceError as error:
            return MarketList({}, (error,))
        return MarketList({name: _foreign(name) for name in names}, tells_trading=True)


class Directory:
    """The lists of binance: the archive's folders and exchangeInfo; safe between threads.

    Args:
        client: Sends the requests.
        gate: Remembers when a host wants to be left alone.
        address: Where the archive is.
        endpoints: REST hosts and weight budget of each market.
    """

    def __init__(
        self,
        client: HttpClient,
        gate: Gate,
        address: VisionAddress,
        endpoints: Mapping[Market, RestEndpoint],
    ) -> None:
        self._client = client
        self._gate = gate
        self._archive = Archive(client, gate, address)
        self._endpoints = endpoints
        self._book = SymbolBook()

    def market(self, market: Market) -> MarketList:
        """Return all symbols of a market, delisted ones too; a failure is told, never raised."""
        failures: list[SourceError] = []
        archived = self._archived(market, failures)
        endpoint = self._endpoints[market]
        trip = Trip(self._client, self._gate, endpoint, market, f"{BINANCE}/{market}")
        try:
            facts = self._book.all(market, trip, keep_s=0.0)
        except SourceError as error:
            failures.append(error)
            facts = {}
        told = {
            one.symbol: Told(one.symbol, one.base, one.quote, not one.is_delisted)
            for one in facts.values()
        }
        quotes = QUOTES[market] | {one.quote for one in told.values() if one.quote}
        ended = {name: _by_name(name, quotes) for name in archived - told.keys()}
        return MarketList(told | ended, tuple(failures), tells_trading=bool(facts))

    def first_day(self, market: Market, symbol: str) -> date | None:
        """Return the day of a symbol's first file, the first of a month that has no daily files.

        None without any file.

        Raises:
            SourceError: the archive's listing could not be read.
        """
        first = self._archive.first_file(_days_of(market, symbol))
        return day_of(first.start_ms) if first else None

    def last_day(self, market: Market, symbol: str) -> date | None:
        """Return the day of a symbol's last file; None without any file.

        Raises:
            SourceError: the archive's listing could not be read.
        """
        last = self._archive.last_file(_days_of(market, symbol))
        return day_of(last.end_ms - 1) if last else None

    def file_days(self, market: Market, symbol: str) -> list[date]:
        """Return the days of which the archive has a file, ascending: a request 500 days.

        Raises:
            SourceError: the archive's listing could not be read.
        """
        return self._archive.file_days(_days_of(market, symbol))

    def _archived(self, market: Market, failures: list[SourceError]) -> set[str]:
        """Return the symbols that have a folder; of a list that breaks off, what came before."""
        door = self._archive.listing.door(f"{BINANCE}/{market}")
        names: set[str] = set()
        for prefix in symbol_folders(market):
            try:
                for page in self._archive.listing.pages(prefix, door):
                    names.update(folder.split("/")[-2] for folder in page.folders)
            except SourceError as error:
                failures.append(error)
        return names


def _days_of(market: Market, symbol: str) -> Series:
    return Series(BINANCE, market, symbol, Interval.DAY_1)


def _foreign(symbol: str) -> Told:
    base, _, rest = symbol.partition("/")
    return Told(symbol, base, rest.partition(":")[0], is_trading=True)


def _by_name(symbol: str, quotes: Collection[str]) -> Told:
    base, quote = split_pair(symbol, quotes)
    return Told(symbol, base, quote)


def split_pair(symbol: str, quotes: Collection[str]) -> tuple[str, str]:
    """Return base and quote of a symbol by the longest quote it ends in; both empty without one.

    Endings of settled and of dated contracts do not count.

    Example:
        >>> split_pair("CTKUSDTSETTLED", {"USD", "USDT"}), split_pair("BTCUSD_PERP", {"USD"})
        (('CTK', 'USDT'), ('BTC', 'USD'))
    """
    pair = _SETTLED.sub("", symbol).partition("_")[0]
    found = max((one for one in quotes if pair.endswith(one) and pair != one), key=len, default="")
    return (pair.removesuffix(found), found) if found else ("", "")
