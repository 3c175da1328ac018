"""What a source changed of days that the lake had already, carried in the footer of their file.

Committed with the rows in one step. Comparing rows happens here; where the replaced file is kept
belongs to `lake.superseded`.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import date
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.types

from crypto_data.coverage import DayFacts
from crypto_data.harvest import Harvest
from crypto_data.lake.merge import rows_of_days
from crypto_data.schema import epoch_ms

CORRECTIONS_KEY = b"crypto_data.corrections"


@dataclass(frozen=True, slots=True)
class Correction:
    """One day whose klines were replaced by different ones; times are UTC epoch milliseconds."""

    day: date
    at_ms: int  # the exchange's clock
    columns: tuple[str, ...]  # those whose values changed
    rows_changed: int
    rows_added: int
    old_source: str  # sources of the day's rows, best first, joined by `+`
    new_source: str
    old_checksum: str
    new_checksum: str
    superseded: str  # the replaced file, from the lake's folder on; kept for a while


def find_corrections(
    stored: pa.Table,
    rows: pa.Table,
    harvest: Harvest,
    known: Mapping[date, DayFacts],
    ledger: Mapping[date, DayFacts],
) -> list[Correction]:
    """Return which days of a harvest changed klines that were there already, ascending.

    The same values from another source, and klines where there were none, are no correction.

    Args:
        stored: The rows as they were, `schema.KLINES`, sorted.
        rows: The rows as they will be.
        harvest: What brought them.
        known: What was known of each day.
        ledger: What will be known.
    """
    days = sorted(day for day in harvest.days if day in known)
    before = rows_of_days(epoch_ms(stored["open_time"]).to_numpy(), days)
    after = rows_of_days(epoch_ms(rows["open_time"]).to_numpy(), days)
    found = []
    for day in days:
        change = find_change(_cut(stored, before[day]), _cut(rows, after[day]))
        if change:
            old, new = known[day], ledger[day]
            found.append(
                Correction(
                    day,
                    harvest.asked_ms,
                    *change,
                    old_source=_names(old),
                    new_source=_names(new),
                    old_checksum=old.checksum,
                    new_checksum=new.checksum,
                    superseded="",
                )
            )
    return found


def _cut(rows: pa.Table, place: slice) -> pa.Table:
    return rows.slice(place.start, place.stop - place.start)


def _names(facts: DayFacts) -> str:
    return "+".join(source for source, _ in facts.sources)


def find_change(before: pa.Table, after: pa.Table) -> tuple[tuple[str, ...], int, int] | None:
    """Return which columns changed, in how many rows, and how many rows came; None for no change.

    A row that went counts as changed in its `open_time`. Close times are compared in milliseconds:
    REST knows no finer ones.
    """
    if not before.num_rows or before.equals(after):
        return None
    stayed = np.isin(
        epoch_ms(before["open_time"]).to_numpy(), epoch_ms(after["open_time"]).to_numpy()
    )
    gone = int((~stayed).sum())
    columns, changed = _find_differences(before.filter(pa.array(stayed)) if gone else before, after)
    if not columns and not gone:
        return None
    came = after.num_rows - before.num_rows + gone
    return ((*(("open_time",) if gone else ()), *columns), changed + gone, came)


def _find_differences(before: pa.Table, after: pa.Table) -> tuple[tuple[str, ...], int]:
    """Return in which columns the rows of `before` differ from those of `after`, and how many do.

    Every open time of `before` is in `after`.
    """
    place = np.searchsorted(
        epoch_ms(after["open_time"]).to_numpy(), epoch_ms(before["open_time"]).to_numpy()
    )
    changed = {
        name: _plain(before[name]) != _plain(after[name])[place]
        for name in before.column_names
        if name not in {"open_time", "source"}
    }
    columns = tuple(name for name, rows in changed.items() if rows.any())
    count = int(np.logical_or.reduce([changed[name] for name in columns]).sum()) if columns else 0
    return columns, count


# An unknown value, in a form that equals itself; no quantity is negative.
_UNKNOWN = -1


def _plain(column: Any) -> Any:
    if pa.types.is_timestamp(column.type):
        return epoch_ms(column).to_numpy()
    return (column.fill_null(_UNKNOWN) if column.null_count else column).to_numpy()


def encode_corrections(corrections: Iterable[Correction]) -> bytes:
    """Return corrections as JSON, oldest first."""
    entries = [{**asdict(one), "day": one.day.isoformat()} for one in corrections]
    return json.dumps(entries, separators=(",", ":"), ensure_ascii=False).encode()


def decode_corrections(text: bytes) -> tuple[Correction, ...]:
    """Return the corrections of `encode_corrections`; none for an empty text.

    Raises:
        ValueError, KeyError, TypeError: the text holds no corrections.
    """
    return tuple(
        Correction(
            **{
                **entry,
                "day": date.fromisoformat(entry["day"]),
                "columns": tuple(entry["columns"]),
            }
        )
        for entry in json.loads(text or b"[]")
    )
