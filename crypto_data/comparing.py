"""The lake's klines beside those the exchange itself has now: every value that differs.

Asks the sources of a feed and stores nothing. Printing belongs to `cli.comparing`, judging now and
then to `orchestration.judging`.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types

from crypto_data.coverage import DayFacts, find_gaps_within
from crypto_data.errors import UsageError
from crypto_data.exchanges import EXCHANGES, is_stand_in
from crypto_data.harvest import Aim, Chain, Harvest
from crypto_data.intervals import Interval, TimeRange
from crypto_data.lake.merge import merge
from crypto_data.lake.store import Lake
from crypto_data.partitions import (
    ONE_DAY,
    day_range,
    days_in,
    days_touched,
    expected_count,
    span_of_days,
)
from crypto_data.schema import FETCHED, empty_klines, epoch_ms
from crypto_data.series import Series
from crypto_data.validation import cut

# So many days are asked for and held at a time.
DAYS_AT_ONCE = 31
KLINE = "kline"  # stands for a column where one side has no kline at all


@dataclass(frozen=True, slots=True)
class Difference:
    """One value that differs; for a whole kline, whether each side has it."""

    open_time: datetime
    column: str
    lake: Any
    exchange: Any

    @property
    def day(self) -> date:
        """The UTC day of the kline."""
        return self.open_time.date()


@dataclass(frozen=True, slots=True)
class Comparison:
    """What came of comparing some days.

    `rows` are the klines that either side has on days that could be compared; `unanswered` the days
    that the exchange did not serve whole, and why.
    """

    days: tuple[date, ...]
    rows: int
    differences: tuple[Difference, ...]
    unanswered: Mapping[date, str]

    @property
    def is_equal(self) -> bool:
        """Whether every day was compared and no value differs."""
        return not self.differences and not self.unanswered


def check_is_offered(series: Series) -> None:
    """Refuse a series that the exchange itself has no klines of.

    Raises:
        UsageError: the message says which intervals it has.
    """
    offered = EXCHANGES[series.exchange].intervals
    if series.interval not in offered:
        raise UsageError(
            f"{series.exchange} has no {series.interval} klines to compare with; "
            f"it has {', '.join(offered)}"
        )


def compare_days(
    lake: Lake, series: Series, chain: Chain, first: date, end: date
) -> Iterator[Comparison]:
    """Compare the days `[first, end)` of a series, a month at a time.

    Args:
        lake: Where one side is.
        series: What to compare.
        chain: The sources of its feed; rows that only stand in are none of the exchange's.
        first: The first day.
        end: The day after the last.

    Raises:
        UsageError: the exchange has no such interval.
        LakeDamaged: a file of these days cannot be read.
    """
    check_is_offered(series)
    days = list(days_in(first, end))
    for place in range(0, len(days), DAYS_AT_ONCE):
        yield _compare(lake, series, chain, days[place : place + DAYS_AT_ONCE])


def _compare(lake: Lake, series: Series, chain: Chain, days: Sequence[date]) -> Comparison:
    span = span_of_days(days[0], days[-1] + ONE_DAY)
    harvest = chain.fill(series, [span], Aim.FILL)
    own = [one for one in harvest.offers if not is_stand_in(one.source, chain.ranking[0])]
    theirs = cut(merge(empty_klines(), own, chain.ranking, ()), [span])
    lacking = find_gaps_within(_opens_ms(theirs), span, series.interval)
    unanswered = _unanswered(harvest, lacking, series.interval)
    answered = [day_range(day) for day in days if day not in unanswered]
    ours, theirs = cut(lake.read(series, span), answered), cut(theirs, answered)
    rows = len(np.union1d(_opens_ms(ours), _opens_ms(theirs)))
    return Comparison(tuple(days), rows, tuple(find_differences(ours, theirs)), unanswered)


def _unanswered(
    harvest: Harvest, lacking: Sequence[TimeRange], interval: Interval
) -> dict[date, str]:
    """Return the days that lack klines without every source having said that it has none."""
    return {
        day: DayFacts(answers=tuple(harvest.days[day].answers)).reason
        for day in days_touched(lacking)
        if expected_count(interval, day) and not harvest.days[day].conclusive
    }


def find_differences(ours: pa.Table, theirs: pa.Table) -> Iterator[Difference]:
    """Yield what differs between two tables of `schema.KLINES`, sorted alike, by open time.

    What one side does not tell is not compared, nor are sources. Close times are compared in
    milliseconds: REST knows no finer ones.
    """
    _, here, there = np.intersect1d(_opens_ms(ours), _opens_ms(theirs), return_indices=True)
    found = [*_only(ours, here, is_lake=True), *_only(theirs, there, is_lake=False)]
    ours, theirs = ours.take(here), theirs.take(there)
    for name in FETCHED.names[1:]:
        for row in np.flatnonzero(_differ(ours[name], theirs[name])):
            place = int(row)
            values = (ours[name][place].as_py(), theirs[name][place].as_py())
            found.append(Difference(ours["open_time"][place].as_py(), name, *values))
    yield from sorted(found, key=lambda one: one.open_time)


def _only(rows: pa.Table, common: Any, *, is_lake: bool) -> Iterator[Difference]:
    alone = np.setdiff1d(np.arange(rows.num_rows), common)
    for opened in rows["open_time"].take(alone).to_pylist():
        yield Difference(opened, KLINE, is_lake, not is_lake)


def _differ(ours: Any, theirs: Any) -> Any:
    if pa.types.is_timestamp(ours.type):
        ours, theirs = epoch_ms(ours), epoch_ms(theirs)
    return pc.fill_null(pc.not_equal(ours, theirs), False).to_numpy()


def _opens_ms(rows: pa.Table) -> Any:
    return epoch_ms(rows["open_time"]).to_numpy()
