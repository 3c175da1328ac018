"""The steps that judge series: each check over the days that changed since it last did.

What makes a day good or bad belongs to `orchestration.verdicts`, which series are due to
`orchestration.checks`.
"""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import dagster as dg
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from crypto_data.catalog.configuration import Catalog, Feed
from crypto_data.catalog.location import state_folder
from crypto_data.comparing import compare_days
from crypto_data.errors import LakeDamaged
from crypto_data.exchanges import EXCHANGES
from crypto_data.intervals import Interval
from crypto_data.lake.census import take_census
from crypto_data.lake.feeds import current_wishes
from crypto_data.lake.layout import QUARANTINE, quarantine_path
from crypto_data.lake.prices import read_edges
from crypto_data.lake.store import Lake
from crypto_data.mending import SETTLE_MS
from crypto_data.orchestration import verdicts
from crypto_data.orchestration.checks import SAYS, Check, check_keys, checks_of, stale_of
from crypto_data.orchestration.evaluations import (
    JUDGED_UNTIL,
    judged_until,
    report_evaluations,
)
from crypto_data.orchestration.names import CHECKS_JOB, asset_keys
from crypto_data.orchestration.pages import Page, pages_of
from crypto_data.orchestration.resources import current_clock
from crypto_data.orchestration.verdicts import Verdict
from crypto_data.partitions import ONE_DAY, day_of
from crypto_data.series import Series
from crypto_data.sources.connect import Chains, local_ms, open_chains

STEP = "judge_series"

# So many days of a series are read for their prices in one run.
PRICED_DAYS = 400
NAMED_DAYS = 20
# So many days of a series are fetched to be compared: a few requests.
COMPARED_DAYS = 2


class JudgeConfig(dg.Config):
    """Whom a run judges: series by name, `binance/spot/BTCUSDT/1m`; none means all."""

    series: list[str] = Field(default_factory=list)


def judging_config(chosen: Sequence[Series]) -> dict[str, Any]:
    """Return the configuration of a run that judges some series."""
    return {"ops": {STEP: {"config": {"series": [str(series) for series in chosen]}}}}


def build_judging(catalog: Catalog) -> dg.JobDefinition:
    """Return the job that judges series and records what it finds as asset checks."""
    feeds = catalog.all_series()
    keys = asset_keys(feeds)

    @dg.op(name=STEP)
    def judge_series(context: dg.OpExecutionContext, config: JudgeConfig) -> None:
        chosen = {
            key: series
            for series in keys
            if not config.series or str(series) in config.series
            for key in check_keys(keys[series], checks_of(series, feeds[series]))
        }
        report_evaluations(context.instance, _judge(catalog, context.instance, chosen))

    @dg.job(
        name=CHECKS_JOB,
        executor_def=dg.in_process_executor,
        description="Judges series by the days that changed; see the checks of each asset.",
    )
    def checks() -> None:
        judge_series()

    return checks


def build_checks(catalog: Catalog) -> list[dg.AssetChecksDefinition]:
    """Return one definition per feed and interval: the checks of all its series, any subset.

    What a person executes from an asset's page is judged there and then.
    """
    keys = asset_keys(catalog.all_series())
    return [
        _build_step(catalog, feed, interval, keys)
        for feed in catalog.feeds
        for interval in feed.intervals
    ]


def _build_step(
    catalog: Catalog, feed: Feed, interval: Interval, keys: Mapping[Series, dg.AssetKey]
) -> dg.AssetChecksDefinition:
    series_of = {keys[series]: series for series in feed.series if series.interval == interval}
    specs = {
        spec.get_python_identifier(): spec
        for key, series in series_of.items()
        for check in checks_of(series, feed)
        for spec in [dg.AssetCheckSpec(str(check), asset=key, description=SAYS[check])]
    }

    @dg.op(
        name=f"check_{feed.name}_{interval}",
        out=dict.fromkeys(specs, dg.Out(dg.Any, is_required=False)),
    )
    def judge(context: dg.AssetCheckExecutionContext) -> Iterator[dg.AssetCheckResult]:
        if context.run.is_partitioned:
            return  # Dagster lets a backfill take them along; the sensor has them judged after it
        chosen = {
            key: series_of[key.asset_key]
            for key in sorted(context.selected_asset_check_keys, key=str)
        }
        for evaluation in _judge(catalog, context.instance, chosen):
            yield dg.AssetCheckResult(
                passed=evaluation.passed,
                asset_key=evaluation.asset_key,
                check_name=evaluation.check_name,
                description=evaluation.description,
                severity=evaluation.severity,
                metadata=evaluation.metadata,
            )

    # What `multi_asset_check` makes, without its input a series: in a run over days nothing is
    # judged, in any other there is nothing to wait for; and Dagster goes through all checks again
    # for each input.
    checks: dg.AssetChecksDefinition = dg.AssetChecksDefinition.create(
        keys_by_input_name={},
        node_def=judge,
        check_specs_by_output_name=specs,
        can_subset=True,
    )
    return checks


def _judge(
    catalog: Catalog, instance: dg.DagsterInstance, chosen: Mapping[dg.AssetCheckKey, Series]
) -> Iterator[dg.AssetCheckEvaluation]:
    """Yield what each chosen check finds of its series, by the lake as it is now."""
    now_ms = current_clock(catalog)
    census = take_census(catalog.lake, local_ms(), current_wishes(catalog))
    pages = pages_of(census, set(chosen.values()))
    stale = stale_of(census, catalog, now_ms)
    since = judged_until(instance, chosen)
    ahead_ms = now_ms - local_ms()
    lake, feeds = Lake(catalog.lake), catalog.all_series()
    with open_chains(catalog, state_folder(os.environ), known_ahead_ms=ahead_ms) as chains:
        for key, series in chosen.items():
            yield _evaluate(
                key,
                _Bench(
                    lake=lake,
                    feed=feeds[series],
                    page=pages[series],
                    stale_since_ms=stale.get(series),
                    now_ms=now_ms,
                    since_ms=since[key],
                    chains=chains,
                ),
            )


@dataclass(frozen=True)
class _Bench:
    """One check's view of one series: what it was told of the lake, and since when it judges."""

    lake: Lake
    feed: Feed
    page: Page
    stale_since_ms: int | None
    now_ms: int
    since_ms: int
    chains: Chains  # asks nobody until a check does

    @cached_property
    def changed(self) -> pa.Table:
        """The runs of days that changed since the check last ended."""
        return verdicts.changed_runs(self.page.runs, self.since_ms)


def _evaluate(key: dg.AssetCheckKey, bench: _Bench) -> dg.AssetCheckEvaluation:
    check = Check(key.name)
    try:
        verdict = _JUDGES[check](bench)
    except LakeDamaged as error:
        verdict = Verdict(False, str(error))
    days = verdict.days[:NAMED_DAYS]
    metadata: dict[str, Any] = {
        **verdict.counts,
        "days": ", ".join(map(str, days)) or "none",
        "days_named": f"{len(days)} of {len(verdict.days)}",
        JUDGED_UNTIL: verdicts.newest_mark_ms(bench.page.runs),
    }
    return dg.AssetCheckEvaluation(
        passed=verdict.passed,
        asset_key=key.asset_key,
        check_name=key.name,
        description=verdict.words,
        # A hole is wrong data for whoever reads the lake; all else is for a person to look at.
        severity=(
            dg.AssetCheckSeverity.ERROR if check is Check.COMPLETE else dg.AssetCheckSeverity.WARN
        ),
        metadata=metadata,
    )


def _complete(bench: _Bench) -> Verdict:
    changed = pc.sum(bench.changed["days"]).as_py() or 0
    return verdicts.judge_complete(bench.page.runs, changed, day_of(bench.now_ms - SETTLE_MS))


def _rules(bench: _Bench) -> Verdict:
    lake, series = bench.lake, bench.page.series
    days = verdicts.days_of(bench.changed.filter(pc.greater(bench.changed["set_aside"], 0)))
    facts = lake.ledger(series, days)
    folder = quarantine_path(lake.root, series, "").parent.relative_to(lake.root / QUARANTINE)
    return verdicts.judge_rules(
        {day: dict(facts[day].set_aside) for day in days if day in facts},
        pc.sum(bench.changed["days"]).as_py() or 0,
        f"{QUARANTINE}/{folder}",
    )


def _revised(bench: _Bench) -> Verdict:
    return verdicts.judge_revised(bench.page.runs, bench.page.corrections, bench.since_ms)


def _prices(bench: _Bench) -> Verdict:
    series = bench.page.series
    with_rows = bench.changed.filter(pc.greater(bench.changed["rows"], 0))
    days = verdicts.days_of(with_rows)
    judged = days[:PRICED_DAYS]
    rows = read_edges(bench.lake.root, series, judged)
    return verdicts.judge_prices(rows, series.interval, judged, len(days) - len(judged))


def _fresh(bench: _Bench) -> Verdict:
    held = bench.page.held
    settled, due = (
        held[name][0].as_py() if held.num_rows else None for name in ("settled_until", "due_until")
    )
    return verdicts.judge_fresh(settled, due, bench.stale_since_ms, bench.now_ms)


def _equals(bench: _Bench) -> Verdict:
    series = bench.page.series
    if series.interval not in EXCHANGES[series.exchange].intervals:
        return Verdict(True, f"{series.exchange} has no {series.interval} klines to compare with")
    days = verdicts.comparable_days(bench.changed)[:COMPARED_DAYS]
    chain = bench.chains.chain(bench.feed)
    found = [
        comparison
        for day in days
        for comparison in compare_days(bench.lake, series, chain, day, day + ONE_DAY)
    ]
    return verdicts.judge_equal(found)


_JUDGES: Mapping[Check, Callable[[_Bench], Verdict]] = {
    Check.COMPLETE: _complete,
    Check.RULES: _rules,
    Check.REVISED: _revised,
    Check.PRICES: _prices,
    Check.FRESH: _fresh,
    Check.EQUALS: _equals,
}
