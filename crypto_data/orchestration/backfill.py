"""Run a plan in Dagster, in this process, and say how every day of it ended."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date
from functools import partial
from uuid import uuid4

import dagster as dg

from crypto_data.catalog.configuration import Catalog
from crypto_data.ingest import OnDays
from crypto_data.orchestration.assembly import build_fetching
from crypto_data.orchestration.errands import RANGE_END, RANGE_START
from crypto_data.orchestration.foreground import listening, run_aside, stop
from crypto_data.orchestration.instance import worker_tag
from crypto_data.orchestration.names import CALL_TAG, asset_keys
from crypto_data.orchestration.runs import failure_of
from crypto_data.partitions import ONE_DAY
from crypto_data.planning import RunPlan
from crypto_data.reports import DayReport
from crypto_data.series import Series


@dataclass(slots=True)
class BackfillResult:
    """How the runs of a backfill ended, and every day they reported."""

    days: dict[Series, dict[date, DayReport]] = field(default_factory=dict)
    failed_runs: list[str] = field(default_factory=list)  # what each failed run said
    interrupted: bool = False

    def note(self, series: Series, days: Sequence[DayReport]) -> None:
        """Keep the days of one file."""
        self.days.setdefault(series, {}).update({report.day: report for report in days})


def run_backfill(
    catalog: Catalog,
    plans: Sequence[RunPlan],
    instance: dg.DagsterInstance,
    *,
    parallel: int,
    on_days: OnDays,
) -> BackfillResult:
    """Execute each plan as one run; they follow each other, and one that fails stops no other.

    Args:
        catalog: The configuration.
        plans: What to fetch.
        instance: Where Dagster records it.
        parallel: Files fetched at once; 0 takes the number of the configuration.
        on_days: Told of every file's days as they are committed.
    """
    # Without the checks: these would follow each run, and take longer than a day's klines.
    job = build_fetching(catalog).resolve_implicit_global_asset_job_def()
    keys = asset_keys(catalog.all_series())
    result = BackfillResult()
    tags = {CALL_TAG: uuid4().hex, **worker_tag()}
    with listening(result.note), listening(on_days):
        for plan in plans:
            chosen = [keys[series] for series in plan.series]
            steps = {
                node.name: {"config": {"parallel": parallel, "aim": plan.aim.name}}
                for node in job.get_subset(asset_selection=set(chosen)).nodes
            }
            days = {
                RANGE_START: plan.first.isoformat(),
                RANGE_END: (plan.end - ONE_DAY).isoformat(),
            }
            run = run_aside(partial(_execute, job, chosen, instance, steps, tags | days))
            if run.status is dg.DagsterRunStatus.FAILURE:
                result.failed_runs.append(failure_of(instance, run))
            if stop.is_set():
                break
    result.interrupted = stop.is_set()
    return result


def _execute(
    job: dg.JobDefinition,
    chosen: Sequence[dg.AssetKey],
    instance: dg.DagsterInstance,
    steps: dict[str, dict[str, dict[str, object]]],
    tags: dict[str, str],
) -> dg.DagsterRun:
    """Execute one run to its end and return it as the storage has it."""
    result = job.execute_in_process(
        instance=instance,
        asset_selection=chosen,
        run_config={"ops": steps, "loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
        tags=tags,
        raise_on_error=False,
    )
    return result.dagster_run
