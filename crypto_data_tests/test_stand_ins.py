"""Another exchange stands in: what its rows mean, and how better ones take their place."""

import json
from datetime import UTC, date, datetime

import pyarrow as pa
import pytest

from crypto_data.harvest import Aim, AskedDay, Harvest, Offer, rank_in
from crypto_data.intervals import HOUR_MS
from crypto_data.lake.part import read_footer, read_rows
from crypto_data.lake.superseded import find_superseded
from crypto_data.lake.universe import Listing, Universe, write_universe
from crypto_data.partitions import expected_opens
from crypto_data.sandbox.faults import Fault
from crypto_data.sandbox.instruments import Instrument
from crypto_data.sandbox.symbols import Symbol, instant
from crypto_data.schema import TIME, fetched_table
from crypto_data.series import Market, Series

DAY, NEXT = date(2024, 1, 10), date(2024, 1, 11)
HOURS = "binance/spot/BTCUSDT/1h"
AT_OKX = "okx/spot/BTC/USDT/1h"
BEHIND = {"sources": ["vision", "rest", "ccxt:okx"], "max_retries": 0}
OKX = "/okx/*"


def bars(opens_ms) -> pa.Table:
    """Return klines of one price."""
    times = pa.array([open_ms * 1000 for open_ms in opens_ms], pa.int64()).cast(TIME)
    prices = pa.array([1.0] * len(opens_ms))
    plain = dict.fromkeys(("open", "high", "low", "close", "volume"), prices)
    return fetched_table({"open_time": times, "close_time": times, **plain})


def break_own(desk, status=503) -> None:
    """Let the archive and REST fail, and their hosts be asked at once when they are well again."""
    for path in ("/data/spot/*", "/api/*"):
        desk.sandbox.faults.add(Fault(path, "status", status=status))


def mend(desk) -> None:
    desk.sandbox.faults.clear()
    (desk.state / "gate.json").unlink(missing_ok=True)


def day_of(reports):
    [report] = reports
    [day] = report.days
    assert not report.error
    return day


def part_of(desk):
    [path] = (desk.folder / "lake" / "klines").rglob("*.parquet")
    return path


def test_okx_stands_in_while_binance_is_down(desk) -> None:
    """Its klines are stored under its name: the old day is provisional, the run no failure."""
    desk.configure(BEHIND)
    break_own(desk)

    [report] = desk.fill()

    [day] = report.days
    assert report.is_whole
    assert (str(day.state), day.rows, day.source) == ("provisional", 24, "ccxt:okx")
    assert "vision: " in day.failovers
    assert "rest: " in day.failovers
    assert desk.equals_truth(HOURS, DAY, NEXT, at=AT_OKX)
    rows = desk.rows(HOURS, DAY, NEXT)
    assert {row["source"] for row in rows} == {"ccxt:okx"}
    assert {row["trade_count"] for row in rows} == {None}


@pytest.mark.parametrize("aim", [Aim.FILL, Aim.MEND, Aim.REPAIR])
def test_better_rows_take_their_place(desk, aim) -> None:
    """Once the exchange itself serves, the day is its own; what was replaced is noted and kept."""
    desk.configure(BEHIND)
    break_own(desk)
    desk.fill()
    mend(desk)
    desk.sandbox.requests.clear()
    desk.sandbox.set_clock(desk.sandbox.clock.now_ms() + HOUR_MS)

    day = day_of(desk.fill(aim=aim))

    assert (str(day.state), day.failovers) == ("complete", "")
    assert day.source in {"vision", "rest"}
    assert desk.equals_truth(HOURS, DAY, NEXT)
    [correction] = read_footer(part_of(desk)).corrections
    assert (correction.old_source, correction.rows_changed) == ("ccxt:okx", 24)
    assert [path for path, _ in find_superseded(desk.folder / "lake")]
    assert not desk.asked("/okx/")


def test_mending_waits_its_time(desk) -> None:
    """The sensor's pass leaves a day alone that was asked for a moment ago."""
    desk.configure(BEHIND)
    break_own(desk)
    desk.fill()
    mend(desk)
    desk.sandbox.requests.clear()

    day = day_of(desk.fill(aim=Aim.MEND))

    assert (str(day.state), day.asked) == ("provisional", False)
    assert not desk.asked("/data/", "/klines")


def test_rows_stay_while_better_sources_still_fail(desk) -> None:
    """Asked again, and again in vain: the rows stay, okx is not asked, and the day says why."""
    desk.configure(BEHIND)
    break_own(desk)
    desk.fill()
    before = desk.rows(HOURS, DAY, NEXT)
    (desk.state / "gate.json").unlink()
    desk.sandbox.requests.clear()

    [report] = desk.fill()

    [day] = report.days
    assert report.is_whole
    assert (str(day.state), day.source, day.attempts) == ("provisional", "ccxt:okx", 2)
    assert "HTTP 503" in day.failovers
    assert desk.rows(HOURS, DAY, NEXT) == before
    assert not desk.asked("/okx/")


def test_an_outage_is_filled_and_settled(desk) -> None:
    """What the exchange itself said for good that it lacks is stood in for, and asked for once."""
    desk.configure(BEHIND | {"start": "2018-06-26", "end": "2018-06-27"})

    first = day_of(desk.fill())
    desk.sandbox.requests.clear()
    again = day_of(desk.fill())

    assert (str(first.state), first.rows) == ("provisional", 24)
    assert first.source == "vision+ccxt:okx"
    assert (str(again.state), again.asked) == ("provisional", False)
    assert not desk.asked("/data/", "/klines", "/okx/")


@pytest.mark.parametrize(
    ("fault", "state"),
    [
        pytest.param(Fault(OKX, "status", status=503), "partial", id="down"),
        pytest.param(Fault(OKX, "html200"), "partial", id="html"),
        pytest.param(Fault("/okx/api/v5/public/instruments", "no_symbols"), "partial", id="empty"),
        pytest.param(None, "explained", id="does-not-list-it"),
    ],
)
def test_whether_a_silent_stand_in_keeps_an_outage_open(desk, fault, state) -> None:
    """One that is down may still have the klines; one that does not list the symbol never has."""
    symbol = "BTCUSDT" if fault else "S001USDT"
    desk.configure(BEHIND | {"symbols": [symbol], "start": "2021-08-13", "end": "2021-08-14"})
    if fault:
        desk.sandbox.faults.add(fault)

    day = day_of(desk.fill())

    assert str(day.state) == state
    assert "ccxt:okx: " in day.failovers


def test_a_stand_in_is_asked_within_the_symbols_life_alone(desk) -> None:
    """Days before the listing are nobody's, whatever another exchange has."""
    desk.configure(BEHIND | {"start": "2017-08-15", "end": "2017-08-18"})

    [report] = desk.fill()

    assert [str(day.state) for day in report.days] == ["unlisted", "unlisted", "complete"]
    assert not desk.asked("candles")


def test_rows_outside_a_life_learnt_later_are_dropped(desk) -> None:
    """What stood in while nobody could tell the listing goes, and the file it was in is kept."""
    desk.configure(BEHIND | {"start": "2017-08-15", "end": "2017-08-18"})
    lake = desk.lake
    series = Series.parse(HOURS)
    opens = expected_opens(series.interval, date(2017, 8, 15))
    strays = Harvest(
        ranking=("vision", "rest", "ccxt:okx"),
        offers=(Offer("ccxt:okx", rank_in(("vision", "ccxt:okx"), "ccxt:okx"), bars(opens)),),
        days={date(2017, 8, 15): AskedDay()},
        asked_ms=1,
    )
    lake.commit(series, "2017", strays)
    assert len(desk.rows(HOURS, date(2017, 8, 15), date(2017, 8, 16))) == 24

    [report] = desk.fill()

    assert [str(day.state) for day in report.days] == ["unlisted", "unlisted", "complete"]
    assert report.days[0].correction == "24 rows dropped: outside the symbol's life"
    assert not desk.rows(HOURS, date(2017, 8, 15), date(2017, 8, 16))
    [(kept, _)] = find_superseded(desk.folder / "lake")
    assert read_rows(kept).num_rows == 24


def list_at_okx(desk, monkeypatch, name, base) -> None:
    """Let okx trade, all the time, a coin that binance has delisted."""
    symbol = Symbol(
        market=Market.SPOT, name=name, level=80_00, lives=((instant("2018-01-11"), None),)
    )
    book = desk.sandbox._okx.book
    listed = (*book._instruments, Instrument(f"{base}-USDT", f"{base}/USDT", symbol))
    monkeypatch.setattr(book, "_instruments", listed)


@pytest.mark.parametrize("was_down", [False, True], ids=["well", "was-down"])
def test_a_pause_of_a_reused_name_is_nobodys(desk, monkeypatch, was_down) -> None:
    """Between two lives, to the hour, no kline of another exchange counts or stays."""
    list_at_okx(desk, monkeypatch, "LUNAUSDT", "LUNA")
    desk.configure(BEHIND | {"symbols": ["LUNAUSDT"], "start": "2022-05-12", "end": "2022-06-01"})
    if was_down:
        break_own(desk)
        desk.fill()
        mend(desk)

    [report] = desk.fill()

    *_, last = report.days
    pause = [day for day in report.days if date(2022, 5, 13) <= day.day < last.day]
    assert {(str(day.state), day.rows) for day in pause} == {("unlisted", 0)}
    assert (str(last.state), last.rows, last.expected) == ("complete", 18, 18)
    rows = desk.rows("binance/spot/LUNAUSDT/1h", date(2022, 5, 12), date(2022, 6, 1))
    assert {row["source"] for row in rows} <= {"vision", "rest"}


OLD = {"symbols": ["OLDUSDT"], "start": "2024-02-19", "end": "2024-02-23"}
ARCHIVE_AND_OKX = BEHIND | OLD | {"sources": ["vision", "ccxt:okx"]}


def know(desk, **facts) -> None:
    """Let the lake's copy of binance's symbols say something of OLDUSDT."""
    write_universe(
        desk.lake.root, "binance", Market.SPOT, Universe((Listing("OLDUSDT", **facts),), 1)
    )


def test_days_after_a_known_end_are_not_stood_in_for(desk, monkeypatch) -> None:
    """The archive can't tell that a symbol was delisted; the lake's copy can, to the last kline."""
    list_at_okx(desk, monkeypatch, "OLDUSDT", "OLD")
    desk.configure(ARCHIVE_AND_OKX)
    know(desk, is_trading=False, last_day=date(2024, 2, 20))

    [report] = desk.fill()

    states = [(str(day.state), day.rows, day.expected) for day in report.days]
    assert states == [("complete", 24, 24), ("complete", 3, 3), *[("unlisted", 0, 0)] * 2]
    assert {
        row["source"]
        for row in desk.rows("binance/spot/OLDUSDT/1h", date(2024, 2, 19), date(2024, 2, 23))
    } == {"vision"}


@pytest.mark.parametrize(
    "facts",
    [
        pytest.param({"is_trading": True}, id="trades"),
        pytest.param({"is_trading": None, "last_day": date(2024, 2, 20)}, id="nobody-told"),
        pytest.param({"is_trading": False}, id="last-day-unknown"),
        pytest.param({"is_trading": False, "last_day": date(2024, 2, 18)}, id="has-traded-since"),
    ],
)
def test_an_end_that_is_not_known_for_sure_is_none(desk, monkeypatch, facts) -> None:
    """Where nobody can say that the symbol ended, the stand-in's klines stay, and say so."""
    list_at_okx(desk, monkeypatch, "OLDUSDT", "OLD")
    desk.configure(ARCHIVE_AND_OKX)
    know(desk, **facts)

    [report] = desk.fill()

    assert [str(day.state) for day in report.days] == ["complete", *["provisional"] * 3]
    assert [day.source for day in report.days[2:]] == ["ccxt:okx"] * 2


def test_an_archive_that_is_down_ends_nothing(desk, monkeypatch) -> None:
    """Days after a known end are judged when the exchange's own sources have told of them."""
    list_at_okx(desk, monkeypatch, "OLDUSDT", "OLD")
    desk.configure(ARCHIVE_AND_OKX)
    know(desk, is_trading=False, last_day=date(2024, 2, 20))
    break_own(desk)

    [report] = desk.fill()

    assert {str(day.state) for day in report.days} == {"provisional"}


KRAKEN = {
    "exchange": "kraken",
    "symbols": ["BTC/USD"],
    "intervals": ["1h"],
    "end": None,
    "sources": ["ccxt:kraken"],
}
NOON = datetime(2024, 3, 20, 12, 30, tzinfo=UTC)


def test_a_feed_of_kraken_says_which_days_its_api_has_lost(desk) -> None:
    """What lies before the newest 720 klines stays a gap that says why; the rest is whole."""
    desk.sandbox.set_clock(int(NOON.timestamp() * 1000))
    desk.configure(KRAKEN | {"start": "2024-02-17"})

    [report] = desk.fill()

    states = [str(day.state) for day in report.days]
    assert states == ["missing", "missing", "partial"] + ["complete"] * (len(states) - 3)
    first, edge = report.days[0], report.days[2]
    assert first.failovers == (
        "ccxt:kraken: its API holds the newest 720 klines alone, these go back to 2024-02-19 13:00"
    )
    assert (edge.rows, edge.source) == (11, "ccxt:kraken")
    assert desk.equals_truth("kraken/spot/BTC/USD/1h", date(2024, 2, 20), date(2024, 3, 20))
    assert len(desk.asked("interval=60&")) == 1


def test_a_memory_that_ends_after_the_feed_is_told_as_it_is(desk) -> None:
    """The instant in the message is that of the API's oldest kline, not of the feed's end."""
    desk.sandbox.set_clock(int(NOON.timestamp() * 1000))
    desk.configure(KRAKEN | {"start": "2024-02-10", "end": "2024-02-11"})

    day = day_of(desk.fill())

    assert day.failovers.endswith("these go back to 2024-02-19 13:00")


def delist_at_kraken(desk, monkeypatch, moment) -> None:
    """Let ETH/USD trade until an instant, and be listed no longer."""
    symbol = Symbol(
        market=Market.SPOT,
        name="ETHUSDT",
        level=2_500_00,
        lives=((instant("2015-08-07T14:03"), instant(moment)),),
    )
    book = desk.sandbox._kraken.book
    listed = (book._instruments[0], Instrument("XETHZUSD", "ETH/USD", symbol))
    monkeypatch.setattr(book, "_instruments", listed)


def fill_eth(desk, moment, symbol="ETH/USD", start="2024-03-08"):
    """Fill kraken's hours up to an instant; return state, rows and due rows by day of March."""
    desk.sandbox.set_clock(instant(moment))
    desk.configure(KRAKEN | {"symbols": [symbol], "start": start})
    [report] = desk.fill()
    return {day.day.day: (str(day.state), day.rows, day.expected) for day in report.days}


def test_a_symbol_that_kraken_no_longer_lists_has_ended(desk, monkeypatch) -> None:
    """Once it has been gone for three days, what follows its last kline in the lake is unlisted."""
    delist_at_kraken(desk, monkeypatch, "2024-03-10T13:00")
    fill_eth(desk, "2024-03-10T12:30")
    fill_eth(desk, "2024-03-10T12:59")
    at_first = fill_eth(desk, "2024-03-12T00:30")

    later = fill_eth(desk, "2024-03-14T00:30")

    assert at_first[10] == ("missing", 0, 24)
    assert {day: state for day, (state, _, _) in later.items()} == {
        8: "complete", 9: "complete", 10: "unlisted", 11: "unlisted", 12: "unlisted", 13: "unlisted"
    }  # fmt: skip


def test_a_symbol_that_was_never_seen_stays_missing(desk) -> None:
    """A typing error has no klines in the lake: nobody knows of an end."""
    found = fill_eth(desk, "2024-03-14T00:30", symbol="ETH/USDX")

    assert {state for state, _, _ in found.values()} == {"missing"}


def test_a_list_that_cannot_be_read_ends_nothing(desk, monkeypatch) -> None:
    """An exchange that is down says nothing of who trades there."""
    delist_at_kraken(desk, monkeypatch, "2024-03-10T13:00")
    fill_eth(desk, "2024-03-10T12:59")
    desk.sandbox.faults.add(Fault("/kraken/*", "status", status=503))

    found = fill_eth(desk, "2024-03-14T00:30")

    assert found[13] == ("missing", 0, 24)


def test_klines_that_a_stand_in_has_lost_keep_nothing_open(desk) -> None:
    """Behind binance, kraken's short memory is no reason to ask for an old outage for ever."""
    desk.configure(
        BEHIND
        | {
            "symbols": ["BTCUSDT"],
            "start": "2021-08-13",
            "end": "2021-08-14",
            "sources": ["vision", "rest", "ccxt:kraken"],
        }
    )

    day = day_of(desk.fill())

    assert (str(day.state), day.source) == ("explained", "vision")
    assert "ccxt:kraken: its API holds the newest 720 klines alone" in day.failovers


@pytest.mark.slow
def test_the_commands_show_stand_ins_and_their_end(desk) -> None:
    """Backfill, coverage and a second backfill tell the whole story, each with status 0."""
    desk.configure(BEHIND)
    break_own(desk)

    first = desk.run("backfill")
    coverage = json.loads(desk.run("coverage", "--format", "json").stdout)
    mend(desk)
    second = desk.run("backfill")
    third = desk.run("backfill")

    assert (first.returncode, second.returncode, third.returncode) == (0, 0, 0)
    assert [(day["state"], day["source"]) for day in coverage] == [("provisional", "ccxt:okx")]
    assert "1 day with klines" in first.stderr
    assert "klines that only stand in (ccxt:okx)" in first.stderr
    assert "vision 1" in second.stdout
    assert "klines of 1 day were replaced by different ones" in second.stderr
    assert "nothing to fetch" in third.stderr
    [told] = json.loads(desk.run("sql", "SELECT * FROM corrections", "--format", "json").stdout)
    assert (told["old_source"], told["new_source"], told["rows_changed"]) == (
        "ccxt:okx", "vision", 24
    )  # fmt: skip
    assert desk.equals_truth(HOURS, DAY, NEXT)
