"""What checks found last, and telling Dagster what they find: many at once.

Judging belongs to `orchestration.judging`.
"""

from collections.abc import Collection, Iterable, Iterator
from itertools import islice

import dagster as dg
from dagster._core.storage.asset_check_execution_record import (
    COMPLETED_ASSET_CHECK_EXECUTION_RECORD_STATUSES as COMPLETED,
)
from dagster._core.storage.asset_check_execution_record import AssetCheckExecutionRecord

from crypto_data.orchestration.batches import report_without_run

# Each evaluation says in its metadata up to which moment it has seen the lake.
JUDGED_UNTIL = "judged_until_ms"

# So many evaluations are stored at once: those of fifty series, a second's work.
EVALUATIONS_A_BATCH = 250


def judged_until(
    instance: dg.DagsterInstance, keys: Collection[dg.AssetCheckKey]
) -> dict[dg.AssetCheckKey, int]:
    """Return the newest mark each check saw when it last ended, UTC epoch ms; 0 for never."""
    storage = instance.event_log_storage
    # One question for all; only where a check is planned or broke off, what it found before.
    newest = storage.get_latest_asset_check_execution_by_key(list(keys))
    open_ones = [key for key, record in newest.items() if record.status not in COMPLETED]
    ended: dict[dg.AssetCheckKey, AssetCheckExecutionRecord | None] = {
        **newest,
        **{
            key: summary.last_completed_check_execution_record
            for key, summary in storage.get_asset_check_summary_records(open_ones).items()
        },
    }
    return {key: _mark_of(ended.get(key)) for key in keys}


def _mark_of(record: AssetCheckExecutionRecord | None) -> int:
    # A check that broke off has ended without an evaluation.
    evaluation = record.evaluation if record and record.event else None
    seen = evaluation.metadata.get(JUDGED_UNTIL) if evaluation else None
    return int(str(seen.value)) if seen else 0


def report_evaluations(
    instance: dg.DagsterInstance, evaluations: Iterable[dg.AssetCheckEvaluation]
) -> None:
    """Store evaluations as events without a run, in their order, batch by batch."""
    for found in _pieces(evaluations):
        report_without_run(instance, dg.DagsterEventType.ASSET_CHECK_EVALUATION, found)


def _pieces(
    evaluations: Iterable[dg.AssetCheckEvaluation],
) -> Iterator[list[dg.AssetCheckEvaluation]]:
    waiting = iter(evaluations)
    while found := list(islice(waiting, EVALUATIONS_A_BATCH)):
        yield found
