"""The commands that stay until they are told to end: `start` and `sandbox`."""

import os
import signal
import subprocess
import sys
import time

from crypto_data.catalog.configuration import Catalog
from crypto_data.errors import UsageError

# Dagster's processes end their own children in this time; then they are killed.
GRACE_SECONDS = 20.0


def start_dagster(catalog: Catalog, host: str, port: int) -> int:
    """Run Dagster's web server and daemon until a signal, or until one of them ends."""
    from crypto_data.orchestration.instance import (
        WORKSPACE,
        child_environment,
        open_instance,
        prepare_home,
    )

    home = prepare_home(catalog.path.parent, os.environ)
    with open_instance(home):
        pass  # the storage is there before both processes want to create it
    workspace = home / "workspace.yaml"
    workspace.write_text(WORKSPACE)
    environment = child_environment(home, catalog.path, os.environ)
    commands = (
        ["dagster._daemon", "run", "-w", str(workspace)],
        ["dagster_webserver", "-w", str(workspace), "-h", host, "-p", str(port)],
    )
    sys.stderr.write(f"http://{host}:{port} in a moment; Ctrl-C ends it\n")
    processes = [
        subprocess.Popen(  # noqa: S603 - our own arguments
            [sys.executable, "-m", *command], env=environment, cwd=home, start_new_session=True
        )
        for command in commands
    ]
    return _wait_for(processes)


def _wait_for(processes: list["subprocess.Popen[bytes]"]) -> int:
    """Wait until told to end (status 0) or until a process ends by itself (status 1)."""
    asked: list[int] = []
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda got, _frame: asked.append(got))
    while not asked and all(process.poll() is None for process in processes):
        time.sleep(0.2)
    for process in processes:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
    deadline = time.monotonic() + GRACE_SECONDS
    for process in processes:
        try:
            process.wait(max(0.1, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
    return 0 if asked else 1


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
