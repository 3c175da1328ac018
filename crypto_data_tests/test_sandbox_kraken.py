"""The stand-in exchange as Kraken, and what it and OKX have in common beside Binance."""

from importlib import import_module

import pytest

from crypto_data.errors import UsageError
from crypto_data.intervals import DAY_MS, HOUR_MS, MINUTE_MS, TimeRange
from crypto_data.sandbox.faults import Fault
from crypto_data.sandbox.symbols import instant
from crypto_data.series import Series
from crypto_data_tests.conftest import ccxt_client, ohlcv_of

NOW = instant("2026-06-01T12:00:30")
pytestmark = pytest.mark.usefixtures("healed")
JAN = instant("2024-01-01")
OHLC = "/kraken/0/public/OHLC"
SYMBOLS = {"okx": "BTC/USDT", "kraken": "BTC/USD"}


@pytest.fixture
def sandbox(running):
    return running[0]


@pytest.fixture
def kraken(sandbox):
    return ccxt_client(sandbox, "kraken")


@pytest.fixture
def ask(running):
    def ohlc(**values):
        values = {"pair": "XXBTZUSD", "interval": 60} | values
        return running[1].get(OHLC, params=values).json()

    return ohlc


def test_ccxt_knows_its_markets(kraken) -> None:
    """Kraken's own names of assets become the names everybody uses."""
    markets = kraken.load_markets()

    assert {symbol: market["id"] for symbol, market in markets.items()} == {
        "BTC/USD": "XXBTZUSD",
        "ETH/USD": "XETHZUSD",
    }
    assert all(market["spot"] and market["active"] for market in markets.values())


def test_the_time_is_the_clock(kraken) -> None:
    """Kraken tells the whole seconds of the sandbox's clock."""
    assert kraken.fetch_time() == NOW // 1000 * 1000
    assert kraken.fetch_status()["status"] == "ok"


@pytest.mark.parametrize("interval", ["1m", "5m", "15m", "30m", "1h", "4h", "1d"])
def test_ccxt_reads_the_truth(sandbox, kraken, interval) -> None:
    """What ccxt makes of the newest bars is what the sandbox says was traded."""
    series = Series.parse(f"kraken/spot/BTC/USD/{interval}")
    start_ms = series.interval.floor(NOW) - 10 * series.interval.length_ms

    rows = kraken.fetch_ohlcv("BTC/USD", interval, start_ms)

    assert len(rows) == 11
    assert rows[:10] == ohlcv_of(sandbox.klines(series, TimeRange(start_ms, NOW)))


def test_rows_have_the_types_of_the_exchange(ask) -> None:
    """Eight items: seconds and the count are numbers, the rest strings; the average lies inside."""
    rows = ask()["result"]["XXBTZUSD"]

    assert [type(item) for item in rows[0]] == [int, *[str] * 6, int]
    assert all(float(row[3]) <= float(row[5]) <= float(row[2]) for row in rows)
    assert all(row[0] % 3600 == 0 for row in rows)


def test_quiet_minutes_have_no_average(ask) -> None:
    """In a minute without trades the bar is flat, its volume, average and count are zero."""
    rows = ask(interval=1)["result"]["XXBTZUSD"]

    quiet = [row for row in rows if row[7] == 0]
    assert len(quiet) in {17, 18}  # every 41st of 720
    assert all(len(set(row[1:5])) == 1 for row in quiet)
    assert {tuple(row[5:]) for row in quiet} == {("0.0", "0.00000000", 0)}


@pytest.mark.parametrize("since", [None, 0, JAN // 1000], ids=["none", "epoch", "old"])
def test_it_holds_the_newest_720_bars_only(ask, since) -> None:
    """Whatever is asked for, nothing older than 720 bars comes, the unfinished one included."""
    rows = ask(**({} if since is None else {"since": since}))["result"]["XXBTZUSD"]

    newest = NOW // HOUR_MS * 3600
    assert [row[0] for row in rows] == [newest - hour * 3600 for hour in range(719, -1, -1)]


def test_since_is_exclusive(ask) -> None:
    """Asking with `last` gives what came after it: the unfinished bar again."""
    result = ask()["result"]
    again = ask(since=result["last"])["result"]

    assert result["last"] == result["XXBTZUSD"][-2][0]
    assert again == {"XXBTZUSD": result["XXBTZUSD"][-1:], "last": result["last"]}


def test_the_unfinished_bar_grows(sandbox, ask) -> None:
    """The last row changes with the clock, the others do not."""
    before = ask()["result"]["XXBTZUSD"]
    sandbox.set_clock(NOW + 10 * MINUTE_MS)
    after = ask()["result"]["XXBTZUSD"]

    assert before[:-1] == after[:-1]
    assert float(before[-1][6]) < float(after[-1][6])


def test_weeks_begin_on_thursday(ask) -> None:
    """Kraken's weeks follow the epoch, so they are nobody else's."""
    rows = ask(interval=10080)["result"]["XXBTZUSD"]

    assert all(row[0] * 1000 % (7 * DAY_MS) == 0 for row in rows)


@pytest.mark.parametrize("pair", ["XXBTZUSD", "XBTUSD", "XBT/USD"])
def test_a_pair_answers_to_all_its_names(ask, pair) -> None:
    """The answer calls it by its first one."""
    assert "XXBTZUSD" in ask(pair=pair)["result"]


@pytest.mark.parametrize(
    ("values", "error"),
    [
        pytest.param({"pair": "BTCUSD"}, "EQuery:Unknown asset pair", id="pair"),
        pytest.param({"interval": 7}, "EGeneral:Invalid arguments", id="interval"),
        pytest.param({"since": "yesterday"}, "EGeneral:Invalid arguments", id="since"),
    ],
)
def test_refusals_have_status_200(ask, values, error) -> None:
    """A refusal is an error in an answer that looks well, without a result."""
    assert ask(**values) == {"error": [error]}


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        pytest.param({"action": "status", "status": 503}, "ExchangeNotAvailable", id="503"),
        pytest.param({"action": "truncate"}, "NetworkError", id="cut-short"),
        pytest.param({"action": "drop"}, "NetworkError", id="reset"),
        pytest.param({"action": "delay", "seconds": 2.5}, "RequestTimeout", id="slow"),
    ],
)
@pytest.mark.parametrize("exchange", SYMBOLS)
def test_faults_reach_other_exchanges(sandbox, exchange, fault, error) -> None:
    """What goes wrong with an answer goes wrong with theirs, as ccxt calls it."""
    client = ccxt_client(sandbox, exchange)
    client.load_markets()
    client.timeout = 500
    sandbox.faults.add(Fault(path=f"/{exchange}/*", times=1, **fault))

    with pytest.raises(getattr(import_module("ccxt"), error)):
        client.fetch_ohlcv(SYMBOLS[exchange], "1h", NOW - DAY_MS, 5)
    assert len(client.fetch_ohlcv(SYMBOLS[exchange], "1h", NOW - DAY_MS, 5)) == 5


@pytest.mark.parametrize(
    ("exchange", "fault"),
    [
        pytest.param("okx", {"code": 50011, "body": "json"}, id="okx"),
        pytest.param("okx", {"status": 200, "code": 50011, "body": "json"}, id="okx-200"),
        pytest.param(
            "kraken",
            {"status": 200, "msg": "EGeneral:Too many requests", "body": "kraken"},
            id="kraken",
        ),
    ],
)
def test_too_many_requests_come_in_their_own_form(sandbox, exchange, fault) -> None:
    """Each exchange says in its own words to wait, and the header says how long."""
    ccxt = import_module("ccxt")
    client = ccxt_client(sandbox, exchange)
    client.load_markets()
    planted = {"status": 429, "retry_after": 7} | fault
    sandbox.faults.add(Fault(f"/{exchange}/*", "status", **planted))

    with pytest.raises((ccxt.RateLimitExceeded, ccxt.DDoSProtection)):
        client.fetch_ohlcv(SYMBOLS[exchange], "1h", NOW - DAY_MS, 5)
    assert client.last_response_headers["Retry-After"] == "7"


@pytest.mark.parametrize("action", ["no_symbols", "html200"])
@pytest.mark.parametrize("exchange", SYMBOLS)
def test_without_markets_every_symbol_is_unknown(sandbox, exchange, action) -> None:
    """An empty list, and a web page with status 200, are no error to ccxt: it knows no market."""
    client = ccxt_client(sandbox, exchange)
    sandbox.faults.add(Fault(f"/{exchange}/*", action))

    assert client.load_markets() == {}
    with pytest.raises(import_module("ccxt").BadSymbol):
        client.fetch_ohlcv(SYMBOLS[exchange], "1h", NOW - DAY_MS, 5)


def test_binance_can_have_no_symbols(running) -> None:
    """An empty exchangeInfo is well-formed."""
    sandbox, client = running
    sandbox.faults.add(Fault("/api/v3/exchangeInfo", "no_symbols"))

    assert client.get("/api/v3/exchangeInfo").json()["symbols"] == []


@pytest.mark.parametrize("interval", ["1m", "1h", "1d"])
@pytest.mark.parametrize(
    "series", ["okx/spot/BTC/USDT", "okx/spot/ETH/USDT", "kraken/spot/BTC/USD"]
)
def test_prices_are_near_binance_and_not_the_same(sandbox, series, interval) -> None:
    """Every close differs from Binance's, by less than a tenth of a percent."""
    span = TimeRange(JAN, JAN + 2 * DAY_MS)
    binance = "ETHUSDT" if "ETH" in series else "BTCUSDT"

    theirs = sandbox.klines(Series.parse(f"{series}/{interval}"), span).to_pylist()
    ours = sandbox.klines(Series.parse(f"binance/spot/{binance}/{interval}"), span).to_pylist()

    far = [abs(their["close"] / our["close"] - 1) for their, our in zip(theirs, ours, strict=True)]
    assert 0 < max(far) < 0.003
    assert sum(one > 0.001 for one in far) <= len(far) // 30  # those are quiet minutes
    assert all(their["close"] != our["close"] for their, our in zip(theirs, ours, strict=True))


@pytest.mark.parametrize("series", ["okx/spot/BTC/USDT", "kraken/spot/BTC/USD"])
def test_hours_are_the_sum_of_their_minutes(sandbox, series) -> None:
    """A coarser bar tells what its minutes tell, quiet ones included."""
    span = TimeRange(JAN, JAN + HOUR_MS)

    minutes = sandbox.klines(Series.parse(f"{series}/1m"), span).to_pylist()
    (hour,) = sandbox.klines(Series.parse(f"{series}/1h"), span).to_pylist()

    assert len(minutes) == 60
    assert hour["open"] == minutes[0]["open"]
    assert hour["close"] == minutes[-1]["close"]
    assert hour["high"] == max(minute["high"] for minute in minutes)
    assert hour["low"] == min(minute["low"] for minute in minutes)
    assert hour["volume"] == pytest.approx(sum(minute["volume"] for minute in minutes))


@pytest.mark.parametrize(
    ("first", "hours"),
    [
        pytest.param("2023-03-24T11:00", 5, id="recorded"),
        pytest.param("2021-04-25T03:00", 7, id="made"),
    ],
)
def test_others_trade_on_when_binance_stops(sandbox, first, hours) -> None:
    """An outage of Binance leaves no hole elsewhere, and cuts no bar."""
    span = TimeRange(instant(first), instant(first) + hours * HOUR_MS)

    theirs = sandbox.klines(Series.parse("okx/spot/BTC/USDT/1h"), span)
    ours = sandbox.klines(Series.parse("binance/spot/BTCUSDT/1h"), span)

    assert ours.num_rows < theirs.num_rows == hours
    assert all(
        (row["close_time"] - row["open_time"]).total_seconds() > 3599 for row in theirs.to_pylist()
    )


@pytest.mark.parametrize(
    "series", ["okx/um/BTC/USDT/1h", "kraken/spot/SOL/USD/1h", "gate/spot/A/1h"]
)
def test_a_series_it_does_not_have_is_refused(sandbox, series) -> None:
    """The truth of an unknown symbol is an error, not an empty table."""
    with pytest.raises(UsageError, match="no such symbol"):
        sandbox.klines(Series.parse(series), TimeRange(JAN, JAN + HOUR_MS))
