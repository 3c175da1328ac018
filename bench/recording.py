"""One Dagster run over days that the lake has already: `python -m bench.recording CONFIG END`.

Prints as JSON the seconds of the run, of the same work through the library, and how many days
Dagster then shows. The storage is that of `DAGSTER_HOME`.
"""

import json
import os
import sys
import time
from datetime import UTC, date, datetime
from pathlib import Path

from bench.library import fetch
from crypto_data.catalog.configuration import load_catalog
from crypto_data.orchestration.backfill import run_backfill
from crypto_data.orchestration.instance import open_instance, prepare_home
from crypto_data.orchestration.names import asset_keys
from crypto_data.planning import RunPlan


def record(config: Path, end: date) -> dict[str, float]:
    """Record the days of a configuration's only series, from its start up to `end`."""
    catalog = load_catalog(config, {}, datetime.now(UTC).date())
    ((series, feed),) = catalog.all_series().items()
    started = time.perf_counter()
    fetch(config, catalog.lake, feed.start, end)
    work = time.perf_counter() - started
    with open_instance(prepare_home(config.parent, os.environ)) as instance:
        plan = RunPlan(feed.start, end, (series,))
        started = time.perf_counter()
        result = run_backfill(
            catalog, [plan], instance, parallel=0, on_days=lambda _series, _days: None
        )
        run = time.perf_counter() - started
        shown = instance.get_materialized_partitions(asset_keys([series])[series])
    if result.failed_runs:
        raise RuntimeError(result.failed_runs[0])
    return {"run": run, "work": work, "shown": len(shown)}


if __name__ == "__main__":
    told = record(Path(sys.argv[1]), date.fromisoformat(sys.argv[2]))
    sys.stdout.write(f"{json.dumps(told)}\n")
