"""The commands `health` and `repair`, as a person runs them against the stand-in exchange."""

import csv
import io
import json
import os
import shutil
from datetime import date

import pytest

from crypto_data.intervals import DAY_MS
from crypto_data.lake.layout import FEEDS, part_path
from crypto_data.lake.set_aside import read_set_aside
from crypto_data.sandbox.server import Fault
from crypto_data.series import Series

pytestmark = pytest.mark.slow

HOURS = Series.parse("binance/spot/BTCUSDT/1h")
MINUTES = Series.parse("binance/spot/BTCUSDT/1m")
FIRST, END = date(2024, 1, 10), date(2024, 1, 12)
FEED = {"intervals": ["1m", "1h"], "start": str(FIRST), "end": str(END)}


@pytest.fixture
def filled(desk):
    """Return a desk whose lake holds two days of minutes and of hours."""
    desk.configure(FEED)
    assert all(report.is_whole for report in desk.fill())
    desk.sandbox.requests.clear()
    return desk


def path_of(desk, series, period):
    return part_path(desk.lake.root, series, period)


def test_a_whole_lake_is_said_to_be_whole(filled) -> None:
    """Exit status 0 and one line, with and without reading every row."""
    quick, thorough = filled.run("health"), filled.run("health", "--verify")

    for done in (quick, thorough):
        assert (done.returncode, done.stdout) == (0, "")
        assert done.stderr == "the lake is whole: 2 files, 2,928 rows\n"


def test_damage_is_listed_with_its_remedy(filled) -> None:
    """A line a file; JSON and CSV say whose klines are concerned; exit status 1."""
    path_of(filled, HOURS, "2024").write_bytes(b"")
    (filled.lake.root / "klines" / "notes.txt").write_bytes(b"mine")

    table = filled.run("health")
    as_json = filled.run("health", "--format", "json")
    as_csv = filled.run("health", "--format", "csv")

    assert {table.returncode, as_json.returncode, as_csv.returncode} == {1}
    assert "zero_byte" in table.stdout
    assert "run: crypto-data repair" in table.stdout
    rows = json.loads(as_json.stdout)
    assert [(row["kind"], row["series"], row["period"]) for row in rows] == [
        ("zero_byte", str(HOURS), "2024"),
        ("foreign", None, None),
    ]
    assert [row["kind"] for row in csv.DictReader(io.StringIO(as_csv.stdout))] == [
        "zero_byte",
        "foreign",
    ]


def test_damage_is_repaired_and_a_second_repair_asks_nobody(filled) -> None:
    """Damaged files are moved and fetched anew, foreign ones moved; then the lake is whole."""
    hours, minutes = path_of(filled, HOURS, "2024"), path_of(filled, MINUTES, "2024-01")
    hours.write_bytes(hours.read_bytes()[:-100])
    content = bytearray(minutes.read_bytes())
    content[2000] ^= 0x20
    minutes.write_bytes(content)

    done = filled.run("repair")

    assert done.returncode == 0, done.stderr
    assert done.stderr.count("moved to _set_aside/damaged/klines/") == 2
    for series in (HOURS, MINUTES):
        assert filled.equals_truth(series, FIRST, END)
    assert len(read_set_aside(filled.lake.root)) == 2
    filled.sandbox.requests.clear()
    second = filled.run("repair")
    assert (second.returncode, filled.asked()) == (0, [])
    assert "nothing to fetch" in second.stderr
    assert filled.run("health", "--verify").returncode == 0


def test_filters_leave_the_rest_alone(filled) -> None:
    """Only the chosen series is healed and fetched."""
    hours, minutes = path_of(filled, HOURS, "2024"), path_of(filled, MINUTES, "2024-01")
    for path in (hours, minutes):
        path.write_bytes(b"PAR1 torn")

    done = filled.run("repair", "--intervals", "1h")
    past = filled.run("repair", "--intervals", "1m", "--start", "2024-02-01")

    assert done.returncode == 0, done.stderr
    assert filled.equals_truth(HOURS, FIRST, END)
    assert minutes.read_bytes() == b"PAR1 torn"
    assert past.returncode == 2
    assert "no day of these series lies in that range" in past.stderr
    assert not filled.asked("1m")


def test_what_stays_open_is_named(filled) -> None:
    """While no source answers, the file is set aside, and each day that lacks is told."""
    path_of(filled, HOURS, "2024").write_bytes(b"")
    filled.sandbox.faults.add(Fault("*", "status", status=503))

    done = filled.run("repair", "--intervals", "1h")

    assert done.returncode == 1
    assert f"{HOURS} 2024-01-10 to 2024-01-11: nothing" in done.stderr
    filled.sandbox.faults.clear()
    shutil.rmtree(filled.state)  # else hosts that were down are left alone for a while
    assert filled.run("repair", "--intervals", "1h").returncode == 0
    assert filled.equals_truth(HOURS, FIRST, END)


def test_damaged_wishes_heal(filled) -> None:
    """The copy of the configuration is written anew by the repair."""
    (filled.lake.root / FEEDS).write_bytes(b"{")

    listed = filled.run("health")
    done = filled.run("repair")

    assert (listed.returncode, done.returncode) == (1, 0)
    assert filled.run("health").returncode == 0
    assert json.loads((filled.lake.root / FEEDS).read_bytes())["series"]


def test_a_series_that_nobody_asks_for_is_told(filled) -> None:
    """Its damaged file is set aside too; that its days stay away is said."""
    path_of(filled, MINUTES, "2024-01").write_bytes(b"")
    filled.configure(FEED | {"intervals": ["1h"]})

    done = filled.run("repair")

    assert done.returncode == 0, done.stderr
    assert f"{MINUTES}: not in the configuration" in done.stderr


def test_a_wrong_filter_does_nothing(filled) -> None:
    """A misspelt symbol is refused before any file is touched."""
    path = path_of(filled, HOURS, "2024")
    path.write_bytes(b"")

    done = filled.run("repair", "--symbols", "BTCUSD")

    assert (done.returncode, path.exists()) == (2, True)
    assert "did you mean BTCUSDT?" in done.stderr


def test_strays_alone_are_listed_and_hurt_nobody(filled) -> None:
    """Half a file of a killed writer is named; exit status 0, for no reader ever sees it."""
    scratch = (
        filled.lake.root
        / "_scratch"
        / path_of(filled, HOURS, "2024").parent.relative_to(filled.lake.root / "klines")
    )
    stray = scratch / ".2024.parquet.4711.4711.tmp"
    stray.write_bytes(b"half")
    os.utime(stray, (DAY_MS, DAY_MS))

    done = filled.run("health")
    filled.run("repair")

    assert (done.returncode, "stray" in done.stdout) == (0, True)
    assert not stray.exists()
