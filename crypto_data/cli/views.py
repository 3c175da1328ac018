"""What the commands `inventory`, `coverage`, `gaps` and `sql` print of the lake."""

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any

from crypto_data.catalog.configuration import Catalog
from crypto_data.cli.options import Format, local_ms
from crypto_data.cli.output import Row, complain, print_answer, print_rows, show_bytes
from crypto_data.cli.zones import show_instant
from crypto_data.coverage import ARCHIVE
from crypto_data.lake.census import Census, take_census
from crypto_data.lake.feeds import current_wishes
from crypto_data.lake.view_rows import read_view
from crypto_data.selection import Selection
from crypto_data.series import Series

_MINUTES = "%Y-%m-%d %H:%M"
_SHORT = ("explained", "partial", "missing")
STATES = ("complete", "provisional", "explained", "unlisted", "partial", "missing")


def print_view(catalog: Catalog, view: str, selection: Selection, form: Format) -> None:
    """Print one of the views.

    Raises:
        UsageError: the selection names what is neither configured nor in the lake.
    """
    census = _census(catalog)
    table = read_view(census, view, selection)
    rows = table.to_pylist()
    if not rows:
        from crypto_data.planning import check_names

        held = {Series.parse(series_of(row)) for row in census.held.to_pylist()}
        check_names(held | set(catalog.all_series()), selection)
    shown = list(_SHOWN[view](rows)) if form is Format.TABLE else None
    print_rows(rows, form, columns=table.column_names, shown=shown)


def print_statement(catalog: Catalog, statement: str, form: Format) -> None:
    """Print the result of a user's SELECT."""
    from crypto_data.health import health_view
    from crypto_data.lake.inventory import run_statement

    census = _census(catalog)
    more = health_view(catalog, census, local_ms())
    table = run_statement(catalog.lake, census, statement, more)
    print_answer(table.to_pylist(), form, columns=table.column_names)


def _census(catalog: Catalog) -> Census:
    """Return how the lake stands, and name what of it cannot be read."""
    census = take_census(catalog.lake, local_ms(), current_wishes(catalog))
    complain(map(str, census.faults))
    return census


def series_of(row: Row) -> str:
    """Return the series a row is about."""
    return f"{row['exchange']}/{row['market']}/{row['symbol']}/{row['interval']}"


def _inventory(rows: Sequence[Row]) -> Iterator[dict[str, Any]]:
    for row in rows:
        yield {
            "series": series_of(row),
            "from": row["first_open"].date() if row["first_open"] else None,
            "to": row["last_open"].date() if row["last_open"] else None,
            "rows": row["rows"],
            "missing": row["missing_rows"],
            "complete": f"{row['completeness']:.2%}",
            "size": show_bytes(row["bytes"]),
            "days_by_state": _count_days(row),
        }


def _count_days(row: Row) -> str:
    counts = {state: row[f"days_{state}"] for state in STATES}
    return ", ".join(f"{count:,} {state}" for state, count in counts.items() if count)


def _coverage(rows: Sequence[Row]) -> Iterator[dict[str, Any]]:
    """Neighbouring days that are alike stand in one line.

    Days on which no kline opens (most days of 1w) are left out.
    """
    due = [row for row in rows if row["expected"] or row["rows"] or row["state"] != "complete"]
    for (series, *_), stretch in groupby(due, key=_likeness):
        yield _stretch(series, list(stretch))


def _likeness(row: Row) -> tuple[str, ...]:
    return (series_of(row), row["state"], row["source"] or "", _why(row))


def _why(row: Row) -> str:
    """Return why a day fell short or came from a worse source; others need no excuse."""
    replaced = row["source"] not in (None, "", ARCHIVE)
    return row["reason"] or "" if replaced or row["state"] in _SHORT else ""


def _stretch(series: str, days: Sequence[Row]) -> dict[str, Any]:
    return {
        "series": series,
        "from": days[0]["day"],
        "to": days[-1]["day"],
        "days": len(days),
        "state": days[0]["state"],
        "source": days[0]["source"] or None,
        "rows": sum(day["rows"] for day in days),
        "expected": sum(day["expected"] for day in days),
        "why": _why(days[0]),
    }


def _gaps(rows: Sequence[Row]) -> Iterator[dict[str, Any]]:
    for row in rows:
        yield {
            "series": series_of(row),
            "from": show_instant(row["gap_start"], _MINUTES),
            "until": show_instant(row["gap_end"], _MINUTES),
            "missing": row["missing_rows"],
            "state": row["state"],
            "attempts": row["attempts"],
            "why": row["reason"] or "",
        }


_SHOWN = {"inventory": _inventory, "coverage": _coverage, "gaps": _gaps}
