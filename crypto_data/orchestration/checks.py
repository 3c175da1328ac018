"""What is judged of every series, and which series are due.

A check of a series has no partitions: Dagster would leave those of a ranged run planned for ever.
The steps that judge belong to `orchestration.judging`.
"""

from base64 import b64decode, b64encode
from collections.abc import Iterable
from enum import StrEnum
from hashlib import blake2b

import dagster as dg
import pyarrow as pa

from crypto_data.catalog.configuration import Catalog, Feed
from crypto_data.lake.census import Census
from crypto_data.lake.overdue import stale_series
from crypto_data.orchestration import verdicts
from crypto_data.orchestration.pages import names_of
from crypto_data.series import Series

# So many series are judged in one run, each by five checks or six: under a minute.
SERIES_A_RUN = 1000

_DIGEST_BYTES = 6


class Check(StrEnum):
    """What is judged of a series."""

    COMPLETE = "complete_or_explained"
    RULES = "rows_follow_rules"
    REVISED = "revised"
    PRICES = "prices_continue"
    FRESH = "fresh"
    EQUALS = "equals_exchange"


SAYS = {
    Check.COMPLETE: "No closed day is partial or missing. Days that nobody has asked for yet are "
    "left to the feed's schedule for a day.",
    Check.RULES: "No row of the days that changed broke a rule of validation.",
    Check.REVISED: "The archive had no other values than the lake on the days that changed.",
    Check.PRICES: "On the days that changed, each first open is within 10 % of the close before.",
    Check.FRESH: "The newest closed day is settled, whatever older days a backfill has filled.",
    Check.EQUALS: "The klines made of finer ones equal those the exchange itself has, on the "
    "newest of the days that changed.",
}
# Of a series that is fetched there is nothing to compare: its klines are the exchange's.
OF_FETCHED = tuple(check for check in Check if check is not Check.EQUALS)


def checks_of(series: Series, feed: Feed) -> tuple[Check, ...]:
    """Return what is judged of a series."""
    return OF_FETCHED if feed.finer(series) is None else tuple(Check)


def check_keys(key: dg.AssetKey, checks: Iterable[Check] = OF_FETCHED) -> list[dg.AssetCheckKey]:
    """Return the keys of the checks of one series' asset."""
    # Plain text: Dagster stores names as they are, and no enum of ours.
    return [dg.AssetCheckKey(key, str(name)) for name in checks]


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
    stale = stale_of(census, catalog, now_ms)
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


def stale_of(census: Census, catalog: Catalog, now_ms: int) -> dict[Series, int]:
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
