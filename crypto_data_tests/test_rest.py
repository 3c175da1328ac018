"""The REST API as a source: pages, windows, hosts, weights, and answers that cannot be trusted."""

import json
import threading
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pyarrow as pa
import pytest

from crypto_data.errors import Rejected, SourceError
from crypto_data.intervals import DAY_MS, Interval, TimeRange
from crypto_data.partitions import day_of, days_touched
from crypto_data.sandbox.faults import Fault
from crypto_data.sandbox.server import Sandbox
from crypto_data.sandbox.symbols import Symbol, instant
from crypto_data.series import Market, Series
from crypto_data.sources.base import Lifetime, Outcome
from crypto_data.sources.budget import Budget
from crypto_data.sources.gate import Gate
from crypto_data.sources.http import HttpClient, Retry
from crypto_data.sources.rest import RestSource
from crypto_data.sources.rest_page import RULES, parse_page
from crypto_data.sources.rest_symbols import parse_symbols
from crypto_data.sources.rest_text import read_items
from crypto_data.sources.rest_trip import RestEndpoint

NOW_MS = instant("2024-03-20T12:34:56")
SPOT = Series.parse("binance/spot/BTCUSDT/1h")
KLINES = "/api/v3/klines"
ENDED = Symbol(
    market=Market.UM,
    name="OLDUSDT",
    lives=((instant("2022-01-01"), instant("2024-01-10T09:00")),),
    volume_decimals=3,
)


@pytest.fixture(scope="module")
def exchange():
    limits = dict.fromkeys(Market, 1_000_000)
    with Sandbox(now_ms=NOW_MS, symbols=[ENDED], weights=limits) as sandbox:
        yield sandbox


@pytest.fixture
def sandbox(exchange):
    exchange.faults.clear()
    exchange.requests.clear()
    return exchange


@pytest.fixture
def build(tmp_path):
    """Return a source over some hosts, with a gate and a budget of its own."""
    client = HttpClient(timeout=2, retry=Retry(max_retries=1, delay_s=0.01))

    def source(*hosts, now_ms=NOW_MS, limit=1_000_000):
        endpoints = {
            market: RestEndpoint(hosts, Budget(tmp_path, f"rest-{market}", limit))
            for market in Market
        }
        return RestSource(client, Gate(tmp_path, lambda: NOW_MS), endpoints, lambda: now_ms)

    yield source
    client.close()


@pytest.fixture
def rest(sandbox, build):
    return build(sandbox.url)


def span(start, end):
    """Return a range of time."""
    return TimeRange(instant(start), instant(end))


def rows_of(answers):
    """Return all rows of some answers, ascending."""
    tables = [answer.rows for answer in answers if answer.rows is not None]
    return pa.concat_tables(tables).sort_by("open_time")


def klines_asked(sandbox):
    """Return the parameters of each klines call."""
    return [
        dict(pair.split("=") for pair in request.query.split("&"))
        for request in sandbox.requests
        if request.path.endswith("/klines")
    ]


@pytest.mark.parametrize(
    ("series", "gap", "pages"),
    [
        pytest.param("binance/spot/BTCUSDT/1m", ("2024-01-05", "2024-01-06"), 2, id="spot-day"),
        pytest.param("binance/spot/BTCUSDT/1s", ("2024-01-05", "2024-01-05T01:00"), 4, id="1s"),
        pytest.param("binance/um/BTCUSDT/1m", ("2024-01-05", "2024-01-06"), 1, id="um-day"),
        pytest.param("binance/cm/BTCUSD_PERP/1m", ("2024-01-05", "2024-01-08"), 3, id="cm"),
        pytest.param(
            "binance/cm/BTCUSD_PERP/1d", ("2022-01-01", "2024-01-01"), 4, id="cm-200-days"
        ),
        pytest.param("binance/cm/BTCUSD_PERP/1mo", ("2022-01-01", "2023-01-01"), 2, id="cm-months"),
        pytest.param("binance/spot/BTCUSDT/1w", ("2023-01-02", "2024-01-01"), 1, id="weeks"),
        pytest.param("binance/um/BTCUSDT/3d", ("2023-01-02", "2023-02-01"), 1, id="3d"),
        pytest.param("binance/spot/BTCUSDT/1mo", ("2023-01-01", "2024-01-01"), 1, id="months"),
        pytest.param("binance/um/BTCUSDT/1h", ("2019-09-01", "2019-09-12"), 1, id="listing"),
    ],
)
def test_what_is_served_is_the_truth(sandbox, rest, series, gap, pages) -> None:
    """Each market and interval comes complete, in as few pages as its limits allow."""
    series, gap = Series.parse(series), span(*gap)

    answers = list(rest.fetch(series, [gap]))

    assert rows_of(answers).equals(sandbox.klines(series, gap))
    assert {day for answer in answers for day in answer.days} == set(days_touched([gap]))
    assert len(klines_asked(sandbox)) == sum(answer.attempts for answer in answers) == pages


def test_days_with_and_without_klines_are_told_apart(sandbox, build) -> None:
    """Around a listing the days before it are a conclusive nothing."""
    gap = span("2024-05-15", "2024-05-19")
    sandbox.set_clock(instant("2024-06-01"))
    series = Series.parse("binance/spot/NEWUSDT/1h")

    served, nothing = build(sandbox.url, now_ms=instant("2024-06-01")).fetch(series, [gap])
    sandbox.set_clock(NOW_MS)

    assert (served.outcome, served.days[0]) == (Outcome.SERVED, day_of(instant("2024-05-17")))
    assert (nothing.outcome, len(nothing.days), nothing.rows) == (Outcome.NOTHING, 2, None)


def test_an_outage_in_the_middle_is_walked_over(sandbox, rest) -> None:
    """Absent bars neither end the walk nor are asked for again."""
    gap = span("2023-03-20", "2023-03-28")
    series = Series.parse("binance/spot/BTCUSDT/1m")

    answers = list(rest.fetch(series, [gap]))

    assert rows_of(answers).equals(sandbox.klines(series, gap))
    assert rows_of(answers).num_rows < 8 * 1440


def test_gaps_close_together_are_one_call(sandbox, rest) -> None:
    """Three small gaps of a day cost one page, far ones a page each."""
    day = instant("2024-01-05")
    near = [TimeRange(day + hour * 3_600_000, day + (hour + 1) * 3_600_000) for hour in (1, 5, 9)]
    far = TimeRange(instant("2023-01-05"), instant("2023-01-05T01:00"))

    answers = list(rest.fetch(SPOT, [far, *near]))

    assert [int(call["limit"]) for call in klines_asked(sandbox)] == [1, 9]
    assert [answer.days[0] for answer in answers] == [
        day_of(instant("2023-01-05")),
        day_of(day),
    ]


def test_long_ranges_come_in_several_answers(rest) -> None:
    """Memory stays bounded: about fifty thousand rows an answer, each day in one of them."""
    gap = span("2024-01-01", "2024-03-05")

    answers = list(rest.fetch(Series.parse("binance/spot/BTCUSDT/1m"), [gap]))

    assert len(answers) == 2
    assert max(answer.rows.num_rows for answer in answers) < 53_000
    assert sorted(day for answer in answers for day in answer.days) == days_touched([gap])


def test_the_unfinished_kline_is_dropped(rest) -> None:
    """The exchange serves the running hour; it is not handed on."""
    answers = list(rest.fetch(SPOT, [span("2024-03-20", "2024-03-20T13:00")]))

    assert rows_of(answers)["open_time"].to_pylist()[-1].hour == 11


@pytest.mark.parametrize(
    ("series", "limit", "weight"),
    [
        pytest.param("binance/spot/BTCUSDT/1h", 24, 2, id="spot-whatever"),
        pytest.param("binance/um/BTCUSDT/1h", 24, 1, id="um-small"),
        pytest.param("binance/um/BTCUSDT/5m", 288, 2, id="um-middle"),
        pytest.param("binance/cm/BTCUSD_PERP/1m", 1440, 10, id="cm-large"),
    ],
)
def test_a_day_weighs_what_the_exchange_counts(sandbox, build, series, limit, weight) -> None:
    """The limit fits what is wanted, so that the call weighs least, and its weight is booked."""
    series = Series.parse(series)
    source = build(sandbox.url)

    list(source.fetch(series, [span("2024-01-05", "2024-01-06")]))

    assert int(klines_asked(sandbox)[0]["limit"]) == limit
    assert RULES[series.market].weight(limit) == weight
    assert source._endpoints[series.market].budget.used() >= weight


def test_the_weight_limit_is_kept_without_a_single_429(build) -> None:
    """With a small budget the source waits, and the exchange never has to refuse."""
    with Sandbox(now_ms=NOW_MS, weights={Market.SPOT: 6}) as sandbox:
        source = build(sandbox.url, limit=6)
        source._endpoints[Market.SPOT].budget._longest_wait_s = 0.2
        answers = list(
            source.fetch(
                Series.parse("binance/spot/BTCUSDT/1m"), [span("2024-01-05", "2024-01-12")]
            )
        )

    assert {request.status for request in sandbox.requests} == {200}
    assert len(sandbox.requests) == 3
    assert answers[-1].outcome is Outcome.LIMITED
    assert "weight budget" in answers[-1].detail


@pytest.mark.parametrize(
    ("fault", "outcome"),
    [
        pytest.param({"action": "html200"}, Outcome.BROKEN, id="html-with-200"),
        pytest.param({"action": "code0"}, Outcome.BROKEN, id="code-0-with-200"),
        pytest.param({"action": "truncate", "how": "close"}, Outcome.BROKEN, id="cut-short"),
        pytest.param({"action": "truncate"}, Outcome.DOWN, id="shorter-than-declared"),
        pytest.param({"action": "status", "status": 503}, Outcome.DOWN, id="down"),
        pytest.param({"status": 403, "body": "html403"}, Outcome.BLOCKED, id="403"),
        pytest.param({"status": 451, "body": "451"}, Outcome.BLOCKED, id="451"),
        pytest.param({"status": 418, "retry_after": 600}, Outcome.LIMITED, id="ban"),
    ],
)
def test_each_fault_is_told_and_a_second_host_serves(sandbox, build, fault, outcome) -> None:
    """One host: the outcome. Two hosts: the other one's klines, and the reason in the detail."""
    sandbox.faults.add(Fault(KLINES, **{"action": "status"} | fault))
    gap = span("2024-01-05", "2024-01-07")

    (answer,) = build(sandbox.url).fetch(SPOT, [gap])
    with Sandbox(now_ms=NOW_MS) as second:
        (served,) = build(sandbox.url, second.url).fetch(SPOT, [gap])

    assert (answer.outcome, len(answer.days), answer.rows) == (outcome, 2, None)
    assert answer.detail
    assert (served.outcome, served.rows.num_rows) == (Outcome.SERVED, 48)
    assert served.detail


def test_an_unknown_symbol_is_rejected_in_the_exchange_own_words(rest) -> None:
    """-1121 is final, and no other host is asked."""
    (answer,) = rest.fetch(
        Series.parse("binance/spot/NOSUCHUSDT/1h"), [span("2024-01-05", "2024-01-06")]
    )

    assert answer.outcome is Outcome.REJECTED
    assert "code -1121: Invalid symbol." in answer.detail


@pytest.mark.parametrize("series", ["kraken/spot/BTCUSDT/1h", "binance/um/BTCUSDT/1s"])
def test_what_this_api_can_never_have(sandbox, rest, series) -> None:
    """Another exchange and futures by the second are unsupported, without a request."""
    (answer,) = rest.fetch(Series.parse(series), [span("2024-01-05", "2024-01-06")])

    assert (answer.outcome, sandbox.requests) == (Outcome.UNSUPPORTED, [])


def test_a_broken_page_costs_only_its_days(sandbox, rest) -> None:
    """What came before is served, and the next gap is still asked for."""
    sandbox.faults.add(Fault("*/klines?*startTime=1704*", "html200"))

    days = [
        ("2023-01-05", "2023-01-06"),
        ("2024-01-05", "2024-01-06"),
        ("2024-03-01", "2024-03-02"),
    ]
    answers = list(rest.fetch(SPOT, [span(*day) for day in days]))

    assert [answer.outcome for answer in answers] == [
        Outcome.SERVED,
        Outcome.BROKEN,
        Outcome.SERVED,
    ]


def test_a_fault_midway_keeps_what_was_fetched(sandbox, rest) -> None:
    """Rows that came before the host went down are handed over; the days stay open."""
    later = instant("2024-01-05") + 1000 * 60_000
    sandbox.faults.add(Fault(f"*/klines?*startTime={later}*", "status", status=503))

    (answer,) = rest.fetch(
        Series.parse("binance/spot/BTCUSDT/1m"), [span("2024-01-05", "2024-01-07")]
    )

    assert (answer.outcome, len(answer.days), answer.rows.num_rows) == (Outcome.DOWN, 2, 1000)


@pytest.mark.parametrize(
    ("action", "rows"),
    [
        pytest.param("unsorted", 24, id="unsorted"),
        pytest.param("doubled", 25, id="doubled"),
        pytest.param("nan", 24, id="nan"),
    ],
)
def test_odd_rows_are_handed_over_as_they_came(sandbox, rest, action, rows) -> None:
    """Disorder, doubles and NaN are for the rules to count; the walk still ends."""
    sandbox.faults.add(Fault(KLINES, action))

    answers = list(rest.fetch(SPOT, [span("2024-01-05", "2024-01-06")]))

    assert answers[0].rows.num_rows == rows
    assert len(sandbox.requests) == 1


ROW = [
    1704412800000,
    "1.0",
    "4.0",
    "0.5",
    "2.0",
    "10.0",
    1704416399999,
    "20.0",
    7,
    "6.0",
    "12.0",
    "0",
]


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"<html></html>", id="html"),
        pytest.param(b'{"code":0,"msg":"restricted"}', id="code-0"),
        pytest.param(b'"text"', id="text"),
        pytest.param(b"[1,2]", id="list-of-numbers"),
        pytest.param(json.dumps(["x" * 12]).encode(), id="twelve-letters"),
        pytest.param(json.dumps([ROW, ROW[:11]]).encode(), id="eleven-items"),
        pytest.param(json.dumps([ROW, {}]).encode(), id="object-row"),
        pytest.param(json.dumps([[None, *ROW[1:4], None, *ROW[5:]]]).encode()[:-9], id="torn"),
        pytest.param(json.dumps([["1704412800000", *ROW[1:]]]).encode(), id="time-as-text"),
        pytest.param(json.dumps([[ROW[0], "1.0e", *ROW[2:]]]).encode(), id="no-number"),
        pytest.param(json.dumps([[ROW[0], float("nan"), *ROW[2:]]]).encode(), id="nan-literal"),
        pytest.param(json.dumps([[10**20, *ROW[1:]]]).encode(), id="time-overflow"),
        pytest.param(b"[" * 100_000, id="deep"),
        pytest.param(b"\xff\xfe", id="no-utf8"),
    ],
)
def test_what_is_no_page(body) -> None:
    """Anything but rows of twelve items with times as numbers and prices as text is refused."""
    with pytest.raises(ValueError, match=r"klines|items|JSON"):
        parse_page(body, Market.SPOT)


@pytest.mark.parametrize(
    ("found", "planted"),
    [
        pytest.param(b"[1704412800000,", b"[01704412800000,", id="leading-zero"),
        pytest.param(b"[1704412800000,", b"[,", id="no-time"),
        pytest.param(b"[1704412800000,", b"[99999999999999999999,", id="time-overflow"),
        pytest.param(b"[[", b"[1[", id="number-before-a-row"),
        pytest.param(b'"],[', b'"]1,[', id="number-between-rows"),
        pytest.param(b'"],[', b'"]\n[', id="no-comma-between-rows"),
        pytest.param(b'"],[', b'"],[],[', id="empty-row"),
        pytest.param(b'"],[', b'"],[[', id="row-in-a-row"),
        pytest.param(b'"1.0"', b'"1.0"5', id="number-behind-the-quotes"),
        pytest.param(b'"1.0"', b"1.0", id="price-as-number"),
        pytest.param(b'"1.0"', b'""', id="no-price"),
        pytest.param(b'"1.0"', b'"1.0.0"', id="two-points"),
        pytest.param(b",7,", b',"7",', id="count-as-text"),
        pytest.param(b"]]", b"]", id="not-closed"),
        pytest.param(b"]]", b"]]]", id="closed-twice"),
        pytest.param(b"]]", b"],]", id="comma-behind-the-last-row"),
        pytest.param(b"]]", b"]]0", id="number-behind-the-end"),
    ],
)
def test_a_damaged_page_in_the_exchange_own_spelling(found, planted) -> None:
    """What is no page is none either where it looks like one, but for a byte or two."""
    body = json.dumps([ROW] * 3, separators=(",", ":")).encode()
    assert read_items(body) is not None

    with pytest.raises(ValueError, match=r"klines|items|JSON"):
        parse_page(body.replace(found, planted, 1), Market.SPOT)


@pytest.mark.parametrize(
    "series", ["binance/spot/BTCUSDT/1m", "binance/um/BTCUSDT/1m", "binance/cm/BTCUSD_PERP/1m"]
)
def test_the_exchange_own_spelling_reads_as_any_other(sandbox, series) -> None:
    """A page is read as CSV, and gives the table that the same JSON with blanks does."""
    series = Series.parse(series)
    bounds = f"startTime={instant('2024-01-05')}&limit=1000"
    path = f"{RULES[series.market].root}/klines?symbol={series.symbol}&interval=1m&{bounds}"
    with urllib.request.urlopen(sandbox.url + path) as answer:  # noqa: S310 - loopback
        body = answer.read()

    page = parse_page(body, series.market)

    assert read_items(body) is not None
    assert page.num_rows == 1000
    assert page.equals(parse_page(json.dumps(json.loads(body)).encode(), series.market))


def test_a_count_of_nothing_is_no_leading_zero() -> None:
    """A quiet kline counts 0 trades."""
    body = json.dumps([[*ROW[:8], 0, *ROW[9:]]], separators=(",", ":")).encode()

    assert read_items(body)[8].to_pylist() == [0]


def test_coin_margined_items_mean_something_else() -> None:
    """In cm answers item 5 counts contracts and item 7 is base volume."""
    (row,) = parse_page(json.dumps([ROW]).encode(), Market.CM).to_pylist()

    assert (row["contract_volume"], row["volume"], row["taker_buy_volume"]) == (10.0, 20.0, 12.0)
    assert row["quote_volume"] is None


class Deaf(BaseHTTPRequestHandler):
    """A server that answers every question with the same kline of 2024-01-05 00:00."""

    def do_GET(self):
        body = json.dumps([ROW]).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        """Say nothing."""


def test_klines_outside_the_window_are_no_answer(build) -> None:
    """A server that ignores startTime ends the walk, and does not get to say "nothing"."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Deaf) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        rest = build(f"http://127.0.0.1:{server.server_address[1]}")
        (answer,) = rest.fetch(SPOT, [span("2024-01-05", "2024-01-06")])
        server.shutdown()

    assert answer.outcome is Outcome.BROKEN
    assert "outside the window" in answer.detail
    assert answer.rows.num_rows == 1


@pytest.mark.parametrize(
    ("series", "first", "last"),
    [
        pytest.param("binance/spot/BTCUSDT/1h", "2017-08-17", None, id="trading"),
        pytest.param("binance/spot/OLDUSDT/1h", "2017-08-17", "2024-02-20T03:00", id="delisted"),
        pytest.param("binance/spot/LUNAUSDT/1h", "2020-08-21T10:00", None, id="relisted"),
        pytest.param("binance/um/BTCUSDT/1h", "2019-09-08T17:00", None, id="before-onboard-date"),
        pytest.param("binance/um/OLDUSDT/1h", "2022-01-01", "2024-01-10T09:00", id="settled"),
        pytest.param("binance/cm/BTCUSD_PERP/1h", "2020-08-11", None, id="cm-onboard-date"),
    ],
)
def test_when_a_symbol_traded(rest, series, first, last) -> None:
    """The first kline starts a life; only a symbol that is delisted has an end."""
    life = rest.lifetime(Series.parse(series))

    assert life == Lifetime(instant(first), last and instant(last))


def test_symbols_are_asked_for_once(sandbox, rest) -> None:
    """The list of symbols weighs 20 and is 15 MB: one request serves every series."""
    for symbol in ("BTCUSDT", "ETHUSDT", "OLDUSDT"):
        rest.lifetime(Series.parse(f"binance/spot/{symbol}/1h"))
    rest.symbols(Market.SPOT)

    asked = [request.path for request in sandbox.requests]
    assert asked.count("/api/v3/exchangeInfo") == 1


def test_a_life_that_cannot_be_told_is_an_error(sandbox, rest) -> None:
    """HTML instead of exchangeInfo must not make every symbol look unknown."""
    sandbox.faults.add(Fault("/api/v3/exchangeInfo", "html200"))

    with pytest.raises(SourceError):
        rest.lifetime(SPOT)


def test_an_unknown_symbol_has_no_life(rest) -> None:
    """The exchange's refusal is raised as such."""
    with pytest.raises(Rejected):
        rest.lifetime(Series.parse("binance/spot/NOSUCHUSDT/1h"))


@pytest.mark.parametrize("body", [b"{}", b'{"symbols": []}', b"[]", b'{"symbols": [{"x": 1}]}'])
def test_a_list_without_symbols_is_refused(body) -> None:
    """An empty list of symbols is a fault of the answer."""
    with pytest.raises(ValueError, match=r"symbol"):
        parse_symbols(body, Market.SPOT)


@pytest.mark.parametrize("market", list(Market))
@pytest.mark.parametrize("interval", list(Interval))
def test_a_window_never_asks_for_more_than_is_allowed(market, interval) -> None:
    """Every first window of ten years fits the page and the 200 days."""
    rules = RULES[market]
    years = TimeRange(0, 3650 * DAY_MS)

    window = rules.window(interval, TimeRange(interval.ceil(0), years.end_ms))

    assert 1 <= rules.limit(interval, window) <= rules.page_limit
    if rules.longest_window_ms is not None:
        assert window.end_ms - window.start_ms <= 200 * DAY_MS
