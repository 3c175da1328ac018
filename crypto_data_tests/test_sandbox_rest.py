"""The stand-in exchange: klines, exchangeInfo, weights and refusals over REST."""

import csv
import io
import zipfile

import httpx
import pytest

from crypto_data.intervals import DAY_MS, HOUR_MS, MINUTE_MS
from crypto_data.sandbox.faults import Fault
from crypto_data.sandbox.recordings import recordings
from crypto_data.sandbox.server import Sandbox
from crypto_data.sandbox.symbols import instant
from crypto_data.series import Market

NOW = instant("2026-06-01T12:00:30")
WEIGHTS = dict.fromkeys(Market, 10**6)
pytestmark = pytest.mark.usefixtures("healed")
JAN = instant("2024-01-01")
ROOT = {Market.SPOT: "/api/v3", Market.UM: "/fapi/v1", Market.CM: "/dapi/v1"}


@pytest.fixture
def sandbox(running):
    return running[0]


@pytest.fixture
def ask(running):
    def klines(market=Market.SPOT, **values):
        name = "BTCUSD_PERP" if market is Market.CM else "BTCUSDT"
        values = {"symbol": name, "interval": "1h"} | values
        return running[1].get(f"{ROOT[market]}/klines", params=values)

    return klines


def opens(answer):
    return [row[0] for row in answer.json()]


def test_rows_have_the_types_of_the_exchange(ask) -> None:
    """Twelve items: times and count are numbers, the rest strings, the last `0`."""
    (row,) = ask(startTime=JAN, limit=1).json()

    assert [type(item) for item in row] == [int, *[str] * 5, int, str, int, str, str, str]
    assert (row[0], row[6], row[11]) == (JAN, JAN + HOUR_MS - 1, "0")


@pytest.mark.parametrize(
    ("start", "end", "expected"),
    [
        pytest.param(JAN, JAN + HOUR_MS, [0, 1], id="both-inclusive"),
        pytest.param(JAN, JAN + HOUR_MS - 1, [0], id="end-before-the-bar"),
        pytest.param(JAN + 1, JAN + HOUR_MS, [1], id="start-rounds-up"),
        pytest.param(JAN * 1000, (JAN + HOUR_MS) * 1000, [0, 1], id="microseconds"),
        pytest.param(NOW + HOUR_MS, NOW + DAY_MS, [], id="future"),
    ],
)
def test_both_ends_are_inclusive(ask, start, end, expected) -> None:
    """The two parameters are compared with open_time, both included."""
    found = opens(ask(startTime=start, endTime=end))

    assert found == [JAN + hour * HOUR_MS for hour in expected]


@pytest.mark.parametrize(
    ("market", "limit", "count"),
    [
        pytest.param(Market.SPOT, None, 500, id="default"),
        pytest.param(Market.SPOT, 5000, 1000, id="spot-cut"),
        pytest.param(Market.UM, 5000, 1500, id="um-cut"),
        pytest.param(Market.CM, 5000, 1500, id="cm-cut"),
    ],
)
def test_too_high_a_limit_is_cut_silently(ask, market, limit, count) -> None:
    """More than the page limit gives a page, not an error."""
    values = {} if limit is None else {"limit": limit}

    found = opens(ask(market, startTime=JAN, endTime=JAN + 100 * DAY_MS, **values))

    assert len(found) == count
    first = JAN + 100 * DAY_MS - (count - 1) * HOUR_MS if market is Market.CM else JAN
    assert found[0] == first


def test_without_a_start_the_newest_rows_come(ask) -> None:
    """Only endTime: the newest up to it; neither: the newest of all, unfinished one included."""
    to_end = opens(ask(endTime=JAN, limit=3))
    newest = opens(ask(limit=2))

    assert to_end == [JAN - 2 * HOUR_MS, JAN - HOUR_MS, JAN]
    assert newest[-1] == NOW - NOW % HOUR_MS


def test_a_window_before_the_listing_starts_with_the_first_bar(ask) -> None:
    """REST of um begins on 2019-09-08, before the archive; an earlier start is no error."""
    found = opens(ask(Market.UM, interval="1d", startTime=instant("2019-01-01"), limit=1))

    assert found == [instant("2019-09-08")]
    assert opens(ask(startTime=0, endTime=JAN - 3000 * DAY_MS)) == []


def test_pages_skip_the_time_between_two_lives(ask) -> None:
    """A page that meets a hole goes on behind it."""
    found = opens(ask(symbol="LUNAUSDT", startTime=instant("2022-05-12T23:00"), limit=2))

    assert found == [instant("2022-05-12T23:00"), instant("2022-05-31T06:00")]


def test_coin_margined_windows_are_short(ask) -> None:
    """More than 200 days is -4088."""
    answer = ask(Market.CM, startTime=JAN, endTime=JAN + 201 * DAY_MS)

    assert (answer.status_code, answer.json()["code"]) == (400, -4088)


def test_the_last_bar_is_unfinished_and_moves(sandbox, ask) -> None:
    """The open bar's close_time lies ahead; its values grow with the clock and end as the bar."""
    closes = []
    for seconds in (1, 1800, 3599):
        sandbox.set_clock(JAN + seconds * 1000)
        row = ask(limit=1).json()[0]
        assert (row[0], row[6]) == (JAN, JAN + HOUR_MS - 1)
        closes.append((float(row[5]), row[8]))
    sandbox.set_clock(JAN + HOUR_MS)

    whole = ask(endTime=JAN, limit=1).json()[0]

    assert closes == sorted(closes)
    assert len(set(closes)) == 3
    assert (float(whole[5]), whole[8]) >= closes[-1]


@pytest.mark.parametrize("recording", recordings(), ids=lambda found: found.file.name)
def test_recorded_rows_are_served_as_recorded(ask, recording) -> None:
    """REST has the recorded digits, whatever market and interval, in milliseconds."""
    data = recording.file.read_bytes()
    if recording.file.suffix == ".zip":
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            data = archive.read(archive.namelist()[0])
    rows = [row for row in csv.reader(io.StringIO(data.decode())) if row[0].isdigit()]
    expected = [
        [int(cell[:13]) if place in {0, 6} else cell for place, cell in enumerate(row)]
        for row in rows
    ]
    span = recording.span

    found = []
    for start in (span.start_ms, span.start_ms + 720 * MINUTE_MS):
        end = span.end_ms - 1 if recording.interval == "1h" else start + 720 * MINUTE_MS - 1
        found += ask(
            recording.market, symbol=recording.symbol, interval=recording.interval,
            startTime=start, endTime=end, limit=1000,
        ).json()  # fmt: skip
        if recording.interval == "1h":
            break

    assert [[*row[:8], str(row[8]), *row[9:]] for row in found] == expected


def test_coarser_bars_of_a_recorded_day_add_up(ask) -> None:
    """Five recorded minutes of 2020-01-01 give the 5m bar that the real REST once answered."""
    start = instant("2020-01-01")

    (row,) = ask(interval="5m", startTime=start, endTime=start).json()

    assert row[1:6] == [
        "7195.24000000", "7196.25000000", "7178.64000000", "7179.78000000", "95.50913300",
    ]  # fmt: skip
    assert (row[7], row[8]) == ("686317.13625177", 1127)


@pytest.mark.parametrize(
    ("market", "values", "code"),
    [
        pytest.param(Market.SPOT, {"symbol": "NOPEUSDT"}, -1121, id="symbol"),
        pytest.param(Market.SPOT, {"symbol": "btcusdt"}, -1100, id="lower-case"),
        pytest.param(Market.SPOT, {"symbol": ""}, -1102, id="no-symbol"),
        pytest.param(Market.SPOT, {"interval": "7m"}, -1120, id="interval"),
        pytest.param(Market.SPOT, {"interval": "1mo"}, -1120, id="disk-spelling"),
        pytest.param(Market.UM, {"interval": "1s"}, -1120, id="futures-seconds"),
        pytest.param(Market.SPOT, {"startTime": "soon"}, -1100, id="letters"),
        pytest.param(Market.SPOT, {"colour": "red"}, -1104, id="unread"),
        pytest.param(Market.UM, {"startTime": 2, "endTime": 1}, -1023, id="backwards"),
    ],
)
def test_bad_parameters_are_refused_with_their_code(ask, market, values, code) -> None:
    """Status 400 and the exchange's own code."""
    answer = ask(market, **values)

    assert (answer.status_code, answer.json()["code"]) == (400, code)


def test_microseconds_come_on_request(running) -> None:
    """The header X-MBX-TIME-UNIT switches spot's times."""
    answer = running[1].get(
        f"/api/v3/klines?symbol=BTCUSDT&interval=1h&startTime={JAN}&limit=1",
        headers={"X-MBX-TIME-UNIT": "MICROSECOND"},
    )

    row = answer.json()[0]
    assert (row[0], row[6]) == (JAN * 1000, (JAN + HOUR_MS) * 1000 - 1)


def test_exchange_info_names_states_and_has_an_old_clock(running) -> None:
    """Delisted spot symbols are BREAK, cm says contractStatus, um has onboardDate."""
    spot, um, cm = (running[1].get(f"{ROOT[market]}/exchangeInfo").json() for market in Market)
    states = {entry["symbol"]: entry["status"] for entry in spot["symbols"]}

    assert (states["BTCUSDT"], states["OLDUSDT"]) == ("TRADING", "BREAK")
    assert um["symbols"][1]["onboardDate"] == instant("2019-09-25T08:00")
    assert {entry["contractStatus"] for entry in cm["symbols"]} == {"TRADING"}
    assert spot["serverTime"] < NOW - DAY_MS
    assert running[1].get("/api/v3/time").json() == {"serverTime": NOW}


def test_weights_are_counted_and_too_many_are_refused_then_banned() -> None:
    """The header counts; over the budget comes 429, going on brings 418 with its end."""
    url = "/api/v3/klines?symbol=BTCUSDT&interval=1h&limit=1"
    with (
        Sandbox(now_ms=NOW, weights={Market.SPOT: 6}) as sandbox,
        httpx.Client(base_url=sandbox.url) as client,
    ):
        answers = [client.get(url) for _ in range(12)]
        other = client.get(url.replace("api/v3", "fapi/v1"))

    refused = next(answer for answer in answers if answer.status_code == 429)
    assert [answer.status_code for answer in answers[:3]] == [200] * 3
    assert answers[0].headers["X-MBX-USED-WEIGHT-1M"] == "2"
    assert 1 <= int(refused.headers["Retry-After"]) <= 60
    assert refused.json()["code"] == -1003
    assert answers[-1].status_code == 418
    assert "banned until" in answers[-1].json()["msg"]
    assert int(answers[-1].headers["Retry-After"]) > 60
    assert (other.status_code, other.headers["X-MBX-USED-WEIGHT-1M"]) == (200, "1")


@pytest.mark.parametrize(
    ("market", "limit", "weight"),
    [
        pytest.param(Market.SPOT, 1000, 2, id="spot"),
        pytest.param(Market.UM, 99, 1, id="um-99"),
        pytest.param(Market.UM, 499, 2, id="um-499"),
        pytest.param(Market.UM, 1000, 5, id="um-1000"),
        pytest.param(Market.CM, 1001, 10, id="cm-1001"),
    ],
)
def test_a_call_costs_what_the_documents_say(market, limit, weight) -> None:
    """Spot's klines cost 2; those of futures grow with the limit."""
    symbol = "BTCUSD_PERP" if market is Market.CM else "BTCUSDT"
    with Sandbox(now_ms=NOW) as sandbox:
        answer = httpx.get(
            f"{sandbox.url}{ROOT[market]}/klines",
            params={"symbol": symbol, "interval": "1d", "limit": limit},
        )

    assert answer.headers["X-MBX-USED-WEIGHT-1M"] == str(weight)


@pytest.mark.parametrize(
    ("action", "check"),
    [
        pytest.param("unsorted", lambda rows: rows[0][0] > rows[-1][0], id="unsorted"),
        pytest.param("doubled", lambda rows: len(rows) == 4, id="doubled"),
        pytest.param("nan", lambda rows: rows[0][4] == "NaN", id="nan"),
        pytest.param("missing_rows", lambda rows: len(rows) == 1, id="missing-rows"),
    ],
)
def test_rows_can_be_spoiled(sandbox, ask, action, check) -> None:
    """Faults about rows work over REST, matched with the query."""
    sandbox.faults.add(Fault("/api/v3/klines?*symbol=BTCUSDT*", action, times=1))

    first, second = (ask(startTime=JAN, limit=3).json() for _ in range(2))

    assert check(first)
    assert [row[0] for row in second] == [JAN, JAN + HOUR_MS, JAN + 2 * HOUR_MS]


def test_history_can_be_rewritten_between_two_pulls(sandbox, ask) -> None:
    """`stale` changes the values of a closed bar, as Binance has done."""
    before = ask(startTime=JAN, limit=2).json()
    sandbox.faults.add(Fault("/api/v3/klines", "stale", end_ms=JAN + HOUR_MS, factor=1.001))

    after = ask(startTime=JAN, limit=2).json()

    assert before[0] != after[0]
    assert before[1] == after[1]
