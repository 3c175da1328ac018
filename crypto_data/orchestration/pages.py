"""A census as one page a series.

Cutting tables only; judging what stands on a page belongs to `orchestration.verdicts`.
"""

from collections.abc import Collection
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from crypto_data.lake.census import Census
from crypto_data.series import Series


@dataclass(frozen=True, slots=True)
class Page:
    """What a census says of one series."""

    series: Series
    runs: pa.Table
    held: pa.Table
    corrections: pa.Table


def pages_of(census: Census, wanted: Collection[Series]) -> dict[Series, Page]:
    """Return the census by series, in one pass over each table."""
    runs, held, corrections = (
        _split(table, wanted) for table in (census.runs, census.held, census.corrections)
    )
    return {
        series: Page(series, runs[series], held[series], corrections[series]) for series in wanted
    }


def _split(table: pa.Table, wanted: Collection[Series]) -> dict[Series, pa.Table]:
    """Return the rows of each wanted series, in their order: slices of one table."""
    names = pa.array(map(str, wanted), pa.string())
    places = pc.fill_null(pc.index_in(names_of(table), names), len(wanted)).to_numpy()
    order = np.argsort(places, kind="stable")
    bounds = np.searchsorted(places[order], np.arange(len(wanted) + 1)).tolist()
    rows = table.take(order[: bounds[-1]])
    return {
        series: rows.slice(first, end - first)
        for series, (first, end) in zip(wanted, pairwise(bounds), strict=True)
    }


def names_of(table: pa.Table) -> Any:
    """Return `<exchange>/<market>/<symbol>/<interval>` of every row, in one chunk."""
    columns = [
        table[name].cast(pa.string()) for name in ("exchange", "market", "symbol", "interval")
    ]
    return pa.concat_arrays(
        [pa.array([], pa.string()), *pc.binary_join_element_wise(*columns, "/").chunks]
    )
