"""What it costs Dagster to record a day each, beside its own storage."""

import json
import sys
from collections.abc import Mapping
from datetime import date, timedelta
from pathlib import Path

from ruamel.yaml import YAML

from bench.exchange import BITCOIN, environment, write_config
from bench.figure import Beside, Better, Figure
from bench.library import fetch
from bench.place import Place
from bench.running import run
from crypto_data.orchestration.instance import SETTINGS

FIRST = date(2017, 9, 1)
STORAGE = ("storage", "run_storage", "event_log_storage", "schedule_storage")
# Dagster's own defaults: an event a transaction, and a planned event a partition.
UNBATCHED = {
    "DAGSTER_EVENT_BATCH_SIZE": "0",
    "DAGSTER_EMIT_PARTITION_SUBSET_IN_PLANNED_EVENTS": "false",
}


def measure_dagster(place: Place) -> list[Figure]:
    """Return the seconds of one run of a series' days beyond the work, beside stock storage."""
    days = place.size.lake_days
    end = FIRST + timedelta(days)
    feed = {**BITCOIN, "intervals": ["1d"], "start": FIRST, "end": end}
    config = write_config(place.folder, place.url, feed)
    fetch(config, place.folder / "lake", FIRST, end)
    ours = []
    for turn in range(place.size.rounds):
        home = place.folder / f"dagster{turn}"
        ours.append(_beyond_the_work(config, end, home, {}))
    home = place.folder / "stock"
    _make_stock(home)
    stock = _beyond_the_work(config, end, home, UNBATCHED)
    what = (
        f"{days:,} daily partitions of a 1d series in one run whose days the lake has, without "
        "process start; the same work through the library is subtracted; stock: once in Dagster's "
        "own SQLite storage without batching"
    )
    beside = [Beside("stock storage", [stock], 1 / 20)]
    return [Figure("dagster-3000", what, "s", Better.LOWER, ours, goal=4, beside=beside)]


def _make_stock(home: Path) -> None:
    """Make a home of Dagster with our settings but for the storage, which is its own."""
    yaml = YAML()
    settings = yaml.load(SETTINGS)
    for name in STORAGE:
        settings.pop(name, None)
    home.mkdir(parents=True)
    yaml.dump(settings, home / "dagster.yaml")


def _beyond_the_work(config: Path, end: date, home: Path, settings: Mapping[str, str]) -> float:
    environ = {**environment(config.parent), "DAGSTER_HOME": str(home), **settings}
    command = (sys.executable, "-m", "bench.recording", str(config), str(end))
    told = json.loads(run(command, environ=environ).output)
    if told["shown"] != (end - FIRST).days:
        raise RuntimeError(f"Dagster shows {told['shown']} of {(end - FIRST).days} days")
    return float(told["run"] - told["work"])
