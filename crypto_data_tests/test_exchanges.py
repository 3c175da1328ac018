"""The table of exchanges against ccxt itself, and the names that follow from it."""

import json
from datetime import date
from importlib import import_module
from pathlib import Path

import pytest

from crypto_data.catalog.configuration import parse_catalog
from crypto_data.cli.exchange_rows import warnings_of
from crypto_data.exchanges import EXCHANGES, is_foreign, is_stand_in
from crypto_data.intervals import WEEK_MS
from crypto_data.series import Market

KINDS = {
    Market.SPOT: ("spot", None), Market.UM: ("swap", "linear"), Market.CM: ("swap", "inverse")
}  # fmt: skip
# Of binance ccxt states 500 for contracts, and asks for 1000 all the same.
STATED = {("binance", Market.UM): 1000, ("binance", Market.CM): 1000}


@pytest.fixture(scope="module")
def ccxt():
    return import_module("ccxt")  # not at the top: it takes longer than most tests


@pytest.mark.parametrize("name", EXCHANGES)
def test_ccxt_can_do_what_the_table_says(ccxt, name) -> None:
    """Every exchange has its class, every interval a spelling, and a page never is too long."""
    facts = EXCHANGES[name]
    api = getattr(ccxt, name)()

    assert api.has["fetchOHLCV"] is True
    assert {interval.rest_name for interval in facts.intervals} <= set(api.timeframes)
    for market in facts.markets:
        kind, side = KINDS[market]
        feature = api.features[kind][side] if side else api.features[kind]
        limit = STATED.get((name, market), feature["fetchOHLCV"]["limit"])
        assert facts.page_rows <= limit


@pytest.mark.parametrize("name", EXCHANGES)
def test_an_interval_of_ccxt_has_the_length_of_ours(ccxt, name) -> None:
    """A number that the exchange is asked with says the same length; bitstamp's week does not."""
    api = getattr(ccxt, name)()
    seconds = {"bitstamp": 1, "kraken": 60}.get(name)
    for interval in EXCHANGES[name].intervals if seconds else ():
        length_s = int(api.timeframes[interval.rest_name]) * seconds

        assert length_s * 1000 == interval.length_ms
    if name == "bitstamp":
        assert int(api.timeframes["1w"]) * 1000 < WEEK_MS  # why the table leaves it out


@pytest.mark.parametrize(
    ("source", "best", "exchange", "stands_in", "foreign"),
    [
        pytest.param("ccxt:okx", "vision", "binance", True, True, id="another"),
        pytest.param("ccxt:binance", "rest", "binance", True, False, id="the-same-but-less"),
        pytest.param("ccxt:kraken", "ccxt:kraken", "kraken", False, False, id="its-own"),
        pytest.param("rest", "vision", "binance", False, False, id="rest"),
    ],
)
def test_who_stands_in_for_whom(source, best, exchange, stands_in, foreign) -> None:
    """Through ccxt behind the best source is a stand-in; it is foreign when it asks elsewhere."""
    assert is_stand_in(source, best) is stands_in
    assert is_foreign(source, exchange) is foreign


def test_the_command_shows_what_there_is(desk) -> None:
    """All exchanges without a configuration; JSON has every column; a wrong name finds its like."""
    everyone = desk.run("exchanges")
    one = json.loads(desk.run("exchanges", "kraken", "--format", "json").stdout)
    wrong = desk.run("exchanges", "krakn")

    assert everyone.returncode == 0
    assert all(name in everyone.stdout for name in EXCHANGES)
    assert [(row["exchange"], row["reach_rows"]) for row in one] == [("kraken", 720)]
    assert wrong.returncode == 2
    assert "did you mean kraken?" in wrong.stderr


@pytest.mark.parametrize(
    ("feed", "said"),
    [
        pytest.param(
            {"exchange": "kraken", "symbols": ["BTC/USD"], "intervals": ["1m"]},
            "12 hours of 1m: no day can ever be whole",
            id="shorter-than-a-day",
        ),
        pytest.param(
            {"exchange": "kraken", "symbols": ["BTC/USD"], "intervals": ["1h"]},
            "30 days of 1h: days before ",
            id="shorter-than-the-feed",
        ),
        pytest.param(
            {"exchange": "coinbase", "symbols": ["BTC/USD"]}, "leaves out klines", id="quiet"
        ),
        pytest.param({"exchange": "okx", "symbols": ["BTC/USDT"]}, "", id="whole"),
        pytest.param({"exchange": "binance", "symbols": ["BTCUSDT"]}, "", id="binance"),
    ],
)
def test_validate_says_where_a_feed_cannot_be_whole(feed, said) -> None:
    """An API with a short memory, or without quiet klines, is told of before any request."""
    entry = {"market": "spot", "intervals": ["1h"], "start": "2020-01-01"} | feed
    text = json.dumps({"lake": "./lake", "feeds": [entry]})
    catalog = parse_catalog(text, path=Path("c.yaml"), environ={}, today=date(2026, 1, 1))

    lines = list(warnings_of(catalog))

    assert len(lines) == bool(said)
    assert all(said in line for line in lines)
