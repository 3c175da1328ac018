"""The connections of one client: how long an answer may take to begin, and their end all at once.

httpx bounds the wait between two bytes only: a server that sends one of its headers' every second
is waited for as long as it likes. What is asked over the connections belongs to `sources.http`.
"""

import contextlib
import socket
import threading
import time
import weakref
from collections.abc import Mapping
from typing import Any, Protocol

from crypto_data.errors import Closed


class Stream(Protocol):
    """A connection as httpcore's trace hands it over."""

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """Return what came."""
        ...

    def get_extra_info(self, info: str) -> Any:
        """Return the socket, among others."""
        ...


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
        self._open: weakref.WeakSet[Stream] = weakref.WeakSet()
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
            streams = list(self._open)
        for stream in streams:
            _shut(stream)

    def trace(self, event: str, info: Mapping[str, Any]) -> None:
        """Follow a request; httpx calls it with each step, as its extension `trace`.

        Raises:
            Closed: the connections were closed.
        """
        step = event.partition(".")[2]
        if step in {"connect_tcp.started", "send_request_headers.started"}:
            self.check()
            if self._mine.ends is None:
                self.extend(self.seconds)
        elif step in {"connect_tcp.complete", "start_tls.complete"}:
            self._hold(info["return_value"])

    def _hold(self, stream: Stream) -> None:
        """Let a connection end with the others, and every read of it with its request's time."""
        read = stream.read

        def read_in_time(max_bytes: int, timeout: float | None = None) -> bytes:
            left = self._left()
            if left <= 0:
                raise TimeoutError
            return read(max_bytes, left if timeout is None else min(timeout, left))

        stream.read = read_in_time  # type: ignore[method-assign] # a connection like any other
        with self._lock:
            self._open.add(stream)
        if self._closed.is_set():
            _shut(stream)

    def _left(self) -> float:
        ends: float | None = self._mine.ends
        return self.seconds if ends is None else ends - time.monotonic()


def _shut(stream: Stream) -> None:
    """Wake whoever reads from a connection, which closing alone does not."""
    with contextlib.suppress(OSError):  # it has ended already
        # Not the method of a TLS socket: that one forgets its state under the reader's hands.
        socket.socket.shutdown(stream.get_extra_info("socket"), socket.SHUT_RDWR)
