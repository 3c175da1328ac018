"""Results on stdout, as a table a person reads, as JSON or as CSV.

Which columns a table shows is each command's choice; JSON and CSV always carry all of them.
"""

import csv
import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime
from typing import Any

from crypto_data.cli.options import Format

Row = Mapping[str, Any]

_RIGHT = (int, float)


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
            json.dump([_plain(row) for row in rows], sys.stdout, ensure_ascii=False, indent=1)
            sys.stdout.write("\n")
        case Format.CSV:
            writer = csv.DictWriter(sys.stdout, columns, lineterminator="\n")
            writer.writeheader()
            writer.writerows(_plain(row) for row in rows)
        case Format.TABLE:
            print_table(rows if shown is None else shown, columns)


def print_table(rows: Sequence[Row], columns: Sequence[str] = ()) -> None:
    """Print rows as a table; off a terminal it is as wide as it needs to be."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    console = Console(soft_wrap=False)
    if not console.is_terminal:
        console = Console(width=10_000)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in rows[0] if rows else columns:
        numeric = any(isinstance(row[name], _RIGHT) for row in rows)
        table.add_column(
            name.replace("_", " "), justify="right" if numeric else "left", overflow="fold"
        )
    for row in rows:
        table.add_row(*(show(value) for value in row.values()))
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
            return str(value).replace("[", r"\[")


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
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    return value.isoformat() if isinstance(value, date) else value


def complain(lines: Iterable[str]) -> None:
    """Print lines on stderr."""
    for line in lines:
        sys.stderr.write(f"{line}\n")
