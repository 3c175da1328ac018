"""How every day of every series stands, told from the ledger alone, as tables.

Reads footers (by way of the index) and what the lake is asked to hold, never rows. Turning this
into views belongs to `lake.inventory`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from crypto_data.lake.census_tables import (
    CORRECTIONS,
    GAPS,
    RUNS,
    Holdings,
    corrections_table,
    gaps_table,
    runs_table,
)
from crypto_data.lake.feeds import Wishes, read_wishes
from crypto_data.lake.gaps import find_stretches
from crypto_data.lake.grid import number_of
from crypto_data.lake.held import HELD, held_table
from crypto_data.lake.index import FileFault, read_index
from crypto_data.lake.shard import ShardName
from crypto_data.lake.tiles import Extents, Tiles, judge, known_tiles
from crypto_data.partitions import closed_end


@dataclass(frozen=True, slots=True)
class Census:
    """How a lake stands: tables of `RUNS`, `GAPS`, `HELD` and `CORRECTIONS`, ordered by series.

    Days of a file in `faults` count as never asked for.
    """

    runs: pa.Table
    gaps: pa.Table
    held: pa.Table
    corrections: pa.Table
    faults: tuple[FileFault, ...] = ()


def take_census(root: Path, local_ms: int, wishes: Wishes | None = None) -> Census:
    """Return how every series of a lake stands, those it was asked to hold and lacks included.

    Args:
        root: The lake.
        local_ms: This machine's clock, UTC epoch milliseconds; the exchange's clock as last
            measured is taken from the wishes.
        wishes: What the lake is asked to hold; None for what stands in the lake.

    Raises:
        LakeDamaged: what the lake is asked to hold is there and cannot be read.
    """
    wishes = wishes or read_wishes(root)
    now_ms = local_ms + wishes.clock_ahead_ms
    index = read_index(root)
    symbols: dict[ShardName, set[str]] = {}
    for series in {*index.sizes, *wishes.series}:
        symbols.setdefault(ShardName.of(series), set()).add(series.symbol)
    tables = [
        _census_of(Holdings.of(name, sorted(symbols[name]), index, wishes), now_ms)
        for name in sorted(symbols)
    ]
    runs, gaps, held, corrections = (
        pa.concat_tables([schema.empty_table(), *(one[place] for one in tables)])
        for place, schema in enumerate((RUNS, GAPS, HELD, CORRECTIONS))
    )
    return Census(runs, gaps, held, corrections, index.faults)


def _census_of(shard: Holdings, now_ms: int) -> tuple[pa.Table, pa.Table, pa.Table, pa.Table]:
    known = known_tiles(shard.rows, shard.owners)
    extents = _extents(shard, known, now_ms)
    judged = judge(shard.rows, known, extents, shard.name.interval, now_ms)
    runs = runs_table(shard, judged)
    attempts = runs["attempts"].to_numpy()
    asked_ms = pc.fill_null(runs["last_attempt"].cast(pa.int64()), 0).to_numpy() // 1000
    gaps = find_stretches(judged, shard.rows, shard.name.interval, attempts, asked_ms)
    return (
        runs,
        gaps_table(shard, judged, gaps),
        held_table(shard, judged, gaps, extents),
        corrections_table(shard),
    )


def _extents(shard: Holdings, known: Tiles, now_ms: int) -> Extents:
    """Return the days judged: from the feed's start, or the first known, to the last closed.

    Outside what the feed asks for, only days that are known are judged.
    """
    closed = number_of(closed_end(shard.name.interval, now_ms))
    never = np.iinfo(np.int64).max
    first = np.full(len(shard.symbols), never)
    end = np.full(len(shard.symbols), -never)
    for place, wanted in enumerate(shard.wanted):
        if wanted:
            first[place] = number_of(wanted.start)
            end[place] = min(closed, number_of(wanted.end)) if wanted.end else closed
    wanted_first, wanted_end = first.copy(), np.where(first == never, first, end)
    np.minimum.at(first, known.series, known.first)
    np.maximum.at(end, known.series, known.first + known.days)
    first[first == never] = closed
    end = np.where(end == -never, first, end)
    return Extents(first, end, wanted_first, wanted_end, _best_sources(shard))


def _best_sources(shard: Holdings) -> Any:
    """Return the name of the best source of each series, as an array of objects.

    One that nobody asks for any more is judged by the source most of it came from.
    """
    most = _most_of(shard) if None in shard.wanted else {}
    return np.array(
        [
            wanted.best_source if wanted else most.get(place, "")
            for place, wanted in enumerate(shard.wanted)
        ],
        dtype=object,
    )


def _most_of(shard: Holdings) -> Mapping[int, str]:
    """Return the source of most klines of each series; of equals, the one that came first."""
    counted = pc.greater(pc.list_value_length(shard.rows["source_rows"]), 0)
    rows, owners = shard.rows.filter(counted), shard.owners[counted.to_numpy()]
    run = pc.list_parent_indices(rows["source_rows"]).to_numpy()
    a_day = pc.list_flatten(rows["source_rows"]).to_numpy()
    counts = pa.table(
        {
            "series": owners[run],
            "source": pc.list_flatten(pc.split_pattern(rows["sources"].cast(pa.string()), "+")),
            "rows": a_day * rows["days"].to_numpy()[run],
            "place": np.arange(len(run)),
        }
    )
    sums = (
        counts.group_by(["series", "source"])
        .aggregate([("rows", "sum"), ("place", "min")])
        .sort_by([("rows_sum", "ascending"), ("place_min", "descending")])
    )
    # The last of a series stays: the one with most.
    return dict(zip(sums["series"].to_pylist(), sums["source"].to_pylist(), strict=True))
