"""What whole processes cost: the time to answer, and the memory at its peak."""

import os
import subprocess
import sys
import time
from pathlib import Path

from bench.exchange import COMMAND, environment, write_config
from bench.figure import Better, Figure, Size

EMPTY = [sys.executable, "-c", "pass"]
IMPORT = [sys.executable, "-c", "import crypto_data"]
EMPTY_NAME = "python -c pass"


def measure_help(_url: str, _folder: Path, size: Size) -> Figure:
    """Return the seconds until `crypto-data --help` has answered."""
    empty, ours = _time_in_turns([*COMMAND, "--help"], size.repeats)
    return Figure("help", "crypto-data --help", "s", ours, 0.3, Better.LOWER, EMPTY_NAME, empty)


def measure_import(_url: str, _folder: Path, size: Size) -> Figure:
    """Return the milliseconds that `import crypto_data` adds to an interpreter."""
    empty, ours = _time_in_turns(IMPORT, size.repeats * 2)
    added = [(one - other) * 1000 for one, other in zip(ours, empty, strict=True)]
    return Figure(
        "import", "import crypto_data, beyond an empty interpreter", "ms",
        added, 50, Better.LOWER, EMPTY_NAME, [seconds * 1000 for seconds in empty],
    )  # fmt: skip


def measure_memory(url: str, folder: Path, size: Size) -> Figure:
    """Return the peak memory of a backfill, in MB of 10^6 bytes; the yardstick fetches one day."""
    whole, day = [], []
    for turn in range(min(size.repeats, 3)):
        whole.append(_backfill_peak(folder / f"whole{turn}", url, size.backfill_end))
        day.append(_backfill_peak(folder / f"day{turn}", url, "2024-01-02"))
    return Figure(
        "memory", f"peak memory of a backfill of 1m, 2024-01-01 to {size.backfill_end}", "MB",
        whole, 350, Better.LOWER, "the same for one day", day,
    )  # fmt: skip


def _time_in_turns(command: list[str], repeats: int) -> tuple[list[float], list[float]]:
    """Return the seconds of an empty interpreter and of a command, after one turn of both."""
    empty, ours = [], []
    for _ in range(repeats + 1):
        empty.append(_time(EMPTY))
        ours.append(_time(command))
    return empty[1:], ours[1:]


def _time(command: list[str]) -> float:
    started = time.perf_counter()
    subprocess.run(command, stdout=subprocess.DEVNULL, check=True)  # noqa: S603 - our own
    return time.perf_counter() - started


def _backfill_peak(folder: Path, url: str, end: str) -> float:
    config = write_config(folder, url, end)
    process = subprocess.Popen(  # noqa: S603 - our own command
        [*COMMAND, "backfill", "--config", str(config), "--format", "json"],
        env=environment(folder),
        stdout=subprocess.DEVNULL,
    )
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"the backfill ended with status {process.returncode}")
    unit = 1 if sys.platform == "darwin" else 1024
    return usage.ru_maxrss * unit / 1e6
