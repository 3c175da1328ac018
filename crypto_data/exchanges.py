"""What each exchange offers: markets, intervals, and how its API hands klines out.

A table and nothing else; a test compares it with what ccxt itself knows. Asking the exchanges
belongs to `sources`, refusing an impossible feed to `catalog.rules`.
"""

from dataclasses import dataclass

from crypto_data.intervals import Interval
from crypto_data.series import Market

# Through ccxt; the name of the exchange follows: `ccxt:okx`.
CCXT = "ccxt:"
OWN_SOURCES = ("vision", "rest")  # of binance
# Klines that are made here of finer ones, whose interval follows: `made:1m`.
MADE = "made:"


@dataclass(frozen=True, slots=True)
class Exchange:
    """One exchange, spelled as ccxt does, and what its kline API can do.

    `page_rows` is the most klines of one answer. `reach_rows` is given where the API holds only
    the newest so many klines, whatever is asked for. `skips_quiet` says that minutes without a
    trade are left out, so that a hole is no outage.

    Volumes are in base everywhere: markets that ccxt hands out in contracts (futures of gate and
    kucoin) are left out.
    """

    name: str
    markets: tuple[Market, ...]
    intervals: tuple[Interval, ...]
    page_rows: int
    requests_a_minute: int
    reach_rows: int | None = None
    skips_quiet: bool = False

    def intervals_of(self, market: Market) -> tuple[Interval, ...]:
        """The intervals that it has in a market, shortest first: 1s in spot alone."""
        return tuple(
            one for one in self.intervals if one is not Interval.SECOND_1 or market is Market.SPOT
        )

    @property
    def own_sources(self) -> tuple[str, ...]:
        """The sources that ask this very exchange, best first."""
        through_ccxt = f"{CCXT}{self.name}"
        return (*OWN_SOURCES, through_ccxt) if self.name == "binance" else (through_ccxt,)

    @property
    def default_sources(self) -> tuple[str, ...]:
        """What a feed without `sources` asks."""
        return OWN_SOURCES if self.name == "binance" else self.own_sources


def _intervals(text: str) -> tuple[Interval, ...]:
    return tuple(Interval.parse(one) for one in text.split())


_ALL_MARKETS = (Market.SPOT, Market.UM, Market.CM)

EXCHANGES = {
    one.name: one
    for one in (
        Exchange("binance", _ALL_MARKETS, tuple(Interval), 1000, 1200),
        Exchange(
            "okx",
            _ALL_MARKETS,
            _intervals("1m 3m 5m 15m 30m 1h 2h 4h 6h 12h 1d 1w 1mo"),
            page_rows=300,
            requests_a_minute=540,
        ),
        Exchange(
            "bybit",
            _ALL_MARKETS,
            _intervals("1m 3m 5m 15m 30m 1h 2h 4h 6h 12h 1d 1w 1mo"),
            page_rows=1000,
            requests_a_minute=3000,
        ),
        # Its weeks open on Thursdays, those of okx and bybit on Mondays as ours.
        Exchange(
            "kraken",
            (Market.SPOT,),
            _intervals("1m 5m 15m 30m 1h 4h 1d"),
            page_rows=720,
            requests_a_minute=60,
            reach_rows=720,
        ),
        Exchange(
            "coinbase",
            (Market.SPOT,),
            _intervals("1m 5m 15m 30m 1h 2h 6h 1d"),
            page_rows=300,
            requests_a_minute=600,
            skips_quiet=True,
        ),
        # Its weeks open on Thursdays (kucoin-api-docs issues 350, 373); of its months no one tells.
        Exchange(
            "kucoin",
            (Market.SPOT,),
            _intervals("1m 3m 5m 15m 30m 1h 2h 4h 6h 8h 12h 1d"),
            page_rows=1500,
            requests_a_minute=1200,
            skips_quiet=True,
        ),
        # What ccxt 4.5.90 calls its week are bars of three days, counted from the epoch.
        Exchange(
            "bitstamp",
            (Market.SPOT,),
            _intervals("1m 3m 5m 15m 30m 1h 2h 4h 6h 12h 1d"),
            page_rows=1000,
            requests_a_minute=400,
        ),
        # Its weeks are bars of seven days since the epoch. "Candlestick too long ago. Maximum 10000
        # points recently are allowed" (freqtrade issue 12814, February 2026).
        Exchange(
            "gate",
            (Market.SPOT,),
            _intervals("1m 5m 15m 30m 1h 2h 4h 8h 1d"),
            page_rows=1000,
            requests_a_minute=1200,
            reach_rows=10_000,
        ),
    )
}


def made_source(finer: Interval, served_by: str = "") -> str:
    """Return the source of klines that are made of finer ones.

    `served_by` is given where the finer ones only stand in, or wait for the archive: `made:1m:rest`
    stands in for `made:1m`.
    """
    return f"{MADE}{finer}" + (f":{served_by}" if served_by else "")


def is_foreign(source: str, exchange: str) -> bool:
    """Return whether a source asks another exchange than the one that the klines are said of."""
    return source.startswith(CCXT) and source != f"{CCXT}{exchange}"


def is_stand_in(source: str, best_source: str) -> bool:
    """Return whether klines of a source only stand in until a better one has them.

    That is so for every exchange asked through ccxt behind a feed's best source: its prices are
    another exchange's, or lack what the exchange itself tells. And for klines that were made of
    such ones, or where a series is no longer made.
    """
    return source.startswith((CCXT, MADE)) and source != best_source
