"""Which hosts are left alone until when, and why: one memory for all processes.

Kept in a small file, so that a ban survives a restart and no process walks into a limit that
another one has met. What counts as a refusal belongs to `sources.refusal`; how much weight may be
spent belongs to `sources.budget`.
"""

import json
import logging
import os
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path

from filelock import FileLock

from crypto_data.errors import Blocked, RateLimited, SourceError, Unreachable
from crypto_data.partitions import utc
from crypto_data.sources.http import PATIENCE_S

FIREWALL_S = 600.0
REGION_S = 3600.0
# Of a host that is down: half a minute, doubling with every further failure, at most ten minutes.
DOWN_FIRST_S = 30.0
DOWN_LONGEST_S = 600.0
# The closings of a host are looked at again this often while waiting: another process may have
# opened it, or closed it for longer.
GLANCE_S = 1.0
# A person is told of a wait that is longer.
SAID_FROM_S = 3.0

log = logging.getLogger("crypto_data.sources")


class Reason(StrEnum):
    """Why a host is left alone, which is what a caller is told meanwhile."""

    LIMITED = "limited"
    BLOCKED = "blocked"
    DOWN = "down"


@dataclass(frozen=True, slots=True)
class Closing:
    """A host that is left alone until `until_ms`, UTC epoch milliseconds."""

    until_ms: int
    reason: Reason
    detail: str
    failures: int = 1  # closings in a row without a success


class Gate:
    """The closings of all hosts, shared by threads and processes through one file.

    A host is named as its user likes (`vision data.binance.vision`): two services of one machine
    are two names. The file is advisory: losing it in a power cut costs one refused request.

    Args:
        directory: Where `gate.json` lies; made when absent.
        clock_ms: The local clock, UTC epoch milliseconds.
        patience_s: A limit that ends within this many seconds is waited for.
        sleep: Waits that many seconds.
    """

    def __init__(
        self,
        directory: Path,
        clock_ms: Callable[[], int],
        *,
        patience_s: float = PATIENCE_S,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._path = directory / "gate.json"
        self._name = str(self._path)
        self._file_lock = FileLock(directory / "gate.json.lock", thread_local=False)
        self._lock = threading.Lock()
        self._clock_ms = clock_ms
        self._patience_s = patience_s
        self._sleep = sleep
        self._seen: tuple[tuple[int, int, int], dict[str, Closing]] | None = None
        self._said: dict[str, int] = {}  # host -> until when a person knows that we wait

    def check(self, host: str, *, source: str, series: str) -> None:
        """Return when the host may be asked; wait for a limit that ends soon.

        Raises:
            RateLimited: it asked us to wait longer than our patience.
            Blocked: it refused us a short while ago.
            Unreachable: it was down a short while ago.
        """
        waited_s = 0.0
        while (closing := self.closing(host)) is not None:
            left_s = (closing.until_ms - self._clock_ms()) / 1000
            soon = closing.reason is Reason.LIMITED and waited_s + left_s <= self._patience_s
            if not soon:
                raise _left_alone(closing, left_s, source, series)
            self._say_wait(host, closing)
            pause_s = min(max(left_s, 0.001), GLANCE_S)
            self._sleep(pause_s)
            waited_s += pause_s

    def closing(self, host: str) -> Closing | None:
        """Return why the host is left alone at this moment, None when it may be asked."""
        closing = self._read().get(host)
        return closing if closing is not None and closing.until_ms > self._clock_ms() else None

    def closings(self) -> dict[str, Closing]:
        """Return every host that is left alone at this moment, for people."""
        now_ms = self._clock_ms()
        return {
            host: closing for host, closing in self._read().items() if closing.until_ms > now_ms
        }

    def close(self, host: str, until_ms: int, reason: Reason, detail: str) -> None:
        """Leave the host alone until `until_ms`; an earlier end never shortens a longer one."""

        def closed(known: dict[str, Closing]) -> None:
            before = known.get(host)
            if before is not None and before.until_ms > max(until_ms, self._clock_ms()):
                return
            again = before is not None and before.reason is reason
            failures = 1 + (before.failures if before is not None and again else 0)
            known[host] = Closing(until_ms, reason, detail, failures)

        self._change(closed)

    def close_down(self, host: str, detail: str) -> None:
        """Leave a host that is down alone, twice as long after each failure in a row."""
        before = self._read().get(host)
        failures = before.failures if before is not None and before.reason is Reason.DOWN else 0
        seconds = min(DOWN_FIRST_S * 2.0 ** min(failures, 10), DOWN_LONGEST_S)
        if before is None or before.until_ms <= self._clock_ms():  # one failure a closing
            self.close(host, self._clock_ms() + int(seconds * 1000), Reason.DOWN, detail)

    def opened(self, host: str) -> None:
        """Note a success: the host's failures are forgotten; a refusal that still runs is not.

        What succeeds meanwhile was sent before it.
        """
        before = self._read().get(host)
        if before is None or (
            before.reason is not Reason.DOWN and before.until_ms > self._clock_ms()
        ):
            return
        self._change(lambda known: known.pop(host, None))

    def close_after(self, host: str, error: SourceError) -> None:
        """Close the host as an error asks for; `Unreachable` and faults of one file do not."""
        match error:
            case RateLimited():
                seconds, reason = error.retry_after, Reason.LIMITED
            case Blocked():
                region = "HTTP 451" in error.detail
                seconds, reason = REGION_S if region else FIREWALL_S, Reason.BLOCKED
            case _:
                return
        until_ms = self._clock_ms() + int(seconds * 1000)
        self.close(host, until_ms, reason, error.detail)
        if reason is Reason.LIMITED and seconds <= self._patience_s:  # it is asked again after that
            self._say_wait(host, Closing(until_ms, reason, error.detail))

    def _say_wait(self, host: str, closing: Closing) -> None:
        """Tell a person once of a wait that would look like standing still."""
        now_ms = self._clock_ms()
        left_s = (closing.until_ms - now_ms) / 1000
        with self._lock:
            is_new = self._said.get(host, 0) <= now_ms
            if is_new:
                self._said[host] = closing.until_ms
        if is_new and left_s >= SAID_FROM_S:
            until = utc(closing.until_ms)[11:]
            log.warning("%s: waiting %.0f s, until %s (%s)", host, left_s, until, closing.detail)

    def door(self, host: str, *, source: str, series: str) -> "GateDoor":
        """Return the way to one host for the requests about one series."""
        return GateDoor(self, host, source, series)

    def _change(self, change: Callable[[dict[str, Closing]], object]) -> None:
        """Rewrite the file with one change, alone among all threads and processes."""
        with self._lock, self._file_lock:
            self._seen = None
            known = self._read()
            change(known)
            text = json.dumps({host: asdict(closing) for host, closing in known.items()})
            draft = self._path.with_name(f"gate.json.{os.getpid()}")
            draft.write_text(text, encoding="utf-8")
            draft.replace(self._path)
            self._seen = None

    def _read(self) -> dict[str, Closing]:
        """Return a copy of the file's closings; the file is parsed when it has changed."""
        try:
            status = os.stat(self._name)  # noqa: PTH116 - twice a request, at half the cost
        except FileNotFoundError:
            return {}
        mark = (status.st_mtime_ns, status.st_ino, status.st_size)
        seen = self._seen
        if seen is None or seen[0] != mark:
            seen = (mark, _closings_of(self._path.read_text(encoding="utf-8")))
            self._seen = seen
        return dict(seen[1])


def _closings_of(text: str) -> dict[str, Closing]:
    """Return what the file says; a damaged one says nothing and is replaced by the next change."""
    try:
        return {
            host: Closing(**{**known, "reason": Reason(known["reason"])})
            for host, known in json.loads(text).items()
        }
    except (ValueError, TypeError, KeyError, AttributeError):
        return {}


def _left_alone(closing: Closing, left_s: float, source: str, series: str) -> SourceError:
    detail = f"left alone until {utc(closing.until_ms)[11:]} after {closing.detail}"
    match closing.reason:
        case Reason.LIMITED:
            return RateLimited(source, series, detail, max(left_s, 0.0))
        case Reason.BLOCKED:
            return Blocked(source, series, detail)
        case Reason.DOWN:
            return Unreachable(source, series, detail)


class GateDoor:
    """One source's way to one host for one series; counts what went through.

    Used by one thread at a time. `toll` is called before each request (it may wait for weight),
    `meter` with the headers of each answer.
    """

    def __init__(self, gate: Gate, host: str, source: str, series: str) -> None:
        self.source = source
        self.series = series
        self.toll: Callable[[], None] = _nothing
        self.meter: Callable[[Mapping[str, str]], None] = _nothing_of
        self._gate = gate
        self._host = host
        self._requests = 0
        self._seconds = 0.0
        self._sent: float | None = None

    def spent(self) -> tuple[int, float]:
        """Return requests, and seconds waited for their answers, since this was last asked."""
        spent = self._requests, self._seconds
        self._requests, self._seconds = 0, 0.0
        return spent

    def charge(self, other: "GateDoor") -> None:
        """Count what went through another door as if it had gone through this one."""
        requests, seconds = other.spent()
        self._requests += requests
        self._seconds += seconds

    def enter(self) -> None:
        """Wait for gate and toll, or raise what the gate says."""
        self._gate.check(self._host, source=self.source, series=self.series)
        self.toll()
        if self.toll is not _nothing:  # it may have waited for a minute
            self._gate.check(self._host, source=self.source, series=self.series)
        self._requests += 1
        self._sent = time.perf_counter()

    def answered(self, headers: Mapping[str, str]) -> None:
        """Stop the watch and hand the headers to the meter."""
        self._stop()
        self.meter(headers)

    def refused(self, error: SourceError) -> None:
        """Close the gate at once when the host refused us: all processes wait."""
        self._stop()
        self._gate.close_after(self._host, error)

    def gave_up(self, error: SourceError) -> None:
        """Close the gate when the host stayed down through all retries."""
        if isinstance(error, Unreachable):
            self._gate.close_down(self._host, error.detail)

    def passed(self) -> None:
        """Forget earlier failures."""
        self._gate.opened(self._host)

    def _stop(self) -> None:
        if self._sent is not None:
            self._seconds += time.perf_counter() - self._sent
            self._sent = None


def _nothing() -> None:
    """Ask for no toll."""


def _nothing_of(headers: Mapping[str, str]) -> None:
    """Read no meter."""
