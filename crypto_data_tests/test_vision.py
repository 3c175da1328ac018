"""The archive as a source: months, the days that confirm them, and every way they fail."""

import hashlib
import io
import re
import threading
import zipfile
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pyarrow as pa
import pytest

from crypto_data.catalog.settings import VisionAddress
from crypto_data.coverage import DayFacts
from crypto_data.errors import SourceError
from crypto_data.intervals import DAY_MS, TimeRange
from crypto_data.partitions import day_of, days_touched
from crypto_data.sandbox.faults import Fault
from crypto_data.sandbox.server import Sandbox
from crypto_data.sandbox.symbols import instant
from crypto_data.series import Market, Series
from crypto_data.sources.archive_file import ArchiveFile
from crypto_data.sources.base import Lifetime, Outcome, Trust
from crypto_data.sources.gate import Gate
from crypto_data.sources.http import HttpClient, Retry
from crypto_data.sources.vision import VisionSource

NOW_MS = instant("2024-03-20T12:00")
SPOT = Series.parse("binance/spot/BTCUSDT/1h")
JANUARY = TimeRange(instant("2024-01-01"), instant("2024-02-01"))
MONTH = "*BTCUSDT-1h-2024-01.zip"
DAY = "*BTCUSDT-1h-2024-01-05.zip"
FIFTH = day_of(instant("2024-01-05"))
WHOLE_DAY = ("2024-01-05",)


@pytest.fixture(scope="module")
def exchange():
    with Sandbox(now_ms=NOW_MS) as sandbox:
        yield sandbox


@pytest.fixture
def sandbox(exchange):
    exchange.faults.clear()
    exchange.requests.clear()
    return exchange


@pytest.fixture
def vision(sandbox, tmp_path):
    client = HttpClient(timeout=2, retry=Retry(max_retries=1, delay_s=0.01))
    address = VisionAddress(url=sandbox.url, listing=f"{sandbox.url}/listing")
    yield VisionSource(client, Gate(tmp_path, lambda: NOW_MS), address, lambda: NOW_MS)
    client.close()


def days_of(start, days):
    """Return the range of some days."""
    return TimeRange(instant(start), instant(start) + days * DAY_MS)


def rows_of(answers):
    """Return all rows of some answers, ascending."""
    tables = [answer.rows for answer in answers if answer.rows is not None]
    return pa.concat_tables(tables).sort_by("open_time")


def about(answers, day):
    """Return the answers about one day."""
    return [answer for answer in answers if day in answer.days]


def paths(sandbox):
    """Return the last pieces of the paths that were asked for."""
    return [request.path.rpartition("/")[2] for request in sandbox.requests]


def test_a_past_month_is_three_requests(sandbox, vision) -> None:
    """A month wanted as a whole is one archive, its CHECKSUM and one look at the listing."""
    (answer,) = vision.fetch(SPOT, [JANUARY])

    assert (answer.outcome, answer.trust, answer.attempts) == (Outcome.SERVED, Trust.FIRM, 3)
    assert paths(sandbox) == [
        "BTCUSDT-1h-2024-01.zip",
        "BTCUSDT-1h-2024-01.zip.CHECKSUM",
        "listing",
    ]
    assert answer.days == tuple(days_touched([JANUARY]))
    assert answer.address.endswith("/monthly/klines/BTCUSDT/1h/BTCUSDT-1h-2024-01.zip")
    assert len(answer.checksum) == 64
    assert answer.seconds > 0
    assert answer.rows.equals(sandbox.klines(SPOT, JANUARY))


@pytest.mark.parametrize(
    ("series", "span", "requests"),
    [
        pytest.param("binance/spot/BTCUSDT/1h", days_of("2024-01-05", 7), 14, id="few-days"),
        pytest.param("binance/spot/BTCUSDT/1h", days_of("2024-03-01", 19), 38, id="current-month"),
        pytest.param("binance/spot/BTCUSDT/1s", days_of("2024-01-01", 2), 4, id="seconds"),
        pytest.param("binance/um/BTCUSDT/5m", JANUARY, 3, id="um"),
        pytest.param("binance/cm/BTCUSD_PERP/1h", JANUARY, 3, id="cm"),
        pytest.param("binance/spot/币安人生USDT/1d", JANUARY, 3, id="beyond-ascii"),
        pytest.param("binance/spot/BTCUSDT/1w", days_of("2023-12-01", 90), 6, id="spot-weeks"),
        pytest.param("binance/spot/BTCUSDT/1mo", days_of("2024-01-01", 1), 2, id="spot-month"),
        pytest.param("binance/um/BTCUSDT/3d", days_of("2024-02-20", 20), 9, id="um-3d-dailies"),
    ],
)
def test_what_is_served_is_the_truth(sandbox, vision, series, span, requests) -> None:
    """Each market and interval comes complete, from as few requests as it takes."""
    series = Series.parse(series)

    answers = list(vision.fetch(series, [span]))

    assert {day for answer in answers for day in answer.days} == set(days_touched([span]))
    assert rows_of(answers).equals(sandbox.klines(series, span))
    assert sum(answer.attempts for answer in answers) == len(sandbox.requests) == requests


def test_a_month_that_is_not_over_has_no_weekly_file(sandbox, vision) -> None:
    """Spot has bars over a day in monthly files only: nothing is asked for before they appear."""
    (answer,) = vision.fetch(Series.parse("binance/spot/BTCUSDT/1w"), [days_of("2024-03-04", 1)])

    assert (answer.outcome, sandbox.requests) == (Outcome.ABSENT, [])
    assert "appears when the month is over" in answer.detail


@pytest.mark.parametrize(
    "series",
    ["kraken/spot/BTCUSDT/1h", "binance/um/BTCUSDT/1s"],
)
def test_what_the_archive_can_never_have(sandbox, vision, series) -> None:
    """Another exchange and futures by the second are unsupported, without a request."""
    (answer,) = vision.fetch(Series.parse(series), [JANUARY])

    assert (answer.outcome, answer.attempts, sandbox.requests) == (Outcome.UNSUPPORTED, 0, [])
    assert vision.lifetime(Series.parse(series)) == Lifetime(None)


def test_a_month_before_the_listing_is_one_absent_answer(sandbox, vision) -> None:
    """Where neither month nor days are listed, thirty requests are spared."""
    series = Series.parse("binance/spot/NEWUSDT/1h")

    (answer,) = vision.fetch(series, [JANUARY])

    assert (answer.outcome, len(answer.days), len(sandbox.requests)) == (Outcome.ABSENT, 31, 2)


def test_a_short_month_is_mended_by_its_day(sandbox, vision) -> None:
    """Days that the monthly archive lacks come from their own archives, all of them firm."""
    sandbox.faults.add(Fault(MONTH, "missing_rows", days=WHOLE_DAY))

    answers = list(vision.fetch(SPOT, [JANUARY]))

    assert [len(answer.days) for answer in answers] == [30, 1]
    assert answers[1].address.endswith("BTCUSDT-1h-2024-01-05.zip")
    assert {answer.trust for answer in answers} == {Trust.FIRM}
    assert rows_of(answers).equals(sandbox.klines(SPOT, JANUARY))


def test_a_short_day_confirmed_by_its_own_file_is_firm(sandbox, vision) -> None:
    """When both archives lack the same bars the exchange had none: an outage, not our hole."""
    sandbox.faults.add(
        Fault(
            MONTH,
            "missing_rows",
            start_ms=instant("2024-01-05T20:00"),
            end_ms=instant("2024-01-06"),
        ),
        Fault(DAY, "missing_rows", start_ms=instant("2024-01-05T20:00")),
    )

    answer = list(vision.fetch(SPOT, [JANUARY]))[1]

    assert (answer.days, answer.rows.num_rows) == ((FIFTH,), 20)
    assert (answer.outcome, answer.trust) == (Outcome.SERVED, Trust.FIRM)


def test_a_short_day_that_nothing_confirms_is_doubtful(sandbox, vision) -> None:
    """Without the day's own file the rest of a short day must be asked for elsewhere."""
    sandbox.faults.add(
        Fault(
            MONTH,
            "missing_rows",
            start_ms=instant("2024-01-05T20:00"),
            end_ms=instant("2024-01-06"),
        ),
        Fault(DAY, "absent"),
    )

    answer = list(vision.fetch(SPOT, [JANUARY]))[1]

    assert (answer.outcome, answer.trust, answer.rows.num_rows) == (
        Outcome.SERVED,
        Trust.DOUBTFUL,
        20,
    )
    assert "has 20 of 24 klines; no BTCUSDT-1h-2024-01-05.zip" in answer.detail


def test_a_day_that_neither_archive_has_is_absent(sandbox, vision) -> None:
    """No row in the month and no file of the day: it may still come."""
    sandbox.faults.add(Fault(MONTH, "missing_rows", days=WHOLE_DAY), Fault(DAY, "absent"))

    answer = list(vision.fetch(SPOT, [JANUARY]))[1]

    assert (answer.days, answer.outcome, answer.rows) == ((FIFTH,), Outcome.ABSENT, None)


def test_a_day_with_fewer_rows_than_the_month_is_doubtful_and_whole(sandbox, vision) -> None:
    """The day's own rows win, the month's fill in, and another source must judge."""
    sandbox.faults.add(
        Fault(
            MONTH,
            "missing_rows",
            start_ms=instant("2024-01-05T22:00"),
            end_ms=instant("2024-01-06"),
        ),
        Fault(DAY, "missing_rows", start_ms=instant("2024-01-05T10:00")),
    )

    answer = list(vision.fetch(SPOT, [JANUARY]))[1]

    assert (answer.trust, answer.rows.num_rows) == (Trust.DOUBTFUL, 22)
    assert "has only 10" in answer.detail


def test_a_stale_month_gives_way_to_newer_days(sandbox, vision) -> None:
    """Where the day was published after the month, the month's rows are not used."""
    sandbox.faults.add(Fault(MONTH, "stale", days=("2024-01-30",)))

    answers = list(vision.fetch(SPOT, [JANUARY]))

    assert [len(answer.days) for answer in answers] == [29, 1, 1]
    assert rows_of(answers).equals(sandbox.klines(SPOT, JANUARY))


def test_without_a_listing_the_month_serves_and_says_so(sandbox, vision) -> None:
    """A listing that is down costs the comparison, not the data."""
    sandbox.faults.add(Fault("/listing", "status", status=503))

    (answer,) = vision.fetch(SPOT, [JANUARY])

    assert (answer.outcome, answer.rows.num_rows) == (Outcome.SERVED, 744)
    assert "dailies not compared, no listing" in answer.detail


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        pytest.param({"action": "wrong_checksum"}, "sha256 is", id="wrong-checksum"),
        pytest.param({"action": "corrupt"}, "sha256 is", id="corrupt"),
        pytest.param({"action": "not_zip"}, "not a readable zip", id="not-a-zip"),
        pytest.param({"action": "two_members"}, "2 members", id="two-members"),
        pytest.param({"action": "bomb"}, "all it can have|than the", id="bomb"),
        pytest.param({"action": "damaged_csv"}, "damaged CSV", id="damaged-csv"),
        pytest.param({"action": "html200"}, "sha256 is", id="html-with-200"),
        pytest.param({"action": "truncate", "how": "close"}, "sha256 is", id="cut-short"),
        pytest.param({"action": "other_day"}, "all 24 rows are of another period", id="other-day"),
    ],
)
def test_a_file_that_cannot_be_trusted_is_broken(sandbox, vision, fault, said) -> None:
    """Each kind of damage is told as what it is, and does not take its neighbours along."""
    sandbox.faults.add(Fault(DAY, **fault))

    answers = list(vision.fetch(SPOT, [days_of("2024-01-04", 3)]))

    assert [answer.outcome for answer in answers] == [
        Outcome.SERVED,
        Outcome.BROKEN,
        Outcome.SERVED,
    ]
    assert re.search(said, answers[1].detail)
    assert answers[1].rows is None
    # Zip and CHECKSUM, both once more; of a bomb the zip alone is too long already.
    assert answers[1].attempts == (2 if fault["action"] == "bomb" else 4)


def test_a_file_without_checksum_is_broken(sandbox, vision) -> None:
    """A missing CHECKSUM is no detail: nothing else proves that the bytes are whole."""
    sandbox.faults.add(Fault(f"{DAY}.CHECKSUM", "status", status=404))

    (answer,) = vision.fetch(SPOT, [days_of("2024-01-05", 1)])

    assert answer.outcome is Outcome.BROKEN
    assert "no CHECKSUM: cannot be trusted" in answer.detail


def test_a_pair_replaced_in_between_is_fetched_again(sandbox, vision) -> None:
    """One mismatch is no proof of damage: zip and CHECKSUM are asked for once more."""
    sandbox.faults.add(Fault(DAY, "wrong_checksum", times=1))

    (answer,) = vision.fetch(SPOT, [days_of("2024-01-05", 1)])

    assert (answer.outcome, answer.attempts) == (Outcome.SERVED, 4)


def test_a_broken_month_is_told_and_its_days_serve(sandbox, vision) -> None:
    """A month that cannot be trusted costs time, not data, and is not kept quiet."""
    sandbox.faults.add(Fault(MONTH, "not_zip"))

    answers = list(vision.fetch(SPOT, [JANUARY]))

    assert answers[0].outcome is Outcome.BROKEN
    assert {answer.outcome for answer in answers[1:]} == {Outcome.SERVED}
    assert rows_of(answers).equals(sandbox.klines(SPOT, JANUARY))


def test_a_broken_day_leaves_what_the_month_has(sandbox, vision) -> None:
    """The month's rows of a day whose own file is broken are handed over as doubtful."""
    sandbox.faults.add(
        Fault(
            MONTH,
            "missing_rows",
            start_ms=instant("2024-01-05T20:00"),
            end_ms=instant("2024-01-06"),
        ),
        Fault(DAY, "not_zip"),
    )

    (answer,) = about(list(vision.fetch(SPOT, [JANUARY])), FIFTH)

    assert (answer.outcome, answer.trust, answer.rows.num_rows) == (
        Outcome.BROKEN,
        Trust.DOUBTFUL,
        20,
    )


class OneFile(BaseHTTPRequestHandler):
    """An archive with one file, whose last row is of the next day."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.answer("2024-01-05", rows=25)

    def answer(self, day, *, rows):
        start = instant(day)
        lines = "".join(
            f"{start},1,1,1,1,1,{start + 3_599_999},1,1,1,1,0\n"
            for start in range(start, start + rows * 3_600_000, 3_600_000)
        )
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            archive.writestr(zipfile.ZipInfo(f"BTCUSDT-1h-{day}.csv"), lines)
        body = buffer.getvalue()
        if self.path.endswith("CHECKSUM"):
            body = f"{hashlib.sha256(body).hexdigest()}  BTCUSDT-1h-{day}.zip".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        """Say nothing."""


class Backwards(OneFile):
    """An archive that hands over the second day's file once it was asked for the third's."""

    third_asked = threading.Event()

    def do_GET(self):
        day = self.path.partition("1h-")[2][:10].removeprefix("BTCUSDT-1h-")
        if day == "2024-01-07":
            self.third_asked.set()
        if day == "2024-01-06":
            self.third_asked.wait(10)
        self.answer(day, rows=24)


def test_dailies_come_side_by_side_and_in_their_order(tmp_path) -> None:
    """A slow file does not keep the next one waiting; each answer tells its own two requests."""
    client = HttpClient(timeout=5, concurrency=4, retry=Retry(max_retries=0))
    with ThreadingHTTPServer(("127.0.0.1", 0), Backwards) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_address[1]}"
        address = VisionAddress(url=url, listing=url)
        vision = VisionSource(client, Gate(tmp_path, lambda: NOW_MS), address, lambda: NOW_MS)
        answers = list(vision.fetch(SPOT, [days_of("2024-01-05", 4)]))
        server.shutdown()
        client.close()

    assert [str(answer.days[0]) for answer in answers] == [
        f"2024-01-0{day}" for day in (5, 6, 7, 8)
    ]  # fmt: skip
    assert [(one.outcome, one.attempts) for one in answers] == [(Outcome.SERVED, 2)] * 4


def test_a_host_that_refuses_the_first_file_is_not_asked_for_a_second(sandbox, vision) -> None:
    """Further files are asked for once the first has come."""
    sandbox.faults.add(Fault("*daily*", "status", status=403, body="html403"))

    (answer,) = vision.fetch(SPOT, [days_of("2024-01-04", 5)])

    assert (answer.outcome, len(answer.days), answer.attempts) == (Outcome.BLOCKED, 5, 1)
    assert len(sandbox.requests) == 1


def test_rows_of_other_days_are_set_aside_and_counted(tmp_path) -> None:
    """Rows outside the file's period are handed over as quarantined, with the rule's name."""
    client = HttpClient(timeout=2)
    with ThreadingHTTPServer(("127.0.0.1", 0), OneFile) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_address[1]}"
        address = VisionAddress(url=url, listing=url)
        vision = VisionSource(client, Gate(tmp_path, lambda: NOW_MS), address, lambda: NOW_MS)
        (answer,) = vision.fetch(SPOT, [days_of("2024-01-05", 1)])
        server.shutdown()
    client.close()

    assert (answer.outcome, answer.rows.num_rows) == (Outcome.SERVED, 24)
    assert answer.set_aside == {"open_time_in_period": 1}
    assert answer.quarantined["rule"].to_pylist() == ["open_time_in_period"]


@pytest.mark.parametrize(
    ("action", "rows"),
    [pytest.param("unsorted", 24, id="unsorted"), pytest.param("doubled", 25, id="doubled")],
)
def test_disorder_is_handed_over_as_it_came(sandbox, vision, action, rows) -> None:
    """Sorting and dropping doubles is the caller's, with counts; a double fills no hole."""
    sandbox.faults.add(Fault(DAY, action))

    (answer,) = vision.fetch(SPOT, [days_of("2024-01-05", 1)])

    assert (answer.outcome, answer.rows.num_rows) == (Outcome.SERVED, rows)


def test_an_empty_file_is_an_answer(sandbox, vision) -> None:
    """A file without rows says that there are none."""
    sandbox.faults.add(Fault(DAY, "empty"))

    (answer,) = vision.fetch(SPOT, [days_of("2024-01-05", 1)])

    assert (answer.outcome, answer.attempts) == (Outcome.NOTHING, 2)


def test_an_absent_day_does_not_stop_the_others(sandbox, vision) -> None:
    """404 is about one file."""
    sandbox.faults.add(Fault(DAY, "absent"))

    answers = list(vision.fetch(SPOT, [days_of("2024-01-04", 3)]))

    assert [answer.outcome for answer in answers] == [
        Outcome.SERVED,
        Outcome.ABSENT,
        Outcome.SERVED,
    ]


@pytest.mark.parametrize(
    ("fault", "outcome"),
    [
        pytest.param({"status": 403, "body": "html403"}, Outcome.BLOCKED, id="firewall"),
        pytest.param({"status": 429, "retry_after": 300}, Outcome.LIMITED, id="limited"),
        pytest.param({"status": 503}, Outcome.DOWN, id="down"),
    ],
)
def test_a_host_that_refuses_is_not_asked_for_the_rest(sandbox, vision, fault, outcome) -> None:
    """The first refusal answers for the remaining days, of this fetch and of the next."""
    sandbox.faults.add(Fault(DAY, "status", **fault))

    answers = list(vision.fetch(SPOT, [days_of("2024-01-04", 3)]))
    asked = len(sandbox.requests)
    (later,) = vision.fetch(SPOT, [days_of("2024-01-10", 2)])

    assert [(answer.outcome, len(answer.days)) for answer in answers] == [
        (Outcome.SERVED, 1),
        (outcome, 2),
    ]
    assert later.outcome is outcome
    assert "left alone until" in later.detail
    assert (later.attempts, len(sandbox.requests)) == (0, asked)


@pytest.mark.parametrize(
    ("series", "first"),
    [
        pytest.param("binance/spot/BTCUSDT/1m", "2017-08-17", id="first-day-of-first-month"),
        pytest.param("binance/um/BTCUSDT/1h", "2019-12-31", id="archive-begins-late"),
        pytest.param("binance/spot/BTCUSDT/1w", "2017-08-01", id="months-only"),
        pytest.param("binance/spot/LUNAUSDT/1d", "2020-08-21", id="two-lives"),
    ],
)
def test_when_a_series_begins(vision, series, first) -> None:
    """The first file's day is the start; the archive knows of no end."""
    life = vision.lifetime(Series.parse(series))

    assert (day_of(life.first_ms), life.last_ms) == (day_of(instant(first)), None)


def test_a_series_that_never_was_has_no_life(vision) -> None:
    """A symbol without a folder has no first file."""
    assert vision.lifetime(Series.parse("binance/spot/NOSUCHUSDT/1m")) == Lifetime(None)


def test_a_life_that_cannot_be_told_is_an_error(sandbox, vision) -> None:
    """A listing that is down is not the same as a symbol that never was."""
    sandbox.faults.add(Fault("/listing", "status", status=503))

    with pytest.raises(SourceError):
        vision.lifetime(SPOT)


def test_symbols_are_the_folders(vision) -> None:
    """Delisted symbols keep their folder."""
    assert {"BTCUSDT", "OLDUSDT", "币安人生USDT"} <= set(vision.symbols(Market.SPOT))
    assert "BTCUSD_PERP" in vision.symbols(Market.CM)


def test_a_list_that_tells_other_etags_than_its_files_is_believed_once(sandbox, tmp_path) -> None:
    """What was taken is known by the list's own word: the next look at it finds nothing new."""
    client = HttpClient(timeout=2, retry=Retry(max_retries=1, delay_s=0.01))
    taken = DayFacts(rows=24, sources=(("vision", 24),), etag="of-the-file", attempts=1)
    with Sandbox(now_ms=NOW_MS) as other:
        other.faults.add(Fault(DAY, "unsorted"))  # only its list is read
        address = VisionAddress(url=sandbox.url, listing=f"{other.url}/listing")
        source = VisionSource(client, Gate(tmp_path, lambda: NOW_MS), address, lambda: NOW_MS)
        daily = source.archive.url(ArchiveFile(SPOT, "2024-01-05"))
        known = replace(taken, address=daily)

        (answer,) = source.revise(SPOT, "2024", {FIFTH: known})
        again = source.revise(SPOT, "2024", {FIFTH: replace(known, etag=answer.etag)})

        assert (answer.outcome, answer.rows.num_rows) == (Outcome.SERVED, 24)
        assert list(again) == []
    client.close()
