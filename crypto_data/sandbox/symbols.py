"""The symbols of the stand-in exchange: when they trade, and in which steps they are priced.

Also the exchange's outages. How their klines come about belongs to `made`.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import blake2b

from crypto_data.intervals import MINUTE_MS, TimeRange
from crypto_data.series import Market

FOREVER_MS = 2**53


def instant(text: str) -> int:
    """Return an ISO time, UTC, as epoch milliseconds.

    Example:
        >>> instant("1970-01-02")
        86400000
    """
    moment = datetime.fromisoformat(text).replace(tzinfo=UTC)
    return int(moment.timestamp()) * 1000 + moment.microsecond // 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Symbol:
    """One traded symbol.

    `lives` are the stretches in which it traded, `(listed_ms, delisted_ms or None)`, on whole
    minutes. `level` is its typical price in ticks; a tick is `10 ** -price_decimals`, a lot
    `10 ** -volume_decimals`, and both together have at most 8 decimals. `lots` is a minute's
    typical volume. `contract_usd` is what a `cm` contract is worth. The archive starts at
    `archive_from_ms`, REST at the first life. `long_dailies`: the archive has daily files of
    3d, 1w and 1mo, which spot never has.
    """

    market: Market
    name: str
    lives: tuple[tuple[int, int | None], ...] = ((instant("2017-08-17"), None),)
    level: int = 4_000_00
    price_decimals: int = 2
    volume_decimals: int = 5
    lots: int = 500_000
    contract_usd: int = 10
    archive_from_ms: int = 0
    onboard_ms: int | None = None
    long_dailies: bool = False

    def __post_init__(self) -> None:
        """Refuse what cannot be computed exactly."""
        if self.price_decimals + self.volume_decimals > 8:  # noqa: PLR2004 - see the docstring
            raise ValueError(f"{self.name}: tick and lot have more than 8 decimals together")
        if any(edge is not None and edge % MINUTE_MS for life in self.lives for edge in life):
            raise ValueError(f"{self.name}: a life begins or ends inside a minute")

    @property
    def spans(self) -> list[TimeRange]:
        """The lives as half-open ranges, ascending."""
        return [TimeRange(start, FOREVER_MS if end is None else end) for start, end in self.lives]

    @property
    def seed(self) -> int:
        """The number its klines grow from."""
        digest = blake2b(f"{self.market}/{self.name}".encode(), digest_size=8).digest()
        return int.from_bytes(digest, "little")

    def trades_in(self, span: TimeRange) -> bool:
        """Return whether it traded at any time of the span."""
        return any(life.intersect(span) for life in self.spans)

    def is_listed(self, now_ms: int) -> bool:
        """Return whether its first life has begun."""
        return self.lives[0][0] <= now_ms

    def is_trading(self, now_ms: int) -> bool:
        """Return whether it trades at the instant."""
        return any(now_ms in life for life in self.spans)


@dataclass(frozen=True, slots=True)
class Outage:
    """A stop of one market: no trade from `stopped_ms` until `resumed_ms` (a whole minute)."""

    market: Market
    stopped_ms: int
    resumed_ms: int


def _default_symbols() -> list[Symbol]:
    return [*_spot_symbols(), *_um_symbols(), *_cm_symbols()]


def _spot_symbols() -> list[Symbol]:
    spot = Market.SPOT
    return [
        Symbol(market=spot, name="BTCUSDT", level=40_000_00),
        Symbol(market=spot, name="ETHUSDT", level=2_500_00, lots=5_000_000),
        Symbol(market=spot, name="SOLUSDT", level=110_00, lots=50_000_000),
        Symbol(
            market=spot, name="NEWUSDT", level=7_00, lives=((instant("2024-05-17T06:00"), None),)
        ),
        Symbol(
            market=spot,
            name="OLDUSDT",
            level=31_00,
            lives=((instant("2017-08-17"), instant("2024-02-20T03:00")),),
        ),
        Symbol(
            market=spot,
            name="LUNAUSDT",
            level=82_00,
            lives=(
                (instant("2020-08-21T10:00"), instant("2022-05-13T00:00")),
                (instant("2022-05-31T06:00"), None),
            ),
        ),
        Symbol(market=spot, name="币安人生USDT", level=25_00),
    ]


def _um_symbols() -> list[Symbol]:
    um = Market.UM
    um_from = instant("2019-09-08T17:57")
    um_archive = {"archive_from_ms": instant("2019-12-31"), "volume_decimals": 3}
    return [
        Symbol(
            market=um,
            name="BTCUSDT",
            level=40_000_00,
            lots=20_000,
            lives=((um_from, None),),
            onboard_ms=instant("2019-09-25T08:00"),
            long_dailies=True,
            **um_archive,
        ),
        Symbol(
            market=um,
            name="ETHUSDT",
            level=2_500_00,
            lots=200_000,
            lives=((instant("2019-11-27T07:00"), None),),
            long_dailies=True,
            **um_archive,
        ),
        Symbol(
            market=um,
            name="1000PEPEUSDT",
            level=120_000,
            price_decimals=7,
            volume_decimals=0,
            lots=500_000,
            lives=((instant("2023-05-05T14:00"), None),),
        ),
    ]


def _cm_symbols() -> list[Symbol]:
    cm = Market.CM
    cm_from = instant("2020-08-11")
    return [
        Symbol(
            market=cm,
            name="BTCUSD_PERP",
            level=40_000_0,
            price_decimals=1,
            volume_decimals=0,
            lots=4_000,
            contract_usd=100,
            lives=((cm_from, None),),
        ),
        Symbol(
            market=cm,
            name="ETHUSD_PERP",
            level=2_500_00,
            volume_decimals=0,
            lots=9_000,
            lives=((cm_from, None),),
        ),
    ]


# Stops of Binance spot since mid-2018 that REST's BTCUSDT 1h history shows; seconds and quarter
# hours from binance/binance-public-data issues 312, 365 and 368.
_SPOT_STOPS = """
2018-06-26T02:00 2018-06-26T12:00|2018-06-27T13:00 2018-06-27T14:45
2018-07-04T00:22:25 2018-07-04T08:00|2018-10-19T06:00 2018-10-19T09:30
2018-11-14T02:00 2018-11-14T09:00|2019-03-12T02:00 2019-03-12T08:00
2019-05-15T03:00 2019-05-15T13:00|2019-06-07T21:13:13 2019-06-07T22:15
2019-08-15T02:00 2019-08-15T10:00|2019-11-13T02:00 2019-11-13T04:00
2019-11-25T02:00 2019-11-25T04:00|2020-02-09T02:00 2020-02-09T03:00
2020-02-19T11:35:32 2020-02-19T17:30|2020-03-04T09:21:46 2020-03-04T11:30
2020-04-25T02:00 2020-04-25T04:30|2020-06-28T02:00 2020-06-28T05:30
2020-11-30T06:00 2020-11-30T07:00|2020-12-21T13:47:21 2020-12-21T18:00
2020-12-25T02:00 2020-12-25T03:00|2021-02-11T03:40:55 2021-02-11T05:00
2021-03-06T02:00 2021-03-06T03:30|2021-04-20T02:00 2021-04-20T04:30
2021-04-25T04:00:59 2021-04-25T08:45|2021-08-13T02:00 2021-08-13T06:30
2021-09-29T07:00 2021-09-29T09:00|2023-03-24T12:39:41.646 2023-03-24T14:00
"""
_UM_STOPS = """
2025-01-29T01:25 2025-01-29T01:35|2025-08-29T06:20 2025-08-29T06:35
"""


def known_outages() -> tuple[Outage, ...]:
    """Return the outages that really happened, ascending by market and time."""
    found = []
    for market, text in ((Market.SPOT, _SPOT_STOPS), (Market.UM, _UM_STOPS)):
        for pair in text.strip().replace("\n", "|").split("|"):
            stopped, resumed = pair.split()
            found.append(Outage(market, instant(stopped), instant(resumed)))
    return tuple(found)


class SymbolBook:
    """The symbols by market and name.

    `S000USDT` to `S999USDT` (spot) answer to their names; the first `crowd` of them are also in
    the listing and in exchangeInfo.
    """

    def __init__(self, added: Iterable[Symbol] = (), *, crowd: int = 0) -> None:
        listed = [*_default_symbols(), *map(crowd_symbol, range(crowd)), *added]
        self._listed = {(symbol.market, symbol.name): symbol for symbol in listed}

    def find(self, market: Market, name: str) -> Symbol | None:
        """Return the symbol, or None when the exchange has none of that name."""
        symbol = self._listed.get((market, name))
        if symbol is None and market is Market.SPOT and _is_crowd_name(name):
            return crowd_symbol(int(name[1:4]))
        return symbol

    def of_market(self, market: Market) -> list[Symbol]:
        """Return the listed symbols of a market, bytewise by name."""
        names = (symbol for (key, _), symbol in self._listed.items() if key is market)
        return sorted(names, key=lambda symbol: symbol.name.encode())


def crowd_symbol(number: int) -> Symbol:
    """Return one of the thousand made symbols, `S000USDT` to `S999USDT`."""
    return Symbol(
        market=Market.SPOT,
        name=f"S{number:03d}USDT",
        level=1_000 + number * 37,
        lots=20_000_000,
    )


def _is_crowd_name(name: str) -> bool:
    digits = name[1:4]
    return name == f"S{digits}USDT" and digits.isascii() and digits.isdigit()
