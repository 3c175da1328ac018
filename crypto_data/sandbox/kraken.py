"""Kraken's public REST, as far as klines need it: assets, pairs, OHLC, time, and their refusals.

OHLC is ascending, ends with the unfinished bar, and never holds more than the newest 720 bars. A
refusal has status 200 and an `error`. What is traded belongs to `instruments`.

Source: https://docs.kraken.com/api-reference/, as ccxt 4.5.90 reads it; a recorded answer of OHLC
in knowm/XChange.
"""

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import numpy as np

from crypto_data.intervals import DAY_MS, MINUTE_MS, SECOND_MS, Interval, TimeRange
from crypto_data.sandbox.bars import UNIT, Bars, Column
from crypto_data.sandbox.damage import damaged_columns, damaged_rows
from crypto_data.sandbox.faults import LIST_ACTIONS, ROW_ACTIONS, FaultList
from crypto_data.sandbox.instruments import DIGITS, Instrument, InstrumentBook, nearby
from crypto_data.sandbox.kline_text import fixed_text, whole_text
from crypto_data.sandbox.symbols import Symbol, instant
from crypto_data.sandbox.web import Answer, Call, http_date, json_answer
from crypto_data.series import Market

KRAKEN_ROOT = "/kraken/0/public/"
REACH_ROWS = 720
# Kraken's weeks begin on Thursday, as the epoch did: four days before everybody's Monday.
_WEEK_AHEAD_MS = 4 * DAY_MS
_INTERVALS = ("1m", "5m", "15m", "30m", "1h", "4h", "1d", "1w")
INTERVALS = {one.length_ms // MINUTE_MS: one for one in map(Interval, _INTERVALS)}  # by minutes
# Kraken's names of assets: an X for coins, a Z for money, and XBT for bitcoin.
_ASSETS = {"BTC": "XXBT", "ETH": "XETH", "USD": "ZUSD"}


def kraken_book() -> InstrumentBook:
    """Return what Kraken trades here."""
    btc = Symbol(
        market=Market.SPOT,
        name="BTCUSDT",
        level=40_000_0,
        price_decimals=1,
        lots=100_000,
        lives=((instant("2013-10-06T21:34"), None),),
    )
    eth = Symbol(
        market=Market.SPOT,
        name="ETHUSDT",
        level=2_500_00,
        lots=1_000_000,
        lives=((instant("2015-08-07T14:03"), None),),
    )
    return InstrumentBook(
        [Instrument("XXBTZUSD", "BTC/USD", btc), Instrument("XETHZUSD", "ETH/USD", eth)],
        nearby(basis_points=-5, quiet_minutes=41),
    )


class _Refused(Exception):
    """A request Kraken answers with an error."""


class Kraken:
    """Answers below `/kraken/0/public/`."""

    def __init__(self, faults: FaultList) -> None:
        self.book = kraken_book()
        self._faults = faults

    def serve(self, call: Call, now_ms: int) -> Answer:
        """Return the answer; a refusal has status 200 too."""
        try:
            return _answer([], self._result(call, now_ms))
        except _Refused as refused:
            return _answer([str(refused)], None)

    def _result(self, call: Call, now_ms: int) -> dict[str, Any]:
        match call.path.removeprefix(KRAKEN_ROOT):
            case "Time":
                return {"unixtime": now_ms // SECOND_MS, "rfc1123": http_date(now_ms)}
            case "SystemStatus":
                moment = datetime.fromtimestamp(now_ms / SECOND_MS, UTC)
                return {"status": "online", "timestamp": f"{moment:%Y-%m-%dT%H:%M:%SZ}"}
            case "Assets":
                return {name: _asset_info(code, name) for code, name in _ASSETS.items()}
            case "AssetPairs":
                if self._faults.take(LIST_ACTIONS, call.path, query=call.query):
                    return {}
                return {one.name: _pair_info(one) for one in self.book.listed(now_ms)}
            case "OHLC":
                return self._ohlc(call, now_ms)
            case _:
                raise _Refused("EGeneral:Unknown method")

    def _ohlc(self, call: Call, now_ms: int) -> dict[str, Any]:
        pair = self._find(call.values.get("pair", ""), now_ms)
        interval = INTERVALS.get(_number(call.values, "interval", 1))
        if interval is None:
            raise _Refused("EGeneral:Invalid arguments")
        bars = self._newest(pair.symbol, interval, now_ms)
        after_ms = _number(call.values, "since", 0) * SECOND_MS
        bars = bars[:, bars[Column.OPEN_TIME] > after_ms]
        faults = self._faults.take(ROW_ACTIONS, call.path, query=call.query)
        bars = damaged_rows(bars, faults)
        closed = bars[Column.OPEN_TIME, bars[Column.CLOSE_TIME] < now_ms]
        last_ms = int(closed.max(initial=after_ms))
        columns = damaged_columns(_columns(bars, pair.symbol), faults)
        return {pair.name: _rows(columns), "last": last_ms // SECOND_MS}

    def _newest(self, symbol: Symbol, interval: Interval, now_ms: int) -> Bars:
        """Return all that OHLC holds at the instant."""
        reach_ms = (REACH_ROWS + 1) * interval.length_ms
        window = TimeRange(now_ms + 1 - reach_ms, now_ms + 1)
        if interval is Interval.WEEK_1:
            bars = self.book.shifted_bars(
                symbol, interval, window, ahead_ms=_WEEK_AHEAD_MS, now_ms=now_ms
            )
        else:
            bars = self.book.tape.bars_at(symbol, interval, window, now_ms)
        return bars[:, -REACH_ROWS:]

    def _find(self, asked: str, now_ms: int) -> Instrument:
        for one in self.book.listed(now_ms):
            info = _pair_info(one)
            if asked in {one.name, info["altname"], info["wsname"]}:
                return one
        raise _Refused("EQuery:Unknown asset pair")


def _answer(errors: list[str], result: dict[str, Any] | None) -> Answer:
    body = {"error": errors} if result is None else {"error": errors, "result": result}
    return json_answer(200, json.dumps(body, separators=(",", ":")).encode())


def _number(values: Mapping[str, str], name: str, default: int) -> int:
    text = values.get(name)
    if not text:
        return default
    # `since` may be a fraction, or lie before the epoch.
    if not re.fullmatch(r"-?[0-9]{1,15}(\.[0-9]+)?", text):
        raise _Refused("EGeneral:Invalid arguments")
    return int(float(text))


def _columns(bars: Bars, symbol: Symbol) -> list[Any]:
    """Return the eight columns of a row as text, in Kraken's order."""
    volume = bars[Column.VOLUME]
    # The average price; zero where nobody traded. A bar that still runs knows only its end's.
    average = np.rint(bars[Column.QUOTE_VOLUME] / np.maximum(volume, 1) * UNIT).astype(np.int64)
    average = np.where(volume > 0, np.clip(average, bars[Column.LOW], bars[Column.HIGH]), 0)
    prices = [bars[column] for column in (Column.OPEN, Column.HIGH, Column.LOW, Column.CLOSE)]
    return [
        whole_text(bars[Column.OPEN_TIME] // SECOND_MS),
        *(fixed_text(price, symbol.price_decimals) for price in (*prices, average)),
        fixed_text(volume, DIGITS),
        whole_text(bars[Column.TRADE_COUNT]),
    ]


def _rows(columns: list[Any]) -> list[list[int | str]]:
    """Return rows whose first and last item are numbers, the rest strings."""
    cells = zip(*(column.to_pylist() for column in columns), strict=True)
    return [[int(row[0]), *row[1:-1], int(row[-1])] for row in cells]


def _asset_info(code: str, name: str) -> dict[str, Any]:
    is_money = name.startswith("Z")
    return {
        "aclass": "currency",
        "altname": name[1:],
        "decimals": 4 if is_money else 10,
        "display_decimals": 2 if is_money else 5,
        "status": "enabled",
        "collateral_value": "1.0" if code == "USD" else "0.99",
    }


def _pair_info(instrument: Instrument) -> dict[str, Any]:
    symbol = instrument.symbol
    base, quote = (_ASSETS[code] for code in instrument.unified.split("/"))
    decimals = symbol.price_decimals
    return {
        "altname": base[1:] + quote[1:],
        "wsname": f"{base[1:]}/{quote[1:]}",
        "aclass_base": "currency",
        "base": base,
        "aclass_quote": "currency",
        "quote": quote,
        "lot": "unit",
        "cost_decimals": 5,
        "pair_decimals": decimals,
        "lot_decimals": DIGITS,
        "lot_multiplier": 1,
        "leverage_buy": [2, 3, 4, 5],
        "leverage_sell": [2, 3, 4, 5],
        "fees": [[0, 0.4], [10000, 0.35]],
        "fees_maker": [[0, 0.25], [10000, 0.2]],
        "fee_volume_currency": "ZUSD",
        "margin_call": 80,
        "margin_stop": 40,
        "ordermin": "0.00005",
        "costmin": "0.5",
        "tick_size": f"{10**-decimals:.{decimals}f}",
        "status": "online",
    }
