"""When the day of a made series is to be made, or made anew: told from the finer day alone.

Pure functions of what the ledger knows. Making klines belongs to `making.bars` and `making.chain`.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date

from crypto_data.coverage import DayFacts, DayState, day_expected, day_state
from crypto_data.exchanges import made_source
from crypto_data.harvest import Aim
from crypto_data.series import Series

# To these ends a day that still lacks klines is looked at again, whatever its finer day is.
_ASKING_AGAIN = (Aim.FILL, Aim.REPAIR)


@dataclass(frozen=True, slots=True)
class FinerDay:
    """How the finer day stands; `mark` changes with all that klines are made of."""

    state: DayState
    mark: str
    why: str  # in the words of its sources, empty where it needs none

    @property
    def is_settled(self) -> bool:
        """Whether klines can be made of the day."""
        return not self.state.is_gap


def mark_of(state: str, rows: int, expected: int, ingested_ms: int) -> str:
    """Return what the ledger keeps, as the checksum of a made day, of the finer one it is of.

    Args:
        state: The finer day's.
        rows: Its klines on the grid.
        expected: How many it should have.
        ingested_ms: When these last changed, UTC epoch milliseconds.
    """
    return f"{state} {rows}/{expected} {ingested_ms}"


@dataclass(frozen=True, slots=True)
class Making:
    """A series, the finer one of the lake it is made of, and the best source of that one."""

    series: Series
    finer: Series
    finer_source: str

    def look_at(self, facts: DayFacts | None, day: date, now_ms: int) -> FinerDay:
        """Return how a finer day stands; `facts` is what is known of it."""
        interval, known = self.finer.interval, facts or DayFacts()
        state = day_state(facts, interval, day, best_source=self.finer_source, now_ms=now_ms)
        expected = day_expected(facts, interval, day)
        mark = mark_of(str(state), known.rows, expected, known.ingested_ms)
        return FinerDay(state, mark, known.reason if facts else "never asked for")

    def find_unmade(
        self,
        days: Iterable[date],
        made: Mapping[date, DayFacts],
        finer: Mapping[date, DayFacts],
        *,
        aim: Aim,
        now_ms: int,
    ) -> list[date]:
        """Return which days are to be made now.

        A day is where its finer day is settled and other than it was then. What was made of a day
        stays while that one is a gap again.

        Args:
            days: The days to look at.
            made: What is known of them.
            finer: What is known of the finer ones.
            aim: What the pass is for.
            now_ms: The exchange's clock, UTC epoch milliseconds.
        """
        best = made_source(self.finer.interval)
        unmade = []
        for day in days:
            known, origin = made.get(day), self.look_at(finer.get(day), day, now_ms)
            state = day_state(known, self.series.interval, day, best_source=best, now_ms=now_ms)
            is_outdated = known is None or known.checksum != origin.mark
            is_lacking = aim in _ASKING_AGAIN and state.is_gap
            if (origin.is_settled and is_outdated) or is_lacking:
                unmade.append(day)
        return unmade
