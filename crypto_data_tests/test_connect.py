"""Sources built from the configuration: one chain a feed, one clock, one memory of limits."""

import time
from datetime import date

import pytest

from crypto_data.partitions import day_range
from crypto_data.sandbox.faults import Fault
from crypto_data.sandbox.symbols import instant
from crypto_data.series import Series
from crypto_data.sources.connect import local_ms, open_chains

HOURS = Series.parse("binance/spot/BTCUSDT/1h")
DAY = day_range(date(2024, 1, 10))


@pytest.fixture
def opened(desk):
    """Return a function that opens the chains of some feeds for the time of the test."""
    held = []

    def open_(*feeds):
        catalog = desk.configure(*feeds)
        context = open_chains(catalog, desk.state)
        held.append(context)
        return catalog, context.__enter__()

    yield open_
    for context in held:
        context.__exit__(None, None, None)


def test_a_chain_has_the_feeds_sources_in_their_order(opened) -> None:
    """The configuration's order is the order of asking."""
    catalog, chains = opened(
        {"sources": ["rest", "vision"]}, {"market": "um", "sources": ["vision"]}
    )

    rankings = [chains.chain(feed).ranking for feed in catalog.feeds]

    assert rankings == [("rest", "vision"), ("vision",)]


def test_a_feed_keeps_its_chain(opened) -> None:
    """What a chain has learned of listings serves all series and files of its feed."""
    catalog, chains = opened()

    assert chains.chain(catalog.feeds[0]) is chains.chain(catalog.feeds[0])


def test_feeds_of_one_market_share_the_clock(desk, opened) -> None:
    """The exchange is asked for its time once, however many feeds and threads want it."""
    catalog, chains = opened({"symbols": ["BTCUSDT"]}, {"symbols": ["ETHUSDT"]})

    for feed in catalog.feeds * 3:
        chains.chain(feed).now_ms()

    assert len(desk.asked("/api/v3/time")) == 1


@pytest.mark.parametrize(
    ("feed", "path"),
    [
        pytest.param({"sources": ["rest"]}, "/api/v3/time", id="spot"),
        pytest.param({"market": "um"}, "/fapi/v1/time", id="um"),
        pytest.param(
            {"market": "cm", "symbols": ["BTCUSD_PERP"]}, "/dapi/v1/time", id="cm"
        ),
    ],
)  # fmt: skip
def test_the_clock_is_the_exchanges(desk, opened, feed, path) -> None:
    """Each market's own host tells the time; ours is off by years here."""
    desk.sandbox.set_clock(instant("2024-03-01"))
    catalog, chains = opened(feed)

    now_ms = chains.chain(catalog.feeds[0]).now_ms()

    assert abs(now_ms - instant("2024-03-01")) < 10_000
    assert [one.partition("?")[0] for one in desk.asked("time")] == [path]
    assert abs(local_ms() + chains.clock_ahead_ms() - instant("2024-03-01")) < 10_000


def test_a_feed_of_the_archive_alone_asks_no_rest(desk, opened) -> None:
    """Its time is the archive's Date header; whole seconds, never ahead."""
    catalog, chains = opened({"sources": ["vision"]})

    now_ms = chains.chain(catalog.feeds[0]).now_ms()

    assert desk.asked("/api/") == []
    assert len(desk.asked("/listing")) == 1
    assert -2000 < now_ms - time.time() * 1000 < 1000


def test_nobody_asked_means_no_offset(desk, opened) -> None:
    """Before any chain was needed the local clock stands, and nothing was asked."""
    _, chains = opened()

    assert chains.clock_ahead_ms() == 0
    assert chains.measured_ahead_ms() is None
    assert desk.asked() == []


def test_what_is_noted_of_the_clock_was_measured(desk, opened) -> None:
    """A chain that has served nothing yet is enough: the exchange is asked then."""
    desk.sandbox.set_clock(instant("2024-03-01"))
    catalog, chains = opened({"sources": ["rest"]})
    chains.chain(catalog.feeds[0])

    ahead_ms = chains.measured_ahead_ms()

    assert ahead_ms is not None
    assert abs(local_ms() + ahead_ms - instant("2024-03-01")) < 10_000


def test_a_clock_that_does_not_answer_is_not_measured(desk, opened) -> None:
    """Ours is not noted as the exchange's."""
    desk.sandbox.faults.add(Fault("/api/v3/time", "status", status=503))
    catalog, chains = opened({"sources": ["rest"]})
    chains.chain(catalog.feeds[0])

    assert chains.measured_ahead_ms() is None


def test_retries_are_the_feeds_own(desk, opened) -> None:
    """`max_retries` counts repetitions: none, and two."""
    desk.sandbox.faults.add(Fault("/data/*", "status", status=500))
    catalog, chains = opened(
        {"sources": ["vision"], "max_retries": 0},
        {"sources": ["vision"], "symbols": ["ETHUSDT"], "max_retries": 2},
    )
    counts = []
    for feed in catalog.feeds:
        desk.sandbox.requests.clear()
        (desk.state / "gate.json").unlink(missing_ok=True)
        chains.chain(feed).fill(feed.series[0], [DAY])
        counts.append(len(desk.asked("/data/")))

    assert counts == [1, 3]


def test_limits_are_remembered_in_the_folder_that_was_given(desk, opened) -> None:
    """Bans and weight lie where all processes find them, and nowhere else."""
    catalog, chains = opened({"sources": ["rest"]})

    chains.chain(catalog.feeds[0]).fill(HOURS, [DAY])

    names = {path.name for path in desk.state.iterdir()}
    assert any(name.startswith("weight-rest-spot-127.0.0.1") for name in names)
