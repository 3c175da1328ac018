"""The exchange's clock, measured now and then, and kept in the lake beside the wishes.

Reading what was measured last belongs to `lake.feeds`, asking one exchange to `sources.clock`.
"""

import os
from pathlib import Path

from crypto_data.catalog.configuration import Catalog
from crypto_data.lake.feeds import Wishes, read_wishes, wanted_series, write_wishes
from crypto_data.lake.layout import FEEDS
from crypto_data.sources.connect import Chains, open_chains

# A sensor has a minute; an exchange that is slow to tell the time is asked again later.
TIMEOUT_SECONDS = 3.0


def measure_clock(catalog: Catalog, state: Path) -> None:
    """Ask an exchange for its time, and keep how far it is ahead of ours in the lake.

    Where none answers, what was measured last stays.

    Args:
        catalog: The configuration.
        state: Where bans and used weight are remembered.

    Raises:
        LakeNotWritable: no space or no permission.
    """
    known_ms = read_wishes(catalog.lake).clock_ahead_ms
    patience_s = min(catalog.sources.timeout, TIMEOUT_SECONDS)
    hasty = catalog.model_copy(
        update={"sources": catalog.sources.model_copy(update={"timeout": patience_s})}
    )
    with open_chains(hasty, state, known_ahead_ms=known_ms) as chains:
        # All exchanges keep UTC: the first that answers will do.
        for feed in catalog.feeds:
            chains.chain(feed).now_ms()
            if chains.measured_ahead_ms() is not None:
                break
        write_measured(catalog, chains)


def write_measured(catalog: Catalog, chains: Chains) -> None:
    """Write into the lake what it is asked to hold, with the exchange's clock if it was told."""
    ahead_ms = chains.measured_ahead_ms()
    known_ms = read_wishes(catalog.lake).clock_ahead_ms
    write_wishes(
        catalog.lake, Wishes(wanted_series(catalog), known_ms if ahead_ms is None else ahead_ms)
    )
    if ahead_ms is not None:
        os.utime(catalog.lake / FEEDS)  # measured just now, even where nothing has changed
