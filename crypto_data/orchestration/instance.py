"""Dagster's storage for the commands: where it lies, and runs that nobody works on any more."""

import json
import os
import shutil
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import dagster as dg
import psutil
from dagster._core.instance.ref import InstanceRef
from filelock import FileLock
from sqlalchemy.exc import DBAPIError

from crypto_data.errors import LakeNotWritable

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

# Events of a run are written in batches, and one event announces all partitions of an asset.
BATCHING = {
    "DAGSTER_EVENT_BATCH_SIZE": "1000",
    "DAGSTER_EMIT_PARTITION_SUBSET_IN_PLANNED_EVENTS": "true",
}

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
    home = Path(environ.get("DAGSTER_HOME") or folder / ".dagster").absolute()
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
        with FileLock(home / "storage.lock"):
            opened = dg.DagsterInstance.from_ref(
                InstanceRef.from_dir(str(home), overrides=_NO_COMPUTE_LOGS)
            )
        with opened as instance:
            end_dead_runs(instance)
            yield instance
    except DBAPIError as error:
        raise _unusable(home, error.orig) from error


def worker_tag() -> dict[str, str]:
    """Return the tag that says which process works on a run."""
    return {WORKER_TAG: _describe(psutil.Process())}


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
        if worker and not _is_alive(worker):
            instance.report_run_failed(
                run,
                "The command that worked on this run was killed. What it had committed is in the "
                "lake; run the command again to go on.",
            )


def _describe(process: psutil.Process) -> str:
    return f"{socket.gethostname()}/{process.pid}/{process.create_time():.2f}"


def _is_alive(worker: str) -> bool:
    """Return whether the process still works; one of another host is left to that host."""
    host, pid, _ = worker.rsplit("/", 2)
    if host != socket.gethostname():
        return True
    try:
        return _describe(psutil.Process(int(pid))) == worker
    except psutil.NoSuchProcess:
        return False
