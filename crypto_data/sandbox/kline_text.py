"""Klines as the exchange writes them: CSV lines of the archive, JSON rows of REST, Arrow tables.

Each text is made from the same columns of strings, so archive and REST cannot differ in a digit.
"""

from collections.abc import Sequence
from enum import StrEnum
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from crypto_data.sandbox.bars import Bars, Column
from crypto_data.sandbox.symbols import Symbol, instant
from crypto_data.schema import TIME, fetched_table
from crypto_data.series import Market

HEADER = (
    b"open_time,open,high,low,close,volume,close_time,quote_volume,count,"
    b"taker_buy_volume,taker_buy_quote_volume,ignore\n"
)
# Spot files count microseconds from this open_time on; um and cm stay with milliseconds.
MICROSECONDS_FROM_MS = instant("2025-01-01")
HEADER_FROM_MS = instant("2022-01-01")

# The columns of a text row; `ignore` is always 0.
TextColumns = list[Any]


class Unit(StrEnum):
    """The unit of the times in a text."""

    MILLISECOND = "ms"
    MICROSECOND = "us"


def archive_unit(symbol: Symbol, start_ms: int) -> Unit:
    """Return the unit of an archive file whose period starts at `start_ms`."""
    if symbol.market is Market.SPOT and start_ms >= MICROSECONDS_FROM_MS:
        return Unit.MICROSECOND
    return Unit.MILLISECOND


def text_columns(bars: Bars, symbol: Symbol, unit: Unit) -> TextColumns:
    """Return the eleven columns of text, in the order of the exchange's files."""
    price, volume, quote = _decimals(symbol)
    times = [bars[Column.OPEN_TIME], bars[Column.CLOSE_TIME]]
    if unit is Unit.MICROSECOND:
        times = [times[0] * 1000, times[1] * 1000 + 999]
    shown = {
        Column.OPEN_TIME: whole_text(times[0]),
        Column.CLOSE_TIME: whole_text(times[1]),
        Column.TRADE_COUNT: whole_text(bars[Column.TRADE_COUNT]),
        **{column: fixed_text(bars[column], price) for column in (1, 2, 3, 4)},
    }
    for column, decimals in (
        (Column.VOLUME, volume),
        (Column.QUOTE_VOLUME, quote),
        (Column.TAKER_VOLUME, volume),
        (Column.TAKER_QUOTE_VOLUME, quote),
    ):
        shown[column] = _quantity(bars[column], decimals, symbol.market)
    return [shown[column] for column in Column]


def csv_text(columns: TextColumns) -> bytes:
    """Return the columns as CSV lines, each ended by a line feed, without a header."""
    return _joined(*columns, "0\n", separator=",")


def json_rows(columns: TextColumns) -> bytes:
    """Return the columns as REST's JSON: a list of rows of 12, strings but for times and count."""
    if not len(columns[0]):
        return b"[]"
    times = {Column.OPEN_TIME, Column.CLOSE_TIME, Column.TRADE_COUNT}
    parts: list[Any] = []
    quoted = ""
    for column in Column:
        quote = "" if column in times else '"'
        opening = "[" if column is Column.OPEN_TIME else quoted + "," + quote
        parts += [opening, columns[column]]
        quoted = quote
    text = _joined(*parts, quoted + ',"0"],', separator="")
    return b"[" + text[:-1] + b"]"


def truth_table(bars: Bars, symbol: Symbol) -> pa.Table:
    """Return bars as a `FETCHED` table, with the numbers a correct reader of the archive gets."""
    columns = text_columns(bars, symbol, Unit.MILLISECOND)
    values: dict[Column, Any] = {
        column: columns[column].cast(pa.float64())
        for column in Column
        if column not in {Column.OPEN_TIME, Column.CLOSE_TIME}
    }
    closes = bars[Column.CLOSE_TIME] * 1000
    in_microseconds = bars[Column.OPEN_TIME] >= MICROSECONDS_FROM_MS
    if symbol.market is Market.SPOT:
        closes = closes + np.where(in_microseconds, 999, 0)
    table = {
        "open_time": pa.array(bars[Column.OPEN_TIME] * 1000).cast(TIME),
        "open": values[Column.OPEN],
        "high": values[Column.HIGH],
        "low": values[Column.LOW],
        "close": values[Column.CLOSE],
        "trade_count": values[Column.TRADE_COUNT],
        "close_time": pa.array(closes).cast(TIME),
    }
    return fetched_table(table | _quantities(values, symbol.market))


def _quantities(values: dict[Column, Any], market: Market) -> dict[str, Any]:
    """Return the traded quantities under our names; `cm` writes base volume as quote volume."""
    if market is Market.CM:
        return {
            "volume": values[Column.QUOTE_VOLUME],
            "taker_buy_volume": values[Column.TAKER_QUOTE_VOLUME],
            "contract_volume": values[Column.VOLUME],
        }
    return {
        "volume": values[Column.VOLUME],
        "quote_volume": values[Column.QUOTE_VOLUME],
        "taker_buy_volume": values[Column.TAKER_VOLUME],
        "taker_buy_quote_volume": values[Column.TAKER_QUOTE_VOLUME],
    }


def _decimals(symbol: Symbol) -> tuple[int, int, int]:
    """Return the decimals of price, volume and quote volume in text."""
    match symbol.market:
        case Market.SPOT:
            return 8, 8, 8
        case Market.UM:
            price, volume = symbol.price_decimals, symbol.volume_decimals
            return price, volume, price + volume
        case Market.CM:
            return symbol.price_decimals, 0, 8


def whole_text(values: NDArray[np.int64]) -> Any:
    """Return whole numbers as text."""
    return pa.array(values).cast(pa.string())


def fixed_text(values: NDArray[np.int64], decimals: int) -> Any:
    """Return values in units of 1e-8 as text with `decimals` digits behind the point."""
    if not decimals:
        return whole_text(values // 10**8)
    scaled = values // 10 ** (8 - decimals) if decimals < 8 else values  # noqa: PLR2004
    whole = scaled // 10**decimals
    # A leading one keeps the zeros of the fraction; it is cut off again.
    fraction = whole_text(scaled - whole * 10**decimals + 10**decimals)
    tail = pc.utf8_replace_slice(fraction, start=0, stop=1, replacement=".")
    return pc.binary_join_element_wise(whole_text(whole), tail, "")


def _quantity(values: NDArray[np.int64], decimals: int, market: Market) -> Any:
    text = fixed_text(values, decimals)
    if market is Market.UM and not values.all():
        # Binance writes an empty um bar's quantities as "0", without decimals.
        return pc.if_else(pa.array(values == 0), "0", text)
    return text


def _joined(*parts: Any, separator: str) -> bytes:
    """Return the rows one behind the other: the data buffer of the joined string array."""
    arrays: Sequence[Any] = [pa.scalar(part) if isinstance(part, str) else part for part in parts]
    lines = pc.binary_join_element_wise(*arrays, separator)
    data = lines.buffers()[2]
    return data.to_pybytes()[: _end_of(lines)] if data is not None else b""


def _end_of(lines: Any) -> int:
    offsets = np.frombuffer(lines.buffers()[1], dtype=np.int32)
    return int(offsets[lines.offset + len(lines)])
