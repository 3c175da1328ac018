"""What one pass over the sources brought for some days of one series.

Values only, handed from `sources.failover` to `lake.store`, which must not know each other.
"""

from dataclasses import dataclass, field
from datetime import date
from enum import StrEnum
from typing import Any

from crypto_data.coverage import SourceAnswer
from crypto_data.intervals import TimeRange


class Aim(StrEnum):
    """What a pass over some days is for."""

    FILL = "fill"  # every partial and missing day
    MEND = "mend"  # those of them whose wait since they were last asked for is over
    REPAIR = "repair"  # every one of them, from other sources than the best one first
    REVISE = "revise"  # what the archive has published or changed since it was taken


@dataclass(frozen=True, slots=True)
class Offer:
    """Validated rows of one source: `schema.FETCHED`, sorted, each open_time once.

    `rank` orders offers: 0 is the feed's best source. A row of a lower rank is never replaced by
    one of a higher rank.
    """

    source: str
    rank: int
    rows: Any


@dataclass(slots=True)
class AskedDay:
    """How the sources answered for one day, in the order they were asked."""

    answers: list[SourceAnswer] = field(default_factory=list)
    conclusive: bool = False  # every source of the chain has told all it has
    doubtful: bool = False  # rows stem from an archive that nothing could confirm
    checksum: str = ""
    etag: str = ""
    address: str = ""
    requests: int = 0
    seconds: float = 0.0
    set_aside: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Harvest:
    """Offers for some days, how each day was answered, and rows that broke a rule.

    `lives` are the stretches in which the symbol traded, None when no one could tell.
    `ranking` is the chain's order of sources, best first. `asked_ms` is the exchange's clock.
    """

    ranking: tuple[str, ...]
    offers: tuple[Offer, ...]
    days: dict[date, AskedDay]
    quarantined: tuple[Any, ...] = ()
    lives: tuple[TimeRange, ...] | None = None
    asked_ms: int = 0
