"""Damage planted in a lake: each is found, named and healed, and nothing else is touched."""

import json
import logging
import multiprocessing
import os
import random
import secrets
import shutil
import signal
import struct
import subprocess
import sys
import threading
import time
from datetime import date, timedelta
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from crypto_data.coverage import DayFacts
from crypto_data.errors import LakeDamaged, LakeNotWritable
from crypto_data.intervals import DAY_MS, Interval
from crypto_data.lake import part
from crypto_data.lake.checkup import Checkup, Finding, Kind, check_lake
from crypto_data.lake.healing import Healed, heal_lake
from crypto_data.lake.layout import (
    FEEDS,
    SET_ASIDE,
    part_path,
    quarantine_path,
    scratch_folder,
    series_folder,
)
from crypto_data.lake.ledger import to_ledger
from crypto_data.lake.part import read_footer, read_rows, write_part
from crypto_data.lake.set_aside import SetAside, read_set_aside
from crypto_data.lake.store import Lake
from crypto_data.partitions import expected_opens, period_name
from crypto_data.schema import mark_source
from crypto_data.series import Market, Series
from crypto_data_tests.test_corrections import AT, MONDAY, day_rows, harvest, rows_of

SERIES = Series("binance", Market.SPOT, "BTCUSDT", Interval.HOUR_1)
OTHER = Series("binance", Market.SPOT, "ETHUSDT", Interval.HOUR_1)
WEEKLY = Series("binance", Market.CM, "BTCUSD_PERP", Interval.WEEK_1)
FEBRUARY = date(2018, 2, 10)
log = logging.getLogger(__name__)
LATER_MS = time.time_ns() // 1_000_000 + 3 * DAY_MS  # files of this test are old by then


@pytest.fixture
def lake(tmp_path):
    """Return a whole lake: several series, lengths of file, odd hours, corrections, quarantine."""
    lake = Lake(tmp_path)
    for series in (SERIES, OTHER, WEEKLY):
        opens = expected_opens(series.interval, MONDAY)
        lake.commit(series, "2024", harvest("rest", rows_of(opens), asked_ms=AT - 9))
    opens = expected_opens(SERIES.interval, FEBRUARY)
    odd = [*opens[:5], *(t + 1_694_789 for t in opens[5:])]
    lake.commit(SERIES, "2018", harvest("vision", rows_of(odd), days=(FEBRUARY,)))
    lake.commit(SERIES, "2024", harvest("vision", day_rows(changes={"close": {2: 2.0}})))
    lake.commit(SERIES, "2023", harvest("rest", None, days=(date(2023, 1, 5),)))
    return lake


def check(lake, *, verify=True, local_ms=LATER_MS) -> Checkup:
    return check_lake(lake.root, verify=verify, local_ms=local_ms)


def heal(lake, *, local_ms=LATER_MS) -> list[Healed]:
    findings = check(lake, local_ms=local_ms).findings
    return heal_lake(lake.root, findings, at_ms=AT, local_ms=local_ms)


def path_of(lake, series=SERIES, period="2024") -> Path:
    return part_path(lake.root, series, period)


def files_below(folder) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.mark.parametrize("verify", [False, True])
def test_a_whole_lake_has_no_findings(lake, verify) -> None:
    """Files of every kind, odd hours, bars of a week, no rows at all: all is as committed."""
    assert check(lake, verify=verify) == Checkup((), files=5, rows=24 + 24 + 1 + 24)


def test_a_file_that_is_committed_meanwhile_is_no_damage(lake) -> None:
    """Its footer and its rows are read one after the other, and may be those of two files."""
    path = path_of(lake)
    rows, days = read_rows(path), to_ledger(read_footer(path).runs)
    committed = threading.Event()

    def commit() -> None:
        while not committed.is_set():
            write_part(path, rows.slice(0, 0), {})
            write_part(path, rows, days)

    writer = threading.Thread(target=commit)
    writer.start()
    findings = [check(lake, local_ms=0).findings for _ in range(100)]
    committed.set()
    writer.join()

    assert set(findings) == {()}


def test_no_lake_is_a_whole_one(tmp_path) -> None:
    """Before the first fetch there is nothing wrong."""
    assert check(Lake(tmp_path / "none")) == Checkup((), 0, 0)


def flip(path, place, bits=0x10) -> None:
    content = bytearray(path.read_bytes())
    content[place] ^= bits
    path.write_bytes(content)


def truncated(path) -> None:
    path.write_bytes(path.read_bytes()[:-500])


def zero_bytes(path) -> None:
    path.write_bytes(b"")


def flipped_page(path) -> None:
    with pq.ParquetFile(path) as file:
        column = file.metadata.row_group(0).column(4)
        flip(path, column.data_page_offset + column.total_compressed_size - 3)


def flipped_ledger(path) -> None:
    flip(path, path.read_bytes().index(b'"rows":24') + 8, 0x01)


def of_another_series(path) -> None:
    shutil.copy(path.parent.with_name("symbol=ETHUSDT") / "2024.parquet", path)


def of_another_year(path) -> None:
    shutil.copy(path.with_name("2018.parquet"), path)


def foreign_parquet(path) -> None:
    pq.write_table(day_rows(), path)


def no_ledger(path) -> None:
    rows = read_rows(path)
    pq.write_table(rows, path)


def with_ledger(path, rows, facts, day=MONDAY) -> None:
    write_part(path, mark_source(rows, "rest"), {day: facts})


WHOLE = DayFacts(rows=24, sources=(("rest", 24),))


def a_row_less(path) -> None:
    with_ledger(path, day_rows().slice(1), WHOLE)


def other_source(path) -> None:
    write_part(path, mark_source(day_rows(), "vision"), {MONDAY: WHOLE})


def source_counts(path) -> None:
    with_ledger(path, day_rows(), DayFacts(rows=24, sources=(("rest", 23),)))


def unsorted(path) -> None:
    with_ledger(path, day_rows().take([1, 0, *range(2, 24)]), WHOLE)


def doubled(path) -> None:
    with_ledger(path, day_rows().take([0, *range(23)]), WHOLE)


def outside_the_year(path) -> None:
    day = date(2023, 3, 4)
    with_ledger(path, day_rows(day), WHOLE, day)


def day_unknown(path) -> None:
    # As many rows as the ledger says, but a day later.
    with_ledger(path, day_rows(MONDAY + timedelta(days=1)), WHOLE)


def beside_the_grid(path) -> None:
    opens = expected_opens(SERIES.interval, MONDAY)
    with_ledger(path, rows_of([opens[0] + 1, *opens[1:]]), WHOLE)


def wrong_extent(path) -> None:
    with pq.ParquetFile(path) as file:
        least = file.metadata.row_group(0).column(4).statistics.min
    flip_double(path, least)


def flip_double(path, value) -> None:
    """Make the footer state another least value of `close`: an engine would skip the file."""
    content = path.read_bytes()
    packed = struct.pack("<d", value)
    start = content.rindex(b"PAR1") - int.from_bytes(content[-8:-4], "little") - 4
    footer = content[start:].replace(packed, struct.pack("<d", value + 0.5))
    path.write_bytes(content[:start] + footer)


PLANTED = [
    (truncated, Kind.UNREADABLE, False),
    (zero_bytes, Kind.ZERO_BYTE, False),
    (flipped_page, Kind.UNREADABLE, True),
    (flipped_ledger, Kind.UNREADABLE, False),
    (of_another_series, Kind.FOREIGN, False),
    (of_another_year, Kind.FOREIGN, False),
    (foreign_parquet, Kind.FOREIGN, False),
    (no_ledger, Kind.FOREIGN, False),
    (a_row_less, Kind.DISAGREES, False),
    (source_counts, Kind.DISAGREES, False),
    (other_source, Kind.DISAGREES, True),
    (unsorted, Kind.DISAGREES, True),
    (doubled, Kind.DISAGREES, True),
    (outside_the_year, Kind.DISAGREES, False),
    (day_unknown, Kind.DISAGREES, True),
    (beside_the_grid, Kind.DISAGREES, True),
    (wrong_extent, Kind.DISAGREES, True),
]


@pytest.mark.parametrize(
    ("plant", "kind", "only_verified"), [pytest.param(*one, id=one[0].__name__) for one in PLANTED]
)
def test_planted_damage_is_found_and_set_aside(lake, plant, kind, only_verified) -> None:
    """The file is named; healing moves it with a record, and touches no other file."""
    path = path_of(lake)
    original = str(path.relative_to(lake.root))
    plant(path)
    damaged = path.read_bytes()
    others = {name: held for name, held in files_below(lake.root).items() if name != original}

    quick, thorough = check(lake, verify=False), check(lake)
    healed = heal(lake)

    assert [(one.kind, one.path) for one in thorough.findings] == [(kind, original)]
    assert quick.findings == (() if only_verified else thorough.findings)
    assert [one.done for one in healed] == [True]
    (record,) = read_set_aside(lake.root)
    assert (record.original, record.series, record.period) == (original, SERIES, "2024")
    assert (lake.root / record.kept).read_bytes() == damaged
    assert not path.exists()
    now = files_below(lake.root)
    assert {name: now[name] for name in others} == others
    assert check(lake).findings == ()


FOREIGN = {
    "notes.txt": b"mine",
    "exchange=binance/market=spot/interval=1h/symbol=BTCUSDT/notes.txt": b"mine",
    "exchange=binance/market=spot/interval=1h/symbol=BTCUSDT/other.parquet": b"mine",
    "exchange=binance/market=spot/interval=1h/symbol=BTCUSDT/2024-03.parquet": b"a month",
    "exchange=binance/market=spot/interval=1h/symbol=BTCUSDT/2024.parquet.bak": b"mine",
    "exchange=binance/market=spot/interval=1h/symbol=BTCUSDT/more/2024.parquet": b"deeper",
    "exchange=binance/market=spot/interval=1h/symbol=btcusdt/2024.parquet": b"lower case",
    "exchange=binance/market=spot/interval=1M/symbol=BTCUSDT/2024.parquet": b"not 1mo",
    "exchange=binance/interval=1h/market=spot/symbol=BTCUSDT/2024.parquet": b"wrong order",
    "exchange=binance/market=spot/2024.parquet": b"wrong depth",
}


@pytest.mark.parametrize("name", FOREIGN)
def test_foreign_files_are_moved_and_never_deleted(lake, name) -> None:
    """Whatever is no file of the lake is named, and kept outside of the klines."""
    path = lake.root / "klines" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(FOREIGN[name])
    before = len(files_below(lake.root / "klines"))

    (finding,) = check(lake, verify=False).findings
    (healed,) = heal(lake)

    assert (finding.kind, finding.series) == (Kind.FOREIGN, None)
    assert healed.done
    kept = files_below(lake.root / SET_ASIDE / "foreign")
    assert FOREIGN[name] in kept.values()
    assert len(files_below(lake.root / "klines")) == before - 1
    assert (check(lake).findings, read_set_aside(lake.root)) == ((), [])


def test_a_foreign_file_that_is_being_copied_is_left_alone(lake) -> None:
    """One that changed a moment ago is named, and moved by a later repair."""
    path = series_folder(lake.root, SERIES) / ".2025.parquet.Xa8fQ2"
    path.write_bytes(b"half")

    (healed,) = heal(lake, local_ms=time.time_ns() // 1_000_000)

    assert (healed.done, path.read_bytes()) == (False, b"half")
    assert "repair again later" in str(healed)


def test_what_cannot_be_moved_stays_and_is_said(lake) -> None:
    """No room for the folder it would go to: one error that names it, and the file as it was."""
    truncated(path_of(lake))
    before = files_below(lake.root / "klines")
    (lake.root / SET_ASIDE).write_bytes(b"in the way")

    (healed,) = heal(lake)

    assert not healed.done
    assert "cannot be written" in healed.what
    assert files_below(lake.root / "klines") == before
    with pytest.raises(LakeNotWritable, match=SET_ASIDE):
        lake.set_aside_damaged(SERIES, "2024", AT)


def test_a_folder_in_the_place_of_a_file_is_moved(lake) -> None:
    """A commit could never replace it."""
    path = path_of(lake, OTHER, "2025")
    path.mkdir()

    (finding,) = check(lake, verify=False).findings
    (healed,) = heal(lake)

    assert (finding.path, healed.done) == (str(path.relative_to(lake.root)), True)
    assert not path.exists()


def test_empty_folders_are_fine(lake) -> None:
    """A series whose files were moved away leaves one."""
    (lake.root / "klines" / "exchange=okx").mkdir()
    (series_folder(lake.root, SERIES) / "empty").mkdir()

    assert check(lake).findings == ()


def test_strays_are_removed_once_their_writer_is_gone(lake) -> None:
    """Half a file is removed under the lock of its file; one of this minute is not looked at."""
    scratch = scratch_folder(path_of(lake)) / ".2024.parquet.4711.4711.tmp"
    aside = quarantine_path(lake.root, SERIES, "2024").with_name(".2024.parquet.1.1.tmp")
    top = lake.root / "._feeds.json.4711.4711.tmp"
    for path in (scratch, aside, top):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"half")

    assert check(lake, local_ms=time.time_ns() // 1_000_000).findings == ()
    assert {one.kind for one in check(lake).findings} == {Kind.STRAY}
    assert [one.done for one in heal(lake)] == [True, True, True]
    assert not any(path.exists() for path in (scratch, aside, top))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_permission_is_no_damage(lake) -> None:
    """It is named and left; permitting it is a person's work."""
    path_of(lake).chmod(0)

    (finding,) = check(lake).findings
    (healed,) = heal(lake)

    assert (finding.kind, healed.done) == (Kind.UNAVAILABLE, False)
    assert path_of(lake).exists()
    with pytest.raises(LakeDamaged, match="permit reading it"):
        lake.set_aside_damaged(SERIES, "2024", AT)


def test_a_link_to_nowhere_is_unavailable(lake) -> None:
    """A disk that is not mounted is no damage of the lake."""
    path_of(lake, SERIES, "2022").symlink_to("/nowhere/2022.parquet")

    (finding,) = check(lake).findings
    (healed,) = heal(lake)

    assert (finding.kind, healed.done) == (Kind.UNAVAILABLE, False)
    assert path_of(lake, SERIES, "2022").is_symlink()


def test_a_loop_of_links_is_what_the_system_refuses(lake) -> None:
    """A refusal is told from damage by the system's own error, also where root may read all."""
    path = path_of(lake, SERIES, "2022")
    path.symlink_to(path)

    assert [one.kind for one in check(lake).findings] == [Kind.UNAVAILABLE]
    with pytest.raises(LakeDamaged, match="permit reading it"):
        lake.set_aside_damaged(SERIES, "2022", AT)
    assert path.is_symlink()


def test_other_files_of_ours_are_looked_at_too(lake) -> None:
    """A damaged quarantine and damaged wishes are found and set aside."""
    aside = quarantine_path(lake.root, SERIES, "2024")
    aside.parent.mkdir(parents=True)
    aside.write_bytes(b"PAR1 torn")
    (lake.root / FEEDS).write_bytes(b"{")

    findings = check(lake).findings
    healed = heal(lake)

    assert [one.kind for one in findings] == [Kind.UNREADABLE] * 2
    assert [one.done for one in healed] == [True, True]
    assert not aside.exists()
    assert check(lake).findings == ()


def test_only_the_chosen_files_are_looked_at(lake) -> None:
    """A choice leaves other series alone, and whatever belongs to none."""
    for series in (SERIES, OTHER):
        truncated(path_of(lake, series))
    (lake.root / "klines" / "notes.txt").write_bytes(b"mine")

    checkup = check_lake(
        lake.root, verify=True, local_ms=LATER_MS, wanted=lambda series, _: series == OTHER
    )

    assert [one.series for one in checkup.findings] == [OTHER]
    assert checkup.files == 1


def test_a_file_that_is_whole_by_now_is_not_touched(lake) -> None:
    """Between looking and healing another process may have mended it: it is looked at again."""
    found = Finding(Kind.UNREADABLE, str(path_of(lake).relative_to(lake.root)), SERIES, "2024", "")
    before = files_below(lake.root)

    (healed,) = heal_lake(lake.root, [found], at_ms=AT, local_ms=LATER_MS)

    assert (healed.done, healed.kept) == (True, "")
    after = files_below(lake.root)
    assert {name: after[name] for name in before} == before
    assert read_set_aside(lake.root) == []


@pytest.mark.parametrize("plant", [truncated, zero_bytes, flipped_page, flipped_ledger])
def test_a_commit_that_meets_damage_can_set_it_aside(lake, plant) -> None:
    """The file is moved with a record, and the next commit begins it anew."""
    plant(path_of(lake))
    with pytest.raises(LakeDamaged, match="run: crypto-data repair"):
        lake.commit(SERIES, "2024", harvest("rest", day_rows()))

    moved = lake.set_aside_damaged(SERIES, "2024", AT)

    assert isinstance(moved, SetAside)
    assert read_set_aside(lake.root) == [moved]
    record = json.loads((lake.root / f"{moved.kept}.json").read_bytes())
    assert (record["series"], record["at"]) == (str(SERIES), "2024-04-01 00:00:00 UTC")
    lake.commit(SERIES, "2024", harvest("rest", day_rows()))
    assert check(lake).findings == ()
    assert lake.set_aside_damaged(SERIES, "2024", AT) is None


def test_a_file_of_another_series_never_enters_a_commit(lake) -> None:
    """Its klines would be taken for this series', and no one could tell them apart any more."""
    of_another_series(path_of(lake))

    with pytest.raises(LakeDamaged, match="it holds binance/spot/ETHUSDT/1h 2024"):
        lake.commit(SERIES, "2024", harvest("rest", day_rows()))
    with pytest.raises(LakeDamaged, match="it holds"):
        lake.ledger(SERIES, [MONDAY])


def test_a_damaged_quarantine_stops_no_commit(lake, caplog) -> None:
    """It is set aside, and the bad rows are written into a new one."""
    aside = quarantine_path(lake.root, SERIES, "2024")
    aside.parent.mkdir(parents=True)
    aside.write_bytes(b"PAR1 torn")
    bad = day_rows().slice(0, 1).append_column("rule", [["high_is_highest"]])
    good = harvest("rest", day_rows())

    lake.commit(SERIES, "2024", good.__class__(**{**fields(good), "quarantined": (bad,)}))

    assert pq.read_table(aside, partitioning=None).num_rows == 1
    assert "moved to _set_aside/damaged/_quarantine" in caplog.text
    assert [one.original for one in read_set_aside(lake.root)] == [
        str(aside.relative_to(lake.root))
    ]


def fields(harvest) -> dict:
    return {name: getattr(harvest, name) for name in harvest.__slots__}


def repair_in_process(root) -> None:
    """Heal a lake; run in a spawned process."""
    findings = check_lake(root, verify=True, local_ms=LATER_MS).findings
    healed = heal_lake(root, findings, at_ms=AT, local_ms=LATER_MS)
    sys.exit(0 if all(one.done for one in healed) else 1)


def months_lake(root, count) -> Lake:
    lake = Lake(root)
    series = Series("binance", Market.SPOT, "BTCUSDT", Interval.MINUTE_5)
    for number in range(count):
        day = date(2020 + number // 12, 1 + number % 12, 3)
        rows = rows_of(expected_opens(series.interval, day))
        lake.commit(series, period_name(series.interval, day), harvest("rest", rows, days=(day,)))
    return lake


@pytest.mark.slow
def test_processes_that_repair_at_once_move_each_file_once(tmp_path) -> None:
    """Three of them end well; every damaged file has one record, none is lost."""
    lake = months_lake(tmp_path, 12)
    klines = sorted((tmp_path / "klines").rglob("*.parquet"))
    for path in klines[::2]:
        truncated(path)
    (tmp_path / "klines" / "notes.txt").write_bytes(b"mine")
    spawn = multiprocessing.get_context("spawn")
    works = [spawn.Process(target=repair_in_process, args=(tmp_path,)) for _ in range(3)]
    for work in works:
        work.start()
    for work in works:
        work.join(60)

    assert [work.exitcode for work in works] == [0, 0, 0]
    assert len(read_set_aside(tmp_path)) == 6
    assert b"mine" in files_below(tmp_path / SET_ASIDE / "foreign").values()
    assert check(lake).findings == ()


HEALER = """
import sys
import threading
from pathlib import Path
from crypto_data_tests.test_checkup import AT, LATER_MS
from crypto_data.lake.checkup import check_lake
from crypto_data.lake.healing import heal_lake
root = Path(sys.argv[1])
findings = check_lake(root, verify=True, local_ms=LATER_MS).findings
print("found", flush=True)
for finding in findings:
    heal_lake(root, [finding], at_ms=AT, local_ms=LATER_MS)
    print("healed", flush=True)
"""


@pytest.mark.slow
def test_healing_that_is_killed_loses_nothing(tmp_path) -> None:
    """At any moment each damaged file is in its place or set aside; a second pass ends the work."""
    seed = secrets.randbits(32)
    log.warning("seed %d", seed)  # shown when the test fails
    chance = random.Random(seed)  # noqa: S311 - no secret
    lake = months_lake(tmp_path, 12)
    damaged = sorted((tmp_path / "klines").rglob("*.parquet"))
    for path in damaged:
        truncated(path)
    contents = sorted(path.read_bytes() for path in damaged)
    for _ in range(3):
        with subprocess.Popen(
            [sys.executable, "-c", HEALER, tmp_path], stdout=subprocess.PIPE, text=True
        ) as healer:
            healer.stdout.readline()
            time.sleep(chance.random() * 0.02)
            os.kill(healer.pid, signal.SIGKILL)
        held = files_below(tmp_path / "klines") | files_below(tmp_path / SET_ASIDE)
        assert sorted(text for name, text in held.items() if ".json" not in name) == contents

    heal(lake)

    assert len(read_set_aside(tmp_path)) == 12
    assert check(lake).findings == ()


def test_no_flipped_byte_reads_as_something_else(lake) -> None:
    """Wherever one bit of a file flips: it is found, or the file still says the very same."""
    seed = secrets.randbits(32)
    log.warning("seed %d", seed)  # shown when the test fails
    chance = random.Random(seed)  # noqa: S311 - no secret
    path = path_of(lake)
    whole, rows, footer = path.read_bytes(), read_rows(path), read_footer(path)
    found = 0
    for _ in range(400):
        place, bit = chance.randrange(len(whole)), 1 << chance.randrange(8)
        path.write_bytes(whole[:place] + bytes([whole[place] ^ bit]) + whole[place + 1 :])
        findings = check(lake).findings
        found += bool(findings)
        if not findings:
            same = read_rows(path).equals(rows) and read_footer(path) == footer
            assert same, (seed, place, bit)

    assert found > 200


def test_a_column_of_another_name_is_not_read_as_unknown_values(lake) -> None:
    """A flipped letter in the footer would otherwise make every volume null."""
    path = path_of(lake)
    path.write_bytes(path.read_bytes().replace(b"taker_buy_volume", b"taker_buy_vomume"))

    with pytest.raises(LakeDamaged, match="columns"):
        read_rows(path)
    with pytest.raises(LakeDamaged, match="columns"):
        part.read_footer(path)


def test_a_footer_that_would_end_the_process_is_damage(lake) -> None:
    """Arrow calls `terminate` when it reads the statistics of a column of two types."""
    path = path_of(lake)
    content = path.read_bytes()
    start = content.rindex(b"PAR1") - int.from_bytes(content[-8:-4], "little") - 4
    # Column metadata: a field of type i32, its value INT64, then the list of two encodings.
    kind = content.index(b"\x15\x04\x19", content.index(b"open_time", start) + 200)
    path.write_bytes(content[: kind + 1] + b"\x44" + content[kind + 2 :])

    with pytest.raises(LakeDamaged, match="two types"):
        read_footer(path)
    assert [one.kind for one in check(lake).findings] == [Kind.UNREADABLE]
