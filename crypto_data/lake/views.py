"""The views as SQL, and the tables they stand on.

Text and Arrow only; running them belongs to `lake.inventory`.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from crypto_data.lake.census import SeriesCensus
from crypto_data.lake.layout import klines_glob
from crypto_data.schema import KLINES, TIME
from crypto_data.series import Series

VIEWS = ("klines", "inventory", "coverage", "gaps")

_SERIES = [(name, pa.string()) for name in ("exchange", "market", "symbol", "interval")]
_RUNS = pa.schema(
    [
        *_SERIES,
        ("first_day", pa.date32()),
        ("days", pa.int64()),
        ("rows", pa.int64()),
        ("expected", pa.int64()),
        ("present", pa.int64()),
        ("state", pa.string()),
        ("source", pa.string()),
        ("ingested_at", TIME),
        ("attempts", pa.int64()),
        ("last_attempt", TIME),
        ("reason", pa.string()),
        ("checksum", pa.string()),
        ("address", pa.string()),
        ("set_aside", pa.int64()),
    ]
)
_GAPS = pa.schema(
    [
        *_SERIES,
        ("gap_start", TIME),
        ("gap_end", TIME),
        ("missing_rows", pa.int64()),
        ("state", pa.string()),
        ("attempts", pa.int64()),
        ("last_attempt", TIME),
        ("reason", pa.string()),
    ]
)
_HELD = pa.schema(
    [
        *_SERIES,
        ("first_open", TIME),
        ("last_open", TIME),
        ("files", pa.int64()),
        ("bytes", pa.int64()),
    ]
)

COVERAGE = """
CREATE VIEW coverage AS
SELECT exchange, market, symbol, interval,
       first_day + unnest(range(days))::INTEGER AS day,
       rows, expected, state, source, ingested_at,
       attempts, last_attempt, reason, set_aside, checksum, address
FROM day_runs
"""

INVENTORY = """
CREATE VIEW inventory AS
WITH days AS (
    SELECT exchange, market, symbol, interval,
           sum(rows * days)::BIGINT AS rows,
           sum(expected * days)::BIGINT AS expected_rows,
           sum(greatest(expected - present, 0) * days)::BIGINT AS missing_rows,
           coalesce(sum(days) FILTER (state = 'complete'), 0)::BIGINT AS days_complete,
           coalesce(sum(days) FILTER (state = 'partial'), 0)::BIGINT AS days_partial,
           coalesce(sum(days) FILTER (state = 'missing'), 0)::BIGINT AS days_missing,
           coalesce(sum(days) FILTER (state = 'explained'), 0)::BIGINT AS days_explained,
           coalesce(sum(days) FILTER (state = 'unlisted'), 0)::BIGINT AS days_unlisted,
           coalesce(sum(days) FILTER (state = 'provisional'), 0)::BIGINT AS days_provisional,
           max(ingested_at) AS last_ingested
    FROM day_runs GROUP BY ALL
), open_gaps AS (
    SELECT exchange, market, symbol, interval, count(*) AS gaps
    FROM gaps WHERE state = 'open' GROUP BY ALL
)
SELECT exchange, market, symbol, interval, first_open, last_open,
       coalesce(rows, 0) AS rows, coalesce(expected_rows, 0) AS expected_rows,
       coalesce(missing_rows, 0) AS missing_rows,
       CASE WHEN coalesce(expected_rows, 0) = 0 THEN 1.0
            ELSE (expected_rows - missing_rows) / expected_rows END AS completeness,
       coalesce(gaps, 0) AS gaps,
       coalesce(days_complete, 0) AS days_complete, coalesce(days_partial, 0) AS days_partial,
       coalesce(days_missing, 0) AS days_missing, coalesce(days_explained, 0) AS days_explained,
       coalesce(days_unlisted, 0) AS days_unlisted,
       coalesce(days_provisional, 0) AS days_provisional,
       files, bytes, last_ingested
FROM held
LEFT JOIN days USING (exchange, market, symbol, interval)
LEFT JOIN open_gaps USING (exchange, market, symbol, interval)
"""


def klines_view(root: Path, has_files: bool) -> str:
    """Return the statement that makes the view `klines`; typed and empty for an empty lake."""
    columns = ", ".join(f'"{field.name}"' for field in KLINES)
    keys = "exchange, market, symbol, interval"
    if not has_files:
        typed = ", ".join(f"NULL::{_duckdb_type(field.type)} AS {field.name}" for field in KLINES)
        empty = ", ".join(f"NULL::VARCHAR AS {name}" for name, _ in _SERIES)
        return f"CREATE VIEW klines AS SELECT {empty}, {typed} WHERE false"
    pattern = klines_glob(literal(root)).replace("'", "''")
    return (
        f"CREATE VIEW klines AS SELECT {keys}, {columns} FROM "  # noqa: S608 - names are ours
        f"read_parquet('{pattern}', hive_partitioning = true, hive_types_autocast = false)"
    )


def literal(folder: Path) -> Path:
    """Return a folder, absolute, as it is written where DuckDB expects a pattern."""
    return Path(re.sub(r"([*?\[])", r"[\1]", str(folder.absolute())))


def _duckdb_type(kind: pa.DataType) -> str:
    if pa.types.is_timestamp(kind):
        return "TIMESTAMPTZ"
    if pa.types.is_dictionary(kind):
        return "VARCHAR"
    return "BIGINT" if pa.types.is_integer(kind) else "DOUBLE"


def _names(series: Series) -> dict[str, Any]:
    return {
        "exchange": series.exchange,
        "market": str(series.market),
        "symbol": series.symbol,
        "interval": str(series.interval),
    }


def _time(epoch_ms: int | None) -> int | None:
    return epoch_ms * 1000 if epoch_ms else None


def _runs_table(census: Sequence[SeriesCensus]) -> pa.Table:
    rows: list[dict[str, Any]] = []
    for one in census:
        names = _names(one.series)
        for run in one.runs:
            facts = run.facts
            rows.append(
                names
                | {
                    "first_day": run.first,
                    "days": run.days,
                    "rows": facts.rows + facts.off_grid if facts else 0,
                    "present": facts.rows if facts else 0,
                    "expected": run.expected,
                    "state": str(run.state),
                    "source": "+".join(name for name, _ in facts.sources) if facts else None,
                    "ingested_at": _time(facts.ingested_ms) if facts else None,
                    "attempts": facts.attempts if facts else 0,
                    "last_attempt": _time(facts.asked_ms) if facts else None,
                    "reason": facts.reason if facts else None,
                    "checksum": facts.checksum if facts else None,
                    "address": facts.address if facts else None,
                    "set_aside": sum(count for _, count in facts.set_aside) if facts else 0,
                }
            )
    return pa.Table.from_pylist(rows, schema=_RUNS)


def _gaps_table(census: Sequence[SeriesCensus]) -> pa.Table:
    rows = [
        _names(one.series)
        | {
            "gap_start": _time(gap.span.start_ms),
            "gap_end": _time(gap.span.end_ms),
            "missing_rows": gap.missing_rows,
            "state": "open" if gap.is_open else "explained",
            "attempts": gap.attempts,
            "last_attempt": _time(gap.asked_ms),
            "reason": gap.reason,
        }
        for one in census
        for gap in one.gaps
    ]
    return pa.Table.from_pylist(rows, schema=_GAPS)


def _held_table(census: Sequence[SeriesCensus]) -> pa.Table:
    rows = [
        _names(one.series)
        | {
            "first_open": _time(one.first_open_ms),
            "last_open": _time(one.last_open_ms),
            "files": one.files,
            "bytes": one.bytes,
        }
        for one in census
    ]
    return pa.Table.from_pylist(rows, schema=_HELD)


GAPS = "CREATE VIEW gaps AS SELECT * FROM gaps_found"

# The tables under the views, by name.
TABLES: Mapping[str, Callable[[Sequence[SeriesCensus]], pa.Table]] = {
    "day_runs": _runs_table,
    "gaps_found": _gaps_table,
    "held": _held_table,
}
