"""What looks after the lake between schedules: gaps, the archive's changes, checks, alerts.

Each sensor reads the ledger's index and asks for few runs. What is due belongs to `mending`, what
is trouble to `watching`, what is judged to `orchestration.checks`.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date

import dagster as dg

from crypto_data.catalog.configuration import Catalog
from crypto_data.harvest import Aim
from crypto_data.intervals import HOUR_MS, MINUTE_MS
from crypto_data.lake.census import Census, take_census
from crypto_data.lake.feeds import current_wishes, exchange_ms
from crypto_data.making.due import unmade_days
from crypto_data.mending import (
    busy_with_made,
    due_gaps,
    plan_errands,
    plan_roll,
    provisional_days,
)
from crypto_data.orchestration.checks import due_checks
from crypto_data.orchestration.errands import busy_errands, run_request
from crypto_data.orchestration.judging import judging_config
from crypto_data.orchestration.names import CHECKS_JOB, asset_keys
from crypto_data.orchestration.resources import current_clock, watch_lake
from crypto_data.orchestration.runs import failed_jobs, note_failed_runs
from crypto_data.orchestration.schedules import is_catching_up, last_turns_ms
from crypto_data.partitions import day_of
from crypto_data.sources.connect import local_ms

GAP_SECONDS = 60
REVISION_SECONDS = 900
CHECK_SECONDS = 300
ALERT_SECONDS = 60

# The archive is looked at again so often for days that wait for it, and for sealed ones.
REVISED_AGAIN_MS = HOUR_MS
# A run that fails before it has noted anything is asked for again after so long.
MEND_AGAIN_MS = 15 * MINUTE_MS

Requests = Iterator[dg.RunRequest | dg.SkipReason]


def build_sensors(catalog: Catalog) -> list[dg.SensorDefinition]:
    """Return all sensors of a configuration, running from the start."""
    return [
        _gap_sensor(catalog),
        _revision_sensor(catalog),
        _check_sensor(catalog),
        _alert_sensor(catalog),
    ]


def _census(catalog: Catalog) -> Census:
    return take_census(catalog.lake, local_ms(), current_wishes(catalog))


def _everything(catalog: Catalog) -> dg.AssetSelection:
    """Return all series by their groups: names of a thousand series would not fit a page."""
    return dg.AssetSelection.groups(*(feed.name for feed in catalog.feeds))


def _today() -> date:
    """Return the first day that has no partition yet, by this machine's clock as Dagster does."""
    return day_of(local_ms())


def _gap_sensor(catalog: Catalog) -> dg.SensorDefinition:
    keys = asset_keys(catalog.all_series())

    @dg.sensor(
        name="gaps",
        asset_selection=_everything(catalog),
        minimum_interval_seconds=GAP_SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Asks again for partial and missing days whose wait is over, newest first, and "
        "makes days anew whose finer klines have changed.",
    )
    def mend_gaps(context: dg.SensorEvaluationContext) -> Requests:
        now_ms = current_clock(catalog)
        turns_ms = last_turns_ms(catalog, now_ms)
        runs = _census(catalog).runs
        gaps, unmade = due_gaps(runs, catalog, now_ms, turns_ms), unmade_days(runs, catalog)
        asking = {
            series
            for series, feed in catalog.all_series().items()
            if is_catching_up(feed, context.last_tick_completion_time)
        }
        busy = busy_errands(context.instance, catalog)
        errands = [
            errand
            for days, taken in ((gaps, busy), (unmade, busy_with_made(busy)))
            for errand in plan_errands(
                [one for one in days if one.series not in asking],
                catalog,
                until=_today(),
                busy=taken,
            )
        ]
        if not errands:
            yield dg.SkipReason("no gap is due")
        for errand in errands:
            yield run_request(errand, keys, Aim.MEND, moment=f"{now_ms // MEND_AGAIN_MS}")

    return mend_gaps


def _revision_sensor(catalog: Catalog) -> dg.SensorDefinition:
    keys = asset_keys(catalog.all_series())

    @dg.sensor(
        name="revisions",
        asset_selection=_everything(catalog),
        minimum_interval_seconds=REVISION_SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Compares provisional days with the archive, and looks in turn at sealed ones "
        "whose file was published anew.",
    )
    def revise_days(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
        now_ms = current_clock(catalog)
        done = _Rounds.read(context.cursor)
        # A clock measured anew may be a moment behind.
        if abs(now_ms - done.at_ms) < REVISED_AGAIN_MS:
            return dg.SkipReason("the archive was looked at less than an hour ago")
        busy = busy_errands(context.instance, catalog)
        waiting = provisional_days(_census(catalog).runs, catalog)
        errands = plan_errands(waiting, catalog, until=_today(), busy=busy)
        rolled = plan_roll(catalog, done.turn, now_ms)
        if rolled is not None:
            errands.append(rolled)
        moment = str(now_ms // REVISED_AGAIN_MS)
        requests = [run_request(errand, keys, Aim.REVISE, moment=moment) for errand in errands]
        return dg.SensorResult(run_requests=requests, cursor=_Rounds(now_ms, done.turn + 1).write())

    return revise_days


@dataclass(frozen=True, slots=True)
class _Rounds:
    """When the archive was last looked at, and how many pieces of the rolling check are done."""

    at_ms: int = 0
    turn: int = 0

    @classmethod
    def read(cls, cursor: str | None) -> "_Rounds":
        return cls(**json.loads(cursor)) if cursor else cls()

    def write(self) -> str:
        return json.dumps({"at_ms": self.at_ms, "turn": self.turn})


def _check_sensor(catalog: Catalog) -> dg.SensorDefinition:
    @dg.sensor(
        name="checks",
        job_name=CHECKS_JOB,
        minimum_interval_seconds=CHECK_SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Judges the series whose days have changed, or have grown stale.",
    )
    def judge_series(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
        now_ms = current_clock(catalog)
        due, cursor = due_checks(_census(catalog), catalog, context.cursor, now_ms)
        if not due:
            return dg.SkipReason("no series has changed")
        request = dg.RunRequest(run_config=judging_config(due))
        return dg.SensorResult(run_requests=[request], cursor=cursor)

    return judge_series


def _alert_sensor(catalog: Catalog) -> dg.SensorDefinition:
    @dg.sensor(
        name="alerts",
        minimum_interval_seconds=ALERT_SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Tells a person what the lake can't mend, once, and when it is over.",
    )
    def tell_person(context: dg.SensorEvaluationContext) -> dg.SkipReason:
        # The databases' libraries are loaded with the first tick, not with the definitions.
        from crypto_data.orchestration.instance import end_dead_runs  # noqa: PLC0415

        end_dead_runs(context.instance)
        # Not measured: an exchange that does not answer must not keep its own alarm waiting.
        now_ms = exchange_ms(catalog.lake, local_ms())
        note_failed_runs(context.instance, catalog, now_ms)
        report = watch_lake(catalog, failed_jobs(context.instance, now_ms))
        if report.failures:
            # A failed tick is what Dagster shows; the messages wait in the outbox.
            why = "; ".join(map(str, report.failures))
            raise dg.Failure(f"{report.waiting} messages wait: {why}")
        return dg.SkipReason(f"{report.sent} messages sent, {report.waiting} wait")

    return tell_person
