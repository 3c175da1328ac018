"""When the symbols of a market were listed and delisted, by the archive's first and last files.

Asked once and kept in the lake: the first day never changes, nor the last one of a symbol that is
delisted. Which symbols there are belongs to `universe`.
"""

import threading
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import date, timedelta
from itertools import pairwise
from pathlib import Path

from crypto_data.catalog.configuration import Catalog
from crypto_data.errors import SourceError
from crypto_data.lake.universe import (
    Listing,
    Stretches,
    Universe,
    change_universe,
    known_universe,
)
from crypto_data.partitions import ONE_DAY, day_of
from crypto_data.series import Market
from crypto_data.sources.archive import BINANCE
from crypto_data.sources.connect import open_chains
from crypto_data.sources.directory import Directory
from crypto_data.sources.http import Retry

# A single day without a file is a hole of the archive; a name that rests does so for days.
SHORTEST_PAUSE = timedelta(days=2)
# Where nobody tells whether a symbol trades: without a file for so long it does not.
SILENCE = timedelta(days=14)

OnListing = Callable[[Listing], None]


@dataclass(frozen=True, slots=True)
class Wanted:
    """Whose days are asked for, and whether the pauses between two lives of a name are too.

    Pauses take the list of all files of a symbol, a request for each 500 days.
    """

    market: Market
    symbols: Collection[str]
    pauses: bool = False


def learn_days(
    catalog: Catalog, wanted: Wanted, state: Path, *, now_ms: int, on_listing: OnListing
) -> tuple[Universe, list[SourceError]]:
    """Ask the archive for days that are not known yet, side by side, and keep them in the lake.

    What was learnt is kept though the command is interrupted.

    Args:
        catalog: The configuration.
        wanted: The symbols of binance's market.
        state: Where bans and used weight are remembered.
        now_ms: This machine's clock, UTC epoch milliseconds.
        on_listing: Called with each symbol as it is done, in the caller's thread.

    Returns:
        The market as the lake knows it now, and why days of some symbols are not known.

    Raises:
        LakeNotWritable: no space or no permission.
    """
    known = known_universe(catalog.lake, BINANCE, wanted.market)
    unknown = [
        one for one in known.listings if one.symbol in wanted.symbols and _lacks(one, wanted)
    ]
    if not unknown:
        return known, []
    learnt: list[Listing] = []
    failures: list[SourceError] = []
    try:
        with open_chains(catalog, state) as chains:
            learner = _Learner(chains.directory(Retry()), wanted, day_of(now_ms))
            for answer in learner.learn(unknown, threads=catalog.sources.concurrency):
                if isinstance(answer, SourceError):
                    failures.append(answer)
                else:
                    learnt.append(answer)
                    on_listing(answer)
    finally:
        known = change_universe(
            catalog.lake, BINANCE, wanted.market, lambda held: _with(held, learnt)
        )
    return known, failures


def _lacks(listing: Listing, wanted: Wanted) -> bool:
    """Return whether something of a symbol is to be asked for."""
    if listing.first_day is None or (listing.last_day is None and not listing.is_trading):
        return True
    # Pauses of a name that trades may have become more.
    return wanted.pauses and (listing.pauses is None or listing.last_day is None)


def _with(known: Universe, learnt: Sequence[Listing]) -> Universe:
    """Return the universe with the days that were learnt; the rest may have changed meanwhile."""
    days = {listing.symbol: listing for listing in learnt}
    listings = tuple(
        replace(
            one,
            first_day=days[one.symbol].first_day,
            last_day=days[one.symbol].last_day,
            pauses=days[one.symbol].pauses,
        )
        if one.symbol in days
        else one
        for one in known.listings
    )
    return replace(known, listings=listings)


class _Learner:
    """Asks for the days of symbols, several at once."""

    def __init__(self, directory: Directory, wanted: Wanted, today: date) -> None:
        self._directory = directory
        self._wanted = wanted
        self._today = today
        self._over = threading.Event()

    def learn(
        self, listings: Sequence[Listing], *, threads: int
    ) -> Iterator[Listing | SourceError]:
        """Yield each symbol with its days as it is done, or why they are not known."""
        with ThreadPoolExecutor(threads, thread_name_prefix="listing") as pool, self._ending():
            for done in as_completed([pool.submit(self._one, listing) for listing in listings]):
                yield done.result()

    @contextmanager
    def _ending(self) -> Iterator[None]:
        """Let what has not begun fall when the caller goes away, as by Ctrl-C."""
        try:
            yield
        finally:
            self._over.set()

    def _one(self, listing: Listing) -> Listing | SourceError:
        if self._over.is_set():
            return listing
        try:
            return self._ask(listing)
        except SourceError as error:
            return error

    def _ask(self, listing: Listing) -> Listing:
        market, symbol = self._wanted.market, listing.symbol
        if self._wanted.pauses:
            days = self._directory.file_days(market, symbol)
            listing = replace(listing, pauses=find_pauses(days))
        first = listing.first_day or self._directory.first_day(market, symbol)
        last = listing.last_day
        if last is None and not listing.is_trading:
            last = self._directory.last_day(market, symbol)
        is_silent = last is not None and self._today - last > SILENCE
        ended = listing.is_trading is False or is_silent
        return replace(listing, first_day=first, last_day=last if ended else None)


def find_pauses(days: Sequence[date]) -> Stretches:
    """Return the half-open stretches between two files that are days apart.

    Args:
        days: Of which there is a file, ascending.

    Example:
        >>> find_pauses([date(2022, 5, 12), date(2022, 5, 14), date(2022, 5, 31)])
        ((datetime.date(2022, 5, 15), datetime.date(2022, 5, 31)),)
    """
    return tuple(
        (before + ONE_DAY, after)
        for before, after in pairwise(days)
        if after - before > SHORTEST_PAUSE
    )
