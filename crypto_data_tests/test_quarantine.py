"""Rows that broke a rule are kept once, and never at the lake's expense."""

from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from crypto_data.errors import LakeDamaged
from crypto_data.lake import quarantine
from crypto_data.lake.quarantine import QUARANTINED, keep_aside

OPEN = datetime(2024, 3, 4, tzinfo=UTC)


def bad(*minutes, rule="high_is_highest", close=1.0) -> pa.Table:
    rows = [
        {"open_time": OPEN + timedelta(minutes=m), "close": close, "rule": rule} for m in minutes
    ]
    return pa.Table.from_pylist(rows, schema=QUARANTINED)


def kept(path) -> list:
    rows = pq.read_table(path, partitioning=None).to_pylist()
    return [(row["open_time"].minute, row["rule"], row["close"]) for row in rows]


def test_rows_are_added_once(tmp_path) -> None:
    """The same bad row of a second pass is not written again; another is."""
    path = tmp_path / "q" / "2024.parquet"

    first = keep_aside(path, [bad(1), bad(2, 1)])
    again = keep_aside(path, [bad(2)])
    other = keep_aside(path, [bad(2, close=9.0)])

    assert (first > 0, again, other > 0) == (True, 0, True)
    assert kept(path) == [
        (1, "high_is_highest", 1.0),
        (2, "high_is_highest", 1.0),
        (2, "high_is_highest", 9.0),
    ]


def test_nothing_bad_makes_no_file(tmp_path) -> None:
    """A clean harvest leaves no folder and no empty file."""
    assert keep_aside(tmp_path / "q" / "2024.parquet", [bad()]) == 0
    assert list(tmp_path.iterdir()) == []


def test_a_lying_server_does_not_fill_the_disk(tmp_path, monkeypatch) -> None:
    """Of too many rows the newest stay."""
    monkeypatch.setattr(quarantine, "KEPT_ROWS", 3)
    path = tmp_path / "2024.parquet"

    keep_aside(path, [bad(1, 2)])
    keep_aside(path, [bad(3, 4)])

    assert [minute for minute, _, _ in kept(path)] == [2, 3, 4]


def test_new_rows_enter_a_full_quarantine(tmp_path, monkeypatch) -> None:
    """A file at its limit still takes what comes, for the oldest rows in it."""
    monkeypatch.setattr(quarantine, "KEPT_ROWS", 2)
    path = tmp_path / "2024.parquet"
    keep_aside(path, [bad(1, 2)])

    keep_aside(path, [bad(3)])

    assert [minute for minute, _, _ in kept(path)] == [2, 3]


@pytest.mark.parametrize("content", [b"", b"PAR1 torn PAR1", b"\0" * 500])
def test_a_damaged_quarantine_is_named(tmp_path, content) -> None:
    """It stops this file with the path in the message, as damage of the lake does."""
    path = tmp_path / "2024.parquet"
    path.write_bytes(content)

    with pytest.raises(LakeDamaged, match=r"2024\.parquet"):
        keep_aside(path, [bad(1)])

    assert path.read_bytes() == content
