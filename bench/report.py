"""The figures as one table for people, in a terminal and in Markdown, and as JSON for programs."""

import json
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from statistics import median

from rich.console import Console
from rich.table import Table

from bench.figure import Beside, Figure

PACKAGES = ("pyarrow", "numpy", "httpx", "duckdb", "dagster")
HEADINGS = ("figure", "median", "least … most", "ratio", "goal", "")
WIDTH = 120
ROOT = Path(__file__).resolve().parent.parent

Row = tuple[str, str, str, str, str, str]


def print_figures(figures: Sequence[Figure], machine: str) -> None:
    """Print a line a figure and one for each thing beside it, and a line about the machine."""
    console = Console(width=max(WIDTH, Console().width) if sys.stdout.isatty() else WIDTH)
    table = Table()
    for number, heading in enumerate(HEADINGS):
        table.add_column(heading, justify="right" if number in (1, 3) else "left", overflow="fold")
    for figure in figures:
        table.add_section()
        for row in _rows(figure):
            table.add_row(*row)
    console.print(table, highlight=False)
    for figure in figures:
        console.print(
            f"{figure.name}: {figure.what}", soft_wrap=True, highlight=False, markup=False
        )
    console.print(machine, soft_wrap=True, highlight=False)


def write_markdown(figures: Sequence[Figure], machine: str, path: Path) -> None:
    """Write the table, what each figure is, and the machine."""
    lines = [f"| {' | '.join(HEADINGS)} |", "| --- | ---: | --- | ---: | --- | --- |"]
    lines += [f"| {' | '.join(row)} |" for figure in figures for row in _rows(figure)]
    lines += [
        "",
        *(f"- **{figure.name}**: {figure.what}." for figure in figures),
        "",
        f"{machine}.",
    ]
    path.write_text("\n".join(lines) + "\n")


def write_json(figures: Sequence[Figure], machine: str, path: Path) -> None:
    """Write the single measurements and what follows from them."""
    content = {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine,
        "figures": [figure.as_json() for figure in figures],
    }
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n")


def describe_machine() -> str:
    """Return commit, cores, load, system, Python and versions as one line."""
    versions = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    cores = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count()
    busy = f"load {os.getloadavg()[0]:.1f} at the start"
    system = f"{platform.system()} {platform.machine()}"
    return (
        f"Commit {_commit()}, {cores} cores ({busy}), {system}, "
        f"Python {platform.python_version()}, {versions}"
    )


def _commit() -> str:
    git = shutil.which("git")
    if git is None:
        return "unknown"
    command = (git, "-C", str(ROOT), "describe", "--always", "--dirty=, changed")
    told = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    return told.stdout.strip() or "unknown"


def _rows(figure: Figure) -> Iterator[Row]:
    sign = str(figure.better)
    goal = f"{sign} {_show(figure.goal)}" if figure.goal is not None else ""
    yield (
        figure.name, *_measured(figure, figure.unit), "", goal, _verdict(figure.is_met),
    )  # fmt: skip
    for beside in figure.beside:
        ratio = figure.ratio(beside)
        wanted = f"{sign} {_show(beside.goal)} x" if beside.goal is not None else ""
        yield (
            f"↳ {beside.name}", *_measured(beside, figure.unit),
            f"{_show(ratio)} x" if ratio is not None else "", wanted,
            _verdict(figure.is_met_beside(beside)),
        )  # fmt: skip


def _measured(one: Figure | Beside, unit: str) -> tuple[str, str]:
    """Return the median, and its spread or why there is none."""
    if not one.values:
        return "not measured", one.why_not
    spread = "" if len(one.values) == 1 else f"{_show(min(one.values))} … {_show(max(one.values))}"
    return f"{_show(median(one.values))} {unit}", spread


def _verdict(is_met: bool | None) -> str:
    return "" if is_met is None else "ok" if is_met else "missed"


def _show(value: float) -> str:
    if abs(value) >= 1000:  # noqa: PLR2004 - rows; the rest has decimals
        return f"{value:,.0f}"
    return f"{value:.3g}"
