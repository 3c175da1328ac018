"""What a backfill would ask for: chosen series, their unsettled days, and in which runs.

Reads the ledger, asks nobody. What that costs belongs to `costs`, running a plan to
`orchestration.backfill`.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date

from crypto_data.catalog.configuration import Catalog, Feed
from crypto_data.coverage import (
    DayFacts,
    awaits_better,
    count_stand_ins,
    day_state,
)
from crypto_data.errors import LakeDamaged, UsageError
from crypto_data.harvest import Aim
from crypto_data.intervals import Interval
from crypto_data.lake.census import take_census
from crypto_data.lake.feeds import Wanted, Wishes
from crypto_data.lake.ledger import Ledger
from crypto_data.lake.overdue import unsettled_stretches
from crypto_data.lake.store import Lake
from crypto_data.making.days import Making
from crypto_data.naming import describe_unknown
from crypto_data.partitions import closed_end, days_in, expected_count, group_days, periods_of
from crypto_data.selection import Selection
from crypto_data.series import Series

# Gaps this close together are asked for in one run: a run costs more than looking at a few days
# that turn out to be settled.
NEAR_DAYS = 7
# Of more days, of all series together, the index is asked first which of them may be unsettled:
# 3.6 million took 51 s in their ledgers, 12.5 s with the index.
MANY_DAYS = 100_000
# More runs than this are folded into one a feed.
MOST_RUNS = 20


@dataclass(frozen=True, slots=True)
class Need:
    """The unsettled days of one series, ascending, and how many klines they lack."""

    series: Series
    feed: Feed
    days: tuple[date, ...]
    rows: int

    @property
    def is_made(self) -> bool:
        """Whether the series is made of a finer one, and nobody is asked."""
        return self.feed.finer(self.series) is not None


@dataclass(frozen=True, slots=True)
class RunPlan:
    """Series that are fetched in one run, over the days `[first, end)`."""

    first: date
    end: date
    series: tuple[Series, ...]
    aim: Aim = Aim.FILL


def choose_series(catalog: Catalog, selection: Selection) -> dict[Series, Feed]:
    """Return the configured series that a selection names.

    Raises:
        UsageError: it names what is not configured; the message says what is, nearest
            first.
    """
    every = catalog.all_series()
    check_names(every, selection)
    intervals = [str(_interval(text)) for text in selection.intervals]
    chosen = {
        series: feed
        for series, feed in every.items()
        if (not selection.exchanges or series.exchange in selection.exchanges)
        and (not selection.markets or str(series.market) in selection.markets)
        and (not selection.symbols or series.symbol in selection.symbols)
        and (not intervals or str(series.interval) in intervals)
    }
    if not chosen:
        raise UsageError("no configured series has all of these; run: crypto-data validate")
    return chosen


def check_names(known: Collection[Series], selection: Selection) -> None:
    """Refuse a selection that names what none of the series has.

    Raises:
        UsageError: the message says what there is, nearest first.
    """
    _check_known("exchange", selection.exchanges, {series.exchange for series in known})
    _check_known("market", selection.markets, {str(series.market) for series in known})
    _check_known("symbols", selection.symbols, {series.symbol for series in known})
    intervals = [str(_interval(text)) for text in selection.intervals]
    _check_known("intervals", intervals, {str(series.interval) for series in known})


def _interval(text: str) -> Interval:
    try:
        return Interval.parse(text)
    except ValueError as error:
        raise UsageError(f"intervals: {error}") from None


def _check_known(what: str, asked: Iterable[str], known: set[str]) -> None:
    for name in asked:
        if name not in known:
            found = describe_unknown(name, sorted(known), "not configured")
            raise UsageError(f"{what}: {found}")


def check_days(chosen: dict[Series, Feed], selection: Selection, now_ms: int) -> None:
    """Refuse days that no chosen series is asked to hold.

    Raises:
        UsageError: the range lies before the feeds' start, after their end, or in the future.
    """
    if not (selection.start or selection.end):
        return
    asked = [_asked_days(series, feed, selection, now_ms) for series, feed in chosen.items()]
    if all(end <= first for first, end in asked):
        whole = [_asked_days(series, feed, Selection(), now_ms) for series, feed in chosen.items()]
        raise UsageError(
            "no day of these series lies in that range; the configuration asks for "
            f"{min(first for first, _ in whole)} up to {max(end for _, end in whole)} (exclusive)"
        )


def find_needs(
    lake: Lake, chosen: dict[Series, Feed], selection: Selection, now_ms: int
) -> list[Need]:
    """Return what each chosen series lacks up to its last closed day; settled ones are left out.

    Days on which another exchange stands in are none that is settled.

    A series that is made of a finer one needs what that one lacks too, and every day that is to be
    made, be it after the finer one has come.
    """
    needs: dict[Series, Need] = {}
    every = with_finer(chosen)
    asked_days = {
        series: _asked_days(series, feed, selection, now_ms) for series, feed in every.items()
    }
    is_large = sum(max(0, (end - first).days) for first, end in asked_days.values()) > MANY_DAYS
    unsettled = _open_days(lake, every, now_ms) if is_large else {}
    for series, feed in every.items():
        asked = asked_days[series]
        finer = feed.finer(series)
        if finer is None:
            stretches = unsettled.get(series, []) if is_large else [asked]
            open_days = [
                day
                for first, end in stretches
                for day in days_in(max(first, asked[0]), min(end, asked[1]))
            ]
            days, rows = _unsettled(lake, series, feed.sources[0], open_days, now_ms)
        else:
            coming = needs[finer].days if finer in needs else ()
            days, rows = _unmade(lake, Making(series, finer, feed.sources[0]), asked, now_ms)
            days = sorted({*days, *coming})
        if days:
            needs[series] = Need(series, feed, tuple(days), rows)
    return list(needs.values())


def with_finer(chosen: dict[Series, Feed]) -> dict[Series, Feed]:
    """Return the chosen series and those they are made of, each before what is made of it."""
    finer = {feed.finer(series): feed for series, feed in chosen.items()}
    fetched = {series: feed for series, feed in chosen.items() if feed.finer(series) is None}
    return {series: feed for series, feed in finer.items() if series} | fetched | chosen


def _asked_days(series: Series, feed: Feed, selection: Selection, now_ms: int) -> tuple[date, date]:
    first = max(feed.start, selection.start or feed.start)
    closed = closed_end(series.interval, now_ms)
    return first, min(closed, feed.end or closed, selection.end or closed)


def _open_days(
    lake: Lake, wanted: Mapping[Series, Feed], now_ms: int
) -> dict[Series, list[tuple[date, date]]]:
    """Return the stretches of days of each series that the index cannot call settled."""
    wishes = {
        series: Wanted(feed.start, feed.end, feed.sources[0], feed.name)
        for series, feed in wanted.items()
    }
    return unsettled_stretches(take_census(lake.root, now_ms, Wishes(wishes)).runs)


def _unsettled(
    lake: Lake, series: Series, best_source: str, open_days: Iterable[date], now_ms: int
) -> tuple[list[date], int]:
    days, rows = [], 0
    for period, held in periods_of(series.interval, open_days).items():
        known = _ledger(lake, series, period)
        for day in held:
            facts = known.get(day)
            state = day_state(facts, series.interval, day, best_source=best_source, now_ms=now_ms)
            if state.is_gap:
                days.append(day)
                rows += expected_count(series.interval, day) - (facts.rows if facts else 0)
            elif facts is not None and awaits_better(facts, best_source):
                days.append(day)
                rows += count_stand_ins(facts, best_source)
    return days, rows


def _unmade(
    lake: Lake, making: Making, asked: tuple[date, date], now_ms: int
) -> tuple[list[date], int]:
    """Return the days that are to be made of finer ones, and the klines they lack."""
    series, finer = making.series, making.finer
    days, rows = [], 0
    for period, held in periods_of(series.interval, days_in(*asked)).items():
        known, origin = _ledger(lake, series, period), Ledger()
        for finer_period in periods_of(finer.interval, held):
            origin |= _ledger(lake, finer, finer_period)
        for day in making.find_unmade(held, known, origin, aim=Aim.FILL, now_ms=now_ms):
            days.append(day)
            rows += expected_count(series.interval, day) - known.get(day, DayFacts()).rows
    return days, rows


def _ledger(lake: Lake, series: Series, period: str) -> Ledger:
    """Return what is known of a file's days.

    Of a damaged file that is nothing: its days are planned for, and the run then says of this one
    series what is wrong with it, while it serves the others.
    """
    try:
        return lake.period_ledger(series, period)
    except LakeDamaged:
        return {}


def plan_runs(needs: Sequence[Need], aim: Aim = Aim.FILL) -> list[RunPlan]:
    """Return few runs that cover all needs: series of one start and one stretch share a run.

    What is made follows what it is made of in runs of its own: one that fails leaves it its turn.
    """
    fetched = [need for need in needs if not need.is_made]
    made = [need for need in needs if need.is_made]
    return [*_plan_alike(fetched, aim), *_plan_alike(made, aim)]


def _plan_alike(needs: Sequence[Need], aim: Aim) -> list[RunPlan]:
    stretches: dict[tuple[date, date | None, date, date], list[Series]] = {}
    for need in needs:
        for first, end in _near_runs(need.days):
            key = (need.feed.start, need.feed.end, first, end)
            stretches.setdefault(key, []).append(need.series)
    if len(stretches) > MOST_RUNS:
        return _fold(needs, aim)
    return [
        RunPlan(first, end, tuple(series), aim) for (_, _, first, end), series in stretches.items()
    ]


def _near_runs(days: Sequence[date]) -> list[tuple[date, date]]:
    joined: list[tuple[date, date]] = []
    for first, end in group_days(days):
        if joined and (first - joined[-1][1]).days <= NEAR_DAYS:
            joined[-1] = (joined[-1][0], end)
        else:
            joined.append((first, end))
    return joined


def _fold(needs: Sequence[Need], aim: Aim) -> list[RunPlan]:
    """Return one run a start of feed, over all that its series lack."""
    starts: dict[tuple[date, date | None], list[Need]] = {}
    for need in needs:
        starts.setdefault((need.feed.start, need.feed.end), []).append(need)
    plans = []
    for group in starts.values():
        runs = group_days(day for need in group for day in need.days)
        plans.append(RunPlan(runs[0][0], runs[-1][1], tuple(need.series for need in group), aim))
    return plans
