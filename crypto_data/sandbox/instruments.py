"""The exchanges besides Binance that the sandbox speaks for: what they trade, and at which prices.

Their prices follow Binance's at a distance of a few hundredths of a percent, so that a kline tells
whose it is; where Binance stops, they trade on. How each spells it belongs to `okx` and `kraken`.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from crypto_data.intervals import HOUR_MS, MINUTE_MS, Interval, TimeRange
from crypto_data.sandbox.bars import (
    PRICES,
    QUANTITIES,
    Bars,
    Column,
    aggregate,
    grid_ends,
    select,
)
from crypto_data.sandbox.exchange import Alter, Tape
from crypto_data.sandbox.kline_text import fixed_text
from crypto_data.sandbox.symbols import Symbol
from crypto_data.schema import TIME, fetched_table
from crypto_data.series import Market

_BASIS_POINTS = 10_000
DIGITS = 8  # of volumes in text


@dataclass(frozen=True, slots=True)
class Instrument:
    """What is traded, by the exchange's name and by ccxt's (`BTC-USDT-SWAP`, `BTC/USDT:USDT`).

    `symbol` is named as at Binance, whose prices it follows; its lives and steps are the
    exchange's own.
    """

    name: str
    unified: str
    symbol: Symbol


class InstrumentBook:
    """The instruments of one exchange, and their bars."""

    def __init__(self, instruments: Sequence[Instrument], alter: Alter) -> None:
        self._instruments = tuple(instruments)
        self.tape = Tape((), alter)

    def listed(self, now_ms: int) -> list[Instrument]:
        """Return what is traded at the instant, in the exchange's order."""
        return [one for one in self._instruments if one.symbol.is_trading(now_ms)]

    def find(self, market: Market, unified: str) -> Instrument | None:
        """Return the instrument by ccxt's name, or None when there is none."""
        for one in self._instruments:
            if (one.symbol.market, one.unified) == (market, unified):
                return one
        return None

    def truth(
        self, instrument: Instrument, interval: Interval, span: TimeRange, now_ms: int
    ) -> pa.Table:
        """Return the closed klines of the span as `FETCHED`, with what ccxt hands on of them.

        That is prices and base volume; `close_time` is a millisecond before the next open.
        """
        symbol = instrument.symbol
        bars = self.tape.closed_bars(symbol, interval, span, now_ms)
        prices = {
            column.name.lower(): fixed_text(bars[column], symbol.price_decimals).cast(pa.float64())
            for column in (Column.OPEN, Column.HIGH, Column.LOW, Column.CLOSE)
        }
        return fetched_table(
            {
                "open_time": pa.array(bars[Column.OPEN_TIME] * 1000).cast(TIME),
                **prices,
                "volume": fixed_text(base_volume(bars, symbol), DIGITS).cast(pa.float64()),
                "close_time": pa.array(bars[Column.CLOSE_TIME] * 1000).cast(TIME),
            }
        )

    def shifted_bars(
        self, symbol: Symbol, interval: Interval, window: TimeRange, *, ahead_ms: int, now_ms: int
    ) -> Bars:
        """Return bars as a clock `ahead_ms` (whole hours) before UTC cuts days, weeks and months.

        `now_ms` is when they are seen. They are made of hourly bars: ask for little more than is
        wanted.
        """
        start_ms = interval.floor(window.start_ms + ahead_ms) - ahead_ms
        hours = self.tape.bars_at(
            symbol, Interval.HOUR_1, TimeRange(start_ms, max(start_ms, window.end_ms)), now_ms
        ).copy()
        times = [Column.OPEN_TIME, Column.CLOSE_TIME]
        hours[times] += ahead_ms
        bars = aggregate(hours, interval, length_ms=HOUR_MS)
        bars[times] -= ahead_ms
        # The last bar closes when its clock says so, also while its hours still run.
        bars[Column.CLOSE_TIME] = (
            grid_ends(bars[Column.OPEN_TIME] + ahead_ms, interval) - ahead_ms - 1
        )
        return select(bars, window)


def base_volume(bars: Bars, symbol: Symbol) -> Bars:
    """Return the volumes in base; the bars of `cm` have them in the place of quote volume."""
    volumes: Bars = bars[Column.QUOTE_VOLUME if symbol.market is Market.CM else Column.VOLUME]
    return volumes


def quote_volume(bars: Bars, symbol: Symbol) -> Bars:
    """Return the volumes in quote; those of `cm` are its contracts' worth."""
    volumes: Bars = (
        bars[Column.VOLUME] * symbol.contract_usd
        if symbol.market is Market.CM
        else bars[Column.QUOTE_VOLUME]
    )
    return volumes


def nearby(*, basis_points: int, quiet_minutes: int) -> Alter:
    """Return how an exchange's bars differ from Binance's, exactly alike in every interval.

    Prices lie `basis_points` higher, on the symbol's own tick; volumes are what takers bought
    at Binance. In every `quiet_minutes`-th minute nobody trades: the bar is flat. No bar is absent.
    """

    def alter(symbol: Symbol, interval: Interval, bars: Bars) -> Bars:
        bars = _whole(bars, interval)
        tick = 10 ** (8 - symbol.price_decimals)
        bars[PRICES] = bars[PRICES] * (_BASIS_POINTS + basis_points) // _BASIS_POINTS // tick * tick
        if symbol.market is not Market.CM:
            bars[Column.TAKER_QUOTE_VOLUME] += (
                bars[Column.TAKER_QUOTE_VOLUME] // _BASIS_POINTS * basis_points
            )
        bars[Column.VOLUME] = bars[Column.TAKER_VOLUME]
        bars[Column.QUOTE_VOLUME] = bars[Column.TAKER_QUOTE_VOLUME]
        bars[[Column.TAKER_VOLUME, Column.TAKER_QUOTE_VOLUME]] = 0
        if interval is Interval.MINUTE_1:
            is_quiet = bars[Column.OPEN_TIME] // MINUTE_MS % quiet_minutes == 0
            _flatten(bars, is_quiet)
        return bars

    return alter


def _whole(bars: Bars, interval: Interval) -> Bars:
    """Return the bars with those that are absent between them as flat ones, none cut short."""
    opens = bars[Column.OPEN_TIME]
    if opens.size and not interval.is_month:
        grid = np.arange(opens[0], opens[-1] + 1, interval.length_ms, dtype=np.int64)
        before = np.searchsorted(opens, grid, side="right") - 1
        is_absent = opens[before] != grid
        bars = bars[:, before]
        bars[Column.OPEN_TIME] = grid
        bars[Column.OPEN, is_absent] = bars[Column.CLOSE, is_absent]
        _flatten(bars, is_absent)
    else:
        bars = bars.copy()
    bars[Column.CLOSE_TIME] = grid_ends(bars[Column.OPEN_TIME], interval) - 1
    return bars


def _flatten(bars: Bars, chosen: "np.ndarray[tuple[int, ...], np.dtype[np.bool_]]") -> None:
    """Let nobody trade in the chosen bars: they stay where they open."""
    for column in (Column.HIGH, Column.LOW, Column.CLOSE):
        bars[column, chosen] = bars[Column.OPEN, chosen]
    for column in QUANTITIES:
        bars[column, chosen] = 0
