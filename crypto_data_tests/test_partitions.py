"""UTC days: the bars they should have, when they close, the file they lie in."""

from datetime import UTC, date, datetime
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crypto_data.intervals import DAY_MS, Interval, TimeRange
from crypto_data.partitions import (
    archive_due_ms,
    archive_final_ms,
    closed_end,
    day_closed_ms,
    day_of,
    day_range,
    day_start_ms,
    days_in,
    days_touched,
    expected_count,
    expected_opens,
    group_days,
    period_days,
    period_name,
    periods_of,
    span_of_days,
    utc,
)

MONDAY, TUESDAY = date(2024, 3, 4), date(2024, 3, 5)
days = st.dates(date(2017, 7, 14), date(2035, 12, 31))
intervals = st.sampled_from(list(Interval))


def ms(*moment) -> int:
    return int(datetime(*moment, tzinfo=UTC).timestamp()) * 1000


@pytest.mark.parametrize(
    ("interval", "day", "count"),
    [
        ("1s", MONDAY, 86_400),
        ("1m", MONDAY, 1_440),
        ("3m", MONDAY, 480),
        ("5m", MONDAY, 288),
        ("15m", MONDAY, 96),
        ("30m", MONDAY, 48),
        ("1h", MONDAY, 24),
        ("2h", MONDAY, 12),
        ("4h", MONDAY, 6),
        ("6h", MONDAY, 4),
        ("8h", MONDAY, 3),
        ("12h", MONDAY, 2),
        ("1d", date(2024, 2, 29), 1),
        ("3d", date(2024, 3, 3), 1),
        ("3d", MONDAY, 0),
        ("1w", MONDAY, 1),
        ("1w", TUESDAY, 0),
        ("1mo", date(2024, 3, 1), 1),
        ("1mo", date(2024, 2, 29), 0),
    ],
)
def test_a_day_expects_the_bars_that_open_on_it(interval, day, count) -> None:
    """Long bars are due on the day they open and on no other."""
    assert expected_count(Interval(interval), day) == count
    assert len(expected_opens(Interval(interval), day)) == count


@pytest.mark.parametrize(
    ("interval", "now", "end"),
    [
        pytest.param("1m", (2024, 3, 5), date(2024, 3, 5), id="midnight-closes-yesterday"),
        pytest.param("1m", (2024, 3, 4, 23, 59, 59), date(2024, 3, 4), id="not-a-second-before"),
        pytest.param("1d", (2024, 3, 4, 23, 59, 59), date(2024, 3, 4), id="daily-bar-open"),
        pytest.param("1w", (2024, 3, 10, 23, 59), date(2024, 3, 4), id="sunday-week-still-open"),
        pytest.param("1w", (2024, 3, 11), date(2024, 3, 11), id="monday-week-closed"),
        pytest.param("3d", (2024, 3, 5, 12), date(2024, 3, 3), id="three-days-still-open"),
        pytest.param("3d", (2024, 3, 6), date(2024, 3, 6), id="three-days-closed"),
        pytest.param("1mo", (2024, 2, 29, 23), date(2024, 2, 1), id="leap-month-still-open"),
        pytest.param("1mo", (2024, 12, 31, 23), date(2024, 12, 1), id="december-still-open"),
        pytest.param("1mo", (2025, 1, 1), date(2025, 1, 1), id="december-closed"),
    ],
)
def test_a_bar_that_is_still_open_keeps_its_days_out(interval, now, end) -> None:
    """Only days whose every bar is closed are closed."""
    assert closed_end(Interval(interval), ms(*now)) == end


@given(intervals, st.integers(ms(2017, 7, 14), ms(2035, 1, 1)))
def test_closed_days_are_those_whose_bars_have_ended(interval, now_ms) -> None:
    """The last closed day is over with all its bars; the bar open now opens no closed day."""
    end = closed_end(interval, now_ms)

    last = day_of(day_start_ms(end) - 1)
    assert day_closed_ms(interval, last) <= now_ms
    assert interval.floor(now_ms) >= day_start_ms(end)
    assert day_closed_ms(interval, day_of(interval.floor(now_ms))) > now_ms


@given(intervals, days)
def test_a_day_lies_in_the_file_that_is_named_after_it(interval, day) -> None:
    """A file's name says which days it holds, and the day is one of them."""
    first, end = period_days(period_name(interval, day))

    assert first <= day < end
    assert {period_name(interval, other) for other in days_in(first, end)} == {
        period_name(interval, day)
    }


@pytest.mark.parametrize(
    ("name", "first", "end"),
    [
        ("2024-02-29", date(2024, 2, 29), date(2024, 3, 1)),
        ("2024-02", date(2024, 2, 1), date(2024, 3, 1)),
        ("2024-12", date(2024, 12, 1), date(2025, 1, 1)),
        ("2024", date(2024, 1, 1), date(2025, 1, 1)),
    ],
)
def test_a_period_is_half_open(name, first, end) -> None:
    """Leap days and year ends belong where the calendar puts them."""
    assert period_days(name) == (first, end)


@pytest.mark.parametrize("name", ["", "24", "2023-02-29", "2024-13", "abcd", "2024-1", "0000"])
def test_other_names_are_no_period(name) -> None:
    """A foreign file's name is refused with a ValueError, whatever it looks like."""
    with pytest.raises(ValueError, match=r"."):
        period_days(name)


def test_days_are_grouped_by_their_file() -> None:
    """Both files and days come ascending and once, whatever order they were given in."""
    wanted = [date(2024, 3, 1), date(2024, 2, 29), date(2024, 3, 1)]

    assert periods_of(Interval.MINUTE_1, wanted) == {
        "2024-02": [date(2024, 2, 29)],
        "2024-03": [date(2024, 3, 1)],
    }
    assert list(periods_of(Interval.HOUR_1, wanted)) == ["2024"]


def test_the_archive_is_due_the_next_day_and_final_a_week_later() -> None:
    """Dailies come within the next day; long bars with the monthly file of the next month."""
    day = date(2024, 3, 4)

    assert archive_due_ms(Interval.MINUTE_1, day) == ms(2024, 3, 6)
    assert archive_final_ms(Interval.MINUTE_1, day) == ms(2024, 3, 13)
    assert archive_due_ms(Interval.WEEK_1, day) == ms(2024, 4, 8)
    assert archive_due_ms(Interval.MONTH_1, date(2024, 12, 1)) == ms(2025, 1, 8)
    assert archive_final_ms(Interval.DAY_3, date(2024, 1, 31)) == ms(2024, 2, 15)


@given(st.lists(days.filter(lambda day: day.year < 2019), max_size=20))
def test_grouped_days_are_the_same_days(some) -> None:
    """Runs of neighbouring days hold every day once and do not touch."""
    runs = group_days(some)

    assert [day for first, end in runs for day in days_in(first, end)] == sorted(set(some))
    assert all(one[1] < two[0] for one, two in pairwise(runs))


def test_a_range_touches_the_days_it_enters() -> None:
    """An end at midnight does not touch the next day; an empty range touches none."""
    start_ms = day_start_ms(MONDAY)

    assert days_touched([TimeRange(start_ms, start_ms + DAY_MS)]) == [MONDAY]
    assert days_touched([TimeRange(start_ms, start_ms + DAY_MS + 1)]) == [MONDAY, TUESDAY]
    assert days_touched([TimeRange(start_ms, start_ms)]) == []
    assert span_of_days(MONDAY, TUESDAY) == day_range(MONDAY)


def test_an_instant_is_shown_in_utc() -> None:
    """A person reads seconds and the zone, whatever the machine's own zone."""
    assert utc(ms(2024, 3, 7, 2, 10)) == "2024-03-07 02:10:00 UTC"
