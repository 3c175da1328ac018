"""Looking after the lake: what is wrong is found, noted, and told to a person.

What counts as trouble belongs to `troubles`, what was told and how it gets there to `alerts`.
"""

from collections.abc import Sequence
from pathlib import Path

from crypto_data.alerts.delivery import DeliveryReport, deliver
from crypto_data.alerts.outbox import Outbox
from crypto_data.alerts.trouble import Trouble
from crypto_data.catalog.configuration import Catalog
from crypto_data.lake.census import take_census
from crypto_data.lake.feeds import current_wishes
from crypto_data.lake.history import note_whole, read_history
from crypto_data.lake.layout import ALERTS
from crypto_data.lake.overdue import count_gap_days
from crypto_data.lake.set_aside import read_set_aside
from crypto_data.sources.gate import Gate
from crypto_data.troubles import Scene, find_troubles


def watch(
    catalog: Catalog, state_directory: Path, local_ms: int, also: Sequence[Trouble] = ()
) -> DeliveryReport:
    """Look for trouble, note what a person should hear of, and deliver what waits.

    Args:
        catalog: The configuration.
        state_directory: Where limits of this machine's address are remembered.
        local_ms: This machine's clock, UTC epoch milliseconds.
        also: Trouble that the lake does not know of.

    Raises:
        LakeError: the lake cannot be read or written at all; nothing was told.
    """
    outbox = Outbox(catalog.lake / ALERTS)
    with outbox.watching():
        scene = look(catalog, state_directory, outbox, local_ms)
        outbox.tell([*find_troubles(scene), *also], scene.now_ms, catalog.alerts.urls)
    _end_healed_errors(scene)
    return deliver(outbox, catalog.alerts.urls, scene.now_ms)


def _end_healed_errors(scene: Scene) -> None:
    """Let a feed's errors be over where no day of it is open any more; they have been told of."""
    open_days = count_gap_days(scene.census.runs)
    healed = {
        feed.name: scene.history.feeds[feed.name]
        for feed in scene.catalog.feeds
        if feed.name in scene.history.feeds
        and scene.history.feeds[feed.name].errors_in_a_row
        and not any(series in open_days for series in feed.series)
    }
    if healed:
        note_whole(scene.catalog.lake, healed, scene.now_ms)


def look(catalog: Catalog, state_directory: Path, outbox: Outbox, local_ms: int) -> Scene:
    """Return all that trouble is found in, as it is now; asks nobody.

    Raises:
        LakeError: the lake cannot be read at all.
    """
    wishes = current_wishes(catalog)
    return Scene(
        catalog,
        read_history(catalog.lake),
        take_census(catalog.lake, local_ms, wishes),
        Gate(state_directory, lambda: local_ms).closings(),
        read_set_aside(catalog.lake),
        outbox.known(),
        local_ms + wishes.clock_ahead_ms,
        local_ms,
    )
