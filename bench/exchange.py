"""Configurations that point at a sandbox exchange, and the folders of a measured lake."""

import os
import sys
from pathlib import Path

from crypto_data.sandbox.server import sandbox_config

COMMAND = [sys.executable, "-m", "crypto_data.cli.main"]
FEEDS = """\
  - exchange: binance
    market: spot
    symbols: [BTCUSDT]
    intervals: [1m]
    start: 2024-01-01
    end: {end}
"""


# So that the dailies are asked for.
NO_MONTHLIES = ({"path": "*/monthly/*", "action": "absent"},)


def write_config(folder: Path, url: str, end: str) -> Path:
    """Write a configuration for an empty lake in `folder`, which is made; return its path."""
    folder.mkdir(parents=True)
    path = folder / "crypto_data.yaml"
    path.write_text(sandbox_config(url, "./lake", FEEDS.format(end=end)))
    return path


def environment(folder: Path) -> dict[str, str]:
    """Return an environment whose state and Dagster home lie in `folder`."""
    return os.environ | {
        "XDG_STATE_HOME": str(folder / "state"),
        "DAGSTER_HOME": str(folder / "dagster"),
    }


def bytes_kept(lake: Path) -> int:
    """Return the size of a lake's kline files."""
    return sum(path.stat().st_size for path in lake.glob("klines/**/*.parquet"))
