"""The state of a day, and what it lacks."""

from datetime import UTC, date, datetime
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crypto_data.coverage import (
    DayFacts,
    DayState,
    SourceAnswer,
    absent_ranges,
    awaits_better,
    day_expected,
    day_state,
    find_gaps,
    find_gaps_within,
    split_by_life,
    wanted_ranges,
    without_pauses,
)
from crypto_data.intervals import (
    DAY_MS,
    HOUR_MS,
    MINUTE_MS,
    Interval,
    TimeRange,
    count_open_times,
    open_times,
)
from crypto_data.partitions import day_range, day_start_ms

DAY = date(2024, 3, 4)  # a Monday
START = day_start_ms(DAY)
HOURLY = Interval.HOUR_1
ARCHIVE_AWAITED = START + 8 * DAY_MS
ARCHIVE_FINAL = START + 9 * DAY_MS


def vision(rows=24, **more) -> DayFacts:
    return DayFacts(rows=rows, sources=(("vision", rows),), **more)


def rest(rows=24, **more) -> DayFacts:
    return DayFacts(rows=rows, sources=(("rest", rows),), **more)


@pytest.mark.parametrize(
    ("facts", "state"),
    [
        pytest.param(None, "missing", id="never-asked"),
        pytest.param(DayFacts(), "missing", id="asked-nothing-came"),
        pytest.param(DayFacts(explained=True), "explained", id="asked-all-have-none"),
        pytest.param(DayFacts(unlisted_rows=24), "unlisted", id="outside-its-life"),
        pytest.param(DayFacts(unlisted_rows=24, explained=True), "unlisted", id="unlisted-first"),
        pytest.param(DayFacts(unlisted_rows=8), "missing", id="listing-day-empty"),
        pytest.param(vision(16, unlisted_rows=8), "complete", id="listing-day-whole"),
        pytest.param(vision(15, unlisted_rows=8), "partial", id="listing-day-hole"),
        pytest.param(vision(), "complete", id="whole"),
        pytest.param(vision(23), "partial", id="one-lacks"),
        pytest.param(vision(23, explained=True), "explained", id="one-lacks-explained"),
        pytest.param(vision(24, doubtful=True), "complete", id="whole-though-doubtful"),
        pytest.param(rest(), "provisional", id="whole-from-the-second"),
        pytest.param(rest(23), "partial", id="second-and-short"),
        pytest.param(rest(23, explained=True), "explained", id="second-short-explained"),
        pytest.param(
            DayFacts(rows=24, sources=(("rest", 1), ("vision", 23))), "provisional", id="mixed"
        ),
    ],
)
def test_each_day_is_in_one_of_six_states(facts, state) -> None:
    """The state follows from rows, life, explanation and source, in this order."""
    found = day_state(facts, HOURLY, DAY, best_source="vision", now_ms=ARCHIVE_AWAITED)

    assert found == state
    assert found.is_gap == (state in ("partial", "missing"))


@pytest.mark.parametrize(
    ("best", "now_ms", "state"),
    [
        pytest.param("vision", ARCHIVE_FINAL - 1, "provisional", id="archive-may-come"),
        pytest.param("vision", ARCHIVE_FINAL, "complete", id="archive-given-up"),
        pytest.param("rest", ARCHIVE_AWAITED, "complete", id="rest-is-best"),
        pytest.param("ccxt:kraken", ARCHIVE_AWAITED, "complete", id="best-is-no-archive"),
    ],
)
def test_a_day_is_provisional_only_while_the_archive_may_come(best, now_ms, state) -> None:
    """A second source's day is provisional until 7 days after the archive was due."""
    assert day_state(rest(), HOURLY, DAY, best_source=best, now_ms=now_ms) == state


OKX = ("ccxt:okx", 1)


@pytest.mark.parametrize(
    ("best", "facts", "state"),
    [
        pytest.param(
            "vision", DayFacts(rows=24, sources=(("vision", 23), OKX)), "provisional", id="one-row"
        ),
        pytest.param("rest", DayFacts(rows=24, sources=(OKX,)), "provisional", id="behind-rest"),
        pytest.param(
            "vision", DayFacts(rows=24, sources=(OKX,), explained=True), "provisional", id="settled"
        ),
        pytest.param("vision", DayFacts(rows=23, sources=(OKX,)), "partial", id="short"),
        pytest.param(
            "vision", DayFacts(rows=23, sources=(OKX,), explained=True), "explained", id="explained"
        ),
        pytest.param("ccxt:okx", DayFacts(rows=24, sources=(OKX,)), "complete", id="its-own-feed"),
    ],
)
def test_a_day_with_stand_ins_stays_provisional(best, facts, state) -> None:
    """However old it is, until better sources have replaced them all."""
    long_after = ARCHIVE_FINAL + 1000 * DAY_MS

    assert day_state(facts, HOURLY, DAY, best_source=best, now_ms=long_after) == state
    awaited = state in ("provisional", "partial") and not facts.explained
    assert awaits_better(facts, best) == awaited


@pytest.mark.parametrize("facts", [None, DayFacts(), DayFacts(attempts=3)])
def test_a_day_on_which_no_bar_opens_is_complete(facts) -> None:
    """A Tuesday of a weekly series lacks nothing and is never asked for."""
    tuesday = date(2024, 3, 5)
    known = {"best_source": "vision", "now_ms": ARCHIVE_AWAITED}

    assert day_state(facts, Interval.WEEK_1, tuesday, **known) is DayState.COMPLETE
    assert day_state(None, Interval.WEEK_1, DAY, **known) is DayState.MISSING
    assert wanted_ranges(facts, Interval.WEEK_1, tuesday) == []
    assert absent_ranges(facts, Interval.WEEK_1, tuesday) == []


HOLE = TimeRange(START + 2 * HOUR_MS, START + 4 * HOUR_MS)


@pytest.mark.parametrize(
    ("facts", "wanted", "absent"),
    [
        pytest.param(None, [day_range(DAY)], [day_range(DAY)], id="never-asked"),
        pytest.param(DayFacts(), [day_range(DAY)], [day_range(DAY)], id="nothing-came"),
        pytest.param(vision(), [], [], id="whole"),
        pytest.param(vision(22, absent=(HOLE,)), [HOLE], [HOLE], id="hole"),
        pytest.param(
            vision(22, absent=(HOLE,), doubtful=True), [day_range(DAY)], [HOLE], id="doubtful"
        ),
        pytest.param(DayFacts(unlisted_rows=24), [], [], id="unlisted"),
        pytest.param(
            DayFacts(unlisted_rows=22, absent=(HOLE,)), [HOLE], [HOLE], id="listing-day-empty"
        ),
    ],
)
def test_a_day_wants_what_it_lacks(facts, wanted, absent) -> None:
    """Known holes are asked for as they are, an empty or doubtful day as a whole."""
    assert wanted_ranges(facts, HOURLY, DAY) == wanted
    assert absent_ranges(facts, HOURLY, DAY) == absent


def test_a_day_expects_what_its_symbol_lived() -> None:
    """Klines before the listing are not expected."""
    assert day_expected(None, HOURLY, DAY) == 24
    assert day_expected(DayFacts(unlisted_rows=8), HOURLY, DAY) == 16


@pytest.mark.parametrize("kind", [list, set, tuple, iter, np.array])
def test_open_times_come_in_any_order_and_container(kind) -> None:
    """Times outside the range and off the grid are ignored."""
    present = [240_000, 0, 120_001, -60_000, 180_000, 60_000 * 100]

    gaps = find_gaps(kind(present), TimeRange(0, 5 * MINUTE_MS), Interval.MINUTE_1)

    assert gaps == [TimeRange(MINUTE_MS, 3 * MINUTE_MS)]


@pytest.mark.parametrize("interval", ["1h", "3d", "1w", "1mo"])
def test_gaps_within_a_range_end_with_it(interval) -> None:
    """Also where the last absent bar reaches further; the bars that open inside are the same."""
    span = TimeRange(0, 40 * DAY_MS + HOUR_MS)
    interval = Interval(interval)

    [whole] = find_gaps((), span, interval)
    [within] = find_gaps_within((), span, interval)

    assert within == TimeRange(whole.start_ms, min(whole.end_ms, span.end_ms))
    assert count_open_times(interval, within) == count_open_times(interval, whole)


@given(
    st.sampled_from(list(Interval)),
    st.integers(0, 1_900_000_000_000),
    st.integers(0, 60),
    st.data(),
)
def test_gaps_and_present_bars_tile_the_range(interval, start_ms, length, data) -> None:
    """Every due open time is present or in one gap, never both; gaps do not touch."""
    span = TimeRange(start_ms, start_ms + length * interval.length_ms)
    due = list(open_times(interval, span))
    present = data.draw(st.lists(st.sampled_from(due), unique=True)) if due else []

    gaps = find_gaps(present, span, interval)

    absent = [open_ms for gap in gaps for open_ms in open_times(interval, gap)]
    assert sorted(absent + present) == due
    assert all(a.end_ms < b.start_ms for a, b in pairwise(gaps))


@pytest.mark.parametrize(
    ("lives", "due", "outside"),
    [
        pytest.param(None, [HOLE], 0, id="nobody-knows"),
        pytest.param((), [], 2, id="never-lived"),
        pytest.param((TimeRange(0, START + 99 * DAY_MS),), [HOLE], 0, id="alive"),
        pytest.param(
            (TimeRange(START + 3 * HOUR_MS, START + DAY_MS),),
            [TimeRange(START + 3 * HOUR_MS, HOLE.end_ms)],
            1,
            id="listed-inside",
        ),
        pytest.param(
            (TimeRange(0, START + 3 * HOUR_MS), TimeRange(HOLE.end_ms, START + DAY_MS)),
            [TimeRange(HOLE.start_ms, START + 3 * HOUR_MS)],
            1,
            id="between-two-lives",
        ),
    ],
)
def test_absent_klines_are_due_only_while_the_symbol_lived(lives, due, outside) -> None:
    """What lies outside every life is counted, not lost."""
    assert split_by_life([HOLE], lives, HOURLY) == (due, outside)


@given(st.lists(st.integers(0, 48), max_size=4), st.lists(st.integers(0, 48), max_size=4))
def test_due_and_unlisted_klines_add_up(absent, lives) -> None:
    """No absent kline is counted twice or not at all, however lives and gaps overlap."""
    gaps = [TimeRange(h * HOUR_MS, (h + 1) * HOUR_MS) for h in sorted(set(absent))]
    edges = sorted(set(lives))
    spans = [
        TimeRange(a * HOUR_MS, b * HOUR_MS) for a, b in zip(edges[::2], edges[1::2], strict=False)
    ]

    due, outside = split_by_life(gaps, spans, HOURLY)

    assert sum(count_open_times(HOURLY, gap) for gap in due) + outside == len(gaps)


def test_a_reason_is_each_sources_own_words() -> None:
    """Served answers without a remark stay silent; the rest say detail, else outcome."""
    facts = DayFacts(
        answers=(
            SourceAnswer("vision", "absent", "404"),
            SourceAnswer("rest", "down"),
            SourceAnswer("a", "served"),
            SourceAnswer("b", "served", "cut short"),
        )
    )

    assert facts.reason == "vision: 404; rest: down; a: has no more; b: cut short"


def test_the_six_states_are_spelled_as_in_the_contract() -> None:
    """State names are what SQL and checks show."""
    assert [state.value for state in DayState] == [
        "complete",
        "partial",
        "missing",
        "explained",
        "unlisted",
        "provisional",
    ]
    assert datetime.fromtimestamp(START / 1000, UTC).weekday() == 0


HOUR = 3_600_000
SECOND_DAY, THIRD_DAY = date(1970, 1, 2), date(1970, 1, 3)


@pytest.mark.parametrize(
    ("idle", "present", "expected"),
    [
        pytest.param([], [0], [(0, 200 * HOUR)], id="no-pause"),
        pytest.param(
            [SECOND_DAY], [], [(0, 24 * HOUR), (48 * HOUR, 200 * HOUR)], id="neighbours-unknown"
        ),
        pytest.param(
            [SECOND_DAY, THIRD_DAY],
            [5 * HOUR, 80 * HOUR],
            [(0, 6 * HOUR), (80 * HOUR, 200 * HOUR)],
            id="from-the-last-kline-to-the-next",
        ),
        pytest.param(
            [THIRD_DAY],
            [0, 100 * HOUR],
            [(0, 48 * HOUR), (72 * HOUR, 200 * HOUR)],
            id="klines-further-off-do-not-count",
        ),
    ],
)
def test_a_pause_cuts_a_life_in_two(idle, present, expected) -> None:
    """Idle days and what is absent beside them lie outside the symbol's lives."""
    lives = without_pauses([TimeRange(0, 200 * HOUR)], idle, present, Interval.HOUR_1)

    assert [(life.start_ms, life.end_ms) for life in lives] == expected
