"""Which of several rows of one open time stays."""

from datetime import date

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crypto_data.harvest import Offer
from crypto_data.intervals import DAY_MS, MINUTE_MS
from crypto_data.lake.merge import merge, rows_of_days
from crypto_data.partitions import day_start_ms
from crypto_data.schema import KLINES, TIME, empty_klines, fetched_table, mark_source

DAY, NEXT = date(2024, 3, 4), date(2024, 3, 5)
RANKING = ("vision", "rest", "ccxt:kraken")


def fetched(bars) -> pa.Table:
    """Return rows from `{minute of DAY: close}`, sorted."""
    minutes = sorted(bars)
    times = pa.array([(day_start_ms(DAY) + m * MINUTE_MS) * 1000 for m in minutes], pa.int64())
    prices = pa.array([float(bars[m]) for m in minutes], pa.float64())
    plain = dict.fromkeys(("open", "high", "low", "close", "volume"), prices)
    return fetched_table({"open_time": times.cast(TIME), "close_time": times.cast(TIME), **plain})


def offer(source, bars) -> Offer:
    return Offer(source, RANKING.index(source), fetched(bars))


def stored(*parts) -> pa.Table:
    return merge(empty_klines(), [offer(source, bars) for source, bars in parts], RANKING, [])


def content(rows) -> dict:
    minutes = [(t.hour * 60 + t.minute) + 1440 * (t.day - 4) for t in rows["open_time"].to_pylist()]
    values = zip(rows["source"].to_pylist(), rows["close"].to_pylist(), strict=True)
    return dict(zip(minutes, values, strict=True))


@pytest.mark.parametrize(
    ("at_hand", "came", "doubtful", "left"),
    [
        pytest.param("rest", "vision", [], "vision", id="better-replaces-worse"),
        pytest.param("vision", "rest", [], "stored", id="worse-never-replaces-better"),
        pytest.param("rest", "rest", [], "rest", id="of-one-source-the-newer"),
        pytest.param("vision", "rest", [DAY], "rest", id="doubtful-rows-give-way"),
        pytest.param("vision", "rest", [NEXT], "stored", id="doubt-of-another-day"),
    ],
)
def test_the_better_source_stays(at_hand, came, doubtful, left) -> None:
    """Of a stored and an offered row the one of the better rank stays, whole."""
    rows = merge(stored((at_hand, {0: 1})), [offer(came, {0: 2})], RANKING, doubtful)

    assert content(rows) == {0: (at_hand, 1.0) if left == "stored" else (left, 2.0)}


def test_a_source_that_left_the_configuration_stands_last() -> None:
    """Rows of a source the chain no longer names give way to any it names."""
    at_hand = stored(("ccxt:kraken", {0: 1, 1: 1}))

    rows = merge(at_hand, [Offer("rest", 1, fetched({1: 2}))], ("vision", "rest"), [])

    assert content(rows) == {0: ("ccxt:kraken", 1.0), 1: ("rest", 2.0)}


def test_a_doubtful_offer_stands_behind_every_firm_one() -> None:
    """A doubtful row is kept only where nothing better is known; another exchange is no better."""
    came = [Offer("vision", 3, fetched({0: 1, 1: 1, 2: 1})), offer("rest", {1: 2})]
    at_hand = stored(("rest", {0: 9}), ("ccxt:kraken", {2: 9}))

    assert content(merge(at_hand, came, RANKING, [])) == {
        0: ("rest", 9.0),
        1: ("rest", 2.0),
        2: ("vision", 1.0),
    }


bars = st.dictionaries(st.integers(0, 5), st.integers(1, 99), max_size=6)
commits = st.lists(st.lists(st.tuples(st.sampled_from(RANKING), bars), max_size=3), max_size=5)


@given(commits)
def test_any_order_of_commits_leaves_what_the_model_says(passes) -> None:
    """Over any history the lake's rows equal a dictionary that keeps the best, then newest."""
    model: dict[int, tuple[str, float]] = {}
    rows = empty_klines()
    for offers in passes:
        rows = merge(rows, [offer(*one) for one in offers], RANKING, [])
        for source, bars_came in offers:
            for minute, close in bars_came.items():
                held = model.get(minute)
                if held is None or RANKING.index(source) <= RANKING.index(held[0]):
                    model[minute] = (source, float(close))

    assert content(rows) == dict(sorted(model.items()))
    assert rows.schema == KLINES


@given(commits)
def test_merging_the_same_again_changes_nothing(passes) -> None:
    """A second merge of the best rows gives an equal table, dictionaries included."""
    rows = empty_klines()
    for offers in passes:
        rows = merge(rows, [offer(*one) for one in offers], RANKING, [])

    again = [
        Offer(name, RANKING.index(name), fetched(part))
        for name in RANKING
        if (part := {m: close for m, (source, close) in content(rows).items() if source == name})
    ]
    assert merge(rows, again, RANKING, []).equals(rows)


def test_nothing_and_nothing_is_an_empty_table() -> None:
    """No rows stored and none offered is a table of the lake's columns."""
    none = Offer("rest", 1, fetched({}))

    assert merge(empty_klines(), [none], RANKING, []).schema == KLINES
    assert merge(mark_source(fetched({}), "rest"), [], RANKING, [DAY]).num_rows == 0


def test_each_day_knows_its_rows() -> None:
    """Slices of neighbouring days touch; a day without rows has an empty one."""
    start_ms = day_start_ms(DAY)
    open_ms = np.array([start_ms, start_ms + DAY_MS - 1, start_ms + DAY_MS])

    places = rows_of_days(open_ms, [date(2024, 3, 3), DAY, NEXT, date(2024, 3, 6)])

    assert [(place.start, place.stop) for place in places.values()] == [
        (0, 0),
        (0, 2),
        (2, 3),
        (3, 3),
    ]
