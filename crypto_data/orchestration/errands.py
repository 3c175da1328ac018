"""An errand as a run that Dagster is asked for, and the errands that runs are on already.

Which errands are needed belongs to `mending`.
"""

from collections.abc import Iterator, Mapping
from datetime import date
from hashlib import sha256

import dagster as dg

from crypto_data.catalog.configuration import Catalog, Feed
from crypto_data.harvest import Aim
from crypto_data.mending import Errand
from crypto_data.orchestration.names import AIM_TAG, FEED_TAG, asset_keys, step_name
from crypto_data.partitions import ONE_DAY
from crypto_data.series import Series

RANGE_START = "dagster/asset_partition_range_start"
RANGE_END = "dagster/asset_partition_range_end"
PARTITION = "dagster/partition"

_UNFINISHED = (
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
)


def run_request(
    errand: Errand, keys: Mapping[Series, dg.AssetKey], aim: Aim, *, moment: str
) -> dg.RunRequest:
    """Return the request for one run that goes on an errand.

    Args:
        errand: The days and series.
        keys: Every configured series and its asset.
        aim: What the run is for.
        moment: What makes two requests for the same errand different: Dagster launches each
            request once, ever.
    """
    names = ",".join(map(str, errand.series))
    digest = sha256(names.encode()).hexdigest()[:16]
    intervals = {series.interval for series in errand.series}
    steps = {
        step_name(errand.feed, interval): {"config": {"aim": aim.name}} for interval in intervals
    }
    return dg.RunRequest(
        run_key=f"{aim}:{errand.feed.name}:{errand.first}:{errand.end}:{digest}:{moment}",
        asset_selection=[keys[series] for series in errand.series],
        asset_check_keys=[],  # else all checks of these series would follow in the same run
        run_config={"ops": steps},
        tags={
            RANGE_START: errand.first.isoformat(),
            RANGE_END: (errand.end - ONE_DAY).isoformat(),
            AIM_TAG: str(aim),
            f"{FEED_TAG}{errand.feed.name}": "true",
        },
    )


def busy_errands(instance: dg.DagsterInstance, catalog: Catalog) -> list[Errand]:
    """Return what runs that have not ended yet are asked for."""
    runs = instance.get_runs(dg.RunsFilter(statuses=list(_UNFINISHED)))
    return [errand for run in runs for errand in _errands_of(run, catalog)]


def _errands_of(run: dg.DagsterRun, catalog: Catalog) -> Iterator[Errand]:
    days = _days_of(run.tags)
    if days is None or not run.asset_selection:
        return
    feeds = catalog.all_series()
    held: dict[str, list[Series]] = {}
    for series, key in asset_keys(feeds).items():
        if key in run.asset_selection:
            held.setdefault(feeds[series].name, []).append(series)
    for group in held.values():
        yield Errand(feeds[group[0]], *days, tuple(group))


def _days_of(tags: Mapping[str, str]) -> tuple[date, date] | None:
    first = tags.get(RANGE_START) or tags.get(PARTITION)
    last = tags.get(RANGE_END) or tags.get(PARTITION)
    if not first or not last:
        return None
    return date.fromisoformat(first), date.fromisoformat(last) + ONE_DAY


def feeds_of(run: dg.DagsterRun, catalog: Catalog) -> list[Feed]:
    """Return the feeds a run fetched for: by its tags, else by the assets it was asked for."""
    tagged = {tag.removeprefix(FEED_TAG) for tag in run.tags if tag.startswith(FEED_TAG)}
    if tagged:
        return [feed for feed in catalog.feeds if feed.name in tagged]
    chosen = run.asset_selection or set()
    keys = asset_keys(catalog.all_series())
    return [feed for feed in catalog.feeds if any(keys[series] in chosen for series in feed.series)]
