"""The ledger of the whole lake as tables, kept so that nobody opens a hundred thousand files.

The truth is in the files' footers. Kept in `_index` is what was read of files that look the same
since: deleting it, or losing it, costs the time of reading the footers again. What the days of the
tables mean is judged by `lake.census`.
"""

import logging
import os
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from pathlib import Path

import numpy as np
import pyarrow as pa

from crypto_data.errors import LakeDamaged
from crypto_data.intervals import Period
from crypto_data.lake.layout import (
    INDEX,
    file_of_period,
    find_series,
    period_of_file,
    series_folder,
)
from crypto_data.lake.part import TEMPORARY, Footer, read_footer
from crypto_data.lake.shard import (
    FileName,
    ShardName,
    Stamp,
    join_shards,
    keep_files,
    load_shard,
    save_shard,
    shard_of,
    stamps_of,
)
from crypto_data.series import Series

# A file that changed a shorter while before it was looked at may change again within one tick of
# its file system's clock: what was read of it is not kept.
SETTLE_NS = 2_000_000_000
# So many footers are read between two savings: a first reading that is killed goes on there.
BATCH = 5_000
# A temporary file of the index that nobody has touched for so long was left by a killed process.
LEFT_SECONDS = 3600

log = logging.getLogger("crypto_data.lake")


@dataclass(frozen=True, slots=True)
class FileFault:
    """A file of the lake that is there and cannot be read, for good or just now."""

    series: Series
    path: str
    why: str

    def __str__(self) -> str:
        """Return the path, why, and what to do."""
        return f"{self.path}: cannot be read ({self.why}); run: crypto-data repair"


@dataclass(frozen=True, slots=True)
class Index:
    """What the footers of all files say, and the files that say nothing.

    `shards` are tables of `shard.SHARD`; `sizes` are the bytes of each file of every series that
    has any, those in `faults` included.
    """

    shards: Mapping[ShardName, pa.Table]
    sizes: Mapping[Series, Sequence[int]]
    faults: tuple[FileFault, ...]


def read_index(root: Path) -> Index:
    """Return what the footers of a lake say; only those of files that changed are read.

    Every file's inode, size and time of change are looked at, so that a file damaged in its place
    is seen too. Any number of processes may do this at once: what each returns is right, what the
    last one keeps stays.
    """
    listing = _list_files(root)
    faults = list(listing.faults)
    shards = {}
    for name, files in listing.files.items():
        shards[name], broken = _read_shard(root, name, files, listing.at_ns)
        faults += broken
    _sweep(root, listing.files)
    return Index(shards, listing.sizes, tuple(faults))


@dataclass(frozen=True, slots=True)
class _Listing:
    """All files of the lake, when they were looked at, and folders that cannot be listed."""

    files: dict[ShardName, dict[FileName, Stamp]]
    sizes: dict[Series, Sequence[int]]
    faults: list[FileFault]
    at_ns: int


def _list_files(root: Path) -> _Listing:
    # Times of files are of the same clock, or nearly: no exchange has a say in them.
    listing = _Listing({}, {}, [], time.time_ns())
    for folder, series in find_series(root):
        try:
            found = dict(_stamps_in(folder, series.interval.period))
        except OSError as error:
            listing.faults.append(FileFault(series, str(folder), error.strerror or str(error)))
            continue
        if found:
            files = listing.files.setdefault(ShardName.of(series), {})
            listing.sizes[series] = [size for _, _, size in found.values()]
            files |= {(series.symbol, period): stamp for period, stamp in found.items()}
    return listing


def _stamps_in(folder: Path, length: Period) -> Iterator[tuple[str, Stamp]]:
    with os.scandir(folder) as entries:
        for entry in entries:
            period = period_of_file(entry.name, length)
            if not period:
                continue
            try:
                status = entry.stat()
            except FileNotFoundError:
                continue  # taken away just now
            yield period, (status.st_ino, status.st_ctime_ns, status.st_size)


def _read_shard(
    root: Path, name: ShardName, files: Mapping[FileName, Stamp], at_ns: int
) -> tuple[pa.Table, list[FileFault]]:
    """Return the rows of all files that can be read, and the others; keep what will stay true."""
    path = name.path(root)
    kept = load_shard(path)
    known = stamps_of(kept)
    same = np.array([files.get(file) == stamp for file, stamp in known], dtype=bool)
    shard = keep_files(kept, same)
    current = {file for (file, _), is_same in zip(known, same, strict=True) if is_same}
    unread = sorted(files.keys() - current)
    if len(unread) >= BATCH:
        log.warning("reading the ledgers of %d files of %s, once", len(unread), _told(name))
    young: list[pa.Table] = []
    faults: list[FileFault] = []
    is_stale = any(file not in files for file, _ in known)
    for start in range(0, len(unread), BATCH):
        read, broken = _read_files(root, name, unread[start : start + BATCH])
        faults += broken
        settled = [file for file in read if _is_settled(files[file], at_ns)]
        young.append(_table(files, read, read.keys() - settled))
        if settled:
            shard = join_shards([shard, _table(files, read, settled)])
            save_shard(path, shard)
            is_stale = False
    if is_stale:
        save_shard(path, shard)
    return join_shards([shard, *young]), faults


def _told(name: ShardName) -> str:
    return f"{name.exchange}/{name.market}/{name.interval}"


def _is_settled(stamp: Stamp, at_ns: int) -> bool:
    return abs(at_ns - stamp[1]) > SETTLE_NS


def _table(
    files: Mapping[FileName, Stamp],
    footers: Mapping[FileName, Footer],
    chosen: Collection[FileName],
) -> pa.Table:
    return shard_of((file, files[file], footers[file]) for file in sorted(chosen))


def _read_files(
    root: Path, name: ShardName, files: Sequence[FileName]
) -> tuple[dict[FileName, Footer], list[FileFault]]:
    footers: dict[FileName, Footer] = {}
    faults = []
    for symbol, of_symbol in groupby(files, key=itemgetter(0)):
        series = name.series(symbol)
        folder = series_folder(root, series)
        for _, period in of_symbol:
            path = folder / file_of_period(period)
            try:
                footers[symbol, period] = read_footer(path)
            except LakeDamaged as error:
                faults.append(FileFault(series, str(path), _cause(error)))
    return footers, faults


def _cause(error: LakeDamaged) -> str:
    """Return what is wrong with a file, without the advice that the error carries."""
    cause = error.__cause__
    said = getattr(cause, "strerror", None) or cause or error
    return " ".join(str(said).split())


def _sweep(root: Path, held: Collection[ShardName]) -> None:
    """Remove what the index keeps of series that left the lake, and what killed writers left."""
    names = {name.path(root).name for name in held}
    try:
        with os.scandir(root / INDEX) as entries:
            for entry in entries:
                is_left = entry.name.endswith(TEMPORARY) and (
                    time.time() - entry.stat().st_mtime > LEFT_SECONDS
                )
                if is_left or (entry.name.endswith(".parquet") and entry.name not in names):
                    Path(entry.path).unlink(missing_ok=True)
    except FileNotFoundError:
        return
    except OSError as error:
        log.info("the index is not swept: %s", error)
