"""Which days of made series are to be made, or made anew, told from a census.

The same as `making.days` says of single days, for all of them at once. What a run then makes is
decided again, day by day, by `ingest`.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from crypto_data.catalog.configuration import Catalog
from crypto_data.coverage import DayState
from crypto_data.lake.census_tables import SERIES_NAMES
from crypto_data.lake.grid import Numbers
from crypto_data.mending import Stretch
from crypto_data.partitions import EPOCH
from crypto_data.series import Series

_GAPS = [str(state) for state in DayState if state.is_gap]
# A day and the series it is of in one number; days are counted from 1970-01-01.
_DAYS = 1 << 20


def unmade_days(runs: pa.Table, catalog: Catalog) -> list[Stretch]:
    """Return the days of made series whose finer days are settled and other than they were.

    Args:
        runs: A census's runs of days.
        catalog: The configuration.
    """
    pairs = _pairs(catalog)
    if not pairs:
        return []
    finer = {series: place for place, series in enumerate(dict.fromkeys(pairs.values()))}
    made = {series: place for place, series in enumerate(pairs)}
    settled = runs.filter(pc.invert(pc.is_in(runs["state"].cast(pa.string()), pa.array(_GAPS))))
    origin_key, origin_mark = _by_day(settled, finer, _marks(settled))
    made_key, made_mark = _by_day(runs, made, pc.fill_null(runs["checksum"], ""))
    codes = pa.concat_arrays([origin_mark, made_mark]).dictionary_encode().indices.to_numpy()
    origin_code, made_code = np.split(codes, [len(origin_mark)])
    owner, day = np.divmod(made_key, _DAYS)
    wanted = np.array([finer[series] for series in pairs.values()], dtype=np.int64)[owner]
    place = np.searchsorted(origin_key, wanted * _DAYS + day)
    # One more, so that there is one behind the last, and where nothing is known.
    origin_key, origin_code = np.append(origin_key, -1), np.append(origin_code, -1)
    due = (origin_key[place] == wanted * _DAYS + day) & (origin_code[place] != made_code)
    return list(_stretches(made_key[due], list(pairs)))


def _pairs(catalog: Catalog) -> dict[Series, Series]:
    """Return every made series with what it is made of."""
    return {
        series: finer
        for series, feed in catalog.all_series().items()
        if (finer := feed.finer(series)) is not None
    }


def _marks(runs: pa.Table) -> pa.ChunkedArray:
    """Return `making.days.mark_of` of each run."""
    ingested_ms = pc.divide(pc.fill_null(runs["ingested_at"].cast(pa.int64()), 0), 1000)
    rows, expected, ingested = (
        numbers.cast(pa.string()) for numbers in (runs["present"], runs["expected"], ingested_ms)
    )
    share = pc.binary_join_element_wise(rows, expected, "/")
    return pc.binary_join_element_wise(runs["state"].cast(pa.string()), share, ingested, " ")


def _by_day(
    runs: pa.Table, places: Mapping[Series, int], marks: pa.ChunkedArray
) -> tuple[Numbers, pa.Array]:
    """Return a key for each day of some series, ascending, and the mark of its run."""
    names = pc.binary_join_element_wise(
        *(runs[name].cast(pa.string()) for name in SERIES_NAMES), "/"
    )
    found = pc.index_in(names, pa.array([str(series) for series in places]))
    held = np.flatnonzero(found.is_valid().to_numpy())
    owner = found.take(pa.array(held)).to_numpy().astype(np.int64)
    first = runs["first_day"].cast(pa.int32()).to_numpy().astype(np.int64)[held]
    days = runs["days"].to_numpy()[held]
    run = np.repeat(np.arange(len(held)), days)
    offset = np.arange(len(run)) - np.repeat(np.cumsum(days) - days, days)
    keys = owner[run] * _DAYS + first[run] + offset
    order = np.argsort(keys, kind="stable")
    texts = pa.concat_arrays([pa.array([], pa.string()), *marks.cast(pa.string()).chunks])
    return keys[order], texts.take(pa.array(held[run[order]]))


def _stretches(keys: Numbers, made: Sequence[Series]) -> Iterator[Stretch]:
    breaks = np.flatnonzero(np.diff(keys) != 1)
    firsts = keys[np.concatenate([[0], breaks + 1])] if len(keys) else keys
    lasts = keys[np.concatenate([breaks, [-1]])] if len(keys) else keys
    for first, last in zip(firsts, lasts, strict=True):
        owner, day = divmod(int(first), _DAYS)
        start = EPOCH + timedelta(days=day)
        yield Stretch(made[owner], start, start + timedelta(days=int(last - first) + 1))
