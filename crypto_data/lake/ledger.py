"""The day ledger as text: what is known of each day, carried in the footer of the day's own file.

Rows and ledger are one file, so one rename commits both and no crash can part them. Days that
follow each other with equal facts share one entry.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from crypto_data.coverage import DayFacts, SourceAnswer
from crypto_data.intervals import TimeRange
from crypto_data.partitions import ONE_DAY

KEY = b"crypto_data.days"


@dataclass(frozen=True, slots=True)
class DayRun:
    """Neighbouring days of one series that share their facts."""

    first: date
    days: int
    facts: DayFacts

    @property
    def end(self) -> date:
        """The day after the last."""
        return self.first + timedelta(days=self.days)


Ledger = dict[date, DayFacts]


def to_runs(ledger: Mapping[date, DayFacts]) -> list[DayRun]:
    """Return the ledger's days ascending, neighbours with equal facts joined."""
    runs: list[DayRun] = []
    for day in sorted(ledger):
        facts = ledger[day]
        if runs and runs[-1].end == day and runs[-1].facts == facts:
            runs[-1] = DayRun(runs[-1].first, runs[-1].days + 1, facts)
        else:
            runs.append(DayRun(day, 1, facts))
    return runs


def to_ledger(runs: Iterable[DayRun]) -> Ledger:
    """Return the facts by day."""
    return {run.first + number * ONE_DAY: run.facts for run in runs for number in range(run.days)}


def encode(ledger: Mapping[date, DayFacts]) -> bytes:
    """Return the ledger as JSON: a list of runs; what equals its default is left out."""
    entries = [
        {"first": run.first.isoformat(), "days": run.days, **_encode_facts(run.facts)}
        for run in to_runs(ledger)
    ]
    return json.dumps(entries, separators=(",", ":"), ensure_ascii=False).encode()


def decode(text: bytes) -> list[DayRun]:
    """Return the runs of `encode`.

    Raises:
        ValueError, KeyError, TypeError: the text is no ledger.
    """
    return [
        DayRun(
            date.fromisoformat(entry["first"]),
            entry["days"],
            _decode_facts({name: entry[name] for name in entry if name not in {"first", "days"}}),
        )
        for entry in json.loads(text)
    ]


_NOTHING_KNOWN = DayFacts()


def _encode_facts(facts: DayFacts) -> dict[str, Any]:
    plain: dict[str, Any] = {
        name: getattr(facts, name)
        for name in DayFacts.__slots__
        if getattr(facts, name) != getattr(_NOTHING_KNOWN, name)
    }
    if facts.absent:
        plain["absent"] = [[gap.start_ms, gap.end_ms] for gap in facts.absent]
    if facts.answers:
        plain["answers"] = [[a.source, a.outcome, a.detail] for a in facts.answers]
    return plain


def _decode_facts(plain: dict[str, Any]) -> DayFacts:
    for name, kind in (("absent", TimeRange), ("answers", SourceAnswer)):
        if name in plain:
            plain[name] = tuple(kind(*item) for item in plain[name])
    for name in ("sources", "set_aside"):
        if name in plain:
            plain[name] = tuple((key, count) for key, count in plain[name])
    return DayFacts(**plain)
