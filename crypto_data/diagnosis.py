"""What a request for one day of one series would get, from whom, and why: nothing is stored.

Looks into the lake, tries each source once through its own code, and lets the chain and a lake of
the moment judge what came, as a run would. How that is shown belongs to `cli`.
"""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from crypto_data.catalog.configuration import Feed
from crypto_data.coverage import DayFacts, DayState, day_expected, day_state
from crypto_data.errors import LakeDamaged
from crypto_data.lake.store import Lake
from crypto_data.partitions import day_range, expected_count, period_name
from crypto_data.series import Series
from crypto_data.sources.base import Outcome
from crypto_data.sources.connect import Chains
from crypto_data.sources.gate import Closing
from crypto_data.sources.probe import Probe, probe_all, replay
from crypto_data.sources.sent import Sent

LAKE = "lake"
NOBODY = ""

_AS_ITSELF = (Outcome.SERVED, Outcome.NOTHING, Outcome.ABSENT, Outcome.REJECTED)


@dataclass(frozen=True, slots=True)
class Asked:
    """One day of a series, UTC and over at the exchange, and the feed whose sources are tried."""

    feed: Feed
    series: Series
    day: date


@dataclass(frozen=True, slots=True)
class Holding:
    """What the lake has of the day: its state, klines present and due, their sources, and why."""

    state: DayState
    rows: int
    expected: int
    source: str
    why: str

    @property
    def is_settled(self) -> bool:
        """Whether a request is served without asking anybody."""
        return not self.state.is_gap


@dataclass(frozen=True, slots=True)
class Finding:
    """How one source did. `seconds` is until its last answer, times are UTC epoch milliseconds.

    Reached is a source that answered as itself, be it that it has nothing; a firewall, a ban or a
    damaged answer is no source. `status` is that of the last HTTP answer, None where none came.
    `is_used` says whether a request would store klines of this source, `why` in words. Budgets are
    weight a minute.
    """

    source: str
    is_reached: bool
    status: int | None
    seconds: float
    requests: int
    outcome: str
    rows: int
    newest_ms: int | None
    is_used: bool
    why: str
    closings: tuple[tuple[str, Closing], ...]
    budget_used: int | None
    budget_limit: int | None


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """The whole report; `fetched` is how the day would stand if the sources were asked now."""

    series: Series
    day: date
    held: Holding
    fetched: Holding
    findings: tuple[Finding, ...]

    @property
    def is_served(self) -> bool:
        """Whether a request gets all there is of the day."""
        return self.held.is_settled or self.fetched.is_settled

    @property
    def used(self) -> str:
        """Who would serve: `lake`, sources joined by `+`, or `""`."""
        if self.held.is_settled:
            return LAKE
        return self.fetched.source if self.fetched.is_settled else NOBODY


def diagnose(lake: Lake, chains: Chains, asked: Asked, sent: Sequence[Sent]) -> Diagnosis:
    """Return how the lake and each source of a feed's chain do for one closed day.

    Args:
        lake: What a request reads first.
        chains: The sources, opened in the manner of `sources.probe.trying_once`.
        asked: Which day of which series, and whose chain is tried.
        sent: Where the chains put the requests they have sent.
    """
    chain, series, day = chains.chain(asked.feed), asked.series, asked.day
    probes = probe_all(chain, series, day_range(day), sent)
    held = _held(lake, series, day, (chain.ranking[0], chain.now_ms()))
    harvest = replay(chain, probes, series, day_range(day))
    with tempfile.TemporaryDirectory(prefix="crypto-data-") as folder:
        commit = Lake(Path(folder)).commit(series, period_name(series.interval, day), harvest)
    facts = commit.ledger[day]
    fetched = _holding(facts, series, day, (chain.ranking[0], chain.now_ms()))
    used = dict(facts.sources)
    return Diagnosis(
        series,
        day,
        held,
        fetched,
        tuple(
            _finding(probe, series, chains, _use(probe, used.get(probe.source.name, 0), fetched))
            for probe in probes
        ),
    )


def _held(lake: Lake, series: Series, day: date, clock: tuple[str, int]) -> Holding:
    try:
        facts = lake.ledger(series, [day]).get(day)
    except LakeDamaged as error:
        due = expected_count(series.interval, day)
        return Holding(DayState.MISSING, 0, due, "", f"{error}; a run sets it aside and asks anew")
    return _holding(facts, series, day, clock)


def _holding(facts: DayFacts | None, series: Series, day: date, clock: tuple[str, int]) -> Holding:
    best_source, now_ms = clock
    return Holding(
        state=day_state(facts, series.interval, day, best_source=best_source, now_ms=now_ms),
        rows=facts.rows if facts else 0,
        expected=day_expected(facts, series.interval, day),
        source="+".join(source for source, _ in facts.sources) if facts else "",
        why=facts.reason if facts else "never asked for",
    )


def _use(probe: Probe, used: int, fetched: Holding) -> tuple[bool, str]:
    """Return whether a request would take klines from a source, and why or why not."""
    words = _words(probe)
    if used:
        share = "all" if used >= fetched.expected else f"{used} of {fetched.expected}"
        return True, "; ".join([f"gives {share} klines", *words])
    if words:
        return False, "; ".join(words)
    if probe.rows:
        return False, f"not needed: {fetched.source or 'a better source'} comes first and has them"
    return False, "has no kline of the day"


def _words(probe: Probe) -> list[str]:
    """Return what the source itself said, each thing once."""
    said = [answer.detail for answer in probe.answers if answer.detail]
    return list(dict.fromkeys(said))


def _finding(probe: Probe, series: Series, chains: Chains, use: tuple[bool, str]) -> Finding:
    name = probe.source.name
    budget = chains.budget(name, series.market)
    requests = sum(answer.attempts for answer in probe.answers)
    outcome = probe.answers[-1].outcome
    is_used, why = use
    return Finding(
        source=name,
        is_reached=requests > 0 and outcome in _AS_ITSELF,
        status=_status(probe),
        seconds=probe.seconds,
        requests=requests,
        outcome=outcome,
        rows=probe.rows,
        newest_ms=probe.newest_ms,
        is_used=is_used,
        why=why,
        closings=tuple(chains.closings(name, series.market).items()),
        budget_used=budget.used() if budget else None,
        budget_limit=budget.limit if budget else None,
    )


def _status(probe: Probe) -> int | None:
    """Return the status of the last answer; None when none came."""
    statuses = [one.status for one in probe.sent if one.status is not None]
    return statuses[-1] if statuses else None
