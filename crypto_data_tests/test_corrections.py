"""Commits that change values: told in the file, and the old file kept until it is swept."""

import errno
import os
import subprocess
import sys
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from crypto_data.errors import LakeNotWritable
from crypto_data.harvest import AskedDay, Harvest, Offer
from crypto_data.intervals import DAY_MS, Interval
from crypto_data.lake.corrections import Correction, decode_corrections, encode_corrections
from crypto_data.lake.layout import SUPERSEDED, part_path, stamp, stamped_ms, superseded_path
from crypto_data.lake.part import read_footer, read_rows
from crypto_data.lake.store import Lake
from crypto_data.lake.superseded import find_superseded, keep_superseded, sweep_superseded
from crypto_data.partitions import day_start_ms, expected_opens, period_name
from crypto_data.schema import TIME, fetched_table
from crypto_data.series import Market, Series

SERIES = Series("binance", Market.SPOT, "BTCUSDT", Interval.HOUR_1)
MONDAY, TUESDAY = date(2024, 3, 4), date(2024, 3, 5)
RANKING = ("vision", "rest")
AT = day_start_ms(date(2024, 4, 1))


def rows_of(opens, changes=None, *, late_us=0) -> pa.Table:
    """Return rows of price 1 and volume 5 but for `changes`: column -> {place: value}."""
    columns = {name: np.ones(len(opens)) for name in ("open", "high", "low", "close")}
    columns |= {"volume": np.full(len(opens), 5.0), "trade_count": np.full(len(opens), 9)}
    for name, values in (changes or {}).items():
        for place, value in values.items():
            columns[name][place] = value
    opens_us = pa.array([t * 1000 for t in opens], pa.int64())
    closes_us = pa.array([(t + 3_599_999) * 1000 + late_us for t in opens], pa.int64())
    times = {"open_time": opens_us.cast(TIME), "close_time": closes_us.cast(TIME)}
    return fetched_table(times | {name: pa.array(held) for name, held in columns.items()})


def harvest(source, rows, *, days=(MONDAY,), asked_ms=AT, **asked) -> Harvest:
    offers = (Offer(source, RANKING.index(source), rows),) if rows is not None else ()
    return Harvest(
        RANKING, offers, {day: AskedDay(**asked) for day in days}, (), None, asked_ms=asked_ms
    )


def day_rows(day=MONDAY, changes=None, **more) -> pa.Table:
    return rows_of(expected_opens(SERIES.interval, day), changes, **more)


@pytest.fixture
def lake(tmp_path):
    """Return a lake that holds Monday whole from REST."""
    lake = Lake(tmp_path)
    lake.commit(SERIES, "2024", harvest("rest", day_rows(), asked_ms=AT - 1000))
    return lake


def path_of(lake) -> Path:
    return part_path(lake.root, SERIES, "2024")


def test_other_values_of_the_archive_are_a_correction(lake) -> None:
    """What changed is told with the commit and in the file; the old file is kept as it was."""
    before = path_of(lake).read_bytes()
    changes = {"close": {3: 1.5, 4: 1.6}, "high": {3: 1.5}, "trade_count": {7: 10}}

    commit = lake.commit(
        SERIES, "2024", harvest("vision", day_rows(changes=changes), checksum="new")
    )

    kept = superseded_path(lake.root, SERIES, "2024", AT)
    assert commit.corrections == (
        Correction(
            MONDAY, AT, ("high", "close", "trade_count"), 3, 0, "rest", "vision", "", "new",
            str(kept.relative_to(lake.root)),
        ),
    )  # fmt: skip
    assert read_footer(path_of(lake)).corrections == commit.corrections
    assert kept.read_bytes() == before


def holes(*numbers) -> pa.Table:
    opens = expected_opens(SERIES.interval, MONDAY)
    return rows_of([opens[number] for number in numbers])


@pytest.mark.parametrize(
    ("stored", "offered"),
    [
        pytest.param(("rest", day_rows()), ("vision", day_rows()), id="other-source"),
        pytest.param(("rest", day_rows()), ("vision", day_rows(late_us=999)), id="finer-close"),
        pytest.param(("rest", holes(1, 2, 3)), ("vision", holes(0, 4, 5)), id="holes-filled"),
        pytest.param(("rest", holes(1, 2, 3)), ("vision", day_rows()), id="both"),
        pytest.param(("rest", holes()), ("vision", day_rows()), id="was-empty"),
        pytest.param(("vision", day_rows()), ("vision", holes(1, 2)), id="withdrawn"),
        pytest.param(
            ("vision", day_rows()), ("rest", day_rows(changes={"close": {1: 9.0}})), id="worse"
        ),
    ],
)
def test_what_is_no_correction(tmp_path, stored, offered) -> None:
    """Rows where there were none, and the same values from elsewhere, change no history."""
    lake = Lake(tmp_path)
    lake.commit(SERIES, "2024", harvest(*stored, asked_ms=1))

    commit = lake.commit(SERIES, "2024", harvest(*offered))

    assert (commit.corrections, read_footer(path_of(lake)).corrections) == ((), ())
    assert not (tmp_path / SUPERSEDED).exists()


def test_klines_that_the_archive_withdrew_stay(tmp_path) -> None:
    """A re-published file that is shorter takes nothing away, and its changes are told."""
    lake = Lake(tmp_path)
    lake.commit(SERIES, "2024", harvest("vision", day_rows(), asked_ms=1, checksum="old"))
    opens = expected_opens(SERIES.interval, MONDAY)[:5]

    commit = lake.commit(
        SERIES, "2024", harvest("vision", rows_of(opens, {"close": {0: 2.0}}), checksum="new")
    )

    assert commit.ledger[MONDAY].rows == 24
    (told,) = commit.corrections
    assert (told.rows_changed, told.rows_added, told.columns) == (1, 0, ("close",))
    assert (told.old_checksum, told.new_checksum) == ("old", "new")


def test_a_quantity_that_becomes_known_is_a_correction(lake) -> None:
    """An unknown value is not equal to a known one, in either direction."""
    rows = day_rows()
    place = rows.schema.get_field_index("quote_volume")
    known = rows.set_column(place, "quote_volume", pa.array(np.zeros(24)))

    (told,) = lake.commit(SERIES, "2024", harvest("vision", known)).corrections

    assert (told.columns, told.rows_changed) == (("quote_volume",), 24)


def test_doubtful_rows_that_are_replaced_by_others_are_a_correction(tmp_path) -> None:
    """The rows were there for anyone to read, whatever we thought of them."""
    lake = Lake(tmp_path)
    lake.commit(SERIES, "2024", harvest("vision", day_rows(), asked_ms=1, doubtful=True))

    commit = lake.commit(SERIES, "2024", harvest("rest", day_rows(changes={"close": {1: 2.0}})))

    assert [(one.old_source, one.new_source) for one in commit.corrections] == [("vision", "rest")]


def test_rows_added_beside_changed_ones_are_counted_apart(tmp_path) -> None:
    """One correction tells both."""
    lake = Lake(tmp_path)
    lake.commit(SERIES, "2024", harvest("rest", holes(*range(20)), asked_ms=1))

    (told,) = lake.commit(
        SERIES, "2024", harvest("vision", day_rows(changes={"low": {2: 0.5, 23: 0.5}}))
    ).corrections

    assert (told.rows_changed, told.rows_added, told.columns) == (1, 4, ("low",))


def test_corrections_outlive_later_commits(lake) -> None:
    """A file remembers all of them, oldest first, and so does one that only gained days."""
    for number in range(1, 41):
        changes = {"close": {5: 1.0 + number}}
        lake.commit(
            SERIES, "2024", harvest("vision", day_rows(changes=changes), asked_ms=AT + number)
        )
    lake.commit(SERIES, "2024", harvest("rest", day_rows(TUESDAY), days=(TUESDAY,)))

    told = read_footer(path_of(lake)).corrections
    assert [one.at_ms for one in told] == [AT + number for number in range(1, 41)]
    assert len({one.superseded for one in told}) == 40
    assert all((lake.root / one.superseded).exists() for one in told)


def test_days_of_one_commit_share_one_kept_file(tmp_path) -> None:
    """Each corrected day has its own entry; the file before them is kept once."""
    lake = Lake(tmp_path)
    days = [MONDAY + timedelta(days=n) for n in range(3)]
    opens = [t for day in days for t in expected_opens(SERIES.interval, day)]
    lake.commit(SERIES, "2024", harvest("rest", rows_of(opens), days=days, asked_ms=1))

    changed = rows_of(opens, {"close": {1: 2.0, 50: 2.0}})
    commit = lake.commit(SERIES, "2024", harvest("vision", changed, days=days))

    assert [one.day for one in commit.corrections] == [days[0], days[2]]
    assert len(list(find_superseded(tmp_path))) == 1


@pytest.mark.parametrize("interval", [Interval.SECOND_1, Interval.MINUTE_1, Interval.WEEK_1])
def test_files_of_every_length_are_corrected(tmp_path, interval) -> None:
    """A file of a day, of a month, and one of a year whose bars are longer than a day."""
    series = Series("binance", Market.UM, "BTCUSDT", interval)
    lake, period = Lake(tmp_path), period_name(interval, MONDAY)
    opens = expected_opens(interval, MONDAY)
    lake.commit(series, period, harvest("rest", rows_of(opens), asked_ms=1))

    commit = lake.commit(series, period, harvest("vision", rows_of(opens, {"volume": {0: 6.0}})))

    (told,) = commit.corrections
    kept = lake.root / told.superseded
    assert read_rows(kept)["volume"][0].as_py() == 5.0
    assert read_rows(part_path(tmp_path, series, period))["volume"][0].as_py() == 6.0


def test_a_new_checksum_is_recorded_though_no_row_changed(tmp_path) -> None:
    """Else a re-published file of the same rows would be fetched again for ever."""
    lake = Lake(tmp_path)
    old = harvest("vision", day_rows(), asked_ms=1, checksum="a", etag="e1", address="x")
    lake.commit(SERIES, "2024", old)

    new = harvest("vision", day_rows(), checksum="b", etag="e2", address="y")
    commit = lake.commit(SERIES, "2024", new)

    facts = lake.ledger(SERIES, [MONDAY])[MONDAY]
    assert (facts.checksum, facts.etag, facts.address) == ("b", "e2", "y")
    assert (facts.ingested_ms, facts.asked_ms, commit.corrections) == (1, AT, ())


def test_a_later_answer_of_rest_keeps_the_archives_checksum(tmp_path) -> None:
    """Rows of the archive are still of its file when a hole beside them is filled."""
    lake = Lake(tmp_path)
    lake.commit(SERIES, "2024", harvest("vision", holes(1, 2), checksum="a", etag="e"))

    facts = lake.commit(SERIES, "2024", harvest("rest", holes(3))).ledger[MONDAY]

    assert (facts.checksum, facts.etag, facts.sources) == ("a", "e", (("vision", 2), ("rest", 1)))


def test_corrections_survive_their_text() -> None:
    """What is written is read; nothing is an empty text."""
    one = Correction(MONDAY, 1, ("close",), 2, 3, "rest", "vision", "", "x", "_superseded/币")

    assert decode_corrections(encode_corrections([one, one])) == (one, one)
    assert decode_corrections(b"") == ()


KILLED = """
import os, sys
from pathlib import Path
from crypto_data.lake import store
from crypto_data_tests.test_corrections import SERIES, day_rows, harvest
def die(*arguments):
    os._exit(9)
store.write_part = die
store.Lake(Path(sys.argv[1])).commit(
    SERIES, "2024", harvest("vision", day_rows(changes={"close": {1: 2.0}})))
"""


def test_a_kill_after_the_old_file_was_kept_costs_nothing(lake) -> None:
    """The lake is as it was, one name more lies beside; the next commit does all of it."""
    before = path_of(lake).read_bytes()

    done = subprocess.run([sys.executable, "-c", KILLED, lake.root], check=False)

    assert done.returncode == 9
    assert path_of(lake).read_bytes() == before
    assert len(list(find_superseded(lake.root))) == 1
    commit = lake.commit(SERIES, "2024", harvest("vision", day_rows(changes={"close": {1: 2.0}})))
    assert (lake.root / commit.corrections[0].superseded).read_bytes() == before


def test_the_old_file_is_kept_where_files_have_one_name_only(lake, monkeypatch) -> None:
    """On such a file system it is copied."""

    def refuse(*_arguments: object) -> None:
        raise OSError(errno.EPERM, "no second names here")

    monkeypatch.setattr(os, "link", refuse)
    before = path_of(lake).read_bytes()

    (told,) = lake.commit(
        SERIES, "2024", harvest("vision", day_rows(changes={"close": {1: 2.0}}))
    ).corrections

    assert (lake.root / told.superseded).read_bytes() == before


def test_what_cannot_be_kept_is_not_replaced(lake) -> None:
    """Without a place for the old file the commit fails, and the lake is as it was."""
    (lake.root / SUPERSEDED).write_bytes(b"")
    before = path_of(lake).read_bytes()

    with pytest.raises(LakeNotWritable, match="_superseded"):
        lake.commit(SERIES, "2024", harvest("vision", day_rows(changes={"close": {1: 2.0}})))

    assert path_of(lake).read_bytes() == before


def test_a_second_version_at_the_same_instant_has_a_name_of_its_own(lake) -> None:
    """A clock that stands still loses no version; the same file again needs no second name."""
    first = keep_superseded(lake.root, SERIES, "2024", AT)
    again = keep_superseded(lake.root, SERIES, "2024", AT)
    lake.commit(SERIES, "2024", harvest("rest", day_rows(TUESDAY), days=(TUESDAY,)))
    second = keep_superseded(lake.root, SERIES, "2024", AT)

    assert first == again != second
    assert (lake.root / first).read_bytes() != (lake.root / second).read_bytes()


def test_a_stamp_is_read_back() -> None:
    """To the millisecond, and it sorts by time."""
    moments = [0, 1, AT, AT + 1, AT + 999, AT + DAY_MS]

    assert [stamped_ms(stamp(one)) for one in moments] == moments
    assert sorted(map(stamp, moments)) == list(map(stamp, moments))


def test_the_sweep_takes_the_old_ones_in_bounded_steps(lake) -> None:
    """It deletes what was replaced before an instant, so many at once, and nothing else."""
    path = path_of(lake)
    for number in range(5):
        keep_superseded(lake.root, SERIES, "2024", AT + number)
    notes = superseded_path(lake.root, SERIES, "2024", AT).with_name("notes.txt")
    notes.write_bytes(b"mine")

    swept = [sweep_superseded(lake.root, AT + 3, most=2) for _ in range(3)]

    assert swept == [2, 1, 0]
    assert sorted(at_ms for _, at_ms in find_superseded(lake.root)) == [AT + 3, AT + 4]
    assert path.exists()
    assert notes.exists()


def test_a_sweep_where_nothing_was_ever_kept_is_no_error(tmp_path) -> None:
    """A lake without corrections has no such folder."""
    assert sweep_superseded(tmp_path, AT) == 0
