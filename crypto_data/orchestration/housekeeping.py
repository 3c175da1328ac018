"""What is no longer needed goes: old runs with all that is theirs, and replaced files of the lake.

A run that holds a day's newest materialization, or a check's newest evaluation, stays: Dagster
deletes these with it. A run goes whole, its record last, so that the next pass finds what a killed
one has left.
"""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import dagster as dg

from crypto_data.catalog.configuration import Catalog
from crypto_data.intervals import DAY_MS
from crypto_data.lake.superseded import sweep_superseded
from crypto_data.orchestration.names import DOOMED, HOUSEKEEPING_JOB
from crypto_data.orchestration.resources import current_clock

CRON = "15 3 * * *"
RUNS_A_PASS = 200
SECONDS_A_PASS = 60.0

_PAGE = 50
_EVENTS_A_PAGE = 1000
# The next pass goes on behind the last run this one looked at: those that stay are not looked at
# every night.
_PLACE = "crypto_data/housekeeping"

_ENDED = [
    dg.DagsterRunStatus.SUCCESS,
    dg.DagsterRunStatus.FAILURE,
    dg.DagsterRunStatus.CANCELED,
]
_TELLING = {
    dg.DagsterEventType.ASSET_MATERIALIZATION,
    dg.DagsterEventType.ASSET_CHECK_EVALUATION,
}


@dataclass(slots=True)
class Tidied:
    """What one pass did; `is_done` tells whether it came to the end of Dagster's runs."""

    runs_deleted: int = 0
    runs_kept: int = 0
    orphans_deleted: int = 0
    superseded_deleted: int = 0
    is_done: bool = False


def build_housekeeping(catalog: Catalog) -> tuple[dg.JobDefinition, dg.ScheduleDefinition]:
    """Return the job that tidies up, and its daily schedule, running from the start."""

    @dg.op(
        name="tidy",
        out=dg.Out(dg.Nothing),
        description="Deletes runs and replaced files that are old enough, in bounded steps.",
    )
    def tidy_up(context: dg.OpExecutionContext) -> None:
        tidied = tidy(catalog, context.instance, seconds=SECONDS_A_PASS)
        context.log.info(
            "%d runs deleted, %d kept, %d leftovers of runs and %d replaced files deleted%s",
            tidied.runs_deleted,
            tidied.runs_kept,
            tidied.orphans_deleted,
            tidied.superseded_deleted,
            "" if tidied.is_done else "; the rest follows next time",
        )
        context.add_output_metadata(
            {
                "runs_deleted": tidied.runs_deleted,
                "runs_kept": tidied.runs_kept,
                "leftovers_deleted": tidied.orphans_deleted,
                "superseded_files_deleted": tidied.superseded_deleted,
                "more_next_time": not tidied.is_done,
            }
        )

    @dg.job(
        name=HOUSEKEEPING_JOB,
        executor_def=dg.in_process_executor,
        description="Deletes old runs with their events and logs, and files of the lake that "
        "were replaced long enough ago.",
    )
    def housekeeping() -> None:
        tidy_up()

    schedule = dg.ScheduleDefinition(
        name="housekeeping_schedule",
        job=housekeeping,
        cron_schedule=CRON,
        execution_timezone="UTC",
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description="Deletes what is old enough, a bounded piece a night.",
    )
    return housekeeping, schedule


def tidy(catalog: Catalog, instance: dg.DagsterInstance, *, seconds: float) -> Tidied:
    """Delete runs and superseded files that are older than the configuration keeps them."""
    older_than = datetime.now(UTC) - timedelta(days=catalog.keep.run_days)
    tidied = tidy_runs(instance, older_than, seconds=seconds)
    replaced_ms = current_clock(catalog) - catalog.keep.superseded_days * DAY_MS
    tidied.superseded_deleted = sweep_superseded(catalog.lake, replaced_ms)
    return tidied


def tidy_runs(
    instance: dg.DagsterInstance,
    older_than: datetime,
    *,
    seconds: float,
    most: int = RUNS_A_PASS,
) -> Tidied:
    """Delete ended runs that nothing current hangs on, oldest first, each with all its files.

    Args:
        instance: Where Dagster keeps them.
        older_than: Runs that were still at work after this moment stay; aware.
        seconds: No further run is begun after so long.
        most: So many runs are deleted at most.
    """
    from crypto_data.orchestration.run_files import delete_run, sweep_orphans  # noqa: PLC0415 - a database's libraries

    deadline = time.monotonic() + seconds
    tidied = Tidied()
    cursors = instance.daemon_cursor_storage
    place = cursors.get_cursor_values({_PLACE}).get(_PLACE, "")
    for record in instance.get_run_records(dg.RunsFilter(tags={DOOMED: "true"})):
        delete_run(instance, record.dagster_run.run_id)
        tidied.runs_deleted += 1
    while True:
        runs = _old_runs(instance, older_than, place)
        for record in runs:
            if tidied.runs_deleted >= most or time.monotonic() > deadline:
                cursors.set_cursor_values({_PLACE: place})
                return tidied
            if _is_current(instance, record.dagster_run):
                tidied.runs_kept += 1
            else:
                delete_run(instance, record.dagster_run.run_id)
                tidied.runs_deleted += 1
            place = record.create_timestamp.isoformat()
        if len(runs) < _PAGE:
            break
    cursors.set_cursor_values({_PLACE: ""})
    tidied.orphans_deleted = sweep_orphans(instance)
    tidied.is_done = True
    return tidied


def _old_runs(
    instance: dg.DagsterInstance, older_than: datetime, place: str
) -> Sequence[dg.RunRecord]:
    """Return the next page of runs that ended before a moment, oldest first."""
    old = dg.RunsFilter(
        statuses=_ENDED,
        updated_before=older_than,
        created_after=datetime.fromisoformat(place) if place else None,
    )
    return instance.get_run_records(old, limit=_PAGE, order_by="create_timestamp", ascending=True)


def _is_current(instance: dg.DagsterInstance, run: dg.DagsterRun) -> bool:
    """Return whether something newest would be lost with a run."""
    if DOOMED in run.tags:
        return False
    pages = _pages(instance, run.run_id)
    if any(_holds_newest(instance, run.run_id, page) for page in pages):
        return True
    # Without events nobody can tell what it had materialized; Dagster may still show it.
    told = instance.get_records_for_run(run.run_id, limit=1).records
    return bool(run.asset_selection) and not told


def _pages(instance: dg.DagsterInstance, run_id: str) -> Iterator[Sequence[dg.EventLogRecord]]:
    """Yield a run's materializations and check evaluations in bounded pages."""
    cursor = None
    while True:
        found = instance.get_records_for_run(
            run_id, cursor=cursor, of_type=_TELLING, limit=_EVENTS_A_PAGE
        )
        if found.records:
            yield found.records
        if not found.has_more:
            return
        cursor = found.cursor


def _holds_newest(
    instance: dg.DagsterInstance, run_id: str, page: Sequence[dg.EventLogRecord]
) -> bool:
    """Return whether any of these events of a run is the newest of its day, or of its check."""
    days: dict[dg.AssetKey, set[str | None]] = {}
    checks: list[dg.AssetCheckKey] = []
    for record in page:
        event = record.event_log_entry.get_dagster_event()
        if event.event_type is dg.DagsterEventType.ASSET_MATERIALIZATION:
            if event.asset_key:
                days.setdefault(event.asset_key, set()).add(event.partition)
        else:
            checks.append(event.asset_check_evaluation_data.asset_check_key)
    return any(
        _newest_materialized(instance, run_id, key, partitions) for key, partitions in days.items()
    ) or _newest_evaluated(instance, run_id, checks)


def _newest_materialized(
    instance: dg.DagsterInstance, run_id: str, key: dg.AssetKey, partitions: set[str | None]
) -> bool:
    if None in partitions:
        newest = instance.fetch_materializations(key, limit=1).records
        if newest and newest[0].run_id == run_id:
            return True
    named = {partition for partition in partitions if partition is not None}
    if not named:
        return False
    latest = instance.event_log_storage.get_latest_storage_id_by_partition(
        key, dg.DagsterEventType.ASSET_MATERIALIZATION, named
    )
    if not latest:
        return False
    records = instance.fetch_materializations(
        dg.AssetRecordsFilter(asset_key=key, storage_ids=list(latest.values())), limit=len(latest)
    ).records
    return any(record.run_id == run_id for record in records)


def _newest_evaluated(
    instance: dg.DagsterInstance, run_id: str, keys: Sequence[dg.AssetCheckKey]
) -> bool:
    summaries = instance.event_log_storage.get_asset_check_summary_records(keys)
    newest = (one.last_completed_check_execution_record for one in summaries.values())
    return any(record is not None and record.run_id == run_id for record in newest)
