"""What reading through the Python API costs, beside plain reads of the same files."""

import os
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pyarrow.parquet as pq

from bench.exchange import BITCOIN, write_config
from bench.figure import Beside, Better, Figure
from bench.made_lake import copy_part
from bench.place import Place
from crypto_data import OpenLake, open_lake
from crypto_data.intervals import Interval
from crypto_data.lake.layout import klines_glob, part_path
from crypto_data.series import Market, Series

# Over the end of a month, so that the 30 days of 1m lie in two files.
FIRST, END = date(2024, 2, 15), date(2024, 3, 16)
YEAR = (date(2024, 1, 1), date(2025, 1, 1))
# Enough turns that one of a busy machine does not decide.
TURNS = 5
# A ledger is held from when its file has settled: two seconds after it was written.
SETTLE_SECONDS = 2.5


def measure_klines(place: Place) -> list[Figure]:
    """Return the milliseconds of one call for 30 days of 1m that the lake has."""
    lake, root = _open(place, ["BTCUSDT"])
    lake.klines("BTCUSDT", "1m", FIRST, END)
    _settle(place)
    series = Series("binance", Market.SPOT, "BTCUSDT", Interval.MINUTE_1)
    files = [part_path(root, series, period) for period in ("2024-02", "2024-03")]
    ours, plain = _in_turns(
        lambda: lake.klines("BTCUSDT", "1m", FIRST, END),
        lambda: pq.read_table(files),
        (place.size.repeats * TURNS, (END - FIRST) // timedelta(minutes=1)),
    )
    what = "`lake.klines` of 30 days of 1m that the lake has, in two files"
    beside = [Beside("pyarrow reads the same files", plain, 2)]
    return [Figure("klines", what, "ms", Better.LOWER, ours, goal=10, beside=beside)]


def measure_many_klines(place: Place) -> list[Figure]:
    """Return the milliseconds of one call for 30 days of 1h of many symbols, as one table."""
    symbols = [f"COIN{number:02}USDT" for number in range(min(50, place.size.symbols))]
    lake, root = _open(place, symbols)
    _copy_year(lake, root, symbols)
    _settle(place)
    query = (
        f"SELECT * FROM read_parquet('{klines_glob(root)}', hive_partitioning = true) "  # noqa: S608
        f"WHERE symbol LIKE 'COIN%' AND open_time >= '{FIRST}' AND open_time < '{END}'"
    )
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        ours, plain = _in_turns(
            lambda: lake.klines(symbols, "1h", FIRST, END),
            lambda: connection.sql(query).to_arrow_table(),
            (place.size.repeats * TURNS, len(symbols) * ((END - FIRST) // timedelta(hours=1))),
        )
    what = f"`lake.klines` of {len(symbols)} symbols over 30 days of 1h, one table"
    beside = [Beside("DuckDB reads the same rows", plain, 3)]
    return [Figure("klines-many", what, "ms", Better.LOWER, ours, beside=beside)]


def _open(place: Place, symbols: list[str]) -> tuple[OpenLake, Path]:
    """Return an open lake in the place's folder, and where its files are."""
    os.environ["XDG_STATE_HOME"] = str(place.folder / "state")
    feed = {**BITCOIN, "symbols": symbols, "intervals": ["1m", "1h"], "end": None}
    return open_lake(write_config(place.folder, place.url, feed)), place.folder / "lake"


def _copy_year(lake: OpenLake, root: Path, symbols: list[str]) -> None:
    """Give every symbol the hours that one has traded in a year."""
    lake.klines("BTCUSDT", "1h", *YEAR)
    traded = Series("binance", Market.SPOT, "BTCUSDT", Interval.HOUR_1)
    source = part_path(root, traded, "2024")
    for symbol in symbols:
        copy_part(source, part_path(root, replace(traded, symbol=symbol), "2024"))


def _settle(place: Place) -> None:
    if place.size.repeats > 1:  # a quick run is about nothing but whether it runs
        time.sleep(SETTLE_SECONDS)


def _in_turns(
    ours: Callable[[], Any], plain: Callable[[], Any], wanted: tuple[int, int]
) -> tuple[list[float], list[float]]:
    """Return the milliseconds of two reads in turns, after one turn of both.

    `wanted` are the turns, and the rows that the first one must return.
    """
    turns, rows = wanted
    if ours().num_rows != rows:
        raise RuntimeError(f"the lake has not the {rows} rows that are measured")
    plain()
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(turns):
        for read, kept in zip((ours, plain), times, strict=True):
            started = time.perf_counter()
            read()
            kept.append((time.perf_counter() - started) * 1000)
    return times
