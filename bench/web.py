"""Dagster's pages over a large lake: in a real browser, and backfills created as the page does."""

import json
import shutil
import sys
import time
import urllib.request
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

from bench.environments import ROOT, python_of
from bench.exchange import environment
from bench.figure import Beside, Better, Figure, Unmeasured
from bench.ledgers import made_lake, told
from bench.made_lake import INTERVALS, LAST_DAY
from bench.pages import serving
from bench.place import Place
from bench.running import run
from crypto_data.catalog.configuration import load_catalog
from crypto_data.orchestration.names import asset_keys
from crypto_data.partitions import days_in

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
CREATE = """
mutation Create($params: LaunchBackfillParams!) {
  launchPartitionBackfill(backfillParams: $params) {
    __typename
    ... on LaunchBackfillSuccess { backfillId }
    ... on PythonError { message }
  }
}
"""


def measure_pages(place: Place) -> list[Figure]:
    """Return the seconds until the page of an asset and the graph of all assets are usable."""
    chromium = next(filter(None, map(shutil.which, BROWSERS)), None)
    if chromium is None:
        raise Unmeasured("no chromium on the path; on Debian: apt-get install chromium")
    python = python_of("browser")
    config, key = _marked_lake(place)
    with serving(config, environment(config.parent)) as url:
        command = [str(python), str(ROOT / "browser_pages.py"), url, chromium, "/".join(key)]
        ran = run([*command, str(place.size.lake_days), str(place.size.rounds)])
    seconds: dict[str, list[float]] = json.loads(ran.output)
    asset = (
        f"from the navigation until Chromium shows the partitions of one series of {told(place)}, "
        f"{place.size.lake_days:,} of them materialized, and has answered a click on a day; again "
        "in a browser that has seen the page, and at first with an empty cache"
    )
    graph = (
        "likewise the graph of all assets, each materialized on one day: until nodes show how much "
        "is filled and a click on one has opened its panel"
    )
    return [
        _page("web-asset-page", asset, seconds["asset"], 2),
        _page("web-graph", graph, seconds["graph"], 5),
    ]


def measure_backfills(place: Place) -> list[Figure]:
    """Return the seconds in which the web server accepts a backfill of all days."""
    config = made_lake(place)
    catalog = load_catalog(config, {}, LAST_DAY)
    keys = [key.path for key in asset_keys(catalog.all_series()).values()]
    days = place.size.lake_days
    names = [str(day) for day in days_in(LAST_DAY - timedelta(days), LAST_DAY)]
    figures = []
    with serving(config, environment(config.parent)) as url:
        for count in (1, place.size.lake_symbols):
            # Series of one interval stand in one run.
            chosen = keys[:: len(INTERVALS)][:count]
            _create(url, chosen, names)
            seconds = [_create(url, chosen, names) for _ in range(place.size.rounds)]
            what = f"a backfill of {count} series x {days:,} days created over GraphQL"
            figures.append(Figure(f"backfill-of-{count}", what, "s", Better.LOWER, seconds))
    return figures


def _page(name: str, what: str, seconds: Sequence[float], goal: float) -> Figure:
    beside = [Beside("first visit", seconds[:1])]
    return Figure(name, what, "s", Better.LOWER, seconds[1:], goal=goal, beside=beside)


def _marked_lake(place: Place) -> tuple[Path, Sequence[str]]:
    """Return the large lake's configuration, and the asset that Dagster shows as materialized."""
    config = made_lake(place)
    command = (sys.executable, "-m", "bench.marking", str(config))
    ran = run(command, environ=environment(config.parent))
    return config, ran.output.split("/")


def _create(url: str, keys: Sequence[Sequence[str]], days: Sequence[str]) -> float:
    params = {"assetSelection": [{"path": key} for key in keys], "partitionNames": days}
    body: dict[str, Any] = {"query": CREATE, "variables": {"params": params}}
    request = urllib.request.Request(  # noqa: S310 - our own server
        f"{url}/graphql", json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    started = time.perf_counter()
    with urllib.request.urlopen(request) as answer:  # noqa: S310
        content = json.load(answer)
    seconds = time.perf_counter() - started
    if not (content.get("data") or {}).get("launchPartitionBackfill", {}).get("backfillId"):
        raise RuntimeError(f"no backfill was created: {json.dumps(content)[:300]}")
    return seconds
