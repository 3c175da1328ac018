"""The ledgers of all files of one exchange, market and interval as one table, and its own file.

A row is a run of days of one file. What is kept here is a copy that can be thrown away at any
time; when it is used belongs to `lake.index`.
"""

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from crypto_data.errors import LakeNotWritable
from crypto_data.intervals import Interval
from crypto_data.lake.corrections import encode_corrections
from crypto_data.lake.layout import INDEX
from crypto_data.lake.ledger import DayRun
from crypto_data.lake.part import Footer, encode_table, replace_file
from crypto_data.partitions import EPOCH
from crypto_data.series import Market, Series

_TIMES = pa.list_(pa.int64())
_FEW = pa.dictionary(pa.int32(), pa.string())  # texts that repeat

# Sorted by symbol, period and place. The columns from `inode` on are about the file; they and
# `corrections` are the same in all its rows, or empty but in the first.
SHARD = pa.schema(
    [
        ("symbol", _FEW),
        ("period", _FEW),
        ("place", pa.int64()),  # number of the run in its file
        ("first_day", pa.int64()),  # days since 1970-01-01
        ("days", pa.int64()),  # 0 for the one row of a file that knows of no day
        ("rows", pa.int64()),
        ("off_grid", pa.int64()),
        ("unlisted_rows", pa.int64()),
        ("sources", _FEW),  # joined by `+`, best first
        ("source_rows", _TIMES),  # klines from each of them
        ("absent_starts", _TIMES),
        ("absent_ends", _TIMES),
        ("explained", pa.bool_()),
        ("doubtful", pa.bool_()),
        ("attempts", pa.int64()),
        ("asked_ms", pa.int64()),
        ("ingested_ms", pa.int64()),
        ("set_aside", pa.int64()),
        ("reason", _FEW),
        ("checksum", pa.string()),
        ("etag", pa.string()),
        ("address", pa.string()),
        ("inode", pa.uint64()),
        ("changed_ns", pa.int64()),
        ("size", pa.int64()),
        ("first_open_ms", pa.int64()),  # null in a file without klines
        ("last_open_ms", pa.int64()),
        ("corrections", pa.string()),  # JSON, in the file's first row
    ]
)
ORDER = ("symbol", "period", "place")

# Goes up with every change of what the columns mean.
_VERSION_KEY, _VERSION = b"crypto_data.index", b"1"

log = logging.getLogger("crypto_data.lake")

# What tells one state of a file from another: inode, when it last changed, size.
Stamp = tuple[int, int, int]
# A file of a shard, by symbol and period.
FileName = tuple[str, str]


@dataclass(frozen=True, slots=True, order=True)
class ShardName:
    """Which files a shard is about."""

    exchange: str
    market: Market
    interval: Interval

    @classmethod
    def of(cls, series: Series) -> "ShardName":
        """Return the shard that a series is in."""
        return cls(series.exchange, series.market, series.interval)

    def series(self, symbol: str) -> Series:
        """Return one series of the shard."""
        return Series(self.exchange, self.market, symbol, self.interval)

    def path(self, root: Path) -> Path:
        """Return the file that keeps the shard."""
        return root / INDEX / f"{self.exchange}.{self.market}.{self.interval}.parquet"


def load_shard(path: Path) -> pa.Table:
    """Return what was kept of a shard; nothing when it is not there, damaged or of another kind."""
    few = [field.name for field in SHARD if field.type == _FEW]
    try:
        with pq.ParquetFile(path, read_dictionary=few, page_checksum_verification=True) as file:
            if (file.metadata.metadata or {}).get(_VERSION_KEY) == _VERSION:
                return file.read().cast(SHARD)
        log.info("%s was made by another version; it is made anew", path)
    except FileNotFoundError:
        pass
    except (OSError, pa.ArrowException, KeyError, ValueError) as error:
        log.info("%s cannot be read (%s); it is made anew", path, error)
    return SHARD.empty_table()


def save_shard(path: Path, shard: pa.Table) -> None:
    """Keep a shard, or remove its file when it holds nothing.

    A lake that cannot be written costs the time of reading the ledgers again, nothing else.
    """
    try:
        if shard.num_rows:
            replace_file(path, encode_table(shard, {_VERSION_KEY: _VERSION}))
        else:
            path.unlink(missing_ok=True)
    except (LakeNotWritable, OSError) as error:
        log.info("the index is not kept: %s", error)


def file_starts(shard: pa.Table) -> Any:
    """Return the number of each file's first row."""
    return np.flatnonzero(shard["place"].to_numpy() == 0)


def stamps_of(shard: pa.Table) -> list[tuple[FileName, Stamp]]:
    """Return the files of a shard and what they looked like when they were read."""
    starts = file_starts(shard)
    files = zip(*(_texts_at(shard[name], starts) for name in ("symbol", "period")), strict=True)
    stamps = zip(
        *(shard[name].to_numpy()[starts].tolist() for name in ("inode", "changed_ns", "size")),
        strict=True,
    )
    return list(zip(files, stamps, strict=True))


def _texts_at(column: pa.ChunkedArray, rows: Any) -> list[str]:
    """Return the texts of some rows; numpy makes a list many times faster than Arrow."""
    held = column.unify_dictionaries().combine_chunks()
    texts = held.dictionary.to_pylist()
    return [texts[code] for code in held.indices.to_numpy()[rows].tolist()]


def keep_files(shard: pa.Table, kept: Any) -> pa.Table:
    """Return the rows of some files; `kept` says of each file whether it is one of them."""
    if kept.all():
        return shard
    lengths = np.diff(file_starts(shard), append=shard.num_rows)
    return shard.filter(pa.array(np.repeat(kept, lengths)))


def shard_of(files: Iterable[tuple[FileName, Stamp, Footer]]) -> pa.Table:
    """Return the footers of some files as rows of a shard, in the order of the files."""
    rows = [
        (*name, place, *_facts(run), *stamp, *_of_file(footer, place))
        for name, stamp, footer in files
        for place, run in enumerate(footer.runs or (None,))
    ]
    columns = zip(*rows, strict=True) if rows else ([] for _ in SHARD)
    return pa.Table.from_arrays(
        [pa.array(c, field.type) for c, field in zip(columns, SHARD, strict=True)], schema=SHARD
    )


def _facts(run: DayRun | None) -> tuple[Any, ...]:
    if run is None:
        return (0, 0, 0, 0, 0, "", [], [], [], False, False, 0, 0, 0, 0, "", "", "", "")
    facts = run.facts
    return (
        (run.first - EPOCH).days,
        run.days,
        facts.rows,
        facts.off_grid,
        facts.unlisted_rows,
        "+".join(name for name, _ in facts.sources),
        [rows for _, rows in facts.sources],
        [gap.start_ms for gap in facts.absent],
        [gap.end_ms for gap in facts.absent],
        facts.explained,
        facts.doubtful,
        facts.attempts,
        facts.asked_ms,
        facts.ingested_ms,
        sum(rows for _, rows in facts.set_aside),
        facts.reason,
        facts.checksum,
        facts.etag,
        facts.address,
    )


def _of_file(footer: Footer, place: int) -> tuple[Any, ...]:
    told = encode_corrections(footer.corrections).decode() if footer.corrections else ""
    return (
        footer.first_open_ms,
        footer.last_open_ms,
        told if place == 0 else "",
    )


def join_shards(shards: Iterable[pa.Table]) -> pa.Table:
    """Return the rows of several shards as one, sorted."""
    tables = [shard for shard in shards if shard.num_rows]
    if len(tables) < 2:  # noqa: PLR2004 - nothing to join
        return tables[0] if tables else SHARD.empty_table()
    joined = pa.concat_tables(tables)
    order = [(name, "ascending") for name in ORDER]
    # Sorting compares texts, which dictionaries hide.
    keys = joined.select(ORDER).cast(
        pa.schema([("symbol", pa.string()), ("period", pa.string()), ("place", pa.int64())])
    )
    return joined.take(pc.sort_indices(keys, sort_keys=order)).combine_chunks()
