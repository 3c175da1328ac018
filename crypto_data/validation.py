"""Rules a kline must keep before it is stored, each under the name a person reads.

Rows are counted per rule and handed back, never dropped: what is done with those that break a
rule belongs to `lake.quarantine`.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import date
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from crypto_data.intervals import Interval, TimeRange
from crypto_data.partitions import span_of_days
from crypto_data.schema import PRICES, epoch_ms

# Binance opened bars at odd times after outages of these weeks, and its archive still holds them
# so (binance-public-data issues 14 and 77). Anywhere else an odd open time is a defect.
OFF_GRID_WEEKS = span_of_days(date(2017, 12, 1), date(2018, 3, 1))


@dataclass(frozen=True, slots=True)
class Verdict:
    """The rows that keep every rule, and those that break one.

    `good` is sorted by open_time, each open_time once. `bad` has a further column `rule`: the
    first rule each row broke. `counts` says how many rows broke which rule, as their first.
    """

    good: pa.Table
    bad: pa.Table | None
    counts: dict[str, int]


Columns = dict[str, Any]  # numpy, by name; see `_columns`

# What a source need not tell.
_OPTIONAL = (
    "quote_volume", "trade_count", "taker_buy_volume", "taker_buy_quote_volume", "contract_volume",
)  # fmt: skip
_NO_TIME = np.iinfo(np.int64).min


def _columns(rows: pa.Table) -> Columns:
    """Return rows as numpy arrays, times in microseconds: a sixth of the time of Arrow's kernels.

    Unknown prices and volumes are NaN, unknown times `_NO_TIME`; an optional quantity that is not
    told is 0, which keeps every rule.
    """
    columns = {name: rows[name].to_numpy() for name in (*PRICES, "volume")}
    for name in _OPTIONAL:
        known = rows[name].fill_null(0) if rows[name].null_count else rows[name]
        columns[name] = known.to_numpy()
    for name in ("open_time", "close_time"):
        columns[name] = rows[name].cast(pa.int64()).fill_null(_NO_TIME).to_numpy()
    return columns


def _all(masks: Iterable[Any]) -> Any:
    return np.logical_and.reduce(list(masks))


# Ordered: a row is set aside under the first rule it breaks. NaN compares false, so the rules about
# it stand before those that compare.
RULES: dict[str, Callable[[Columns], Any]] = {
    "times_are_known": lambda columns: _all(
        columns[name] != _NO_TIME for name in ("open_time", "close_time")
    ),
    "prices_are_finite": lambda columns: _all(np.isfinite(columns[name]) for name in PRICES),
    "volume_is_finite": lambda columns: _all(
        np.isfinite(columns[name]) for name in ("volume", *_OPTIONAL)
    ),
    "high_is_highest": lambda columns: _all(columns["high"] >= columns[name] for name in PRICES),
    "low_is_lowest": lambda columns: _all(columns["low"] <= columns[name] for name in PRICES),
    "prices_are_positive": lambda columns: _all(columns[name] > 0 for name in PRICES),
    "volume_is_not_negative": lambda columns: _all(
        columns[name] >= 0 for name in ("volume", *_OPTIONAL)
    ),
    "close_time_follows_open_time": lambda columns: columns["close_time"] >= columns["open_time"],
}


def is_on_grid(open_ms: Any, interval: Interval) -> Any:
    """Return a boolean numpy array: whether each open time (epoch ms) is one of the grid."""
    if interval.is_month:
        return _months(open_ms).astype("M8[ms]") == open_ms.astype("M8[ms]")
    origin_ms = interval.floor(0)
    return (open_ms - origin_ms) % interval.length_ms == 0


def validate(rows: pa.Table, interval: Interval, *, closed_before_ms: int) -> Verdict:
    """Judge fetched rows and put them in order.

    Args:
        rows: `schema.FETCHED`, any order, doubles possible.
        interval: The bar length, which fixes the grid.
        closed_before_ms: The exchange's clock; a bar whose interval ends later is not closed.

    Returns:
        Good rows sorted by open_time. Of rows with one open_time the one with most trades stays
        (the others were taken while the bar was open), else the last that came. The others are set
        aside; one that says the same is the same row, and counted nowhere.
    """
    broken = np.full(rows.num_rows, "", dtype=object)
    columns = _columns(rows)
    for name, rule in RULES.items():
        _blame(broken, name, ~rule(columns))
    open_ms, rest_us = np.divmod(columns["open_time"], 1000)
    # No source ever had a true open time that is no whole millisecond.
    _blame(broken, "open_time_is_on_grid", _stray(open_ms, interval) | (rest_us != 0))
    _blame(broken, "kline_is_closed", _next_opens(open_ms, interval) > closed_before_ms)
    if not (broken != "").any() and (np.diff(open_ms) > 0).all():
        return Verdict(rows, None, {})
    order, winners = _order(rows, open_ms, broken)
    doubled = winners != np.arange(len(winners))
    repeated = doubled & (broken == "") & _same_as(columns, winners)
    _blame(broken, "open_time_is_unique", doubled & ~repeated)
    return _split(rows.take(order), broken[order], repeated[order])


def _as_numpy(column: Any) -> Any:
    if isinstance(column, pa.Array):
        return column.to_numpy(zero_copy_only=False)
    return column.to_numpy()


def _blame(broken: Any, name: str, mask: Any) -> None:
    if mask.any():
        broken[mask & (broken == "")] = name


def _stray(open_ms: Any, interval: Interval) -> Any:
    known = (open_ms >= OFF_GRID_WEEKS.start_ms) & (open_ms < OFF_GRID_WEEKS.end_ms)
    return ~(is_on_grid(open_ms, interval) | known)


def _next_opens(open_ms: Any, interval: Interval) -> Any:
    if interval.is_month:
        return (_months(open_ms) + 1).astype("M8[ms]").astype(np.int64)
    return open_ms + interval.length_ms


def _months(time_ms: Any) -> Any:
    """Return the calendar months; numpy has them for any year, `datetime` ends in 9999."""
    return time_ms.astype("M8[ms]").astype("M8[M]")


def _order(rows: pa.Table, open_ms: Any, broken: Any) -> tuple[Any, Any]:
    """Return the order by open_time, and of each row the one of its open_time that stays."""
    trades = _as_numpy(pc.fill_null(rows["trade_count"], -1))
    newest_first = -np.arange(len(open_ms))
    order = np.lexsort((newest_first, -trades, broken != "", open_ms))
    starts = np.concatenate([[True], np.diff(open_ms[order]) != 0])
    winners = np.empty(len(open_ms), dtype=np.int64)
    winners[order] = order[np.flatnonzero(starts)[np.cumsum(starts) - 1]]
    return order, winners


def _same_as(columns: Columns, winners: Any) -> Any:
    """Return which rows have all the values of the one that stays."""
    return _all(column == column[winners] for column in columns.values())


def _split(rows: pa.Table, broken: Any, repeated: Any) -> Verdict:
    bad = broken != ""
    names, counts = np.unique(broken[bad].astype(str), return_counts=True)
    aside = rows.filter(bad).append_column("rule", pa.array(broken[bad], pa.string()))
    return Verdict(
        rows.filter(~bad & ~repeated),
        aside if aside.num_rows else None,
        dict(zip(names.tolist(), counts.tolist(), strict=True)),
    )


def cut(rows: pa.Table, spans: list[TimeRange]) -> pa.Table:
    """Return the rows whose open_time lies in any of the ranges; order kept."""
    open_ms = _as_numpy(epoch_ms(rows["open_time"]))
    inside = np.zeros(len(open_ms), dtype=bool)
    for span in spans:
        inside |= (open_ms >= span.start_ms) & (open_ms < span.end_ms)
    return rows if inside.all() else rows.filter(inside)
