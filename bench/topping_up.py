"""What it costs to go on by one day with series that are in the lake already."""

import time
from datetime import date, timedelta

from bench.exchange import BITCOIN, NO_MONTHLIES, write_config
from bench.figure import Better, Figure
from bench.library import fetch
from bench.place import Place
from crypto_data.sandbox.remote import clear_faults, plant_faults

SERIES = 25
# Late in the year and the month: the files that are written anew are nearly whole.
FIRST = date(2025, 12, 20)
STARTS = {"1d": date(2025, 1, 1), "1h": date(2025, 1, 1), "1m": date(2025, 12, 1)}
ONE_DAY = timedelta(1)
GOALS: dict[str, tuple[float | None, float | None]] = {
    "1d": (1, 5),
    "1h": (None, None),
    "1m": (None, None),
}


def measure_top_up(place: Place) -> list[Figure]:
    """Return seconds and megabytes written for one more day, for three intervals."""
    return [figure for interval in GOALS for figure in _measure(place.within(interval), interval)]


def _measure(place: Place, interval: str) -> list[Figure]:
    start = STARTS[interval]
    symbols = [f"S{number:03}USDT" for number in range(min(SERIES, place.size.symbols))]
    feed = {**BITCOIN, "symbols": symbols, "intervals": [interval], "start": start, "end": None}
    config = write_config(place.folder, place.url, feed)
    lake = place.folder / "lake"
    fetch(config, lake, start, FIRST)
    plant_faults(place.url, NO_MONTHLIES)  # as on the day after
    end = FIRST + place.size.repeats * ONE_DAY
    fetch(config, place.folder / "warm", FIRST, end)  # the sandbox has then made its files
    seconds, written = [], []
    for turn in range(place.size.repeats):
        day = FIRST + turn * ONE_DAY
        started = time.perf_counter()
        reports = fetch(config, lake, day, day + ONE_DAY)
        seconds.append(time.perf_counter() - started)
        written.append(sum(report.bytes_written for report in reports) / 1e6)
    clear_faults(place.url)
    name = f"top-up-{interval}"
    bars = "one bar" if interval == "1d" else "one day"
    what = f"{len(symbols)} series of {interval}, each by {bars} from its archive, the library"
    most_seconds, most_written = GOALS[interval]
    return [
        Figure(name, what, "s", Better.LOWER, seconds, goal=most_seconds),
        Figure(
            f"{name}-written", "bytes written into the lake for it", "MB", Better.LOWER, written,
            goal=most_written,
        ),
    ]  # fmt: skip
