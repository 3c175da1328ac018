"""The feed that serves a series which the lake's view of the configuration does not have.

Asks nobody. Which series there are belongs to `catalog.configuration`.
"""

from crypto_data.catalog.configuration import Catalog, Feed
from crypto_data.exchanges import EXCHANGES
from crypto_data.partitions import FIRST_DAY
from crypto_data.series import Series


def feed_of_pattern(catalog: Catalog, series: Series) -> Feed | None:
    """Return the feed one of whose patterns means a series; None where there is no such one.

    The lake may not know the newest symbols that a pattern means.
    """
    for feed in catalog.feeds:
        place = (feed.exchange, feed.market)
        is_there = feed.has_patterns and place == (series.exchange, series.market)
        if is_there and series in feed.resolve([series.symbol], ()).series:
            return feed
    return None


def feed_of_none(series: Series) -> Feed:
    """Return a feed that asks the exchange's default sources, for a series that no feed has."""
    feed = Feed(
        name="none",
        exchange=series.exchange,
        market=series.market,
        symbols=(series.symbol,),
        intervals=(series.interval,),
        start=FIRST_DAY,
        sources=EXCHANGES[series.exchange].default_sources,
    )
    return rename_feed(feed, f"{series.exchange} {series.market}", feed.sources)


def rename_feed(feed: Feed, name: str, sources: tuple[str, ...]) -> Feed:
    """Return a feed that asks other sources, by a name of its own.

    A chain is known by the name of its feed: with a space it is none that a person can write.
    """
    return feed.model_copy(update={"name": name, "sources": sources})
