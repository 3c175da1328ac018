"""Symbols written as patterns: what they may be, what they match, whose series they become."""

from datetime import date
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crypto_data.catalog.configuration import parse_catalog
from crypto_data.catalog.patterns import check_pattern, is_pattern, pick_symbols
from crypto_data.errors import CatalogError, UsageError
from crypto_data.series import Market

TODAY = date(2026, 11, 21)
LISTED = ("1000PEPEUSDT", "BTCUSDC", "BTCUSDT", "BTCUSDT_260925", "ETHUPUSDT", "ETHUSDT", "我USDT")


def parse(symbols, *more):
    feeds = [{"symbols": symbols}, *more]
    lines = [
        "  - {exchange: binance, market: um, intervals: [1h], start: 2024-01-01, "
        f"symbols: {feed['symbols']}}}"
        for feed in feeds
    ]
    text = "\n".join(["lake: ./lake", "feeds:", *lines])
    return parse_catalog(text, path=Path("/etc/crypto_data.yaml"), environ={}, today=TODAY)


@pytest.mark.parametrize(
    ("written", "picked"),
    [
        pytest.param(["*USDT"], ["1000PEPEUSDT", "BTCUSDT", "ETHUPUSDT", "ETHUSDT", "我USDT"],
                     id="ends"),
        pytest.param(["*USDT", "!*UPUSDT", "!1*"], ["BTCUSDT", "ETHUSDT", "我USDT"], id="but"),
        pytest.param(["BTCUSD?"], ["BTCUSDC", "BTCUSDT"], id="one-letter"),
        pytest.param(["?USDT"], ["我USDT"], id="one-letter-of-any-script"),
        pytest.param(["BTC*"], ["BTCUSDC", "BTCUSDT", "BTCUSDT_260925"], id="delivery"),
        pytest.param(["GONEUSDT", "BTCUSDT*"], ["GONEUSDT", "BTCUSDT", "BTCUSDT_260925"],
                     id="a-name-is-taken-unlisted"),
        pytest.param(["BTCUSDT", "!*USDT"], ["BTCUSDT"], id="a-name-outlives-a-but"),
        pytest.param(["BTCUSDT", "!BTCUSDT"], [], id="unless-it-is-named"),
        pytest.param(["X*"], [], id="nothing"),
        pytest.param(["BTC.*"], [], id="no-regular-expression"),
    ],
)  # fmt: skip
def test_patterns_pick_what_the_exchange_lists(written, picked) -> None:
    """Names as written, then matches in order; what `!` matches is left out."""
    assert list(pick_symbols(written, LISTED)) == picked


@given(st.lists(st.sampled_from(["*", "!*USDT", "BTC*", "!BTC*", "?*", "ETHUSDT"]), min_size=1))
def test_what_is_picked_is_listed_or_written(written) -> None:
    """Each symbol comes once, and no pattern makes a symbol that nobody has named."""
    picked = pick_symbols(written, LISTED)

    assert len(set(picked)) == len(picked)
    assert set(picked) <= {*LISTED, *written}
    assert not any(map(is_pattern, picked))


@pytest.mark.parametrize("text", ["*usdt", "*US DT", "[A-Z]*", "*'", "!", "*" * 66])
def test_other_signs_are_no_pattern(text) -> None:
    """Lower case and signs that no symbol has are refused."""
    with pytest.raises(UsageError):
        check_pattern(text)


@pytest.mark.parametrize(
    ("symbols", "written"),
    [
        pytest.param('"*USDT"', ("*USDT",), id="pattern"),
        pytest.param("BTCUSDT", ("BTCUSDT",), id="name"),
        pytest.param('["*USDT", "!*UPUSDT"]', ("*USDT", "!*UPUSDT"), id="list"),
    ],
)
def test_a_single_text_is_a_list_of_one(symbols, written) -> None:
    """`symbols: "*USDT"` needs no brackets."""
    assert parse(symbols).feeds[0].symbols == written


@pytest.mark.parametrize("symbols", ['"*usdt"', "btcusdt", '""', "BTC/USD"])
def test_a_single_text_is_checked_like_a_list(symbols) -> None:
    """What a list may not hold may not stand alone either, and the fault has its line."""
    with pytest.raises(CatalogError) as caught:
        parse(symbols)

    assert [(fault.line, fault.key) for fault in caught.value.faults] == [
        (3, "feeds[0].symbols[0]" if symbols != "BTC/USD" else "feeds[0].symbols")
    ]


def test_a_series_belongs_to_the_feed_that_spells_it() -> None:
    """Else to the first whose pattern matches; no series is in two feeds."""
    catalog = parse('"*USDT"', {"symbols": "ETHUSDT"}, {"symbols": '"BTC*"'})

    feeds = catalog.resolve({("binance", Market.UM): LISTED}).feeds

    assert [feed.names for feed in feeds] == [
        ("1000PEPEUSDT", "BTCUSDT", "ETHUPUSDT", "我USDT"),
        ("ETHUSDT",),
        ("BTCUSDC", "BTCUSDT_260925"),
    ]


def test_the_list_of_another_market_means_nothing() -> None:
    """Patterns resolve against the feed's own exchange and market."""
    catalog = parse('"*USDT"').resolve({("binance", Market.SPOT): LISTED})

    assert catalog.feeds[0].series == ()
