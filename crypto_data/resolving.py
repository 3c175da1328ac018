"""The configuration that commands, runs and Python use: what its patterns mean, by what is known.

Asks nobody. Its text belongs to `catalog.configuration`, the lake's copy of the exchanges' lists
to `lake.universe`, when they are asked anew to `universe`.
"""

from collections.abc import Mapping
from datetime import date
from pathlib import Path

from crypto_data.catalog.configuration import Catalog, load_catalog
from crypto_data.lake.universe import read_listed
from crypto_data.series import Market

Place = tuple[str, Market]  # an exchange's name and one of its markets


def open_catalog(path: Path, environ: Mapping[str, str], today: date) -> Catalog:
    """Read the configuration, with its patterns resolved by what the lake knows; asks nobody.

    Args:
        path: The YAML file.
        environ: Where `${NAME}` is looked up.
        today: The current UTC day; a feed cannot start after it.

    Raises:
        CatalogError: it cannot be read or used; holds all faults, in the order of the file.
    """
    return resolve(load_catalog(path, environ, today))


def resolve(catalog: Catalog) -> Catalog:
    """Return the configuration with its patterns resolved by what the lake knows; asks nobody."""
    return catalog.resolve(read_listed(catalog.lake, pattern_places(catalog)))


def pattern_places(catalog: Catalog) -> list[Place]:
    """Return the markets whose lists say what the configuration's patterns mean."""
    return sorted({(feed.exchange, feed.market) for feed in catalog.feeds if feed.has_patterns})
