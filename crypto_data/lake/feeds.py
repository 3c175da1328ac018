"""What the lake is asked to hold, kept in the lake so that its views need nothing else.

A copy of the configuration's feeds, replaced by every command that fetches. What the
configuration may say belongs to `catalog`.
"""

import json
import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from crypto_data.catalog.configuration import Catalog
from crypto_data.errors import LakeDamaged, UsageError
from crypto_data.lake.layout import FEEDS
from crypto_data.lake.part import damaged, is_refused, replace_file
from crypto_data.series import Series

# The clock that was measured longer ago is measured again before days are judged by it.
CLOCK_SECONDS = 600.0
FAR_OFF_MS = 60_000

log = logging.getLogger("crypto_data.lake")


@dataclass(frozen=True, slots=True)
class Wanted:
    """From when, until when and from which best source a series is wanted, and by which feed."""

    start: date
    end: date | None
    best_source: str
    feed: str = ""  # lakes of the first version do not tell


@dataclass(frozen=True, slots=True)
class Wishes:
    """All series the lake is asked to hold, and how far the exchange's clock is ahead of ours."""

    series: Mapping[Series, Wanted]
    clock_ahead_ms: int = 0


def wanted_series(catalog: Catalog) -> dict[Series, Wanted]:
    """Return from when, until when and from where each configured series is wanted."""
    return {
        series: Wanted(feed.start, feed.end, feed.best_source(series), feed.name)
        for series, feed in catalog.all_series().items()
    }


def current_wishes(catalog: Catalog) -> Wishes:
    """Return what the configuration asks of its lake, with the clock that was last measured.

    Raises:
        LakeDamaged: the system does not let us read when it was measured.
    """
    return Wishes(wanted_series(catalog), read_wishes(catalog.lake).clock_ahead_ms)


def write_wishes(root: Path, wishes: Wishes) -> None:
    """Replace what the lake is asked to hold; nothing is written when nothing changed.

    Raises:
        LakeNotWritable: no space or no permission.
    """
    path = root / FEEDS
    entries = {
        str(series): [
            wanted.start.isoformat(),
            wanted.end.isoformat() if wanted.end else None,
            wanted.best_source,
            wanted.feed,
        ]
        for series, wanted in sorted(wishes.series.items())
    }
    text = json.dumps(
        {"clock_ahead_ms": wishes.clock_ahead_ms, "series": entries}, ensure_ascii=False, indent=0
    ).encode()
    if not path.exists() or path.read_bytes() != text:
        replace_file(path, text)


def read_wishes(root: Path) -> Wishes:
    """Return what the lake is asked to hold; nothing when it was never asked.

    Nothing, and a warning, when the file is damaged: it is a copy of the configuration, which the
    next command that fetches replaces.

    Raises:
        LakeDamaged: the system does not let us read it.
    """
    path = root / FEEDS
    try:
        return parse_wishes(path)
    except LakeDamaged as error:
        if is_refused(error.__cause__):
            raise
        log.warning("%s; taken as empty until the next command that fetches", error)
        return Wishes({})


def parse_wishes(path: Path) -> Wishes:
    """Return what a file of wishes says; nothing when there is none.

    Raises:
        LakeDamaged: the file is there and cannot be read.
    """
    try:
        content = json.loads(path.read_bytes())
        return Wishes(
            {
                Series.parse(name): Wanted(
                    date.fromisoformat(start), date.fromisoformat(end) if end else None, *rest
                )
                for name, (start, end, *rest) in content["series"].items()
            },
            int(content["clock_ahead_ms"]),
        )
    except FileNotFoundError:
        return Wishes({})
    except (OSError, ValueError, KeyError, TypeError, AttributeError, UsageError) as error:
        raise damaged(path, error) from error


def exchange_ms(root: Path, local_ms: int) -> int:
    """Return the exchange's clock as it was last measured, UTC epoch milliseconds; asks nobody."""
    return local_ms + read_wishes(root).clock_ahead_ms


def is_clock_fresh(root: Path) -> bool:
    """Return whether the exchange told its time within the last ten minutes, and ours is near it.

    Where ours was far off it is measured each time: it may have been put right since.
    """
    measured = root / FEEDS
    age_s = time.time() - measured.stat().st_mtime if measured.exists() else CLOCK_SECONDS
    return 0 <= age_s < CLOCK_SECONDS and abs(read_wishes(root).clock_ahead_ms) <= FAR_OFF_MS
