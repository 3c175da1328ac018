"""Where one benchmark works and how much it measures."""

from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Size:
    """How much is measured, and how many times.

    `archive_days` of daily archives; a `backfill` up to a day; `rest_days` over REST; a `history`
    from a first day on; `symbols` side by side; a made lake of `lake_symbols` with three intervals
    over `lake_days`; a lake with `kept_days` of 1m; turns of
    short things (`repeats`) and of those that take many seconds (`rounds`).
    """

    archive_days: int
    backfill_end: date
    rest_days: int
    history_start: date
    symbols: int
    lake_symbols: int
    lake_days: int
    kept_days: int
    repeats: int
    rounds: int


FULL = Size(
    archive_days=90,
    backfill_end=date(2025, 1, 1),
    rest_days=365,
    history_start=date(2017, 8, 17),
    symbols=400,
    lake_symbols=400,
    lake_days=3000,
    kept_days=98,
    repeats=5,
    rounds=3,
)
QUICK = Size(
    archive_days=3,
    backfill_end=date(2024, 1, 3),
    rest_days=2,
    history_start=date(2026, 7, 1),
    symbols=3,
    lake_symbols=2,
    lake_days=100,
    kept_days=2,
    repeats=1,
    rounds=1,
)


@dataclass(frozen=True, slots=True)
class Place:
    """The exchange at `url`, an own `folder` that does not exist yet, one `shared` with others.

    `peers` tells whether other packages are measured too.
    """

    url: str
    folder: Path
    shared: Path
    size: Size
    peers: bool

    def within(self, name: str) -> "Place":
        """Return the same with a folder of another name inside this one."""
        return replace(self, folder=self.folder / name)
