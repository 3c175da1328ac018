"""Old runs go, whole and with all their files; what is newest stays; so do days' marks."""

import os
import signal
import sqlite3
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.instance.ref import InstanceRef

from crypto_data.lake.superseded import find_superseded
from crypto_data.orchestration.housekeeping import build_housekeeping, tidy_runs
from crypto_data.orchestration.instance import SETTINGS
from crypto_data.orchestration.run_files import delete_run

DAYS = dg.DailyPartitionsDefinition("2024-01-01", end_date="2024-03-01")
KEY = dg.AssetKey("klines")
CHECK = dg.AssetCheckKey(KEY, "good")


@dg.asset(partitions_def=DAYS, backfill_policy=dg.BackfillPolicy.single_run())
def klines(context: dg.AssetExecutionContext) -> None:
    """Write a line into the run's log, as any step does."""
    sys.stdout.write(f"{context.partition_keys}\n")


@dg.asset
def report() -> None:
    """An asset of the user's own, without partitions."""


@dg.asset_check(asset=KEY, name="good")
def good() -> dg.AssetCheckResult:
    """Judge nothing."""
    return dg.AssetCheckResult(passed=True)


@dg.op
def break_off() -> None:
    """Fail."""
    raise dg.Failure("broken")


@dg.job(executor_def=dg.in_process_executor)
def failing() -> None:
    """Fail."""
    break_off()


DEFS = dg.Definitions([klines, report], asset_checks=[good], jobs=[failing])
NO_CHECKS = dg.Definitions([klines, report])


def open_home(home: Path) -> dg.DagsterInstance:
    """Open a home as Dagster's own processes do: SQLite, logs kept in files."""
    home.mkdir(exist_ok=True)
    (home / "dagster.yaml").write_bytes(SETTINGS.read_bytes())
    return dg.DagsterInstance.from_ref(InstanceRef.from_dir(str(home)))


@pytest.fixture
def home(tmp_path) -> Path:
    return tmp_path / "dagster"


@pytest.fixture
def instance(home):
    with open_home(home) as opened:
        yield opened


def materialize(instance, first="2024-01-01", last="2024-01-03", key=KEY) -> str:
    job = NO_CHECKS.resolve_implicit_global_asset_job_def()
    days = {
        "dagster/asset_partition_range_start": first,
        "dagster/asset_partition_range_end": last,
    }
    done = job.execute_in_process(
        instance=instance, asset_selection=[key], tags=days if key == KEY else {}
    )
    return done.run_id


def judge(instance) -> str:
    job = dg.define_asset_job("judging", selection=dg.AssetSelection.checks(CHECK))
    defs = dg.Definitions.merge(DEFS, dg.Definitions(jobs=[job]))
    return defs.resolve_job_def("judging").execute_in_process(instance=instance).run_id


def fail(instance) -> str:
    job = DEFS.resolve_job_def("failing")
    return job.execute_in_process(instance=instance, raise_on_error=False).run_id


def tidy(instance, *, days=-1, **limits):
    """Tidy up as if all runs had ended a day longer ago than `days`."""
    older_than = datetime.now(UTC) - timedelta(days=days)
    return tidy_runs(instance, older_than, **({"seconds": 60} | limits))


def ids(instance) -> set[str]:
    return {run.run_id for run in instance.get_runs()}


def files_of(home, run_id) -> list[Path]:
    return [path for path in home.rglob(f"{run_id}*") if "__ASSET" not in path.name]


def rows_of(home, run_id) -> int:
    """Return how many rows of Dagster's databases belong to a run."""
    count = 0
    for name, tables in (
        ("history/runs/index.db", ("event_logs", "asset_check_executions")),
        ("history/runs.db", ("runs", "run_tags")),
    ):
        with sqlite3.connect(home / name) as connection:
            for table in tables:
                query = f"SELECT count(*) FROM {table} WHERE run_id = ?"
                count += connection.execute(query, (run_id,)).fetchone()[0]
    return count


def test_a_run_with_a_current_day_stays(instance) -> None:
    """One day of three is enough: the run stays, and so does every mark."""
    old = materialize(instance)
    materialize(instance, "2024-01-02", "2024-01-03")

    tidied = tidy(instance)

    assert (tidied.runs_deleted, tidied.runs_kept, tidied.is_done) == (0, 2, True)
    assert old in ids(instance)
    assert len(instance.get_materialized_partitions(KEY)) == 3


def test_a_run_whose_days_were_all_materialized_again_goes_whole(instance, home) -> None:
    """Its record, events, event file and logs are gone; all days are still marked."""
    old, new = materialize(instance), materialize(instance, last="2024-01-04")
    assert files_of(home, old)

    tidied = tidy(instance)

    assert (tidied.runs_deleted, tidied.runs_kept) == (1, 1)
    assert ids(instance) == {new}
    assert files_of(home, old) == []
    assert rows_of(home, old) == 0
    assert len(instance.get_materialized_partitions(KEY)) == 4
    assert instance.get_latest_materialization_event(KEY).run_id == new


def test_failed_and_outdated_check_runs_go(instance, home) -> None:
    """A failed run and a check that was evaluated again go; the newest evaluation stays."""
    failed, old, new = fail(instance), judge(instance), judge(instance)
    mine = materialize(instance, key=dg.AssetKey("report"))

    tidied = tidy(instance)

    assert tidied.runs_deleted == 2
    assert ids(instance) == {new, mine}
    assert rows_of(home, failed) == rows_of(home, old) == 0
    assert files_of(home, failed) == files_of(home, old) == []
    assert instance.get_latest_asset_check_evaluation_record(CHECK).run_id == new


def test_an_outdated_run_of_an_asset_without_partitions_goes(instance) -> None:
    """Assets of the user's own are treated alike."""
    materialize(instance, key=dg.AssetKey("report"))
    new = materialize(instance, key=dg.AssetKey("report"))

    tidy(instance)

    assert ids(instance) == {new}


@pytest.mark.parametrize("status", ["STARTED", "CANCELING", "NOT_STARTED"])
def test_a_run_that_has_not_ended_stays(instance, status) -> None:
    """However old it is."""
    run = instance.create_run_for_job(failing, status=dg.DagsterRunStatus(status))

    tidied = tidy(instance)

    assert (tidied.runs_deleted, ids(instance)) == (0, {run.run_id})


def test_a_run_that_is_young_stays(instance) -> None:
    """Only what ended before the moment goes."""
    run_id = fail(instance)

    assert tidy(instance, days=1).runs_deleted == 0
    assert ids(instance) == {run_id}


def test_a_canceled_run_goes(instance) -> None:
    """It has begun nothing, and nothing hangs on it."""
    run = instance.create_run_for_job(failing)
    instance.report_run_canceled(run)

    tidy(instance)

    assert ids(instance) == set()


def test_a_pass_is_bounded_and_the_next_goes_on(instance) -> None:
    """So many runs a pass; runs that stay are not looked at again before the others had a turn."""
    kept = materialize(instance)
    for _ in range(5):
        fail(instance)

    first = tidy(instance, most=2)
    second = tidy(instance, most=2)
    third = tidy(instance, most=2)

    assert [(one.runs_deleted, one.runs_kept, one.is_done) for one in (first, second, third)] == [
        (2, 1, False), (2, 0, False), (1, 0, True),
    ]  # fmt: skip
    assert ids(instance) == {kept}
    assert tidy(instance, seconds=-1).runs_deleted == 0


def test_a_run_without_its_event_file_stays(home) -> None:
    """What it had materialized can't be told any more; deleting it might delete that."""
    with open_home(home) as instance:
        run_id = materialize(instance)
    for path in (home / "history" / "runs").glob(f"{run_id}*"):
        path.unlink()

    with open_home(home) as instance:
        tidied = tidy(instance)

        assert (tidied.runs_deleted, tidied.runs_kept) == (0, 1)
        assert len(instance.get_materialized_partitions(KEY)) == 3


def test_files_of_unknown_runs_go_and_others_stay(instance, home) -> None:
    """Event files and logs whose run was deleted; not what is young, nor files of others."""
    names = ["0d6f0c5e-0a52-4ab5-9d8e-6fb0fd3aa001", "0d6f0c5e-0a52-4ab5-9d8e-6fb0fd3aa002"]
    events, logs = home / "history" / "runs", home / "storage"
    logs.mkdir(exist_ok=True)
    for name in names:
        (events / f"{name}.db").write_bytes(b"")
        (logs / name).mkdir()
    (logs / "my_asset").mkdir()
    known = materialize(instance)
    long_ago = time.time() - 7200
    for path in (events / f"{names[0]}.db", logs / names[0], logs / "my_asset"):
        os.utime(path, (long_ago, long_ago))
    os.utime(events / f"{known}.db", (long_ago, long_ago))

    tidied = tidy(instance)

    assert tidied.orphans_deleted == 2
    assert not (events / f"{names[0]}.db").exists()
    assert not (logs / names[0]).exists()
    assert (events / f"{names[1]}.db").exists()
    assert (logs / "my_asset").is_dir()
    assert (events / f"{known}.db").exists()


def test_a_folder_that_is_not_there_is_no_error(instance, home) -> None:
    """A home without logs, a lake without anything."""
    assert not (home / "storage" / "nobody").exists()
    assert tidy(instance).is_done


KILLED = """
import sys
from pathlib import Path
import dagster as dg
from dagster._core.instance.ref import InstanceRef
from crypto_data.orchestration.run_files import delete_run
with dg.DagsterInstance.from_ref(InstanceRef.from_dir(sys.argv[1])) as instance:
    print("ready", flush=True)
    for run in instance.get_runs():
        delete_run(instance, run.run_id)
        print(run.run_id, flush=True)
"""


@pytest.mark.slow
def test_a_kill_in_the_middle_leaves_what_the_next_pass_finishes(home) -> None:
    """Wherever it hits: afterwards no run is left, no row and no file of any."""
    with open_home(home) as instance:
        run_ids = [materialize(instance) for _ in range(5)]
        new = materialize(instance)
        for pause in (0.01, 0.04):
            victims = {run.run_id for run in instance.get_runs()} - {new}
            command = [sys.executable, "-W", "ignore", "-c", KILLED.replace(
                "instance.get_runs()", f"[r for r in instance.get_runs() if r.run_id != {new!r}]"
            ), str(home)]  # fmt: skip
            with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as killed:
                killed.stdout.readline()
                time.sleep(pause)
                killed.send_signal(signal.SIGKILL)
            assert victims

        tidied = tidy(instance)

        for path in home.rglob("*"):  # a file that was left is old enough the next day
            os.utime(path, (1, 1))
        again = tidy(instance)
        assert tidied.is_done
        assert again.runs_deleted == 0
        assert ids(instance) == {new}
        assert [rows_of(home, run_id) for run_id in run_ids] == [0] * len(run_ids)
        assert [files_of(home, run_id) for run_id in run_ids] == [[]] * len(run_ids)
        assert len(instance.get_materialized_partitions(KEY)) == 3


def test_a_run_that_was_half_deleted_is_finished(instance, home) -> None:
    """Its events are gone and its record is there: it is not mistaken for one without events."""
    old = materialize(instance)
    materialize(instance)
    instance.add_run_tags(old, {"crypto_data/being_deleted": "true"})
    instance.event_log_storage.delete_events(old)

    tidied = tidy(instance, days=1)

    assert tidied.runs_deleted == 1
    assert rows_of(home, old) == 0


def test_deleting_a_run_twice_is_no_error_for_its_files(instance, home) -> None:
    """A run without logs, and without an event file, is deleted too."""
    run = instance.create_run_for_job(failing)

    delete_run(instance, run.run_id)

    assert rows_of(home, run.run_id) == 0


def test_the_job_tidies_runs_and_replaced_files_and_says_how_many(desk, instance) -> None:
    """As the schedule starts it: counts stand in its log and metadata; it runs from the start."""
    catalog = desk.configure(more="keep: {superseded_days: 0, run_days: 1}\n")
    replaced = desk.lake.root / "_superseded" / "x" / "2024.20240101T000000000Z.parquet"
    replaced.parent.mkdir(parents=True)
    replaced.write_bytes(b"old")
    known = len(list(find_superseded(desk.lake.root)))
    job, schedule = build_housekeeping(catalog)

    done = job.execute_in_process(instance=instance)

    [event] = [one for one in done.all_events if one.is_successful_output]
    told = {name: entry.value for name, entry in event.step_output_data.metadata.items()}
    assert done.success
    assert told == {
        "runs_deleted": 0, "runs_kept": 0, "leftovers_deleted": 0,
        "superseded_files_deleted": known, "more_next_time": False,
    }  # fmt: skip
    assert schedule.default_status is dg.DefaultScheduleStatus.RUNNING
    assert (schedule.cron_schedule, schedule.execution_timezone) == ("15 3 * * *", "UTC")
