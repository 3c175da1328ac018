"""Which days of a census are overdue: gaps, those that repair gave up on, series without news.

Arithmetic on a census's tables. Telling a person belongs to `watching`, asking again to `mending`.
"""

from collections.abc import Container, Iterable
from dataclasses import dataclass
from datetime import date, timedelta

import pyarrow as pa
import pyarrow.compute as pc

from crypto_data.coverage import DayState
from crypto_data.exchanges import CCXT, MADE
from crypto_data.intervals import HOUR_MS
from crypto_data.lake.census_tables import SERIES_NAMES
from crypto_data.partitions import ONE_DAY, day_closed_ms
from crypto_data.patience import GIVEN_UP_ATTEMPTS
from crypto_data.series import Series

_GAPS = [str(state) for state in DayState if state.is_gap]
_UNSETTLED = [*_GAPS, str(DayState.PROVISIONAL)]


@dataclass(frozen=True, slots=True)
class GapDays:
    """Neighbouring days `[first, end)` of one series that lack klines, alike in all else."""

    series: Series
    first: date
    end: date
    attempts: int
    last_attempt_ms: int  # by the exchange's clock, 0 for never
    reason: str

    @property
    def days(self) -> int:
        """How many days they are."""
        return (self.end - self.first).days

    def __str__(self) -> str:
        """Return `binance/spot/BTCUSDT/1h 2024-03-07 to 2024-03-09`, both days in."""
        last = self.end - ONE_DAY
        return f"{self.series} {self.first}" + (f" to {last}" if last > self.first else "")


def gap_days(runs: pa.Table, wanted: Container[Series]) -> list[GapDays]:
    """Return the partial and missing days of the wanted series, in the census's order."""
    runs = runs.filter(pc.is_in(runs["state"].cast(pa.string()), pa.array(_GAPS)))
    columns = ("first_day", "days", "attempts", "reason")
    asked_ms = pc.divide(pc.fill_null(runs["last_attempt"].cast(pa.int64()), 0), 1000)
    return [
        GapDays(one, first, first + timedelta(days=days), attempts, at_ms, reason or "")
        for one, first, days, attempts, reason, at_ms in zip(
            series_in(runs),
            *(runs[name].to_pylist() for name in columns),
            asked_ms.to_pylist(),
            strict=True,
        )
        if one in wanted
    ]


def given_up_days(runs: pa.Table, wanted: Container[Series]) -> list[GapDays]:
    """Return the gap days of the wanted series that all attempts left as they were."""
    return gap_days(runs.filter(pc.greater_equal(runs["attempts"], GIVEN_UP_ATTEMPTS)), wanted)


def lacking_days(runs: pa.Table, series: Series, first: date, end: date) -> list[GapDays]:
    """Return the gap days of one series that touch the days `[first, end)`."""
    for name in SERIES_NAMES:
        runs = runs.filter(pc.equal(runs[name].cast(pa.string()), str(getattr(series, name))))
    return [days for days in gap_days(runs, {series}) if days.first < end and first < days.end]


def count_gap_days(runs: pa.Table) -> dict[Series, int]:
    """Return how many days of each series are partial or missing; series without are left out."""
    runs = runs.filter(pc.is_in(runs["state"].cast(pa.string()), pa.array(_GAPS)))
    names = [runs[name].cast(pa.string()) for name in SERIES_NAMES]
    table = pa.table([*names, runs["days"]], names=[*SERIES_NAMES, "days"])
    counted = table.group_by(list(SERIES_NAMES), use_threads=False).aggregate([("days", "sum")])
    return dict(zip(series_in(counted), counted["days_sum"].to_pylist(), strict=True))


def unsettled_stretches(runs: pa.Table) -> dict[Series, list[tuple[date, date]]]:
    """Return the days `[first, end)` of each series that may be asked for, in the census's order.

    Those are gaps, and days on which a worse source stands in. Some of the latter are settled, as
    only the ledger of their file tells.
    """
    sources = runs["source"].cast(pa.string())
    is_stood_in = pc.fill_null(
        pc.or_(pc.match_substring(sources, CCXT), pc.match_substring(sources, MADE)), False
    )
    is_unsettled = pc.is_in(runs["state"].cast(pa.string()), pa.array(_UNSETTLED))
    runs = runs.filter(pc.or_(is_unsettled, is_stood_in))
    found: dict[Series, list[tuple[date, date]]] = {}
    first_days, lengths = runs["first_day"].to_pylist(), runs["days"].to_pylist()
    for series, first, days in zip(series_in(runs), first_days, lengths, strict=True):
        found.setdefault(series, []).append((first, first + timedelta(days=days)))
    return found


def stale_series(
    held: pa.Table, wanted: Container[Series], stale_after_hours: int, now_ms: int
) -> dict[Series, int]:
    """Return wanted series that have had no newly settled day for too long, and since when.

    Since the day after their newest settled one closed, UTC epoch milliseconds. A series without
    any settled day is no stale one: its gaps tell that it lacks everything.

    Args:
        held: A census's series.
        wanted: Series that are looked at.
        stale_after_hours: So long a closed day may stay unsettled.
        now_ms: The exchange's clock, UTC epoch milliseconds.
    """
    late = held.filter(pc.less(held["settled_until"], held["due_until"]))
    unsettled = zip(series_in(late), late["settled_until"].to_pylist(), strict=True)
    closed_ms = {series: day_closed_ms(series.interval, day) for series, day in unsettled}
    return {
        series: since_ms
        for series, since_ms in closed_ms.items()
        if series in wanted and now_ms - since_ms > stale_after_hours * HOUR_MS
    }


def series_in(table: pa.Table) -> Iterable[Series]:
    """Return the series of each row of a table with the columns of its name."""
    names = zip(*(table[name].to_pylist() for name in SERIES_NAMES), strict=True)
    return [Series.parse("/".join(parts)) for parts in names]
