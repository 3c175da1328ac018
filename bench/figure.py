"""One figure: what was measured, what stands beside it, and what it should be."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from statistics import median
from typing import Any


class Unmeasured(Exception):
    """Something cannot be measured here; the sentence says why."""


class Better(StrEnum):
    """Which way a figure should go."""

    HIGHER = "≥"
    LOWER = "≤"


@dataclass(frozen=True, slots=True)
class Beside:
    """The same work done by something else, measured in turns with a figure or just before it.

    `goal` bounds the figure as a multiple of this one, in the figure's own direction; None is for
    comparison only. `why_not` says why there are no `values`.
    """

    name: str
    values: Sequence[float]
    goal: float | None = None
    why_not: str = ""


@dataclass(frozen=True, slots=True)
class Figure:
    """Repeated measurements of one thing, in `unit`.

    `what` says how it is measured. `goal` is a bound in the unit itself; None is for comparison
    only. `why_not` says why there are no `values`.
    """

    name: str
    what: str
    unit: str
    better: Better
    values: Sequence[float]
    goal: float | None = None
    beside: Sequence[Beside] = ()
    why_not: str = ""

    @property
    def median(self) -> float | None:
        """The middle measurement."""
        return median(self.values) if self.values else None

    @property
    def is_met(self) -> bool | None:
        """Whether the median keeps the goal; None without a goal or a measurement."""
        return self._keeps(self.median, self.goal)

    def ratio(self, beside: Beside) -> float | None:
        """Return the figure as a multiple of what stands beside it."""
        if not self.values or not beside.values:
            return None
        return median(self.values) / median(beside.values)

    def is_met_beside(self, beside: Beside) -> bool | None:
        """Return whether the ratio keeps its goal; None without a goal or a measurement."""
        return self._keeps(self.ratio(beside), beside.goal)

    def as_json(self) -> dict[str, Any]:
        """Return the fields, and what follows from them."""
        compared = [
            asdict(one) | {"ratio": self.ratio(one), "is_met": self.is_met_beside(one)}
            for one in self.beside
        ]
        return asdict(self) | {"median": self.median, "is_met": self.is_met, "beside": compared}

    def _keeps(self, measured: float | None, goal: float | None) -> bool | None:
        if measured is None or goal is None:
            return None
        return measured >= goal if self.better is Better.HIGHER else measured <= goal
