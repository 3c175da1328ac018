"""A census as one page a series.

Cutting tables only; judging what stands on a page belongs to `orchestration.verdicts`.
"""

from dataclasses import dataclass
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


def pages_of(census: Census, wanted: set[Series]) -> dict[Series, Page]:
    """Return the census by series, in one pass over each table."""
    runs, held, corrections = (
        _Split(table) for table in (census.runs, census.held, census.corrections)
    )
    return {
        series: Page(series, runs.of(series), held.of(series), corrections.of(series))
        for series in wanted
    }


class _Split:
    """A table of the census that hands out one series' rows, in their order."""

    def __init__(self, table: pa.Table) -> None:
        self._table = table
        names = names_of(table).dictionary_encode()
        codes = names.indices.to_numpy()
        self._order = np.argsort(codes, kind="stable")
        bounds = np.searchsorted(codes[self._order], np.arange(len(names.dictionary) + 1))
        self._places = {
            name: slice(int(bounds[code]), int(bounds[code + 1]))
            for code, name in enumerate(names.dictionary.to_pylist())
        }

    def of(self, series: Series) -> pa.Table:
        """Return the rows of one series."""
        return self._table.take(self._order[self._places.get(str(series), slice(0, 0))])


def names_of(table: pa.Table) -> Any:
    """Return `<exchange>/<market>/<symbol>/<interval>` of every row, in one chunk."""
    columns = [
        table[name].cast(pa.string()) for name in ("exchange", "market", "symbol", "interval")
    ]
    return pa.concat_arrays(
        [pa.array([], pa.string()), *pc.binary_join_element_wise(*columns, "/").chunks]
    )
