"""Dagster's real daemon over a lake with a hole and a damaged file: nobody lends a hand."""

import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from datetime import date

import dagster as dg
import pytest

from crypto_data.orchestration.instance import (
    WORKSPACE,
    child_environment,
    open_instance,
    prepare_home,
)
from crypto_data_tests.conftest import ALERT_TOKEN

FIRST, END = date(2024, 1, 10), date(2024, 1, 13)
SERIES = ("binance/spot/BTCUSDT/1h", "binance/spot/ETHUSDT/1h")
DAMAGED = "symbol=ETHUSDT/2024.parquet"
# The alerts' sensor looks once a minute: a trouble and its end take two looks.
LIMIT_SECONDS = 240


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
def test_the_daemon_makes_a_lake_whole_and_tells_of_damage(desk, tmp_path, alert_receiver) -> None:
    """A hole is filled, a damaged file replaced, a person hears when it began and when it ended."""
    desk.configure(
        {"symbols": ["BTCUSDT", "ETHUSDT"], "start": f"{FIRST}", "end": f"{END}"},
        more=f'alerts:\n  urls: ["{alert_receiver.address}"]\n',
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
            told = [text for text in alert_receiver.texts if DAMAGED in text]
            if len(told) > 1 and not unfinished(home):
                break
            time.sleep(0.5)

    said = output.read_text()
    assert [text.startswith("crypto-data: over: ") for text in told] == [False, True], said
    assert all(desk.equals_truth(series, FIRST, END) for series in SERIES)
    assert unfinished(home) == []
    assert "Traceback" not in said
    assert ALERT_TOKEN not in said
    assert not [
        path
        for path in home.rglob("*")
        if path.is_file() and ALERT_TOKEN.encode() in path.read_bytes()
    ]
