"""Which of an exchange's markets, as ccxt lists them, a series means.

Arithmetic on lists of markets. Asking for the list belongs to `sources.ccxt_client`.
"""

from collections.abc import Mapping
from typing import Any

from crypto_data.naming import nearest
from crypto_data.series import Market, Series

_PERPETUAL = "_PERP"

Markets = Mapping[str, Mapping[str, Any]]


def symbols_of(markets: Markets, market: Market) -> dict[str, Mapping[str, Any]]:
    """Return the markets of one kind by ccxt's symbol: spot, linear or inverse contracts."""
    return {symbol: one for symbol, one in markets.items() if _is_of(one, market)}


def _is_of(one: Mapping[str, Any], market: Market) -> bool:
    match market:
        case Market.SPOT:
            return bool(one["spot"])
        case Market.UM:
            return bool(one["linear"]) and not one["option"]
        case Market.CM:
            return bool(one["inverse"]) and not one["option"]


def find_symbol(markets: Markets, series: Series, exchange: str) -> str:
    """Return ccxt's symbol for a series.

    ccxt's spelling means the same on every exchange; an exchange's own one is known to itself. A
    series of binance is found on another exchange by base and quote, of contracts the perpetual.

    Raises:
        LookupError: there is none, or several; the message says which is nearest.
    """
    held = symbols_of(markets, series.market)
    if series.exchange == exchange or "/" in series.symbol:
        return _own(held, series.symbol, exchange)
    found = [symbol for symbol, one in held.items() if _stands_for(one, series)]
    if len(found) == 1:
        return found[0]
    if not found:
        raise LookupError(f"{exchange} has no {series.market} market for {series.symbol}")
    raise LookupError(
        f"{exchange} has several markets for {series.symbol}: {', '.join(sorted(found))}"
    )


def _own(held: Markets, name: str, exchange: str) -> str:
    if name in held:
        return name
    for symbol, one in held.items():
        if one["id"] == name:
            return symbol
    near = nearest(name, held, 3)
    hint = f"; near it: {', '.join(near)}" if near else ""
    raise LookupError(f"{exchange} does not list {name}{hint}")


def _stands_for(one: Mapping[str, Any], series: Series) -> bool:
    """Return whether a market trades the same pair as a series that binance spells."""
    pair = f"{one['base']}{one['quote']}"
    match series.market:
        case Market.SPOT:
            return pair == series.symbol
        case Market.UM:
            return bool(one["swap"]) and one["settle"] == one["quote"] and pair == series.symbol
        case Market.CM:
            return bool(one["swap"]) and f"{pair}{_PERPETUAL}" == series.symbol
