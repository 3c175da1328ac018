"""Exchanges through ccxt: what its source makes of their answers, in every order and shape."""

import json
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from crypto_data.errors import Broken, Rejected, Unreachable
from crypto_data.exchanges import EXCHANGES
from crypto_data.intervals import DAY_MS, HOUR_MS, MINUTE_MS, Interval, TimeRange
from crypto_data.partitions import day_range, day_start_ms
from crypto_data.schema import epoch_ms
from crypto_data.series import Market, Series
from crypto_data.sources.base import Lifetime, Outcome
from crypto_data.sources.budget import Budget
from crypto_data.sources.ccxt_client import CcxtClient, Place
from crypto_data.sources.ccxt_rows import page_table
from crypto_data.sources.ccxt_source import CcxtSource, Connection
from crypto_data.sources.ccxt_symbols import find_symbol
from crypto_data.sources.connect import local_ms
from crypto_data.sources.gate import Gate
from crypto_data.sources.http import HttpClient, Retry

DAY = date(2024, 3, 4)
START = day_start_ms(DAY)
NOW = START + 400 * DAY_MS
BITSTAMP = Series("bitstamp", Market.SPOT, "BTC/USD", Interval.HOUR_1)
COINBASE = Series("coinbase", Market.SPOT, "BTC/USD", Interval.HOUR_1)
KRAKEN = Series("kraken", Market.SPOT, "BTC/USD", Interval.HOUR_1)
KUCOIN = Series("kucoin", Market.SPOT, "BTC/USDT", Interval.HOUR_1)

Query = dict[str, str]


def hours(start_ms, end_ms) -> list[int]:
    return list(range(-(-start_ms // HOUR_MS) * HOUR_MS, end_ms, HOUR_MS))


@dataclass
class Stub:
    """An exchange of few words: `markets` and `klines` answer, `asked` is what came."""

    markets: Callable[[], object]
    klines: Callable[[Query], object]
    asked: list[str] = field(default_factory=list)
    url: str = ""

    def answer(self, path: str) -> object:
        self.asked.append(path)
        parts = urlsplit(path)
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        candles = any(word in parts.path for word in ("ohlc", "candles"))
        return self.klines(query) if candles else self.markets()

    @property
    def pages(self) -> list[str]:
        return [path for path in self.asked if "ohlc" in path or "candles" in path]


@dataclass(frozen=True)
class Refusal:
    """An answer other than 200 and JSON."""

    status: int = 200
    body: str = "<html><h1>Just a moment</h1></html>"
    headers: tuple[tuple[str, str], ...] = ()


@pytest.fixture
def serve():
    servers = []

    def start(stub: Stub) -> Stub:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                said = stub.answer(self.path)
                said = said if isinstance(said, Refusal) else Refusal(200, json.dumps(said))
                self.send_response(said.status)
                for name, value in said.headers:
                    self.send_header(name, value)
                body = said.body.encode()
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *args: object) -> None:
                del args

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        stub.url = f"http://127.0.0.1:{server.server_address[1]}"
        return stub

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def source_of(stub: Stub, series: Series, folder: Path, *, now_ms=NOW, retries=0) -> CcxtSource:
    budget = Budget(folder, series.exchange, 6000)
    client = CcxtClient(Place(series.exchange, series.market, stub.url, budget))
    http = HttpClient(timeout=5, retry=Retry(retries, 0.01))
    return CcxtSource(Connection(client, http, Gate(folder, local_ms)), lambda: now_ms)


def bitstamp_markets() -> list[dict]:
    return [
        {
            "name": "BTC/USD", "market_symbol": "btcusd", "base_currency": "BTC",
            "counter_currency": "USD", "base_decimals": 8, "counter_decimals": 0,
            "minimum_order_value": "10", "trading": "Enabled", "market_type": "SPOT",
        }
    ]  # fmt: skip


def coinbase_markets() -> dict:
    return {
        "products": [
            {
                "product_id": "BTC-USD", "product_type": "SPOT", "base_currency_id": "BTC",
                "quote_currency_id": "USD", "base_increment": "0.00000001", "status": "online",
                "quote_increment": "0.01", "price_increment": "0.01", "base_min_size": "0.0001",
                "base_max_size": "1", "quote_min_size": "1", "quote_max_size": "1",
            }
        ]
    }  # fmt: skip


def bitstamp_bars(opens) -> dict:
    """Return bars as Bitstamp spells them, oldest first; each has its hour as volume."""
    bars = [
        {
            "timestamp": str(one // 1000), "open": "1", "high": "2", "low": "1", "close": "2",
            "volume": str(one // HOUR_MS),
        }
        for one in opens
    ]  # fmt: skip
    return {"data": {"pair": "BTC/USD", "ohlc": bars}}


def opens_of(answers) -> list[int]:
    """Return the open times of all answers, in the order they were handed over."""
    return [
        open_ms
        for answer in answers
        if answer.rows is not None
        for open_ms in epoch_ms(answer.rows["open_time"]).to_pylist()
    ]


@pytest.mark.parametrize("served", ["oldest", "newest"])
@pytest.mark.parametrize("cap", [7, 24, 1000])
def test_a_page_shorter_than_asked_is_no_hole(serve, tmp_path, served, cap) -> None:
    """Whichever end of its window an exchange leaves out, the rest is asked for again."""

    def klines(query: Query) -> object:
        held = hours(int(query["start"]) * 1000, int(query["end"]) * 1000 + 1)
        return bitstamp_bars(held[:cap] if served == "oldest" else held[-cap:])

    stub = serve(Stub(bitstamp_markets, klines))
    source = source_of(stub, BITSTAMP, tmp_path)

    answers = list(source.fetch(BITSTAMP, [TimeRange(START, START + 3 * DAY_MS)]))

    assert sorted(opens_of(answers)) == hours(START, START + 3 * DAY_MS)
    assert {answer.outcome for answer in answers} == {Outcome.SERVED}
    assert len(stub.pages) == -(-72 // cap)


def test_quiet_klines_are_left_out_and_the_fetch_comes_to_an_end(serve, tmp_path) -> None:
    """Coinbase hands out traded hours alone, newest first: what it has is served, no more asked."""
    traded = [hour for hour in hours(START, START + DAY_MS) if hour // HOUR_MS % 5]

    def klines(query: Query) -> object:
        first, end = int(query["start"]) * 1000, int(query["end"]) * 1000
        held = [one for one in traded if first <= one <= end]
        return {
            "candles": [
                {"start": str(one // 1000), "low": "1", "high": "2", "open": "1", "close": "2",
                 "volume": "3"}
                for one in reversed(held)
            ]
        }  # fmt: skip

    stub = serve(Stub(coinbase_markets, klines))
    source = source_of(stub, COINBASE, tmp_path)

    [answer] = source.fetch(COINBASE, [day_range(DAY)])

    assert opens_of([answer]) == traded
    assert answer.outcome is Outcome.SERVED
    assert len(stub.pages) <= 3


def test_columns_of_another_order_are_put_right(serve, tmp_path) -> None:
    """KuCoin's rows are time, open, close, high, low, volume, newest first, in seconds."""

    def markets() -> object:
        return {
            "code": "200000",
            "data": [
                {"symbol": "BTC-USDT", "name": "BTC-USDT", "baseCurrency": "BTC",
                 "quoteCurrency": "USDT", "enableTrading": True}
            ],
        }  # fmt: skip

    def klines(query: Query) -> object:
        held = hours(int(query["startAt"]) * 1000, int(query["endAt"]) * 1000)
        rows = [[str(one // 1000), "2", "3", "5", "1", "7", "14"] for one in reversed(held)]
        return {"code": "200000", "data": rows}

    stub = serve(Stub(markets, klines))

    [answer] = source_of(stub, KUCOIN, tmp_path).fetch(KUCOIN, [day_range(DAY)])

    row = answer.rows.to_pylist()[0]
    assert [row[name] for name in ("open", "high", "low", "close", "volume")] == [2, 5, 1, 3, 7]
    assert answer.rows.num_rows == 24


def test_a_kline_that_is_not_over_is_left_out(serve, tmp_path) -> None:
    """The clock of the chain says what is closed, whatever the exchange hands out."""

    def klines(query: Query) -> object:
        return bitstamp_bars(hours(int(query["start"]) * 1000, int(query["end"]) * 1000 + 1))

    now_ms = START + 5 * HOUR_MS + MINUTE_MS
    stub = serve(Stub(bitstamp_markets, klines))
    source = source_of(stub, BITSTAMP, tmp_path, now_ms=now_ms)

    answers = list(source.fetch(BITSTAMP, [day_range(DAY)]))

    assert opens_of(answers) == hours(START, START + 5 * HOUR_MS)


@pytest.mark.parametrize(
    ("where", "said", "told"),
    [
        pytest.param("markets", Refusal(), (Outcome.BROKEN, "Just a moment"), id="markets-html"),
        pytest.param("markets", [], (Outcome.BROKEN, "is empty"), id="no-markets"),
        pytest.param("klines", Refusal(), (Outcome.BROKEN, "Just a moment"), id="klines-html"),
        pytest.param("klines", Refusal(503), (Outcome.DOWN, "HTTP 503"), id="503"),
        pytest.param("klines", Refusal(403), (Outcome.BLOCKED, "HTTP 403"), id="403"),
        pytest.param("klines", Refusal(451), (Outcome.BLOCKED, "HTTP 451"), id="451"),
        pytest.param(
            "klines",
            Refusal(429, "{}", (("Retry-After", "3600"),)),
            (Outcome.LIMITED, "HTTP 429"),
            id="429",
        ),
        pytest.param(
            "klines",
            Refusal(400, '{"error": "Service unavailable from a restricted location"}'),
            (Outcome.BLOCKED, "restricted location"),
            id="region-in-words",
        ),
        pytest.param(
            "klines",
            Refusal(400, '{"status": "error", "reason": "start is invalid"}'),
            (Outcome.BROKEN, "start is invalid"),
            id="bad-request-is-not-final",
        ),
        pytest.param("klines", [1, 2], (Outcome.BROKEN, "but [1, 2]"), id="another-shape"),
        pytest.param(
            "klines",
            bitstamp_bars(hours(START - DAY_MS, START)),
            (Outcome.BROKEN, "of the window"),
            id="another-window",
        ),
        pytest.param(
            "klines", {"data": {"ohlc": [{"timestamp": str(START // 1000), "open": "1"}]}},
            (Outcome.BROKEN, "without a value"), id="half-a-kline",
        ),
    ],
)  # fmt: skip
def test_a_bad_answer_never_passes_for_no_klines(serve, tmp_path, where, said, told) -> None:
    """Pages for people, empty lists and refusals are told as what they are; nothing is stored."""
    good = {"markets": bitstamp_markets(), "klines": bitstamp_bars(hours(START, START + DAY_MS))}
    held = good | {where: said}
    stub = serve(Stub(lambda: held["markets"], lambda _query: held["klines"]))
    source = source_of(stub, BITSTAMP, tmp_path)

    [answer] = source.fetch(BITSTAMP, [day_range(DAY)])

    outcome, words = told
    assert (answer.outcome, answer.rows) == (outcome, None)
    assert words in answer.detail


def kraken_of(*bars) -> Stub:
    """Return a kraken that hands out these bars, as far as they are not older than asked for."""
    assets = {"XXBT": {"altname": "XBT"}, "ZUSD": {"altname": "USD"}}
    pair = {
        "altname": "XBTUSD", "wsname": "XBT/USD", "base": "XXBT", "quote": "ZUSD",
        "pair_decimals": 1, "lot_decimals": 8, "fees": [], "fees_maker": [], "status": "online",
    }  # fmt: skip
    answers = {"Assets": assets, "AssetPairs": {"XXBTZUSD": pair}}

    def answer(path: str) -> object:
        parts = urlsplit(path)
        name = parts.path.rpartition("/")[2]
        if name != "OHLC":
            return {"error": [], "result": answers.get(name, {})}
        # Kraken leaves out the kline of the very instant; ccxt asks for one more.
        since_ms = int(parse_qs(parts.query)["since"][0]) * 1000
        rows = [[one // 1000, "1", "2", "1", "2", "1.5", "3", 4] for one in bars if one > since_ms]
        return {"error": [], "result": {"XXBTZUSD": rows, "last": 1}}

    stub = Stub(dict, lambda _query: {})
    stub.answer = answer  # type: ignore[method-assign]
    return stub


@pytest.mark.parametrize(
    ("newest", "outcome"),
    [
        pytest.param(START + DAY_MS + 4 * HOUR_MS, Outcome.SERVED, id="the-running-one"),
        pytest.param(START + DAY_MS - HOUR_MS, Outcome.SERVED, id="the-last-one-of-the-day"),
        pytest.param(START + DAY_MS - 2 * HOUR_MS, Outcome.BROKEN, id="one-lacks"),
        pytest.param(START + 5 * HOUR_MS, Outcome.BROKEN, id="old"),
        pytest.param(START - DAY_MS, Outcome.BROKEN, id="before"),
    ],
)
def test_newest_klines_that_end_too_soon_explain_nothing(serve, tmp_path, newest, outcome) -> None:
    """Kraken hands out its newest klines: a copy that is old proves nothing of what follows."""
    bars = hours(START - 2 * DAY_MS, newest + 1)
    stub = serve(kraken_of(*bars))
    now_ms = START + DAY_MS + 4 * HOUR_MS + MINUTE_MS
    source = source_of(stub, KRAKEN, tmp_path, now_ms=now_ms)

    answers = list(source.fetch(KRAKEN, [day_range(DAY)]))

    assert [answer.outcome for answer in answers] == [outcome]
    assert opens_of(answers) == [one for one in bars if START <= one < START + DAY_MS]
    assert outcome is Outcome.SERVED or answers[0].detail == (
        "none of its newest klines reaches 2024-03-05 00:00, which is over: stale"
    )


def test_a_fault_is_repeated_and_a_limit_waited_for(serve, tmp_path) -> None:
    """As often as the feed says, and as long as the exchange says; then the klines come."""
    said = [Refusal(503), Refusal(429, "{}", (("Retry-After", "0.05"),))]

    def klines(query: Query) -> object:
        held = hours(int(query["start"]) * 1000, int(query["end"]) * 1000 + 1)
        return said.pop() if said else bitstamp_bars(held)

    stub = serve(Stub(bitstamp_markets, klines))

    [answer] = source_of(stub, BITSTAMP, tmp_path, retries=2).fetch(BITSTAMP, [day_range(DAY)])

    assert (answer.outcome, answer.rows.num_rows) == (Outcome.SERVED, 24)
    assert len(stub.pages) == 3


def test_an_unknown_symbol_is_refused_with_its_neighbours(serve, tmp_path) -> None:
    """The list of markets decides, read again once before the symbol is given up."""
    stub = serve(Stub(bitstamp_markets, lambda _query: bitstamp_bars([])))
    series = Series("bitstamp", Market.SPOT, "BTC/USDX", Interval.HOUR_1)
    source = source_of(stub, series, tmp_path)

    [answer] = source.fetch(series, [day_range(DAY)])

    assert answer.outcome is Outcome.REJECTED
    assert answer.detail == "bitstamp does not list BTC/USDX; near it: BTC/USD"
    assert not stub.pages
    with pytest.raises(Rejected):
        source.lifetime(series)


@pytest.mark.parametrize("listed", [date(2011, 8, 18), date(2019, 5, 1), date(2024, 3, 1)])
def test_the_first_kline_is_found_in_few_requests(serve, tmp_path, listed) -> None:
    """By halving: the day is exact, and an hour's series starts within it."""
    listed_ms = day_start_ms(listed)

    def klines(query: Query) -> object:
        first, end = int(query["start"]) * 1000, int(query["end"]) * 1000
        step_ms = int(query["step"]) * 1000
        return bitstamp_bars([
            one for one in range(first, min(end + 1, NOW), step_ms) if one >= listed_ms
        ])  # fmt: skip

    stub = serve(Stub(bitstamp_markets, klines))

    lifetime = source_of(stub, BITSTAMP, tmp_path).lifetime(BITSTAMP)

    assert lifetime == Lifetime(listed_ms, slack_ms=DAY_MS)
    assert len(stub.pages) <= 6


def test_without_ccxt_a_person_is_told_what_to_install(serve, tmp_path, monkeypatch) -> None:
    """The library is an extra; its absence is no word about the klines."""
    monkeypatch.setitem(sys.modules, "ccxt", None)
    stub = serve(Stub(bitstamp_markets, lambda _query: bitstamp_bars([])))

    [answer] = source_of(stub, BITSTAMP, tmp_path).fetch(BITSTAMP, [day_range(DAY)])

    assert answer.outcome is Outcome.DOWN
    assert "pip install 'crypto-data[ccxt]'" in answer.detail
    assert not stub.asked


def test_the_time_is_the_date_of_an_answer_where_the_api_has_none(serve, tmp_path) -> None:
    """Bitstamp has no time of its own: the header of its answer tells, in whole seconds."""
    stub = serve(Stub(bitstamp_markets, lambda _query: bitstamp_bars([])))
    source = source_of(stub, BITSTAMP, tmp_path)
    connection = source._connection

    told_ms, seconds = connection.client.time(connection.trip("exchange time"))

    assert told_ms % 1000 == 0
    assert told_ms > NOW
    assert seconds > 0


ROW = [START, 1.0, 2.0, 1.0, 2.0, 5.0]


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        pytest.param([[None] * 6, [None] * 6], "without a value", id="letters-of-a-page"),
        pytest.param([[*ROW[:5], None]], "without a value", id="no-volume"),
        pytest.param([ROW, ROW[:5]], "not lists of 6", id="short"),
        pytest.param([[*ROW[:5], "x"]], "damaged", id="text"),
    ],
)
def test_rows_that_are_none_are_refused(rows, words) -> None:
    """A page for people that came through as klines of nothing is never stored."""
    with pytest.raises(ValueError, match=words):
        page_table(rows, Interval.HOUR_1)


@pytest.mark.parametrize("unit", [1, 1000], ids=["milliseconds", "microseconds"])
@pytest.mark.parametrize(
    ("interval", "open_ms", "end_ms"),
    [
        pytest.param(Interval.HOUR_1, START, START + HOUR_MS, id="1h"),
        pytest.param(
            Interval.MONTH_1, day_start_ms(date(2024, 2, 1)), day_start_ms(date(2024, 3, 1)),
            id="1mo",
        ),
    ],
)  # fmt: skip
def test_rows_get_their_close_and_nothing_that_nobody_told(unit, interval, open_ms, end_ms) -> None:
    """Either unit of time is read; the close is the last millisecond of the bar."""
    [row] = page_table([[open_ms * unit, *ROW[1:]]], interval).to_pylist()

    assert row["open_time"].timestamp() * 1000 == open_ms
    assert round(row["close_time"].timestamp() * 1000) == end_ms - 1
    assert row["volume"] == 5.0
    assert {row[name] for name in ("quote_volume", "trade_count", "taker_buy_volume")} == {None}


def market(base, quote, settle="", *, inverse=False, kind="swap") -> dict:
    contract = bool(settle)
    return {
        "id": f"{base}-{quote}", "base": base, "quote": quote, "settle": settle or None,
        "spot": not contract, "swap": contract and kind == "swap", "option": kind == "option",
        "linear": contract and not inverse, "inverse": contract and inverse,
    }  # fmt: skip


MARKETS = {
    "BTC/USDT": market("BTC", "USDT"),
    "AB/CUSDT": market("AB", "CUSDT"),
    "ABC/USDT": market("ABC", "USDT"),
    "BTC/USDT:USDT": market("BTC", "USDT", "USDT"),
    "BTC/USDT:BTC": market("BTC", "USDT", "BTC"),
    "BTC/USD:BTC": market("BTC", "USD", "BTC", inverse=True),
    "BTC/USD:BTC-261225": market("BTC", "USD", "BTC", inverse=True, kind="future"),
}


@pytest.mark.parametrize(
    ("series", "found"),
    [
        ("binance/spot/BTCUSDT/1h", "BTC/USDT"),
        ("binance/um/BTCUSDT/1h", "BTC/USDT:USDT"),
        ("binance/cm/BTCUSD_PERP/1h", "BTC/USD:BTC"),
        ("okx/spot/BTC/USDT/1h", "BTC/USDT"),
        ("kraken/spot/BTC/USDT/1h", "BTC/USDT"),
        ("okx/cm/BTC/USD:BTC-261225/1h", "BTC/USD:BTC-261225"),
        ("okx/spot/BTC-USDT/1h", "BTC/USDT"),
        ("binance/spot/ETHUSDT/1h", "okx has no spot market for ETHUSDT"),
        ("binance/um/BTCUSDT_261225/1h", "okx has no um market for BTCUSDT_261225"),
        ("binance/um/1000PEPEUSDT/1h", "okx has no um market for 1000PEPEUSDT"),
        ("binance/spot/ABCUSDT/1h", "okx has several markets for ABCUSDT: AB/CUSDT, ABC/USDT"),
        ("okx/um/BTC/USDT/1h", "okx does not list BTC/USDT; near it: BTC/USDT:BTC, BTC/USDT:USDT"),
    ],
)
def test_a_series_finds_its_market(series, found) -> None:
    """By ccxt's spelling, the exchange's own, or base and quote; several are as bad as none."""
    try:
        symbol = find_symbol(MARKETS, Series.parse(series), "okx")
    except LookupError as error:
        symbol = str(error)

    assert sorted(symbol) == sorted(found)


def test_every_exchange_can_be_moved_to_another_address(serve, tmp_path) -> None:
    """Whatever ccxt sends goes to the address of the configuration, and nowhere else."""
    for name, facts in EXCHANGES.items():
        stub = serve(Stub(lambda: Refusal(503), lambda _query: Refusal(503)))
        series = Series(name, facts.markets[0], "BTC/USDT", facts.intervals[0])
        source = source_of(stub, series, tmp_path / name)

        with pytest.raises(Unreachable, match="HTTP 503"):
            source.symbols(series.market)
        assert len(stub.asked) == 1


def test_a_broken_time_is_no_time(serve, tmp_path) -> None:
    """A page in place of KuCoin's time is an error, for the next clock to be asked."""
    stub = serve(Stub(Refusal, lambda _query: Refusal()))
    source = source_of(stub, KUCOIN, tmp_path)

    with pytest.raises(Broken, match="Just a moment"):
        source._connection.client.time(source._connection.trip("exchange time"))
