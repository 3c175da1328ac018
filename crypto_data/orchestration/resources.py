"""What runs need held open: the configuration, the lake and the sources of each feed.

The only Dagster module that reads the environment. Building sources belongs to
`sources.connect`.
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, date, datetime
from pathlib import Path

import dagster as dg
from pydantic import PrivateAttr

from crypto_data.catalog.configuration import Catalog, Feed, find_catalog, load_catalog
from crypto_data.errors import UsageError
from crypto_data.ingest import Job
from crypto_data.lake.feeds import Wishes, write_wishes
from crypto_data.lake.inventory import rebuild_database
from crypto_data.lake.store import Lake
from crypto_data.planning import wanted_series
from crypto_data.series import Series
from crypto_data.sources.connect import Chains, local_ms, open_chains


def read_catalog(config: str | None = None) -> Catalog:
    """Return the configuration at `config`, else where contract and environment put it.

    Raises:
        CatalogError: it cannot be found or used.
    """
    path = find_catalog(Path(config) if config else None, os.environ, Path.cwd())
    return load_catalog(path, os.environ, datetime.now(UTC).date())


def state_folder(environ: Mapping[str, str]) -> Path:
    """Return where limits of this machine's address are remembered, shared by all lakes."""
    home = environ.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
    return Path(home) / "crypto-data"


class LakeResource(dg.ConfigurableResource[None]):
    """The lake and the chains of sources behind it, as the configuration describes them."""

    config: str

    _catalog: Catalog = PrivateAttr()
    _lake: Lake = PrivateAttr()
    _chains: Chains = PrivateAttr()

    @contextmanager
    def yield_for_execution(  # type: ignore[override] # the resource itself is what is held open
        self, context: dg.InitResourceContext
    ) -> Iterator["LakeResource"]:
        """Open connections for the time of one run, and refresh the views after it."""
        del context
        self._catalog = read_catalog(self.config)
        self._lake = Lake(self._catalog.lake)
        with open_chains(self._catalog, state_folder(os.environ)) as chains:
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

    def job(self, series: Series, first: date, end: date) -> Job:
        """Return what is wanted of a series for the days `[first, end)`.

        Raises:
            UsageError: the configuration no longer has the series.
        """
        return Job(series, self._chains.chain(self._feed(series)), first, end)

    def _feed(self, series: Series) -> Feed:
        try:
            return self._catalog.all_series()[series]
        except KeyError:
            raise UsageError(f"{series} is in no feed of {self._catalog.path}") from None

    def remember_wishes(self) -> None:
        """Write into the lake what it is asked to hold, with the exchange's clock."""
        ahead_ms = self._chains.clock_ahead_ms()
        write_wishes(self._lake.root, Wishes(wanted_series(self._catalog), ahead_ms))

    def refresh_views(self) -> None:
        """Build `lake.duckdb` anew."""
        rebuild_database(self._lake.root, local_ms())
