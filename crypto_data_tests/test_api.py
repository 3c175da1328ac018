"""The Python API: klines read through the lake, from real configurations and a real exchange."""

import json
import logging
import os
import pickle
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta, timezone

import duckdb
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from crypto_data import (
    CryptoDataError,
    DataSourceError,
    OpenLake,
    UsageError,
    open_lake,
    to_pandas,
    to_polars,
)
from crypto_data.api.times import to_ms
from crypto_data.errors import CatalogError, Closed, LakeDamaged
from crypto_data.harvest import Aim
from crypto_data.lake.layout import klines_glob, part_path
from crypto_data.partitions import span_of_days
from crypto_data.sandbox.faults import Fault
from crypto_data.sandbox.symbols import instant
from crypto_data.schema import FETCHED, KLINES, epoch_ms
from crypto_data.series import Series

HOURS = Series.parse("binance/spot/BTCUSDT/1h")
START, END = date(2024, 1, 3), date(2024, 1, 6)
FEED = {"symbols": ["BTCUSDT", "ETHUSDT"], "intervals": ["1h", "1m"], "start": "2024-01-03"}
EVERYTHING = "*"


@pytest.fixture
def environ(desk, monkeypatch):
    """Keep this process's state beside the desk, as its commands do."""
    for name in ("XDG_STATE_HOME", "XDG_CONFIG_HOME", "HOME"):
        monkeypatch.setenv(name, desk.environ[name])
    monkeypatch.delenv("CRYPTO_DATA_CONFIG", raising=False)


@pytest.fixture
def lake(desk, environ):
    """Return the desk's lake, open: two symbols from 2024-01-03 on, nothing fetched yet."""
    del environ
    desk.configure(FEED | {"end": None})
    with open_lake(desk.config) as opened:
        yield opened


def truth(desk, series, start, end) -> pa.Table:
    """Return what the exchange traded, times in milliseconds."""
    return in_ms(desk.sandbox.klines(Series.parse(series), span_of_days(start, end)))


def in_ms(klines) -> pa.Table:
    rows = klines.select(FETCHED.names).cast(FETCHED)
    place = FETCHED.get_field_index("close_time")
    return rows.set_column(place, "close_time", epoch_ms(rows["close_time"])).combine_chunks()


def sources(klines) -> set[str]:
    return set(klines["source"].unique().to_pylist())


def test_the_first_and_the_second_call_give_the_same(desk, lake) -> None:
    """What the lake lacks is fetched and stored; the second call asks nobody and is equal."""
    first = lake.klines("BTCUSDT", "1h", START, END)
    asked = len(desk.asked("/"))

    second = lake.klines("BTCUSDT", "1h", START, END)

    assert asked > 0
    assert len(desk.asked("/")) == asked
    assert first.schema.equals(KLINES, check_metadata=True)
    assert second.schema.equals(KLINES, check_metadata=True)
    assert first.equals(second)
    assert in_ms(first).equals(truth(desk, str(HOURS), START, END))
    assert desk.equals_truth(HOURS, START, END)


def test_klines_are_those_of_the_glob(desk, lake) -> None:
    """DuckDB over the plain files sees the same rows, sources and all."""
    klines = lake.klines(["ETHUSDT", "BTCUSDT"], "1h", "2024-01-03T05:00", "2024-01-05T07:00")

    names = ", ".join(["symbol", *KLINES.names])
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        rows = connection.sql(
            f"SELECT {names} FROM read_parquet('{klines_glob(desk.lake.root)}') "
            "WHERE open_time >= '2024-01-03 05:00+00' AND open_time < '2024-01-05 07:00+00' "
            "ORDER BY symbol, open_time"
        ).to_arrow_table()
    assert klines.num_rows == 100
    assert klines.to_pylist() == rows.to_pylist()


@pytest.mark.parametrize(
    ("name", "days", "rows"),
    [
        pytest.param("binance/spot/BTCUSDT/1s", ("2024-02-06", "2024-02-07"), 86_400, id="1s"),
        pytest.param("binance/spot/BTCUSDT/3d", ("2024-02-06", "2024-03-08"), 10, id="3d"),
        pytest.param("binance/spot/BTCUSDT/1w", ("2024-02-06", "2024-03-08"), 4, id="1w"),
        pytest.param("binance/spot/BTCUSDT/1mo", ("2024-02-06", "2024-04-08"), 2, id="1mo"),
        pytest.param("binance/um/BTCUSDT/1d", ("2024-02-06", "2024-02-16"), 10, id="um"),
        pytest.param("binance/cm/BTCUSD_PERP/1h", ("2024-02-06", "2024-02-07"), 24, id="cm"),
        pytest.param("binance/spot/LUNAUSDT/1d", ("2022-05-01", "2022-07-01"), 43, id="two-lives"),
        pytest.param("okx/spot/BTC/USDT/1h", ("2024-02-06", "2024-02-07"), 24, id="okx"),
    ],
)
def test_any_series_equals_the_truth_twice(desk, lake, name, days, rows) -> None:
    """Whatever the interval, market and exchange: the exchange's klines, then the same again."""
    series = Series.parse(name)
    place = {"market": str(series.market), "exchange": series.exchange}

    first = lake.klines(series.symbol, str(series.interval), *days, **place)
    asked = len(desk.asked("/"))
    second = lake.klines(series.symbol, str(series.interval), *days, **place)

    assert first.num_rows == rows
    assert first.equals(second)
    assert len(desk.asked("/")) == asked
    expected = truth(desk, name, *map(date.fromisoformat, days))
    told = expected.column_names if series.exchange == "binance" else ["open_time", "close"]
    assert in_ms(first).select(told).equals(expected.select(told))


def test_only_what_is_lacking_is_fetched(desk, lake) -> None:
    """A longer range asks for the days that are new."""
    lake.klines("BTCUSDT", "1h", START, END)
    desk.sandbox.requests.clear()

    klines = lake.klines("BTCUSDT", "1h", START, "2024-01-07")

    assert klines.num_rows == 96
    files = desk.asked("/data/")
    assert files
    assert all("2024-01-06" in path for path in files)


def test_the_lake_alone_is_asked_for_nothing(desk, lake) -> None:
    """`lake` makes no request: what is stored comes, and a note says what is not."""
    lake.klines("BTCUSDT", "1h", START, "2024-01-05")
    desk.sandbox.requests.clear()

    reading = lake.read("BTCUSDT", "1h", START, END, source="lake")

    assert reading.table.num_rows == 48
    assert desk.asked("/") == []
    [note] = reading.notes
    assert "not in the lake: 1 day: 2024-01-05" in note


def test_the_lake_alone_needs_no_network_objects(desk, lake) -> None:
    """A fresh process that reads the lake builds neither chains nor connections."""
    lake.klines("BTCUSDT", "1h", START, END)
    text = (
        "import sys; from crypto_data import open_lake; lake = open_lake(sys.argv[1]);"
        "print(lake.klines('BTCUSDT', '1h', '2024-01-03', '2024-01-06', source='lake').num_rows,"
        "lake._held._chains, 'crypto_data.api.fetching' in sys.modules)"
    )

    done = subprocess.run(
        [sys.executable, "-c", text, desk.config],
        env=desk.environ,
        capture_output=True,
        text=True,
        check=True,
    )

    assert done.stdout.split() == ["72", "None", "False"]


@pytest.mark.parametrize("source", ["vision", "rest"])
def test_one_source_is_asked_and_nothing_stored(desk, lake, source) -> None:
    """Every row is marked with the source, nobody else was asked, the lake is empty."""
    klines = lake.klines("BTCUSDT", "1h", START, END, source=source)

    assert sources(klines) == {source}
    assert klines.schema == KLINES
    assert in_ms(klines).equals(truth(desk, str(HOURS), START, END))
    others = {"vision": ("/api/v3/klines",), "rest": ("/data/", "prefix=")}[source]
    assert desk.asked(*others) == []
    assert not (desk.lake.root / "klines").exists()


def test_the_archive_has_no_klines_of_today(desk, lake) -> None:
    """Asked alone for a range into today, it serves the days that are over, and a note says so."""
    desk.sandbox.set_clock(instant("2024-03-10T12:30"))

    reading = lake.read("BTCUSDT", "1h", "2024-03-08", source="vision")

    assert reading.table.num_rows == 48
    assert reading.shortfalls == ()
    assert ["before the day is over" in note for note in reading.notes] == [True]


def test_closed_klines_of_today_are_fetched_and_not_stored(desk, lake) -> None:
    """Without an end the last kline is the newest closed one; the lake holds whole days only."""
    desk.sandbox.set_clock(instant("2024-03-10T12:30"))

    klines = lake.klines("BTCUSDT", "1h", "2024-03-09")

    assert klines.num_rows == 36
    assert klines["open_time"][-1].as_py() == datetime(2024, 3, 10, 11, tzinfo=UTC)
    assert desk.lake.read(HOURS, span_of_days(date(2024, 3, 1), date(2024, 4, 1))).num_rows == 24
    again = lake.klines("BTCUSDT", "1h", "2024-03-09")
    assert again.equals(klines)
    assert again.schema == klines.schema


def test_today_is_read_on_when_it_goes_on(desk, lake) -> None:
    """Klines that have closed since the last call are in the next one."""
    desk.sandbox.set_clock(instant("2024-03-10T12:30"))
    before = lake.klines("BTCUSDT", "1m", "2024-03-10T11:00", "2024-03-10T12:40")
    desk.sandbox.set_clock(instant("2024-03-10T12:35"))
    lake.close()  # the clock was measured a moment ago

    after = lake.klines("BTCUSDT", "1m", "2024-03-10T11:00", "2024-03-10T12:40")

    assert (before.num_rows, after.num_rows) == (90, 95)
    assert after.slice(0, 90).equals(before)


def test_many_symbols_are_one_table(desk, lake) -> None:
    """A leading column names the symbol; rows are sorted by it, then by time; doubles go."""
    klines = lake.klines(["ETHUSDT", "BTCUSDT", "ETHUSDT"], "1h", START, END)

    assert klines.column_names == ["symbol", *KLINES.names]
    assert klines["symbol"].to_pylist() == ["BTCUSDT"] * 72 + ["ETHUSDT"] * 72
    for symbol in ("BTCUSDT", "ETHUSDT"):
        rows = klines.filter(pc.equal(klines["symbol"].cast(pa.string()), symbol))
        name = f"binance/spot/{symbol}/1h"
        assert in_ms(rows).equals(truth(desk, name, START, END))


def test_a_symbol_without_klines_does_not_disturb_the_others(lake) -> None:
    """One that was not listed yet adds no rows, and a note."""
    reading = lake.read(["NEWUSDT", "BTCUSDT"], "1h", START, END)

    assert set(reading.table["symbol"].to_pylist()) == {"BTCUSDT"}
    assert reading.shortfalls == ()
    assert ["NEWUSDT" in note and "not listed" in note for note in reading.notes] == [True]


def test_columns_are_chosen(lake) -> None:
    """The columns come in the order they were named, with or without the key."""
    one = lake.klines("BTCUSDT", "1h", START, END, columns=["close", "open_time"])
    many = lake.klines(["BTCUSDT"], "1h", START, END, columns=["close"])

    assert one.column_names == ["close", "open_time"]
    assert many.column_names == ["symbol", "close"]
    assert many.num_rows == one.num_rows == 72


NOON = datetime(2024, 3, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        pytest.param("2024-03-01", NOON.replace(hour=0), id="day"),
        pytest.param("2024-03-01T12:00", NOON, id="iso"),
        pytest.param("2024-03-01 12:00:00", NOON, id="space"),
        pytest.param("2024-03-01T12:00:00Z", NOON, id="z"),
        pytest.param("2024-03-01T14:00+02:00", NOON, id="offset"),
        pytest.param(date(2024, 3, 1), NOON.replace(hour=0), id="date"),
        pytest.param(NOON.replace(tzinfo=None), NOON, id="naive"),
        pytest.param(NOON.astimezone(timezone(timedelta(hours=9))), NOON, id="aware"),
        pytest.param(pd.Timestamp("2024-03-01 12:00"), NOON, id="pandas"),
        pytest.param(pd.Timestamp("2024-03-01 13:00", tz="Europe/Berlin"), NOON, id="pandas-zone"),
        pytest.param(pd.Timestamp("2024-03-01 12:00").to_datetime64(), NOON, id="numpy"),
        pytest.param("2024-03-01T11:59:59.999999", NOON, id="rounded-up"),
        pytest.param(date(1, 1, 1), datetime(1, 1, 1, tzinfo=UTC), id="first-day"),
    ],
)
def test_instants_are_read_as_utc(written, meant) -> None:
    """Every form of an instant means UTC where it names no zone."""
    assert to_ms("start", written) == round(meant.timestamp() * 1000)


@pytest.mark.parametrize(
    "written",
    ["yesterday", "2024", "20240301", "2024-02-30", "", 1709251200, True, pd.NaT, b"2024-03-01"],
    ids=str,
)
def test_what_is_no_instant_is_refused(written) -> None:
    """The message names the argument and says what to write."""
    with pytest.raises(UsageError, match=r"start: .* is no time.*write"):
        to_ms("start", written)


@pytest.mark.parametrize(
    ("arguments", "options", "said"),
    [
        pytest.param(("BTCUSDT", "1hour"), {}, "'1hour' is no interval.*mean 1h[?]", id="interval"),
        pytest.param(("BTCUSDT", "1s"), {"market": "um"}, "'1s' is no interval", id="1s"),
        pytest.param(("BTCUSDT", "1h"), {"exchange": "binanc"}, "mean binance[?]", id="exchange"),
        pytest.param(("BTCUSDT", "1h"), {"market": "swap"}, "there is spot, um, cm", id="market"),
        pytest.param(("BTCUSDT", "1h"), {"source": "Rest"}, "did you mean rest[?]", id="source"),
        pytest.param(
            ("BTC/USD", "1h"),
            {"exchange": "kraken", "source": "vision"},
            "'vision' is no source of kraken",
            id="source-of-another",
        ),
        pytest.param(("BTCUSDT", "1h"), {"columns": ["opn"]}, "did you mean open[?]", id="column"),
        pytest.param(("btcusdt", "1h"), {}, "did you mean BTCUSDT[?]", id="lower-case"),
        pytest.param(("BTCUDST", "1h", START), {}, "did you mean BTCUSDT[?]", id="unknown-symbol"),
        pytest.param(
            ("BTCUDST", "1h"), {"source": "lake"}, "did you mean BTCUSDT[?]", id="not-in-the-lake"
        ),
        pytest.param(([], "1h"), {}, "symbols: none was given", id="no-symbol"),
        pytest.param(([1], "1h"), {}, "symbols: 1 is no text", id="number"),
        pytest.param(("SOLUSDT", "1h"), {}, "nothing says where to begin", id="no-start"),
        pytest.param(("BTCUSDT", "1h", END, START), {}, "end .* is not after start", id="reversed"),
        pytest.param(("BTCUSDT", "1h", START, START), {}, "is not after start", id="nothing"),
        pytest.param(("BTCUSDT", "1h", None, "2023-01-01"), {}, "give a start", id="before-feed"),
        pytest.param(("BTCUSDT", "1h", "2130-01-01"), {}, "start 2130.* future", id="future"),
        pytest.param(("BTCUSDT", "1h", START, "2130-01-01"), {}, "end 2130.* future", id="far-end"),
        pytest.param(
            ("BTCUSDT", "1h", "2130-01-01"), {"source": "lake"}, "future", id="future-lake"
        ),
    ],
)
def test_what_cannot_be_asked_is_refused(lake, desk, arguments, options, said) -> None:
    """Each mistake is told with what can be written instead, and leaves nothing in the lake."""
    with pytest.raises(UsageError, match=said):
        lake.klines(*arguments, **options)

    assert not (desk.lake.root / "klines").exists()


def test_the_future_is_judged_by_the_exchanges_clock(desk, lake) -> None:
    """What our own clock takes for the past is the future where the exchange has not come to it."""
    desk.sandbox.set_clock(instant("2024-03-10T12:30"))

    with pytest.raises(UsageError, match=r"the exchange's clock says 2024-03-10 12:3"):
        lake.klines("BTCUSDT", "1h", "2024-03-10T13:00")

    assert lake.klines("BTCUSDT", "1h", "2024-03-10", "2024-03-11").num_rows == 12


def test_a_range_before_the_listing_is_empty_and_said(desk, lake, caplog) -> None:
    """No error: a table without rows and a warning; the second call asks nobody."""
    first = lake.klines("NEWUSDT", "1h", START, END)
    asked = len(desk.asked("/"))

    with caplog.at_level(logging.WARNING, "crypto_data.api"):
        second = lake.klines("NEWUSDT", "1h", START, END)

    assert first.num_rows == second.num_rows == 0
    assert second.schema == KLINES
    assert len(desk.asked("/")) == asked
    assert "NEWUSDT/1h: not listed from 2024-01-03" in caplog.text


def test_centuries_before_any_exchange_are_gone_through_at_once(desk, lake) -> None:
    """A start in another age means the first day there could be."""
    reading = lake.read("BTCUSDT", "1h", date(1, 1, 1), "2009-01-01")

    assert reading.table.num_rows == 0
    assert ["not listed before 2009-01-03" in note for note in reading.notes] == [True]
    assert desk.asked("/data/") == []


def break_day(desk, day) -> None:
    """Let every source fail for one day of hours."""
    desk.sandbox.faults.add(Fault(f"*BTCUSDT-1h-{day}.zip*", "not_zip"))
    desk.sandbox.faults.add(Fault("*monthly*", "absent"))
    desk.sandbox.faults.add(Fault("/api/v3/klines", "status", status=503))


def test_when_every_source_fails_each_says_why(desk, lake) -> None:
    """The error holds each source's own reason; the days that came are stored."""
    break_day(desk, "2024-01-04")

    with pytest.raises(DataSourceError) as raised:
        lake.klines("BTCUSDT", "1h", START, END)

    assert "binance/spot/BTCUSDT/1h: 1 day: 2024-01-04" in str(raised.value)
    reasons = {attempt.source: attempt for attempt in raised.value.attempts}
    assert set(reasons) == {"vision", "rest"}
    assert reasons["vision"].outcome == "broken"
    assert "503" in reasons["rest"].detail
    assert len(desk.rows(HOURS, START, END)) == 48
    assert pickle.loads(pickle.dumps(raised.value)).attempts == raised.value.attempts  # noqa: S301


def test_what_there_is_can_be_had_with_the_reasons(desk, lake) -> None:
    """`read` returns the klines that came, and what `klines` would have raised."""
    break_day(desk, "2024-01-04")

    reading = lake.read(["BTCUSDT", "ETHUSDT"], "1h", START, END)

    assert reading.table["symbol"].value_counts().to_pylist() == [
        {"values": "BTCUSDT", "counts": 48},
        {"values": "ETHUSDT", "counts": 72},
    ]
    [shortfall] = reading.shortfalls
    assert shortfall.series == str(HOURS)
    assert {attempt.source for attempt in reading.attempts} == {"vision", "rest"}
    with pytest.raises(DataSourceError):
        reading.check()


def test_a_failing_source_alone_says_why(desk, lake) -> None:
    """Asked for one source only, its reason is the only one."""
    break_day(desk, "2024-01-04")

    reading = lake.read("BTCUSDT", "1h", START, END, source="vision")

    assert reading.table.num_rows == 48
    assert {attempt.source for attempt in reading.attempts} == {"vision"}


def test_today_that_cannot_be_had_is_a_failure(desk, lake) -> None:
    """The days that are over come; klines of today that REST does not hand over are told."""
    desk.sandbox.set_clock(instant("2024-03-10T12:30"))
    desk.sandbox.faults.add(Fault("/api/v3/klines", "status", status=503))

    reading = lake.read("BTCUSDT", "1h", "2024-03-09")

    assert reading.table.num_rows == 24
    [shortfall] = reading.shortfalls
    assert shortfall.wanted == "1 day: 2024-03-10"
    assert [attempt.source for attempt in shortfall.attempts] == ["rest"]


def test_gaps_beside_the_range_are_no_failure(desk, lake) -> None:
    """A day that lacks klines elsewhere than in the range serves it all the same."""
    for path in ("*BTCUSDT-1h-2024-01-04.zip*", "/api/v3/klines"):
        desk.sandbox.faults.add(
            Fault(
                path,
                "missing_rows",
                start_ms=instant("2024-01-04T12:00"),
                end_ms=instant("2024-01-04T15:00"),
            )
        )
    desk.sandbox.faults.add(Fault("*monthly*", "absent"))
    lake.read("BTCUSDT", "1h", START, END)

    klines = lake.klines("BTCUSDT", "1h", "2024-01-04", "2024-01-04T12:00")

    assert klines.num_rows == 12


def test_an_explained_hole_is_no_failure(lake) -> None:
    """The hour that no source has (an outage) is absent, twice, and nobody complains."""
    first = lake.read("BTCUSDT", "1h", "2023-03-24", "2023-03-25")
    second = lake.read("BTCUSDT", "1h", "2023-03-24", "2023-03-25", source="rest")

    assert first.table.num_rows == second.table.num_rows == 23
    assert first.shortfalls == second.shortfalls == ()


def test_a_series_without_a_feed_is_served_and_kept(desk, lake) -> None:
    """It comes through its exchange's default sources, and is in the inventory afterwards."""
    first = lake.klines("SOLUSDT", "1d", START, END)
    asked = len(desk.asked("/"))

    second = lake.klines("SOLUSDT", "1d", START, END)

    assert first.equals(second)
    assert first.num_rows == 3
    assert len(desk.asked("/")) == asked
    [row] = lake.inventory(symbols="SOLUSDT").to_pylist()
    assert (row["interval"], row["rows"], row["days_complete"]) == ("1d", 3, 3)


def test_a_series_that_nobody_can_vouch_for_is_not_kept(desk, lake) -> None:
    """While a source cannot say whether there is such a symbol, what came is handed over only."""
    desk.sandbox.faults.add(Fault("/api/v3/*", "status", status=503))

    reading = lake.read("SOLUSDT", "1h", START, END)

    assert reading.table.num_rows == 72
    assert ["not stored" in note for note in reading.notes] == [True]
    assert not (desk.lake.root / "klines").exists()


def test_a_symbol_of_a_pattern_has_the_feeds_sources(desk, environ) -> None:
    """A symbol that a pattern means belongs to its feed, also before the lake knows the list."""
    del environ
    desk.configure({"symbols": ["*USDT"], "sources": ["rest"], "start": "2024-01-05", "end": None})
    lake = open_lake(desk.config)

    klines = lake.klines("SOLUSDT", "1h", end="2024-01-06")

    assert klines.num_rows == 24
    assert sources(klines) == {"rest"}


def test_a_made_series_is_made_when_it_is_read(desk, environ) -> None:
    """Its finer klines are fetched; the coarser ones equal the exchange's own, today's too."""
    del environ
    desk.configure({"intervals": ["1h", {"4h": "from 1h"}], "start": "2024-03-01", "end": None})
    desk.sandbox.set_clock(instant("2024-03-10T13:30"))
    lake = open_lake(desk.config)

    made = lake.klines("BTCUSDT", "4h", "2024-03-08")
    own = lake.klines("BTCUSDT", "4h", "2024-03-08", source="rest")

    assert made.num_rows == 15
    assert in_ms(made).equals(in_ms(own))
    assert sources(made.slice(0, 12)) == {"made:1h"}
    assert sources(made.slice(12)) == {"made:1h:rest"}
    assert lake.klines("BTCUSDT", "4h", "2024-03-08").equals(made)


def test_a_made_day_is_made_anew_when_its_finer_klines_have_changed(desk, environ) -> None:
    """By the read that needs it, and without a request; the lake alone says which days are old."""
    del environ
    fours = "binance/spot/BTCUSDT/4h"
    desk.configure({"intervals": ["1h", {"4h": "from 1h"}], "end": "2024-01-12"})
    desk.sandbox.set_clock(instant("2024-01-13"))
    desk.sandbox.faults.add(Fault("*1h-2024-01-10.zip", "stale", factor=1.02))
    lake = open_lake(desk.config)
    asked = ("BTCUSDT", "4h", "2024-01-10", "2024-01-12")
    first = lake.klines(*asked)
    desk.sandbox.republish("*1h-2024-01-10.zip", instant("2024-01-13T01:00"))
    desk.sandbox.set_clock(instant("2024-01-13T02:00"))
    # As a schedule may, that has not come to the made days yet.
    desk.configure({"end": "2024-01-12"})
    desk.fill(aim=Aim.REVISE)
    desk.configure({"intervals": ["1h", {"4h": "from 1h"}], "end": "2024-01-12"})
    desk.sandbox.requests.clear()

    alone = lake.read(*asked, source="lake")
    klines = lake.klines(*asked)

    assert alone.table.equals(first)
    assert [note for note in alone.notes if "1 day: 2024-01-10;" in note and fours in note]
    assert in_ms(klines).equals(truth(desk, fours, date(2024, 1, 10), date(2024, 1, 12)))
    assert not in_ms(klines).equals(in_ms(first))
    assert lake.read(*asked, source="lake").notes == ()
    assert desk.asked("klines") == []


def test_a_changed_file_is_seen(desk, lake) -> None:
    """What another process has stored in the meantime is served without a request."""
    lake.klines("BTCUSDT", "1h", START, "2024-01-04")
    desk.fill(START, END)
    desk.sandbox.requests.clear()

    klines = lake.klines("BTCUSDT", "1h", START, END)

    assert klines.num_rows == 72
    assert desk.asked("/") == []


def test_ledgers_that_are_held_are_not_stale(desk, lake) -> None:
    """That of a file that has just changed is not held; one of another state is read again."""
    lake.klines("BTCUSDT", "1h", START, END)
    path = part_path(desk.lake.root, HOURS, "2024")
    ledgers = lake._held.ledgers
    held = dict(ledgers._held)
    ledgers._keep(path, (path.stat().st_ino, 0, 0), {})

    known = ledgers.ledger(HOURS, [START])

    assert held == {}
    assert set(known) == {START, date(2024, 1, 4), date(2024, 1, 5)}


def test_a_damaged_ledger_is_fetched_anew(desk, lake) -> None:
    """A file whose footer is torn is moved aside, and the range is served."""
    before = lake.klines("BTCUSDT", "1h", START, END)
    path = part_path(desk.lake.root, HOURS, "2024")
    path.write_bytes(path.read_bytes()[:-40])

    after = lake.klines("BTCUSDT", "1h", START, END)

    assert after.equals(before)
    assert list((desk.lake.root / "_set_aside").rglob("*.parquet*"))


def test_damaged_rows_are_an_error_with_a_remedy(desk, lake) -> None:
    """Rows that cannot be read are never passed over."""
    lake.klines("BTCUSDT", "1h", START, END)
    path = part_path(desk.lake.root, HOURS, "2024")
    content = bytearray(path.read_bytes())
    content[200] ^= 0xFF
    path.write_bytes(content)

    with pytest.raises(LakeDamaged, match="crypto-data repair"):
        lake.klines("BTCUSDT", "1h", START, END)


def test_a_changed_configuration_is_read_again(desk, lake) -> None:
    """Feeds and lake are those of the file as it is at the call."""
    lake.klines("BTCUSDT", "1h", START, END)
    desk.configure({"symbols": ["ETHUSDT"], "start": "2024-01-05", "end": "2024-01-06"})

    klines = lake.klines("ETHUSDT", "1h")

    assert klines.num_rows == 24
    assert {row["symbol"] for row in lake.inventory().to_pylist()} == {"BTCUSDT", "ETHUSDT"}


def test_a_broken_configuration_is_told_when_it_is_opened(desk, environ) -> None:
    """Not by the first call for klines; and the place that was looked at is named."""
    del environ
    desk.config.write_text("lake: ./lake\nfeeds: 3\n")

    with pytest.raises(CatalogError, match="feeds"):
        open_lake(desk.config)
    with pytest.raises(UsageError, match=r"^config: there is no .*nowhere\.yaml"):
        open_lake(desk.folder / "nowhere.yaml")


def test_the_configuration_is_found_as_the_commands_find_it(desk, environ, monkeypatch) -> None:
    """Without a path, the environment's or the folder's."""
    del environ
    desk.configure()
    monkeypatch.chdir(desk.folder)

    assert repr(open_lake()) == f"open_lake({str(desk.config)!r})"
    monkeypatch.setenv("CRYPTO_DATA_CONFIG", str(desk.folder / "other.yaml"))
    with pytest.raises(UsageError, match=r"other\.yaml"):
        open_lake()


def test_statements_are_relations(lake) -> None:
    """They take parameters, can be asked further, and last without the name of anything else."""
    lake.klines("BTCUSDT", "1h", START, END)

    rows = lake.sql("SELECT rows FROM inventory WHERE symbol = ? AND rows > 0", ["BTCUSDT"])
    klines = lake.sql("SELECT * FROM klines WHERE close > $least", {"least": 0.0})

    assert isinstance(rows, duckdb.DuckDBPyRelation)
    assert rows.fetchall() == [(72,)]
    assert klines.aggregate("count(*)").fetchall() == [(72,)]
    assert lake.sql("SELECT feed FROM health LIMIT 1").fetchall()


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        pytest.param("DROP VIEW klines", "only one SELECT", id="drop"),
        pytest.param("SELECT 1; SELECT 2", "only one SELECT", id="two"),
        pytest.param("SELECT nothing FROM klines", "The views are klines, inventory", id="column"),
        pytest.param("SELECT * FROM read_text('/etc/hostname')", "refused", id="outside"),
    ],
)
def test_a_statement_stays_inside_and_changes_nothing(lake, statement, said) -> None:
    """What is no single SELECT over the lake is refused with DuckDB's words and our views."""
    with pytest.raises(UsageError, match=said):
        lake.sql(statement).fetchall()


def test_views_take_the_filters_of_the_commands(desk, lake) -> None:
    """Inventory, coverage and gaps say what the commands print."""
    lake.klines("BTCUSDT", "1h", START, END)
    chosen = {"symbols": "BTCUSDT", "intervals": ["1h"], "market": "spot", "exchange": "binance"}
    days = {"start": "2024-01-04", "end": date(2024, 1, 7)}

    coverage = lake.coverage(**chosen, **days).to_pylist()
    gaps = lake.gaps(**chosen, **days).to_pylist()

    assert [(row["day"], row["state"]) for row in coverage] == [
        (date(2024, 1, 4), "complete"),
        (date(2024, 1, 5), "complete"),
        (date(2024, 1, 6), "missing"),
    ]
    assert [row["gap_start"].date() for row in gaps] == [date(2024, 1, 6)]
    options = ["--symbols", "BTCUSDT", "--intervals", "1h", "--format", "json"]
    printed = json.loads(desk.run("inventory", *options).stdout)
    assert [row["rows"] for row in printed] == [
        row["rows"] for row in lake.inventory(**chosen).to_pylist()
    ]


@pytest.mark.parametrize(
    ("filters", "said"),
    [
        pytest.param({"symbols": "BTCUDST"}, "^symbols: .*mean BTCUSDT", id="symbol"),
        pytest.param({"intervals": "1x"}, "^intervals: '1x' is no interval", id="interval"),
        pytest.param({"start": "2024-01-02T05:00"}, "no whole UTC day", id="hour"),
        pytest.param({"start": END, "end": START}, "^end .* is not after start", id="reversed"),
    ],
)
def test_filters_that_choose_nothing_are_refused(lake, filters, said) -> None:
    """A filter is named as the argument it is."""
    with pytest.raises(UsageError, match=said):
        lake.coverage(**filters)


def test_pandas_is_given_an_index_of_times(lake) -> None:
    """Indexed by open_time in UTC, floats for prices; several symbols by symbol and time."""
    one = to_pandas(lake.klines("BTCUSDT", "1h", START, END))
    many = to_pandas(lake.klines(["BTCUSDT", "ETHUSDT"], "1h", START, END))

    assert one.index.name == "open_time"
    assert one.index.dtype == "datetime64[us, UTC]"
    assert one.index.freq is None
    assert list(one.columns[:5]) == ["open", "high", "low", "close", "volume"]
    assert set(one.dtypes[:6].astype(str)) == {"float64"}
    assert str(one["trade_count"].dtype) == "Int64"
    assert many.loc["BTCUSDT"].equals(one)
    assert many.index.is_unique
    assert many["close"].xs("ETHUSDT").index.equals(one.index)


def test_polars_is_given_utc_times_and_text(lake) -> None:
    """Times in microseconds and UTC, names as text."""
    frame = to_polars(lake.klines(["BTCUSDT", "ETHUSDT"], "1h", START, END))

    assert frame.height == 144
    assert frame.schema["open_time"] == pl.Datetime("us", "UTC")
    assert frame.schema["symbol"] == frame.schema["source"] == pl.String
    assert frame.schema["close"] == pl.Float64


def test_a_pickled_lake_opens_anew(desk, lake) -> None:
    """It travels to other processes as the path of its configuration."""
    lake.klines("BTCUSDT", "1h", START, END)

    other = pickle.loads(pickle.dumps(lake))  # noqa: S301 - our own

    assert isinstance(other, OpenLake)
    assert other.klines("BTCUSDT", "1h", START, END, source="lake").num_rows == 72
    assert repr(other) == f"open_lake({str(desk.config)!r})"


def test_a_closed_lake_goes_on(lake) -> None:
    """Closing gives connections back; a later call makes new ones."""
    lake.klines("BTCUSDT", "1h", START, END)
    lake.close()

    assert lake.klines("BTCUSDT", "1h", START, "2024-01-07").num_rows == 96


@pytest.mark.parametrize("source", ["auto", "rest"])
def test_closing_ends_a_call_in_another_thread(desk, lake, source) -> None:
    """Its call ends by an error that says so, no host is taken for down, and the next one works."""
    desk.configure(FEED | {"sources": ["rest"], "end": None})
    desk.sandbox.faults.add(Fault("/api/v3/klines", "delay", seconds=20))

    with ThreadPoolExecutor(1) as pool:
        call = pool.submit(lake.klines, "BTCUSDT", "1h", START, END, source=source)
        while not desk.sandbox.faults._used:
            time.sleep(0.01)
        lake.close()
        error = call.exception(timeout=15)

    assert isinstance(error, Closed)
    assert "Ask again" in str(error)
    assert not (desk.state / "gate.json").exists()
    desk.sandbox.faults.clear()
    assert lake.klines("BTCUSDT", "1h", START, END).num_rows == 72


@pytest.mark.parametrize("source", ["auto", "rest"])
def test_an_interrupt_ends_a_call_at_once(desk, lake, source) -> None:
    """Ctrl-C does not wait for the answers that are still to come."""
    del lake
    desk.configure(FEED | {"sources": ["rest"], "end": None})
    desk.sandbox.faults.add(Fault("/api/v3/klines", "delay", seconds=40))
    desk.config.write_text(desk.config.read_text().replace("timeout: 5", "timeout: 60"))
    text = (
        "from crypto_data import open_lake; "
        f"open_lake().klines('BTCUSDT', '1h', '{START}', '{END}', source='{source}')"
    )

    with subprocess.Popen(
        [sys.executable, "-c", text],
        cwd=desk.folder,
        env=desk.environ,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        while not desk.sandbox.faults._used:
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=20)

    assert said.rstrip().endswith("KeyboardInterrupt")
    assert process.returncode != 0


def test_an_interval_that_the_lake_lacks_is_told_apart_from_a_symbol(desk, lake) -> None:
    """Of a symbol that is there, the intervals are named."""
    desk.configure({"intervals": ["1h", "1d"]})

    with pytest.raises(UsageError) as caught:
        lake.klines("BTCUSDT", "5m", START, END, source="lake")

    assert "has 5m of it; there is 1h, 1d" in str(caught.value)
    assert "no symbol" not in str(caught.value)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_has_connections_of_its_own(desk, lake) -> None:
    """A child fetches by itself; that the parent has fetched before disturbs neither."""
    text = """
import os, sys
from crypto_data import open_lake
lake = open_lake(sys.argv[1])
lake.klines("BTCUSDT", "1h", "2024-01-03", "2024-01-04")
parents = lake._held
child = os.fork()
rows = lake.klines("BTCUSDT", "1h", "2024-01-03", "2024-01-05").num_rows
if not child:
    os._exit(0 if rows == 48 and lake._held is not parents else 1)
print(rows, os.waitpid(child, 0)[1], lake._held is parents)
"""
    del lake

    done = subprocess.run(
        [sys.executable, "-c", text, desk.config],
        env=desk.environ,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert done.stdout.split() == ["48", "0", "True"], done.stderr


def test_importing_the_package_imports_nothing_heavy(desk, lake) -> None:
    """`import crypto_data` loads no library; opening and reading no Dagster, ccxt or DuckDB."""
    text = """
import sys, crypto_data
heavy = {"dagster", "ccxt", "duckdb", "pyarrow", "numpy", "pydantic", "httpx", "pandas"}
print(sorted(heavy & set(sys.modules)))
lake = crypto_data.open_lake(sys.argv[1])
lake.klines("BTCUSDT", "1h", "2024-01-03", "2024-01-04")
print(sorted({"dagster", "ccxt", "duckdb", "polars"} & set(sys.modules)))
"""
    del lake

    done = subprocess.run(
        [sys.executable, "-c", text, desk.config],
        env=desk.environ,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert done.stdout.splitlines() == ["[]", "[]"], done.stderr


def test_names_of_the_package_are_known() -> None:
    """Every name that is offered is there; any other is an error as of any module."""
    import crypto_data  # noqa: PLC0415 - as a user does

    assert all(getattr(crypto_data, name) for name in crypto_data.__all__)
    assert set(dir(crypto_data)) == set(crypto_data.__all__)
    assert issubclass(DataSourceError, CryptoDataError)
    with pytest.raises(AttributeError, match="open_lak"):
        crypto_data.open_lak  # noqa: B018 - looked up, not used
