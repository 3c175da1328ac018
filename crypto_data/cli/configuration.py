"""How a command opens its configuration: where it is looked for, with the environment it has."""

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from crypto_data.catalog.configuration import Catalog


def read_catalog(config: Path | None) -> "Catalog":
    """Return the configuration.

    Raises:
        CatalogError: it cannot be found or used.
    """
    from crypto_data.catalog.location import find_catalog
    from crypto_data.resolving import open_catalog

    path = find_catalog(config, os.environ, Path.cwd())
    return open_catalog(path, os.environ, datetime.now(UTC).date())
