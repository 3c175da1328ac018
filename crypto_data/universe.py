"""When the exchanges are asked for the symbols that patterns of a configuration may mean.

What the patterns mean by what is known belongs to `resolving`, the lake's copy of the exchanges'
lists to `lake.universe`, asking to `sources.directory`.
"""

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from crypto_data.catalog.configuration import Catalog
from crypto_data.errors import Attempt, DataSourceError, UsageError
from crypto_data.intervals import HOUR_MS, MINUTE_MS
from crypto_data.lake.universe import (
    Listing,
    Universe,
    change_universe,
    known_universe,
)
from crypto_data.resolving import Place, pattern_places
from crypto_data.series import Market, check_symbol
from crypto_data.sources.connect import Chains, open_chains
from crypto_data.sources.directory import MarketList, Told
from crypto_data.sources.http import Retry
from crypto_data.sources.outcome import outcome_of

log = logging.getLogger("crypto_data.universe")

# What an exchange told longer ago is asked for again before somebody fetches.
KEEP_MS = HOUR_MS
# So long after a list that could not be read.
ASK_AGAIN_MS = 5 * MINUTE_MS


def stale_places(catalog: Catalog, now_ms: int) -> list[Place]:
    """Return the markets of patterns that were never told, or over an hour ago, longest first.

    Args:
        catalog: The configuration.
        now_ms: This machine's clock, UTC epoch milliseconds.
    """
    told = {
        place: known_universe(catalog.lake, *place).told_ms for place in pattern_places(catalog)
    }
    # A copy that was told in the future is of a clock that was wrong.
    stale = [place for place, told_ms in told.items() if not 0 <= now_ms - told_ms < KEEP_MS]
    return sorted(stale, key=lambda place: told[place])


def refresh_universe(
    catalog: Catalog, places: Iterable[Place], state: Path, *, now_ms: int, retry: Retry
) -> list[str]:
    """Ask exchanges for the symbols of some markets, and keep what they say in the lake.

    What the lake knows stays: a list that fails or breaks off takes no symbol away.

    Args:
        catalog: The configuration.
        places: The exchanges and markets.
        state: Where bans and used weight are remembered.
        now_ms: This machine's clock, UTC epoch milliseconds.
        retry: How often a request is repeated.

    Returns:
        A sentence for each list that could not be read, where another one or the lake stood in.

    Raises:
        DataSourceError: no list of a market could be read, and the lake has none either.
        LakeNotWritable: no space or no permission.
    """
    warnings: list[str] = []
    with open_chains(catalog, state) as chains:
        for exchange, market in places:
            answer = _ask(chains, exchange, market, retry)
            warnings += _keep(catalog.lake, (exchange, market), answer, now_ms)
    return warnings


def _ask(chains: Chains, exchange: str, market: Market, retry: Retry) -> MarketList:
    answer = chains.lists(exchange, market, retry).market(market)
    log.info("%s/%s: %d symbols told", exchange, market, len(answer.symbols))
    return answer


def _keep(root: Path, place: Place, answer: MarketList, now_ms: int) -> list[str]:
    """Add what was told to what the lake knows; return what is to be said of it."""
    name = "/".join(place)
    good = {symbol: told for symbol, told in answer.symbols.items() if _is_symbol(symbol)}
    known = change_universe(root, *place, lambda known: add_told(known, good, answer, now_ms))
    if not known.listings:
        attempts = [
            Attempt(error.source, str(outcome_of(error)), error.detail) for error in answer.failures
        ]
        raise DataSourceError(name, "the list of its symbols", attempts)
    said = "went on with the lists at hand, asked again in five minutes"
    warnings = [f"{name}: {error.source}: {error.detail}; {said}" for error in answer.failures]
    if len(good) < len(answer.symbols):
        odd = ", ".join(sorted(answer.symbols.keys() - good.keys())[:5])
        count = len(answer.symbols) - len(good)
        warnings.append(f"{name}: {count} names are left out, no file can be called so: {odd}")
    return warnings


def add_told(
    known: Universe, symbols: Mapping[str, Told], answer: MarketList, now_ms: int
) -> Universe:
    """Return what is known of a market with what its lists have just said; no symbol goes.

    Args:
        known: What the lake has.
        symbols: The told symbols that can be used, by name.
        answer: What the lists said, and which of them failed.
        now_ms: This machine's clock, UTC epoch milliseconds.
    """
    listings = {listing.symbol: listing for listing in known.listings}
    for name, told in symbols.items():
        listings[name] = _name_pair(listings.get(name, Listing(name)), told)
    if not listings:
        return known
    if answer.tells_trading:
        trading = {name for name, told in symbols.items() if told.is_trading}
        listings = {name: _set_trading(one, name in trading) for name, one in listings.items()}
    told_ms = now_ms - KEEP_MS + ASK_AGAIN_MS if answer.failures else now_ms
    ordered = sorted(listings.values(), key=lambda listing: listing.symbol)
    return Universe(tuple(ordered), told_ms)


def _name_pair(listing: Listing, told: Told) -> Listing:
    return replace(listing, base=told.base or listing.base, quote=told.quote or listing.quote)


def _set_trading(listing: Listing, is_trading: bool) -> Listing:
    # The last day of a name that trades again was none.
    last_day = None if is_trading else listing.last_day
    return replace(listing, is_trading=is_trading, last_day=last_day)


def _is_symbol(name: str) -> bool:
    try:
        return check_symbol(name) == name
    except UsageError:
        return False


@dataclass(frozen=True, slots=True)
class Unmatched:
    """A feed whose patterns match no symbol that the exchange is known to have had."""

    feed: str
    patterns: tuple[str, ...]
    listed: int

    def __str__(self) -> str:
        """Return it as a sentence with the remedy."""
        written = ", ".join(self.patterns)
        if not self.listed:
            return f"{self.feed}: the exchange was not asked yet what {written} means"
        return (
            f"{self.feed}: {written} matches none of the {self.listed} symbols; to see them: "
            "crypto-data universe"
        )


def find_unmatched(catalog: Catalog) -> list[Unmatched]:
    """Return the feeds of a resolved configuration that mean no symbol at all."""
    return [
        Unmatched(
            feed.name,
            feed.symbols,
            len(known_universe(catalog.lake, feed.exchange, feed.market).listings),
        )
        for feed in catalog.feeds
        if not feed.series
    ]
