"""Which days are due to be asked for again without anyone saying so, in few runs, newest first.

Reads a census and the configuration, asks nobody. Launching the runs belongs to
`orchestration.sensors`; what one run asks for is decided again, day by day, by `ingest`.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from types import MappingProxyType

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from crypto_data.catalog.configuration import Catalog, Feed
from crypto_data.coverage import ARCHIVE, DayState
from crypto_data.exchanges import CCXT
from crypto_data.intervals import HOUR_MS, Period
from crypto_data.lake.census_tables import SERIES_NAMES
from crypto_data.partitions import EPOCH, ONE_DAY, closed_end, day_of
from crypto_data.patience import asked_again_ms
from crypto_data.series import Series

# Gaps this close together are asked for in one run: looking at a settled day costs nothing.
NEAR_DAYS = 7
# Days of all series together that one run covers: minutes of work, and a month of 400 symbols.
SERIES_DAYS_A_RUN = 12_000
# However many series: each run over a piece of a month would fetch all its archive files again.
LEAST_DAYS_A_RUN = 31
RUNS_A_TICK = 4
# Of the rolling check: files of the lake whose archive files are listed in one run.
FILES_A_ROLL = 200
DAYS_A_YEAR = 365
# A day that closed a shorter while ago is the schedule's to ask for, not a gap.
SETTLE_MS = 26 * HOUR_MS

_NO_TURNS: Mapping[str, int] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Errand:
    """One run over the days `[first, end)` of some series of one feed."""

    feed: Feed
    first: date
    end: date
    series: tuple[Series, ...]

    def touches(self, series: Series, first: date, end: date) -> bool:
        """Return whether the errand covers some of a series' days."""
        return series in self.series and self.first < end and first < self.end


@dataclass(frozen=True, slots=True)
class Stretch:
    """Days `[first, end)` of one series."""

    series: Series
    first: date
    end: date


def due_gaps(
    runs: pa.Table, catalog: Catalog, now_ms: int, turns_ms: Mapping[str, int] = _NO_TURNS
) -> list[Stretch]:
    """Return the days of configured series whose wait since the last attempt is over.

    Those are gaps, and days on which another exchange stands in for what better sources have not
    said for good that they lack. Days that nobody has asked for yet are left to the feed's schedule
    for a day after they closed.

    Args:
        runs: A census's runs of days.
        catalog: The configuration.
        now_ms: The exchange's clock, UTC epoch milliseconds.
        turns_ms: By feed name, when its schedule last had its turn, UTC epoch milliseconds: what
            it could have asked for then is no longer left to it.
    """
    gaps = pa.concat_tables(
        [_in_state(runs, (DayState.PARTIAL, DayState.MISSING)), _stood_in(runs)]
    )
    attempts = gaps["attempts"].to_numpy()
    asked_ms = pc.fill_null(gaps["last_attempt"].cast(pa.int64()), 0).to_numpy() // 1000
    waits = {int(count): asked_again_ms(int(count), 0) for count in np.unique(attempts)}
    waiting_ms = np.array([waits[int(count)] for count in attempts], dtype=np.int64)
    asked = (attempts > 0) & (asked_ms + waiting_ms <= now_ms)
    feeds = catalog.all_series()
    left_ms = {
        feed.name: max(now_ms - SETTLE_MS, turns_ms.get(feed.name, 0)) for feed in catalog.feeds
    }
    never_asked = (
        replace(stretch, end=min(stretch.end, day_of(left_ms[feeds[stretch.series].name])))
        for stretch in _stretches(gaps.filter(pa.array(attempts == 0)), catalog)
    )
    return [
        *_stretches(gaps.filter(pa.array(asked)), catalog),
        *(stretch for stretch in never_asked if stretch.first < stretch.end),
    ]


def provisional_days(runs: pa.Table, catalog: Catalog) -> list[Stretch]:
    """Return the days of configured series that wait for the archive, whoever served them else.

    Those on which another exchange stands in are asked for again from all better sources.
    """
    waiting = _in_state(runs, (DayState.PROVISIONAL,))
    return list(_stretches(waiting.filter(pc.invert(_is_stood_in(waiting))), catalog))


def _stood_in(runs: pa.Table) -> pa.Table:
    """Return the runs on which another exchange stands in until better sources have the klines."""
    waiting = _in_state(runs, (DayState.PROVISIONAL,))
    is_open = pc.invert(pc.fill_null(waiting["explained"], False))
    return waiting.filter(pc.and_(_is_stood_in(waiting), is_open))


def _is_stood_in(waiting: pa.Table) -> pa.ChunkedArray:
    """Return which provisional runs are so because another exchange stands in, not for the archive.

    A feed whose best source is asked through ccxt has days of that source alone, and no other wait.
    """
    source = pc.fill_null(waiting["source"].cast(pa.string()), "")
    return pc.match_substring(source, CCXT)


def unsettled_from(runs: pa.Table, feed: Feed, first: date) -> date | None:
    """Return the first gap day of a feed's series from `first` on, None when there is none."""
    gaps = _in_state(runs, (DayState.PARTIAL, DayState.MISSING))
    ends = pc.add(gaps["first_day"].cast(pa.int32()).cast(pa.int64()), gaps["days"])
    recent = gaps.filter(pc.greater(ends, (first - EPOCH).days))
    wanted = {str(series) for series in feed.series}
    firsts = [
        day
        for *names, day in zip(
            *(recent[name].to_pylist() for name in (*SERIES_NAMES, "first_day")), strict=True
        )
        if "/".join(names) in wanted
    ]
    return max(first, min(firsts)) if firsts else None


def _in_state(runs: pa.Table, states: Sequence[DayState]) -> pa.Table:
    wanted = pa.array([str(state) for state in states])
    return runs.filter(pc.is_in(runs["state"].cast(pa.string()), wanted))


def _stretches(runs: pa.Table, catalog: Catalog) -> Iterator[Stretch]:
    # Of made series `making.due` knows: nobody can be asked for them.
    configured = {
        str(series): series
        for series, feed in catalog.all_series().items()
        if feed.finer(series) is None
    }
    columns = (*SERIES_NAMES, "first_day", "days")
    for *names, first, days in zip(*(runs[name].to_pylist() for name in columns), strict=True):
        series = configured.get("/".join(names))
        if series is not None:
            yield Stretch(series, first, first + timedelta(days=days))


def plan_errands(
    stretches: Iterable[Stretch],
    catalog: Catalog,
    *,
    until: date,
    busy: Collection[Errand] = (),
    most: int = RUNS_A_TICK,
) -> list[Errand]:
    """Return few runs that cover the newest of some days; the rest is left to a later call.

    Args:
        stretches: Days of configured series.
        catalog: The configuration.
        until: The first day that cannot be asked for, by this machine's clock.
        busy: What is being asked for already: those series are left out where days coincide.
        most: So many runs at most.
    """
    feeds = catalog.all_series()
    wanted: dict[str, list[Stretch]] = {}
    for stretch in stretches:
        feed = feeds[stretch.series]
        cut = _within(stretch, feed, until)
        if cut.first < cut.end and not any(
            errand.touches(cut.series, cut.first, cut.end) for errand in busy
        ):
            wanted.setdefault(feed.name, []).append(cut)
    planned = [
        errand for held in wanted.values() for errand in _newest(held, feeds[held[0].series], most)
    ]
    return sorted(planned, key=lambda errand: errand.end, reverse=True)[:most]


def busy_with_made(errands: Iterable[Errand]) -> list[Errand]:
    """Return errands as if each were on the series too that are made of its own."""
    return [Errand(one.feed, one.first, one.end, (*one.series, *_made_of(one))) for one in errands]


def _made_of(errand: Errand) -> Iterator[Series]:
    held = set(errand.series)
    return (series for series in errand.feed.series if errand.feed.finer(series) in held)


def _within(stretch: Stretch, feed: Feed, until: date) -> Stretch:
    end = min(stretch.end, until, feed.end or until)
    return Stretch(stretch.series, max(stretch.first, feed.start), end)


def _newest(stretches: Sequence[Stretch], feed: Feed, most: int) -> Iterator[Errand]:
    """Yield the newest runs over a feed's stretches, each bounded in series times days."""
    made = 0
    for first, last in reversed(_windows(stretches)):
        inside = [one for one in stretches if one.first < last and first < one.end]
        step = _days_a_run(len({one.series for one in inside}))
        end = last
        while first < end and made < most:
            start = _aligned(first, end, step)
            chosen = {one.series for one in inside if one.first < end and start < one.end}
            if chosen:
                yield Errand(feed, start, end, tuple(sorted(chosen)))
                made += 1
            end = start


def _windows(stretches: Iterable[Stretch]) -> list[tuple[date, date]]:
    """Return the days that any series wants, joined where they are near, ascending."""
    joined: list[tuple[date, date]] = []
    for one in sorted(stretches, key=lambda stretch: stretch.first):
        if joined and (one.first - joined[-1][1]).days <= NEAR_DAYS:
            joined[-1] = (joined[-1][0], max(joined[-1][1], one.end))
        else:
            joined.append((one.first, one.end))
    return joined


def _days_a_run(series: int) -> int:
    return max(LEAST_DAYS_A_RUN, SERIES_DAYS_A_RUN // max(1, series))


def _aligned(first: date, end: date, days: int) -> date:
    """Return where a run of about `days` days before `end` begins: at a month, where it can."""
    start = end - timedelta(days=min(days, (end - first).days))
    if start <= first:
        return first
    month = (start.replace(day=1) + timedelta(days=32)).replace(day=1)
    return month if month < end else start


def plan_roll(catalog: Catalog, turn: int, now_ms: int) -> Errand | None:
    """Return one piece of the rolling check of sealed days; None without an archive to ask.

    Year by year, the newest first, all series of a feed; who counts turns up comes round to all.

    Args:
        catalog: The configuration.
        turn: Which piece, counted on and on.
        now_ms: The exchange's clock, UTC epoch milliseconds.
    """
    pieces = list(_pieces(catalog, now_ms))
    return pieces[turn % len(pieces)] if pieces else None


def _pieces(catalog: Catalog, now_ms: int) -> Iterator[Errand]:
    for feed in catalog.feeds:
        if feed.sources[0] != ARCHIVE:
            continue
        newest = day_of(now_ms).year
        for year in range(newest, feed.start.year - 1, -1):
            yield from _pieces_of_year(feed, year, now_ms)


def _pieces_of_year(feed: Feed, year: int, now_ms: int) -> Iterator[Errand]:
    by_interval: dict[object, list[Series]] = {}
    for series in (one for one in feed.series if feed.finer(one) is None):
        by_interval.setdefault(series.interval, []).append(series)
    for held in by_interval.values():
        interval = held[0].interval
        closed = closed_end(interval, now_ms)
        first = max(feed.start, date(year, 1, 1))
        end = min(feed.end or closed, closed, date(year + 1, 1, 1))
        files = {Period.DAY: DAYS_A_YEAR, Period.MONTH: 12, Period.YEAR: 1}[interval.period]
        size = max(1, FILES_A_ROLL // files)
        for place in range(0, len(held), size):
            if first < end:
                yield Errand(feed, first, end, tuple(held[place : place + size]))


def last_closed_days(feed: Feed, now_ms: int, *, back: int) -> tuple[date, date]:
    """Return the days a feed's schedule looks at: up to the last closed one, `back` days in all.

    What is settled among them is not asked for; what the schedule missed while nothing ran is.
    """
    end = max(closed_end(series.interval, now_ms) for series in feed.series)
    end = min(end, feed.end or end)
    return max(feed.start, end - back * ONE_DAY), end
