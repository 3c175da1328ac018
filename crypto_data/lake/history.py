"""How the passes over feeds and series went: a memory for people and alerts.

Never the truth about days, which is the ledger. Judging what of it is trouble belongs to
`watching`, the form of the file to `lake.history_file`.
"""

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from crypto_data.errors import UsageError
from crypto_data.harvest import Aim
from crypto_data.lake.history_file import (
    NOT_OURS,
    Book,
    FeedRecord,
    Standing,
    changing,
    read_book,
)
from crypto_data.lake.layout import HISTORY
from crypto_data.series import Series

# Runs a feed remembers having noted: more than mend it in a day, for so long dead ones are looked
# for, and one that is forgotten would count again.
NOTED_RUNS = 1000

_COUNTED = (Aim.FILL, Aim.REPAIR)

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Pass:
    """One run's work on series of one feed.

    `series` are all that were asked for, `short` those of them that fell short or broke off, and
    why. A run may note several for one feed, a step each: together they count once.
    """

    run_id: str
    feed: str
    aim: Aim
    at_ms: int
    series: tuple[Series, ...]
    short: Mapping[Series, str]


@dataclass(frozen=True, slots=True)
class History:
    """How all feeds and series stand, and which runs each feed has noted, oldest first."""

    feeds: Mapping[str, Standing] = field(default_factory=dict)
    series: Mapping[Series, Standing] = field(default_factory=dict)
    run_ids: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


def read_history(root: Path) -> History:
    """Return how passes went; an empty history where none was noted or the file is damaged.

    Raises:
        LakeDamaged: the file is there and the system does not let us read it.
    """
    path = root / HISTORY
    try:
        book = read_book(path)
        return History(
            {name: record.standing for name, record in book.feeds.items()},
            {Series.parse(name): standing for name, standing in book.series.items()},
            {name: tuple(record.run_ids) for name, record in book.feeds.items()},
        )
    except (*NOT_OURS, UsageError) as error:
        _log.warning("%s: damaged (%s); the next run begins it anew", path, error)
        return History()


def note_pass(root: Path, done: Pass) -> None:
    """Add a pass to the history.

    Passes that fill or repair count as a success or an error of their feed. One that mends ends
    the feed's errors when nothing is left of them, and never adds one: its gaps are told of by
    themselves. One that revises counts nothing. Series count every pass but those.

    Raises:
        LakeNotWritable: no space or no permission; the history is as it was.
        LakeBusy: another process holds the file.
        LakeDamaged: the system does not let us read the file.
    """
    with changing(root, done.at_ms) as book:
        record = book.feeds.setdefault(done.feed, FeedRecord())
        again = done.run_id in record.run_ids[-1:]
        if not again:
            record.before, record.run_short = record.standing, []
        already = set(record.run_short)
        asked = {str(series) for series in done.series}
        short = {str(series): why for series, why in done.short.items()}
        record.run_short = sorted({*already - asked, *short})
        record.run_ids = _remembered(record.run_ids, done.run_id)
        if done.aim is not Aim.REVISE:
            _count_series(book, asked, short, already, done.at_ms)
        _count_feed(book, record, done, asked | set(short))


def note_failed_run(root: Path, run_id: str, feeds: Iterable[str], at_ms: int, why: str) -> None:
    """Count an error for each feed of a run that died before it could note its pass.

    Has no effect on a feed for which the run has noted an error, this call included, nor where a
    later run has noted something. A run may die in one step after another has noted a success.

    Raises:
        LakeNotWritable: no space or no permission; the history is as it was.
        LakeBusy: another process holds the file.
        LakeDamaged: the system does not let us read the file.
    """
    with changing(root, at_ms) as book:
        for feed in feeds:
            record = book.feeds.setdefault(feed, FeedRecord())
            if run_id in record.run_ids and not _went_well(record, run_id):
                continue
            if run_id not in record.run_ids:
                record.before = record.standing
            record.run_short, record.short, record.died = [], [], True
            record.standing = record.before.failed(at_ms, why)
            record.run_ids = _remembered(record.run_ids, run_id)


def note_whole(root: Path, seen: Mapping[str, Standing], at_ms: int) -> None:
    """End the errors of feeds of which nothing is left to mend, whoever has mended it.

    Args:
        root: The lake.
        seen: The feeds, as they stood when that was found; one that has run since is left alone.
        at_ms: The exchange's clock, UTC epoch milliseconds.

    Raises:
        LakeNotWritable: no space or no permission; the history is as it was.
        LakeBusy: another process holds the file.
        LakeDamaged: the system does not let us read the file.
    """
    with changing(root, at_ms) as book:
        for feed, standing in seen.items():
            record = book.feeds.get(feed)
            if record is not None and record.standing == standing:
                record.standing = replace(standing, errors_in_a_row=0, since_ms=0, why="")
                record.short, record.died = [], False


def _went_well(record: FeedRecord, run_id: str) -> bool:
    """Return whether a run is the feed's last one and has noted nothing but success."""
    ended_well = record.standing.last_success_ms == record.standing.last_run_ms
    return run_id == record.run_ids[-1] and not record.run_short and ended_well


def _remembered(run_ids: list[str], run_id: str) -> list[str]:
    return [*(one for one in run_ids if one != run_id), run_id][-NOTED_RUNS:]


def _count_series(
    book: Book, asked: set[str], short: Mapping[str, str], already: set[str], at_ms: int
) -> None:
    """Count each series; one that an earlier step of the run counted short counts once."""
    for name in sorted(asked | set(short)):
        standing = book.series.get(name, Standing())
        if name not in short:
            book.series[name] = standing.succeeded(at_ms)
        elif name in already:
            book.series[name] = replace(standing.ran(at_ms), why=short[name])
        else:
            book.series[name] = standing.failed(at_ms, short[name])


def _count_feed(book: Book, record: FeedRecord, done: Pass, asked: set[str]) -> None:
    if done.aim in _COUNTED:
        # A command has several runs: one over other series does not end the error of an earlier.
        left = sorted(set(record.short) - asked)
        if record.run_short:
            why = _why(book, record.run_short, asked)
            record.standing = record.before.failed(done.at_ms, why)
        elif left:
            record.standing = record.before.ran(done.at_ms)
        else:
            record.standing = record.before.succeeded(done.at_ms)
        record.short, record.died = sorted({*left, *record.run_short}), False
    elif done.aim is Aim.MEND:
        served = asked - set(record.run_short)
        record.short = [name for name in record.short if name not in served]
        # Nobody knows what a run that died left undone: other days that were mended say nothing.
        healed = not (record.run_short or record.short or record.died)
        before = record.before
        record.standing = before.succeeded(done.at_ms) if healed else before.ran(done.at_ms)
    else:
        record.standing = record.standing.ran(done.at_ms)


def _why(book: Book, short: list[str], asked: set[str]) -> str:
    """Return what the first series that fell short was told, and how many others there are."""
    first = next((name for name in short if name in asked), short[0])
    others = len(short) - 1
    more = f" (and {others} more series)" if others else ""
    return f"{first}: {book.series[first].why}{more}"
