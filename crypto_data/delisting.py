"""What spares asking, day after day, for symbols that have ended.

A series has ended when its exchange no longer names its symbol as trading, the archive's last file
is older, and everybody who was asked about a later day has agreed that there is nothing. Who trades
is told by `universe`, last days by `listings`.
"""

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

from crypto_data.catalog.configuration import Catalog, Feed
from crypto_data.coverage import DayFacts, DayState, day_state
from crypto_data.errors import LakeDamaged
from crypto_data.harvest import NOTHING_STOOD_IN, Aim, AskedDay, Chain, Harvest, StoodIn
from crypto_data.intervals import DAY_MS, TimeRange
from crypto_data.lake.store import Lake
from crypto_data.lake.universe import Universe, known_universe
from crypto_data.listings import Wanted, learn_days
from crypto_data.partitions import ONE_DAY, day_start_ms, days_touched, periods_of
from crypto_data.series import Market, Series
from crypto_data.sources.archive import BINANCE

log = logging.getLogger("crypto_data.universe")

# What an exchange told longer ago says nothing about who trades now.
TOLD_MS = DAY_MS


def find_ends(
    catalog: Catalog, wanted: Iterable[Series], first: date, state: Path, *, now_ms: int
) -> dict[Series, int]:
    """Return the wanted series that have ended, and from when on nothing needs to be asked of them.

    Last days that are not known yet are asked for, once.

    Args:
        catalog: The configuration.
        wanted: Configured series. Those of other exchanges than binance tell no last day.
        first: The first day that is wanted.
        state: Where bans and used weight are remembered.
        now_ms: This machine's clock, UTC epoch milliseconds.

    Returns:
        The start of the day before `first`, UTC epoch milliseconds, for series whose symbol had
        ended by then. A series of which an earlier day is open may be asked for that day.
    """
    ends: dict[Series, int] = {}
    by_market: dict[Market, list[Series]] = {}
    for series in wanted:
        if series.exchange == BINANCE:
            by_market.setdefault(series.market, []).append(series)
    before = first - ONE_DAY
    feeds = catalog.all_series()
    for market, held in by_market.items():
        known = known_universe(catalog.lake, BINANCE, market)
        if not 0 <= now_ms - known.told_ms < TOLD_MS:
            continue
        gone = {one.symbol for one in known.listings if one.is_trading is False}
        over = [
            series
            for series in held
            if series.symbol in gone and _is_over(catalog.lake, series, feeds[series], before)
        ]
        last_days = _last_days(catalog, Wanted(market, {one.symbol for one in over}), state, now_ms)
        for series in over:
            if last_days.get(series.symbol, before) < before:
                ends[series] = day_start_ms(before)
    return ends


def _is_over(lake: Path, series: Series, feed: Feed, day: date) -> bool:
    """Return whether all who were asked have said that the symbol did not trade on a day."""
    (period,) = periods_of(series.interval, [day])
    try:
        facts = Lake(lake).period_ledger(series, period).get(day)
    except LakeDamaged:
        return False
    state = day_state(
        facts, series.interval, day, best_source=feed.sources[0], now_ms=day_start_ms(day)
    )
    return facts is not None and state is DayState.UNLISTED


def _last_days(catalog: Catalog, wanted: Wanted, state: Path, now_ms: int) -> dict[str, date]:
    """Return the last days of delisted symbols, as far as the archive can tell."""
    known = Universe()
    if wanted.symbols:
        known, failures = learn_days(
            catalog, wanted, state, now_ms=now_ms, on_listing=lambda _listing: None
        )
        for failure in failures:
            log.info("%s; its days are asked for one by one", failure)
    return {one.symbol: one.last_day for one in known.listings if one.last_day}


@dataclass(slots=True)
class EndedChain:
    """A chain of which nothing is asked about days after `end_ms`, UTC epoch milliseconds."""

    chain: Chain
    end_ms: int
    _is_learning: bool = field(default=False, init=False)

    @property
    def ranking(self) -> tuple[str, ...]:
        """The names of its sources, best first."""
        return self.chain.ranking

    def now_ms(self) -> int:
        """Return the exchange's clock, UTC epoch milliseconds."""
        return self.chain.now_ms()

    def learn_lives(self, series: Series) -> None:
        """Learn when the symbol traded, once there is anything to ask for."""
        del series
        self._is_learning = True

    def fill(
        self,
        series: Series,
        gaps: Sequence[TimeRange],
        aim: Aim,
        stood_in: StoodIn = NOTHING_STOOD_IN,
    ) -> Harvest:
        """Return the klines of some ranges; that there are none after the end is known."""
        if not stood_in and all(gap.start_ms >= self.end_ms for gap in gaps):
            return Harvest(
                ranking=self.ranking,
                offers=(),
                days={day: AskedDay() for day in days_touched(gaps)},
                lives=(TimeRange(0, self.end_ms),),
                asked_ms=self.now_ms(),
            )
        if self._is_learning:
            self.chain.learn_lives(series)
        return self.chain.fill(series, gaps, aim, stood_in)

    def revise(self, series: Series, period: str, known: Mapping[date, DayFacts]) -> Harvest | None:
        """Return what has changed of some known days of one file; None for nothing."""
        return self.chain.revise(series, period, known)
