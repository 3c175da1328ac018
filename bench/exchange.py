"""The sandbox exchange in a process of its own, and configurations that point at it."""

import json
import os
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
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


@contextmanager
def sandbox() -> Iterator[str]:
    """Run a sandbox exchange and yield its address."""
    process = subprocess.Popen(  # noqa: S603 - our own command
        [*COMMAND, "sandbox", "--port", "0"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        for line in process.stderr or ():
            if "serves at " in line:
                yield line.split("serves at ")[1].split(";")[0].strip()
                return
        raise RuntimeError(f"the sandbox did not start: exit status {process.wait()}")
    finally:
        process.terminate()
        process.wait()


def hide_monthlies(url: str) -> None:
    """Let the archive have no monthly files, so that the dailies are asked for."""
    body = json.dumps([{"path": "*/monthly/*", "action": "absent"}]).encode()
    _control(urllib.request.Request(f"{url}/sandbox/faults", body, method="POST"))  # noqa: S310


def show_all(url: str) -> None:
    """Let the archive have all its files again."""
    _control(urllib.request.Request(f"{url}/sandbox/faults", method="DELETE"))  # noqa: S310


def _control(request: urllib.request.Request) -> None:
    with urllib.request.urlopen(request) as answer:  # noqa: S310 - our own sandbox
        answer.read()


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
