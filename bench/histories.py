"""Long histories and many series through `crypto-data backfill`, Dagster's records included."""

import time
from datetime import UTC, date, datetime, timedelta
from functools import partial
from pathlib import Path

import pyarrow.parquet as pq

from bench.against import compare_with, time_dccd
from bench.exchange import BITCOIN, kline_files, write_config
from bench.figure import Beside, Better, Figure
from bench.ingesting import RAW, ROWS_A_DAY
from bench.place import Place
from bench.raw import MONTHLY, copy_archives, copy_pages, months_of
from bench.running import Ran, backfill
from crypto_data.sandbox.remote import running_sandbox

HISTORY_END = date(2026, 8, 1)
ONE_DAY = timedelta(1)
HOURS = 24
THREADS = 4  # of the yardsticks; as many as `sources.concurrency` has by default


def measure_rest_year(place: Place) -> list[Figure]:
    """Return rows a second over REST, whole process, beside the same pages moved raw, and dccd."""
    end = datetime.now(UTC).date()
    first = end - timedelta(place.size.rest_days)
    feed = {**BITCOIN, "start": first, "end": end, "sources": ["rest"]}
    rows = place.size.rest_days * ROWS_A_DAY
    ours, raw = [], []
    # A minute has a budget of requests, which ours keeps; the yardstick has one of its own.
    with running_sandbox() as url:
        for turn in range(-1, place.size.rounds):  # the first turn warms both sandboxes up
            config = write_config(place.folder / f"ours{turn}", place.url, feed)
            seconds = _whole(config, rows).seconds
            raw_seconds = _time_pages(url, place.folder / f"raw{turn}", first, end)
            if turn >= 0:
                ours.append(rows / seconds)
                raw.append(rows / raw_seconds)
    warm_up = partial(_time_pages, folder=place.folder / "warm", first=first, end=end)
    dccd = compare_with(place, "dccd 3.8.1", 5, lambda: time_dccd(place, first, warm_up))
    what = (
        f"the last {place.size.rest_days} days of 1m over REST (`sources: [rest]`), the whole "
        "process of `crypto-data backfill`; raw: the same pages with http.client, json and "
        f"pyarrow, {THREADS} threads; dccd: whole process, its limiter lifted, until now"
    )
    beside = [Beside(RAW, raw), dccd]
    return [Figure("rest-year", what, "rows/s", Better.HIGHER, ours, goal=200_000, beside=beside)]


def measure_full_history(place: Place) -> list[Figure]:
    """Return seconds and peak memory of the full history of a symbol from monthly archives."""
    start = place.size.history_start
    feed = {**BITCOIN, "start": start, "end": HISTORY_END}
    months = [[MONTHLY.format(month)] for month in months_of(start, HISTORY_END)]
    ours: list[Ran] = []
    raw, rows = [], 0
    for turn in range(-1, place.size.rounds):  # the first turn warms the sandbox up
        started = time.perf_counter()
        rows = copy_archives(place.url, place.folder / f"raw{turn}", months, THREADS)
        seconds = time.perf_counter() - started
        if turn >= 0:
            config = write_config(place.folder / f"ours{turn}", place.url, feed)
            ours.append(_whole(config))
            raw.append(seconds)
    days = (HISTORY_END - start).days
    what = (
        f"{days:,} days of 1m ({rows:,} rows) from monthly archives, the whole process of "
        f"`crypto-data backfill`; raw: the same files with {THREADS} threads"
    )
    peaks = [ran.peak_mb for ran in ours]
    return [
        Figure(
            "full-history", what, "s", Better.LOWER, [ran.seconds for ran in ours], goal=30,
            beside=[Beside(RAW, raw)],
        ),
        Figure("full-history-memory", "peak memory of it", "MB", Better.LOWER, peaks, goal=350),
    ]  # fmt: skip


def measure_many_series(place: Place) -> list[Figure]:
    """Return seconds of one day of 1h of many symbols in one run."""
    symbols = [f"S{number:03}USDT" for number in range(place.size.symbols)]
    first = date(2026, 6, 1)
    feed = {**BITCOIN, "symbols": symbols, "intervals": ["1h"], "start": first}
    feed["end"] = first + ONE_DAY
    ours = []
    for turn in range(-1, place.size.rounds):
        config = write_config(place.folder / f"ours{turn}", place.url, feed)
        ran = _whole(config, len(symbols) * HOURS)
        if turn >= 0:
            ours.append(ran.seconds)
    what = f"{len(symbols)} symbols x one day of 1h, the whole process of `crypto-data backfill`"
    return [Figure("many-series", what, "s", Better.LOWER, ours, goal=30)]


def _whole(config: Path, rows: int | None = None) -> Ran:
    """Run a backfill; the lake must then have the rows, where they are known."""
    ran = backfill(config)
    found = sum(pq.read_metadata(path).num_rows for path in kline_files(config.parent / "lake"))
    if rows is not None and found != rows:
        raise RuntimeError(f"the lake has {found} rows instead of {rows}")
    return ran


def _time_pages(url: str, folder: Path, first: date, end: date) -> float:
    edges = [*(month for month in months_of(first, end) if month > first), end]
    parts = list(zip([first, *edges], edges, strict=False))
    started = time.perf_counter()
    rows = copy_pages(url, folder, parts, THREADS)
    if rows != (end - first).days * ROWS_A_DAY:
        raise RuntimeError(f"the sandbox handed over {rows} rows")
    return time.perf_counter() - started
