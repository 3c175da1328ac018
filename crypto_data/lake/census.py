"""The state of every day and every stretch of absent klines, told from the ledger alone.

Reads footers and what the lake is asked to hold, never rows. Turning this into views belongs to
`lake.inventory`.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import groupby
from pathlib import Path

from crypto_data.coverage import DayFacts, DayState, absent_ranges, day_expected, day_state
from crypto_data.intervals import TimeRange, count_open_times
from crypto_data.lake.feeds import Wanted, Wishes, read_wishes
from crypto_data.lake.layout import find_parts
from crypto_data.lake.ledger import DayRun
from crypto_data.lake.part import read_footer
from crypto_data.partitions import ONE_DAY, archive_final_ms, closed_end, day_of, span_of_days
from crypto_data.series import Series


@dataclass(frozen=True, slots=True)
class StateRun:
    """Neighbouring days of one series in one state, with equal facts.

    `facts` is None where the days were never asked for; `expected` is that of each single day.
    """

    first: date
    days: int
    state: DayState
    expected: int
    facts: DayFacts | None

    @property
    def end(self) -> date:
        """The day after the last."""
        return self.first + timedelta(days=self.days)


@dataclass(frozen=True, slots=True)
class Gap:
    """One unbroken stretch of absent klines, all open or all explained."""

    span: TimeRange
    missing_rows: int
    is_open: bool
    attempts: int
    asked_ms: int
    reason: str


@dataclass(frozen=True, slots=True)
class SeriesCensus:
    """All that the ledger says of one series."""

    series: Series
    runs: tuple[StateRun, ...]
    gaps: tuple[Gap, ...]
    files: int
    bytes: int
    first_open_ms: int | None
    last_open_ms: int | None


def take_census(root: Path, local_ms: int, wishes: Wishes | None = None) -> list[SeriesCensus]:
    """Return how every series of a lake stands, those it was asked to hold and lacks included.

    Args:
        root: The lake.
        local_ms: This machine's clock, UTC epoch milliseconds; the exchange's clock as last
            measured is taken from the wishes.
        wishes: What the lake is asked to hold; None for what stands in the lake.

    Raises:
        LakeDamaged: a file cannot be read; the message names it.
    """
    wishes = wishes or read_wishes(root)
    now_ms = local_ms + wishes.clock_ahead_ms
    parts = groupby(find_parts(root), key=lambda part: part.series)
    held = {series: [part.path for part in group] for series, group in parts}
    return [
        _series_census(series, held.get(series, []), wishes, now_ms)
        for series in sorted({*held, *wishes.series})
    ]


def _series_census(series: Series, paths: list[Path], wishes: Wishes, now_ms: int) -> SeriesCensus:
    footers = [read_footer(path) for path in paths]
    known = [run for footer in footers for run in footer.runs]
    runs = tuple(_state_runs(series, known, wishes.series.get(series), now_ms))
    filled = [footer for footer in footers if footer.rows]
    return SeriesCensus(
        series,
        runs,
        tuple(_find_gaps(series, runs)),
        files=len(paths),
        bytes=sum(path.stat().st_size for path in paths),
        first_open_ms=filled[0].first_open_ms if filled else None,
        last_open_ms=filled[-1].last_open_ms if filled else None,
    )


def _state_runs(
    series: Series, known: list[DayRun], wanted: Wanted | None, now_ms: int
) -> Iterator[StateRun]:
    """Yield runs that tile the days from the feed's start, or the first known, to the last."""
    first, end = _extent(series, known, wanted, now_ms)
    best = wanted.best_source if wanted else _best_known(known)
    for start, days, facts in _tile(known, first, end):
        for run_start, run_days in _alike(series, start, days, now_ms):
            yield StateRun(
                run_start,
                run_days,
                day_state(facts, series.interval, run_start, best_source=best, now_ms=now_ms),
                day_expected(facts, series.interval, run_start),
                facts,
            )


def _extent(
    series: Series, known: list[DayRun], wanted: Wanted | None, now_ms: int
) -> tuple[date, date]:
    closed = closed_end(series.interval, now_ms)
    starts = [wanted.start] if wanted else []
    ends = [min(closed, wanted.end or closed)] if wanted else []
    first = min([*starts, *(run.first for run in known)], default=closed)
    return first, max([*ends, *(run.end for run in known)], default=first)


def _best_known(known: list[DayRun]) -> str:
    """A series nobody asks for any more is judged by the source most of it came from."""
    counts: dict[str, int] = {}
    for run in known:
        for source, rows in run.facts.sources:
            counts[source] = counts.get(source, 0) + rows * run.days
    return max(counts, key=lambda source: counts[source], default="")


def _tile(
    known: list[DayRun], first: date, end: date
) -> Iterator[tuple[date, int, DayFacts | None]]:
    at = first
    for run in known:
        if run.first > at:
            yield at, (run.first - at).days, None
        yield run.first, run.days, run.facts
        at = run.end
    if at < end:
        yield at, (end - at).days, None


def _alike(series: Series, first: date, days: int, now_ms: int) -> Iterator[tuple[date, int]]:
    """Split a run where days of equal facts may differ in what is expected or still awaited."""
    if not series.interval.is_intraday:
        yield from ((first + number * ONE_DAY, 1) for number in range(days))
        return
    # The archive is still awaited from this day on.
    awaited = day_of(now_ms - archive_final_ms(series.interval, day_of(0))) + ONE_DAY
    settled = max(0, min(days, (awaited - first).days))
    if settled:
        yield first, settled
    if settled < days:
        yield first + settled * ONE_DAY, days - settled


def _find_gaps(series: Series, runs: Iterable[StateRun]) -> Iterator[Gap]:
    """Yield the absent stretches ascending; neighbours of one kind are one gap across days."""
    daily = _daily_gaps(series, runs)
    pending = next(daily, None)
    if pending is None:
        return
    for gap in daily:
        joined = _join(pending, gap)
        if joined is None:
            yield pending
        pending = joined or gap
    yield pending


def _daily_gaps(series: Series, runs: Iterable[StateRun]) -> Iterator[Gap]:
    for run in runs:
        if not (run.state.is_gap or run.state is DayState.EXPLAINED):
            continue
        facts = run.facts or DayFacts()
        for span in _absent_spans(series, run):
            yield Gap(
                span,
                count_open_times(series.interval, span),
                run.state.is_gap,
                facts.attempts,
                facts.asked_ms,
                facts.reason or ("never asked for" if run.facts is None else ""),
            )


def _absent_spans(series: Series, run: StateRun) -> Iterator[TimeRange]:
    if series.interval.is_intraday and not (run.facts and run.facts.absent):
        # Whole days: years that were never asked for are one stretch, not thousands.
        yield span_of_days(run.first, run.end)
        return
    for number in range(run.days):
        yield from absent_ranges(run.facts, series.interval, run.first + number * ONE_DAY)


def _join(one: Gap, next_one: Gap) -> Gap | None:
    """Return both as one gap, or None when they do not touch or are of different kinds."""
    if one.span.end_ms != next_one.span.start_ms or one.is_open != next_one.is_open:
        return None
    return Gap(
        TimeRange(one.span.start_ms, next_one.span.end_ms),
        one.missing_rows + next_one.missing_rows,
        one.is_open,
        max(one.attempts, next_one.attempts),
        max(one.asked_ms, next_one.asked_ms),
        one.reason or next_one.reason,
    )
