"""Binance Vision, the bulk archive: monthly files where they pay, daily files that confirm them.

Decides which files to fetch and how far to trust them. Fetching one belongs to `sources.archive`.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from datetime import date

from crypto_data.catalog.settings import VisionAddress
from crypto_data.coverage import DayFacts
from crypto_data.errors import Absent, Broken, SourceError
from crypto_data.intervals import Interval, TimeRange
from crypto_data.partitions import days_touched, expected_count
from crypto_data.series import Market, Series
from crypto_data.sources.archive import Archive, FetchedFile
from crypto_data.sources.archive_file import SOURCE, ArchiveFile
from crypto_data.sources.base import Answer, Lifetime, Outcome
from crypto_data.sources.gate import Gate
from crypto_data.sources.http import HttpClient
from crypto_data.sources.listing import PublishedFile
from crypto_data.sources.outcome import outcome_of
from crypto_data.sources.revision import Published, find_news, held_days, wants_monthlies
from crypto_data.sources.visit import Visit, set_aside_of

EXCHANGE = "binance"
# A monthly archive costs three requests with its listing, a day two: it pays from a few days on,
# and its bytes from about a quarter of the month on.
MONTHLY_SHARE = 4

# The dailies of a month as listed, by name; None when the listing could not be read.
Dailies = dict[str, PublishedFile] | None


class VisionSource:
    """The archive as a source of klines.

    Safe to use from several threads; daily archives of one fetch come side by side.

    Args:
        client: Sends the requests.
        gate: Remembers when a host wants to be left alone.
        address: Where files and listing lie.
        clock_ms: The exchange's clock, UTC epoch milliseconds: which months are over.
    """

    def __init__(
        self,
        client: HttpClient,
        gate: Gate,
        address: VisionAddress,
        clock_ms: Callable[[], int],
    ) -> None:  # fmt: skip
        self.archive = Archive(client, gate, address)
        self._clock_ms = clock_ms

    @property
    def name(self) -> str:
        """The word in the `source` column."""
        return SOURCE

    def fetch(self, series: Series, gaps: Sequence[TimeRange]) -> Iterator[Answer]:
        """Yield answers for every day touched by `gaps`; see `sources.base.Source`.

        A host that blocks, limits or is down is not asked again for the remaining days.
        """
        days = days_touched(gaps)
        if reason := _unsupported(series):
            yield Answer(SOURCE, tuple(days), Outcome.UNSUPPORTED, reason, attempts=0)
            return
        visit = Visit(self.archive, series, days)
        try:
            for month, wanted in _by_month(days).items():
                yield from self._month(visit, ArchiveFile(series, month), wanted)
        except SourceError as error:
            yield visit.answer(visit.left, outcome_of(error), error.detail)

    def revise(
        self, series: Series, period: str, known: Mapping[date, DayFacts]
    ) -> Iterator[Answer]:
        """Yield answers for the days whose file is new or changed; see `sources.base.Reviser`.

        One look at each of the two lists; nothing else is asked for when nothing is new.
        """
        known = held_days(series, known)
        if not known or _unsupported(series):
            return
        visit = Visit(self.archive, series, [])
        published = self._published(visit, period, known)
        news = find_news(series, known, published, self._clock_ms())
        for file, days in news.items():
            try:
                fetched = self.archive.fetch(file, visit.files)
            except (Absent, Broken) as error:
                address = self.archive.url(file)
                yield visit.answer(days, outcome_of(error), error.detail, address=address)
            else:
                listed = published.find(file)
                # What the list says is compared next time: a file's own word may differ for ever.
                etag = listed.etag if listed else ""
                yield from visit.taken(replace(fetched, etag=etag or fetched.etag), days)

    def _published(self, visit: Visit, period: str, known: Mapping[date, DayFacts]) -> Published:
        """Return what the archive lists of a period, the monthly files where they matter."""
        series = visit.series
        dailies: dict[str, PublishedFile] = {}
        monthlies: dict[str, PublishedFile] = {}
        if _has_dailies(series):
            dailies = self.archive.listed(series, period, visit.listing, monthly=False)
        if wants_monthlies(series, known, dailies, self._clock_ms()):
            monthlies = self.archive.listed(series, period, visit.listing, monthly=True)
        return Published(dailies, monthlies)

    def lifetime(self, series: Series) -> Lifetime:
        """Return the start of the series' first file, and its length as slack; no end is told.

        Raises:
            SourceError: the listing could not be read.
        """
        if _unsupported(series):
            return Lifetime(None)
        first = self.archive.first_file(series)
        if first is None:
            return Lifetime(None)
        return Lifetime(first.start_ms, slack_ms=first.end_ms - first.start_ms)

    def symbols(self, market: Market) -> list[str]:
        """Return every symbol the archive has ever had in a market, delisted ones too.

        Raises:
            SourceError: the listing could not be read.
        """
        return self.archive.symbols(market)

    def _month(self, visit: Visit, file: ArchiveFile, days: list[date]) -> Iterator[Answer]:
        """Answer for some days of one month."""
        has_dailies = _has_dailies(file.series)
        if not self._wants_monthly(file, days):
            if has_dailies:
                yield from self._dailies(visit, days, None)
            else:
                detail = f"{file.stem}.zip appears when the month is over"
                yield visit.answer(days, Outcome.ABSENT, detail)
            return
        try:
            fetched = self.archive.fetch(file, visit.files)
        except (Absent, Broken) as error:
            fault = outcome_of(error), error.detail
            if not has_dailies:
                yield visit.answer(days, *fault, address=self.archive.url(file))
                return
            if isinstance(error, Broken):  # told even where the dailies serve
                yield visit.aside(days, *fault, address=self.archive.url(file))
            # Of a month before the listing one look at the list spares thirty requests.
            dailies, _ = self._listed(visit, file)
            yield from self._dailies(visit, days, dailies)
        else:
            yield from self._from_month(visit, fetched, days)

    def _wants_monthly(self, file: ArchiveFile, days: Sequence[date]) -> bool:
        interval = file.series.interval
        if file.span.end_ms > self._clock_ms() or interval is Interval.SECOND_1:
            return False  # a month of seconds is 350 MB of text
        first, end = file.days
        return not interval.is_intraday or len(days) * MONTHLY_SHARE > (end - first).days

    def _from_month(
        self, visit: Visit, month: FetchedFile, days: Sequence[date]
    ) -> Iterator[Answer]:
        """Serve the days that the month has whole; ask for the others' dailies."""
        dailies, note = self._listed(visit, month.file)
        firm = [
            day
            for day in days
            if month.days.count(day) >= expected_count(visit.series.interval, day)
            and not _is_newer(dailies, month, day)
        ]
        if firm:
            yield visit.served(month, firm, detail=note, **set_aside_of(month))
        elif month.outside is not None:
            detail = f"{month.file.stem}.zip has {month.outside.num_rows} rows of another period"
            yield visit.aside(days, Outcome.BROKEN, detail, **set_aside_of(month))
        for day in days:
            if day not in firm:
                yield self._confirmed(visit, month, day, (dailies, note))

    def _confirmed(
        self, visit: Visit, month: FetchedFile, day: date, listed: tuple[Dailies, str]
    ) -> Answer:
        """Answer for a day that the monthly archive has short, or older than its daily archive."""
        file = _daily(visit.series, day)
        found, expected = month.days.count(day), expected_count(visit.series.interval, day)
        detail = f"{month.file.stem}.zip has {found} of {expected} klines"
        dailies, note = listed
        if note:
            detail = f"{detail}; {note}"
        try:
            if dailies is not None and f"{file.stem}.zip" not in dailies:
                return self._unconfirmed(visit, month, day, f"{detail}; no {file.stem}.zip")
            fetched = self.archive.fetch(file, visit.files)
        except Absent as error:
            return self._unconfirmed(visit, month, day, f"{detail}; {error.detail}")
        except Broken as error:
            # What the month has is handed over, but the day counts as broken: it is asked again.
            return visit.broken(month, day, f"{detail}; {error.detail}")
        if fetched.days.count(day) >= found:
            return visit.daily(fetched, day)
        detail = f"{detail}; {file.stem}.zip has only {fetched.days.count(day)}"
        answer = visit.doubtful(fetched, day, detail, filler=month.days.of([day]))
        return replace(answer, **set_aside_of(fetched))

    def _unconfirmed(self, visit: Visit, month: FetchedFile, day: date, detail: str) -> Answer:
        """Answer for a day that only the monthly archive has."""
        found, expected = month.days.count(day), expected_count(visit.series.interval, day)
        if found >= expected:
            return visit.served(month, [day], detail=detail)
        if found:
            return visit.doubtful(month, day, detail)
        return visit.answer([day], Outcome.ABSENT, detail, address=month.address)

    def _dailies(self, visit: Visit, days: Sequence[date], dailies: Dailies) -> Iterator[Answer]:
        """Answer for days from their daily archives alone; those not listed are not asked for."""
        idle = [day for day in days if not expected_count(visit.series.interval, day)]
        if idle:
            yield visit.answer(idle, Outcome.NOTHING, "no bar opens on these days")
        files = {day: _daily(visit.series, day) for day in days if day not in idle}
        absent = [
            day
            for day, file in files.items()
            if dailies is not None and f"{file.stem}.zip" not in dailies
        ]
        if absent:
            detail = f"no {files[absent[0]].stem}.zip in the listing{_and_more(absent)}"
            yield visit.answer(absent, Outcome.ABSENT, detail)
        wanted = {day: file for day, file in files.items() if day not in absent}
        with closing(self.archive.fetch_ahead(wanted.values(), visit.files)) as fetches:
            for (day, file), fetch in zip(wanted.items(), fetches, strict=True):
                try:
                    fetched = visit.fetched(fetch)
                except (Absent, Broken) as error:
                    address = self.archive.url(file)
                    yield visit.answer([day], outcome_of(error), error.detail, address=address)
                else:
                    yield visit.daily(fetched, day)

    def _listed(self, visit: Visit, month: ArchiveFile) -> tuple[Dailies, str]:
        """Return the listed dailies of a month, and a note when the listing could not be read."""
        if not _has_dailies(month.series):
            return {}, ""
        try:
            listed = self.archive.listed(month.series, month.period, visit.listing, monthly=False)
        except SourceError as error:
            return None, f"dailies not compared, no listing: {error.detail}"
        return listed, ""


def _unsupported(series: Series) -> str:
    """Return why the archive can never have a series, `""` when it can."""
    if series.exchange != EXCHANGE:
        return f"the archive holds {EXCHANGE} only"
    if series.interval is Interval.SECOND_1 and series.market is not Market.SPOT:
        return "the archive has 1s for spot only"
    return ""


def _has_dailies(series: Series) -> bool:
    """Return whether daily files can exist: spot has bars over a day in monthly files only.

    Source: binance-public-data issues 298 and 438, checked 2026-11.
    """
    return series.interval.is_intraday or series.market is not Market.SPOT


def _is_newer(dailies: Dailies, month: FetchedFile, day: date) -> bool:
    """Return whether the day's own file is newer than the month's, which is stale then."""
    daily = (dailies or {}).get(f"{_daily(month.file.series, day).stem}.zip")
    return daily is not None and daily.last_modified_ms > month.modified_ms > 0


def _daily(series: Series, day: date) -> ArchiveFile:
    return ArchiveFile(series, f"{day:%Y-%m-%d}")


def _by_month(days: Sequence[date]) -> dict[str, list[date]]:
    months: dict[str, list[date]] = {}
    for day in days:
        months.setdefault(f"{day:%Y-%m}", []).append(day)
    return months


def _and_more(days: Sequence[date]) -> str:
    return f", nor those of {len(days) - 1} more days" if len(days) > 1 else ""
