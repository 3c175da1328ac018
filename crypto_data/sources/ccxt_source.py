"""An exchange through ccxt as a source: pages of klines, never trusted, never unfinished.

Walks over the gaps. What one request is and what its answer means belongs to
`sources.ccxt_client`, the facts about exchanges to `exchanges`.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from crypto_data.errors import Broken, Rejected, SourceError
from crypto_data.exchanges import EXCHANGES
from crypto_data.intervals import DAY_MS, Interval, TimeRange, count_open_times, merge_ranges
from crypto_data.partitions import FIRST_DAY, day_start_ms, days_touched, utc
from crypto_data.series import Market, Series
from crypto_data.sources.base import Answer, Lifetime, Outcome
from crypto_data.sources.ccxt_client import KEEP_S, LOOK_AGAIN_S, CcxtClient, Trip
from crypto_data.sources.ccxt_rows import page_table
from crypto_data.sources.ccxt_symbols import find_symbol, symbols_of
from crypto_data.sources.gate import Gate
from crypto_data.sources.http import HttpClient
from crypto_data.sources.walk import Page, Walk, first_open_ms, last_open_ms
from crypto_data.validation import cut

# Whose request may say where it ends; of kucoin ccxt computes that from start and limit, and kraken
# hands out its newest klines whatever is asked.
_TAKES_END = frozenset({"binance", "okx", "bybit", "coinbase", "bitstamp", "gate"})
_GIVES_NEWEST = frozenset({"kraken"})


@dataclass(frozen=True, slots=True)
class Connection:
    """What a source asks through: ccxt's object, our requests, and who is left alone."""

    client: CcxtClient
    http: HttpClient
    gate: Gate

    def trip(self, series: str) -> Trip:
        """Return the way of one fetch."""
        return Trip(self.client.place, self.gate, self.http, series)


class CcxtSource:
    """One market of one exchange as a source of klines; safe to use from several threads.

    Args:
        connection: What is asked.
        clock_ms: The clock of the feed's exchange, UTC epoch milliseconds: which klines are closed.
    """

    def __init__(self, connection: Connection, clock_ms: Callable[[], int]) -> None:
        self._connection = connection
        self._clock_ms = clock_ms
        self._place = connection.client.place
        self._facts = EXCHANGES[self._place.exchange]

    @property
    def name(self) -> str:
        """The word in the `source` column."""
        return self._place.source

    def fetch(self, series: Series, gaps: Sequence[TimeRange]) -> Iterator[Answer]:
        """Yield answers for every day touched by `gaps`; see `sources.base.Source`.

        Gaps less than a page apart are asked for as one. A refusal or a fault ends the fetch.
        Klines that the API no longer reaches back to are told of, and not asked for.
        """
        if reason := self._unsupported(series):
            days = tuple(days_touched(gaps))
            yield Answer(self.name, days, Outcome.UNSUPPORTED, reason, attempts=0)
            return
        reach = TimeRange(min(self._reach_ms(series.interval), gaps[-1].end_ms), gaps[-1].end_ms)
        lost = [part for gap in gaps for part in gap.without(reach)]
        if lost:
            yield self._beyond(series, lost)
        within = [part for gap in gaps if (part := gap.intersect(reach))]
        if within:
            yield from self._fetch_within(series, within)

    def _beyond(self, series: Series, lost: Sequence[TimeRange]) -> Answer:
        """Return the answer for klines of the time before the API's memory.

        Of the exchange's own feed they may well have been there: nothing explains their absence.
        One that stands in for another has just none to give.
        """
        own = series.exchange == self._place.exchange
        outcome = Outcome.BEYOND if own else Outcome.UNSUPPORTED
        detail = (
            f"its API holds the newest {self._facts.reach_rows} klines alone, these go back to "
            f"{utc(self._reach_ms(series.interval))[:16]}"
        )
        return Answer(self.name, tuple(days_touched(lost)), outcome, detail, attempts=0)

    def _fetch_within(self, series: Series, gaps: Sequence[TimeRange]) -> Iterator[Answer]:
        trip = self._connection.trip(str(series))
        page_ms = self._facts.page_rows * series.interval.length_ms
        for span in merge_ranges(gaps, within_ms=page_ms):
            walk = Walk(self.name, trip, days_touched([gap for gap in gaps if gap.intersect(span)]))
            try:
                for page in self._pages(trip, series, span):
                    yield from walk.take(page)
                yield from walk.answers(walk.days)
            except Broken as error:
                yield walk.failed(error)
            except SourceError as error:
                yield walk.failed(error, days_touched(gaps))
                return

    def lifetime(self, series: Series) -> Lifetime:
        """Return when the series has klines; of a bar shorter than a day, the day of the first.

        Found by halving the time since Bitcoin over pages of daily klines.

        Raises:
            Rejected: the exchange does not list the symbol: never, or no longer.
            SourceError: the exchange could not be asked.
        """
        if self._unsupported(series):
            return Lifetime(None)
        trip = self._connection.trip(str(series))
        daily = Series(series.exchange, series.market, series.symbol, Interval.DAY_1)
        first_ms = self._first_day_ms(trip, daily)
        if first_ms is None:
            return Lifetime(None)
        if first_ms <= self._reach_ms(Interval.DAY_1):
            return Lifetime(0)  # it goes back at least as far as the API does
        slack_ms = DAY_MS if series.interval.length_ms < DAY_MS else 0
        return Lifetime(series.interval.floor(first_ms), slack_ms=slack_ms)

    def symbols(self, market: Market) -> dict[str, Any]:
        """Return the symbols that the exchange lists in a market, with ccxt's description of each.

        Raises:
            SourceError: the exchange could not be asked.
        """
        trip = self._connection.trip(f"{self._place.exchange}/{market}")
        return dict(symbols_of(self._connection.client.markets(trip), market))

    def _unsupported(self, series: Series) -> str:
        """Return why there can be no such series, `""` when there can."""
        name = self._place.exchange
        if series.market not in self._facts.markets:
            return f"{name} has no {series.market} here"
        if series.interval not in self._facts.intervals:
            return f"{name} has no {series.interval}"
        return ""

    def _reach_ms(self, interval: Interval) -> int:
        """Return the oldest open time that the API still has; the unfinished bar counts."""
        rows = self._facts.reach_rows
        newest_ms = interval.floor(self._clock_ms())
        return 0 if rows is None else newest_ms - (rows - 1) * interval.length_ms

    def _symbol(self, trip: Trip, series: Series) -> str:
        """Return ccxt's symbol for a series.

        Raises:
            Rejected: the exchange does not list it.
            SourceError: the exchange could not be asked.
        """
        for keep_s in (KEEP_S, LOOK_AGAIN_S):
            listed = self._connection.client.markets(trip, keep_s=keep_s)
            try:
                return find_symbol(listed, series, self._place.exchange)
            except LookupError as error:
                why = str(error)
        raise Rejected(self.name, trip.series, why)

    def _pages(self, trip: Trip, series: Series, span: TimeRange) -> Iterator[Page]:
        """Yield pages that together cover a span, ascending.

        An answer may hold fewer klines than it could, from either end of its window. What it left
        out at its ends is asked for again, until an answer has none: each either holds a kline of
        what is left or ends it, so that this comes to an end.

        Raises:
            Broken: a page cannot be read, or holds nothing of what was asked for.
            SourceError: the exchange could not serve.
        """
        interval = series.interval
        left = [span]
        while left:
            wanted = left.pop()
            page_ms = self._facts.page_rows * interval.length_ms
            window = wanted.intersect(TimeRange(wanted.start_ms, wanted.start_ms + page_ms))
            rows = self._ask(trip, series, window)
            parts = [TimeRange(window.end_ms, wanted.end_ms)]
            if rows.num_rows:
                after_ms = interval.next_open(interval.floor(last_open_ms(rows)))
                parts += [
                    TimeRange(min(after_ms, window.end_ms), window.end_ms),
                    TimeRange(window.start_ms, first_open_ms(rows)),
                ]
            left += [part for part in parts if count_open_times(interval, part)]
            closed = TimeRange(0, max(0, interval.floor(self._clock_ms())))
            yield Page(cut(rows, [closed]), left[-1].start_ms if left else span.end_ms)

    def _ask(self, trip: Trip, series: Series, window: TimeRange) -> Any:
        """Return the klines of one window, a `FETCHED` table."""
        interval, takes_end = series.interval, self._place.exchange in _TAKES_END
        # Of bybit ccxt moves the start up to whole 30 days since the epoch: too late for a month.
        early_ms = interval.length_ms if interval.is_month else 0
        since_ms = max(0, window.start_ms - early_ms)
        bounds = {
            "since": since_ms,
            "limit": min(
                self._facts.page_rows,
                count_open_times(interval, TimeRange(since_ms, window.end_ms)),
            ),
            "until": window.end_ms - 1 if takes_end else None,
        }
        symbol = self._symbol(trip, series)
        came = self._connection.client.klines(trip, symbol, interval.rest_name, bounds)
        try:
            rows = page_table(came, interval)
        except ValueError as error:
            raise Broken(self.name, str(series), str(error)) from error
        if takes_end and rows.num_rows and not cut(rows, [TimeRange(since_ms, window.end_ms)]):
            detail = f"klines of {symbol} outside the window that was asked for"
            raise Broken(self.name, str(series), detail)
        inside = cut(rows, [window])
        if not inside.num_rows and self._place.exchange in _GIVES_NEWEST:
            self._check_fresh(series, rows, window)
        return inside

    def _check_fresh(self, series: Series, rows: Any, window: TimeRange) -> None:
        """Make sure that a window without klines is not one that the answer is too old for.

        Raises:
            Broken: the newest klines end before the window does.
        """
        interval = series.interval
        end_ms = interval.next_open(interval.floor(last_open_ms(rows))) if rows.num_rows else 0
        due_ms = min(window.end_ms, interval.floor(self._clock_ms()))
        if end_ms < due_ms:
            detail = f"none of its newest klines reaches {utc(due_ms)[:16]}, which is over: stale"
            raise Broken(self.name, str(series), detail)

    def _first_day_ms(self, trip: Trip, daily: Series) -> int | None:
        """Return the first daily kline's open time, None where there is none."""
        end_ms = Interval.DAY_1.floor(self._clock_ms()) + DAY_MS
        page_ms = self._facts.page_rows * DAY_MS
        start_ms = max(day_start_ms(FIRST_DAY), self._reach_ms(Interval.DAY_1))
        pages = -(-(end_ms - start_ms) // page_ms)

        @cache
        def first_of(page: int) -> int | None:
            """Return the first kline of a page, counted back from the newest one."""
            newest_ms = end_ms - page * page_ms
            window = TimeRange(max(newest_ms - page_ms, start_ms), newest_ms)
            rows = self._ask(trip, daily, window)
            return first_open_ms(rows) if rows.num_rows else None

        held = next((page for page in range(pages) if first_of(page) is not None), None)
        if held is None:
            return None
        empty = pages
        while empty - held > 1:
            middle = (held + empty) // 2
            if first_of(middle) is None:
                empty = middle
            else:
                held = middle
        return first_of(held)
