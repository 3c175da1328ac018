"""Which days the archive has something new of: published late, or published again.

Compares what the ledger knows of each day with the archive's listing; arithmetic only. Fetching
the files belongs to `sources.vision`, replacing rows and recording the change to `lake.store`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from urllib.parse import unquote

from crypto_data.coverage import ARCHIVE, DayFacts, day_expected
from crypto_data.intervals import Interval
from crypto_data.partitions import expected_count
from crypto_data.patience import is_due
from crypto_data.series import Series
from crypto_data.sources.archive_file import ArchiveFile
from crypto_data.sources.listing import PublishedFile


@dataclass(frozen=True, slots=True)
class Published:
    """The daily and the monthly files of a period as the archive lists them, by name."""

    dailies: Mapping[str, PublishedFile]
    monthlies: Mapping[str, PublishedFile]

    def find(self, file: ArchiveFile) -> PublishedFile | None:
        """Return a file as listed, None when it is not."""
        held = self.monthlies if file.is_monthly else self.dailies
        return held.get(f"{file.stem}.zip")


def find_news(
    series: Series, known: Mapping[date, DayFacts], published: Published, now_ms: int
) -> dict[ArchiveFile, list[date]]:
    """Return the files to fetch, and for which days each, ascending.

    Args:
        series: What the days belong to.
        known: What the ledger knows of each of the `held_days`; days it does not know are left to
            a fill.
        published: What the archive lists.
        now_ms: The exchange's clock, UTC epoch milliseconds.
    """
    news: dict[ArchiveFile, list[date]] = {}
    for day in sorted(known):
        daily, monthly = files_of(series, day)
        found = published.find(daily), published.find(monthly)
        newer = newer_file(known[day], *found, now_ms)
        if newer is not None:
            news.setdefault(daily if newer is found[0] else monthly, []).append(day)
    return news


def held_days(series: Series, known: Mapping[date, DayFacts]) -> dict[date, DayFacts]:
    """Return the days that the archive can have: bars open on them, within the symbol's life."""
    return {
        day: facts
        for day, facts in known.items()
        if expected_count(series.interval, day) and day_expected(facts, series.interval, day) > 0
    }


def wants_monthlies(
    series: Series,
    known: Mapping[date, DayFacts],
    dailies: Mapping[str, PublishedFile],
    now_ms: int,
) -> bool:
    """Return whether the list of monthly files can tell anything that the dailies' cannot."""
    if series.interval is Interval.SECOND_1:
        return False  # its monthly files are too large to be taken
    return any(
        _name(facts.address) == f"{monthly.stem}.zip"
        or (
            _is_open(facts) and f"{daily.stem}.zip" not in dailies and monthly.span.end_ms <= now_ms
        )
        for day, facts in known.items()
        for daily, monthly in [files_of(series, day)]
    )


def files_of(series: Series, day: date) -> tuple[ArchiveFile, ArchiveFile]:
    """Return the daily and the monthly file that a day lies in."""
    return ArchiveFile(series, f"{day:%Y-%m-%d}"), ArchiveFile(series, f"{day:%Y-%m}")


def newer_file(
    facts: DayFacts, daily: PublishedFile | None, monthly: PublishedFile | None, now_ms: int
) -> PublishedFile | None:
    """Return the file that has, or may have, something new of a day; None when none has.

    A daily file stands above the monthly one, unless the day was taken from the monthly and that
    has been published again after the daily.

    Args:
        facts: What the ledger knows of the day.
        daily: The day's own file as listed, None when it is not.
        monthly: The file of its month, likewise.
        now_ms: The exchange's clock, UTC epoch milliseconds.
    """
    taken = _name(facts.address)
    if monthly is not None and taken == monthly.name:
        newer = _newer_than_month(facts, daily, monthly, now_ms)
    elif daily is not None:
        newer = daily if taken != daily.name or _has_changed(facts, daily, now_ms) else None
    else:
        newer = monthly if not taken and _is_open(facts) else None
    if newer is None or not _may_be_asked(facts, newer, now_ms):
        return None
    return newer


def _newer_than_month(
    facts: DayFacts, daily: PublishedFile | None, monthly: PublishedFile, now_ms: int
) -> PublishedFile | None:
    """Return what is newer than the monthly file that a day was taken from."""
    changed = _has_changed(facts, monthly, now_ms)
    if daily is None:
        return monthly if changed else None
    # Of an open day the daily was not there yet, or was broken, when the month was taken.
    if daily.last_modified_ms > monthly.last_modified_ms or (_is_open(facts) and not changed):
        return daily
    return monthly if changed else None


def _is_open(facts: DayFacts) -> bool:
    """Return whether the day lacks klines, or has some that are not the archive's."""
    return (
        not facts.rows
        or bool(facts.absent)
        or any(source != ARCHIVE for source, _ in facts.sources)
    )


def _has_changed(facts: DayFacts, file: PublishedFile, now_ms: int) -> bool:
    """Return whether a file is another one than that a day was taken from.

    Without an ETag to compare, its time decides; one in the future says nothing yet.
    """
    if facts.etag and file.etag:
        return facts.etag != file.etag
    return facts.asked_ms < file.last_modified_ms <= now_ms


def _may_be_asked(facts: DayFacts, file: PublishedFile, now_ms: int) -> bool:
    """Return whether a file may be fetched now: what was in vain is tried again ever later.

    A file that was taken is known by its ETag. One that is broken, or listed and not there, leaves
    nothing to know it by, and a list that lies about ETags calls all files new for ever.
    """
    if facts.attempts <= 1 or facts.asked_ms < file.last_modified_ms <= now_ms:
        return True
    return is_due(facts, now_ms)


def _name(address: str) -> str:
    """Return the name of the file at an address, as the listing spells it."""
    return unquote(address.rpartition("/")[2])
