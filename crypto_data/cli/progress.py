"""Progress bars on stderr, by day over all and by series, with the time left."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import date

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from crypto_data.ingest import OnDays
from crypto_data.planning import Need
from crypto_data.reports import DayReport
from crypto_data.series import Series

# More bars than this would scroll; the others are seen in the total.
MOST_BARS = 12


@contextmanager
def showing_progress(needs: Sequence[Need]) -> Iterator[OnDays]:
    """Yield a listener that moves the bars; nothing is drawn where stderr is no terminal."""
    console = Console(stderr=True)
    bars = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("days"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[rows]:,} rows"),
        console=console,
        disable=not console.is_terminal,
        transient=True,
    )
    total = bars.add_task(f"{len(needs)} series", total=sum(len(n.days) for n in needs), rows=0)
    tasks = {
        need.series: bars.add_task(str(need.series), total=len(need.days), rows=0)
        for need in (needs if len(needs) <= MOST_BARS else ())
    }
    wanted = {need.series: set(need.days) for need in needs}
    with bars:
        yield _Listener(bars, total, tasks, wanted)


class _Listener:
    """Counts the days that were wanted, as they come."""

    def __init__(
        self,
        bars: Progress,
        total: TaskID,
        tasks: dict[Series, TaskID],
        wanted: dict[Series, set[date]],
    ) -> None:
        self._bars = bars
        self._total = total
        self._tasks = tasks
        self._wanted = wanted
        self._rows: dict[TaskID, int] = {}

    def __call__(self, series: Series, days: Sequence[DayReport]) -> None:
        """Move the bars by one file's days."""
        wanted = self._wanted.get(series, set())
        came = [report for report in days if report.day in wanted]
        rows = sum(report.rows for report in came)
        for task in (self._total, self._tasks.get(series)):
            if task is not None:
                self._rows[task] = self._rows.get(task, 0) + rows
                self._bars.update(task, advance=len(came), rows=self._rows[task])
