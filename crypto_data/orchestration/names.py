"""How series are named in Dagster, and back.

Names only; the assets themselves belong to `orchestration.assets`.
"""

import re
from collections.abc import Iterable, Mapping

import dagster as dg

from crypto_data.catalog.configuration import Feed
from crypto_data.intervals import Interval
from crypto_data.series import Series

SERIES_METADATA = "crypto_data/series"
# A run carries one such tag for each feed it fetched for.
FEED_TAG = "crypto_data_feed/"
# What a run is for, a `harvest.Aim`.
AIM_TAG = "crypto_data/aim"
# The command that a run belongs to: the runs of one call count as one pass.
CALL_TAG = "crypto_data/call"
# A run with this tag is being deleted.
DOOMED = "crypto_data/being_deleted"
# Jobs that fetch nothing and look after the lake.
CHECKS_JOB = "checks"
HOUSEKEEPING_JOB = "housekeeping"

_REFUSED = re.compile(r"[^A-Za-z0-9_]")


def asset_keys(all_series: Iterable[Series]) -> Mapping[Series, dg.AssetKey]:
    """Return the asset key of each series, `klines/<exchange>/<market>/<symbol>/<interval>`.

    Characters that Dagster refuses become `_`; where that makes two series alike (two names of
    four Chinese characters do), the later one, by name, gets `_2`, `_3` behind its symbol.
    """
    keys: dict[Series, dg.AssetKey] = {}
    taken: set[dg.AssetKey] = set()
    for series in sorted(all_series):
        plain = _REFUSED.sub("_", series.symbol)
        number = 1
        while (key := _key(series, plain if number == 1 else f"{plain}_{number}")) in taken:
            number += 1
        taken.add(key)
        keys[series] = key
    return keys


def _key(series: Series, symbol: str) -> dg.AssetKey:
    exchange = _REFUSED.sub("_", series.exchange)
    return dg.AssetKey(["klines", exchange, str(series.market), symbol, str(series.interval)])


def output_name(key: dg.AssetKey) -> str:
    """Return the name of a series' output within its step."""
    return "_".join(key.path[1:])


def step_name(feed: Feed, interval: Interval) -> str:
    """Return the name of the step that fetches a feed's series of one interval."""
    return f"{feed.name}_{interval}"
