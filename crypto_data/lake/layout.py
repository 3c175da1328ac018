"""Where things lie in a lake: one place that knows the folders and file names.

Paths only. Reading and writing them belongs to `lake.part` and `lake.store`.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from crypto_data.errors import UsageError
from crypto_data.partitions import period_days
from crypto_data.series import Series

# Folders beside `klines` start with an underscore: readers of hive data pass over them.
LOCKS = "_locks"
SCRATCH = "_scratch"
QUARANTINE = "_quarantine"
SUPERSEDED = "_superseded"
SET_ASIDE = "_set_aside"
INDEX = "_index"
HISTORY = "_history.json"
ALERTS = "_alerts"
FEEDS = "_feeds.json"
DATABASE = "lake.duckdb"


def klines_glob(root: Path) -> str:
    """Return the one glob that reads the whole lake."""
    return str(root / "klines" / "*" / "*" / "*" / "*" / "*.parquet")


def series_folder(root: Path, series: Series) -> Path:
    """Return the folder that holds a series' files."""
    return root / "klines" / _hive(series)


def part_path(root: Path, series: Series, period: str) -> Path:
    """Return the file that holds one period of a series."""
    return series_folder(root, series) / f"{period}.parquet"


def lock_path(root: Path, series: Series, period: str) -> Path:
    """Return the lock of one file; it stays behind empty and is never read."""
    return root / LOCKS / _hive(series) / f"{period}.lock"


def quarantine_path(root: Path, series: Series, period: str) -> Path:
    """Return the file that holds the rows of a period which broke a rule."""
    return root / QUARANTINE / _hive(series) / f"{period}.parquet"


def scratch_folder(path: Path) -> Path:
    """Return where a file is written before it is renamed to `path`.

    For a klines file that is a folder outside `klines`, on the same file system: an engine that is
    pointed at the folder of all klines (Polars) stumbles over any file that is no Parquet.
    """
    if len(path.parents) > _DEPTH and path.parents[_DEPTH - 1].name == "klines":
        root = path.parents[_DEPTH]
        return root / SCRATCH / path.parent.relative_to(root / "klines")
    return path.parent


# Folders from a klines file up to the lake: symbol, interval, market, exchange, klines.
_DEPTH = 5


def _hive(series: Series) -> Path:
    return Path(
        f"exchange={series.exchange}",
        f"market={series.market}",
        f"interval={series.interval}",
        f"symbol={series.symbol}",
    )


@dataclass(frozen=True, slots=True)
class Part:
    """One file of the lake: which series and period it holds, and where it is."""

    series: Series
    period: str
    path: Path


def find_parts(root: Path) -> Iterator[Part]:
    """Yield every file of the lake that follows the layout, ordered by path.

    Temporary and foreign files are passed over; `health` names them.
    """
    for folder in _series_folders(root / "klines"):
        series = _series_of(folder)
        if series is not None:
            yield from parts_in(folder, series)


def parts_in(folder: Path, series: Series) -> Iterator[Part]:
    """Yield the files of one series, oldest first; none when the folder is not there."""
    try:
        names = sorted(os.listdir(folder))  # noqa: PTH208 - names only, twice as fast
    except FileNotFoundError:
        return
    for name in names:
        period, dot, ending = name.partition(".")
        if dot and ending == "parquet" and _is_period(period):
            yield Part(series, period, folder / name)


def _series_folders(folder: Path) -> Iterator[Path]:
    folders = [folder]
    for _ in range(4):
        folders = [Path(entry.path) for parent in folders for entry in _folders_in(parent)]
    yield from folders


def _folders_in(folder: Path) -> list["os.DirEntry[str]"]:
    try:
        with os.scandir(folder) as entries:
            return sorted((entry for entry in entries if entry.is_dir()), key=lambda e: e.name)
    except FileNotFoundError:
        return []


def _series_of(folder: Path) -> Series | None:
    """Return the series a folder is named after; None for a foreign folder."""
    keys = dict(part.partition("=")[::2] for part in folder.parts[-4:])
    try:
        return Series.parse(
            f"{keys['exchange']}/{keys['market']}/{keys['symbol']}/{keys['interval']}"
        )
    except (KeyError, UsageError):
        return None


def _is_period(text: str) -> bool:
    try:
        period_days(text)
    except ValueError:
        return False
    return True
