"""What `add` and `remove` are told: symbols, and which feeds are meant."""

from dataclasses import dataclass
from datetime import date

from crypto_data.catalog.configuration import Feed
from crypto_data.catalog.values import check_feed_symbol
from crypto_data.errors import UsageError
from crypto_data.exchanges import EXCHANGES
from crypto_data.intervals import Interval
from crypto_data.naming import describe_unknown
from crypto_data.series import Market


@dataclass(frozen=True, slots=True)
class Wish:
    """Symbols to add or to remove, and which feeds are meant; None where it was not said."""

    symbols: tuple[str, ...]
    exchange: str | None = None
    market: str | None = None
    intervals: tuple[Interval, ...] = ()
    start: date | None = None
    feed: str | None = None
    end: date | None = None

    def fits(self, feed: Feed) -> bool:
        """Return whether a feed is one of those that are meant, its intervals aside."""
        return (
            self.feed in {None, feed.name}
            and self.exchange in {None, feed.exchange}
            and self.market in {None, str(feed.market)}
            and self.start in {None, feed.start}
            and self.end in {None, feed.end}
        )


def check_wish(wish: Wish) -> None:
    """Refuse names that no exchange can have, before the file is looked at.

    Raises:
        UsageError: no such exchange or market, or no symbol; says what there is, nearest first.
    """
    exchange = wish.exchange
    if exchange is not None and exchange not in EXCHANGES:
        raise UsageError(f"--exchange: {describe_unknown(exchange, EXCHANGES)}")
    markets = EXCHANGES[exchange].markets if exchange else tuple(Market)
    if wish.market is not None and wish.market not in markets:
        raise UsageError(f"--market: {describe_unknown(wish.market, markets)}")
    for symbol in wish.symbols:
        try:
            check_feed_symbol(symbol)
        except ValueError as error:
            raise UsageError(f"{symbol!r} is no symbol; write {error}") from None
