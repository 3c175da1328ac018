"""The unbroken stretches of absent klines of one shard's series, as arrays.

Which days are short of klines is judged by `lake.tiles`.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from crypto_data.intervals import DAY_MS, Interval
from crypto_data.lake.grid import Numbers, count_opens, next_grid
from crypto_data.lake.tiles import GAP_CODES, SHORT_CODES, Judged


@dataclass(frozen=True, slots=True)
class Gaps:
    """Stretches of absent klines, ascending in each series; all days of one are of one kind.

    `told` is the run of the shard's judged ones whose reason stands for the stretch, -1 for none.
    """

    series: Numbers
    start_ms: Numbers
    end_ms: Numbers
    missing_rows: Numbers
    is_open: Any
    attempts: Numbers
    asked_ms: Numbers
    told: Numbers


def find_stretches(
    judged: Judged, shard: pa.Table, interval: Interval, attempts: Numbers, asked_ms: Numbers
) -> Gaps:
    """Return what the days of a shard lack; neighbours of one kind are one gap across days.

    Args:
        judged: The days and their states.
        shard: The ledger they stand in.
        interval: The bar length.
        attempts: How often each judged run was asked for.
        asked_ms: When it was last.
    """
    run, start_ms, end_ms = _spans(judged, shard, interval)
    series = judged.tiles.series[run]
    order = np.lexsort((start_ms, series))
    run, start_ms, end_ms, series = run[order], start_ms[order], end_ms[order], series[order]
    is_open = np.isin(judged.state[run], GAP_CODES)
    begins = np.ones(len(run), dtype=bool)
    begins[1:] = (
        (series[1:] != series[:-1]) | (start_ms[1:] != end_ms[:-1]) | (is_open[1:] != is_open[:-1])
    )
    first = np.flatnonzero(begins)
    if not len(first):
        none = np.zeros(0, dtype=np.int64)
        return Gaps(none, none, none, none, none > 0, none, none, none)
    last = np.append(first[1:], len(run)) - 1
    return Gaps(
        series[first],
        start_ms[first],
        end_ms[last],
        np.add.reduceat(count_opens(interval, start_ms, end_ms), first),
        is_open[first],
        np.maximum.reduceat(attempts[run], first),
        np.maximum.reduceat(asked_ms[run], first),
        _first_told(judged, shard, run, first),
    )


def _spans(judged: Judged, shard: pa.Table, interval: Interval) -> tuple[Numbers, Numbers, Numbers]:
    """Return the absent ranges, and the run each lies in."""
    tiles = judged.tiles
    short = np.flatnonzero(np.isin(judged.state, SHORT_CODES))
    counts = np.append(_lengths(shard["absent_starts"]), 0)[tiles.row[short]]
    listed = short[counts > 0]
    whole = short[counts == 0]
    rows = pa.array(tiles.row[listed])
    starts_ms, ends_ms = (
        _flat(shard[name].take(rows)) for name in ("absent_starts", "absent_ends")
    )
    # Whole days: years that were never asked for are one stretch, not thousands.
    from_ms = tiles.first[whole] * DAY_MS
    until_ms = (tiles.first + tiles.days)[whole] * DAY_MS
    if not interval.is_intraday:
        until_ms = next_grid(interval, from_ms + 1)  # a run with a bar is one day
    return (
        np.concatenate([np.repeat(listed, counts[counts > 0]), whole]),
        np.concatenate([starts_ms, from_ms]),
        np.concatenate([ends_ms, until_ms]),
    )


def _lengths(lists: pa.ChunkedArray) -> Numbers:
    lengths: Numbers = pc.list_value_length(lists).to_numpy().astype(np.int64)
    return lengths


def _flat(lists: pa.ChunkedArray) -> Numbers:
    flat: Numbers = pc.list_flatten(lists).to_numpy()
    return flat


def _first_told(judged: Judged, shard: pa.Table, run: Numbers, first: Numbers) -> Numbers:
    """Return the first run of each gap that was never asked for, or whose answers say why."""
    reasons = shard["reason"].combine_chunks()
    words = np.array([bool(text) for text in reasons.dictionary.to_pylist()], dtype=bool)
    tells = words[reasons.indices.to_numpy()] if len(words) else np.zeros(0, dtype=bool)
    tells = np.append(tells, True)[judged.tiles.row[run]]  # never asked for: says so
    none = len(run)
    place = np.minimum.reduceat(np.where(tells, np.arange(none), none), first)
    return np.where(place < none, run[np.minimum(place, none - 1)], -1)
