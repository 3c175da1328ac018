"""What `collect` does after it has fetched: the archive's last word, and alerts.

The daemon's sensors do the same; here it is done once, for those who run no daemon.
"""

import os
from collections.abc import Sequence

from crypto_data.catalog.configuration import Catalog
from crypto_data.cli.options import local_ms
from crypto_data.cli.output import complain
from crypto_data.harvest import Aim
from crypto_data.lake.census import take_census
from crypto_data.lake.feeds import current_wishes, exchange_ms
from crypto_data.making.due import unmade_days
from crypto_data.mending import Errand, plan_errands, plan_roll, provisional_days
from crypto_data.partitions import EPOCH, day_of
from crypto_data.planning import RunPlan

# Days wait for a week or two: their stretches are few.
MOST_RUNS = 20
TIDY_SECONDS = 10.0


def look_after(catalog: Catalog) -> int:
    """Compare what waits for the archive with it, and tell a person of trouble.

    Returns the exit status: 1 when a run failed or a message could not be delivered.
    """
    revised = max(_revise(catalog), _remake(catalog))
    _tidy(catalog)
    return max(revised, _tell(catalog))


def _revise(catalog: Catalog) -> int:
    """Compare provisional days with the archive, and one piece of the sealed ones."""
    runs = take_census(catalog.lake, local_ms(), current_wishes(catalog)).runs
    errands = plan_errands(
        provisional_days(runs, catalog), catalog, until=day_of(local_ms()), most=MOST_RUNS
    )
    now_ms = exchange_ms(catalog.lake, local_ms())
    rolled = plan_roll(catalog, (day_of(now_ms) - EPOCH).days, now_ms)
    errands += [rolled] if rolled else []
    return _run(catalog, errands, Aim.REVISE)


def _remake(catalog: Catalog) -> int:
    """Make the days anew whose finer klines have changed."""
    runs = take_census(catalog.lake, local_ms(), current_wishes(catalog)).runs
    unmade = unmade_days(runs, catalog)
    return _run(
        catalog,
        plan_errands(unmade, catalog, until=day_of(local_ms()), most=MOST_RUNS),
        Aim.MEND,
    )


def _run(catalog: Catalog, errands: Sequence[Errand], aim: Aim) -> int:
    from crypto_data.orchestration.backfill import run_backfill
    from crypto_data.orchestration.foreground import stop, stopping_on_signals
    from crypto_data.orchestration.instance import open_instance, prepare_home

    plans = [RunPlan(one.first, one.end, one.series, aim) for one in errands]
    if not plans or stop.is_set():
        return 0
    home = prepare_home(catalog.path.parent, os.environ)
    with (
        stopping_on_signals(lambda: complain(["stopping"])),
        open_instance(home) as instance,
    ):
        result = run_backfill(catalog, plans, instance, parallel=0, on_days=lambda *_days: None)
    complain(
        f"{series} {report.day}: {report.correction}"
        for series, days in result.days.items()
        for report in days.values()
        if report.correction
    )
    complain(result.failed_runs)
    return 1 if result.failed_runs or result.interrupted else 0


def _tidy(catalog: Catalog) -> None:
    """Delete old runs and replaced files as the housekeeping schedule does; the rest next time."""
    from crypto_data.orchestration.housekeeping import tidy
    from crypto_data.orchestration.instance import open_instance, prepare_home

    with open_instance(prepare_home(catalog.path.parent, os.environ)) as instance:
        tidy(catalog, instance, seconds=TIDY_SECONDS)


def _tell(catalog: Catalog) -> int:
    from crypto_data.orchestration.instance import open_instance, prepare_home
    from crypto_data.orchestration.resources import watch_lake
    from crypto_data.orchestration.runs import failed_jobs

    with open_instance(prepare_home(catalog.path.parent, os.environ)) as instance:
        failed = failed_jobs(instance, exchange_ms(catalog.lake, local_ms()))
    report = watch_lake(catalog, failed)
    complain(f"alert not delivered: {failure}" for failure in report.failures)
    return 1 if report.failures else 0
