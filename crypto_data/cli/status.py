"""What `status` prints: how each feed does, told by the lake alone."""

from datetime import UTC, datetime
from typing import Any

from crypto_data.alerts.outbox import Outbox
from crypto_data.catalog.configuration import Catalog, Feed
from crypto_data.cli.options import Format, local_ms
from crypto_data.cli.output import Row, complain, print_rows
from crypto_data.cli.zones import show_instant
from crypto_data.health import current_alerts, find_stale
from crypto_data.lake.census import take_census
from crypto_data.lake.feeds import current_wishes
from crypto_data.lake.history import read_history
from crypto_data.lake.history_file import Standing
from crypto_data.lake.layout import ALERTS
from crypto_data.lake.overdue import count_gap_days

_COLUMNS = (
    "feed", "schedule", "last_run", "result", "last_success", "errors_in_a_row", "series",
    "days_open", "series_stale", "alert", "why",
)  # fmt: skip


def print_status(catalog: Catalog, form: Format) -> None:
    """Print a line a feed."""
    wishes = current_wishes(catalog)
    now_ms = local_ms() + wishes.clock_ahead_ms
    census = take_census(catalog.lake, local_ms(), wishes)
    complain(map(str, census.faults))
    history = read_history(catalog.lake)
    alerts = current_alerts(catalog, census, Outbox(catalog.lake / ALERTS).known(), now_ms)
    stale = find_stale(catalog, census, now_ms)
    open_days = count_gap_days(census.runs)
    rows = [
        {
            **_passes(feed, history.feeds.get(feed.name, Standing())),
            "series": len(feed.series),
            "days_open": sum(open_days.get(series, 0) for series in feed.series),
            "series_stale": sum(series in stale for series in feed.series),
            "alert": alerts.get(feed.name, ""),
            "why": history.feeds.get(feed.name, Standing()).why,
        }
        for feed in catalog.feeds
    ]
    print_rows(rows, form, columns=_COLUMNS, shown=[_shown(row) for row in rows])


def _passes(feed: Feed, standing: Standing) -> dict[str, Any]:
    failed = "failure" if standing.errors_in_a_row else "success"
    return {
        "feed": feed.name,
        "schedule": feed.schedule,
        "last_run": _moment(standing.last_run_ms),
        "result": failed if standing.last_run_ms else "never ran",
        "last_success": _moment(standing.last_success_ms),
        "errors_in_a_row": standing.errors_in_a_row,
    }


def _shown(row: Row) -> Row:
    """Return what a table shows of a feed: instants to the minute, and no cron line."""
    moments = ("last_run", "last_success")
    return {
        name: show_instant(value, "%Y-%m-%d %H:%M") if value and name in moments else value
        for name, value in row.items()
        if name != "schedule"
    }


def _moment(time_ms: int) -> datetime | None:
    return datetime.fromtimestamp(time_ms / 1000, UTC) if time_ms else None
