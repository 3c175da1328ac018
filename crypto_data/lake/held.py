"""How each series of a shard stands as a whole: the table of a census that has a row a series.

Sums over judged days. What a day is, is judged by `lake.tiles`.
"""

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from crypto_data.intervals import DAY_MS
from crypto_data.lake.census_tables import SERIES, Holdings, days_array, times_array
from crypto_data.lake.gaps import Gaps
from crypto_data.lake.grid import Numbers, next_grid
from crypto_data.lake.tiles import GAP_CODES, STATES, Extents, Judged
from crypto_data.schema import TIME

_SHOWN_STATES = ("complete", "partial", "missing", "explained", "unlisted", "provisional")

# What the view `inventory` tells of a series.
INVENTORY = pa.schema(
    [
        *SERIES,
        ("first_open", TIME),
        ("last_open", TIME),
        ("rows", pa.int64()),
        ("expected_rows", pa.int64()),
        ("missing_rows", pa.int64()),
        ("completeness", pa.float64()),
        ("gaps", pa.int64()),
        *((f"days_{state}", pa.int64()) for state in _SHOWN_STATES),
        ("files", pa.int64()),
        ("bytes", pa.int64()),
        ("last_ingested", TIME),
    ]
)
# A row is a series. `settled_until` is the day after the newest that is no gap (after a bar of
# several days: the day of the next bar), null when there is none; `due_until` the day after the
# last that is judged.
HELD = pa.schema([*INVENTORY, ("settled_until", pa.date32()), ("due_until", pa.date32())])


def held_table(shard: Holdings, judged: Judged, gaps: Gaps, extents: Extents) -> pa.Table:
    """Return `HELD`: the series of a shard."""
    columns = (
        shard.names(np.arange(len(shard.symbols)))
        | {
            "first_open": _open_times(shard, "first_open_ms", np.minimum),
            "last_open": _open_times(shard, "last_open_ms", np.maximum),
        }
        | _klines_of(shard, judged)
        | {"gaps": np.bincount(gaps.series[gaps.is_open], minlength=len(shard.symbols))}
        | _days_by_state(shard, judged)
        | {
            "files": pa.array(map(len, shard.sizes), pa.int64()),
            "bytes": pa.array(map(sum, shard.sizes), pa.int64()),
            "last_ingested": _last_ingested(shard),
            "settled_until": _settled_until(shard, judged, extents),
            "due_until": days_array(extents.end),
        }
    )
    return pa.table(columns, schema=HELD)


def _klines_of(shard: Holdings, judged: Judged) -> dict[str, Any]:
    """Return how many klines each series has, should have and lacks; explained ones too."""
    days, row = judged.tiles.days, judged.tiles.row
    rows = np.append(pc.add(shard.rows["rows"], shard.rows["off_grid"]).to_numpy(), 0)[row]
    expected = _sums(shard, judged, judged.expected * days)
    missing = _sums(shard, judged, (judged.expected - judged.present).clip(min=0) * days)
    share = (expected - missing) / np.maximum(expected, 1)
    return {
        "rows": _sums(shard, judged, rows * days),
        "expected_rows": expected,
        "missing_rows": missing,
        "completeness": np.where(expected == 0, 1.0, share),
    }


def _days_by_state(shard: Holdings, judged: Judged) -> dict[str, Any]:
    return {
        f"days_{state}": _sums(shard, judged, judged.tiles.days * (judged.state == code))
        for code, state in enumerate(STATES)
    }


def _sums(shard: Holdings, judged: Judged, counts: Numbers) -> Numbers:
    """Return the sum over each series of what the judged runs count."""
    sums = np.zeros(len(shard.symbols), dtype=np.int64)
    np.add.at(sums, judged.tiles.series, counts)
    return sums


def _last_ingested(shard: Holdings) -> pa.Array:
    newest = np.zeros(len(shard.symbols), dtype=np.int64)
    is_day = shard.rows["days"].to_numpy() > 0
    np.maximum.at(newest, shard.owners[is_day], shard.rows["ingested_ms"].to_numpy()[is_day])
    return times_array(newest)


def _open_times(shard: Holdings, column: str, keep: np.ufunc) -> pa.Array:
    """Return the first or last open time of each series, null where it has no klines."""
    worst = np.iinfo(np.int64).max if keep is np.minimum else -1
    found = np.full(len(shard.symbols), worst)
    keep.at(found, shard.owners, pc.fill_null(shard.rows[column], worst).to_numpy())
    return times_array(np.where(found == worst, 0, found))


def _settled_until(shard: Holdings, judged: Judged, extents: Extents) -> pa.Array:
    interval, tiles = shard.name.interval, judged.tiles
    settled = (judged.due > 0) & ~np.isin(judged.state, GAP_CODES)
    until = (tiles.first + tiles.days)[settled]
    if not interval.is_intraday:
        until = next_grid(interval, until * DAY_MS) // DAY_MS
    newest = np.full(len(shard.symbols), -1)
    np.maximum.at(newest, tiles.series[settled], until)
    return days_array(np.minimum(newest, extents.end), mask=newest < 0)
