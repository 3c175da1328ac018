"""Many events at once: Dagster collects those that carry one batch's marks, and stores them whole.

What is told so belongs to `orchestration.materializations`, `mirror` and `evaluations`.
"""

from collections.abc import Iterator, Sequence
from uuid import uuid4

import dagster as dg
from dagster._core.events import (
    BATCH_WRITABLE_EVENTS,
    DagsterEvent,
    DagsterEventBatchMetadata,
    EventSpecificData,
)
from dagster._core.instance.utils import RUNLESS_JOB_NAME, RUNLESS_RUN_ID


def batch_marks(count: int) -> Iterator[DagsterEventBatchMetadata]:
    """Yield the marks of so many events of one batch, the last of which ends it."""
    batch = uuid4().hex
    for left in reversed(range(count)):
        yield DagsterEventBatchMetadata(batch, is_end=left == 0)


def report_without_run(
    instance: dg.DagsterInstance, kind: dg.DagsterEventType, told: Sequence[EventSpecificData]
) -> None:
    """Store events that belong to no run, in their order, as one batch.

    They are those of `report_runless_asset_event`, which takes one at a time. So does a storage
    that takes in batches only what Dagster itself sends so, as that of Postgres.
    """
    in_batches = kind in BATCH_WRITABLE_EVENTS or _takes_any_batch(instance)
    for data, mark in zip(told, batch_marks(len(told)), strict=True):
        event = DagsterEvent(
            event_type_value=kind.value, event_specific_data=data, job_name=RUNLESS_JOB_NAME
        )
        metadata = mark if in_batches else None
        instance.report_dagster_event(event, RUNLESS_RUN_ID, batch_metadata=metadata)


def _takes_any_batch(instance: dg.DagsterInstance) -> bool:
    # Only here: Dagster's storages bring a database's libraries, which definitions do without.
    from dagster._core.storage.event_log import SqliteEventLogStorage  # noqa: PLC0415

    return isinstance(instance.event_log_storage, SqliteEventLogStorage)
