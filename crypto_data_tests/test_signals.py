"""Commands that are told to end: in good order, with nothing left behind."""

import json
import signal
import socket
import time
from datetime import date

import dagster as dg
import httpx
import psutil
import pytest

from crypto_data.lake.layout import find_parts
from crypto_data.sandbox.faults import Fault

pytestmark = pytest.mark.slow
FIRST, END = date(2024, 1, 1), date(2024, 5, 1)


def wait_for(condition, seconds: float = 30.0) -> None:
    """Return when the condition holds.

    Raises:
        TimeoutError: it did not in time.
    """
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError
        time.sleep(0.05)


def statuses(desk) -> list[str]:
    with dg.DagsterInstance.from_config(desk.environ["DAGSTER_HOME"]) as instance:
        return [run.status.value for run in instance.get_runs()]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda one: one.name)
def test_a_backfill_that_is_told_to_end(desk, number) -> None:
    """Status 1, the run is CANCELED, what was committed stays, and the next command goes on."""
    desk.configure(
        {"intervals": ["1m"], "start": f"{FIRST}", "end": f"{END}"}, more="  concurrency: 1\n"
    )
    desk.sandbox.faults.add(Fault("/data/*.zip", "delay", seconds=0.6))
    process = desk.start("backfill", "--format", "json", "--parallel", "1")
    wait_for(lambda: list(find_parts(desk.lake.root)))

    process.send_signal(number)
    asked_at = time.monotonic()
    out, said = process.communicate(timeout=30)
    seconds = time.monotonic() - asked_at
    desk.sandbox.faults.clear()
    kept = {part.period for part in find_parts(desk.lake.root)}
    after_signal = statuses(desk)
    again = desk.run("backfill")

    assert process.returncode == 1
    assert seconds < 10
    assert "stopping" in said
    assert "interrupted: what is committed stays" in said
    assert "Traceback" not in said
    assert after_signal == ["CANCELED"]
    assert kept
    assert kept < {"2024-01", "2024-02", "2024-03", "2024-04"}
    reported = {day["day"][:7] for day in json.loads(out) if day["state"] == "complete"}
    assert reported <= kept
    assert again.returncode == 0, again.stderr
    assert sorted(statuses(desk)) == ["CANCELED", "SUCCESS"]
    assert desk.equals_truth("binance/spot/BTCUSDT/1m", FIRST, END)


def test_a_second_signal_kills(desk) -> None:
    """Who cannot wait asks twice; the lake is whole and the next command ends the dead run."""
    desk.configure({"intervals": ["1m"], "start": f"{FIRST}", "end": "2024-03-01"})
    desk.sandbox.faults.add(Fault("/data/*.zip", "delay", seconds=4.0))
    process = desk.start("backfill", "--parallel", "1")
    wait_for(lambda: list(find_parts(desk.lake.root)))  # the second file is on its way

    process.send_signal(signal.SIGINT)
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=5)
    desk.sandbox.faults.clear()
    again = desk.run("backfill")

    assert process.returncode == -signal.SIGINT
    assert again.returncode == 0, again.stderr
    assert sorted(statuses(desk)) == ["FAILURE", "SUCCESS"]
    assert desk.equals_truth("binance/spot/BTCUSDT/1m", FIRST, date(2024, 3, 1))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda one: one.name)
def test_start_serves_and_ends(desk, number) -> None:
    """The page answers, the project is loaded; a signal ends all processes with status 0."""
    desk.configure()
    port = free_port()
    process = desk.start("start", "--port", port)
    try:
        wait_for(lambda: answers(f"http://127.0.0.1:{port}/server_info"), 60)
        children = psutil.Process(process.pid).children(recursive=True)
        assets = wait_for_assets(f"http://127.0.0.1:{port}/graphql")
        process.send_signal(number)
        process.communicate(timeout=40)
    finally:
        if process.poll() is None:  # it failed before: its children must not stay
            process.terminate()
            process.communicate(timeout=40)

    assert process.returncode == 0
    assert assets == ["klines/binance/spot/BTCUSDT/1h"]
    assert len(children) >= 2
    gone, alive = psutil.wait_procs(children, timeout=5)
    assert alive == []
    assert len(gone) == len(children)
    assert not answers(f"http://127.0.0.1:{port}/server_info")


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


def answers(url) -> bool:
    try:
        return httpx.get(url, timeout=2, trust_env=False).status_code == 200
    except httpx.HTTPError:
        return False


def wait_for_assets(url) -> list[str]:
    """Return the keys of the assets that Dagster's page knows, once it has loaded them."""
    query = {"query": "{ assetNodes { assetKey { path } } }"}
    found = []

    def loaded() -> bool:
        nodes = httpx.post(url, json=query, timeout=10, trust_env=False).json()["data"][
            "assetNodes"
        ]
        found[:] = ["/".join(node["assetKey"]["path"]) for node in nodes]
        return bool(found)

    wait_for(loaded, 30)
    return found


def test_start_on_a_taken_port(desk) -> None:
    """Status 1, and no process stays behind."""
    desk.configure()
    port = desk.sandbox.url.rpartition(":")[2]

    done = desk.run("start", "--port", port, timeout=90)

    assert done.returncode == 1
    left = [one for one in psutil.process_iter(["environ"]) if is_of(one, desk)]
    assert left == []


def is_of(process, desk) -> bool:
    try:
        return process.environ().get("DAGSTER_HOME") == desk.environ["DAGSTER_HOME"]
    except psutil.Error:
        return False


def test_two_first_commands_at_once(desk) -> None:
    """Both want to create Dagster's storage; neither spoils it for the other."""
    desk.configure()

    pair = [desk.start("status") for _ in range(4)]
    said = [process.communicate(timeout=60)[1] for process in pair]

    assert [process.returncode for process in pair] == [0] * 4, said
    assert desk.run("status").returncode == 0
