"""Every series as a partitioned asset: one step a feed and interval, any days, any subset.

The step calls one use case, `ingest`, and mirrors what the lake then holds into Dagster. Series
that are made of finer ones stand behind these in the graph. Rules about data belong below; storing
and loading to `orchestration.io_manager`.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import date

import dagster as dg
from dagster._core.errors import DagsterExecutionInterruptedError
from pydantic import Field

from crypto_data.catalog.configuration import Catalog, Feed
from crypto_data.errors import LakeDamaged
from crypto_data.harvest import Aim
from crypto_data.ingest import Job, ingest
from crypto_data.intervals import Interval
from crypto_data.orchestration import foreground
from crypto_data.orchestration.io_manager import FailoverIOManager, fetch_lacking
from crypto_data.orchestration.materializations import (
    known_days,
    materialize_days,
    stored_output,
)
from crypto_data.orchestration.names import SERIES_METADATA, asset_keys, output_name, step_name
from crypto_data.orchestration.resources import LakeResource
from crypto_data.orchestration.runs import call_of, tag_run
from crypto_data.partitions import ONE_DAY
from crypto_data.reports import DayReport, SeriesReport
from crypto_data.series import Series

# So many days are named in an error; the rest is counted.
NAMED_DAYS = 20


class FetchConfig(dg.Config):
    """What a run may choose for itself."""

    aim: Aim = Field(
        default=Aim.FILL,
        description="What the run is for: fill every gap, mend those whose wait is over, repair "
        "them from other sources first, or revise what the archive has changed.",
    )
    parallel: int = Field(
        default=0,
        ge=0,
        le=64,
        description="How many files are fetched at once; 0 takes the number of the configuration.",
    )


def build_assets(catalog: Catalog) -> list[dg.AssetsDefinition]:
    """Return one multi-asset per feed and interval, over all series of the configuration."""
    keys = asset_keys(catalog.all_series())
    return [
        (_build_made_step if interval in feed.made_from else _build_step)(feed, interval, keys)
        for feed in catalog.feeds
        for interval in feed.intervals
    ]


def feed_partitions(feed: Feed) -> dg.DailyPartitionsDefinition:
    """Return the UTC days of a feed; its series share them, so they backfill in one run."""
    end = feed.end.isoformat() if feed.end else None
    return dg.DailyPartitionsDefinition(feed.start.isoformat(), end_date=end)


def _build_step(
    feed: Feed, interval: Interval, keys: Mapping[Series, dg.AssetKey]
) -> dg.AssetsDefinition:
    chosen = _chosen(feed, interval, keys)

    @dg.multi_asset(
        name=step_name(feed, interval),
        outs={name: _asset_out(feed, series, keys[series]) for name, series in chosen.items()},
        can_subset=True,
        group_name=feed.name,
        partitions_def=feed_partitions(feed),
        backfill_policy=dg.BackfillPolicy.single_run(),
    )
    def fetch_klines(
        context: dg.AssetExecutionContext, config: FetchConfig, lake: LakeResource
    ) -> Iterator[dg.Output[SeriesReport]]:
        first, end = _days_of(context)
        selected = _selected(context, chosen)
        jobs = lake.jobs(list(selected.values()), first, end, config.aim)
        yield from _do_jobs(
            context, lake, dict(zip(selected, jobs, strict=True)), config, feed.name
        )

    return fetch_klines


def _build_made_step(
    feed: Feed, interval: Interval, keys: Mapping[Series, dg.AssetKey]
) -> dg.AssetsDefinition:
    """Return the step behind the finer series of a feed, which are its inputs."""
    chosen = _chosen(feed, interval, keys)
    finer = {
        name: replace(series, interval=feed.made_from[interval]) for name, series in chosen.items()
    }

    @dg.multi_asset(
        name=step_name(feed, interval),
        # Not `ins`: of these Dagster loads all, whichever few series a run is about.
        deps=[keys[series] for series in finer.values()],
        outs={name: _asset_out(feed, series, keys[series]) for name, series in chosen.items()},
        internal_asset_deps={name: {keys[series]} for name, series in finer.items()},
        can_subset=True,
        group_name=feed.name,
        partitions_def=feed_partitions(feed),
        backfill_policy=dg.BackfillPolicy.single_run(),
    )
    def make_klines(
        context: dg.AssetExecutionContext,
        config: FetchConfig,
        lake: LakeResource,
        klines_io: dg.ResourceParam[FailoverIOManager],
    ) -> Iterator[dg.Output[SeriesReport]]:
        first, end = _days_of(context)
        selected = _selected(context, chosen)
        inputs = {name: klines_io.load_on_demand(finer[name], first, end) for name in selected}
        if config.aim in (Aim.FILL, Aim.REPAIR):
            fetch_lacking(list(inputs.values()), lake.threads)
        jobs = {
            name: Job(series, inputs[name].chain_behind(), first, end, config.aim)
            for name, series in selected.items()
        }
        yield from _do_jobs(context, lake, jobs, config, feed.name)

    return make_klines


def _chosen(
    feed: Feed, interval: Interval, keys: Mapping[Series, dg.AssetKey]
) -> dict[str, Series]:
    """Return the series of one step by the names of its outputs."""
    return {
        output_name(keys[series]): series for series in feed.series if series.interval == interval
    }


def _selected(context: dg.AssetExecutionContext, chosen: Mapping[str, Series]) -> dict[str, Series]:
    names = context.op_execution_context.selected_output_names
    return {name: series for name, series in chosen.items() if name in names}


def _days_of(context: dg.AssetExecutionContext) -> tuple[date, date]:
    window = context.partition_time_window
    return window.start.date(), window.end.date()


def _asset_out(feed: Feed, series: Series, key: dg.AssetKey) -> dg.AssetOut:
    finer = feed.finer(series)
    origin = f"made of {finer.interval}" if finer else f"from {', then '.join(feed.sources)}"
    return dg.AssetOut(
        key=key,
        is_required=False,
        io_manager_key="klines_io",
        dagster_type=dg.Any,
        description=(
            f"{series.interval} klines of {series.symbol} on {series.exchange} {series.market}, "
            f"a partition a UTC day, {origin}. What a day holds and why stands in its "
            "metadata: rows, expected, state, source."
        ),
        metadata={SERIES_METADATA: str(series), "symbol": series.symbol},
        # Plain text: Dagster stores tags as they are, and no enum of ours.
        tags={
            "exchange": series.exchange,
            "market": str(series.market),
            "interval": str(series.interval),
        },
        kinds={"parquet"},
    )


def _do_jobs(
    context: dg.AssetExecutionContext,
    lake: LakeResource,
    jobs: Mapping[str, Job],
    config: FetchConfig,
    feed: str,
) -> Iterator[dg.Output[SeriesReport]]:
    """Do the jobs of a step side by side, by output; report each series as it is done.

    A series whose days are all settled is an Output too, for which that what is made of it waits.
    Of one that fell short only the settled days are reported: Dagster knows no partial Output.
    """
    from crypto_data.orchestration.run_files import forget_planned_checks  # noqa: PLC0415 - a database's libraries

    tag_run(context, feed, config.aim)
    forget_planned_checks(context)
    first, end = _days_of(context)
    days = (end - first).days
    outputs = {job.series: name for name, job in jobs.items()}
    lake.remember_wishes()  # with the clock of the exchange that these jobs ask
    failed: list[SeriesReport] = []
    bytes_written = 0
    reports = ingest(
        lake.lake,
        jobs.values(),
        threads=config.parallel or lake.threads,
        stop=foreground.stop,
        on_days=foreground.tell,
    )
    try:
        for report in reports:
            key = context.asset_key_for_output(outputs[report.series])
            if config.aim is Aim.FILL and report.is_whole and len(report.days) == days:
                materialize_days(context, key, report.days)
                yield stored_output(report, outputs[report.series])
            else:
                materialize_days(context, key, _settled_days(context.instance, key, report))
            bytes_written += report.bytes_written
            if not report.is_whole:
                failed.append(report)
        foreground.check_stop()
        # One line: each is an event, and of each day Dagster is told anyway.
        context.log.info("%d series: %d bytes written", len(jobs), bytes_written)
        lake.note_pass(call_of(context.run), feed, config.aim, tuple(outputs), failed)
    except (KeyboardInterrupt, DagsterExecutionInterruptedError):
        # Dagster calls a run canceled only where somebody asked for it; a signal is somebody.
        context.instance.report_run_canceling(context.run)
        raise
    finally:
        _refresh_views(context, lake)
    if failed:
        raise _failure(failed)


def _refresh_views(context: dg.AssetExecutionContext, lake: LakeResource) -> None:
    """Build the views anew; a file that is damaged elsewhere in the lake fails no run of others."""
    try:
        lake.refresh_views()
    except LakeDamaged as error:
        context.log.warning("lake.duckdb stays as it was: %s", error)


def _settled_days(
    instance: dg.DagsterInstance, key: dg.AssetKey, report: SeriesReport
) -> list[DayReport]:
    """Return the settled days that Dagster is to be told of: asked for now, or unknown to it."""
    settled = [day for day in report.days if day.is_settled]
    known = known_days(instance, key, [day for day in settled if not day.asked])
    return [day for day in settled if day.asked or day.day.isoformat() not in known]


def _failure(failed: Sequence[SeriesReport]) -> dg.Failure:
    names = ", ".join(str(report.series) for report in failed)
    return dg.Failure(
        f"{len(failed)} series fell short: {names}",
        metadata={str(report.series): dg.MetadataValue.md(_describe(report)) for report in failed},
        # The gap is in the ledger; the next backfill asks for it again, and for nothing else.
        allow_retries=False,
    )


def _describe(report: SeriesReport) -> str:
    lines = [
        f"- {day.day}: {day.rows} of {day.expected} rows, {day.state}: {day.failovers}"
        for day in report.short[:NAMED_DAYS]
    ]
    more = len(report.short) - NAMED_DAYS
    if more > 0:
        lines.append(f"- and {more} more days, to {report.short[-1].day + ONE_DAY} (exclusive)")
    if report.error:
        lines.append(f"- {report.error}")
    return "\n".join(lines)
