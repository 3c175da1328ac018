"""How every feed and series does, as one table."""

from datetime import UTC, date, datetime

import pyarrow as pa

from crypto_data.lake.feeds import Wanted, Wishes
from crypto_data.lake.health import HEALTH, health_table
from crypto_data.lake.history import History
from crypto_data.lake.history_file import Standing
from crypto_data.partitions import day_start_ms
from crypto_data.series import Series

BTC, ETH = (Series.parse(f"binance/spot/{symbol}/1h") for symbol in ("BTCUSDT", "ETHUSDT"))
OLD = Series.parse("binance/um/BTCUSDT/1h")
START = date(2024, 3, 1)
AT_MS = day_start_ms(date(2024, 3, 8))
RUNS = pa.Table.from_pylist(
    [
        {"symbol": "BTCUSDT", "rows": 24, "days": 10},
        {"symbol": "BTCUSDT", "rows": 23, "days": 1},
        {"symbol": "ETHUSDT", "rows": 5, "days": 1},
        {"symbol": "XRPUSDT", "rows": 24, "days": 9},
    ]
)
NAMES = {"exchange": "binance", "market": "spot", "interval": "1h"}
for name, value in NAMES.items():
    RUNS = RUNS.append_column(name, pa.array([value] * RUNS.num_rows))


def wished(feed="spot", *series) -> dict[Series, Wanted]:
    return {one: Wanted(START, None, "vision", feed) for one in series}


def test_a_feed_and_its_series() -> None:
    """A feed's rows are those of its series; each says its own errors, alert and times."""
    standing = Standing(AT_MS, AT_MS - 1000, 2, AT_MS, "rest: HTTP 503")
    history = History({"spot": standing}, {ETH: standing, BTC: Standing(AT_MS, AT_MS)})
    alerts = {"spot": "Feed spot: 2 runs in a row failed.", str(ETH): "Nothing new."}

    table = health_table(history, Wishes(wished("spot", ETH, BTC)), RUNS, alerts)

    at = datetime(2024, 3, 8, tzinfo=UTC)
    before = datetime(2024, 3, 7, 23, 59, 59, tzinfo=UTC)
    common = {"feed": "spot", "exchange": "binance", "market": "spot", "last_run": at}
    bad = {"last_success": before, "errors_in_a_row": 2, "why": "rest: HTTP 503"}
    good = {"last_success": at, "errors_in_a_row": 0, "alert": None, "why": ""}
    feed = {"kind": "feed", "symbol": None, "interval": None, "rows": 268, "alert": alerts["spot"]}
    btc = {"kind": "series", "symbol": "BTCUSDT", "interval": "1h", "rows": 263}
    eth = {"kind": "series", "symbol": "ETHUSDT", "interval": "1h", "rows": 5}
    assert table.schema == HEALTH
    assert table.to_pylist() == [
        common | bad | feed,
        common | good | btc,
        common | bad | eth | {"alert": "Nothing new."},
    ]


def test_what_never_ran() -> None:
    """A feed that was just added has no times, rows or errors, and is listed all the same."""
    table = health_table(History(), Wishes(wished("um", OLD)), RUNS, {})

    columns = ("kind", "last_run", "last_success", "rows", "errors_in_a_row", "why")
    assert table.select(columns).to_pylist() == [
        {"kind": kind, "last_run": None, "last_success": None, "rows": 0}
        | {"errors_in_a_row": 0, "why": ""}
        for kind in ("feed", "series")
    ]


def test_a_lake_of_the_first_version_does_not_tell_feeds() -> None:
    """Its series are listed without a feed until the next run that fetches writes their names."""
    table = health_table(History(), Wishes({BTC: Wanted(START, None, "vision")}), RUNS, {})

    assert table.select(["kind", "feed", "rows"]).to_pylist() == [
        {"kind": "series", "feed": None, "rows": 263}
    ]


def test_an_empty_lake() -> None:
    """No wishes and no days give a table without rows, in the same columns."""
    table = health_table(History(), Wishes({}), RUNS.slice(0, 0), {})

    assert (table.num_rows, table.schema) == (0, HEALTH)
