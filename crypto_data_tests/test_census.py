"""How every series of a lake stands, told from ledgers and wishes alone."""

import time
from datetime import UTC, date, datetime, timedelta

import pytest

from crypto_data.coverage import DayFacts, SourceAnswer
from crypto_data.errors import LakeDamaged
from crypto_data.intervals import DAY_MS, HOUR_MS, Interval, TimeRange
from crypto_data.lake.census import SeriesCensus, take_census
from crypto_data.lake.feeds import Wanted, Wishes, read_wishes, write_wishes
from crypto_data.lake.layout import FEEDS, part_path
from crypto_data.lake.part import write_part
from crypto_data.partitions import day_start_ms, periods_of
from crypto_data.schema import KLINES
from crypto_data.series import Market, Series

HOURLY = Series("binance", Market.SPOT, "BTCUSDT", Interval.HOUR_1)
WEEKLY = Series("binance", Market.SPOT, "BTCUSDT", Interval.WEEK_1)
FRIDAY = date(2024, 3, 1)
START = day_start_ms(FRIDAY)


def ms(*moment) -> int:
    return int(datetime(*moment, tzinfo=UTC).timestamp()) * 1000


NOW = ms(2024, 6, 1)
WHOLE = DayFacts(rows=24, sources=(("vision", 24),), attempts=1, ingested_ms=7)


def day(number) -> date:
    return FRIDAY + timedelta(days=number)


def put(root, series, ledger) -> None:
    for period, days in periods_of(series.interval, ledger).items():
        path = part_path(root, series, period)
        write_part(path, KLINES.empty_table(), {one: ledger[one] for one in days})


def wish(root, series, *, start=FRIDAY, end=None, ahead=0) -> None:
    write_wishes(root, Wishes({series: Wanted(start, end, "vision")}, ahead))


def census_of(root, series, now_ms=NOW) -> SeriesCensus:
    return {one.series: one for one in take_census(root, now_ms)}[series]


def by_day(census) -> dict:
    return {
        run.first + timedelta(days=n): str(run.state)
        for run in census.runs
        for n in range(run.days)
    }


def test_days_never_asked_for_are_missing(tmp_path) -> None:
    """From the feed's start to the last closed day every day has a state, asked or not."""
    wish(tmp_path, HOURLY, end=day(6))
    put(tmp_path, HOURLY, {day(1): WHOLE, day(2): WHOLE, day(4): WHOLE})

    census = census_of(tmp_path, HOURLY)

    assert list(by_day(census).items()) == [
        (day(0), "missing"),
        (day(1), "complete"),
        (day(2), "complete"),
        (day(3), "missing"),
        (day(4), "complete"),
        (day(5), "missing"),
    ]
    assert [(gap.span, gap.missing_rows, gap.is_open) for gap in census.gaps] == [
        (TimeRange(START + n * DAY_MS, START + (n + 1) * DAY_MS), 24, True) for n in (0, 3, 5)
    ]
    assert {gap.reason for gap in census.gaps} == {"never asked for"}


def test_a_series_that_was_only_wished_for_has_a_census(tmp_path) -> None:
    """Nothing fetched yet: all closed days are one gap, and there is no file."""
    wish(tmp_path, HOURLY)

    census = census_of(tmp_path, HOURLY, now_ms=START + 3 * DAY_MS + 1)

    assert by_day(census) == dict.fromkeys((day(0), day(1), day(2)), "missing")
    assert [gap.missing_rows for gap in census.gaps] == [72]
    assert (census.files, census.bytes, census.first_open_ms) == (0, 0, None)


@pytest.mark.parametrize(
    ("start", "end", "days"),
    [
        pytest.param(day(2), None, {}, id="start-in-the-future"),
        pytest.param(day(0), day(0), {}, id="ends-where-it-starts"),
        pytest.param(day(0), None, {day(0): "missing"}, id="up-to-the-clock"),
    ],
)
def test_a_wish_reaches_to_the_last_closed_day(tmp_path, start, end, days) -> None:
    """A start in the future has no days; today is not closed."""
    wish(tmp_path, HOURLY, start=start, end=end)

    assert by_day(census_of(tmp_path, HOURLY, now_ms=START + DAY_MS + 1)) == days


def test_the_exchanges_clock_closes_the_days(tmp_path) -> None:
    """A machine that is an hour slow still sees the day that the exchange has closed."""
    wish(tmp_path, HOURLY, ahead=HOUR_MS)

    assert by_day(census_of(tmp_path, HOURLY, now_ms=START + DAY_MS - HOUR_MS))


def test_gaps_join_across_days_but_not_across_kinds(tmp_path) -> None:
    """An outage over midnight is one gap; what is explained stays apart from what is open."""
    evening = TimeRange(START + 22 * HOUR_MS, START + DAY_MS)
    morning = TimeRange(START + DAY_MS, START + DAY_MS + HOUR_MS)
    answers = (SourceAnswer("rest", "nothing"),)
    put(
        tmp_path,
        HOURLY,
        {
            day(0): DayFacts(rows=22, absent=(evening,), explained=True, attempts=1, asked_ms=5),
            day(1): DayFacts(
                rows=23, absent=(morning,), explained=True, attempts=3, asked_ms=9, answers=answers
            ),
            day(2): DayFacts(attempts=2),
            day(3): DayFacts(explained=True),
        },
    )

    gaps = census_of(tmp_path, HOURLY).gaps

    assert [(gap.span, gap.missing_rows, gap.is_open) for gap in gaps] == [
        (TimeRange(evening.start_ms, morning.end_ms), 3, False),
        (TimeRange(START + 2 * DAY_MS, START + 3 * DAY_MS), 24, True),
        (TimeRange(START + 3 * DAY_MS, START + 4 * DAY_MS), 24, False),
    ]
    assert (gaps[0].attempts, gaps[0].asked_ms, gaps[0].reason) == (3, 9, "rest: has none")


def test_gaps_and_missing_rows_agree(tmp_path) -> None:
    """What the gaps count is what the states lack, on a listing day that stayed empty too."""
    listed = TimeRange(START + 32 * HOUR_MS, START + 2 * DAY_MS)
    ledger = {
        day(0): DayFacts(unlisted_rows=24),
        day(1): DayFacts(unlisted_rows=8, absent=(listed,)),
        day(2): WHOLE,
        day(3): DayFacts(rows=0, explained=True),
    }
    put(tmp_path, HOURLY, ledger)

    census = census_of(tmp_path, HOURLY)

    assert list(by_day(census).values()) == ["unlisted", "missing", "complete", "explained"]
    lacking = sum((r.expected - (r.facts.rows if r.facts else 0)) * r.days for r in census.runs)
    assert lacking == sum(gap.missing_rows for gap in census.gaps) == 16 + 24


def test_a_weekly_series_lacks_mondays_alone(tmp_path) -> None:
    """Days without a bar are complete, and the gap of two weeks is one stretch of two klines."""
    wish(tmp_path, WEEKLY, end=date(2024, 3, 18))

    census = census_of(tmp_path, WEEKLY)

    states = by_day(census)
    assert [one for one in states if states[one] == "missing"] == [
        date(2024, 3, 4),
        date(2024, 3, 11),
    ]
    assert len(states) == 17
    assert [(gap.span, gap.missing_rows) for gap in census.gaps] == [
        (TimeRange(ms(2024, 3, 4), ms(2024, 3, 18)), 2)
    ]


def test_a_run_is_split_where_the_archive_is_still_awaited(tmp_path) -> None:
    """Of equal days of the second source the old are complete, the new provisional."""
    facts = DayFacts(rows=24, sources=(("rest", 24),))
    put(tmp_path, HOURLY, {day(n): facts for n in range(20)})
    wish(tmp_path, HOURLY, end=day(20))

    census = census_of(tmp_path, HOURLY, now_ms=START + 20 * DAY_MS)

    states = by_day(census)
    assert [states[day(n)] for n in range(20)] == ["complete"] * 12 + ["provisional"] * 8
    assert len(census.runs) == 2


def test_a_series_no_longer_wanted_is_judged_by_its_own_rows(tmp_path) -> None:
    """Without a feed the source of most rows counts as its best."""
    facts = DayFacts(rows=24, sources=(("rest", 24),))
    put(tmp_path, HOURLY, {day(0): facts})

    assert by_day(census_of(tmp_path, HOURLY, now_ms=START + 2 * DAY_MS)) == {day(0): "complete"}


def test_foreign_files_are_passed_over(tmp_path) -> None:
    """Stray files and folders of other names belong to nobody's census."""
    put(tmp_path, HOURLY, {day(0): WHOLE})
    folder = part_path(tmp_path, HOURLY, "2024").parent
    for name in (".2024.parquet.1.tmp", "notes.txt", "2024.parquet.bak", "x.parquet"):
        (folder / name).write_bytes(b"")
    for name in ("symbol=btc", "symbol=", "else", "symbol=A'B"):
        (folder.parent / name).mkdir()
        (folder.parent / name / "2024.parquet").write_bytes(b"")

    census = take_census(tmp_path, NOW)

    assert [(one.series, one.files) for one in census] == [(HOURLY, 1)]


def test_damage_is_named(tmp_path) -> None:
    """A file that cannot be read is not passed over in silence."""
    put(tmp_path, HOURLY, {day(0): WHOLE})
    path = part_path(tmp_path, HOURLY, "2024")
    path.write_bytes(b"")

    with pytest.raises(LakeDamaged, match=r"symbol=BTCUSDT/2024\.parquet"):
        take_census(tmp_path, NOW)


def test_wishes_are_written_once_and_read_back(tmp_path) -> None:
    """Equal wishes touch nothing; a lake that was never asked wishes nothing."""
    assert read_wishes(tmp_path) == Wishes({})
    wishes = Wishes(
        {
            HOURLY: Wanted(FRIDAY, None, "vision"),
            Series("binance", Market.UM, "币安人生USDT", Interval.MONTH_1): Wanted(
                FRIDAY, day(3), "rest"
            ),
        },
        -250,
    )
    write_wishes(tmp_path, wishes)
    before = (tmp_path / FEEDS).stat()

    write_wishes(tmp_path, wishes)

    assert read_wishes(tmp_path) == wishes
    assert (tmp_path / FEEDS).stat().st_ino == before.st_ino


@pytest.mark.parametrize(
    "text", [b"", b"{}", b"[]", b'{"series":{"x":[1]},"clock_ahead_ms":0}', b"\xff"]
)
def test_damaged_wishes_are_named_with_the_remedy(tmp_path, text) -> None:
    """The copy of the configuration can simply be deleted."""
    (tmp_path / FEEDS).write_bytes(text)

    with pytest.raises(LakeDamaged, match="Delete it"):
        read_wishes(tmp_path)


def test_years_never_asked_for_are_told_at_once(tmp_path) -> None:
    """A fresh configuration of fifty series over eight years is one gap each, in no time."""
    wishes = {
        Series("binance", Market.SPOT, f"S{n}USDT", Interval.MINUTE_1): Wanted(
            date(2016, 6, 1), None, "vision"
        )
        for n in range(50)
    }
    write_wishes(tmp_path, Wishes(wishes))

    started = time.monotonic()
    census = take_census(tmp_path, NOW)

    assert time.monotonic() - started < 1.5  # day by day it was 3 seconds
    days = (date(2024, 6, 1) - date(2016, 6, 1)).days
    assert [[gap.missing_rows for gap in one.gaps] for one in census] == [[1440 * days]] * 50
