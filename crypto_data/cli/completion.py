"""What the shell offers behind options: the names that stand in the configuration.

Asks nobody, and says nothing when the configuration cannot be read.
"""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from crypto_data.cli.configuration import read_catalog
from crypto_data.errors import CryptoDataError

if TYPE_CHECKING:
    from crypto_data.catalog.configuration import Catalog

Offer = Callable[[typer.Context, str], list[str]]


def _names(read: Callable[["Catalog"], Iterable[str]]) -> Offer:
    """Return what completes one name, or the last of several between commas."""

    def offer(ctx: typer.Context, incomplete: str) -> list[str]:
        before, comma, piece = incomplete.rpartition(",")
        given = before.split(",")
        names = dict.fromkeys(str(name) for name in _of_catalog(ctx, read) if name not in given)
        return [f"{before}{comma}{name}" for name in names if name.startswith(piece)]

    return offer


def _of_catalog(ctx: typer.Context, read: Callable[["Catalog"], Iterable[str]]) -> Iterable[str]:
    written: Any = ctx.params.get("config")
    try:
        return read(read_catalog(Path(written) if written else None))
    except CryptoDataError:
        return []


exchanges = _names(lambda catalog: (feed.exchange for feed in catalog.feeds))
markets = _names(lambda catalog: (str(feed.market) for feed in catalog.feeds))
symbols = _names(lambda catalog: (one for feed in catalog.feeds for one in feed.names))
intervals = _names(lambda catalog: (str(one) for feed in catalog.feeds for one in feed.intervals))
feeds = _names(lambda catalog: (feed.name for feed in catalog.feeds))
