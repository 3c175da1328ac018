"""What a source changed of days that the lake had already, carried in the footer of their file.

Committed with the rows in one step. Comparing rows happens here; where the replaced file is kept
belongs to `lake.superseded`.
"""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import date

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
