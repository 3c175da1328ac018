"""Configurations that point at a sandbox exchange, and the folders of a measured lake."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from crypto_data.sandbox.server import sandbox_config

Feed = Mapping[str, Any]

BITCOIN: Feed = {
    "exchange": "binance",
    "market": "spot",
    "symbols": ["BTCUSDT"],
    "intervals": ["1m"],
    "start": "2024-01-01",
    "end": "2025-01-01",
}

# So that the dailies are asked for.
NO_MONTHLIES = ({"path": "*/monthly/*", "action": "absent"},)


def write_config(folder: Path, url: str, feed: Feed) -> Path:
    """Write a configuration of one feed for a lake in `folder`, which is made; return its path."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "crypto_data.yaml"
    text = json.dumps(feed, default=str)  # JSON is YAML
    path.write_text(sandbox_config(url, "./lake", f"  - {text}"))
    return path


def environment(folder: Path) -> dict[str, str]:
    """Return an environment whose state and Dagster home lie in `folder`."""
    return os.environ | {
        "XDG_STATE_HOME": str(folder / "state"),
        "DAGSTER_HOME": str(folder / "dagster"),
    }


def kline_files(lake: Path) -> list[Path]:
    """Return a lake's kline files."""
    return sorted(lake.glob("klines/**/*.parquet"))


def bytes_kept(lake: Path) -> int:
    """Return the size of a lake's kline files."""
    return sum(path.stat().st_size for path in kline_files(lake))
