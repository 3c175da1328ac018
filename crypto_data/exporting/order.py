"""What is to be exported: the format, the place, which series and days."""

from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from crypto_data.selection import Selection


class ExportFormat(StrEnum):
    """Who is to read the files; `csv` is for all who read the exchange's archive."""

    FREQTRADE = "freqtrade"
    NAUTILUS = "nautilus"
    CSV = "csv"


class Packing(StrEnum):
    """Whether a file is a CSV, or a zip of one with its CHECKSUM beside it."""

    PLAIN = "csv"
    ZIP = "zip"


@dataclass(frozen=True, slots=True)
class Order:
    """One export: what for, where to, what of the lake, and whether days may be unknown.

    `packing` is for `csv` only.
    """

    format: ExportFormat
    folder: Path
    selection: Selection = field(default_factory=Selection)
    allow_gaps: bool = False
    packing: Packing = Packing.PLAIN
