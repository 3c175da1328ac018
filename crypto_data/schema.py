"""The columns of a kline: names, types, units and order. The only place that knows them.

Rules about their values belong to `validation`; how sources spell them belongs to `sources`.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

TIME = pa.timestamp("us", tz="UTC")
SOURCE = pa.dictionary(pa.int8(), pa.string())

PRICES = ("open", "high", "low", "close")

# A kline as the lake stores it, sorted by open_time. `contract_volume` is null outside `cm`: every
# file has the same columns, so one glob over all markets reads in every engine.
KLINES = pa.schema(
    [
        pa.field("open_time", TIME, nullable=False),
        pa.field("open", pa.float64(), nullable=False),
        pa.field("high", pa.float64(), nullable=False),
        pa.field("low", pa.float64(), nullable=False),
        pa.field("close", pa.float64(), nullable=False),
        pa.field("volume", pa.float64(), nullable=False),
        pa.field("quote_volume", pa.float64()),
        pa.field("trade_count", pa.int64()),
        pa.field("taker_buy_volume", pa.float64()),
        pa.field("taker_buy_quote_volume", pa.float64()),
        pa.field("close_time", TIME, nullable=False),
        pa.field("source", SOURCE, nullable=False),
        pa.field("contract_volume", pa.float64()),
    ]
)

# What a source hands over: the same without `source`, nothing promised yet about nulls.
FETCHED = pa.schema(
    [pa.field(field.name, field.type) for field in KLINES if field.name != "source"]
)


def empty_klines() -> pa.Table:
    """Return a table of `KLINES` without rows."""
    return KLINES.empty_table()


def fetched_table(columns: Mapping[str, Any]) -> pa.Table:
    """Return columns as a `FETCHED` table; a column that is not given is null.

    Args:
        columns: Arrow arrays by name; `open_time` and `close_time` as `TIME` already.
    """
    rows = len(next(iter(columns.values())))
    arrays = [
        _as_type(columns[field.name], field.type)
        if field.name in columns
        else pa.nulls(rows, field.type)
        for field in FETCHED
    ]
    return pa.Table.from_arrays(arrays, schema=FETCHED)


def _as_type(column: Any, wanted: pa.DataType) -> Any:
    # A cast that changes nothing costs as much as half the parsing of a day.
    return column if column.type == wanted else column.cast(wanted)


def mark_source(rows: pa.Table, source: str) -> pa.Table:
    """Return `FETCHED` rows as `KLINES`, with `source` in every row."""
    marks = pa.DictionaryArray.from_arrays(
        pa.nulls(rows.num_rows, pa.int8()).fill_null(0), pa.array([source])
    )
    columns: Sequence[Any] = [
        marks if field.name == "source" else rows[field.name] for field in KLINES
    ]
    return pa.Table.from_arrays(columns, schema=KLINES)


def epoch_ms(times: Any) -> Any:
    """Return a `TIME` array as UTC epoch milliseconds, int64."""
    return times.cast(pa.timestamp("ms", tz="UTC"), safe=False).cast(pa.int64())
