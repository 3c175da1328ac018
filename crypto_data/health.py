"""How every feed and series does, with what a person is being told of it just now.

What counts as trouble belongs to `troubles`; the table itself to `lake.health`.
"""

from collections.abc import Mapping

import pyarrow as pa

from crypto_data.alerts.outbox import Outbox
from crypto_data.alerts.state import Alert
from crypto_data.catalog.configuration import Catalog
from crypto_data.lake.census import Census
from crypto_data.lake.feeds import current_wishes
from crypto_data.lake.health import health_table
from crypto_data.lake.history import read_history
from crypto_data.lake.layout import ALERTS
from crypto_data.lake.overdue import given_up_days, stale_series
from crypto_data.partitions import utc
from crypto_data.series import Series

# Of one series so many sentences are shown.
MOST_WORDS = 3

_KINDS = ("feed", "stale", "gaps")  # the alerts of feeds


def health_view(catalog: Catalog, census: Census, local_ms: int) -> dict[str, pa.Table]:
    """Return the rows of the view `health`, under its name.

    Args:
        catalog: The configuration.
        census: How its lake stands.
        local_ms: This machine's clock, UTC epoch milliseconds.

    Raises:
        LakeDamaged: a file that is not the census's cannot be read.
    """
    wishes = current_wishes(catalog)
    known = Outbox(catalog.lake / ALERTS).known()
    alerts = current_alerts(catalog, census, known, local_ms + wishes.clock_ahead_ms)
    return {"health": health_table(read_history(catalog.lake), wishes, census.runs, alerts)}


def current_alerts(
    catalog: Catalog, census: Census, known: Mapping[str, Alert], now_ms: int
) -> dict[str, str]:
    """Return what is being told now, by the name of a feed and by the text of a series.

    Of a series only what concerns itself: that it is stale, or has days that were given up. Of
    damaged files and of hosts nothing: they are no feed's.
    """
    told: dict[str, list[str]] = {}
    stale = find_stale(catalog, census, now_ms)
    for feed in catalog.feeds:
        keys = [key for kind in _KINDS if lasts(known, key := f"{kind}/{feed.name}")]
        told[feed.name] = [known[key].trouble.what for key in keys]
        members = frozenset(feed.series)
        if f"stale/{feed.name}" in keys:
            for series in sorted(members & stale.keys()):
                told.setdefault(str(series), []).append(f"Nothing new since {utc(stale[series])}.")
        if f"gaps/{feed.name}" in keys:
            for days in given_up_days(census.runs, members):
                told.setdefault(str(days.series), []).append(f"Given up: {days}.")
    return {name: " ".join(words[:MOST_WORDS]) for name, words in told.items() if words}


def lasts(known: Mapping[str, Alert], key: str) -> bool:
    """Return whether a person was told of a key and not yet that it is over."""
    return key in known and known[key].ended_ms is None


def find_stale(catalog: Catalog, census: Census, now_ms: int) -> dict[Series, int]:
    """Return configured series without news for longer than is allowed, and since when."""
    hours = catalog.alerts.stale_after_hours
    return stale_series(census.held, catalog.all_series(), hours, now_ms)
