"""httpx's connections, without what its client does for browsers: cookies, redirects, logins.

Half the time of a request went there. What is asked over them belongs to `sources.http`.
"""

import ssl
import threading
from collections.abc import Mapping
from typing import Any, Protocol
from urllib.request import getproxies

import httpx

from crypto_data.sources.wires import Wires

# A connection that has been idle for longer is closed: servers do so after a minute.
IDLE_S = 30.0


class Stream(Protocol):
    """A connection as httpcore's trace hands it over."""

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """Return what came."""
        ...

    def get_extra_info(self, info: str) -> Any:
        """Return the socket, among others."""
        ...


class Connections(httpx.BaseTransport):
    """The way to all hosts; safe in threads. A queue for a free connection has no end.

    httpx bounds the wait between two bytes only: a server that sends one of its headers' every
    second is waited for as long as it likes. Hence the trace, which lets reads end with `wires`.

    Args:
        wires: Bounds the time of each request, and ends all of them.
        most: How many requests may be on their way; so many connections are kept.
    """

    def __init__(self, wires: Wires, most: int) -> None:
        self._wires = wires
        self._limits = httpx.Limits(
            max_connections=most, max_keepalive_connections=most, keepalive_expiry=IDLE_S
        )
        self._lock = threading.Lock()
        self._direct: dict[str, httpx.HTTPTransport] = {}
        self._proxied: httpx.Client | None = None
        if {"http", "https", "all"} & getproxies().keys():
            # A proxy of the environment cannot reach this machine's own loopback.
            own = {"all://127.0.0.1": None, "all://localhost": None}
            self._proxied = httpx.Client(limits=self._limits, mounts=own)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Return the answer to a request; its end gives the connection back.

        Raises:
            httpx.TransportError: no connection, or no HTTP over it.
            Closed: the wires were.
        """
        request.extensions = {**request.extensions, "trace": self._trace}
        if self._proxied is not None:
            return self._proxied.send(request, stream=True)
        return self._way(request.url.scheme).handle_request(request)

    def close(self) -> None:
        """Close all connections."""
        with self._lock:
            ways = list(self._direct.values())
        for way in ways:
            way.close()
        if self._proxied is not None:
            self._proxied.close()

    def _way(self, scheme: str) -> httpx.HTTPTransport:
        """Return the connections of a scheme."""
        way = self._direct.get(scheme)
        if way is None:
            with self._lock:
                way = self._direct.get(scheme)
                if way is None:
                    way = httpx.HTTPTransport(verify=_trust(scheme), limits=self._limits)
                    self._direct[scheme] = way
        return way

    def _trace(self, event: str, info: Mapping[str, Any]) -> None:
        """Follow a request; httpcore calls it with each step."""
        step = event.partition(".")[2]
        if step in {"connect_tcp.started", "send_request_headers.started"}:
            self._wires.start()
        elif step in {"connect_tcp.complete", "start_tls.complete"}:
            self._hold(info["return_value"])

    def _hold(self, stream: Stream) -> None:
        """Let a connection end with the others, and every read of it with its request's time."""
        read = stream.read

        def read_in_time(max_bytes: int, timeout: float | None = None) -> bytes:
            return read(max_bytes, self._wires.time_left(timeout))

        stream.read = read_in_time  # type: ignore[method-assign] # a connection like any other
        self._wires.hold(stream.get_extra_info("socket"))


def _trust(scheme: str) -> ssl.SSLContext:
    """Return whom encrypted connections trust; others are spared the 20 ms of reading it."""
    if scheme == "https":
        return httpx.create_ssl_context()
    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
