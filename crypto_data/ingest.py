"""The main use case: fill, mend, repair and revise series through the failover chain.

Side by side in bounded threads, one file of the lake at a time, committed as it arrives. How a day
stands afterwards is told by `reports`; what Dagster shows of it belongs to `orchestration`, what
the terminal shows to `cli`.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field, replace
from datetime import date

import pyarrow as pa

from crypto_data.coverage import DayFacts, awaits_better, wanted_ranges
from crypto_data.endings import end_life
from crypto_data.errors import Closed, CryptoDataError, LakeDamaged
from crypto_data.exchanges import is_stand_in
from crypto_data.harvest import NOTHING_STOOD_IN, Aim, Chain, Harvest, Maker, StoodIn
from crypto_data.intervals import TimeRange, merge_ranges
from crypto_data.lake.ledger import Ledger
from crypto_data.lake.store import Lake
from crypto_data.partitions import closed_end, day_range, days_in, periods_of
from crypto_data.patience import is_due
from crypto_data.reports import DayReport, SeriesReport, report_days, state_of
from crypto_data.series import Series

# From this many days on, asking when a series was listed is cheaper than asking for each day
# before it.
ASK_LISTING_FROM_DAYS = 31

log = logging.getLogger("crypto_data.ingest")


@dataclass(frozen=True, slots=True)
class Job:
    """What is wanted of one series: a chain to ask, half-open days `[first, end)`, and why."""

    series: Series
    chain: Chain
    first: date
    end: date
    aim: Aim = Aim.FILL


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
    """Do what each job is for with its days, and yield a report a series, as each is done.

    Args:
        lake: Where rows are kept; what it has already is not asked for. A file of it that is
            damaged is set aside, and all its days that are known of are asked for anew.
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
    try:
        return _fill_sound_file(lake, work)
    except Closed as error:  # whoever closed the connections knows
        return _FileResult(error=str(error))
    except CryptoDataError as error:
        log.warning("%s %s: %s", work.job.series, work.period, error)
        return _FileResult(error=str(error))


def _fill_sound_file(lake: Lake, work: _FileWork) -> _FileResult:
    """Work on a file; if it turns out to be damaged, set it aside and begin anew without it."""
    job = work.job
    known: Ledger = {}
    try:
        known = lake.period_ledger(job.series, work.period)
        return _fill_days(lake, work, known)
    except LakeDamaged as error:
        moved = lake.set_aside_damaged(job.series, work.period, job.chain.now_ms())
        if moved is not None and job.aim is Aim.REVISE:
            return _FileResult(
                error=f"{error.path}: damaged, moved to {moved.kept}; its days are missing now. "
                "Run: crypto-data repair"
            )
    # Damage beside a ledger that could be read: what it knew of is asked for, wanted today or not.
    days = sorted({*work.days, *known})
    log.warning("%s %s: %d days are asked for anew", job.series, work.period, len(days))
    anew = replace(work, days=tuple(days))
    result = _fill_days(lake, anew, lake.period_ledger(job.series, work.period))
    return replace(result, days=tuple(one for one in result.days if one.day in work.days))


def _fill_days(lake: Lake, work: _FileWork, known: Ledger) -> _FileResult:
    job = work.job
    harvest = _harvest(work, known)
    if harvest is None:
        return _FileResult(report_days(job.series, work.days, known, job.chain))
    if not isinstance(job.chain, Maker) and job.aim is not Aim.REVISE:
        harvest = end_life(lake, job.series, harvest)
    commit = lake.commit(job.series, work.period, harvest)
    days = report_days(
        job.series,
        work.days,
        commit.ledger,
        job.chain,
        harvest=harvest,
        corrections=commit.corrections,
    )
    return _FileResult(days, commit.bytes_written)


def _harvest(work: _FileWork, known: Ledger) -> Harvest | None:
    """Ask the chain for what the job is about; None when there is nothing to ask for."""
    job, chain = work.job, work.job.chain
    if job.aim is Aim.REVISE:
        held = {day: known[day] for day in work.days if day in known}
        return chain.revise(job.series, work.period, held)
    gaps = find_wanted(job, work.days, known)
    stood_in = find_stood_in(job, work.days, known)
    if not gaps and not stood_in:
        return None
    if work.learn_lives:
        chain.learn_lives(job.series)
    return chain.fill(job.series, gaps, job.aim, stood_in)


def find_wanted(job: Job, days: Iterable[date], known: Ledger) -> list[TimeRange]:
    """Return the open times to be asked for: those of the partial and missing days.

    To mend, only those of days whose wait since they were last asked for is over.
    """
    if isinstance(job.chain, Maker):
        return job.chain.find_wanted(job.series, list(days), known, job.aim)
    wanted: list[TimeRange] = []
    for day in days:
        facts = known.get(day)
        if _is_wanted(job, day, facts):
            wanted.extend(wanted_ranges(facts, job.series.interval, day))
    return merge_ranges(wanted)


def find_stood_in(job: Job, days: Iterable[date], known: Ledger) -> StoodIn:
    """Return the days that a better source may have by now, by who stands in on them.

    To mend, only those of days whose wait since they were last asked for is over.
    """
    if isinstance(job.chain, Maker):
        return NOTHING_STOOD_IN
    best, now_ms = job.chain.ranking[0], job.chain.now_ms()
    stood_in: dict[str, list[TimeRange]] = {}
    for day in days:
        facts = known.get(day)
        is_open = awaits_better(facts, best) and (job.aim is not Aim.MEND or is_due(facts, now_ms))
        if facts is None or not is_open:
            continue
        for source, _ in facts.sources:
            if is_stand_in(source, best):
                stood_in.setdefault(source, []).append(day_range(day))
    return stood_in


def _is_wanted(job: Job, day: date, facts: DayFacts | None) -> bool:
    if not state_of(job.series, day, facts, job.chain).is_gap:
        return False
    return job.aim is not Aim.MEND or is_due(facts, job.chain.now_ms())
