"""What looking at a large lake costs: its inventory as a whole process, and one look for gaps."""

import json
import os
import subprocess
import sys
import time
from datetime import date, timedelta
from pathlib import Path

from bench.exchange import COMMAND, environment
from bench.figure import Better, Figure, Size
from bench.made_lake import INTERVALS, LAST_DAY, make_lake
from crypto_data.catalog.configuration import Catalog, load_catalog
from crypto_data.lake.census import take_census
from crypto_data.lake.feeds import current_wishes
from crypto_data.mending import due_gaps, plan_errands
from crypto_data.partitions import day_start_ms
from crypto_data.sandbox.server import sandbox_config

# Half a day after the last day closed.
NOW_MS = day_start_ms(LAST_DAY) + 43_200_000
LIBRARIES = "import pyarrow.parquet, duckdb, typer, pydantic"


def measure_inventory(url: str, folder: Path, size: Size) -> Figure:
    """Return the seconds that `crypto-data inventory` takes, the index being kept already."""
    config = _made(url, folder.parent / "made", size)
    command = [*COMMAND, "inventory", "--config", str(config), "--format", "json"]
    environ = environment(config.parent)
    ours, imports = [], []
    for turn in range(-1, size.repeats):  # the first turn reads all footers
        seconds = _time(command, environ), _time([sys.executable, "-c", LIBRARIES], environ)
        if turn >= 0:
            ours.append(seconds[0])
            imports.append(seconds[1])
    return Figure(
        "inventory", f"crypto-data inventory, {_told(size)}", "s",
        ours, 2.0, Better.LOWER, "importing the libraries", imports,
    )  # fmt: skip


def measure_gap_tick(url: str, folder: Path, size: Size) -> Figure:
    """Return the seconds from asking what is due until the runs are planned."""
    catalog = load_catalog(_made(url, folder.parent / "made", size), {}, LAST_DAY)
    ours, files = [], []
    for turn in range(-1, size.repeats):
        started = time.perf_counter()
        _plan(catalog)
        looked = time.perf_counter()
        _stat_all(catalog.lake)
        if turn >= 0:
            ours.append(looked - started)
            files.append(time.perf_counter() - looked)
    return Figure(
        "gap-tick", f"one look for due gaps, {_told(size)}", "s",
        ours, 5.0, Better.LOWER, "asking the system about each file", files,
    )  # fmt: skip


def _told(size: Size) -> str:
    return f"{size.symbols * len(INTERVALS):,} series over {size.lake_days:,} days"


def _plan(catalog: Catalog) -> None:
    runs = take_census(catalog.lake, NOW_MS, current_wishes(catalog)).runs
    if not plan_errands(due_gaps(runs, catalog, NOW_MS), catalog, until=LAST_DAY):
        raise RuntimeError("the made lake has no gaps")


def _stat_all(lake: Path) -> None:
    for folder, _, names in os.walk(lake / "klines"):
        for name in names:
            Path(folder, name).stat()


def _made(url: str, folder: Path, size: Size) -> Path:
    """Return the configuration of a made lake, which is made once for all figures."""
    path = folder / "crypto_data.yaml"
    if not path.exists():
        folder.mkdir(parents=True)
        series = make_lake(folder / "lake", size.symbols, size.lake_days)
        feed = {
            "exchange": "binance",
            "market": "spot",
            "symbols": sorted({one.symbol for one in series}),
            "intervals": [str(interval) for interval in INTERVALS],
            "start": _text(LAST_DAY - timedelta(days=size.lake_days)),
            "end": _text(LAST_DAY),
        }
        path.write_text(sandbox_config(url, "./lake", f"  - {json.dumps(feed)}"))
    return path


def _text(day: date) -> str:
    return day.isoformat()


def _time(command: list[str], environ: dict[str, str]) -> float:
    started = time.perf_counter()
    subprocess.run(command, env=environ, stdout=subprocess.DEVNULL, check=True)  # noqa: S603 - ours
    return time.perf_counter() - started
