"""What one pass over the sources brought for some days of one series.

Values only, handed from `sources.failover` to `lake.store`, which must not know each other.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Protocol, runtime_checkable

from crypto_data.coverage import DayFacts, SourceAnswer
from crypto_data.exchanges import is_stand_in
from crypto_data.intervals import TimeRange
from crypto_data.series import Series


class Aim(StrEnum):
    """What a pass over some days is for."""

    FILL = "fill"  # every partial and missing day
    MEND = "mend"  # those of them whose wait since they were last asked for is over
    REPAIR = "repair"  # every one of them, from other sources than the best one first
    REVISE = "revise"  # what the archive has published or changed since it was taken


# Rows at hand stand behind all sources that the feed names when it does not name theirs, then when
# nothing could confirm them. Klines that only stand in are worse than any of the exchange itself.
UNNAMED_RANK = 1 << 10
DOUBTFUL_RANK = 1 << 11
STAND_IN_RANK = 1 << 12


def rank_in(ranking: Sequence[str], source: str) -> int:
    """Return how a source's rows stand against others: the less the better.

    Example:
        >>> [rank_in(["vision", "ccxt:okx"], one) for one in ("vision", "rest", "ccxt:okx")]
        [0, 1024, 4097]
    """
    place = ranking.index(source) if source in ranking else UNNAMED_RANK
    return place + (STAND_IN_RANK if is_stand_in(source, ranking[0]) else 0)


@dataclass(frozen=True, slots=True)
class Offer:
    """Validated rows of one source: `schema.FETCHED`, sorted, each open_time once.

    `rank` orders offers: 0 is the feed's best source, see `rank_in`. A row of a lower rank is never
    replaced by one of a higher rank.
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
    is_all: bool = False  # what came is all there can be: other rows of the day go
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


# By the name of a source: the days, as ranges of open times, on which it stands in for better ones.
StoodIn = Mapping[str, Sequence[TimeRange]]
NOTHING_STOOD_IN: StoodIn = MappingProxyType({})


class Chain(Protocol):
    """Who brings the klines of a series: the sources of a feed, or the finer klines of the lake."""

    @property
    def ranking(self) -> tuple[str, ...]:
        """The names of its sources, best first."""

    def now_ms(self) -> int:
        """Return the exchange's clock, UTC epoch milliseconds."""

    def learn_lives(self, series: Series) -> None:
        """Learn when the symbol traded, where that spares asking for many days."""

    def fill(
        self,
        series: Series,
        gaps: Sequence[TimeRange],
        aim: Aim,
        stood_in: StoodIn = NOTHING_STOOD_IN,
    ) -> Harvest:
        """Return the klines of some ranges of open times, and how each day was answered."""

    def revise(self, series: Series, period: str, known: Mapping[date, DayFacts]) -> Harvest | None:
        """Return what has changed of some known days of one file; None for nothing."""


@runtime_checkable
class Maker(Protocol):
    """A chain that asks nobody but makes klines, and knows itself which days are to be made."""

    def find_wanted(
        self, series: Series, days: Sequence[date], known: Mapping[date, DayFacts], aim: Aim
    ) -> list[TimeRange]:
        """Return the days to be made or made anew, as ascending ranges of open times."""
