"""Archives of the sandbox into a lake through the library: rows a second, and bytes written."""

import threading
import time
from collections.abc import Sequence
from datetime import date, timedelta
from itertools import groupby
from pathlib import Path

from bench.exchange import NO_MONTHLIES, bytes_kept, write_config
from bench.figure import Better, Figure, Size
from bench.raw import copy_archives
from crypto_data.catalog.configuration import load_catalog
from crypto_data.ingest import Job, ingest
from crypto_data.lake.store import Lake
from crypto_data.partitions import days_in
from crypto_data.reports import SeriesReport
from crypto_data.sandbox.remote import clear_faults, plant_faults
from crypto_data.sources.connect import open_chains

# February to April 2024 are 90 days.
FIRST = date(2024, 2, 1)
ROWS_A_DAY = 1440


def measure_daily_archives(url: str, folder: Path, size: Size) -> Figure:
    """Return rows a second from daily archives; the yardstick moves the same bytes raw."""
    days = list(days_in(FIRST, FIRST + timedelta(size.days)))
    months = [list(group) for _, group in groupby(days, lambda day: day.replace(day=1))]
    config = write_config(folder, url, "2025-01-01")
    threads = load_catalog(config, {}, date(2026, 1, 1)).sources.concurrency
    plant_faults(url, NO_MONTHLIES)
    ours, raw = [], []
    for turn in range(-1, size.repeats):  # the first turn warms the sandbox up
        seconds = _time_ingest(config, folder / f"lake{turn}", days, threads)
        raw_seconds = _time_raw(url, folder / f"raw{turn}", months, threads)
        if turn >= 0:
            ours.append(len(days) * ROWS_A_DAY / seconds)
            raw.append(len(days) * ROWS_A_DAY / raw_seconds)
    clear_faults(url)
    return Figure(
        "daily-archives", f"{len(days)} daily archives of 1m into the lake", "rows/s",
        ours, 300_000, Better.HIGHER, "get, inflate, parse, write Parquet; no more", raw,
    )  # fmt: skip


def measure_bytes_written(url: str, folder: Path, size: Size) -> Figure:
    """Return how many bytes a backfill from monthly archives writes into the lake."""
    config = write_config(folder, url, "2025-01-01")
    report = _ingest(
        config, folder / "lake", date(2024, 1, 1), date.fromisoformat(size.backfill_end)
    )
    kept = bytes_kept(folder / "lake")
    return Figure(
        "bytes-written", f"bytes written for {len(report.days)} days of 1m", "MB",
        [report.bytes_written / 1e6], 2 * kept / 1e6, Better.LOWER, "bytes kept", [kept / 1e6],
    )  # fmt: skip


def _time_ingest(config: Path, lake: Path, days: Sequence[date], threads: int) -> float:
    started = time.perf_counter()
    _ingest(config, lake, days[0], days[-1] + timedelta(1), threads=threads)
    return time.perf_counter() - started


def _time_raw(url: str, folder: Path, months: Sequence[Sequence[date]], threads: int) -> float:
    folder.mkdir()
    started = time.perf_counter()
    rows = copy_archives(url, folder, months, threads)
    seconds = time.perf_counter() - started
    if rows != sum(map(len, months)) * ROWS_A_DAY:
        raise RuntimeError(f"the sandbox handed over {rows} rows")
    return seconds


def _ingest(config: Path, lake: Path, first: date, end: date, *, threads: int = 4) -> SeriesReport:
    catalog = load_catalog(config, {}, date(2026, 1, 1))
    feed = catalog.feeds[0]
    with open_chains(catalog, lake.with_name(f"{lake.name}-state")) as chains:
        (report,) = ingest(
            Lake(lake),
            [Job(feed.series[0], chains.chain(feed), first, end)],
            threads=threads,
            stop=threading.Event(),
            on_days=lambda _series, _days: None,
        )
    if not report.is_whole:
        raise RuntimeError(f"the ingest fell short: {report.error or report.short[0]}")
    return report
