"""The stand-in exchange: its archive, its listing, its faults and its control."""

import hashlib
import io
import json
import signal
import subprocess
import sys
import time
import xml.etree.ElementTree as ET
import zipfile
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote

import httpx
import pytest

from crypto_data.catalog.configuration import parse_catalog
from crypto_data.intervals import DAY_MS, HOUR_MS, Interval, TimeRange
from crypto_data.sandbox.faults import Fault, faults_from_json
from crypto_data.sandbox.recordings import recordings
from crypto_data.sandbox.server import Sandbox, sandbox_config
from crypto_data.sandbox.symbols import Symbol, instant
from crypto_data.sandbox.web import http_date
from crypto_data.series import Market, Series
from demo import __main__ as demo

NOW = instant("2026-06-01T12:00")
pytestmark = pytest.mark.usefixtures("healed")
SPOT = "/data/spot/daily/klines/{0}/{1}/{0}-{1}-{2}.zip"
UM = "/data/futures/um/daily/klines/{0}/{1}/{0}-{1}-{2}.zip"
CM = "/data/futures/cm/daily/klines/{0}/{1}/{0}-{1}-{2}.zip"
S3 = "{http://s3.amazonaws.com/doc/2006-03-01/}"


@pytest.fixture
def sandbox(running):
    return running[0]


@pytest.fixture
def client(running):
    return running[1]


def unzip(data):
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert len(archive.namelist()) == 1
        return archive.read(archive.namelist()[0]).decode()


def rows_of(client, path):
    return [line.split(",") for line in unzip(client.get(path).content).splitlines()]


def listed(client, prefix, **more):
    pages, marker = [], ""
    while True:
        values = {"delimiter": "/", "prefix": prefix, "marker": marker, **more}
        root = ET.fromstring(client.get("/listing", params=values).text)  # noqa: S314 - our own XML
        pages.append(root)
        if root.findtext(f"{S3}IsTruncated") == "false":
            return pages
        marker = root.findtext(f"{S3}NextMarker")


def keys_of(pages):
    return [entry.findtext(f"{S3}Key") for page in pages for entry in page.iter(f"{S3}Contents")]


def test_a_daily_has_the_form_of_the_archive(client) -> None:
    """One member, no header, twelve columns, eight decimals, a CHECKSUM without line feed."""
    path = SPOT.format("BTCUSDT", "1m", "2024-01-05")

    data = client.get(path).content
    text = unzip(data)

    cells = text.split("\n")[0].split(",")
    assert text.count("\n") == 1440
    assert text.endswith("\n")
    assert len(cells) == 12
    assert [len(cell.partition(".")[2]) for cell in cells] == [0, 8, 8, 8, 8, 8, 0, 8, 0, 8, 8, 0]
    assert client.get(f"{path}.CHECKSUM").text == (
        f"{hashlib.sha256(data).hexdigest()}  BTCUSDT-1m-2024-01-05.zip"
    )


@pytest.mark.parametrize(
    ("path", "digits", "is_headed"),
    [
        pytest.param(SPOT.format("BTCUSDT", "1h", "2024-12-31"), 13, False, id="spot-2024"),
        pytest.param(SPOT.format("BTCUSDT", "1h", "2025-01-01"), 16, False, id="spot-2025"),
        pytest.param(UM.format("BTCUSDT", "1h", "2025-01-01"), 13, True, id="um-2025"),
        pytest.param(UM.format("BTCUSDT", "1h", "2021-12-31"), 13, False, id="um-2021"),
        pytest.param(CM.format("BTCUSD_PERP", "1h", "2025-01-01"), 13, True, id="cm-2025"),
    ],
)
def test_units_and_headers_follow_market_and_year(client, path, digits, is_headed) -> None:
    """Spot counts microseconds from 2025 on; um and cm have a header from 2022 on."""
    rows = rows_of(client, path)

    assert (rows[0][0] == "open_time") is is_headed
    assert {len(row[0]) for row in rows[is_headed:]} == {digits}
    assert len(rows[is_headed:]) == 24
    assert rows[-1][6].endswith("999999" if digits == 16 else "999")


def test_coin_margined_files_hold_contracts_and_base_volume(client) -> None:
    """Column 6 counts contracts of 100 USD, column 8 is their worth in base."""
    row = rows_of(client, CM.format("BTCUSD_PERP", "1m", "2024-01-05"))[1]

    assert row[5].isdigit()
    assert float(row[7]) == pytest.approx(int(row[5]) * 100 / float(row[4]), abs=1e-8)


@pytest.mark.parametrize("recording", recordings(), ids=lambda found: found.file.name)
def test_recorded_days_are_served_as_they_are(client, recording) -> None:
    """A recorded zip keeps its bytes, a recorded CSV its rows."""
    folder = "spot" if recording.market is Market.SPOT else f"futures/{recording.market}"
    period = "daily" if len(recording.name) == 10 else "monthly"
    name = f"{recording.symbol}-{recording.interval}-{recording.name}.zip"
    place = f"/data/{folder}/{period}/klines/{recording.symbol}/{recording.interval}/{name}"

    data = client.get(place).content

    if recording.file.suffix == ".zip":
        assert data == recording.file.read_bytes()
        sidecar = Path(f"{recording.file}.CHECKSUM")
        if sidecar.exists():
            assert client.get(f"{place}.CHECKSUM").text == sidecar.read_text().rstrip("\n")
    else:
        assert unzip(data) == recording.file.read_text().partition("\n")[2]


def test_files_appear_after_the_publication_delay(sandbox, client) -> None:
    """A daily is there six hours after its day, a monthly from the 3rd of the next month on."""
    daily = SPOT.format("BTCUSDT", "1h", "2024-02-10")
    monthly = "/data/spot/monthly/klines/BTCUSDT/1h/BTCUSDT-1h-2024-01.zip"
    statuses = []

    for now in ("2024-02-11T05:59", "2024-02-11T06:00", "2024-02-02T23:59", "2024-02-03T00:00"):
        sandbox.set_clock(instant(now))
        statuses.append([client.head(path).status_code for path in (daily, monthly)])

    assert statuses == [[404, 200], [200, 200], [404, 404], [404, 200]]


@pytest.mark.parametrize(
    "path",
    [
        pytest.param(SPOT.format("NOPEUSDT", "1m", "2024-01-01"), id="unknown-symbol"),
        pytest.param(SPOT.format("BTCUSDT", "1w", "2024-01-01"), id="weekly-daily"),
        pytest.param(SPOT.format("NEWUSDT", "1m", "2024-05-16"), id="before-listing"),
        pytest.param(SPOT.format("OLDUSDT", "1m", "2024-02-21"), id="after-delisting"),
        pytest.param(SPOT.format("LUNAUSDT", "1m", "2022-05-20"), id="between-two-lives"),
        pytest.param(UM.format("BTCUSDT", "1s", "2024-01-01"), id="futures-seconds"),
        pytest.param(UM.format("BTCUSDT", "1m", "2019-12-30"), id="before-the-archive"),
        pytest.param(SPOT.format("BTCUSDT", "1m", "2024-02-30"), id="no-day"),
    ],
)
def test_what_is_not_there_is_an_xml_404(client, path) -> None:
    """A missing file answers as S3 does."""
    answer = client.get(path)

    assert answer.status_code == 404
    assert "<Code>NoSuchKey</Code>" in answer.text


def test_http_is_that_of_s3(client) -> None:
    """ETag is the md5 in quotes; HEAD, Range and If-None-Match work."""
    path = SPOT.format("ETHUSDT", "1h", "2024-01-05")
    whole = client.get(path)

    digest = hashlib.md5(whole.content, usedforsecurity=False).hexdigest()
    head = client.head(path)
    part = client.get(path, headers={"Range": "bytes=10-19"})
    known = client.get(path, headers={"If-None-Match": f'"{digest}"'})

    assert whole.headers["ETag"] == f'"{digest}"'
    assert whole.headers["Last-Modified"] == "Sat, 06 Jan 2024 06:00:00 GMT"
    assert (head.content, head.headers["Content-Length"]) == (b"", str(len(whole.content)))
    assert (part.status_code, part.content) == (206, whole.content[10:20])
    assert part.headers["Content-Range"] == f"bytes 10-19/{len(whole.content)}"
    assert (known.status_code, known.content) == (304, b"")


def test_a_long_bar_stands_in_the_month_of_its_open_time(client) -> None:
    """The weekly file of May 2023 ends with the bar that opens on the 29th."""
    rows = rows_of(client, "/data/spot/monthly/klines/BTCUSDT/1w/BTCUSDT-1w-2023-05.zip")

    assert int(rows[-1][0]) == instant("2023-05-29")
    assert int(rows[-1][6]) == instant("2023-06-05") - 1


def test_the_listing_has_pages_and_an_echoed_prefix() -> None:
    """Pages of five keys, NextMarker, bytewise order, each zip right before its CHECKSUM."""
    with Sandbox(now_ms=NOW, page_keys=5) as sandbox, httpx.Client(base_url=sandbox.url) as client:
        prefix = "data/spot/monthly/klines/NEWUSDT/1d/"

        pages = listed(client, prefix)

        keys = keys_of(pages)
        assert {page.findtext(f"{S3}Prefix") for page in pages} == {prefix}
        assert {len(list(page.iter(f"{S3}Contents"))) for page in pages[:-1]} == {5}
        assert keys == sorted(keys)
        assert keys[:2] == [
            f"{prefix}NEWUSDT-1d-2024-05.zip",
            f"{prefix}NEWUSDT-1d-2024-05.zip.CHECKSUM",
        ]
        assert len(keys) == 2 * 24
        undelimited = client.get("/listing", params={"prefix": prefix}).text
        assert "<IsTruncated>true" in undelimited
        assert "NextMarker" not in undelimited


def test_the_listing_agrees_with_the_files(client) -> None:
    """LastModified, ETag and Size of a small file are those of its own answer."""
    page = listed(client, "data/spot/monthly/klines/NEWUSDT/1d/")[0]

    for entry in list(page.iter(f"{S3}Contents"))[:2]:
        answer = client.get("/" + entry.findtext(f"{S3}Key"))
        modified = answer.headers["Last-Modified"]
        assert modified == "Mon, 03 Jun 2024 00:00:00 GMT"
        assert entry.findtext(f"{S3}LastModified") == "2024-06-03T00:00:00.000Z"
        assert entry.findtext(f"{S3}ETag") == answer.headers["ETag"]
        assert entry.findtext(f"{S3}Size") == str(len(answer.content))


def state_of(client, path):
    """Return Last-Modified and ETag of a file, after checking that the listing says the same."""
    [entry] = [
        found
        for page in listed(client, path[1:])
        for found in page.iter(f"{S3}Contents")
        if found.findtext(f"{S3}Key") == path[1:]
    ]
    headers = client.get(path).headers
    listed_ms = instant(entry.findtext(f"{S3}LastModified").removesuffix(".000Z"))
    assert http_date(listed_ms) == headers["Last-Modified"]
    assert entry.findtext(f"{S3}ETag") == headers["ETag"]
    return listed_ms, headers["ETag"]


@pytest.mark.parametrize("interval", ["1h", "1m"], ids=["small", "large"])
def test_a_file_that_is_published_again_has_another_date_and_etag(
    sandbox, client, interval
) -> None:
    """With a fault its ETag changes, in file and listing; whole again, its bytes are the first."""
    path = SPOT.format("BTCUSDT", interval, "2024-01-10")
    pattern = f"*BTCUSDT-{interval}-2024-01-10*"
    first = state_of(client, path)
    content = client.get(path).content
    sandbox.faults.add(Fault(pattern, "missing_rows", last_modified_ms=NOW - HOUR_MS))

    short = state_of(client, path)
    sandbox.republish(pattern)
    whole = state_of(client, path)

    assert [modified for modified, _ in (short, whole)] == [NOW - HOUR_MS, NOW]
    assert first[1] == whole[1] != short[1]
    assert client.get(path).content == content


def test_a_late_file_carries_the_date_of_its_coming(sandbox, client) -> None:
    """Absent until it is published: then its date is that, not the one it should have had."""
    path = SPOT.format("BTCUSDT", "1h", "2024-01-10")
    sandbox.faults.add(Fault("*2024-01-10*", "absent"))
    assert client.get(path).status_code == 404

    sandbox.republish("*2024-01-10*", NOW - HOUR_MS)

    assert state_of(client, path)[0] == NOW - HOUR_MS


def test_faults_of_one_pattern_end_alone(sandbox, client) -> None:
    """Other faults stay in force, counted as before."""
    sandbox.faults.add(
        Fault("*2024-01-10*", "absent"), Fault("*2024-01-11.zip", "status", status=500, times=2)
    )
    eleventh = SPOT.format("BTCUSDT", "1h", "2024-01-11")
    assert client.get(eleventh).status_code == 500

    sandbox.faults.end("*2024-01-10*")

    assert client.get(SPOT.format("BTCUSDT", "1h", "2024-01-10")).status_code == 200
    assert [client.get(eleventh).status_code for _ in range(2)] == [500, 200]


def test_a_ban_on_demand_says_how_long(sandbox, client) -> None:
    """418 with Retry-After, so many times as it is planted."""
    sandbox.faults.add(Fault("/api/v3/klines*", "status", status=418, retry_after=600, times=1))
    asked = {"symbol": "BTCUSDT", "interval": "1h"}

    first, second = (client.get("/api/v3/klines", params=asked) for _ in range(2))

    assert (first.status_code, first.headers["Retry-After"]) == (418, "600")
    assert second.status_code == 200


def test_folders_are_common_prefixes(client) -> None:
    """Markets, symbols and intervals are folders; spot has no weekly dailies, um has some."""

    def folders(prefix):
        (page,) = listed(client, prefix)
        return [found.findtext(f"{S3}Prefix") for found in page.iter(f"{S3}CommonPrefixes")]

    assert folders("data/futures/") == ["data/futures/cm/", "data/futures/um/"]
    assert "data/spot/daily/klines/币安人生USDT/" in folders("data/spot/daily/klines/")
    assert "data/spot/daily/klines/BTCUSDT/1w/" not in folders("data/spot/daily/klines/BTCUSDT/")
    assert "data/spot/monthly/klines/BTCUSDT/1mo/" in folders("data/spot/monthly/klines/BTCUSDT/")
    long = "data/futures/um/daily/klines/BTCUSDT/1w/"
    assert long in folders("data/futures/um/daily/klines/BTCUSDT/")
    assert folders("data/option/") == []


def test_names_in_other_scripts_are_percent_encoded(client) -> None:
    """A Chinese symbol is asked for in UTF-8 and listed as it is."""
    path = SPOT.format("币安人生USDT", "1h", "2026-01-05")

    assert client.get(quote(path)).status_code == 200
    assert path[1:] in keys_of(listed(client, path[1:-6]))


def test_two_sandboxes_give_the_same_bytes(client) -> None:
    """Made klines are a pure function of symbol and time."""
    paths = [SPOT.format("S017USDT", "1m", "2024-03-09"), UM.format("ETHUSDT", "4h", "2024-03-09")]

    with Sandbox(now_ms=NOW) as other:
        again = [httpx.get(other.url + path).content for path in paths]

    assert [client.get(path).content for path in paths] == again


def test_a_spot_outage_cuts_the_open_bar_and_leaves_bars_out(client) -> None:
    """2023-03-24: the minute of 12:39 ends early, the next is 14:00; coarser bars likewise."""
    minutes = rows_of(client, SPOT.format("ETHUSDT", "1m", "2023-03-24"))
    hours = rows_of(client, SPOT.format("ETHUSDT", "1h", "2023-03-24"))
    stopped, resumed = instant("2023-03-24T12:39:41.646"), instant("2023-03-24T14:00")
    last = next(place for place, row in enumerate(minutes) if int(row[6]) == stopped)

    assert int(minutes[last][0]) == instant("2023-03-24T12:39")
    assert int(minutes[last + 1][0]) == resumed
    assert len(minutes) == 1440 - 80
    assert [int(row[6]) for row in hours[12:14]] == [stopped, resumed + HOUR_MS - 1]
    assert len(hours) == 23


def test_a_futures_outage_is_flat_zero_bars(client) -> None:
    """2025-08-29: um has all its minutes, fifteen of them without trades, `0` without decimals."""
    rows = rows_of(client, UM.format("BTCUSDT", "1m", "2025-08-29"))[1:]
    quiet = [row for row in rows if row[8] == "0"]

    assert len(rows) == 1440
    assert len(quiet) == 15
    assert {(row[5], row[7], row[9], row[10]) for row in quiet} == {("0", "0", "0", "0")}
    assert len({price for row in quiet for price in row[1:5]}) == 1


PLAIN = SPOT.format("SOLUSDT", "1h", "2024-01-05")


@pytest.mark.parametrize(
    ("fault", "status", "text"),
    [
        pytest.param({"status": 503}, 503, "made fault", id="503"),
        pytest.param({"status": 403, "body": "html403"}, 403, "cloudfront", id="403-html"),
        pytest.param({"status": 451, "body": "451"}, 451, "restricted location", id="451"),
        pytest.param({"status": 500, "body": "json", "code": -1000}, 500, "-1000", id="json"),
        pytest.param({"action": "html200"}, 200, "<html>", id="html-200"),
        pytest.param({"action": "code0", "msg": "later"}, 200, '"code": 0', id="code-0"),
        pytest.param({"action": "absent"}, 404, "NoSuchKey", id="absent"),
    ],
)
def test_a_fault_answers_in_place_of_the_file_once(sandbox, client, fault, status, text) -> None:
    """`times=1` spoils one answer; the next is the file again."""
    sandbox.faults.add(Fault(**{"path": "*.zip", "action": "status", "times": 1} | fault))

    first, second = client.get(PLAIN), client.get(PLAIN)

    assert first.status_code == status
    assert text in first.text
    assert unzip(second.content).count("\n") == 24


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        pytest.param({"action": "drop"}, httpx.TransportError, id="drop"),
        pytest.param({"action": "drop", "how": "midway"}, httpx.TransportError, id="midway"),
        pytest.param({"action": "truncate"}, httpx.RemoteProtocolError, id="short"),
    ],
)
def test_a_connection_can_break(sandbox, client, fault, error) -> None:
    """Dropped and short answers are errors of the transport."""
    sandbox.faults.add(Fault(path="*.zip", times=1, **fault))

    with pytest.raises(error):
        client.get(PLAIN)
    assert client.get(PLAIN).status_code == 200


def test_a_silent_truncation_looks_like_an_answer(sandbox, client) -> None:
    """Without a Content-Length half a zip arrives as 200."""
    whole = client.get(PLAIN).content
    sandbox.faults.add(Fault("*.zip", "truncate", times=1, how="close"))

    assert client.get(PLAIN).content == whole[: len(whole) // 2]


def test_an_answer_can_be_late(sandbox, client) -> None:
    """`delay` waits, then answers."""
    sandbox.faults.add(Fault("*.zip", "delay", times=1, seconds=0.2))
    began = time.monotonic()

    assert client.get(PLAIN).status_code == 200
    assert time.monotonic() - began >= 0.2


def judge(client, path):
    data = client.get(path).content
    fits = client.get(f"{path}.CHECKSUM").text.split()[0] == hashlib.sha256(data).hexdigest()
    return data, fits


@pytest.mark.parametrize(
    ("action", "is_fitting"),
    [
        pytest.param("corrupt", False, id="corrupt"),
        pytest.param("wrong_checksum", False, id="wrong-checksum"),
        pytest.param("not_zip", True, id="not-a-zip"),
        pytest.param("two_members", True, id="two-members"),
        pytest.param("empty", True, id="empty"),
        pytest.param("damaged_csv", True, id="damaged-csv"),
        pytest.param("other_day", True, id="other-day"),
        pytest.param("missing_rows", True, id="missing-rows"),
        pytest.param("stale", True, id="stale"),
        pytest.param("unsorted", True, id="unsorted"),
        pytest.param("doubled", True, id="doubled"),
        pytest.param("nan", True, id="nan"),
    ],
)
def test_a_damaged_file_has_the_checksum_its_fault_says(
    sandbox, client, action, is_fitting
) -> None:
    """Damage changes the bytes; only faults about a mismatch leave a CHECKSUM that fails."""
    whole = client.get(PLAIN).content
    sandbox.faults.add(Fault(PLAIN, action, times=1))

    data, fits = judge(client, PLAIN)

    assert fits is is_fitting
    assert (data != whole) is (action != "wrong_checksum")
    assert judge(client, PLAIN) == (whole, True)


def test_faults_about_rows_change_the_rows_they_name(sandbox, client) -> None:
    """Rows go missing, come from another day, turn to NaN, as the fault says."""
    start = instant("2024-01-05")
    counts = {}

    for action, more in (
        ("missing_rows", {"start_ms": start + HOUR_MS, "end_ms": start + 3 * HOUR_MS}),
        ("other_day", {}),
        ("doubled", {}),
        ("empty", {}),
    ):
        sandbox.faults.clear()
        sandbox.faults.add(Fault("*SOLUSDT-1h-*", action, **more))
        rows = rows_of(client, PLAIN)
        counts[action] = (len(rows), (int(rows[0][0]) - start) // DAY_MS if rows else None)

    assert counts == {
        "missing_rows": (22, 0), "other_day": (24, -1), "doubled": (25, 0), "empty": (0, None),
    }  # fmt: skip


def test_a_stale_monthly_differs_on_its_days_and_is_older_than_the_dailies(sandbox, client) -> None:
    """Values of one day differ, the CHECKSUM fits, Last-Modified lies before the daily's."""
    path = "/data/spot/monthly/klines/SOLUSDT/1h/SOLUSDT-1h-2024-01.zip"
    before = rows_of(client, path)
    sandbox.faults.add(Fault(path, "stale", days=("2024-01-05",), factor=1.5))

    answer, rows = client.get(path), rows_of(client, path)

    changed = {int(old[0]) for old, new in zip(before, rows, strict=True) if old != new}
    assert changed == {instant("2024-01-05") + hour * HOUR_MS for hour in range(24)}
    assert answer.headers["Last-Modified"] < client.get(PLAIN).headers["Last-Modified"]
    assert judge(client, path)[1]


def test_a_bomb_is_small_and_swells(sandbox, client) -> None:
    """A small download declares 200 MB."""
    sandbox.faults.add(Fault(PLAIN, "bomb"))

    data, fits = judge(client, PLAIN)

    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert archive.infolist()[0].file_size == 200 * 2**20
    assert len(data) < 2**20
    assert fits


def test_an_absent_file_is_not_listed(sandbox, client) -> None:
    """What a fault hides is missing in the listing too; a sidecar can be hidden alone."""
    prefix = "data/spot/monthly/klines/NEWUSDT/1d/"
    sandbox.faults.add(Fault("*-2024-06.zip", "absent"), Fault("*-2024-07.zip.CHECKSUM", "absent"))

    keys = keys_of(listed(client, prefix))

    assert f"{prefix}NEWUSDT-1d-2024-06.zip" not in keys
    assert f"{prefix}NEWUSDT-1d-2024-07.zip" in keys
    assert f"{prefix}NEWUSDT-1d-2024-07.zip.CHECKSUM" not in keys
    assert client.get(f"/{prefix}NEWUSDT-1d-2024-07.zip.CHECKSUM").status_code == 404


def test_unknown_faults_are_refused() -> None:
    """A misspelled action or field is an error, not a fault that never comes."""
    with pytest.raises(ValueError, match="use one of"):
        Fault("*", "explode")
    with pytest.raises(ValueError, match="no such field"):
        faults_from_json('[{"path": "*", "action": "drop", "tmies": 1}]')
    with pytest.raises(ValueError, match="needs last_modified_ms"):
        Fault("*", "republished")


def test_other_processes_control_faults_clock_and_log(sandbox, client) -> None:
    """Everything a test sets in Python can be set over HTTP."""
    client.delete("/sandbox/requests")
    client.post("/sandbox/faults", json=[{"path": "*.zip", "action": "status", "status": 502}])
    spoiled = client.get(PLAIN).status_code
    client.delete("/sandbox/faults")
    client.post("/sandbox/clock", json={"now_ms": instant("2024-01-05")})

    hidden = client.get(PLAIN).status_code
    log = client.get("/sandbox/requests").json()

    assert (spoiled, hidden) == (502, 404)
    assert [(entry["path"], entry["status"]) for entry in log] == [(PLAIN, 502), (PLAIN, 404)]
    assert sandbox.requests[-1].status == 404
    assert client.post("/sandbox/faults", json=[{"path": "*"}]).status_code == 400


def test_the_clock_can_run_on(client) -> None:
    """With a speed, time passes from the instant it was set to."""
    client.post("/sandbox/clock", json={"now_ms": NOW, "speed": 1000.0})
    time.sleep(0.02)

    assert client.get("/api/v3/time").json()["serverTime"] >= NOW + 20_000


def test_truth_equals_the_files(sandbox, client) -> None:
    """`klines` has the numbers, times and types of a correct reader."""
    series = Series.parse("binance/spot/BTCUSDT/1h")
    span = TimeRange(instant("2025-03-01"), instant("2025-03-02"))
    rows = rows_of(client, SPOT.format("BTCUSDT", "1h", "2025-03-01"))

    truth = sandbox.klines(series, span)

    assert truth["close"].to_pylist() == [float(row[4]) for row in rows]
    assert truth["quote_volume"].to_pylist() == [float(row[7]) for row in rows]
    assert truth["close_time"].cast("int64").to_pylist() == [int(row[6]) for row in rows]
    sandbox.set_clock(instant("2025-03-01T05:30"))
    assert sandbox.klines(series, span).num_rows == 5


def test_truth_of_coin_margined_names_base_volume_volume(sandbox, client) -> None:
    """`volume` is base, contracts stand apart, quote volume is unknown."""
    day = TimeRange(instant("2024-01-05"), instant("2024-01-06"))
    row = rows_of(client, CM.format("BTCUSD_PERP", "1d", "2024-01-05"))[1]

    (kline,) = sandbox.klines(Series.parse("binance/cm/BTCUSD_PERP/1d"), day).to_pylist()

    assert (kline["volume"], kline["contract_volume"]) == (float(row[7]), float(row[5]))
    assert kline["taker_buy_volume"] == float(row[10])
    assert kline["quote_volume"] is kline["taker_buy_quote_volume"] is None


def test_symbols_and_outages_can_be_added() -> None:
    """A test brings its own symbol and its own stop."""
    symbol = Symbol(market=Market.SPOT, name="XYZUSDT", lives=((instant("2024-01-01"), None),))

    with Sandbox(now_ms=NOW, symbols=[symbol], outages=()) as sandbox:
        span = TimeRange(instant("2023-12-31"), instant("2024-01-02"))
        table = sandbox.klines(Series("binance", Market.SPOT, "XYZUSDT", Interval.MINUTE_1), span)

    assert table.num_rows == 1440


def test_the_configuration_points_at_the_sandbox() -> None:
    """`sandbox_config` names the same root for every source."""
    text = sandbox_config("http://127.0.0.1:1", "./lake", "  - exchange: binance\n")

    assert text.count("http://127.0.0.1:1") == 7
    assert 'okx: "http://127.0.0.1:1/okx", kraken: "http://127.0.0.1:1/kraken"' in text
    assert "feeds:\n  - exchange: binance\n" in text


def test_the_demo_is_written_for_the_sandbox() -> None:
    """The demo's feeds are a good configuration, and its faults are known ones."""
    text = sandbox_config("http://127.0.0.1:1", "./lake", demo.FEEDS)
    today = datetime.now(UTC).date()

    catalog = parse_catalog(text, path=Path("demo.yaml"), environ={}, today=today)

    assert {feed.sources for feed in catalog.feeds} == {
        ("vision", "rest"),
        ("vision", "rest", "ccxt:okx"),
        ("ccxt:kraken",),
    }
    assert len(faults_from_json(json.dumps(list(demo.FAULTS.values())))) == len(demo.FAULTS)


def test_nothing_is_served_after_the_end() -> None:
    """Connections that were kept alive end with the sandbox."""
    with httpx.Client() as client:
        with Sandbox(now_ms=NOW) as sandbox:
            url = f"{sandbox.url}/api/v3/time"
            assert client.get(url).status_code == 200

        with pytest.raises(httpx.TransportError):
            client.get(url)


@pytest.mark.slow
def test_serve_ends_on_sigterm() -> None:
    """The foreground server prints nothing and ends with status 0."""
    code = "from crypto_data.sandbox.server import serve; serve(0)"
    process = subprocess.Popen([sys.executable, "-c", code], stdout=-1, stderr=-1)
    time.sleep(1.5)

    process.send_signal(signal.SIGTERM)
    output = process.communicate(timeout=10)

    assert (process.returncode, output) == (0, (b"", b""))
