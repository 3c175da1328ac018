"""What `exchanges` prints, and what `validate` says of feeds that cannot be whole."""

from collections.abc import Iterator
from typing import Any

from crypto_data.catalog.configuration import Catalog, Feed
from crypto_data.cli.options import Format, local_ms
from crypto_data.cli.output import print_rows
from crypto_data.errors import UsageError
from crypto_data.exchanges import EXCHANGES, Exchange
from crypto_data.intervals import DAY_MS, HOUR_MS
from crypto_data.naming import describe_unknown
from crypto_data.partitions import ONE_DAY, day_of

COLUMNS = (
    "exchange", "markets", "intervals", "sources", "page_rows", "reach_rows", "quiet_klines",
    "requests_a_minute",
)  # fmt: skip


def print_exchanges(name: str | None, form: Format) -> None:
    """Print a line an exchange.

    Raises:
        UsageError: there is none of that name.
    """
    if name is not None and name not in EXCHANGES:
        raise UsageError(describe_unknown(name, EXCHANGES, "no exchange"))
    chosen = [one for one in EXCHANGES.values() if name in (None, one.name)]
    rows = [_row(one) for one in chosen]
    print_rows(rows, form, columns=COLUMNS, shown=[_shown(one) for one in chosen])


def _row(one: Exchange) -> dict[str, Any]:
    return {
        "exchange": one.name,
        "markets": " ".join(one.markets),
        "intervals": " ".join(one.intervals),
        "sources": " ".join(one.own_sources),
        "page_rows": one.page_rows,
        "reach_rows": one.reach_rows,
        "quiet_klines": "left out" if one.skips_quiet else "present",
        "requests_a_minute": one.requests_a_minute,
    }


def _shown(one: Exchange) -> dict[str, Any]:
    return {
        "exchange": one.name,
        "markets": " ".join(one.markets),
        "sources": " ".join(one.own_sources),
        "goes_back": "to the listing" if one.reach_rows is None else f"{one.reach_rows:,} klines",
        "quiet_klines": "left out" if one.skips_quiet else "present",
        "page": one.page_rows,
        "a_minute": one.requests_a_minute,
        "intervals": " ".join(one.intervals),
    }


def warnings_of(catalog: Catalog) -> Iterator[str]:
    """Yield a line for each thing that keeps a feed from ever being whole."""
    for feed in catalog.feeds:
        own = EXCHANGES[feed.exchange]
        if own.name == "binance":
            continue
        if own.skips_quiet:
            yield (
                f"{feed.name}: {own.name} leaves out klines in which nothing was traded; such days "
                "are explained, not complete"
            )
        yield from _short_reach(feed, own)


def _short_reach(feed: Feed, own: Exchange) -> Iterator[str]:
    """Yield a line for each interval whose history the API does not hold any more."""
    if own.reach_rows is None:
        return
    now_ms = local_ms()
    for interval in feed.intervals:
        reach_ms = own.reach_rows * interval.length_ms
        whole = day_of(now_ms - reach_ms) + ONE_DAY
        if interval in feed.made_from or feed.start >= whole:
            continue
        tail = "no day can ever be whole" if reach_ms < DAY_MS else f"days before {whole} stay gaps"
        yield (
            f"{feed.name}: {own.name}'s API holds the newest {own.reach_rows:,} klines alone, "
            f"{_length(reach_ms)} of {interval}: {tail}"
        )


def _length(reach_ms: int) -> str:
    if reach_ms < 2 * DAY_MS:
        return f"{reach_ms // HOUR_MS} hours"
    return f"{reach_ms // DAY_MS} days"
