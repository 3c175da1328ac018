"""One figure: what was measured, what it should be, and what it is compared with."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from statistics import median
from typing import Any


class Better(StrEnum):
    """Which way a figure should go."""

    HIGHER = "at least"
    LOWER = "at most"


@dataclass(frozen=True, slots=True)
class Figure:
    """Repeated measurements of one thing; `yardstick` was measured in turns with `values`."""

    name: str
    what: str
    unit: str
    values: Sequence[float]
    goal: float
    better: Better
    yardstick_name: str
    yardstick: Sequence[float]

    @property
    def median(self) -> float:
        """The middle measurement."""
        return median(self.values)

    @property
    def ratio(self) -> float:
        """The figure as a multiple of its yardstick."""
        return self.median / median(self.yardstick)

    @property
    def is_met(self) -> bool:
        """Whether the median keeps the goal."""
        if self.better is Better.HIGHER:
            return self.median >= self.goal
        return self.median <= self.goal

    def as_json(self) -> dict[str, Any]:
        """Return the fields, and what follows from them."""
        return asdict(self) | {"median": self.median, "ratio": self.ratio, "is_met": self.is_met}


@dataclass(frozen=True, slots=True)
class Size:
    """How much is measured, and how many times.

    `days` of daily archives, a backfill up to `backfill_end`, a made lake of so many `symbols`
    over `lake_days`.
    """

    days: int
    backfill_end: str
    symbols: int
    lake_days: int
    repeats: int


FULL = Size(days=90, backfill_end="2025-01-01", symbols=400, lake_days=3000, repeats=5)
QUICK = Size(days=3, backfill_end="2024-01-03", symbols=2, lake_days=100, repeats=1)
