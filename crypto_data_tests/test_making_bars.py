"""Coarser klines of finer ones: against a naive reference, the stand-in exchange, and by hand."""

import math
from datetime import date
from fractions import Fraction

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crypto_data.intervals import MINUTE_MS, Interval
from crypto_data.making.bars import make_klines, make_offers
from crypto_data.partitions import day_start_ms, span_of_days
from crypto_data.schema import FETCHED, KLINES, TIME, epoch_ms, mark_source
from crypto_data.series import Series

START_MS = day_start_ms(date(2023, 3, 24))
SUMS = (
    "volume", "quote_volume", "trade_count", "taker_buy_volume", "taker_buy_quote_volume",
    "contract_volume",
)  # fmt: skip
PLAIN = {
    "open": 10.0,
    "high": 12.0,
    "low": 9.0,
    "close": 11.0,
    "volume": 1.5,
    "quote_volume": 15.0,
    "trade_count": 3,
    "taker_buy_volume": 0.5,
    "taker_buy_quote_volume": 5.0,
    "contract_volume": None,
}


def minute(number, *, left_us=1000, offset_ms=0, **values) -> dict:
    """Return the kline of a minute of the day; `left_us` lie between its close and its end."""
    opened_us = (START_MS + number * MINUTE_MS + offset_ms) * 1000
    times = {"open_time": opened_us, "close_time": opened_us + MINUTE_MS * 1000 - left_us}
    return PLAIN | times | values


def table(rows) -> pa.Table:
    columns = {name: [row[name] for row in rows] for name in FETCHED.names}
    arrays = [
        pa.array(columns[field.name], pa.int64()).cast(TIME)
        if field.type == TIME
        else pa.array(columns[field.name], field.type)
        for field in FETCHED
    ]
    return pa.Table.from_arrays(arrays, schema=FETCHED)


def make(*rows, coarser=Interval.MINUTE_15) -> list[dict]:
    return make_klines(table(rows), Interval.MINUTE_1, coarser).to_pylist()


def micros(moment) -> int:
    return pa.scalar(moment, TIME).value


def naive(rows, coarser) -> list[dict]:
    """Return the same, bar by bar, with exact fractions of what is written in decimals."""
    bars: dict[int, list[dict]] = {}
    for row in rows:
        bars.setdefault(coarser.floor(row["open_time"] // 1000), []).append(row)
    return [
        {
            "open_time": opened_ms * 1000,
            "open": held[0]["open"],
            "high": max(row["high"] for row in held),
            "low": min(row["low"] for row in held),
            "close": held[-1]["close"],
        }
        | {name: naive_sum([row[name] for row in held]) for name in SUMS}
        for opened_ms, held in bars.items()
    ]


def naive_sum(values):
    if None in values:
        return None
    if isinstance(values[0], int):
        return sum(values)
    return float(sum(Fraction(repr(value)) for value in values))


prices = st.integers(1, 10**9).map(lambda number: number / 100)
quantities = st.integers(0, 10**15).map(lambda number: number / 10**8)
unknown = st.none() | quantities
bar = st.fixed_dictionaries(
    {
        "open": prices,
        "close": prices,
        "low": prices,
        "high": prices,
        "volume": quantities,
        "quote_volume": unknown,
        "trade_count": st.none() | st.integers(0, 10**6),
        "taker_buy_volume": unknown,
        "taker_buy_quote_volume": unknown,
        "contract_volume": unknown,
    }
)


@given(
    st.dictionaries(st.integers(0, 1439), bar, max_size=40),
    st.sampled_from(["5m", "15m", "1h", "4h", "1d"]).map(Interval.parse),
)
def test_any_minutes_make_what_a_naive_reference_makes(bars, coarser) -> None:
    """Open first, close last, extremes, and sums to the last digit, null where a part is null."""
    rows = [minute(number, **values) for number, values in sorted(bars.items())]

    made = make_klines(table(rows), Interval.MINUTE_1, coarser)

    found = [
        {name: value for name, value in row.items() if name != "close_time"}
        | {"open_time": micros(row["open_time"])}
        for row in made.to_pylist()
    ]
    assert made.schema == FETCHED
    assert found == naive(rows, coarser)


@pytest.mark.parametrize(
    ("values", "total"),
    [
        pytest.param([0.1] * 10, 1.0, id="tenths"),
        pytest.param([3e11, 0.25, 3e11], 600000000000.25, id="large-and-small"),
        pytest.param([1e18, 1e18, 2e18], 4e18, id="whole-numbers-without-end"),
        pytest.param([123456789.12345678, 0.00000001], 123456789.12345679, id="eight-decimals"),
        pytest.param([math.pi, math.e], math.pi + math.e, id="no-decimals"),
    ],
)
def test_a_sum_is_the_double_nearest_to_the_true_one(values, total) -> None:
    """Sums are those of the decimals that the exchange told, whatever their order and size."""
    [made] = make(*(minute(number, volume=one) for number, one in enumerate(values)))

    assert made["volume"] == total


@pytest.mark.parametrize(
    ("rows", "closes_us"),
    [
        pytest.param([minute(0), minute(14)], 15 * MINUTE_MS * 1000 - 1000, id="milliseconds"),
        pytest.param(
            [minute(0, left_us=1), minute(14, left_us=1)], 15 * MINUTE_MS * 1000 - 1, id="micros"
        ),
        pytest.param([minute(0), minute(3)], 15 * MINUTE_MS * 1000 - 1000, id="quiet-minutes"),
        pytest.param(
            [minute(8), minute(9, left_us=18_354_000)], 581_646_000, id="cut-by-an-outage"
        ),
        pytest.param(
            [minute(8, left_us=18_354_000), minute(9)],
            15 * MINUTE_MS * 1000 - 1000,
            id="traded-again-after-it",
        ),
    ],
)
def test_a_bar_closes_as_the_exchange_has_it(rows, closes_us) -> None:
    """At its own end in the unit of its parts; earlier only where the last part was cut."""
    [made] = make(*rows)

    assert micros(made["close_time"]) == START_MS * 1000 + closes_us


def test_minutes_beside_the_grid_belong_to_the_bar_they_open_in() -> None:
    """As after the outages of early 2018: what was traded is counted once, in the bar's place."""
    made = make(minute(14, offset_ms=14_789), minute(15, offset_ms=14_789, open=20.0, high=30.0))

    assert [micros(row["open_time"]) // 1000 - START_MS for row in made] == [0, 15 * MINUTE_MS]
    assert [row["open"] for row in made] == [10.0, 20.0]


def test_no_minutes_make_no_bars() -> None:
    """An empty table has the same columns."""
    made = make_klines(FETCHED.empty_table(), Interval.MINUTE_1, Interval.HOUR_1)

    assert made == FETCHED.empty_table()


@pytest.mark.parametrize(
    ("finer", "coarser"), [("15m", "15m"), ("1h", "1w"), ("2h", "3m"), ("3m", "5m")]
)
def test_bars_that_do_not_fit_are_refused(finer, coarser) -> None:
    """The same length, a longer one, or bars that reach over the end of a day."""
    with pytest.raises(ValueError, match="not made of"):
        make_klines(FETCHED.empty_table(), Interval.parse(finer), Interval.parse(coarser))


def marks_of(names, *, are_waiting) -> dict[int, str]:
    """Return by minute of the day what the quarters are called that are made of named minutes."""
    rows = [mark_source(table([minute(number)]), name) for number, name in names.items()]
    marked = pa.concat_tables(rows).unify_dictionaries()
    assert marked.schema == KLINES
    lengths = (Interval.MINUTE_1, Interval.MINUTE_15)
    offers = make_offers(marked, lengths, ("vision", "rest", "ccxt:okx"), are_waiting=are_waiting)
    return {
        (opened_ms - START_MS) // MINUTE_MS: offer.source
        for offer in offers
        for opened_ms in epoch_ms(offer.rows["open_time"]).to_pylist()
    }


@pytest.mark.parametrize(
    ("names", "waiting", "settled"),
    [
        pytest.param(["vision", "vision"], "made:1m", "made:1m", id="the-best"),
        pytest.param(["vision", "rest"], "made:1m:rest", "made:1m", id="another-of-its-own"),
        pytest.param(["rest", "ccxt:okx"], "made:1m:ccxt:okx", "made:1m:ccxt:okx", id="a-stand-in"),
        pytest.param(
            ["ccxt:okx", "ccxt:kraken"], "made:1m:ccxt:kraken", "made:1m:ccxt:kraken", id="unnamed"
        ),
    ],
)
def test_the_worst_source_of_a_bar_is_named(names, waiting, settled) -> None:
    """Whichever of its rows comes first; one of the exchange itself only while a better may come.

    A bar of the best source's alone, earlier or later, is not marked.
    """
    orders = [
        {0: "vision"} | dict(zip((15, 16), order, strict=True)) for order in (names, names[::-1])
    ]

    for order in orders:
        assert marks_of(order, are_waiting=True) == {0: "made:1m", 15: waiting}
        assert marks_of(order, are_waiting=False) == {0: "made:1m", 15: settled}


def test_no_rows_make_no_offers() -> None:
    """Nothing is offered of nothing."""
    rows = mark_source(FETCHED.empty_table(), "rest")
    lengths = (Interval.MINUTE_1, Interval.HOUR_1)

    assert list(make_offers(rows, lengths, ("rest",), are_waiting=True)) == []


@pytest.mark.parametrize("coarser", ["5m", "15m", "1h", "4h", "12h", "1d"])
@pytest.mark.parametrize("symbol", ["spot/ETHUSDT", "um/BTCUSDT", "cm/BTCUSD_PERP"])
def test_bars_equal_those_of_the_exchange(sandbox, symbol, coarser) -> None:
    """Over the outage of 2023-03-24 too; base volume of coin-margined contracts to its rounding."""
    series = Series.parse(f"binance/{symbol}/1m")
    span = span_of_days(date(2023, 3, 23), date(2023, 3, 26))
    interval = Interval.parse(coarser)
    theirs = sandbox.klines(Series.parse(f"binance/{symbol}/{coarser}"), span)

    made = make_klines(sandbox.klines(series, span), Interval.MINUTE_1, interval)

    for name in FETCHED.names:
        ours, own = (
            (epoch_ms(rows[name]) if name == "close_time" else rows[name]).to_pylist()
            for rows in (made, theirs)
        )
        assert ours == own, name
    assert np.all(np.diff(epoch_ms(made["open_time"]).to_numpy()) > 0)
