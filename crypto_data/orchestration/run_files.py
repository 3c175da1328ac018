"""All that Dagster keeps of one run, and how it goes: record, events, evaluations, files.

Imported where it is needed and not before: the databases' libraries take half as long to load as
Dagster. Which runs may go belongs to `orchestration.housekeeping`.
"""

import shutil
import time
from pathlib import Path
from uuid import UUID

import dagster as dg
from dagster._core.storage.asset_check_execution_record import AssetCheckExecutionRecordStatus
from dagster._core.storage.event_log import SqlEventLogStorage, SqliteEventLogStorage
from dagster._core.storage.event_log.schema import AssetCheckExecutionsTable

from crypto_data.orchestration.names import DOOMED

# A file without its run is left alone for so long, whoever is writing it.
_ORPHAN_SECONDS = 3600


def forget_planned_checks(context: dg.AssetExecutionContext) -> None:
    """Take back the checks that Dagster planned for each day of a run.

    A backfill from the web page plans all checks of its series, once a day each, and nobody would
    ever judge them so: a check looks at a whole series.
    """
    storage = context.instance.event_log_storage
    if not isinstance(storage, SqlEventLogStorage):
        return
    planned = AssetCheckExecutionRecordStatus.PLANNED.value
    rows = AssetCheckExecutionsTable
    with storage.index_connection() as connection:
        connection.execute(
            rows.delete().where(
                rows.c.run_id == context.run.run_id, rows.c.execution_status == planned
            )
        )


def delete_run(instance: dg.DagsterInstance, run_id: str) -> None:
    """Delete a run with its events, evaluations, event file and logs.

    Killed halfway, it leaves a run that is marked, which the next pass deletes first.
    """
    storage = instance.event_log_storage
    instance.add_run_tags(run_id, {DOOMED: "true"})
    instance.compute_log_manager.delete_logs(prefix=[run_id])
    storage.delete_events(run_id)
    if isinstance(storage, SqlEventLogStorage):
        # Dagster leaves these behind; it has no door of its own for them.
        with storage.index_connection() as connection:
            connection.execute(
                AssetCheckExecutionsTable.delete().where(
                    AssetCheckExecutionsTable.c.run_id == run_id
                )
            )
    instance.delete_run(run_id)
    _delete_event_file(instance, run_id)


def _delete_event_file(instance: dg.DagsterInstance, run_id: str) -> None:
    """Delete the file that SQLite keeps a run's events in; other storages have none."""
    storage = instance.event_log_storage
    if isinstance(storage, SqliteEventLogStorage):
        path = Path(storage.path_for_shard(run_id))
        for ending in ("-wal", "-shm", "-journal", ""):
            path.with_name(path.name + ending).unlink(missing_ok=True)


def sweep_orphans(instance: dg.DagsterInstance) -> int:
    """Delete event files and logs of runs that Dagster knows no more; return how many."""
    storage = instance.event_log_storage
    logs = Path(instance.storage_directory())
    # Looked at before the runs are: a run is recorded before its first file.
    files: list[Path] = []
    if isinstance(storage, SqliteEventLogStorage):
        files = [Path(storage.path_for_shard(run_id)) for run_id in storage.get_all_run_ids()]
    folders = list(logs.iterdir()) if logs.is_dir() else []
    left = [path for path in (*files, *folders) if _is_run_id(path.stem) and _is_old(path)]
    orphans = [path for path in left if not instance.has_run(path.stem)]
    for path in orphans:
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            _delete_event_file(instance, path.stem)
    return len(orphans)


def _is_run_id(name: str) -> bool:
    try:
        return str(UUID(name)) == name
    except ValueError:
        return False


def _is_old(path: Path) -> bool:
    try:
        return time.time() - path.stat().st_mtime > _ORPHAN_SECONDS
    except FileNotFoundError:
        return False
