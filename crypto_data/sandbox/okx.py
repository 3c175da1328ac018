"""OKX's public REST, as far as klines need it: instruments, candles, time, and their refusals.

Candles come newest first, cursors are exclusive, and bars of six hours and longer follow the clock
of Hong Kong unless their name ends with `utc`. What is traded belongs to `okx_instruments`.

Source: https://www.okx.com/docs-v5/en/, as ccxt 4.5.90 reads it.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from crypto_data.intervals import HOUR_MS, Interval, TimeRange
from crypto_data.sandbox.bars import Bars, Column
from crypto_data.sandbox.damage import damaged_columns, damaged_rows
from crypto_data.sandbox.faults import LIST_ACTIONS, ROW_ACTIONS, FaultList
from crypto_data.sandbox.instruments import (
    DIGITS,
    Instrument,
    base_volume,
    quote_volume,
)
from crypto_data.sandbox.kline_text import fixed_text, whole_text
from crypto_data.sandbox.okx_instruments import (
    CONTRACTS_A_COIN,
    KINDS,
    instrument_info,
    okx_book,
)
from crypto_data.sandbox.symbols import Symbol
from crypto_data.sandbox.web import Answer, Call, json_answer
from crypto_data.series import Market

OKX_ROOT = "/okx/api/v5/"
DEFAULT_ROWS = 100
CANDLES_ROWS = 300
HISTORY_ROWS = 300  # 100 until August 2025, and the newest 100 of what was asked for
# `candles` knows no older bars, whatever is asked for; `history-candles` knows all.
CANDLES_REACH = 1440
_HONG_KONG_MS = 8 * HOUR_MS


def _interval(bar: str) -> Interval:
    return Interval.parse(bar if bar == "1M" else bar.lower())


_LONG_BARS = ("6H", "12H", "1D", "1W", "1M")
# The spelling of a bar: its interval, and how far its clock is ahead of UTC.
BARS = {
    **{bar: (_interval(bar), 0) for bar in ["1m", "3m", "5m", "15m", "30m", "1H", "2H", "4H"]},
    **{bar: (_interval(bar), _HONG_KONG_MS) for bar in _LONG_BARS},
    **{f"{bar}utc": (_interval(bar), 0) for bar in _LONG_BARS},
}


class _Refused(Exception):
    """A request OKX answers with a code and a message."""

    def __init__(self, status: int, code: int, message: str) -> None:
        super().__init__(status, code, message)
        self.answer = _answer(status, code, message, [])


@dataclass(frozen=True, slots=True)
class _CandlesRequest:
    """The parameters of a candles call; the window is half-open, in milliseconds."""

    instrument: Instrument
    interval: Interval
    ahead_ms: int
    window: TimeRange
    limit: int


class Okx:
    """Answers below `/okx/api/v5/`; `history_rows` is the longest page of `history-candles`."""

    def __init__(self, faults: FaultList, *, history_rows: int = HISTORY_ROWS) -> None:
        self.book = okx_book()
        self._faults = faults
        self._limits = {"candles": CANDLES_ROWS, "history-candles": history_rows}

    def serve(self, call: Call, now_ms: int) -> Answer:
        """Return the answer; 404 for what OKX does not have."""
        try:
            return _answer(200, 0, "", self._data(call, now_ms))
        except _Refused as refused:
            return refused.answer

    def _data(self, call: Call, now_ms: int) -> list[Any]:
        place = call.path.removeprefix(OKX_ROOT)
        match place:
            case "public/time":
                return [{"ts": str(now_ms)}]
            case "public/instruments":
                return self._instruments(call, now_ms)
            case "market/candles" | "market/history-candles":
                return self._candles(call, place.removeprefix("market/"), now_ms)
            case _:
                raise _Refused(404, 404, "Not Found")

    def _instruments(self, call: Call, now_ms: int) -> list[dict[str, str]]:
        kind = _required(call.values, "instType")
        if kind not in {*KINDS.values(), "FUTURES", "OPTION"}:
            raise _Refused(400, 51000, "Parameter instType error")
        if self._faults.take(LIST_ACTIONS, call.path, query=call.query):
            return []
        listed = self.book.listed(now_ms)
        return [instrument_info(one) for one in listed if KINDS[one.symbol.market] == kind]

    def _candles(self, call: Call, place: str, now_ms: int) -> list[list[str]]:
        request = self._read(call.values, place, now_ms)
        symbol, limit = request.instrument.symbol, request.limit
        if request.ahead_ms:
            # Nothing is absent here, so a page reaches back no further than its bars.
            reach_ms = (limit + 1) * request.interval.length_ms
            start_ms = max(request.window.start_ms, request.window.end_ms - reach_ms)
            bars = self.book.shifted_bars(
                symbol,
                request.interval,
                TimeRange(start_ms, request.window.end_ms),
                ahead_ms=request.ahead_ms,
                now_ms=now_ms,
            )[:, -limit:]
        else:
            bars = self.book.tape.newest_bars(
                symbol, request.interval, request.window, limit=limit, now_ms=now_ms
            )
        faults = self._faults.take(ROW_ACTIONS, call.path, query=call.query)
        columns = _columns(damaged_rows(bars, faults), symbol, now_ms)
        return _rows(damaged_columns(columns, faults))[::-1]

    def _read(self, values: Mapping[str, str], place: str, now_ms: int) -> _CandlesRequest:
        name = _required(values, "instId")
        found = [one for one in self.book.listed(now_ms) if one.name == name]
        if not found:
            raise _Refused(
                200, 51001, "Instrument ID, Instrument ID code, or Spread ID doesn't exist."
            )
        bar = values.get("bar", "1m")
        if bar not in BARS:
            raise _Refused(400, 51000, "Parameter bar error")
        interval, ahead_ms = BARS[bar]
        start_ms = max(
            _number(values, "before", -1) + 1, interval.floor(found[0].symbol.lives[0][0])
        )
        end_ms = min(_number(values, "after", now_ms + 1), now_ms + 1)
        if place == "candles":
            newest_ms = interval.floor(now_ms + ahead_ms) - ahead_ms
            start_ms = max(start_ms, newest_ms - (CANDLES_REACH - 1) * interval.length_ms)
        return _CandlesRequest(
            instrument=found[0],
            interval=interval,
            ahead_ms=ahead_ms,
            window=TimeRange(start_ms, max(start_ms, end_ms)),
            limit=min(_number(values, "limit", DEFAULT_ROWS), self._limits[place]),
        )


def _answer(status: int, code: int, message: str, data: list[Any]) -> Answer:
    body = {"code": str(code), "msg": message, "data": data}
    return json_answer(status, json.dumps(body, separators=(",", ":")).encode())


def _required(values: Mapping[str, str], name: str) -> str:
    if not values.get(name):
        raise _Refused(400, 50014, f"Parameter {name} can not be empty.")
    return values[name]


def _number(values: Mapping[str, str], name: str, default: int) -> int:
    text = values.get(name)
    if not text:
        return default
    if not re.fullmatch(r"[0-9]{1,15}", text) or (name == "limit" and int(text) < 1):
        raise _Refused(400, 51000, f"Parameter {name} error")
    return int(text)


def _columns(bars: Bars, symbol: Symbol, now_ms: int) -> list[Any]:
    """Return the nine columns of a candle as text, in OKX's order."""
    base, quote = base_volume(bars, symbol), quote_volume(bars, symbol)
    traded = {
        Market.SPOT: (base, quote, quote),
        Market.UM: (base * CONTRACTS_A_COIN, base, quote),
        Market.CM: (bars[Column.VOLUME], base, quote),
    }[symbol.market]
    prices = [bars[column] for column in (Column.OPEN, Column.HIGH, Column.LOW, Column.CLOSE)]
    is_closed = pa.array(bars[Column.CLOSE_TIME] < now_ms)
    return [
        whole_text(bars[Column.OPEN_TIME]),
        *(_trimmed(prices_of, symbol.price_decimals) for prices_of in prices),
        *(_trimmed(quantity, DIGITS) for quantity in traded),
        pc.if_else(is_closed, "1", "0"),
    ]


def _trimmed(values: Bars, decimals: int) -> Any:
    """Return values as OKX writes them, without zeros at the end of the fraction."""
    return pc.utf8_rtrim(pc.utf8_rtrim(fixed_text(values, decimals), "0"), ".")


def _rows(columns: list[Any]) -> list[list[str]]:
    return [list(row) for row in zip(*(column.to_pylist() for column in columns), strict=True)]
