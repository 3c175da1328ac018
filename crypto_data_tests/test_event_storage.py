"""Our event log beside the stock one: the same rows in the same order, with fewer transactions."""

import multiprocessing
import os
import sqlite3
import time
from contextlib import closing
from pathlib import Path

import dagster as dg
import psutil
import pytest
import sqlalchemy
from dagster._core.events.log import EventLogEntry
from dagster._core.instance.ref import InstanceRef
from dagster._core.storage.event_log import SqliteEventLogStorage

from crypto_data.orchestration import event_storage
from crypto_data.orchestration.event_storage import BATCHING, BatchingEventLogStorage
from crypto_data.orchestration.instance import SETTINGS
from crypto_data.orchestration.run_database import fill_empty

DAYS = dg.DailyPartitionsDefinition("2024-01-01", end_date="2024-01-31")
KEYS = [dg.AssetKey("bars"), dg.AssetKey("trades")]
TABLES = ("event_logs", "asset_keys", "asset_event_tags", "asset_check_executions")
# When a row was written by the database's own clock, not by the event's.
CLOCKED = {"create_timestamp"}


class Nowhere(dg.IOManager):
    def handle_output(self, context, obj) -> None:
        pass

    def load_input(self, context) -> None:
        pass


@dg.multi_asset(
    outs={key.path[-1]: dg.AssetOut(key=key) for key in KEYS},
    partitions_def=DAYS,
    backfill_policy=dg.BackfillPolicy.single_run(),
    check_specs=[
        dg.AssetCheckSpec("whole", asset="bars"),
        dg.AssetCheckSpec("daily", asset="trades"),
    ],
)
def fetch(context):
    """Materialize both assets day by day; the first with a tag, the second observed too."""
    for number, day in enumerate(context.partition_keys):
        for key in KEYS:
            context.add_asset_metadata({"rows": number}, asset_key=key, partition_key=day)
    context.log_event(dg.AssetObservation(KEYS[1], partition="2024-01-02"))
    context.log_event(
        dg.AssetMaterialization(KEYS[0], partition="2024-01-03", tags={"dagster/data_version": "7"})
    )
    yield dg.Output(None, output_name="bars")
    yield dg.AssetCheckResult(asset_key=KEYS[0], check_name="whole", passed=True)
    yield dg.Output(None, output_name="trades")
    yield dg.AssetCheckResult(asset_key=KEYS[1], check_name="daily", passed=False)


def run_all_days(instance: dg.DagsterInstance) -> dg.ExecuteInProcessResult:
    """Materialize all days in one run."""
    tags = {
        "dagster/asset_partition_range_start": "2024-01-01",
        "dagster/asset_partition_range_end": "2024-01-30",
    }
    return dg.materialize(
        [fetch], instance=instance, tags=tags, resources={"io_manager": Nowhere()}
    )


def make_home(folder: Path, settings: str) -> Path:
    """Return a new home of Dagster's with some settings."""
    folder.mkdir()
    (folder / "dagster.yaml").write_text(settings)
    return folder


def open_home(home: Path) -> dg.DagsterInstance:
    return dg.DagsterInstance.from_ref(InstanceRef.from_dir(str(home)))


@pytest.fixture
def stock_home(tmp_path, monkeypatch) -> Path:
    """Return the home of Dagster's own storage, which writes event by event."""
    for name in BATCHING:
        monkeypatch.setenv(name, "")
    monkeypatch.setenv("DAGSTER_EVENT_BATCH_SIZE", "0")
    return make_home(tmp_path / "stock", "telemetry: {enabled: false}\n")


@pytest.fixture
def home(tmp_path, monkeypatch) -> Path:
    """Return a home with our settings, in a process without our environment."""
    for name in BATCHING:
        monkeypatch.delenv(name, raising=False)
    return make_home(tmp_path / "ours", SETTINGS.read_text())


def rows_of(path: Path, table: str) -> list[dict]:
    """Return all rows of a table in the order they were added."""
    with closing(sqlite3.connect(path)) as database:
        database.row_factory = sqlite3.Row
        found = database.execute(f"SELECT * FROM {table} ORDER BY rowid").fetchall()
    return [
        {name: value for name, value in dict(row).items() if name not in CLOCKED} for row in found
    ]


def made_of(path: Path) -> tuple[list[str], list[str], str]:
    """Return the tables and indices of a database, its revision, and how it keeps its journal."""
    with closing(sqlite3.connect(path)) as database:
        found = database.execute("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL").fetchall()
        revisions = database.execute("SELECT version_num FROM alembic_version").fetchall()
        (journal,) = database.execute("PRAGMA journal_mode").fetchone()
    return sorted(sql for (sql,) in found), [name for (name,) in revisions], journal


def batches_of(events: list[EventLogEntry]) -> list[list[EventLogEntry]]:
    """Return the events in stretches that can be stored at once, others alone."""
    batches: list[list[EventLogEntry]] = []
    for event in events:
        before = batches[-1][-1] if batches else None
        if before and all(event_storage._is_batchable(one) for one in (before, event)):
            batches[-1].append(event)
        else:
            batches.append([event])
    return batches


@pytest.fixture
def told(stock_home) -> list[EventLogEntry]:
    """Return the events of a run of 30 days and two assets with checks, in their order."""
    with open_home(stock_home) as instance:
        run = run_all_days(instance)
        return list(instance.event_log_storage.get_logs_for_run(run.run_id))


def test_batches_leave_the_rows_of_single_events(told, tmp_path) -> None:
    """Every row of both databases, ids and order included: what sensors and pages read."""
    stock = SqliteEventLogStorage(str(tmp_path / "single"))
    ours = BatchingEventLogStorage(str(tmp_path / "batched"))
    for event in told:
        stock.store_event(event)
    sizes = []
    for batch in batches_of(told):
        sizes.append(len(batch))
        ours.store_event_batch(batch)
    stock.dispose()
    ours.dispose()

    assert max(sizes) > 30
    for file in ("index.db", f"{told[0].run_id}.db"):
        for table in TABLES:
            single, batched = (
                rows_of(tmp_path / one / file, table) for one in ("single", "batched")
            )
            assert batched == single, (file, table)
    assert rows_of(tmp_path / "batched" / "index.db", "asset_check_executions")
    assert rows_of(tmp_path / "batched" / "index.db", "asset_event_tags")


def test_planned_events_of_many_assets_are_one_batch(told, tmp_path) -> None:
    """Planned events of several assets and of checks go together, as Dagster sends them."""
    kinds = (
        dg.DagsterEventType.ASSET_MATERIALIZATION_PLANNED,
        dg.DagsterEventType.ASSET_CHECK_EVALUATION_PLANNED,
    )
    planned = [event for event in told if event.dagster_event_type in kinds]
    materialized = [
        event
        for event in told
        if event.dagster_event_type is dg.DagsterEventType.ASSET_MATERIALIZATION
    ]
    mixed = [*materialized, *planned, *materialized[:1]]
    stock = SqliteEventLogStorage(str(tmp_path / "single"))
    ours = BatchingEventLogStorage(str(tmp_path / "batched"))
    for event in mixed:
        stock.store_event(event)
    ours.store_event_batch(mixed)

    assert {event.dagster_event_type for event in planned} == set(kinds)
    for table in TABLES:
        single, batched = (
            rows_of(tmp_path / one / "index.db", table) for one in ("single", "batched")
        )
        assert batched == single, table


def shown(instance: dg.DagsterInstance, run_id: str) -> dict[str, list]:
    """Return what Dagster's pages and sensors ask for, without ids of runs and clock times."""
    logs = [
        (entry.dagster_event_type, entry.dagster_event.asset_key, entry.dagster_event.partition)
        for entry in instance.all_logs(run_id)
        if entry.is_dagster_event
    ]
    found = {"logs": [one for one in logs if one[0] is not dg.DagsterEventType.ENGINE_EVENT]}
    for key in KEYS:
        name = key.to_user_string()
        found[f"{name} records"] = [
            (record.partition_key, record.asset_materialization.metadata)
            for record in instance.fetch_materializations(key, limit=1000).records
        ]
        found[f"{name} observations"] = [
            record.partition_key for record in instance.fetch_observations(key, limit=1000).records
        ]
        found[f"{name} days"] = sorted(instance.get_materialized_partitions(key))
        latest = instance.get_latest_materialization_event(key).asset_materialization
        found[f"{name} latest"] = [latest.partition, latest.metadata]
    return found


def test_a_run_shows_the_same_in_both(stock_home, home, monkeypatch) -> None:
    """One real run in each: logs, materializations, observations and days are equal."""
    with open_home(stock_home) as instance:
        stock = shown(instance, run_all_days(instance).run_id)
    for name in BATCHING:
        monkeypatch.delenv(name, raising=False)
    with open_home(home) as instance:
        ours = shown(instance, run_all_days(instance).run_id)

    one_for_all = [
        one for one in stock["logs"]
        if one[0] is not dg.DagsterEventType.ASSET_MATERIALIZATION_PLANNED
    ]  # fmt: skip
    planned = [
        one for one in ours["logs"]
        if one[0] is dg.DagsterEventType.ASSET_MATERIALIZATION_PLANNED
    ]  # fmt: skip
    assert [one for one in ours.pop("logs") if one not in planned] == one_for_all
    assert len(stock.pop("logs")) > len(one_for_all) + 50  # one planned event a day and asset
    assert sorted(planned) == [(planned[0][0], key, None) for key in KEYS]
    assert ours == stock


def test_the_settings_alone_choose_it(home, monkeypatch) -> None:
    """A copy of our `dagster.yaml` works in any folder, in any process, without `.env`."""
    monkeypatch.delenv("DAGSTER_HOME", raising=False)

    with open_home(home) as instance:
        run_all_days(instance)
        storage = instance.event_log_storage
        sizes = {name: os.environ[name] for name in BATCHING}

    assert isinstance(storage, BatchingEventLogStorage)
    assert sizes == BATCHING
    assert (home / "history" / "runs" / "index.db").exists()


def test_either_storage_opens_what_the_other_wrote(stock_home) -> None:
    """A home of the stock storage goes on with ours, and back."""
    with open_home(stock_home) as instance:
        first = run_all_days(instance).run_id
    (stock_home / "dagster.yaml").write_text(SETTINGS.read_text())
    with open_home(stock_home) as instance:
        second = run_all_days(instance).run_id
        logs = [len(instance.all_logs(run)) for run in (first, second)]
    (stock_home / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    with open_home(stock_home) as instance:
        assert [len(instance.all_logs(run)) for run in (first, second)] == logs
        assert len(instance.fetch_materializations(KEYS[0], limit=1000).records) == 62


def test_a_batch_that_fails_leaves_nothing(told, tmp_path) -> None:
    """A database that refuses one row of a batch has none of it; single events then work."""
    materialized = [
        event
        for event in told
        if event.dagster_event_type is dg.DagsterEventType.ASSET_MATERIALIZATION
    ]
    ours = BatchingEventLogStorage(str(tmp_path))
    index, run = tmp_path / "index.db", tmp_path / f"{told[0].run_id}.db"
    with closing(sqlite3.connect(index)) as database:
        database.execute(
            "CREATE TRIGGER refuse BEFORE INSERT ON event_logs WHEN NEW.partition = '2024-01-29' "
            "BEGIN SELECT RAISE(ABORT, 'no'); END"
        )
        database.commit()

    with pytest.raises(Exception, match="no"):
        ours.store_event_batch(materialized)

    assert rows_of(index, "event_logs") == rows_of(run, "event_logs") == []
    with closing(sqlite3.connect(index)) as database:
        database.execute("DROP TRIGGER refuse")
        database.commit()
    for event in materialized:
        ours.store_event(event)
    assert len(rows_of(index, "event_logs")) == len(rows_of(run, "event_logs")) == len(materialized)


def test_a_commit_that_fails_leaves_no_day_that_its_run_does_not_know(told, tmp_path) -> None:
    """Housekeeping asks the run's log, the pages ask the index: the index is the later one."""
    materialized = [
        event
        for event in told
        if event.dagster_event_type is dg.DagsterEventType.ASSET_MATERIALIZATION
    ]
    ours = BatchingEventLogStorage(str(tmp_path))
    committed = []

    def refuse_the_second(connection) -> None:
        committed.append(connection.engine.url.database)
        if len(committed) == 2:
            raise OSError("no space left on device")

    ours.get_logs_for_run(told[0].run_id)  # the making of the databases commits too
    ours.has_asset_key_index_cols()
    sqlalchemy.event.listen(sqlalchemy.engine.Engine, "commit", refuse_the_second)
    try:
        with pytest.raises(OSError, match="no space"):
            ours.store_event_batch(materialized)
    finally:
        sqlalchemy.event.remove(sqlalchemy.engine.Engine, "commit", refuse_the_second)
    ours.dispose()

    assert [Path(one).stem for one in committed] == [told[0].run_id, "index"]
    assert len(rows_of(tmp_path / f"{told[0].run_id}.db", "event_logs")) == len(materialized)
    assert rows_of(tmp_path / "index.db", "event_logs") == []


def _store_and_stay(folder: str, events: list[EventLogEntry]) -> None:
    ours = BatchingEventLogStorage(folder)
    for event in events:
        ours.store_event(event)
    time.sleep(600)  # with its databases open, as a worker between two series


@pytest.mark.slow
def test_a_page_sees_the_events_of_another_process_as_they_come(told, tmp_path) -> None:
    """The web server watches a run that a worker writes: nothing waits for the worker's end."""
    ours = BatchingEventLogStorage(str(tmp_path))
    ours.store_event(told[0])
    seen = []
    writer = multiprocessing.get_context("spawn").Process(
        target=_store_and_stay, args=(str(tmp_path), told[1:9]), daemon=True
    )
    writer.start()
    ours.watch(told[0].run_id, None, lambda event, _cursor: seen.append(event))

    deadline = time.monotonic() + 60
    while len(seen) < 9 and time.monotonic() < deadline:
        time.sleep(0.05)
    is_at_work = writer.is_alive()
    ours.dispose()
    writer.kill()

    assert seen == told[:9]
    assert is_at_work


def test_events_of_several_runs_are_stored_one_by_one(told, tmp_path) -> None:
    """What is no batch of Dagster's is stored all the same."""
    ours = BatchingEventLogStorage(str(tmp_path))
    other = [event._replace(run_id="other") for event in told[:5]]

    ours.store_event_batch([*told, *other])

    assert len(ours.get_logs_for_run(told[0].run_id)) == len(told)
    assert len(ours.get_logs_for_run("other")) == 5


def test_a_database_that_another_process_removed_is_made_anew(told, tmp_path) -> None:
    """`dagster run wipe` elsewhere: events that come later land in the new files."""
    ours = BatchingEventLogStorage(str(tmp_path))
    ours.store_event_batch(told)

    SqliteEventLogStorage(str(tmp_path)).wipe()
    emptied = ours.get_logs_for_run(told[0].run_id)
    for event in told[:3]:
        ours.store_event(event)

    assert emptied == []
    assert len(rows_of(tmp_path / f"{told[0].run_id}.db", "event_logs")) == 3


def test_a_run_gets_the_tables_that_dagster_makes(told, tmp_path, monkeypatch) -> None:
    """The database of a run is a copy of the empty index; Dagster itself makes that one alone."""
    stock = SqliteEventLogStorage(str(tmp_path / "stock"))
    stock.store_event(told[0])
    ours = BatchingEventLogStorage(str(tmp_path / "ours"))
    made = []
    monkeypatch.setattr(ours, "_initdb", made.append)
    ours.store_event(told[0])
    ours.dispose()

    assert made == []
    name = f"{told[0].run_id}.db"
    assert made_of(tmp_path / "ours" / name) == made_of(tmp_path / "stock" / name)
    assert made_of(tmp_path / "ours" / name)[2] == "wal"


def test_a_database_that_is_half_made_is_left_to_dagster(told, tmp_path) -> None:
    """Where a kill left some tables, none of them is made twice, and events can be stored."""
    ours = BatchingEventLogStorage(str(tmp_path))
    path = tmp_path / f"{told[0].run_id}.db"
    with closing(sqlite3.connect(path)) as left:
        left.execute("CREATE TABLE secondary_indexes (id INTEGER)")

    assert not fill_empty(path, tmp_path / "index.db")
    assert not fill_empty(tmp_path / "new.db", tmp_path / "nowhere.db")
    assert not (tmp_path / "nowhere.db").exists()
    ours.store_event(told[0])
    assert len(rows_of(path, "event_logs")) == 1


def test_few_databases_stay_open(told, tmp_path) -> None:
    """A web server that reads hundreds of runs does not run out of files."""
    ours = BatchingEventLogStorage(str(tmp_path))
    for number in range(3 * event_storage.MOST_OPEN):
        ours.store_event(told[0]._replace(run_id=f"run{number}"))

    files = {one.path for one in psutil.Process().open_files() if one.path.endswith(".db")}
    here = {path for path in files if Path(path).parent == tmp_path}
    ours.dispose()
    after = {one.path for one in psutil.Process().open_files()}

    assert len(here) <= event_storage.MOST_OPEN
    assert str(tmp_path / "index.db") in here
    assert not here & after


def _store_many(folder: str, events: list[EventLogEntry], name: str) -> None:
    ours = BatchingEventLogStorage(folder)
    for number in range(5):
        ours.store_event_batch([one._replace(run_id=f"{name}-{number}") for one in events])
    os._exit(0)  # without closing anything, as a kill would


@pytest.mark.slow
def test_processes_share_the_index_and_die_without_loss(told, tmp_path) -> None:
    """Four processes write batches at once and end without closing: every event is there."""
    materialized = [
        event
        for event in told
        if event.dagster_event_type is dg.DagsterEventType.ASSET_MATERIALIZATION
    ]
    BatchingEventLogStorage(str(tmp_path)).dispose()
    spawn = multiprocessing.get_context("spawn")
    writers = [
        spawn.Process(target=_store_many, args=(str(tmp_path), materialized, f"writer{one}"))
        for one in range(4)
    ]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(120)

    rows = rows_of(tmp_path / "index.db", "event_logs")
    runs = {row["run_id"] for row in rows}
    assert [writer.exitcode for writer in writers] == [0] * 4
    assert len(rows) == 20 * len(materialized)
    assert len(runs) == 20
    for run in runs:
        days = [row["partition"] for row in rows if row["run_id"] == run]
        assert days == [event.dagster_event.partition for event in materialized]
        assert len(rows_of(tmp_path / f"{run}.db", "event_logs")) == len(materialized)
