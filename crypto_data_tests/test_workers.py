"""The notes that commands leave in Dagster's home while they work."""

import socket

import pytest

from crypto_data.errors import LakeNotWritable
from crypto_data.orchestration.instance import open_instance
from crypto_data.orchestration.workers import leave_note, left_notes, may_have_dead_runs

GONE = f"{socket.gethostname()} {2**22 + 1} 1.00"


def test_a_note_of_a_process_that_is_gone_is_left(tmp_path) -> None:
    """That of a living process is not, nor that of another host, nor what is no note at all."""
    own = leave_note(tmp_path)
    names = [GONE, "elsewhere 17 1.00", ".DS_Store", ".nfs000000012", "three words here"]
    for name in names:
        (own.parent / name).touch()

    assert [note.name for note in left_notes(tmp_path)] == [GONE]


def test_a_home_of_an_earlier_version_may_have_dead_runs(tmp_path) -> None:
    """It has a history and no notes; a home that has nothing has no runs either."""
    empty = may_have_dead_runs(tmp_path)
    (tmp_path / "history").mkdir()
    earlier = may_have_dead_runs(tmp_path)
    own = leave_note(tmp_path)
    working = may_have_dead_runs(tmp_path)
    own.with_name(GONE).touch()

    assert (empty, earlier, working) == (False, True, False)
    assert may_have_dead_runs(tmp_path)


def test_a_note_that_cannot_be_written_is_told_in_a_sentence(tmp_path) -> None:
    """As on a full disk: what to do is said, and nothing else of the home is touched."""
    (tmp_path / "at-work").write_text("in the way")

    with pytest.raises(LakeNotWritable, match="DAGSTER_HOME"), open_instance(tmp_path):
        pass
