"""The chosen rows of the views that a census is enough for, without a database.

For commands and Python, which ask for a view as it is. Statements of SQL belong to
`lake.inventory`; what each column means is told by `lake.view_columns`.
"""

from collections.abc import Sequence
from datetime import UTC, date, datetime, time
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from crypto_data.lake.census import Census
from crypto_data.lake.census_tables import SERIES_NAMES, days_array
from crypto_data.lake.grid import Numbers, number_of
from crypto_data.lake.held import INVENTORY
from crypto_data.partitions import ONE_DAY
from crypto_data.schema import TIME
from crypto_data.selection import Selection

_COVERAGE = (
    *SERIES_NAMES, "day", "rows", "expected", "state", "source", "ingested_at", "attempts",
    "last_attempt", "reason", "set_aside", "checksum", "address",
)  # fmt: skip


def read_view(census: Census, view: str, selection: Selection) -> pa.Table:
    """Return the chosen rows of any view but `klines` and `health`, ordered by series and time.

    Of `gaps` those that reach into the days of the selection; `inventory` knows no days.
    """
    match view:
        case "inventory":
            return _ordered(_of_series(census.held.select(INVENTORY.names), selection))
        case "coverage":
            return _by_day(_ordered(_of_series(census.runs, selection)), selection)
        case "gaps":
            gaps = _of_series(census.gaps, selection)
            first, end = (_midnight(day) for day in (selection.start, selection.end))
            return _ordered(_between(gaps, ("gap_start", "gap_end"), first, end))
        case "corrections":
            days = _of_series(census.corrections, selection)
            last = selection.start and selection.start - ONE_DAY
            return _ordered(
                _between(days, ("day", "day"), last, selection.end), "day", "corrected_at"
            )
        case _:
            raise ValueError(f"no view of a census: {view}")


def _of_series(table: pa.Table, selection: Selection) -> pa.Table:
    for name, chosen in zip(
        SERIES_NAMES,
        (selection.exchanges, selection.markets, selection.symbols, selection.intervals),
        strict=True,
    ):
        if chosen:
            table = table.filter(pc.is_in(table[name], pa.array(chosen, pa.string())))
    return table


def _between(table: pa.Table, columns: tuple[str, str], first: Any, end: Any) -> pa.Table:
    """Return the rows that begin before `end` and end after `first`; None is no bound."""
    begins, ends = columns
    if first is not None:
        table = table.filter(pc.greater(table[ends], first))
    if end is not None:
        table = table.filter(pc.less(table[begins], end))
    return table


def _midnight(day: date | None) -> pa.Scalar | None:
    return day and pa.scalar(datetime.combine(day, time(), UTC), TIME)


def _ordered(table: pa.Table, *times: str) -> pa.Table:
    """Return the rows by exchange, market, symbol and interval, as texts, then by `times`.

    Without `times` those of a series stay in their order, which is by time in every table but one.
    """
    keys = [table[name].to_numpy() for name in reversed(times)]
    keys += [_ranks(table[name]) for name in reversed(SERIES_NAMES)]
    return table.take(pa.array(np.lexsort(keys)))


def _ranks(texts: pa.ChunkedArray) -> Numbers:
    """Return the place of each text among the different ones, sorted."""
    found = texts.combine_chunks().dictionary_encode()
    names: Sequence[str] = found.dictionary.to_pylist()
    places = {name: place for place, name in enumerate(sorted(names))}
    ranks: Numbers = np.array([places[name] for name in names], dtype=np.int64)
    ranked: Numbers = ranks[found.indices.to_numpy()]
    return ranked


def _by_day(runs: pa.Table, selection: Selection) -> pa.Table:
    """Return a row for each day of some runs of days, and of them those that are chosen."""
    first = runs["first_day"].cast(pa.int32()).to_numpy().astype(np.int64)
    end = first + runs["days"].to_numpy()
    if selection.start:
        first = np.maximum(first, number_of(selection.start))
    if selection.end:
        end = np.minimum(end, number_of(selection.end))
    days = (end - first).clip(min=0)
    run = np.repeat(np.arange(len(days)), days)
    day = first[run] + np.arange(len(run)) - (np.cumsum(days) - days)[run]
    table = runs.take(pa.array(run)).append_column("day", days_array(day))
    return table.select(_COVERAGE)
