"""Rows of several sources into one file's rows: the best source of each kline wins.

Arithmetic on tables only; locking and writing belong to `lake.store`.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from crypto_data.harvest import Offer
from crypto_data.intervals import DAY_MS
from crypto_data.partitions import day_start_ms
from crypto_data.schema import empty_klines, epoch_ms, mark_source

# Rows at hand whose source the feed no longer names stand behind all it names.
_UNKNOWN_RANK = 1 << 10
_DOUBTFUL_RANK = 1 << 11


def merge(
    stored: pa.Table, offers: Iterable[Offer], ranking: Sequence[str], doubtful: Iterable[date]
) -> pa.Table:
    """Return the stored rows and the offered ones, each open_time once, sorted.

    Args:
        stored: Rows at hand, `schema.KLINES`, sorted.
        offers: Rows that came, `schema.FETCHED`.
        ranking: Sources, best first; a row of a worse source never replaces one of a better. Of
            two rows of one source the newer stands.
        doubtful: Days whose stored rows give way to any that is offered.
    """
    tables = [stored]
    ranks = [_stored_ranks(stored, ranking, doubtful)]
    # Of equal ranks the later offer wins, and any offer wins over what is stored.
    for offer in offers:
        tables.append(mark_source(offer.rows, offer.source))
        ranks.append(np.full(offer.rows.num_rows, offer.rank, dtype=np.int64))
    held = [(table, rank) for table, rank in zip(tables, ranks, strict=True) if table.num_rows]
    if not held:
        return empty_klines()
    if len(held) == 1:
        return held[0][0].combine_chunks()
    merged = pa.concat_tables([table.unify_dictionaries() for table, _ in held])
    return _best_rows(merged.unify_dictionaries(), np.concatenate([rank for _, rank in held]))


def _stored_ranks(stored: pa.Table, ranking: Sequence[str], doubtful: Iterable[date]) -> Any:
    names = stored["source"].combine_chunks().cast(pa.string())
    position = pc.index_in(names, pa.array(ranking, pa.string()))
    ranks = pc.fill_null(position, _UNKNOWN_RANK).to_numpy(zero_copy_only=False).astype(np.int64)
    open_ms = epoch_ms(stored["open_time"]).to_numpy()
    for day in doubtful:
        start_ms = day_start_ms(day)
        ranks[(open_ms >= start_ms) & (open_ms < start_ms + DAY_MS)] = _DOUBTFUL_RANK
    return ranks


def _best_rows(rows: pa.Table, ranks: Any) -> pa.Table:
    open_ms = epoch_ms(rows["open_time"]).to_numpy()
    newest_first = -np.arange(len(open_ms))
    order = np.lexsort((newest_first, ranks, open_ms))
    first = np.ones(len(order), dtype=bool)
    first[1:] = np.diff(open_ms[order]) != 0
    return rows.take(order[first]).combine_chunks()


def rows_of_days(open_ms: Any, days: Sequence[date]) -> Mapping[date, slice]:
    """Return where each day's rows lie in an ascending array of open times, epoch ms."""
    starts = np.array([day_start_ms(day) for day in days], dtype=np.int64)
    lows = np.searchsorted(open_ms, starts)
    highs = np.searchsorted(open_ms, starts + DAY_MS)
    return {
        day: slice(int(low), int(high)) for day, low, high in zip(days, lows, highs, strict=True)
    }
