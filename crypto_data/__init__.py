"""A crypto kline lake: partitioned Dagster assets, failover sources, Parquet any engine reads."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from crypto_data.api.answer import Reading
    from crypto_data.api.exporting import export
    from crypto_data.api.frames import backtrader_frame, to_pandas, to_polars, vectorbt_frame
    from crypto_data.api.opening import OpenLake, open_lake
    from crypto_data.errors import CryptoDataError, DataSourceError, UsageError

__all__ = [
    "CryptoDataError",
    "DataSourceError",
    "OpenLake",
    "Reading",
    "UsageError",
    "backtrader_frame",
    "export",
    "open_lake",
    "to_pandas",
    "to_polars",
    "vectorbt_frame",
]

# Imported when they are named: `import crypto_data` alone costs nothing.
_HOMES = {
    "crypto_data.api.answer": ("Reading",),
    "crypto_data.api.exporting": ("export",),
    "crypto_data.api.frames": ("backtrader_frame", "to_pandas", "to_polars", "vectorbt_frame"),
    "crypto_data.api.opening": ("OpenLake", "open_lake"),
    "crypto_data.errors": ("CryptoDataError", "DataSourceError", "UsageError"),
}


def __getattr__(name: str) -> Any:
    """Return a name of `__all__`."""
    for home, names in _HOMES.items():
        if name in names:
            return getattr(import_module(home), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    """Return the names that are offered."""
    return __all__
