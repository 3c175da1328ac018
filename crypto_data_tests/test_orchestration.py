"""Runs in a real Dagster instance over the stand-in exchange: what is marked, and what is said."""

import json
import os
import socket
from datetime import date

import dagster as dg
import psutil
import pytest

from crypto_data.harvest import Aim
from crypto_data.lake.history import read_history
from crypto_data.lake.history_file import Standing
from crypto_data.lake.set_aside import read_set_aside
from crypto_data.orchestration import foreground
from crypto_data.orchestration.assembly import build_definitions
from crypto_data.orchestration.backfill import RANGE_END, RANGE_START, run_backfill
from crypto_data.orchestration.instance import WORKER_TAG, open_instance, worker_tag
from crypto_data.orchestration.names import AIM_TAG
from crypto_data.orchestration.runs import note_failed_runs
from crypto_data.partitions import ONE_DAY
from crypto_data.planning import RunPlan
from crypto_data.sandbox.faults import Fault
from crypto_data.series import Series

HOURS = Series.parse("binance/spot/BTCUSDT/1h")
OTHER = Series.parse("binance/spot/ETHUSDT/1h")
KEY = dg.AssetKey(["klines", "binance", "spot", "BTCUSDT", "1h"])
OTHER_KEY = dg.AssetKey(["klines", "binance", "spot", "ETHUSDT", "1h"])
FIRST, END = date(2024, 1, 10), date(2024, 1, 13)
DAYS = {"2024-01-10", "2024-01-11", "2024-01-12"}
PLAN = RunPlan(FIRST, END, (HOURS,))
BOTH = RunPlan(FIRST, END, (HOURS, OTHER))


@pytest.fixture
def home(desk, tmp_path, monkeypatch):
    """Return Dagster's home; runs in this process see the desk's environment."""
    monkeypatch.setenv("XDG_STATE_HOME", desk.environ["XDG_STATE_HOME"])
    home = tmp_path / "dagster"
    home.mkdir()
    monkeypatch.setenv("DAGSTER_HOME", str(home))
    (home / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    desk.configure({"symbols": ["BTCUSDT", "ETHUSDT"], "end": "2024-01-20"})
    return home


@pytest.fixture
def instance(home):
    with open_instance(home) as opened:
        yield opened


def backfill(desk, instance, *plans, parallel=2, on_days=lambda *_: None):
    return run_backfill(desk.catalog(), plans, instance, parallel=parallel, on_days=on_days)


def marks(instance, key) -> dict[str, dict]:
    """Return the metadata of each materialized day of an asset, the newest of each."""
    found = {}
    for record in instance.fetch_materializations(key, limit=1000).records:
        event = record.asset_materialization
        shown = {name: entry.value for name, entry in event.metadata.items()}
        found.setdefault(event.partition, shown)
    return found


def spoil(desk, day, *symbols) -> None:
    """Let no source have one day of some symbols."""
    for symbol in symbols:
        desk.sandbox.faults.add(Fault(f"*{symbol}-1h-{day}.zip", "corrupt"))
    desk.sandbox.faults.add(Fault("/api/v3/klines", "code0"))


def test_a_run_marks_each_day_with_what_is_known_of_it(desk, instance) -> None:
    """Rows, expected, state, source, seconds and attempts; where there was a failover, why."""
    desk.sandbox.faults.add(Fault("*BTCUSDT-1h-2024-01-11.zip", "absent"))
    told = []

    result = backfill(
        desk, instance, PLAN, on_days=lambda series, days: told.append((series, days))
    )

    days = marks(instance, KEY)
    assert result.failed_runs == []
    assert set(days) == DAYS
    for day in days.values():
        assert {"rows", "expected", "state", "source", "seconds", "attempts"} <= set(day)
        assert (day["rows"], day["expected"], day["state"], day["attempts"]) == (
            24,
            24,
            "complete",
            1,
        )
    assert days["2024-01-10"]["source"] == "vision"
    assert "failover" not in days["2024-01-10"]
    assert days["2024-01-11"]["source"] == "rest"
    assert "HTTP 404" in days["2024-01-11"]["failover"]
    assert days["2024-01-11"]["seconds"] > 0
    assert [series for series, _ in told] == [HOURS]
    assert desk.equals_truth(HOURS, FIRST, END)


def test_a_range_of_days_and_series_is_one_run(desk, instance) -> None:
    """Two series over three days: one run that tells what for, how and which days; both marked."""
    backfill(desk, instance, BOTH, parallel=3)

    [run] = instance.get_runs()
    assert run.status is dg.DagsterRunStatus.SUCCESS
    assert run.run_config["ops"] == {"binance_spot_1h": {"config": {"parallel": 3, "aim": "FILL"}}}
    assert (run.tags[RANGE_START], run.tags[RANGE_END]) == ("2024-01-10", "2024-01-12")
    assert run.tags["crypto_data_feed/binance_spot"] == "true"
    assert run.tags[AIM_TAG] == str(Aim.FILL)
    assert set(marks(instance, KEY)) == set(marks(instance, OTHER_KEY)) == DAYS


def test_only_settled_days_are_marked(desk, instance) -> None:
    """Of a series that fell short the good days are; another series is marked whole."""
    spoil(desk, "2024-01-11", "BTCUSDT")

    result = backfill(desk, instance, BOTH)

    [run] = instance.get_runs()
    [said] = result.failed_runs
    assert run.status is dg.DagsterRunStatus.FAILURE
    assert said == "1 series fell short: binance/spot/BTCUSDT/1h"
    assert set(marks(instance, KEY)) == DAYS - {"2024-01-11"}
    assert set(marks(instance, OTHER_KEY)) == DAYS
    assert instance.get_materialized_partitions(KEY) == DAYS - {"2024-01-11"}
    assert desk.equals_truth(OTHER, FIRST, END)
    assert desk.equals_truth(HOURS, FIRST, date(2024, 1, 11))


def test_a_failed_run_names_days_and_reasons(desk, instance) -> None:
    """The failure's metadata says of each day what each source answered."""
    spoil(desk, "2024-01-11", "BTCUSDT")

    backfill(desk, instance, PLAN)

    [run] = instance.get_runs()
    [failure] = instance.all_logs(run.run_id, of_type=dg.DagsterEventType.STEP_FAILURE)
    shown = failure.get_dagster_event().step_failure_data.user_failure_data.metadata
    text = shown["binance/spot/BTCUSDT/1h"].value
    assert text.startswith("- 2024-01-11: 0 of 24 rows, missing: vision: ")
    assert "sha256" in text
    assert "rest: " in text


def test_the_next_run_marks_what_was_missing(desk, instance) -> None:
    """After the fault all days are marked, and only the missing one was asked for."""
    spoil(desk, "2024-01-11", "BTCUSDT")
    backfill(desk, instance, PLAN)
    desk.sandbox.faults.clear()
    desk.sandbox.requests.clear()

    result = backfill(desk, instance, PLAN)

    assert result.failed_runs == []
    assert set(marks(instance, KEY)) == DAYS
    assert marks(instance, KEY)["2024-01-11"]["attempts"] == 2
    assert {path.rpartition("/")[2][:21] for path in desk.asked("/data/")} == {
        "BTCUSDT-1h-2024-01-11"
    }


def test_one_failed_run_stops_no_other(desk, instance) -> None:
    """Plans follow each other; the second is executed although the first failed."""
    spoil(desk, "2024-01-11", "BTCUSDT")

    result = backfill(desk, instance, PLAN, RunPlan(date(2024, 1, 14), date(2024, 1, 16), (OTHER,)))

    statuses = {run.status for run in instance.get_runs()}
    assert len(result.failed_runs) == 1
    assert statuses == {dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.SUCCESS}
    assert set(marks(instance, OTHER_KEY)) == {"2024-01-14", "2024-01-15"}


def test_a_damaged_file_is_fetched_anew_in_the_same_run(desk, instance) -> None:
    """It is moved aside as it was, with a record; its days are asked for again and marked."""
    backfill(desk, instance, PLAN)
    path = next((desk.lake.root / "klines").rglob("2024.parquet"))
    path.write_bytes(b"no parquet")

    result = backfill(desk, instance, BOTH)

    [record] = read_set_aside(desk.lake.root)
    assert result.failed_runs == []
    assert (desk.lake.root / record.original, record.series) == (path, HOURS)
    assert (desk.lake.root / record.kept).read_bytes() == b"no parquet"
    assert set(marks(instance, KEY)) == set(marks(instance, OTHER_KEY)) == DAYS
    assert desk.equals_truth(HOURS, FIRST, END)


def test_a_damaged_file_that_nobody_can_replace_fails_its_series_alone(desk, instance) -> None:
    """Its days are missing and named; the other series is committed and marked."""
    backfill(desk, instance, PLAN)
    path = next((desk.lake.root / "klines").rglob("2024.parquet"))
    path.write_bytes(b"no parquet")
    for day in DAYS:
        spoil(desk, day, "BTCUSDT")

    result = backfill(desk, instance, BOTH)

    assert result.failed_runs == ["1 series fell short: binance/spot/BTCUSDT/1h"]
    assert desk.rows(HOURS, FIRST, END) == []
    assert set(marks(instance, OTHER_KEY)) == DAYS
    assert desk.equals_truth(OTHER, FIRST, END)


def test_a_run_that_is_stopped_is_canceled(desk, instance) -> None:
    """Files in work are finished, no other is begun; committed days stay and are told of."""
    desk.configure({"symbols": ["BTCUSDT"], "intervals": ["1m"], "end": None})
    plan = RunPlan(FIRST, date(2024, 6, 1), (Series.parse("binance/spot/BTCUSDT/1m"),))
    told = []

    def stop_after_one(_series, days) -> None:
        told.extend(days)
        foreground.stop.set()

    try:
        result = backfill(desk, instance, plan, parallel=1, on_days=stop_after_one)
    finally:
        foreground.stop.clear()

    [run] = instance.get_runs()
    assert result.interrupted
    assert run.status is dg.DagsterRunStatus.CANCELED
    assert FIRST in {day.day for day in told if day.rows}
    assert desk.rows("binance/spot/BTCUSDT/1m", FIRST, date(2024, 1, 11))


def test_history_counts_errors_in_a_row(desk, home) -> None:
    """Failures since the last success, with the newest reason; `status` asks the lake alone."""

    def standing() -> Standing:
        return read_history(desk.lake.root).feeds["binance_spot"]

    assert read_history(desk.lake.root).feeds == {}
    with open_instance(home) as instance:
        backfill(desk, instance, PLAN)
        success = standing()
        spoil(desk, "2024-01-13", "BTCUSDT")
        for _ in range(2):
            backfill(desk, instance, RunPlan(END, date(2024, 1, 15), (HOURS,)))
        failures = standing()

    done = desk.run("status", "--format", "json", environ={"DAGSTER_HOME": str(home / "none")})

    [feed] = json.loads(done.stdout)
    assert (success.errors_in_a_row, success.why) == (0, "")
    assert success.last_success_ms == success.last_run_ms > 0
    assert failures.errors_in_a_row == 2
    assert failures.last_success_ms == success.last_success_ms < failures.last_run_ms
    assert "BTCUSDT" in failures.why
    assert (feed["result"], feed["errors_in_a_row"], feed["why"]) == ("failure", 2, failures.why)


def test_the_runs_of_one_call_count_once(desk, instance) -> None:
    """A command that needs two runs and fails in both made one error, not two."""
    spoil(desk, "2024-01-10", "BTCUSDT")
    spoil(desk, "2024-01-13", "BTCUSDT")
    plans = [RunPlan(day, day + ONE_DAY, (HOURS,)) for day in (FIRST, END)]

    result = backfill(desk, instance, *plans)

    assert len(result.failed_runs) == 2
    assert read_history(desk.lake.root).feeds["binance_spot"].errors_in_a_row == 1


def test_a_feed_whose_steps_all_succeeded_did_not_fail(desk, instance) -> None:
    """Two feeds share a run; the one that fell short fails, the other one does not."""
    desk.configure({"end": "2024-01-20"}, {"market": "um", "end": "2024-01-20"})
    desk.sandbox.faults.add(Fault("*/spot/*BTCUSDT-1h-2024-01-11.zip", "corrupt"))
    desk.sandbox.faults.add(Fault("/api/v3/klines", "code0"))

    result = backfill(desk, instance, RunPlan(FIRST, END, tuple(desk.catalog().all_series())))
    note_failed_runs(instance, desk.catalog(), 1)

    feeds = read_history(desk.lake.root).feeds
    assert len(result.failed_runs) == 1
    assert feeds["binance_spot"].errors_in_a_row == 1
    assert feeds["binance_um"].errors_in_a_row == 0


def test_runs_of_killed_commands_are_ended(home) -> None:
    """A run whose process is gone becomes a failure; one at work or on another host stays."""
    me = psutil.Process()
    workers = {
        "gone": f"{socket.gethostname()}/{2**22 + 1}/1.00",
        "another": f"{socket.gethostname()}/{os.getpid()}/1.00",  # its number, given anew
        "working": worker_tag()[WORKER_TAG],
        "elsewhere": f"another-host/{me.pid}/1.00",
    }
    with open_instance(home) as instance:
        runs = {
            name: instance.create_run_for_job(_no_job, tags={WORKER_TAG: worker})
            for name, worker in workers.items()
        }
        for run in runs.values():
            instance.report_engine_event("begun", run)
            instance.handle_run_event(run.run_id, _started(run))
    with open_instance(home) as instance:
        statuses = {
            name: instance.get_run_by_id(run.run_id).status.value for name, run in runs.items()
        }

    assert statuses == {
        "gone": "FAILURE", "another": "FAILURE", "working": "STARTED", "elsewhere": "STARTED",
    }  # fmt: skip


@dg.job
def _no_job() -> None:
    """Do nothing."""


def _started(run) -> dg.DagsterEvent:
    return dg.DagsterEvent(dg.DagsterEventType.RUN_START.value, run.job_name, message="begun")


def test_dagster_alone_materializes_days(desk, instance) -> None:
    """Without our commands, as the UI and the daemon do it: one day, then a range."""
    defs = build_definitions(desk.catalog())
    job = defs.resolve_implicit_global_asset_job_def()

    one = job.execute_in_process(
        instance=instance, asset_selection=[KEY], partition_key="2024-01-10"
    )
    ranged = job.execute_in_process(
        instance=instance,
        asset_selection=[KEY, OTHER_KEY],
        tags={RANGE_START: "2024-01-11", RANGE_END: "2024-01-12"},
        run_config={"ops": {"binance_spot_1h": {"config": {"parallel": 1}}}},
    )

    assert one.success
    assert ranged.success
    assert set(marks(instance, KEY)) == DAYS
    assert set(marks(instance, OTHER_KEY)) == DAYS - {"2024-01-10"}


@pytest.mark.parametrize("config", [{"parallel": 65}, {"paralel": 2}], ids=["too-many", "typo"])
def test_a_wrong_run_configuration_is_refused(desk, instance, config) -> None:
    """Before anything is asked, with the name of what is wrong."""
    job = build_definitions(desk.catalog()).resolve_implicit_global_asset_job_def()

    with pytest.raises(Exception, match="paral"):
        job.execute_in_process(
            instance=instance,
            asset_selection=[KEY],
            partition_key="2024-01-10",
            run_config={"ops": {"binance_spot_1h": {"config": config}}},
        )

    assert desk.asked("/data/", "klines") == []


def test_a_listener_hears_only_while_its_context_lasts(desk, instance) -> None:
    """A later run of the same process is none of its business."""
    heard = []
    with foreground.listening(lambda series, _days: heard.append(series)):
        backfill(desk, instance, PLAN)
    backfill(desk, instance, RunPlan(FIRST, END, (OTHER,)))

    assert heard == [HOURS]
