"""What all exports do with files: read a series piece by piece, count it, replace a file whole."""

import contextlib
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import pyarrow as pa
import pyarrow.compute as pc

from crypto_data.intervals import TimeRange
from crypto_data.lake.layout import parts_in, series_folder
from crypto_data.lake.part import make_folder, sync_folder, writing
from crypto_data.lake.store import Lake
from crypto_data.partitions import period_days, span_of_days
from crypto_data.schema import epoch_ms
from crypto_data.series import Series


@dataclass(frozen=True, slots=True)
class Source:
    """Where an export reads: the klines of one series that open in a half-open range."""

    lake: Lake
    series: Series
    span: TimeRange

    def pieces(self) -> Iterator[pa.Table]:
        """Yield the klines, a file of the lake at a time: `schema.KLINES`, ascending, none empty.

        Raises:
            LakeDamaged: a file of the range cannot be read.
        """
        for part in parts_in(series_folder(self.lake.root, self.series), self.series):
            span = span_of_days(*period_days(part.period)).intersect(self.span)
            rows = self.lake.read(self.series, span) if span else None
            if rows is not None and rows.num_rows:
                yield rows

    def within(self, span: TimeRange) -> "Source":
        """Return the part of it that opens in a range."""
        return Source(self.lake, self.series, self.span.intersect(span))


@dataclass(frozen=True, slots=True)
class WrittenFile:
    """One file of an export; `span` is what it was to hold, open times are epoch milliseconds."""

    path: Path
    span: TimeRange
    rows: int
    first_open_ms: int
    last_open_ms: int
    sources: tuple[tuple[str, int], ...]


@dataclass(slots=True)
class Tally:
    """Counts klines as they are written: how many, from when to when, from which sources."""

    rows: int = 0
    opens_ms: list[int] = field(default_factory=list)
    sources: Counter[str] = field(default_factory=Counter)

    def add(self, klines: pa.Table) -> None:
        """Count a piece, which follows those before it."""
        opens_ms = epoch_ms(klines["open_time"])
        self.rows += klines.num_rows
        self.opens_ms = [*self.opens_ms[:1], opens_ms[0].as_py(), opens_ms[-1].as_py()]
        for count in pc.value_counts(klines["source"].combine_chunks()).to_pylist():
            self.sources[count["values"]] += count["counts"]

    def written(self, path: Path, span: TimeRange) -> WrittenFile:
        """Return what was counted as a file; at least one kline was."""
        sources = tuple(sorted(self.sources.items(), key=lambda one: (-one[1], one[0])))
        return WrittenFile(path, span, self.rows, self.opens_ms[0], self.opens_ms[-1], sources)


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """Yield a new file that takes the place of `path` when the block ends well, all at once.

    Raises:
        LakeNotWritable: no space or no permission; what was there is untouched.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with writing(path):
        make_folder(path.parent)
        try:
            with temporary.open("wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        sync_folder(path.parent)
