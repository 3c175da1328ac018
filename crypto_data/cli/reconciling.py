"""The command that tells Dagster of days in the lake it lost or never had."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import date
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from crypto_data.catalog.configuration import Catalog
from crypto_data.cli.options import Format, local_ms
from crypto_data.cli.output import complain, print_rows
from crypto_data.lake.census import take_census
from crypto_data.lake.feeds import current_wishes
from crypto_data.partitions import ONE_DAY, group_days
from crypto_data.planning import choose_series
from crypto_data.selection import Selection
from crypto_data.series import Series

COLUMNS = ("series", "settled", "reported", "only_in_dagster")
# Stretches named for each series; the rest is counted.
NAMED = 20


def reconcile_dagster(catalog: Catalog, chosen: Selection, form: Format) -> int:
    """Report settled days that Dagster does not show, print what was done; return the exit status.

    Dagster equals the lake afterwards, unless it shows days that the lake does not hold: those are
    named, and vanish when they are mended. Interrupted, it goes on where it was the next time.
    """
    from crypto_data.orchestration.instance import open_instance, prepare_home
    from crypto_data.orchestration.mirror import compare, report_days
    from crypto_data.orchestration.names import asset_keys
    from crypto_data.orchestration.pages import pages_of

    series = choose_series(catalog, chosen)
    census = take_census(catalog.lake, local_ms(), current_wishes(catalog))
    complain(f"{fault.path}: cannot be read; run: crypto-data repair" for fault in census.faults)
    pages = pages_of(census, set(series))
    keys = asset_keys(catalog.all_series())
    rows: list[dict[str, Any]] = []
    beyond: list[str] = []
    home = prepare_home(catalog.path.parent, os.environ)
    with open_instance(home) as instance, _progress(len(series)) as bar:
        for one, feed in sorted(series.items()):
            difference = compare(instance, keys[one], feed, pages[one].runs)
            bar.begin(one, len(difference.unreported))
            for _ in report_days(instance, difference):
                bar.advance()
            bar.end()
            beyond += _name_days(one, difference.unsettled)
            counts = (
                difference.settled, len(difference.unreported), len(difference.unsettled),
            )  # fmt: skip
            rows.append(dict(zip(COLUMNS, (str(one), *counts), strict=True)))
    print_rows(rows, form, columns=COLUMNS)
    complain(beyond)
    return 1 if beyond else 0


def _name_days(series: Series, days: Sequence[date]) -> list[str]:
    """Return a line for each stretch of days that Dagster alone shows."""
    stretches = group_days(days)
    lines = [
        f"{series} {first}{f' to {end - ONE_DAY}' if end - first > ONE_DAY else ''}: Dagster shows "
        "it, the lake has it not whole; run: crypto-data repair"
        for first, end in stretches[:NAMED]
    ]
    more = len(stretches) - NAMED
    return lines + ([f"{series}: and {more} more stretches"] if more > 0 else [])


class _Bar:
    """One bar over all series, one over the days of the series in work."""

    def __init__(self, bars: Progress, total: int) -> None:
        self._bars = bars
        self._all = bars.add_task(f"{total} series", total=total)
        self._days = bars.add_task("", total=0, visible=False)

    def begin(self, series: Series, days: int) -> None:
        """Show one series."""
        self._bars.reset(self._days, description=str(series), total=days, visible=days > 0)

    def advance(self) -> None:
        """Count one day."""
        self._bars.advance(self._days)

    def end(self) -> None:
        """Count one series."""
        self._bars.advance(self._all)


@contextmanager
def _progress(total: int) -> Iterator[_Bar]:
    """Yield bars on stderr; nothing is drawn where that is no terminal."""
    console = Console(stderr=True)
    bars = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=console,
        disable=not console.is_terminal,
        transient=True,
    )
    with bars:
        yield _Bar(bars, total)
