"""Which series and days a person means: the filters that commands and views share.

Values only. What they choose from belongs to `planning` (the configuration) and
`lake.inventory` (the lake).
"""

from dataclasses import dataclass
from datetime import date

from crypto_data.errors import UsageError


@dataclass(frozen=True, slots=True)
class Selection:
    """Names to choose, empty for all, and days `[start, end)`, None for no bound."""

    exchanges: tuple[str, ...] = ()
    markets: tuple[str, ...] = ()
    symbols: tuple[str, ...] = ()
    intervals: tuple[str, ...] = ()
    start: date | None = None
    end: date | None = None

    def __post_init__(self) -> None:
        """Refuse days that make no range."""
        if self.start and self.end and self.end <= self.start:
            raise UsageError(
                f"end {self.end} is not after start {self.start}; the end itself is left out"
            )
