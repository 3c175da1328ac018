"""The file that knows what was told and what waits: one truth for all processes.

Alerts and messages change in one step, so that a kill at any moment neither loses a message nor
queues it twice. What comes next is computed by `alerts.state`; sending belongs to
`alerts.delivery`.
"""

import contextlib
import logging
import os
import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from crypto_data.alerts.address import Secret, read_addresses
from crypto_data.alerts.state import (
    Alert,
    Marks,
    Message,
    State,
    advance,
    decode,
    delivered,
    due,
    encode,
    refused,
    tidy,
)
from crypto_data.alerts.trouble import Kind, Trouble
from crypto_data.errors import LakeBusy, LakeDamaged, LakeNotWritable

LOGGER = logging.getLogger("crypto_data.alerts")

FILE = "outbox.json"
# A change takes milliseconds; whoever holds the lock for longer hangs.
LOCK_SECONDS = 30.0
# To look around takes seconds; minutes where the ledgers of a large lake are read for the first
# time.
WATCH_SECONDS = 300.0


@dataclass(frozen=True, slots=True)
class Waiting:
    """A message that is not delivered yet; its address is 0 when that left the configuration.

    `attempts`, `next_try_ms` and `why` are those of its address; 0 and `""` before the first try.
    """

    number: int
    key: str
    kind: Kind
    text: str
    queued_ms: int
    address: int
    attempts: int
    next_try_ms: int
    why: str


class Outbox:
    """What was told and what waits, durable in a folder; safe between threads and processes.

    Args:
        folder: Where the file lies; created with the first change.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._path = folder / FILE

    @contextlib.contextmanager
    def watching(self) -> Iterator[None]:
        """Hold the right to look for trouble and tell of it, until the context ends.

        Who looked earlier must not tell later: what has begun since would be over for them.

        Raises:
            LakeNotWritable: the disk is full or read-only.
            LakeBusy: another process has it for too long.
        """
        lock = FileLock(self._folder / "watch.lock", timeout=WATCH_SECONDS)
        with _writing(self._path):
            self._folder.mkdir(parents=True, exist_ok=True)
            try:
                lock.acquire()
            except Timeout:
                raise LakeBusy(
                    str(self._path), "another process looks for trouble; run the command again"
                ) from None
        try:
            yield
        finally:
            lock.release()

    def tell(self, troubles: Iterable[Trouble], now_ms: int, urls: Sequence[Secret]) -> list[str]:
        """Take in all troubles there are now, and queue what a person should hear of them.

        One message when a key appears, one when its level rises, a reminder at most every hour,
        one when it is gone; each to all `urls`, and to none that is added later. Without any,
        alerts are kept, nothing is queued, and an alert that still lasts when an address is there
        starts anew.

        Args:
            troubles: All of them; a key that is absent is over.
            now_ms: The exchange's clock, UTC epoch milliseconds.
            urls: The addresses of the configuration.

        Returns:
            The texts queued, one for all addresses.

        Raises:
            LakeNotWritable: the disk is full or read-only; nothing was told.
            LakeBusy: another process holds the file for too long.
        """
        found, texts = list(troubles), list[str]()

        def told(state: State) -> State:
            marks = _marks(state, urls)
            after, queued = advance(state, found, now_ms, marks)
            texts.extend(queued)
            tidied = tidy(after, now_ms, marks)
            _say_dropped(len(after.queue) - len(tidied.queue))
            return tidied

        self._change(told)
        return texts

    def current(self) -> list[Alert]:
        """Return the alerts that last, the oldest first."""
        alerts = self._read().alerts.values()
        lasting = (alert for alert in alerts if alert.ended_ms is None)
        return sorted(lasting, key=lambda alert: (alert.trouble.since_ms, alert.trouble.key))

    def check(self) -> None:
        """Refuse a file that says nothing, so that nobody takes it for peace.

        Raises:
            LakeDamaged: it is there and cannot be read.
        """
        if self._path.exists() and _state_of(self._path) is None:
            raise LakeDamaged(
                str(self._path),
                "cannot be read, so nobody knows what was told; run: crypto-data collect, which "
                "keeps it aside and begins anew",
            )

    def waiting(self) -> list[Waiting]:
        """Return the messages that are not delivered, in the order they were queued."""
        state = self._read()
        return [_waiting(state, one) for one in state.queue]

    def known(self) -> Mapping[str, Alert]:
        """Return by key the alerts that last, or have been over for less than `state.KEPT_MS`."""
        return self._read().alerts

    def due(self, now_ms: int, urls: Sequence[Secret]) -> list[tuple[str, int, list[Message]]]:
        """Return mark, address number and messages of each address that may be tried now."""
        state = self._read()
        marks = _marks(state, urls)
        return [(mark, marks[mark], ready) for mark, ready in due(state, now_ms, marks).items()]

    def note_delivered(self, number: int) -> None:
        """Take a message that arrived out of the queue."""
        self._change(lambda state: delivered(state, number))

    def note_refused(self, mark: str, why: str, now_ms: int) -> None:
        """Let the address of a message that did not arrive wait, twice as long each time."""
        self._change(lambda state: refused(state, mark, why, now_ms))

    @contextlib.contextmanager
    def delivering(self) -> Iterator[bool]:
        """Hold the right to deliver; yield False when another process has it."""
        if not self._path.exists():
            yield False
            return
        lock = FileLock(self._folder / "delivery.lock")
        try:
            with _writing(self._path):
                lock.acquire(timeout=0)
        except Timeout:
            yield False
            return
        try:
            yield True
        finally:
            lock.release()

    def _change(self, change: Callable[[State], State]) -> None:
        """Replace the file by one change, alone among all threads and processes."""
        with _writing(self._path):
            self._folder.mkdir(parents=True, exist_ok=True)
            try:
                # One lock object a change: a shared one would let a second thread in.
                with FileLock(self._folder / "outbox.lock", timeout=LOCK_SECONDS):
                    before = self._begin()
                    after = change(before)
                    if after != before:
                        _replace(self._path, encode(after))
            except Timeout:
                raise LakeBusy(
                    str(self._path), "held by another process; run the command again"
                ) from None

    def _begin(self) -> State:
        """Return what a change starts from; a damaged file is kept under another name."""
        state = _state_of(self._path)
        if state is None and self._path.exists():
            aside = self._path.with_name(f"{FILE}.damaged")
            self._path.replace(aside)
            LOGGER.warning("%s could not be read: kept as %s, begun anew", self._path, aside.name)
        return state or _new_state()

    def _read(self) -> State:
        """Return the file's state; an empty one when there is no file, or a damaged one."""
        try:
            return _state_of(self._path) or _new_state()
        except OSError as error:
            raise LakeDamaged(
                str(self._path), f"cannot be read ({error.strerror}). Permit reading it"
            ) from error


def _new_state() -> State:
    return State(salt=secrets.token_hex(8))


def _state_of(path: Path) -> State | None:
    """Return what a file says; None when it is not there or says nothing that can be read."""
    try:
        return decode(path.read_bytes())
    except FileNotFoundError:
        return None
    except (ValueError, TypeError, KeyError, AttributeError):
        return None


def _marks(state: State, urls: Sequence[Secret]) -> Marks:
    return {address.mark(state.salt): address.number for address in read_addresses(urls)}


def _waiting(state: State, one: Message) -> Waiting:
    failing = state.failing.get(one.mark)
    attempts, next_try_ms, why = (
        (failing.attempts, failing.next_try_ms, failing.why) if failing else (0, 0, "")
    )
    return Waiting(
        one.number, one.key, one.kind, one.text, one.queued_ms, one.address,
        attempts, next_try_ms, why,
    )  # fmt: skip


def _say_dropped(count: int) -> None:
    if count:
        LOGGER.warning(
            "%d messages dropped: their address left the configuration 7 days ago", count
        )


@contextlib.contextmanager
def _writing(path: Path) -> Iterator[None]:
    """Turn what the operating system says against writing `path` into `LakeNotWritable`."""
    try:
        yield
    except Timeout:  # an OSError by birth, and no fault of the disk
        raise
    except OSError as error:
        raise LakeNotWritable(
            str(path),
            f"cannot be written ({error.strerror or type(error).__name__}); no alert can be told. "
            "Make room or permit writing",
        ) from error


def _replace(path: Path, content: bytes) -> None:
    """Put `content` under `path`, whole and durably; a crash leaves the old file or the new."""
    draft = path.with_name(f".{path.name}.tmp")  # one name, for whoever holds the lock
    with draft.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
