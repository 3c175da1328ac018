"""The stand-in exchange as OKX: what ccxt's own class reads from it, and how OKX pages."""

import pytest

from crypto_data.intervals import DAY_MS, HOUR_MS, MINUTE_MS, Interval, TimeRange
from crypto_data.sandbox.faults import Fault
from crypto_data.sandbox.server import Sandbox
from crypto_data.sandbox.symbols import instant
from crypto_data.series import Series
from crypto_data_tests.conftest import ccxt_client, ohlcv_of

NOW = instant("2026-06-01T12:00:30")
pytestmark = pytest.mark.usefixtures("healed")
JAN = instant("2024-01-01")
CANDLES = "/okx/api/v5/market/candles"
HISTORY = "/okx/api/v5/market/history-candles"


@pytest.fixture
def sandbox(running):
    return running[0]


@pytest.fixture
def okx(sandbox):
    return ccxt_client(sandbox, "okx")


@pytest.fixture
def ask(running):
    def candles(path=HISTORY, **values):
        values = {"instId": "BTC-USDT", "bar": "1H"} | values
        return running[1].get(path, params=values)

    return candles


def opens(answer) -> list[int]:
    return [int(row[0]) for row in answer.json()["data"]]


@pytest.mark.parametrize(
    ("symbol", "expected"),
    [
        pytest.param("BTC/USDT", ("BTC-USDT", "spot", None, None), id="spot"),
        pytest.param("BTC/USDT:USDT", ("BTC-USDT-SWAP", "swap", True, 0.01), id="linear"),
        pytest.param("BTC/USD:BTC", ("BTC-USD-SWAP", "swap", False, 100.0), id="inverse"),
    ],
)
def test_ccxt_knows_its_markets(okx, symbol, expected) -> None:
    """Spot pairs, linear and inverse swaps carry what ccxt tells them apart by."""
    market = okx.load_markets()[symbol]

    assert (market["id"], market["type"], market["linear"], market["contractSize"]) == expected
    assert market["active"] is True


def test_the_time_is_the_clock(okx) -> None:
    """OKX tells the milliseconds of the sandbox's clock."""
    assert okx.fetch_time() == NOW


@pytest.mark.parametrize("interval", ["1m", "15m", "4h", "6h", "1d", "1w", "1mo"])
@pytest.mark.parametrize(
    ("market", "symbol"),
    [("spot", "BTC/USDT"), ("um", "BTC/USDT:USDT"), ("cm", "BTC/USD:BTC")],
)
def test_ccxt_reads_the_truth(sandbox, okx, market, symbol, interval) -> None:
    """What ccxt makes of the candles of any interval is what the sandbox says was traded."""
    series = Series.parse(f"okx/{market}/{symbol}/{interval}")
    start_ms = series.interval.floor(JAN)
    end_ms = start_ms + 5 * series.interval.length_ms

    rows = okx.fetch_ohlcv(symbol, series.interval.rest_name, start_ms, 5)

    assert len(rows) >= 5
    assert rows == ohlcv_of(sandbox.klines(series, TimeRange(start_ms, end_ms)))[: len(rows)]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        pytest.param({"before": JAN - 1, "after": JAN + 3 * HOUR_MS}, [2, 1, 0], id="newest-first"),
        pytest.param({"before": JAN, "after": JAN + 3 * HOUR_MS}, [2, 1], id="before-exclusive"),
        pytest.param({"before": JAN - 1, "after": JAN + 1}, [0], id="after-exclusive"),
        pytest.param(
            {"before": JAN - 1, "after": JAN + DAY_MS, "limit": 2}, [23, 22], id="newest-of-window"
        ),
        pytest.param({"after": JAN + HOUR_MS, "limit": 2}, [0, -1], id="after-alone"),
        pytest.param({"before": NOW}, [], id="future"),
        pytest.param({"after": instant("2015-01-01")}, [], id="before-listing"),
    ],
)
def test_cursors_are_exclusive(ask, values, expected) -> None:
    """Candles come newest first, strictly between the two cursors."""
    assert opens(ask(**values)) == [JAN + hour * HOUR_MS for hour in expected]


@pytest.mark.parametrize(
    ("path", "values", "rows"),
    [
        pytest.param(CANDLES, {}, 100, id="default"),
        pytest.param(CANDLES, {"limit": 1000}, 300, id="candles"),
        pytest.param(HISTORY, {"limit": 1000}, 300, id="history"),
    ],
)
def test_a_page_has_its_limit(ask, path, values, rows) -> None:
    """More than the exchange's limit is never given, less than 100 only on demand."""
    assert len(opens(ask(path, **values))) == rows


def test_a_shorter_history_page_is_the_newest_of_its_window() -> None:
    """With pages of 100, as OKX had them for long, ccxt's window of 300 lacks its beginning."""
    with Sandbox(now_ms=NOW, okx_history_rows=100) as sandbox:
        rows = ccxt_client(sandbox, "okx").fetch_ohlcv("BTC/USDT", "1h", JAN, 300)

    assert [row[0] for row in rows] == [JAN + hour * HOUR_MS for hour in range(200, 300)]


def test_only_history_reaches_beyond_1440_bars(ask) -> None:
    """`candles` knows the newest 1440 bars and answers with nothing before them."""
    oldest = NOW // HOUR_MS * HOUR_MS - 1439 * HOUR_MS

    assert opens(ask(CANDLES, after=oldest + HOUR_MS)) == [oldest]
    assert len(opens(ask(HISTORY, after=oldest + HOUR_MS))) == 100


def test_the_unfinished_bar_is_not_confirmed(sandbox, ask) -> None:
    """The newest bar grows until its end; only then `confirm` is 1."""
    running = ask(CANDLES, limit=1).json()["data"][0]
    sandbox.set_clock(NOW // HOUR_MS * HOUR_MS + HOUR_MS + 1)
    later, closed = ask(CANDLES, limit=2).json()["data"]

    assert (running[0], running[8]) == (closed[0], "0")
    assert (closed[8], later[8]) == ("1", "0")
    assert float(running[5]) < float(closed[5])


@pytest.mark.parametrize("interval", ["6h", "12h", "1d", "1w", "1mo"])
def test_long_bars_follow_hong_kong(ask, interval) -> None:
    """Without `utc` a bar opens when it does eight hours to the east, and sums up its own hours."""
    grid = Interval(interval)
    bar = grid.rest_name.upper()

    local, utc = (opens(ask(bar=name, after=JAN + 1)) for name in (bar, f"{bar}utc"))
    row = ask(bar=bar, after=JAN + 1).json()["data"][1]
    hours = ask(after=local[0], before=local[1] - 1, limit=300).json()["data"]

    assert all(grid.floor(open_ms + 8 * HOUR_MS) == open_ms + 8 * HOUR_MS for open_ms in local)
    assert all(grid.floor(open_ms) == open_ms for open_ms in utc)
    assert float(row[4]) == float(hours[0][4])
    if len(hours) < 300:
        assert float(row[1]) == float(hours[-1][1])
        assert float(row[2]) == max(float(hour[2]) for hour in hours)
        assert float(row[5]) == pytest.approx(sum(float(hour[5]) for hour in hours))


@pytest.mark.parametrize(
    ("values", "status", "code"),
    [
        pytest.param({"instId": ""}, 400, "50014", id="no-instrument"),
        pytest.param({"instId": "BTC-EUR"}, 200, "51001", id="unknown-instrument"),
        pytest.param({"bar": "1s"}, 400, "51000", id="unknown-bar"),
        pytest.param({"bar": "1dutc"}, 400, "51000", id="case"),
        pytest.param({"before": "yesterday"}, 400, "51000", id="bad-cursor"),
        pytest.param({"limit": "0"}, 400, "51000", id="no-rows"),
    ],
)
def test_refusals_have_a_code(ask, values, status, code) -> None:
    """A wrong parameter is answered with OKX's code and no data."""
    answer = ask(**values)

    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert answer.json()["data"] == []


@pytest.mark.parametrize(
    ("action", "expected"),
    [
        pytest.param({"action": "missing_rows", "start_ms": 0}, [], id="missing-page"),
        pytest.param({"action": "missing_rows"}, [1, 0], id="half"),
        pytest.param({"action": "unsorted"}, [0, 1, 2, 3], id="ascending"),
        pytest.param({"action": "doubled"}, [3, 2, 2, 1, 0], id="doubled"),
    ],
)
def test_rows_can_be_wrong(sandbox, ask, action, expected) -> None:
    """Faults about rows apply to candles, once if so told."""
    sandbox.faults.add(Fault(path=HISTORY, times=1, **action))
    values = {"before": JAN - 1, "after": JAN + 4 * HOUR_MS}

    wrong, right = ask(**values), ask(**values)

    assert opens(wrong) == [JAN + hour * HOUR_MS for hour in expected]
    assert opens(right) == [JAN + hour * HOUR_MS for hour in (3, 2, 1, 0)]


def test_prices_can_be_no_number(sandbox, okx) -> None:
    """A price that is no number reaches whoever asks through ccxt."""
    okx.load_markets()
    sandbox.faults.add(Fault(f"{HISTORY}*", "nan"))

    (row,) = okx.fetch_ohlcv("BTC/USDT", "1h", JAN, 1)

    assert row[4] != row[4]


def test_what_is_not_listed_yet_is_unknown(sandbox, okx) -> None:
    """An instrument appears with its first bar."""
    sandbox.set_clock(instant("2019-01-01"))

    assert set(okx.load_markets()) == {"BTC/USDT", "ETH/USDT", "BTC/USD:BTC"}


def test_listing_times_of_spot_are_later_than_candles(okx, ask) -> None:
    """OKX's `listTime` must not be taken for the first candle."""
    created = okx.load_markets()["BTC/USDT"]["created"]

    assert created > instant("2019-01-01")
    assert min(opens(ask(bar="1Dutc", after=created))) < created
    assert Interval.DAY_1.floor(instant("2018-01-11T02:00")) == min(
        opens(ask(bar="1Dutc", after=instant("2018-02-01")))
    )


def test_quiet_minutes_are_flat(sandbox) -> None:
    """In a minute without trades the bar stands still and has no volume."""
    series = Series.parse("okx/spot/BTC/USDT/1m")

    rows = sandbox.klines(series, TimeRange(JAN, JAN + DAY_MS)).to_pylist()

    quiet = [row for row in rows if row["volume"] == 0]
    assert len(rows) == DAY_MS // MINUTE_MS
    assert 0 < len(quiet) < 5
    assert all(row["open"] == row["high"] == row["low"] == row["close"] for row in quiet)
