"""What is known of a day, which of the six states that makes it, and what it lacks.

Pure functions of open times and records. Asking sources belongs to `sources.failover`, storing
records to `lake.ledger`.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from typing import Any

import numpy as np

from crypto_data.exchanges import is_stand_in
from crypto_data.intervals import (
    DAY_MS,
    Interval,
    TimeRange,
    count_open_times,
    merge_ranges,
    open_times,
)
from crypto_data.partitions import (
    archive_final_ms,
    day_range,
    expected_count,
    group_days,
    span_of_days,
)

# Outcomes that a source gives no words of its own.
_WORDS = {"served": "has no more", "nothing": "has none"}

SERVED = "served"  # the outcome of a source that handed over all it has
ARCHIVE = "vision"  # the only source that may publish a day later than it closed


class DayState(StrEnum):
    """The one state every day of every series is in."""

    COMPLETE = "complete"
    PARTIAL = "partial"
    MISSING = "missing"
    EXPLAINED = "explained"
    UNLISTED = "unlisted"
    PROVISIONAL = "provisional"

    @property
    def is_gap(self) -> bool:
        """Whether the day is to be repaired."""
        return self in (DayState.PARTIAL, DayState.MISSING)


@dataclass(frozen=True, slots=True)
class SourceAnswer:
    """What one source said of a day when it was last asked; `detail` is its own words."""

    source: str
    outcome: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class DayFacts:
    """What the ledger knows of one day besides its date. Days with equal facts share an entry."""

    rows: int = 0  # klines present on the grid
    off_grid: int = 0  # klines present beside the grid (2017-12 to 2018-02)
    unlisted_rows: int = 0  # klines of the grid that lie outside the symbol's life
    sources: tuple[tuple[str, int], ...] = ()  # source -> klines from it
    absent: tuple[TimeRange, ...] = ()  # klines due and not present; only where some are present
    # Every source that could know was asked and had none of `absent`, nor of what others stand for.
    explained: bool = False
    doubtful: bool = False  # rows of an archive that a better answer should replace as a whole
    answers: tuple[SourceAnswer, ...] = ()
    set_aside: tuple[tuple[str, int], ...] = ()  # rule -> rows put into quarantine
    checksum: str = ""  # sha256 of the archive file the rows came from
    etag: str = ""  # its ETag, which the archive's listing tells too
    address: str = ""
    attempts: int = 0  # how often the day was asked for
    asked_ms: int = 0
    ingested_ms: int = 0  # when rows last changed; 0 where none ever came

    @property
    def reason(self) -> str:
        """Return why the day is not all from its best source, in the sources' own words."""
        short = bool(self.absent) or not self.rows
        said = [
            f"{answer.source}: {answer.detail or _WORDS.get(answer.outcome, answer.outcome)}"
            for answer in self.answers
            if short or answer.outcome != SERVED or answer.detail
        ]
        if short:
            said += [f"set aside: {count} rows by {rule}" for rule, count in self.set_aside]
        return "; ".join(said)


def day_expected(facts: DayFacts | None, interval: Interval, day: date) -> int:
    """Return how many klines the day should have within the symbol's life."""
    due = expected_count(interval, day)
    return due - facts.unlisted_rows if facts else due


def day_state(
    facts: DayFacts | None, interval: Interval, day: date, *, best_source: str, now_ms: int
) -> DayState:
    """Return the state of a closed day.

    Args:
        facts: What the ledger knows, None when the day was never asked for.
        interval: The bar length.
        day: The UTC day; every bar that opens on it is closed.
        best_source: The first source of the feed's chain.
        now_ms: The exchange's clock, UTC epoch milliseconds.
    """
    due = expected_count(interval, day)
    if facts is None:
        return DayState.MISSING if due else DayState.COMPLETE
    expected = due - facts.unlisted_rows
    if due and expected <= 0:
        return DayState.UNLISTED
    if facts.rows >= expected:
        if count_stand_ins(facts, best_source):
            return DayState.PROVISIONAL
        waiting = best_source == ARCHIVE and now_ms < archive_final_ms(interval, day)
        foreign = any(source != best_source for source, _ in facts.sources)
        return DayState.PROVISIONAL if waiting and foreign else DayState.COMPLETE
    if facts.explained:
        return DayState.EXPLAINED
    return DayState.PARTIAL if facts.rows else DayState.MISSING


def count_stand_ins(facts: DayFacts, best_source: str) -> int:
    """Return how many klines of a day only stand in for those of a better source."""
    return sum(count for source, count in facts.sources if is_stand_in(source, best_source))


def awaits_better(facts: DayFacts | None, best_source: str) -> bool:
    """Return whether better sources may still have the klines that others stand in for.

    Not where each of them has said for good that it has none: then they stay as they are.
    """
    return facts is not None and not facts.explained and bool(count_stand_ins(facts, best_source))


def find_gaps(
    present_ms: Iterable[int], expected: TimeRange, interval: Interval
) -> list[TimeRange]:
    """Return the missing stretches of a series, ascending and disjoint.

    Args:
        present_ms: Open times present, UTC epoch milliseconds, any order. Times outside `expected`
            and times off the interval grid are ignored.
        expected: The half-open range the series should cover.
        interval: The bar length, which fixes the grid.

    Returns:
        One range per run of missing bars, from the first missing open time to the open time after
        the last; `[]` when coverage is complete.

    Example:
        >>> find_gaps([0, 180_000], TimeRange(0, 240_000), Interval.MINUTE_1)
        [TimeRange(start_ms=60000, end_ms=180000)]
    """
    if interval.is_month:
        return _month_gaps(set(present_ms), expected, interval)
    step = interval.length_ms
    first_ms = interval.ceil(expected.start_ms)
    count = count_open_times(interval, expected)
    offsets = _as_array(present_ms) - first_ms
    offsets = offsets[(offsets >= 0) & (offsets < count * step) & (offsets % step == 0)]
    lacking = np.ones(count + 2, dtype=np.int8)
    lacking[0] = lacking[-1] = 0
    lacking[1 + offsets // step] = 0
    edges = np.flatnonzero(np.diff(lacking))
    return [
        TimeRange(first_ms + int(start) * step, first_ms + int(end) * step)
        for start, end in zip(edges[::2], edges[1::2], strict=True)
    ]


def find_gaps_within(present_ms: Any, span: TimeRange, interval: Interval) -> list[TimeRange]:
    """Return the missing stretches of a series, cut at the end of `span`.

    A bar of `3d`, `1w` or `1mo` that opens inside reaches over days that nobody asked for.
    """
    gaps = find_gaps(present_ms, span, interval)
    return [part for gap in gaps if (part := gap.intersect(span))]


def _as_array(times_ms: Iterable[int]) -> Any:
    if isinstance(times_ms, np.ndarray):
        return times_ms
    return np.fromiter(times_ms, dtype=np.int64)


def _month_gaps(present: set[int], expected: TimeRange, interval: Interval) -> list[TimeRange]:
    lacking = [time for time in open_times(interval, expected) if time not in present]
    return merge_ranges([TimeRange(time, interval.next_open(time)) for time in lacking])


def wanted_ranges(facts: DayFacts | None, interval: Interval, day: date) -> list[TimeRange]:
    """Return the open times of a day that are still to be asked for; `[]` when none are."""
    if not expected_count(interval, day):
        return []
    if facts is None or facts.doubtful:
        return [day_range(day)]
    if facts.absent:
        return list(facts.absent)
    return [day_range(day)] if facts.rows < day_expected(facts, interval, day) else []


def absent_ranges(facts: DayFacts | None, interval: Interval, day: date) -> list[TimeRange]:
    """Return the klines of a day that are due and not present, as ranges of open times."""
    if facts is not None and facts.absent:
        return list(facts.absent)
    present = facts is not None and facts.rows >= day_expected(facts, interval, day)
    return [] if present else find_gaps((), day_range(day), interval)


def split_by_life(
    absent: Sequence[TimeRange], lives: Sequence[TimeRange] | None, interval: Interval
) -> tuple[list[TimeRange], int]:
    """Return the absent ranges inside a symbol's lives, and how many klines lie outside them.

    `lives` is None when nobody knows; then every absent kline counts as due.
    """
    if lives is None:
        return list(absent), 0
    due = [part for gap in absent for life in lives if (part := gap.intersect(life))]
    outside = _count(absent, interval) - _count(due, interval)
    return due, outside


def without_pauses(
    lives: Sequence[TimeRange], idle_days: Iterable[date], present_ms: Any, interval: Interval
) -> tuple[TimeRange, ...]:
    """Return the lives without the stretches of days on which the symbol did not trade.

    Args:
        lives: When the symbol traded, as far as first and last kline tell.
        idle_days: Whole days of which nobody has a kline, nor the archive a file.
        present_ms: Open times at hand, ascending: a pause begins and ends with the kline beside
            it, where that lies on the day before or after.
        interval: The bar length.
    """
    opens = np.asarray(present_ms, dtype=np.int64)
    parts = list(lives)
    for first, end in group_days(idle_days):
        pause = span_of_days(first, end)
        before = opens[(opens < pause.start_ms) & (opens >= pause.start_ms - DAY_MS)]
        after = opens[(opens >= pause.end_ms) & (opens < pause.end_ms + DAY_MS)]
        ends_ms = interval.next_open(interval.floor(int(before[-1]))) if len(before) else None
        pause = TimeRange(
            min(pause.start_ms, ends_ms) if ends_ms is not None else pause.start_ms,
            int(after[0]) if len(after) else pause.end_ms,
        )
        parts = [rest for part in parts for rest in part.without(pause)]
    return tuple(parts)


def _count(ranges: Iterable[TimeRange], interval: Interval) -> int:
    return sum(count_open_times(interval, span) for span in ranges)
