"""One page of REST klines: how much may be asked for, what it weighs, what came.

Facts and parsing only. Walking from page to page belongs to `sources.rest`.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import chain
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from crypto_data.intervals import DAY_MS, Interval, TimeRange, count_open_times
from crypto_data.schema import FETCHED
from crypto_data.series import Market
from crypto_data.sources.archive_file import kline_table
from crypto_data.sources.rest_text import read_items

COLUMNS = 12


@dataclass(frozen=True, slots=True)
class MarketRules:
    """What one market's REST API allows and how it counts.

    `kline_weights` are (limit up to, weight) pairs, ascending.

    Source: rest-api.md of binance-spot-api-docs @a5e0bc3, binance-connector-python @29da329;
    checked 2026-11.
    """

    root: str
    page_limit: int
    kline_weights: tuple[tuple[int, int], ...]
    info_weight: int
    longest_window_ms: int | None = None

    def weight(self, limit: int) -> int:
        """Return the weight of a klines call with this limit."""
        return next(weight for most, weight in self.kline_weights if limit <= most)

    def window(self, interval: Interval, span: TimeRange) -> TimeRange:
        """Return the first part of a span that may be asked for in one call.

        Where the newest rows of a window are served first, it must not hold more than a page.
        """
        if self.longest_window_ms is None:
            return span
        length_ms = min(self.longest_window_ms, self.page_limit * interval.length_ms)
        return span.intersect(TimeRange(span.start_ms, span.start_ms + length_ms))

    def limit(self, interval: Interval, window: TimeRange) -> int:
        """Return how many rows to ask for: what the window can have, so that it weighs least."""
        return max(1, min(self.page_limit, count_open_times(interval, window)))


_FUTURES_WEIGHTS = ((99, 1), (499, 2), (1000, 5), (1500, 10))

RULES: Mapping[Market, MarketRules] = {
    Market.SPOT: MarketRules("/api/v3", 1000, ((1000, 2),), 20),
    Market.UM: MarketRules("/fapi/v1", 1500, _FUTURES_WEIGHTS, 1),
    # More than 200 days answer -4088.
    Market.CM: MarketRules("/dapi/v1", 1500, _FUTURES_WEIGHTS, 1, 200 * DAY_MS),
}

_PLACES = {
    "open_time": 0, "open": 1, "high": 2, "low": 3, "close": 4, "volume": 5, "close_time": 6,
    "quote_volume": 7, "trade_count": 8, "taker_buy_volume": 9, "taker_buy_quote_volume": 10,
}  # fmt: skip
# COIN-M: item 5 counts contracts, 7 is base volume, 9 taker contracts, 10 taker base volume.
_PLACES_CM = {
    "open_time": 0, "open": 1, "high": 2, "low": 3, "close": 4, "contract_volume": 5,
    "close_time": 6, "volume": 7, "trade_count": 8, "taker_buy_volume": 10,
}  # fmt: skip
_WHOLE = ("open_time", "close_time", "trade_count")


def parse_page(body: bytes, market: Market) -> Any:
    """Return a page of klines as a `FETCHED` table, in the order it came.

    The text NaN stays NaN. Doubles, disorder and an unfinished last kline are handed over.

    Raises:
        ValueError: the body is no list of rows of 12 items, times as integers and prices as text.

    Source: recorded answers, checked 2026-11.
    """
    places = _PLACES_CM if market is Market.CM else _PLACES
    try:
        items = read_items(body)
        if items is not None:
            return kline_table({name: items[place] for name, place in places.items()})
        flat = _parse_items(body)
        if not flat:
            return FETCHED.empty_table()
        columns = {name: _column(name, flat[place::COLUMNS]) for name, place in places.items()}
        return kline_table(columns)
    except (pa.ArrowException, OverflowError) as error:
        raise ValueError(f"damaged klines: {error}") from error


def _parse_items(body: bytes) -> list[Any]:
    """Return the items of all rows one behind the other, however the JSON is spelt.

    One flat list and strides: three times as fast as columns out of row lists.
    """
    rows = parse_json(body)
    if not isinstance(rows, list):
        raise ValueError(f"no list of klines: {str(rows)[:200]}")  # noqa: TRY004 - one kind
    if rows and (set(map(type, rows)) != {list} or set(map(len, rows)) != {COLUMNS}):
        raise ValueError(f"rows are not lists of {COLUMNS} items: {str(rows[0])[:200]}")
    return list(chain.from_iterable(rows))


def parse_json(body: bytes) -> Any:
    """Return the value of a JSON text.

    Raises:
        ValueError: the body is no JSON, such as a page for people with status 200.
    """
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as error:
        start = body[:100].decode("utf-8", "replace")
        raise ValueError(f"no JSON: {error}: {start!r}") from error


def _column(name: str, items: list[Any]) -> Any:
    if name in _WHOLE:
        return pa.array(items, pa.int64())
    return pc.cast(pa.array(items, pa.string()), pa.float64())
