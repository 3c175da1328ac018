"""Archives of the sandbox into a lake through the library: rows a second, and bytes written."""

import time
from collections.abc import Callable, Sequence
from datetime import date, timedelta
from functools import partial
from itertools import groupby
from pathlib import Path

from bench.against import compare_with, time_ckvd
from bench.exchange import BITCOIN, NO_MONTHLIES, bytes_kept, write_config
from bench.figure import Beside, Better, Figure
from bench.library import fetch
from bench.place import Place
from bench.raw import DAILY, copy_archives
from crypto_data.catalog.configuration import load_catalog
from crypto_data.partitions import days_in
from crypto_data.sandbox.remote import clear_faults, plant_faults

# February to April 2024 are 90 days.
FIRST = date(2024, 2, 1)
ROWS_A_DAY = 1440
RAW = "raw copy"


def measure_daily_archives(place: Place) -> list[Figure]:
    """Return rows a second from daily archives, in turns with the same bytes moved raw."""
    days = list(days_in(FIRST, FIRST + timedelta(place.size.archive_days)))
    config = write_config(place.folder, place.url, BITCOIN)
    threads = load_catalog(config, {}, date(2026, 1, 1)).sources.concurrency
    months = groupby(days, lambda day: day.replace(day=1))
    parts = [[DAILY.format(day) for day in group] for _, group in months]
    plant_faults(place.url, NO_MONTHLIES)
    ours, raw = [], []
    for turn in range(-1, place.size.repeats):  # the first turn warms the sandbox up
        lake, copies = place.folder / f"lake{turn}", place.folder / f"raw{turn}"
        speeds = (
            _speed(len(days), partial(_ingest, config, lake, days)),
            _speed(len(days), partial(copy_archives, place.url, copies, parts, threads)),
        )
        if turn >= 0:
            ours.append(speeds[0])
            raw.append(speeds[1])
    clear_faults(place.url)
    ckvd = compare_with(place, "CKVD 4.6.1", 5, lambda: time_ckvd(place, FIRST, len(days)))
    what = (
        f"{len(days)} daily archives of 1m (BTCUSDT) into the lake through the library; raw: the "
        "same files with http.client, zipfile and pyarrow, as many threads, no checks; CKVD: "
        "crypto-kline-vision-data's get_data into its cache, without imports"
    )
    beside = [Beside(RAW, raw, 0.6), ckvd]
    return [
        Figure("daily-archives", what, "rows/s", Better.HIGHER, ours, goal=600_000, beside=beside)
    ]


def measure_bytes_written(place: Place) -> list[Figure]:
    """Return how many bytes a backfill from monthly archives writes into the lake."""
    config = write_config(place.folder, place.url, BITCOIN)
    lake = place.folder / "lake"
    (report,) = fetch(config, lake, date(2024, 1, 1), place.size.backfill_end)
    what = (
        f"bytes written into the lake for {len(report.days)} days of 1m from monthly archives, "
        "through the library"
    )
    beside = [Beside("bytes kept", [bytes_kept(lake) / 1e6], 2)]
    written = [report.bytes_written / 1e6]
    return [Figure("bytes-written", what, "MB", Better.LOWER, written, beside=beside)]


def _speed(days: int, work: Callable[[], int]) -> float:
    started = time.perf_counter()
    rows = work()
    seconds = time.perf_counter() - started
    if rows != days * ROWS_A_DAY:
        raise RuntimeError(f"{rows} rows instead of {days * ROWS_A_DAY}")
    return rows / seconds


def _ingest(config: Path, lake: Path, days: Sequence[date]) -> int:
    (report,) = fetch(config, lake, days[0], days[-1] + timedelta(1))
    return sum(day.rows for day in report.days)
