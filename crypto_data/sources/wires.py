"""The connections of one client: how long an answer may take to begin, and their end all at once.

A bound between two bytes alone would wait for a server that sends one of its headers' every second
for as long as it likes. The connections themselves are those of `sources.connections`.
"""

import contextlib
import socket
import threading
import time
import weakref

from crypto_data.errors import Closed


class Wires:
    """The connections; safe in threads, each of which has one request on its way at most.

    Args:
        seconds: From the first step of a request to the end of the answer's headers. The wait for
            a free connection, which is our own doing, does not count.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._mine = threading.local()  # `ends`: when this thread's request is late
        self._lock = threading.Lock()
        self._open: weakref.WeakSet[socket.socket] = weakref.WeakSet()
        self._closed = threading.Event()

    def begin(self) -> None:
        """Begin a request of this thread; its time counts from its first step on a connection."""
        self._mine.ends = None

    def extend(self, seconds: float) -> None:
        """Give this thread's request so many seconds from now on."""
        self._mine.ends = time.monotonic() + seconds

    @property
    def is_late(self) -> bool:
        """Whether the time of this thread's request is over."""
        return self._left() <= 0

    def check(self) -> None:
        """Refuse to go on when the connections were closed.

        Raises:
            Closed: they were.
        """
        if self._closed.is_set():
            raise Closed

    def pause(self, seconds: float) -> None:
        """Wait for so long.

        Raises:
            Closed: the connections were closed meanwhile.
        """
        self._closed.wait(seconds)
        self.check()

    def close(self) -> None:
        """End all requests that are on their way, and let no other begin."""
        self._closed.set()
        with self._lock:
            connections = list(self._open)
        for connection in connections:
            _shut(connection)

    def start(self) -> None:
        """Let the time of this thread's request count from now on, unless it does already.

        Raises:
            Closed: the connections were closed.
        """
        self.check()
        if self._mine.ends is None:
            self.extend(self.seconds)

    def time_left(self, timeout_s: float | None) -> float:
        """Return how long this thread's request may wait for its next bytes, seconds.

        Raises:
            TimeoutError: its time is over.
        """
        left = self._left()
        if left <= 0:
            raise TimeoutError
        return left if timeout_s is None else min(timeout_s, left)

    def hold(self, connection: socket.socket) -> None:
        """Let a connection end with the others."""
        with self._lock:
            self._open.add(connection)
        if self._closed.is_set():
            _shut(connection)

    def _left(self) -> float:
        ends: float | None = self._mine.ends
        return self.seconds if ends is None else ends - time.monotonic()


def _shut(connection: socket.socket) -> None:
    """Wake whoever reads from a connection, which closing alone does not."""
    with contextlib.suppress(OSError):  # it has ended already
        # Not the method of a TLS socket: that one forgets its state under the reader's hands.
        socket.socket.shutdown(connection, socket.SHUT_RDWR)
