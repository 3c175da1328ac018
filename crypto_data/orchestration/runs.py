"""What a run is tagged with, why one failed, and failed runs that told the lake nothing."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import dagster as dg
from dagster._core.execution.stats import StepEventStatus
from dagster_shared.error import SerializableErrorInfo

from crypto_data.alerts.trouble import Trouble
from crypto_data.catalog.configuration import Catalog, Feed
from crypto_data.harvest import Aim
from crypto_data.lake.history import History, note_failed_run, read_history
from crypto_data.orchestration.errands import feeds_of
from crypto_data.orchestration.names import (
    AIM_TAG,
    CALL_TAG,
    CHECKS_JOB,
    FEED_TAG,
    HOUSEKEEPING_JOB,
    asset_keys,
    step_name,
)
from crypto_data.series import Series

# Failed runs are looked for so far back; more of them in that time are noted by a later call.
LOOK_BACK = timedelta(days=1)
MOST_RUNS = 50


def tag_run(context: dg.AssetExecutionContext, feed: str, aim: Aim) -> None:
    """Note on the run for which feed it fetches, and what for."""
    tags = {f"{FEED_TAG}{feed}": "true", AIM_TAG: str(aim)}
    context.instance.add_run_tags(context.run.run_id, tags)


def call_of(run: dg.DagsterRun) -> str:
    """Return what a run counts under: the call of the command it belongs to, else itself."""
    return run.tags.get(CALL_TAG, run.run_id)


def note_failed_runs(instance: dg.DagsterInstance, catalog: Catalog, now_ms: int) -> None:
    """Note in the lake, once, each run that died without noting how it went.

    Args:
        instance: Where Dagster keeps its runs.
        catalog: The configuration.
        now_ms: The exchange's clock, UTC epoch milliseconds.
    """
    history = read_history(catalog.lake)
    keys = asset_keys(catalog.all_series())
    failed = dg.RunsFilter(
        statuses=[dg.DagsterRunStatus.FAILURE], updated_after=datetime.now(UTC) - LOOK_BACK
    )
    for record in instance.get_run_records(failed, limit=MOST_RUNS):
        run = record.dagster_run
        feeds = [
            feed.name
            for feed in feeds_of(run, catalog)
            if not _is_told(history, feed.name, call_of(run))
            and not _is_done(instance, run, feed, keys)
        ]
        if feeds:
            note_failed_run(catalog.lake, call_of(run), feeds, now_ms, failure_of(instance, run))


def failed_jobs(instance: dg.DagsterInstance, now_ms: int) -> list[Trouble]:
    """Return the jobs that look after the lake and whose last run failed.

    Args:
        instance: Where Dagster keeps its runs.
        now_ms: The exchange's clock, UTC epoch milliseconds.
    """
    troubles = []
    for job in (CHECKS_JOB, HOUSEKEEPING_JOB):
        ended = dg.RunsFilter(
            job_name=job, statuses=[dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE]
        )
        for run in instance.get_runs(ended, limit=1):
            if run.status is dg.DagsterRunStatus.FAILURE:
                what = f"The last run of the job {job} failed."
                words = failure_of(instance, run)
                remedy = f"It runs again by itself. See run {run.run_id} on the web page"
                troubles.append(Trouble(f"run/{job}", 1, what, now_ms, words, remedy))
    return troubles


def _is_told(history: History, feed: str, call: str) -> bool:
    """Return whether the history knows of a failed run, or of a later one."""
    noted = history.run_ids.get(feed, ())
    if call not in noted:
        return False
    # It may have died in one step after another had noted a success.
    return noted[-1] != call or history.feeds[feed].errors_in_a_row > 0


def _is_done(
    instance: dg.DagsterInstance,
    run: dg.DagsterRun,
    feed: Feed,
    keys: Mapping[Series, dg.AssetKey],
) -> bool:
    """Return whether all steps of a feed in a failed run succeeded: another feed's step failed."""
    chosen = run.asset_selection
    steps = {
        step_name(feed, series.interval)
        for series in feed.series
        if chosen is None or keys[series] in chosen
    }
    stats = instance.get_run_step_stats(run.run_id)
    return steps <= {one.step_key for one in stats if one.status is StepEventStatus.SUCCESS}


def failure_of(instance: dg.DagsterInstance, run: dg.DagsterRun) -> str:
    """Return what the first failed step of a run said, else what kept the run from starting."""
    for entry in instance.all_logs(run.run_id, of_type=dg.DagsterEventType.STEP_FAILURE):
        data = entry.get_dagster_event().step_failure_data
        if data.user_failure_data and data.user_failure_data.description:
            return data.user_failure_data.description
        if data.error:
            return _first_cause(data.error)
    for entry in instance.all_logs(run.run_id, of_type=dg.DagsterEventType.RUN_FAILURE):
        event = entry.get_dagster_event()
        if event.event_specific_data and event.job_failure_data.error:
            return _first_cause(event.job_failure_data.error)
        if event.message:  # of a run that somebody else found dead
            return event.message
    return f"run {run.run_id} ended unexpectedly"


def _first_cause(error: SerializableErrorInfo) -> str:
    while error.cause:
        error = error.cause
    return error.message.strip()
