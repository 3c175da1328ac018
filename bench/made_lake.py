"""A thin lake of many series over many days: ledgers as a real one has them, and hardly any rows.

Sealed months come from monthly archives, the last two months from dailies, each with a checksum
of its own; among them explained, unlisted, provisional, partial and missing days.
"""

import hashlib
import os
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from datetime import date, timedelta
from pathlib import Path

from crypto_data.coverage import DayFacts, SourceAnswer
from crypto_data.intervals import Interval, TimeRange
from crypto_data.lake.layout import part_path
from crypto_data.lake.ledger import to_ledger
from crypto_data.lake.part import read_footer, read_rows, write_part
from crypto_data.partitions import day_start_ms, days_in, expected_count, periods_of
from crypto_data.schema import empty_klines
from crypto_data.series import Market, Series

INTERVALS = (Interval.MINUTE_1, Interval.HOUR_1, Interval.DAY_1)
LAST_DAY = date(2026, 1, 1)  # the first day that is not in the lake
DAILIES = 60  # so many days before it come from daily archives
PROVISIONAL = 2  # so many from REST
BAD = 5  # so many days ago nothing could be had of any series

_ARCHIVE = "https://data.binance.vision/data/spot"


def make_lake(root: Path, symbols: int, days: int) -> list[Series]:
    """Make a lake of `symbols` times three intervals over `days`; return its series."""
    series = [
        Series("binance", Market.SPOT, f"COIN{number:03}USDT", interval)
        for number in range(symbols)
        for interval in INTERVALS
    ]
    size = -(-len(series) // (os.cpu_count() or 1))
    with ProcessPoolExecutor() as pool:
        pieces = [series[start : start + size] for start in range(0, len(series), size)]
        for _ in pool.map(_write_series, [root] * len(pieces), pieces, [days] * len(pieces)):
            pass
    return series


def copy_part(source: Path, target: Path) -> None:
    """Write a file's rows and ledger as those of another series of the same interval."""
    write_part(target, read_rows(source), to_ledger(read_footer(source).runs))


def _write_series(root: Path, held: Sequence[Series], days: int) -> None:
    os.fsync = lambda fd: None  # noqa: ARG005 - by its name; a lake that is thrown away need not outlive the power
    for series in held:
        first = LAST_DAY - timedelta(days=days)
        listed = first + timedelta(days=sum(series.symbol.encode()) % max(1, days // 4))
        for period, inside in periods_of(series.interval, days_in(first, LAST_DAY)).items():
            ledger = dict(_ledger(series, inside, listed))
            write_part(part_path(root, series, period), empty_klines(), ledger)


def _ledger(series: Series, days: Iterable[date], listed: date) -> Iterable[tuple[date, DayFacts]]:
    for day in days:
        facts = _facts(series, day, listed)
        if facts is not None:
            yield day, facts


def _facts(series: Series, day: date, listed: date) -> DayFacts | None:
    """Return what is known of a day; None for the few that nobody ever asked for."""
    due = expected_count(series.interval, day)
    age = (LAST_DAY - day).days
    asked_ms = day_start_ms(day) + 100_000_000
    if day < listed:
        return DayFacts(unlisted_rows=due, attempts=1, asked_ms=asked_ms)
    if age <= PROVISIONAL:
        return _whole(due, "rest", "", asked_ms)
    kind = 1 if age == BAD else _draw(series, day)
    if kind == 0:
        return None
    if kind == 1:
        return _missing(asked_ms)
    if kind in (2, 3) and due > 1:
        return _holed(due, day, asked_ms, explained=kind == 2)  # noqa: PLR2004
    name = f"{day:%Y-%m-%d}" if age <= DAILIES else f"{day:%Y-%m}"
    return _whole(due, "vision", f"{_ARCHIVE}/{series.symbol}-{series.interval}-{name}.zip", 7)


def _draw(series: Series, day: date) -> int:
    """Return a number below 1000 that is always the same for a symbol and day."""
    return int.from_bytes(hashlib.sha256(f"{series.symbol}{day}".encode()).digest()[:2]) % 1000


def _whole(due: int, source: str, address: str, ingested_ms: int) -> DayFacts:
    return DayFacts(
        rows=due,
        sources=((source, due),),
        checksum=hashlib.sha256(address.encode()).hexdigest() if address else "",
        etag=hashlib.md5(address.encode()).hexdigest() if address else "",  # noqa: S324 - as S3
        address=address,
        attempts=1,
        asked_ms=ingested_ms,
        ingested_ms=ingested_ms,
    )


def _missing(asked_ms: int) -> DayFacts:
    answers = (
        SourceAnswer("vision", "broken", "the zip does not fit its CHECKSUM"),
        SourceAnswer("rest", "unreachable", "timed out after 30 s"),
    )
    return DayFacts(answers=answers, attempts=5, asked_ms=asked_ms)


def _holed(due: int, day: date, asked_ms: int, *, explained: bool) -> DayFacts:
    lacking = due // 4
    noon_ms = day_start_ms(day) + 43_200_000
    return DayFacts(
        rows=due - lacking,
        sources=(("vision", due - lacking),),
        absent=(TimeRange(noon_ms, noon_ms + 21_600_000),),
        explained=explained,
        answers=(SourceAnswer("vision", "served"), SourceAnswer("rest", "nothing")),
        attempts=2,
        asked_ms=asked_ms,
        ingested_ms=asked_ms,
    )
