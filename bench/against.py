"""The peers at the same work: crypto-kline-vision-data from daily archives, dccd over REST.

Each runs in an environment of its own, started by a script in `peers/` that points it at the
sandbox. What it stored is counted in its files; a time without the rows asked for is none.
"""

import time
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from bench.environments import python_of
from bench.figure import Beside, Unmeasured
from bench.place import Place
from bench.running import run
from crypto_data.sandbox.remote import running_sandbox

SCRIPTS = Path(__file__).resolve().parent / "peers"
MINUTES_A_DAY = 1440
CKVD_PYTHON = (3, 13)


def compare_with(
    place: Place, name: str, goal: float, measure: Callable[[], list[float]]
) -> Beside:
    """Return a peer's measurements, or why there are none."""
    if not place.peers:
        return Beside(name, (), goal, "not asked for")
    try:
        return Beside(name, measure(), goal)
    except (Unmeasured, RuntimeError) as error:
        return Beside(name, (), goal, str(error))


def time_ckvd(place: Place, first: date, days: int) -> list[float]:
    """Return rows a second of days of 1m from daily archives into its cache, without imports."""
    python = python_of("ckvd", CKVD_PYTHON)
    end = first + timedelta(days)
    speeds = []
    for turn in range(place.size.rounds):
        cache = place.folder / f"ckvd{turn}"
        script = str(SCRIPTS / "ckvd_days.py")
        ran = run((str(python), script, place.url, str(first), str(end), str(cache)))
        rows = sum(_count_arrow(path) for path in cache.rglob("*.arrow"))
        if rows != days * MINUTES_A_DAY:
            raise Unmeasured(f"it stored {rows:,} of {days * MINUTES_A_DAY:,} rows")
        speeds.append(rows / float(ran.output))
    return speeds


def time_dccd(place: Place, first: date, warm_up: Callable[[str], object]) -> list[float]:
    """Return rows a second, whole process, of 1m from a day until now over REST into its store.

    `warm_up` asks a sandbox for the same before.
    """
    python = python_of("dccd")
    folder = place.folder / "dccd"
    folder.mkdir(parents=True)
    # The budget of weights that a minute has is its own, too.
    with running_sandbox() as url:
        warm_up(url)
        due = _minutes_since(first)
        ran = run((str(python), str(SCRIPTS / "dccd_rest.py"), url, str(first)), folder=folder)
        until = _minutes_since(first)
    rows = sum(pq.read_metadata(path).num_rows for path in folder.rglob("*.parquet"))
    if not due <= rows <= until + 1:
        raise Unmeasured(f"it stored {rows:,} of {due:,} rows")
    return [rows / ran.seconds]


def _minutes_since(first: date) -> int:
    midnight = datetime(first.year, first.month, first.day, tzinfo=UTC)
    return int(time.time() - midnight.timestamp()) // 60


def _count_arrow(path: Path) -> int:
    with pa.OSFile(str(path)) as file, pa.ipc.open_file(file) as reader:
        return sum(reader.get_batch(number).num_rows for number in range(reader.num_record_batches))
