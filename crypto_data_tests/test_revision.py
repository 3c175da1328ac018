"""Revising against the archive: what is published late or again is found, taken and recorded."""

from dataclasses import replace
from datetime import date

import pytest

from crypto_data.coverage import DayFacts, DayState, SourceAnswer
from crypto_data.harvest import Aim
from crypto_data.intervals import DAY_MS, HOUR_MS, MINUTE_MS, TimeRange
from crypto_data.lake.layout import part_path
from crypto_data.lake.part import read_footer
from crypto_data.sandbox.faults import Fault
from crypto_data.sandbox.symbols import instant
from crypto_data.series import Series
from crypto_data.sources.listing import PublishedFile
from crypto_data.sources.revision import held_days, newer_file

HOURS = Series.parse("binance/spot/BTCUSDT/1h")
TENTH, ELEVENTH = date(2024, 1, 10), date(2024, 1, 11)
FEED = {"start": "2024-01-10", "end": "2024-01-12"}
FILE = "*/BTCUSDT-1h-2024-01-10.zip*"
REST = "/api/v3/klines*"
NOW = instant("2024-01-12T12:00")


@pytest.fixture
def early(desk):
    """Return a desk two days after the tenth: the archive may still publish it."""
    desk.configure(FEED)
    desk.sandbox.set_clock(NOW)
    return desk


def revise(desk, *, after=HOUR_MS):
    """Compare with the archive some time later; return the report and what was asked for."""
    desk.sandbox.set_clock(desk.sandbox.clock.now_ms() + after)
    desk.sandbox.requests.clear()
    [report] = desk.fill(aim=Aim.REVISE)
    asked = desk.asked("/data/", "/listing", "/klines", "/exchangeInfo")  # not the clock
    return report, [path.rpartition("/")[2] for path in asked]


def tenth(report):
    [found] = [one for one in report.days if one.day == TENTH]
    return found


def corrections(desk, series=HOURS, period="2024"):
    return read_footer(part_path(desk.lake.root, series, period)).corrections


def kinds(asked):
    """Return what was asked for: `listing`, or the ending of a file's name."""
    return ["listing" if one.startswith("listing") else one.split("?")[0] for one in asked]


ZIP = ["BTCUSDT-1h-2024-01-10.zip", "BTCUSDT-1h-2024-01-10.zip.CHECKSUM"]


def test_a_provisional_day_is_confirmed_when_the_archive_has_the_same(early) -> None:
    """One look at the list and one file: the rows are the archive's, and nothing was corrected."""
    early.sandbox.faults.add(Fault(FILE, "absent"))
    [first] = early.fill()
    assert [(str(one.state), one.source) for one in first.days] == [
        ("provisional", "rest"),
        ("complete", "vision"),
    ]
    early.sandbox.republish(FILE, NOW + MINUTE_MS)

    report, asked = revise(early)

    assert kinds(asked) == ["listing", *ZIP]
    one = tenth(report)
    assert (str(one.state), one.source, one.asked, one.correction) == (
        "complete", "vision", True, "",
    )  # fmt: skip
    assert corrections(early) == ()
    facts = early.lake.period_ledger(HOURS, "2024")[TENTH]
    assert facts.address.endswith(ZIP[0])
    assert facts.checksum
    assert facts.etag
    assert early.equals_truth(HOURS, TENTH, date(2024, 1, 12))


def test_a_provisional_day_that_differs_is_replaced_and_recorded(early) -> None:
    """The archive's values take the place of those of REST, and the change is told."""
    early.sandbox.faults.add(Fault(FILE, "absent"), Fault(REST, "stale", factor=1.01))
    early.fill()
    early.sandbox.faults.clear()

    report, _ = revise(early)

    assert tenth(report).correction == (
        "24 rows: open, high, low, close, volume, quote_volume, taker_buy_volume, "
        "taker_buy_quote_volume changed"
    )
    [correction] = corrections(early)
    assert (correction.day, correction.rows_changed) == (TENTH, 24)
    assert (correction.old_source, correction.new_source) == ("rest", "vision")
    assert (early.lake.root / correction.superseded).is_file()
    assert early.equals_truth(HOURS, TENTH, date(2024, 1, 12))


def test_nothing_new_is_one_request_and_no_byte(early) -> None:
    """A lake as the archive has it is left alone, file and all; so it is after a revision."""
    early.sandbox.faults.add(Fault(FILE, "absent"))
    early.fill()
    early.sandbox.republish(FILE, NOW + MINUTE_MS)
    revise(early)
    path = part_path(early.lake.root, HOURS, "2024")
    before = path.stat().st_mtime_ns, path.stat().st_ino

    report, asked = revise(early)

    assert kinds(asked) == ["listing"]
    assert (path.stat().st_mtime_ns, path.stat().st_ino) == before
    assert not any(one.asked for one in report.days)
    assert report.is_whole


def test_an_archive_that_never_comes_costs_its_list_alone(early) -> None:
    """A provisional day stays so; the month's file is looked for when the month is over."""
    early.sandbox.faults.add(Fault(FILE, "absent"), Fault("*BTCUSDT-1h-2024-01.zip", "absent"))
    early.fill()

    report, asked = revise(early)
    later, asked_later = revise(early, after=30 * DAY_MS)

    assert str(tenth(report).state) == "provisional"
    assert kinds(asked) == ["listing"]
    assert kinds(asked_later) == ["listing", "listing"]
    assert str(tenth(later).state) == "complete"
    assert tenth(later).source == "rest"


def test_a_day_that_only_the_month_has_is_taken_from_it(early) -> None:
    """Where the day's own file never came, the month's confirms it, once."""
    early.sandbox.faults.add(Fault(FILE, "absent"))
    early.fill()

    report, asked = revise(early, after=30 * DAY_MS)
    _, again = revise(early)

    assert kinds(asked) == [
        "listing", "listing", "BTCUSDT-1h-2024-01.zip", "BTCUSDT-1h-2024-01.zip.CHECKSUM",
    ]  # fmt: skip
    assert tenth(report).source == "vision"
    assert kinds(again) == ["listing", "listing"]


def test_a_sealed_day_that_is_published_again_is_corrected(early) -> None:
    """The list tells it; the replaced file is kept, and the true values come back the same way."""
    early.fill()
    lie = Fault(FILE, "stale", factor=1.02, last_modified_ms=NOW + MINUTE_MS)
    early.sandbox.faults.add(lie)

    first, asked = revise(early)
    early.sandbox.republish(FILE)
    second, _ = revise(early)
    third, quiet = revise(early)

    assert kinds(asked) == ["listing", *ZIP]
    assert [bool(tenth(one).correction) for one in (first, second, third)] == [True, True, False]
    assert kinds(quiet) == ["listing"]
    old, new = corrections(early)
    assert old.new_checksum == new.old_checksum != new.new_checksum == old.old_checksum
    assert (early.lake.root / old.superseded).is_file()
    assert (early.lake.root / new.superseded).is_file()
    assert early.equals_truth(HOURS, TENTH, date(2024, 1, 12))


def test_the_same_file_with_a_new_date_is_no_news(early) -> None:
    """An ETag that fits says that nothing changed, whatever the date says."""
    early.fill()
    early.sandbox.republish(FILE, NOW + MINUTE_MS)

    _, asked = revise(early)

    assert kinds(asked) == ["listing"]


def test_a_truncated_file_that_is_published_whole(early) -> None:
    """Its holes came from REST; the whole file takes their place, and no value has changed."""
    early.sandbox.faults.add(Fault(FILE, "missing_rows"))
    [first] = early.fill()
    assert tenth(first).source == "vision+rest"
    early.sandbox.republish(FILE, NOW + MINUTE_MS)

    report, _ = revise(early)

    assert (tenth(report).source, tenth(report).correction) == ("vision", "")
    assert early.equals_truth(HOURS, TENTH, date(2024, 1, 12))


@pytest.mark.parametrize(
    ("action", "source"),
    [
        pytest.param("missing_rows", "vision", id="shorter"),
        pytest.param("empty", "vision", id="empty"),
        pytest.param("nan", "vision", id="nan"),
        pytest.param("doubled", "vision", id="doubled"),
        pytest.param("unsorted", "vision", id="unsorted"),
        pytest.param("other_day", "vision", id="of-another-day"),
        pytest.param("corrupt", "vision", id="corrupt"),
        pytest.param("damaged_csv", "vision", id="damaged-text"),
        pytest.param("not_zip", "vision", id="no-zip"),
    ],
)
def test_a_worse_file_never_makes_a_day_worse(early, action, source) -> None:
    """What a republished file lacks or spoils stays as it was, and is asked for once."""
    early.fill()
    early.sandbox.faults.add(Fault(FILE, action, last_modified_ms=NOW + MINUTE_MS))

    report, asked = revise(early)
    again, quiet = revise(early, after=5 * MINUTE_MS)

    assert ZIP[0] in kinds(asked)
    assert kinds(quiet) == ["listing"]
    for one in (tenth(report), tenth(again)):
        assert (one.state, one.rows, one.source) == (DayState.COMPLETE, 24, source)
    assert corrections(early) == ()
    assert early.equals_truth(HOURS, TENTH, date(2024, 1, 12))


def test_a_broken_file_is_taken_as_soon_as_it_is_mended(early) -> None:
    """A new date ends the wait; without one it is tried again ever later, once a day at last."""
    early.fill()
    early.sandbox.faults.add(Fault(FILE, "corrupt", last_modified_ms=NOW + MINUTE_MS))
    tries = [ZIP[0] in kinds(revise(early, after=13 * HOUR_MS)[1]) for _ in range(20)]
    early.sandbox.republish(FILE, early.sandbox.clock.now_ms() + MINUTE_MS // 2)
    early.sandbox.faults.add(Fault(FILE, "unsorted"))  # not the bytes that are known

    report, asked = revise(early, after=MINUTE_MS)

    assert tries[:3] == [True, True, True]
    assert tries[-4:] in ([True, False, True, False], [False, True, False, True])
    assert kinds(asked) == ["listing", *ZIP]
    assert (tenth(report).source, tenth(report).failovers) == ("vision", "")


def test_an_explained_day_that_the_archive_fills_later(early) -> None:
    """A new file is news for a day that nobody had; one as short as before leaves it explained."""
    short = {"start_ms": instant("2024-01-10T20:00"), "end_ms": instant("2024-01-11T00:00")}
    early.sandbox.faults.add(Fault(FILE, "missing_rows", **short))
    early.sandbox.faults.add(Fault(REST, "missing_rows", **short))
    [first] = early.fill()
    assert str(tenth(first).state) == "explained"
    early.sandbox.faults.add(Fault(FILE, "stale", factor=1.02, last_modified_ms=NOW + MINUTE_MS))

    as_short, _ = revise(early)
    facts = early.lake.period_ledger(HOURS, "2024")[TENTH]
    early.sandbox.republish(FILE)
    whole, _ = revise(early)

    assert (tenth(as_short).asked, str(tenth(as_short).state)) == (True, "explained")
    assert [said.source for said in facts.answers] == ["vision", "rest"]
    assert (str(tenth(whole).state), tenth(whole).source) == ("complete", "vision")
    assert early.equals_truth(HOURS, TENTH, date(2024, 1, 12))


def test_the_month_and_its_days_are_compared_file_by_file(desk) -> None:
    """Days taken from the month's file follow it, and leave it for a newer file of their own."""
    desk.configure({"start": "2023-11-01", "end": "2024-01-01"})
    desk.sandbox.set_clock(NOW)
    desk.fill()
    november = "*/BTCUSDT-1h-2023-11.zip*"
    fifth = "*/BTCUSDT-1h-2023-11-05.zip*"

    _, quiet = revise(desk)
    desk.sandbox.faults.add(
        Fault(november, "stale", days=("2023-11-05",), last_modified_ms=NOW + MINUTE_MS)
    )
    changed, asked_month = revise(desk)
    desk.sandbox.republish(fifth)
    mended, asked_day = revise(desk)
    _, quiet_again = revise(desk)

    assert kinds(quiet) == kinds(quiet_again) == ["listing"] * 2
    assert kinds(asked_month) == [
        "listing", "listing", "BTCUSDT-1h-2023-11.zip", "BTCUSDT-1h-2023-11.zip.CHECKSUM",
    ]  # fmt: skip
    assert [one.day for one in changed.days if one.correction] == [date(2023, 11, 5)]
    assert sum(one.asked for one in changed.days) == 30
    assert kinds(asked_day) == [
        "listing", "listing", "BTCUSDT-1h-2023-11-05.zip", "BTCUSDT-1h-2023-11-05.zip.CHECKSUM",
    ]  # fmt: skip
    assert [one.day for one in mended.days if one.correction] == [date(2023, 11, 5)]
    assert desk.equals_truth(HOURS, date(2023, 11, 1), date(2024, 1, 1))


@pytest.mark.parametrize(
    ("market", "symbol", "interval", "listings"),
    [
        pytest.param("spot", "BTCUSDT", "1s", 2, id="a-file-a-day"),
        pytest.param("spot", "BTCUSDT", "1m", 1, id="a-file-a-month"),
        pytest.param("spot", "BTCUSDT", "1w", 1, id="weeks-stand-in-monthly-files"),
        pytest.param("um", "BTCUSDT", "1d", 1, id="futures"),
        pytest.param("spot", "币安人生USDT", "1h", 1, id="beyond-ascii"),
    ],
)
def test_every_kind_of_file_is_known_again(desk, market, symbol, interval, listings) -> None:
    """After a fill from the archive the list has nothing new, one look a file of the lake."""
    span = {"start": "2026-01-05", "end": "2026-01-07"}
    desk.configure({"market": market, "symbols": [symbol], "intervals": [interval], **span})
    desk.sandbox.set_clock(instant("2026-02-08T12:00"))
    [first] = desk.fill()
    assert {one.source for one in first.days if one.expected} == {"vision"}

    report, asked = revise(desk)

    assert kinds(asked) == ["listing"] * listings
    assert report.is_whole


def test_a_feed_without_the_archive_has_nothing_to_revise(desk) -> None:
    """REST is final: nobody is asked, not even for a list."""
    desk.configure(FEED | {"sources": ["rest"]})
    desk.sandbox.set_clock(NOW)
    desk.fill()

    report, asked = revise(desk)

    assert asked == []
    assert report.is_whole


def test_an_archive_that_is_not_listed_now_is_told(early) -> None:
    """Nothing can be compared then: the pass says so and leaves the lake as it is."""
    early.fill()
    path = part_path(early.lake.root, HOURS, "2024")
    before = path.stat().st_mtime_ns
    early.sandbox.faults.add(Fault("/listing*", "status", status=503))

    report, _ = revise(early)

    assert not report.is_whole
    assert "vision" in report.error
    assert path.stat().st_mtime_ns == before


def test_days_that_nobody_asked_for_are_left_to_a_fill(early) -> None:
    """Revising compares what is there; gaps of which nothing is known are no concern of it."""
    report, asked = revise(early)

    assert asked == []
    assert not any(one.asked for one in report.days)
    assert report.is_whole


TAKEN = NOW - 10 * DAY_MS


def facts(**more) -> DayFacts:
    """Return a day taken whole from its own file."""
    plain = DayFacts(
        rows=24,
        sources=(("vision", 24),),
        answers=(SourceAnswer("vision", "served"),),
        checksum="ab",
        etag="e1",
        address="https://host/data/BTCUSDT-1h-2024-01-10.zip",
        attempts=3,
        asked_ms=TAKEN,
        ingested_ms=TAKEN,
    )
    return replace(plain, **more)


def listed(name, etag="e1", modified_ms=TAKEN - DAY_MS):
    return PublishedFile(f"data/{name}", modified_ms, 1, etag)


DAILY, MONTHLY = "BTCUSDT-1h-2024-01-10.zip", "BTCUSDT-1h-2024-01.zip"
OF_MONTH = {"address": f"https://host/{MONTHLY}"}
FROM_REST = {"sources": (("rest", 24),), "checksum": "", "etag": "", "address": ""}


@pytest.mark.parametrize(
    ("known", "daily", "monthly", "newer"),
    [
        pytest.param({}, {}, None, None, id="the-same"),
        pytest.param({}, {"etag": "e2"}, None, DAILY, id="another-etag"),
        pytest.param({}, None, {"etag": "e2"}, None, id="withdrawn"),
        pytest.param({"etag": ""}, {}, None, None, id="no-etag-old"),
        pytest.param(
            {"etag": ""}, {"modified_ms": TAKEN + 1}, None, DAILY, id="no-etag-and-newer"
        ),
        pytest.param(
            {"etag": ""}, {"modified_ms": NOW + 1}, None, None, id="no-etag-and-not-yet"
        ),
        pytest.param(FROM_REST, {}, None, DAILY, id="published-late"),
        pytest.param(FROM_REST, None, None, None, id="never-published"),
        pytest.param(FROM_REST, None, {}, MONTHLY, id="only-in-the-month"),
        pytest.param(FROM_REST, {}, {}, DAILY, id="the-day-above-the-month"),
        pytest.param(OF_MONTH, {}, {}, None, id="of-the-month"),
        pytest.param(OF_MONTH, {}, {"etag": "e2"}, MONTHLY, id="month-changed"),
        pytest.param(
            OF_MONTH, {"modified_ms": TAKEN}, {"etag": "e2"}, DAILY, id="both-changed-day-newer"
        ),
        pytest.param(OF_MONTH, {"modified_ms": TAKEN}, {}, DAILY, id="day-newer-than-month"),
        pytest.param(OF_MONTH, None, {}, None, id="no-file-of-the-day"),
        pytest.param(
            OF_MONTH | {"sources": (("vision", 20), ("rest", 4))}, {}, {}, DAILY,
            id="the-month-was-short",
        ),
        pytest.param(OF_MONTH, {}, None, DAILY, id="month-withdrawn"),
        pytest.param(
            {"asked_ms": NOW - 30 * MINUTE_MS}, {"etag": "e2"}, None, None,
            id="a-list-that-lies-waits",
        ),
        pytest.param(
            {"asked_ms": NOW - 30 * MINUTE_MS, "attempts": 1}, {"etag": "e2"}, None, DAILY,
            id="but-not-the-first-time",
        ),
    ],
)  # fmt: skip
def test_which_file_is_newer(known, daily, monthly, newer) -> None:
    """The list against the ledger, case by case."""
    found = newer_file(
        facts(**known),
        None if daily is None else listed(DAILY, **daily),
        None if monthly is None else listed(MONTHLY, **monthly),
        NOW,
    )

    assert (None if found is None else found.name) == newer


def test_a_day_outside_of_the_symbols_life_has_no_news() -> None:
    """What nobody traded on is not compared, nor a day on which no bar opens."""
    unlisted = facts(rows=0, unlisted_rows=24, **FROM_REST | {"sources": ()})
    weekly = Series.parse("binance/spot/BTCUSDT/1w")

    assert held_days(HOURS, {TENTH: unlisted, ELEVENTH: facts()}) == {ELEVENTH: facts()}
    assert held_days(weekly, {TENTH: facts(rows=0, sources=())}) == {}


def test_an_etag_that_flips_is_followed_once_a_pass(early) -> None:
    """Whatever the archive publishes is taken once; equal rows are no correction."""
    early.fill()
    for number in range(3):
        early.sandbox.faults.add(
            Fault(FILE, "doubled", last_modified_ms=early.sandbox.clock.now_ms() + number * 1000)
        )
        report, asked = revise(early)
        assert kinds(asked).count(ZIP[0]) <= 1
        assert tenth(report).correction == ""

    _, quiet = revise(early)

    assert kinds(quiet) == ["listing"]
    assert corrections(early) == ()
    span = TimeRange(instant("2024-01-10"), instant("2024-01-11"))
    assert early.lake.read(HOURS, span).num_rows == 24


def test_a_file_published_again_with_fewer_klines_takes_none_away(early) -> None:
    """What it lacks stays as it was, and the day's ledger says that the file lacks it."""
    early.fill()
    early.sandbox.faults.add(
        Fault(FILE, "missing_rows"), Fault(FILE, "republished", last_modified_ms=NOW + MINUTE_MS)
    )

    report, _ = revise(early)

    facts = early.lake.period_ledger(HOURS, "2024")[TENTH]
    assert (tenth(report).state, facts.rows) == (DayState.COMPLETE, 24)
    assert facts.reason == "vision: lacks 12 of 24 klines"
    assert early.equals_truth(HOURS, TENTH, date(2024, 1, 12))
