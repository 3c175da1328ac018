"""The views over the lake for Python: filters, tables, and one SELECT of a user.

What the views say belongs to `lake.views`.
"""

import logging
from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from crypto_data.api.session import local_ms
from crypto_data.api.times import Instant, to_ms
from crypto_data.catalog.configuration import Catalog
from crypto_data.errors import UsageError
from crypto_data.intervals import DAY_MS, Interval
from crypto_data.lake.census import Census, take_census
from crypto_data.lake.feeds import current_wishes
from crypto_data.lake.view_rows import read_view
from crypto_data.partitions import day_of
from crypto_data.planning import check_names
from crypto_data.selection import Selection
from crypto_data.series import Series

if TYPE_CHECKING:
    from crypto_data.lake.inventory import Relation

log = logging.getLogger("crypto_data.api")


def select(  # noqa: PLR0913, PLR0917 - a parameter a filter
    exchange: str | Iterable[str],
    market: str | Iterable[str],
    symbols: str | Iterable[str],
    intervals: str | Iterable[str],
    start: Instant | None = None,
    end: Instant | None = None,
) -> Selection:
    """Return what some filters choose.

    Raises:
        UsageError: an interval or a day cannot be read, or the days make no range.
    """
    spelled = tuple(map(_interval, _names(intervals)))
    days = _day("start", start), _day("end", end)
    return Selection(_names(exchange), _names(market), _names(symbols), spelled, *days)


def _names(names: str | Iterable[str]) -> tuple[str, ...]:
    return (names,) if isinstance(names, str) else tuple(names)


def _interval(text: str) -> str:
    try:
        return str(Interval.parse(text))
    except ValueError as error:
        raise UsageError(f"intervals: {error}") from None


def _day(name: str, value: Instant | None) -> date | None:
    if value is None:
        return None
    time_ms = to_ms(name, value)
    if time_ms % DAY_MS:
        raise UsageError(f"{name}: {value} is no whole UTC day, which the views are about")
    return day_of(time_ms)


def ask_view(catalog: Catalog, view: str, chosen: Selection) -> pa.Table:
    """Return the chosen rows of a view, ordered by series and time.

    Raises:
        UsageError: a name is neither configured nor in the lake.
    """
    census = _census(catalog)
    table = read_view(census, view, chosen)
    if not table.num_rows:
        columns = ("exchange", "market", "symbol", "interval")
        held = {Series.parse("/".join(map(row.get, columns))) for row in census.held.to_pylist()}
        check_names(held | set(catalog.all_series()), chosen)
    return table


def run_select(
    catalog: Catalog, statement: str, parameters: Sequence[Any] | Mapping[str, Any] | None
) -> "Relation":
    """Return one SELECT over the views as a relation.

    Raises:
        UsageError: it is not one SELECT, or DuckDB refuses it.
        LakeDamaged: it reads klines of a file that cannot be read.
    """
    from crypto_data.health import health_view
    from crypto_data.lake.inventory import relate

    census = _census(catalog)
    more = health_view(catalog, census, local_ms())
    return relate(catalog.lake, census, statement, more, parameters)


def _census(catalog: Catalog) -> Census:
    """Return how the lake stands, and name what of it cannot be read."""
    census = take_census(catalog.lake, local_ms(), current_wishes(catalog))
    for fault in census.faults:
        log.warning("%s", fault)
    return census
