"""The index says what the footers say, whatever happened to files, to it, or between."""

import logging
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from datetime import date
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crypto_data.coverage import DayFacts, SourceAnswer
from crypto_data.intervals import Interval, TimeRange
from crypto_data.lake import index
from crypto_data.lake.corrections import Correction
from crypto_data.lake.index import read_index
from crypto_data.lake.layout import INDEX, part_path, series_folder
from crypto_data.lake.part import write_part
from crypto_data.lake.shard import ShardName, load_shard, save_shard
from crypto_data.schema import empty_klines
from crypto_data.series import Market, Series

BTC = Series("binance", Market.SPOT, "BTCUSDT", Interval.MINUTE_1)
ETH = Series("binance", Market.SPOT, "ETHUSDT", Interval.MINUTE_1)
YEARS = Series("binance", Market.UM, "BTCUSDT", Interval.HOUR_1)
SHARD = ShardName.of(BTC)
DAY = date(2024, 3, 1)
FULL = DayFacts(
    rows=20,
    off_grid=1,
    unlisted_rows=2,
    sources=(("vision", 15), ("rest", 5)),
    absent=(TimeRange(60_000, 120_000), TimeRange(180_000, 240_000)),
    explained=True,
    doubtful=True,
    answers=(SourceAnswer("rest", "nothing"),),
    set_aside=(("prices_are_finite", 3), ("high_is_highest", 4)),
    checksum="ab",
    etag="cd",
    address="https://x/y.zip",
    attempts=7,
    asked_ms=8,
    ingested_ms=9,
)
FIX = Correction(DAY, 5, ("close",), 1, 0, "rest", "vision", "", "ab", "_superseded/x")


@pytest.fixture(autouse=True)
def settled(monkeypatch):
    """Trust files after 20 ms: no test waits for the clock of a slow file system."""
    monkeypatch.setattr(index, "SETTLE_NS", 20_000_000)


def put(root, series=BTC, period="2024-03", **facts) -> Path:
    path = part_path(root, series, period)
    ledger = {DAY: DayFacts(**({"rows": 5, "attempts": 1} | facts)), date(2024, 3, 2): FULL}
    write_part(path, empty_klines(), ledger)
    return path


def told(found):
    """Return all that an index says, in a form that can be compared."""
    tables = {
        name: table.drop_columns(["inode", "changed_ns"]).to_pylist()
        for name, table in found.shards.items()
        if table.num_rows
    }
    return tables, found.sizes, sorted(map(str, found.faults))


def fresh(root):
    """Return what an index that was never kept says."""
    with tempfile.TemporaryDirectory() as aside:
        if (root / INDEX).exists():
            (root / INDEX).rename(Path(aside) / INDEX)
        said = told(read_index(root))
        shutil.rmtree(root / INDEX, ignore_errors=True)
        if (Path(aside) / INDEX).exists():
            shutil.move(Path(aside) / INDEX, root / INDEX)
    return said


def kept(root) -> list:
    """Return the files that the index need not read again."""
    shard = load_shard(SHARD.path(root))
    return sorted(set(zip(shard["symbol"].to_pylist(), shard["period"].to_pylist(), strict=True)))


def made(root) -> None:
    put(root)
    put(root, period="2024-04", attempts=2)
    put(root, ETH)
    put(root, YEARS, "2024")
    time.sleep(0.03)
    read_index(root)


def test_an_entry_says_all_that_the_footer_says(tmp_path) -> None:
    """Every field of a ledger entry, of its file, and a run without days, come back."""
    path = part_path(tmp_path, BTC, "2024-03")
    write_part(path, empty_klines(), {DAY: FULL, date(2024, 3, 5): DayFacts()}, (FIX,))
    write_part(part_path(tmp_path, BTC, "2024-04"), empty_klines(), {})

    found = read_index(tmp_path)

    rows = found.shards[SHARD].to_pylist()
    assert [(row["period"], row["place"], row["days"]) for row in rows] == [
        ("2024-03", 0, 1),
        ("2024-03", 1, 1),
        ("2024-04", 0, 0),
    ]
    first = rows[0]
    assert (first.pop("inode"), first.pop("size")) == (path.stat().st_ino, path.stat().st_size)
    assert first.pop("changed_ns") == path.stat().st_ctime_ns
    assert '"close"' in first.pop("corrections")
    assert first == {
        "symbol": "BTCUSDT",
        "period": "2024-03",
        "place": 0,
        "first_day": (DAY - date(1970, 1, 1)).days,
        "days": 1,
        "rows": 20,
        "off_grid": 1,
        "unlisted_rows": 2,
        "sources": "vision+rest",
        "source_rows": [15, 5],
        "absent_starts": [60_000, 180_000],
        "absent_ends": [120_000, 240_000],
        "explained": True,
        "doubtful": True,
        "attempts": 7,
        "asked_ms": 8,
        "ingested_ms": 9,
        "set_aside": 7,
        "reason": FULL.reason,
        "checksum": "ab",
        "etag": "cd",
        "address": "https://x/y.zip",
        "first_open_ms": None,
        "last_open_ms": None,
    }
    assert rows[1]["corrections"] == ""
    sizes = [one.stat().st_size for one in series_folder(tmp_path, BTC).iterdir()]
    assert sorted(found.sizes[BTC]) == sorted(sizes)


def test_footers_are_read_once(tmp_path) -> None:
    """Of files that look the same, what was kept is believed: a planted entry comes back."""
    made(tmp_path)
    shard = load_shard(SHARD.path(tmp_path))
    place = shard.schema.get_field_index("address")
    planted = shard.set_column(place, "address", pa.array(["planted"] * shard.num_rows))
    save_shard(SHARD.path(tmp_path), planted)
    before = SHARD.path(tmp_path).stat().st_ino

    found = read_index(tmp_path)

    assert set(found.shards[SHARD]["address"].to_pylist()) == {"planted"}
    assert SHARD.path(tmp_path).stat().st_ino == before


def test_only_files_that_changed_are_read_again(tmp_path) -> None:
    """A commit into one file of a shard leaves what is kept of the others."""
    made(tmp_path)
    shard = load_shard(SHARD.path(tmp_path))
    place = shard.schema.get_field_index("address")
    planted = shard.set_column(place, "address", pa.array(["planted"] * shard.num_rows))
    save_shard(SHARD.path(tmp_path), planted)
    put(tmp_path, attempts=3)

    rows = read_index(tmp_path).shards[SHARD].to_pylist()

    assert {(row["symbol"], row["period"], row["address"] == "planted") for row in rows} == {
        ("BTCUSDT", "2024-03", False),
        ("BTCUSDT", "2024-04", True),
        ("ETHUSDT", "2024-03", True),
    }
    assert rows == sorted(rows, key=lambda row: (row["symbol"], row["period"], row["place"]))


def overwrite_in_place(path) -> None:
    """Change a file's bytes but not its size, inode, nor the folder's entries."""
    content = path.read_bytes()
    status = path.stat()
    with path.open("r+b") as file:
        file.write(b"\0" * len(content))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def to_symlink(path) -> None:
    path.unlink()
    path.symlink_to("nowhere")


def to_folder(path) -> None:
    path.unlink()
    path.mkdir()


def stray(path) -> None:
    for name in (".2024-03.parquet.1.tmp", "notes.txt", "x.parquet", "2024.parquet"):
        (path.parent / name).write_bytes(b"")
    (path.parent.parent / "symbol=btc").mkdir()


CHANGES = {
    "commit": lambda root, _path: put(root, attempts=4),
    "new-file": lambda root, _path: put(root, period="2024-05"),
    "new-series": lambda root, _path: put(root, ETH, period="2024-01"),
    "deleted-file": lambda _root, path: path.unlink(),
    "deleted-series": lambda root, _path: shutil.rmtree(series_folder(root, BTC)),
    "deleted-lake": lambda root, _path: shutil.rmtree(root / "klines"),
    "moved-period": lambda _root, path: path.rename(path.with_name("2024-07.parquet")),
    "cut": lambda _root, path: os.truncate(path, 100),
    "emptied": lambda _root, path: os.truncate(path, 0),
    "same-size-in-place": lambda _root, path: overwrite_in_place(path),
    "replaced-by-another": lambda root, path: shutil.copy2(part_path(root, BTC, "2024-04"), path),
    "dangling-link": lambda _root, path: to_symlink(path),
    "folder-in-its-place": lambda _root, path: to_folder(path),
    "stray-files": lambda _root, path: stray(path),
}


@pytest.mark.parametrize("change", CHANGES)
def test_every_change_is_seen(tmp_path, change) -> None:
    """What a kept index says after a change is what a new one says, at once and later."""
    made(tmp_path)
    before = told(read_index(tmp_path))
    CHANGES[change](tmp_path, part_path(tmp_path, BTC, "2024-03"))

    at_once = told(read_index(tmp_path))
    time.sleep(0.03)
    later = told(read_index(tmp_path))

    assert at_once == later == fresh(tmp_path)
    assert (at_once == before) is (change == "stray-files")


def test_a_damaged_file_is_a_fault_until_it_is_whole(tmp_path) -> None:
    """It is named with the reason each time, and counted as a file."""
    made(tmp_path)
    path = part_path(tmp_path, BTC, "2024-03")
    path.write_bytes(b"PAR1 nothing PAR1")
    time.sleep(0.03)

    for _ in range(2):
        found = read_index(tmp_path)
        [fault] = found.faults
        assert (fault.series, fault.path) == (BTC, str(path))
        assert "\n" not in fault.why
        assert "Move the file" not in fault.why
        assert min(found.sizes[BTC]) == len(b"PAR1 nothing PAR1")
    put(tmp_path)
    assert not read_index(tmp_path).faults


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is forbidden to root")
def test_what_may_not_be_read_is_a_fault(tmp_path) -> None:
    """A file and a folder without permission are named; permitted again, they are read."""
    made(tmp_path)
    folder = series_folder(tmp_path, ETH)
    part_path(tmp_path, BTC, "2024-03").chmod(0)
    folder.chmod(0)

    refused = read_index(tmp_path).faults
    folder.chmod(0o755)
    part_path(tmp_path, BTC, "2024-03").chmod(0o644)

    assert len(refused) == 2
    assert all("ermission denied" in fault.why for fault in refused)
    assert not read_index(tmp_path).faults


def test_a_file_that_changed_just_now_is_not_kept(tmp_path, monkeypatch) -> None:
    """Within one tick of its clock it could change again and look the same."""
    put(tmp_path)
    time.sleep(0.03)
    with monkeypatch.context() as patch:
        patch.setattr(index, "SETTLE_NS", 2_000_000_000)
        read_index(tmp_path)
        assert kept(tmp_path) == []

    read_index(tmp_path)

    assert kept(tmp_path) == [("BTCUSDT", "2024-03")]


def cut_shard(path) -> None:
    os.truncate(path, path.stat().st_size - 30)


def older_shard(path) -> None:
    """Write what another version might have kept, which means something else."""
    table = load_shard(path)
    place = table.schema.get_field_index("attempts")
    table = table.set_column(place, "attempts", pa.array([99] * table.num_rows))
    with pq.ParquetWriter(path, table.schema) as writer:
        writer.write_table(table)
        writer.add_key_value_metadata({"crypto_data.index": "0"})


def wrong_columns(path) -> None:
    table = pa.table({"symbol": ["BTCUSDT"], "period": ["2024-03"]})
    with pq.ParquetWriter(path, table.schema) as writer:
        writer.write_table(table)
        writer.add_key_value_metadata({"crypto_data.index": "1"})


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda path: path.write_bytes(b""), id="empty"),
        pytest.param(lambda path: path.write_bytes(b"PAR1 none PAR1"), id="garbage"),
        pytest.param(cut_shard, id="cut"),
        pytest.param(older_shard, id="other-version"),
        pytest.param(wrong_columns, id="wrong-columns"),
        pytest.param(lambda path: path.unlink(), id="deleted"),
        pytest.param(lambda path: shutil.rmtree(path.parent), id="folder-deleted"),
    ],
)
def test_a_damaged_index_is_made_anew(tmp_path, damage) -> None:
    """Whatever happens to what is kept, the answer is that of the footers."""
    made(tmp_path)
    right = told(read_index(tmp_path))
    damage(SHARD.path(tmp_path))

    assert told(read_index(tmp_path)) == right
    assert len(kept(tmp_path)) == 3


def test_a_flipped_byte_of_the_index_changes_no_answer(tmp_path) -> None:
    """Numbers are stored as they are: only their page's checksum tells that one has changed."""
    made(tmp_path)
    path = SHARD.path(tmp_path)
    right = told(read_index(tmp_path))
    good = path.read_bytes()
    end = len(good) - int.from_bytes(good[-8:-4], "little") - 8  # where the pages end

    for place in range(4, end, 23):
        path.write_bytes(good[:place] + bytes([good[place] ^ 0x04]) + good[place + 1 :])
        assert told(read_index(tmp_path)) == right, place


def test_an_index_that_cannot_be_kept_costs_only_time(tmp_path, caplog) -> None:
    """A file where the folder should be: the answer is right, and a line at INFO says why."""
    put(tmp_path)
    time.sleep(0.03)
    (tmp_path / INDEX).write_bytes(b"")

    with caplog.at_level(logging.INFO):
        found = read_index(tmp_path)

    assert found.shards[SHARD].num_rows == 2
    assert "the index is not kept" in caplog.text
    assert (tmp_path / INDEX).read_bytes() == b""


def test_looking_at_an_empty_lake_makes_nothing(tmp_path) -> None:
    """A lake that is not there stays so."""
    assert told(read_index(tmp_path / "none")) == ({}, {}, [])
    assert list(tmp_path.iterdir()) == []


def test_what_is_left_behind_goes(tmp_path) -> None:
    """The shard of series that are gone, and a killed writer's temporary file; nothing else."""
    made(tmp_path)
    shutil.rmtree(tmp_path / "klines" / "exchange=binance" / "market=um")
    old, new = tmp_path / INDEX / ".a.parquet.1.1.tmp", tmp_path / INDEX / ".b.parquet.1.1.tmp"
    for path in (old, new):
        path.write_bytes(b"x")
    os.utime(old, (0, 0))

    read_index(tmp_path)

    names = {path.name for path in (tmp_path / INDEX).iterdir()}
    assert names == {"binance.spot.1m.parquet", ".b.parquet.1.1.tmp"}


def test_a_long_first_reading_says_so_and_is_saved_in_between(
    tmp_path, monkeypatch, caplog
) -> None:
    """Batches change nothing about the answer."""
    for month in range(1, 10):
        put(tmp_path, period=f"2024-0{month}", attempts=month)
    time.sleep(0.03)
    whole = told(read_index(tmp_path))
    shutil.rmtree(tmp_path / INDEX)
    monkeypatch.setattr(index, "BATCH", 4)

    assert told(read_index(tmp_path)) == whole
    assert "reading the ledgers of 9 files of binance/spot/1m, once" in caplog.text
    assert len(kept(tmp_path)) == 9


SLOW = """
import sys, pathlib
from crypto_data.lake import index
index.BATCH, index.SETTLE_NS = 10, 0
index.read_index(pathlib.Path(sys.argv[1]))
"""


@pytest.mark.slow
def test_a_killed_first_reading_goes_on(tmp_path) -> None:
    """What it had saved stays, and the next answer is right."""
    for number in range(600):
        put(tmp_path, Series("binance", Market.SPOT, f"C{number}", Interval.MINUTE_1))
    path = SHARD.path(tmp_path)
    with subprocess.Popen([sys.executable, "-c", SLOW, tmp_path]) as reading:
        deadline = time.monotonic() + 30
        while not path.exists() and reading.poll() is None and time.monotonic() < deadline:
            time.sleep(0.001)
        reading.send_signal(signal.SIGKILL)

    saved = len(kept(tmp_path))

    assert 10 <= saved < 600
    assert told(read_index(tmp_path)) == fresh(tmp_path)


WATCH = """
import sys, time, pathlib
from crypto_data.lake import index
index.SETTLE_NS = 20_000_000
root, end = pathlib.Path(sys.argv[1]), time.monotonic() + 3
while time.monotonic() < end:
    found = index.read_index(root)
    assert not found.faults, found.faults
    for shard in found.shards.values():
        firsts = [r["attempts"] for r in shard.to_pylist() if r["place"] == 0]
        assert len(firsts) == 12, firsts
"""


@pytest.mark.slow
def test_readers_and_a_writer_at_once(tmp_path) -> None:
    """Two processes keep the same index while a third commits: all answers are whole."""
    files = [(symbol, f"2024-{month:02}") for symbol in (BTC, ETH) for month in range(1, 7)]
    for series, period in files:
        put(tmp_path, series, period)
    watchers = [subprocess.Popen([sys.executable, "-c", WATCH, tmp_path]) for _ in range(2)]
    turn = 0
    while any(one.poll() is None for one in watchers):
        turn += 1
        put(tmp_path, *files[turn % 12], attempts=turn)

    assert [one.wait() for one in watchers] == [0, 0]
    assert turn > 12
    assert told(read_index(tmp_path)) == fresh(tmp_path)


OPERATIONS = st.lists(
    st.tuples(
        st.sampled_from(["commit", "commit", "delete", "cut", "drop", "look", "wait", "spoil"]),
        st.sampled_from([BTC, ETH]),
        st.sampled_from(["2024-01", "2024-02", "2024-03"]),
        st.integers(0, 3),
    ),
    max_size=12,
)


def operate(root, word, series, period, number) -> None:
    path = part_path(root, series, period)
    match word:
        case "commit":
            put(root, series, period, attempts=number)
        case "delete":
            path.unlink(missing_ok=True)
        case "cut" if path.exists():
            os.truncate(path, path.stat().st_size * number // 4)
        case "drop":
            shutil.rmtree(path.parent, ignore_errors=True)
        case "look":
            read_index(root)
        case "wait":
            time.sleep(0.025)
        case "spoil" if SHARD.path(root).exists():
            os.truncate(SHARD.path(root), SHARD.path(root).stat().st_size * number // 4)


@settings(max_examples=60, deadline=None)
@given(OPERATIONS)
def test_the_index_is_what_the_footers_say_after_anything(operations) -> None:
    """Commits, deletions, damage of files and of the index, looked at in between or not."""
    with (
        tempfile.TemporaryDirectory() as folder,
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setattr(index, "SETTLE_NS", 20_000_000)
        root = Path(folder)
        for operation in operations:
            operate(root, *operation)

        assert told(read_index(root)) == fresh(root)


def test_rows_are_sorted_by_symbol_not_by_arrival(tmp_path) -> None:
    """Series that come later are found in their place in the alphabet."""
    made(tmp_path)
    put(tmp_path, Series("binance", Market.SPOT, "AAA", Interval.MINUTE_1))

    shard = read_index(tmp_path).shards[SHARD]

    assert pc.unique(shard["symbol"].cast(pa.string())).to_pylist() == ["AAA", "BTCUSDT", "ETHUSDT"]
