"""The commands that stay until they are told to end: `start` and `sandbox`."""

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from crypto_data.catalog.configuration import Catalog
from crypto_data.errors import UsageError

# Dagster's processes end their own children in this time; then they are killed.
GRACE_SECONDS = 20.0


def start_dagster(catalog: Catalog, host: str, port: int) -> int:
    """Run Dagster's servers until a signal (status 0), or until one of them ends (status 1).

    Web server and daemon share one code server, so that both see what it loads anew.
    """
    from crypto_data.orchestration.instance import (
        child_environment,
        code_server,
        open_instance,
        prepare_home,
        shared_workspace,
    )

    home = prepare_home(catalog.path.parent, os.environ)
    with open_instance(home):
        pass  # the storage is there before several processes want to create it
    environment = child_environment(home, catalog.path, os.environ)

    def begin(*command: str) -> "subprocess.Popen[bytes]":
        return subprocess.Popen(  # noqa: S603 - our own arguments
            [sys.executable, "-m", *command], env=environment, cwd=home, start_new_session=True
        )

    asked: list[int] = []
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda got, _frame: asked.append(got))
    # A socket's path has room for 107 bytes, which a home of Dagster may exceed.
    with tempfile.TemporaryDirectory(prefix="crypto-data-") as folder:
        address = Path(folder) / "code.sock"
        workspace = home / "workspace.yaml"
        workspace.write_text(shared_workspace(address))
        sys.stderr.write(f"http://{host}:{port} in a moment; Ctrl-C ends it\n")
        processes = [begin(*code_server(address))]
        _wait(lambda: asked or _answers(address), processes)
        if not asked and _are_running(processes):
            processes = [
                begin("dagster._daemon", "run", "-w", str(workspace)),
                begin("dagster_webserver", "-w", str(workspace), "-h", host, "-p", str(port)),
                *processes,
            ]
        _wait(lambda: asked, processes)
        _end(processes)
    return 0 if asked else 1


def _wait(is_over: Callable[[], object], processes: "Sequence[subprocess.Popen[bytes]]") -> None:
    """Wait until something is so, or a process has ended by itself."""
    while not is_over() and _are_running(processes):
        time.sleep(0.2)


def _are_running(processes: "Sequence[subprocess.Popen[bytes]]") -> bool:
    return all(process.poll() is None for process in processes)


def _answers(address: Path) -> bool:
    """Return whether a server listens at a socket: the code server does when it has loaded."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        return connection.connect_ex(str(address)) == 0


def _end(processes: "Sequence[subprocess.Popen[bytes]]") -> None:
    """End processes in good order, all at once; kill those that take too long."""
    for process in processes:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
    deadline = time.monotonic() + GRACE_SECONDS
    for process in processes:
        try:
            process.wait(max(0.1, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)


def run_sandbox(port: int) -> None:
    """Run the stand-in exchange, and print a configuration that points at it."""
    from crypto_data.sandbox.server import Sandbox, sandbox_config

    try:
        exchange = Sandbox(port=port)
    except OSError as error:
        raise UsageError(f"--port {port}: cannot be listened on ({error.strerror})") from None
    with exchange as sandbox:
        sys.stdout.write(sandbox_config(sandbox.url, "./sandbox_lake", _FEEDS))
        sys.stdout.flush()
        sys.stderr.write(f"the sandbox exchange serves at {sandbox.url}; Ctrl-C ends it\n")
        stop: list[int] = []
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda got, _frame: stop.append(got))
        while not stop:
            time.sleep(0.2)


_FEEDS = """\
  - exchange: binance
    market: spot
    symbols: [BTCUSDT, ETHUSDT]
    intervals: [1m, 1h]
    start: 2024-01-01
    end: 2024-02-01
"""
