"""What every source of klines offers, and the values it answers with.

One protocol, no code shared by inheritance. Which source is asked when belongs to `failover`.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from enum import StrEnum
from typing import Any, Protocol, runtime_checkable

from crypto_data.coverage import DayFacts
from crypto_data.intervals import TimeRange
from crypto_data.series import Series


class Outcome(StrEnum):
    """How a source answered for some days."""

    SERVED = "served"  # it knows these days, and this is all it has
    NOTHING = "nothing"  # it knows these days, and has no kline in them
    ABSENT = "absent"  # not published (404): it may come
    BROKEN = "broken"  # checksum, truncated, not a zip, HTML, damaged rows
    REJECTED = "rejected"  # it refuses the request for good (unknown symbol)
    BLOCKED = "blocked"  # WAF or region
    LIMITED = "limited"  # asked us to wait longer than we are ready to, or banned us
    DOWN = "down"  # unreachable, too slow, cut short
    BEYOND = "beyond"  # older than its API reaches back: it may well have been there
    UNSUPPORTED = "unsupported"  # this source never has such a series


class Trust(StrEnum):
    """How far the rows of an answer may stand against those of a worse source."""

    FIRM = "firm"
    # Of an archive that is incomplete or older than another: the next source is asked for the
    # whole day, and its rows win over these.
    DOUBTFUL = "doubtful"


@dataclass(frozen=True, slots=True)
class Answer:
    """What one source said about some days of one series.

    `rows` is a `schema.FETCHED` table or None, any order, doubles possible, nothing validated but
    that the columns parse. `detail` is the source's own words where it did not serve.
    """

    source: str
    days: tuple[date, ...]
    outcome: Outcome
    detail: str = ""
    rows: Any = None
    trust: Trust = Trust.FIRM
    address: str = ""  # URL of the file or endpoint
    checksum: str = ""  # sha256 of the archive file, empty elsewhere
    etag: str = ""  # as the archive told it with the file, without quotes
    attempts: int = 1  # requests sent, retries included
    seconds: float = 0.0
    set_aside: dict[str, int] = field(default_factory=dict)  # rule name -> rows not handed over
    quarantined: Any = None  # those rows: a `FETCHED` table with a further column `rule`, or None


@dataclass(frozen=True, slots=True)
class Lifetime:
    """When a series has klines at one source, as far as that source knows.

    `first_ms` is the open time of the first kline, None when the source has nothing at all. An
    archive knows its first file only: the first kline opens less than `slack_ms` after `first_ms`.
    `last_ms` is the end of the last kline, given only when the symbol has stopped trading.
    """

    first_ms: int | None
    last_ms: int | None = None
    slack_ms: int = 0


class Source(Protocol):
    """A place that klines come from."""

    @property
    def name(self) -> str:
        """The word that stands in the `source` column and in the configuration."""

    def fetch(self, series: Series, gaps: Sequence[TimeRange]) -> Iterator[Answer]:
        """Yield answers that together cover every day touched by `gaps`, each day at least once.

        Args:
            series: What is asked for.
            gaps: Ascending, disjoint half-open ranges of open times that are wanted, all closed.

        Failures are answers, never exceptions: one bad file does not take its neighbours along.
        Rows outside `gaps` may be handed over; the caller cuts.
        """

    def lifetime(self, series: Series) -> Lifetime:
        """Return when the series has klines here.

        Raises:
            SourceError: the source could not tell.
        """


@runtime_checkable
class Reviser(Protocol):
    """A source that publishes days late, and may publish them again."""

    def revise(
        self, series: Series, period: str, known: Mapping[date, DayFacts]
    ) -> Iterator[Answer]:
        """Yield answers for the days of which there is something new here, for no others.

        Args:
            series: What is asked for.
            period: The year, month or day that all days lie in, as `2024`, `2024-03`, `2024-03-07`.
            known: What is known of each day that may be asked for.

        Raises:
            SourceError: the source could not be asked any further; what it yielded before stands.
        """
