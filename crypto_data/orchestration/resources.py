"""What runs need held open: the configuration, the lake and the sources of each feed.

The only Dagster module that reads the environment. Building sources belongs to
`sources.connect`.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path

import dagster as dg
from pydantic import PrivateAttr

from crypto_data.alerts.delivery import DeliveryReport
from crypto_data.alerts.trouble import Trouble
from crypto_data.catalog.configuration import Catalog, Feed
from crypto_data.catalog.location import find_catalog, state_folder
from crypto_data.delisting import EndedChain, find_ends
from crypto_data.errors import UsageError
from crypto_data.exchange_time import measure_clock, write_measured
from crypto_data.harvest import Aim
from crypto_data.health import health_view
from crypto_data.ingest import Job
from crypto_data.lake.feeds import exchange_ms, is_clock_fresh, read_wishes
from crypto_data.lake.history import Pass, note_pass
from crypto_data.lake.inventory import rebuild_database
from crypto_data.lake.store import Lake
from crypto_data.reports import SeriesReport
from crypto_data.resolving import open_catalog
from crypto_data.series import Series
from crypto_data.sources.connect import Chains, local_ms, open_chains
from crypto_data.watching import watch


def read_catalog(config: str | None = None) -> Catalog:
    """Return the configuration at `config`, else where contract and environment put it.

    Raises:
        CatalogError: it cannot be found or used.
    """
    path = find_catalog(Path(config) if config else None, os.environ, Path.cwd())
    return open_catalog(path, os.environ, datetime.now(UTC).date())


def current_clock(catalog: Catalog) -> int:
    """Return the exchange's clock, UTC epoch milliseconds, measured within the last ten minutes."""
    if not is_clock_fresh(catalog.lake):
        measure_clock(catalog, state_folder(os.environ))
    return exchange_ms(catalog.lake, local_ms())


def watch_lake(catalog: Catalog, also: Sequence[Trouble]) -> DeliveryReport:
    """Look for trouble in the lake and tell a person of it, and of what was found elsewhere."""
    return watch(catalog, state_folder(os.environ), local_ms(), also)


class LakeResource(dg.ConfigurableResource[None]):
    """The lake and the chains of sources behind it, as the configuration describes them."""

    config: str

    _catalog: Catalog = PrivateAttr()
    _feeds: Mapping[Series, Feed] = PrivateAttr()
    _lake: Lake = PrivateAttr()
    _chains: Chains = PrivateAttr()

    @contextmanager
    def yield_for_execution(  # type: ignore[override] # the resource itself is what is held open
        self, context: dg.InitResourceContext
    ) -> Iterator["LakeResource"]:
        """Open connections for the time of one run, and refresh the views after it."""
        del context
        self._catalog = read_catalog(self.config)
        self._feeds = self._catalog.all_series()
        self._lake = Lake(self._catalog.lake)
        known_ms = read_wishes(self._catalog.lake).clock_ahead_ms
        with open_chains(
            self._catalog, state_folder(os.environ), known_ahead_ms=known_ms
        ) as chains:
            self._chains = chains
            yield self

    @property
    def lake(self) -> Lake:
        """The lake."""
        return self._lake

    @property
    def threads(self) -> int:
        """How many files are worked on at once unless a run asks for another number."""
        return self._catalog.sources.concurrency

    def now_ms(self) -> int:
        """Return the exchange's clock, UTC epoch milliseconds."""
        return local_ms() + self._chains.clock_ahead_ms()

    def job(self, series: Series, first: date, end: date, aim: Aim = Aim.FILL) -> Job:
        """Return what is wanted of a series for the days `[first, end)`.

        Raises:
            UsageError: the configuration no longer has the series.
        """
        return Job(series, self._chains.chain(self._feed(series)), first, end, aim)

    def jobs(
        self, wanted: Sequence[Series], first: date, end: date, aim: Aim = Aim.FILL
    ) -> list[Job]:
        """Return what is wanted of some series for the days `[first, end)`.

        Of symbols that have ended before nothing is asked any more.

        Raises:
            UsageError: the configuration no longer has one of them.
        """
        jobs = [self.job(series, first, end, aim) for series in wanted]
        ends = find_ends(self._catalog, wanted, first, state_folder(os.environ), now_ms=local_ms())
        return [
            replace(job, chain=EndedChain(job.chain, ends[job.series]))
            if job.series in ends
            else job
            for job in jobs
        ]

    def _feed(self, series: Series) -> Feed:
        try:
            return self._feeds[series]
        except KeyError:
            raise UsageError(f"{series} is in no feed of {self._catalog.path}") from None

    def remember_wishes(self) -> None:
        """Write into the lake what it is asked to hold, with the exchange's clock."""
        write_measured(self._catalog, self._chains)

    def note_pass(
        self,
        run_id: str,
        feed: str,
        aim: Aim,
        series: tuple[Series, ...],
        failed: Sequence[SeriesReport],
    ) -> None:
        """Note in the lake how a run's work on one feed went."""
        short = {report.series: _why(report) for report in failed}
        note_pass(self._lake.root, Pass(run_id, feed, aim, self.now_ms(), series, short))

    def refresh_views(self) -> None:
        """Build `lake.duckdb` anew."""
        rebuild_database(
            self._lake.root,
            local_ms(),
            lambda census: health_view(self._catalog, census, local_ms()),
        )


def _why(report: SeriesReport) -> str:
    """Return why a series fell short: what broke it off, else its newest short day."""
    if report.error or not report.short:
        return report.error
    newest = report.short[-1]
    return f"{newest.day}: {newest.rows} of {newest.expected} rows: {newest.failovers}"
