"""What ran last for each feed, told by Dagster's runs."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import dagster as dg
from dagster_shared.error import SerializableErrorInfo

# A run carries one such tag for each feed it fetched for.
FEED_TAG = "crypto_data/feed/"

# Enough to count errors in a row; more is "many".
LOOK_BACK = 50

_ENDED = (
    dg.DagsterRunStatus.SUCCESS,
    dg.DagsterRunStatus.FAILURE,
    dg.DagsterRunStatus.CANCELED,
)


@dataclass(frozen=True, slots=True)
class History:
    """The last runs of one feed; times are UTC."""

    last_run: datetime | None
    result: str
    last_success: datetime | None
    errors_in_a_row: int
    why: str


def tag_run(context: dg.AssetExecutionContext, feed: str) -> None:
    """Note on the run that it fetches for a feed."""
    context.instance.add_run_tags(context.run.run_id, {f"{FEED_TAG}{feed}": "true"})


def read_history(instance: dg.DagsterInstance, feed: str) -> History:
    """Return how the last runs of a feed went, newest first."""
    records = instance.get_run_records(
        dg.RunsFilter(tags={f"{FEED_TAG}{feed}": "true"}), limit=LOOK_BACK
    )
    ended = [record for record in records if record.dagster_run.status in _ENDED]
    failures = _failures_in_a_row(ended)
    success = next((r for r in ended if r.dagster_run.status is dg.DagsterRunStatus.SUCCESS), None)
    return History(
        last_run=records[0].create_timestamp if records else None,
        result=records[0].dagster_run.status.value.lower() if records else "never ran",
        last_success=success.create_timestamp if success else None,
        errors_in_a_row=len(failures),
        why=failure_of(instance, failures[0].dagster_run) if failures else "",
    )


def _failures_in_a_row(ended: Sequence[dg.RunRecord]) -> list[dg.RunRecord]:
    failures = []
    for record in ended:
        if record.dagster_run.status is dg.DagsterRunStatus.SUCCESS:
            break
        if record.dagster_run.status is dg.DagsterRunStatus.FAILURE:
            failures.append(record)
    return failures


def failure_of(instance: dg.DagsterInstance, run: dg.DagsterRun) -> str:
    """Return what the first failed step of a run said, else what kept the run from starting."""
    for entry in instance.all_logs(run.run_id, of_type=dg.DagsterEventType.STEP_FAILURE):
        data = entry.get_dagster_event().step_failure_data
        if data.user_failure_data and data.user_failure_data.description:
            return data.user_failure_data.description
        if data.error:
            return _first_cause(data.error)
    for entry in instance.all_logs(run.run_id, of_type=dg.DagsterEventType.RUN_FAILURE):
        error = entry.get_dagster_event().job_failure_data.error
        if error:
            return _first_cause(error)
    return f"run {run.run_id} ended unexpectedly"


def _first_cause(error: SerializableErrorInfo) -> str:
    while error.cause:
        error = error.cause
    return error.message.strip()
