"""One file of the archive: its name, its checksum, its one member, its rows.

Bytes in, table out. Fetching the bytes, and what a short file means, belongs to `sources.vision`.
"""

import hashlib
import io
import re
import stat
import struct
import zipfile
import zlib
from dataclasses import dataclass
from datetime import date
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv

from crypto_data.errors import Broken
from crypto_data.intervals import TimeRange, count_open_times
from crypto_data.partitions import day_start_ms, period_days
from crypto_data.schema import FETCHED, TIME, fetched_table
from crypto_data.series import Market, Series

SOURCE = "vision"

# The longest row seen is 160 bytes; 12 columns of 20 characters are 252.
ROW_BYTES = 256
SLACK_BYTES = 64 * 1024
# Text is parsed by so much at a time: what Arrow keeps of it meanwhile is as large again, and takes
# no memory from the system while it stays the same small piece.
BLOCK_BYTES = 512 * 1024
# From here on a time is in microseconds: 10^14 ms would be the year 5138.
FIRST_MICROSECONDS = 10**14

_RAW = (
    "open_time", "open", "high", "low", "close", "volume", "close_time",
    "quote_volume", "trade_count", "taker_buy_volume", "taker_buy_quote_volume", "ignore",
)  # fmt: skip
# COIN-M: column 6 counts contracts and column 8, headed `quote_volume`, is base volume.
# Source: README of binance-public-data @5c7f319, its issue 267.
_RAW_CM = (
    "open_time", "open", "high", "low", "close", "contract_volume", "close_time",
    "volume", "trade_count", "taker_buy_contracts", "taker_buy_volume", "ignore",
)  # fmt: skip
_UNUSED = ("ignore", "taker_buy_contracts")
_WHOLE_NUMBERS = ("open_time", "close_time", "trade_count")

_CHECKSUM = re.compile(r"([0-9a-fA-F]{64}) [ *](\S+)\n?")
_ZIP_FAULTS = (
    zipfile.BadZipFile, zlib.error, struct.error, EOFError, NotImplementedError, RuntimeError,
    OSError, ValueError,
)  # fmt: skip
_ENCRYPTED = 0x1
_GZIP_HEADER = b"\x1f\x8b\x08" + bytes(6) + b"\xff"
# More than any header line; a CSV without rows is shorter.
_HEAD_BYTES = 4096
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True)
class ArchiveFile:
    """The archive's file of one series and one period: `2024-03` or `2024-03-07`."""

    series: Series
    period: str

    @property
    def is_monthly(self) -> bool:
        """Whether the file holds a month; otherwise a day."""
        return len(self.period) == len("2024-03")

    @property
    def days(self) -> tuple[date, date]:
        """The half-open days it holds."""
        return period_days(self.period)

    @property
    def span(self) -> TimeRange:
        """The open times it holds; a bar that closes later is in here all the same."""
        first, end = self.days
        return TimeRange(day_start_ms(first), day_start_ms(end))

    @property
    def stem(self) -> str:
        """The name without its ending."""
        return f"{self.series.symbol}-{self.series.interval}-{self.period}"

    @property
    def key(self) -> str:
        """The path below the archive's root."""
        return f"{archive_folder(self.series, monthly=self.is_monthly)}{self.stem}.zip"

    @property
    def max_bytes(self) -> int:
        """More bytes than the rows of the period, each twice, can take: the rest is a bomb."""
        return 2 * (count_open_times(self.series.interval, self.span) + 1) * ROW_BYTES + SLACK_BYTES


@dataclass(frozen=True, slots=True)
class ArchiveRows:
    """What a file holds: a `FETCHED` table as it came, and the sha256 of the zip."""

    rows: Any
    checksum: str


def archive_folder(series: Series, *, monthly: bool) -> str:
    """Return the folder of a series' files below the archive's root, ending in `/`.

    Source: README of binance-public-data @5c7f319, checked 2026-11.
    """
    market = "spot" if series.market is Market.SPOT else f"futures/{series.market}"
    period = "monthly" if monthly else "daily"
    return f"data/{market}/{period}/klines/{series.symbol}/{series.interval}/"


def read_archive(file: ArchiveFile, zipped: bytes, checksum_text: bytes) -> ArchiveRows:
    """Return the rows of a downloaded file that fits its checksum.

    Rows are as they came: any order, doubles and other periods possible, off the grid possible.

    Raises:
        Broken: the checksum does not fit, or the bytes are no zip with exactly one good CSV.
    """
    checksum = _verified(file, zipped, checksum_text)
    return ArchiveRows(parse_csv(file, _only_member(file, zipped)), checksum)


def _broken(file: ArchiveFile, detail: str) -> Broken:
    return Broken(SOURCE, str(file.series), f"{file.stem}.zip: {detail}")


def _verified(file: ArchiveFile, zipped: bytes, checksum_text: bytes) -> str:
    said = _CHECKSUM.fullmatch(checksum_text.decode("utf-8", "replace"))
    if said is None:
        raise _broken(file, f"CHECKSUM is no sha256sum line: {checksum_text[:80]!r}")
    if said[2] != f"{file.stem}.zip":
        raise _broken(file, f"CHECKSUM is of another file: {said[2][:80]}")
    found = hashlib.sha256(zipped).hexdigest()
    if found != said[1].lower():
        raise _broken(file, f"sha256 is {found[:12]}…, CHECKSUM says {said[1][:12]}…")
    return found


def _only_member(file: ArchiveFile, zipped: bytes) -> Any:
    """Return the one member's bytes, never more than the period can have."""
    try:
        with zipfile.ZipFile(io.BytesIO(zipped)) as archive:
            members = archive.infolist()
            if len(members) != 1:
                raise _broken(file, f"{len(members)} members, expected one")
            _check_member(file, members[0])
            return _inflated(file, zipped, members[0])
    except _ZIP_FAULTS as error:
        said = str(error) or type(error).__name__
        raise _broken(file, f"not a readable zip: {said}") from error


def _inflated(file: ArchiveFile, zipped: bytes, member: zipfile.ZipInfo) -> Any:
    """Return a member as an Arrow buffer, of exactly the length it declares.

    Dressed as gzip, the deflate stream goes through Arrow's codec: it writes into one buffer that
    the CSV reader takes as it is, and checks CRC and length. A month takes 10 ms instead of the
    15 ms of `ZipFile.read`, without the interpreter lock.
    """
    names = zipped[member.header_offset + 26 : member.header_offset + 30]
    start = member.header_offset + 30 + sum(struct.unpack("<HH", names))
    packed = memoryview(zipped)[start : start + member.compress_size]
    if member.compress_type == zipfile.ZIP_STORED:
        if len(packed) != member.file_size or zlib.crc32(packed) != member.CRC:
            raise _broken(file, "member is damaged: wrong length or CRC")
        return pa.py_buffer(packed)
    trailer = struct.pack("<II", member.CRC, member.file_size)
    codec = pa.Codec("gzip")
    # Arrow takes a length of 0 for a mistake.
    if not member.file_size:
        return pa.py_buffer(zlib.decompressobj(-zlib.MAX_WBITS).decompress(packed, 1))
    dressed = b"".join((_GZIP_HEADER, packed, trailer))
    return codec.decompress(dressed, decompressed_size=member.file_size)


def _check_member(file: ArchiveFile, member: zipfile.ZipInfo) -> None:
    kind = stat.S_IFMT(member.external_attr >> 16)
    if member.filename != f"{file.stem}.csv" or kind not in (0, stat.S_IFREG):
        raise _broken(file, f"member is {member.filename[:80]!r}, expected {file.stem}.csv")
    known = member.compress_type in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
    if not known or member.flag_bits & _ENCRYPTED:
        raise _broken(file, "member is encrypted or packed by another method than deflate")
    if member.file_size > file.max_bytes:
        raise _broken(
            file, f"declares {member.file_size} bytes, {file.max_bytes} are all it can have"
        )


def parse_csv(file: ArchiveFile, content: Any) -> Any:
    """Return the CSV of a file as a `FETCHED` table; no line, or a header alone, is no row.

    Times may be milliseconds or microseconds, value by value. The text NaN stays NaN.

    Args:
        file: What it is of, which decides what the columns mean.
        content: Bytes or an Arrow buffer.

    Raises:
        Broken: other than 12 columns, or a cell that is no number.

    Source: README of binance-public-data @5c7f319 and real files, checked 2026-11.
    """
    buffer = pa.py_buffer(content)
    head = buffer[:_HEAD_BYTES].to_pybytes()
    if head.startswith(_BYTE_ORDER_MARK):
        buffer, head = buffer[3:], head[3:]
    header = _header_lines(file, head)
    if not head.strip() or (header and b"\n" not in head.strip()):
        return FETCHED.empty_table()
    names = _RAW_CM if file.series.market is Market.CM else _RAW
    try:
        raw = csv.read_csv(
            buffer,
            read_options=csv.ReadOptions(
                # Several files are parsed at a time: a thread pool for one only adds waiting.
                use_threads=False,
                block_size=BLOCK_BYTES,
                skip_rows=header,
                column_names=names,
            ),
            parse_options=_PARSING,
            convert_options=_CONVERSION[names],
        )
        whole = raw.combine_chunks()
        return kline_table(dict(zip(whole.column_names, whole.columns, strict=True)))
    except pa.ArrowInvalid as error:
        raise _broken(file, f"damaged CSV: {error}") from error


def kline_table(columns: dict[str, Any]) -> Any:
    """Return raw columns, times as integers of either unit, as a `FETCHED` table."""
    columns["open_time"] = timestamps(columns["open_time"])
    columns["close_time"] = timestamps(columns["close_time"])
    return fetched_table(columns)


def timestamps(times: Any) -> Any:
    """Return int64 epoch milliseconds or microseconds, value by value, as `TIME`.

    Raises:
        pa.ArrowInvalid: a time before any calendar.
    """
    newest = pc.max(times).as_py()
    if newest is not None and newest < FIRST_MICROSECONDS:
        return pc.multiply_checked(times, 1000).cast(TIME)
    micro = pc.greater_equal(times, FIRST_MICROSECONDS)
    scaled = pc.multiply_checked(pc.if_else(micro, 0, times), 1000)
    return pc.if_else(micro, times, scaled).cast(TIME)


def _conversion(names: tuple[str, ...]) -> csv.ConvertOptions:
    used = [name for name in names if name not in _UNUSED]
    return csv.ConvertOptions(
        column_types={
            name: pa.int64() if name in _WHOLE_NUMBERS else pa.float64() for name in used
        },
        include_columns=used,
        null_values=[],  # an empty cell is damage, and the text NaN is not "absent"
    )


_PARSING = csv.ParseOptions(quote_char=False)
_CONVERSION = {names: _conversion(names) for names in (_RAW, _RAW_CM)}


def _header_lines(file: ArchiveFile, content: bytes) -> int:
    """Return 1 when the first cell is a word, 0 when it is a number or nothing is there."""
    cell = content[: content.find(b",")].strip(b' "\r\n') if content.strip() else b"0"
    if cell.isdigit():
        return 0
    if cell[:1].isalpha():
        return 1
    # 1.70027E+12 of a spreadsheet must not pass for a header: its row would vanish.
    raise _broken(file, f"damaged CSV: first cell is {cell[:40]!r}")
