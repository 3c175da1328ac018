"""Rules a kline must keep before it is stored, each under the name a person reads.

Rows are counted per rule and handed back, never dropped: what is done with those that break a
rule belongs to `lake.quarantine`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from crypto_data.intervals import Interval, TimeRange
from crypto_data.partitions import span_of_days
from crypto_data.schema import PRICES, TIME, VOLUMES, epoch_ms

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


def _finite(rows: pa.Table, *names: str) -> Any:
    masks = [pc.fill_null(pc.is_finite(rows[name]), False) for name in names]
    return _all(masks)


def _finite_or_null(rows: pa.Table, *names: str) -> Any:
    return _all([pc.fill_null(pc.is_finite(rows[name]), True) for name in names])


def _all(masks: list[Any]) -> Any:
    kept = masks[0]
    for mask in masks[1:]:
        kept = pc.and_(kept, mask)
    return kept


def _not_negative(rows: pa.Table, *names: str) -> Any:
    return _all([pc.fill_null(pc.greater_equal(rows[name], 0), True) for name in names])


# Ordered: a row is set aside under the first rule it breaks. NaN compares false and null compares
# null, so the rules about them stand before those that compare.
RULES: dict[str, Callable[[pa.Table], Any]] = {
    "times_are_known": lambda rows: pc.and_(
        pc.is_valid(rows["open_time"]), pc.is_valid(rows["close_time"])
    ),
    "prices_are_finite": lambda rows: _finite(rows, *PRICES),
    "volume_is_finite": lambda rows: pc.and_(
        _finite(rows, "volume"),
        _finite_or_null(
            rows, "quote_volume", "taker_buy_volume", "taker_buy_quote_volume", "contract_volume"
        ),
    ),
    "high_is_highest": lambda rows: _all(
        [pc.fill_null(pc.greater_equal(rows["high"], rows[name]), False) for name in PRICES]
    ),
    "low_is_lowest": lambda rows: _all(
        [pc.fill_null(pc.less_equal(rows["low"], rows[name]), False) for name in PRICES]
    ),
    "volume_is_not_negative": lambda rows: _not_negative(
        rows, *VOLUMES, "contract_volume", "trade_count"
    ),
    "close_time_follows_open_time": lambda rows: pc.fill_null(
        pc.greater_equal(rows["close_time"], rows["open_time"]), False
    ),
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
        (the others were taken while the bar was open); doubles are set aside, identical ones too.
    """
    broken = np.full(rows.num_rows, "", dtype=object)
    for name, rule in RULES.items():
        _blame(broken, name, ~_as_numpy(rule(rows)))
    open_ms = _as_numpy(pc.fill_null(epoch_ms(rows["open_time"]), 0))
    _blame(broken, "open_time_is_on_grid", _stray(open_ms, interval) | _is_between_ms(rows))
    _blame(broken, "kline_is_closed", _next_opens(open_ms, interval) > closed_before_ms)
    order, doubled = _order(rows, open_ms, broken)
    _blame(broken, "open_time_is_unique", doubled)
    return _split(rows, order, broken)


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


def _is_between_ms(rows: pa.Table) -> Any:
    """Return which open times are no whole millisecond: no source ever had a true one."""
    whole = pc.cast(rows["open_time"], pa.timestamp("ms", tz="UTC"), safe=False)
    return _as_numpy(pc.fill_null(pc.not_equal(whole.cast(TIME), rows["open_time"]), False))


def _next_opens(open_ms: Any, interval: Interval) -> Any:
    if interval.is_month:
        return (_months(open_ms) + 1).astype("M8[ms]").astype(np.int64)
    return open_ms + interval.length_ms


def _months(time_ms: Any) -> Any:
    """Return the calendar months; numpy has them for any year, `datetime` ends in 9999."""
    return time_ms.astype("M8[ms]").astype("M8[M]")


def _order(rows: pa.Table, open_ms: Any, broken: Any) -> tuple[Any, Any]:
    """Return the order by open_time and which rows repeat an open_time that a better row has."""
    if not (broken != "").any() and (np.diff(open_ms) > 0).all():
        return None, np.zeros(len(open_ms), dtype=bool)
    trades = _as_numpy(pc.fill_null(rows["trade_count"], -1))
    order = np.lexsort((-trades, broken != "", open_ms))
    doubled = np.zeros(len(open_ms), dtype=bool)
    doubled[order[1:]] = np.diff(open_ms[order]) == 0
    return order, doubled


def _split(rows: pa.Table, order: Any, broken: Any) -> Verdict:
    if order is None:
        return Verdict(rows, None, {})
    rows, broken = rows.take(order), broken[order]
    good = broken == ""
    names, counts = np.unique(broken[~good].astype(str), return_counts=True)
    bad = rows.filter(~good).append_column("rule", pa.array(broken[~good], pa.string()))
    return Verdict(
        rows.filter(good),
        bad if bad.num_rows else None,
        dict(zip(names.tolist(), counts.tolist(), strict=True)),
    )


def cut(rows: pa.Table, spans: list[TimeRange]) -> pa.Table:
    """Return the rows whose open_time lies in any of the ranges; order kept."""
    open_ms = _as_numpy(epoch_ms(rows["open_time"]))
    inside = np.zeros(len(open_ms), dtype=bool)
    for span in spans:
        inside |= (open_ms >= span.start_ms) & (open_ms < span.end_ms)
    return rows if inside.all() else rows.filter(inside)
