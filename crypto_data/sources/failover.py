"""The failover chain: which source is asked for what, in which order, and when it is enough.

The only place that goes from one source to the next, and that says which source served a row.
Retries of one source belong to `sources.http`; storing what came belongs to `lake.store`.
"""

import threading
from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from datetime import date
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from crypto_data.coverage import ARCHIVE, SourceAnswer, find_gaps
from crypto_data.errors import Attempt, Rejected, SourceError
from crypto_data.harvest import AskedDay, Harvest, Offer
from crypto_data.intervals import TimeRange, count_open_times, merge_ranges
from crypto_data.partitions import archive_final_ms, day_of, day_range, days_touched, expected_count
from crypto_data.schema import epoch_ms
from crypto_data.series import Series
from crypto_data.sources.base import Answer, Lifetime, Outcome, Source, Trust
from crypto_data.validation import cut, validate

END_OF_TIME_MS = 1 << 52

# A source that can never have the series has nothing to tell.
_REFUSALS = (Outcome.UNSUPPORTED, Outcome.REJECTED)
_CUT_SHORT = (Outcome.BLOCKED, Outcome.LIMITED, Outcome.DOWN)


class FailoverChain:
    """Asks the sources of one feed, best first, until nothing is wanted any more.

    Safe to use from several threads. `clock_ms` is the exchange's clock: a kline that is not
    closed by it is never handed on.
    """

    def __init__(self, sources: Sequence[Source], clock_ms: Callable[[], int]) -> None:
        self._sources = tuple(sources)
        self._clock_ms = clock_ms
        self._lives: dict[Series, dict[str, Lifetime]] = {}
        self._asking: dict[Series, threading.Lock] = {}
        self._lives_lock = threading.Lock()

    @property
    def ranking(self) -> tuple[str, ...]:
        """The names of the sources, best first."""
        return tuple(source.name for source in self._sources)

    def now_ms(self) -> int:
        """Return the exchange's clock, UTC epoch milliseconds."""
        return self._clock_ms()

    def fill(self, series: Series, gaps: Sequence[TimeRange]) -> Harvest:
        """Ask for the klines of some ranges and return all that came, with every answer.

        Args:
            series: What is wanted.
            gaps: Ascending, disjoint ranges of open times. A source may hand over the whole days
                they touch; rows of other days are not kept.

        Never raises for a source that fails: its answer stands in the harvest.
        """
        tally = _Tally(series, gaps, self._clock_ms())
        wanted = self._after_listing(series, gaps, tally)
        for rank, source in enumerate(self._sources):
            if not wanted:
                break
            tally.tell_holes(wanted)
            for answer in source.fetch(series, wanted):
                tally.take(answer, rank, doubtful_rank=len(self._sources) + rank)
            wanted = tally.still_wanted(wanted)
        return Harvest(
            ranking=self.ranking,
            offers=tuple(tally.offers),
            days=tally.days,
            quarantined=tuple(tally.quarantined),
            lives=self._judge(tally, wanted),
            asked_ms=tally.now_ms,
        )

    def learn_lives(self, series: Series) -> None:
        """Ask the sources when the symbol traded, so that no day before it is asked for."""
        self._lifetimes(series)

    def _after_listing(
        self, series: Series, gaps: Sequence[TimeRange], tally: "_Tally"
    ) -> list[TimeRange]:
        """Return the gaps without the days before the listing, where that is known already."""
        if len(self._lives.get(series, ())) < len(self._sources):
            return list(gaps)
        lives = self.lives(series)
        if not lives:
            return list(gaps)
        listed = TimeRange(lives[0].start_ms, END_OF_TIME_MS)
        wanted = [part for gap in gaps if (part := gap.intersect(listed))]
        tally.unlisted = wanted != list(gaps)
        return wanted

    def _judge(self, tally: "_Tally", wanted: Sequence[TimeRange]) -> tuple[TimeRange, ...] | None:
        """Mark the days that every source has answered for good; return when the symbol lived."""
        if not wanted and not tally.unlisted:
            return None
        lives = self.lives(tally.series, tally.first_open_ms)
        if not lives:
            return None  # nobody knows the symbol, or not every source could say: nothing is final
        spoilt = tally.spoilt_days(wanted)
        for day in days_touched(wanted):
            if day not in spoilt:
                tally.conclude(day, self.ranking)
        return lives

    def lives(
        self, series: Series, first_open_ms: int | None = None
    ) -> tuple[TimeRange, ...] | None:
        """Return when the symbol traded; `()` if no source knows it, None if one cannot tell.

        `first_open_ms` is the first kline at hand: an archive knows its first file's day only.
        """
        known = self._lifetimes(series)
        if len(known) < len(self._sources):
            return None
        if all(life.first_ms is None for life in known.values()):
            return ()
        start_ms = _life_start(known.values(), first_open_ms)
        ends = [life.last_ms for life in known.values() if life.last_ms is not None]
        return (TimeRange(start_ms, max([*ends, start_ms]) if ends else END_OF_TIME_MS),)

    def _lifetimes(self, series: Series) -> dict[str, Lifetime]:
        with self._lives_lock:
            known = self._lives.setdefault(series, {})
            asking = self._asking.setdefault(series, threading.Lock())
        with asking:  # the files of one series begin together, and one of them asks for all
            for source in self._sources:
                if source.name not in known:
                    try:
                        known[source.name] = source.lifetime(series)
                    except Rejected:
                        known[source.name] = Lifetime(None)  # it has never heard of the symbol
                    except SourceError:
                        continue  # asked again by the next day that needs it; the day stays open
        return known


def _life_start(lifetimes: Iterable[Lifetime], first_open_ms: int | None) -> int:
    """Return the first kline's open time: exact from an API, else the first row at hand.

    The start of an archive's first file stands only where nothing exact lies within that file.
    """
    known = [(life.first_ms, life.slack_ms) for life in lifetimes if life.first_ms is not None]
    exact = [first_ms for first_ms, slack_ms in known if not slack_ms]
    if first_open_ms is not None:
        exact.append(first_open_ms)
    vague = [
        first_ms
        for first_ms, slack_ms in known
        if slack_ms and not any(time_ms < first_ms + slack_ms for time_ms in exact)
    ]
    return min([*exact, *vague])


class _Tally:
    """What has come so far while one chain is asked for one series."""

    def __init__(self, series: Series, gaps: Sequence[TimeRange], now_ms: int) -> None:
        self.series = series
        self.now_ms = now_ms
        self.offers: list[Offer] = []
        self.quarantined: list[Any] = []
        self.days = {day: AskedDay() for day in days_touched(gaps)}
        self._whole_days = merge_ranges([day_range(day) for day in self.days])
        self._outcomes: dict[tuple[date, str], list[Outcome]] = {}
        self._firm_ms: list[Any] = []
        self._spoilt_ms: set[int] = set()  # open times of rows that broke a rule
        self.unlisted = False  # some of the gaps lie before the listing and were not asked for

    @property
    def first_open_ms(self) -> int | None:
        """The earliest open time of all offers."""
        firsts = [epoch_ms(offer.rows["open_time"].slice(0, 1))[0].as_py() for offer in self.offers]
        return min(firsts, default=None)

    def take(self, answer: Answer, rank: int, *, doubtful_rank: int) -> None:
        """Validate an answer's rows and note how it answered for each of its days."""
        set_aside = dict(answer.set_aside)
        if answer.quarantined is not None:
            self.quarantined.append(answer.quarantined)
        if answer.rows is not None and answer.rows.num_rows:
            self._offer(answer, rank if answer.trust is Trust.FIRM else doubtful_rank, set_aside)
        for position, day in enumerate(day for day in answer.days if day in self.days):
            # What belongs to the answer as a whole is counted once, with its first day.
            first = position == 0
            self._note(day, answer, set_aside if first else {}, answer.attempts if first else 0)

    def _offer(self, answer: Answer, rank: int, set_aside: dict[str, int]) -> None:
        rows = cut(answer.rows, self._whole_days)
        if answer.rows["open_time"].null_count:  # in no range, and still to be set aside
            timeless = answer.rows.filter(pc.is_null(answer.rows["open_time"]))
            rows = pa.concat_tables([rows, timeless])
        verdict = validate(rows, self.series.interval, closed_before_ms=self.now_ms)
        for rule, count in verdict.counts.items():
            set_aside[rule] = set_aside.get(rule, 0) + count
        if verdict.bad is not None:
            self.quarantined.append(verdict.bad)
            self._spoilt_ms.update(epoch_ms(verdict.bad["open_time"]).drop_null().to_pylist())
        if verdict.good.num_rows:
            self.offers.append(Offer(answer.source, rank, verdict.good))
            if answer.trust is Trust.FIRM:
                self._firm_ms.append(epoch_ms(verdict.good["open_time"]).to_numpy())

    def _note(self, day: date, answer: Answer, set_aside: dict[str, int], requests: int) -> None:
        asked = self.days[day]
        asked.answers.append(SourceAnswer(answer.source, answer.outcome.value, answer.detail))
        asked.requests += requests
        asked.seconds += answer.seconds / len(answer.days)
        for rule, count in set_aside.items():
            asked.set_aside[rule] = asked.set_aside.get(rule, 0) + count
        if answer.checksum:
            asked.checksum, asked.address = answer.checksum, answer.address
        asked.doubtful = answer.trust is Trust.DOUBTFUL or (
            asked.doubtful and answer.outcome is not Outcome.SERVED
        )
        self._outcomes.setdefault((day, answer.source), []).append(answer.outcome)

    def still_wanted(self, wanted: Iterable[TimeRange]) -> list[TimeRange]:
        """Return what no firm row has filled; a doubtful day is wanted as a whole."""
        doubtful = [day_range(day) for day, asked in self.days.items() if asked.doubtful]
        spans = merge_ranges([*wanted, *doubtful])
        present = _concatenate(self._firm_ms)
        # The gap of a weekly bar reaches over days that nobody asks for: cut to what was wanted.
        return [
            gap.intersect(span)
            for span in spans
            for gap in find_gaps(present, span, self.series.interval)
        ]

    def tell_holes(self, wanted: Sequence[TimeRange]) -> None:
        """Say of the days that were served with holes what the next source is asked for."""
        for day in days_touched(wanted):
            answers = self.days[day].answers
            if answers and answers[-1].outcome == Outcome.SERVED and not answers[-1].detail:
                due = expected_count(self.series.interval, day)
                lacking = sum(
                    count_open_times(self.series.interval, gap.intersect(day_range(day)))
                    for gap in wanted
                )
                detail = f"lacks {lacking} of {due} klines"
                answers[-1] = replace(answers[-1], detail=detail)

    def spoilt_days(self, wanted: Sequence[TimeRange]) -> set[date]:
        """Return the days on which a wanted kline came, but broke a rule: nobody's absence.

        `wanted` is ascending and disjoint.
        """
        starts = [gap.start_ms for gap in wanted]
        return {
            day_of(time_ms)
            for time_ms in self._spoilt_ms
            if (place := bisect_right(starts, time_ms)) and time_ms in wanted[place - 1]
        }

    def conclude(self, day: date, ranking: Sequence[str]) -> None:
        """Mark the day when each source of the chain has told all it will ever tell."""
        self.days[day].conclusive = all(
            self._has_told_all(day, name, self._outcomes.get((day, name), [])) for name in ranking
        )

    def _has_told_all(self, day: date, source: str, outcomes: Sequence[Outcome]) -> bool:
        """Return whether a source's answers are final; a broken file beside a 404 is not."""
        if any(outcome in _CUT_SHORT for outcome in outcomes):
            return False  # it may have served one hole of the day and not come to the next
        if Outcome.BROKEN in outcomes and source != ARCHIVE:
            return False  # a broken page hides a hole; a broken month is mended by its dailies
        if any(outcome in (Outcome.SERVED, Outcome.NOTHING) for outcome in outcomes):
            return True
        final = self.now_ms >= archive_final_ms(self.series.interval, day)
        return bool(outcomes) and all(
            outcome in _REFUSALS or (outcome is Outcome.ABSENT and final) for outcome in outcomes
        )


def _concatenate(arrays: list[Any]) -> Any:
    return np.concatenate(arrays) if arrays else ()


def attempts_of(harvest: Harvest) -> list[Attempt]:
    """Return every answer that did not serve, once each, in the order they came."""
    seen: dict[Attempt, None] = {}
    for asked in harvest.days.values():
        for answer in asked.answers:
            if answer.outcome != Outcome.SERVED:
                seen[Attempt(answer.source, answer.outcome, answer.detail)] = None
    return list(seen)
