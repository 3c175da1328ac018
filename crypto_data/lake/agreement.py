"""Whether a file's rows are what its ledger and its place say of them.

Arithmetic on what was read. Reading files belongs to `lake.checkup`.
"""

from collections.abc import Iterator
from datetime import date
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from crypto_data.coverage import DayFacts
from crypto_data.intervals import DAY_MS
from crypto_data.lake.ledger import to_ledger
from crypto_data.lake.merge import rows_of_days
from crypto_data.lake.part import Footer, read_statistics
from crypto_data.partitions import day_of, period_days, span_of_days
from crypto_data.schema import epoch_ms
from crypto_data.series import Series
from crypto_data.validation import is_on_grid


def footer_faults(period: str, footer: Footer) -> Iterator[str]:
    """Yield what does not agree within a file's footer, without its rows."""
    first, end = period_days(period)
    at = first
    for run in footer.runs:
        if run.first < at or run.end > end or run.days < 1:
            yield f"its ledger names {run.first}, which is not next in {period}"
            return
        at = run.end
        counted = sum(count for _, count in run.facts.sources)
        if counted != run.facts.rows + run.facts.off_grid:
            yield f"{run.first}: {counted} rows by source, {run.facts.rows} by the grid"
    told = sum(run.days * (run.facts.rows + run.facts.off_grid) for run in footer.runs)
    if told != footer.rows:
        yield f"it holds {footer.rows} rows, its ledger says {told}"
    span = span_of_days(first, end)
    opens = (footer.first_open_ms, footer.last_open_ms)
    if any(open_ms is not None and open_ms not in span for open_ms in opens):
        yield f"it holds klines outside {period}"


def row_faults(series: Series, period: str, rows: pa.Table, footer: Footer) -> Iterator[str]:
    """Yield in which way the rows are not those that the ledger tells of."""
    open_ms = epoch_ms(rows["open_time"]).to_numpy()
    if len(open_ms) != footer.rows:
        yield f"it holds {len(open_ms)} rows, its footer says {footer.rows}"
    if (np.diff(open_ms) <= 0).any():
        yield "its open times do not ascend"
        return
    first, end = period_days(period)
    span = span_of_days(first, end)
    if len(open_ms) and not (open_ms[0] in span and open_ms[-1] in span):
        yield f"it holds klines outside {period}"
    ledger = to_ledger(footer.runs)
    held = {day_of(int(day) * DAY_MS) for day in np.unique(open_ms // DAY_MS)}
    for day in sorted(held - set(ledger)):
        yield f"{day}: klines of which the ledger does not know"
    yield from _day_faults(series, rows, open_ms, ledger)


def _day_faults(
    series: Series, rows: pa.Table, open_ms: Any, ledger: dict[date, DayFacts]
) -> Iterator[str]:
    on_grid = is_on_grid(open_ms, series.interval)
    marks = rows["source"].combine_chunks()
    names, places = marks.dictionary.to_pylist(), marks.indices.to_numpy()
    for day, place in rows_of_days(open_ms, sorted(ledger)).items():
        facts = ledger[day]
        present = int(on_grid[place].sum())
        beside = place.stop - place.start - present
        if (present, beside) != (facts.rows, facts.off_grid):
            yield f"{day}: {present} + {beside} rows, ledger: {facts.rows} + {facts.off_grid}"
            continue
        counts = np.bincount(places[place], minlength=len(names))
        held = {name: int(count) for name, count in zip(names, counts, strict=True) if count}
        if held != dict(facts.sources):
            yield f"{day}: rows of {held}, ledger: {dict(facts.sources)}"


def extent_faults(file: pq.ParquetFile, rows: pa.Table) -> Iterator[str]:
    """Yield the columns whose least and greatest value the footer states wrongly.

    Engines pass over a whole file by these, so that a wrong one hides klines.
    """
    metadata = file.metadata
    start = 0
    for number in range(metadata.num_row_groups):
        held = rows.slice(start, metadata.row_group(number).num_rows)
        start += held.num_rows
        for place, name in enumerate(rows.column_names):
            told = read_statistics(metadata, number, place)
            if told is None or not told.has_min_max or name == "source":
                continue
            least = pc.min_max(held[name])
            if (told.min, told.max) != (least["min"].as_py(), least["max"].as_py()):
                yield f"its footer states {name} from {told.min} to {told.max}, which is wrong"
