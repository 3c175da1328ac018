"""The views `klines`, `inventory`, `coverage` and `gaps`, in DuckDB, from the lake alone.

The only module that speaks to DuckDB. What a day's state is, is judged by `lake.census`.
"""

import contextlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from crypto_data.errors import UsageError
from crypto_data.lake.census import SeriesCensus, take_census
from crypto_data.lake.feeds import Wishes
from crypto_data.lake.layout import DATABASE
from crypto_data.lake.part import sync_folder, temporary_of, writing
from crypto_data.lake.views import COVERAGE, GAPS, INVENTORY, TABLES, VIEWS, klines_view, literal
from crypto_data.selection import Selection

# Files of the newest DuckDB could not be opened by older shells and viewers.
STORAGE_VERSION = "v1.5.0"


def open_views(
    root: Path, local_ms: int, wishes: Wishes | None = None
) -> duckdb.DuckDBPyConnection:
    """Return an in-memory connection with the four views over the lake as it is now.

    Args:
        root: The lake.
        local_ms: This machine's clock, UTC epoch milliseconds.
        wishes: What the lake is asked to hold; None for what stands in the lake.

    Raises:
        LakeDamaged: a file of the lake cannot be read.
    """
    connection = _connect(":memory:")
    _define_views(connection, root, take_census(root, local_ms, wishes))
    return connection


# The columns of each view that say when a row begins and ends; an inventory row has no day.
_DAYS = {"coverage": ("day", "day + 1"), "gaps": ("gap_start", "gap_end"), "inventory": None}


def read_view(
    root: Path,
    local_ms: int,
    view: str,
    selection: Selection,
    wishes: Wishes | None = None,
) -> pa.Table:
    """Return the rows of `inventory`, `coverage` or `gaps`, ordered by series and time.

    Raises:
        LakeDamaged: a file of the lake cannot be read.
    """
    conditions, values = _conditions(view, selection)
    where = f"WHERE {' AND '.join(conditions)}" if conditions else ""
    query = f"SELECT * FROM {view} {where} ORDER BY ALL"  # noqa: S608 - names are ours, values bound
    with contextlib.closing(open_views(root, local_ms, wishes)) as connection:
        return connection.sql(query, params=values).to_arrow_table()


def _conditions(view: str, selection: Selection) -> tuple[list[str], list[Any]]:
    conditions: list[str] = []
    values: list[Any] = []
    for column, names in (
        ("exchange", selection.exchanges),
        ("market", selection.markets),
        ("symbol", selection.symbols),
        ("interval", selection.intervals),
    ):
        if names:
            conditions.append(f"list_contains(?, {column})")
            values.append(list(names))
    for bound, operator, position in ((selection.start, ">", 1), (selection.end, "<", 0)):
        columns = _DAYS[view]
        if bound and columns:
            conditions.append(f"{columns[position]} {operator} ?")
            values.append(bound)
    return conditions, values


def run_statement(
    root: Path, local_ms: int, statement: str, wishes: Wishes | None = None
) -> pa.Table:
    """Run one SELECT of a user on the views and return its result.

    The statement cannot write, attach, install, or reach a file outside the lake.

    Raises:
        UsageError: it is not one SELECT, or DuckDB refuses it; the message is DuckDB's.
    """
    with contextlib.closing(open_views(root, local_ms, wishes)) as connection:
        try:
            _check_is_one_select(connection, statement)
            _shut_in(connection, root)
            return connection.sql(statement).to_arrow_table()
        except duckdb.Error as error:
            raise UsageError(
                f"the statement was refused: {error}\nThe views are {', '.join(VIEWS)}."
            ) from error


def _check_is_one_select(connection: duckdb.DuckDBPyConnection, statement: str) -> None:
    statements = connection.extract_statements(statement)
    if len(statements) != 1 or statements[0].type != duckdb.StatementType.SELECT:
        raise UsageError(
            "only one SELECT can be run, so that no query can change the lake; "
            f"the views are {', '.join(VIEWS)}"
        )


def _shut_in(connection: duckdb.DuckDBPyConnection, root: Path) -> None:
    # DuckDB compares the view's pattern with these before it looks for files.
    folders = {str(folder / "klines").replace("'", "''") for folder in (root, literal(root))}
    allowed = ", ".join(f"'{folder}'" for folder in folders)
    connection.execute(f"SET allowed_directories = [{allowed}]")
    connection.execute("SET enable_external_access = false")
    connection.execute("SET lock_configuration = true")


def rebuild_database(root: Path, local_ms: int) -> Path:
    """Build `lake.duckdb` anew beside the old one and put it in its place; return its path.

    Its `klines` view reads the files as they are when it is asked; the other views say how the
    lake stood when it was built. A reader that has the old file open keeps it.

    Raises:
        LakeDamaged: a file of the lake cannot be read.
        LakeNotWritable: no space or no permission; the old database is untouched.
    """
    path = root / DATABASE
    temporary = temporary_of(path)
    census = take_census(root, local_ms)
    with writing(path):
        root.mkdir(parents=True, exist_ok=True)
        try:
            # A killed process of the same number may have left one, and DuckDB would go on in it.
            temporary.unlink(missing_ok=True)
            with contextlib.closing(_connect(str(temporary))) as connection:
                _define_views(connection, root, census)
                # Closing would do it too, and keep to itself that the disk is full.
                connection.execute("CHECKPOINT")
            _check_views(temporary)
            temporary.replace(path)
        except duckdb.Error as error:
            raise OSError(str(error)) from error
        finally:
            for name in (temporary, temporary.with_name(f"{temporary.name}.wal")):
                name.unlink(missing_ok=True)
        sync_folder(root)
    return path


def _check_views(path: Path) -> None:
    """Open a database that was just built, ask its views for nothing, and flush it."""
    with contextlib.closing(duckdb.connect(str(path), read_only=True)) as connection:
        for view in ("inventory", "coverage", "gaps"):
            connection.sql(f"SELECT * FROM {view} LIMIT 0").fetchall()  # noqa: S608 - ours
    with path.open("rb") as file:
        os.fsync(file.fileno())


def _connect(database: str) -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect(
        database,
        config={
            "autoinstall_known_extensions": "false",
            "autoload_known_extensions": "false",
            "storage_compatibility_version": STORAGE_VERSION,
        },
    )
    connection.execute("SET TimeZone = 'UTC'")
    return connection


def _define_views(
    connection: duckdb.DuckDBPyConnection, root: Path, census: Sequence[SeriesCensus]
) -> None:
    for name, make in TABLES.items():
        connection.register("incoming", make(census))
        connection.execute(f"CREATE TABLE {name} AS SELECT * FROM incoming")  # noqa: S608 - ours
        connection.unregister("incoming")
    for view in (klines_view(root, any(one.files for one in census)), GAPS, COVERAGE, INVENTORY):
        connection.execute(view)
