"""The rows of one table by UTC day: which days they fill, and which lie outside their file.

Counting and cutting only. What a short day means belongs to `sources.vision`.
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import date
from typing import Any

import numpy as np
import pyarrow as pa

from crypto_data.intervals import DAY_MS, TimeRange
from crypto_data.partitions import EPOCH, day_of
from crypto_data.schema import epoch_ms

OUTSIDE_RULE = "open_time_in_period"


@dataclass(frozen=True, slots=True)
class DayRows:
    """A `FETCHED` table with the epoch day of each row, and how many open times each day has."""

    rows: Any
    epoch_days: Any  # int64, one a row
    counts: dict[date, int]  # open times, doubles counted once; days without rows are not in it

    def count(self, day: date) -> int:
        """Return how many open times the day has."""
        return self.counts.get(day, 0)

    def of(self, days: Collection[date]) -> Any:
        """Return the rows of some days, in their order."""
        if self.counts.keys() <= set(days):
            return self.rows
        wanted = [(day - EPOCH).days for day in days]
        mask = np.isin(self.epoch_days, wanted)
        return self.rows.filter(pa.array(mask))


def by_day(rows: Any) -> DayRows:
    """Return a `FETCHED` table by UTC day of its open times."""
    opens_ms = epoch_ms(rows["open_time"]).to_numpy()
    is_ascending = bool((np.diff(opens_ms) > 0).all())  # as nearly every file is
    opened_ms = opens_ms if is_ascending else np.unique(opens_ms)
    days, counts = np.unique(opened_ms // DAY_MS, return_counts=True)
    by_date = {
        day_of(int(day) * DAY_MS): int(count) for day, count in zip(days, counts, strict=True)
    }
    return DayRows(rows, opens_ms // DAY_MS, by_date)


def split_outside(rows: Any, span: TimeRange) -> tuple[Any, Any]:
    """Return the rows inside a span, and those outside with a column `rule`, None if none."""
    opens_ms = epoch_ms(rows["open_time"]).to_numpy()
    inside = (opens_ms >= span.start_ms) & (opens_ms < span.end_ms)
    if inside.all():
        return rows, None
    outside = rows.filter(pa.array(~inside))
    rules = pa.array([OUTSIDE_RULE] * outside.num_rows, pa.string())
    return rows.filter(pa.array(inside)), outside.append_column("rule", rules)


def without(rows: Any, others: Any) -> Any:
    """Return the rows whose open time none of `others` has."""
    known = np.isin(
        epoch_ms(rows["open_time"]).to_numpy(), epoch_ms(others["open_time"]).to_numpy()
    )
    return rows.filter(pa.array(~known))
