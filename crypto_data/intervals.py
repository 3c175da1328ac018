"""Bar lengths, their grid of open times, and half-open ranges of time.

Arithmetic on UTC epoch milliseconds only. What a series should have on a day belongs to
`partitions`; what it lacks belongs to `coverage`.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum

SECOND_MS = 1_000
MINUTE_MS = 60 * SECOND_MS
HOUR_MS = 60 * MINUTE_MS
DAY_MS = 24 * HOUR_MS
WEEK_MS = 7 * DAY_MS

# The epoch was a Thursday; the first Monday is four days later.
FIRST_MONDAY_MS = 4 * DAY_MS


class Period(StrEnum):
    """How much of a series one file of the lake holds."""

    DAY = "day"
    MONTH = "month"
    YEAR = "year"


class Interval(StrEnum):
    """A bar length, spelled as on disk; the month is `1mo` (`1M` equals `1m` on some disks)."""

    SECOND_1 = "1s"
    MINUTE_1 = "1m"
    MINUTE_3 = "3m"
    MINUTE_5 = "5m"
    MINUTE_15 = "15m"
    MINUTE_30 = "30m"
    HOUR_1 = "1h"
    HOUR_2 = "2h"
    HOUR_4 = "4h"
    HOUR_6 = "6h"
    HOUR_8 = "8h"
    HOUR_12 = "12h"
    DAY_1 = "1d"
    DAY_3 = "3d"
    WEEK_1 = "1w"
    MONTH_1 = "1mo"

    @classmethod
    def parse(cls, text: str) -> "Interval":
        """Return the interval spelled `text`; `1M` is accepted for `1mo`.

        Raises:
            ValueError: no such interval; the message lists those that exist.
        """
        try:
            return cls("1mo" if text == "1M" else text)
        except ValueError:
            raise ValueError(f"{text!r} is no interval; use one of {', '.join(cls)}") from None

    @property
    def is_month(self) -> bool:
        """Whether bars follow the calendar instead of a fixed length."""
        return self is Interval.MONTH_1

    @property
    def length_ms(self) -> int:
        """The bar length in milliseconds; a month counts as its longest, 31 days."""
        return _LENGTH_MS[self]

    @property
    def is_intraday(self) -> bool:
        """Whether a UTC day holds at least one whole bar."""
        return self.length_ms <= DAY_MS

    @property
    def rest_name(self) -> str:
        """The spelling of REST and WebSocket, where the month is `1M`."""
        return "1M" if self.is_month else self.value

    @property
    def period(self) -> Period:
        """The stretch one lake file holds: 1s a day, 1m to 5m a month, the rest a year."""
        if self is Interval.SECOND_1:
            return Period.DAY
        return Period.MONTH if self.length_ms <= 5 * MINUTE_MS else Period.YEAR

    def is_made_of(self, finer: "Interval") -> bool:
        """Whether its bars are whole numbers of finer ones, and never reach over a day's end."""
        length_ms = self.length_ms
        return finer.length_ms < length_ms <= DAY_MS and length_ms % finer.length_ms == 0

    def floor(self, time_ms: int) -> int:
        """Return the open time of the bar that contains `time_ms`."""
        if self.is_month:
            moment = datetime.fromtimestamp(time_ms / 1000, UTC)
            return _month_start_ms(moment.year, moment.month)
        origin_ms = FIRST_MONDAY_MS if self is Interval.WEEK_1 else 0
        return time_ms - (time_ms - origin_ms) % self.length_ms

    def ceil(self, time_ms: int) -> int:
        """Return the first open time at or after `time_ms`."""
        opened_ms = self.floor(time_ms)
        return opened_ms if opened_ms == time_ms else self.next_open(opened_ms)

    def next_open(self, open_ms: int) -> int:
        """Return the open time after `open_ms`, which must be on the grid."""
        if not self.is_month:
            return open_ms + self.length_ms
        moment = datetime.fromtimestamp(open_ms / 1000, UTC)
        return _month_start_ms(moment.year + moment.month // 12, moment.month % 12 + 1)


_LENGTH_MS = {
    Interval.SECOND_1: SECOND_MS,
    Interval.MINUTE_1: MINUTE_MS,
    Interval.MINUTE_3: 3 * MINUTE_MS,
    Interval.MINUTE_5: 5 * MINUTE_MS,
    Interval.MINUTE_15: 15 * MINUTE_MS,
    Interval.MINUTE_30: 30 * MINUTE_MS,
    Interval.HOUR_1: HOUR_MS,
    Interval.HOUR_2: 2 * HOUR_MS,
    Interval.HOUR_4: 4 * HOUR_MS,
    Interval.HOUR_6: 6 * HOUR_MS,
    Interval.HOUR_8: 8 * HOUR_MS,
    Interval.HOUR_12: 12 * HOUR_MS,
    Interval.DAY_1: DAY_MS,
    Interval.DAY_3: 3 * DAY_MS,
    Interval.WEEK_1: WEEK_MS,
    Interval.MONTH_1: 31 * DAY_MS,
}


def _month_start_ms(year: int, month: int) -> int:
    return int(datetime(year, month, 1, tzinfo=UTC).timestamp()) * 1000


@dataclass(frozen=True, slots=True, order=True)
class TimeRange:
    """A half-open stretch of time, `[start_ms, end_ms)`, UTC epoch milliseconds."""

    start_ms: int
    end_ms: int

    def __post_init__(self) -> None:
        """Refuse a range that ends before it starts."""
        if self.end_ms < self.start_ms:
            raise ValueError(f"range ends before it starts: {self.start_ms} > {self.end_ms}")

    def __contains__(self, time_ms: int) -> bool:
        """Return whether the instant lies inside."""
        return self.start_ms <= time_ms < self.end_ms

    def __bool__(self) -> bool:
        """Return whether the range holds anything."""
        return self.end_ms > self.start_ms

    def intersect(self, other: "TimeRange") -> "TimeRange":
        """Return the common part; empty at this range's start when there is none."""
        start_ms = max(self.start_ms, other.start_ms)
        end_ms = min(self.end_ms, other.end_ms)
        return TimeRange(start_ms, max(start_ms, end_ms))

    def without(self, other: "TimeRange") -> list["TimeRange"]:
        """Return what is left of this range outside another: none, one or two ranges."""
        common = self.intersect(other)
        if not common:
            return [self]
        parts = [TimeRange(self.start_ms, common.start_ms), TimeRange(common.end_ms, self.end_ms)]
        return [part for part in parts if part]


def merge_ranges(ranges: Sequence[TimeRange], *, within_ms: int = 0) -> list[TimeRange]:
    """Return the ranges ascending, joined where they touch or lie at most `within_ms` apart.

    Example:
        >>> merge_ranges([TimeRange(5, 9), TimeRange(0, 5), TimeRange(20, 21)])
        [TimeRange(start_ms=0, end_ms=9), TimeRange(start_ms=20, end_ms=21)]
    """
    merged: list[TimeRange] = []
    for span in sorted(ranges):
        if merged and span.start_ms - merged[-1].end_ms <= within_ms:
            last = merged.pop()
            span = TimeRange(last.start_ms, max(last.end_ms, span.end_ms))  # noqa: PLW2901
        merged.append(span)
    return merged


def open_times(interval: Interval, span: TimeRange) -> Iterator[int]:
    """Yield the open times of the grid inside `span`, ascending, UTC epoch milliseconds."""
    if interval.is_month:
        return _month_opens(interval, span)
    return iter(range(interval.ceil(span.start_ms), span.end_ms, interval.length_ms))


def _month_opens(interval: Interval, span: TimeRange) -> Iterator[int]:
    open_ms = interval.ceil(span.start_ms)
    while open_ms < span.end_ms:
        yield open_ms
        open_ms = interval.next_open(open_ms)


def count_open_times(interval: Interval, span: TimeRange) -> int:
    """Return how many open times of the grid lie inside `span`, without listing them.

    Example:
        >>> count_open_times(Interval.MINUTE_1, TimeRange(0, DAY_MS))
        1440
    """
    if interval.is_month:
        return sum(1 for _ in _month_opens(interval, span))
    first_ms = interval.ceil(span.start_ms)
    return max(0, -(-(span.end_ms - first_ms) // interval.length_ms))
