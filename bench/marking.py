"""Let Dagster show series as materialized: `python -m bench.marking CONFIG`.

The first series on all of its feed's days, every series on the last one. Nothing is fetched; the
storage is that of `DAGSTER_HOME`. Prints the first one's asset key.
"""

import os
import sys
from collections import deque
from collections.abc import Iterable
from datetime import UTC, date, datetime
from pathlib import Path

import dagster as dg

from crypto_data.catalog.configuration import load_catalog
from crypto_data.coverage import DayState
from crypto_data.orchestration.instance import open_instance, prepare_home
from crypto_data.orchestration.mirror import Difference, report_days
from crypto_data.orchestration.names import asset_keys
from crypto_data.partitions import ONE_DAY, days_in
from crypto_data.reports import DayReport


def mark(config: Path) -> dg.AssetKey:
    """Tell Dagster as a reconciliation does; return the key of the series that has all days."""
    catalog = load_catalog(config, {}, datetime.now(UTC).date())
    (feed,) = catalog.feeds
    if feed.end is None:
        raise RuntimeError("the feed of a made lake has an end")
    first, *others = asset_keys(catalog.all_series()).values()
    with open_instance(prepare_home(config.parent, os.environ)) as instance:
        _tell(instance, first, days_in(feed.start, feed.end))
        for key in others:
            _tell(instance, key, [feed.end - ONE_DAY])
    return first


def _tell(instance: dg.DagsterInstance, key: dg.AssetKey, days: Iterable[date]) -> None:
    reports = tuple(
        DayReport(day, DayState.COMPLETE, 1, 1, "vision", asked=False, attempts=1) for day in days
    )
    deque(report_days(instance, Difference(key, unreported=reports)), maxlen=0)


if __name__ == "__main__":
    sys.stdout.write("/".join(mark(Path(sys.argv[1])).path))
