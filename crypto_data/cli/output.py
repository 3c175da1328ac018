"""Results on stdout, as a table a person reads, as JSON or as CSV.

Which columns a table shows is each command's choice; JSON and CSV always carry all of them.
"""

import csv
import json
import math
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from types import NoneType
from typing import Any

from crypto_data.cli.options import Format

Row = Mapping[str, Any]

_RIGHT = (int, float)

# Columns whose text may be wrapped; everything else is a name, a number or a day.
_PROSE = ("why", "what", "alert", "days_by_state", "states", "fetched_from", "failover", "reason")
_PROSE_WIDTH = 24


def print_rows(
    rows: Sequence[Row], form: Format, *, columns: Sequence[str], shown: Sequence[Row] | None = None
) -> None:
    """Print rows on stdout.

    Args:
        rows: What JSON and CSV carry.
        form: How to print.
        columns: The columns of `rows`, for a CSV without rows.
        shown: What the table shows instead, where all columns would be too wide.
    """
    match form:
        case Format.JSON:
            text = json.dumps([_plain(row) for row in rows], ensure_ascii=False, indent=1)
            sys.stdout.write(f"{text}\n")
        case Format.CSV:
            writer = csv.DictWriter(sys.stdout, columns, lineterminator="\n")
            writer.writeheader()
            writer.writerows(_plain(row) for row in rows)
        case Format.TABLE:
            print_table(rows if shown is None else shown)


def print_table(rows: Sequence[Row]) -> None:
    """Print rows as a table.

    Only prose is wrapped, at words. A table that needs more than the terminal's width, or goes
    into a file or pipe, is as wide as it needs to be: a name broken in two cannot be copied.
    """
    from rich import box
    from rich.cells import cell_len
    from rich.console import Console
    from rich.markup import escape
    from rich.measure import Measurement
    from rich.table import Table

    if not rows:
        complain(["no rows"])
        return
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for name in rows[0]:
        cells = [show(row[name]) for row in rows]
        prose = name in _PROSE
        table.add_column(
            name.replace("_", " "),
            justify="right" if any(isinstance(row[name], _RIGHT) for row in rows) else "left",
            no_wrap=not prose,
            min_width=_PROSE_WIDTH if prose else max(cell_len(cell) for cell in [name, *cells]),
        )
    for row in rows:
        table.add_row(*(escape(show(value)) for value in row.values()))
    console = Console()
    width = Measurement.get(Console(width=10_000), Console(width=10_000).options, table)
    console.width = max(console.width, width.minimum) if console.is_terminal else width.maximum
    console.print(table)


def show(value: object) -> str:
    """Return a value as a table shows it."""
    match value:
        case None:
            return "-"
        case bool():
            return "yes" if value else "no"
        case int():
            return f"{value:,}"
        case float():
            return f"{value:,.8g}"
        case datetime():
            return f"{value:%Y-%m-%d %H:%M:%S}"
        case _:
            return str(value)


def show_bytes(count: int) -> str:
    """Return a size as a person says it."""
    size = float(count)
    for unit in ("B", "KB", "MB", "GB"):
        if size < 1000:  # noqa: PLR2004
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"


def _plain(row: Row) -> dict[str, Any]:
    return {name: _text(value) for name, value in row.items()}


def _text(value: object) -> object:
    """Return a value as JSON and CSV can carry it; what JSON has no number for becomes null."""
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    if isinstance(value, Decimal):  # DuckDB's sum of integers
        return int(value) if value == value.to_integral_value() else float(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, list):
        return [_text(one) for one in value]
    if isinstance(value, dict):
        return {str(name): _text(one) for name, one in value.items()}
    # Days, times of day and lengths of time have their usual spelling.
    return value if isinstance(value, (int, str, NoneType)) else str(value)


def complain(lines: Iterable[str]) -> None:
    """Print lines on stderr."""
    for line in lines:
        sys.stderr.write(f"{line}\n")
