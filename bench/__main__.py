"""Measure, print a table, write it as JSON and Markdown: `python -m bench [--only NAME] [--quick]`.

A goal that is missed is said so and fails nothing: machines differ, and others may be at work. What
cannot be measured says why and stops nothing else.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from bench.events import measure_dagster
from bench.figure import Better, Figure, Unmeasured
from bench.histories import measure_full_history, measure_many_series, measure_rest_year
from bench.ingesting import measure_bytes_written, measure_daily_archives
from bench.ledgers import (
    measure_definitions,
    measure_gap_tick,
    measure_inventory,
    measure_small_inventory,
)
from bench.place import FULL, QUICK, Place, Size
from bench.processes import measure_help, measure_import, measure_memory
from bench.reading import measure_klines, measure_many_klines
from bench.report import describe_machine, print_figures, write_json, write_markdown
from bench.topping_up import measure_top_up
from bench.web import measure_backfills, measure_pages
from crypto_data.sandbox.remote import running_sandbox

RESULTS = Path(__file__).resolve().parent.parent / ".bench"

FIGURES: dict[str, Callable[[Place], list[Figure]]] = {
    "daily-archives": measure_daily_archives,
    "rest-year": measure_rest_year,
    "dagster-3000": measure_dagster,
    "full-history": measure_full_history,
    "many-series": measure_many_series,
    "top-up": measure_top_up,
    "bytes-written": measure_bytes_written,
    "memory": measure_memory,
    "inventory": measure_inventory,
    "inventory-25": measure_small_inventory,
    "gap-tick": measure_gap_tick,
    "definitions": measure_definitions,
    "pages": measure_pages,
    "backfills": measure_backfills,
    "klines": measure_klines,
    "klines-many": measure_many_klines,
    "help": measure_help,
    "import": measure_import,
}


def main() -> None:
    """Run the chosen benchmarks."""
    parser = argparse.ArgumentParser(prog="bench", description=__doc__.splitlines()[0])
    parser.add_argument("--only", choices=FIGURES, action="append", help="may be repeated")
    parser.add_argument("--quick", action="store_true", help="tiny sizes, once: does it run?")
    parser.add_argument("--no-peers", action="store_true", help="without the other packages")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of what is written")
    options = parser.parse_args()
    machine = describe_machine()
    with tempfile.TemporaryDirectory(prefix="crypto-data-bench-") as name:
        folder = Path(name)
        size = QUICK if options.quick else FULL
        figures = [
            figure
            for chosen in options.only or FIGURES
            for figure in _measure(chosen, folder, size, peers=not options.no_peers)
        ]
    print_figures(figures, machine)
    options.results.mkdir(exist_ok=True)
    path = options.results / f"{datetime.now(UTC):%Y-%m-%dT%H%M%SZ}"
    write_json(figures, machine, path.with_suffix(".json"))
    write_markdown(figures, machine, path.with_suffix(".md"))
    sys.stdout.write(f"written to {path}.json and .md\n")


def _measure(name: str, folder: Path, size: Size, *, peers: bool) -> list[Figure]:
    """Measure under one name, with an exchange of its own; a failure is a figure that says why."""
    sys.stderr.write(f"{name} …")
    started = time.perf_counter()
    try:
        with running_sandbox() as url:
            return FIGURES[name](Place(url, folder / name, folder, size, peers))
    except Unmeasured as error:
        return [_unmeasured(name, str(error))]
    except Exception as error:  # noqa: BLE001 - whatever it is, the others are still measured
        return [_unmeasured(name, f"{type(error).__name__}: {error}")]
    finally:
        sys.stderr.write(f" {time.perf_counter() - started:.0f} s\n")


def _unmeasured(name: str, why: str) -> Figure:
    return Figure(name, f"not measured: {why}", "", Better.LOWER, (), why_not=why)


if __name__ == "__main__":
    main()
