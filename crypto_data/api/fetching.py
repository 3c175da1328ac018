"""Klines over the network for one call: days that the lake lacks, and rows that it never keeps.

Whom to ask and how is the business of `ingest` and of the failover chain; what is asked for at all
belongs to `api.reading`.
"""

import threading
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import date
from typing import TypeVar

import pyarrow as pa

from crypto_data.api.asking import Lack, Order, Wanted, only_from
from crypto_data.api.session import Session
from crypto_data.coverage import SERVED, SourceAnswer, find_gaps_within, split_by_life
from crypto_data.errors import Attempt
from crypto_data.harvest import Aim, Harvest
from crypto_data.ingest import ASK_LISTING_FROM_DAYS, Job, ingest
from crypto_data.intervals import DAY_MS, Interval, TimeRange
from crypto_data.lake.merge import merge
from crypto_data.making.bars import make_offers
from crypto_data.making.chain import chain_of
from crypto_data.partitions import ONE_DAY, days_touched, periods_of, span_of_days
from crypto_data.reports import SeriesReport
from crypto_data.schema import empty_klines, epoch_ms
from crypto_data.series import Series
from crypto_data.sources.failover import FailoverChain
from crypto_data.validation import cut

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Fetched:
    """Klines that are not kept, `schema.KLINES`, sorted, and the days that fell short, and why.

    `is_listed` is False where nothing came because the symbol did not trade then.
    """

    rows: pa.Table
    short: Mapping[date, Sequence[Attempt]]
    is_listed: bool


def fill_lake(session: Session, lacking: Collection[Lack]) -> dict[Series, str]:
    """Fetch days that the lake lacks and store them; return what broke off, by series.

    Two calls of one process that lack the same series take turns: the second one finds what the
    first has stored.
    """
    ordered = sorted(lacking, key=lambda one: one.wanted.series)  # one order: no deadlock
    with ExitStack() as turns:
        for lack in ordered:
            turns.enter_context(session.turn(lack.wanted.series))
        # What is made of finer klines is made when these are there.
        _ingest(session, [job for lack in ordered for job in _finer_jobs(session, lack)])
        return _ingest(session, [_job(session, lack) for lack in ordered])


def _job(session: Session, lack: Lack) -> Job:
    series, feed = lack.wanted.series, lack.wanted.feed
    chain = chain_of(series, feed, session.chain(feed), session.lake)
    return Job(series, chain, lack.days[0], lack.days[-1] + ONE_DAY)


def _finer_jobs(session: Session, lack: Lack) -> Iterator[Job]:
    feed = lack.wanted.feed
    if finer := feed.finer(lack.wanted.series):
        yield Job(finer, session.chain(feed), lack.days[0], lack.days[-1] + ONE_DAY)


def _ingest(session: Session, jobs: Sequence[Job]) -> dict[Series, str]:
    reports: list[SeriesReport] = []

    def work() -> None:
        reports.extend(
            ingest(
                session.lake,
                jobs,
                threads=session.catalog.sources.concurrency,
                stop=threading.Event(),
                on_days=lambda _series, _days: None,
            )
        )

    # In a thread of its own, so that an interrupt comes here while files are in work.
    with ThreadPoolExecutor(1, thread_name_prefix="fill") as pool:
        _results(session, [pool.submit(work)])
    session.check()
    return {report.series: report.error for report in reports if report.error}


def _results(session: Session, running: Sequence["Future[T]"]) -> list[T]:
    """Return what comes of some work; an interrupt ends its requests, and so the work."""
    results: list[T] = []
    for one in running:
        try:
            results.append(one.result())
        except BaseException:
            for other in running:
                other.cancel()
            if not one.done():  # the exception is none of the work's own
                session.close()
            raise
    return results


def fetch_unkept(session: Session, orders: Sequence[Order]) -> list[Fetched]:
    """Return what the sources have of each order, fetched side by side."""
    threads = session.catalog.sources.concurrency
    with ThreadPoolExecutor(threads, thread_name_prefix="fetch") as pool:
        running = [pool.submit(_fetch, session, order) for order in orders]
        return _results(session, running)


def _fetch(session: Session, order: Order) -> Fetched:
    chain = session.chain(only_from(order.wanted.feed, *order.sources))
    if order.finer is None:
        return _fetch_series(chain, order.wanted.series, order.span)
    fetched = _fetch_series(chain, order.finer, order.span)
    rows = _make(fetched.rows, order.finer.interval, order.wanted)
    return Fetched(rows, fetched.short, fetched.is_listed)


def _fetch_series(chain: FailoverChain, series: Series, span: TimeRange) -> Fetched:
    """Return the klines of a range; as much is asked for at a time as a file of the lake holds."""
    if span.end_ms - span.start_ms > ASK_LISTING_FROM_DAYS * DAY_MS:
        chain.learn_lives(series)
    tables: list[pa.Table] = []
    short: dict[date, Sequence[Attempt]] = {}
    is_listed = False
    for part in _parts(series.interval, span):
        harvest = chain.fill(series, [part], Aim.FILL)
        rows = cut(merge(empty_klines(), harvest.offers, harvest.ranking, ()), [part])
        due = _due(harvest, rows, series.interval, part)
        tables.append(rows)
        is_listed = is_listed or bool(rows.num_rows or due)
        for day in days_touched(due):
            asked = harvest.days[day]
            if not asked.conclusive:
                short[day] = attempts_of(asked.answers, asked.set_aside.items())
    return Fetched(pa.concat_tables([*tables, empty_klines()]), short, is_listed)


def _parts(interval: Interval, span: TimeRange) -> Iterator[TimeRange]:
    """Yield a range in pieces as long as the files of the lake, ascending."""
    for days in periods_of(interval, days_touched([span])).values():
        yield span.intersect(span_of_days(days[0], days[-1] + ONE_DAY))


def _due(harvest: Harvest, rows: pa.Table, interval: Interval, span: TimeRange) -> list[TimeRange]:
    """Return the klines that should have come and did not."""
    gaps = find_gaps_within(epoch_ms(rows["open_time"]).to_numpy(), span, interval)
    return split_by_life(gaps, harvest.lives, interval)[0]


def attempts_of(
    answers: Iterable[SourceAnswer], set_aside: Iterable[tuple[str, int]]
) -> list[Attempt]:
    """Return what the sources said of a day that fell short, and which rows broke a rule."""
    said = [
        Attempt(one.source, one.outcome, one.detail or "has no more")
        for one in answers
        if one.outcome != SERVED or one.detail
    ]
    return said + [Attempt("rules", "set aside", f"{n} rows by {rule}") for rule, n in set_aside]


def _make(rows: pa.Table, finer: Interval, wanted: Wanted) -> pa.Table:
    """Return the coarser klines of an open day that finer ones make, marked by whose these are."""
    lengths = (finer, wanted.series.interval)
    offers = make_offers(rows, lengths, wanted.feed.sources, are_waiting=True)
    return merge(empty_klines(), list(offers), (), ())
