"""The file that remembers how passes went: its form, its lock, and what of it is forgotten.

How a pass changes it belongs to `lake.history`.
"""

import json
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import astuple, dataclass, field, replace
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from crypto_data.errors import LakeBusy, LakeDamaged
from crypto_data.intervals import DAY_MS
from crypto_data.lake.feeds import read_wishes
from crypto_data.lake.layout import HISTORY, LOCKS
from crypto_data.lake.part import make_folder, replace_file, writing

# What the configuration no longer names stays for so long after its last run.
FORGOTTEN_MS = 30 * DAY_MS
LOCK_SECONDS = 60.0

# What reading a file of another form, or half of one, may raise.
NOT_OURS = (ValueError, KeyError, TypeError, AttributeError)

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Standing:
    """How the passes over one feed or one series went; times are the exchange's clock, 0: never."""

    last_run_ms: int = 0
    last_success_ms: int = 0
    errors_in_a_row: int = 0
    since_ms: int = 0  # the first of them
    why: str = ""  # of the last of them

    def succeeded(self, at_ms: int) -> "Standing":
        """Return how it stands after a success."""
        latest_ms = max(at_ms, self.last_run_ms)
        return Standing(latest_ms, max(at_ms, self.last_success_ms))

    def failed(self, at_ms: int, why: str) -> "Standing":
        """Return how it stands after one more error."""
        return Standing(
            max(at_ms, self.last_run_ms),
            self.last_success_ms,
            self.errors_in_a_row + 1,
            self.since_ms if self.errors_in_a_row else at_ms,
            why,
        )

    def ran(self, at_ms: int) -> "Standing":
        """Return how it stands after a pass that counts neither way."""
        return replace(self, last_run_ms=max(at_ms, self.last_run_ms))


@dataclass(slots=True)
class FeedRecord:
    """A feed's standing, and what its last run must be judged by when it notes one more step."""

    standing: Standing = field(default_factory=Standing)
    short: list[str] = field(default_factory=list)  # series of the last error, not mended since
    died: bool = False  # the last error was a run that died before it could tell its series
    before: Standing = field(default_factory=Standing)  # the last run
    run_short: list[str] = field(default_factory=list)  # series that fell short in it
    run_ids: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Book:
    """The file's content. Series are kept by their text: nobody looks into all 1,200 of them."""

    feeds: dict[str, FeedRecord] = field(default_factory=dict)
    series: dict[str, Standing] = field(default_factory=dict)


@contextmanager
def changing(root: Path, at_ms: int) -> Iterator[Book]:
    """Hand out the content to be changed, alone among all processes, and write it back.

    Raises:
        LakeNotWritable: no space or no permission; the file is as it was.
        LakeBusy: another process holds the file.
        LakeDamaged: the system does not let us read the file.
    """
    path, lock = root / HISTORY, _lock(root)
    try:
        book = _read_or_begin(path)
        yield book
        _forget(root, book, at_ms)
        replace_file(path, _encode(book))
    finally:
        lock.release()


def _lock(root: Path) -> FileLock:
    path = root / LOCKS / "history.lock"
    lock = FileLock(path, timeout=LOCK_SECONDS, thread_local=False)
    with writing(path):
        make_folder(path.parent)
        try:
            lock.acquire()
        except Timeout as error:
            raise LakeBusy(
                str(path), "held by another process for a minute; run the command again"
            ) from error
    return lock


def _read_or_begin(path: Path) -> Book:
    """Return the content; a damaged file is moved beside and an empty one begun."""
    try:
        return read_book(path)
    except NOT_OURS as error:
        kept = path.with_name(f"{path.name}.damaged")
        with writing(path):
            path.replace(kept)
        _log.warning("%s: damaged (%s); moved to %s and begun anew", path, error, kept.name)
        return Book()


def read_book(path: Path) -> Book:
    """Return the content; an empty one where there is no file.

    Raises:
        LakeDamaged: the system does not let us read the file.
        ValueError, KeyError, TypeError, AttributeError: its content is not ours.
    """
    try:
        content = json.loads(path.read_bytes())
    except FileNotFoundError:
        return Book()
    except OSError as error:
        raise LakeDamaged(
            str(path), f"cannot be read ({error.strerror or error}); permit reading it"
        ) from error
    return Book(
        {name: _record_of(entry) for name, entry in content["feeds"].items()},
        {name: _standing_of(entry) for name, entry in content["series"].items()},
    )


def _record_of(entry: Mapping[str, Any]) -> FeedRecord:
    return FeedRecord(
        _standing_of(entry["standing"]),
        _texts_of(entry["short"]),
        bool(entry.get("died", False)),
        _standing_of(entry["before"]),
        _texts_of(entry["run_short"]),
        _texts_of(entry["run_ids"]),
    )


def _standing_of(entry: list[Any]) -> Standing:
    run_ms, success_ms, errors, since_ms, why = entry
    numbers = (run_ms, success_ms, errors, since_ms)
    if not all(isinstance(number, int) for number in numbers) or not isinstance(why, str):
        raise ValueError(f"{entry} is no standing")
    return Standing(run_ms, success_ms, errors, since_ms, why)


def _texts_of(entry: list[Any]) -> list[str]:
    if not all(isinstance(text, str) for text in entry):
        raise ValueError(f"{entry} is no list of texts")
    return entry


def _forget(root: Path, book: Book, at_ms: int) -> None:
    """Drop what has not run for a month, unless the configuration still names it."""
    until_ms = at_ms - FORGOTTEN_MS
    feeds = {name for name, one in book.feeds.items() if one.standing.last_run_ms < until_ms}
    series = {name for name, one in book.series.items() if one.last_run_ms < until_ms}
    if not feeds and not series:
        return
    try:
        wanted = read_wishes(root).series
    except LakeDamaged:
        return  # the next run that fetches writes it anew
    for name in feeds - {one.feed for one in wanted.values()}:
        del book.feeds[name]
    for name in series - set(map(str, wanted)):
        del book.series[name]


def _encode(book: Book) -> bytes:
    content = {
        "feeds": {
            name: {
                "standing": astuple(record.standing),
                "short": record.short,
                "died": record.died,
                "before": astuple(record.before),
                "run_short": record.run_short,
                "run_ids": record.run_ids,
            }
            for name, record in sorted(book.feeds.items())
        },
        "series": {name: astuple(one) for name, one in sorted(book.series.items())},
    }
    return json.dumps(content, ensure_ascii=False, indent=0).encode()
