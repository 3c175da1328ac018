"""A way for the process that started a run to hear of each day as it is committed.

Dagster's own events come only when a series is done; a progress bar wants to know sooner. Runs in
other processes simply have no listener.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from crypto_data.ingest import DayReport, OnDays
from crypto_data.series import Series

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
