"""How each feed does, as a command and as a view."""

import csv
import io
import json
from datetime import date

import pytest

from crypto_data.alerts.outbox import Outbox
from crypto_data.alerts.trouble import Trouble
from crypto_data.harvest import Aim
from crypto_data.intervals import HOUR_MS
from crypto_data.lake.feeds import current_wishes, write_wishes
from crypto_data.lake.history import Pass, note_pass
from crypto_data.lake.layout import ALERTS, HISTORY, part_path
from crypto_data.partitions import day_start_ms
from crypto_data.series import Series

BTC = Series.parse("binance/spot/BTCUSDT/1h")
NOPE = Series.parse("binance/spot/NOPEUSDT/1h")
AT_MS = day_start_ms(date(2024, 1, 12))
FEEDS = (
    {"symbols": ["BTCUSDT", "NOPEUSDT"], "end": "2024-01-12"},
    {"name": "quiet", "symbols": ["ETHUSDT"]},
)
STALE = Trouble("stale/binance_spot", 1, "Feed binance_spot: nothing new.", AT_MS, "", "")
DAMAGE = Trouble("damage/klines/x", 1, "A file of the lake cannot be read.", AT_MS, "", "")


@pytest.fixture
def watched(desk):
    """Return a desk with two settled days, a series nobody has, and a run that fell short."""
    catalog = desk.configure(*FEEDS)
    write_wishes(desk.lake.root, current_wishes(catalog))
    desk.fill()
    work = Pass("1", "binance_spot", Aim.FILL, AT_MS, (BTC, NOPE), {})
    note_pass(desk.lake.root, work)
    short = {NOPE: "rest: HTTP 400: code -1121: Invalid symbol."}
    for run in ("2", "3"):
        at_ms = AT_MS + int(run) * HOUR_MS
        note_pass(desk.lake.root, Pass(run, "binance_spot", Aim.FILL, at_ms, (BTC, NOPE), short))
    Outbox(desk.lake.root / ALERTS).tell([STALE, DAMAGE], AT_MS, ())
    return desk


def test_status_of_a_feed_that_fails(watched, tmp_path) -> None:
    """All is told by the lake: passes, open days, what is being told; Dagster is not asked."""
    failing, quiet = json.loads(watched.run("status", "--format", "json").stdout)

    assert failing == {
        "feed": "binance_spot",
        "schedule": "30 0 * * *",
        "last_run": "2024-01-12T03:00:00Z",
        "result": "failure",
        "last_success": "2024-01-12T00:00:00Z",
        "errors_in_a_row": 2,
        "series": 2,
        "days_open": 2,
        "series_stale": 0,
        "alert": "Feed binance_spot: nothing new.",
        "why": f"{NOPE}: rest: HTTP 400: code -1121: Invalid symbol.",
    }
    assert (quiet["result"], quiet["last_run"], quiet["alert"]) == ("never ran", None, "")
    assert not (tmp_path / "dagster").exists()


@pytest.mark.parametrize("form", ["table", "csv"])
def test_other_forms_say_the_same(watched, form) -> None:
    """The table and the CSV have a line a feed, with the alert and why."""
    done = watched.run("status", "--format", form)

    assert done.returncode == 0
    assert "Invalid symbol" in done.stdout
    assert "nothing new." in done.stdout
    if form == "csv":
        assert [row["feed"] for row in csv.DictReader(io.StringIO(done.stdout))] == [
            "binance_spot",
            "quiet",
        ]


def test_a_series_without_news_is_counted(watched) -> None:
    """A feed without an end whose day has long closed is stale; one that ended is not."""
    watched.configure({"symbols": ["BTCUSDT"], "end": None}, FEEDS[1])

    feeds = json.loads(watched.run("status", "--format", "json").stdout)

    assert [feed["series_stale"] for feed in feeds] == [1, 0]


def test_the_view_health(watched) -> None:
    """It has a row a feed and a row a series, each with its rows, errors and alert."""
    columns = "kind, feed, symbol, rows, errors_in_a_row AS errors, alert"
    statement = f"SELECT {columns} FROM health ORDER BY kind, feed, symbol"
    done = watched.run("sql", statement, "--format", "json")

    assert [list(row.values()) for row in json.loads(done.stdout)] == [
        ["feed", "binance_spot", None, 48, 2, "Feed binance_spot: nothing new."],
        ["feed", "quiet", None, 24, 0, None],
        ["series", "binance_spot", "BTCUSDT", 48, 0, None],
        ["series", "binance_spot", "NOPEUSDT", 0, 2, None],
        ["series", "quiet", "ETHUSDT", 24, 0, None],
    ]


def test_damaged_files_do_not_stop_it(watched) -> None:
    """A damaged history and a damaged part are named on stderr; the rest is told."""
    (watched.lake.root / HISTORY).write_text("{")
    part = part_path(watched.lake.root, BTC, "2024")
    part.write_bytes(b"PAR1")

    done = watched.run("status", "--format", "json")

    assert done.returncode == 0
    assert [feed["days_open"] for feed in json.loads(done.stdout)] == [4, 0]
    assert HISTORY in done.stderr
    assert str(part) in done.stderr
    assert "Traceback" not in done.stderr
