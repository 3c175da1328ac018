"""Bar lengths: their grids, and half-open ranges of time."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crypto_data.intervals import (
    DAY_MS,
    Interval,
    Period,
    TimeRange,
    count_open_times,
    merge_ranges,
    open_times,
)

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
SHORT = [name for name in Interval if name.is_intraday]

times_ms = st.integers(0, 4_102_444_800_000)  # to 2100
intervals = st.sampled_from(list(Interval))


def ms(text) -> int:
    return (datetime.fromisoformat(text).replace(tzinfo=UTC) - EPOCH) // timedelta(milliseconds=1)


def opens_within(interval, start, end) -> list[str]:
    span = TimeRange(ms(start), ms(end))
    return [f"{EPOCH + timedelta(milliseconds=t):%Y-%m-%d}" for t in open_times(interval, span)]


@pytest.mark.parametrize(
    ("interval", "start", "end", "opens"),
    [
        pytest.param(
            Interval.WEEK_1,
            "2024-02-26",
            "2024-03-12",
            ["2024-02-26", "2024-03-04", "2024-03-11"],
            id="weeks-open-on-monday",
        ),
        pytest.param(
            Interval.WEEK_1,
            "2024-12-24",
            "2025-01-08",
            ["2024-12-30", "2025-01-06"],
            id="a-week-crosses-the-year",
        ),
        pytest.param(
            Interval.MONTH_1,
            "2023-12-02",
            "2024-03-02",
            ["2024-01-01", "2024-02-01", "2024-03-01"],
            id="months-across-a-leap-february",
        ),
        pytest.param(Interval.MONTH_1, "2024-12-01", "2025-01-01", ["2024-12-01"], id="december"),
        pytest.param(Interval.MONTH_1, "2024-12-02", "2025-01-01", [], id="inside-one-month"),
        pytest.param(
            Interval.DAY_1,
            "2024-02-28",
            "2024-03-02",
            ["2024-02-28", "2024-02-29", "2024-03-01"],
            id="leap-day",
        ),
        # Binance's 3d bars follow the epoch's grid: 2024-03-01 is day 19783, 3 x 6594 + 1.
        pytest.param(
            Interval.DAY_3,
            "2024-03-01",
            "2024-03-08",
            ["2024-03-03", "2024-03-06"],
            id="three-days",
        ),
    ],
)
def test_long_bars_open_where_the_exchange_opens_them(interval, start, end, opens) -> None:
    """Weeks open on Mondays, months on their first, three-day bars on the epoch's grid."""
    assert opens_within(interval, start, end) == opens


@pytest.mark.parametrize("interval", SHORT)
def test_bars_of_at_most_a_day_fill_it(interval) -> None:
    """A day holds a whole number of short bars, the first at midnight."""
    day = TimeRange(ms("2024-02-29"), ms("2024-03-01"))

    opens = list(open_times(interval, day))

    assert opens[0] == day.start_ms
    assert len(opens) * interval.length_ms == DAY_MS


@given(intervals, times_ms)
def test_floor_ceil_and_next_agree(interval, time_ms) -> None:
    """Every instant lies between its bar's open time and the next, and floor is idempotent."""
    opened_ms, ceiling_ms = interval.floor(time_ms), interval.ceil(time_ms)

    assert opened_ms <= time_ms < interval.next_open(opened_ms)
    assert interval.floor(opened_ms) == opened_ms == interval.ceil(opened_ms)
    assert ceiling_ms == (opened_ms if opened_ms == time_ms else interval.next_open(opened_ms))


@given(intervals, times_ms, st.integers(0, 400 * DAY_MS))
def test_counting_equals_listing(interval, start_ms, length_ms) -> None:
    """The count of a range is the length of its listing, which lies on the grid inside it."""
    # At most some thousand bars, whatever the interval.
    span = TimeRange(start_ms, start_ms + length_ms % (3000 * interval.length_ms))

    opens = list(open_times(interval, span))

    assert count_open_times(interval, span) == len(opens)
    assert all(open_ms in span and interval.floor(open_ms) == open_ms for open_ms in opens)
    assert all(interval.next_open(a) == b for a, b in pairwise(opens))


@pytest.mark.parametrize(
    ("text", "interval"),
    [("1M", Interval.MONTH_1), ("1mo", Interval.MONTH_1), ("1m", Interval.MINUTE_1)],
)
def test_the_month_has_two_spellings_and_none_is_the_minute(text, interval) -> None:
    """`1M` and `1mo` are the month; REST calls it `1M`, the disk `1mo`."""
    assert Interval.parse(text) is interval
    assert Interval.parse(interval.rest_name) is interval
    assert Interval.parse(interval.value) is interval


@pytest.mark.parametrize("text", ["", "2m", "1H", "1MO", "60", "1m "])
def test_an_unknown_interval_is_answered_with_those_that_exist(text) -> None:
    """The message quotes what was found and lists all sixteen."""
    with pytest.raises(ValueError, match=r"is no interval; use one of 1s, 1m, .*, 1mo$") as caught:
        Interval.parse(text)

    assert repr(text) in str(caught.value)


def test_files_hold_a_day_a_month_or_a_year() -> None:
    """Seconds lie in daily files, one to five minutes in monthly, the rest in yearly ones."""
    by_period = {period: [i.value for i in Interval if i.period is period] for period in Period}

    assert by_period[Period.DAY] == ["1s"]
    assert by_period[Period.MONTH] == ["1m", "3m", "5m"]
    assert len(by_period[Period.YEAR]) == 12


ranges = st.builds(
    lambda start, length: TimeRange(start, start + length), st.integers(0, 60), st.integers(1, 9)
)


@given(st.lists(ranges, max_size=8))
def test_merged_ranges_cover_the_same_instants(spans) -> None:
    """Merging keeps every instant and leaves ascending ranges that do not touch."""
    merged = merge_ranges(spans)

    assert {t for s in merged for t in range(s.start_ms, s.end_ms)} == {
        t for s in spans for t in range(s.start_ms, s.end_ms)
    }
    assert all(a.end_ms < b.start_ms for a, b in pairwise(merged))


def test_ranges_near_each_other_can_be_joined() -> None:
    """Within the distance named, the hole between two ranges is swallowed."""
    spans = [TimeRange(0, 10), TimeRange(15, 20), TimeRange(40, 41)]

    assert merge_ranges(spans, within_ms=5) == [TimeRange(0, 20), TimeRange(40, 41)]
    assert merge_ranges(spans, within_ms=4) == spans


def test_a_range_is_half_open_and_never_backwards() -> None:
    """The start is inside, the end is not; an end before the start is refused."""
    span = TimeRange(10, 20)

    assert (10 in span, 19 in span, 20 in span, 9 in span) == (True, True, False, False)
    assert not TimeRange(10, 10)
    assert span.intersect(TimeRange(15, 99)) == TimeRange(15, 20)
    assert not span.intersect(TimeRange(30, 40))
    with pytest.raises(ValueError, match="ends before it starts"):
        TimeRange(20, 10)
