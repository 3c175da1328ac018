"""Dagster's storage in Postgres: the settings that docs/dagster.md names, on a real server."""

import os
import pwd
import re
import shutil
import socket
import subprocess
import tempfile
from pathlib import Path

import dagster as dg
import pytest
import sqlalchemy as sql

from crypto_data.orchestration.evaluations import (
    JUDGED_UNTIL,
    judged_until,
    report_evaluations,
)
from crypto_data.orchestration.instance import open_instance, prepare_home

DOCS = Path(__file__).parents[1] / "docs" / "dagster.md"
KEY = dg.AssetKey(["klines", "binance", "spot", "BTCUSDT", "1d"])


def _server_programs() -> Path | None:
    """Return the folder of Postgres' server programs, which Debian keeps off the path."""
    if found := shutil.which("initdb"):
        return Path(found).parent
    installed = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    return installed[-1].parent if installed else None


# Postgres notes in each row which transaction wrote it.
WRITERS = """
SELECT count(DISTINCT xmin::text) FROM event_logs
WHERE dagster_event_type = 'ASSET_MATERIALIZATION'
"""
PROGRAMS = _server_programs()
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(PROGRAMS is None, reason="no Postgres server is installed here"),
]


def _owner() -> str | None:
    """Return whom the server runs as: it refuses root."""
    if os.getuid():
        return None
    known = {entry.pw_name for entry in pwd.getpwall()}
    return "postgres" if "postgres" in known else "nobody"


@pytest.fixture(scope="module")
def server():
    """Yield host, port and user of a server that is empty and ends with the module."""
    owner = _owner()
    # Below /tmp itself, so that another user than root can reach it.
    folder = Path(tempfile.mkdtemp(prefix="crypto-data-postgres-"))
    if owner:
        shutil.chown(folder, owner)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]

    def run(program: str, *arguments: str) -> None:
        subprocess.run(
            [str(PROGRAMS / program), *arguments],
            check=True, capture_output=True, timeout=60, user=owner, cwd=folder,
        )  # fmt: skip

    data = str(folder / "data")
    options = f"-p {port} -h 127.0.0.1 -k {folder}"
    run("initdb", "-D", data, "-U", "dagster", "-A", "trust")
    run("pg_ctl", "-D", data, "-w", "-l", str(folder / "log"), "-o", options, "start")
    try:
        yield {"hostname": "127.0.0.1", "port": port, "username": "dagster"}
    finally:
        run("pg_ctl", "-D", data, "-m", "immediate", "stop")
        shutil.rmtree(folder)


def settings_of_the_docs() -> str:
    """Return the block of docs/dagster.md that chooses Postgres."""
    text = DOCS.read_text()
    (block,) = re.findall(r"```yaml\n(storage:\n  postgres:.*?)```", text, re.DOTALL)
    return block


def put_into_postgres(home: Path, server: dict) -> None:
    """Replace the embedded storage in a home's settings, as the docs say."""
    settings = (home / "dagster.yaml").read_text()
    embedded = re.compile(r"event_log_storage:\n(  .*\n)+")
    assert embedded.search(settings)
    chosen = settings_of_the_docs()
    for name, value in {**server, "db_name": "postgres", "password": "any"}.items():
        chosen, found = re.subn(rf"( {name}: ).*", rf"\g<1>{value}", chosen)
        assert found == 1, name
    (home / "dagster.yaml").write_text(embedded.sub(chosen, settings))


@pytest.fixture
def home(desk, server) -> Path:
    """Return a home of Dagster's that keeps its storage in the server."""
    pytest.importorskip("dagster_postgres")
    home = prepare_home(desk.folder, desk.environ)
    put_into_postgres(home, server)
    return home


def test_a_backfill_is_recorded_in_postgres(desk, home) -> None:
    """A year of days, its events written in batches, then reconcile finds nothing to tell."""
    desk.configure({"intervals": ["1d"], "start": "2022-01-01", "end": "2024-01-01"})

    done = desk.run("backfill")
    told = desk.run("reconcile", "--format", "json")

    assert done.returncode == 0, done.stderr
    assert '"reported": 0' in told.stdout, told.stdout + told.stderr
    with open_instance(home) as instance:
        storage = type(instance.event_log_storage).__name__
        days = instance.get_materialized_partitions(KEY)
        records = instance.fetch_materializations(KEY, limit=1000).records
        with instance.event_log_storage.index_connection() as connection:
            writers = connection.execute(sql.text(WRITERS)).scalar_one()
    assert storage == "PostgresEventLogStorage"
    assert len(days) == len(records) == 730
    assert not (home / "history" / "runs" / "index.db").exists()
    assert writers == 1  # all days in one transaction


def test_what_checks_find_is_stored_without_a_complaint(home, capfd) -> None:
    """Its storage refuses batches of evaluations, which then come one by one."""
    keys = [dg.AssetCheckKey(KEY, f"check{number}") for number in range(3)]
    found = [
        dg.AssetCheckEvaluation(key.asset_key, key.name, passed=True, metadata={JUDGED_UNTIL: 7})
        for key in keys
    ]
    with open_instance(home) as instance:
        report_evaluations(instance, found)
        marks = judged_until(instance, keys)

    assert marks == dict.fromkeys(keys, 7)
    assert "Exception" not in capfd.readouterr().err
