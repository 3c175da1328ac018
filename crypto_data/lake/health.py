"""How every feed and series does, as the table behind the view `health`.

What is known of passes comes from `lake.history`, rows from a census; what a person is being told
just now is handed in, because the lake does not know of alerts.
"""

from collections.abc import Mapping
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from crypto_data.lake.feeds import Wishes
from crypto_data.lake.history import History
from crypto_data.lake.history_file import Standing
from crypto_data.lake.overdue import series_in
from crypto_data.schema import TIME
from crypto_data.series import Series

HEALTH = pa.schema(
    [
        ("kind", pa.string()),
        ("feed", pa.string()),
        ("exchange", pa.string()),
        ("market", pa.string()),
        ("symbol", pa.string()),
        ("interval", pa.string()),
        ("last_run", TIME),
        ("last_success", TIME),
        ("rows", pa.int64()),
        ("errors_in_a_row", pa.int64()),
        ("alert", pa.string()),
        ("why", pa.string()),
    ]
)


def health_table(
    history: History, wishes: Wishes, runs: pa.Table, alerts: Mapping[str, str]
) -> pa.Table:
    """Return a row for each feed, then one for each series, that the lake is asked to hold.

    Args:
        history: How passes went.
        wishes: What the lake is asked to hold; a series of an older lake has no feed's name.
        runs: A census's runs of days.
        alerts: What a person is being told now, by the name of a feed and by the text of a series.

    Returns:
        Columns of `HEALTH`, ordered by kind and name; a feed's rows are those of its series, its
        `symbol` and `interval` null. `alert` is null where there is none.
    """
    held = _rows_by_series(runs)
    feeds: dict[str, list[Series]] = {}
    for series, wanted in sorted(wishes.series.items()):
        feeds.setdefault(wanted.feed, []).append(series)
    rows = [
        _row("feed", name, members[0], history.feeds.get(name), alerts.get(name))
        | {"rows": sum(held.get(one, 0) for one in members), "symbol": None, "interval": None}
        for name, members in sorted(feeds.items())
        if name
    ]
    rows += [
        _row("series", wanted.feed, series, history.series.get(series), alerts.get(str(series)))
        | {"rows": held.get(series, 0)}
        for series, wanted in sorted(wishes.series.items())
    ]
    return pa.Table.from_pylist(rows, schema=HEALTH)


def _row(
    kind: str, feed: str, series: Series, standing: Standing | None, alert: str | None
) -> dict[str, Any]:
    standing = standing or Standing()
    return {
        "kind": kind,
        "feed": feed or None,
        "exchange": series.exchange,
        "market": str(series.market),
        "symbol": series.symbol,
        "interval": str(series.interval),
        "last_run": standing.last_run_ms * 1000 or None,
        "last_success": standing.last_success_ms * 1000 or None,
        "errors_in_a_row": standing.errors_in_a_row,
        "alert": alert,
        "why": standing.why,
    }


def _rows_by_series(runs: pa.Table) -> dict[Series, int]:
    names = ["exchange", "market", "symbol", "interval"]
    columns = [runs[name].cast(pa.string()) for name in names]
    table = pa.table([*columns, pc.multiply(runs["rows"], runs["days"])], names=[*names, "rows"])
    summed = table.group_by(names, use_threads=False).aggregate([("rows", "sum")])
    return dict(zip(series_in(summed), summed["rows_sum"].to_pylist(), strict=True))
