"""UTC days: which bars they should have, when they are closed, which file they lie in.

Calendar arithmetic only. What is present and what that means belongs to `coverage`.
"""

from collections.abc import Iterable, Iterator
from datetime import UTC, date, datetime, timedelta

from crypto_data.intervals import (
    DAY_MS,
    Interval,
    Period,
    TimeRange,
    count_open_times,
    open_times,
)

ONE_DAY = timedelta(days=1)
EPOCH = date(1970, 1, 1)
# The first block of Bitcoin: nothing can have been traded before.
FIRST_DAY = date(2009, 1, 3)

# The archive publishes a day's file during the next day; a week later a late one has been mended.
ARCHIVE_GRACE_DAYS = 7


def day_start_ms(day: date) -> int:
    """Return the first instant of a UTC day, epoch milliseconds."""
    return (day - EPOCH).days * DAY_MS


def day_of(time_ms: int) -> date:
    """Return the UTC day that holds the instant."""
    return EPOCH + timedelta(days=time_ms // DAY_MS)


def day_range(day: date) -> TimeRange:
    """Return the half-open range of one UTC day."""
    start_ms = day_start_ms(day)
    return TimeRange(start_ms, start_ms + DAY_MS)


def span_of_days(first: date, end: date) -> TimeRange:
    """Return the half-open range from the start of `first` to the start of `end`."""
    return TimeRange(day_start_ms(first), day_start_ms(end))


def days_in(first: date, end: date) -> Iterator[date]:
    """Yield the days of `[first, end)`, ascending."""
    for number in range((end - first).days):
        yield first + timedelta(days=number)


def days_touched(spans: Iterable[TimeRange]) -> list[date]:
    """Return the days that any of the ranges touches, ascending, each once."""
    touched: set[date] = set()
    for span in spans:
        if span:
            touched.update(days_in(day_of(span.start_ms), day_of(span.end_ms - 1) + ONE_DAY))
    return sorted(touched)


def group_days(days: Iterable[date]) -> list[tuple[date, date]]:
    """Return runs of neighbouring days as half-open `(first, end)` pairs, ascending.

    Example:
        >>> group_days([date(2024, 3, 2), date(2024, 3, 1), date(2024, 3, 5)])
        [(datetime.date(2024, 3, 1), datetime.date(2024, 3, 3)), \
(datetime.date(2024, 3, 5), datetime.date(2024, 3, 6))]
    """
    runs: list[tuple[date, date]] = []
    for day in sorted(set(days)):
        if runs and runs[-1][1] == day:
            runs[-1] = (runs[-1][0], day + ONE_DAY)
        else:
            runs.append((day, day + ONE_DAY))
    return runs


def expected_opens(interval: Interval, day: date) -> list[int]:
    """Return the open times a full day should have: none on most days of `3d`, `1w`, `1mo`."""
    return list(open_times(interval, day_range(day)))


def expected_count(interval: Interval, day: date) -> int:
    """Return how many bars open on the day."""
    if interval.is_intraday:
        return DAY_MS // interval.length_ms
    return count_open_times(interval, day_range(day))


def day_closed_ms(interval: Interval, day: date) -> int:
    """Return the instant from which every bar that opens on the day is closed."""
    span = day_range(day)
    opened_ms = interval.floor(span.end_ms - 1)
    return max(span.end_ms, interval.next_open(opened_ms)) if opened_ms in span else span.end_ms


def closed_end(interval: Interval, now_ms: int) -> date:
    """Return the end of the closed days: the first day that is not closed at `now_ms`.

    `now_ms` is the exchange's clock. Days before it have all their bars; a weekly bar that is
    still open keeps its Monday, and all days after it, out.
    """
    today = day_of(now_ms)
    opened = day_of(interval.floor(now_ms))
    return min(today, opened)


def archive_due_ms(interval: Interval, day: date) -> int:
    """Return when the archive should have the day, epoch milliseconds.

    Dailies appear within the next day. Bars longer than a day stand in the monthly archive, which
    appears on the first Monday of the next month, the 7th at the latest.
    """
    if interval.is_intraday:
        return day_start_ms(day) + 2 * DAY_MS
    next_month = (day.replace(day=1) + timedelta(days=32)).replace(day=1)
    return day_start_ms(next_month) + 7 * DAY_MS


def archive_final_ms(interval: Interval, day: date) -> int:
    """Return when a day that the archive still lacks is no longer waited for."""
    return archive_due_ms(interval, day) + ARCHIVE_GRACE_DAYS * DAY_MS


def period_name(interval: Interval, day: date) -> str:
    """Return the name of the lake file a day lies in: `2024-03-07`, `2024-03` or `2024`."""
    return name_of_period(interval.period, day)


def name_of_period(length: Period, day: date) -> str:
    """Return the name of the day, month or year that a day lies in."""
    match length:
        case Period.DAY:
            return f"{day:%Y-%m-%d}"
        case Period.MONTH:
            return f"{day:%Y-%m}"
        case Period.YEAR:
            return f"{day:%Y}"


def period_days(name: str) -> tuple[date, date]:
    """Return the half-open days of a lake file's name.

    Raises:
        ValueError: the name is no day, month or year.

    Example:
        >>> period_days("2024-02")
        (datetime.date(2024, 2, 1), datetime.date(2024, 3, 1))
    """
    match len(name):
        case 10:
            first = date.fromisoformat(name)
            return first, first + ONE_DAY
        case 7:
            first = date.fromisoformat(f"{name}-01")
            return first, (first + timedelta(days=32)).replace(day=1)
        case 4:
            return date(int(name), 1, 1), date(int(name) + 1, 1, 1)
        case _:
            raise ValueError(f"{name!r} is no day, month or year")


def periods_of(interval: Interval, days: Iterable[date]) -> dict[str, list[date]]:
    """Return the days by the lake file they lie in, both ascending."""
    grouped: dict[str, list[date]] = {}
    for day in sorted(set(days)):
        grouped.setdefault(period_name(interval, day), []).append(day)
    return grouped


def utc(time_ms: int) -> str:
    """Return an instant as a person reads it: `2024-03-07 02:10:00 UTC`."""
    return f"{datetime.fromtimestamp(time_ms / 1000, UTC):%Y-%m-%d %H:%M:%S} UTC"
