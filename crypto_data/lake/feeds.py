"""What the lake is asked to hold, kept in the lake so that its views need nothing else.

A copy of the configuration's feeds, replaced by every command that fetches. The configuration
itself belongs to `catalog`.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from crypto_data.errors import LakeDamaged, UsageError
from crypto_data.lake.layout import FEEDS
from crypto_data.lake.part import replace_file
from crypto_data.series import Series


@dataclass(frozen=True, slots=True)
class Wanted:
    """From when, until when and from which best source a series is wanted."""

    start: date
    end: date | None
    best_source: str


@dataclass(frozen=True, slots=True)
class Wishes:
    """All series the lake is asked to hold, and how far the exchange's clock is ahead of ours."""

    series: Mapping[Series, Wanted]
    clock_ahead_ms: int = 0


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

    Raises:
        LakeDamaged: the file is there and cannot be read.
    """
    path = root / FEEDS
    try:
        content = json.loads(path.read_bytes())
        return Wishes(
            {
                Series.parse(name): Wanted(
                    date.fromisoformat(start), date.fromisoformat(end) if end else None, best
                )
                for name, (start, end, best) in content["series"].items()
            },
            content["clock_ahead_ms"],
        )
    except FileNotFoundError:
        return Wishes({})
    except (OSError, ValueError, KeyError, TypeError, UsageError) as error:
        raise LakeDamaged(
            str(path), f"cannot be read ({error}). Delete it: the next backfill writes it anew"
        ) from error
