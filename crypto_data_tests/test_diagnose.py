"""`diagnose`: how the lake and each source do for one day, and who would serve it."""

import json
import time
from datetime import UTC, date, datetime, timedelta

import pytest

from crypto_data.coverage import DayState
from crypto_data.diagnosis import Asked, diagnose
from crypto_data.lake.layout import part_path
from crypto_data.lake.universe import Listing, Universe, write_universe
from crypto_data.sandbox.faults import Fault
from crypto_data.series import Market, Series
from crypto_data.sources.connect import open_chains
from crypto_data.sources.gate import Gate, Reason
from crypto_data.sources.probe import trying_once

BTC = Series.parse("binance/spot/BTCUSDT/1h")
DAY = date(2024, 1, 10)


def examine(desk, series=BTC, day=DAY):
    """Return the diagnosis of a day, by the code that the command runs."""
    catalog, sent = desk.catalog(), []
    feed = catalog.feeds[0].model_copy(update={"max_retries": 0})
    with open_chains(catalog, desk.state, manner=trying_once(sent.append)) as chains:
        return diagnose(desk.lake, chains, Asked(feed, series, day), sent)


def by_source(found):
    return {one.source: one for one in found.findings}


def test_all_is_well(desk) -> None:
    """Both sources are tried, the better one would be used, and nothing is stored."""
    desk.configure()

    found = examine(desk)

    vision, rest = found.findings
    assert (found.used, found.is_served, found.held.state) == ("vision", True, DayState.MISSING)
    assert (vision.is_used, vision.is_reached, vision.status, vision.rows) == (True, True, 200, 24)
    assert (rest.is_used, rest.is_reached, rest.status, rest.rows) == (False, True, 200, 24)
    assert "not needed" in rest.why
    assert (0 < rest.budget_used <= 6000, rest.budget_limit) == (True, 6000)
    assert not desk.lake.root.exists()


def test_the_lake_comes_first(desk) -> None:
    """A settled day is served by the lake though every source is down; both are said to be."""
    desk.configure()
    desk.fill()
    desk.sandbox.faults.add(Fault("*", "status", status=503))

    found = examine(desk)

    assert (found.used, found.is_served, found.held.source) == ("lake", True, "vision")
    assert [one.is_reached for one in found.findings] == [False, False]
    assert found.fetched.state is DayState.MISSING


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        pytest.param({"status": 403, "body": "html403"}, (403, "403", "blocked"), id="firewall"),
        pytest.param({"status": 451, "body": "451"}, (451, "451", "blocked"), id="region"),
        pytest.param({"status": 418, "retry_after": 600}, (418, "418", "limited"), id="ban"),
        pytest.param({"status": 429, "retry_after": 30}, (429, "429", "limited"), id="too-many"),
        pytest.param({"status": 503}, (503, "503", "down"), id="server-fault"),
        pytest.param({"action": "html200"}, (200, "", "broken"), id="page-instead-of-klines"),
        pytest.param({"action": "drop"}, (None, "", "down"), id="cut-connection"),
        pytest.param(
            {"action": "delay", "seconds": 3}, (None, "no answer within 1 s", "down"), id="timeout"
        ),
    ],
)
@pytest.mark.parametrize("source", ["vision", "rest"])
def test_a_source_that_fails_does_not_look_reached(desk, source, fault, expected):
    """Its status and words are told, and the other one would be used; nothing is waited for."""
    desk.configure()
    desk.config.write_text(desk.config.read_text().replace("timeout: 5", "timeout: 1"))
    status, said, outcome = expected
    path = {"vision": "/data/*", "rest": "/api/*"}[source]
    desk.sandbox.faults.add(Fault(path, **{"action": "status"} | fault))
    started = time.monotonic()

    found = examine(desk)

    took_s, one = time.monotonic() - started, by_source(found)[source]
    other = {"vision": "rest", "rest": "vision"}[source]
    assert (one.is_reached, one.is_used, one.status, one.outcome) == (
        False, False, status, outcome,
    )  # fmt: skip
    assert said in one.why
    assert (found.used, found.is_served) == (other, True)
    assert took_s < one.seconds + 2


def test_nobody_can_be_reached(desk) -> None:
    """A host that is no host is not reached, and the day would fall short."""
    desk.configure(url="http://no-such-host.invalid")

    found = examine(desk)

    assert [(one.is_reached, one.status, one.outcome) for one in found.findings] == [
        (False, None, "down"), (False, None, "down"),
    ]  # fmt: skip
    assert (found.used, found.is_served) == ("", False)


def test_a_file_that_is_not_there_yet(desk) -> None:
    """The archive answered as itself that it has none: reached, 404, and REST would be used."""
    desk.configure()
    desk.sandbox.faults.add(Fault("/data/*", "absent"))

    found = examine(desk)

    vision = by_source(found)["vision"]
    assert (vision.is_reached, vision.status, vision.outcome) == (True, 404, "absent")
    assert (found.used, found.is_served) == ("rest", True)


@pytest.mark.parametrize(
    ("status", "reached", "outcome"),
    [
        pytest.param(403, False, "blocked", id="firewall"),
        pytest.param(503, False, "down", id="server-fault"),
    ],
)
def test_the_status_of_an_exchange_behind_ccxt(desk, status, reached, outcome) -> None:
    """It is that of the answer, though the request went through ccxt."""
    desk.configure({"sources": ["vision", "rest", "ccxt:okx"]})
    desk.sandbox.faults.add(Fault("/okx/*", "status", status=status, body="html403"))

    found = examine(desk)

    okx = by_source(found)["ccxt:okx"]
    assert (okx.status, okx.is_reached, okx.outcome) == (status, reached, outcome)
    assert okx.requests > 0
    assert found.used == "vision"


@pytest.mark.parametrize(
    ("interval", "status", "said"),
    [
        pytest.param("8h", 0, "8h is made from 1h, so 1h is what is tried", id="made"),
        pytest.param("6h", 0, "no feed has okx/spot/BTC/USDT/6h", id="offered"),
        pytest.param("3d", 2, "'3d' is no interval of okx spot; there is 1m, 3m", id="not-offered"),
    ],
)
def test_intervals_that_an_exchange_lacks(desk, interval, status, said) -> None:
    """One that a feed makes of a finer one is diagnosed by that; another one is refused."""
    desk.configure(
        {"exchange": "okx", "symbols": ["BTC/USDT"], "intervals": ["1h", {"8h": "from 1h"}]}
    )
    words = ["BTC/USDT", "--exchange", "okx", "--interval", interval, "--day", "2024-01-10"]

    done = desk.run("diagnose", *words)

    assert (done.returncode, said in done.stderr) == (status, True), done.stderr
    assert "Interval." not in done.stderr


def test_the_newest_symbol_of_a_pattern(desk) -> None:
    """A symbol that the lake was never told of belongs to the feed whose pattern means it."""
    desk.configure({"symbols": ["BTC*"], "sources": ["rest"]})

    done = desk.run("diagnose", "BTCUSDT", "--interval", "1h", "--format", "json")

    assert done.returncode == 0
    assert [row["source"] for row in json.loads(done.stdout)] == ["lake", "rest"]
    assert "no feed has" not in done.stderr


def test_a_symbol_nobody_knows(desk) -> None:
    """The exchange refuses it in its own words; nobody would serve it."""
    desk.configure({"symbols": ["NOPEUSDT"]})

    found = examine(desk, Series.parse("binance/spot/NOPEUSDT/1h"))

    rest = by_source(found)["rest"]
    assert (rest.is_reached, rest.status, rest.outcome) == (True, 400, "rejected")
    assert "Invalid symbol" in rest.why
    assert not found.is_served


def test_a_day_with_an_outage_is_served(desk) -> None:
    """Every source has all there is: the lacking kline is explained, so the request is served."""
    desk.configure({"start": "2023-03-24", "end": "2023-03-25"})

    found = examine(desk, day=date(2023, 3, 24))

    assert [one.rows for one in found.findings] == [23, 23]
    assert (found.fetched.state, found.is_served) == (DayState.EXPLAINED, True)


def test_two_sources_together(desk) -> None:
    """Where the archive's file has a hole, both give klines and both are used."""
    desk.configure()
    desk.sandbox.faults.add(Fault("/data/*", "missing_rows"))

    found = examine(desk)

    assert [(one.is_used, one.rows) for one in found.findings] == [(True, 12), (True, 24)]
    assert found.fetched.state is DayState.COMPLETE


def test_a_ban_is_told_and_kept_to(desk) -> None:
    """A host that banned us before is not asked; until when and why is told."""
    desk.configure()
    until_ms = time.time_ns() // 1_000_000 + 600_000
    host = desk.sandbox.url.removeprefix("http://")
    Gate(desk.state, lambda: until_ms - 600_000).close(
        f"rest-spot {host}", until_ms, Reason.LIMITED, "HTTP 418: banned"
    )

    found = examine(desk)

    rest = by_source(found)["rest"]
    assert (rest.requests, rest.is_reached, rest.status) == (0, False, None)
    assert [(name, closing.until_ms) for name, closing in rest.closings] == [
        (f"rest-spot {host}", until_ms)
    ]
    assert desk.asked("/api/") == []


def test_trying_closes_no_host(desk) -> None:
    """One look that fails keeps no run from asking, and a host that was down is tried again."""
    desk.configure()
    desk.sandbox.faults.add(Fault("/data/*", "status", status=503))
    failed = by_source(examine(desk))["vision"]
    host = desk.sandbox.url.removeprefix("http://")
    Gate(desk.state, lambda: time.time_ns() // 1_000_000).close_down(f"vision {host}", "was down")
    desk.sandbox.faults.clear()

    found = examine(desk)

    assert (failed.is_reached, failed.closings) == (False, ())
    assert (found.used, by_source(found)["vision"].closings) == ("vision", ())


def test_a_damaged_file_of_the_lake(desk) -> None:
    """It is named, and counts as nothing: the sources would be asked."""
    desk.configure()
    path = part_path(desk.lake.root, BTC, "2024")
    path.parent.mkdir(parents=True)
    path.write_bytes(b"PAR1")

    found = examine(desk)

    assert str(path) in found.held.why
    assert found.used == "vision"
    assert path.read_bytes() == b"PAR1"


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        pytest.param("BTCUSDT --interval 1h", 0, "served by vision", id="well"),
        pytest.param("BTCUSDT --interval 1h --day 2024-01-10", 0, "2024-01-10", id="day"),
        pytest.param("NOPEUSDT --interval 1h", 1, "would fall short: 0 of 24", id="unknown"),
        pytest.param("BTCUSTD --interval 1h", 1, "did you mean BTCUSDT?", id="typo"),
        pytest.param("BTCUSDT --market um --interval 1h", 0, "no feed has", id="no-feed"),
        pytest.param("BTCUSDT --market sport", 2, "did you mean spot?", id="market"),
        pytest.param("BTCUSDT --exchange binanse", 2, "did you mean binance?", id="exchange"),
        pytest.param("BTCUSDT --interval 7m", 2, "'7m' is no interval", id="interval"),
        pytest.param(
            "BTCUSDT --market um --interval 1s", 2, "'1s' is no interval of binance um", id="1s"
        ),
        pytest.param("BTCUSDT --interval 1m,1h", 2, "'1m,1h' is no interval", id="intervals"),
        pytest.param("btcusdt", 2, "did you mean BTCUSDT?", id="small-letters"),
        pytest.param("BTCUSDT --day 2040-01-01", 2, "not over yet", id="future"),
        pytest.param("BTCUSDT --day monday", 2, "write it as 2024-01-01", id="no-day"),
        pytest.param("BTCUSDT --interval 1w --day 2024-01-10", 2, "no kline of 1w opens", id="1w"),
        pytest.param("", 2, "symbol", id="no-symbol"),
    ],
)
def test_the_command(desk, words, status, said) -> None:
    """Status and sentence fit; a wrong command asks nobody; nothing is stored."""
    desk.configure()

    done = desk.run("diagnose", *words.split())

    assert (done.returncode, said in done.stdout + done.stderr) == (status, True), done.stderr
    assert "Traceback" not in done.stderr
    assert status < 2 or (done.stdout == "" and desk.asked() == [])
    assert not desk.lake.root.exists()


@pytest.mark.parametrize(
    ("words", "feeds"),
    [
        pytest.param("NEWUSDT", [{"symbols": ["ETHUSDT"]}], id="another-real-symbol"),
        pytest.param("BTCUSDC", [{}], id="another-quote"),
        pytest.param("BTC/USD --exchange kraken", [{"symbols": ["BTCUSD"]}], id="another-exchange"),
    ],
)
def test_a_symbol_that_is_no_slip(desk, words, feeds) -> None:
    """Another symbol that no feed has is not taken for a configured one."""
    desk.configure(*feeds)

    done = desk.run("diagnose", *words.split(), "--interval", "1h", "--day", "2024-01-10")

    assert "no feed has" in done.stderr
    assert "did you mean" not in done.stderr


def test_a_symbol_that_is_listed_is_no_slip(desk) -> None:
    """However near to a configured one it is."""
    desk.configure()
    write_universe(desk.lake.root, "binance", Market.SPOT, Universe((Listing("BTCUSD"),)))

    done = desk.run("diagnose", "BTCUSD", "--interval", "1h", "--day", "2024-01-10")

    assert "no feed has binance/spot/BTCUSD/1h; tried" in done.stderr


def test_the_command_as_json(desk) -> None:
    """A line for the lake and one a source, each with all that was found."""
    desk.configure()

    done = desk.run("diagnose", "BTCUSDT", "--interval", "1h", "--format", "json")

    lake, vision, rest = json.loads(done.stdout)
    assert [row["source"] for row in (lake, vision, rest)] == ["lake", "vision", "rest"]
    assert (lake["state"], vision["used"], rest["used"]) == ("missing", True, False)
    assert vision["newest_open"] == "2024-01-10T23:00:00Z"
    assert vision["behind_seconds"] > 0
    assert rest["weight_limit"] == 6000
    assert done.stderr == ""


@pytest.mark.parametrize("days_off", [1, -1], ids=["ahead", "behind"])
def test_a_local_clock_that_is_a_day_off(desk, days_off) -> None:
    """The newest closed day is the exchange's, whose answers tell its time."""
    now_ms = time.time_ns() // 1_000_000 - days_off * 86_400_000
    desk.sandbox.set_clock(now_ms)
    start = datetime.now(UTC).date() - timedelta(days=9)
    desk.configure({"start": f"{start}", "end": None})

    done = desk.run("diagnose", "BTCUSDT", "--interval", "1h", "--format", "json")

    closed = datetime.fromtimestamp(now_ms / 1000, UTC).date() - timedelta(days=1)
    assert {row["day"] for row in json.loads(done.stdout)} == {f"{closed}"}
    assert "the local clock is 1.0 days" in done.stderr
