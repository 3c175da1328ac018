"""Commands when something is wrong: the exchange, the disk, the lake itself."""

import json
import re
import resource
import signal
from datetime import date

import pytest

from crypto_data.lake.feeds import parse_wishes
from crypto_data.lake.layout import part_path
from crypto_data.lake.set_aside import read_set_aside
from crypto_data.sandbox.faults import Fault
from crypto_data.series import Series

DAY, NEXT = date(2024, 1, 10), date(2024, 1, 11)
HOURS = "binance/spot/BTCUSDT/1h"
MINUTES = "binance/spot/BTCUSDT/1m"


@pytest.mark.slow
def test_everything_down(desk) -> None:
    """Status 1; each series and its days are named with each source's own reason; no row stored."""
    desk.configure({"symbols": ["BTCUSDT", "ETHUSDT"], "end": "2024-01-13"})
    desk.sandbox.faults.add(Fault("*", "status", status=503, msg="closed for repairs"))

    done = desk.run("backfill", "--format", "json")

    days = json.loads(done.stdout)
    assert done.returncode == 1
    assert [day["state"] for day in days] == ["missing"] * 6
    for symbol in ("BTCUSDT", "ETHUSDT"):
        [line] = [line for line in done.stderr.splitlines() if f"{symbol}/1h 2024-" in line]
        assert line.startswith(f"binance/spot/{symbol}/1h 2024-01-10 to 2024-01-12: nothing; ")
        assert re.search(r"vision: .*closed for repairs", line)
        assert re.search(r"rest: .*closed for repairs", line)
    assert "Traceback" not in done.stderr
    assert desk.rows(HOURS, DAY, date(2024, 1, 13)) == []


@pytest.mark.slow
def test_a_ban_is_kept_by_the_next_process(desk) -> None:
    """After a 418 a new command asks REST for nothing, and serves from the archive."""
    desk.configure({"end": "2024-01-12"})
    desk.sandbox.faults.add(Fault("/data/*", "absent"))
    desk.sandbox.faults.add(Fault("/api/v3/klines", "status", status=418, retry_after=600))
    desk.fill()
    desk.sandbox.faults.clear()
    desk.sandbox.requests.clear()

    done = desk.run("backfill", "--format", "json")

    assert done.returncode == 0, done.stderr
    assert desk.asked("/api/") == []
    assert {day["source"] for day in json.loads(done.stdout)} == {"vision"}
    assert desk.equals_truth(HOURS, DAY, date(2024, 1, 12))


def cramped(limit: int):
    """Return what makes a process unable to write files longer than `limit` bytes."""

    def cramp() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    return cramp


@pytest.mark.slow
def test_a_full_disk(desk) -> None:
    """The file and the remedy stand in a sentence, status 1; what was there is untouched."""
    desk.configure({"intervals": ["1m"], "end": "2024-01-12"})
    desk.fill()
    path = part_path(desk.lake.root, Series.parse(MINUTES), "2024-01")
    before = path.read_bytes()
    desk.configure({"intervals": ["1m"], "end": "2024-02-01"})

    done = desk.run("backfill", preexec_fn=cramped(900_000))

    assert done.returncode == 1
    assert f"{path}: cannot be written (File too large)" in done.stderr
    assert "Make room" in done.stderr
    assert "Traceback" not in done.stderr
    assert path.read_bytes() == before
    assert [one for one in desk.lake.root.rglob(".*") if one.suffix == ".tmp"] == []
    assert desk.equals_truth(MINUTES, DAY, date(2024, 1, 12))
    assert desk.run("backfill").returncode == 0
    assert desk.equals_truth(MINUTES, DAY, date(2024, 2, 1))


@pytest.mark.slow
def test_a_disk_too_full_for_dagster(desk) -> None:
    """When not even the run can be recorded a sentence says so, and no traceback."""
    desk.configure()

    done = desk.run("backfill", preexec_fn=cramped(40_000))

    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert len(done.stderr.splitlines()) < 10


@pytest.mark.parametrize("command", ["validate", "backfill", "inventory"])
def test_a_lake_that_is_a_file(desk, command) -> None:
    """The configuration names it, status 2; the file stays as it is."""
    desk.configure()
    (desk.folder / "lake").write_text("mine")

    done = desk.run(command)

    assert done.returncode == 2
    assert "crypto_data.yaml:1: lake: found" in done.stderr
    assert "a folder" in done.stderr
    assert (desk.folder / "lake").read_text() == "mine"


@pytest.mark.slow
def test_a_lake_below_a_file(desk) -> None:
    """A folder that cannot be made ends in a sentence that names it."""
    desk.configure()
    desk.config.write_text(desk.config.read_text().replace("./lake", "./file/lake"))
    (desk.folder / "file").write_text("mine")

    done = desk.run("backfill")

    assert done.returncode in (1, 2)
    assert "file" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("content", [b"", b"PAR1 this is none PAR1"], ids=["empty", "garbage"])
def test_a_damaged_file_of_the_lake(desk, content) -> None:
    """Views name it and serve the rest; the next backfill sets it aside and fetches its days."""
    desk.configure({"symbols": ["BTCUSDT", "ETHUSDT"]})
    path = part_path(desk.lake.root, Series.parse(HOURS), "2024")
    path.parent.mkdir(parents=True)
    path.write_bytes(content)

    view = desk.run("inventory")
    done = desk.run("backfill")

    assert f"{path}: cannot be read" in view.stderr
    assert "crypto-data repair" in view.stderr
    assert "ETHUSDT" in view.stdout
    assert (view.returncode, done.returncode) == (0, 0)
    assert "moved to _set_aside/damaged/klines/" in done.stderr
    assert "Traceback" not in done.stderr + view.stderr
    [moved] = read_set_aside(desk.lake.root)
    assert (desk.lake.root / moved.kept).read_bytes() == content
    assert desk.equals_truth(HOURS, DAY, NEXT)


@pytest.mark.slow
def test_a_damaged_wish_list(desk) -> None:
    """`_feeds.json` is a copy of the configuration: it is told, and written anew."""
    desk.configure()
    desk.lake.root.mkdir()
    (desk.lake.root / "_feeds.json").write_text("{")

    done = desk.run("backfill")

    assert done.returncode == 0
    assert "_feeds.json: cannot be read" in done.stderr
    assert "Traceback" not in done.stderr
    assert parse_wishes(desk.lake.root / "_feeds.json").series


@pytest.mark.slow
def test_a_dagster_home_that_cannot_be_made(desk) -> None:
    """A file in its place is named in a sentence."""
    desk.configure()
    (desk.folder / "taken").write_text("mine")

    done = desk.run("backfill", environ={"DAGSTER_HOME": str(desk.folder / "taken")})

    assert done.returncode in (1, 2)
    assert "taken" in done.stderr
    assert "Traceback" not in done.stderr
