"""Dagster and the lake compared, and Dagster told of what it does not show."""

import json
import shutil
import sqlite3
import time
from contextlib import closing
from datetime import UTC, date, datetime
from pathlib import Path

import dagster as dg
import pyarrow as pa
import pytest

from crypto_data.lake.census import RUNS
from crypto_data.orchestration.instance import open_instance
from crypto_data.orchestration.mirror import compare, report_days
from crypto_data.sandbox.faults import Fault
from crypto_data_tests.test_mending import catalog_of

FIRST, END = date(2024, 1, 10), date(2024, 1, 13)
KEY = dg.AssetKey(["klines", "binance", "spot", "BTCUSDT", "1h"])


def reconcile(desk, *options):
    done = desk.run("reconcile", *options, "--format", "json")
    return done, json.loads(done.stdout) if done.stdout else None


@pytest.fixture
def home(desk) -> Path:
    """Return the commands' Dagster home; a feed of five days is configured."""
    desk.configure({"start": "2024-01-10", "end": "2024-01-15"})
    return desk.folder.parent / "dagster"


def shown(home) -> dict[str, dict]:
    """Return the metadata of each day that Dagster shows."""
    with open_instance(home) as instance:
        days = {}
        for record in instance.fetch_materializations(KEY, limit=1000).records:
            event = record.asset_materialization
            days.setdefault(event.partition, {k: v.value for k, v in event.metadata.items()})
        return days


def count_events(home) -> int:
    with open_instance(home) as instance:
        return len(instance.fetch_materializations(KEY, limit=1000).records)


def test_days_that_dagster_never_had_are_reported_once(desk, home) -> None:
    """As after a kill between the lake's commit and the event: state, rows and source are told."""
    desk.fill()

    done, rows = reconcile(desk)
    again, rows_again = reconcile(desk)

    days = shown(home)
    assert (done.returncode, again.returncode) == (0, 0)
    assert rows == [
        {"series": "binance/spot/BTCUSDT/1h", "settled": 5, "reported": 5, "only_in_dagster": 0}
    ]
    assert rows_again[0]["reported"] == 0
    assert count_events(home) == 5
    assert sorted(days) == [f"2024-01-{number}" for number in range(10, 15)]
    for day in days.values():
        assert {name: day[name] for name in ("rows", "expected", "state", "source")} == {
            "rows": 24, "expected": 24, "state": "complete", "source": "vision",
        }  # fmt: skip


def test_a_lost_storage_is_filled_again_without_a_request(desk, home) -> None:
    """After a backfill whose history was deleted Dagster shows every day as before."""
    assert desk.run("backfill").returncode == 0
    before = shown(home)
    shutil.rmtree(home)
    desk.sandbox.requests.clear()

    done, _ = reconcile(desk)

    after = shown(home)
    told = ("rows", "expected", "state", "source", "attempts")
    assert done.returncode == 0
    assert desk.asked() == []
    assert {day: [before[day][name] for name in told] for day in before} == {
        day: [after[day][name] for name in told] for day in after
    }


def test_days_that_fell_short_are_not_reported(desk, home) -> None:
    """A gap is nobody's materialization; the settled days around it are."""
    desk.sandbox.faults.add(Fault("*BTCUSDT-1h-2024-01-12.zip", "corrupt"))
    desk.sandbox.faults.add(Fault("/api/v3/klines", "code0"))
    desk.fill()

    done, rows = reconcile(desk)

    assert done.returncode == 0
    assert rows[0]["reported"] == 4
    assert "2024-01-12" not in shown(home)


@pytest.mark.usefixtures("home")
def test_days_that_the_lake_lost_are_named(desk) -> None:
    """Dagster can't forget single days: the command says which, what to run, and exits with 1."""
    desk.fill()
    reconcile(desk)
    next((desk.lake.root / "klines").rglob("2024.parquet")).unlink()
    desk.fill(date(2024, 1, 10), date(2024, 1, 13))

    done, rows = reconcile(desk)
    desk.fill()
    mended, _ = reconcile(desk)

    assert done.returncode == 1
    assert rows[0]["only_in_dagster"] == 2
    assert "binance/spot/BTCUSDT/1h 2024-01-13 to 2024-01-14: Dagster shows it" in done.stderr
    assert "crypto-data repair" in done.stderr
    assert mended.returncode == 0


def test_only_chosen_series_are_reconciled(desk) -> None:
    """Filters choose series; one that is not configured is refused with exit status 2."""
    desk.configure({"symbols": ["BTCUSDT", "ETHUSDT"]})
    desk.fill()

    done, rows = reconcile(desk, "--symbols", "ETHUSDT")
    wrong, _ = reconcile(desk, "--symbols", "ETHUSD")

    assert done.returncode == 0
    assert [row["series"] for row in rows] == ["binance/spot/ETHUSDT/1h"]
    assert wrong.returncode == 2
    assert "ETHUSDT" in wrong.stderr


@pytest.mark.slow
def test_a_killed_command_goes_on_where_it_was(desk, home) -> None:
    """Days told of stay told; the next command reports the rest, each day once in all."""
    desk.configure({"intervals": ["1d"], "start": "2018-01-01", "end": "2024-01-01"})
    desk.fill()
    begun = desk.start("reconcile")
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and not _stored_days(home):
        time.sleep(0.002)
    begun.kill()
    begun.communicate()
    partly = _stored_days(home)

    done, rows = reconcile(desk)

    assert 0 < partly < 2191
    assert done.returncode == 0
    assert rows[0]["reported"] == 2191 - partly
    assert _stored_days(home) == 2191


def _stored_days(home) -> int:
    """Count the materializations in Dagster's index of all runs, none before it has tables."""
    index = home / "history" / "runs" / "index.db"
    query = "SELECT count(*) FROM event_logs WHERE dagster_event_type = 'ASSET_MATERIALIZATION'"
    try:
        with closing(sqlite3.connect(f"file:{index}?mode=ro", uri=True)) as database:
            return database.execute(query).fetchone()[0]
    except sqlite3.OperationalError:
        return 0


def runs_of(*rows):
    names = {"exchange": "binance", "market": "spot", "symbol": "BTCUSDT", "interval": "1w"}
    asked = datetime(2024, 2, 1, tzinfo=UTC)
    entries = [
        names | {
            "first_day": first, "days": days, "state": state, "attempts": attempts, "present": 0,
            "expected": 0, "last_attempt": asked if attempts else None,
        }
        for first, days, state, attempts in rows
    ]  # fmt: skip
    return pa.Table.from_pylist(entries, RUNS)


@pytest.mark.parametrize(
    ("rows", "days"),
    [
        pytest.param([(FIRST, 3, "complete", 0)], 0, id="never-asked-for"),
        pytest.param([(FIRST, 1, "complete", 1), (END, 6, "complete", 0)], 7, id="no-bar-opens"),
        pytest.param([(FIRST, 1, "explained", 1), (END, 1, "unlisted", 1)], 2, id="settled"),
        pytest.param([(FIRST, 1, "partial", 1), (END, 1, "missing", 1)], 0, id="gaps"),
        pytest.param([(date(2023, 12, 30), 4, "complete", 1)], 2, id="before-the-feed"),
    ],
)
def test_what_is_reported_is_settled_and_asked_for_by_the_feed(rows, days) -> None:
    """Days without a bar of a long interval too, once the series has been asked for at all."""
    feed = catalog_of(start="2024-01-01").feeds[0]
    with dg.DagsterInstance.ephemeral() as instance:
        difference = compare(instance, KEY, feed, runs_of(*rows))
        told = list(report_days(instance, difference))

        assert len(told) == difference.settled == days
        assert len(instance.get_materialized_partitions(KEY)) == days
