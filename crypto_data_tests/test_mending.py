"""Which days are asked for again, in which runs."""

from datetime import UTC, date, datetime, timedelta
from itertools import count, pairwise
from pathlib import Path

import pyarrow as pa
import pytest

from crypto_data.catalog.configuration import parse_catalog
from crypto_data.lake.census_tables import RUNS
from crypto_data.mending import (
    FILES_A_ROLL,
    SERIES_DAYS_A_RUN,
    Errand,
    Stretch,
    due_gaps,
    last_closed_days,
    plan_errands,
    plan_roll,
    provisional_days,
    unsettled_from,
)
from crypto_data.partitions import day_start_ms
from crypto_data.series import Series

NOW = date(2024, 6, 10)
NOW_MS = day_start_ms(NOW) + 3_600_000
BTC = Series.parse("binance/spot/BTCUSDT/1h")
ETH = Series.parse("binance/spot/ETHUSDT/1h")


def catalog_of(*, symbols="BTCUSDT, ETHUSDT", intervals="1h", start="2024-01-01", more=""):
    text = (
        "lake: ./lake\nfeeds:\n  - exchange: binance\n    market: spot\n"
        f"    symbols: [{symbols}]\n    intervals: [{intervals}]\n    start: {start}\n{more}"
    )
    return parse_catalog(text, path=Path("crypto_data.yaml"), environ={}, today=date(2026, 1, 1))


def runs_of(*rows):
    """Return a census's runs: series, first day, days, state, attempts, when last asked."""
    entries = [
        dict(zip(("exchange", "market", "symbol", "interval"), str(series).split("/"), strict=True))
        | {
            "first_day": first,
            "days": days,
            "state": state,
            "attempts": attempts,
            "last_attempt": datetime.fromtimestamp(asked_ms / 1000, UTC) if asked_ms else None,
        }
        for series, first, days, state, attempts, asked_ms in rows
    ]
    return pa.Table.from_pylist(entries, RUNS)


def gap(series=BTC, *, first=date(2024, 3, 1), days=1, state="partial", attempts=1, asked_ms=1):
    return (series, first, days, state, attempts, asked_ms)


@pytest.mark.parametrize(
    ("run", "due"),
    [
        pytest.param(gap(asked_ms=NOW_MS - 16 * 60_000), True, id="waited-long-enough"),
        pytest.param(gap(asked_ms=NOW_MS - 14 * 60_000), False, id="asked-a-moment-ago"),
        pytest.param(gap(attempts=3, asked_ms=NOW_MS - 31 * 60_000), False, id="waits-twice-twice"),
        pytest.param(gap(attempts=3, asked_ms=NOW_MS - 61 * 60_000), True, id="an-hour-later"),
        pytest.param(gap(attempts=500, asked_ms=NOW_MS - 90_000_000), True, id="at-most-a-day"),
        pytest.param(gap(state="missing", attempts=0, asked_ms=0), True, id="never-asked"),
        pytest.param(gap(state="explained"), False, id="explained"),
        pytest.param(gap(state="unlisted"), False, id="unlisted"),
        pytest.param(gap(state="complete"), False, id="complete"),
        pytest.param(gap(state="provisional"), False, id="provisional"),
        pytest.param(gap(Series.parse("binance/spot/XRPUSDT/1h")), False, id="not-configured"),
    ],
)
def test_a_gap_is_due_when_its_wait_is_over(run, due) -> None:
    """Waits double with each attempt, up to a day; only gaps of configured series are due."""
    assert bool(due_gaps(runs_of(run), catalog_of(), NOW_MS)) is due


def test_the_day_that_just_closed_is_left_to_the_schedule() -> None:
    """Of days nobody has asked for, the newest closed one is no gap before a day has passed."""
    never = gap(first=date(2024, 6, 1), days=9, state="missing", attempts=0, asked_ms=0)

    (stretch,) = due_gaps(runs_of(never), catalog_of(), NOW_MS)
    assert stretch == Stretch(BTC, date(2024, 6, 1), date(2024, 6, 8))
    assert due_gaps(runs_of(never), catalog_of(), NOW_MS + 86_400_000)[0].end == date(2024, 6, 9)


def test_provisional_days_are_found() -> None:
    """Days that wait for the archive are another errand than gaps."""
    runs = runs_of(gap(state="provisional", days=2), gap(ETH))

    assert provisional_days(runs, catalog_of()) == [
        Stretch(BTC, date(2024, 3, 1), date(2024, 3, 3))
    ]


@pytest.mark.parametrize(
    ("source", "explained", "asked_ms", "waits", "due"),
    [
        pytest.param("vision+ccxt:okx", False, 1, False, True, id="stands-in"),
        pytest.param("ccxt:okx", False, NOW_MS - 60_000, False, False, id="asked-a-moment-ago"),
        pytest.param("ccxt:okx", True, 1, False, False, id="nobody-better-has-them"),
        pytest.param("rest", False, 1, True, False, id="waits-for-the-archive"),
    ],
)
def test_days_stood_in_for_are_asked_for_again(source, explained, asked_ms, waits, due) -> None:
    """With the patience of gaps, until better sources have settled them; the archive has no say."""
    runs = runs_of(gap(state="provisional", asked_ms=asked_ms))
    for name, value in (("source", source), ("explained", explained)):
        place = RUNS.get_field_index(name)
        runs = runs.set_column(place, RUNS.field(name), pa.array([value]))

    assert bool(provisional_days(runs, catalog_of())) is waits
    assert bool(due_gaps(runs, catalog_of(), NOW_MS)) is due


def test_near_gaps_of_many_series_share_a_run_newest_first() -> None:
    """A few days apart is one run over both series; months apart are two, the newer one first."""
    stretches = [
        Stretch(BTC, date(2024, 3, 1), date(2024, 3, 2)),
        Stretch(ETH, date(2024, 3, 5), date(2024, 3, 7)),
        Stretch(BTC, date(2024, 5, 1), date(2024, 5, 2)),
    ]

    newest, older = plan_errands(stretches, catalog_of(), until=NOW)
    assert (newest.first, newest.end, newest.series) == (
        date(2024, 5, 1), date(2024, 5, 2), (BTC,)
    )  # fmt: skip
    assert (older.first, older.end, older.series) == (
        date(2024, 3, 1), date(2024, 3, 7), (BTC, ETH)
    )  # fmt: skip


def test_what_runs_already_is_not_asked_for_twice() -> None:
    """A stretch that an unfinished run covers is left out; the other series is not."""
    feed = catalog_of().feeds[0]
    days = date(2024, 3, 1), date(2024, 3, 2)
    stretches = [Stretch(BTC, *days), Stretch(ETH, *days)]

    busy = [Errand(feed, date(2024, 2, 20), date(2024, 3, 5), (BTC,))]
    (errand,) = plan_errands(stretches, catalog_of(), until=NOW, busy=busy)
    assert errand.series == (ETH,)


def test_a_tick_asks_for_a_bounded_number_of_days() -> None:
    """Years of many series are asked for piece by piece, from the newest back, at months."""
    symbols = [f"S{number:03d}USDT" for number in range(100)]
    catalog = catalog_of(symbols=", ".join(symbols), start="2018-01-01")
    stretches = [
        Stretch(series, date(2018, 1, 1), date(2024, 6, 8)) for series in catalog.all_series()
    ]

    errands = plan_errands(stretches, catalog, until=NOW)
    assert len(errands) == 4
    assert errands[0].end == date(2024, 6, 8)
    for newer, older in pairwise(errands):
        assert older.end == newer.first
        assert newer.first.day == 1
    for errand in errands:
        assert len(errand.series) * (errand.end - errand.first).days <= SERIES_DAYS_A_RUN


def test_however_many_series_a_month_is_not_cut() -> None:
    """Of 1,200 series too: a month in pieces is fetched from the archive once a piece."""
    symbols = [f"S{number:03d}USDT" for number in range(400)]
    catalog = catalog_of(symbols=", ".join(symbols), intervals="1m, 1h, 1d", start="2018-01-01")
    stretches = [
        Stretch(series, date(2018, 1, 1), date(2024, 6, 8)) for series in catalog.all_series()
    ]

    errands = plan_errands(stretches, catalog, until=NOW)

    assert {len(errand.series) for errand in errands} == {1200}
    assert [errand.first for errand in errands] == [date(2024, month, 1) for month in (6, 5, 4, 3)]


def test_days_outside_the_feed_or_without_partition_are_not_asked_for() -> None:
    """A run's days lie within the feed, and before the first day that has no partition yet."""
    stretches = [Stretch(BTC, date(2023, 1, 1), date(2024, 6, 12))]

    (errand,) = plan_errands(stretches, catalog_of(), until=NOW)
    assert (errand.first, errand.end) == (date(2024, 1, 1), NOW)


def takewhile_new(errands):
    seen = set()
    for errand in errands:
        if errand in seen:
            return
        seen.add(errand)
        yield errand


def test_the_rolling_check_comes_round_to_every_sealed_day() -> None:
    """Piece by piece every series and year is looked at once before the first comes again."""
    catalog = catalog_of(intervals="1m, 1h, 1d", start="2022-03-01")
    errands = list(takewhile_new(plan_roll(catalog, turn, NOW_MS) for turn in count(1)))

    assert all(len(errand.series) * 12 <= FILES_A_ROLL for errand in errands)
    days = {series: set() for series in catalog.all_series()}
    for errand in errands:
        for series in errand.series:
            days[series] |= {
                errand.first + timedelta(days=day)
                for day in range((errand.end - errand.first).days)
            }
    assert all(
        held == {date(2022, 3, 1) + timedelta(days=day) for day in range(832)}
        for held in days.values()
    )


def test_a_feed_without_archive_has_no_rolling_check() -> None:
    """Only the archive publishes anew."""
    catalog = catalog_of(more="    sources: [rest]\n")

    assert plan_roll(catalog, 7, NOW_MS) is None


def test_a_schedule_looks_back_over_what_it_missed() -> None:
    """The first unsettled day within its look back is where the scheduled run begins."""
    feed = catalog_of().feeds[0]
    first, end = last_closed_days(feed, NOW_MS, back=31)
    runs = runs_of(
        gap(first=date(2024, 2, 1), days=2),
        gap(ETH, first=date(2024, 6, 3), days=2),
        gap(first=date(2024, 6, 9), state="missing", attempts=0, asked_ms=0),
    )

    assert (first, end) == (date(2024, 5, 10), NOW)
    assert unsettled_from(runs, feed, first) == date(2024, 6, 3)
    assert unsettled_from(runs_of(gap(first=date(2024, 2, 1))), feed, first) is None
