"""The least that moving archives into Parquet costs, as a yardstick: no checks, no ledger."""

import http.client
import io
import zipfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from pathlib import Path
from urllib.parse import urlsplit

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import csv


def copy_archives(url: str, folder: Path, months: Sequence[Sequence[date]], threads: int) -> int:
    """Write one Parquet file a month from its daily archives; return the rows."""
    with ThreadPoolExecutor(threads) as pool:
        return sum(pool.map(lambda days: _copy_month(url, folder, days), months))


def _copy_month(url: str, folder: Path, days: Sequence[date]) -> int:
    connection = http.client.HTTPConnection(urlsplit(url).netloc)
    rows = pa.concat_tables([_read_day(connection, day) for day in days])
    connection.close()
    pq.write_table(rows, folder / f"{days[0]}.parquet")
    return int(rows.num_rows)


def _read_day(connection: http.client.HTTPConnection, day: date) -> pa.Table:
    connection.request("GET", f"/data/spot/daily/klines/BTCUSDT/1m/BTCUSDT-1m-{day}.zip")
    with zipfile.ZipFile(io.BytesIO(connection.getresponse().read())) as archive:
        text = archive.read(archive.infolist()[0])
    names = [f"c{number}" for number in range(12)]
    options = csv.ReadOptions(use_threads=False, column_names=names)
    return csv.read_csv(pa.py_buffer(text), read_options=options)
