"""What `add` and `remove` advise: the command to run next, and what looks wrong.

Words only; nothing is changed here.
"""

import shlex
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from crypto_data.catalog.configuration import Catalog, Feed
from crypto_data.catalog.patterns import is_pattern
from crypto_data.exchanges import EXCHANGES
from crypto_data.intervals import Interval
from crypto_data.lake.universe import known_universe
from crypto_data.naming import nearest


@dataclass(frozen=True, slots=True)
class Change:
    """What was done about one symbol in one feed; `added` are the intervals that it came in."""

    symbol: str
    feed: str
    change: str
    added: tuple[Interval, ...] = ()


def next_commands(catalog: Catalog, changes: Iterable[Change]) -> list[str]:
    """Return the commands that fetch what was added, and nothing else where that can be said.

    A command asks for all its symbols in all its intervals, so there is one for each of these.
    """
    places = {feed.name: (feed.exchange, str(feed.market)) for feed in catalog.feeds}
    groups: dict[tuple[tuple[str, str], tuple[Interval, ...]], list[str]] = {}
    for one in changes:
        if one.added:
            groups.setdefault((places[one.feed], one.added), []).append(one.symbol)
    if any(is_pattern(symbol) for symbols in groups.values() for symbol in symbols):
        return ["crypto-data backfill"]
    return [
        f"crypto-data backfill --exchange {exchange} --market {market} "
        f"--symbols {shlex.quote(','.join(dict.fromkeys(symbols)))} "
        f"--intervals {','.join(intervals)}"
        for ((exchange, market), intervals), symbols in groups.items()
    ]


def find_unlisted(catalog: Catalog, changes: Iterable[Change]) -> Iterator[str]:
    """Yield a sentence for each added symbol that the lake's copy of the exchange's list lacks.

    Nothing is said where the lake was never told which symbols there are.
    """
    places = {feed.name: (feed.exchange, feed.market) for feed in catalog.feeds}
    for one in changes:
        if not one.added or is_pattern(one.symbol):
            continue
        exchange, market = places[one.feed]
        known = known_universe(catalog.lake, exchange, market)
        if known.listings and one.symbol not in known.symbols:
            near = nearest(one.symbol, known.symbols)
            hint = f"; did you mean {near[0]}?" if near else ""
            told = datetime.fromtimestamp(known.told_ms / 1000, UTC).date()
            yield (
                f"warning: {one.symbol} is none of the {len(known.listings):,} symbols that "
                f"{exchange} {market} listed on {told}{hint}"
            )


def how_to_split(feed: Feed, going: Iterable[str], intervals: Sequence[Interval]) -> str:
    """Return how some symbols of a feed can be kept without some of its intervals."""
    kept = [one for one in feed.intervals if one not in intervals]
    names = shlex.join(going)
    end = f" --end {feed.end}" if feed.end else ""
    return (
        f"feed {feed.name} asks for all its symbols in {', '.join(feed.intervals)}; to "
        f"keep {names} in {', '.join(kept)} only, give it a feed of its own: "
        f"crypto-data remove {names} --feed {feed.name}, then crypto-data add {names} "
        f"--exchange {feed.exchange} --market {feed.market} --interval {','.join(kept)} "
        f"--start {feed.start}{end}{_by_hand(feed, kept)}"
    )


def _by_hand(feed: Feed, kept: Sequence[Interval]) -> str:
    """Return which words of a feed no option of `add` can say, and are written by hand."""
    usual = {
        "schedule": Feed.model_fields["schedule"].default,
        "sources": EXCHANGES[feed.exchange].default_sources,
        "max_retries": Feed.model_fields["max_retries"].default,
        "retry_delay": Feed.model_fields["retry_delay"].default,
    }
    words = [name for name, value in usual.items() if getattr(feed, name) != value]
    words += [f"'{one}: from {feed.made_from[one]}'" for one in kept if one in feed.made_from]
    return f"; then write {', '.join(words)} into that feed by hand, as here" if words else ""
