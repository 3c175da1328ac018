"""One call for klines: what the lake has, what is fetched besides, and what is said of it.

Names and ranges come in checked, from `api.names` and `api.asking`; what the lake lacks is told by
`api.lacking`. The network belongs to `api.fetching`, which the first call imports that needs it.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

import pyarrow as pa

from crypto_data.api.answer import Gathered
from crypto_data.api.asking import (
    Bounds,
    Lack,
    Order,
    Wanted,
    feed_of,
    only_from,
    want,
    without_archive,
)
from crypto_data.api.lacking import (
    closed_span,
    find_due,
    find_lacking,
    find_outdated,
    open_span,
    told_days,
    told_unlisted,
    was_unlisted,
)
from crypto_data.api.names import AUTO, LAKE, unknown_symbol, unknown_to_lake
from crypto_data.api.session import Session
from crypto_data.catalog.feeds import feed_of_none
from crypto_data.coverage import ARCHIVE
from crypto_data.errors import Attempt, UsageError
from crypto_data.intervals import TimeRange
from crypto_data.series import Series

# Files are read side by side; more threads only wait for each other.
READERS = 4


def gather_klines(
    session: Session, series: Sequence[Series], bounds: Bounds, source: str
) -> list[Gathered]:
    """Return what there is of each series, in their order, with what is to be said of it.

    Args:
        session: The lake, and the connections to its sources.
        series: What is asked for.
        bounds: The range.
        source: `auto`, `lake`, or the name of the only source that is asked.

    Raises:
        UsageError: the range lies in the future, or nobody knows a symbol.
        LakeDamaged: a file cannot be read; says how to mend it.
    """
    if source != LAKE and bounds.start_ms is None:
        _check_begins(session, series)
    now_ms = session.now_ms()
    is_here = source == AUTO and _is_all_here(session, series, bounds, now_ms)
    if source != LAKE and not is_here:
        now_ms = _measured_ms(session, series[0], source)
    bounds.check(now_ms)
    gathered = [Gathered(want(session, one, bounds, now_ms)) for one in series]
    if source == LAKE or is_here:
        _check_known(session, gathered)
        _read_lake(session, gathered, now_ms)
        for one in gathered:
            if not is_here:
                _tell_lacking(session, one, now_ms)
            _tell_unlisted(session, one, now_ms)
    elif source == AUTO:
        _read_through(session, gathered, now_ms)
    else:
        _fetch_from(session, gathered, source, now_ms)
    return gathered


def _check_begins(session: Session, series: Iterable[Series]) -> None:
    """Refuse a series of which nothing says where its klines should begin."""
    for one in series:
        if feed_of(session, one) is None:
            raise UsageError(
                f"{one}: no feed has it, so nothing says where to begin; "
                'give a start such as "2024-01-01"'
            )


def _check_known(session: Session, gathered: Iterable[Gathered]) -> None:
    for one in gathered:
        if not one.wanted.is_known:
            raise unknown_to_lake(session, one.wanted.series)


def _measured_ms(session: Session, series: Series, source: str) -> int:
    """Return the exchange's clock, asked for by the sources of a series."""
    feed = feed_of(session, series) or feed_of_none(series)
    return session.chain(feed if source == AUTO else only_from(feed, source)).now_ms()


def _is_all_here(session: Session, series: Iterable[Series], bounds: Bounds, now_ms: int) -> bool:
    """Return whether the lake has all that is asked for, by the clock as it was last measured."""
    if bounds.future(now_ms):
        return False
    wanted = [want(session, one, bounds, now_ms) for one in series]
    return all(
        one.is_known and one.span == closed_span(one, now_ms) and not find_due(session, one, now_ms)
        for one in wanted
    )


def _read_lake(session: Session, gathered: Sequence[Gathered], now_ms: int) -> None:
    """Add the klines that the lake has."""

    def read(one: Gathered) -> pa.Table:
        return session.lake.read(one.wanted.series, closed_span(one.wanted, now_ms))

    if len(gathered) == 1:
        gathered[0].rows.append(read(gathered[0]))
        return
    with ThreadPoolExecutor(READERS, thread_name_prefix="read") as pool:
        for one, rows in zip(gathered, pool.map(read, gathered), strict=True):
            one.rows.append(rows)


def _tell_lacking(session: Session, one: Gathered, now_ms: int) -> None:
    """Say what the lake lacks, or has of old, where nobody is to be asked for it."""
    if days := sorted(find_lacking(session, one.wanted, now_ms)):
        told = f"{one.wanted.series}: not in the lake: {told_days(days)}"
        one.notes.append(f'{told}; source="auto" fetches them')
    if days := find_outdated(session, one.wanted, now_ms):
        told = f"{one.wanted.series}: made of finer klines that are others now: {told_days(days)}"
        one.notes.append(f'{told}; source="auto" makes them anew')


def _tell_unlisted(session: Session, one: Gathered, now_ms: int) -> None:
    is_empty = not any(rows.num_rows for rows in one.rows)
    if is_empty and not open_span(one.wanted, now_ms) and was_unlisted(session, one.wanted, now_ms):
        one.notes.append(told_unlisted(one.wanted))


def _read_through(session: Session, gathered: Sequence[Gathered], now_ms: int) -> None:
    """Fetch or make and store what the lake lacks, read all, and add what is never stored."""
    kept = [one for one in gathered if _is_kept(session, one)]
    lacking = {
        one.wanted.series: Lack(one.wanted, tuple(days))
        for one in kept
        if (days := find_due(session, one.wanted, now_ms))
    }
    errors = _fill(session, lacking.values())
    _read_lake(session, kept, now_ms)
    for one in kept:
        if one.wanted.series in lacking:
            _note_short(session, one, errors.get(one.wanted.series, ""), now_ms)
        _tell_unlisted(session, one, now_ms)
    orders = [(one, order) for one in kept if (order := _order_of_today(one, now_ms))]
    orders += [
        (one, Order(one.wanted, _fetchable(one.wanted, now_ms), one.wanted.feed.sources))
        for one in gathered
        if one not in kept
    ]
    _fetch(session, orders)


def _is_kept(session: Session, one: Gathered) -> bool:
    """Return whether klines of a series are stored: not where nobody vouches for the symbol.

    Raises:
        UsageError: no source knows the symbol.
    """
    wanted = one.wanted
    if wanted.is_known:
        return True
    lives = session.chain(wanted.feed).lives(wanted.series)
    if lives == ():
        raise unknown_symbol(session, wanted.series)
    if lives is None:
        one.notes.append(f"{wanted.series}: not stored, as not every source could tell of it")
    return lives is not None


def _fill(session: Session, lacking: Collection[Lack]) -> Mapping[Series, str]:
    if not lacking:
        return {}
    from crypto_data.api.fetching import fill_lake

    return fill_lake(session, lacking)


def _note_short(session: Session, one: Gathered, error: str, now_ms: int) -> None:
    """Note the days that are lacking still, in the words of the sources."""
    from crypto_data.api.fetching import attempts_of

    broken = [Attempt("lake", "failed", error)] if error else []
    for day, facts in find_lacking(session, one.wanted, now_ms).items():
        said = attempts_of(facts.answers, facts.set_aside) if facts else []
        one.short[day] = [*said, *broken] or [Attempt("lake", "lacking", "it was never asked for")]
    if broken:
        for day in find_outdated(session, one.wanted, now_ms):
            one.short.setdefault(day, broken)


def _order_of_today(one: Gathered, now_ms: int) -> Order | None:
    """Return what is to be fetched of days that are not over; their klines are never stored."""
    wanted, span = one.wanted, open_span(one.wanted, now_ms)
    if not span:
        return None
    sources = without_archive(wanted.feed)
    if not sources:
        one.notes.append(_no_today(wanted))
        return None
    return Order(wanted, span, sources, wanted.feed.finer(wanted.series))


def _no_today(wanted: Wanted) -> str:
    return f"{wanted.series}: the archive has no klines of a day before the day is over"


def _fetchable(wanted: Wanted, now_ms: int) -> TimeRange:
    """Return the open times of the range whose klines are closed."""
    end_ms = min(wanted.span.end_ms, wanted.series.interval.floor(now_ms))
    return TimeRange(wanted.span.start_ms, max(wanted.span.start_ms, end_ms))


def _fetch_from(session: Session, gathered: Sequence[Gathered], source: str, now_ms: int) -> None:
    """Add what one source has; nothing is read from the lake, nothing stored."""
    orders = []
    for one in gathered:
        span = _fetchable(one.wanted, now_ms)
        if source == ARCHIVE:
            if open_span(one.wanted, now_ms):
                one.notes.append(_no_today(one.wanted))
            span = closed_span(one.wanted, now_ms)
        orders.append((one, Order(one.wanted, span, (source,))))
    _fetch(session, orders)


def _fetch(session: Session, orders: Sequence[tuple[Gathered, Order]]) -> None:
    """Add klines that are not stored, after those of the lake."""
    if not orders:
        return
    from crypto_data.api.fetching import fetch_unkept

    fetched = fetch_unkept(session, [order for _, order in orders])
    for (one, order), answer in zip(orders, fetched, strict=True):
        one.rows.append(answer.rows)
        one.short |= answer.short
        if order.span == one.wanted.span and not answer.is_listed:
            one.notes.append(told_unlisted(one.wanted))
