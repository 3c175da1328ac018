"""What the sensors ask for, on a real instance, and what their runs then ask the exchange."""

import os
import re
from datetime import UTC, date, datetime

import dagster as dg
import pytest

from crypto_data.harvest import Aim
from crypto_data.mending import Errand
from crypto_data.orchestration.assembly import build_definitions
from crypto_data.orchestration.errands import RANGE_END, RANGE_START, run_request
from crypto_data.orchestration.instance import open_instance, prepare_home
from crypto_data.orchestration.names import asset_keys
from crypto_data.orchestration.runs import failed_jobs
from crypto_data.orchestration.schedules import scheduled_errand
from crypto_data.partitions import day_start_ms
from crypto_data.sandbox.faults import Fault
from crypto_data.series import Series

BTC = Series.parse("binance/spot/BTCUSDT/1h")
FIRST, END = date(2024, 1, 10), date(2024, 1, 20)
NOW_MS = day_start_ms(date(2024, 1, 22))
TWO = {"symbols": ["BTCUSDT", "ETHUSDT"], "end": str(END)}


@pytest.fixture
def instance(desk, monkeypatch):
    for name, value in desk.environ.items():
        monkeypatch.setenv(name, value)
    desk.sandbox.set_clock(NOW_MS)
    desk.configure(TWO)
    with open_instance(prepare_home(desk.folder, os.environ)) as opened:
        yield opened


def sense(desk, instance, name, cursor=None):
    """Evaluate a sensor as the daemon does."""
    feeds = desk.lake.root / "_feeds.json"
    if feeds.exists():
        os.utime(feeds, (0, 0))  # so that the clock is measured anew
    repository = build_definitions(desk.catalog()).get_repository_def()
    with dg.build_sensor_context(instance, cursor=cursor, repository_def=repository) as context:
        return repository.get_sensor_def(name).evaluate_tick(context)


def execute(desk, instance, request):
    job = build_definitions(desk.catalog()).resolve_implicit_global_asset_job_def()
    return job.execute_in_process(
        instance=instance,
        asset_selection=request.asset_selection,
        run_config=request.run_config,
        tags=request.tags,
        raise_on_error=False,
    )


def days_asked(desk) -> set[str]:
    """Return the days whose archive files were fetched."""
    zips = desk.asked(".zip?")
    return {day for path in zips for day in re.findall(r"\d{4}-\d\d-\d\d", path)}


def test_a_repair_run_asks_only_for_the_days_that_need_it(desk, instance) -> None:
    """Two gaps, one run over both; of the settled days beside them nothing is asked."""
    broken = [Fault(f"*BTCUSDT-1h-2024-01-{day}.zip*", "corrupt") for day in (12, 15)]
    desk.sandbox.faults.add(*broken, Fault("/api/v3/klines*", "code0"))
    desk.fill(FIRST, END)
    desk.sandbox.faults.clear()
    desk.sandbox.requests.clear()
    desk.sandbox.set_clock(NOW_MS + 3_600_000)

    (request,) = sense(desk, instance, "gaps").run_requests
    result = execute(desk, instance, request)

    assert result.success
    assert (request.tags[RANGE_START], request.tags[RANGE_END]) == ("2024-01-12", "2024-01-15")
    assert len(request.asset_selection) == 1
    assert days_asked(desk) == {"2024-01-12", "2024-01-15"}
    assert len(desk.asked(".zip?")) == 2
    assert desk.asked("/api/v3/klines") == []
    assert desk.equals_truth(BTC, FIRST, END)


def test_a_healed_lake_is_left_alone(desk, instance) -> None:
    """Nothing is due, no run is asked for, and nobody is asked but for the time."""
    desk.fill(FIRST, END)
    desk.sandbox.requests.clear()

    result = sense(desk, instance, "gaps")

    assert not result.run_requests
    assert result.skip_message == "no gap is due"
    assert desk.asked(".zip", "klines", "listing") == []


def test_a_gap_that_was_just_asked_for_waits(desk, instance) -> None:
    """Fifteen minutes after the first attempt, not before; the exchange's clock counts."""
    desk.sandbox.faults.add(
        Fault("*BTCUSDT-1h-2024-01-12.zip*", "corrupt"), Fault("/api/v3/klines*", "code0")
    )
    desk.fill(FIRST, END)

    asked = []
    for minutes in (1, 14, 16):
        desk.sandbox.set_clock(NOW_MS + minutes * 60_000)
        asked.append(len(sense(desk, instance, "gaps").run_requests))
    assert asked == [0, 0, 1]


def test_what_a_queued_run_will_ask_for_is_not_asked_for_twice(desk, instance) -> None:
    """A run that waits in the queue covers its days; other series of those days are asked for."""
    catalog = desk.catalog()
    keys = asset_keys(catalog.all_series())
    errand = Errand(catalog.feeds[0], FIRST, END, (BTC,))
    request = run_request(errand, keys, Aim.FILL, moment="now")
    job = build_definitions(catalog).resolve_implicit_global_asset_job_def()
    instance.create_run_for_job(
        job,
        asset_selection=frozenset(request.asset_selection),
        tags=request.tags,
        status=dg.DagsterRunStatus.NOT_STARTED,
    )

    (request,) = sense(desk, instance, "gaps").run_requests

    assert [key.path[3] for key in request.asset_selection] == ["ETHUSDT"]


def test_the_archive_is_looked_at_once_an_hour(desk, instance) -> None:
    """The cursor remembers when, and goes on with the next piece of the rolling check."""
    desk.fill(FIRST, END)
    first = sense(desk, instance, "revisions")
    again = sense(desk, instance, "revisions", first.cursor)
    desk.sandbox.set_clock(NOW_MS + 3_700_000)
    later = sense(desk, instance, "revisions", first.cursor)

    assert [one.tags["crypto_data/aim"] for one in first.run_requests] == ["revise"]
    assert not again.run_requests
    assert later.run_requests


def test_an_undelivered_alert_fails_the_tick_without_its_address(desk, instance) -> None:
    """Dagster shows the tick as failed; neither its error nor any file holds the address."""
    secret = "token-in-the-path"  # noqa: S105 - looked for
    alerts = f'alerts:\n  urls: ["http://127.0.0.1:9/{secret}"]\n'
    desk.configure(TWO, more=alerts)
    desk.sandbox.faults.add(Fault("/data/*", "status"), Fault("/api/v3/klines*", "status"))
    catalog = desk.catalog()
    request = run_request(
        scheduled_errand(catalog, catalog.feeds[0]),
        asset_keys(catalog.all_series()),
        Aim.FILL,
        moment=f"{datetime.now(UTC)}",
    )
    assert not execute(desk, instance, request).success

    with pytest.raises(dg.Failure, match="1 messages wait: address 1 \\(http\\)") as failure:
        sense(desk, instance, "alerts")

    assert secret not in str(failure.value)
    folders = [desk.lake.root, desk.state, desk.folder.parent / "dagster"]
    assert not [
        path
        for folder in folders
        for path in folder.rglob("*")
        if path.is_file() and secret.encode() in path.read_bytes()
    ]


def test_telling_a_person_asks_the_exchange_for_nothing(desk, instance) -> None:
    """Not for the time either: one that does not answer would keep its own alarm waiting."""
    result = sense(desk, instance, "alerts")

    assert result.skip_message == "0 messages sent, 0 wait"
    assert desk.asked() == []


def test_a_failed_run_of_the_checks_is_told_until_one_succeeds(desk, instance) -> None:
    """Jobs that fetch nothing are told of too, in the words of their error."""
    desk.fill(FIRST, END)
    job = build_definitions(desk.catalog()).resolve_job_def("checks")
    instance.report_run_failed(instance.create_run_for_job(job), "killed: out of memory")

    (failed,) = failed_jobs(instance, NOW_MS)
    assert job.execute_in_process(instance=instance).success

    assert failed.key == "run/checks"
    assert "out of memory" in failed.words
    assert failed_jobs(instance, NOW_MS) == []
