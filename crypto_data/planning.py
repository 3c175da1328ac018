"""What a backfill would ask for: chosen series, their unsettled days, and what that costs.

Reads the ledger, asks nobody. Running a plan belongs to `orchestration.backfill`.
"""

import difflib
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import date

from crypto_data.catalog.configuration import Catalog, Feed
from crypto_data.coverage import ARCHIVE, day_state
from crypto_data.errors import LakeDamaged, UsageError
from crypto_data.harvest import Aim
from crypto_data.intervals import Interval
from crypto_data.lake.ledger import Ledger
from crypto_data.lake.store import Lake
from crypto_data.partitions import closed_end, days_in, expected_count, group_days, periods_of
from crypto_data.selection import Selection
from crypto_data.series import Series

# Gaps this close together are asked for in one run: a run costs more than looking at a few days
# that turn out to be settled.
NEAR_DAYS = 7
# More runs than this are folded into one a feed.
MOST_RUNS = 20

# Measured on spot 1m archives: bytes a row in a daily zip, and in the lake.
ZIPPED_BYTES_A_ROW = 48
STORED_BYTES_A_ROW = 58
REST_PAGE_ROWS = 1000


@dataclass(frozen=True, slots=True)
class Need:
    """The unsettled days of one series, ascending, and how many klines they lack."""

    series: Series
    feed: Feed
    days: tuple[date, ...]
    rows: int


@dataclass(frozen=True, slots=True)
class RunPlan:
    """Series that are fetched in one run, over the days `[first, end)`."""

    first: date
    end: date
    series: tuple[Series, ...]
    aim: Aim = Aim.FILL


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a plan costs, roughly: counts, bytes over the network and bytes kept."""

    series: int
    days: int
    rows: int
    requests: int
    bytes_fetched: int
    bytes_kept: int


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
    _check_known("--exchange", selection.exchanges, {series.exchange for series in known})
    _check_known("--market", selection.markets, {str(series.market) for series in known})
    _check_known("--symbols", selection.symbols, {series.symbol for series in known})
    intervals = [str(_interval(text)) for text in selection.intervals]
    _check_known("--intervals", intervals, {str(series.interval) for series in known})


def _interval(text: str) -> Interval:
    try:
        return Interval.parse(text)
    except ValueError as error:
        raise UsageError(f"--intervals: {error}") from None


def _check_known(option: str, asked: Iterable[str], known: set[str]) -> None:
    for name in asked:
        if name not in known:
            near = difflib.get_close_matches(name.upper(), known, 1) or difflib.get_close_matches(
                name, known, 1
            )
            hint = f"did you mean {near[0]}? " if near else ""
            listed = ", ".join(sorted(known)[:12]) + (", …" if len(known) > 12 else "")  # noqa: PLR2004
            raise UsageError(f"{option}: {name!r} is not configured; {hint}configured: {listed}")


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
    """Return what each chosen series lacks up to its last closed day; settled ones are left out."""
    needs = []
    for series, feed in chosen.items():
        first, end = _asked_days(series, feed, selection, now_ms)
        days, rows = _unsettled(lake, series, feed.sources[0], (first, end), now_ms)
        if days:
            needs.append(Need(series, feed, tuple(days), rows))
    return needs


def _asked_days(series: Series, feed: Feed, selection: Selection, now_ms: int) -> tuple[date, date]:
    first = max(feed.start, selection.start or feed.start)
    closed = closed_end(series.interval, now_ms)
    return first, min(closed, feed.end or closed, selection.end or closed)


def _unsettled(
    lake: Lake, series: Series, best_source: str, asked: tuple[date, date], now_ms: int
) -> tuple[list[date], int]:
    days, rows = [], 0
    for period, held in periods_of(series.interval, days_in(*asked)).items():
        known = _ledger(lake, series, period)
        for day in held:
            facts = known.get(day)
            state = day_state(facts, series.interval, day, best_source=best_source, now_ms=now_ms)
            if state.is_gap:
                days.append(day)
                rows += expected_count(series.interval, day) - (facts.rows if facts else 0)
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
    """Return few runs that cover all needs: series of one start and one stretch share a run."""
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


def estimate(needs: Sequence[Need]) -> Estimate:
    """Return what filling all needs costs, when every best source answers.

    An archive month that is wanted as a whole is two requests, and so is each single day; REST is
    a request a thousand rows.
    """
    return Estimate(
        series=len(needs),
        days=sum(len(need.days) for need in needs),
        rows=sum(need.rows for need in needs),
        requests=sum(_requests(need) for need in needs),
        bytes_fetched=sum(need.rows for need in needs) * ZIPPED_BYTES_A_ROW,
        bytes_kept=sum(need.rows for need in needs) * STORED_BYTES_A_ROW,
    )


def _requests(need: Need) -> int:
    if need.feed.sources[0] != ARCHIVE:
        return max(len(need.days) // 30, -(-need.rows // REST_PAGE_ROWS))
    months: dict[str, int] = {}
    for day in need.days:
        months[f"{day:%Y-%m}"] = months.get(f"{day:%Y-%m}", 0) + 1
    return sum(2 * (1 if days > 7 else days) for days in months.values())  # noqa: PLR2004
