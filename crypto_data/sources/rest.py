"""Binance's REST API as a source: pages of klines, never trusted, never unfinished.

Walks over the gaps. One page belongs to `sources.rest_page`, hosts and weight to
`sources.rest_trip`.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from crypto_data.errors import Broken, Rejected, SourceError
from crypto_data.intervals import Interval, TimeRange, merge_ranges
from crypto_data.partitions import days_touched
from crypto_data.series import Market, Series
from crypto_data.sources.base import Answer, Lifetime, Outcome
from crypto_data.sources.gate import Gate
from crypto_data.sources.http import HttpClient
from crypto_data.sources.rest_page import RULES, parse_page
from crypto_data.sources.rest_symbols import SymbolBook, SymbolFacts
from crypto_data.sources.rest_trip import SOURCE, Call, RestEndpoint, Trip
from crypto_data.sources.walk import Page, Walk, last_open_ms
from crypto_data.validation import cut

EXCHANGE = "binance"


class RestSource:
    """The REST API as a source of klines; safe to use from several threads.

    Args:
        client: Sends the requests.
        gate: Remembers when a host wants to be left alone.
        endpoints: Hosts and weight budget of each market; a market that is absent is unsupported.
        clock_ms: The exchange's clock, UTC epoch milliseconds: which klines are closed.
    """

    def __init__(
        self,
        client: HttpClient,
        gate: Gate,
        endpoints: Mapping[Market, RestEndpoint],
        clock_ms: Callable[[], int],
    ) -> None:  # fmt: skip
        self._client = client
        self._gate = gate
        self._endpoints = dict(endpoints)
        self._clock_ms = clock_ms
        self._book = SymbolBook()

    @property
    def name(self) -> str:
        """The word in the `source` column."""
        return SOURCE

    def fetch(self, series: Series, gaps: Sequence[TimeRange]) -> Iterator[Answer]:
        """Yield answers for every day touched by `gaps`; see `sources.base.Source`.

        Gaps less than a page apart are asked for as one. A damaged page costs the days it is
        about; a refusal or a fault of all hosts ends the fetch.
        """
        if reason := self._unsupported(series):
            days = tuple(days_touched(gaps))
            yield Answer(SOURCE, days, Outcome.UNSUPPORTED, reason, attempts=0)
            return
        trip = self._trip(series)
        page_ms = RULES[series.market].page_limit * series.interval.length_ms
        left = merge_ranges(gaps, within_ms=page_ms)
        while left:
            group = [gap for gap in gaps if gap.intersect(left[0])]
            walk = Walk(SOURCE, trip, days_touched(group))
            try:
                for page in self._pages(trip, series, left[0]):
                    yield from walk.take(page)
                yield from walk.answers(walk.days)
            except Broken as error:
                yield walk.failed(error)
            except SourceError as error:
                yield walk.failed(error, days_touched(gaps))
                return
            del left[0]

    def lifetime(self, series: Series) -> Lifetime:
        """Return when the series has klines; an end only for a symbol that is delisted.

        Raises:
            Rejected: the exchange does not know the symbol.
            SourceError: the exchange could not be asked.
        """
        if self._unsupported(series):
            return Lifetime(None)
        trip = self._trip(series)
        facts = self._book.find(series.market, series.symbol, trip)
        first_ms = self._first_open_ms(trip, series, facts)
        if first_ms is None or not (facts is None or facts.is_delisted):
            return Lifetime(first_ms)
        return Lifetime(first_ms, self._end_ms(trip, series, facts))

    def symbols(self, market: Market) -> list[str]:
        """Return the symbols the exchange lists in a market, spot's delisted ones too.

        Raises:
            SourceError: the exchange could not be asked.
        """
        endpoint = self._endpoints[market]
        trip = Trip(self._client, self._gate, endpoint, market, f"{EXCHANGE}/{market}")
        return sorted(self._book.all(market, trip))

    def _trip(self, series: Series) -> Trip:
        endpoint = self._endpoints[series.market]
        return Trip(self._client, self._gate, endpoint, series.market, str(series))

    def _unsupported(self, series: Series) -> str:
        """Return why there can be no such series, `""` when there can."""
        if series.exchange != EXCHANGE:
            return f"this API is {EXCHANGE}'s"
        if series.market not in self._endpoints:
            return f"no host is configured for {series.market}"
        if series.interval is Interval.SECOND_1 and series.market is not Market.SPOT:
            return "1s exists for spot only"
        return ""

    def _pages(self, trip: Trip, series: Series, span: TimeRange) -> Iterator[Page]:
        """Yield pages that together cover a span, ascending.

        Raises:
            Broken: a page cannot be parsed, or holds nothing of what was asked for.
            SourceError: no host could serve.
        """
        rules, interval = RULES[series.market], series.interval
        cursor_ms = interval.ceil(span.start_ms)
        while cursor_ms < span.end_ms:
            window = rules.window(interval, TimeRange(cursor_ms, span.end_ms))
            limit = rules.limit(interval, window)
            bounds = {"startTime": window.start_ms, "endTime": window.end_ms - 1}  # both inclusive
            rows = self._ask(trip, series, limit, bounds)
            inside = cut(rows, [window])
            if rows.num_rows and not inside.num_rows:
                detail = f"klines of {series.symbol} outside the window that was asked for"
                raise Broken(SOURCE, str(series), detail)
            if inside.num_rows and window.end_ms == span.end_ms:
                cursor_ms = interval.ceil(last_open_ms(inside) + 1)
            else:  # the newest page of a window is the whole window; an empty one ends it too
                cursor_ms = interval.ceil(window.end_ms)
            closed = TimeRange(0, max(0, interval.floor(self._clock_ms())))
            yield Page(cut(inside, [closed]), min(cursor_ms, span.end_ms))

    def _ask(self, trip: Trip, series: Series, limit: int, bounds: Mapping[str, int]) -> Any:
        """Return the klines of one call, as they came."""
        rules = RULES[series.market]
        params: dict[str, str | int] = {
            "symbol": series.symbol,
            "interval": series.interval.rest_name,
            **bounds,
            "limit": limit,
        }
        call = Call(f"{rules.root}/klines", rules.weight(limit), params)
        return trip.ask(call, partial(parse_page, market=series.market))

    def _first_open_ms(
        self, trip: Trip, series: Series, facts: SymbolFacts | None
    ) -> int | None:  # fmt: skip
        if RULES[series.market].longest_window_ms is not None:
            # Windows of 200 days back to the start would be many calls.
            if facts is None or facts.onboard_ms is None:
                raise Rejected(SOURCE, str(series), f"{series.symbol} is not in exchangeInfo")
            return series.interval.floor(facts.onboard_ms)
        first = self._ask(trip, series, 1, {"startTime": 0})
        return None if not first.num_rows else last_open_ms(first)

    def _end_ms(self, trip: Trip, series: Series, facts: SymbolFacts | None) -> int | None:
        """Return the end of the last kline; a settled contract's flat klines after it are none."""
        last = self._ask(trip, series, 1, {"endTime": self._clock_ms()})
        if not last.num_rows:
            return None
        interval = series.interval
        end_ms = interval.next_open(interval.floor(last_open_ms(last)))
        if facts is not None and facts.delivery_ms is not None:
            return min(end_ms, interval.ceil(facts.delivery_ms))
        return end_ms
