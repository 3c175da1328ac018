"""Which days lie after a symbol's end, by what the lake knows and the sources cannot tell.

An archive does not say that a symbol was delisted, nor does ccxt, which names only what trades.
Sparing requests about symbols that have ended belongs to `delisting`.
"""

from collections.abc import Iterable
from dataclasses import replace
from datetime import date
from typing import Any

import pyarrow as pa

from crypto_data.coverage import ARCHIVE, SourceAnswer
from crypto_data.errors import LakeDamaged
from crypto_data.exchanges import CCXT, is_foreign
from crypto_data.harvest import AskedDay, Harvest
from crypto_data.intervals import DAY_MS, TimeRange
from crypto_data.lake.layout import parts_in, series_folder
from crypto_data.lake.store import Lake
from crypto_data.lake.universe import known_universe
from crypto_data.partitions import archive_final_ms, day_of, day_range
from crypto_data.schema import epoch_ms
from crypto_data.series import Series

# A list of markets may lack a symbol by mistake, and its last days are asked for again meanwhile.
SILENCE_MS = 3 * DAY_MS
END_OF_TIME_MS = 1 << 52

REJECTED = "rejected"
# What a source of the exchange says of a day when it has no more of it, whenever it is asked.
_LAST_WORDS = frozenset({"served", "nothing", "unsupported", REJECTED})


def end_life(lake: Lake, series: Series, harvest: Harvest) -> Harvest:
    """Return the harvest with the time after a symbol's end taken out of its life.

    Only of days on which each source of the exchange itself has told all it has. The end is that of
    the last kline in the lake, or in the harvest:

    - where the lake's copy of the symbols says that it is delisted, and on which day;
    - where the exchange's list, asked through ccxt, lacks it, days after its last kline.

    A symbol that the lake has no kline of has no end: it may be a typing error.
    """
    told = [day for day, asked in harvest.days.items() if _has_told(series, day, asked, harvest)]
    try:
        end_ms = _find_end(lake, series, harvest, told)
    except LakeDamaged:  # of another file, whose own work tells of it
        return harvest
    if end_ms is None:
        return harvest
    after = TimeRange(end_ms, END_OF_TIME_MS)
    lives = harvest.lives or (TimeRange(0, END_OF_TIME_MS),)
    for day in told:
        if over := day_range(day).intersect(after):
            lives = tuple(part for life in lives for part in life.without(over))
    return harvest if lives == harvest.lives else replace(harvest, lives=lives)


def _find_end(lake: Lake, series: Series, harvest: Harvest, told: list[date]) -> int | None:
    """Return when a symbol's last kline ended, None where it may still trade."""
    last_day = _last_day(lake, series)
    is_refused = any(_is_refused(series, harvest.days[day]) for day in told)
    if not told or (last_day is None and not is_refused):
        return None
    last_ms = _last_open_ms(lake, series, harvest)
    if last_ms is None:
        return None
    end_ms = series.interval.next_open(series.interval.floor(last_ms))
    if last_day is not None:
        if day_of(last_ms) > last_day:
            return None  # it trades again
        return end_ms if day_of(last_ms) == last_day else day_range(last_day).end_ms
    return end_ms if harvest.asked_ms - end_ms >= SILENCE_MS else None


def _last_day(lake: Lake, series: Series) -> date | None:
    """Return the last day of a symbol that the lake knows to be delisted."""
    known = known_universe(lake.root, series.exchange, series.market)
    listing = next((one for one in known.listings if one.symbol == series.symbol), None)
    return listing.last_day if listing and listing.is_trading is False else None


def _own(series: Series, asked: AskedDay) -> list[SourceAnswer]:
    return [said for said in asked.answers if not is_foreign(said.source, series.exchange)]


def _has_told(series: Series, day: date, asked: AskedDay, harvest: Harvest) -> bool:
    """Return whether the exchange's own sources have told all of a day that they ever will."""
    own = _own(series, asked)
    final = harvest.asked_ms >= archive_final_ms(series.interval, day)
    return bool(own) and all(
        said.outcome in _LAST_WORDS
        or (said.outcome == "absent" and said.source == ARCHIVE and final)
        for said in own
    )


def _is_refused(series: Series, asked: AskedDay) -> bool:
    """Return whether the exchange's own list, asked through ccxt, does not have the symbol."""
    return any(
        said.outcome == REJECTED and said.source == f"{CCXT}{series.exchange}"
        for said in _own(series, asked)
    )


def _last_open_ms(lake: Lake, series: Series, harvest: Harvest) -> int | None:
    """Return the newest open time of the exchange itself, in the lake or the harvest."""
    offered = [
        _newest_ms(offer.rows)
        for offer in harvest.offers
        if not is_foreign(offer.source, series.exchange)
    ]
    return max([*offered, *_stored(lake, series)], default=None)


def _stored(lake: Lake, series: Series) -> Iterable[int]:
    """Yield the newest open time in the lake that is the exchange's own, if there is one."""
    parts = list(parts_in(series_folder(lake.root, series), series))
    for part in reversed(parts):
        ledger = lake.period_ledger(series, part.period)
        for day in sorted(ledger, reverse=True):
            if any(not is_foreign(source, series.exchange) for source, _ in ledger[day].sources):
                yield _newest_ms(_own_rows(lake.read(series, day_range(day)), series.exchange))
                return


def _own_rows(rows: pa.Table, exchange: str) -> pa.Table:
    own = [not is_foreign(source, exchange) for source in rows["source"].to_pylist()]
    return rows.filter(pa.array(own, pa.bool_()))


def _newest_ms(rows: Any) -> int:
    return int(epoch_ms(rows["open_time"]).to_numpy().max())
