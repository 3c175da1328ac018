"""The exchange's clock: which klines are closed is decided by its time, not by ours.

Measured, never set. Which day is over belongs to `partitions`.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from functools import partial

from crypto_data.addresses import place_of, public_url
from crypto_data.errors import SourceError
from crypto_data.series import Market
from crypto_data.sources.gate import Gate
from crypto_data.sources.http import HttpClient, Request, Response, Retry
from crypto_data.sources.rest_page import RULES, parse_json
from crypto_data.sources.rest_trip import host_name

LOGGER = logging.getLogger("crypto_data.sources")

LOCAL_CLOCK = "local clock"
REFRESH_S = 600.0
# Without an answer the local clock serves, and the exchange is asked again soon.
REFRESH_LOCAL_S = 60.0
MAX_BYTES = 1024 * 1024
# Our own clock is this far off before a person is told.
WARN_OFFSET_MS = 5_000


@dataclass(frozen=True, slots=True)
class Teller:
    """Another way to an exchange's time: its name for people, and how to ask.

    `ask` returns UTC epoch milliseconds and the seconds that the answer took.
    """

    name: str
    ask: Callable[[], tuple[int, float]]


class ExchangeClock:
    """The exchange's time, from `/time`, else the archive's `Date` header, else the local clock.

    exchangeInfo has a `serverTime` too, but it comes out of a cache and is up to 37 hours old.

    Args:
        client: Sends the requests.
        gate: Remembers when a host wants to be left alone.
        hosts: Market and base URL of the REST hosts to ask, in turn.
        listing: The bucket that lists the archive; `""` for none.
        teller: Who else is asked, last.
        local_ms: The local clock, UTC epoch milliseconds.
        known_ahead_ms: How far the exchange was ahead of ours when it last told: serves while it
            does not answer.
    """

    def __init__(  # noqa: PLR0913 - four of them have defaults
        self,
        client: HttpClient,
        gate: Gate,
        *,
        hosts: Sequence[tuple[Market, str]] = (),
        listing: str = "",
        teller: Teller | None = None,
        local_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
        known_ahead_ms: int = 0,
    ) -> None:
        self._client = client.retrying(Retry(max_retries=1, delay_s=0.2))
        self._gate = gate
        self._hosts = tuple(hosts)
        self._listing = listing
        self._teller = teller
        self._local_ms = local_ms
        self._lock = threading.Lock()
        self._known_ahead_ms = known_ahead_ms
        self._offset_ms = known_ahead_ms
        self._measured_by = ""
        self._next_measure = 0.0

    @property
    def measured_by(self) -> str:
        """Where the time comes from: a URL, or `local clock`; `""` before the first use."""
        return self._measured_by

    @property
    def is_measured(self) -> bool:
        """Whether the exchange has told its time, so that ours is not taken for it."""
        return self._measured_by not in {"", LOCAL_CLOCK}

    def now_ms(self) -> int:
        """Return the exchange's time, UTC epoch milliseconds; safe in threads."""
        with self._lock:
            if time.monotonic() >= self._next_measure:
                self._offset_ms, self._measured_by = self._measure()
                local = self._measured_by == LOCAL_CLOCK
                self._next_measure = time.monotonic() + (REFRESH_LOCAL_S if local else REFRESH_S)
            return self._local_ms() + self._offset_ms

    def _measure(self) -> tuple[int, str]:
        """Return the exchange's time minus ours, and who told it."""
        for teller in self._tellers():
            try:
                told_ms, seconds = teller.ask()
            except (SourceError, ValueError, KeyError, TypeError) as error:
                LOGGER.debug("no time from %s: %s", teller.name, error)
                continue
            # The exchange read its clock about halfway between question and answer.
            offset_ms = told_ms - (self._local_ms() - int(seconds * 500))
            if abs(offset_ms) > WARN_OFFSET_MS:
                LOGGER.warning("the local clock is %s %s", how_far(offset_ms), teller.name)
            return offset_ms, teller.name
        return self._known_ahead_ms, LOCAL_CLOCK

    def _tellers(self) -> Iterator[Teller]:
        for market, host in self._hosts:
            url = f"{host.rstrip('/')}{RULES[market].root}/time"
            ask = partial(self._ask, host_name(market, host), url, _server_time)
            yield Teller(public_url(url), ask)
        if self._listing:
            host = f"listing {place_of(self._listing)}"
            ask = partial(self._ask, host, self._listing, date_ms)
            yield Teller(public_url(self._listing), ask)
        if self._teller is not None:
            yield self._teller

    def _ask(self, host: str, url: str, read: Callable[[Response], int]) -> tuple[int, float]:
        params: dict[str, str | int] = (
            {"prefix": "data/", "delimiter": "/"} if read is date_ms else {}
        )
        door = self._gate.door(host, source="clock", series="exchange time")
        response = self._client.get(Request(url, params=params, max_bytes=MAX_BYTES), door)
        return read(response), response.seconds


def how_far(offset_ms: int) -> str:
    """Return how far our clock is from one that is `offset_ms` ahead of it, in a person's words.

    Example:
        >>> how_far(86_400_000), how_far(-7_200_000), how_far(9_000)
        ('1.0 days behind', '2.0 hours ahead of', '9.0 s behind')
    """
    size_s = abs(offset_ms) / 1000
    units = ((86_400, "days"), (3_600, "hours"), (60, "minutes"))
    length_s, unit = next((one for one in units if size_s > 0.99 * one[0]), (1, "s"))
    return f"{size_s / length_s:.1f} {unit} {'behind' if offset_ms > 0 else 'ahead of'}"


def _server_time(response: Response) -> int:
    return int(parse_json(response.body)["serverTime"])


def date_ms(response: Response) -> int:
    """Return the `Date` header, UTC epoch milliseconds.

    Whole seconds, cut off: at most one second behind, so no kline counts as closed too early.

    Raises:
        KeyError, ValueError, TypeError: there is none, or it is no date.
    """
    return int(parsedate_to_datetime(response.headers["date"]).timestamp() * 1000)
