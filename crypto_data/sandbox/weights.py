"""Request weights: what a caller used this minute, 429 when it is too much, 418 if it goes on.

Counted per market on the real clock, whatever the sandbox's own clock says: a caller that is told
to wait waits in real time.
"""

import json
import threading
import time
from collections.abc import Mapping

from crypto_data.sandbox.web import Answer, json_answer
from crypto_data.series import Market

BUDGETS = {Market.SPOT: 6000, Market.UM: 2400, Market.CM: 2400}
BAN_SECONDS = 120
# The exchange does not say how much patience it has; five further requests are enough to test it.
WARNINGS = 5
_MINUTE = 60


class WeightMeter:
    """The used weight of one market; safe between threads."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._lock = threading.Lock()
        self._minute = 0
        self._used = 0
        self._warnings = 0
        self._banned_until = 0.0

    def charge(self, weight: int) -> Answer | None:
        """Count a request; return the refusal when the caller has gone too far."""
        with self._lock:
            now = time.time()
            if now < self._banned_until:
                return self._ban(now)
            if int(now // _MINUTE) != self._minute:
                self._minute, self._used, self._warnings = int(now // _MINUTE), 0, 0
            self._used += weight
            if self._used <= self._limit:
                return None
            self._warnings += 1
            if self._warnings > WARNINGS:
                self._banned_until = now + BAN_SECONDS
                return self._ban(now)
            return self._refuse(now)

    def headers(self) -> tuple[tuple[str, str], ...]:
        """Return the headers every answer carries."""
        used = str(self._used)
        return (("X-MBX-USED-WEIGHT", used), ("X-MBX-USED-WEIGHT-1M", used))

    def _refuse(self, now: float) -> Answer:
        message = (
            f"Too much request weight used; current limit is {self._limit} request weight per "
            "1 MINUTE. Please use WebSocket Streams for live updates to avoid polling the API."
        )
        return _refusal(429, message, int(_MINUTE - now % _MINUTE) + 1)

    def _ban(self, now: float) -> Answer:
        message = (
            "Way too much request weight used; IP banned until "
            f"{int(self._banned_until * 1000)}. Please use WebSocket Streams for live updates to "
            "avoid bans."
        )
        return _refusal(418, message, int(self._banned_until - now) + 1)


def _refusal(status: int, message: str, retry_after: int) -> Answer:
    body = json.dumps({"code": -1003, "msg": message}).encode()
    return json_answer(status, body).with_headers(("Retry-After", str(retry_after)))


def meters(budgets: Mapping[Market, int] | None) -> dict[Market, WeightMeter]:
    """Return a meter for each market; budgets that are not given are Binance's own."""
    return {market: WeightMeter(limit) for market, limit in (BUDGETS | dict(budgets or {})).items()}


def klines_weight(market: Market, limit: int) -> int:
    """Return what a klines request costs."""
    if market is Market.SPOT:
        return 2
    steps = ((100, 1), (500, 2), (1001, 5))
    return next((weight for below, weight in steps if limit < below), 10)
