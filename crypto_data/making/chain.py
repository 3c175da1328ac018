"""A chain that makes coarser klines of the finer ones in the lake, and asks nobody.

It stands where the sources of a fetched series stand, so that `ingest` commits, judges and reports
made days as any others. The arithmetic belongs to `making.bars`, when a day is made to
`making.days`.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date
from typing import Any

import numpy as np
import pyarrow as pa

from crypto_data.catalog.configuration import Feed
from crypto_data.coverage import SERVED, DayFacts, DayState, SourceAnswer, find_gaps
from crypto_data.exchanges import made_source
from crypto_data.harvest import (
    NOTHING_STOOD_IN,
    Aim,
    AskedDay,
    Chain,
    Harvest,
    Offer,
    StoodIn,
)
from crypto_data.intervals import Interval, TimeRange, merge_ranges
from crypto_data.lake.store import Lake
from crypto_data.making.bars import make_offers
from crypto_data.making.days import FinerDay, Making
from crypto_data.partitions import (
    ONE_DAY,
    day_range,
    days_touched,
    group_days,
    periods_of,
    span_of_days,
)
from crypto_data.schema import epoch_ms
from crypto_data.series import Series
from crypto_data.validation import cut

WAITING = "waiting"  # the outcome of a day whose finer klines are not whole


def chain_of(series: Series, feed: Feed, sources: Chain, lake: Lake) -> Chain:
    """Return who brings the klines of a series: the feed's sources, or the lake where it is made.

    Args:
        series: A series of the feed.
        feed: Its feed.
        sources: The chain of the feed's sources.
        lake: Where the finer klines are.
    """
    finer = feed.finer(series)
    return DerivedChain(lake, finer, sources) if finer else sources


class DerivedChain:
    """Makes the klines of one series of a finer one; safe to use from several threads.

    Args:
        lake: Where the finer klines are; it is only read.
        finer: What the klines are made of.
        sources: Who brings the finer klines: their order and the exchange's clock count here.
    """

    def __init__(self, lake: Lake, finer: Series, sources: Chain) -> None:
        self._lake = lake
        self._finer = finer
        self._sources = sources

    @property
    def ranking(self) -> tuple[str, ...]:
        """The one name that stands at klines made of the best finer ones."""
        return (made_source(self._finer.interval),)

    def now_ms(self) -> int:
        """Return the exchange's clock, UTC epoch milliseconds."""
        return self._sources.now_ms()

    def learn_lives(self, series: Series) -> None:
        """Do nothing: the finer days know when the symbol traded."""

    def find_wanted(
        self, series: Series, days: Sequence[date], known: Mapping[date, DayFacts], aim: Aim
    ) -> list[TimeRange]:
        """Return the days to be made or made anew, as ascending ranges of open times.

        Raises:
            LakeDamaged: a file of the finer klines cannot be read.
        """
        finer = self._lake.ledger(self._finer, days)
        unmade = self._making(series).find_unmade(days, known, finer, aim=aim, now_ms=self.now_ms())
        return [span_of_days(first, end) for first, end in group_days(unmade)]

    def revise(self, series: Series, period: str, known: Mapping[date, DayFacts]) -> Harvest | None:
        """Return the days whose finer klines have changed, made anew; None for none."""
        del period
        wanted = self.find_wanted(series, sorted(known), known, Aim.REVISE)
        return self.fill(series, wanted, Aim.REVISE) if wanted else None

    def fill(
        self,
        series: Series,
        gaps: Sequence[TimeRange],
        aim: Aim,
        stood_in: StoodIn = NOTHING_STOOD_IN,
    ) -> Harvest:
        """Return the klines of the days that some ranges touch.

        Of a day whose finer klines are not whole none are made; its answer says why. One file of
        finer klines is held in memory at a time.

        Raises:
            LakeDamaged: a file of the finer klines cannot be read.
        """
        del aim, stood_in
        days = days_touched(gaps)
        # Before the rows: should these be replaced in between, the day is made anew by its mark.
        known = self._lake.ledger(self._finer, days)
        finer = self._look_at(series, days, known)
        offers: list[Offer] = []
        lives = [day_range(day) for day in days if not finer[day].is_settled]
        ready = [day for day in days if finer[day].is_settled]
        for held in periods_of(self._finer.interval, ready).values():
            rows = self._read(held)
            lives += self._lives(series.interval, rows, {day: known[day] for day in held})
            waiting = [day for day in held if finer[day].state is DayState.PROVISIONAL]
            offers += self._offers(series.interval, _rows_of(rows, waiting), are_waiting=True)
            others = sorted(set(held) - set(waiting))
            offers += self._offers(series.interval, _rows_of(rows, others), are_waiting=False)
        return Harvest(
            ranking=self.ranking,
            offers=tuple(offers),
            days={day: self._answer(finer[day]) for day in days},
            lives=tuple(merge_ranges(lives)),
            asked_ms=self.now_ms(),
        )

    def _making(self, series: Series) -> Making:
        return Making(series, self._finer, self._sources.ranking[0])

    def _look_at(
        self, series: Series, days: Sequence[date], known: Mapping[date, DayFacts]
    ) -> dict[date, FinerDay]:
        making, now_ms = self._making(series), self.now_ms()
        return {day: making.look_at(known.get(day), day, now_ms) for day in days}

    def _read(self, days: Sequence[date]) -> pa.Table:
        return self._lake.read(self._finer, span_of_days(days[0], days[-1] + ONE_DAY))

    def _offers(self, coarser: Interval, rows: pa.Table, *, are_waiting: bool) -> Iterator[Offer]:
        lengths = (self._finer.interval, coarser)
        return make_offers(rows, lengths, self._sources.ranking, are_waiting=are_waiting)

    def _lives(
        self, coarser: Interval, rows: pa.Table, known: Mapping[date, DayFacts]
    ) -> list[TimeRange]:
        """Return when the symbol traded on some settled days, in whole coarser bars."""
        opens_ms = epoch_ms(rows["open_time"]).to_numpy()
        lives: list[TimeRange] = []
        for day, facts in known.items():
            lives += _life_of_day(facts, day, opens_ms, (self._finer.interval, coarser))
        return lives

    def _answer(self, finer: FinerDay) -> AskedDay:
        [name] = self.ranking
        interval = self._finer.interval
        detail = f"{interval} is {finer.state}: {finer.why}".removesuffix(": ")
        if finer.state in (DayState.COMPLETE, DayState.UNLISTED):
            detail = ""
        outcome = SERVED if finer.is_settled else WAITING
        return AskedDay(
            answers=[SourceAnswer(name, outcome, detail)],
            conclusive=finer.is_settled,
            is_all=finer.is_settled,
            checksum=finer.mark,
            address=str(self._finer),
        )


def _rows_of(rows: pa.Table, days: Iterable[date]) -> pa.Table:
    return cut(rows, [span_of_days(first, end) for first, end in group_days(days)])


def _life_of_day(
    facts: DayFacts, day: date, opens_ms: Any, lengths: tuple[Interval, Interval]
) -> list[TimeRange]:
    """Return when the symbol traded on a settled day: all of it but what is absent and not due."""
    finer, coarser = lengths
    if not facts.unlisted_rows:
        return [day_range(day)]
    present = opens_ms[np.searchsorted(opens_ms, day_range(day).start_ms) :]
    outside = find_gaps(present, day_range(day), finer)
    for gap in facts.absent:
        outside = [rest for part in outside for rest in part.without(gap)]
    parts = [day_range(day)]
    for gap in outside:
        parts = [rest for part in parts for rest in part.without(gap)]
    return [TimeRange(coarser.floor(one.start_ms), coarser.ceil(one.end_ms)) for one in parts]
