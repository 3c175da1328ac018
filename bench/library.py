"""What the library fetches, without command line and Dagster."""

import threading
from collections.abc import Sequence
from datetime import UTC, date, datetime
from pathlib import Path

from crypto_data.catalog.configuration import load_catalog
from crypto_data.ingest import Job, ingest
from crypto_data.lake.store import Lake
from crypto_data.reports import SeriesReport
from crypto_data.sources.connect import open_chains


def fetch(config: Path, lake: Path, first: date, end: date) -> Sequence[SeriesReport]:
    """Fetch the days `[first, end)` of all series of a configuration into `lake`; return how.

    Raises:
        RuntimeError: a day fell short.
    """
    catalog = load_catalog(config, {}, datetime.now(UTC).date())
    with open_chains(catalog, lake.with_name(f"{lake.name}-state")) as chains:
        jobs = [
            Job(series, chains.chain(feed), first, end)
            for series, feed in catalog.all_series().items()
        ]
        reports = list(
            ingest(
                Lake(lake),
                jobs,
                threads=catalog.sources.concurrency,
                stop=threading.Event(),
                on_days=lambda _series, _days: None,
            )
        )
    for report in reports:
        if not report.is_whole:
            raise RuntimeError(f"the ingest fell short: {report.error or report.short[0]}")
    return reports
