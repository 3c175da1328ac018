"""CSV as the exchange's archive has it: the same folders, names, columns and units.

A whole month is a monthly file, other days are daily files. Reading such files belongs to
`sources.archive_file`.

Source: README of binance-public-data @5c7f319 and real files, checked 2026-11.
"""

import hashlib
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv

from crypto_data.errors import UsageError
from crypto_data.exporting.decimals import least_decimals, to_text
from crypto_data.exporting.files import Source, Tally, WrittenFile, replacing
from crypto_data.exporting.order import Packing
from crypto_data.intervals import TimeRange
from crypto_data.partitions import day_of, day_start_ms, days_in, period_days
from crypto_data.schema import PRICES
from crypto_data.series import Market, Series
from crypto_data.sources.archive_file import ArchiveFile

_HEADER = (
    b"open_time,open,high,low,close,volume,close_time,quote_volume,count,"
    b"taker_buy_volume,taker_buy_quote_volume,ignore\n"
)
# Spot has no header and counts microseconds from this day on; futures the other way round.
_MICROSECONDS_FROM_US = day_start_ms(date(2025, 1, 1)) * 1000
_PLAIN = csv.WriteOptions(include_header=False, quoting_style="none")
_BASE_QUOTE = (("volume", "taker_buy_volume"), ("quote_volume", "taker_buy_quote_volume"))
# Columns whose numbers have equally many decimals, and how many these are at least; futures have as
# many as the contract's tick and lot need.
_GROUPS = {
    Market.SPOT: ((PRICES, 8), *((names, 8) for names in _BASE_QUOTE)),
    Market.UM: ((PRICES, 0), *((names, 0) for names in _BASE_QUOTE)),
    Market.CM: ((PRICES, 0), (("contract_volume",), 0), (_BASE_QUOTE[0], 8)),
}
# What stands between the prices and `ignore`. COIN-M counts contracts where others have base
# volume, and base volume where they have quote volume; the lake does not keep takers' contracts.
_QUANTITIES = {
    Market.SPOT: ("volume", "quote_volume", "taker_buy_volume", "taker_buy_quote_volume"),
    Market.UM: ("volume", "quote_volume", "taker_buy_volume", "taker_buy_quote_volume"),
    Market.CM: ("contract_volume", "volume", None, "taker_buy_volume"),
}

# How many decimals each column has, None for as many as each number needs.
Decimals = dict[str, int | None]


@dataclass(frozen=True, slots=True)
class ArchiveCsv:
    """Writes below the root of an archive: `data/spot/monthly/klines/BTCUSDT/1h/…`."""

    folder: Path
    packing: Packing

    def refusal(self, series: Series) -> str:
        """Return why a series has no place in the archive."""
        if series.exchange != "binance":
            return "the archive's format is binance's, and so are its names; choose that exchange"
        return ""

    def place(self, series: Series) -> str:
        """Return what names the files of a series."""
        return str(series)

    def write(self, source: Source) -> Iterator[WrittenFile]:
        """Write a file a month or day that has klines, oldest first."""
        for period in _periods(source.span):
            file = ArchiveFile(source.series, period)
            part = source.within(file.span)
            decimals = _measure(part)
            if decimals is not None:
                yield self._write_file(file, part, decimals)

    def _write_file(self, file: ArchiveFile, source: Source, decimals: Decimals) -> WrittenFile:
        path = (self.folder / file.key).with_suffix(f".{self.packing}")
        tally = Tally()
        with replacing(path) as whole, _member(whole, f"{file.stem}.csv", self.packing) as text:
            if source.series.market is not Market.SPOT:
                text.write(_HEADER)
            for klines in source.pieces():
                tally.add(klines)
                csv.write_csv(_columns(klines, source.series.market, decimals), text, _PLAIN)
        if self.packing is Packing.ZIP:
            with path.open("rb") as packed:
                digest = hashlib.file_digest(packed, "sha256").hexdigest()
            with replacing(path.with_name(f"{path.name}.CHECKSUM")) as sidecar:
                sidecar.write(f"{digest}  {path.name}".encode())
        return tally.written(path, source.span)


def _periods(span: TimeRange) -> Iterator[str]:
    """Yield the months that lie in a range as a whole, and the days of the others."""
    day, end = day_of(span.start_ms), day_of(span.end_ms)
    while day < end:
        month = f"{day:%Y-%m}"
        first, after = period_days(month)
        if first == day and after <= end:
            yield month
        else:
            yield from (f"{one:%Y-%m-%d}" for one in days_in(day, min(after, end)))
        day = after


def _measure(source: Source) -> Decimals | None:
    """Return the decimals of each column over all klines of a file; None without klines.

    Raises:
        UsageError: a column lacks values: the format has no sign for that.
    """
    found: Decimals = {}
    for klines in source.pieces():
        _check_whole(klines, source.series.market)
        for names, at_least in _GROUPS[source.series.market]:
            known = found.get(names[0], at_least)
            if known is not None:
                values = np.concatenate([klines[name].to_numpy() for name in names])
                known = least_decimals(values, known)
            found |= dict.fromkeys(names, known)
    return found or None


def _check_whole(klines: pa.Table, market: Market) -> None:
    for name in ("trade_count", *(name for name in _QUANTITIES[market] if name)):
        lacking = klines.filter(pc.is_null(klines[name]))
        if lacking.num_rows:
            sources = ", ".join(pc.unique(lacking["source"].cast(pa.string())).to_pylist())
            raise UsageError(
                f"{lacking.num_rows:,} klines from {sources} have no {name}, and the archive's "
                "format has no sign for that; export days from vision or rest, or another format"
            )


def _columns(klines: pa.Table, market: Market, decimals: Decimals) -> pa.Table:
    """Return klines as the twelve columns of text, in the order of the archive."""
    opens_us, closes_us = (
        klines[name].cast(pa.int64()).to_numpy() for name in ("open_time", "close_time")
    )
    in_ms = market is not Market.SPOT or opens_us[0] < _MICROSECONDS_FROM_US
    unit = 1000 if in_ms and (closes_us % 1000 == 0).all() else 1

    def text(name: str) -> Any:
        values = klines[name].to_numpy()
        shown = to_text(values, decimals[name])
        # An empty um bar has its quantities without decimals.
        is_bare = market is Market.UM and name not in PRICES
        return pc.if_else(pa.array(values == 0), "0", shown) if is_bare else shown

    empty = pa.nulls(klines.num_rows, pa.string())
    quantities = [text(name) if name else empty for name in _QUANTITIES[market]]
    first, second, *takers = quantities
    columns = [
        opens_us // unit,
        *map(text, PRICES),
        first,
        closes_us // unit,
        second,
        klines["trade_count"],
        *takers,
        pa.repeat("0", klines.num_rows),
    ]
    return pa.table(columns, names=list(map(str, range(len(columns)))))


@contextmanager
def _member(whole: BinaryIO, name: str, packing: Packing) -> Iterator[Any]:
    """Yield where the text goes: the file, or the one member of a zip in it."""
    if packing is Packing.PLAIN:
        yield whole
        return
    with zipfile.ZipFile(whole, "w") as packed:
        # One date for all: the same klines give the same bytes, hence the same CHECKSUM.
        member = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
        member.compress_type = zipfile.ZIP_DEFLATED
        with packed.open(member, "w", force_zip64=False) as text:
            yield text
