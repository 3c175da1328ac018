"""What looking at a large lake costs: its inventory, one look for gaps, and its definitions."""

import json
import os
import sys
import time
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

from bench.exchange import BITCOIN, environment, write_config
from bench.figure import Beside, Better, Figure
from bench.library import fetch
from bench.made_lake import INTERVALS, LAST_DAY, copy_part, make_lake
from bench.place import Place
from bench.running import COMMAND, run
from crypto_data.catalog.configuration import Catalog, load_catalog
from crypto_data.lake.census import take_census
from crypto_data.lake.feeds import current_wishes
from crypto_data.lake.layout import part_path
from crypto_data.mending import due_gaps, plan_errands
from crypto_data.partitions import day_start_ms, days_in, periods_of
from crypto_data.series import Series

# Half a day after the last day closed.
NOW_MS = day_start_ms(LAST_DAY) + 43_200_000
KEPT = 25
KEPT_START = date(2024, 1, 1)
MINUTES_A_DAY = 1440
LOAD = """\
from crypto_data.definitions import defs
from dagster._core.remote_representation.external_data import RepositorySnap
RepositorySnap.from_def(defs.get_repository_def())
"""
DEFINITIONS = (sys.executable, "-c", LOAD)
DAGSTER = (sys.executable, "-c", "import dagster")
LIBRARIES = (sys.executable, "-c", "import pyarrow.parquet, duckdb, typer, pydantic")


def measure_inventory(place: Place) -> list[Figure]:
    """Return the seconds that `crypto-data inventory` takes, the index being kept already."""
    config = made_lake(place)
    command = _inventory(config)
    environ = environment(config.parent)
    ours, imports = [], []
    for turn in range(-1, place.size.repeats):  # the first turn reads all footers
        seconds = run(command, environ=environ).seconds, run(LIBRARIES, environ=environ).seconds
        if turn >= 0:
            ours.append(seconds[0])
            imports.append(seconds[1])
    what = f"`crypto-data inventory` of {told(place)}, the whole process, the index kept"
    beside = [Beside("importing the libraries", imports)]
    return [Figure("inventory", what, "s", Better.LOWER, ours, goal=2, beside=beside)]


def measure_gap_tick(place: Place) -> list[Figure]:
    """Return the seconds from asking what is due until the runs are planned."""
    catalog = load_catalog(made_lake(place), {}, LAST_DAY)
    ours, files = [], []
    for turn in range(-1, place.size.repeats):
        started = time.perf_counter()
        _plan(catalog)
        looked = time.perf_counter()
        _stat_all(catalog.lake)
        if turn >= 0:
            ours.append(looked - started)
            files.append(time.perf_counter() - looked)
    what = f"one look for due gaps in {told(place)}, as the sensor does"
    beside = [Beside("asking about each file", files)]
    return [Figure("gap-tick", what, "s", Better.LOWER, ours, goal=5, beside=beside)]


def measure_definitions(place: Place) -> list[Figure]:
    """Return the seconds in which a fresh process loads the definitions and describes them."""
    config = made_lake(place)
    environ = environment(config.parent) | {"CRYPTO_DATA_CONFIG": str(config)}
    ours, imports = [], []
    for _ in range(place.size.repeats):
        ours.append(run(DEFINITIONS, environ=environ).seconds)
        imports.append(run(DAGSTER, environ=environ).seconds)
    series = place.size.lake_symbols * len(INTERVALS)
    what = (
        f"a fresh process that loads the code location of {series:,} series and builds Dagster's "
        "snapshot of the repository"
    )
    beside = [Beside("import dagster", imports)]
    return [Figure("definitions", what, "s", Better.LOWER, ours, goal=3, beside=beside)]


def measure_small_inventory(place: Place) -> list[Figure]:
    """Return the seconds of `crypto-data inventory` where some series have all their rows."""
    symbols = [f"COIN{number:02}USDT" for number in range(min(KEPT, place.size.symbols))]
    end = KEPT_START + timedelta(place.size.kept_days)
    feed = {**BITCOIN, "start": KEPT_START, "end": end}
    source = place.folder / "source"
    fetch(write_config(source, place.url, feed), source / "lake", KEPT_START, end)
    config = write_config(place.folder, place.url, {**feed, "symbols": symbols})
    traded = Series.parse("binance/spot/BTCUSDT/1m")
    for period in periods_of(traded.interval, days_in(KEPT_START, end)):
        part = part_path(source / "lake", traded, period)
        for symbol in symbols:
            copy_part(
                part, part_path(place.folder / "lake", replace(traded, symbol=symbol), period)
            )
    ours, imports, rows = [], [], 0
    for turn in range(-1, place.size.repeats):  # the first turn reads all footers
        ran = run(_inventory(config), environ=environment(config.parent))
        rows = sum(row["rows"] for row in json.loads(ran.output))
        seconds = run(LIBRARIES).seconds
        if turn >= 0:
            ours.append(ran.seconds)
            imports.append(seconds)
    if rows != len(symbols) * place.size.kept_days * MINUTES_A_DAY:
        raise RuntimeError(f"the inventory counts {rows} rows")
    what = (
        f"`crypto-data inventory` of {len(symbols)} series of 1m with {rows:,} rows, the whole "
        "process, the index kept"
    )
    beside = [Beside("importing the libraries", imports)]
    return [Figure("inventory-25", what, "s", Better.LOWER, ours, goal=0.35, beside=beside)]


def made_lake(place: Place) -> Path:
    """Return the configuration of the large lake, which is made once for all figures."""
    folder = place.shared / "made"
    size = place.size
    if not folder.exists():
        series = make_lake(folder / "lake", size.lake_symbols, size.lake_days)
        feed = {
            "exchange": "binance",
            "market": "spot",
            "symbols": sorted({one.symbol for one in series}),
            "intervals": [str(interval) for interval in INTERVALS],
            "start": LAST_DAY - timedelta(days=size.lake_days),
            "end": LAST_DAY,
        }
        write_config(folder, place.url, feed)
    return folder / "crypto_data.yaml"


def _inventory(config: Path) -> tuple[str, ...]:
    return (*COMMAND, "inventory", "--config", str(config), "--format", "json")


def told(place: Place) -> str:
    """Return what the large lake holds, in words."""
    series = place.size.lake_symbols * len(INTERVALS)
    return f"a made lake of {series:,} series x {place.size.lake_days:,} days"


def _plan(catalog: Catalog) -> None:
    runs = take_census(catalog.lake, NOW_MS, current_wishes(catalog)).runs
    if not plan_errands(due_gaps(runs, catalog, NOW_MS), catalog, until=LAST_DAY):
        raise RuntimeError("the made lake has no gaps")


def _stat_all(lake: Path) -> None:
    for folder, _, names in os.walk(lake / "klines"):
        for name in names:
            Path(folder, name).stat()
