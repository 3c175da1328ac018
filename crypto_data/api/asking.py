"""What a call asks for: each series with the feed that serves it and the range that is meant.

Asks nobody. The names belong to `api.names`; what the lake lacks of it, to `api.reading`.
"""

from dataclasses import dataclass
from datetime import date

from crypto_data.api.session import Session
from crypto_data.api.times import Instant, to_ms
from crypto_data.catalog.configuration import Feed
from crypto_data.catalog.feeds import feed_of_none, feed_of_pattern, rename_feed
from crypto_data.coverage import ARCHIVE
from crypto_data.errors import UsageError
from crypto_data.intervals import DAY_MS, TimeRange
from crypto_data.lake.layout import series_folder
from crypto_data.partitions import FIRST_DAY, day_start_ms, utc
from crypto_data.series import Series


@dataclass(frozen=True, slots=True)
class Wanted:
    """One series of a call, and the range of open times that is meant, up to now at most.

    `is_known` says that the configuration or the lake has the series.
    """

    series: Series
    feed: Feed
    span: TimeRange
    is_known: bool


@dataclass(frozen=True, slots=True)
class Lack:
    """Days of a series that the lake lacks, ascending, never none."""

    wanted: Wanted
    days: tuple[date, ...]


@dataclass(frozen=True, slots=True)
class Order:
    """Klines to be fetched and not kept: open times, all closed, and the sources to ask.

    Those of a `finer` series are fetched, and made into the wanted ones.
    """

    wanted: Wanted
    span: TimeRange
    sources: tuple[str, ...]
    finer: Series | None = None


@dataclass(frozen=True, slots=True)
class Bounds:
    """The range as it was written, UTC epoch milliseconds; None where nothing was said."""

    start_ms: int | None
    end_ms: int | None

    @classmethod
    def read(cls, start: Instant | None, end: Instant | None) -> "Bounds":
        """Return what was written.

        Raises:
            UsageError: no instant, or the end is not after the start.
        """
        start_ms = None if start is None else to_ms("start", start)
        end_ms = None if end is None else to_ms("end", end)
        if start_ms is not None and end_ms is not None and end_ms <= start_ms:
            raise UsageError(f"end {end} is not after start {start}; the end itself is left out")
        return cls(start_ms, end_ms)

    def future(self, now_ms: int) -> str:
        """Return which bound lies in the future, `""` for none.

        For the end a day is let through, so that the end of today can be named.
        """
        if self.start_ms is not None and self.start_ms > now_ms:
            return f"start {utc(self.start_ms)}"
        if self.end_ms is not None and self.end_ms > now_ms + DAY_MS:
            return f"end {utc(self.end_ms)}"
        return ""

    def check(self, now_ms: int) -> None:
        """Refuse what lies in the future by the exchange's clock.

        Raises:
            UsageError: it does.
        """
        if bound := self.future(now_ms):
            raise UsageError(
                f"{bound} lies in the future: the exchange's clock says {utc(now_ms)}. "
                "Leave the end out to read up to now"
            )

    def span(self, series: Series, feed: Feed, now_ms: int) -> TimeRange:
        """Return the range for one series; the feed's start and end stand in for what is unsaid.

        Raises:
            UsageError: the feed begins after the end.
        """
        first_ms = day_start_ms(feed.start) if self.start_ms is None else self.start_ms
        end_ms = self.end_ms
        if end_ms is None:
            ends_ms = day_start_ms(feed.end) if feed.end else now_ms
            end_ms = ends_ms if ends_ms > first_ms else now_ms
        if end_ms <= first_ms:
            raise UsageError(f"{series}: its feed begins {feed.start}, after the end; give a start")
        # Nothing was traded before, and the days of centuries are many.
        first_ms = max(first_ms, day_start_ms(FIRST_DAY))
        return TimeRange(first_ms, max(first_ms, min(end_ms, now_ms)))


def feed_of(session: Session, series: Series) -> Feed | None:
    """Return the feed that a series belongs to, None where the configuration has none."""
    return session.feeds.get(series) or feed_of_pattern(session.catalog, series)


def want(session: Session, series: Series, bounds: Bounds, now_ms: int) -> Wanted:
    """Return what is asked for of one series.

    Raises:
        UsageError: the feed begins after the end.
    """
    feed = feed_of(session, series)
    is_known = feed is not None or series_folder(session.catalog.lake, series).is_dir()
    feed = feed or feed_of_none(series)
    return Wanted(series, feed, bounds.span(series, feed, now_ms), is_known)


def only_from(feed: Feed, *sources: str) -> Feed:
    """Return the feed as it would be if it named other sources."""
    return rename_feed(feed, f"{feed.name} from {' '.join(sources)}", sources)


def without_archive(feed: Feed) -> tuple[str, ...]:
    """Return the sources that have a day's klines before the day is over."""
    return tuple(source for source in feed.sources if source != ARCHIVE)
