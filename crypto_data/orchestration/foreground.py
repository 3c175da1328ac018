"""What connects a command with the run it executes in its own process.

A command wants to hear of each day as it is committed, and to end its run in good order; Dagster
offers neither from outside a step. Runs in other processes have no listener and are never asked.
"""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from crypto_data.ingest import DayReport, OnDays
from crypto_data.series import Series

# Set by a signal handler: the step finishes the files in work, begins no other, and ends its run
# as canceled.
stop = threading.Event()

_listeners: list[OnDays] = []


@contextmanager
def listening(listener: OnDays) -> Iterator[None]:
    """Call `listener` with every file's days while the context lasts, in the run's main thread."""
    _listeners.append(listener)
    try:
        yield
    finally:
        _listeners.remove(listener)


def tell(series: Series, days: Sequence[DayReport]) -> None:
    """Tell every listener of the days of one file."""
    for listener in _listeners:
        listener(series, days)
