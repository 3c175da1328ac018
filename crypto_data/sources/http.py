"""One HTTP client for every source: requests, retries, and which answer is which error.

Over which connections belongs to `sources.connections`; who may ask which host when belongs to
`sources.gate`; what a body means belongs to the sources.
"""

import random
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import httpx
import stamina
from stamina.instrumentation import RetryDetails, set_on_retry_hooks

from crypto_data.addresses import public_url, split_login
from crypto_data.errors import Broken, RateLimited, SourceError, Unreachable
from crypto_data.sources.connections import Connections
from crypto_data.sources.door import Door
from crypto_data.sources.refusal import refusal_of
from crypto_data.sources.sent import LOGGER, Sent, log_request, server_ms_of
from crypto_data.sources.wires import Wires

# A 1m month is 5 MB zipped, spot's exchangeInfo 15 MB as JSON.
MAX_BYTES = 64 * 1024 * 1024
# The body of an error says why within its first lines.
MAX_ERROR_BYTES = 64 * 1024
# Longer than this a caller is better served by the next source.
PATIENCE_S = 90.0
# From the first step of a request to the last header, in times of `timeout`: to connect, to agree
# on encryption and to answer may take one each.
HEAD_TIMEOUTS = 3
# A body that stays slower than this once `timeout` has passed is a stalled one.
MIN_BYTES_PER_SECOND = 2048
# No new attempt is made this long after the first, whatever `max_retries` says.
MAX_RETRYING_S = 600.0
MAX_WAIT_S = 60.0
HTTP_OK = 200
# What every request says of us; the host and further headers come to it.
HEADERS = {"User-Agent": "crypto-data", "Accept": "*/*", "Accept-Encoding": "gzip, deflate"}


# Which error an answer is, None for a good one: of status, headers in lower case, and body.
Judge = Callable[[int, Mapping[str, str], bytes], SourceError | None]


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked for; a body longer than `max_bytes` is not read to its end.

    `judge` knows an exchange that refuses with status 200; without it the status decides.
    """

    url: str
    params: Mapping[str, str | int] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)
    max_bytes: int = MAX_BYTES
    judge: Judge | None = None

    @property
    def shown(self) -> str:
        """The address as people may see it: without a login that stands in it."""
        return public_url(self.url)

    @property
    def described(self) -> str:
        """The same, with what is asked for there."""
        return f"{self.shown} {dict(self.params) or urlsplit(self.url).query}".rstrip()


@dataclass(frozen=True, slots=True)
class Response:
    """A complete answer with status 200.

    `headers` are in lower case; `seconds` is the last attempt's; `attempts` counts all of them.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes
    seconds: float
    attempts: int


@dataclass(frozen=True, slots=True)
class Retry:
    """How often a request is repeated; the wait starts at `delay_s`, doubles, and has jitter."""

    max_retries: int = 3
    delay_s: float = 1.0


class HttpClient:
    """A thread-safe client with keep-alive and one connection pool.

    Args:
        timeout: Seconds to connect, and between two pieces of an answer.
        concurrency: Requests at the same time; further ones wait their turn.
        retry: What is repeated; `retrying` gives the same pool another policy.
        clock_ms: The local clock, epoch milliseconds, to read "banned until".
        on_sent: Told of every request that was sent, from the thread that sent it.
    """

    def __init__(
        self,
        *,
        timeout: float = 30.0,
        concurrency: int = 16,
        retry: Retry | None = None,
        clock_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
        on_sent: Callable[[Sent], None] = lambda _sent: None,
    ) -> None:
        # stamina's own hook prints through structlog, which writes on stdout.
        set_on_retry_hooks([_log_retry])
        self.concurrency = concurrency
        self._timeout = timeout
        self._retry = retry or Retry()
        self._clock_ms = clock_ms
        self._on_sent = on_sent
        self._wires = Wires(HEAD_TIMEOUTS * timeout)
        # A queue for a free connection is our own doing and no fault of the source.
        self._extensions = {"timeout": httpx.Timeout(timeout, pool=None).as_dict()}
        self._transport = Connections(self._wires, concurrency)

    def retrying(self, retry: Retry) -> "HttpClient":
        """Return a client with another retry policy and the same connections."""
        twin = object.__new__(HttpClient)
        twin.__dict__.update(self.__dict__, _retry=retry)
        return twin

    def close(self) -> None:
        """Close the connections, those of all clients made by `retrying` too.

        Whoever waits for an answer in another thread is woken by `Closed`.
        """
        self._wires.close()
        self._transport.close()

    def pause(self, seconds: float) -> None:
        """Wait for so long.

        Raises:
            Closed: the client was closed meanwhile.
        """
        self._wires.pause(seconds)

    def get(self, request: Request, door: Door) -> Response:
        """Return the answer to a GET, repeated while that makes sense.

        Repeated are `Unreachable` and a `RateLimited` of at most `PATIENCE_S`; nothing else.

        Raises:
            Absent: 404, or the archive's XML "AccessDenied" (403).
            Blocked: 403 of a firewall, 451, a redirect.
            RateLimited: 429, 418, code -1003.
            Rejected: 400 with the exchange's own code and words, other 4xx.
            Broken: the body is longer than allowed, or the status is none that a GET can have.
            Unreachable: no connection, too slow, cut short, 5xx.
            Closed: the client was closed, or is closed meanwhile.
        """
        attempts = 0
        try:
            for attempt in stamina.retry_context(
                on=_pause_after,
                attempts=self._retry.max_retries + 1,
                timeout=MAX_RETRYING_S,
                wait_initial=self._retry.delay_s,
                wait_max=MAX_WAIT_S,
                wait_jitter=self._retry.delay_s,
            ):
                door.enter()  # outside the attempt: a closed gate is not repeated
                with attempt:
                    attempts += 1
                    response = self._attempt(request, door, attempts)
        except SourceError as error:
            if attempts:
                door.gave_up(error)
            raise
        door.passed()
        return response

    def _attempt(self, request: Request, door: Door, attempt: int) -> Response:
        started = time.perf_counter()
        try:
            status, headers, body = self._exchange(request, door)
        except SourceError as error:
            self._wires.check()  # what failed because we ended it is no fault of the host
            seconds = time.perf_counter() - started
            log_request(door, request.described, error.detail, seconds, {})
            self._on_sent(Sent(door.source, request.shown, None, seconds, error.detail))
            door.refused(error)
            raise
        seconds = time.perf_counter() - started
        log_request(door, request.described, f"HTTP {status}", seconds, headers)
        told_ms = server_ms_of(headers)
        self._on_sent(Sent(door.source, request.shown, status, seconds, server_ms=told_ms))
        door.answered(headers)
        if refusal := (request.judge or self._by_status(request, door))(status, headers, body):
            door.refused(refusal)
            raise refusal
        return Response(status, headers, body, seconds, attempt)

    def _by_status(self, request: Request, door: Door) -> Judge:
        def judge(status: int, headers: Mapping[str, str], body: bytes) -> SourceError | None:
            if status == HTTP_OK:
                return None
            asked = (door.source, door.series, request.shown)
            return refusal_of(status, headers, body, asked=asked, now_ms=self._clock_ms())

        return judge

    def _exchange(self, request: Request, door: Door) -> tuple[int, dict[str, str], bytes]:
        """Send one GET and return status, headers and the whole body.

        Raises:
            Unreachable: any fault of the connection.
            Broken: more than `max_bytes`, or bytes that are no HTTP.
        """
        asked = (door.source, door.series)
        # Apart from the address, so that no log of a library shows it.
        url, login = split_login(request.url)
        self._wires.check()
        self._wires.begin()
        try:
            call = httpx.Request(
                "GET",
                url,
                params=dict(request.params) or None,
                headers=HEADERS | request.headers,
                extensions=self._extensions,
            )
            if login:
                next(httpx.BasicAuth(*login).sync_auth_flow(call))
            with closing(self._transport.handle_request(call)) as answer:
                headers = {name.lower(): value for name, value in answer.headers.items()}
                body = self._body(answer, request, asked)
                return answer.status_code, headers, body
        except (httpx.UnsupportedProtocol, httpx.InvalidURL, httpx.DecodingError) as error:
            raise Broken(*asked, f"{request.shown}: {error}") from error
        except (httpx.TimeoutException, TimeoutError) as error:
            said = f"no answer within {self._timeout:g} s"
            if self._wires.is_late:
                said = f"no whole answer within {self._wires.seconds:g} s"
            raise Unreachable(*asked, f"{request.shown}: {said}") from error
        except httpx.TransportError as error:
            said = str(error) or type(error).__name__
            raise Unreachable(*asked, f"{request.shown}: {said}") from error
        except RuntimeError:  # httpx says so where the client is closed already
            self._wires.check()
            raise

    def _body(self, answer: httpx.Response, request: Request, asked: tuple[str, str]) -> bytes:
        """Read a body while it is neither too long nor too slow."""
        started = time.perf_counter()
        most = request.max_bytes if answer.status_code == HTTP_OK else MAX_ERROR_BYTES
        body = bytearray()
        self._wires.extend(self._wires.seconds)
        for piece in answer.iter_bytes():
            # Raw bytes that come to nothing (the head of a packing, of a chunk) are no piece.
            self._wires.extend(self._wires.seconds)
            body += piece
            if len(body) > most:
                if answer.status_code != HTTP_OK:
                    break
                raise Broken(*asked, f"{request.shown}: more than the {most} bytes it can have")
            seconds = time.perf_counter() - started
            if seconds > self._timeout and len(body) < seconds * MIN_BYTES_PER_SECOND:
                raise Unreachable(
                    *asked, f"{request.shown}: {len(body)} bytes in {seconds:.0f} s, too slow"
                )
        return bytes(body)


def _pause_after(error: Exception) -> bool | float:
    """Tell stamina whether to repeat, and after how long when the source said it."""
    if isinstance(error, RateLimited):
        if error.retry_after > PATIENCE_S:
            return False
        return error.retry_after + random.uniform(0.0, 0.5)  # noqa: S311 - jitter, no secret
    return isinstance(error, Unreachable)


def _log_retry(details: RetryDetails) -> None:
    LOGGER.info("asking again in %.1f s: %s", details.wait_for, details.caused_by)
