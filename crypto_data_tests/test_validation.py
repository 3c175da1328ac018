"""The rules a kline must keep, each with the defect it catches."""

import math
from collections import Counter
from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crypto_data.intervals import HOUR_MS, MINUTE_MS, Interval, TimeRange
from crypto_data.schema import FETCHED, PRICES
from crypto_data.validation import RULES, cut, validate

OPEN = datetime(2024, 3, 4, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
US = timedelta(microseconds=1)
NOW_MS = int(datetime(2024, 3, 5, tzinfo=UTC).timestamp()) * 1000
GOOD = {
    "open_time": OPEN,
    "open": 10.0,
    "high": 12.0,
    "low": 9.0,
    "close": 11.0,
    "volume": 5.0,
    "quote_volume": 50.0,
    "trade_count": 7,
    "taker_buy_volume": 2.0,
    "taker_buy_quote_volume": 20.0,
    "close_time": OPEN + MINUTE - US,
    "contract_volume": None,
}


def at(minutes, **change) -> dict:
    moved = {"open_time": OPEN + minutes * MINUTE, "close_time": OPEN + (minutes + 1) * MINUTE - US}
    return GOOD | moved | change


def judge(*rows, interval=Interval.MINUTE_1, now_ms=NOW_MS):
    table = pa.Table.from_pylist(list(rows), schema=FETCHED)
    return validate(table, interval, closed_before_ms=now_ms)


NULLABLE = ("quote_volume", "taker_buy_volume", "taker_buy_quote_volume", "contract_volume")


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        *[
            pytest.param({name: value}, "prices_are_finite", id=f"{name}-{value}")
            for name in ("open", "high", "low", "close")
            for value in (math.nan, None, math.inf, -math.inf)
        ],
        *[
            pytest.param({"volume": value}, "volume_is_finite", id=f"volume-{value}")
            for value in (math.nan, None, math.inf)
        ],
        *[
            pytest.param({name: value}, "volume_is_finite", id=f"{name}-{value}")
            for name in NULLABLE
            for value in (math.nan, math.inf)
        ],
        *[
            pytest.param({name: -1}, "volume_is_not_negative", id=f"{name}-negative")
            for name in ("volume", "trade_count", *NULLABLE)
        ],
        pytest.param({"high": 10.5}, "high_is_highest", id="high-below-close"),
        pytest.param({"high": 9.5, "low": 9.0}, "high_is_highest", id="high-below-open"),
        pytest.param({"low": 10.5}, "low_is_lowest", id="low-above-open"),
        pytest.param({"low": 0.0}, "prices_are_positive", id="low-zero"),
        *[
            pytest.param(dict.fromkeys(PRICES, price), "prices_are_positive", id=f"all-{price}")
            for price in (0.0, -1.0)
        ],
        pytest.param({"high": 8.0}, "high_is_highest", id="high-below-low"),
        pytest.param({"open_time": None}, "times_are_known", id="open-time-null"),
        pytest.param({"close_time": None}, "times_are_known", id="close-time-null"),
        pytest.param({"close_time": OPEN}, "close_time_follows_open_time", id="closed-before"),
        pytest.param(
            {"open_time": OPEN + timedelta(seconds=61)}, "open_time_is_on_grid", id="off-grid"
        ),
        pytest.param(
            {"open_time": OPEN + MINUTE + 500 * US}, "open_time_is_on_grid", id="off-by-500-us"
        ),
        pytest.param(
            {
                "open_time": datetime(2024, 3, 5, tzinfo=UTC),
                "close_time": datetime(2024, 3, 5, 0, 1, tzinfo=UTC),
            },
            "kline_is_closed",
            id="unfinished",
        ),
    ],
)
def test_each_defect_breaks_its_own_rule(change, rule) -> None:
    """A bad row beside a good one names the rule it broke, once, and the good one stays."""
    verdict = judge(GOOD, at(1) | change)

    assert verdict.counts == {rule: 1}
    assert verdict.good.to_pylist() == [GOOD]
    assert verdict.bad.column_names == [*FETCHED.names, "rule"]
    assert verdict.bad["rule"].to_pylist() == [rule]


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(dict.fromkeys([*NULLABLE, "trade_count"]), id="unknown-volumes"),
        pytest.param({"volume": 0.0, "trade_count": 0, "quote_volume": 0.0}, id="quiet"),
        pytest.param({"high": 10.0, "low": 10.0, "open": 10.0, "close": 10.0}, id="flat"),
        pytest.param({"close_time": OPEN + MINUTE + timedelta(seconds=20)}, id="outage-cut-close"),
        pytest.param({"close_time": OPEN + 3 * MINUTE}, id="late-close"),
        pytest.param({"volume": 5e-324}, id="tiny"),
        pytest.param({"taker_buy_volume": 9.0}, id="taker-above-volume"),
    ],
)
def test_what_looks_broken_but_is_real_stays(change) -> None:
    """Quirks of the real exchange are data."""
    verdict = judge(at(1) | change)

    assert (verdict.good.num_rows, verdict.bad, verdict.counts) == (1, None, {})


@pytest.mark.parametrize(
    ("day", "kept"),
    [
        pytest.param(datetime(2017, 11, 30, 23, tzinfo=UTC), False, id="before"),
        pytest.param(datetime(2017, 12, 1, tzinfo=UTC), True, id="first"),
        pytest.param(datetime(2018, 2, 9, 9, tzinfo=UTC), True, id="known"),
        pytest.param(datetime(2018, 2, 28, 23, tzinfo=UTC), True, id="last"),
        pytest.param(datetime(2018, 3, 1, tzinfo=UTC), False, id="after"),
    ],
)
def test_odd_open_times_are_real_in_two_known_months_only(day, kept) -> None:
    """Binance opened bars beside the grid after outages of 2017-12 to 2018-02."""
    odd = day + timedelta(minutes=28, seconds=14, milliseconds=789)

    verdict = judge(
        GOOD | {"open_time": odd, "close_time": odd + timedelta(hours=1)}, interval=Interval.HOUR_1
    )

    assert verdict.counts == ({} if kept else {"open_time_is_on_grid": 1})


@pytest.mark.parametrize(
    ("interval", "good", "bad"),
    [
        pytest.param("1w", datetime(2024, 2, 26, tzinfo=UTC), OPEN + timedelta(days=-1), id="week"),
        pytest.param("3d", datetime(2024, 2, 26, tzinfo=UTC), OPEN - timedelta(days=6), id="3d"),
        pytest.param("1mo", datetime(2024, 2, 1, tzinfo=UTC), OPEN - timedelta(days=2), id="month"),
    ],
)
def test_long_bars_have_their_grid_too(interval, good, bad) -> None:
    """A weekly bar of a Sunday, or a monthly one of the second, is no bar."""
    rows = [GOOD | {"open_time": t, "close_time": t + timedelta(days=1)} for t in (good, bad)]

    verdict = judge(*rows, interval=Interval(interval))

    assert verdict.counts == {"open_time_is_on_grid": 1}
    assert verdict.good["open_time"].to_pylist() == [good]


@pytest.mark.parametrize("interval", [Interval.WEEK_1, Interval.MONTH_1])
def test_a_long_bar_that_is_still_open_is_set_aside(interval) -> None:
    """The week and month of the clock are not closed, although their day is over."""
    opened = datetime(2024, 3, 4 if interval is Interval.WEEK_1 else 1, tzinfo=UTC)

    row = GOOD | {"open_time": opened, "close_time": opened + timedelta(days=1)}
    verdict = judge(row, interval=interval)

    assert verdict.counts == {"kline_is_closed": 1}


@pytest.mark.parametrize("interval", [Interval.MINUTE_1, Interval.WEEK_1, Interval.MONTH_1])
@pytest.mark.parametrize("micros", [-(2**62), 2**62, 0], ids=["far-past", "far-future", "epoch"])
def test_an_absurd_time_breaks_a_rule_and_not_the_program(interval, micros) -> None:
    """A time of year 148000, from microseconds read as milliseconds, is set aside or kept."""
    columns = {
        name: pa.array([GOOD[name]], kind)
        for name, kind in zip(FETCHED.names, FETCHED.types, strict=True)
    }
    columns["open_time"] = columns["close_time"] = pa.array([micros], FETCHED.types[0])

    verdict = validate(pa.table(columns, FETCHED), interval, closed_before_ms=NOW_MS)

    assert verdict.good.num_rows + sum(verdict.counts.values()) == 1
    assert not (micros == 2**62 and verdict.good.num_rows)


def test_the_first_broken_rule_is_the_one_named() -> None:
    """A row with several defects is counted once, under the earliest rule."""
    verdict = judge(at(0, open=math.nan, volume=-1.0, high=0.0), at(1, volume=-1.0, high=0.0))

    assert verdict.counts == {"prices_are_finite": 1, "high_is_highest": 1}


def test_rows_come_back_sorted() -> None:
    """A source may answer newest first."""
    verdict = judge(at(3), at(1), at(2))

    opens = verdict.good["open_time"].to_pylist()
    assert opens == sorted(opens)
    assert verdict.bad is None


@pytest.mark.parametrize(
    ("rows", "kept"),
    [
        pytest.param(
            [at(0, trade_count=3), at(0, trade_count=9), at(0, trade_count=5)],
            at(0, trade_count=9),
            id="most-trades-wins",
        ),
        pytest.param([at(0, trade_count=None), GOOD], GOOD, id="known-count-wins"),
        pytest.param([at(0, trade_count=99, high=0.0), GOOD], GOOD, id="a-bad-row-never-wins"),
        pytest.param([at(0, close=10.0), GOOD], GOOD, id="the-later-wins"),
        pytest.param(
            [at(0, trade_count=None, close=10.0), at(0, trade_count=None)],
            at(0, trade_count=None),
            id="the-later-wins-where-trades-are-unknown",
        ),
    ],
)
def test_of_doubles_one_row_stays(rows, kept) -> None:
    """Each open_time is there once; the others are set aside and counted."""
    verdict = judge(*rows)

    assert verdict.good.to_pylist() == [kept]
    assert sum(verdict.counts.values()) == len(rows) - 1
    assert set(verdict.counts) <= {"open_time_is_unique", "high_is_highest"}


@pytest.mark.parametrize("change", [{}, dict.fromkeys([*NULLABLE, "trade_count"])])
def test_the_same_row_twice_is_one_row(change) -> None:
    """Pages overlap: what says the same is set aside nowhere and counted nowhere."""
    verdict = judge(at(0, **change), at(1), at(0, **change))

    assert verdict.good.to_pylist() == [at(0, **change), at(1)]
    assert (verdict.bad, verdict.counts) == (None, {})


defects = st.sampled_from(
    [{}, {}, {}, {"open": math.nan}, {"high": 0.0}, {"volume": -1.0}, {"open_time": None}]
)


@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 9), defects), max_size=12))
def test_nothing_is_lost(rows) -> None:
    """Good and bad rows together are the rows that came; counts add up; good ones are unique."""
    given_rows = [
        at(minute, trade_count=trades, taker_buy_volume=float(place)) | defect
        for place, (minute, trades, defect) in enumerate(rows)
    ]

    verdict = judge(*given_rows)

    bad = [] if verdict.bad is None else verdict.bad.to_pylist()
    opens = verdict.good["open_time"].to_pylist()
    assert verdict.good.num_rows + len(bad) == len(rows)
    assert sum(verdict.counts.values()) == len(bad)
    assert Counter(row["rule"] for row in bad) == verdict.counts
    assert opens == sorted(set(opens))
    assert set(opens) == {
        row["open_time"] for row, (_, _, defect) in zip(given_rows, rows, strict=True) if not defect
    }


def test_no_rows_are_good_rows() -> None:
    """An empty answer passes, as a table without chunks as well."""
    assert judge().good.num_rows == 0
    verdict = validate(FETCHED.empty_table(), Interval.MONTH_1, closed_before_ms=0)
    assert (verdict.good.schema, verdict.bad) == (FETCHED, None)


def test_every_rule_has_a_name_a_person_can_read() -> None:
    """Names are sentences; they are what a check and the quarantine show."""
    assert list(RULES) == [
        "times_are_known",
        "prices_are_finite",
        "volume_is_finite",
        "high_is_highest",
        "low_is_lowest",
        "prices_are_positive",
        "volume_is_not_negative",
        "close_time_follows_open_time",
    ]


def test_cutting_keeps_rows_of_the_ranges() -> None:
    """Ranges are half-open; order is kept; a row without a time is in no range."""
    table = pa.Table.from_pylist([at(2), at(0), at(1), at(9, open_time=None)], schema=FETCHED)
    start_ms = NOW_MS - 24 * HOUR_MS

    kept = cut(table, [TimeRange(start_ms, start_ms + 2 * MINUTE_MS)])

    assert [row["open_time"] for row in kept.to_pylist()] == [OPEN, OPEN + MINUTE]
    assert cut(table, []).num_rows == 0
