"""One fetch through an API on its way: pages that came, rows that wait for their whole day.

Builds answers. Which pages are asked for belongs to the source that walks.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, Protocol

import pyarrow as pa

from crypto_data.errors import SourceError
from crypto_data.partitions import day_range, day_start_ms
from crypto_data.schema import FETCHED, epoch_ms
from crypto_data.sources.base import Answer, Outcome
from crypto_data.sources.day_rows import by_day
from crypto_data.sources.outcome import outcome_of

# Rows held before an answer is handed over: about 5 MB.
ROWS_AN_ANSWER = 50_000


@dataclass(frozen=True, slots=True)
class Page:
    """What one call brought: closed rows of its window; every row before `known_ms` is known."""

    rows: Any
    known_ms: int


class Spender(Protocol):
    """What counts the requests of one fetch."""

    @property
    def detail(self) -> str:
        """What is to be said of an answer, `""` for nothing."""

    def spent(self) -> tuple[int, float]:
        """Return requests and seconds since this was last asked."""


class Walk:
    """The answers about one group of gaps: days that are known, rows that wait for their day."""

    def __init__(self, source: str, trip: Spender, days: Sequence[date]) -> None:
        self.days = list(days)
        self._source = source
        self._trip = trip
        self._held: list[Any] = []
        self._known_ms = day_start_ms(days[0])

    def take(self, page: Page) -> Iterator[Answer]:
        """Hold a page; hand over the whole days when there are many rows."""
        self._held.append(page.rows)
        self._known_ms = page.known_ms
        if sum(rows.num_rows for rows in self._held) >= ROWS_AN_ANSWER:
            yield from self.answers(self._known_days())

    def answers(self, days: Sequence[date]) -> Iterator[Answer]:
        """Yield one answer for the days with klines, and one for those without."""
        if not days:
            return
        held = by_day(pa.concat_tables([FETCHED.empty_table(), *self._held]))
        self.days = [day for day in self.days if day not in days]
        self._held = [held.of(self.days)] if self.days else []
        filled = [day for day in days if held.count(day)]
        empty = [day for day in days if not held.count(day)]
        if filled:
            yield self._answer(filled, Outcome.SERVED, self._trip.detail, held.of(filled))
        if empty:
            yield self._answer(empty, Outcome.NOTHING, self._trip.detail)

    def failed(self, error: SourceError, all_days: Sequence[date] = ()) -> Answer:
        """Return the answer for the days still open and all later ones, with the rows at hand."""
        days = [*self.days, *(day for day in all_days if day > self.days[-1])]
        rows = pa.concat_tables(self._held) if self._held else None
        return self._answer(days, outcome_of(error), error.detail, rows)

    def _known_days(self) -> list[date]:
        return [day for day in self.days if day_range(day).end_ms <= self._known_ms]

    def _answer(
        self, days: Sequence[date], outcome: Outcome, detail: str, rows: Any = None
    ) -> Answer:
        requests, seconds = self._trip.spent()
        return Answer(
            self._source, tuple(days), outcome, detail, rows, attempts=requests, seconds=seconds
        )  # fmt: skip


def last_open_ms(rows: Any) -> int:
    """Return the newest open time of a `FETCHED` table, UTC epoch milliseconds."""
    return int(epoch_ms(rows["open_time"]).to_numpy().max())


def first_open_ms(rows: Any) -> int:
    """Return the oldest open time of a `FETCHED` table, UTC epoch milliseconds."""
    return int(epoch_ms(rows["open_time"]).to_numpy().min())
