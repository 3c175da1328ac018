"""Dagster's real daemon over a lake with a hole and a damaged file: nobody lends a hand."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager, suppress
from datetime import date
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import dagster as dg
import pytest

from crypto_data.orchestration.instance import (
    WORKSPACE,
    child_environment,
    open_instance,
    prepare_home,
)

FIRST, END = date(2024, 1, 10), date(2024, 1, 13)
SERIES = ("binance/spot/BTCUSDT/1h", "binance/spot/ETHUSDT/1h")
DAMAGED = "symbol=ETHUSDT/2024.parquet"
# The alerts' sensor looks once a minute: a trouble and its end take two looks.
LIMIT_SECONDS = 240
SECRET = "token-that-nobody-may-see"  # noqa: S105 - looked for in all files


@contextmanager
def receiving():
    """Yield an address for alerts, and the list of texts that arrive there."""
    texts: list[str] = []

    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            texts.append(json.loads(body)["text"])
            self.send_response(200)
            self.end_headers()

        def log_message(self, *args: object) -> None:
            del args

    server = ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/{SECRET}", texts
    finally:
        server.shutdown()
        server.server_close()


@contextmanager
def running_daemon(desk, home, output):
    """Run Dagster's daemon as `crypto-data start` does, and end it with all it has started."""
    workspace = home / "workspace.yaml"
    workspace.write_text(WORKSPACE)
    with output.open("wb") as file:
        daemon = subprocess.Popen(
            [sys.executable, "-m", "dagster._daemon", "run", "-w", str(workspace)],
            env=child_environment(home, desk.config, desk.environ),
            cwd=home,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            yield daemon
            daemon.send_signal(signal.SIGINT)
            daemon.wait(30)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(daemon.pid, signal.SIGKILL)
            daemon.wait()


def unfinished(home) -> list[dg.DagsterRun]:
    """Return the runs that Dagster takes for going on."""
    ended = {
        dg.DagsterRunStatus.SUCCESS,
        dg.DagsterRunStatus.FAILURE,
        dg.DagsterRunStatus.CANCELED,
    }
    going = [status for status in dg.DagsterRunStatus if status not in ended]
    with dg.DagsterInstance.from_config(str(home)) as instance:
        return list(instance.get_runs(dg.RunsFilter(statuses=going)))


@pytest.mark.slow
def test_the_daemon_makes_a_lake_whole_and_tells_of_damage(desk, tmp_path) -> None:
    """A hole is filled, a damaged file replaced, a person hears when it began and when it ended."""
    with receiving() as (address, texts):
        desk.configure(
            {"symbols": ["BTCUSDT", "ETHUSDT"], "start": f"{FIRST}", "end": f"{END}"},
            more=f'alerts:\n  urls: ["{address}"]\n',
        )
        desk.fill(FIRST, date(2024, 1, 12))
        path = next(desk.lake.root.rglob(DAMAGED))
        path.write_bytes(b"PAR1" + path.read_bytes()[4:-200])
        home = prepare_home(desk.folder, desk.environ)
        with open_instance(home):
            pass  # the storage is made before the daemon's threads want it
        output = tmp_path / "daemon.log"

        with running_daemon(desk, home, output) as daemon:
            deadline = time.monotonic() + LIMIT_SECONDS
            while time.monotonic() < deadline and daemon.poll() is None:
                told = [text for text in texts if DAMAGED in text]
                if len(told) > 1 and not unfinished(home):
                    break
                time.sleep(0.5)

        said = output.read_text()
        assert [text.startswith("crypto-data: over: ") for text in told] == [False, True], said
        assert all(desk.equals_truth(series, FIRST, END) for series in SERIES)
        assert unfinished(home) == []
        assert "Traceback" not in said
        assert SECRET not in said
        assert not [
            path
            for path in home.rglob("*")
            if path.is_file() and SECRET.encode() in path.read_bytes()
        ]
