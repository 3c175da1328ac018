"""Grids of open times over many days and ranges at once, as arrays.

The same arithmetic as in `intervals` and `partitions`, whose functions are about one of them.
"""

from datetime import date, timedelta

import numpy as np
import numpy.typing as npt

from crypto_data.intervals import DAY_MS, FIRST_MONDAY_MS, Interval
from crypto_data.partitions import EPOCH, archive_final_ms, day_of

Numbers = npt.NDArray[np.int64]


def number_of(day: date) -> int:
    """Return a day as days since 1970-01-01."""
    return (day - EPOCH).days


def count_due(interval: Interval, days: Numbers) -> Numbers:
    """Return how many bars open on each day; days are counted from 1970-01-01."""
    if interval.is_intraday:
        return np.full(len(days), DAY_MS // interval.length_ms, dtype=np.int64)
    opens: Numbers = (next_grid(interval, days * DAY_MS) == days * DAY_MS).astype(np.int64)
    return opens


def next_grid(interval: Interval, times_ms: Numbers) -> Numbers:
    """Return the first open time at or after each instant."""
    if interval.is_month:
        return _month_start_ms(_months_up(times_ms))
    origin_ms = FIRST_MONDAY_MS if interval is Interval.WEEK_1 else 0
    steps: Numbers = (origin_ms - times_ms) // interval.length_ms
    return origin_ms - steps * interval.length_ms


def count_opens(interval: Interval, starts_ms: Numbers, ends_ms: Numbers) -> Numbers:
    """Return how many open times lie inside each half-open range."""
    if interval.is_month:
        counts = _months_up(ends_ms) - _months_up(starts_ms)
    else:
        counts = -((next_grid(interval, starts_ms) - ends_ms) // interval.length_ms)
    return counts.clip(min=0)


def _months_up(times_ms: Numbers) -> Numbers:
    """Return the first month that starts at or after each instant, counted from 1970-01."""
    months = times_ms.astype("datetime64[ms]").astype("datetime64[M]").astype(np.int64)
    return months + (_month_start_ms(months) < times_ms)


def _month_start_ms(months: Numbers) -> Numbers:
    starts_ms: Numbers = months.astype("datetime64[M]").astype("datetime64[ms]").astype(np.int64)
    return starts_ms


def awaited_from(interval: Interval, now_ms: int) -> int:
    """Return the first day for which the archive is still awaited, counted from 1970-01-01."""
    if interval.is_intraday:
        return number_of(day_of(now_ms - archive_final_ms(interval, EPOCH))) + 1
    month = day_of(now_ms).replace(day=1)
    while archive_final_ms(interval, month - timedelta(days=1)) > now_ms:
        month = (month - timedelta(days=1)).replace(day=1)
    return number_of(month)
