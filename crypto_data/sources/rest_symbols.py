"""What the exchange says about its symbols: trading or not, since when, until when.

Read from exchangeInfo and kept for an hour. When klines begin and end belongs to `sources.rest`.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from crypto_data.series import Market
from crypto_data.sources.rest_page import RULES, parse_json
from crypto_data.sources.rest_trip import Call, Trip

KEEP_S = 3600.0
# A symbol that is not in the book may have been listed since; but not every miss asks again.
LOOK_AGAIN_S = 60.0
# Delivery date of a perpetual contract: the year 2100.
NEVER_MS = 4133404800000
# Of spot only BREAK is the end: HALT and the like are pauses. Futures have many ways to end.
_ENDED_SPOT = frozenset({"BREAK"})
_ALIVE_FUTURES = frozenset({"TRADING", "PENDING_TRADING", "PRE_TRADING", "HALT", "BREAK"})


@dataclass(frozen=True, slots=True)
class SymbolFacts:
    """One symbol as exchangeInfo has it; times are UTC epoch milliseconds, None where unknown.

    `base` and `quote` are empty where it does not tell.
    """

    symbol: str
    is_delisted: bool
    onboard_ms: int | None
    delivery_ms: int | None
    base: str = ""
    quote: str = ""


class SymbolBook:
    """exchangeInfo of each market, fetched when needed; safe to use from several threads."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._books: dict[Market, tuple[float, dict[str, SymbolFacts]]] = {}

    def find(self, market: Market, symbol: str, trip: Trip) -> SymbolFacts | None:
        """Return a symbol's facts, None when the exchange does not list it.

        Raises:
            SourceError: exchangeInfo could not be read.
        """
        facts = self.all(market, trip).get(symbol)
        if facts is None:
            facts = self.all(market, trip, keep_s=LOOK_AGAIN_S).get(symbol)
        return facts

    def all(self, market: Market, trip: Trip, *, keep_s: float = KEEP_S) -> dict[str, SymbolFacts]:
        """Return all symbols of a market by name.

        Raises:
            SourceError: exchangeInfo could not be read; `Broken` when it lists no symbol.
        """
        with self._lock:  # one request for all threads
            known = self._books.get(market)
            if known is None or self._monotonic() - known[0] > keep_s:
                rules = RULES[market]
                call = Call(f"{rules.root}/exchangeInfo", rules.info_weight, {})
                known = (
                    self._monotonic(),
                    trip.ask(call, lambda body: parse_symbols(body, market)),
                )
                self._books[market] = known
            return known[1]


def parse_symbols(body: bytes, market: Market) -> dict[str, SymbolFacts]:
    """Return the symbols of an exchangeInfo answer by name.

    Raises:
        ValueError: the body is none, or lists no symbol: every symbol would look unknown.

    Source: recorded exchangeInfo answers: COIN-M calls the status `contractStatus`.
    """
    answer = parse_json(body)
    listed = answer.get("symbols") if isinstance(answer, dict) else None
    if not isinstance(listed, list) or not listed:
        raise ValueError(f"exchangeInfo without symbols: {body[:200]!r}")
    try:
        facts = [_facts(item, market) for item in listed]
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"exchangeInfo with a damaged symbol: {error!r}") from error
    return {fact.symbol: fact for fact in facts}


def _facts(item: dict[str, Any], market: Market) -> SymbolFacts:
    status = item.get("status") or item.get("contractStatus")
    ended = status in _ENDED_SPOT if market is Market.SPOT else status not in _ALIVE_FUTURES
    delivery_ms = item.get("deliveryDate")
    return SymbolFacts(
        symbol=item["symbol"],
        is_delisted=ended,
        onboard_ms=item.get("onboardDate") or None,
        delivery_ms=delivery_ms if delivery_ms and delivery_ms < NEVER_MS else None,
        base=item.get("baseAsset") or "",
        quote=item.get("quoteAsset") or "",
    )
