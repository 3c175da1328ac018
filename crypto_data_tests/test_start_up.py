"""What a command loads before it answers, and what it leaves out."""

import ctypes
import os
import socket
import subprocess
import sys
from datetime import date
from pathlib import Path

import dagster as dg
import pytest
import sqlalchemy as sql

from crypto_data.cli.start_up import MMAP_THRESHOLD
from crypto_data.coverage import DayFacts
from crypto_data.lake.layout import part_path
from crypto_data.lake.part import write_part
from crypto_data.orchestration.instance import WORKER_TAG, writing_ahead
from crypto_data.sandbox.server import sandbox_config
from crypto_data.schema import empty_klines
from crypto_data.series import Series

FEED = """\
  - exchange: binance
    market: spot
    symbols: [BTCUSDT]
    intervals: [1h]
    start: 2024-01-01
    end: 2024-01-03
"""
# All of it is installed here, and takes longer to load than the question to answer.
HEAVY = {"dagster", "duckdb", "httpx", "ccxt", "pandas", "stamina", "pyrate_limiter", "sqlalchemy"}
REPORT = f"""
import atexit, sys
atexit.register(lambda: print(sorted({HEAVY!r} & set(sys.modules)), file=sys.stderr))
from crypto_data.cli.main import main
main()
"""


@pytest.fixture
def config(tmp_path):
    series = Series.parse("binance/spot/BTCUSDT/1h")
    known = {date(2024, 1, 1): DayFacts(unlisted_rows=24, attempts=1, asked_ms=7)}
    write_part(part_path(tmp_path / "lake", series, "2024"), empty_klines(), known)
    path = tmp_path / "crypto_data.yaml"
    path.write_text(sandbox_config("http://127.0.0.1:9", "./lake", FEED))
    return path


@pytest.mark.parametrize("view", ["inventory", "coverage", "gaps"])
def test_a_view_needs_neither_database_nor_network(config, view) -> None:
    """What the index tells is printed with Arrow alone."""
    done = subprocess.run(
        [sys.executable, "-c", REPORT, view, "--config", str(config), "--format", "csv"],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )

    assert done.stderr == "[]\n"
    assert "BTCUSDT" in done.stdout


def test_a_library_that_is_left_out_looks_as_if_it_were_absent() -> None:
    """Arrow goes on without pandas; other modules are found as ever."""
    script = """
from crypto_data.cli.start_up import start_lean
start_lean()
import pyarrow, sys, colorsys
print(pyarrow.array([1]).to_pylist(), "pandas" in sys.modules)
try:
    import pandas
except ModuleNotFoundError as error:
    print(error.name)
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60
    )

    assert done.stdout == "[1] False\npandas\n"


BLOCKS = """
import ctypes, subprocess, sys

class Mallinfo(ctypes.Structure):
    _fields_ = [(name, ctypes.c_size_t) for name in (
        "arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "uordblks",
        "fordblks", "keepcost")]

libc = ctypes.CDLL(None)
libc.mallinfo2.restype = Mallinfo

def count_mapped():
    import pyarrow
    pool = pyarrow.system_memory_pool()
    pyarrow.allocate_buffer(16 << 20, memory_pool=pool)  # freed at once: glibc learns its size
    before = libc.mallinfo2().hblks
    kept = [pyarrow.allocate_buffer(2 << 20, memory_pool=pool) for _ in range(3)]
    return libc.mallinfo2().hblks - before
"""


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallinfo2"), reason="of glibc since 2.33")
@pytest.mark.parametrize(
    ("begin", "mapped"),
    [
        pytest.param("", 0, id="as-glibc-does-it"),
        pytest.param("start_lean()", 3, id="a-command"),
    ],
)
def test_large_blocks_of_memory_go_back_to_the_system(begin, mapped) -> None:
    """They are mapped one by one in a command, and in a process that it starts."""
    script = f"""{BLOCKS}
from crypto_data.cli.start_up import start_lean
if len(sys.argv) == 1:
    {begin or "pass"}
    subprocess.run([sys.executable, *sys.orig_argv[1:], "child"], check=True)
print(count_mapped())
"""
    environ = {key: value for key, value in os.environ.items() if key != MMAP_THRESHOLD}
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True, text=True, check=True, timeout=60, env=environ,
    )  # fmt: skip

    assert done.stdout.split() == [str(mapped)] * 2


def test_a_command_ends_without_a_search_of_its_modules(config) -> None:
    """At exit nothing is left that Python would look through for circles."""
    script = """
import atexit, gc
atexit.register(lambda: print(gc.get_freeze_count() > 10_000, gc.get_count()[0] < 1_000))
from crypto_data.cli.main import main
main()
"""
    done = subprocess.run(
        [sys.executable, "-c", script, "inventory", "--config", str(config), "--format", "csv"],
        capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip

    assert done.stdout.endswith("True True\n")


def test_objects_are_searched_once_the_work_begins() -> None:
    """Loading makes only what stays; the objects of the work are looked through as before."""
    script = """
from crypto_data.cli.start_up import end_loading, start_lean
start_lean()
import gc
searches = []
gc.callbacks.append(lambda phase, _told: searches.append(phase) if phase == "stop" else None)
kept = [[] for _ in range(200_000)]
loading = len(searches)
end_loading()
kept += [[] for _ in range(200_000)]
print(loading, len(searches) > 1, gc.get_freeze_count() > 200_000)
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60
    )

    assert done.stdout == "0 True True\n"


def test_libraries_go_on_without_what_only_their_own_command_lines_show() -> None:
    """What draws httpx's command line and Mako's error pages is not loaded with either."""
    script = """
from crypto_data.cli.start_up import start_lean
start_lean()
import sys, httpx, mako.exceptions
print(httpx.Client.__name__, sorted({"httpx._main", "pygments", "click"} & set(sys.modules)))
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60
    )

    assert done.stdout == "Client []\n"


def test_databases_of_a_new_home_are_written_ahead(tmp_path) -> None:
    """While the storage is opened, SQLite need not wait for the disk at every table."""

    def settings(name: str) -> tuple[str, int]:
        engine = sql.create_engine(f"sqlite:///{tmp_path / name}")
        with engine.connect() as connection:
            journal = connection.exec_driver_sql("PRAGMA journal_mode").scalar_one()
            waits = connection.exec_driver_sql("PRAGMA synchronous").scalar_one()
        engine.dispose()
        return journal, waits

    with writing_ahead():
        inside = settings("inside.db")

    assert inside == ("wal", 1)
    assert settings("outside.db") == ("delete", 2)


LOADED = """
import sys
from crypto_data.cli.main import main
sys.argv = ["crypto-data", "backfill"]
try:
    main()
finally:
    print(*sorted(sys.modules))
"""


@pytest.mark.slow
def test_a_backfill_with_nothing_to_do_loads_little(desk) -> None:
    """Neither Dagster nor a client of any source is imported to find that all is settled."""
    desk.configure({"end": "2024-01-12"})
    assert desk.run("backfill").returncode == 0

    second = subprocess.run(
        [sys.executable, "-c", LOADED],
        cwd=desk.folder, env=desk.environ, capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip

    assert "nothing to fetch" in second.stderr
    heavy = {"dagster", "sqlalchemy", "httpx", "ccxt", "pandas", "crypto_data.sources.http"}
    assert heavy & set(second.stdout.split()) == set()


@pytest.mark.slow
def test_what_a_killed_command_left_is_ended_with_nothing_to_do(desk) -> None:
    """Its note in Dagster's home says that there is something to end; then the note goes."""
    desk.configure({"end": "2024-01-12"})
    assert desk.run("backfill").returncode == 0
    home = Path(desk.environ["DAGSTER_HOME"])
    worker = f"{socket.gethostname()}/{2**22 + 1}/1.00"
    with dg.DagsterInstance.from_config(str(home)) as instance:
        run = instance.create_run_for_job(_no_job, tags={WORKER_TAG: worker})
        note = home / "at-work" / worker.replace("/", " ")
        note.touch()

        second = desk.run("backfill")
        ended = instance.get_run_by_id(run.run_id)

    assert "nothing to fetch" in second.stderr
    assert ended.status is dg.DagsterRunStatus.FAILURE
    assert list((home / "at-work").iterdir()) == []


@dg.job
def _no_job() -> None:
    """Do nothing."""


def test_definitions_need_no_database(config) -> None:
    """What Dagster's storage is made of is loaded by the first tick or run that opens it."""
    code = (
        "import sys, crypto_data.definitions;"
        "print(sorted({'alembic', 'apprise', 'ccxt', 'pandas', 'sqlalchemy'} & set(sys.modules)))"
    )

    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "CRYPTO_DATA_CONFIG": str(config)},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )

    assert done.stdout == "[]\n"
