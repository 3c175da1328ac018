"""The main use case: fill the gaps of series through the failover chain into the lake.

Side by side in bounded threads, one file of the lake at a time, committed as it arrives. What
Dagster shows of it belongs to `orchestration`, what the terminal shows to `cli`.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from datetime import date

import pyarrow as pa

from crypto_data.coverage import DayFacts, DayState, day_expected, day_state, wanted_ranges
from crypto_data.errors import CryptoDataError
from crypto_data.harvest import AskedDay, Harvest
from crypto_data.intervals import TimeRange, merge_ranges
from crypto_data.lake.ledger import Ledger
from crypto_data.lake.store import Lake
from crypto_data.partitions import closed_end, days_in, periods_of
from crypto_data.series import Series
from crypto_data.sources.failover import FailoverChain

# From this many days on, asking when a series was listed is cheaper than asking for each day
# before it.
ASK_LISTING_FROM_DAYS = 31

log = logging.getLogger("crypto_data.ingest")


@dataclass(frozen=True, slots=True)
class Job:
    """What is wanted of one series: a chain to ask and half-open days, `[first, end)`."""

    series: Series
    chain: FailoverChain
    first: date
    end: date


@dataclass(frozen=True, slots=True)
class DayReport:
    """How one day stands after a pass."""

    day: date
    state: DayState
    rows: int
    expected: int
    source: str  # the sources of its rows, best first, joined by `+`
    asked: bool  # whether this pass asked for it
    requests: int = 0
    seconds: float = 0.0
    attempts: int = 0  # how often it was asked for, all passes together
    failovers: str = ""  # why a better source did not serve it
    set_aside: tuple[tuple[str, int], ...] = ()

    @property
    def is_settled(self) -> bool:
        """Whether the day needs no repair."""
        return not self.state.is_gap


@dataclass(frozen=True, slots=True)
class SeriesReport:
    """How all days of a job stand after a pass; `error` says why the pass broke off, if it did."""

    series: Series
    days: tuple[DayReport, ...]
    seconds: float
    bytes_written: int = 0
    error: str = ""

    @property
    def short(self) -> tuple[DayReport, ...]:
        """The days that still need repair."""
        return tuple(day for day in self.days if not day.is_settled)

    @property
    def is_whole(self) -> bool:
        """Whether every day asked for is settled."""
        return not self.error and not self.short


@dataclass(slots=True)
class _Progress:
    """What has come back of one job's files."""

    job: Job
    open_files: int
    days: list[DayReport] = field(default_factory=list)
    started: float = field(default_factory=time.monotonic)
    bytes_written: int = 0
    errors: list[str] = field(default_factory=list)

    def report(self) -> SeriesReport:
        return SeriesReport(
            self.job.series,
            tuple(sorted(self.days, key=lambda report: report.day)),
            time.monotonic() - self.started,
            self.bytes_written,
            "; ".join(dict.fromkeys(self.errors)),
        )


OnDays = Callable[[Series, Sequence[DayReport]], None]


def ingest(
    lake: Lake,
    jobs: Iterable[Job],
    *,
    threads: int,
    stop: threading.Event,
    on_days: OnDays,
) -> Iterator[SeriesReport]:
    """Fill the gaps of each job's days and yield a report a series, as each is done.

    Args:
        lake: Where rows are kept; what it has already is not asked for.
        jobs: What is wanted. Days that are not closed at the exchange are left out.
        threads: How many files of the lake are worked on at once.
        stop: Set from another thread to end early: files in work are finished, no other begun.
        on_days: Called from the calling thread after each file, with the days it holds.

    A file that fails is reported in its series' `error`; the others go on. An exception raised into
    the caller, as by a signal, ends it as `stop` does.
    """
    with ThreadPoolExecutor(threads, thread_name_prefix="ingest") as pool:
        running: dict[Future[_FileResult], _Progress] = {}
        try:
            waiting = _file_works(jobs)
            for progress, work in waiting:
                if work is None:
                    yield progress.report()
                    continue
                running[pool.submit(_fill_file, lake, work, stop)] = progress
                if len(running) >= threads * 2:
                    yield from _collect(running, on_days)
            while running:
                yield from _collect(running, on_days)
        except BaseException:
            _finish_work(running, on_days)
            raise


@dataclass(frozen=True, slots=True)
class _FileWork:
    job: Job
    period: str
    days: tuple[date, ...]
    learn_lives: bool


@dataclass(frozen=True, slots=True)
class _FileResult:
    days: tuple[DayReport, ...] = ()
    bytes_written: int = 0
    error: str = ""


def _file_works(jobs: Iterable[Job]) -> Iterator[tuple[_Progress, _FileWork | None]]:
    """Yield the files to work on; None once for a job that has no closed day."""
    for job in jobs:
        end = min(job.end, closed_end(job.series.interval, job.chain.now_ms()))
        files = periods_of(job.series.interval, days_in(job.first, end))
        progress = _Progress(job, len(files))
        if not files:
            yield progress, None
        for period, days in files.items():
            long = (end - job.first).days > ASK_LISTING_FROM_DAYS
            yield progress, _FileWork(job, period, tuple(days), long)


def _collect(
    running: dict[Future[_FileResult], _Progress], on_days: OnDays
) -> Iterator[SeriesReport]:
    """Wait for a file to be done; yield the report of each series that is complete by it."""
    # Woken now and then so that a signal is handled while nothing comes back.
    done, _ = wait(running, timeout=0.5, return_when=FIRST_COMPLETED)
    for future in done:
        progress = running.pop(future)
        result = future.result()
        progress.days.extend(result.days)
        progress.bytes_written += result.bytes_written
        # What a file took is given back at once, else every thread keeps its largest for good.
        pa.default_memory_pool().release_unused()
        progress.open_files -= 1
        if result.error:
            progress.errors.append(result.error)
        on_days(progress.job.series, result.days)
        if not progress.open_files:
            yield progress.report()


def _finish_work(running: dict[Future[_FileResult], _Progress], on_days: OnDays) -> None:
    """Begin no further file, and tell of those that were in work."""
    begun = [future for future in running if not future.cancel()]
    if begun:
        log.warning("stopping: %d files in work are finished first", len(begun))
    for future in wait(begun).done:
        on_days(running[future].job.series, future.result().days)


def _fill_file(lake: Lake, work: _FileWork, stop: threading.Event) -> _FileResult:
    if stop.is_set():
        return _FileResult(error="stopped before it was begun")
    series = work.job.series
    try:
        return _fill_days(lake, work)
    except CryptoDataError as error:
        log.warning("%s %s: %s", series, work.period, error)
        return _FileResult(error=str(error))


def _fill_days(lake: Lake, work: _FileWork) -> _FileResult:
    series, chain = work.job.series, work.job.chain
    known = lake.period_ledger(series, work.period)
    gaps = find_wanted(series, work.days, known, chain)
    if not gaps:
        return _FileResult(report_days(series, work.days, known, chain))
    if work.learn_lives:
        chain.learn_lives(series)
    harvest = chain.fill(series, gaps)
    commit = lake.commit(series, work.period, harvest)
    return _FileResult(
        report_days(series, work.days, commit.ledger, chain, harvest), commit.bytes_written
    )


def find_wanted(
    series: Series, days: Iterable[date], known: Ledger, chain: FailoverChain
) -> list[TimeRange]:
    """Return the open times that are to be asked for: those of the partial and missing days."""
    wanted: list[TimeRange] = []
    for day in days:
        facts = known.get(day)
        if _state(series, day, facts, chain).is_gap:
            wanted.extend(wanted_ranges(facts, series.interval, day))
    return merge_ranges(wanted)


def _state(series: Series, day: date, facts: DayFacts | None, chain: FailoverChain) -> DayState:
    return day_state(
        facts, series.interval, day, best_source=chain.ranking[0], now_ms=chain.now_ms()
    )


def report_days(
    series: Series,
    days: Iterable[date],
    ledger: Ledger,
    chain: FailoverChain,
    harvest: Harvest | None = None,
) -> tuple[DayReport, ...]:
    """Return how each day stands by the ledger, with what this pass's harvest did for it."""
    asked_days = harvest.days if harvest else {}
    return tuple(
        _report_day(series, day, ledger.get(day), chain, asked_days.get(day)) for day in days
    )


def _report_day(
    series: Series,
    day: date,
    facts: DayFacts | None,
    chain: FailoverChain,
    asked: AskedDay | None,
) -> DayReport:
    known = facts or DayFacts()
    state = _state(series, day, facts, chain)
    ranking = [*chain.ranking, *(source for source, _ in known.sources)]  # best first
    sources = sorted((source for source, _ in known.sources), key=ranking.index)
    as_wished = state is DayState.COMPLETE and sources == [chain.ranking[0]]
    return DayReport(
        day=day,
        state=state,
        rows=known.rows,
        expected=day_expected(facts, series.interval, day),
        source="+".join(sources),
        asked=asked is not None,
        requests=asked.requests if asked else 0,
        seconds=asked.seconds if asked else 0.0,
        attempts=known.attempts,
        failovers="" if as_wished or state is DayState.UNLISTED else known.reason,
        set_aside=known.set_aside,
    )
