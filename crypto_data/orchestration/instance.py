"""Dagster's storage for the commands: where it lies, and runs that nobody works on any more."""

import json
import os
import shutil
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import dagster as dg
import sqlalchemy as sql
from dagster._core.instance.ref import InstanceRef
from filelock import FileLock
from sqlalchemy.engine import Engine
from sqlalchemy.exc import DBAPIError

from crypto_data.errors import LakeNotWritable
from crypto_data.orchestration.event_storage import BATCHING
from crypto_data.orchestration.workers import (
    home_of,
    is_alive,
    leave_note,
    left_notes,
    this_worker,
)

SETTINGS = Path(__file__).with_name("dagster.yaml")
WORKSPACE = """\
load_from:
  - python_module:
      module_name: crypto_data.definitions
      location_name: crypto_data
"""
_SHARED_WORKSPACE = """\
load_from:
  - grpc_server:
      socket: {socket}
      location_name: crypto_data
"""

# A command speaks on its own terminal. Dagster would capture that with two more processes, which
# a Ctrl-C reaches too and ends with tracebacks.
_NO_COMPUTE_LOGS = {
    "compute_logs": {
        "module": "dagster._core.storage.noop_compute_log_manager",
        "class": "NoOpComputeLogManager",
    }
}

WORKER_TAG = "crypto_data/worker"


def prepare_home(folder: Path, environ: Mapping[str, str]) -> Path:
    """Return Dagster's home, made ready: `DAGSTER_HOME`, else `.dagster` in `folder`.

    A home without settings gets ours; one that has them keeps them.

    Raises:
        LakeNotWritable: it cannot be made.
    """
    home = home_of(folder, environ)
    try:
        home.mkdir(parents=True, exist_ok=True)
        if not (home / "dagster.yaml").exists():
            shutil.copyfile(SETTINGS, home / "dagster.yaml")
    except OSError as error:
        raise _unusable(home, error.strerror) from error
    return home


def _unusable(home: Path, why: object) -> LakeNotWritable:
    return LakeNotWritable(
        str(home),
        f"Dagster's storage cannot be written ({why}). Make room or permit writing, or set "
        "DAGSTER_HOME to another folder; what is committed stays",
    )


def child_environment(home: Path, config: Path, environ: Mapping[str, str]) -> dict[str, str]:
    """Return the environment for Dagster's own processes."""
    return {
        **BATCHING,
        **environ,
        "DAGSTER_HOME": str(home),
        "CRYPTO_DATA_CONFIG": str(config.absolute()),
    }


def shared_workspace(address: Path) -> str:
    """Return the workspace of servers that share the code server at a socket."""
    return _SHARED_WORKSPACE.format(socket=json.dumps(str(address)))  # JSON is YAML


def code_server(address: Path) -> list[str]:
    """Return the module and arguments of a code server that listens at a socket.

    It can load the definitions anew, which web server and daemon then notice by themselves.
    """
    return [
        *("dagster", "code-server", "start"),
        *("--module-name", "crypto_data.definitions"),
        *("--location-name", "crypto_data"),
        *("--socket", str(address)),
        *("--log-level", "warning"),
    ]


@contextmanager
def open_instance(home: Path) -> Iterator[dg.DagsterInstance]:
    """Open the storage in `home`; runs whose process is gone are ended first.

    Raises:
        LakeNotWritable: the storage cannot be written, now or while the context lasts.
    """
    for name, value in BATCHING.items():
        os.environ.setdefault(name, value)
    try:
        # Two processes that create the storage at once leave tables that never open again.
        with FileLock(home / "storage.lock"), writing_ahead():
            opened = dg.DagsterInstance.from_ref(
                InstanceRef.from_dir(str(home), overrides=_NO_COMPUTE_LOGS)
            )
        with opened as instance:
            own = _leave_note(home)
            left = left_notes(home)
            end_dead_runs(instance)
            for note in left:
                note.unlink(missing_ok=True)
            yield instance
            own.unlink(missing_ok=True)
    except DBAPIError as error:
        raise _unusable(home, error.orig) from error


def _leave_note(home: Path) -> Path:
    try:
        return leave_note(home)
    except OSError as error:
        raise _unusable(home, error.strerror) from error


@contextmanager
def writing_ahead() -> Iterator[None]:
    """Have SQLite write ahead in every database that is opened while the context lasts.

    Dagster makes its tables one by one and turns to that journal only then: 300 times the disk for
    a new home, instead of 67. A power failure leaves what was committed before, or all of it.
    """
    sql.event.listen(Engine, "connect", _write_ahead)
    try:
        yield
    finally:
        sql.event.remove(Engine, "connect", _write_ahead)


def _write_ahead(connection: object, _record: object) -> None:
    if isinstance(connection, sqlite3.Connection):  # Postgres has no such thing to say
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=NORMAL")


def worker_tag() -> dict[str, str]:
    """Return the tag that says which process works on a run."""
    return {WORKER_TAG: this_worker()}


def end_dead_runs(instance: dg.DagsterInstance) -> None:
    """Mark runs of commands that were killed as failed; nothing stays "running" for ever."""
    going = dg.RunsFilter(
        statuses=[
            dg.DagsterRunStatus.NOT_STARTED,
            dg.DagsterRunStatus.STARTING,
            dg.DagsterRunStatus.STARTED,
            dg.DagsterRunStatus.CANCELING,
        ]
    )
    for run in instance.get_runs(going):
        worker = run.tags.get(WORKER_TAG)
        if worker and not is_alive(worker):
            instance.report_run_failed(
                run,
                "The command that worked on this run was killed. What it had committed is in the "
                "lake; run the command again to go on.",
            )
