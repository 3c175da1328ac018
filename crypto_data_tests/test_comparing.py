"""The lake's klines beside the exchange's: what counts as different, and what `compare` prints."""

import json
from datetime import UTC, date, datetime, timedelta

import pytest

from crypto_data.comparing import check_is_offered, compare_days, find_differences
from crypto_data.errors import UsageError
from crypto_data.partitions import ONE_DAY
from crypto_data.sandbox.faults import Fault
from crypto_data.schema import FETCHED, mark_source
from crypto_data.series import Series
from crypto_data.sources.connect import open_chains

FIRST, END = date(2024, 1, 10), date(2024, 1, 13)
FOURS = Series.parse("binance/spot/BTCUSDT/4h")
FEED = {"intervals": ["1h", {"4h": "from 1h"}], "start": str(FIRST), "end": str(END)}
NOON = datetime(2024, 1, 10, 12, tzinfo=UTC)
BAR = {
    "open_time": NOON,
    "open": 1.0,
    "high": 2.0,
    "low": 0.5,
    "close": 1.5,
    "volume": 3.0,
    "quote_volume": None,
    "trade_count": 7,
    "taker_buy_volume": 1.0,
    "taker_buy_quote_volume": 1.0,
    "close_time": NOON + timedelta(hours=4) - timedelta(milliseconds=1),
    "contract_volume": None,
}


def table(*bars):
    rows = FETCHED.empty_table().from_pylist(list(bars), schema=FETCHED)
    return mark_source(rows, "vision")


@pytest.mark.parametrize(
    ("theirs", "found"),
    [
        pytest.param([BAR], [], id="equal"),
        pytest.param([BAR | {"quote_volume": 4.0}], [], id="not-told-here"),
        pytest.param([BAR | {"trade_count": None}], [], id="not-told-there"),
        pytest.param(
            [BAR | {"close_time": BAR["close_time"] + timedelta(microseconds=999)}],
            [],
            id="finer-close-time",
        ),
        pytest.param(
            [BAR | {"volume": 3.5, "open": 1.25}],
            [("open", 1.0, 1.25), ("volume", 3.0, 3.5)],
            id="values",
        ),
        pytest.param([], [("kline", True, False)], id="only-here"),
        pytest.param(
            [BAR | {"open_time": NOON - timedelta(hours=4)}],
            [("kline", False, True), ("kline", True, False)],
            id="only-there",
        ),
    ],
)
def test_what_differs_is_told_by_bar_and_column(theirs, found) -> None:
    """What one side does not tell is no difference; a kline that one side lacks is."""
    differences = find_differences(table(BAR), table(*theirs))

    assert [(one.column, one.lake, one.exchange) for one in differences] == found


def test_an_interval_that_the_exchange_lacks_cannot_be_compared() -> None:
    """The message says which it has."""
    with pytest.raises(UsageError, match="kraken has no 2h klines to compare with; it has 1m, 5m"):
        check_is_offered(Series.parse("kraken/spot/BTC/USD/2h"))


@pytest.mark.slow
def test_the_command_says_where_made_klines_differ(desk) -> None:
    """Status 0 and a sentence when all is equal; 1 and every value when not; nothing is stored."""
    desk.configure(FEED)
    desk.fill()

    equal = desk.run("compare", "BTCUSDT", "--interval", "4h")
    desk.sandbox.faults.add(Fault("*4h-2024-01-11.zip", "stale", factor=1.02))
    differs = desk.run("compare", "BTCUSDT", "--interval", "4h", "--format", "json")

    assert (equal.returncode, equal.stdout) == (0, "")
    assert "18 klines of 2024-01-10 to 2024-01-12 compared, none differs" in equal.stderr
    rows = json.loads(differs.stdout)
    assert differs.returncode == 1
    assert len({row["open_time"] for row in rows}) == 6
    assert {row["open_time"][:10] for row in rows} == {"2024-01-11"}
    assert {"open", "volume"} < {row["column"] for row in rows}
    assert "6 differ" in differs.stderr
    assert {row["source"] for row in desk.rows(FOURS, FIRST, END)} == {"made:1h"}


@pytest.mark.slow
def test_the_command_fails_where_the_exchange_does_not_answer(desk) -> None:
    """Silence is no equality: the days are named, with what each source said."""
    desk.configure(FEED)
    desk.fill()
    desk.sandbox.faults.add(Fault("*4h*", "absent"), Fault("/api/v3/klines", "status", status=503))

    done = desk.run("compare", "BTCUSDT", "--interval", "4h", "--end", "2024-01-11")

    assert done.returncode == 1
    assert f"{FOURS} 2024-01-10: not compared: vision: " in done.stderr
    assert "HTTP 503" in done.stderr


@pytest.mark.parametrize(
    ("interval", "opens"),
    [
        pytest.param("1d", [28, 29, 30, 31], id="1d"),
        pytest.param("3d", [30], id="3d"),
        pytest.param("1w", [29], id="1w"),
        pytest.param("1mo", [1], id="1mo"),
    ],
)
def test_bars_that_reach_over_the_last_day_may_be_lacking(desk, interval, opens) -> None:
    """No bar comes of an exchange that is down: the days they open on are told, and no other."""
    series = Series.parse(f"binance/spot/BTCUSDT/{interval}")
    days = [date(2024, 1, day) for day in opens]
    first, end = days[0], max(days[-1], days[0] + 2 * ONE_DAY) + ONE_DAY
    desk.configure({"intervals": [interval], "start": str(first), "end": str(end)})
    desk.sandbox.faults.add(Fault("*", "status", status=503))
    catalog = desk.catalog()

    with open_chains(catalog, desk.state) as chains:
        chain = chains.chain(catalog.feeds[0])
        [found] = compare_days(desk.lake, series, chain, first, end)

    assert list(found.unanswered) == days
    assert all("503" in why for why in found.unanswered.values())
    assert not found.is_equal


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        pytest.param(["XRPUSDT", "--interval", "4h"], "'XRPUSDT' is not configured", id="symbol"),
        pytest.param(["BTCUSDT", "--interval", "2h"], "'2h' is not configured", id="interval"),
        pytest.param(
            ["BTCUSDT", "--interval", "4h", "--start", "2025-01-01"], "no day of these", id="days"
        ),
        pytest.param(
            ["BTCUSDT,ETHUSDT", "--interval", "4h"],
            "one series is compared at a time, these are 2: binance/spot/BTCUSDT/4h, ",
            id="several",
        ),
        pytest.param(
            ["SOLUSDT", "--interval", "4h"], "no closed day yet; its feed starts 2", id="today"
        ),
    ],
)
def test_what_cannot_be_compared_is_a_fault_of_the_command(desk, arguments, said) -> None:
    """Status 2, and what there is."""
    today = {"intervals": ["4h"], "start": str(datetime.now(UTC).date()), "end": None}
    desk.configure(FEED, FEED | {"symbols": ["ETHUSDT"]}, today | {"symbols": ["SOLUSDT"]})

    done = desk.run("compare", *arguments)

    assert done.returncode == 2
    assert said in done.stderr
