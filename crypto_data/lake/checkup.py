"""What is wrong with the files of a lake: found and named, nothing changed.

Healing belongs to `lake.healing`. Whether rows agree with their ledger is judged by
`lake.agreement`.
"""

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from enum import StrEnum
from itertools import islice
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from crypto_data.errors import LakeDamaged
from crypto_data.intervals import DAY_MS, MINUTE_MS
from crypto_data.lake.agreement import extent_faults, footer_faults, row_faults
from crypto_data.lake.feeds import parse_wishes
from crypto_data.lake.layout import (
    FEEDS,
    QUARANTINE,
    SCRATCH,
    SUPERSEDED,
    UNIVERSE,
    period_of_file,
    series_of,
)
from crypto_data.lake.part import (
    REPAIR,
    TEMPORARY,
    UNREADABLE,
    NotOurs,
    damaged,
    is_refused,
    read_footer,
    read_rows,
    why_damaged,
)
from crypto_data.lake.quarantine import read_quarantined
from crypto_data.lake.universe import parse_universe
from crypto_data.series import Series

KLINES_FOLDER = "klines"
# Folders from `klines` down to the files: exchange, market, interval, symbol.
_DEPTH = 4
# A temporary file is written within seconds, `lake.duckdb` within minutes.
STRAY_MS = MINUTE_MS
UNLOCKED_STRAY_MS = DAY_MS
_BATCH = 256  # files handed to the threads at once
_LOOKS = 5  # at a file that others replace meanwhile


class Kind(StrEnum):
    """What is wrong with a file."""

    UNREADABLE = "unreadable"  # its content is damaged
    UNAVAILABLE = "unavailable"  # the system does not let us read it
    ZERO_BYTE = "zero_byte"
    DISAGREES = "disagrees"  # its rows are not those that its ledger tells of
    FOREIGN = "foreign"  # no file of the lake, among its klines
    STRAY = "stray"  # half a file, left by a writer that was killed


@dataclass(frozen=True, slots=True)
class Finding:
    """One file with a fault; `path` from the lake's folder on, `series` None for a foreign one."""

    kind: Kind
    path: str
    series: Series | None
    period: str
    detail: str

    @property
    def remedy(self) -> str:
        """Return what helps."""
        refused = self.kind is Kind.UNAVAILABLE
        return "permit reading it, or mend the disk" if refused else REPAIR


@dataclass(frozen=True, slots=True)
class Checkup:
    """All that is wrong, by path, and how many files and klines were looked at."""

    findings: tuple[Finding, ...]
    files: int
    rows: int


Wanted = Callable[[Series, str], bool]


def check_lake(root: Path, *, verify: bool, local_ms: int, wanted: Wanted | None = None) -> Checkup:
    """Look at the files of a lake and say what is wrong with them.

    Args:
        root: The lake.
        verify: Whether to read every row.
        local_ms: This machine's clock, UTC epoch milliseconds, which tells a stray file from one
            that is being written.
        wanted: Which series and periods to look at; None for all, foreign and stray files too.
    """
    findings: list[Finding] = []
    parts: list[_Place] = []
    for place in _klines_places(root, findings):
        if place.series is None or not place.period:
            findings.append(_foreign(place))
        elif wanted is None or wanted(place.series, place.period):
            parts.append(place)
    rows = 0
    for finding, count in _examine_all(root, parts, verify=verify):
        rows += count
        findings.extend([finding] if finding else [])
    findings.extend(_side_findings(root))
    findings.extend(_strays(root, local_ms))
    if wanted is not None:
        findings = [
            one for one in findings if one.series is not None and wanted(one.series, one.period)
        ]
    ordered = sorted(set(findings), key=lambda one: one.path)
    return Checkup(tuple(ordered), len(parts), rows)


@dataclass(frozen=True, slots=True)
class _Place:
    """A file, and what it should hold by its name: None and `""` for a foreign one."""

    path: str
    series: Series | None = None
    period: str = ""


def _klines_places(root: Path, findings: list[Finding]) -> Iterator[_Place]:
    """Yield every file below `klines`, and folders that stand in the place of a file."""

    def refused(error: OSError) -> None:
        path = os.path.relpath(error.filename, root)
        findings.append(_unavailable(path, None, "", error.strerror or str(error)))

    top = root / KLINES_FOLDER
    if not top.exists():
        return
    # A folder of a series may lie on another disk, behind a link.
    for parent, folders, names in os.walk(top, onerror=refused, followlinks=True):
        folder = Path(parent)
        depth = len(folder.relative_to(top).parts)
        series = series_of(folder) if depth == _DEPTH else None
        if depth == _DEPTH:
            names += [name for name in folders if any((folder / name).iterdir())]
            names += [name for name in folders if name.endswith(".parquet") and name not in names]
            folders.clear()
        for name in names:
            period = period_of_file(name, series.interval.period) if series else ""
            path = str((folder / name).relative_to(root))
            yield _Place(path, series, period) if period else _Place(path)


def _foreign(place: _Place) -> Finding:
    return Finding(Kind.FOREIGN, place.path, None, "", "no file of the lake has such a name")


def _unavailable(path: str, series: Series | None, period: str, why: str) -> Finding:
    return Finding(Kind.UNAVAILABLE, path, series, period, why)


def _examine_all(
    root: Path, parts: Iterable[_Place], *, verify: bool
) -> Iterator[tuple[Finding | None, int]]:
    waiting = iter(parts)
    with ThreadPoolExecutor(min(4, os.cpu_count() or 1), "checkup") as pool:
        while batch := list(islice(waiting, _BATCH)):
            yield from pool.map(
                lambda part: examine(root, part.path, part.series, part.period, verify=verify),
                batch,
            )


def examine(
    root: Path, path: str, series: Series | None, period: str, *, verify: bool
) -> tuple[Finding | None, int]:
    """Return what is wrong with one file of klines, None for nothing; and how many it holds.

    Nothing is wrong with one that is gone by now. One replaced meanwhile is looked at again.
    """
    full = root / path
    for _ in range(_LOOKS):
        before = _stamp(full)
        found, rows = _examine_once(full, path, series, period, verify=verify)
        if found is None or found.kind is not Kind.DISAGREES or _stamp(full) == before:
            return found, rows
    return None, rows  # each time the footer of one file disagreed with the rows of the next


def _stamp(full: Path) -> tuple[int, int]:
    """Return what tells a file from the one that replaces it."""
    try:
        status = full.stat()
    except OSError:
        return 0, 0
    return status.st_ino, status.st_mtime_ns


def _examine_once(
    full: Path, path: str, series: Series | None, period: str, *, verify: bool
) -> tuple[Finding | None, int]:
    try:
        if full.stat().st_size == 0:
            return Finding(Kind.ZERO_BYTE, path, series, period, "it is empty"), 0
        footer = read_footer(full)
        faults = list(footer_faults(period, footer))
        if verify and not faults and series is not None:
            rows = read_rows(full)
            faults = list(row_faults(series, period, rows, footer))
            faults += _extent_faults(full, rows)
    except FileNotFoundError:
        return _vanished(full, path, series, period), 0
    except OSError as error:
        return _unavailable(path, series, period, error.strerror or str(error)), 0
    except LakeDamaged as error:
        return _damage(path, series, period, error), 0
    if faults:
        detail = "; ".join(faults[:3]) + ("; …" if len(faults) > 3 else "")  # noqa: PLR2004
        return Finding(Kind.DISAGREES, path, series, period, detail), footer.rows
    return None, footer.rows


def _extent_faults(full: Path, rows: pa.Table) -> list[str]:
    try:
        with pq.ParquetFile(full) as file:
            return list(extent_faults(file, rows))
    except UNREADABLE as error:
        raise damaged(full, error) from error


def _vanished(full: Path, path: str, series: Series | None, period: str) -> Finding | None:
    """Return a link to nowhere as what it is; a file may go at any moment."""
    if not full.is_symlink():
        return None
    return _unavailable(path, series, period, f"a link to {full.readlink()}, which is not there")


def _damage(path: str, series: Series | None, period: str, error: LakeDamaged) -> Finding:
    kind = Kind.UNREADABLE
    if is_refused(error.__cause__):
        kind = Kind.UNAVAILABLE
    elif isinstance(error.__cause__, NotOurs):
        kind = Kind.FOREIGN
    return Finding(kind, path, series, period, why_damaged(error))


def _side_findings(root: Path) -> Iterator[Finding]:
    """Yield what cannot be read of quarantine, and of copies of what is told elsewhere."""
    looked: list[tuple[Path, Callable[[Path], object]]] = [(root / FEEDS, parse_wishes)]
    looked += [(path, parse_universe) for path in sorted((root / UNIVERSE).glob("*.json"))]
    looked += [(path, read_quarantined) for path in _files_in(root / QUARANTINE)]
    for path, parse in looked:
        series = series_of(path.parent) if parse is read_quarantined else None
        period = period_of_file(path.name, series.interval.period) if series else ""
        if parse is read_quarantined and not period:
            continue
        try:
            parse(path)
        except LakeDamaged as error:
            yield _damage(str(path.relative_to(root)), series, period, error)


def _strays(root: Path, local_ms: int) -> Iterator[Finding]:
    """Yield what killed writers left under temporary names, here and in the folders beside."""
    for folder in (SCRATCH, QUARANTINE, SUPERSEDED):
        for path in _files_in(root / folder):
            if path.name.startswith(".") and path.name.endswith(TEMPORARY):
                series = series_of(path.parent)
                period = path.name[1:].partition(".")[0] if series else ""
                yield from _stray(root, path, (series, period), local_ms - STRAY_MS)
    if root.is_dir():
        for path in root.glob(f".*{TEMPORARY}*"):
            yield from _stray(root, path, (None, ""), local_ms - UNLOCKED_STRAY_MS)


def _stray(
    root: Path, path: Path, owner: tuple[Series | None, str], before_ms: int
) -> Iterator[Finding]:
    try:
        written_ms = path.stat().st_mtime_ns // 1_000_000
    except FileNotFoundError:
        return  # renamed by its writer just now
    if written_ms < before_ms:
        detail = "left by a process that was killed"
        yield Finding(Kind.STRAY, str(path.relative_to(root)), *owner, detail)


def _files_in(folder: Path) -> Iterator[Path]:
    for parent, _, names in os.walk(folder):
        yield from (Path(parent, name) for name in names)
