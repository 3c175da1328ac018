"""The empty database for the events of a run, made like the one over all runs.

Dagster would compile, number and flush each of its tables and indices by itself, for every run:
0.11 s of a processor, and forty times the disk.
"""

import sqlite3
from contextlib import closing
from pathlib import Path

from dagster._core.storage.sqlite import SQLITE_BUSY_TIMEOUT_SECONDS

# Dagster's own table of the revision that the others are of; it has one row.
_REVISION = "alembic_version"
# Those without a statement belong to a table, which makes them.
_STATEMENTS = "SELECT sql FROM sqlite_master WHERE type IN ('table', 'index') AND sql IS NOT NULL"


def fill_empty(path: Path, like: Path) -> bool:
    """Give a database all tables of another one, at the same revision, in one transaction.

    Args:
        path: The database; made where there is none.
        like: The one that Dagster itself has made.

    Returns:
        False where the first has tables already, or the other has none: nothing was written.
    """
    if not like.exists():
        return False
    with closing(_open(like, "ro")) as other:
        statements = [sql for (sql,) in other.execute(_STATEMENTS)]
        if not any(_REVISION in statement for statement in statements):
            return False
        revisions = other.execute(f"SELECT version_num FROM {_REVISION}").fetchall()  # noqa: S608 - ours
    with closing(_open(path)) as made:
        made.execute("PRAGMA journal_mode=WAL")
        made.execute("BEGIN IMMEDIATE")
        is_empty = made.execute("SELECT 1 FROM sqlite_master").fetchone() is None
        for statement in statements if is_empty else ():
            made.execute(statement)
        if is_empty:
            made.executemany(f"INSERT INTO {_REVISION} VALUES (?)", revisions)  # noqa: S608 - ours
        made.execute("COMMIT")
    return is_empty


def _open(path: Path, mode: str = "rwc") -> sqlite3.Connection:
    """Open a database whose transactions begin and end where they are said to."""
    return sqlite3.connect(
        f"{path.absolute().as_uri()}?mode={mode}",
        uri=True,
        timeout=SQLITE_BUSY_TIMEOUT_SECONDS,
        isolation_level=None,
    )
