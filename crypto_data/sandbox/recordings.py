"""Days of the real exchange that stand in this package, and what they say.

The files, where they come from and their licenses: `recorded/NOTICE.md`. Everything else the
sandbox serves is made (`made`).
"""

import csv
import io
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from pathlib import Path

import numpy as np

from crypto_data.intervals import Interval, TimeRange
from crypto_data.partitions import period_days, span_of_days
from crypto_data.sandbox.bars import UNIT, Bars, Column
from crypto_data.sandbox.symbols import Symbol
from crypto_data.series import Market

_FOLDER = Path(__file__).parent / "recorded"
# Recorded spot files of 2025 and later count microseconds: 16 digits.
_MICROSECONDS = 10**14


@dataclass(frozen=True, slots=True)
class Recording:
    """One recorded file: a day or a month of one market, symbol and interval."""

    market: Market
    symbol: str
    interval: Interval
    name: str
    file: Path

    @property
    def span(self) -> TimeRange:
        """The day or month it covers."""
        return span_of_days(*period_days(self.name))


@cache
def recordings() -> tuple[Recording, ...]:
    """Return every recorded file, ascending by path."""
    files = sorted(_FOLDER.glob("*/*_*/*"))
    return tuple(_recording(file) for file in files if file.suffix in {".zip", ".csv"})


def _recording(file: Path) -> Recording:
    symbol, interval, name = file.stem.split("-", 2)
    market, _ = file.parent.name.split("_")
    return Recording(Market(market), symbol, Interval(interval), name, file)


@cache
def recordings_of(market: Market, symbol: str, interval: Interval) -> tuple[Recording, ...]:
    """Return the recorded files of one series."""
    return tuple(
        found
        for found in recordings()
        if (found.market, found.symbol, found.interval) == (market, symbol, interval)
    )


def recorded_zip(symbol: Symbol, interval: Interval, name: str) -> bytes | None:
    """Return the original bytes of the archive file of a day, or None when it is not recorded."""
    for found in recordings_of(symbol.market, symbol.name, interval):
        if found.name == name and found.file.suffix == ".zip":
            return found.file.read_bytes()
    return None


@cache
def recorded_bars(recording: Recording) -> Bars:
    """Return the rows of a recorded file as exact integers, times in milliseconds."""
    data = recording.file.read_bytes()
    if recording.file.suffix == ".zip":
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            data = archive.read(archive.namelist()[0])
    rows = list(csv.reader(io.StringIO(data.decode())))
    body = rows if rows[0][0].isdigit() else rows[1:]
    return np.array([_integers(row) for row in body], dtype=np.int64).T


def _integers(row: Iterable[str]) -> list[int]:
    cells = list(row)[: len(Column)]
    whole = {Column.OPEN_TIME, Column.CLOSE_TIME, Column.TRADE_COUNT}
    numbers = [
        int(cell) if column in whole else int(Decimal(cell) * UNIT)
        for column, cell in zip(Column, cells, strict=True)
    ]
    for column in (Column.OPEN_TIME, Column.CLOSE_TIME):
        if numbers[column] >= _MICROSECONDS:
            numbers[column] //= 1000
    return numbers
