"""The REST API of the three markets: klines, exchangeInfo, time, and their refusals."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from crypto_data.intervals import DAY_MS, HOUR_MS, Interval, TimeRange
from crypto_data.sandbox.bars import Bars, Column, join
from crypto_data.sandbox.damage import damaged_columns, damaged_rows
from crypto_data.sandbox.exchange import Exchange, Memory
from crypto_data.sandbox.faults import LIST_ACTIONS, ROW_ACTIONS, FaultList
from crypto_data.sandbox.kline_text import Unit, json_rows, text_columns
from crypto_data.sandbox.symbols import Symbol
from crypto_data.sandbox.web import Answer, Call, json_answer
from crypto_data.sandbox.weights import klines_weight, meters
from crypto_data.series import Market

ROOTS = {"/api/v3/": Market.SPOT, "/fapi/v1/": Market.UM, "/dapi/v1/": Market.CM}
DEFAULT_LIMIT = 500
LIMITS = {Market.SPOT: 1000, Market.UM: 1500, Market.CM: 1500}
CM_WINDOW_MS = 200 * DAY_MS
# Recorded exchangeInfo answers were 37 and 22 hours old: their clock must not be trusted.
STALE_MS = 37 * HOUR_MS
_MICROSECONDS = 10**14
# A year of minutes is 88 MB of text.
_PAGE_BYTES = 128 * 2**20
_DELIVERY_MS = 4133404800000
_KNOWN = {"symbol", "interval", "startTime", "endTime", "limit", "timeZone"}
_INTERVALS = {interval.rest_name: interval for interval in Interval}


class Refused(Exception):
    """A request the exchange answers with status 400, a code and a message."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(code, message)
        self.code = code
        self.message = message


@dataclass(frozen=True, slots=True)
class KlinesRequest:
    """The parameters of a klines call, checked; times in ms, both ends inclusive."""

    symbol: Symbol
    interval: Interval
    start_ms: int | None
    end_ms: int | None
    limit: int


class Rest:
    """Answers below `/api/v3/`, `/fapi/v1/` and `/dapi/v1/`."""

    def __init__(
        self, exchange: Exchange, faults: FaultList, *, weights: Mapping[Market, int] | None
    ) -> None:
        self._exchange = exchange
        self._faults = faults
        self._meters = meters(weights)
        self._pages: Memory[bytes] = Memory(_PAGE_BYTES, len)

    def serve(self, call: Call, market: Market, now_ms: int) -> Answer:
        """Return the answer, with the used weight in its headers."""
        meter = self._meters[market]
        endpoint = call.path.rpartition("/")[2]
        refused = meter.charge(_weight(market, endpoint, call.values))
        answer = refused or self._answer(call, market, endpoint, now_ms)
        return answer.with_headers(*meter.headers())

    def _answer(self, call: Call, market: Market, endpoint: str, now_ms: int) -> Answer:
        match endpoint:
            case "klines":
                try:
                    return json_answer(200, self._klines(call, market, now_ms))
                except Refused as refused:
                    body = {"code": refused.code, "msg": refused.message}
                    return json_answer(400, json.dumps(body).encode())
            case "exchangeInfo":
                return json_answer(200, self._exchange_info(call, market, now_ms))
            case "time":
                return json_answer(200, json.dumps({"serverTime": now_ms}).encode())
            case "ping":
                return json_answer(200, b"{}")
            case _:
                return Answer(404, b"<html><body>404 Not found</body></html>")

    def _klines(self, call: Call, market: Market, now_ms: int) -> bytes:
        request = read_request(call.values, market, self._exchange)
        bars = self._window(request, now_ms)
        asked = call.headers.get("x-mbx-time-unit", "").upper()
        is_micro = market is Market.SPOT and asked == "MICROSECOND"
        unit = Unit.MICROSECOND if is_micro else Unit.MILLISECOND
        faults = self._faults.take(ROW_ACTIONS, call.path, query=call.query)
        is_final = bars.shape[1] and bars[Column.CLOSE_TIME, -1] < now_ms
        if faults or not is_final or request.interval is Interval.SECOND_1:
            bars = damaged_rows(bars, faults)
            return json_rows(damaged_columns(text_columns(bars, request.symbol, unit), faults))
        # Bars that are closed never change: first and last of them say what the page is. But for
        # seconds, whose prices hang together with those of the window they are made for.
        opens = bars[Column.OPEN_TIME]
        page = (market, request.symbol.name, request.interval, unit, int(opens[0]), int(opens[-1]))
        return self._pages.get(page, lambda: json_rows(text_columns(bars, request.symbol, unit)))

    def _window(self, request: KlinesRequest, now_ms: int) -> Bars:
        """Return the bars a request gets: oldest first, but `cm` and open starts the newest."""
        end_ms = now_ms if request.end_ms is None else min(request.end_ms, now_ms)
        start_ms = request.start_ms
        is_newest = start_ms is None
        if request.symbol.market is Market.CM:
            is_newest = True
            if start_ms is not None and request.end_ms is None:
                end_ms = min(end_ms, start_ms + CM_WINDOW_MS)
        first_ms = request.interval.floor(request.symbol.lives[0][0])
        start_ms = first_ms if start_ms is None else max(start_ms, first_ms)
        if end_ms < start_ms:
            return join([])
        window = TimeRange(start_ms, end_ms + 1)
        if is_newest:
            return self._exchange.newest_bars(
                request.symbol, request.interval, window, limit=request.limit, now_ms=now_ms
            )
        return self._oldest(request, window, now_ms)

    def _oldest(self, request: KlinesRequest, window: TimeRange, now_ms: int) -> Bars:
        blocks, count, cursor = [], 0, window.start_ms
        month_ms = Interval.MONTH_1.length_ms
        step_ms = request.limit * request.interval.length_ms
        if request.interval is Interval.SECOND_1:
            step_ms = max(step_ms, month_ms)
        while count < request.limit and cursor < window.end_ms:
            span = TimeRange(cursor, min(cursor + step_ms, window.end_ms))
            bars = self._exchange.bars_at(request.symbol, request.interval, span, now_ms)
            blocks.append(bars)
            count += blocks[-1].shape[1]
            cursor = span.end_ms
            # From here on a month at least, to cross dead stretches in few steps.
            step_ms = max(step_ms, month_ms)
        return join(blocks)[:, : request.limit]

    def _exchange_info(self, call: Call, market: Market, now_ms: int) -> bytes:
        is_emptied = self._faults.take(LIST_ACTIONS, call.path, query=call.query)
        listed = [
            symbol
            for symbol in self._exchange.symbols.of_market(market)
            if symbol.is_listed(now_ms) and not is_emptied
        ]
        info = {
            "timezone": "UTC",
            "serverTime": now_ms - STALE_MS,
            "rateLimits": [_rate_limit(market)],
            "exchangeFilters": [],
            "symbols": [_symbol_info(symbol, now_ms) for symbol in listed],
        }
        return json.dumps(info, ensure_ascii=False).encode()


def read_request(values: dict[str, str], market: Market, exchange: Exchange) -> KlinesRequest:
    """Return the checked parameters of a klines call.

    Raises:
        Refused: a parameter is missing (-1102), unknown (-1104), malformed (-1100), the symbol
            (-1121) or interval (-1120) does not exist, or the window is too long (-4088).
    """
    for name in ("symbol", "interval"):
        if not values.get(name):
            raise Refused(
                -1102, f"Mandatory parameter '{name}' was not sent, was empty/null, or malformed."
            )
    if unread := set(values) - _KNOWN:
        sent, read = len(values), len(values) - len(unread)
        raise Refused(
            -1104,
            f"Not all sent parameters were read; read '{read}' parameter(s) but was sent '{sent}'.",
        )
    name = values["symbol"]
    if name != name.upper() or not re.fullmatch(r"[\w.\-]{1,64}", name):
        raise Refused(
            -1100,
            "Illegal characters found in parameter 'symbol'; legal range is '^[A-Z0-9-_.]{1,20}$'.",
        )
    symbol = exchange.symbols.find(market, name)
    if symbol is None:
        raise Refused(-1121, "Invalid symbol.")
    interval = _INTERVALS.get(values["interval"])
    if interval is None or (interval is Interval.SECOND_1 and market is not Market.SPOT):
        raise Refused(-1120, "Invalid interval.")
    start_ms, end_ms = _time(values, "startTime"), _time(values, "endTime")
    limit = _number(values, "limit")
    request = KlinesRequest(
        symbol=symbol,
        interval=interval,
        start_ms=start_ms,
        end_ms=end_ms,
        limit=min(DEFAULT_LIMIT if limit is None else limit, LIMITS[market]),
    )
    return _checked(request)


def _checked(request: KlinesRequest) -> KlinesRequest:
    if request.limit < 1:
        raise Refused(-1130, "Data sent for parameter 'limit' is not valid.")
    if request.start_ms is None or request.end_ms is None:
        return request
    if request.symbol.market is not Market.SPOT and request.start_ms > request.end_ms:
        raise Refused(-1023, "Start time is greater than end time.")
    if request.symbol.market is Market.CM and request.end_ms - request.start_ms > CM_WINDOW_MS:
        raise Refused(-4088, "Maximum time interval is 200 days.")
    return request


def _number(values: dict[str, str], name: str) -> int | None:
    text = values.get(name)
    if text is None:
        return None
    if not re.fullmatch(r"[0-9]{1,20}", text):
        raise Refused(
            -1100,
            f"Illegal characters found in parameter '{name}'; legal range is '^[0-9]{{1,20}}$'.",
        )
    return int(text)


def _time(values: dict[str, str], name: str) -> int | None:
    number = _number(values, name)
    if number is None or number < _MICROSECONDS:
        return number
    return number // 1000


def _weight(market: Market, endpoint: str, values: dict[str, str]) -> int:
    if endpoint == "klines":
        asked = values.get("limit", "")
        return klines_weight(market, int(asked) if asked.isdigit() else DEFAULT_LIMIT)
    return 20 if endpoint == "exchangeInfo" and market is Market.SPOT else 1


def _rate_limit(market: Market) -> dict[str, Any]:
    limit = 6000 if market is Market.SPOT else 2400
    return {
        "rateLimitType": "REQUEST_WEIGHT",
        "interval": "MINUTE",
        "intervalNum": 1,
        "limit": limit,
    }


def _symbol_info(symbol: Symbol, now_ms: int) -> dict[str, Any]:
    is_trading = symbol.is_trading(now_ms)
    pair = symbol.name.partition("_")[0]
    quote = "USDT" if pair.endswith("USDT") else "USD"
    base = pair.removesuffix(quote)
    info: dict[str, Any] = {"symbol": symbol.name, "baseAsset": base, "quoteAsset": quote}
    if symbol.market is Market.SPOT:
        status = "TRADING" if is_trading else "BREAK"
        return info | {
            "status": status,
            "isSpotTradingAllowed": is_trading,
            "permissions": [],
            "permissionSets": [["SPOT"]],
        }
    onboard_ms = symbol.lives[0][0] if symbol.onboard_ms is None else symbol.onboard_ms
    key = "contractStatus" if symbol.market is Market.CM else "status"
    return info | {
        "pair": pair,
        "contractType": "PERPETUAL",
        key: "TRADING" if is_trading else "SETTLING",
        "onboardDate": onboard_ms,
        "deliveryDate": _DELIVERY_MS,
    }
