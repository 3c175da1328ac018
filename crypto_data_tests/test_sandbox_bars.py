"""The stand-in exchange's klines: exact, continuous, and coarser ones the sum of finer ones."""

import numpy as np
import pytest

from crypto_data.intervals import DAY_MS, MINUTE_MS, Interval, TimeRange
from crypto_data.sandbox.bars import PRICES, QUANTITIES, Column, aggregate, split_seconds
from crypto_data.sandbox.exchange import Exchange
from crypto_data.sandbox.kline_text import Unit, csv_text, json_rows, text_columns
from crypto_data.sandbox.made import minute_bars
from crypto_data.sandbox.symbols import SymbolBook, instant, known_outages
from crypto_data.series import Market

JAN = instant("2024-01-01")
BOOK = SymbolBook(crowd=3)
EXCHANGE = Exchange(BOOK, known_outages())
SYMBOLS = [
    pytest.param(symbol, id=f"{market}-{symbol.name}")
    for market in Market
    for symbol in BOOK.of_market(market)
]


@pytest.mark.parametrize("symbol", SYMBOLS)
def test_made_minutes_are_sound(symbol) -> None:
    """High and low bracket, takers stay below volume, each bar opens where the last closed."""
    start = max(JAN, symbol.lives[0][0]) // DAY_MS * DAY_MS + DAY_MS

    bars = minute_bars(symbol, TimeRange(start, start + 2 * DAY_MS), ())

    assert (bars[Column.HIGH] >= bars[PRICES].max(axis=0)).all()
    assert (bars[Column.LOW] <= bars[PRICES].min(axis=0)).all()
    assert (bars[Column.LOW] > 0).all()
    assert (bars[Column.VOLUME] > bars[Column.TAKER_VOLUME]).all()
    assert (bars[Column.QUOTE_VOLUME] > bars[Column.TAKER_QUOTE_VOLUME]).all()
    assert (bars[Column.OPEN, 1:] == bars[Column.CLOSE, :-1]).all()
    assert (np.diff(bars[Column.OPEN_TIME]) == MINUTE_MS).all()


@pytest.mark.parametrize("symbol", SYMBOLS)
def test_a_month_of_sums_fits(symbol) -> None:
    """The longest bar's sums stay far from the end of 64 bits."""
    start = max(JAN, symbol.lives[0][0])
    month = TimeRange(Interval.MONTH_1.ceil(start), Interval.MONTH_1.ceil(start) + 31 * DAY_MS)

    bars = minute_bars(symbol, month, ())

    assert bars[QUANTITIES].astype(float).sum(axis=1).max() * 1.2 < 2**63


def test_a_part_equals_the_same_part_of_the_whole() -> None:
    """Any stretch can be made alone."""
    symbol = BOOK.find(Market.SPOT, "BTCUSDT")
    whole = minute_bars(symbol, TimeRange(JAN, JAN + 3 * DAY_MS), known_outages())

    part = minute_bars(symbol, TimeRange(JAN + DAY_MS, JAN + 2 * DAY_MS), known_outages())

    assert (whole[:, 1440:2880] == part).all()


@pytest.mark.parametrize("interval", [each for each in Interval if each.length_ms > MINUTE_MS])
def test_coarser_bars_are_exact_sums(interval) -> None:
    """Open first, close last, extremes and sums of the minutes, on the grid, none twice."""
    symbol = BOOK.find(Market.UM, "ETHUSDT")
    span = TimeRange(instant("2024-01-29"), instant("2024-03-04"))

    bars = EXCHANGE.bars(symbol, interval, span)

    assert (np.diff(bars[Column.OPEN_TIME]) > 0).all()
    for bar in bars.T[[0, -1]]:
        open_ms = int(bar[Column.OPEN_TIME])
        inside = TimeRange(open_ms, interval.next_open(open_ms))
        minutes = EXCHANGE.bars(symbol, Interval.MINUTE_1, inside)
        assert interval.floor(open_ms) == open_ms
        assert bar[Column.OPEN] == minutes[Column.OPEN, 0]
        assert bar[Column.CLOSE] == minutes[Column.CLOSE, -1]
        assert bar[Column.HIGH] == minutes[Column.HIGH].max()
        assert bar[Column.LOW] == minutes[Column.LOW].min()
        assert (bar[QUANTITIES] == minutes[QUANTITIES].sum(axis=1)).all()
        assert bar[Column.CLOSE_TIME] == inside.end_ms - 1


@pytest.mark.parametrize("start", ["2024-01-01", "2023-03-24T12:00", "2020-01-01"])
def test_seconds_give_back_their_minutes(start) -> None:
    """Sixty seconds a minute, fewer in the minute an outage cut, and the same bars again."""
    symbol = BOOK.find(Market.SPOT, "BTCUSDT")
    begin = instant(start)
    minutes = EXCHANGE.bars(symbol, Interval.MINUTE_1, TimeRange(begin, begin + DAY_MS // 4))

    seconds = split_seconds(minutes)

    assert (aggregate(seconds, Interval.MINUTE_1, length_ms=1000) == minutes).all()
    assert (seconds[Column.HIGH] >= seconds[PRICES].max(axis=0)).all()
    assert (seconds[Column.LOW] <= seconds[PRICES].min(axis=0)).all()
    assert (seconds[Column.VOLUME] >= seconds[Column.TAKER_VOLUME]).all()


def test_a_bar_is_cut_at_listing_and_delisting() -> None:
    """The first and last coarser bars stay on the grid and hold what was traded."""
    new, old = (BOOK.find(Market.SPOT, name) for name in ("NEWUSDT", "OLDUSDT"))

    first = EXCHANGE.bars(new, Interval.DAY_1, TimeRange(0, instant("2024-05-18")))
    after = TimeRange(instant("2024-02-20"), instant("2025-01-01"))
    last = EXCHANGE.bars(old, Interval.HOUR_1, after)

    assert first[Column.OPEN_TIME].tolist() == [instant("2024-05-17")]
    assert last.shape[1] == 3


def test_text_is_the_same_in_both_forms() -> None:
    """CSV and JSON are made of the same digits; no bars give no text."""
    symbol = BOOK.find(Market.SPOT, "SOLUSDT")
    bars = EXCHANGE.bars(symbol, Interval.HOUR_1, TimeRange(JAN, JAN + DAY_MS))
    columns = text_columns(bars, symbol, Unit.MILLISECOND)

    lines = csv_text(columns).decode().splitlines()

    assert json_rows(columns).decode().replace('"', "") == f"[[{'],['.join(lines)}]]"
    nothing = text_columns(bars[:, :0], symbol, Unit.MILLISECOND)
    assert (csv_text(nothing), json_rows(nothing)) == (b"", b"[]")
