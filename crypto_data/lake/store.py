"""The lake as one reads and commits it: whole files, one lock a file, rows and ledger together.

What the sources said comes in as a `Harvest`; what each day is, is judged by `coverage`.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from crypto_data.coverage import (
    ARCHIVE,
    DayFacts,
    count_stand_ins,
    find_gaps,
    split_by_life,
)
from crypto_data.errors import LakeDamaged
from crypto_data.harvest import AskedDay, Harvest
from crypto_data.intervals import TimeRange
from crypto_data.lake.corrections import Correction, find_corrections
from crypto_data.lake.layout import part_path, parts_in, quarantine_path, series_folder
from crypto_data.lake.ledger import Ledger, to_ledger
from crypto_data.lake.locking import locked
from crypto_data.lake.merge import merge, rows_inside, rows_of_days, without_days, without_strays
from crypto_data.lake.part import (
    is_refused,
    leftovers_of,
    read_footer,
    read_rows,
    why_damaged,
    write_part,
    writing,
)
from crypto_data.lake.quarantine import keep_aside
from crypto_data.lake.set_aside import SetAside, put_aside
from crypto_data.lake.superseded import keep_superseded
from crypto_data.partitions import day_range, day_start_ms, period_days, periods_of
from crypto_data.schema import empty_klines, epoch_ms
from crypto_data.series import Series
from crypto_data.validation import is_on_grid

log = logging.getLogger("crypto_data.lake")


@dataclass(frozen=True, slots=True)
class Commit:
    """What a commit did: the ledger of the file as it is now, bytes it wrote, days it corrected."""

    ledger: Ledger
    bytes_written: int
    corrections: tuple[Correction, ...] = ()


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
            rows_inside(read_rows(part.path), span)
            for part in parts_in(series_folder(self.root, series), series)
            if _overlaps(part.period, span)
        ]
        rows = pa.concat_tables([*tables, empty_klines()])
        return rows.unify_dictionaries().combine_chunks()

    def commit(self, series: Series, period: str, harvest: Harvest) -> Commit:
        """Merge a harvest into one file and record how each of its days was answered.

        Rows of a worse source never replace those of a better one; rows of another exchange outside
        the symbol's life are dropped. Nothing is written when nothing changed. Before klines that
        were there are replaced by other values, or dropped, the file is kept in `_superseded`, and
        the day is told as corrected.

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
        with locked(self.root, series, period):
            _sweep(path)
            _sweep(quarantine_path(self.root, series, period))
            stored, footer = read_rows(path), read_footer(path)
            known = to_ledger(footer.runs)
            doubtful = [day for day, facts in known.items() if facts.doubtful]
            replaced = [day for day, asked in harvest.days.items() if asked.is_all]
            kept = without_days(stored, replaced)
            rows = merge(kept, harvest.offers, harvest.ranking, doubtful)
            rows = without_strays(rows, series.exchange, harvest.days, harvest.lives)
            changed = not rows.equals(stored)
            ledger = known | _judge_days(series, rows, known, harvest, stored if changed else None)
            written = self._quarantine(series, period, harvest)
            corrections: tuple[Correction, ...] = ()
            if changed and stored.num_rows:
                found = find_corrections(stored, rows, harvest, known, ledger)
                corrections = self._keep_superseded(series, period, found)
            if changed or ledger != known:
                written += write_part(path, rows, ledger, (*footer.corrections, *corrections))
        return Commit(ledger, written, corrections)

    def _quarantine(self, series: Series, period: str, harvest: Harvest) -> int:
        """Write rows that broke a rule; a damaged file of such rows is set aside first."""
        path = quarantine_path(self.root, series, period)
        try:
            return keep_aside(path, harvest.quarantined)
        except LakeDamaged as error:
            if is_refused(error.__cause__):
                raise
            self._put_aside(path, (series, period), harvest.asked_ms, error)
        return keep_aside(path, harvest.quarantined)

    def _keep_superseded(
        self, series: Series, period: str, found: Sequence[Correction]
    ) -> tuple[Correction, ...]:
        """Keep the file that is about to be replaced, and note in the corrections where."""
        if not found:
            return ()
        kept = keep_superseded(self.root, series, period, found[0].at_ms)
        return tuple(replace(correction, superseded=kept) for correction in found)

    def set_aside_damaged(self, series: Series, period: str, at_ms: int) -> SetAside | None:
        """Move a file out of the lake whose content is damaged; its days are missing then.

        Looks again, under the file's lock: None when there is nothing wrong, as when another
        process has moved it.

        Args:
            series: What the file should hold.
            period: Its name.
            at_ms: The exchange's clock, UTC epoch milliseconds.

        Raises:
            LakeDamaged: the system does not let us read it, which is no damage; it is left.
            LakeBusy, LakeNotWritable: it cannot be moved; it is left.
        """
        path = part_path(self.root, series, period)
        with locked(self.root, series, period):
            try:
                read_footer(path)
                read_rows(path)
            except LakeDamaged as error:
                if is_refused(error.__cause__):
                    raise
                return self._put_aside(path, (series, period), at_ms, error)
        return None

    def _put_aside(
        self, path: Path, owner: tuple[Series, str], at_ms: int, error: LakeDamaged
    ) -> SetAside:
        moved = put_aside(self.root, path, owner=owner, at_ms=at_ms, why=why_damaged(error))
        log.warning("%s: damaged (%s); moved to %s", moved.original, moved.why, moved.kept)
        return moved


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
        facts = replace(facts, sources=_count_sources(sources[place], harvest.ranking))
        stood_in = count_stand_ins(facts, harvest.ranking[0]) and harvest.days[day].conclusive
        judged[day] = _with_history(
            replace(facts, explained=facts.explained or bool(stood_in)),
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
