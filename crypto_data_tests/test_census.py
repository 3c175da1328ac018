"""How every series of a lake stands, told from ledgers and wishes alone."""

import tempfile
import time
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crypto_data.coverage import (
    DayFacts,
    DayState,
    SourceAnswer,
    absent_ranges,
    day_expected,
    day_state,
)
from crypto_data.errors import LakeDamaged
from crypto_data.intervals import DAY_MS, HOUR_MS, Interval, TimeRange, count_open_times
from crypto_data.lake.census import take_census
from crypto_data.lake.corrections import Correction
from crypto_data.lake.feeds import Wanted, Wishes, parse_wishes, read_wishes, write_wishes
from crypto_data.lake.layout import FEEDS, part_path
from crypto_data.lake.part import write_part
from crypto_data.partitions import ONE_DAY, closed_end, day_start_ms, periods_of
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


@dataclass
class Gap:
    span: TimeRange
    missing_rows: int
    is_open: bool
    attempts: int
    asked_ms: int
    reason: str


@dataclass
class One:
    """What a census says of one series."""

    runs: list
    gaps: list
    held: SimpleNamespace


def of_series(table, series) -> list:
    names = (series.exchange, str(series.market), series.symbol, str(series.interval))
    return [
        SimpleNamespace(**row)
        for row in table.to_pylist()
        if (row["exchange"], row["market"], row["symbol"], row["interval"]) == names
    ]


def epoch_ms(moment) -> int:
    return int(moment.timestamp() * 1000) if moment else 0


def census_of(root, series, now_ms=NOW) -> One:
    census = take_census(root, now_ms)
    [held] = of_series(census.held, series)
    gaps = [
        Gap(
            TimeRange(epoch_ms(gap.gap_start), epoch_ms(gap.gap_end)),
            gap.missing_rows,
            gap.state == "open",
            gap.attempts,
            epoch_ms(gap.last_attempt),
            gap.reason,
        )
        for gap in of_series(census.gaps, series)
    ]
    return One(of_series(census.runs, series), gaps, held)


def by_day(census) -> dict:
    return {
        run.first_day + timedelta(days=n): run.state for run in census.runs for n in range(run.days)
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
    assert (census.held.files, census.held.bytes, census.held.first_open) == (0, 0, None)


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
    lacking = sum((run.expected - run.present) * run.days for run in census.runs)
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


VISION, REST = (("vision", 24),), (("rest", 24),)


@pytest.mark.parametrize(
    ("sources", "state"),
    [
        pytest.param([REST], "complete", id="rest-alone"),
        pytest.param([REST, VISION, VISION], "provisional", id="more-of-the-archive"),
        pytest.param([VISION, REST, REST], "complete", id="more-of-rest"),
        pytest.param([VISION, REST], "provisional", id="as-much-and-archive-first"),
        pytest.param([REST, VISION], "complete", id="as-much-and-rest-first"),
        pytest.param([REST, (("vision", 23), ("rest", 1)), VISION], "provisional", id="mixed-days"),
    ],
)
def test_a_series_no_longer_wanted_is_judged_by_its_own_rows(tmp_path, sources, state) -> None:
    """Without a feed the source of most rows counts as its best, for each series its own."""
    ledger = {day(n): DayFacts(rows=24, sources=one) for n, one in enumerate(sources)}
    put(tmp_path, HOURLY, ledger)
    for symbol, held in (("AAA", VISION), ("ZZZ", REST)):
        other = Series("binance", Market.SPOT, symbol, Interval.HOUR_1)
        put(tmp_path, other, {day(n): DayFacts(rows=24, sources=held) for n in range(9)})

    states = by_day(census_of(tmp_path, HOURLY, now_ms=START + 3 * DAY_MS))

    assert states[day(sources.index(REST) if REST in sources else 0)] == state


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

    assert [(one["symbol"], one["files"]) for one in census.held.to_pylist()] == [("BTCUSDT", 1)]


@pytest.mark.parametrize("content", [b"", b"PAR1 this is none PAR1"], ids=["empty", "garbage"])
def test_damage_is_named_and_stops_nothing(tmp_path, content) -> None:
    """The days of a file that cannot be read count as never asked for; the others stand."""
    put(tmp_path, HOURLY, {day(0): WHOLE, date(2025, 1, 1): WHOLE})
    wish(tmp_path, HOURLY, end=day(2))
    path = part_path(tmp_path, HOURLY, "2024")
    path.write_bytes(content)

    census = take_census(tmp_path, NOW)

    [fault] = census.faults
    assert (fault.series, fault.path) == (HOURLY, str(path))
    assert str(fault).startswith(f"{path}: cannot be read (")
    assert str(fault).endswith("run: crypto-data repair")
    states = by_day(census_of(tmp_path, HOURLY))
    assert (states[day(0)], states[day(1)]) == ("missing", "missing")
    assert states[date(2025, 1, 1)] == "complete"
    assert census.held["files"].to_pylist() == [2]


def test_corrections_are_told_by_day(tmp_path) -> None:
    """Each replaced day is a row with what its file's footer says of it."""
    correction = Correction(
        day=day(1),
        at_ms=NOW,
        columns=("close", "volume"),
        rows_changed=3,
        rows_added=1,
        old_source="rest",
        new_source="vision",
        old_checksum="",
        new_checksum="ab",
        superseded="_superseded/x.parquet",
    )
    path = part_path(tmp_path, HOURLY, "2024")
    write_part(path, KLINES.empty_table(), {day(0): WHOLE, day(1): WHOLE, day(2): WHOLE})
    assert take_census(tmp_path, NOW).corrections.num_rows == 0
    ledger = {day(0): WHOLE, day(1): WHOLE, day(2): DayFacts(attempts=1)}
    write_part(path, KLINES.empty_table(), ledger, (correction,))

    [row] = take_census(tmp_path, NOW).corrections.to_pylist()

    assert row == {
        "exchange": "binance",
        "market": "spot",
        "symbol": "BTCUSDT",
        "interval": "1h",
        "day": day(1),
        "corrected_at": datetime(2024, 6, 1, tzinfo=UTC),
        "columns": ["close", "volume"],
        "rows_changed": 3,
        "rows_added": 1,
        "old_source": "rest",
        "new_source": "vision",
        "old_checksum": "",
        "new_checksum": "ab",
        "superseded": "_superseded/x.parquet",
    }


SHORT = DayFacts(attempts=1)


@pytest.mark.parametrize(
    ("series", "ledger", "settled", "due"),
    [
        pytest.param(HOURLY, {}, None, day(17), id="nothing"),
        pytest.param(HOURLY, {day(3): SHORT}, None, day(17), id="gaps-alone"),
        pytest.param(HOURLY, {day(3): WHOLE, day(4): SHORT}, day(4), day(17), id="a-day"),
        pytest.param(HOURLY, {day(16): WHOLE}, day(17), day(17), id="the-last-day"),
        pytest.param(HOURLY, {day(5): DayFacts(unlisted_rows=24)}, day(6), day(17), id="unlisted"),
        pytest.param(
            HOURLY, {day(5): DayFacts(explained=True)}, day(6), day(17), id="explained"
        ),
        pytest.param(WEEKLY, {}, None, date(2024, 3, 18), id="weekly-days-without-bars"),
        pytest.param(
            WEEKLY, {date(2024, 3, 4): DayFacts(rows=1)}, date(2024, 3, 11), date(2024, 3, 18),
            id="weekly-up-to-the-next-bar",
        ),
        pytest.param(
            WEEKLY, {date(2024, 3, 11): DayFacts(rows=1)}, date(2024, 3, 18), date(2024, 3, 18),
            id="weekly-the-last-bar",
        ),
    ],
)  # fmt: skip
def test_the_newest_settled_day_is_told(tmp_path, series, ledger, settled, due) -> None:
    """Days without a bar settle nothing by themselves, and never make a series look late."""
    wish(tmp_path, series)
    put(tmp_path, series, ledger)

    held = census_of(tmp_path, series, now_ms=ms(2024, 3, 18, 1)).held

    assert (held.settled_until, held.due_until) == (settled, due)


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
def test_damaged_wishes_are_told_and_taken_as_empty(tmp_path, text, caplog) -> None:
    """They are a copy of the configuration, which the next command that fetches replaces."""
    (tmp_path / FEEDS).write_bytes(text)

    assert read_wishes(tmp_path) == Wishes({})
    assert "_feeds.json: cannot be read" in caplog.text
    with pytest.raises(LakeDamaged, match="run: crypto-data repair"):
        parse_wishes(tmp_path / FEEDS)


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
    assert census.gaps["missing_rows"].to_pylist() == [1440 * days] * 50


SOURCES = st.sampled_from(
    [
        (),
        (("vision", 5),),
        (("vision", 3), ("rest", 2)),
        (("rest", 9),),
        (("vision", 3), ("ccxt:okx", 2)),
        (("ccxt:okx", 5),),
    ]
)


@st.composite
def entries(draw, interval, one):
    """Draw what the ledger may know of a day, sound or not."""
    start, step = day_start_ms(one), min(interval.length_ms, DAY_MS)
    due = max(1, DAY_MS // interval.length_ms)
    cut = draw(st.integers(1, due))
    absent = (TimeRange(start, start + cut * step),) if draw(st.booleans()) else ()
    return DayFacts(
        rows=draw(st.sampled_from([0, due - cut, due])),
        off_grid=draw(st.sampled_from([0, 0, 2])),
        unlisted_rows=draw(st.sampled_from([0, 0, cut, due])),
        sources=draw(SOURCES),
        absent=absent,
        explained=draw(st.booleans()),
        attempts=draw(st.integers(0, 3)),
        asked_ms=draw(st.integers(0, 3)),
        answers=draw(st.sampled_from([(), (SourceAnswer("rest", "nothing"),)])),
    )


@st.composite
def histories(draw):
    """Draw a series, what is known of some of its days, what is wished of it, and a clock."""
    interval = draw(st.sampled_from(["1h", "4h", "1d", "3d", "1w", "1mo"]).map(Interval))
    base = draw(st.dates(date(2023, 12, 20), date(2024, 3, 2)))
    numbers = draw(st.lists(st.integers(0, 45), unique=True, max_size=12))
    days = [base + n * ONE_DAY for n in sorted(numbers)]
    pool = draw(st.lists(entries(interval, base), min_size=1, max_size=2))
    ledger = {one: draw(st.one_of(st.sampled_from(pool), entries(interval, one))) for one in days}
    # Only an entry of its own day can hold ranges.
    ledger = {
        one: facts
        if all(gap.start_ms // DAY_MS == day_start_ms(one) // DAY_MS for gap in facts.absent)
        else DayFacts(attempts=1)
        for one, facts in ledger.items()
    }
    start = base + draw(st.integers(-3, 50)) * ONE_DAY
    end = draw(st.one_of(st.none(), st.integers(0, 40).map(lambda n: start + n * ONE_DAY)))
    best = draw(st.sampled_from(["vision", "rest", "ccxt:okx"]))
    wanted = draw(st.sampled_from([None, Wanted(start, end, best)]))
    now_ms = day_start_ms(base) + draw(st.integers(0, 60)) * DAY_MS + draw(st.integers(0, DAY_MS))
    return Series("binance", Market.UM, "ABC", interval), ledger, wanted, now_ms


def judged_day_by_day(series, ledger, wanted, now_ms):
    """Return states, figures and gaps by asking `coverage` about each day alone."""
    closed = closed_end(series.interval, now_ms)
    starts = [*([wanted.start] if wanted else []), *ledger]
    ends = [min(closed, wanted.end or closed)] if wanted else []
    ends += [one + ONE_DAY for one in ledger]
    first = min(starts, default=closed)
    counts = {}
    for facts in ledger.values():
        for source, rows in facts.sources:
            counts[source] = counts.get(source, 0) + rows
    best = wanted.best_source if wanted else max(counts, key=counts.get, default="")
    states, gaps = {}, []
    for n in range((max(ends, default=first) - first).days):
        one = first + n * ONE_DAY
        facts = ledger.get(one)
        is_wanted = wanted and wanted.start <= one < min(closed, wanted.end or closed)
        if facts is None and not is_wanted:
            continue
        state = day_state(facts, series.interval, one, best_source=best, now_ms=now_ms)
        present = facts.rows if facts else 0
        states[one] = (str(state), day_expected(facts, series.interval, one), present)
        if state.is_gap or state is DayState.EXPLAINED:
            reason = facts.reason if facts else "never asked for"
            facts = facts or DayFacts()
            for span in absent_ranges(ledger.get(one), series.interval, one):
                gap = Gap(
                    span,
                    count_open_times(series.interval, span),
                    state.is_gap,
                    facts.attempts,
                    facts.asked_ms,
                    reason,
                )
                if (
                    gaps
                    and gaps[-1].span.end_ms == span.start_ms
                    and (gaps[-1].is_open == gap.is_open)
                ):
                    last = gaps.pop()
                    gap = Gap(
                        TimeRange(last.span.start_ms, span.end_ms),
                        last.missing_rows + gap.missing_rows,
                        gap.is_open,
                        max(last.attempts, gap.attempts),
                        max(last.asked_ms, gap.asked_ms),
                        last.reason or gap.reason,
                    )
                gaps.append(gap)
    return states, gaps


@settings(max_examples=300, deadline=None)
@given(histories())
def test_the_tables_say_what_coverage_says_of_each_day(history) -> None:
    """Judging all days at once gives the states, figures and gaps that judging each alone does."""
    series, ledger, wanted, now_ms = history
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        write_wishes(root, Wishes({series: wanted} if wanted else {}))
        put(root, series, ledger)
        if not (ledger or wanted):
            assert take_census(root, now_ms).held.num_rows == 0
            return
        census = census_of(root, series, now_ms)

    found = {
        run.first_day + n * ONE_DAY: (run.state, run.expected, run.present)
        for run in census.runs
        for n in range(run.days)
    }
    states, gaps = judged_day_by_day(series, ledger, wanted, now_ms)

    assert list(found.items()) == list(states.items())
    assert census.gaps == gaps


def test_days_read_long_before_the_feed_make_no_gaps_between(tmp_path) -> None:
    """Days that nobody wants count only where they are known; those of the feed always do."""
    series = Series("binance", Market.SPOT, "ABC", Interval.HOUR_1)
    wanted = Wanted(date(2024, 1, 10), date(2024, 1, 12), "vision")
    write_wishes(tmp_path, Wishes({series: wanted}))
    put(tmp_path, series, {date(2010, 1, 5): DayFacts(unlisted_rows=24, attempts=1, asked_ms=1)})

    census = census_of(tmp_path, series, day_start_ms(date(2024, 2, 1)))

    assert [(run.first_day, run.days, run.state) for run in census.runs] == [
        (date(2010, 1, 5), 1, "unlisted"),
        (date(2024, 1, 10), 2, "missing"),
    ]
    assert sum(gap.missing_rows for gap in census.gaps) == 48
