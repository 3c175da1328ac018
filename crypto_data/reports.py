"""How the days of a series stand after a pass, as entrances show it.

Values, and how they follow from the ledger and what the pass brought. The pass itself belongs to
`ingest`.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date

from crypto_data.coverage import DayFacts, DayState, day_expected, day_state
from crypto_data.harvest import AskedDay, Chain, Harvest
from crypto_data.lake.corrections import Correction
from crypto_data.lake.ledger import Ledger
from crypto_data.series import Series


@dataclass(frozen=True, slots=True)
class DayReport:
    """How one day stands after a pass."""

    day: date
    state: DayState
    rows: int
    expected: int
    source: str  # the sources of its rows, best first, joined by `+`
    asked: bool  # whether this pass asked for it
    requests: int = 0
    seconds: float = 0.0
    attempts: int = 0  # how often it was asked for, all passes together
    failovers: str = ""  # why a better source did not serve it
    set_aside: tuple[tuple[str, int], ...] = ()
    correction: str = ""  # what this pass changed of the klines that were there

    @property
    def is_settled(self) -> bool:
        """Whether the day needs no repair."""
        return not self.state.is_gap


@dataclass(frozen=True, slots=True)
class SeriesReport:
    """How all days of a job stand after a pass; `error` says why the pass broke off, if it did."""

    series: Series
    days: tuple[DayReport, ...]
    seconds: float
    bytes_written: int = 0
    error: str = ""

    @property
    def short(self) -> tuple[DayReport, ...]:
        """The days that this pass asked for and that still need repair.

        Filling and repairing ask for every gap. Mending leaves those whose wait is not over to a
        later pass, and revising leaves all that the archive has nothing new of: no failure of this.
        """
        return tuple(day for day in self.days if day.asked and not day.is_settled)

    @property
    def is_whole(self) -> bool:
        """Whether every day that was asked for is settled."""
        return not self.error and not self.short


def state_of(series: Series, day: date, facts: DayFacts | None, chain: Chain) -> DayState:
    """Return the state of a day by the exchange's clock."""
    return day_state(
        facts, series.interval, day, best_source=chain.ranking[0], now_ms=chain.now_ms()
    )


def report_days(  # noqa: PLR0913 - the last two are what the pass brought, if it asked
    series: Series,
    days: Iterable[date],
    ledger: Ledger,
    chain: Chain,
    *,
    harvest: Harvest | None = None,
    corrections: Iterable[Correction] = (),
) -> tuple[DayReport, ...]:
    """Return how each day stands by the ledger, with what this pass did for it."""
    asked_days = harvest.days if harvest else {}
    corrected = {correction.day: describe(correction) for correction in corrections}
    return tuple(
        _report_day(
            (series, day), ledger.get(day), chain, asked_days.get(day), corrected.get(day, "")
        )
        for day in days
    )


def describe(correction: Correction) -> str:
    """Return a correction in words: `42 rows: close, volume changed`."""
    rows = f"{correction.rows_changed} row{'s' if correction.rows_changed != 1 else ''}"
    if correction.columns == ("open_time",):
        return f"{rows} dropped: outside the symbol's life"
    return f"{rows}: {', '.join(correction.columns)} changed"


def _report_day(
    place: tuple[Series, date],
    facts: DayFacts | None,
    chain: Chain,
    asked: AskedDay | None,
    correction: str,
) -> DayReport:
    series, day = place
    known = facts or DayFacts()
    state = state_of(series, day, facts, chain)
    ranking = [*chain.ranking, *(source for source, _ in known.sources)]  # best first
    sources = sorted((source for source, _ in known.sources), key=ranking.index)
    as_wished = state is DayState.COMPLETE and sources == [chain.ranking[0]]
    return DayReport(
        day=day,
        state=state,
        rows=known.rows,
        expected=day_expected(facts, series.interval, day),
        source="+".join(sources),
        asked=asked is not None,
        requests=asked.requests if asked else 0,
        seconds=asked.seconds if asked else 0.0,
        attempts=known.attempts,
        failovers="" if as_wished or state is DayState.UNLISTED else known.reason,
        set_aside=known.set_aside,
        correction=correction,
    )
