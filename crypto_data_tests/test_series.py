"""Names of series: what they may be, and what could do harm as a path, a glob or SQL."""

import pytest

from crypto_data.errors import UsageError
from crypto_data.intervals import Interval
from crypto_data.series import Market, Series, check_symbol


@pytest.mark.parametrize(
    "symbol",
    [
        "BTCUSDT",
        "1000PEPEUSDT",
        "0GUSDT",
        "BTCUSD_PERP",
        "BTCUSDT_260925",
        "ICPUSDT_SETTLED",
        "币安人生USDT",
        "A",
        "X" * 64,
    ],
)
def test_every_spelling_the_exchange_uses_is_a_symbol(symbol) -> None:
    """Leading digits, settled contracts and Chinese names are symbols."""
    assert check_symbol(symbol) == symbol


@pytest.mark.parametrize(
    "symbol",
    [
        pytest.param("", id="empty"),
        pytest.param("../../x", id="path-up"),
        pytest.param("A..B", id="two-dots"),
        pytest.param(".HIDDEN", id="hidden"),
        pytest.param("_PRIVATE", id="underscore-first"),
        pytest.param("/USDT", id="slash-first"),
        pytest.param("BTC//USDT", id="two-slashes"),
        pytest.param("BTC/../USDT", id="path"),
        pytest.param("BTC:USDT", id="colon-alone"),
        pytest.param("BTC\\USDT", id="backslash"),
        pytest.param("A'B", id="quote"),
        pytest.param("A=B", id="hive-key"),
        pytest.param("BTC*", id="star"),
        pytest.param("BTC?", id="question"),
        pytest.param("BTC[12]", id="brackets"),
        pytest.param("BTC%2F", id="percent"),
        pytest.param("BTC\0", id="nul"),
        pytest.param("BTCUSDT\n", id="newline"),
        pytest.param("BTC USDT", id="space"),
        pytest.param("X" * 65, id="65-characters"),
    ],
)
def test_a_name_that_could_act_as_something_else_is_refused(symbol) -> None:
    """Nothing that is a path, a glob, SQL or a hive key is a symbol."""
    with pytest.raises(UsageError, match="is no symbol"):
        Series("binance", Market.SPOT, symbol, Interval.MINUTE_1)


def test_a_long_name_is_not_repeated_in_full() -> None:
    """The message of a 5000-character symbol stays one line a person can read."""
    with pytest.raises(UsageError) as caught:
        check_symbol("x" * 5000)

    assert "(5000 characters)" in str(caught.value)
    assert len(str(caught.value)) < 250


def test_a_lower_case_symbol_is_told_its_spelling() -> None:
    """The remedy names the upper-case spelling."""
    with pytest.raises(UsageError, match="did you mean BTCUSDT"):
        check_symbol("btcusdt")


@pytest.mark.parametrize(
    "exchange", ["", "a/../../..", "..", "a=b", "a*", "A", "a'b", "a b", "x" * 65]
)
def test_an_exchange_that_could_leave_the_lake_is_refused(exchange) -> None:
    """The exchange is part of the path as well."""
    with pytest.raises(UsageError, match="is no exchange"):
        Series(exchange, Market.SPOT, "BTCUSDT", Interval.MINUTE_1)


@pytest.mark.parametrize("interval", list(Interval))
@pytest.mark.parametrize("market", list(Market))
def test_text_and_back_is_the_same_series(market, interval) -> None:
    """A series is written and read without loss."""
    series = Series("binance", market, "BTCUSDT_260925", interval)

    assert Series.parse(str(series)) == series


@pytest.mark.parametrize(
    ("text", "words"),
    [
        pytest.param("binance/spot/BTCUSDT", "exchange/market/symbol/interval", id="three-parts"),
        pytest.param("a/spot/B/1m/x", "exchange/market/symbol/interval", id="five-parts"),
        pytest.param("binance/margin/BTCUSDT/1m", "margin", id="market"),
        pytest.param("binance/spot/BTCUSDT/7m", "7m", id="interval"),
        pytest.param("binance/spot/btcusdt/1m", "did you mean", id="lower-case"),
        pytest.param("", "exchange/market/symbol/interval", id="empty"),
    ],
)
def test_other_text_is_answered_with_the_form(text, words) -> None:
    """What is wrong and how a series is written stand in one message."""
    with pytest.raises(UsageError, match=words):
        Series.parse(text)
