"""What connects a command with the run it executes in its own process.

A command wants to hear of each day as it is committed, and to end its run in good order; Dagster
offers neither. Runs in other processes have no listener, and Dagster itself ends them.
"""

import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

from crypto_data.ingest import OnDays
from crypto_data.reports import DayReport
from crypto_data.series import Series

# Set by a signal handler: the step finishes the files in work, begins no other, and ends its run
# as canceled.
stop = threading.Event()

_Result = TypeVar("_Result")

_listeners: list[OnDays] = []


@contextmanager
def listening(listener: OnDays) -> Iterator[None]:
    """Call `listener` with every file's days while the context lasts, in the run's thread."""
    _listeners.append(listener)
    try:
        yield
    finally:
        _listeners.remove(listener)


def tell(series: Series, days: Sequence[DayReport]) -> None:
    """Tell every listener of the days of one file."""
    for listener in _listeners:
        listener(series, days)


def check_stop() -> None:
    """End the step when a signal has asked for it.

    Raises:
        KeyboardInterrupt: somebody asked; Dagster takes it for what it is.
    """
    if stop.is_set():
        raise KeyboardInterrupt


@contextmanager
def stopping_on_signals(announce: Callable[[], None]) -> Iterator[None]:
    """Let the first SIGINT or SIGTERM end the run in good order, and a second one kill.

    Args:
        announce: Called at the first signal, to tell a person what happens now.
    """

    def on_signal(number: int, _frame: object) -> None:
        signal.signal(number, signal.SIG_DFL)
        stop.set()
        announce()

    before = {
        number: signal.signal(number, on_signal) for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def run_aside(work: Callable[[], _Result]) -> _Result:
    """Return what `work` returns, computed in a thread of its own.

    Signals reach the main thread only, where Dagster would raise them out of whatever it is
    doing, between two writes of one event included. Aside, only `check_stop` ends a run.
    """
    with ThreadPoolExecutor(1, thread_name_prefix="run") as aside:
        return aside.submit(work).result()
