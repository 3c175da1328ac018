"""The views over a lake (`views.VIEWS`) in DuckDB, from a census and the klines alone.

The only module that speaks to DuckDB. What a day's state is, is judged by `lake.census`.
"""

import contextlib
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from crypto_data.errors import LakeDamaged, UsageError
from crypto_data.lake.census import Census, take_census
from crypto_data.lake.layout import DATABASE, find_parts
from crypto_data.lake.part import sync_folder, temporary_of, writing
from crypto_data.lake.view_columns import comments
from crypto_data.lake.views import (
    STATEMENTS,
    VIEWS,
    empty_klines_view,
    klines_view,
    literal,
    tables_of,
)

# Files of the newest DuckDB could not be opened by older shells and viewers.
STORAGE_VERSION = "v1.5.0"


# Further views: their names, and the rows of each.
Extra = Mapping[str, pa.Table]
# Values for the `?` of a statement, or by name for its `$name`.
Parameters = Sequence[Any] | Mapping[str, Any]
Relation = duckdb.DuckDBPyRelation


def _open_figures(census: Census, extra: Extra | None) -> duckdb.DuckDBPyConnection:
    """Return a connection with all views but `klines`, which looks for every file of the lake."""
    connection = _connect(":memory:")
    for name, table in (tables_of(census) | dict(extra or {})).items():
        connection.register(name, table)  # not copied, which costs more than most queries
    for statement in STATEMENTS:
        connection.execute(statement)
    return connection


def _define_klines(connection: duckdb.DuckDBPyConnection, root: Path, census: Census) -> None:
    if not any(census.held["files"].to_pylist()):
        connection.execute(empty_klines_view())
        return
    try:
        connection.execute(klines_view(root))
    except duckdb.Error as error:
        if not census.faults:
            _blame_files(root, census, error)
        # The file that DuckDB takes the columns from is one of those, or foreign: it is given
        # our own, another one first.
        broken = {fault.path for fault in census.faults}
        files = sorted((part.path for part in find_parts(root)), key=lambda one: str(one) in broken)
        has_readable = bool(files) and str(files[0]) not in broken
        if not has_readable and not census.faults:
            raise
        connection.execute(
            klines_view(root, files) if has_readable else empty_klines_view(str(census.faults[0]))
        )


def run_statement(
    root: Path, census: Census, statement: str, extra: Extra | None = None
) -> pa.Table:
    """Run one SELECT of a user on the views and return its result.

    Raises:
        UsageError: it is not one SELECT, or DuckDB refuses it; the message is DuckDB's.
        LakeDamaged: it reads klines of a file that cannot be read.
    """
    connection = _open_guarded(root, census, statement, extra)
    with _blaming(root, census, extra):
        if _reads_klines(connection, statement):
            _define_klines(connection, root, census)
        else:
            connection.execute(empty_klines_view())
        return connection.sql(statement).to_arrow_table()


def relate(
    root: Path,
    census: Census,
    statement: str,
    extra: Extra | None = None,
    parameters: Parameters | None = None,
) -> Relation:
    """Return one SELECT of a user on the views as a relation, which runs it whenever it is used.

    What is made of the relation later may read any view. The statement cannot write, attach,
    install, or reach a file outside the lake. What goes wrong when the relation is used is an error
    of DuckDB's. Its connection lasts as long as it.

    Raises:
        UsageError, LakeDamaged: as `run_statement`, where DuckDB sees it beforehand.
    """
    connection = _open_guarded(root, census, statement, extra)
    with _blaming(root, census, extra):
        _define_klines(connection, root, census)
        return connection.sql(statement, params=parameters)


def _open_guarded(
    root: Path, census: Census, statement: str, extra: Extra | None
) -> duckdb.DuckDBPyConnection:
    """Return a connection for one SELECT of a user, shut in, with all views but `klines`."""
    connection = _open_figures(census, extra)
    with _blaming(root, census, extra):
        _check_is_one_select(connection, statement, _names(extra))
        _shut_in(connection, root)
    return connection


def _reads_klines(connection: duckdb.DuckDBPyConnection, statement: str) -> bool:
    """Return whether a statement may read klines; looking for all their files takes a while.

    DuckDB names the tables that a statement reads, its own WITH ones left out. Where it cannot, as
    with values that are still to come, the statement may read anything.
    """
    try:
        names = connection.get_table_names(statement)
    except duckdb.Error:
        return True
    return "klines" in map(str.lower, names)


def _names(extra: Extra | None) -> str:
    return ", ".join((*VIEWS, *(extra or {})))


@contextlib.contextmanager
def _blaming(root: Path, census: Census, extra: Extra | None) -> Iterator[None]:
    """Turn what DuckDB says into our own errors: a file is to blame, else the statement."""
    try:
        yield
    except duckdb.Error as error:
        _blame_files(root, census, error)
        raise UsageError(
            f"the statement was refused: {error}\nThe views are {_names(extra)}."
        ) from error


# How DuckDB says that the klines are to blame, not the statement: it may name the file.
_READING = re.compile(
    r'(?:Failed to read|Could not read enough bytes from) file "([^"]+)"|might be corrupted()'
)


def _blame_files(root: Path, census: Census, error: duckdb.Error) -> None:
    """Raise where DuckDB stumbled over a file of the lake.

    Raises:
        LakeDamaged: it did; the message names the file, or the folder if DuckDB does not.
    """
    said = str(error)
    for fault in census.faults:
        if "/".join(Path(fault.path).parts[-2:]) in said:
            raise LakeDamaged(
                fault.path, f"cannot be read ({fault.why}); run: crypto-data repair"
            ) from error
    found = _READING.search(said)
    if found or type(error) is duckdb.Error:  # a bare one comes from reading a torn footer
        path = (found and found[1]) or root / "klines"
        raise LakeDamaged(
            str(path),
            f"klines cannot be read ({' '.join(said.split())}); run: crypto-data health --verify",
        ) from error


def _check_is_one_select(connection: duckdb.DuckDBPyConnection, statement: str, names: str) -> None:
    statements = connection.extract_statements(statement)
    if len(statements) != 1 or statements[0].type != duckdb.StatementType.SELECT:
        raise UsageError(
            "only one SELECT can be run, so that no query can change the lake; "
            f"the views are {names}"
        )


def _shut_in(connection: duckdb.DuckDBPyConnection, root: Path) -> None:
    # DuckDB compares the view's pattern with these before it looks for files.
    folders = {str(folder / "klines").replace("'", "''") for folder in (root, literal(root))}
    allowed = ", ".join(f"'{folder}'" for folder in folders)
    connection.execute(f"SET allowed_directories = [{allowed}]")
    connection.execute("SET enable_external_access = false")
    connection.execute("SET lock_configuration = true")


def rebuild_database(
    root: Path, local_ms: int, extra: Callable[[Census], Extra] = lambda _census: {}
) -> Path:
    """Build `lake.duckdb` anew beside the old one and put it in its place; return its path.

    Its `klines` view reads the files as they are when it is asked; the other views say how the
    lake stood when it was built. A reader that has the old file open keeps it.

    Args:
        root: The lake.
        local_ms: This machine's clock, UTC epoch milliseconds.
        extra: What further views there are.

    Raises:
        LakeDamaged: what the lake is asked to hold is there and cannot be read.
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
                _fill(connection, root, census, extra(census))
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
        for view in VIEWS[1:]:  # klines are not the database's
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


def _fill(connection: duckdb.DuckDBPyConnection, root: Path, census: Census, extra: Extra) -> None:
    _define_klines(connection, root, census)  # may try twice, which no transaction survives
    # Each of a hundred statements would be flushed to the disk by itself.
    connection.execute("BEGIN")
    for name, table in (tables_of(census) | dict(extra)).items():
        connection.register("incoming", table)
        connection.execute(f"CREATE TABLE {name} AS SELECT * FROM incoming")  # noqa: S608 - ours
        connection.unregister("incoming")
    for statement in STATEMENTS:
        connection.execute(statement)
    for view in (*VIEWS, *extra):
        for statement in comments(view):
            connection.execute(statement)
    connection.execute("COMMIT")
