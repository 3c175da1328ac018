"""Coarser klines from finer ones: open first, close last, extremes, exact sums.

Arithmetic on whole columns. Which days may be made, and of what, belongs to `making.chain`.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from crypto_data.exchanges import is_stand_in, made_source
from crypto_data.harvest import Offer, rank_in
from crypto_data.intervals import Interval
from crypto_data.schema import FETCHED, TIME, epoch_ms

# Exchanges tell quantities with at most so many decimals; Binance with 8.
MOST_DECIMALS = 8
_LARGEST_SUM = 1 << 62  # an int64 holds no more
_LARGEST_EXACT = 1 << 53  # nor a double all whole numbers

_SUMS = ("volume", "quote_volume", "taker_buy_volume", "taker_buy_quote_volume", "contract_volume")
_MS_US = 1000


def make_klines(rows: pa.Table, finer: Interval, coarser: Interval) -> pa.Table:
    """Return the coarser klines that finer ones of whole days make, sorted.

    A bar holds the finer ones that open inside it, beside their grid too; one without any is
    absent. A sum is null where one of its parts is. The last finer bar says when the bar closes:
    where an outage cut it, the bar closes with it; elsewhere at its own regular end, in the same
    unit of time.

    Args:
        rows: `schema.KLINES` or `FETCHED`, sorted by open_time, each once.
        finer: Their bar length.
        coarser: What to make of them; `coarser.is_made_of(finer)`.

    Returns:
        A table of `schema.FETCHED`.

    Raises:
        ValueError: bars of one length are not a whole number of the other within a day.
    """
    if not coarser.is_made_of(finer):
        raise ValueError(f"{coarser} bars are not made of {finer} bars")
    opens_ms, starts = bar_starts(rows, coarser)
    lasts = np.append(starts[1:], rows.num_rows)[: len(starts)] - 1
    columns: dict[str, Any] = {
        "open_time": pa.array(opens_ms * _MS_US).cast(TIME),
        "open": rows["open"].to_numpy()[starts],
        "high": _reduce(np.maximum, rows["high"].to_numpy(), starts),
        "low": _reduce(np.minimum, rows["low"].to_numpy(), starts),
        "close": rows["close"].to_numpy()[lasts],
        "close_time": _close_times(rows, (finer, coarser), opens_ms, lasts),
        "trade_count": _sum(rows["trade_count"], starts),
    }
    columns |= {name: _sum(rows[name], starts) for name in _SUMS}
    arrays = [pa.array(columns[field.name]).cast(field.type) for field in FETCHED]
    return pa.Table.from_arrays(arrays, schema=FETCHED)


def bar_starts(rows: pa.Table, coarser: Interval) -> tuple[Any, Any]:
    """Return the open times of the coarser bars, epoch ms, and where each one's rows begin."""
    opens_ms = epoch_ms(rows["open_time"]).to_numpy() // coarser.length_ms * coarser.length_ms
    first = np.ones(len(opens_ms), dtype=bool)
    first[1:] = opens_ms[1:] != opens_ms[:-1]
    return opens_ms[first], np.flatnonzero(first)


def _close_times(
    rows: pa.Table, lengths: tuple[Interval, Interval], opens_ms: Any, lasts: Any
) -> Any:
    """Return when each bar closes.

    A finer bar that closes a millisecond before its end, or later, is whole: what is left to its
    end is the unit its source counts in.
    """
    finer, coarser = lengths
    opened_us, closed_us = (
        rows[name].cast(pa.int64()).to_numpy()[lasts] for name in ("open_time", "close_time")
    )
    left_us = opened_us + finer.length_ms * _MS_US - closed_us
    ends_us = (opens_ms + coarser.length_ms) * _MS_US
    return pa.array(np.where(left_us > _MS_US, closed_us, ends_us - left_us)).cast(TIME)


def _reduce(function: np.ufunc, values: Any, starts: Any) -> Any:
    return function.reduceat(values, starts) if len(starts) else values[:0]


def _sum(column: Any, starts: Any) -> pa.Array:
    """Return the sum of each bar's values; null where one of them is."""
    unknown = column.is_null().to_numpy() if column.null_count else np.zeros(len(column), bool)
    values = (column.fill_null(0) if column.null_count else column).to_numpy()
    lacks = _reduce(np.logical_or, unknown, starts)
    if values.dtype == np.int64:
        return pa.array(_reduce(np.add, values, starts), mask=lacks)
    return pa.array(_sum_doubles(values, starts), mask=lacks)


def _sum_doubles(values: Any, starts: Any) -> Any:
    """Return sums that are the doubles nearest to the sums of the decimals the exchange told.

    Sums of doubles depend on their order in the last digit; sums of whole units do not. Values
    that are no decimals of the kind are summed in extended precision.
    """
    most = np.abs(values).max(initial=0) * np.diff(starts, append=len(values)).max(initial=0)
    for decimals in range(MOST_DECIMALS + 1):
        unit = 10**decimals
        if most * unit >= _LARGEST_SUM:
            break
        units = np.rint(values * unit)
        if (units / unit == values).all():
            return _divide(_reduce(np.add, units.astype(np.int64), starts), unit)
    return _reduce(np.add, values.astype(np.longdouble), starts).astype(np.float64)


def _divide(units: Any, unit: int) -> Any:
    """Return whole numbers of units as the nearest doubles."""
    quotients = units / unit
    # What no double holds exactly is rounded twice above; Python's own division rounds once.
    for place in np.flatnonzero(np.abs(units) > _LARGEST_EXACT):
        quotients[place] = int(units[place]) / unit
    return quotients


def make_offers(
    rows: pa.Table,
    lengths: tuple[Interval, Interval],
    ranking: Sequence[str],
    *,
    are_waiting: bool,
) -> Iterator[Offer]:
    """Yield the coarser klines that finer ones make, by what their source is to be called.

    A bar with a row that only stands in, or of days that wait for the best source one of another,
    says whose: the worst of them, `made:1m:ccxt:okx`. Any other is `made:1m`.

    Args:
        rows: `schema.KLINES`, sorted by open_time, each once.
        lengths: Their bar length, and what to make of them.
        ranking: The sources of the finer klines, best first.
        are_waiting: Whether the best source may still have the klines of these days.
    """
    if not rows.num_rows:
        return
    finer, coarser = lengths
    best, made = ranking[0], (made_source(finer),)
    names = rows["source"].cast(pa.string()).unique().to_pylist()
    marks = [
        name
        for name in sorted(names, key=lambda name: (rank_in(ranking, name), name))
        if is_stand_in(name, best) or (are_waiting and name != best)
    ]
    bars = make_klines(rows, finer, coarser)
    marked = _worst_marks(rows, coarser, marks)
    for mark in ("", *marks):
        chosen = bars.filter(pa.array(marked == mark))
        if chosen.num_rows:
            source = made_source(finer, mark)
            yield Offer(source, rank_in(made, source), chosen)


def _worst_marks(rows: pa.Table, coarser: Interval, marks: Sequence[str]) -> Any:
    """Return the last of `marks`, worst last, that each coarser bar has rows of; "" for none."""
    _, starts = bar_starts(rows, coarser)
    worst = np.full(len(starts), "", dtype=object)
    names = rows["source"].cast(pa.string())
    for mark in marks:
        has = pc.equal(names, mark).to_numpy()
        worst[_reduce(np.logical_or, has, starts)] = mark
    return worst
