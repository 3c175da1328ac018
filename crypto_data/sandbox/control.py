"""The sandbox's clock, its log of requests, and control of both and of the faults over HTTP.

`POST /sandbox/faults`, `DELETE /sandbox/faults`, `GET /sandbox/requests`,
`DELETE /sandbox/requests`, `POST /sandbox/clock`, for other processes than the sandbox's own.
"""

import json
import time
from dataclasses import asdict, dataclass

from crypto_data.sandbox.faults import FaultList, faults_from_json
from crypto_data.sandbox.web import Answer, Call, json_answer


@dataclass(frozen=True, slots=True)
class Request:
    """One request the sandbox answered: decoded path, raw query, status, real time."""

    path: str
    query: str
    status: int
    at_ms: int


class Clock:
    """The exchange's time: real, or set to an instant and standing still or running on."""

    def __init__(self, now_ms: int | None) -> None:
        self._set: tuple[int, float, float] | None = None
        self.set(now_ms)

    def set(self, now_ms: int | None, speed: float = 0.0) -> None:
        """Set the time; `speed` is how fast it runs on (1 as real time, 0 not at all)."""
        self._set = None if now_ms is None else (now_ms, time.monotonic(), speed)

    def now_ms(self) -> int:
        """Return the exchange's time, UTC epoch milliseconds."""
        if self._set is None:
            return time.time_ns() // 1_000_000
        now_ms, since, speed = self._set
        return now_ms + int((time.monotonic() - since) * 1000 * speed)


class Control:
    """Answers below `/sandbox/`."""

    def __init__(self, faults: FaultList, clock: Clock, requests: list[Request]) -> None:
        self._faults = faults
        self._clock = clock
        self._requests = requests

    def serve(self, call: Call) -> Answer:
        """Return the answer to a control request; 400 with the reason for a bad one."""
        try:
            return json_answer(200, self._act(call))
        except (ValueError, TypeError, KeyError) as error:
            return json_answer(400, json.dumps({"error": str(error)}).encode())

    def _act(self, call: Call) -> bytes:
        match call.method, call.path:
            case "POST", "/sandbox/faults":
                self._faults.add(*faults_from_json(call.body))
            case "DELETE", "/sandbox/faults":
                self._faults.clear()
            case "GET", "/sandbox/requests":
                return json.dumps([asdict(entry) for entry in list(self._requests)]).encode()
            case "DELETE", "/sandbox/requests":
                self._requests.clear()
            case "POST", "/sandbox/clock":
                wanted = json.loads(call.body)
                self._clock.set(wanted["now_ms"], float(wanted.get("speed", 0.0)))
            case _:
                raise ValueError(f"no such control: {call.method} {call.path}")
        return b"{}"
