"""Series that are made of finer ones: what is made when, and what the ledger says of it."""

import threading
from datetime import UTC, date, datetime

import pytest

from crypto_data.costs import estimate
from crypto_data.harvest import Aim
from crypto_data.ingest import Job, ingest
from crypto_data.intervals import DAY_MS, HOUR_MS, MINUTE_MS
from crypto_data.lake.census import take_census
from crypto_data.lake.feeds import current_wishes
from crypto_data.lake.layout import part_path
from crypto_data.lake.part import read_footer
from crypto_data.making.chain import chain_of
from crypto_data.making.due import unmade_days
from crypto_data.partitions import day_start_ms
from crypto_data.planning import Need, find_needs, plan_runs
from crypto_data.sandbox.faults import Fault
from crypto_data.selection import Selection
from crypto_data.series import Series
from crypto_data.sources.connect import local_ms, open_chains

HOURS = Series.parse("binance/spot/BTCUSDT/1h")
FOURS = Series.parse("binance/spot/BTCUSDT/4h")
MADE = {"intervals": ["1h", {"4h": "from 1h"}]}
FIRST, TENTH, ELEVENTH, END = (date(2024, 1, day) for day in (9, 10, 11, 12))
FEED = MADE | {"start": str(FIRST), "end": str(END)}
FILE = "*BTCUSDT-1h-2024-01-10.zip"
REST = "/api/v3/klines"
# The archive may still publish the tenth.
EARLY_MS = day_start_ms(date(2024, 1, 13))


@pytest.fixture
def made(desk):
    """Return a desk whose feed has one hour and, made of it, four."""
    desk.configure(FEED)
    return desk


def fill(desk, aim=Aim.FILL):
    """Fill all series; return how the days of the made ones stand, by day."""
    reports = [one for one in desk.fill(aim=aim) if one.series != HOURS]
    return {day.day: day for report in reports for day in report.days}


def stands(day):
    return (str(day.state), day.rows, day.expected, day.source)


def unmade(desk):
    catalog = desk.catalog()
    census = take_census(catalog.lake, local_ms(), current_wishes(catalog))
    return [(one.series, one.first, one.end) for one in unmade_days(census.runs, catalog)]


@pytest.mark.slow
def test_a_backfill_makes_what_the_exchange_itself_has(desk) -> None:
    """Over an outage, from minutes: each bar, its cut close time and its gap; nobody is asked."""
    outage = {"symbols": ["ETHUSDT"], "start": "2023-03-23", "end": "2023-03-26"}
    desk.configure(outage | {"intervals": ["1m", {"15m": "from 1m"}, {"1h": "from 1m"}]})

    first, second = desk.run("backfill"), desk.run("backfill")

    days = date(2023, 3, 23), date(2023, 3, 26)
    assert first.returncode == second.returncode == 0, first.stderr
    assert desk.equals_truth("binance/spot/ETHUSDT/15m", *days)
    assert desk.equals_truth("binance/spot/ETHUSDT/1h", *days)
    assert "nothing to fetch" in second.stderr
    assert not desk.asked("15m", "1h")


def test_made_days_say_of_what_they_are_made(made) -> None:
    """Complete, from `made:1h`, every row so marked; the ledger names the finer series."""
    days = fill(made)

    facts = made.lake.ledger(FOURS, [TENTH])[TENTH]
    assert {stands(day) for day in days.values()} == {("complete", 6, 6, "made:1h")}
    assert {row["source"] for row in made.rows(FOURS, FIRST, END)} == {"made:1h"}
    assert facts.address == str(HOURS)
    assert made.equals_truth(FOURS, FIRST, END)
    assert not made.asked("4h")


def test_a_day_waits_for_its_finer_day(made) -> None:
    """Nothing is made of a day that lacks klines, and the reason is that day's; others are made."""
    made.sandbox.faults.add(Fault(FILE, "corrupt"), Fault(REST, "code0"))
    days = fill(made)

    assert stands(days[TENTH]) == ("missing", 0, 6, "")
    assert days[TENTH].failovers.startswith("made:1h: 1h is missing: vision: ")
    assert "rest: " in days[TENTH].failovers
    assert stands(days[ELEVENTH])[0] == "complete"

    made.sandbox.faults.clear()
    later = fill(made)

    assert stands(later[TENTH]) == ("complete", 6, 6, "made:1h")
    assert [day.asked for day in later.values()] == [False, True, False]
    assert made.equals_truth(FOURS, FIRST, END)


def test_what_was_made_stays_while_its_finer_day_is_gone(made) -> None:
    """A file of finer klines that is lost takes nothing along."""
    fill(made)
    part_path(made.lake.root, HOURS, "2024").unlink()
    made.sandbox.faults.add(Fault("*1h-2024-01-1*.zip", "absent"), Fault(REST, "code0"))

    days = fill(made)

    assert stands(days[TENTH]) == ("complete", 6, 6, "made:1h")
    assert made.equals_truth(FOURS, FIRST, END)


@pytest.mark.parametrize(
    ("symbol", "first", "end", "states"),
    [
        pytest.param(
            "NEWUSDT",
            date(2024, 5, 16),
            date(2024, 5, 19),
            [("unlisted", 0, 0), ("complete", 5, 5), ("complete", 6, 6)],
            id="listed-within-a-bar",
        ),
        pytest.param(
            "OLDUSDT",
            date(2024, 2, 19),
            date(2024, 2, 22),
            [("complete", 6, 6), ("complete", 1, 1), ("unlisted", 0, 0)],
            id="delisted-within-a-bar",
        ),
    ],
)
def test_a_made_day_is_expected_to_hold_the_bars_of_its_life(desk, symbol, first, end, states):
    """A bar that the symbol traded in for a part of is due; those before and after are not."""
    desk.configure(MADE | {"symbols": [symbol], "start": str(first), "end": str(end)})

    reports = {str(one.series.interval): one for one in desk.fill()}

    assert [stands(day)[:3] for day in reports["4h"].days] == states
    assert desk.equals_truth(f"binance/spot/{symbol}/4h", first, end)


def test_bars_of_waiting_days_say_whose_they_are(made) -> None:
    """Made of REST's klines while the archive may come: provisional, and made anew when it has."""
    made.sandbox.set_clock(EARLY_MS)
    made.sandbox.faults.add(Fault(FILE, "absent"))
    early = fill(made)
    made.sandbox.republish(FILE, EARLY_MS + MINUTE_MS)
    made.sandbox.faults.clear()
    made.sandbox.set_clock(EARLY_MS + HOUR_MS)

    later = fill(made, Aim.REVISE)

    assert stands(early[TENTH]) == ("provisional", 6, 6, "made:1h:rest")
    assert "1h is provisional" in early[TENTH].failovers
    assert stands(early[ELEVENTH]) == ("complete", 6, 6, "made:1h")
    assert stands(later[TENTH]) == ("complete", 6, 6, "made:1h")
    assert later[TENTH].correction == ""  # the same values from the archive
    assert made.equals_truth(FOURS, FIRST, END)


def test_a_day_that_waited_long_enough_is_made_for_good(made) -> None:
    """By time alone the finer day is complete; so is what is made of it, after the next pass."""
    made.sandbox.set_clock(EARLY_MS)
    made.sandbox.faults.add(Fault(FILE, "absent"))
    fill(made)
    made.sandbox.set_clock(EARLY_MS + 30 * DAY_MS)

    later = fill(made)

    assert stands(later[TENTH]) == ("complete", 6, 6, "made:1h")
    assert [day.asked for day in later.values()] == [False, True, False]


def test_a_correction_of_the_finer_day_goes_on(made) -> None:
    """The made day is told as corrected too, its old file is kept; other days are left alone."""
    lie = Fault(FILE, "stale", factor=1.02)
    made.sandbox.set_clock(EARLY_MS)
    made.sandbox.faults.add(lie)
    fill(made)
    assert unmade(made) == []
    made.sandbox.republish(FILE, EARLY_MS + MINUTE_MS)
    made.sandbox.set_clock(EARLY_MS + HOUR_MS)
    [fetched] = [one for one in made.fill(aim=Aim.REVISE) if one.series == HOURS]

    [correction] = read_footer(part_path(made.lake.root, FOURS, "2024")).corrections
    assert [day.asked for day in fetched.days] == [False, True, False]
    assert (correction.day, correction.rows_changed) == (TENTH, 6)
    assert (made.lake.root / correction.superseded).is_file()
    assert made.equals_truth(FOURS, FIRST, END)


def test_a_census_tells_the_days_that_are_to_be_made(made) -> None:
    """Those whose finer day is settled and new or other than it was: no gap, none made before."""
    made.sandbox.set_clock(EARLY_MS)
    made.sandbox.faults.add(
        Fault("*2024-01-11.zip", "corrupt"), Fault(FILE, "stale", factor=1.02), Fault(REST, "code0")
    )
    made.configure(FEED | {"intervals": ["1h"]})
    made.fill()
    made.configure(FEED)
    before = unmade(made)
    fill(made)
    after = unmade(made)
    made.sandbox.republish(FILE, EARLY_MS + MINUTE_MS)
    made.sandbox.set_clock(EARLY_MS + HOUR_MS)
    made.configure(FEED | {"intervals": ["1h"]})
    made.fill(aim=Aim.REVISE)
    made.configure(FEED)

    assert before == [(FOURS, FIRST, ELEVENTH)]
    assert after == []
    assert unmade(made) == [(FOURS, TENTH, ELEVENTH)]


@pytest.mark.parametrize(
    ("symbol", "first", "end"),
    [
        pytest.param("ETHUSDT", date(2023, 3, 23), date(2023, 3, 26), id="outage"),
        pytest.param("NEWUSDT", date(2024, 5, 15), date(2024, 5, 19), id="listing"),
        pytest.param("OLDUSDT", date(2024, 2, 18), date(2024, 2, 23), id="delisting"),
        pytest.param("LUNAUSDT", date(2022, 5, 11), date(2022, 6, 3), id="pause"),
    ],
)
def test_a_census_and_the_ledger_agree_on_made_days(desk, symbol, first, end) -> None:
    """Whatever the finer days are, none is to be made again after all were."""
    desk.configure(MADE | {"symbols": [symbol], "start": str(first), "end": str(end)})

    desk.fill()

    assert unmade(desk) == []
    assert needs_of(desk) == []
    assert desk.equals_truth(f"binance/spot/{symbol}/4h", first, end)


def needs_of(desk, **chosen) -> list[Need]:
    catalog = desk.catalog()
    selection = Selection(**chosen)
    series = {
        one: feed
        for one, feed in catalog.all_series().items()
        if not selection.intervals or str(one.interval) in selection.intervals
    }
    now_ms = int(datetime(2024, 2, 1, tzinfo=UTC).timestamp()) * 1000
    return find_needs(desk.lake, series, selection, now_ms)


def test_a_plan_fetches_first_what_it_then_makes_of(made) -> None:
    """Asked for alone, a made series takes the finer one along; it costs no request itself."""
    needs = needs_of(made, intervals=("4h",))

    plans = plan_runs(needs)
    assert [need.series for need in needs] == [HOURS, FOURS]
    assert [plan.series for plan in plans] == [(HOURS,), (FOURS,)]
    assert [estimate([need]).requests for need in needs] == [6, 0]
    assert [estimate([need]).bytes_fetched > 0 for need in needs] == [True, False]
    assert needs[1].rows == 18


def test_a_plan_makes_anew_what_it_fetches_anew(made) -> None:
    """Days that the finer series lacks are planned for both, days that both have for none."""
    fill(made)
    assert needs_of(made) == []
    part_path(made.lake.root, HOURS, "2024").unlink()

    assert [need.days for need in needs_of(made)] == [(FIRST, TENTH, ELEVENTH)] * 2


def test_a_series_that_was_fetched_before_is_made_from_then_on(desk) -> None:
    """The exchange's own bars give way, so that a series is of one kind."""
    desk.configure(FEED | {"intervals": ["1h", "4h"]})
    desk.fill()
    desk.configure(FEED)

    days = fill(desk)

    assert {stands(day) for day in days.values()} == {("complete", 6, 6, "made:1h")}
    assert {row["source"] for row in desk.rows(FOURS, FIRST, END)} == {"made:1h"}


def test_a_series_that_was_made_before_is_fetched_from_then_on(made) -> None:
    """Made bars only stand in for fetched ones: the days are asked for."""
    fill(made)
    made.configure(FEED | {"intervals": ["1h", "4h"]})

    days = fill(made)

    assert {stands(day) for day in days.values()} == {("complete", 6, 6, "vision")}


def test_a_damaged_file_of_finer_klines_is_named(made) -> None:
    """The error says which file it is and what to do; what was made of it stays."""
    fill(made)
    part_path(made.lake.root, HOURS, "2024").write_bytes(b"no parquet")
    catalog = made.catalog()
    feed = catalog.feeds[0]

    with open_chains(catalog, made.state) as chains:
        chain = chain_of(FOURS, feed, chains.chain(feed), made.lake)
        job = Job(FOURS, chain, FIRST, END)
        [report] = ingest(
            made.lake, [job], threads=1, stop=threading.Event(), on_days=lambda *_: None
        )

    assert "interval=1h/symbol=BTCUSDT/2024.parquet" in report.error
    assert "crypto-data repair" in report.error
    assert made.equals_truth(FOURS, FIRST, END)


@pytest.mark.slow
def test_bars_made_of_stand_ins_say_so_until_they_are_replaced(made) -> None:
    """Of another exchange's klines: marked with its name, provisional, then made of better ones."""
    made.configure(FEED | {"sources": ["vision", "rest", "ccxt:okx"]})
    made.sandbox.faults.add(Fault("*2024-01-10.zip", "absent"), Fault(REST, "status", status=503))
    first = fill(made)
    made.sandbox.faults.clear()

    second = fill(made)

    assert stands(first[TENTH]) == ("provisional", 6, 6, "made:1h:ccxt:okx")
    assert stands(first[ELEVENTH]) == ("complete", 6, 6, "made:1h")
    assert stands(second[TENTH]) == ("complete", 6, 6, "made:1h")
    assert second[TENTH].correction.startswith("6 rows: ")
    assert unmade(made) == []
    assert made.equals_truth(FOURS, FIRST, END)
