"""What a backfill would ask for: the choice, the days that lack, the runs, and what they cost."""

from datetime import date, timedelta

import pytest

from crypto_data.catalog.configuration import Catalog, Feed
from crypto_data.costs import estimate
from crypto_data.coverage import DayFacts
from crypto_data.errors import UsageError
from crypto_data.intervals import DAY_MS, HOUR_MS, Interval, TimeRange
from crypto_data.lake.census import take_census
from crypto_data.lake.feeds import Wishes, wanted_series
from crypto_data.lake.layout import part_path
from crypto_data.lake.overdue import unsettled_stretches
from crypto_data.lake.part import write_part
from crypto_data.lake.store import Lake
from crypto_data.partitions import day_start_ms
from crypto_data.planning import (
    MOST_RUNS,
    Need,
    RunPlan,
    choose_series,
    find_needs,
    plan_runs,
)
from crypto_data.schema import empty_klines
from crypto_data.selection import Selection
from crypto_data.series import Market, Series

FIRST = date(2024, 1, 10)
HOLE = TimeRange(0, 4 * HOUR_MS)


def day(number) -> date:
    return FIRST + timedelta(days=number)


def feed(
    name="one", market=Market.SPOT, symbols=("BTCUSDT", "ETHUSDT"), intervals=("1m", "1h"), **more
):
    text = {"exchange": "binance", "market": market, "symbols": symbols, "intervals": intervals}
    return Feed(name=name, **text | {"start": FIRST.isoformat()} | more)


def series(symbol="BTCUSDT", interval="1h", market=Market.SPOT) -> Series:
    return Series("binance", market, symbol, Interval(interval))


def need(*numbers, of=None, from_feed=None) -> Need:
    days = tuple(day(number) for number in numbers)
    return Need(of or series(), from_feed or feed(), days, 24 * len(days))


@pytest.fixture
def catalog(tmp_path) -> Catalog:
    um = feed("two", Market.UM, symbols=("BTCUSDT",), intervals=("1h", "1mo"), sources=("rest",))
    return Catalog(path=tmp_path / "crypto_data.yaml", lake=tmp_path / "lake", feeds=(feed(), um))


@pytest.mark.parametrize(
    ("selection", "count"),
    [
        pytest.param(Selection(), 6, id="all"),
        pytest.param(Selection(symbols=("BTCUSDT",)), 4, id="symbol"),
        pytest.param(Selection(markets=("um",)), 2, id="market"),
        pytest.param(Selection(exchanges=("binance",)), 6, id="exchange"),
        pytest.param(Selection(intervals=("1h", "1m")), 5, id="intervals"),
        pytest.param(Selection(intervals=("1M",)), 1, id="alias"),
        pytest.param(Selection(symbols=("ETHUSDT",), intervals=("1h",)), 1, id="both"),
    ],
)
def test_a_selection_chooses_series(catalog, selection, count) -> None:
    """Every filter must hold; an empty one holds for all."""
    assert len(choose_series(catalog, selection)) == count


@pytest.mark.parametrize(
    ("selection", "said"),
    [
        pytest.param(Selection(symbols=("BTCUSDC",)), "did you mean BTCUSDT?", id="near"),
        pytest.param(Selection(symbols=("ethusdt",)), "did you mean ETHUSDT?", id="small-letters"),
        pytest.param(Selection(symbols=("X",)), "there is BTCUSDT, ETHUSDT", id="far"),
        pytest.param(Selection(markets=("cm",)), "there is spot, um", id="market"),
        pytest.param(Selection(exchanges=("okx",)), "there is binance", id="exchange"),
        pytest.param(Selection(intervals=("2m",)), "'2m' is no interval", id="no-interval"),
        pytest.param(Selection(intervals=("1d",)), "'1d' is not configured", id="interval"),
        pytest.param(
            Selection(symbols=("ETHUSDT",), markets=("um",)),
            "no configured series has all",
            id="both",
        ),
    ],
)
def test_a_selection_of_nothing_is_refused(catalog, selection, said) -> None:
    """What is configured is named, nearest first."""
    with pytest.raises(UsageError, match=r"configured|interval") as caught:
        choose_series(catalog, selection)

    assert said in str(caught.value)


def test_a_range_that_ends_before_it_starts() -> None:
    """Days that make no range are a mistake of the command."""
    with pytest.raises(UsageError, match="is not after"):
        Selection(start=day(1), end=day(1))


def test_what_is_wanted_of_each_series(catalog) -> None:
    """Start, end and best source go into the lake, for its views."""
    wanted = wanted_series(catalog)

    assert len(wanted) == 6
    assert wanted[series()].best_source == "vision"
    assert wanted[series(market=Market.UM)].best_source == "rest"
    assert wanted[series()].start == FIRST


@pytest.mark.parametrize(
    ("selection", "now", "numbers"),
    [
        pytest.param(Selection(), 5 * DAY_MS + HOUR_MS, range(5), id="to-the-last-closed-day"),
        pytest.param(Selection(), 5 * DAY_MS, range(5), id="midnight"),
        pytest.param(Selection(), 5 * DAY_MS - 1, range(4), id="just-before"),
        pytest.param(Selection(start=day(2)), 5 * DAY_MS, (2, 3, 4), id="start"),
        pytest.param(Selection(end=day(2)), 5 * DAY_MS, (0, 1), id="end"),
        pytest.param(Selection(start=day(-9), end=day(90)), 5 * DAY_MS, range(5), id="wider"),
        pytest.param(Selection(start=day(9)), 5 * DAY_MS, (), id="in-the-future"),
    ],
)
def test_an_empty_lake_lacks_every_closed_day(catalog, selection, now, numbers) -> None:
    """From the feed's start to the last day that is over at the exchange, within the choice."""
    chosen = choose_series(
        catalog, Selection(symbols=("BTCUSDT",), intervals=("1h",), markets=("spot",))
    )

    needs = find_needs(Lake(catalog.lake), chosen, selection, day_start_ms(FIRST) + now)

    assert [one.days for one in needs] == ([tuple(map(day, numbers))] if numbers else [])
    assert sum(one.rows for one in needs) == 24 * len(numbers)
    assert not catalog.lake.exists()


def test_a_large_plan_is_the_same_and_opens_no_settled_file(catalog, monkeypatch) -> None:
    """The index says which days may be unsettled; of those the ledger of their file decides."""
    chosen = choose_series(catalog, Selection(intervals=("1h",)))
    one, other, *_ = chosen
    ledger = {
        day(0): DayFacts(rows=24, sources=(("vision", 24),)),
        day(1): DayFacts(rows=24, sources=(("ccxt:okx", 24),)),
        day(2): DayFacts(rows=24, sources=(("ccxt:okx", 24),), explained=True),
        day(3): DayFacts(rows=20, sources=(("vision", 20),), absent=(HOLE,), explained=True),
        day(4): DayFacts(rows=20, sources=(("rest", 20),), absent=(HOLE,)),
        day(5): DayFacts(rows=2, sources=(("made:1m", 2),), unlisted_rows=24),
    }
    write_part(part_path(catalog.lake, one, f"{FIRST:%Y}"), empty_klines(), ledger)
    settled = {day(number): ledger[day(0)] for number in range(6)}
    write_part(part_path(catalog.lake, other, f"{FIRST:%Y}"), empty_klines(), settled)
    now_ms = day_start_ms(day(6))

    small = find_needs(Lake(catalog.lake), chosen, Selection(), now_ms)
    monkeypatch.setattr("crypto_data.planning.MANY_DAYS", 0)
    large = find_needs(Lake(catalog.lake), chosen, Selection(), now_ms)
    runs = take_census(catalog.lake, now_ms, Wishes(wanted_series(catalog))).runs

    assert large == small
    assert [need.days for need in large if need.series == one] == [(day(1), day(4), day(5))]
    assert other not in unsettled_stretches(runs)


def test_series_of_one_stretch_share_a_run() -> None:
    """Hundreds of series over the same days are one run."""
    needs = [need(0, 1, 2, of=series(symbol)) for symbol in ("A", "B", "C")]

    assert plan_runs(needs) == [RunPlan(day(0), day(3), tuple(one.series for one in needs))]


def test_near_gaps_are_one_run_and_far_ones_are_two() -> None:
    """A run costs more than a look at a few settled days."""
    near, far = need(0, 5), need(0, 30)

    assert plan_runs([near]) == [RunPlan(day(0), day(6), (near.series,))]
    assert plan_runs([far]) == [
        RunPlan(day(0), day(1), (far.series,)),
        RunPlan(day(30), day(31), (far.series,)),
    ]


def test_series_of_other_starts_cannot_share_a_run() -> None:
    """Dagster wants one partitions definition in a run."""
    um = feed("two", Market.UM, start="2024-01-09")
    one, two = need(0), need(0, of=series(market=Market.UM), from_feed=um)

    assert len(plan_runs([one, two])) == 2


def test_scattered_gaps_are_folded() -> None:
    """Instead of hundreds of runs there is one a start, over everything that lacks."""
    scattered = need(*range(0, 30 * (MOST_RUNS + 1), 30))

    [plan] = plan_runs([scattered])

    assert (plan.first, plan.end) == (scattered.days[0], scattered.days[-1] + timedelta(days=1))


def test_every_need_is_covered_by_a_run() -> None:
    """Whatever the gaps are, each day of each series lies in a run that has the series."""
    needs = [
        need(0, 1, 9, 40),
        need(9, 41, of=series("ETHUSDT")),
        need(2, of=series(interval="1m")),
    ]

    plans = plan_runs(needs)

    for one in needs:
        for lacking in one.days:
            assert any(one.series in p.series and p.first <= lacking < p.end for p in plans)


def test_what_a_plan_costs() -> None:
    """A whole month of the archive is two requests, single days two each, REST a page each 1000."""
    month, days = need(*range(22)), need(1, 2)
    by_page = need(1, 2, from_feed=feed(sources=("rest",)))

    assert estimate([month]).requests == 2
    assert estimate([days]).requests == 4
    assert estimate([by_page]).requests == 1
    total = estimate([month, days, by_page])
    assert (total.series, total.days, total.rows) == (3, 26, 26 * 24)
    assert total.bytes_fetched > 0
    assert total.bytes_kept > 0


def test_nothing_costs_nothing() -> None:
    """No need, no run, no request."""
    assert plan_runs([]) == []
    assert estimate([]).requests == 0
