"""Files moved out of the lake because they cannot be trusted, each with a record beside it.

Nothing is ever deleted here. Which files are moved is decided by `lake.store` and `lake.healing`.
"""

import json
import logging
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from crypto_data.errors import UsageError
from crypto_data.lake.layout import SET_ASIDE, stamp
from crypto_data.lake.part import make_folder, replace_file, sync_folder, writing
from crypto_data.partitions import utc
from crypto_data.series import Series

_RECORD = ".json"

log = logging.getLogger("crypto_data.lake")


class Shelf(StrEnum):
    """Where in the folder a file is put."""

    DAMAGED = "damaged"  # it stood where a file of the lake belongs
    FOREIGN = "foreign"  # it had no business among the klines


@dataclass(frozen=True, slots=True)
class SetAside:
    """One file that was moved: from where, to where, when and why; paths from the lake's folder."""

    original: str
    series: Series | None  # whose klines it should have held
    period: str
    at_ms: int  # the exchange's clock, UTC epoch milliseconds
    why: str
    kept: str


def put_aside(
    root: Path, path: Path, *, owner: tuple[Series | None, str], at_ms: int, why: str
) -> SetAside:
    """Move a file out of the lake; the caller holds its lock, if it has one.

    The record is on the disk before the file is moved: after a kill in between, the file is where
    it was.

    Args:
        root: The lake.
        path: The file, or a folder that stands in the place of one.
        owner: The series and period whose place it takes; None and `""` for a foreign file.
        at_ms: The exchange's clock.
        why: What is wrong with it.

    Raises:
        LakeNotWritable: no space or no permission; the file is where it was.
    """
    original = path.relative_to(root)
    series, period = owner
    with writing(root / SET_ASIDE):
        kept = _place(root, original, Shelf.DAMAGED if period else Shelf.FOREIGN, at_ms)
    moved = SetAside(str(original), series, period, at_ms, why, str(kept.relative_to(root)))
    replace_file(kept.with_name(kept.name + _RECORD), _encode(moved))
    with writing(path):
        path.rename(kept)
        sync_folder(kept.parent)
        sync_folder(path.parent)
    return moved


def _place(root: Path, original: Path, shelf: Shelf, at_ms: int) -> Path:
    place = root / SET_ASIDE / shelf / original
    while (kept := place.with_name(f"{place.name}.{stamp(at_ms)}")).exists():
        at_ms += 1
    make_folder(kept.parent)
    return kept


def _encode(moved: SetAside) -> bytes:
    entry = asdict(moved) | {
        "series": str(moved.series) if moved.series else None,
        "at": utc(moved.at_ms),
    }
    return json.dumps(entry, ensure_ascii=False, indent=1).encode()


def read_set_aside(root: Path) -> list[SetAside]:
    """Return the files that were taken out of their place in the lake, oldest first.

    Foreign files are not among them: no day was lost with them. Nor are those that a person has
    deleted since.
    """
    return sorted(_records(root / SET_ASIDE / Shelf.DAMAGED, root), key=lambda one: one.at_ms)


def _records(folder: Path, root: Path) -> Iterator[SetAside]:
    for parent, _, names in os.walk(folder):
        for name in names:
            path = Path(parent, name)
            if not name.endswith(_RECORD) or not path.with_suffix("").exists():
                continue
            try:
                yield _decode(json.loads(path.read_bytes()))
            except (ValueError, KeyError, TypeError, UsageError) as error:
                log.warning(
                    "%s: no record of a file (%s); delete it", path.relative_to(root), error
                )


def _decode(entry: dict[str, Any]) -> SetAside:
    series = entry["series"]
    return SetAside(
        str(entry["original"]),
        Series.parse(series) if series else None,
        str(entry["period"]),
        int(entry["at_ms"]),
        str(entry["why"]),
        str(entry["kept"]),
    )
