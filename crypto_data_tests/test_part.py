"""One file of the lake: read, damaged, and replaced in the order that survives a power cut."""

import os
import subprocess
import sys
import threading
from datetime import date
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from crypto_data.coverage import DayFacts
from crypto_data.errors import LakeDamaged, LakeNotWritable
from crypto_data.intervals import MINUTE_MS
from crypto_data.lake.part import Footer, read_footer, read_rows, replace_file, write_part
from crypto_data.partitions import day_start_ms
from crypto_data.schema import KLINES, TIME, fetched_table, mark_source

DAY = date(2024, 3, 4)
FACTS = {DAY: DayFacts(rows=3, sources=(("rest", 3),), attempts=1)}


def klines(count=3) -> pa.Table:
    start_ms = day_start_ms(DAY)
    times = pa.array([(start_ms + n * MINUTE_MS) * 1000 for n in range(count)], pa.int64())
    prices = pa.array([0.1 * n for n in range(count)], pa.float64())
    plain = dict.fromkeys(("open", "high", "low", "close", "volume"), prices)
    columns = {"open_time": times.cast(TIME), "close_time": times.cast(TIME), **plain}
    return mark_source(fetched_table(columns), "rest")


def test_what_was_written_is_read(tmp_path) -> None:
    """Rows come back equal, and the footer tells ledger and extent without them."""
    path = tmp_path / "new" / "folder" / "2024-03.parquet"

    size = write_part(path, klines(), FACTS)

    assert size == path.stat().st_size
    assert read_rows(path).equals(klines())
    footer = read_footer(path)
    start_ms = day_start_ms(DAY)
    assert (footer.rows, footer.first_open_ms) == (3, start_ms)
    assert footer.last_open_ms == start_ms + 2 * MINUTE_MS
    assert [(run.first, run.facts) for run in footer.runs] == list(FACTS.items())


def test_a_file_without_rows_carries_its_ledger(tmp_path) -> None:
    """What is known of days without klines needs a file too."""
    path = tmp_path / "2024.parquet"

    write_part(path, KLINES.empty_table(), FACTS)

    assert read_rows(path).schema == KLINES
    assert read_footer(path).first_open_ms is None
    assert read_footer(path).runs[0].facts == FACTS[DAY]


@pytest.mark.parametrize(
    "folder", ["plain", "a b", "a'b", "a[b", "a:b", "a%20b", "é币", "_x", ".x"]
)
def test_no_file_is_no_rows_wherever_the_lake_lies(tmp_path, folder) -> None:
    """A lake may lie in a folder of any name; what is not there is empty."""
    path = tmp_path / folder / "2024.parquet"

    assert read_rows(path).num_rows == 0
    assert read_footer(path) == Footer()
    write_part(path, klines(), FACTS)
    assert read_rows(path).num_rows == 3


def damage(path, how) -> None:
    content = path.read_bytes()
    match how:
        case "zero-bytes":
            path.write_bytes(b"")
        case "cut-short":
            path.write_bytes(content[: len(content) // 2])
        case "text":
            path.write_bytes(b"<html>no</html>")
        case "footer":
            path.write_bytes(content[:-40] + b"\xff" * 20 + content[-20:])


@pytest.mark.parametrize("how", ["zero-bytes", "cut-short", "text", "footer"])
@pytest.mark.parametrize("read", [read_rows, read_footer])
def test_a_damaged_file_is_named_with_the_remedy(tmp_path, how, read) -> None:
    """A file that cannot be read stops with its path and what to run."""
    path = tmp_path / "2024-03.parquet"
    write_part(path, klines(), FACTS)
    damage(path, how)

    with pytest.raises(LakeDamaged, match=r"2024-03\.parquet: cannot be read .*crypto-data repair"):
        read(path)


def test_damaged_rows_are_named(tmp_path) -> None:
    """A flipped page is found when the rows are read."""
    path = tmp_path / "2024-03.parquet"
    write_part(path, klines(1000), FACTS)
    content = bytearray(path.read_bytes())
    content[4:200] = b"\xff" * 196
    path.write_bytes(content)

    with pytest.raises(LakeDamaged, match=r"2024-03\.parquet"):
        read_rows(path)


def test_a_file_without_a_ledger_is_no_file_of_ours(tmp_path) -> None:
    """A foreign Parquet file under a lake name is damage, not an empty ledger."""
    path = tmp_path / "2024-03.parquet"
    pq.write_table(klines(), path)

    with pytest.raises(LakeDamaged, match=r"2024-03\.parquet"):
        read_footer(path)


CALLS = """
import os, pathlib, sys
calls, names = [], {}
def wrap(name, show):
    real = getattr(os, name)
    def spy(*a, **k):
        result = real(*a, **k)
        calls.append((name, show(*a)))
        return result
    setattr(os, name, spy)
wrap("fsync", lambda fd: os.readlink(f"/proc/self/fd/{fd}"))
real_replace = pathlib.Path.replace
def replace(self, target):
    calls.append(("rename", os.fspath(target)))
    return real_replace(self, target)
pathlib.Path.replace = replace
from crypto_data.lake.part import replace_file
path = pathlib.Path(sys.argv[1])
replace_file(path, b"new" * 1000)
for call, target in calls:
    print(call, target)
"""


def test_the_disk_has_the_bytes_before_the_name_and_the_name_before_we_go_on(tmp_path) -> None:
    """The order is: new folders recorded, file flushed, renamed, folder flushed."""
    path = tmp_path / "a" / "b" / "2024.parquet"

    done = subprocess.run(
        [sys.executable, "-c", CALLS, path], capture_output=True, text=True, check=True
    )

    steps = [line.split(" ", 1) for line in done.stdout.splitlines()]
    assert [step for step, _ in steps] == ["fsync", "fsync", "fsync", "rename", "fsync"]
    targets = [Path(target) for _, target in steps]
    assert targets[:2] == [tmp_path, tmp_path / "a"]
    assert (targets[2].parent, targets[2].suffix) == (path.parent, ".tmp")
    assert targets[3:] == [path, path.parent]


FLUSHED = """
import os, pathlib, sys
real, flushed = os.fsync, []
def fsync(descriptor):
    flushed.append(os.readlink(f"/proc/self/fd/{descriptor}"))
    real(descriptor)
os.fsync = fsync
from crypto_data.lake.layout import part_path
from crypto_data.lake.locking import locked
from crypto_data.lake.part import replace_file
from crypto_data.series import Series
root, series = pathlib.Path(sys.argv[1]), Series.parse("binance/spot/BTCUSDT/1m")
with locked(root, series, "2024-03"):
    replace_file(part_path(root, series, "2024-03"), b"new")
print(*(os.path.relpath(path, root) for path in flushed))
"""


def test_folders_that_need_not_survive_are_not_flushed(tmp_path) -> None:
    """Of a new lake those above klines are, the lake's own first; none of locks and drafts is."""
    done = subprocess.run(
        [sys.executable, "-c", FLUSHED, tmp_path / "lake"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip

    flushed = done.stdout.split()
    above = ["klines"]
    for folder in ("exchange=binance", "market=spot", "interval=1m", "symbol=BTCUSDT"):
        above.append(f"{above[-1]}/{folder}")
    assert flushed[:6] == ["..", ".", *above[:4]]
    assert flushed[6].endswith(".tmp")
    assert flushed[7:] == [above[4]]


FULL = """
import resource, signal, sys, pathlib
from crypto_data.errors import LakeNotWritable
from crypto_data.lake.part import replace_file
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
try:
    replace_file(pathlib.Path(sys.argv[1]), b"x" * 5000)
except LakeNotWritable as error:
    print(error)
"""


def test_a_full_disk_leaves_the_old_file_and_no_rubbish(tmp_path) -> None:
    """The write that does not fit is undone; the message says what to do."""
    path = tmp_path / "2024.parquet"
    path.write_bytes(b"old")

    done = subprocess.run(
        [sys.executable, "-c", FULL, path], capture_output=True, text=True, check=True
    )

    assert "what was there is untouched" in done.stdout
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def blocked_by_a_file(folder) -> Path:
    (folder / "symbol=X").write_bytes(b"")
    return folder / "symbol=X" / "2024.parquet"


def blocked_by_a_folder(folder) -> Path:
    (folder / "2024.parquet" / "inside").mkdir(parents=True)
    return folder / "2024.parquet"


def too_long_a_name(folder) -> Path:
    return folder / ("x" * 250 + ".parquet")


def no_such_device(_folder) -> Path:
    return Path("/proc/nowhere/2024.parquet")


@pytest.mark.parametrize(
    "place", [blocked_by_a_file, blocked_by_a_folder, too_long_a_name, no_such_device]
)
def test_whatever_keeps_a_file_from_being_written_is_one_error(tmp_path, place) -> None:
    """An error of the operating system becomes the one that a series reports."""
    path = place(tmp_path)

    with pytest.raises(LakeNotWritable, match=r"cannot be written \(.+\)"):
        replace_file(path, b"x")

    assert not list(tmp_path.glob(".*"))


def test_threads_of_one_process_do_not_share_a_temporary_name(tmp_path) -> None:
    """Side by side each leaves its own content or another's, never a mixture."""
    path = tmp_path / "_feeds.json"
    contents = [bytes([65 + n]) * 200_000 for n in range(4)]
    failures = []

    def write(content) -> None:
        try:
            for _ in range(10):
                replace_file(path, content)
                assert path.read_bytes() in contents
        except BaseException as error:  # noqa: BLE001 - shown below
            failures.append(error)

    threads = [threading.Thread(target=write, args=(content,)) for content in contents]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert failures == []
    assert os.listdir(tmp_path) == ["_feeds.json"]  # noqa: PTH208
