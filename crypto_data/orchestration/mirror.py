"""Whether Dagster shows the days that the lake holds, and telling it of those it does not show.

The lake is the truth: Dagster's storage may have been lost, or a run killed between a commit and
its event. Nothing is ever deleted here: Dagster cannot forget single days.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date, timedelta

import dagster as dg
import pyarrow as pa
from dagster._core.events import StepMaterializationData

from crypto_data.catalog.configuration import Feed
from crypto_data.coverage import DayState
from crypto_data.orchestration.batches import report_without_run
from crypto_data.orchestration.materializations import day_metadata
from crypto_data.reports import DayReport

# So many days are told of in one transaction; a command that is killed loses the batch in work.
AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class Difference:
    """How Dagster and the lake differ on one series."""

    key: dg.AssetKey
    settled: int = 0
    unreported: tuple[DayReport, ...] = ()  # settled in the lake, unknown to Dagster; ascending
    unsettled: tuple[date, ...] = field(default=())  # Dagster shows them, the lake has a gap


def compare(
    instance: dg.DagsterInstance, key: dg.AssetKey, feed: Feed, runs: pa.Table
) -> Difference:
    """Return how Dagster and the lake differ on the days a feed asks for of one series.

    Args:
        instance: Where Dagster keeps what it shows.
        key: The series' asset.
        feed: Its feed.
        runs: The census's runs of days of that series.
    """
    known = instance.get_materialized_partitions(key)
    reports = [
        report
        for report in _settled_days(runs)
        if feed.start <= report.day and (feed.end is None or report.day < feed.end)
    ]
    held = {report.day.isoformat() for report in reports}
    return Difference(
        key,
        len(reports),
        tuple(report for report in reports if report.day.isoformat() not in known),
        tuple(sorted(date.fromisoformat(day) for day in known - held)),
    )


def report_days(instance: dg.DagsterInstance, difference: Difference) -> Iterator[DayReport]:
    """Tell Dagster of each day it does not show, and yield it; a day told of stays told."""
    days = difference.unreported
    for start in range(0, len(days), AT_ONCE):
        told = days[start : start + AT_ONCE]
        materializations = [
            StepMaterializationData(
                dg.AssetMaterialization(
                    difference.key,
                    partition=report.day.isoformat(),
                    metadata=day_metadata(report),
                )
            )
            for report in told
        ]
        kind = dg.DagsterEventType.ASSET_MATERIALIZATION
        report_without_run(instance, kind, materializations)
        yield from told


def _settled_days(runs: pa.Table) -> Iterator[DayReport]:
    """Yield the days that need no repair; none of a series that was never asked for.

    Days on which no bar of a long interval opens are settled without having been asked for.
    """
    rows = runs.to_pylist()
    if not any(row["attempts"] for row in rows):
        return
    for row in rows:
        state = DayState(row["state"])
        if state.is_gap:
            continue
        for number in range(row["days"]):
            yield DayReport(
                row["first_day"] + timedelta(days=number),
                state,
                row["present"],
                row["expected"],
                row["source"] or "",
                asked=False,
                attempts=row["attempts"],
                failovers=row["reason"] or "",
            )
