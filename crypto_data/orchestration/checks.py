"""What is judged of every series, in runs of its own: asset checks over the days that changed.

A check of a series has no partitions: Dagster would leave those of a ranged run planned for ever.
Which series are due is told by `due_checks`; what makes a day good or bad by
`orchestration.verdicts`.
"""

from base64 import b64decode, b64encode
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from hashlib import blake2b
from typing import Any

import dagster as dg
import pyarrow as pa
import pyarrow.compute as pc
from dagster._core.definitions.assets.definition.asset_spec import AssetExecutionType
from pydantic import PrivateAttr

from crypto_data.catalog.configuration import Catalog, Feed
from crypto_data.errors import LakeDamaged
from crypto_data.intervals import Interval
from crypto_data.lake.census import Census, take_census
from crypto_data.lake.feeds import current_wishes
from crypto_data.lake.layout import QUARANTINE, quarantine_path
from crypto_data.lake.overdue import stale_series
from crypto_data.lake.prices import read_edges
from crypto_data.lake.store import Lake
from crypto_data.mending import SETTLE_MS
from crypto_data.orchestration import verdicts
from crypto_data.orchestration.names import asset_keys
from crypto_data.orchestration.pages import Page, names_of, pages_of
from crypto_data.orchestration.resources import current_clock, read_catalog
from crypto_data.orchestration.verdicts import Verdict
from crypto_data.partitions import day_of
from crypto_data.series import Series
from crypto_data.sources.connect import local_ms

# So many series are judged in one run, each by five checks of two events.
SERIES_A_RUN = 200
# So many days of a series are read for their prices in one run.
PRICED_DAYS = 400
NAMED_DAYS = 20
JUDGED_UNTIL = "judged_until_ms"

_DIGEST_BYTES = 6


class Check(StrEnum):
    """What is judged of a series."""

    COMPLETE = "complete_or_explained"
    RULES = "rows_follow_rules"
    REVISED = "revised"
    PRICES = "prices_continue"
    FRESH = "fresh"


_SAYS = {
    Check.COMPLETE: "No closed day is partial or missing. Days that nobody has asked for yet are "
    "left to the feed's schedule for a day.",
    Check.RULES: "No row of the days that changed broke a rule of validation.",
    Check.REVISED: "The archive had no other values than the lake on the days that changed.",
    Check.PRICES: "On the days that changed, each first open is within 10 % of the close before.",
    Check.FRESH: "The newest closed day is settled, whatever older days a backfill has filled.",
}


class CensusResource(dg.ConfigurableResource[None]):
    """The state of the lake as it is when a run first asks, taken once a run."""

    config: str

    _census: Census | None = PrivateAttr(default=None)
    _now_ms: int = PrivateAttr(default=0)

    def take(self) -> tuple[Census, int]:
        """Return the census, and the exchange's clock in UTC epoch milliseconds."""
        if self._census is None:
            catalog = read_catalog(self.config)
            self._now_ms = current_clock(catalog)
            self._census = take_census(catalog.lake, local_ms(), current_wishes(catalog))
        return self._census, self._now_ms


def check_keys(key: dg.AssetKey) -> list[dg.AssetCheckKey]:
    """Return the keys of all checks of one series' asset."""
    # Plain text: Dagster stores names as they are, and no enum of ours.
    return [dg.AssetCheckKey(key, str(name)) for name in Check]


def build_checks(catalog: Catalog) -> list[dg.AssetsDefinition]:
    """Return one definition per feed and interval: the checks of all its series, any subset."""
    keys = asset_keys(catalog.all_series())
    return [
        _build_step(catalog, feed, interval, keys)
        for feed in catalog.feeds
        for interval in feed.intervals
    ]


def _build_step(
    catalog: Catalog,
    feed: Feed,
    interval: Interval,
    keys: Mapping[Series, dg.AssetKey],
) -> dg.AssetsDefinition:
    series_of = {keys[series]: series for series in feed.series if series.interval == interval}

    @dg.multi_asset_check(
        name=f"check_{feed.name}_{interval}",
        specs=[
            dg.AssetCheckSpec(str(name), asset=key, description=_SAYS[name])
            for key in series_of
            for name in Check
        ],
        can_subset=True,
    )
    def judge(
        context: dg.AssetCheckExecutionContext, census: CensusResource
    ) -> Iterator[dg.AssetCheckResult]:
        if context.run.is_partitioned:
            return  # a run over days takes the checks of its assets along; they have their own
        taken, now_ms = census.take()
        chosen = {
            key: series_of[key.asset_key]
            for key in sorted(context.selected_asset_check_keys, key=str)
        }
        pages = pages_of(taken, set(chosen.values()))
        stale = _stale(taken, catalog, now_ms)
        since = _judged_until(context.instance, list(chosen))
        for key, series in chosen.items():
            bench = _Bench(Lake(catalog.lake), pages[series], stale.get(series), now_ms, since[key])
            yield _result(key, bench)

    return _unplanned(judge)


def _unplanned(checks: dg.AssetChecksDefinition) -> dg.AssetsDefinition:
    """Return the checks so that no run plans them.

    A run over 3,000 days would plan each check of each of its series once a day, for 3 seconds a
    series, and leave those rows planned for ever. Where Dagster knows a check as one that it does
    not execute, it plans none, runs the step where it is asked to, and records what that says.
    """
    attributes = {
        **checks.get_attributes_dict(),
        "execution_type": AssetExecutionType.UNEXECUTABLE,
    }
    return dg.AssetsDefinition.dagster_internal_init(**attributes)


def _judged_until(
    instance: dg.DagsterInstance, keys: Sequence[dg.AssetCheckKey]
) -> dict[dg.AssetCheckKey, int]:
    """Return the newest mark each check saw when it last ended, UTC epoch ms; 0 for never."""
    found = dict.fromkeys(keys, 0)
    for key, summary in instance.event_log_storage.get_asset_check_summary_records(keys).items():
        record = summary.last_completed_check_execution_record
        # A check that broke off has ended without an evaluation.
        evaluation = record.evaluation if record and record.event else None
        seen = evaluation.metadata.get(JUDGED_UNTIL) if evaluation else None
        found[key] = int(str(seen.value)) if seen else 0
    return found


@dataclass(frozen=True)
class _Bench:
    """One check's view of one series: what it was told of the lake, and since when it judges."""

    lake: Lake
    page: Page
    stale_since_ms: int | None
    now_ms: int
    since_ms: int

    @cached_property
    def changed(self) -> pa.Table:
        """The runs of days that changed since the check last ended."""
        return verdicts.changed_runs(self.page.runs, self.since_ms)


def _result(key: dg.AssetCheckKey, bench: _Bench) -> dg.AssetCheckResult:
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
    return dg.AssetCheckResult(
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


_JUDGES: Mapping[Check, Callable[[_Bench], Verdict]] = {
    Check.COMPLETE: _complete,
    Check.RULES: _rules,
    Check.REVISED: _revised,
    Check.PRICES: _prices,
    Check.FRESH: _fresh,
}


def due_checks(
    census: Census, catalog: Catalog, cursor: str | None, now_ms: int
) -> tuple[list[Series], str]:
    """Return the series that are to be judged, and what the next call is to be handed.

    Due is a series of which a day was asked for or changed since it was last returned, or which has
    grown stale or fresh; one that was never asked for is not. The cursor holds a digest of how
    each series stood, so that no order of commits and no clock can hide a change.

    Args:
        census: How the lake stands.
        catalog: The configuration.
        cursor: What the last call returned; None for the first.
        now_ms: The exchange's clock, UTC epoch milliseconds.
    """
    stale = _stale(census, catalog, now_ms)
    marks = _newest_marks(census.runs)
    seen = _digests_in(cursor)
    stands = {
        series: _digest(series, marks[str(series)], series in stale)
        for series in catalog.all_series()
        if marks.get(str(series))
    }
    waiting = [series for series, digest in stands.items() if digest not in seen]
    due = sorted(waiting, key=lambda series: (marks[str(series)], series))[:SERIES_A_RUN]
    left = set(waiting) - set(due)
    kept = sorted(digest for series, digest in stands.items() if series not in left)
    return due, b64encode(b"".join(kept)).decode()


def _stale(census: Census, catalog: Catalog, now_ms: int) -> dict[Series, int]:
    """Return the series that have had nothing new for too long, and since when."""
    hours = catalog.alerts.stale_after_hours
    return stale_series(census.held, catalog.all_series(), hours, now_ms)


def _newest_marks(runs: pa.Table) -> dict[str, int]:
    table = pa.table({"series": names_of(runs), "mark": verdicts.marks_ms(runs)})
    newest = table.group_by("series").aggregate([("mark", "max")])
    return dict(zip(newest["series"].to_pylist(), newest["mark_max"].to_pylist(), strict=True))


def _digests_in(cursor: str | None) -> set[bytes]:
    text = b64decode(cursor or "")
    return {text[at : at + _DIGEST_BYTES] for at in range(0, len(text), _DIGEST_BYTES)}


def _digest(series: Series, mark_ms: int, stale: bool) -> bytes:
    text = f"{series} {mark_ms} {stale}".encode()
    return blake2b(text, digest_size=_DIGEST_BYTES).digest()
