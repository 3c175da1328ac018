"""The failover IO manager: stores klines in the lake, and loads them back through the chain.

What is stored and how it is judged belongs to `lake.store`; who is asked to `sources.failover`.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import dagster as dg
import pyarrow as pa
import pyarrow.compute as pc

from crypto_data.errors import Attempt, DataSourceError, UsageError
from crypto_data.harvest import Aim, AskedDay, Chain, Harvest, Offer
from crypto_data.ingest import Job, ingest
from crypto_data.lake.store import Lake
from crypto_data.making.chain import DerivedChain
from crypto_data.orchestration import foreground
from crypto_data.orchestration.names import SERIES_METADATA
from crypto_data.orchestration.resources import LakeResource
from crypto_data.partitions import ONE_DAY, days_in, periods_of, span_of_days
from crypto_data.reports import SeriesReport
from crypto_data.schema import FETCHED
from crypto_data.series import Series
from crypto_data.validation import cut, validate

log = logging.getLogger("crypto_data.orchestration")


@dataclass(frozen=True, slots=True)
class KlinesOnDemand:
    """Klines of the upstream days that are read file by file, so that years fit into memory.

    `job` fetches what the lake lacks of them.
    """

    lake: Lake
    job: Job

    def chain_behind(self) -> Chain:
        """Return the chain that makes coarser klines of these."""
        return DerivedChain(self.lake, self.job.series, self.job.chain)


def fetch_lacking(loaded: Sequence[KlinesOnDemand], threads: int) -> None:
    """Fetch the days that the lake lacks of some klines, through the failover chain.

    A day that was asked for a moment ago is left alone. One that falls short is no error here: what
    is made of it will say so.
    """
    if not loaded:
        return
    reports = ingest(
        loaded[0].lake,
        [one.job for one in loaded],
        threads=threads,
        stop=foreground.stop,
        on_days=lambda *_days: None,
    )
    for report in reports:
        if not report.is_whole:
            log.warning("%s", shortfall(report))


class FailoverIOManager(dg.ConfigurableIOManager):
    """Stores klines in the lake; loads them back, through the failover chain where days lack."""

    lake: dg.ResourceDependency[LakeResource]

    def handle_output(self, context: dg.OutputContext, obj: SeriesReport | pa.Table) -> None:
        """Commit the days of one series and report them.

        A feed's step commits file by file while rows still arrive, so that a kill loses little
        and memory stays bounded; it hands over the report of that. Any other asset of a series
        hands over its klines, `schema.KLINES`, which are committed here.
        """
        if isinstance(obj, SeriesReport):
            return  # each day has told of itself already
        written = self._commit(context, obj)
        context.add_output_metadata({"rows": obj.num_rows, "bytes_written": written})

    def _commit(self, context: dg.OutputContext, klines: pa.Table) -> int:
        series = _series_of(context.definition_metadata)
        first, end = _window(context)
        if cut(klines, [span_of_days(first, end)]).num_rows != klines.num_rows:
            raise UsageError(f"{series}: rows outside the days {first} to {end} (exclusive)")
        written = 0
        for period, days in periods_of(series.interval, days_in(first, end)).items():
            rows = cut(klines, [span_of_days(days[0], days[-1] + ONE_DAY)])
            harvest = _harvest(series, rows, days, self.lake.now_ms())
            written += self.lake.lake.commit(series, period, harvest).bytes_written
        return written

    def load_on_demand(self, series: Series, first: date, end: date) -> KlinesOnDemand:
        """Return the klines of the days `[first, end)`; fetching and reading is left to the caller.

        Raises:
            UsageError: the configuration no longer has the series.
        """
        return KlinesOnDemand(self.lake.lake, self.lake.job(series, first, end, Aim.MEND))

    def load_input(self, context: dg.InputContext) -> pa.Table:
        """Return the klines of the upstream days, `schema.KLINES`, sorted.

        Days the lake lacks are fetched through the failover chain and stored first.

        Raises:
            DataSourceError: a day fell short and no source explained why.
        """
        if context.upstream_output is None:
            raise UsageError("klines can only be loaded from an asset of this project")
        series = _series_of(context.upstream_output.definition_metadata)
        first, end = _window(context)
        reports = ingest(
            self.lake.lake,
            [self.lake.job(series, first, end)],
            threads=self.lake.threads,
            stop=foreground.stop,
            on_days=foreground.tell,
        )
        for report in reports:
            if not report.is_whole:
                raise shortfall(report)
        return self.lake.lake.read(series, span_of_days(first, end))


def shortfall(report: SeriesReport) -> DataSourceError:
    """Return the error that names the days which fell short, each with its sources' words."""
    attempts = [Attempt(str(day.day), day.state, day.failovers) for day in report.short]
    if report.error:
        attempts.append(Attempt("lake", "failed", report.error))
    return DataSourceError(str(report.series), f"{len(report.short)} days fell short", attempts)


def _series_of(metadata: Mapping[str, Any] | None) -> Series:
    name = (metadata or {}).get(SERIES_METADATA)
    if name is None:
        raise UsageError(
            f"the asset names no series; give it metadata={{'{SERIES_METADATA}': "
            "'exchange/market/symbol/interval'}"
        )
    return Series.parse(str(name))


def _window(context: dg.OutputContext | dg.InputContext) -> tuple[date, date]:
    window = context.asset_partitions_time_window
    return window.start.date(), window.end.date()


def _harvest(series: Series, klines: pa.Table, days: list[date], now_ms: int) -> Harvest:
    """Return rows that were made here as if a source had served them; bad ones set aside."""
    names = pc.unique(klines["source"].cast(pa.string())).to_pylist()
    offers, bad = [], []
    for name in names:
        rows = klines.filter(pc.equal(klines["source"].cast(pa.string()), name))
        verdict = validate(rows.select(FETCHED.names), series.interval, closed_before_ms=now_ms)
        offers.append(Offer(name, 0, verdict.good))
        bad.extend([verdict.bad] if verdict.bad is not None else [])
    return Harvest(
        ranking=tuple(names),
        offers=tuple(offers),
        days={day: AskedDay() for day in days},
        quarantined=tuple(bad),
        asked_ms=now_ms,
    )
