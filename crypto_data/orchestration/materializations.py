"""Days of a series as Dagster shows them: a materialization each, stored in batches.

Which days are reported belongs to `orchestration.assets`, for a run, and to `orchestration.mirror`.
"""

from collections.abc import Collection, Sequence
from typing import Any

import dagster as dg
from dagster._core.definitions.source_asset import SYSTEM_METADATA_KEY_SOURCE_ASSET_OBSERVATION
from dagster._core.events import DagsterEvent

from crypto_data.orchestration.batches import batch_marks
from crypto_data.reports import DayReport, SeriesReport


def day_metadata(report: DayReport) -> dict[str, Any]:
    """Return what Dagster shows of a materialized day."""
    shown: dict[str, Any] = {
        "rows": report.rows,
        "expected": report.expected,
        "state": str(report.state),
        "source": report.source or "none",
        "seconds": round(report.seconds, 3),
        "attempts": report.attempts,
    }
    if report.failovers:
        shown["failover"] = report.failovers
    if report.correction:
        shown["correction"] = report.correction
    if report.set_aside:
        shown["set_aside"] = ", ".join(f"{rule}: {count}" for rule, count in report.set_aside)
    return shown


def materialize_days(
    context: dg.AssetExecutionContext, key: dg.AssetKey, days: Sequence[DayReport]
) -> None:
    """Store a materialization of each day, in this order, each with what is known of it.

    The events are those of `context.log_event`, which writes one at a time and keeps them all. An
    Output over a range would write batches too; but the metadata of its days are copied whole for
    each further day of the step, so that a step of n days costs n² / 2.
    """
    step = context.get_step_execution_context()
    for day, mark in zip(days, batch_marks(len(days)), strict=True):
        materialization = dg.AssetMaterialization(
            key, partition=day.day.isoformat(), metadata=day_metadata(day)
        )
        DagsterEvent.asset_materialization(step, materialization, mark)


def stored_output(report: SeriesReport, name: str) -> dg.Output[SeriesReport]:
    """Return the output of a series whose days are all settled and materialized already.

    What is made of the series in the same run waits for it. The mark, by which Dagster knows
    outputs that have told of themselves, keeps it from materializing the days again.
    """
    told = {SYSTEM_METADATA_KEY_SOURCE_ASSET_OBSERVATION: True}
    return dg.Output(report, output_name=name, metadata=told)


def known_days(
    instance: dg.DagsterInstance, key: dg.AssetKey, days: Collection[DayReport]
) -> set[str]:
    """Return those of some days that Dagster shows as materialized already, as partitions."""
    if not days:
        return set()
    return set(
        instance.event_log_storage.get_latest_storage_id_by_partition(
            key,
            dg.DagsterEventType.ASSET_MATERIALIZATION,
            {day.day.isoformat() for day in days},
        )
    )
