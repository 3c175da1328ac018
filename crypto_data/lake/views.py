"""The views as SQL, and the tables they stand on.

Text and Arrow only; running them belongs to `lake.inventory`.
"""

import re
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa

from crypto_data.lake.census import Census
from crypto_data.lake.layout import klines_glob
from crypto_data.schema import KLINES

VIEWS = ("klines", "inventory", "coverage", "gaps", "corrections")

COVERAGE = """
CREATE VIEW coverage AS
SELECT exchange, market, symbol, interval,
       first_day + unnest(range(days))::INTEGER AS day,
       rows, expected, state, source, ingested_at,
       attempts, last_attempt, reason, set_aside, checksum, address
FROM day_runs
"""

INVENTORY = "CREATE VIEW inventory AS SELECT * EXCLUDE (settled_until, due_until) FROM held"

GAPS = "CREATE VIEW gaps AS SELECT * FROM gaps_found"

CORRECTIONS = "CREATE VIEW corrections AS SELECT * FROM corrections_made"

# The statements that a census's tables are enough for.
STATEMENTS = (GAPS, COVERAGE, INVENTORY, CORRECTIONS)


def klines_view(root: Path, files: Sequence[Path] | None = None) -> str:
    """Return the statement that makes the view `klines` over all files of the lake, or over some.

    DuckDB reads the first file when the view is made: of `files`, that must be a readable one.
    """
    # Every period begins with its year: a foreign file of another name adds no rows.
    pattern = [str(Path(klines_glob(literal(root))).with_name("[0-9][0-9][0-9][0-9]*.parquet"))]
    if files is not None:
        pattern = [str(literal(root) / file.relative_to(root)) for file in files]
    places = ", ".join("'" + one.replace("'", "''") + "'" for one in pattern)
    return (
        f"CREATE VIEW klines AS SELECT {', '.join((*_KEYS, *_COLUMNS))} FROM "  # noqa: S608 - names are ours
        f"read_parquet([{places}], hive_partitioning = true, hive_types_autocast = false)"
    )


def empty_klines_view(error: str = "") -> str:
    """Return the statement that makes a typed view `klines` without rows.

    Args:
        error: What whoever asks for a kline is told; `""` where there is just none.
    """
    value = "error('" + error.replace("'", "''") + "')" if error else "NULL"
    typed = [f"{value}::VARCHAR AS {name}" for name in _KEYS]
    typed += [
        f"{value}::{_duckdb_type(field.type)} AS {name}"
        for field, name in zip(KLINES, _COLUMNS, strict=True)
    ]
    condition = f"{value} IS NOT NULL" if error else "false"
    return f"CREATE VIEW klines AS SELECT {', '.join(typed)} WHERE {condition}"


_KEYS = ("exchange", "market", "symbol", "interval")
_COLUMNS = [f'"{field.name}"' for field in KLINES]


def literal(folder: Path) -> Path:
    """Return a folder, absolute, as it is written where DuckDB expects a pattern."""
    return Path(re.sub(r"([*?\[])", r"[\1]", str(folder.absolute())))


def _duckdb_type(kind: pa.DataType) -> str:
    if pa.types.is_timestamp(kind):
        return "TIMESTAMPTZ"
    if pa.types.is_dictionary(kind):
        return "VARCHAR"
    return "BIGINT" if pa.types.is_integer(kind) else "DOUBLE"


def tables_of(census: Census) -> dict[str, pa.Table]:
    """Return the tables that the views stand on, by the name that the statements use."""
    return {
        "day_runs": census.runs,
        "gaps_found": census.gaps,
        "held": census.held,
        "corrections_made": census.corrections,
    }
