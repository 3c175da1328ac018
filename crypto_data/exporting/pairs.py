"""What a series is called elsewhere: base and quote, and the contract behind it.

How each program spells that belongs to the module of its format.
"""

from dataclasses import dataclass, field
from pathlib import Path

from crypto_data.errors import UsageError
from crypto_data.lake.universe import known_universe
from crypto_data.series import Market, Series
from crypto_data.sources.directory import QUOTES, split_pair


@dataclass(frozen=True, slots=True)
class Pair:
    """What is traded and what it is priced in; `settle` is empty on spot.

    `delivery` is the day a dated contract ends, as the symbol writes it: `260925`.
    """

    base: str
    quote: str
    settle: str = ""
    delivery: str = ""

    @property
    def unified(self) -> str:
        """The name that ccxt gives it: `BTC/USDT`, `BTC/USDT:USDT`, `BTC/USDT:USDT-260925`."""
        settle = f":{self.settle}" if self.settle else ""
        delivery = f"-{self.delivery}" if self.delivery else ""
        return f"{self.base}/{self.quote}{settle}{delivery}"


@dataclass(frozen=True, slots=True)
class PairBook:
    """Base and quote of symbols, by the lake's copies of the exchanges' lists; asks nobody."""

    root: Path
    _read: dict[tuple[str, Market], dict[str, tuple[str, str]]] = field(default_factory=dict)

    def find(self, series: Series) -> Pair:
        """Return the pair of a series: as the exchange told the lake, else by the symbol's ending.

        Raises:
            UsageError: nobody knows what of the symbol is the quote.
        """
        symbol, market = series.symbol, series.market
        if "/" in symbol:
            return _split_unified(symbol)
        base, quote = self._told(series.exchange, market).get(symbol, ("", ""))
        if not (base and quote):
            base, quote = split_pair(symbol, QUOTES[market])
        if not quote:
            raise UsageError(
                "nobody has told which part of the symbol is the quote; run: crypto-data universe "
                f"--exchange {series.exchange} --market {market}"
            )
        if market is Market.SPOT:
            return Pair(base, quote)
        ending = symbol.partition("_")[2]
        settle = base if market is Market.CM else quote
        return Pair(base, quote, settle, ending if ending.isdigit() else "")

    def _told(self, exchange: str, market: Market) -> dict[str, tuple[str, str]]:
        if (exchange, market) not in self._read:
            listings = known_universe(self.root, exchange, market).listings
            told = {one.symbol: (one.base, one.quote) for one in listings}
            self._read[exchange, market] = told
        return self._read[exchange, market]


def _split_unified(symbol: str) -> Pair:
    base, _, rest = symbol.partition("/")
    quote, _, contract = rest.partition(":")
    settle, _, delivery = contract.partition("-")
    return Pair(base, quote, settle, delivery)
