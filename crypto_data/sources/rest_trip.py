"""One caller's way through the hosts of a REST market: weight, gate, and the next host.

Which calls are made belongs to `sources.rest`; what their bodies mean to `sources.rest_page`.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from crypto_data.addresses import place_of, public_url
from crypto_data.errors import Blocked, Broken, RateLimited, SourceError, Unreachable
from crypto_data.series import Market
from crypto_data.sources.budget import Budget
from crypto_data.sources.gate import Gate, GateDoor
from crypto_data.sources.http import HttpClient, Request

SOURCE = "rest"

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class RestEndpoint:
    """The base URLs of one market, tried in turn, and the weight they share.

    The exchange counts by address and host family, so one budget holds for all of them.
    """

    hosts: tuple[str, ...]
    budget: Budget


@dataclass(frozen=True, slots=True)
class Call:
    """One GET of the API; `path` follows the host."""

    path: str
    weight: int
    params: Mapping[str, str | int]


class Trip:
    """The calls of one fetch, one after another, through hosts that answer.

    A host that failed is left behind for the rest of the trip; `notes` says why.
    """

    def __init__(
        self, client: HttpClient, gate: Gate, endpoint: RestEndpoint, market: Market, series: str
    ) -> None:
        self.notes: list[str] = []
        self.series = series
        self._client = client
        self._budget = endpoint.budget
        self._weight = 0
        self._sent_ms = 0
        self._all = [(url.rstrip("/"), self._door(gate, market, url)) for url in endpoint.hosts]
        self._doors = list(self._all)  # those not left behind

    @property
    def detail(self) -> str:
        """What the hosts left behind had to say."""
        return "; ".join(self.notes)

    def spent(self) -> tuple[int, float]:
        """Return requests and seconds since this was last asked."""
        spent = [door.spent() for _, door in self._all]
        return sum(count for count, _ in spent), sum(seconds for _, seconds in spent)

    def ask(self, call: Call, read: Callable[[bytes], T]) -> T:
        """Return what `read` makes of the first good answer.

        Raises:
            Rejected: the exchange refuses the call; no other host would take it.
            SourceError: every host failed; this is the last one's error, with all reasons.
        """
        self._weight = call.weight
        while True:
            url, door = self._doors[0]
            try:
                return self._read(url, door, call, read)
            except (Blocked, Broken, RateLimited, Unreachable) as error:
                if len(self._doors) == 1:
                    raise self._with_notes(error) from error
                self.notes.append(error.detail)
                del self._doors[0]

    def _read(self, url: str, door: GateDoor, call: Call, read: Callable[[bytes], T]) -> T:
        response = self._client.get(Request(f"{url}{call.path}", params=call.params), door)
        try:
            return read(response.body)
        except ValueError as error:
            detail = f"{public_url(url)}{call.path}: {error}"
            raise Broken(SOURCE, self.series, detail) from error

    def _with_notes(self, error: SourceError) -> SourceError:
        """Return the error with the reasons of the hosts left behind, for people."""
        detail = "; ".join([*self.notes, error.detail])
        if isinstance(error, RateLimited):
            return RateLimited(SOURCE, self.series, detail, error.retry_after)
        return type(error)(SOURCE, self.series, detail)

    def _door(self, gate: Gate, market: Market, url: str) -> GateDoor:
        door = gate.door(host_name(market, url), source=SOURCE, series=self.series)
        door.toll = self._pay
        door.meter = self._read_meter
        return door

    def _pay(self) -> None:
        self._budget.spend(self._weight, source=SOURCE, series=self.series)
        self._sent_ms = time.time_ns() // 1_000_000

    def _read_meter(self, headers: Mapping[str, str]) -> None:
        used = headers.get("x-mbx-used-weight-1m", "")
        if used.isdigit():
            self._budget.observe(int(used), self._sent_ms)


def host_name(market: Market, url: str) -> str:
    """Return how the gate calls a host."""
    return f"{SOURCE}-{market} {place_of(url)}"
