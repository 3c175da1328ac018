"""The lake as one reads and commits it: whole files, one lock a file, rows and ledger together.

What the sources said comes in as a `Harvest`; what each day is, is judged by `coverage`.
"""

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from filelock import FileLock, Timeout

from crypto_data.coverage import ARCHIVE, DayFacts, find_gaps, split_by_life
from crypto_data.errors import LakeBusy
from crypto_data.harvest import AskedDay, Harvest
from crypto_data.intervals import TimeRange
from crypto_data.lake.layout import lock_path, part_path, parts_in, quarantine_path, series_folder
from crypto_data.lake.ledger import Ledger, to_ledger
from crypto_data.lake.merge import merge, rows_of_days
from crypto_data.lake.part import (
    leftovers_of,
    make_folder,
    read_footer,
    read_rows,
    write_part,
    writing,
)
from crypto_data.lake.quarantine import keep_aside
from crypto_data.partitions import day_range, day_start_ms, period_days, periods_of
from crypto_data.schema import empty_klines, epoch_ms
from crypto_data.series import Series
from crypto_data.validation import cut, is_on_grid

LOCK_SECONDS = 300.0

log = logging.getLogger("crypto_data.lake")


@dataclass(frozen=True, slots=True)
class Commit:
    """What a commit did: the ledger of the file as it is now, and the bytes it wrote."""

    ledger: Ledger
    bytes_written: int


class Lake:
    """A folder of klines. Safe to use from several threads and processes at once."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def ledger(self, series: Series, days: Sequence[date]) -> Ledger:
        """Return what is known of some days; days never asked for are not in it.

        Raises:
            LakeDamaged: a file of these days cannot be read.
        """
        known: Ledger = {}
        for period in periods_of(series.interval, days):
            known |= self.period_ledger(series, period)
        return {day: known[day] for day in days if day in known}

    def period_ledger(self, series: Series, period: str) -> Ledger:
        """Return what is known of the days of one file; empty when there is no file."""
        return to_ledger(read_footer(part_path(self.root, series, period)).runs)

    def read(self, series: Series, span: TimeRange) -> pa.Table:
        """Return the klines of a half-open range, `schema.KLINES`, sorted.

        Raises:
            LakeDamaged: a file of the range cannot be read.
        """
        tables = [
            read_rows(part.path)
            for part in parts_in(series_folder(self.root, series), series)
            if _overlaps(part.period, span)
        ]
        rows = pa.concat_tables([*tables, empty_klines()])
        return cut(rows.unify_dictionaries(), [span]).combine_chunks()

    def commit(self, series: Series, period: str, harvest: Harvest) -> Commit:
        """Merge a harvest into one file and record how each of its days was answered.

        Rows of a worse source never replace those of a better one. Nothing is written when
        nothing changed.

        Args:
            series: What the rows are.
            period: The name of the file; all days of the harvest lie in it.
            harvest: What the sources brought.

        Raises:
            LakeBusy: another process held the file for five minutes.
            LakeDamaged: the file that is there cannot be read; it is left as it is.
            LakeNotWritable: no space or no permission; the old file is untouched.
        """
        path = part_path(self.root, series, period)
        with self._locked(series, period):
            aside = quarantine_path(self.root, series, period)
            _sweep(path)
            _sweep(aside)
            stored, known = read_rows(path), self.period_ledger(series, period)
            doubtful = [day for day, facts in known.items() if facts.doubtful]
            rows = merge(stored, harvest.offers, harvest.ranking, doubtful)
            changed = not rows.equals(stored)
            ledger = known | _judge_days(series, rows, known, harvest, stored if changed else None)
            written = keep_aside(aside, harvest.quarantined)
            if changed or ledger != known:
                written += write_part(path, rows, ledger)
        return Commit(ledger, written)

    @contextmanager
    def _locked(self, series: Series, period: str) -> Iterator[None]:
        path = lock_path(self.root, series, period)
        lock = FileLock(path, timeout=LOCK_SECONDS)
        with writing(path):
            make_folder(path.parent)
            try:
                lock.acquire()
            except Timeout as error:
                raise LakeBusy(
                    str(path), "held by another process for five minutes; run the command again"
                ) from error
        try:
            yield
        finally:
            lock.release()


def _overlaps(period: str, span: TimeRange) -> bool:
    first, end = period_days(period)
    return day_start_ms(first) < span.end_ms and span.start_ms < day_start_ms(end)


def _sweep(path: Path) -> None:
    """Remove what killed processes left of this file; its lock is ours, so nobody writes it."""
    for leftover in leftovers_of(path):
        log.info("removed %s, left by a process that was killed", leftover.name)
        with writing(path):
            leftover.unlink(missing_ok=True)


def _judge_days(
    series: Series, rows: pa.Table, known: Ledger, harvest: Harvest, before: pa.Table | None
) -> Ledger:
    """Return the new facts of the harvest's days; `before` is None when no row changed."""
    days = sorted(harvest.days)
    open_ms = epoch_ms(rows["open_time"]).to_numpy()
    places = rows_of_days(open_ms, days)
    changed = _changed_days(rows, places, before)
    sources = rows["source"].combine_chunks()
    judged = {}
    for day in days:
        place = places[day]
        earlier = known.get(day, DayFacts())
        facts = _judge_day(series, day, open_ms[place], harvest, earlier)
        judged[day] = _with_history(
            replace(facts, sources=_count_sources(sources[place], harvest.ranking)),
            earlier,
            harvest.days[day],
            changed=day in changed,
            asked_ms=harvest.asked_ms,
        )
    return judged


def _judge_day(
    series: Series, day: date, open_ms: Any, harvest: Harvest, earlier: DayFacts
) -> DayFacts:
    asked = harvest.days[day]
    on_grid = is_on_grid(open_ms, series.interval)
    lives = harvest.lives
    if lives is None and earlier.unlisted_rows:
        lives = earlier.absent  # rows never go: nothing else can be due and absent
    gaps = find_gaps(open_ms[on_grid], day_range(day), series.interval)
    absent, outside = split_by_life(gaps, lives, series.interval)
    rows = int(on_grid.sum())
    return DayFacts(
        rows=rows,
        off_grid=len(open_ms) - rows,
        unlisted_rows=outside,
        absent=tuple(absent) if rows or outside else (),
        explained=bool(absent) and asked.conclusive,
        doubtful=asked.doubtful,
        answers=tuple(asked.answers),
        set_aside=tuple(sorted(asked.set_aside.items())),
        checksum=asked.checksum,
        etag=asked.etag,
        address=asked.address,
    )


def _with_history(
    facts: DayFacts, earlier: DayFacts, asked: AskedDay, *, changed: bool, asked_ms: int
) -> DayFacts:
    """Add what accumulates: attempts, when it was asked, when and from where rows came."""
    if not changed and not asked.conclusive and not asked.checksum:
        # Nothing came and nothing was concluded: what was known of the day still holds.
        facts = _from_file_of(earlier, facts)
        facts = replace(facts, explained=earlier.explained, doubtful=earlier.doubtful)
    elif not facts.checksum and any(source == ARCHIVE for source, _ in facts.sources):
        facts = _from_file_of(earlier, facts)
    return replace(
        facts,
        attempts=earlier.attempts + 1,
        asked_ms=asked_ms,
        ingested_ms=asked_ms if changed else earlier.ingested_ms,
    )


def _from_file_of(earlier: DayFacts, facts: DayFacts) -> DayFacts:
    return replace(facts, checksum=earlier.checksum, etag=earlier.etag, address=earlier.address)


def _changed_days(
    rows: pa.Table, places: Mapping[date, slice], before: pa.Table | None
) -> set[date]:
    if before is None:
        return set()
    earlier = rows_of_days(epoch_ms(before["open_time"]).to_numpy(), list(places))
    return {day for day, place in places.items() if not _same(rows, place, before, earlier[day])}


def _same(rows: pa.Table, place: slice, before: pa.Table, earlier: slice) -> bool:
    now = rows.slice(place.start, place.stop - place.start)
    then = before.slice(earlier.start, earlier.stop - earlier.start)
    return now.num_rows == then.num_rows and bool(now.equals(then))


def _count_sources(marks: Any, ranking: Sequence[str]) -> tuple[tuple[str, int], ...]:
    """Return the sources of some rows and their counts, the best source first."""
    names = marks.dictionary.to_pylist()
    counts = np.bincount(marks.indices.to_numpy(), minlength=len(names))
    places = {name: place for place, name in enumerate(ranking)}
    held = [(name, int(count)) for name, count in zip(names, counts, strict=True) if count]
    return tuple(sorted(held, key=lambda pair: (places.get(pair[0], len(places)), pair[0])))
