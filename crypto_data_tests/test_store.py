"""Commits to the lake: what is stored, what is known of each day, and many writers at once."""

import multiprocessing
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import date, timedelta

import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.dataset as ds
import pytest
from filelock import FileLock

from crypto_data.coverage import DayFacts, DayState, SourceAnswer, absent_ranges, day_state
from crypto_data.errors import LakeBusy, LakeDamaged, LakeNotWritable
from crypto_data.harvest import AskedDay, Harvest, Offer
from crypto_data.intervals import DAY_MS, HOUR_MS, Interval, TimeRange
from crypto_data.lake import locking
from crypto_data.lake.layout import (
    find_parts,
    klines_glob,
    lock_path,
    part_path,
    quarantine_path,
    scratch_folder,
)
from crypto_data.lake.store import Lake
from crypto_data.partitions import day_range, day_start_ms, expected_opens
from crypto_data.schema import KLINES, TIME, fetched_table
from crypto_data.series import Market, Series

SERIES = Series("binance", Market.SPOT, "BTCUSDT", Interval.HOUR_1)
MONDAY, TUESDAY = date(2024, 3, 4), date(2024, 3, 5)
START = day_start_ms(MONDAY)
NOW = START + 60 * DAY_MS
RANKING = ("vision", "rest")
ALIVE = (TimeRange(0, 1 << 52),)


def fetched(opens_ms, price=1.0) -> pa.Table:
    micros = pa.array([t * 1000 for t in opens_ms], pa.int64()).cast(TIME)
    prices = pa.array(np.full(len(opens_ms), float(price)), pa.float64())
    plain = dict.fromkeys(("open", "high", "low", "close", "volume"), prices)
    return fetched_table({"open_time": micros, "close_time": micros, **plain})


def hours(*numbers, day=MONDAY) -> list[int]:
    return [day_start_ms(day) + n * HOUR_MS for n in numbers]


def harvest(*offers, days=(MONDAY,), lives=None, asked_ms=1000, bad=(), **asked) -> Harvest:
    """Return a harvest of `(source, open times, price)` offers."""
    return Harvest(
        ranking=RANKING,
        offers=tuple(
            Offer(source, RANKING.index(source), fetched(opens, price))
            for source, opens, price in offers
        ),
        days={day: AskedDay(**asked) for day in days},
        quarantined=tuple(bad),
        lives=lives,
        asked_ms=asked_ms,
    )


def whole(source="vision", price=1.0, day=MONDAY):
    return (source, expected_opens(SERIES.interval, day), price)


def state(facts, day=MONDAY) -> DayState:
    return day_state(facts, SERIES.interval, day, best_source="vision", now_ms=NOW)


def closes(lake, day=MONDAY) -> list[float]:
    return lake.read(SERIES, day_range(day))["close"].to_pylist()


def snapshot(lake) -> dict:
    return {
        str(path.relative_to(lake.root)): (path.stat().st_ino, path.stat().st_mtime_ns)
        for path in lake.root.rglob("*.parquet")
    }


def test_a_commit_is_read_back_with_what_is_known(tmp_path) -> None:
    """Rows, their source, and the day's facts come back from one file."""
    lake = Lake(tmp_path)
    answers = [SourceAnswer("vision", "served")]

    commit = lake.commit(
        SERIES, "2024", harvest(whole(), answers=answers, checksum="ab", address="u")
    )

    facts = DayFacts(
        rows=24,
        sources=(("vision", 24),),
        answers=tuple(answers),
        checksum="ab",
        address="u",
        attempts=1,
        asked_ms=1000,
        ingested_ms=1000,
    )
    assert commit.ledger == {MONDAY: facts} == lake.ledger(SERIES, [MONDAY, TUESDAY])
    rows = lake.read(SERIES, TimeRange(START, START + 2 * HOUR_MS))
    assert rows.schema == KLINES
    assert rows["source"].to_pylist() == ["vision"] * 2
    assert [part.path for part in find_parts(tmp_path)] == [part_path(tmp_path, SERIES, "2024")]


def test_an_empty_harvest_writes_nothing(tmp_path) -> None:
    """Without a day that was asked for the file is not touched, nor made."""
    lake = Lake(tmp_path)
    assert lake.commit(SERIES, "2024", harvest(days=())).bytes_written == 0
    assert snapshot(lake) == {}
    lake.commit(SERIES, "2024", harvest(whole()))
    before = snapshot(lake)

    assert lake.commit(SERIES, "2024", harvest(days=())).bytes_written == 0

    assert snapshot(lake) == before


def test_the_same_again_changes_only_what_was_asked(tmp_path) -> None:
    """A second pass counts as an attempt; rows, state and the time of ingestion stay."""
    lake = Lake(tmp_path)
    same = harvest(whole("rest"), ("vision", hours(3), 2.0))
    first = lake.commit(SERIES, "2024", same).ledger[MONDAY]

    again = lake.commit(
        SERIES, "2024", harvest(whole("rest"), ("vision", hours(3), 2.0), asked_ms=2000)
    ).ledger[MONDAY]

    assert (again.attempts, again.asked_ms, again.ingested_ms) == (2, 2000, 1000)
    assert again.sources == first.sources == (("vision", 1), ("rest", 23))
    assert closes(lake).count(2.0) == 1


def test_days_of_one_file_do_not_disturb_each_other(tmp_path) -> None:
    """A commit for Tuesday leaves Monday's rows and facts as they are."""
    lake = Lake(tmp_path)
    monday = lake.commit(SERIES, "2024", harvest(whole())).ledger[MONDAY]

    ledger = lake.commit(
        SERIES, "2024", harvest(whole("rest", 2.0, TUESDAY), days=(TUESDAY,), asked_ms=5)
    ).ledger

    assert ledger[MONDAY] == monday
    assert ledger[TUESDAY].sources == (("rest", 24),)
    assert (closes(lake), closes(lake, TUESDAY)) == ([1.0] * 24, [2.0] * 24)


def test_a_worse_source_never_overwrites_a_better_one(tmp_path) -> None:
    """Over two commits the better source's rows stand and the worse fills the holes."""
    lake = Lake(tmp_path)
    lake.commit(SERIES, "2024", harvest(("vision", hours(*range(20)), 1.0)))

    lake.commit(SERIES, "2024", harvest(whole("rest", 2.0)))

    assert closes(lake) == [1.0] * 20 + [2.0] * 4


def test_what_is_all_of_a_day_takes_the_place_of_all(tmp_path) -> None:
    """A bar that can no longer be made goes, the old file is kept; the next day stays."""
    lake = Lake(tmp_path)
    lake.commit(SERIES, "2024", harvest(whole(), whole(day=TUESDAY), days=(MONDAY, TUESDAY)))

    commit = lake.commit(SERIES, "2024", harvest(("vision", hours(1, 2), 1.0), is_all=True))

    assert (len(closes(lake)), len(closes(lake, TUESDAY))) == (2, 24)
    [correction] = commit.corrections
    assert (correction.day, (tmp_path / correction.superseded).exists()) == (MONDAY, True)


def test_doubtful_rows_give_way_at_the_next_commit(tmp_path) -> None:
    """Rows of an archive in doubt are replaced by a worse source's, and the doubt ends."""
    lake = Lake(tmp_path)
    doubtful = lake.commit(SERIES, "2024", harvest(whole(), doubtful=True)).ledger[MONDAY]
    assert doubtful.doubtful

    settled = lake.commit(SERIES, "2024", harvest(whole("rest", 2.0))).ledger[MONDAY]

    assert not settled.doubtful
    assert closes(lake) == [2.0] * 24


HALF = ("vision", hours(*range(12)), 1.0)


@pytest.mark.parametrize(
    ("passes", "expected"),
    [
        pytest.param([harvest()], "missing", id="nothing-came"),
        pytest.param([harvest(HALF)], "partial", id="half"),
        pytest.param([harvest(HALF, lives=ALIVE)], "partial", id="half-not-all-asked"),
        pytest.param([harvest(HALF, lives=ALIVE, conclusive=True)], "explained", id="explained"),
        pytest.param([harvest(lives=ALIVE, conclusive=True)], "explained", id="explained-empty"),
        pytest.param([harvest(lives=())], "unlisted", id="unlisted-and-not-asked"),
        pytest.param([harvest(lives=(), conclusive=True)], "unlisted", id="unlisted"),
        pytest.param([harvest(), harvest(lives=())], "unlisted", id="missing-then-unlisted"),
        pytest.param([harvest(lives=()), harvest()], "unlisted", id="unlisted-then-unknown"),
        pytest.param(
            [harvest(HALF, lives=ALIVE, conclusive=True), harvest()],
            "explained",
            id="explained-then-down",
        ),
        pytest.param([harvest(HALF), harvest(whole("rest"))], "complete", id="filled"),
    ],
)
def test_what_is_known_of_a_day_survives_the_next_pass(tmp_path, passes, expected) -> None:
    """A pass that learns nothing takes nothing away; one that learns is believed."""
    lake = Lake(tmp_path)

    for number, one in enumerate(passes):
        facts = lake.commit(SERIES, "2024", one).ledger[MONDAY]
        assert facts.attempts == number + 1

    assert state(lake.ledger(SERIES, [MONDAY])[MONDAY]) == expected


LISTED = START + 8 * HOUR_MS
LIFE = (TimeRange(LISTED, 1 << 52),)


def test_a_listing_day_expects_its_own_hours(tmp_path) -> None:
    """Hours before the first kline are unlisted, not absent, and stay so when a hole is filled."""
    lake = Lake(tmp_path)
    first = harvest(("rest", hours(*range(8, 20)), 1.0), lives=LIFE)
    facts = lake.commit(SERIES, "2024", first).ledger[MONDAY]
    assert (facts.unlisted_rows, state(facts)) == (8, "partial")
    assert facts.absent == (TimeRange(START + 20 * HOUR_MS, START + DAY_MS),)

    # All that was wanted comes, so nobody asks when the symbol was listed.
    filled = lake.commit(SERIES, "2024", harvest(("rest", hours(20, 21, 22, 23), 1.0)))

    facts = filled.ledger[MONDAY]
    assert (facts.unlisted_rows, facts.absent, state(facts)) == (8, (), "complete")


def test_a_listing_day_that_stays_empty_lacks_only_its_own_hours(tmp_path) -> None:
    """What is wanted of it, and its gap, begin with the listing."""
    facts = Lake(tmp_path).commit(SERIES, "2024", harvest(lives=LIFE)).ledger[MONDAY]

    assert (facts.unlisted_rows, state(facts)) == (8, "missing")
    assert absent_ranges(facts, SERIES.interval, MONDAY) == [TimeRange(LISTED, START + DAY_MS)]


def test_a_life_that_becomes_known_settles_an_old_day(tmp_path) -> None:
    """A partial day whose absent hours turn out to lie before the listing is complete."""
    lake = Lake(tmp_path)
    lake.commit(SERIES, "2024", harvest(("rest", hours(*range(8, 24)), 1.0)))

    facts = lake.commit(SERIES, "2024", harvest(lives=LIFE)).ledger[MONDAY]

    assert (state(facts), facts.rows, facts.unlisted_rows) == ("complete", 16, 8)


def test_rows_beside_the_grid_are_kept_and_counted_apart(tmp_path) -> None:
    """The odd hours of February 2018 are stored, and the hours of the grid are still absent."""
    day = date(2018, 2, 10)
    odd = [t + 28 * 60_000 + 14_789 for t in expected_opens(SERIES.interval, day)][:-1]

    facts = (
        Lake(tmp_path)
        .commit(
            SERIES, "2018", harvest(("vision", odd, 1.0), days=(day,), lives=ALIVE, conclusive=True)
        )
        .ledger[day]
    )

    assert (facts.rows, facts.off_grid, facts.sources) == (0, 23, (("vision", 23),))
    assert state(facts, day) == "explained"


def test_bad_rows_wait_in_quarantine_once(tmp_path) -> None:
    """They are written beside the lake, not into it, and not again when they come again."""
    lake = Lake(tmp_path)
    bad = fetched(hours(3)).append_column("rule", pa.array(["high_is_highest"]))

    lake.commit(SERIES, "2024", harvest(HALF, bad=[bad], set_aside={"high_is_highest": 1}))
    aside = quarantine_path(tmp_path, SERIES, "2024")
    written = aside.stat().st_mtime_ns
    facts = lake.commit(SERIES, "2024", harvest(bad=[bad], set_aside={"high_is_highest": 1}))

    assert pd.read_parquet(aside, partitioning=None)["rule"].tolist() == ["high_is_highest"]
    assert aside.stat().st_mtime_ns == written
    assert facts.ledger[MONDAY].set_aside == (("high_is_highest", 1),)
    assert [part.path for part in find_parts(tmp_path)] == [part_path(tmp_path, SERIES, "2024")]


def test_leftovers_of_killed_writers_are_swept(tmp_path) -> None:
    """The next commit of a file removes what earlier ones left of it, and of no other."""
    lake = Lake(tmp_path)
    lake.commit(SERIES, "2024", harvest(whole()))
    folder = scratch_folder(part_path(tmp_path, SERIES, "2024"))
    aside = quarantine_path(tmp_path, SERIES, "2024").parent
    aside.mkdir(parents=True)
    for place in (folder, aside):
        (place / ".2024.parquet.4711.tmp").write_bytes(b"PAR1")
        (place / ".2025.parquet.4711.tmp").write_bytes(b"PAR1")

    lake.commit(SERIES, "2024", harvest(whole("vision", 2.0)))

    assert [name for name in sorted(os.listdir(folder)) if "tmp" in name] == [  # noqa: PTH208
        ".2025.parquet.4711.tmp"
    ]
    assert os.listdir(aside) == [".2025.parquet.4711.tmp"]  # noqa: PTH208


def test_no_unfinished_file_ever_lies_among_the_klines(tmp_path) -> None:
    """A reader of the whole folder, as Polars, meets nothing but Parquet, whoever was killed."""
    lake = Lake(tmp_path)
    lake.commit(SERIES, "2024", harvest(whole()))
    scratch = scratch_folder(part_path(tmp_path, SERIES, "2024"))
    (scratch / ".2024.parquet.4711.tmp").write_bytes(b"PAR1 half")

    assert pl.scan_parquet(tmp_path / "klines").collect().height == 24
    assert scratch.is_relative_to(tmp_path / "_scratch")


def test_a_damaged_file_is_left_as_it_is(tmp_path) -> None:
    """A commit never replaces what it could not read."""
    path = part_path(tmp_path, SERIES, "2024")
    path.parent.mkdir(parents=True)
    path.write_bytes(b"PAR1 torn")

    with pytest.raises(LakeDamaged, match=r"2024\.parquet"):
        Lake(tmp_path).commit(SERIES, "2024", harvest(whole()))

    assert path.read_bytes() == b"PAR1 torn"


@pytest.mark.parametrize("folder", ["klines", "_locks", "_quarantine"])
def test_a_file_where_a_folder_should_be_is_an_error_of_the_lake(tmp_path, folder) -> None:
    """What the operating system refuses is told as the lake's, with its path."""
    (tmp_path / folder).write_bytes(b"")
    bad = fetched(hours(3)).append_column("rule", pa.array(["high_is_highest"]))

    with pytest.raises((LakeNotWritable, LakeDamaged), match=folder):
        Lake(tmp_path).commit(SERIES, "2024", harvest(whole(), bad=[bad]))


def test_a_file_that_is_held_too_long_is_told(tmp_path, monkeypatch) -> None:
    """The message names the lock; nothing is written."""
    monkeypatch.setattr(locking, "LOCK_SECONDS", 0.05)
    lock = lock_path(tmp_path, SERIES, "2024")
    lock.parent.mkdir(parents=True)

    with FileLock(lock), pytest.raises(LakeBusy, match="run the command again"):
        Lake(tmp_path).commit(SERIES, "2024", harvest(whole()))

    assert snapshot(Lake(tmp_path)) == {}


def days_from(first, count) -> list[date]:
    return [first + timedelta(days=n) for n in range(count)]


def commit_days(root, source, days, price) -> None:
    """Commit each day on its own; run in threads and in spawned processes."""
    lake = Lake(root)
    for day in days:
        lake.commit(SERIES, "2024", harvest(whole(source, price, day), days=(day,)))


def assert_nothing_is_lost(lake, days) -> None:
    ledger = lake.ledger(SERIES, days)
    assert [ledger[day].rows for day in days] == [24] * len(days)
    rows = lake.read(SERIES, TimeRange(day_start_ms(days[0]), day_start_ms(days[-1]) + DAY_MS))
    assert rows.num_rows == 24 * len(days)


def test_threads_that_commit_into_one_file_lose_nothing(tmp_path) -> None:
    """Disjoint days of one file, committed side by side, are all there."""
    days = days_from(MONDAY, 24)

    with ThreadPoolExecutor(6) as pool:
        works = [pool.submit(commit_days, tmp_path, "rest", days[n::6], 1.0) for n in range(6)]
        for work in works:
            work.result()

    assert_nothing_is_lost(Lake(tmp_path), days)


def test_processes_that_commit_overlapping_days_lose_nothing(tmp_path) -> None:
    """Three processes, two sources, the same file: all days are there, the best source stands."""
    days = days_from(MONDAY, 15)
    spawn = multiprocessing.get_context("spawn")
    works = [
        spawn.Process(target=commit_days, args=(tmp_path, source, part, price))
        for source, part, price in (
            ("rest", days[:10], 2.0),
            ("vision", days[5:], 1.0),
            ("rest", days[::-1], 2.0),
        )
    ]
    for work in works:
        work.start()
    for work in works:
        work.join(60)

    assert [work.exitcode for work in works] == [0, 0, 0]
    lake = Lake(tmp_path)
    assert_nothing_is_lost(lake, days)
    ledger = lake.ledger(SERIES, days)
    assert [ledger[day].sources for day in days] == [(("rest", 24),)] * 5 + [(("vision", 24),)] * 10
    assert [ledger[day].attempts for day in days] == [2] * 5 + [3] * 5 + [2] * 5


READERS = {
    "duckdb": lambda glob, _path: (
        duckdb.connect()
        .execute(f"SELECT min(close), max(close), count(*) FROM read_parquet('{glob}')")
        .fetchone()
    ),
    "polars": lambda glob, _path: _polars_extremes(glob),
    "pyarrow": lambda _glob, path: _extremes(ds.dataset(path, format="parquet").to_table()),
    "lake": lambda _glob, path: _extremes(
        Lake(path.parents[5]).read(SERIES, TimeRange(0, 1 << 52))
    ),
}


def _polars_extremes(glob) -> tuple:
    """Return what polars reads; it opens a path twice, and says so when the two differ."""
    for _ in range(5):
        try:
            return (
                pl.scan_parquet(glob, hive_partitioning=True)
                .select(a=pl.col("close").min(), b=pl.col("close").max(), n=pl.len())
                .collect()
                .row(0)
            )
        except pl.exceptions.ComputeError:
            continue
    raise AssertionError("five reads in a row fell between two commits")


def _extremes(rows) -> tuple:
    prices = rows["close"].to_numpy()
    return prices.min(), prices.max(), len(prices)


@pytest.mark.parametrize("reader", READERS)
def test_readers_see_one_commit_or_the_next(tmp_path, reader) -> None:
    """While a file is replaced all the time every read is of one version, never older ones."""
    lake = Lake(tmp_path)
    days = days_from(MONDAY, 5)
    committed = [0]
    stop = threading.Event()

    def write() -> None:
        price = 0
        while not stop.is_set():
            price += 1
            offers = [whole("rest", price, day) for day in days]
            lake.commit(SERIES, "2024", harvest(*offers, days=days))
            committed[0] = price

    writer = threading.Thread(target=write)
    writer.start()
    while not committed[0]:
        time.sleep(0.01)
    read = READERS[reader]
    glob, path = klines_glob(tmp_path), part_path(tmp_path, SERIES, "2024")
    reads, wrong = 0, []
    try:
        until = time.monotonic() + 1.0
        while time.monotonic() < until:
            floor = committed[0]
            low, high, count = read(glob, path)
            reads += 1
            if not (low == high >= floor and count == 24 * len(days)):
                wrong.append((floor, low, high, count))
    finally:
        stop.set()
        writer.join()

    assert (wrong, reads > 3, committed[0] > 3) == ([], True, True)


MIXED = [
    Series("binance", Market.SPOT, "币安人生USDT", Interval.HOUR_1),
    Series("binance", Market.UM, "1000PEPEUSDT", Interval.HOUR_1),
    Series("binance", Market.CM, "BTCUSD_PERP", Interval.HOUR_1),
    Series("kraken", Market.SPOT, "BTC/USD", Interval.HOUR_1),
    Series("okx", Market.UM, "BTC/USDT:USDT", Interval.HOUR_1),
]


def mixed_lake(root) -> Lake:
    lake = Lake(root)
    for series in MIXED:
        lake.commit(series, "2024", harvest(whole("rest")))
    lake.commit(MIXED[2], "2023", harvest(days=(date(2023, 12, 31),)))  # a file without rows
    return lake


GLOBS = {
    "duckdb": lambda root: (
        duckdb.connect()
        .sql(
            "SELECT market, symbol, interval, count(*) FROM "
            f"read_parquet('{klines_glob(root)}', hive_partitioning = true) GROUP BY ALL"
        )
        .fetchall()
    ),
    "polars": lambda root: (
        pl.scan_parquet(klines_glob(root), hive_partitioning=True)
        .group_by("market", "symbol", "interval")
        .len()
        .collect()
        .rows()
    ),
    "pandas": lambda root: [
        (*key, count)
        for key, count in pd.read_parquet(root / "klines")
        .groupby(["market", "symbol", "interval"], observed=True)
        .size()
        .items()
    ],
    "pyarrow": lambda root: [
        tuple(row.values())
        for row in ds.dataset(root / "klines", partitioning="hive")
        .to_table()
        .group_by(["market", "symbol", "interval"])
        .aggregate([([], "count_all")])
        .to_pylist()
    ],
}


@pytest.mark.parametrize("engine", GLOBS)
def test_one_glob_reads_all_markets(tmp_path, engine) -> None:
    """Every market, Chinese symbols and ccxt's, a file without rows: one statement."""
    mixed_lake(tmp_path)

    assert sorted(GLOBS[engine](tmp_path)) == sorted(
        (str(one.market), one.symbol, "1h", 24) for one in MIXED
    )
    assert {part.series for part in find_parts(tmp_path)} == set(MIXED)


def test_reading_a_range_crosses_files(tmp_path) -> None:
    """Rows of two months come sorted, each once; a range without files is empty and typed."""
    series = Series("binance", Market.SPOT, "BTCUSDT", Interval.MINUTE_5)
    lake = Lake(tmp_path)
    for day, source in ((date(2024, 2, 29), "vision"), (date(2024, 3, 1), "rest")):
        opens = expected_opens(series.interval, day)
        lake.commit(series, f"{day:%Y-%m}", harvest((source, opens, 1.0), days=(day,)))
    midnight = day_start_ms(date(2024, 3, 1))

    rows = lake.read(series, TimeRange(midnight - HOUR_MS, midnight + HOUR_MS))

    opens = rows["open_time"].to_pylist()
    assert (len(opens), opens) == (24, sorted(set(opens)))
    assert rows["source"].to_pylist() == ["vision"] * 12 + ["rest"] * 12
    assert lake.read(series, TimeRange(0, 1000)).schema == KLINES
