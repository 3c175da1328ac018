"""The least that moving klines into Parquet costs, as a yardstick: no checks, no ledger.

Each function has a connection and a file a thread, gets the bytes that are wanted and no others,
and returns how many rows it wrote.
"""

import http.client
import io
import json
import zipfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import date, timedelta
from pathlib import Path
from urllib.parse import urlsplit

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import csv

from crypto_data.partitions import day_start_ms

DAILY = "/data/spot/daily/klines/BTCUSDT/1m/BTCUSDT-1m-{:%Y-%m-%d}.zip"
MONTHLY = "/data/spot/monthly/klines/BTCUSDT/1m/BTCUSDT-1m-{:%Y-%m}.zip"
PAGE = 1000
MINUTE_MS = 60_000
NAMES = [f"c{number}" for number in range(12)]
NUMBERS = (1, 2, 3, 4, 5, 7, 9, 10)  # of a page of REST, these are text


def copy_archives(url: str, folder: Path, parts: Sequence[Sequence[str]], threads: int) -> int:
    """Write one Parquet file a part, each part from its archives, given as paths."""
    return _in_threads(url, folder, parts, _read_archive, threads)


def copy_pages(url: str, folder: Path, parts: Sequence[tuple[date, date]], threads: int) -> int:
    """Write one Parquet file a part, each part the REST pages of the days `[first, end)`."""
    pages = [_page_paths(first, end) for first, end in parts]
    return _in_threads(url, folder, pages, _read_page, threads)


def _in_threads(
    url: str,
    folder: Path,
    parts: Sequence[Sequence[str]],
    read: Callable[[bytes], pa.Table],
    threads: int,
) -> int:
    folder.mkdir(parents=True)

    def copy(number: int) -> int:
        connection = http.client.HTTPConnection(urlsplit(url).netloc)
        tables = []
        for path in parts[number]:
            connection.request("GET", path)
            tables.append(read(connection.getresponse().read()))
        connection.close()
        rows = pa.concat_tables(tables)
        pq.write_table(rows, folder / f"{number}.parquet")
        return int(rows.num_rows)

    with ThreadPoolExecutor(threads) as pool:
        return sum(pool.map(copy, range(len(parts))))


def _read_archive(content: bytes) -> pa.Table:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        text = archive.read(archive.infolist()[0])
    options = csv.ReadOptions(use_threads=False, column_names=NAMES)
    return csv.read_csv(pa.py_buffer(text), read_options=options)


def _page_paths(first: date, end: date) -> list[str]:
    start_ms, end_ms = day_start_ms(first), day_start_ms(end)
    return [
        f"/api/v3/klines?symbol=BTCUSDT&interval=1m&limit={PAGE}&startTime={page_ms}"
        f"&endTime={min(page_ms + PAGE * MINUTE_MS, end_ms) - 1}"
        for page_ms in range(start_ms, end_ms, PAGE * MINUTE_MS)
    ]


def _read_page(content: bytes) -> pa.Table:
    columns = list(zip(*json.loads(content), strict=True))
    return pa.table(
        [
            pa.array(column).cast(pa.float64()) if number in NUMBERS else pa.array(column)
            for number, column in enumerate(columns)
        ],
        NAMES,
    )


def months_of(first: date, end: date) -> list[date]:
    """Return the first days of the months that `[first, end)` touches."""
    months, month = [], first.replace(day=1)
    while month < end:
        months.append(month)
        month = (month + timedelta(31)).replace(day=1)
    return months
