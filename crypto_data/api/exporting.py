"""The command `export` for Python: files for other programs, and what is in each.

Writing them belongs to `exporting`.
"""

import os
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

from crypto_data.api.session import local_ms
from crypto_data.api.times import Instant
from crypto_data.api.viewing import select
from crypto_data.catalog.location import find_catalog
from crypto_data.errors import UsageError
from crypto_data.exporting.export import Exported, start_export
from crypto_data.exporting.order import ExportFormat, Order, Packing
from crypto_data.resolving import open_catalog

Names = str | Iterable[str]


def export(  # noqa: PLR0913 - a parameter an option of the command
    program: str,
    to: str | os.PathLike[str],
    *,
    config: str | os.PathLike[str] | None = None,
    exchange: Names = (),
    market: Names = (),
    symbols: Names = (),
    intervals: Names = (),
    start: Instant | None = None,
    end: Instant | None = None,
    allow_gaps: bool = False,
    packing: str = Packing.PLAIN,
) -> list[Exported]:
    """Write klines of the lake as files for another program, and return what became of each series.

    Asks no exchange. Nothing is filled or resampled.

    Args:
        program: `freqtrade`, `nautilus` or `csv`.
        to: The folder to write into; not in the lake.
        config: The YAML file; None looks for it as `open_lake` does.
        exchange: Only these exchanges; one name or several, as in all of these filters.
        market: Only these markets.
        symbols: Only these symbols.
        intervals: Only these intervals.
        start: First UTC day. None: the first that the lake is asked to hold.
        end: First UTC day that is left out.
        allow_gaps: Write series that have missing or partial days too.
        packing: For `csv`: `csv` files, or a `zip` of each with its CHECKSUM.

    Returns:
        One for each series. `is_done` is False, and `reason` says why, where something asked for is
        not in `files`: look at it.

    Raises:
        UsageError: nothing was written: a name is not known, or the program cannot use a series.
        CatalogError: the configuration cannot be used.
        LakeNotWritable: no space or no permission; the file that was there is untouched.
    """
    named = None if config is None else Path(config)
    path = find_catalog(named, os.environ, Path.cwd())
    catalog = open_catalog(path, os.environ, datetime.now(UTC).date())
    chosen = select(exchange, market, symbols, intervals, start, end)
    order = Order(_format(program), Path(to), chosen, allow_gaps, _packing(packing))
    return list(start_export(catalog, order, local_ms()))


def _format(program: str) -> ExportFormat:
    try:
        return ExportFormat(program)
    except ValueError:
        raise UsageError(f"program: {program!r} is none of {', '.join(ExportFormat)}") from None


def _packing(packing: str) -> Packing:
    try:
        return Packing(packing)
    except ValueError:
        raise UsageError(f"packing: {packing!r} is none of {', '.join(Packing)}") from None
