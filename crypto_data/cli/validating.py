"""What `validate` prints: what a configuration asks for."""

from crypto_data.catalog.configuration import Catalog, Feed
from crypto_data.cli.exchange_rows import warnings_of
from crypto_data.cli.options import Format, local_ms
from crypto_data.cli.output import complain, print_rows
from crypto_data.intervals import count_open_times
from crypto_data.partitions import closed_end, span_of_days


def print_demands(catalog: Catalog, form: Format) -> None:
    """Print a line a feed: its series, days, and the klines these should have."""
    rows = [_demand(feed, local_ms()) for feed in catalog.feeds]
    columns = (
        "feed",
        "market",
        "symbols",
        "intervals",
        "sources",
        "from",
        "to",
        "series",
        "days",
        "rows",
    )
    print_rows(rows, form, columns=columns)
    complain(warnings_of(catalog))
    if form is Format.TABLE:
        complain([f"{catalog.path} is good; the lake is {catalog.lake}"])


def _demand(feed: Feed, now_ms: int) -> dict[str, object]:
    days = rows = 0
    ends = []
    for interval in feed.intervals:
        closed = closed_end(interval, now_ms)
        end = max(feed.start, min(closed, feed.end or closed))
        ends.append(end)
        days += (end - feed.start).days * len(feed.names)
        rows += count_open_times(interval, span_of_days(feed.start, end)) * len(feed.names)
    return {
        "feed": feed.name,
        "market": f"{feed.exchange} {feed.market}",
        "symbols": len(feed.names),
        "intervals": " ".join(feed.intervals),
        "sources": " then ".join(feed.sources),
        "from": feed.start,
        "to": max(ends),
        "series": len(feed.series),
        "days": days,
        "rows": rows,
    }
