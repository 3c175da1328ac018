"""Where things lie in a lake: one place that knows the folders and file names.

Paths only. Reading and writing them belongs to `lake.part` and `lake.store`.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path

from crypto_data.errors import UsageError
from crypto_data.intervals import Period
from crypto_data.partitions import name_of_period, period_days
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
UNIVERSE = "_universe"
DATABASE = "lake.duckdb"


_STAMP = "%Y%m%dT%H%M%S.%f"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def klines_glob(root: Path) -> str:
    """Return the one glob that reads the whole lake."""
    return str(root / "klines" / "*" / "*" / "*" / "*" / "*.parquet")


def series_folder(root: Path, series: Series) -> Path:
    """Return the folder that holds a series' files."""
    return root / "klines" / _hive(series)


def part_path(root: Path, series: Series, period: str) -> Path:
    """Return the file that holds one period of a series."""
    return series_folder(root, series) / file_of_period(period)


def file_of_period(period: str) -> str:
    """Return the name of the file that holds a period."""
    return f"{period}.parquet"


def lock_path(root: Path, series: Series, period: str) -> Path:
    """Return the lock of one file; it stays behind empty and is never read."""
    return root / LOCKS / _hive(series) / f"{period}.lock"


def quarantine_path(root: Path, series: Series, period: str) -> Path:
    """Return the file that holds the rows of a period which broke a rule."""
    return root / QUARANTINE / _hive(series) / f"{period}.parquet"


def superseded_path(root: Path, series: Series, period: str, at_ms: int) -> Path:
    """Return where the file of a period is kept that was replaced by other values at an instant."""
    return root / SUPERSEDED / _hive(series) / f"{period}.{stamp(at_ms)}.parquet"


def stamp(at_ms: int) -> str:
    """Return an instant (UTC epoch milliseconds) as names carry it: `20240307T021000.123Z`."""
    moment = _EPOCH + timedelta(milliseconds=at_ms)
    return f"{moment.strftime(_STAMP)[:-3]}Z"


def stamped_ms(text: str) -> int:
    """Return the instant of `stamp`, UTC epoch milliseconds.

    Raises:
        ValueError: the text is no stamp.
    """
    moment = datetime.strptime(text.removesuffix("Z"), _STAMP).replace(tzinfo=UTC)
    return (moment - _EPOCH) // timedelta(milliseconds=1)


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
    return Path(*_hive_names(series))


def _hive_names(series: Series) -> tuple[str, ...]:
    return (
        f"exchange={series.exchange}",
        f"market={series.market}",
        f"interval={series.interval}",
        f"symbol={_escape(series.symbol)}",
    )


# As pyarrow, DuckDB and Polars write such signs into hive folders, and read them back.
_ESCAPED = {"/": "%2F", ":": "%3A"}


def _escape(symbol: str) -> str:
    for sign, escaped in _ESCAPED.items():
        symbol = symbol.replace(sign, escaped)
    return symbol


def _unescape(name: str) -> str:
    for sign, escaped in _ESCAPED.items():
        name = name.replace(escaped, sign)
    return name


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
    for folder, series in find_series(root):
        yield from parts_in(folder, series)


def find_series(root: Path) -> Iterator[tuple[Path, Series]]:
    """Yield the folder of every series of the lake, ordered by path; foreign ones are left out."""
    for folder, names in _series_folders(root / "klines"):
        series = _series_named(names)
        if series is not None:
            yield Path(folder), series


def parts_in(folder: Path, series: Series) -> Iterator[Part]:
    """Yield the files of one series, oldest first; none when the folder is not there."""
    try:
        names = sorted(os.listdir(folder))  # noqa: PTH208 - names only, twice as fast
    except FileNotFoundError:
        return
    for name in names:
        period = period_of_file(name, series.interval.period)
        if period:
            yield Part(series, period, folder / name)


def _series_folders(top: Path) -> list[tuple[str, tuple[str, ...]]]:
    """Return the folders four below `top`, ordered, and the names on the way to each."""
    folders: list[tuple[str, tuple[str, ...]]] = [(str(top), ())]
    for _ in range(4):
        folders = [
            (entry.path, (*names, entry.name))
            for parent, names in folders
            for entry in _folders_in(parent)
        ]
    return folders


def _folders_in(folder: str) -> list["os.DirEntry[str]"]:
    try:
        with os.scandir(folder) as entries:
            return sorted((entry for entry in entries if entry.is_dir()), key=lambda e: e.name)
    except FileNotFoundError:
        return []


def series_of(folder: Path) -> Series | None:
    """Return the series a folder is named after; None for a foreign folder."""
    return _series_named(folder.parts[-4:])


def _series_named(names: tuple[str, ...]) -> Series | None:
    keys = dict(name.partition("=")[::2] for name in names)
    try:
        series = Series.parse(
            f"{keys['exchange']}/{keys['market']}/{_unescape(keys['symbol'])}/{keys['interval']}"
        )
    except (KeyError, UsageError):
        return None
    return series if _hive_names(series) == names else None


@cache
def period_of_file(name: str, length: Period) -> str:
    """Return the period a file is named after; `""` when it is no file of such a length."""
    period, dot, ending = name.partition(".")
    if not dot or ending != "parquet":
        return ""
    try:
        first, _ = period_days(period)
    except ValueError:
        return ""
    return period if name_of_period(length, first) == period else ""


def owner_of(path: Path) -> str:
    """Return what a klines file holds by its place, `binance/spot/BTCUSDT/1h 2024`; else `""`."""
    parts = path.parts
    if len(parts) <= _DEPTH or parts[-_DEPTH - 1] != "klines":
        return ""
    exchange, market, interval, symbol = (part.partition("=")[2] for part in parts[-5:-1])
    return f"{exchange}/{market}/{_unescape(symbol)}/{interval} {path.stem}"
