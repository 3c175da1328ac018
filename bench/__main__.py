"""Measure, print a table, write it as JSON: `python -m bench [--only NAME] [--quick]`.

A goal that is missed is said so and fails nothing: machines differ, and others may be at work.
"""

import argparse
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from bench.figure import FULL, QUICK, Figure, Size
from bench.ingesting import measure_bytes_written, measure_daily_archives
from bench.ledgers import measure_gap_tick, measure_inventory
from bench.processes import measure_help, measure_import, measure_memory
from bench.reading import measure_klines, measure_many_klines
from bench.report import print_figures, write_json
from crypto_data.sandbox.remote import running_sandbox

RESULTS = Path(__file__).resolve().parent.parent / ".bench"

FIGURES: dict[str, Callable[[str, Path, Size], Figure]] = {
    "daily-archives": measure_daily_archives,
    "help": measure_help,
    "import": measure_import,
    "memory": measure_memory,
    "bytes-written": measure_bytes_written,
    "inventory": measure_inventory,
    "gap-tick": measure_gap_tick,
    "klines": measure_klines,
    "klines-many": measure_many_klines,
}


def main() -> None:
    """Run the chosen benchmarks."""
    parser = argparse.ArgumentParser(prog="bench", description=__doc__.splitlines()[0])
    parser.add_argument("--only", choices=FIGURES, action="append", help="may be repeated")
    parser.add_argument("--quick", action="store_true", help="tiny sizes, once: does it run?")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of the JSON")
    options = parser.parse_args()
    size = QUICK if options.quick else FULL
    with (
        tempfile.TemporaryDirectory(prefix="crypto-data-bench-") as folder,
        running_sandbox() as url,
    ):
        chosen = options.only or FIGURES
        figures = [FIGURES[name](url, Path(folder) / name, size) for name in chosen]
    print_figures(figures)
    path = write_json(figures, options.results)
    sys.stdout.write(f"written to {path}\n")


if __name__ == "__main__":
    main()
