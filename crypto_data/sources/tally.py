"""What has come so far while one chain is asked for one series, and what is still wanted.

Takes answers, validates their rows, and says whether a day has been answered for good. Whom to ask
next belongs to `sources.failover`.
"""

from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from crypto_data.coverage import ARCHIVE, SourceAnswer, find_gaps_within, without_pauses
from crypto_data.exchanges import is_foreign
from crypto_data.harvest import STAND_IN_RANK, AskedDay, Offer
from crypto_data.intervals import TimeRange, count_open_times, merge_ranges
from crypto_data.partitions import (
    archive_final_ms,
    day_of,
    day_range,
    days_touched,
    expected_count,
)
from crypto_data.schema import epoch_ms
from crypto_data.series import Series
from crypto_data.sources.base import Answer, Outcome, Trust
from crypto_data.validation import Verdict, cut, validate

# A source that can never have the series has nothing to tell.
_REFUSALS = (Outcome.UNSUPPORTED, Outcome.REJECTED)
_CUT_SHORT = (Outcome.BLOCKED, Outcome.LIMITED, Outcome.DOWN, Outcome.BEYOND)


@dataclass(frozen=True, slots=True)
class _Held:
    """An answer with rows, and how they stand against others."""

    answer: Answer
    rank: int

    def follows(self, other: "_Held") -> bool:
        """Return whether the rows are alike, and the first one opens after the other's last."""
        first = self.answer.rows["open_time"][0].value
        last = other.answer.rows["open_time"][-1].value
        return self.rank == other.rank and None not in (first, last) and bool(last < first)


class Tally:
    """What has come so far while one chain is asked for one series."""

    def __init__(self, series: Series, gaps: Sequence[TimeRange], now_ms: int) -> None:
        self.series = series
        self.now_ms = now_ms
        self.offers: list[Offer] = []
        self.quarantined: list[Any] = []
        self.days = {day: AskedDay() for day in days_touched(gaps)}
        self._whole_days = merge_ranges([day_range(day) for day in self.days])
        self._outcomes: dict[tuple[date, str], list[Outcome]] = {}
        self._held_ms: list[Any] = []
        self._firm_ms: list[Any] = []
        self._own_ms: list[Any] = []  # the firm ones of the exchange itself
        self._spoilt_ms: set[int] = set()  # open times of rows that broke a rule
        self.unlisted = False  # some of the gaps lie before the listing and were not asked for

    @property
    def first_open_ms(self) -> int | None:
        """The earliest open time that the exchange itself has offered."""
        firsts = [
            epoch_ms(offer.rows["open_time"].slice(0, 1))[0].as_py()
            for offer in self.offers
            if not is_foreign(offer.source, self.series.exchange)
        ]
        return min(firsts, default=None)

    def take(self, answers: Iterable[Answer], rank: int, *, doubtful_rank: int) -> None:
        """Validate the rows of some answers and note how they answered for each of their days.

        They are of one source, whose firm rows have `rank`.
        """
        held: list[_Held] = []
        for answer in answers:
            if answer.quarantined is not None:
                self.quarantined.append(answer.quarantined)
            if answer.rows is not None and answer.rows.num_rows:
                is_firm = answer.trust is Trust.FIRM
                held.append(_Held(answer, rank if is_firm else doubtful_rank))
            for position, day in enumerate(day for day in answer.days if day in self.days):
                # What belongs to the answer as a whole is counted once, with its first day.
                self._note(day, answer, answer.attempts if position == 0 else 0)
                if position == 0:
                    self._set_aside(day, answer.set_aside)
                self._doubt(day, answer, rank)
        for run in _in_runs(held):
            self._judge(run)

    def _judge(self, held: Sequence["_Held"]) -> None:
        """Validate rows of one rank together, which spares a pass a day; apart if any are bad."""
        rows = self._cut(pa.concat_tables([one.answer.rows for one in held]))
        verdict = validate(rows, self.series.interval, closed_before_ms=self.now_ms)
        if len(held) == 1 or verdict.good is rows:
            self._offer(held[0], verdict)
            return
        for one in held:
            self._judge([one])

    def _cut(self, rows: Any) -> Any:
        """Return the rows of the days that are asked for."""
        inside = cut(rows, self._whole_days)
        if rows["open_time"].null_count:  # in no range, and still to be set aside
            inside = pa.concat_tables([inside, rows.filter(pc.is_null(rows["open_time"]))])
        return inside

    def _offer(self, held: "_Held", verdict: Verdict) -> None:
        answer = held.answer
        for day in [day for day in answer.days if day in self.days][:1]:
            self._set_aside(day, verdict.counts)
        if verdict.bad is not None:
            self.quarantined.append(verdict.bad)
            self._spoilt_ms.update(epoch_ms(verdict.bad["open_time"]).drop_null().to_pylist())
        if verdict.good.num_rows:
            self.offers.append(Offer(answer.source, held.rank, verdict.good))
            self._held_ms.append(epoch_ms(verdict.good["open_time"]).to_numpy())
            if answer.trust is Trust.FIRM:
                self._firm_ms.append(self._held_ms[-1])
                if not is_foreign(answer.source, self.series.exchange):
                    self._own_ms.append(self._held_ms[-1])

    def _set_aside(self, day: date, counts: Mapping[str, int]) -> None:
        asked = self.days[day]
        for rule, count in counts.items():
            asked.set_aside[rule] = asked.set_aside.get(rule, 0) + count

    def _note(self, day: date, answer: Answer, requests: int) -> None:
        asked = self.days[day]
        asked.answers.append(SourceAnswer(answer.source, answer.outcome.value, answer.detail))
        asked.requests += requests
        asked.seconds += answer.seconds / len(answer.days)
        if answer.checksum:
            asked.checksum, asked.etag = answer.checksum, answer.etag
            asked.address = answer.address
        self._outcomes.setdefault((day, answer.source), []).append(answer.outcome)

    def _doubt(self, day: date, answer: Answer, rank: int) -> None:
        """Note that a day's rows are doubtful, or that they no longer are.

        Another exchange confirms nothing.
        """
        asked = self.days[day]
        confirms = answer.outcome is Outcome.SERVED and rank < STAND_IN_RANK
        asked.doubtful = answer.trust is Trust.DOUBTFUL or (asked.doubtful and not confirms)

    def absent(self, wanted: Iterable[TimeRange]) -> list[TimeRange]:
        """Return what no row at all has filled, doubtful ones included."""
        present = _concatenate(self._held_ms)
        return [
            gap for span in wanted for gap in find_gaps_within(present, span, self.series.interval)
        ]

    def still_wanted(self, wanted: Iterable[TimeRange]) -> list[TimeRange]:
        """Return what no firm row has filled; a doubtful day is wanted as a whole."""
        doubtful = [day_range(day) for day, asked in self.days.items() if asked.doubtful]
        spans = merge_ranges([*wanted, *doubtful])
        present = _concatenate(self._firm_ms)
        return [
            gap for span in spans for gap in find_gaps_within(present, span, self.series.interval)
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

    def conclude(self, day: date, needed: Iterable[str]) -> None:
        """Mark the day when each source has told all it will ever tell.

        Those that are needed, and whoever else was asked: one that stands in has no say about a day
        for which nobody needed it.
        """
        asked = (name for other, name in self._outcomes if other == day)
        self.days[day].conclusive = all(
            self._has_told_all(day, name, self._outcomes.get((day, name), []))
            for name in {*needed, *asked}
        )

    def without_pauses(self, lives: Sequence[TimeRange]) -> tuple[TimeRange, ...]:
        """Return the lives without the days between two of them, where a name was reused.

        Such a day has no kline at the exchange itself, its API said so, and the archive has no file
        of it; of a day on which the exchange only stood still it has one. What another exchange
        has says nothing.
        """
        idle = [day for day, asked in self.days.items() if asked.conclusive and self._is_idle(day)]
        present = np.sort(_concatenate(self._own_ms)) if self._own_ms else ()
        return without_pauses(lives, idle, present, self.series.interval)

    def _is_idle(self, day: date) -> bool:
        said = {
            source: set(outcomes)
            for (asked, source), outcomes in self._outcomes.items()
            if asked == day and not is_foreign(source, self.series.exchange)
        }
        filed = said.pop(ARCHIVE, set())
        return filed == {Outcome.ABSENT} and {Outcome.NOTHING} in said.values()

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


def _in_runs(held: Iterable[_Held]) -> list[list[_Held]]:
    """Return the answers in their order, those that follow each other together."""
    runs: list[list[_Held]] = []
    for one in held:
        if runs and one.follows(runs[-1][-1]):
            runs[-1].append(one)
        else:
            runs.append([one])
    return runs
