"""The names of a call, checked: exchange, market, symbols, interval, source, columns.

A name that is unknown is an error that says what there is, nearest first. Ranges and feeds belong
to `api.asking`.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from crypto_data.api.session import Session
from crypto_data.errors import UsageError
from crypto_data.exchanges import CCXT, EXCHANGES, OWN_SOURCES, Exchange
from crypto_data.intervals import Interval
from crypto_data.lake.layout import find_series
from crypto_data.lake.universe import known_universe
from crypto_data.naming import describe_unknown
from crypto_data.schema import KLINES
from crypto_data.series import Market, Series, check_symbol

AUTO, LAKE = "auto", "lake"


@dataclass(frozen=True, slots=True)
class Place:
    """The names that all series of one call share."""

    exchange: str
    market: str
    interval: str
    source: str


def wanted_series(session: Session, symbols: Iterable[str], place: Place) -> list[Series]:
    """Return the series that are asked for, sorted, each once.

    Raises:
        UsageError: there is no such exchange, market, symbol, interval or source.
    """
    exchange = EXCHANGES[_check("exchange", place.exchange, list(EXCHANGES))]
    market = Market(_check(f"market of {exchange.name}", place.market, list(exchange.markets)))
    _check(f"source of {exchange.name}", place.source, _sources(exchange))
    interval = _interval(session, place.interval, exchange, market)
    names = sorted({_symbol(name) for name in symbols})
    if not names:
        raise UsageError('symbols: none was given; write "BTCUSDT" or ["BTCUSDT", "ETHUSDT"]')
    return [Series(exchange.name, market, name, interval) for name in names]


def check_columns(columns: Sequence[str] | None) -> list[str]:
    """Return the columns that are asked for, in their order; all when none are named.

    Raises:
        UsageError: there is no such column.
    """
    if columns is None:
        return list(KLINES.names)
    names = [columns] if isinstance(columns, str) else list(columns)
    return [_check("column of a kline", name, KLINES.names) for name in dict.fromkeys(names)]


def unknown_to_lake(session: Session, series: Series) -> UsageError:
    """Return the error for a series that neither lake nor configuration has; no source is asked."""
    intervals = sorted(
        (one.interval for one in _known_series(session, series) if one.symbol == series.symbol),
        key=list(Interval).index,
    )
    if not intervals:
        return unknown_symbol(session, series)
    return UsageError(
        f"{series}: neither the lake nor the configuration has {series.interval} of it; "
        f'there is {", ".join(intervals)}. source="auto" fetches what is lacking'
    )


def unknown_symbol(session: Session, series: Series) -> UsageError:
    """Return the error for a symbol that neither lake nor configuration nor any source has."""
    place = (series.exchange, series.market)
    known = {one.symbol for one in _known_series(session, series)}
    known |= set(known_universe(session.catalog.lake, *place).symbols)
    known.discard(series.symbol)  # configured, and yet nobody has it
    what = f"no symbol of {'/'.join(place)}"
    return UsageError(describe_unknown(series.symbol, sorted(known), what))


def _known_series(session: Session, series: Series) -> set[Series]:
    """Return what lake and configuration have of the exchange's market that a series is of."""
    held = {one for _, one in find_series(session.catalog.lake)}
    place = (series.exchange, series.market)
    return {one for one in {*session.feeds, *held} if (one.exchange, one.market) == place}


def _symbol(name: str) -> str:
    if not isinstance(name, str):
        raise UsageError(f'symbols: {name!r} is no text; write "BTCUSDT"')
    return check_symbol(name)


def _sources(exchange: Exchange) -> list[str]:
    own = OWN_SOURCES if exchange.name == "binance" else ()
    return [AUTO, LAKE, *own, *(f"{CCXT}{name}" for name in EXCHANGES)]


def _interval(session: Session, text: str, exchange: Exchange, market: Market) -> Interval:
    made = {
        interval
        for feed in session.catalog.feeds
        if (feed.exchange, feed.market) == (exchange.name, market)
        for interval in feed.made_from
    }
    offered = [one for one in Interval if one in made or one in exchange.intervals_of(market)]
    name = "1mo" if text == "1M" else text
    return Interval(_check(f"interval of {exchange.name}/{market}", name, list(map(str, offered))))


def _check(what: str, name: str, known: Sequence[str]) -> str:
    """Return a name that is one of those known.

    Raises:
        UsageError: it is not.
    """
    if name not in known:
        raise UsageError(describe_unknown(str(name), known, f"no {what}"))
    return str(name)
