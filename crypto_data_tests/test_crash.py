"""A writer killed at any moment: what can be seen is whole, nothing committed is lost."""

import os
import random
import signal
import subprocess
import sys
import time
from datetime import date, timedelta

import pyarrow.parquet as pq
import pytest

from crypto_data.intervals import DAY_MS, Interval, TimeRange
from crypto_data.lake.layout import find_parts
from crypto_data.lake.part import read_footer, read_rows
from crypto_data.lake.store import Lake
from crypto_data.partitions import day_start_ms
from crypto_data.schema import epoch_ms
from crypto_data.series import Market, Series

SERIES = Series("binance", Market.SPOT, "BTCUSDT", Interval.HOUR_1)
FIRST = date(2024, 1, 1)
ROUNDS = 15

# Commits day after day of three series for ever, and says each that is done.
WRITER = """
import sys
from datetime import date, timedelta
from pathlib import Path
import numpy as np, pyarrow as pa
from crypto_data.harvest import AskedDay, Harvest, Offer
from crypto_data.intervals import Interval
from crypto_data.lake.store import Lake
from crypto_data.partitions import expected_opens
from crypto_data.schema import TIME, fetched_table
from crypto_data.series import Market, Series

lake, number, price = Lake(Path(sys.argv[1])), int(sys.argv[2]), float(sys.argv[3])
series = Series("binance", Market.SPOT, "BTCUSDT", Interval.HOUR_1)
while True:
    day = date(2024, 1, 1) + timedelta(days=number % 360)
    opens = expected_opens(series.interval, day)
    times = pa.array([t * 1000 for t in opens], pa.int64()).cast(TIME)
    prices = pa.array(np.full(len(opens), price))
    plain = dict.fromkeys(("open", "high", "low", "close", "volume"), prices)
    rows = fetched_table({"open_time": times, "close_time": times, **plain})
    bad = rows.slice(0, 2).append_column("rule", pa.array(["planted"] * 2))
    harvest = Harvest(("rest",), (Offer("rest", 0, rows),), {day: AskedDay()}, (bad,), None, 1)
    lake.commit(series, "2024", harvest)
    print(number, flush=True)
    number += 1
"""


def write_and_kill(root, number, seconds) -> int:
    """Let a process commit from a day's number on, kill it, and return how far it said it came."""
    command = [sys.executable, "-c", WRITER, root, str(number), str(number)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
        said = [int(writer.stdout.readline())]  # the start takes longer than many commits
        time.sleep(seconds)
        os.kill(writer.pid, signal.SIGKILL)
        said += [int(line) for line in writer.stdout if line.endswith("\n")]
    assert writer.returncode == -signal.SIGKILL
    return said[-1] + 1


def assert_whole(root, committed) -> None:
    """Every visible file can be read, its ledger counts its rows, and no committed day lacks."""
    for part in find_parts(root):
        rows, footer = read_rows(part.path), read_footer(part.path)
        days = [(t // DAY_MS) for t in epoch_ms(rows["open_time"]).to_pylist()]
        ledger = {
            day_start_ms(run.first + timedelta(days=n)) // DAY_MS: run.facts.rows
            for run in footer.runs
            for n in range(run.days)
        }
        assert ledger == {one: days.count(one) for one in ledger}
        assert set(days) == set(ledger)
    for path in (root / "_quarantine").rglob("*.parquet"):
        if not path.name.startswith("."):
            assert pq.read_table(path, partitioning=None).num_rows % 2 == 0
    span = TimeRange(day_start_ms(FIRST), day_start_ms(FIRST) + committed * DAY_MS)
    assert Lake(root).read(SERIES, span).num_rows == committed * 24


@pytest.mark.slow
def test_a_writer_killed_at_any_moment_leaves_a_whole_lake(tmp_path) -> None:
    """After each of fifteen kills all that was said to be committed is there, and readable."""
    chance = random.Random()  # noqa: S311 - moments, not secrets
    committed = 0

    for _ in range(ROUNDS):
        committed = write_and_kill(tmp_path, committed, chance.uniform(0, 0.08))
        assert_whole(tmp_path, committed)

    assert committed > ROUNDS
    # Of the rounds before nothing is left: each commit sweeps what a killed one left behind.
    assert len(list(tmp_path.rglob("*.tmp"))) <= 1


# Forks before each commit, so that every step of it can be the last; prints how each ended.
STEPS = """
import os, pathlib, signal, sys
script, lake = sys.argv[1], sys.argv[2]
from crypto_data.lake import store
left = [0]

def dying(real):
    def step(*args, **kwargs):
        left[0] -= 1
        if left[0] == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return real(*args, **kwargs)
    return step

os.fsync, os.open = dying(os.fsync), dying(os.open)
pathlib.Path.replace, pathlib.Path.mkdir = dying(pathlib.Path.replace), dying(pathlib.Path.mkdir)
code = script.replace("while True", "for _ in range(2)")
for step in range(1, 60):
    child = os.fork()
    if not child:
        left[0] = step
        sys.argv = ["writer", lake, str(2 * step), "1"]
        exec(code, {})
        os._exit(0)
    _, status = os.waitpid(child, 0)
    print("end", os.WTERMSIG(status), os.WEXITSTATUS(status), flush=True)
    if not status:
        break
"""


def test_a_writer_killed_at_each_step_leaves_a_whole_lake(tmp_path) -> None:
    """Whichever call of a commit is the last, the file is the old one or the new one."""
    done = subprocess.run(
        [sys.executable, "-c", STEPS, WRITER, tmp_path], capture_output=True, text=True, check=True
    )

    ends = [line.removeprefix("end ") for line in done.stdout.splitlines() if "end" in line]
    said = [int(line) for line in done.stdout.splitlines() if "end" not in line]
    assert set(ends[:-1]) == {f"{int(signal.SIGKILL)} 0"}, done.stderr
    assert ends[-1] == "0 0"
    assert len(ends) > 10
    assert_whole(tmp_path, 0)
    for number in said:
        start_ms = day_start_ms(FIRST) + number * DAY_MS
        assert Lake(tmp_path).read(SERIES, TimeRange(start_ms, start_ms + DAY_MS)).num_rows == 24
