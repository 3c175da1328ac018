"""Each feed's schedule: the last closed day of all its series in one run.

Which days those are belongs to `mending`.
"""

from datetime import UTC, datetime, timedelta

import dagster as dg
from dagster._utils.schedules import get_latest_completed_cron_tick

from crypto_data.catalog.configuration import Catalog, Feed
from crypto_data.harvest import Aim
from crypto_data.lake.census import take_census
from crypto_data.lake.feeds import current_wishes
from crypto_data.mending import Errand, last_closed_days, unsettled_from
from crypto_data.orchestration.errands import run_request
from crypto_data.orchestration.names import asset_keys
from crypto_data.orchestration.resources import current_clock
from crypto_data.sources.connect import local_ms

# What the schedule missed while nothing ran is caught up so far back; the gap sensor does the rest.
CATCH_UP_DAYS = 31
# So long after its tick a schedule has had its turn: its run can be seen, or is over.
TURN = timedelta(hours=1)


def build_schedules(catalog: Catalog) -> list[dg.ScheduleDefinition]:
    """Return one schedule a feed, running from the start."""
    return [_build_schedule(catalog, feed) for feed in catalog.feeds]


def _build_schedule(catalog: Catalog, feed: Feed) -> dg.ScheduleDefinition:
    keys = asset_keys(catalog.all_series())

    @dg.schedule(
        name=f"{feed.name}_schedule",
        cron_schedule=feed.schedule,
        execution_timezone="UTC",
        # Its runs take no checks along; without them the job is half as large to build and show.
        target=dg.AssetSelection.groups(feed.name).without_checks(),
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description=f"The last closed day of every series of {feed.name}, in one run.",
    )
    def materialize_last_day(
        context: dg.ScheduleEvaluationContext,
    ) -> dg.RunRequest | dg.SkipReason:
        # Of ticks that were missed Dagster makes up for the latest: one run catches up with all.
        errand = scheduled_errand(catalog, feed)
        if errand is None:
            return dg.SkipReason("every closed day is settled")
        return run_request(
            errand, keys, Aim.FILL, moment=f"{context.scheduled_execution_time:%Y-%m-%dT%H:%M}"
        )

    return materialize_last_day


def scheduled_errand(catalog: Catalog, feed: Feed) -> Errand | None:
    """Return the days a feed's schedule asks for now; None when all of them are settled."""
    clock_ms = current_clock(catalog)
    first, end = last_closed_days(feed, clock_ms, back=CATCH_UP_DAYS)
    census = take_census(catalog.lake, local_ms(), current_wishes(catalog))
    unsettled = unsettled_from(census.runs, feed, first)
    if unsettled is None or unsettled >= end:
        return None
    return Errand(feed, unsettled, end, tuple(sorted(feed.series)))


def last_turns_ms(catalog: Catalog, now_ms: int) -> dict[str, int]:
    """Return by feed name when its schedule last had its turn, by the exchange's clock.

    Args:
        catalog: The configuration.
        now_ms: The exchange's clock, UTC epoch milliseconds. Schedules tick by this machine's.
    """
    ahead_ms = now_ms - local_ms()
    ticks = {feed.name: _last_tick(feed, datetime.now(UTC) - TURN) for feed in catalog.feeds}
    return {
        name: int(tick.timestamp() * 1000) + ahead_ms
        for name, tick in ticks.items()
        if tick is not None
    }


def is_catching_up(feed: Feed, looked_s: float | None) -> bool:
    """Return whether a feed's schedule has ticked since somebody last looked.

    It asks for days right now, in a run that may not be seen yet.

    Args:
        feed: The feed.
        looked_s: When that was, UTC epoch seconds; None for never.
    """
    tick = _last_tick(feed, datetime.now(UTC))
    return looked_s is not None and tick is not None and looked_s < tick.timestamp()


def _last_tick(feed: Feed, before: datetime) -> datetime | None:
    return get_latest_completed_cron_tick(feed.schedule, before, "UTC")
