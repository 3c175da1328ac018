"""Klines as exact integers, and the arithmetic on them: cut, aggregate, split into seconds.

A block of bars is an int64 array of 11 rows (see `Column`) and one column a bar, ascending by
open_time. Times are UTC epoch milliseconds; prices and quantities are in units of 1e-8, so sums
are exact. The columns mean what they mean in the exchange's own files: for `cm`, `VOLUME` is
contracts and `QUOTE_VOLUME` is base volume. Text belongs to `kline_text`.
"""

from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from crypto_data.intervals import MINUTE_MS, SECOND_MS, Interval, TimeRange

Bars = NDArray[np.int64]

UNIT = 10**8
SECONDS = 60


class Column(IntEnum):
    """The rows of a block of bars, in the order of the exchange's files."""

    OPEN_TIME = 0
    OPEN = 1
    HIGH = 2
    LOW = 3
    CLOSE = 4
    VOLUME = 5
    CLOSE_TIME = 6
    QUOTE_VOLUME = 7
    TRADE_COUNT = 8
    TAKER_VOLUME = 9
    TAKER_QUOTE_VOLUME = 10


PRICES = [Column.OPEN, Column.HIGH, Column.LOW, Column.CLOSE]
QUANTITIES = [
    Column.VOLUME,
    Column.QUOTE_VOLUME,
    Column.TRADE_COUNT,
    Column.TAKER_VOLUME,
    Column.TAKER_QUOTE_VOLUME,
]


def no_bars(rows: int = 0) -> Bars:
    """Return a block of `rows` bars, all zero."""
    return np.zeros((len(Column), rows), dtype=np.int64)


def select(bars: Bars, span: TimeRange) -> Bars:
    """Return the bars that open inside the half-open span."""
    first, end = np.searchsorted(bars[Column.OPEN_TIME], (span.start_ms, span.end_ms))
    return bars[:, first:end]


def join(blocks: list[Bars]) -> Bars:
    """Return blocks that follow each other as one."""
    return np.concatenate(blocks, axis=1) if blocks else no_bars()


def overlay(bars: Bars, other: Bars, span: TimeRange) -> Bars:
    """Return `bars` with everything inside `span` replaced by the bars of `other` there."""
    before = TimeRange(-(2**62), span.start_ms)
    after = TimeRange(span.end_ms, 2**62)
    return join([select(bars, before), select(other, span), select(bars, after)])


def grid_opens(times: Bars, interval: Interval) -> Bars:
    """Return the open times of the bars that contain the instants."""
    if interval.is_month:
        months = times.astype("datetime64[ms]").astype("datetime64[M]")
        return months.astype("datetime64[ms]").astype(np.int64)
    return times - (times - interval.floor(0)) % interval.length_ms


def grid_ends(opens: Bars, interval: Interval) -> Bars:
    """Return the end of each bar: the open time after it."""
    if interval.is_month:
        months = opens.astype("datetime64[ms]").astype("datetime64[M]") + 1
        return months.astype("datetime64[ms]").astype(np.int64)
    return opens + interval.length_ms


def aggregate(bars: Bars, interval: Interval, *, length_ms: int = MINUTE_MS) -> Bars:
    """Return finer bars as bars of `interval`: open first, close last, extremes, sums.

    Args:
        bars: Bars of `length_ms` each; those that do not exist are simply absent.
        interval: What to make of them.
        length_ms: The length of one finer bar. The last one's shorter close_time, the mark of an
            outage, is handed on to the bar it ends.
    """
    if not bars.shape[1]:
        return bars
    opens = grid_opens(bars[Column.OPEN_TIME], interval)
    starts = np.flatnonzero(np.concatenate(([True], opens[1:] != opens[:-1])))
    lasts = np.append(starts[1:], opens.size) - 1
    out = no_bars(starts.size)
    out[Column.OPEN_TIME] = opens[starts]
    out[Column.OPEN] = bars[Column.OPEN, starts]
    out[Column.HIGH] = np.maximum.reduceat(bars[Column.HIGH], starts)
    out[Column.LOW] = np.minimum.reduceat(bars[Column.LOW], starts)
    out[Column.CLOSE] = bars[Column.CLOSE, lasts]
    out[QUANTITIES] = np.add.reduceat(bars[QUANTITIES], starts, axis=1)
    closes = bars[Column.CLOSE_TIME, lasts]
    is_cut = closes < bars[Column.OPEN_TIME, lasts] + length_ms - 1
    out[Column.CLOSE_TIME] = np.where(is_cut, closes, grid_ends(opens[starts], interval) - 1)
    return out


def split_seconds(minutes: Bars) -> Bars:
    """Return each minute as its second bars, which aggregate to the minute again.

    The price walks straight from open to close; one second touches the high, another the low. A
    minute cut by an outage has only the seconds up to its close_time.
    """
    second = np.arange(SECONDS, dtype=np.int64)[:, np.newaxis]
    open_time, close_time = minutes[Column.OPEN_TIME], minutes[Column.CLOSE_TIME]
    seconds = (close_time - open_time) // SECOND_MS + 1
    out = np.zeros((len(Column), SECONDS, minutes.shape[1]), dtype=np.int64)
    out[Column.OPEN_TIME] = open_time + second * SECOND_MS
    out[Column.CLOSE_TIME] = np.minimum(out[Column.OPEN_TIME] + SECOND_MS - 1, close_time)
    _walk_prices(out, minutes, second, seconds)
    _share_quantities(out, minutes, second, seconds)
    exists = (second < seconds).T.reshape(-1)
    flat: Bars = out.transpose(0, 2, 1).reshape(len(Column), -1)[:, exists]
    return flat


def _walk_prices(out: Bars, minutes: Bars, second: Bars, seconds: Bars) -> None:
    first, last = minutes[Column.OPEN], minutes[Column.CLOSE]
    # Whole hundredths of the minute's own step keep second prices on the minute's tick.
    tick = np.gcd.reduce(minutes[PRICES], axis=None) or 1
    steps = (last - first) // tick
    out[Column.OPEN] = first + steps * np.minimum(second, seconds) // seconds * tick
    out[Column.CLOSE] = first + steps * np.minimum(second + 1, seconds) // seconds * tick
    out[Column.HIGH] = np.maximum(out[Column.OPEN], out[Column.CLOSE])
    out[Column.LOW] = np.minimum(out[Column.OPEN], out[Column.CLOSE])
    bar = np.arange(minutes.shape[1])
    minute = minutes[Column.OPEN_TIME] // MINUTE_MS
    out[Column.HIGH, minute * 7 % seconds, bar] = minutes[Column.HIGH]
    out[Column.LOW, minute * 11 % seconds, bar] = minutes[Column.LOW]


def _share_quantities(out: Bars, minutes: Bars, second: Bars, seconds: Bars) -> None:
    def share(total: Bars) -> Bars:
        shared: Bars = (
            total * np.minimum(second + 1, seconds) // seconds
            - total * np.minimum(second, seconds) // seconds
        )
        return shared

    out[Column.TRADE_COUNT] = share(minutes[Column.TRADE_COUNT])
    for whole, taker in (
        (Column.VOLUME, Column.TAKER_VOLUME),
        (Column.QUOTE_VOLUME, Column.TAKER_QUOTE_VOLUME),
    ):
        # Takers and makers are shared out on their own, so no second has more takers than volume.
        out[taker] = share(minutes[taker])
        out[whole] = out[taker] + share(minutes[whole] - minutes[taker])
