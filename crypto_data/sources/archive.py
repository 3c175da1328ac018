"""The archive's files over HTTP: a zip with its CHECKSUM, and when a series begins there.

Which files are wanted, and how far they are trusted, belongs to `sources.vision`; what is inside
one belongs to `sources.archive_file`.
"""

import threading
from collections import deque
from collections.abc import Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from datetime import UTC, date
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import quote

from crypto_data.addresses import place_of, public_url
from crypto_data.catalog.settings import VisionAddress
from crypto_data.errors import Absent, Broken
from crypto_data.intervals import TimeRange
from crypto_data.partitions import period_days, span_of_days
from crypto_data.series import Market, Series
from crypto_data.sources.archive_file import (
    SOURCE,
    ArchiveFile,
    archive_folder,
    read_archive,
)
from crypto_data.sources.day_rows import DayRows, by_day, split_outside
from crypto_data.sources.gate import Gate, GateDoor
from crypto_data.sources.http import HttpClient, Request, Response
from crypto_data.sources.listing import Listing, PublishedFile

BINANCE = "binance"
MAX_CHECKSUM_BYTES = 4096
# The first zip and its CHECKSUM, and some names of another form before them.
FIRST_KEYS = 20
# Text and table of a month together take 30 MB: fetching side by side must not add those up.
PARSED_AT_ONCE = 2
# A zip gains nothing by a further packing, and its length stays known.
PLAIN = {"Accept-Encoding": "identity"}


@dataclass(frozen=True, slots=True)
class FetchedFile:
    """A file that fits its checksum: its rows by day, and the rows of other periods, set aside.

    `modified_ms` is the Last-Modified, UTC epoch milliseconds, 0 when the archive did not say.
    """

    file: ArchiveFile
    address: str
    checksum: str
    etag: str
    modified_ms: int
    days: DayRows
    outside: Any  # a `FETCHED` table with a column `rule`, None if there are none


@dataclass(frozen=True, slots=True)
class Fetch:
    """A file that is being fetched by a thread of its own, and the door that counts its cost."""

    door: GateDoor
    fetched: Future[FetchedFile]


class Archive:
    """The archive's files and their list; safe to use from several threads.

    Args:
        client: Sends the requests.
        gate: Remembers when a host wants to be left alone.
        address: Where files and listing lie.
    """

    def __init__(self, client: HttpClient, gate: Gate, address: VisionAddress) -> None:
        self._client = client
        self._gate = gate
        self._root = address.url.rstrip("/")
        self._parsing = threading.Semaphore(PARSED_AT_ONCE)
        # One connection is left for months and lists; further threads would stand in a queue.
        self._ahead = max(1, client.concurrency - 1)
        self.listing = Listing(client, gate, address.listing)
        self.host = f"vision {place_of(address.url)}"

    def door(self, series: Series) -> GateDoor:
        """Return the way to the files for the requests about one series."""
        return self._gate.door(self.host, source=SOURCE, series=str(series))

    def url(self, file: ArchiveFile) -> str:
        """Return the address of a file as it is stored and shown, without a login."""
        return public_url(self._address(file))

    def _address(self, file: ArchiveFile) -> str:
        return f"{self._root}/{quote(file.key)}"

    def fetch(self, file: ArchiveFile, door: GateDoor) -> FetchedFile:
        """Fetch a file and its CHECKSUM, both once more if they do not fit together.

        Raises:
            Absent: no such file.
            Broken: twice nothing that can be trusted.
            SourceError: the host cannot be asked.
        """
        try:
            return self._fetch_once(file, door)
        except Broken:
            # The pair may have been replaced between the two requests.
            return self._fetch_once(file, door)

    def fetch_ahead(
        self, files: Iterable[ArchiveFile], door: GateDoor
    ) -> Generator[Fetch, None, None]:
        """Yield the fetches of some files in their order, further ones being under way.

        None but the first is begun before the caller asks for the second: a host that refuses gets
        one request. When the caller ends early no other is begun, and what those under way cost is
        charged to `door`.
        """
        under_way: deque[Fetch] = deque()
        with ThreadPoolExecutor(self._ahead, thread_name_prefix="archive") as threads:
            try:
                for number, file in enumerate(files):
                    own = self._gate.door(self.host, source=SOURCE, series=door.series)
                    under_way.append(Fetch(own, threads.submit(self.fetch, file, own)))
                    if number == 0 or len(under_way) > self._ahead:
                        yield under_way.popleft()
                while under_way:
                    yield under_way.popleft()
            finally:
                wait([fetch.fetched for fetch in under_way if not fetch.fetched.cancel()])
                for fetch in under_way:
                    door.charge(fetch.door)

    def listed(
        self, series: Series, period: str, door: GateDoor, *, monthly: bool
    ) -> dict[str, PublishedFile]:
        """Return the monthly or the daily files of a year, month or day as listed, by name.

        Raises:
            SourceError: the listing could not be read.
        """
        folder = archive_folder(series, monthly=monthly)
        return self.listing.files(f"{folder}{ArchiveFile(series, period).stem}", door)

    def first_file(self, series: Series) -> TimeRange | None:
        """Return the day or month of a series' first file; None without any file.

        Raises:
            SourceError: the listing could not be read.
        """
        door = self.listing.door(str(series))
        month = self._first_period(archive_folder(series, monthly=True), series, door)
        day = self._first_period(archive_folder(series, monthly=False), series, door)
        if month is None or (day is not None and day[:7] <= month):
            month = day  # the first month begins with its first day's file, where that exists
        return None if month is None else span_of_days(*period_days(month))

    def last_file(self, series: Series) -> TimeRange | None:
        """Return the day or month of a series' last file; None without any file.

        Raises:
            SourceError: the listing could not be read.
        """
        door = self.listing.door(str(series))
        month = max(self._periods(series, door, monthly=True), default="")
        day = max(self._periods(series, door, monthly=False, since=month), default="")
        last = max(day, month)  # a day of that month sorts behind the month itself
        return span_of_days(*period_days(last)) if last else None

    def file_days(self, series: Series) -> list[date]:
        """Return the days of which the archive has a daily file, ascending.

        Raises:
            SourceError: the listing could not be read.
        """
        door = self.listing.door(str(series))
        periods = self._periods(series, door, monthly=False)
        return sorted(date.fromisoformat(period) for period in periods)

    def symbols(self, market: Market) -> list[str]:
        """Return every symbol the archive has ever had in a market, delisted ones too.

        Raises:
            SourceError: the listing could not be read.
        """
        door = self.listing.door(f"{BINANCE}/{market}")
        folders = symbol_folders(market)
        return sorted({name for one in folders for name in self.listing.folders(one, door)})

    def _fetch_once(self, file: ArchiveFile, door: GateDoor) -> FetchedFile:
        url = self._address(file)
        zipped = self._client.get(Request(url, headers=PLAIN, max_bytes=file.max_bytes), door)
        sidecar = Request(f"{url}.CHECKSUM", headers=PLAIN, max_bytes=MAX_CHECKSUM_BYTES)
        try:
            checksum = self._client.get(sidecar, door)
        except Absent as error:
            detail = f"{file.stem}.zip: no CHECKSUM: cannot be trusted ({error.detail})"
            raise Broken(SOURCE, str(file.series), detail) from error
        with self._parsing:
            held = read_archive(file, zipped.body, checksum.body)
        inside, outside = split_outside(held.rows, file.span)
        if outside is not None and not inside.num_rows:
            detail = f"{file.stem}.zip: all {outside.num_rows} rows are of another period"
            raise Broken(SOURCE, str(file.series), detail)
        return FetchedFile(
            file,
            self.url(file),
            held.checksum,
            zipped.headers.get("etag", "").strip('"'),
            _modified_ms(zipped),
            by_day(inside),
            outside,
        )

    def _periods(
        self, series: Series, door: GateDoor, *, monthly: bool, since: str = ""
    ) -> set[str]:
        """Return the periods of the files in a folder, from the month `since` on."""
        folder = archive_folder(series, monthly=monthly)
        after = f"{folder}{ArchiveFile(series, since).stem}" if since else ""
        pages = self.listing.pages(folder, door, after=after)
        names = (_period_of(series, file.name) for page in pages for file in page.files)
        return set(filter(None, names))

    def _first_period(self, folder: str, series: Series, door: GateDoor) -> str | None:
        """Return the period of the first file in a folder, the listing's order being bytewise."""
        for page in self.listing.pages(folder, door, FIRST_KEYS):
            periods = [period for file in page.files if (period := _period_of(series, file.name))]
            if periods:
                return min(periods)
        return None


def symbol_folders(market: Market) -> tuple[str, str]:
    """Return the two folders that hold a folder a symbol; a new symbol is in the daily one only.

    Source: README of binance-public-data @5c7f319, checked 2026-11.
    """
    segment = "spot" if market is Market.SPOT else f"futures/{market}"
    return f"data/{segment}/monthly/klines/", f"data/{segment}/daily/klines/"


def _period_of(series: Series, name: str) -> str:
    """Return the period in a zip's name; `""` for sidecars and for names of another form."""
    prefix = f"{series.symbol}-{series.interval}-"
    period = name.removeprefix(prefix).removesuffix(".zip")
    if f"{prefix}{period}.zip" != name:
        return ""
    try:
        period_days(period)
    except ValueError:
        return ""  # such as 2020-8 of old files
    return period


def _modified_ms(response: Response) -> int:
    try:
        moment = parsedate_to_datetime(response.headers["last-modified"])
    except (KeyError, ValueError, TypeError):
        return 0
    return int(moment.replace(tzinfo=moment.tzinfo or UTC).timestamp() * 1000)
