"""The columns of a kline, as other programs rely on them."""

import pyarrow as pa

from crypto_data.schema import FETCHED, KLINES, TIME, empty_klines, epoch_ms, fetched_table
from crypto_data.schema import mark_source as mark


def test_the_columns_are_those_of_the_contract() -> None:
    """Names, types and order of contract section 3 are pinned."""
    double, time = pa.float64(), pa.timestamp("us", tz="UTC")

    assert [(field.name, field.type) for field in KLINES] == [
        ("open_time", time),
        ("open", double),
        ("high", double),
        ("low", double),
        ("close", double),
        ("volume", double),
        ("quote_volume", double),
        ("trade_count", pa.int64()),
        ("taker_buy_volume", double),
        ("taker_buy_quote_volume", double),
        ("close_time", time),
        ("source", pa.dictionary(pa.int8(), pa.string())),
        ("contract_volume", double),
    ]
    assert [field.name for field in FETCHED] == [n for n in KLINES.names if n != "source"]


def test_columns_not_given_are_null() -> None:
    """A source that has five columns hands over a table of all."""
    times = pa.array([0, 60_000_000], TIME)

    rows = fetched_table({"open_time": times, "open": pa.array([1, 2])})

    assert rows.schema == FETCHED
    assert rows["open"].to_pylist() == [1.0, 2.0]
    assert rows["close_time"].null_count == 2


def test_marked_rows_carry_their_source() -> None:
    """Every row of a table gets the one source; no row is no problem."""
    rows = fetched_table({"open_time": pa.array([0, 1], TIME)})

    assert mark(rows, "ccxt:kraken")["source"].to_pylist() == ["ccxt:kraken"] * 2
    assert mark(rows.slice(0, 0), "vision").schema == KLINES
    assert empty_klines().schema == KLINES


def test_times_become_milliseconds() -> None:
    """Microseconds of a close time are cut off, before and after the epoch's year."""
    times = pa.array([1_000, 1_999, 1_735_689_659_999_999], TIME)

    assert epoch_ms(times).to_pylist() == [1, 1, 1_735_689_659_999]
