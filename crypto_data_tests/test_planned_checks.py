"""What a backfill from the web page plans of checks: one row each, however many days it is over."""

import pytest
from dagster._core.storage.asset_check_execution_record import AssetCheckExecutionRecordStatus

from crypto_data.orchestration.assembly import build_definitions
from crypto_data.orchestration.checks import check_keys
from crypto_data.orchestration.errands import RANGE_END, RANGE_START
from crypto_data.orchestration.instance import open_instance, prepare_home
from crypto_data.orchestration.judging import judging_config
from crypto_data.orchestration.names import CHECKS_JOB, asset_keys
from crypto_data.series import Series

HOURS = Series.parse("binance/spot/BTCUSDT/1h")
DAYS = {RANGE_START: "2024-01-10", RANGE_END: "2024-03-30"}


@pytest.fixture
def instance(desk, monkeypatch):
    """Return an instance with our own settings, over one series."""
    for name, value in desk.environ.items():
        monkeypatch.setenv(name, value)
    desk.configure({"end": "2024-03-31"})
    with open_instance(prepare_home(desk.folder, desk.environ)) as opened:
        yield opened


def plan(desk, instance):
    """Create a run over all days, checks and all, as the web page's backfill does."""
    key = asset_keys(desk.catalog().all_series())[HOURS]
    job = build_definitions(desk.catalog()).resolve_implicit_global_asset_job_def()
    subset = job.get_subset(asset_selection={key})
    return instance.create_run_for_job(subset, asset_selection=frozenset({key}), tags=DAYS)


def history(desk, instance):
    """Return all that Dagster keeps of the series' checks."""
    keys = check_keys(asset_keys(desk.catalog().all_series())[HOURS])
    storage = instance.event_log_storage
    return [
        record
        for key in keys
        for record in storage.get_asset_check_execution_history(key, limit=1000)
    ]


def test_checks_are_planned_once_and_not_for_each_day(desk, instance) -> None:
    """Eighty days and five checks are five rows: they look at the whole series."""
    run = plan(desk, instance)

    planned = history(desk, instance)
    assert len(planned) == 5
    assert {record.run_id for record in planned} == {run.run_id}
    assert {record.partition for record in planned} == {None}
    assert {record.status for record in planned} == {AssetCheckExecutionRecordStatus.PLANNED}


def test_a_planned_check_hides_no_verdict_of_the_job(desk, instance) -> None:
    """Judged while the backfill waits: the verdict is the newest that Dagster has."""
    desk.fill()
    plan(desk, instance)
    checks = build_definitions(desk.catalog()).resolve_job_def(CHECKS_JOB)

    done = checks.execute_in_process(instance=instance, run_config=judging_config([HOURS]))

    keys = check_keys(asset_keys(desk.catalog().all_series())[HOURS])
    latest = instance.event_log_storage.get_latest_asset_check_execution_by_key(keys)
    assert done.success
    assert {record.status for record in latest.values()} == {
        AssetCheckExecutionRecordStatus.SUCCEEDED
    }
