"""The whole chain over HTTP, from what the exchange does to what the lake then holds."""

import csv
import io
import json
import time
import zipfile
from datetime import UTC, date, datetime, timedelta
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise
from pathlib import Path
from threading import Thread

import pytest

from crypto_data.intervals import DAY_MS, MINUTE_MS, TimeRange
from crypto_data.lake.layout import quarantine_path
from crypto_data.lake.part import read_footer
from crypto_data.partitions import day_start_ms
from crypto_data.sandbox.faults import Fault
from crypto_data.sandbox.recordings import recordings
from crypto_data.sandbox.symbols import instant
from crypto_data.series import Market, Series
from crypto_data.sources.rest_page import parse_page

DAY = date(2024, 1, 10)
NEXT = date(2024, 1, 11)
HOURS = "binance/spot/BTCUSDT/1h"
DAILY = "/data/spot/daily/klines/BTCUSDT/1h/BTCUSDT-1h-{}.zip"
MONTHLY = "/data/spot/monthly/klines/BTCUSDT/1h/BTCUSDT-1h-{}.zip"
FILE = DAILY.format(DAY)
KLINES = "/api/v3/klines"

UPSTREAM = Path(__file__).parents[2] / "shared" / "data" / "upstream"


def upstream(name) -> Path:
    """Return a file that has no license to stand in this repository."""
    path = UPSTREAM / name
    if not path.exists():
        pytest.skip(f"{name} is not on this machine: it has no license to be shipped")
    return path


def states(report) -> list[str]:
    return [str(one.state) for one in report.days]


# One thing that goes wrong with the archive's file: what REST must then bring, and the reason.
BROKEN_FILES = [
    ("absent", {}, "HTTP 404, not there"),
    ("corrupt", {}, "sha256 is"),
    ("wrong_checksum", {}, "CHECKSUM says"),
    ("not_zip", {}, "not a readable zip"),
    ("two_members", {}, "2 members, expected one"),
    ("bomb", {}, "more than the"),
    ("empty", {}, "BTCUSDT-1h-2024-01-10.zip is empty"),
    ("damaged_csv", {}, "damaged CSV"),
    ("other_day", {}, "all 24 rows are of another period"),
    ("truncate", {}, "peer closed connection"),
    ("truncate", {"how": "close"}, "sha256 is"),
    ("drop", {}, "disconnected"),
    ("drop", {"how": "midway"}, "peer closed connection"),
    ("html200", {}, "sha256 is"),
    ("code0", {}, "sha256 is"),
    ("status", {"status": 500}, "HTTP 500"),
    ("status", {"status": 403, "body": "html403"}, "Request blocked"),
    ("status", {"status": 451, "body": "451"}, "HTTP 451: code 0: Service unavailable from a"),
    ("status", {"status": 302}, "redirect"),
]


@pytest.mark.parametrize(
    ("action", "more", "reason"),
    [
        pytest.param(*case, id=f"{case[0]}{''.join(map(str, case[1].values()))}")
        for case in BROKEN_FILES
    ],
)
def test_rest_serves_what_the_archive_cannot(desk, action, more, reason) -> None:
    """Whatever is wrong with the file, the day is whole, from REST, with the archive's reason."""
    desk.configure()
    desk.sandbox.faults.add(Fault(FILE, action, **more))

    [report] = desk.fill()

    [day] = report.days
    assert (str(day.state), day.rows, day.source) == ("complete", 24, "rest")
    assert day.failovers.startswith("vision: ")
    assert reason in day.failovers
    assert desk.equals_truth(HOURS, DAY, NEXT)
    assert {row["source"] for row in desk.rows(HOURS, DAY, NEXT)} == {"rest"}


def test_a_file_without_checksum_is_not_trusted(desk) -> None:
    """Nobody can say that its bytes are whole: REST serves, and the reason is told."""
    desk.configure()
    desk.sandbox.faults.add(Fault(f"{FILE}.CHECKSUM", "absent"))

    [report] = desk.fill()

    assert report.days[0].source == "rest"
    assert "no CHECKSUM: cannot be trusted" in report.days[0].failovers
    assert desk.equals_truth(HOURS, DAY, NEXT)


@pytest.mark.parametrize(
    ("action", "more", "set_aside"),
    [
        pytest.param("unsorted", {}, (), id="unsorted"),
        pytest.param("doubled", {}, (), id="doubled"),
        pytest.param("drop", {"times": 1}, (), id="dropped-once"),
        pytest.param("status", {"times": 1, "status": 503}, (), id="503-once"),
        pytest.param("truncate", {"times": 1}, (), id="truncated-once"),
        pytest.param("corrupt", {"times": 1}, (), id="replaced-between-two-requests"),
    ],
)
def test_what_the_archive_can_mend_itself(desk, action, more, set_aside) -> None:
    """Disorder, doubles and a fault that passes need no other source."""
    desk.configure()
    desk.sandbox.faults.add(Fault(FILE, action, **more))

    [report] = desk.fill()

    [day] = report.days
    assert (str(day.state), day.source, day.failovers) == ("complete", "vision", "")
    assert day.set_aside == set_aside
    assert desk.equals_truth(HOURS, DAY, NEXT)
    assert not desk.asked(KLINES)


@pytest.mark.parametrize(
    ("action", "more", "reason"),
    [
        pytest.param("nan", {}, "vision: lacks 1 of 24 klines", id="nan"),
        pytest.param(
            "missing_rows",
            {"start_ms": instant("2024-01-10T03:00"), "end_ms": instant("2024-01-10T05:00")},
            "vision: lacks 2 of 24 klines",
            id="two-hours",
        ),
    ],
)
def test_rest_fills_a_hole_of_the_archive(desk, action, more, reason) -> None:
    """Only the absent klines come from REST, and each row says where it is from."""
    desk.configure()
    desk.sandbox.faults.add(Fault(FILE, action, **more))

    [report] = desk.fill()

    [day] = report.days
    assert (str(day.state), day.rows, day.source) == ("complete", 24, "vision+rest")
    assert day.failovers == reason
    sources = [row["source"] for row in desk.rows(HOURS, DAY, NEXT)]
    assert sources.count("rest") == int(reason.split()[2])
    assert desk.equals_truth(HOURS, DAY, NEXT)


@pytest.mark.parametrize("age", [2, 20], ids=["two-days-old", "long-ago"])
def test_a_day_from_rest_is_provisional_while_the_archive_may_publish_it(desk, age) -> None:
    """For a week after it was due the archive is asked again; its rows then replace REST's."""
    desk.configure()
    desk.sandbox.set_clock(day_start_ms(DAY) + (1 + age) * DAY_MS)
    desk.sandbox.faults.add(Fault(FILE, "absent"))

    [report] = desk.fill()

    assert states(report) == ["provisional" if age == 2 else "complete"]
    assert not report.short


@pytest.mark.parametrize("action", ["unsorted", "doubled"])
def test_rest_rows_in_disorder_are_put_in_order(desk, action) -> None:
    """A page out of order, or with a kline twice, still is a whole day."""
    desk.configure({"sources": ["rest"]})
    desk.sandbox.faults.add(Fault(KLINES, action))

    [report] = desk.fill()

    assert states(report) == ["complete"]
    assert desk.equals_truth(HOURS, DAY, NEXT)


def test_rest_unsorted_in_pages_of_minutes(desk) -> None:
    """Where a day takes two pages, no page in disorder loses klines between them."""
    desk.configure({"sources": ["rest"], "intervals": ["1m"], "end": "2024-01-12"})
    desk.sandbox.faults.add(Fault(KLINES, "unsorted"))

    [report] = desk.fill()

    assert states(report) == ["complete", "complete"]
    assert desk.equals_truth("binance/spot/BTCUSDT/1m", DAY, date(2024, 1, 12))


@pytest.mark.parametrize(
    ("action", "reason"),
    [
        pytest.param("html200", "rest: http", id="html"),
        pytest.param("code0", "no list of klines: {'code': 0", id="code0"),
    ],
)
def test_a_rest_answer_that_is_no_list_stores_nothing(desk, action, reason) -> None:
    """Status 200 with something else inside is broken, not empty: the day stays missing."""
    desk.configure({"sources": ["rest"]})
    desk.sandbox.faults.add(Fault(KLINES, action))

    [report] = desk.fill()

    assert states(report) == ["missing"]
    assert reason in report.days[0].failovers
    assert desk.rows(HOURS, DAY, NEXT) == []


def test_a_broken_kline_is_set_aside_and_asked_for_again(desk) -> None:
    """It is neither stored nor taken for an absence that all sources confirm."""
    desk.configure({"sources": ["rest"]})
    desk.sandbox.faults.add(Fault(KLINES, "nan"))
    [spoilt] = desk.fill()
    aside = quarantine_path(desk.lake.root, Series.parse(HOURS), "2024")
    desk.sandbox.faults.clear()

    [healed] = desk.fill()

    assert (states(spoilt), spoilt.days[0].rows) == (["partial"], 23)
    assert spoilt.days[0].set_aside == (("prices_are_finite", 1),)
    assert aside.exists()
    assert states(healed) == ["complete"]
    assert desk.equals_truth(HOURS, DAY, NEXT)


def test_a_429_is_waited_for(desk) -> None:
    """Retry-After is kept, then the request goes on; nothing is lost and nobody else is asked."""
    desk.configure({"sources": ["rest"]})
    desk.sandbox.faults.add(Fault(KLINES, "status", status=429, retry_after=1, times=1))

    [report] = desk.fill()

    first, second = [one for one in desk.sandbox.requests if one.path == KLINES][:2]
    assert (first.status, second.status) == (429, 200)
    assert second.at_ms - first.at_ms >= 1000
    assert states(report) == ["complete"]


def test_a_ban_closes_rest_for_later_processes_too(desk) -> None:
    """The chain goes on without REST, and no process asks it before the ban ends."""
    desk.configure({"end": "2024-01-12"})
    desk.sandbox.faults.add(Fault(DAILY.format("2024-01-11"), "absent"))
    ban = Fault("/api/*", "status", status=418, retry_after=600, body="json", code=-1003, times=1)
    desk.sandbox.faults.add(Fault(FILE, "absent"), ban)
    [banned] = desk.fill()
    desk.sandbox.requests.clear()
    desk.sandbox.faults.clear()

    [later] = desk.fill()

    assert states(banned) == ["missing", "missing"]
    assert "HTTP 418" in banned.days[0].failovers
    assert desk.asked("/api/") == []
    assert states(later) == ["complete", "complete"]
    assert {one.source for one in later.days} == {"vision"}


def test_a_ban_ends_when_it_says(desk) -> None:
    """After its time REST is asked again, and not a moment earlier."""
    desk.configure({"sources": ["rest"], "max_retries": 0})
    desk.sandbox.faults.add(Fault(KLINES, "status", status=418, retry_after=2, times=1))
    [banned] = desk.fill()
    [first] = [one for one in desk.sandbox.requests if one.path == KLINES and one.status == 418]
    desk.sandbox.requests.clear()

    [later] = desk.fill()

    assert states(banned) == ["missing"]
    assert min(one.at_ms for one in desk.sandbox.requests if "/api/" in one.path) >= (
        first.at_ms + 2000
    )
    assert states(later) == ["complete"]


@pytest.mark.parametrize(
    ("status", "body", "minutes", "reason"),
    [
        pytest.param(
            403, "html403", 10, "HTTP 403: ERROR: The request could not be", id="firewall"
        ),
        pytest.param(451, "451", 60, "restricted location", id="region"),
    ],
)
def test_a_firewall_and_a_region_are_told_apart(desk, status, body, minutes, reason) -> None:
    """Each is named in the exchange's own words, and left alone for its own time."""
    desk.configure()
    desk.sandbox.faults.add(Fault(FILE, "absent"))
    desk.sandbox.faults.add(Fault("/api/*", "status", status=status, body=body))

    [report] = desk.fill()

    assert states(report) == ["missing"]
    assert reason in report.days[0].failovers
    [closing] = json.loads((desk.state / "gate.json").read_text()).values()
    left_s = closing["until_ms"] / 1000 - time.time()
    assert minutes * 60 - 60 < left_s <= minutes * 60
    assert len(desk.asked("/api/")) == 1


def test_an_archive_that_is_down_is_not_asked_for_every_day(desk) -> None:
    """REST serves all days; the archive is given up after its retries."""
    desk.configure({"start": "2024-01-02", "end": "2024-01-06"})
    desk.sandbox.faults.add(Fault("/data/*", "status", status=503))

    [report] = desk.fill()

    assert states(report) == ["complete"] * 4
    assert {one.source for one in report.days} == {"rest"}
    assert all("HTTP 503" in one.failovers for one in report.days)
    assert len(desk.asked("/data/")) == 2
    assert desk.equals_truth(HOURS, date(2024, 1, 2), date(2024, 1, 6))


def test_everything_down_stores_nothing(desk) -> None:
    """Each day says what each source answered, and the lake has no row."""
    desk.configure({"end": "2024-01-12"})
    desk.sandbox.faults.add(Fault("*", "status", status=503))

    [report] = desk.fill()

    assert states(report) == ["missing", "missing"]
    for one in report.days:
        assert "vision: " in one.failovers
        assert "rest: " in one.failovers
        assert "HTTP 503" in one.failovers
    assert desk.rows(HOURS, DAY, date(2024, 1, 12)) == []


def test_a_newer_daily_wins_over_a_stale_monthly(desk) -> None:
    """The archive mends days without redoing the month: the day's own file counts."""
    desk.configure({"start": "2024-01-01", "end": "2024-02-01"})
    desk.sandbox.faults.add(Fault(MONTHLY.format("2024-01"), "stale", days=("2024-01-05",)))

    [report] = desk.fill()

    assert states(report) == ["complete"] * 31
    assert {one.source for one in report.days} == {"vision"}
    assert desk.equals_truth(HOURS, date(2024, 1, 1), date(2024, 2, 1))
    assert desk.asked("BTCUSDT-1h-2024-01-05.zip")


def test_a_truncated_monthly_is_completed_by_dailies_then_rest(desk) -> None:
    """Each day takes the best that can be had; what nobody confirms is asked of REST as a whole."""
    hour = "2024-01-{:02d}T{:02d}:00".format
    desk.configure({"start": "2024-01-01", "end": "2024-02-01"})
    desk.sandbox.faults.add(
        Fault(
            MONTHLY.format("2024-01"),
            "missing_rows",
            start_ms=instant(hour(9, 12)),
            end_ms=instant("2024-02-01"),
        ),
        # The daily is shorter still: neither can be trusted.
        Fault(DAILY.format("2024-01-09"), "missing_rows", start_ms=instant(hour(9, 5))),
        Fault(DAILY.format("2024-01-10"), "missing_rows", start_ms=instant(hour(10, 20))),
        Fault(DAILY.format("2024-01-11"), "absent"),
    )

    [report] = desk.fill()

    sources = [one.source for one in report.days]
    assert states(report) == ["complete"] * 31
    assert sources[8:11] == ["rest", "vision+rest", "rest"]
    assert set(sources[:8] + sources[11:]) == {"vision"}
    assert desk.equals_truth(HOURS, date(2024, 1, 1), date(2024, 2, 1))


@pytest.mark.parametrize(
    ("symbol", "start", "end", "expected"),
    [
        pytest.param(
            "NEWUSDT",
            "2024-05-15",
            "2024-05-19",
            [("unlisted", 0), ("unlisted", 0), ("complete", 18), ("complete", 24)],
            id="listing",
        ),
        pytest.param(
            "NEWUSDT",
            "2024-03-20",
            "2024-05-19",
            [("unlisted", 0)] * 58 + [("complete", 18), ("complete", 24)],
            id="listing-months-later",
        ),
        pytest.param(
            "OLDUSDT",
            "2024-02-18",
            "2024-02-23",
            [("complete", 24)] * 2 + [("complete", 3)] + [("unlisted", 0)] * 2,
            id="delisting",
        ),
    ],
)
def test_days_outside_a_symbols_life_are_unlisted(desk, symbol, start, end, expected) -> None:
    """The first and the last day expect only the klines of the life; a second run asks nothing."""
    desk.configure({"symbols": [symbol], "start": start, "end": end})

    [report] = desk.fill()

    assert [(str(one.state), one.expected) for one in report.days] == expected
    assert sum(one.rows for one in report.days) == sum(rows for _, rows in expected)
    assert report.is_whole
    desk.sandbox.requests.clear()
    desk.fill()
    assert desk.asked("/data/", "klines", "listing") == []


def test_the_days_between_two_lives_are_settled(desk) -> None:
    """A reused name has a silence in the middle that no source fills; it is asked for once."""
    desk.configure({"symbols": ["LUNAUSDT"], "start": "2022-05-11", "end": "2022-06-02"})

    [report] = desk.fill()

    assert report.is_whole
    assert [one.rows for one in report.days] == [24, 24] + [0] * 18 + [18, 24]
    assert states(report) == ["complete"] * 2 + ["unlisted"] * 18 + ["complete"] * 2
    desk.sandbox.requests.clear()
    desk.fill()
    assert desk.asked("/data/", "klines") == []


def test_a_symbol_that_nobody_knows_stays_missing(desk) -> None:
    """No source has ever heard of it: that is a mistake to mend, not a life before a listing."""
    desk.configure({"symbols": ["NOPEUSDT"], "end": "2024-01-12"})

    [report] = desk.fill()

    assert states(report) == ["missing", "missing"]
    assert "Invalid symbol" in report.days[0].failovers
    assert "HTTP 404" in report.days[0].failovers


def test_symbols_in_other_letters_and_markets(desk) -> None:
    """Chinese names, leading digits and coin-margined contracts come through unchanged."""
    desk.configure(
        {"symbols": ["币安人生USDT"]},
        {"market": "um", "symbols": ["1000PEPEUSDT"], "intervals": ["1h", "1d"]},
        {"market": "cm", "symbols": ["BTCUSD_PERP"], "sources": ["rest"]},
    )

    reports = desk.fill()

    assert len(reports) == 4
    for report in reports:
        assert states(report) == ["complete"]
        assert desk.equals_truth(report.series, DAY, NEXT)


@pytest.mark.parametrize("sources", [["vision", "rest"], ["rest"]], ids=["both", "rest"])
@pytest.mark.parametrize(
    ("interval", "clock", "days"),
    [
        pytest.param("1h", "2024-01-12T12:30:30", 2, id="mid-hour"),
        pytest.param("1m", "2024-01-12T00:00:30", 2, id="just-after-midnight"),
        pytest.param("1h", "2024-01-11T23:59:59", 1, id="just-before-midnight"),
        pytest.param("1d", "2024-01-12T12:00", 2, id="mid-day"),
    ],
)
def test_an_unfinished_kline_is_never_stored(desk, interval, clock, days, sources) -> None:
    """Only days over at the exchange are fetched, whatever the local clock says."""
    desk.configure({"intervals": [interval], "sources": sources, "end": None})
    desk.sandbox.set_clock(instant(clock))

    [report] = desk.fill(DAY, date(2024, 1, 20))

    assert [one.day for one in report.days] == [DAY + timedelta(days=n) for n in range(days)]
    assert report.is_whole
    series = f"binance/spot/BTCUSDT/{interval}"
    assert desk.equals_truth(series, DAY, DAY + timedelta(days=days))
    last = desk.rows(series, DAY, date(2024, 1, 20))[-1]
    assert last["close_time"] < datetime.fromtimestamp(instant(clock) / 1000, UTC)


def test_a_week_that_is_not_over_keeps_its_monday_out(desk) -> None:
    """The open weekly kline is not stored, and no day from its Monday on is reported."""
    desk.configure({"intervals": ["1w"], "start": "2024-01-01", "end": None, "sources": ["rest"]})
    desk.sandbox.set_clock(instant("2024-01-18T10:00"))

    [report] = desk.fill(date(2024, 1, 1), date(2024, 1, 20))

    assert report.days[-1].day == date(2024, 1, 14)
    series = "binance/spot/BTCUSDT/1w"
    opens = [row["open_time"].date() for row in desk.rows(series, DAY, date(2024, 2, 1))]
    assert opens == []
    assert [row["open_time"].day for row in desk.rows(series, date(2024, 1, 1), DAY)] == [1, 8]


def test_an_exchange_that_ends_in_mid_fetch_loses_nothing(desk) -> None:
    """What REST brought before it fell over is kept; the other days stay open and heal."""
    feed = {"sources": ["rest"], "intervals": ["1m"], "start": "2024-01-08", "end": "2024-01-12"}
    desk.configure(feed)
    # A page has 1000 klines: the third one fails.
    third_ms = day_start_ms(date(2024, 1, 8)) + 2000 * MINUTE_MS
    desk.sandbox.faults.add(Fault(f"{KLINES}?*startTime={third_ms}*", "status", status=503))
    [broken] = desk.fill()
    desk.sandbox.faults.clear()
    (desk.state / "gate.json").unlink()

    [healed] = desk.fill()

    assert states(broken) == ["complete", "partial", "missing", "missing"]
    assert [one.rows for one in broken.days] == [1440, 560, 0, 0]
    assert healed.is_whole
    assert desk.equals_truth("binance/spot/BTCUSDT/1m", date(2024, 1, 8), date(2024, 1, 12))


# Recorded days of the real exchange ------------------------------------------------------------

NAMES = ("open_time", "open", "high", "low", "close", "volume", "close_time", "quote_volume",
         "trade_count", "taker_buy_volume", "taker_buy_quote_volume")  # fmt: skip


def recorded_rows(text: str, market: Market = Market.SPOT) -> list[dict]:
    """Return the rows of an exchange's CSV as the lake should have them, read on their own."""
    rows = [row for row in csv.reader(io.StringIO(text)) if row and row[0].isdigit()]
    return [_recorded_row(dict(zip(NAMES, row, strict=False)), market) for row in rows]


def _recorded_row(cells: dict, market: Market) -> dict:
    values = {name: float(cells[name]) for name in NAMES if not name.endswith(("time", "count"))}
    values["trade_count"] = int(cells["trade_count"])
    for name in ("open_time", "close_time"):
        ticks = int(cells[name])
        values[name] = datetime.fromtimestamp(0, UTC) + timedelta(
            microseconds=ticks if ticks >= 10**14 else ticks * 1000
        )
    values["contract_volume"] = None
    if market is Market.CM:  # its `volume` is contracts, its `quote_volume` base
        values["contract_volume"] = values["volume"]
        values["volume"] = values["quote_volume"]
        values["quote_volume"] = None
        values["taker_buy_volume"] = values["taker_buy_quote_volume"]
        values["taker_buy_quote_volume"] = None
    return values


def unzipped(path: Path) -> str:
    with zipfile.ZipFile(path) as archive:
        return archive.read(archive.namelist()[0]).decode()


def without_source(rows) -> list[dict]:
    return [{name: value for name, value in row.items() if name != "source"} for row in rows]


RECORDED_DAYS = [one for one in recordings() if one.file.suffix == ".zip"]


@pytest.mark.parametrize("sources", [["vision"], ["rest"]], ids=lambda names: names[0])
@pytest.mark.parametrize(
    "recording", RECORDED_DAYS, ids=[f"{one.market}-{one.file.stem}" for one in RECORDED_DAYS]
)
def test_recorded_days_come_through_unchanged(desk, recording, sources) -> None:
    """Every value of the real file stands in the lake, whichever source served it."""
    first = date.fromisoformat(recording.name)
    end = first + timedelta(days=1)
    feed = {"market": str(recording.market), "symbols": [recording.symbol], "sources": sources}
    desk.configure(
        feed | {"intervals": [str(recording.interval)], "start": f"{first}", "end": f"{end}"}
    )

    [report] = desk.fill()

    assert states(report) == ["complete"]
    held = desk.rows(report.series, first, end)
    truth = recorded_rows(unzipped(recording.file), recording.market)
    assert {row["source"] for row in held} == set(sources)
    if sources == ["rest"]:  # it answers in milliseconds
        for row in truth:
            row["close_time"] = row["close_time"].replace(
                microsecond=row["close_time"].microsecond // 1000 * 1000
            )
    assert without_source(held) == truth


def test_a_recorded_outage_is_explained(desk) -> None:
    """Of 2023-03-24 an hour never was: 23 rows, and the kline before it keeps its cut close."""
    [csv_file] = [one.file for one in recordings() if one.file.name == "BTCUSDT-1h-2023-03.csv"]
    desk.configure({"start": "2023-03-01", "end": "2023-04-01"})

    [report] = desk.fill()

    outage = report.days[23]
    assert states(report) == ["complete"] * 23 + ["explained"] + ["complete"] * 7
    assert (outage.rows, outage.expected) == (23, 24)
    held = desk.rows(HOURS, date(2023, 3, 1), date(2023, 4, 1))
    assert without_source(held) == recorded_rows(csv_file.read_text())
    cut = next(row for row in held if row["open_time"] == datetime(2023, 3, 24, 12, tzinfo=UTC))
    assert cut["close_time"] == datetime(2023, 3, 24, 12, 39, 41, 646_000, UTC)
    [gap] = desk.lake.ledger(Series.parse(HOURS), [date(2023, 3, 24)])[date(2023, 3, 24)].absent
    assert gap == TimeRange(instant("2023-03-24T13:00"), instant("2023-03-24T14:00"))


# Files that cannot be shipped, served as an archive of their own --------------------------------


class Shelf:
    """An archive that holds the files it was given, and nothing else."""

    def __init__(self) -> None:
        files: dict[str, bytes] = {}

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                body = files.get(self.path)
                self.send_response(404 if body is None else 200)
                self.send_header("Content-Length", str(len(body or b"")))
                self.end_headers()
                self.wfile.write(body or b"")

            def log_message(self, *_words) -> None:
                """Keep the tests' output clean."""

        self.files = files
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def put(self, folder: str, stem: str, text: bytes) -> None:
        """Put a CSV on the shelf as the archive would: zipped, with its CHECKSUM."""
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr(f"{stem}.csv", text)
        path = f"/data/{folder}/{stem}.zip"
        self.files[path] = buffer.getvalue()
        digest = sha256(buffer.getvalue()).hexdigest()
        self.files[f"{path}.CHECKSUM"] = f"{digest}  {stem}.zip".encode()


@pytest.fixture
def shelf():
    held = Shelf()
    yield held
    held.server.shutdown()
    held.server.server_close()


def test_milliseconds_and_microseconds_join_without_a_hole(desk, shelf) -> None:
    """Spot's files change their unit with 2025; three real months of hours stand in one row."""
    months = ("2024-12", "2025-01", "2025-02")
    files = [upstream(f"ginghong/spot_monthly/BTCUSDT-1h-{month}.csv") for month in months]
    for month, file in zip(months, files, strict=True):
        shelf.put("spot/monthly/klines/BTCUSDT/1h", f"BTCUSDT-1h-{month}", file.read_bytes())
    desk.configure(
        {"start": "2024-12-01", "end": "2025-03-01", "sources": ["vision"]}, url=shelf.url
    )

    [report] = desk.fill()

    assert states(report) == ["complete"] * 90
    held = desk.rows(HOURS, date(2024, 12, 1), date(2025, 3, 1))
    opens = [row["open_time"] for row in held]
    assert {after - before for before, after in pairwise(opens)} == {timedelta(hours=1)}
    assert without_source(held) == [
        row for file in files for row in recorded_rows(file.read_text())
    ]


def test_quiet_klines_of_an_outage_stay(desk, shelf) -> None:
    """A futures outage is ten minutes without volume in all symbols: real klines, no gap."""
    file = upstream("lucaserib/um_monthly/BTCUSDT-5m-2025-01.csv")
    shelf.put("futures/um/monthly/klines/BTCUSDT/5m", "BTCUSDT-5m-2025-01", file.read_bytes())
    feed = {"market": "um", "intervals": ["5m"], "start": "2025-01-01", "end": "2025-02-01"}
    desk.configure(feed | {"sources": ["vision"]}, url=shelf.url)

    [report] = desk.fill()

    assert states(report) == ["complete"] * 31
    held = desk.rows("binance/um/BTCUSDT/5m", date(2025, 1, 1), date(2025, 2, 1))
    assert without_source(held) == recorded_rows(file.read_text())
    quiet = [f"{row['open_time']:%d %H:%M}" for row in held if not row["volume"]]
    assert quiet == ["29 01:25", "29 01:30"]


def test_off_grid_klines_of_2018_are_stored_and_flagged(desk, shelf) -> None:
    """For two days the exchange opened its hours at 28:14.789; they are kept, and counted."""
    file = upstream("geoffreygarrett/rest_dump/BTCUSDT-1h-data.csv")
    lines = csv.reader(io.StringIO(file.read_text()))
    rows = [line for line in lines if line[0].startswith("2018-02")]
    text = "".join(f"{instant(row[0])},{','.join(row[1:11])},0\n" for row in rows)
    shelf.put("spot/monthly/klines/BTCUSDT/1h", "BTCUSDT-1h-2018-02", text.encode())
    feed = {"start": "2018-02-01", "end": "2018-03-01", "sources": ["vision"]}
    desk.configure(feed, url=shelf.url)

    desk.fill()

    held = desk.rows(HOURS, date(2018, 2, 1), date(2018, 3, 1))
    odd = [row["open_time"] for row in held if row["open_time"].minute]
    assert len(held) == len(rows)
    assert len(odd) == 43
    assert f"{odd[0]:%d %H:%M:%S.%f}" == "09 09:28:14.789000"
    ledger = read_footer(next((desk.lake.root / "klines").rglob("2018.parquet"))).runs
    assert sum(run.facts.off_grid * run.days for run in ledger) == 43


def test_a_spreadsheet_copy_is_refused(desk, shelf) -> None:
    """Times rounded to `1.70027E+12` cannot be told apart: nothing of the file is stored."""
    file = upstream("bbgo/BTCUSDT-1h-2023-11-18.csv")
    shelf.put("spot/daily/klines/BTCUSDT/1h", "BTCUSDT-1h-2023-11-18", file.read_bytes())
    feed = {"start": "2023-11-18", "end": "2023-11-19", "sources": ["vision"]}
    desk.configure(feed, url=shelf.url)

    [report] = desk.fill()

    assert states(report) == ["missing"]
    assert "BTCUSDT-1h-2023-11-18.zip: damaged CSV" in report.days[0].failovers
    assert desk.rows(HOURS, date(2023, 11, 18), date(2023, 11, 19)) == []


@pytest.mark.parametrize("market", list(Market))
def test_recorded_rest_pages_are_read_exactly(market) -> None:
    """Real REST answers of the three markets: every value, coin-margined volumes in base."""
    recorded = json.loads(upstream(f"gocryptotrader/binance_{market}_klines.json").read_text())
    pages = [page for page in _lists_of_klines(recorded) if page]

    assert pages
    for page in pages:
        text = "\n".join(",".join(map(str, row)) for row in page)
        rows = parse_page(json.dumps(page).encode(), market=market)
        assert rows.to_pylist() == [
            {name: row[name] for name in rows.column_names} for row in recorded_rows(text, market)
        ]


def _lists_of_klines(node):
    """Yield every list of klines inside a recording, whatever it is wrapped in."""
    if (
        isinstance(node, list)
        and node
        and all(isinstance(row, list) and len(row) == 12 for row in node)
    ):
        yield node
    elif isinstance(node, dict | list):
        for child in node.values() if isinstance(node, dict) else node:
            yield from _lists_of_klines(child)
