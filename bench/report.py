"""The figures as one table for people, and as JSON for programs."""

import json
import os
import platform
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from statistics import median

from rich.console import Console
from rich.table import Table

from bench.figure import Figure

PACKAGES = ("pyarrow", "numpy", "httpx", "duckdb", "dagster")


def print_figures(figures: Sequence[Figure]) -> None:
    """Print a line a figure, and one about the machine."""
    table = Table()
    for heading in ("figure", "measured (median, min to max)", "goal", "yardstick", "ratio", ""):
        table.add_column(heading, overflow="fold")
    for figure in figures:
        table.add_row(
            f"{figure.name}: {figure.what}",
            f"{_show(figure.median)} {figure.unit} "
            f"({_show(min(figure.values))} to {_show(max(figure.values))})",
            f"{figure.better} {_show(figure.goal)}",
            f"{_show(median(figure.yardstick))} {figure.unit}: {figure.yardstick_name}",
            f"{figure.ratio:.2f}",
            "ok" if figure.is_met else "missed",
        )
    console = Console(width=None if sys.stdout.isatty() else 160)
    console.print(table)
    console.print(describe_machine(), soft_wrap=True, highlight=False)


def write_json(figures: Sequence[Figure], folder: Path) -> Path:
    """Write the figures into a file named after the time; return its path."""
    now = datetime.now(UTC)
    folder.mkdir(exist_ok=True)
    path = folder / f"{now:%Y-%m-%dT%H%M%SZ}.json"
    content = {
        "at": now.isoformat(timespec="seconds"),
        "machine": describe_machine(),
        "figures": [figure.as_json() for figure in figures],
    }
    path.write_text(json.dumps(content, indent=2) + "\n")
    return path


def describe_machine() -> str:
    """Return cores, Python and versions as one line."""
    versions = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    cores = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count()
    system = f"{platform.system()} {platform.machine()}"
    return f"{cores} cores, {system}, Python {platform.python_version()}, {versions}"


def _show(value: float) -> str:
    if value >= 1000:  # noqa: PLR2004 - rows; the rest has decimals
        return f"{value:,.0f}"
    return f"{value:.3g}"
