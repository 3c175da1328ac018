"""Dagster's embedded event log, with the events of a batch stored in one transaction.

The stock storage opens both of its databases anew for every event and waits for the disk each
time: 20 to 50 days a second. Files, tables and rows are the stock storage's own, event for event,
so either may open what the other has written. It leans on private names of Dagster 1.13, which
`test_event_storage.py` holds.
"""

import os
import sqlite3
import threading
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path
from typing import Any

import dagster as dg
import sqlalchemy as sql
from dagster._config import Field, StringSource
from dagster._config.config_schema import UserConfigSchema
from dagster._core.event_api import EventHandlerFn
from dagster._core.events import ASSET_CHECK_EVENTS, BATCH_WRITABLE_EVENTS
from dagster._core.events.log import EventLogEntry
from dagster._core.storage.event_log.polling_event_watcher import SqlPollingEventWatcher
from dagster._core.storage.event_log.schema import SqlEventLogStorageTable
from dagster._core.storage.event_log.sqlite.sqlite_event_log import (
    INDEX_SHARD_NAME,
    SqliteEventLogStorage,
)
from dagster._core.storage.sqlite import SQLITE_BUSY_TIMEOUT_SECONDS
from dagster._record import copy
from dagster._serdes import ConfigurableClassData
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.pool import NullPool, QueuePool

from crypto_data.orchestration.run_database import fill_empty

# Events of a run are written in batches, and one event announces all partitions of an asset.
BATCHING = {
    "DAGSTER_EVENT_BATCH_SIZE": "1000",
    "DAGSTER_EMIT_PARTITION_SUBSET_IN_PLANNED_EVENTS": "true",
}

# What Dagster itself sends in batches, but for failures, of which it has none to send; and what
# checks find, which is sent so by `orchestration.evaluations`.
_BATCHABLE = (BATCH_WRITABLE_EVENTS | ASSET_CHECK_EVENTS) - {
    dg.DagsterEventType.ASSET_FAILED_TO_MATERIALIZE
}

# What the keys of all series begin with. Every process of Dagster's loads this module, hence not
# from `names`, which brings the configuration along.
SERIES_PREFIX = "klines"

# A database a run; a web server reads those of many. The one over all runs always stays open.
MOST_OPEN = 16


@dataclass(frozen=True, slots=True)
class _Shard:
    """An open database, and which file that is: another may take its place."""

    engine: Engine
    file: tuple[int, int] | None


class BatchingEventLogStorage(SqliteEventLogStorage):
    """The embedded event log in the stock storage's files; safe in threads and processes.

    A transaction that was committed outlives the process that wrote it. One that was committed
    within seconds of a power failure may be gone: the lake knows the days, `crypto-data reconcile`
    tells Dagster of them again.

    Args:
        base_dir: The folder of the databases; none for the stock one below Dagster's home.
        inst_data: What Dagster configured it from.
    """

    def __init__(
        self, base_dir: str | None = None, inst_data: ConfigurableClassData | None = None
    ) -> None:
        # Wherever events are stored by this class they come in batches: a web server or daemon of
        # Dagster's own runs no other code of ours that could say so.
        for name, value in BATCHING.items():
            os.environ.setdefault(name, value)
        self._inst_data = inst_data
        self._shards: OrderedDict[str, _Shard] = OrderedDict()
        self._held: dict[str, Connection] = {}
        self._columns: set[str] = set()
        self._tables: set[str] = set()
        self._watcher: SqlPollingEventWatcher | None = None
        if base_dir is not None:
            self._open_folder(base_dir)

    def _open_folder(self, base_dir: str) -> None:
        super().__init__(base_dir, self._inst_data)
        # Whoever stores what belongs together takes part in one transaction, hence reentrant.
        self._db_lock = threading.RLock()  # type: ignore[assignment]

    def register_instance(self, instance: dg.DagsterInstance) -> None:
        """Learn of Dagster's home, and open the databases in it."""
        if not hasattr(self, "_base_dir"):
            self._open_folder(str(Path(instance.root_directory) / "history" / "runs"))
        super().register_instance(instance)

    @classmethod
    def config_type(cls) -> UserConfigSchema:
        """Return what `dagster.yaml` may say of it: nothing is needed."""
        return {"base_dir": Field(StringSource, is_required=False)}

    @classmethod
    def from_config_value(
        cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]
    ) -> "BatchingEventLogStorage":
        """Return the storage that `dagster.yaml` asks for."""
        return cls(inst_data=inst_data, **config_value)

    def store_event_batch(self, events: Sequence[EventLogEntry]) -> None:
        """Store events of one run in the order given.

        Of each of the two databases all or none. Where a process dies between their commits, the
        log of the run has the events and the index of all runs, which tells which days there are,
        has not; `reconcile` mends that. Events of other kinds than are sent in batches are stored
        one by one, as Dagster does with all of them where this raises.
        """
        runs = {event.run_id for event in events}
        if len(runs) != 1 or not all(_is_batchable(event) for event in events):
            super().store_event_batch(events)
            return
        rows = [self._event_to_row(event) for event in events]
        # The inner one is committed first; where it fails neither has the events. Were the index
        # first, housekeeping could take the run for one that told of nothing.
        with self.index_connection() as index, self.run_connection(runs.pop()) as run:
            run.execute(SqlEventLogStorageTable.insert(), rows)
            index.execute(SqlEventLogStorageTable.insert(), rows)
            self._store_what_follows(index, events, _newest_ids(index, len(events)))

    def _store_what_follows(
        self, index: Connection, events: Sequence[EventLogEntry], ids: Sequence[int]
    ) -> None:
        """Store tags, what is known last of each asset, and what checks plan or have found."""
        of_assets: list[tuple[EventLogEntry, int]] = []
        last: dict[dg.AssetKey, dict[dg.DagsterEventType, tuple[EventLogEntry, int]]] = {}
        for event, number in zip(events, ids, strict=True):
            happened = event.get_dagster_event()
            if happened.event_type in ASSET_CHECK_EVENTS:
                self.store_asset_check_event(event, number)
            elif happened.asset_key:
                of_assets.append((event, number))
                last.setdefault(happened.asset_key, {})[happened.event_type] = event, number
        if of_assets:
            self._store_asset_event_tags(index, *zip(*of_assets, strict=True))
        for of_one in last.values():
            for event, number in sorted(of_one.values(), key=itemgetter(1)):
                self._store_asset_event(index, event, number)

    def _store_asset_check_evaluation_planned(
        self, event: EventLogEntry, event_id: int | None
    ) -> None:
        """Note that a check is planned: one of a series once, whatever days its run is over."""
        super()._store_asset_check_evaluation_planned(_without_days(event), event_id)

    def has_table(self, table_name: str) -> bool:
        """Return whether the index has a table: once it has, it keeps it."""
        if table_name not in self._tables:
            if not super().has_table(table_name):
                return False
            self._tables.add(table_name)
        return True

    def _has_asset_key_col_on_connection(self, conn: Connection, column_name: str) -> bool:
        """Return whether the table of assets has a column: once it has, it keeps it."""
        if column_name not in self._columns:
            if not super()._has_asset_key_col_on_connection(conn, column_name):
                return False
            self._columns.add(column_name)
        return True

    def watch(self, run_id: str, cursor: str | None, callback: EventHandlerFn) -> None:
        """Call back with each new event of a run: looked for now and then, as in Postgres.

        The stock storage watches the run's file, which it writes to with every event. Here events
        stay in the log beside the file for a while.
        """
        if self._watcher is None:
            self._watcher = SqlPollingEventWatcher(self)
        self._watcher.watch_run(run_id, cursor, callback)

    def end_watch(self, run_id: str, handler: EventHandlerFn) -> None:
        """Call back no more."""
        if self._watcher is not None:
            self._watcher.unwatch_run(run_id, handler)

    def dispose(self) -> None:
        """Close the databases, and end all watches."""
        if self._watcher is not None:
            self._watcher.close()
            self._watcher = None
        super().dispose()
        for shard in list(self._shards):
            self._close(shard)

    @contextmanager
    def _connect(self, shard: str) -> Iterator[Connection]:
        """Yield a transaction of a database; within one it is that one."""
        with self._db_lock:
            if shard in self._held:
                yield self._held[shard]
                return
            with self._engine(shard).connect() as connection, connection.begin():
                self._held[shard] = connection
                try:
                    yield connection
                finally:
                    del self._held[shard]

    def _engine(self, shard: str) -> Engine:
        """Return the kept engine of a database, which is made where there is none yet."""
        file = _identity(self.path_for_shard(shard))
        known = self._shards.get(shard)
        if known is not None and file is not None and known.file == file:
            self._shards.move_to_end(shard)
            return known.engine
        self._close(shard)
        if shard not in self._initialized_dbs or file is None:
            self._make_tables(shard)
        engine = self._new_engine(shard, QueuePool)
        sql.event.listen(engine, "connect", _commit_without_waiting)
        self._shards[shard] = _Shard(engine, _identity(self.path_for_shard(shard)))
        self._close_oldest()
        return engine

    def _make_tables(self, shard: str) -> None:
        path, index = (Path(self.path_for_shard(one)) for one in (shard, INDEX_SHARD_NAME))
        if shard == INDEX_SHARD_NAME or not fill_empty(path, like=index):
            engine = self._new_engine(shard, NullPool)
            self._initdb(engine)
            engine.dispose()
        self._initialized_dbs.add(shard)

    def _new_engine(self, shard: str, pool: type[NullPool] | type[QueuePool]) -> Engine:
        waiting = {"timeout": SQLITE_BUSY_TIMEOUT_SECONDS}
        return sql.create_engine(
            self.conn_string_for_shard(shard), poolclass=pool, connect_args=waiting
        )

    def _close(self, shard: str) -> None:
        if known := self._shards.pop(shard, None):
            known.engine.dispose()

    def _close_oldest(self) -> None:
        idle = [name for name in self._shards if name not in {INDEX_SHARD_NAME, *self._held}]
        for name in idle[: len(self._shards) - MOST_OPEN]:
            self._close(name)


def _is_batchable(event: EventLogEntry) -> bool:
    return event.is_dagster_event and event.get_dagster_event().event_type in _BATCHABLE


def _without_days(planned: EventLogEntry) -> EventLogEntry:
    """Return the plan of a series' check as one for all its days, that of another as it is.

    Such a check has no partitions. Dagster adds a row for each of the run all the same, 15,000 for
    the history of a series, and no evaluation settles them.
    """
    happened = planned.get_dagster_event()
    check = happened.asset_check_planned_data
    if check.asset_key.path[0] != SERIES_PREFIX:
        return planned
    whole = happened._replace(event_specific_data=copy(check, partitions_subset=None))
    return planned._replace(dagster_event=whole)


def _newest_ids(connection: Connection, count: int) -> list[int]:
    """Return the ids of the rows that this transaction has just added, in their order."""
    column = SqlEventLogStorageTable.c.id
    newest = connection.execute(sql.select(column).order_by(column.desc()).limit(count))
    return [number for (number,) in newest][::-1]


def _identity(path: str) -> tuple[int, int] | None:
    try:
        found = os.stat(path)  # noqa: PTH116 - called for every event
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino


def _commit_without_waiting(connection: sqlite3.Connection, _record: object) -> None:
    """Let commits be written to the disk by the system: in WAL mode no crash of ours undoes one."""
    connection.execute("PRAGMA synchronous=NORMAL")
