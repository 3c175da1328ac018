"""The archive: which files exist at an instant, and their bytes.

Addresses, publication, zip and CHECKSUM. The XML listing belongs to `listing`.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from hashlib import md5, sha256

from crypto_data.intervals import DAY_MS, Interval, TimeRange, count_open_times
from crypto_data.partitions import (
    ONE_DAY,
    day_of,
    day_start_ms,
    days_in,
    period_days,
    span_of_days,
)
from crypto_data.sandbox.bars import Bars, no_bars
from crypto_data.sandbox.damage import (
    corrupted,
    damaged_columns,
    damaged_rows,
    damaged_text,
    damaged_zip,
)
from crypto_data.sandbox.exchange import Exchange, Memory, bars_reach
from crypto_data.sandbox.faults import FILE_ACTIONS, ROW_ACTIONS, Fault, FaultList
from crypto_data.sandbox.kline_text import (
    HEADER,
    HEADER_FROM_MS,
    archive_unit,
    csv_text,
    text_columns,
)
from crypto_data.sandbox.recordings import recorded_zip
from crypto_data.sandbox.symbols import Symbol
from crypto_data.sandbox.web import Answer, Call, etag_of, file_answer
from crypto_data.series import Market

MARKET_FOLDERS = {Market.SPOT: "spot", Market.UM: "futures/um", Market.CM: "futures/cm"}
PUBLICATION_DELAY_MS = 6 * 3_600_000
MONTHLY_DAYS = 2  # a monthly is there from the 3rd of the next month on
_ZIP_BYTES = 128 * 2**20
_DAILY_NAME, _MONTHLY_NAME = 10, 7
_CHANGING = ROW_ACTIONS | FILE_ACTIONS
# They change neither the text nor the form of the zip that a CHECKSUM is made from.
_OUTER_ACTIONS = frozenset({"corrupt", "wrong_checksum", "republished"})
_SMALL_ROWS = 800

_ADDRESS = re.compile(
    r"/data/(?P<market>spot|futures/um|futures/cm)/(?P<span>daily|monthly)/klines/"
    r"(?P<symbol>[^/]+)/(?P<interval>[^/]+)/(?P=symbol)-(?P=interval)-(?P<name>[\d-]+)\.zip"
)


class Span(StrEnum):
    """The two kinds of files."""

    DAILY = "daily"
    MONTHLY = "monthly"


@dataclass(frozen=True, slots=True)
class ArchiveFile:
    """One file of the archive: a day or month of a symbol's interval."""

    symbol: Symbol
    interval: Interval
    span: Span
    name: str

    @property
    def stem(self) -> str:
        """The file's name without ending."""
        return f"{self.symbol.name}-{self.interval}-{self.name}"

    @property
    def path(self) -> str:
        """The decoded path of the zip, from `/data` on."""
        folder = MARKET_FOLDERS[self.symbol.market]
        place = f"{self.span}/klines/{self.symbol.name}/{self.interval}"
        return f"/data/{folder}/{place}/{self.stem}.zip"

    @property
    def opens(self) -> TimeRange:
        """The stretch in which its bars open."""
        return span_of_days(*period_days(self.name))

    def published_ms(self, delay_ms: int) -> int:
        """Return when it appears: bars closed and, for a monthly, the 3rd of the next month."""
        closed_ms = max(bars_reach(self.interval, self.opens).end_ms, self.opens.end_ms)
        if self.span is Span.DAILY:
            return closed_ms + delay_ms
        return max(closed_ms + delay_ms, self.opens.end_ms + MONTHLY_DAYS * DAY_MS)

    def has_bars(self) -> bool:
        """Return whether the symbol traded within its bars, as far as the archive goes back."""
        if self.opens.end_ms <= self.symbol.archive_from_ms:
            return False
        return self.symbol.trades_in(bars_reach(self.interval, self.opens))


def has_folder(symbol: Symbol, interval: Interval, span: Span) -> bool:
    """Return whether the archive keeps such files: no 1s futures, long bars only monthly."""
    if interval is Interval.SECOND_1:
        return symbol.market is Market.SPOT
    return span is Span.MONTHLY or interval.is_intraday or symbol.long_dailies


class Archive:
    """The files of the archive as they stand at an instant."""

    def __init__(self, exchange: Exchange, faults: FaultList, *, delay_ms: int) -> None:
        self._exchange = exchange
        self._faults = faults
        self._delay_ms = delay_ms
        self._zips: Memory[bytes] = Memory(_ZIP_BYTES, lambda data: len(data) + 200)

    def find(self, path: str, now_ms: int) -> ArchiveFile | None:
        """Return the file whose zip stands at the decoded path, None when there is none (yet)."""
        matched = _ADDRESS.fullmatch(path)
        if matched is None:
            return None
        market = Market(matched["market"].rpartition("/")[2])
        symbol = self._exchange.symbols.find(market, matched["symbol"])
        try:
            interval = Interval(matched["interval"])
            name, _ = matched["name"], period_days(matched["name"])
        except ValueError:
            return None
        span = Span(matched["span"])
        length = _DAILY_NAME if span is Span.DAILY else _MONTHLY_NAME
        if symbol is None or len(name) != length or not has_folder(symbol, interval, span):
            return None
        file = ArchiveFile(symbol, interval, span, name)
        return file if self.is_there(file, now_ms) else None

    def is_there(self, file: ArchiveFile, now_ms: int) -> bool:
        """Return whether the file has been published and no fault hides it."""
        if file.published_ms(self._delay_ms) > now_ms or not file.has_bars():
            return False
        return not self.is_hidden(file.path)

    def is_hidden(self, path: str) -> bool:
        """Return whether a fault hides the file at the path."""
        return bool(self._faults.peek({"absent"}, path))

    def files(
        self, symbol: Symbol, interval: Interval, span: Span, now_ms: int, *, prefix: str = ""
    ) -> Iterator[ArchiveFile]:
        """Yield the files of a folder whose decoded path starts with a prefix, ascending."""
        if not has_folder(symbol, interval, span):
            return
        first = day_of(max(symbol.lives[0][0], symbol.archive_from_ms))
        for name in _names(span, first, day_of(max(now_ms, 0)) + ONE_DAY):
            file = ArchiveFile(symbol, interval, span, name)
            if f"{file.path}.CHECKSUM".startswith(prefix) and self.is_there(file, now_ms):
                yield file

    def modified_ms(self, file: ArchiveFile) -> int:
        """Return the file's Last-Modified, epoch milliseconds, whole seconds."""
        for fault in reversed(self._faults.peek(_CHANGING, file.path, channel="zip")):
            if fault.last_modified_ms is not None:
                return fault.last_modified_ms
            if fault.action == "stale":
                first = fault.days[0] if fault.days else f"{day_of(file.opens.start_ms)}"
                # One minute before the daily of the first day that differs.
                return day_start_ms(date.fromisoformat(first)) + DAY_MS + self._delay_ms - 60_000
        return file.published_ms(self._delay_ms) // 1000 * 1000

    def zip_bytes(self, file: ArchiveFile, faults: list[Fault]) -> bytes:
        """Return the zip, as the CHECKSUM knows it."""
        faults = _inner(faults)
        if not faults:
            return self._zips.get(file.path, lambda: self._build(file))
        return damaged_zip(f"{file.stem}.csv", self._text(file, faults), faults)

    def listed_zip(self, file: ArchiveFile) -> bytes | None:
        """Return the zip for the listing: a large one only when it is at hand without work."""
        faults = self._faults.peek(_CHANGING, file.path, channel="zip")
        if is_small(file):
            return corrupted(self.zip_bytes(file, faults), faults)
        return self._zips.peek(file.path) if not _inner(faults) else None

    def etag(self, file: ArchiveFile) -> str:
        """Return the ETag of the zip as it stands, in quotes: of a small one its md5."""
        faults = self._faults.peek(_CHANGING, file.path, channel="zip")
        return self._etag(file, faults, self.listed_zip(file) or b"")

    def _etag(self, file: ArchiveFile, faults: list[Fault], data: bytes) -> str:
        if is_small(file):
            return etag_of(data)
        changes = [fault for fault in faults if fault.action != "republished"]
        text = f"{file.path} {changes or ''}".encode()
        return f'"{md5(text, usedforsecurity=False).hexdigest()}-2"'

    def serve(self, call: Call, now_ms: int) -> Answer:
        """Return the answer to a request below `/data/`."""
        path = call.path.removesuffix(".CHECKSUM")
        is_hidden = self._faults.take({"absent"}, call.path)
        file = None if is_hidden else self.find(path, now_ms)
        if file is None:
            return _no_such_key(call.path)
        modified_ms = self.modified_ms(file)
        if path != call.path:
            text = self._checksum(file, call.path)
            return file_answer(call, text, kind="binary/octet-stream", modified_ms=modified_ms)
        faults = self._faults.take(_CHANGING, path, channel="zip")
        data = corrupted(self.zip_bytes(file, faults), faults)
        return file_answer(
            call,
            data,
            kind="application/zip",
            modified_ms=modified_ms,
            etag=self._etag(file, faults, data),
        )

    def _checksum(self, file: ArchiveFile, path: str) -> bytes:
        faults = self._faults.take(_CHANGING, file.path, channel="checksum")
        wrong = [
            *(fault for fault in faults if fault.action == "wrong_checksum"),
            *self._faults.take({"wrong_checksum"}, path),
        ]
        return checksum_of(file, b"wrong" if wrong else self.zip_bytes(file, faults))

    def _build(self, file: ArchiveFile) -> bytes:
        recorded = recorded_zip(file.symbol, file.interval, file.name)
        if recorded is not None and file.span is Span.DAILY:
            return recorded
        return damaged_zip(f"{file.stem}.csv", self._text(file, []), [])

    def _text(self, file: ArchiveFile, faults: list[Fault]) -> bytes:
        """Return the CSV, made day by day: a month of seconds would not fit into memory."""
        opens = file.opens
        if file.interval is Interval.SECOND_1 and not faults:
            days = [span_of_days(day, day + ONE_DAY) for day in days_in(*period_days(file.name))]
        else:
            days = [opens]
        is_headed = file.symbol.market is not Market.SPOT and opens.start_ms >= HEADER_FROM_MS
        texts = [HEADER if is_headed else b""]
        for span in days:
            bars = damaged_rows(self._bars(file, span, faults), faults)
            columns = text_columns(bars, file.symbol, archive_unit(file.symbol, opens.start_ms))
            texts.append(csv_text(damaged_columns(columns, faults)) if bars.shape[1] else b"")
        return damaged_text(b"".join(texts), faults)

    def _bars(self, file: ArchiveFile, span: TimeRange, faults: list[Fault]) -> Bars:
        if any(fault.action == "other_day" for fault in faults):
            length_ms = span.end_ms - span.start_ms
            span = TimeRange(span.start_ms - length_ms, span.start_ms)
        start_ms = max(span.start_ms, file.symbol.archive_from_ms)
        if start_ms >= span.end_ms:
            return no_bars()
        return self._exchange.bars(file.symbol, file.interval, TimeRange(start_ms, span.end_ms))


def is_small(file: ArchiveFile) -> bool:
    """Return whether the listing can afford to make the file's zip."""
    return count_open_times(file.interval, file.opens) <= _SMALL_ROWS


def _inner(faults: list[Fault]) -> list[Fault]:
    return [fault for fault in faults if fault.action not in _OUTER_ACTIONS]


def checksum_of(file: ArchiveFile, data: bytes) -> bytes:
    """Return the CHECKSUM of a file with these bytes: no line feed at its end."""
    return f"{sha256(data).hexdigest()}  {file.stem}.zip".encode()


def _names(span: Span, first: date, end: date) -> Iterator[str]:
    if span is Span.DAILY:
        for day in days_in(first, end):
            yield f"{day:%Y-%m-%d}"
        return
    month = first.replace(day=1)
    while month < end:
        yield f"{month:%Y-%m}"
        month = period_days(f"{month:%Y-%m}")[1]


def _no_such_key(path: str) -> Answer:
    body = (
        '<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>NoSuchKey</Code><Message>The '
        f"specified key does not exist.</Message><Key>{path.lstrip('/')}</Key>"
        "<RequestId>SANDBOX0000</RequestId><HostId>sandbox</HostId></Error>"
    )
    return Answer(404, body.encode(), (("Content-Type", "application/xml"),))
