"""The tables of a census: their columns, and how they are made of one shard's judged days.

What the days are is judged by `lake.tiles`, the table of the series made by `lake.held`; putting a
census together belongs to `lake.census`.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from crypto_data.lake.corrections import decode_corrections
from crypto_data.lake.feeds import Wanted, Wishes
from crypto_data.lake.gaps import Gaps
from crypto_data.lake.grid import Numbers
from crypto_data.lake.index import Index
from crypto_data.lake.shard import SHARD, ShardName
from crypto_data.lake.tiles import STATES, Judged
from crypto_data.schema import TIME

SERIES_NAMES = ("exchange", "market", "symbol", "interval")
SERIES = [(name, pa.string()) for name in SERIES_NAMES]

# A row is a run of neighbouring days of one series in one state, with equal facts. `source`,
# `reason`, `checksum`, `etag` and `address` are null where the days were never asked for;
# `rows`, `expected` and `present` are those of each single day, `present` without the klines
# beside the grid.
RUNS = pa.schema(
    [
        *SERIES,
        ("first_day", pa.date32()),
        ("days", pa.int64()),
        ("rows", pa.int64()),
        ("expected", pa.int64()),
        ("present", pa.int64()),
        ("state", pa.string()),
        ("source", pa.string()),
        ("ingested_at", TIME),
        ("attempts", pa.int64()),
        ("last_attempt", TIME),
        ("reason", pa.string()),
        ("checksum", pa.string()),
        ("address", pa.string()),
        ("set_aside", pa.int64()),
        ("etag", pa.string()),
        ("doubtful", pa.bool_()),
        ("explained", pa.bool_()),
    ]
)
# A row is one unbroken stretch of absent klines; `state` is `open` or `explained`.
GAPS = pa.schema(
    [
        *SERIES,
        ("gap_start", TIME),
        ("gap_end", TIME),
        ("missing_rows", pa.int64()),
        ("state", pa.string()),
        ("attempts", pa.int64()),
        ("last_attempt", TIME),
        ("reason", pa.string()),
    ]
)
# A row is a day whose klines were replaced by different ones.
CORRECTIONS = pa.schema(
    [
        *SERIES,
        ("day", pa.date32()),
        ("corrected_at", TIME),
        ("columns", pa.list_(pa.string())),
        ("rows_changed", pa.int64()),
        ("rows_added", pa.int64()),
        ("old_source", pa.string()),
        ("new_source", pa.string()),
        ("old_checksum", pa.string()),
        ("new_checksum", pa.string()),
        ("superseded", pa.string()),
    ]
)

NEVER_ASKED = "never asked for"


@dataclass(frozen=True, slots=True)
class Holdings:
    """All that is known and wished of the series of one shard.

    `owners` says of each row of the ledger which of the symbols it is about.
    """

    name: ShardName
    symbols: Sequence[str]
    rows: pa.Table
    owners: Numbers
    wanted: Sequence[Wanted | None]
    sizes: Sequence[Sequence[int]]

    @classmethod
    def of(
        cls, name: ShardName, symbols: Sequence[str], index: Index, wishes: Wishes
    ) -> "Holdings":
        """Return what the index and the wishes say of some symbols, given sorted."""
        rows = index.shards.get(name, SHARD.empty_table()).unify_dictionaries().combine_chunks()
        held = rows["symbol"].combine_chunks()
        places = {symbol: place for place, symbol in enumerate(symbols)}
        codes = np.array([places[name] for name in held.dictionary.to_pylist()], dtype=np.int64)
        series = [name.series(symbol) for symbol in symbols]
        return cls(
            name,
            symbols,
            rows,
            codes[held.indices.to_numpy()] if len(codes) else codes,
            [wishes.series.get(one) for one in series],
            [index.sizes.get(one, ()) for one in series],
        )

    def names(self, owners: Numbers) -> dict[str, Any]:
        """Return the columns that name the series of some rows."""
        return {
            "exchange": pa.repeat(self.name.exchange, len(owners)),
            "market": pa.repeat(str(self.name.market), len(owners)),
            "symbol": pa.array(self.symbols, pa.string()).take(pa.array(owners)),
            "interval": pa.repeat(str(self.name.interval), len(owners)),
        }


def runs_table(shard: Holdings, judged: Judged) -> pa.Table:
    """Return `RUNS`: the days of a shard's series, none left out."""
    tiles, rows = judged.tiles, shard.rows
    known = pa.array(tiles.row, mask=tiles.row < 0)

    def fact(name: str) -> pa.ChunkedArray:
        return rows[name].take(known)

    def count(name: str) -> pa.ChunkedArray:
        return pc.fill_null(fact(name), 0)

    columns = shard.names(tiles.series) | {
        "first_day": days_array(tiles.first),
        "days": tiles.days,
        "rows": pc.add(count("rows"), count("off_grid")),
        "expected": judged.expected,
        "present": judged.present,
        "state": _texts(STATES, judged.state),
        "source": fact("sources").cast(pa.string()),
        "ingested_at": times_array(count("ingested_ms").to_numpy()),
        "attempts": count("attempts"),
        "last_attempt": times_array(count("asked_ms").to_numpy()),
        "reason": fact("reason").cast(pa.string()),
        "checksum": fact("checksum"),
        "address": fact("address"),
        "set_aside": count("set_aside"),
        "etag": fact("etag"),
        "doubtful": pc.fill_null(fact("doubtful"), False),
        "explained": pc.fill_null(fact("explained"), False),
    }
    return pa.table(columns, schema=RUNS)


def gaps_table(shard: Holdings, judged: Judged, gaps: Gaps) -> pa.Table:
    """Return `GAPS`: what the days of a shard's series lack."""
    row = judged.tiles.row[gaps.told]
    never_asked = (gaps.told >= 0) & (row < 0)
    reasons = shard.rows["reason"].cast(pa.string())
    words = reasons.take(pa.array(row, mask=(gaps.told < 0) | (row < 0)))
    columns = shard.names(gaps.series) | {
        "gap_start": times_array(gaps.start_ms),
        "gap_end": times_array(gaps.end_ms),
        "missing_rows": gaps.missing_rows,
        "state": _texts(("explained", "open"), gaps.is_open.astype(np.int64)),
        "attempts": gaps.attempts,
        "last_attempt": times_array(gaps.asked_ms),
        "reason": pc.if_else(pa.array(never_asked), NEVER_ASKED, pc.fill_null(words, "")),
    }
    return pa.table(columns, schema=GAPS)


def corrections_table(shard: Holdings) -> pa.Table:
    """Return `CORRECTIONS`: the replaced days of a shard, as its files tell them."""
    told = pc.not_equal(shard.rows["corrections"], "")
    rows = [
        {
            "exchange": shard.name.exchange,
            "market": str(shard.name.market),
            "symbol": symbol,
            "interval": str(shard.name.interval),
            "day": one.day,
            "corrected_at": one.at_ms * 1000,
            "columns": list(one.columns),
            "rows_changed": one.rows_changed,
            "rows_added": one.rows_added,
            "old_source": one.old_source,
            "new_source": one.new_source,
            "old_checksum": one.old_checksum,
            "new_checksum": one.new_checksum,
            "superseded": one.superseded,
        }
        for symbol, text in _pairs(shard.rows.filter(told), "symbol", "corrections")
        for one in decode_corrections(text.encode())
    ]
    return pa.Table.from_pylist(rows, schema=CORRECTIONS)


def _pairs(table: pa.Table, *columns: str) -> Iterable[tuple[str, str]]:
    return zip(*(table[name].to_pylist() for name in columns), strict=True)


def _texts(texts: Sequence[str], codes: Numbers) -> pa.Array:
    return pa.array([str(text) for text in texts], pa.string()).take(pa.array(codes))


def days_array(days: Numbers, mask: Any = None) -> pa.Array:
    """Return days counted from 1970-01-01 as the views show them."""
    return pa.array(days.astype(np.int32), mask=mask).cast(pa.date32())


def times_array(times_ms: Numbers) -> pa.Array:
    """Return instants as the views show them; 0 stands for never, and becomes null."""
    return pa.array(times_ms * 1000, pa.int64(), mask=times_ms == 0).cast(TIME)
