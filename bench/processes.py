"""What whole processes cost: the time to answer, and the memory at its peak."""

import sys

from bench.exchange import BITCOIN, write_config
from bench.figure import Beside, Better, Figure
from bench.place import Place
from bench.running import COMMAND, EMPTY, EMPTY_NAME, backfill, run

IMPORT = (sys.executable, "-c", "import crypto_data")


def measure_help(place: Place) -> list[Figure]:
    """Return the seconds until `crypto-data --help` has answered."""
    empty, ours = _time_in_turns((*COMMAND, "--help"), place.size.repeats)
    what = "`crypto-data --help`, the whole process"
    beside = [Beside(EMPTY_NAME, empty)]
    return [Figure("help", what, "s", Better.LOWER, ours, goal=0.3, beside=beside)]


def measure_import(place: Place) -> list[Figure]:
    """Return the milliseconds that `import crypto_data` adds to an interpreter."""
    empty, ours = _time_in_turns(IMPORT, place.size.repeats * 2)
    added = [(one - other) * 1000 for one, other in zip(ours, empty, strict=True)]
    what = "`import crypto_data`, beyond an empty interpreter"
    return [Figure("import", what, "ms", Better.LOWER, added, goal=50)]


def measure_memory(place: Place) -> list[Figure]:
    """Return the peak memory of a backfill of a year of 1m."""
    year: list[float] = []
    day: list[float] = []
    for turn in range(place.size.rounds):
        for end, kept in ((str(place.size.backfill_end), year), ("2024-01-02", day)):
            folder = place.folder / f"{end}-{turn}"
            ran = backfill(write_config(folder, place.url, {**BITCOIN, "end": end}))
            kept.append(ran.peak_mb)
    what = f"peak memory of `crypto-data backfill` of 1m, 2024-01-01 to {place.size.backfill_end}"
    beside = [Beside("the same of one day", day)]
    return [Figure("memory", what, "MB", Better.LOWER, year, goal=350, beside=beside)]


def _time_in_turns(command: tuple[str, ...], repeats: int) -> tuple[list[float], list[float]]:
    """Return the seconds of an empty interpreter and of a command, after one turn of both."""
    empty, ours = [], []
    for _ in range(repeats + 1):
        empty.append(run(EMPTY).seconds)
        ours.append(run(command).seconds)
    return empty[1:], ours[1:]
