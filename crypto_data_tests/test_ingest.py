"""The main use case: gaps are asked for, once, and a file that fails does not stop the others."""

import threading
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta

import numpy as np
import pyarrow as pa
import pytest

from crypto_data.errors import Unreachable
from crypto_data.harvest import Aim
from crypto_data.ingest import Job, ingest
from crypto_data.intervals import HOUR_MS, MINUTE_MS, Interval, TimeRange
from crypto_data.lake.layout import part_path, quarantine_path
from crypto_data.lake.set_aside import read_set_aside
from crypto_data.lake.store import Lake
from crypto_data.partitions import day_range, day_start_ms, days_touched, expected_opens
from crypto_data.schema import TIME, fetched_table
from crypto_data.series import Market, Series
from crypto_data.sources.base import Answer, Lifetime, Outcome
from crypto_data.sources.failover import FailoverChain

BTC = Series("binance", Market.SPOT, "BTCUSDT", Interval.HOUR_1)
MINUTES = Series("binance", Market.SPOT, "BTCUSDT", Interval.MINUTE_5)
FIRST = date(2024, 3, 4)


def ms(*moment) -> int:
    return int(datetime(*moment, tzinfo=UTC).timestamp()) * 1000


NOW = ms(2024, 6, 1)


def day(number, first=FIRST) -> date:
    return first + timedelta(days=number)


def fetched(opens_ms, price) -> pa.Table:
    micros = pa.array([t * 1000 for t in opens_ms], pa.int64()).cast(TIME)
    prices = pa.array(np.full(len(opens_ms), float(price)))
    plain = dict.fromkeys(("open", "high", "low", "close", "volume"), prices)
    return fetched_table({"open_time": micros, "close_time": micros, **plain})


@dataclass
class MarketSource:
    """Has every kline from `listed` on, but those in `holes`; counts what it was asked for."""

    name: str
    price: float = 1.0
    listed: date = date(2020, 1, 1)
    holes: set = field(default_factory=set)  # open times it lacks
    down: set = field(default_factory=set)  # days on which it does not answer
    asked: list = field(default_factory=list)
    on_fetch: object = None

    def fetch(self, series, gaps):
        self.asked.append((series, list(gaps)))
        if self.on_fetch:
            self.on_fetch()
        for one in days_touched(gaps):
            if one in self.down:
                yield Answer(self.name, (one,), Outcome.DOWN, "timeout")
                continue
            opens = [t for t in expected_opens(series.interval, one) if t not in self.holes]
            if one < self.listed or not opens:
                yield Answer(self.name, (one,), Outcome.NOTHING)
            else:
                yield Answer(self.name, (one,), Outcome.SERVED, rows=fetched(opens, self.price))

    def lifetime(self, _series):
        return Lifetime(day_start_ms(self.listed))


def job(*sources, series=BTC, days=3, first=FIRST, now_ms=NOW) -> Job:
    return Job(series, FailoverChain(sources, lambda: now_ms), first, day(days, first))


def run(root, *jobs, threads=2, stop=None, told=None):
    seen = told if told is not None else []
    return list(
        ingest(
            Lake(root),
            jobs,
            threads=threads,
            stop=stop or threading.Event(),
            on_days=lambda series, days: seen.append((series, len(days))),
        )
    )


def test_a_second_run_asks_nothing(tmp_path) -> None:
    """What is complete or explained is never asked for again; the report is the same."""
    hole = day_start_ms(day(1)) + 3 * HOUR_MS
    source = MarketSource("rest", holes={hole})
    [first] = run(tmp_path, job(source))

    [second] = run(tmp_path, job(source))

    assert len(source.asked) == 1
    assert first.is_whole
    assert second.is_whole
    assert [str(one.state) for one in first.days] == ["complete", "explained", "complete"]
    assert [(d.state, d.rows) for d in second.days] == [(d.state, d.rows) for d in first.days]
    assert [d.asked for d in first.days + second.days] == [True] * 3 + [False] * 3
    assert second.bytes_written == 0


def test_a_second_run_asks_only_for_what_is_missing(tmp_path) -> None:
    """After a day that failed only this day is wanted, and its state is healed."""
    source = MarketSource("rest", down={day(1)})
    [first] = run(tmp_path, job(source))
    assert [(one.day, str(one.state), one.failovers) for one in first.short] == [
        (day(1), "missing", "rest: timeout")
    ]
    assert not first.is_whole

    source.down.clear()
    [second] = run(tmp_path, job(source))

    assert source.asked[1][1] == [day_range(day(1))]
    assert second.is_whole
    assert [one.attempts for one in second.days] == [1, 2, 1]


def test_days_that_are_not_over_are_left_out(tmp_path) -> None:
    """Today is neither asked for nor reported, and a job without closed days is reported empty."""
    source = MarketSource("rest")

    reports = run(
        tmp_path,
        job(source, days=5, now_ms=ms(2024, 3, 6, 12)),
        job(source, first=date(2024, 3, 6), now_ms=ms(2024, 3, 6, 12)),
    )

    assert sorted(len(report.days) for report in reports) == [0, 2]
    assert source.asked == [(BTC, [TimeRange(ms(2024, 3, 4), ms(2024, 3, 6))])]
    assert all(report.is_whole for report in reports)


def test_a_weekly_bar_that_is_open_is_left_out(tmp_path) -> None:
    """The week of the clock is not asked for; the weeks before are, on their Mondays alone."""
    weekly = Series("binance", Market.SPOT, "BTCUSDT", Interval.WEEK_1)
    source = MarketSource("rest", down={date(2024, 3, 11)})

    [report] = run(tmp_path, job(source, series=weekly, days=30, now_ms=ms(2024, 3, 20)))

    assert source.asked[0][1] == [day_range(FIRST), day_range(date(2024, 3, 11))]
    assert [one.day for one in report.short] == [date(2024, 3, 11)]
    assert (len(report.days), sum(one.rows for one in report.days)) == (14, 1)


def test_a_year_of_several_sources_stands_in_one_file(tmp_path) -> None:
    """366 days of hours: the best source's, the second's where it lacks, and outages explained."""
    outage = set(expected_opens(BTC.interval, date(2024, 6, 1)))
    archive_lacks = {
        t for n in range(5) for t in expected_opens(BTC.interval, date(2024, 2, 1 + n))
    }
    best = MarketSource("vision", 1.0, holes=outage | archive_lacks)
    second = MarketSource("rest", 2.0, holes=outage)
    year = job(best, second, days=366, first=date(2024, 1, 1), now_ms=ms(2025, 6, 1))

    [report] = run(tmp_path, year)

    assert part_path(tmp_path, BTC, "2024").is_file()
    assert len(report.days) == 366
    states = [str(one.state) for one in report.days]
    assert (states.count("complete"), states.count("explained")) == (365, 1)
    by_source = [one.source for one in report.days]
    assert (by_source.count("vision"), by_source.count("rest")) == (360, 5)
    assert [gap for _, gaps in second.asked for gap in gaps] == [
        TimeRange(ms(2024, 2, 1), ms(2024, 2, 6)),
        TimeRange(ms(2024, 6, 1), ms(2024, 6, 2)),
    ]


def test_days_before_the_listing_are_unlisted_and_not_asked_for(tmp_path) -> None:
    """A long job asks for the listing first; its own day counts from the first kline."""
    listed = date(2024, 4, 1)
    source = MarketSource("rest", listed=listed)

    [report] = run(tmp_path, job(source, days=60))

    assert report.is_whole
    states = {one.day: str(one.state) for one in report.days}
    assert [states[d] for d in (FIRST, day(27), listed)] == ["unlisted", "unlisted", "complete"]
    assert source.asked[0][1][0].start_ms == day_start_ms(listed)

    run(tmp_path, job(source, days=60))
    assert len(source.asked) == 1


def test_a_short_job_before_the_listing_is_unlisted_after_it_was_asked(tmp_path) -> None:
    """Days nobody has, before the first kline anywhere, are not missing for ever."""
    source = MarketSource("rest", listed=date(2024, 4, 1))

    [report] = run(tmp_path, job(source))

    assert {str(one.state) for one in report.days} == {"unlisted"}
    assert report.is_whole


def test_a_file_that_cannot_be_opened_is_reported_and_the_others_go_on(tmp_path) -> None:
    """What the system refuses is no damage: it is left, costs one month, and its series says so."""
    path = part_path(tmp_path, MINUTES, "2024-03")
    path.parent.mkdir(parents=True)
    path.symlink_to(path)  # refused for every user, as a missing permission is not
    source = MarketSource("rest")

    reports = run(tmp_path, job(source, series=MINUTES, days=40), job(source), threads=1)

    by_series = {report.series: report for report in reports}
    assert path.is_symlink()
    assert by_series[BTC].is_whole
    assert not by_series[MINUTES].is_whole
    assert "2024-03.parquet" in by_series[MINUTES].error
    assert {one.day.month for one in by_series[MINUTES].days} == {4}
    assert len(by_series[MINUTES].days) == 12


@pytest.mark.parametrize("where", ["klines", "quarantine", "folder"])
def test_a_damaged_file_is_set_aside_and_fetched_anew(tmp_path, where, caplog) -> None:
    """Damage of one month is kept for a person to look at, said, and mended in the same pass."""
    path = part_path(tmp_path, MINUTES, "2024-03")
    if where == "folder":
        (path / "inside").mkdir(parents=True)
    else:
        spoiled = path if where == "klines" else quarantine_path(tmp_path, MINUTES, "2024-03")
        spoiled.parent.mkdir(parents=True)
        spoiled.write_bytes(b"PAR1 torn")
    source = MarketSource("rest")
    bad_rows = fetched(expected_opens(MINUTES.interval, FIRST), float("nan"))
    normal = source.fetch

    def fetch_with_bad_row(series, gaps):
        yield from normal(series, gaps)
        yield Answer("rest", (FIRST,), Outcome.SERVED, rows=bad_rows)

    source.fetch = fetch_with_bad_row

    [report] = run(tmp_path, job(source, series=MINUTES, days=40), threads=1)

    assert report.is_whole
    assert len(report.days) == 40
    assert [one.original.rpartition("/")[2] for one in read_set_aside(tmp_path)] == [
        "2024-03.parquet"
    ]
    assert "moved to _set_aside" in caplog.text


def flip_a_page(path) -> None:
    """Damage rows and leave the ledger whole."""
    content = bytearray(path.read_bytes())
    content[len(content) // 8] ^= 0xFF
    path.write_bytes(content)


def test_days_beside_the_wanted_ones_are_not_lost_with_a_damaged_file(tmp_path) -> None:
    """What the ledger of the damaged file knew of is fetched anew, and reported by no run."""
    run(tmp_path, job(MarketSource("rest"), days=9))
    flip_a_page(part_path(tmp_path, BTC, "2024"))

    [report] = run(tmp_path, job(MarketSource("rest"), first=day(8), days=2))

    assert report.is_whole
    assert [one.day for one in report.days] == [day(8), day(9)]
    assert len(read_set_aside(tmp_path)) == 1
    lake = Lake(tmp_path)
    assert [facts.rows for facts in lake.period_ledger(BTC, "2024").values()] == [24] * 10
    assert lake.read(BTC, TimeRange(day_start_ms(FIRST), NOW)).num_rows == 240


def test_revising_sets_a_damaged_file_aside_and_says_what_mends_it(tmp_path) -> None:
    """The archive alone cannot fill it: the pass ends short, and the days are missing."""
    source = MarketSource("vision")
    run(tmp_path, job(source))
    path = part_path(tmp_path, BTC, "2024")
    path.write_bytes(path.read_bytes()[:1000])

    [report] = run(tmp_path, replace(job(source), aim=Aim.REVISE))

    assert not report.is_whole
    assert "crypto-data repair" in report.error
    assert not path.exists()
    assert len(read_set_aside(tmp_path)) == 1
    assert len(source.asked) == 1


def test_mending_waits_longer_with_every_attempt_in_vain(tmp_path) -> None:
    """A gap is asked for after a quarter of an hour, then after half an hour, and not between."""
    source = MarketSource("rest", down={day(1)})
    asked = []
    for minutes in (0, 10, 16, 40, 47):
        now_ms = NOW + minutes * MINUTE_MS
        aim = Aim.FILL if not minutes else Aim.MEND
        [report] = run(tmp_path, replace(job(source, now_ms=now_ms), aim=aim))
        asked.append((minutes, [one.asked for one in report.days], report.is_whole))

    assert asked == [
        (0, [True, True, True], False),
        (10, [False, False, False], True),
        (16, [False, True, False], False),
        (40, [False, False, False], True),
        (47, [False, True, False], False),
    ]
    assert len(source.asked) == 3


def test_mending_asks_at_once_for_what_nobody_asked_for(tmp_path) -> None:
    """A day without a ledger entry has no wait to be over."""
    source = MarketSource("rest")

    [report] = run(tmp_path, replace(job(source), aim=Aim.MEND))

    assert report.is_whole
    assert all(one.asked for one in report.days)


def test_repairing_asks_the_best_source_last_and_believes_it_first(tmp_path) -> None:
    """Of a day without rows the second source is asked first; rows of the best are not replaced."""
    hole = day_start_ms(FIRST) + 3 * HOUR_MS
    best = MarketSource("vision", 1.0, holes={hole}, down={day(1)})
    other = MarketSource("rest", 2.0, down={FIRST, day(1)})
    run(tmp_path, job(best, other, days=2))
    best.asked.clear()
    best.down.clear()
    other.down.clear()

    [report] = run(tmp_path, replace(job(best, other, days=2), aim=Aim.REPAIR))

    assert report.is_whole
    assert [one.source for one in report.days] == ["vision+rest", "rest"]
    assert best.asked == []
    assert other.asked[-1][1] == [TimeRange(hole, hole + HOUR_MS), day_range(day(1))]


def test_repairing_asks_the_best_source_for_what_the_others_lack(tmp_path) -> None:
    """The best source is asked as well before a day is explained."""
    hole = day_start_ms(FIRST) + 3 * HOUR_MS
    best, other = MarketSource("vision"), MarketSource("rest", 2.0, holes={hole})

    [report] = run(tmp_path, replace(job(best, other, days=1), aim=Aim.REPAIR))

    assert best.asked == [(BTC, [TimeRange(hole, hole + HOUR_MS)])]
    assert report.days[0].source == "vision"  # it handed over the whole day, and is believed


def test_stop_finishes_what_is_begun_and_nothing_more(tmp_path) -> None:
    """Files in work are committed, the others say that they were not begun."""
    stop = threading.Event()
    source = MarketSource("rest", on_fetch=stop.set)

    [report] = run(
        tmp_path,
        job(source, series=MINUTES, days=90),
        threads=1,
        stop=stop,
    )

    assert len(source.asked) == 1
    assert "stopped" in report.error
    assert not report.is_whole
    assert {(one.day.month, str(one.state)) for one in report.days} == {(3, "complete")}


def test_an_interrupt_finishes_what_is_begun(tmp_path) -> None:
    """A signal raised in the caller leaves whole files and no thread behind."""
    source = MarketSource("rest")

    def interrupt(_series, _days):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(
            ingest(
                Lake(tmp_path),
                [job(source, series=MINUTES, days=300)],
                threads=1,
                stop=threading.Event(),
                on_days=interrupt,
            )
        )

    assert len(source.asked) < 10
    assert not [t for t in threading.enumerate() if t.name.startswith("ingest")]
    [report] = run(tmp_path, job(source, series=MINUTES, days=300))
    assert report.is_whole


def test_each_file_is_told_as_it_is_done(tmp_path) -> None:
    """Every day is told once, in the calling thread, before its series' report."""
    told = []

    reports = run(tmp_path, job(MarketSource("rest"), series=MINUTES, days=40), told=told)

    assert sorted(told) == [(MINUTES, 12), (MINUTES, 28)]
    assert [len(report.days) for report in reports] == [40]


def test_the_first_and_second_source_share_a_day(tmp_path) -> None:
    """The report names both sources and why the best did not serve all."""
    best = MarketSource("vision", holes={day_start_ms(FIRST)})
    other = MarketSource("rest", 2.0)

    [report] = run(tmp_path, job(best, other, days=1))

    [one] = report.days
    assert (one.source, one.rows, str(one.state)) == ("vision+rest", 24, "complete")


def test_sources_side_by_side_get_no_more_threads_than_asked_for(tmp_path) -> None:
    """At most `threads` files are worked on at once."""
    busy, most, lock = [0], [0], threading.Lock()
    barrier = threading.Event()

    def count() -> None:
        with lock:
            busy[0] += 1
            most[0] = max(most[0], busy[0])
        barrier.wait(0.05)
        with lock:
            busy[0] -= 1

    series = [Series("binance", Market.SPOT, f"S{n}USDT", Interval.HOUR_1) for n in range(8)]
    source = MarketSource("rest", on_fetch=count)

    reports = run(tmp_path, *(job(source, series=one, days=1) for one in series), threads=3)

    assert most[0] == 3
    assert {report.series for report in reports} == set(series)


def test_a_source_that_cannot_tell_the_listing_costs_no_day(tmp_path) -> None:
    """Days are asked for one by one when nobody can say when trading began."""
    source = MarketSource("rest")

    def fail(_series):
        raise Unreachable("rest", str(BTC), "timeout")

    source.lifetime = fail

    [report] = run(tmp_path, job(source, days=40))

    assert report.is_whole
    assert len(report.days) == 40
