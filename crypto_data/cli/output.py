"""Results on stdout, as a table a person reads, as JSON or as CSV.

Which columns a table shows is each command's choice; JSON and CSV always carry all of them.
"""

import csv
import json
import math
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from types import NoneType
from typing import Any

from crypto_data.cli.options import Format
from crypto_data.cli.tables import Column, draw
from crypto_data.cli.zones import show_instant

Row = Mapping[str, Any]

_RIGHT = (int, float, Decimal)
# Numbers beyond these have more zeros than anybody counts.
_SMALL, _LARGE = 1e-12, 1e16

# Columns whose text may be wrapped; everything else is a name, a number or a day.
_PROSE = ("why", "what", "alert", "failover", "reason", "remedy")
_LISTS = ("days_by_state", "states", "fetched_from", "sources", "intervals")
_LINK = re.compile(r"https?://([^\s;,?]+[^\s;,?:.])(\?[^\s;,:]*)?")


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
    """Print rows as a table that fits its place; addresses are cut to host and file."""
    if not rows:
        complain(["no rows"])
        return
    draw(
        [
            Column(
                name,
                tuple(_cell(name, row[name]) for row in rows),
                is_prose=name in _PROSE,
                is_list=name in _LISTS,
                is_number=any(isinstance(row[name], _RIGHT) for row in rows),
            )
            for name in rows[0]
        ]
    )


def print_answer(rows: Sequence[Row], form: Format, *, columns: Sequence[str]) -> None:
    """Print rows that a person's own statement asked for: names as they are, numbers in full."""
    if form is not Format.TABLE or not rows:
        print_rows(rows, form, columns=columns)
        return
    draw(
        [
            Column(
                name,
                tuple(show_in_full(row[name]) for row in rows),
                is_number=any(isinstance(row[name], _RIGHT) for row in rows),
                is_own_name=True,
            )
            for name in rows[0]
        ]
    )


def show_in_full(value: object) -> str:
    """Return a value as a table shows it, a number with all its digits.

    Example:
        >>> show_in_full(469578810.25), show_in_full(0.00001), show_in_full(1e300)
        ('469,578,810.25', '0.00001', '1e+300')
    """
    if isinstance(value, float):
        is_plain = value == 0 or _SMALL <= abs(value) < _LARGE
        return f"{Decimal(repr(value)):,f}" if is_plain else repr(value)
    return f"{value:,f}" if isinstance(value, Decimal) else show(value)


def _cell(name: str, value: object) -> str:
    return shorten_links(show(value)) if name in _PROSE else show(value)


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
            return show_instant(value)
        case _:
            return str(value)


def shorten_links(text: str) -> str:
    """Return text with each long address as host and last piece: `host/…/X.zip`.

    Example:
        >>> shorten_links("https://data.binance.vision/data/spot/BTC-1h.zip: HTTP 404, not there")
        'data.binance.vision/…/BTC-1h.zip: HTTP 404, not there'
    """
    return _LINK.sub(_shorten, text)


def _shorten(link: re.Match[str]) -> str:
    host, *pieces = link[1].split("/")
    return f"{host}/…/{pieces[-1]}" if len(pieces) > 1 else link[1]


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
