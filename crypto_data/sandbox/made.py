"""Made minute bars: a pure function of symbol and time, in exact integers.

Prices are waves of hashed corners, so that any month can be computed alone and two processes get
the same bytes. Which days are recorded instead belongs to `recordings`, caches to `exchange`.
"""

import numpy as np
from numpy.typing import NDArray

from crypto_data.intervals import MINUTE_MS, TimeRange
from crypto_data.sandbox.bars import PRICES, UNIT, Bars, Column, no_bars
from crypto_data.sandbox.symbols import Outage, Symbol
from crypto_data.series import Market

_MIX = (0xBF58476D1CE4E5B9, 0x94D049BB133111EB)  # splitmix64's constants
_STEP = 0x9E3779B97F4A7C15
_MASK = 2**64 - 1

# Waves of the price: minutes between two corners, height in parts per 1e9 of the level.
# Together 42 %, so a price never comes near zero.
_WAVES = (
    (1, 300_000),
    (15, 1_000_000),
    (120, 3_000_000),
    (960, 10_000_000),
    (7_000, 30_000_000),
    (50_000, 80_000_000),
    (400_000, 300_000_000),
)
_PARTS = 10**9
_BITS_16 = np.uint64(0xFFFF)


def minute_bars(symbol: Symbol, span: TimeRange, outages: tuple[Outage, ...]) -> Bars:
    """Return the made minute bars that open inside `span`, within the symbol's lives.

    Args:
        symbol: Whose bars.
        span: Whole minutes.
        outages: Stops of any market; those of the symbol's own market apply. Spot has no bars in
            them, futures have flat bars without trades.
    """
    minutes = np.arange(span.start_ms // MINUTE_MS, span.end_ms // MINUTE_MS, dtype=np.int64)
    own = [stop for stop in outages if stop.market is symbol.market]
    bars = _bars_of(symbol, minutes, own)
    opens = bars[Column.OPEN_TIME]
    exists = np.zeros(opens.size, dtype=bool)
    for life in symbol.spans:
        exists |= (opens >= life.start_ms) & (opens < life.end_ms)
    for stop in own:
        first, end = np.searchsorted(opens, (stop.stopped_ms, stop.resumed_ms))
        if symbol.market is not Market.SPOT:
            _flatten(bars[:, first:end])
            continue
        exists[first:end] = False
        if first and first <= opens.size and opens[first - 1] + MINUTE_MS > stop.stopped_ms:
            bars[Column.CLOSE_TIME, first - 1] = stop.stopped_ms
    return bars if exists.all() else bars[:, exists]


def _bars_of(symbol: Symbol, minutes: NDArray[np.int64], outages: list[Outage]) -> Bars:
    """Return a bar for every minute, as if nothing ever stopped (but prices stand still then)."""
    noise = _hash(symbol.seed, 99, minutes)
    closes = _closes(symbol, np.concatenate((minutes[:1] - 1, minutes)), outages)
    bars = no_bars(minutes.size)
    bars[Column.OPEN_TIME] = minutes * MINUTE_MS
    bars[Column.CLOSE_TIME] = bars[Column.OPEN_TIME] + MINUTE_MS - 1
    bars[Column.OPEN], bars[Column.CLOSE] = closes[:-1], closes[1:]
    reach = symbol.level * (noise & np.uint64(0xFF)).astype(np.int64) >> 20
    drop = symbol.level * (noise >> np.uint64(8) & np.uint64(0xFF)).astype(np.int64) >> 20
    bars[Column.HIGH] = np.maximum(closes[:-1], closes[1:]) + reach
    bars[Column.LOW] = np.minimum(closes[:-1], closes[1:]) - drop
    _trade(bars, symbol, noise)
    bars[PRICES] *= 10 ** (8 - symbol.price_decimals)
    return bars


def _trade(bars: Bars, symbol: Symbol, noise: NDArray[np.uint64]) -> None:
    """Fill in the quantities; prices still stand in ticks."""
    size = (noise >> np.uint64(16) & _BITS_16).astype(np.int64)
    share = (noise >> np.uint64(32) & _BITS_16).astype(np.int64) // 2 + 2**14
    count = (noise >> np.uint64(48) & np.uint64(0x3FF)).astype(np.int64)
    lots = 60 + (symbol.lots * 3 * (size * size >> 16) >> 16)
    taker_lots = lots * share >> 16
    ticks = bars[Column.CLOSE]
    for whole, quote, quantity in (
        (Column.VOLUME, Column.QUOTE_VOLUME, lots),
        (Column.TAKER_VOLUME, Column.TAKER_QUOTE_VOLUME, taker_lots),
    ):
        bars[whole] = quantity * 10 ** (8 - symbol.volume_decimals)
        if symbol.market is Market.CM:
            worth = symbol.contract_usd * 10**symbol.price_decimals * UNIT
            bars[quote] = quantity * worth // ticks
        else:
            unit = 10 ** (8 - symbol.price_decimals - symbol.volume_decimals)
            bars[quote] = quantity * ticks * unit
    bars[Column.TRADE_COUNT] = 60 + count  # at least one a second


def _flatten(bars: Bars) -> None:
    bars[Column.HIGH] = bars[Column.LOW] = bars[Column.OPEN] = bars[Column.CLOSE]
    bars[Column.VOLUME] = 0
    bars[Column.QUOTE_VOLUME :] = 0


def _closes(symbol: Symbol, minutes: NDArray[np.int64], outages: list[Outage]) -> NDArray[np.int64]:
    """Return the closing price of each minute in ticks; it stands still in an outage."""
    closes = _waves(symbol, minutes)
    for stop in outages:
        stop_minute, resume_minute = -(-stop.stopped_ms // MINUTE_MS), stop.resumed_ms // MINUTE_MS
        first, end = np.searchsorted(minutes, (stop_minute, resume_minute))
        if first < end:
            closes[first:end] = _waves(symbol, np.array([stop_minute - 1], dtype=np.int64))[0]
    return closes


def _waves(symbol: Symbol, minutes: NDArray[np.int64]) -> NDArray[np.int64]:
    parts = np.full(minutes.size, _PARTS, dtype=np.int64)
    for number, (length, height) in enumerate(_WAVES):
        cells = minutes // length
        corners = (
            np.arange(cells.min(initial=0), 0)
            if not cells.size
            else np.arange(cells[0], cells[-1] + 2, dtype=np.int64)
        )
        heights = (_hash(symbol.seed, number, corners) >> np.uint64(33)).astype(np.int64)
        heights = (heights - 2**30) * height >> 30
        left = cells - (cells[0] if cells.size else 0)
        far = minutes - cells * length
        parts += (heights[left] * (length - far) + heights[left + 1] * far) // length
    return symbol.level * parts // _PARTS


def _hash(seed: int, stream: int, numbers: NDArray[np.int64]) -> NDArray[np.uint64]:
    """Return 64 even bits for each number of a stream (splitmix64)."""
    start = np.uint64((seed + stream * _MIX[0]) & _MASK)
    bits: NDArray[np.uint64] = numbers.astype(np.uint64) * np.uint64(_STEP) + start
    bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(_MIX[0])
    bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(_MIX[1])
    return bits ^ (bits >> np.uint64(31))
