"""A symbol that has ended stays in the lake, and is not asked for day after day."""

import os
from dataclasses import replace
from datetime import date

import pytest

from crypto_data.delisting import find_ends
from crypto_data.lake.feeds import current_wishes, write_wishes
from crypto_data.lake.universe import read_universe, write_universe
from crypto_data.partitions import day_start_ms
from crypto_data.resolving import resolve
from crypto_data.sandbox.symbols import instant
from crypto_data.series import Market, Series
from crypto_data.sources.connect import local_ms
from crypto_data.sources.http import Retry
from crypto_data.universe import refresh_universe

# OLDUSDT's last kline closed at 2024-02-20T03:00, NEWUSDT's first opens at 2024-05-17T06:00.
FEED = {"symbols": ["O*", "N*"], "intervals": ["1d"], "start": "2024-02-15", "end": None}
OLD = Series.parse("binance/spot/OLDUSDT/1d")
NEW = Series.parse("binance/spot/NEWUSDT/1d")
SPOT = ("binance", Market.SPOT)


@pytest.fixture
def filled(desk):
    """Return a desk whose lake knows all symbols, and all days before 2024-05-20."""
    desk.sandbox.set_clock(instant("2024-05-20T03:00"))
    fill(desk, FEED | {"symbols": ["OLDUSDT", "NEWUSDT"]}, date(2024, 5, 20))
    desk.configure(FEED)
    desk.sandbox.requests.clear()
    return desk


def fill(desk, feed, end) -> None:
    """Fill the days of a feed, and keep what the exchange lists."""
    catalog = desk.configure(feed)
    desk.fill(end=end)
    write_wishes(desk.lake.root, current_wishes(catalog))
    refresh_universe(
        catalog, [SPOT], desk.state, now_ms=local_ms(), retry=Retry(max_retries=0)
    )  # fmt: skip


def go_on(desk, moment) -> None:
    """Let the exchange's clock go on, and be measured anew."""
    desk.sandbox.set_clock(instant(moment))
    os.utime(desk.lake.root / "_feeds.json", (0, 0))


def state_of(desk, series, day) -> str:
    query = (
        f"SELECT state FROM coverage WHERE symbol = '{series.symbol}' AND interval = "
        f"'{series.interval}' AND day = DATE '{day}'"
    )
    done = desk.run("sql", query, "--format", "csv")
    return done.stdout.splitlines()[1]


def ends(desk, first) -> dict[Series, int]:
    catalog = resolve(desk.catalog())
    return find_ends(catalog, catalog.all_series(), first, desk.state, now_ms=local_ms())


def test_days_after_the_end_are_asked_of_nobody(filled) -> None:
    """The first run learns the last day; later ones make no request about the symbol at all."""
    go_on(filled, "2024-05-21T03:00")
    first = filled.run("backfill")
    filled.sandbox.requests.clear()
    go_on(filled, "2024-05-22T03:00")

    second = filled.run("backfill")

    assert (first.returncode, second.returncode) == (0, 0)
    assert filled.asked("OLDUSDT") == []
    assert filled.asked("NEWUSDT") != []
    assert {state_of(filled, OLD, day) for day in ("2024-05-20", "2024-05-21")} == {"unlisted"}
    assert state_of(filled, OLD, "2024-02-20") == "complete"
    assert state_of(filled, NEW, "2024-05-21") in {"complete", "provisional"}


def test_the_end_is_the_day_that_everybody_has_agreed_on(filled) -> None:
    """Only of the symbol that has ended, from the day before the first wanted one on."""
    found = ends(filled, date(2024, 5, 20))

    assert found == {OLD: day_start_ms(date(2024, 5, 19))}


@pytest.mark.parametrize(
    ("first", "why"),
    [
        pytest.param(date(2024, 2, 21), "the day before has klines", id="last-day"),
        pytest.param(date(2024, 2, 15), "the day before was never asked for", id="start"),
        pytest.param(date(2024, 5, 22), "the day before was never asked for", id="ahead"),
    ],
)
def test_what_is_open_is_asked_for(filled, first, why) -> None:
    """Nothing is taken for over that somebody has not said to be over."""
    assert ends(filled, first) == {}, why


def change(desk, series, **facts) -> None:
    """Change what the lake's copy says of a symbol, and when it was told."""
    known = read_universe(desk.lake.root, *SPOT)
    told_ms = facts.pop("told_ms", known.told_ms)
    listings = tuple(
        replace(one, **facts) if one.symbol == series.symbol else one for one in known.listings
    )
    write_universe(desk.lake.root, *SPOT, replace(known, listings=listings, told_ms=told_ms))


@pytest.mark.parametrize(
    "facts",
    [
        pytest.param({"is_trading": True}, id="trades-again"),
        pytest.param({"is_trading": None}, id="nobody-told"),
        pytest.param({"told_ms": 0}, id="told-long-ago"),
        pytest.param({"last_day": date(2024, 5, 19)}, id="files-until-yesterday"),
        pytest.param({"last_day": date(2024, 6, 1)}, id="files-after"),
    ],
)
def test_a_doubt_is_enough_to_ask(filled, facts) -> None:
    """A symbol that may trade, a list that is old, a file of the archive: it is asked for."""
    change(filled, OLD, **facts)

    assert ends(filled, date(2024, 5, 20)) == {}


def test_days_before_the_listing_end_nothing(desk) -> None:
    """Before its first day a symbol is unlisted too; one that was delisted since has a life."""
    desk.sandbox.set_clock(instant("2024-05-20T03:00"))
    fill(desk, FEED | {"symbols": ["NEWUSDT"], "start": "2024-05-10"}, date(2024, 5, 15))
    change(desk, NEW, is_trading=False)

    found = ends(desk, date(2024, 5, 15))

    assert desk.lake.period_ledger(NEW, "2024")[date(2024, 5, 14)].unlisted_rows == 1
    assert found == {}
