"""What `status` prints: the last runs of each feed, and how the feed's days stand."""

import os

from crypto_data.catalog.configuration import Catalog, Feed
from crypto_data.cli.options import Format, local_ms
from crypto_data.cli.output import print_rows
from crypto_data.lake.inventory import read_view
from crypto_data.planning import current_wishes
from crypto_data.selection import Selection

_COLUMNS = (
    "feed", "schedule", "last_run", "result", "last_success", "errors_in_a_row", "series",
    "days_open", "why",
)  # fmt: skip


def print_status(catalog: Catalog, form: Format) -> None:
    """Print a line a feed."""
    from crypto_data.orchestration.instance import open_instance, prepare_home
    from crypto_data.orchestration.runs import read_history

    with open_instance(prepare_home(catalog.path.parent, os.environ)) as instance:
        histories = {feed.name: read_history(instance, feed.name) for feed in catalog.feeds}
    open_days = _open_days(catalog)
    rows = [
        {
            "feed": feed.name,
            "schedule": feed.schedule,
            "last_run": histories[feed.name].last_run,
            "result": histories[feed.name].result,
            "last_success": histories[feed.name].last_success,
            "errors_in_a_row": histories[feed.name].errors_in_a_row,
            "series": len(feed.series),
            "days_open": _days_of(feed, open_days),
            "why": histories[feed.name].why,
        }
        for feed in catalog.feeds
    ]
    print_rows(rows, form, columns=_COLUMNS)


def _open_days(catalog: Catalog) -> dict[str, int]:
    wishes = current_wishes(catalog)
    table = read_view(catalog.lake, local_ms(), "inventory", Selection(), wishes)
    rows = table.to_pylist()
    return {
        f"{row['exchange']}/{row['market']}/{row['symbol']}/{row['interval']}": row["days_partial"]
        + row["days_missing"]
        for row in rows
    }


def _days_of(feed: Feed, open_days: dict[str, int]) -> int:
    return sum(open_days.get(str(series), 0) for series in feed.series)
