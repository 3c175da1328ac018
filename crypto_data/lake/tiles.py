"""The days of one shard's series as runs that leave none out, and the state of each run.

Arrays only, for a hundred thousand runs at once; what a state means is defined by
`coverage.day_state`. The klines that the runs lack are told by `lake.gaps`.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from crypto_data.coverage import ARCHIVE, DayState
from crypto_data.exchanges import is_stand_in
from crypto_data.intervals import Interval
from crypto_data.lake.grid import Numbers, awaited_from, count_due

STATES = tuple(DayState)
_CODES = {state: code for code, state in enumerate(STATES)}
GAP_CODES = [_CODES[state] for state in STATES if state.is_gap]
SHORT_CODES = [*GAP_CODES, _CODES[DayState.EXPLAINED]]


@dataclass(frozen=True, slots=True)
class Tiles:
    """Runs of days, sorted by series and day; days are counted from 1970-01-01.

    `series` is the place of the series in a list of its shard's series, `row` that of the run in
    the shard, -1 where the days were never asked for.
    """

    series: Numbers
    row: Numbers
    first: Numbers
    days: Numbers

    def take(self, places: Any) -> "Tiles":
        """Return some of the runs, in the order of their places."""
        return Tiles(self.series[places], self.row[places], self.first[places], self.days[places])


@dataclass(frozen=True, slots=True)
class Extents:
    """Of each series of a shard: from which day to which it is judged, and its best source.

    From `wanted_first` to `wanted_end` also days that were never asked for; elsewhere known ones.
    """

    first: Numbers
    end: Numbers
    wanted_first: Numbers
    wanted_end: Numbers
    best: Any  # the name of its best source, "" where nothing is known; an array of objects


@dataclass(frozen=True, slots=True)
class Judged:
    """The runs of one shard, with what each of their days should have, has, and is.

    `state` holds places in `STATES`.
    """

    tiles: Tiles
    due: Numbers
    expected: Numbers
    present: Numbers
    state: Numbers


def known_tiles(shard: pa.Table, owners: Numbers) -> Tiles:
    """Return the runs that the ledger knows, sorted; `owners` is the series of each row."""
    days = shard["days"].to_numpy()
    first = shard["first_day"].to_numpy()
    rows = np.flatnonzero(days)
    tiles = Tiles(owners[rows], rows, first[rows], days[rows])
    return tiles.take(np.lexsort((tiles.first, tiles.series)))


def judge(
    shard: pa.Table, known: Tiles, extents: Extents, interval: Interval, now_ms: int
) -> Judged:
    """Return all days of the series, those never asked for included, with their states.

    Args:
        shard: The ledger, as `shard.SHARD`.
        known: Its runs.
        extents: Which days of each series are judged; every known day lies inside.
        interval: The bar length of all series.
        now_ms: The exchange's clock, UTC epoch milliseconds.
    """
    awaited = awaited_from(interval, now_ms)
    tiles = _split(_fill(known, extents), awaited)
    if not interval.is_intraday:
        tiles = _split_by_due(tiles, interval)
    due = count_due(interval, tiles.first)
    unlisted, present = _of_row(shard, "unlisted_rows", tiles), _of_row(shard, "rows", tiles)
    expected = due - unlisted
    best = extents.best[tiles.series]
    waits = (best == ARCHIVE) & (tiles.first >= awaited)
    asked = tiles.row >= 0
    conditions = [
        ~asked & (due > 0),
        ~asked,
        (due > 0) & (expected <= 0),
        (present >= expected)
        & ((waits & _is_foreign(shard, tiles)) | _stands_in(shard, tiles, best)),
        present >= expected,
        _of_row(shard, "explained", tiles) > 0,
        present > 0,
    ]
    codes = [
        _CODES[state]
        for state in (
            DayState.MISSING, DayState.COMPLETE, DayState.UNLISTED, DayState.PROVISIONAL,
            DayState.COMPLETE, DayState.EXPLAINED, DayState.PARTIAL,
        )
    ]  # fmt: skip
    state = np.select(conditions, codes, default=_CODES[DayState.MISSING])
    return Judged(tiles, due, expected, present, state)


def _of_row(shard: pa.Table, column: str, tiles: Tiles) -> Numbers:
    """Return a number of each run's ledger entry; 0 where there is none."""
    values = np.append(shard[column].to_numpy().astype(np.int64), 0)
    return values[tiles.row]  # -1 is the appended one


def _is_foreign(shard: pa.Table, tiles: Tiles) -> Any:
    """Return which runs hold klines of another source than the archive."""
    sources = shard["sources"].combine_chunks()
    names = np.array(
        [name not in ("", ARCHIVE) for name in sources.dictionary.to_pylist()], dtype=bool
    )
    foreign = names[sources.indices.to_numpy()] if len(names) else np.zeros(0, dtype=bool)
    return np.append(foreign, False)[tiles.row]


def _stands_in(shard: pa.Table, tiles: Tiles, best: Any) -> Any:
    """Return which runs hold klines that only stand in for those of the series' best source."""
    sources = shard["sources"].combine_chunks()
    codes = np.append(sources.indices.to_numpy(), len(sources.dictionary))[tiles.row]
    held = [name.split("+") for name in sources.dictionary.to_pylist()]
    found = np.zeros(len(tiles.row), dtype=bool)
    for one in set(best.tolist()):
        stands_in = [any(is_stand_in(name, one) for name in names) for names in held]
        found |= np.array([*stands_in, False], dtype=bool)[codes] & (best == one)
    return found


def _fill(known: Tiles, extents: Extents) -> Tiles:
    """Add the wanted days that were never asked for: before, between and after the known runs."""
    ends = known.first + known.days
    opens = np.ones(len(ends), dtype=bool)  # of its series
    opens[1:] = known.series[1:] != known.series[:-1]
    before = np.empty_like(ends)
    before[1:] = ends[:-1]
    wanted_first = extents.wanted_first[known.series]
    before = np.where(opens, wanted_first, np.maximum(before, wanted_first))
    until = np.minimum(known.first, extents.wanted_end[known.series])
    gap = until > before
    last = extents.wanted_first.copy()
    np.maximum.at(last, known.series, ends)
    tail = np.flatnonzero(extents.wanted_end > last)
    return _sorted(
        known,
        _never_asked(known.series[gap], before[gap], until[gap]),
        _never_asked(tail, last[tail], extents.wanted_end[tail]),
    )


def _never_asked(series: Numbers, first: Numbers, end: Numbers) -> Tiles:
    return Tiles(series, np.full(len(series), -1, dtype=np.int64), first, end - first)


def _sorted(*parts: Tiles) -> Tiles:
    series, row, first, days = (
        np.concatenate([getattr(part, name) for part in parts])
        for name in ("series", "row", "first", "days")
    )
    return Tiles(series, row, first, days).take(np.lexsort((first, series)))


def _split(tiles: Tiles, day: int) -> Tiles:
    """Split every run that a day lies inside of: from it on, the archive is awaited."""
    inside = (tiles.first < day) & (day < tiles.first + tiles.days)
    rest = tiles.take(inside)
    left = np.where(inside, day - tiles.first, tiles.days)
    right = Tiles(
        rest.series, rest.row, np.full_like(rest.first, day), rest.first + rest.days - day
    )
    return _sorted(Tiles(tiles.series, tiles.row, tiles.first, left), right)


def _split_by_due(tiles: Tiles, interval: Interval) -> Tiles:
    """Split runs so that either all their days have a bar or none has."""
    run = np.repeat(np.arange(len(tiles.days)), tiles.days)
    offsets = np.arange(len(run)) - np.repeat(np.cumsum(tiles.days) - tiles.days, tiles.days)
    day = tiles.first[run] + offsets
    due = count_due(interval, day)
    changes = np.ones(len(run), dtype=bool)
    changes[1:] = (run[1:] != run[:-1]) | (due[1:] != due[:-1]) | (due[1:] > 0)
    starts = np.flatnonzero(changes)
    kept = run[starts]
    days = np.diff(starts, append=len(run))
    return Tiles(tiles.series[kept], tiles.row[kept], day[starts], days)
