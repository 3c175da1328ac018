"""Faults on demand: what goes wrong, where, and how often.

A fault is a value; `FaultList` says which ones apply to a request. What each action does to bytes
belongs to `damage`.
"""

import json
import threading
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, fields, replace
from fnmatch import fnmatchcase

# What happens to any answer.
ANSWER_ACTIONS = frozenset({"status", "delay", "drop", "truncate", "html200", "code0"})
# What happens to rows, in files (with a CHECKSUM that fits) and in REST answers.
ROW_ACTIONS = frozenset({"missing_rows", "stale", "other_day", "nan", "unsorted", "doubled"})
# What happens to a file; its CHECKSUM fits unless the action is about that.
FILE_ACTIONS = frozenset(
    {
        "corrupt", "wrong_checksum", "not_zip", "two_members", "bomb", "empty", "damaged_csv",
        "republished",
    }
)  # fmt: skip
# What happens to a list of symbols: OKX's instruments, Kraken's pairs, Binance's exchangeInfo.
LIST_ACTIONS = frozenset({"no_symbols"})
ACTIONS = ANSWER_ACTIONS | ROW_ACTIONS | FILE_ACTIONS | LIST_ACTIONS | {"absent"}


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that goes wrong.

    Attributes:
        path: Pattern (as in a shell) over the decoded path, `/data/…/X.zip`; over `path?query`
            when it contains `?`. A file's fault also decides its CHECKSUM.
        action: One of `ACTIONS`.
        times: After so many answers it is over; None means it stays. A file's rows or bytes and
            its CHECKSUM are counted apart, so both tell the same story.
        status: Of `status`.
        retry_after: Header of `status`, seconds.
        body: Of `status`: `plain`, `json` ({"code": code, "msg": msg}), `kraken`
            ({"error": [msg]}), `html403` or `451`.
        seconds: Of `delay`.
        how: Of `drop`: `before` (the default) or `midway`. Of `truncate`: `length` (the default:
            the full Content-Length stands) or `close` (none, the end is the closed connection).
        start_ms, end_ms, days: Which rows `missing_rows` drops and `stale` changes, by open_time,
            as a half-open range or as UTC days `2024-01-05`. Without them `missing_rows` drops
            the last half, and `stale` changes everything.
        factor: Of `stale`: what prices and quantities are multiplied with.
        last_modified_ms: What the file's Last-Modified says instead; of several faults the one
            added last counts. All that `republished` does.
        code, msg: Of JSON bodies.
    """

    path: str
    action: str
    times: int | None = None
    status: int = 503
    retry_after: int | None = None
    body: str = "plain"
    seconds: float = 1.0
    how: str = ""
    start_ms: int | None = None
    end_ms: int | None = None
    days: tuple[str, ...] = ()
    factor: float = 1.01
    last_modified_ms: int | None = None
    code: int = 0
    msg: str = "made fault"

    def __post_init__(self) -> None:
        """Refuse an action that does not exist."""
        if self.action not in ACTIONS:
            raise ValueError(
                f"{self.action!r} is no fault; use one of {', '.join(sorted(ACTIONS))}"
            )
        if self.action == "republished" and self.last_modified_ms is None:
            raise ValueError("'republished' needs last_modified_ms")

    def matches(self, path: str, query: str) -> bool:
        """Return whether the fault is about a request."""
        text = f"{path}?{query}" if "?" in self.path else path
        return fnmatchcase(text, self.path)


def faults_from_json(text: str | bytes) -> list[Fault]:
    """Return the faults of a JSON list (or of one object), their fields by name.

    Raises:
        ValueError: a field or an action does not exist.
    """
    found = json.loads(text)
    known = {field.name for field in fields(Fault)}
    faults = []
    for entry in found if isinstance(found, list) else [found]:
        if unknown := set(entry) - known:
            raise ValueError(f"no such field: {', '.join(sorted(unknown))}")
        faults.append(Fault(**entry | {"days": tuple(entry.get("days", ()))}))
    return faults


class FaultList:
    """The faults in force; safe between threads."""

    def __init__(self) -> None:
        self._faults: list[Fault] = []
        self._used: Counter[tuple[int, str]] = Counter()
        self._lock = threading.Lock()

    def add(self, *faults: Fault) -> None:
        """Put faults in force, behind those that are."""
        with self._lock:
            self._faults.extend(faults)

    def end(self, path: str, actions: Collection[str] = ACTIONS) -> None:
        """End the faults of exactly this pattern, those of some actions only."""
        with self._lock:
            for place, fault in enumerate(self._faults):
                if fault.path == path and fault.action in actions:
                    self._faults[place] = replace(fault, times=0)

    def clear(self) -> None:
        """End all faults."""
        with self._lock:
            self._faults.clear()
            self._used.clear()

    def __len__(self) -> int:
        """Return how many were added, those that are over included."""
        return len(self._faults)

    def take(
        self, actions: Collection[str], path: str, *, query: str = "", channel: str = ""
    ) -> list[Fault]:
        """Return the faults that apply, and count them as used on the channel."""
        if not self._faults:
            return []
        with self._lock:
            places = self._places(actions, path, query=query, channel=channel)
            self._used.update((place, channel) for place in places)
            return [self._faults[place] for place in places]

    def peek(
        self, actions: Collection[str], path: str, *, query: str = "", channel: str = ""
    ) -> list[Fault]:
        """Return the faults that would apply, without counting them."""
        if not self._faults:
            return []
        with self._lock:
            places = self._places(actions, path, query=query, channel=channel)
            return [self._faults[place] for place in places]

    def _places(
        self, actions: Collection[str], path: str, *, query: str, channel: str
    ) -> list[int]:
        return [
            place
            for place, fault in enumerate(self._faults)
            if fault.action in actions
            and (fault.times is None or self._used[place, channel] < fault.times)
            and fault.matches(path, query)
        ]
