"""What the lake knows of a series in a range of days: their states, and what is absent of them.

From a census; reads no file. What that means for an export is decided in `exporting.export`.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from crypto_data.coverage import DayState
from crypto_data.intervals import DAY_MS, TimeRange, count_open_times
from crypto_data.lake.census import Census
from crypto_data.lake.census_tables import SERIES_NAMES
from crypto_data.partitions import day_of, day_start_ms, days_in, expected_count
from crypto_data.selection import Selection
from crypto_data.series import Series

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

# Ranges, and what is so in each.
Stretches = Sequence[tuple[TimeRange, Any]]


@dataclass(frozen=True, slots=True)
class Content:
    """How the days of a half-open range stand, as stretches of neighbouring days alike.

    `wanted` is what the lake is asked to hold of the series, or holds, whatever the range.
    `holes` are stretches of absent klines, True with those that nobody has explained.
    """

    series: Series
    span: TimeRange
    wanted: TimeRange
    states: tuple[tuple[TimeRange, DayState], ...]
    holes: tuple[tuple[TimeRange, bool], ...]

    def count_missing(self, span: TimeRange, *, is_open: bool) -> int:
        """Return how many klines of a range are absent, unexplained or explained."""
        return sum(
            count_open_times(self.series.interval, hole.intersect(span))
            for hole, unexplained in self.holes
            if unexplained is is_open
        )

    def days(self, *states: DayState) -> list[date]:
        """Return the days in some states on which a kline is due, ascending."""
        return [
            day
            for stretch, state in self.states
            if state in states
            for day in days_in(day_of(stretch.start_ms), day_of(stretch.end_ms))
            if expected_count(self.series.interval, day)
        ]


def find_series(census: Census, selection: Selection) -> list[Series]:
    """Return the series of a lake, and those it is asked to hold, that a selection names."""
    held = census.held.select(SERIES_NAMES)
    for name, chosen in zip(SERIES_NAMES, _chosen(selection), strict=True):
        if chosen:
            held = held.filter(pc.is_in(held[name], pa.array(chosen)))
    return [Series.parse("/".join(row.values())) for row in held.to_pylist()]


def _chosen(selection: Selection) -> tuple[tuple[str, ...], ...]:
    return (selection.exchanges, selection.markets, selection.symbols, selection.intervals)


def content_of(
    census: Census, series: Series, start: date | None, end: date | None, closed: date
) -> Content:
    """Return how a series stands in `[start, end)`.

    Args:
        census: How the lake stands.
        series: One that the census knows.
        start: The first day, None for the first that the lake is asked to hold.
        end: None for the end of what it is asked to hold.
        closed: The first day that is not closed; days from it on are left out.

    Days that the lake was never asked to hold are missing.
    """
    runs = _rows_of(census.runs, series).select(("first_day", "days", "state"))
    known = [
        (TimeRange(day_start_ms(first), day_start_ms(first) + days * DAY_MS), DayState(state))
        for first, days, state in zip(*(column.to_pylist() for column in runs), strict=True)
    ]
    gaps = _rows_of(census.gaps, series).select(("gap_start", "gap_end", "state"))
    holes = [
        (TimeRange(_ms(begins), _ms(ends)), state == "open")
        for begins, ends, state in zip(*(column.to_pylist() for column in gaps), strict=True)
    ]
    wanted = TimeRange(known[0][0].start_ms, known[-1][0].end_ms) if known else TimeRange(0, 0)
    first_ms = day_start_ms(start) if start else wanted.start_ms
    last_ms = day_start_ms(min(end, closed)) if end else wanted.end_ms
    span = TimeRange(first_ms, max(first_ms, last_ms))
    never = list(_outside(span, known))
    return Content(
        series,
        span,
        wanted,
        tuple(sorted(_cut([*known, *((part, DayState.MISSING) for part in never)], span))),
        tuple(sorted(_cut([*holes, *((part, True) for part in never)], span))),
    )


def _rows_of(table: pa.Table, series: Series) -> pa.Table:
    for name in SERIES_NAMES:
        table = table.filter(pc.equal(table[name], str(getattr(series, name))))
    return table


def _outside(span: TimeRange, known: Stretches) -> Iterator[TimeRange]:
    rest = [span]
    for stretch, _ in known:
        rest = [part for one in rest for part in one.without(stretch)]
    return (part for part in rest if part)


def _cut(parts: Stretches, span: TimeRange) -> Iterator[tuple[TimeRange, Any]]:
    for stretch, kind in parts:
        common = stretch.intersect(span)
        if common:
            yield common, kind


def _ms(moment: datetime) -> int:
    return int((moment - _EPOCH).total_seconds() * 1000)
