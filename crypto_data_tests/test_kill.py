"""Fifty kills at random moments, then one backfill: every row is there, nothing else is."""

import contextlib
import os
import random
import signal
import subprocess
import sys
import time
from datetime import date

import dagster as dg
import pytest

from crypto_data.lake.layout import find_parts
from crypto_data.lake.part import read_footer, read_rows
from crypto_data.sandbox.faults import Fault

FIRST, END = date(2024, 1, 1), date(2024, 4, 1)
CHILD_KILLS, COMMAND_KILLS = 40, 10

# What the command does, without Dagster: starts four times as fast, so more kills hit commits.
CHILD = """
import os, sys, threading
from datetime import UTC, datetime
from pathlib import Path
from crypto_data.catalog.configuration import load_catalog
from crypto_data.ingest import Job, ingest
from crypto_data.lake.store import Lake
from crypto_data.sources.connect import open_chains
catalog = load_catalog(Path(sys.argv[1]), os.environ, datetime.now(UTC).date())
with open_chains(catalog, Path(os.environ["XDG_STATE_HOME"]) / "crypto-data") as chains:
    jobs = [Job(s, chains.chain(f), f.start, f.end) for s, f in catalog.all_series().items()]
    print("begun", flush=True)
    for report in ingest(
        Lake(catalog.lake), jobs, threads=4, stop=threading.Event(), on_days=lambda *_: None
    ):
        pass
print("done", flush=True)
"""


def kill_child(desk, seconds) -> str:
    """Kill the library's process some seconds after it began to fetch; return what it said."""
    with subprocess.Popen(
        [sys.executable, "-c", CHILD, desk.config],
        env=desk.environ,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        said = process.stdout.readline()
        time.sleep(seconds)
        process.kill()
        return said + process.stdout.read()


def kill_command(desk, seconds) -> None:
    """Kill a backfill some seconds after its start."""
    process = desk.start("backfill", start_new_session=True)
    time.sleep(seconds)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.communicate(timeout=10)


def assert_whole(desk) -> None:
    """Every visible file can be read, and its ledger counts its rows."""
    for part in find_parts(desk.lake.root):
        runs = read_footer(part.path).runs
        assert read_rows(part.path).num_rows == sum(run.facts.rows * run.days for run in runs)


@pytest.mark.slow
def test_fifty_kills_lose_nothing(desk) -> None:
    """However often it is killed: what is visible is whole, and one backfill completes it."""
    seed = random.SystemRandom().randrange(10**6)
    print(f"seed {seed}")  # noqa: T201 - to kill at the same moments again
    chance = random.Random(seed)  # noqa: S311 - moments, not secrets
    catalog = desk.configure(
        {"symbols": ["BTCUSDT", "ETHUSDT", "SOLUSDT"], "intervals": ["1m", "1h"],
         "start": f"{FIRST}", "end": f"{END}", "max_retries": 0},
    )  # fmt: skip
    desk.sandbox.faults.add(
        Fault("/data/*.zip", "delay", seconds=0.15),
        Fault("/data/*-2024-02.zip", "corrupt", times=60),
        Fault("/data/*-2024-01-1?.zip", "absent"),
        Fault("/api/v3/klines", "delay", seconds=0.05),
    )
    said = []

    for number in range(CHILD_KILLS):
        said.append(kill_child(desk, chance.uniform(0, 0.6)))
        if number % 4 == 3:
            assert_whole(desk)
    for _ in range(COMMAND_KILLS):
        kill_command(desk, chance.uniform(1.0, 4.0))
        assert_whole(desk)
    desk.sandbox.faults.clear()
    (desk.state / "gate.json").unlink(missing_ok=True)
    done = desk.run("backfill")

    assert sum(one.startswith("begun") for one in said) == CHILD_KILLS
    assert done.returncode == 0, done.stderr
    for series in catalog.all_series():
        assert desk.equals_truth(series, FIRST, END)
    parts = {part.path.name for part in find_parts(desk.lake.root)}
    left = list(desk.lake.root.rglob("*.tmp"))
    assert parts == {"2024-01.parquet", "2024-02.parquet", "2024-03.parquet", "2024.parquet"}
    assert [one for one in left if "duckdb" not in one.name] == []
    told = desk.run("reconcile", "--symbols", "ETHUSDT", "--intervals", "1h")
    assert told.returncode == 0, told.stderr
    key = dg.AssetKey(["klines", "binance", "spot", "ETHUSDT", "1h"])
    with dg.DagsterInstance.from_config(desk.environ["DAGSTER_HOME"]) as instance:
        statuses = {run.status for run in instance.get_runs()}
        materialized = instance.get_materialized_partitions(key)
    # The last command that was killed may have left nothing to fetch, and so no run that succeeds.
    assert statuses <= {dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE}
    assert len(materialized) == (END - FIRST).days
