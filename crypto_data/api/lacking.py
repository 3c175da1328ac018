"""What the lake lacks of a range, told from its ledger: days to fetch or make, and what is said.

Asks nobody and changes nothing.
"""

from collections.abc import Iterator, Sequence
from datetime import date

from crypto_data.api.asking import Wanted
from crypto_data.api.session import Session
from crypto_data.coverage import DayFacts, DayState, absent_ranges, day_state
from crypto_data.errors import LakeDamaged
from crypto_data.harvest import Aim
from crypto_data.intervals import TimeRange, count_open_times
from crypto_data.lake.ledger import Ledger
from crypto_data.making.days import Making
from crypto_data.partitions import (
    FIRST_DAY,
    ONE_DAY,
    closed_end,
    day_start_ms,
    days_touched,
    expected_count,
    group_days,
    utc,
)
from crypto_data.series import Series


def closed_span(wanted: Wanted, now_ms: int) -> TimeRange:
    """Return the part of the range on days that are over; may be empty."""
    end_ms = day_start_ms(closed_end(wanted.series.interval, now_ms))
    return wanted.span.intersect(TimeRange(0, end_ms))


def open_span(wanted: Wanted, now_ms: int) -> TimeRange:
    """Return the open times of closed klines on days that are not over; may be empty."""
    interval = wanted.series.interval
    start_ms = max(wanted.span.start_ms, day_start_ms(closed_end(interval, now_ms)))
    span = TimeRange(start_ms, max(start_ms, min(wanted.span.end_ms, interval.floor(now_ms))))
    return span if count_open_times(interval, span) else TimeRange(start_ms, start_ms)


def find_lacking(session: Session, wanted: Wanted, now_ms: int) -> dict[date, DayFacts | None]:
    """Return the days that klines of the range are lacking on, unexplained, with what is known.

    All days of a file whose ledger cannot be read are lacking.
    """
    span = closed_span(wanted, now_ms)
    days = days_touched([span])
    known = _known(session, wanted.series, days)
    return {
        day: known.get(day)
        for day, state in _states(wanted, days, known, now_ms)
        if state.is_gap and _lacks(wanted, known.get(day), day, span)
    }


def find_outdated(session: Session, wanted: Wanted, now_ms: int) -> list[date]:
    """Return the days of the range whose finer klines are other than when they were made of them.

    None where a series is not made of a finer one.
    """
    finer = wanted.feed.finer(wanted.series)
    if finer is None:
        return []
    days = days_touched([closed_span(wanted, now_ms)])
    return Making(wanted.series, finer, wanted.feed.sources[0]).find_unmade(
        days,
        _known(session, wanted.series, days),
        _known(session, finer, days),
        aim=Aim.MEND,
        now_ms=now_ms,
    )


def find_due(session: Session, wanted: Wanted, now_ms: int) -> list[date]:
    """Return the days of the range that are to be fetched or made, ascending."""
    lacking = find_lacking(session, wanted, now_ms)
    return sorted({*lacking, *find_outdated(session, wanted, now_ms)})


def _known(session: Session, series: Series, days: Sequence[date]) -> Ledger:
    """Return what is known of some days; nothing where a ledger cannot be read."""
    try:
        return session.ledgers.ledger(series, days)
    except LakeDamaged:
        return {}


def _states(
    wanted: Wanted, days: Sequence[date], known: Ledger, now_ms: int
) -> Iterator[tuple[date, DayState]]:
    interval, best = wanted.series.interval, wanted.feed.best_source(wanted.series)
    for day in days:
        yield day, day_state(known.get(day), interval, day, best_source=best, now_ms=now_ms)


def _lacks(wanted: Wanted, facts: DayFacts | None, day: date, span: TimeRange) -> bool:
    interval = wanted.series.interval
    return any(
        count_open_times(interval, gap.intersect(span))
        for gap in absent_ranges(facts, interval, day)
    )


def was_unlisted(session: Session, wanted: Wanted, now_ms: int) -> bool:
    """Return whether the symbol did not trade on any closed day of the range, as the lake knows."""
    if wanted.span.end_ms <= day_start_ms(FIRST_DAY):
        return True
    days = days_touched([closed_span(wanted, now_ms)])
    known = session.ledgers.ledger(wanted.series, days)
    states = (
        state
        for day, state in _states(wanted, days, known, now_ms)
        if expected_count(wanted.series.interval, day)
    )
    return {*states} == {DayState.UNLISTED}


def told_unlisted(wanted: Wanted) -> str:
    """Return the note about a range in which the symbol did not trade."""
    span = wanted.span
    when = f"from {utc(span.start_ms)} to {utc(span.end_ms)}" if span else f"before {FIRST_DAY}"
    return f"{wanted.series}: not listed {when}, so there are no klines"


def told_days(days: Sequence[date]) -> str:
    """Return days as a person reads them: `3 days: 2024-03-01 to 2024-03-02, 2024-03-07`."""
    runs = [(first, end - ONE_DAY) for first, end in group_days(days)]
    parts = [str(first) if first == last else f"{first} to {last}" for first, last in runs[:5]]
    more = f", and {len(runs) - 5} more stretches" if len(runs) > 5 else ""  # noqa: PLR2004
    return f"{len(days)} day{'s' if len(days) != 1 else ''}: {', '.join(parts)}{more}"
