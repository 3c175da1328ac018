"""Rows of several sources into one file's rows: the best source of each kline wins.

Arithmetic on tables only; locking and writing belong to `lake.store`.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from crypto_data.exchanges import is_foreign
from crypto_data.harvest import DOUBTFUL_RANK, Offer, rank_in
from crypto_data.intervals import DAY_MS, TimeRange
from crypto_data.partitions import day_start_ms
from crypto_data.schema import empty_klines, epoch_ms, mark_source


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
    known = names.unique()
    known_ranks = np.array([rank_in(ranking, name) for name in known.to_pylist()], dtype=np.int64)
    ranks = known_ranks[pc.index_in(names, known).to_numpy()]
    open_ms = epoch_ms(stored["open_time"]).to_numpy()
    for day in doubtful:
        start_ms = day_start_ms(day)
        inside = (open_ms >= start_ms) & (open_ms < start_ms + DAY_MS)
        ranks[inside] = np.maximum(ranks[inside], DOUBTFUL_RANK)
    return ranks


def _best_rows(rows: pa.Table, ranks: Any) -> pa.Table:
    open_ms = epoch_ms(rows["open_time"]).to_numpy()
    newest_first = -np.arange(len(open_ms))
    order = np.lexsort((newest_first, ranks, open_ms))
    first = np.ones(len(order), dtype=bool)
    first[1:] = np.diff(open_ms[order]) != 0
    return rows.take(order[first]).combine_chunks()


def without_days(rows: pa.Table, days: Sequence[date]) -> pa.Table:
    """Return the rows, `schema.KLINES` and sorted, without those of some days."""
    open_ms = epoch_ms(rows["open_time"]).to_numpy()
    kept = np.ones(len(open_ms), dtype=bool)
    for place in rows_of_days(open_ms, sorted(days)).values():
        kept[place] = False
    return rows if kept.all() else rows.filter(pa.array(kept))


def without_strays(
    rows: pa.Table, exchange: str, days: Iterable[date], lives: Sequence[TimeRange] | None
) -> pa.Table:
    """Return the rows without those of other exchanges outside the symbol's life at its own.

    They came while nobody could say when that was.

    Args:
        rows: `schema.KLINES`, sorted.
        exchange: The series'.
        days: Where to look.
        lives: When the symbol traded; None when nobody knows, and all rows stay.
    """
    marks = rows["source"].combine_chunks()
    foreign = np.array([is_foreign(name, exchange) for name in marks.dictionary.to_pylist()], bool)
    if lives is None or not foreign.any():
        return rows
    open_ms = epoch_ms(rows["open_time"]).to_numpy()
    looked_at = np.zeros(len(open_ms), dtype=bool)
    for place in rows_of_days(open_ms, sorted(days)).values():
        looked_at[place] = True
    alive = np.zeros(len(open_ms), dtype=bool)
    for life in lives:
        alive |= (open_ms >= life.start_ms) & (open_ms < life.end_ms)
    strays = foreign[marks.indices.to_numpy()] & looked_at & ~alive
    return rows.filter(pa.array(~strays)) if strays.any() else rows


def rows_of_days(open_ms: Any, days: Sequence[date]) -> Mapping[date, slice]:
    """Return where each day's rows lie in an ascending array of open times, epoch ms."""
    starts = np.array([day_start_ms(day) for day in days], dtype=np.int64)
    lows = np.searchsorted(open_ms, starts)
    highs = np.searchsorted(open_ms, starts + DAY_MS)
    return {
        day: slice(int(low), int(high)) for day, low, high in zip(days, lows, highs, strict=True)
    }


def rows_inside(rows: pa.Table, span: TimeRange) -> pa.Table:
    """Return the rows, sorted by open_time, that open inside the range; nothing is copied."""
    open_ms = epoch_ms(rows["open_time"]).to_numpy()
    low, high = np.searchsorted(open_ms, (span.start_ms, span.end_ms))
    return rows.slice(low, high - low)
