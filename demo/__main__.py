"""A first lake in a minute: fetch from an exchange that misbehaves, then look at what came.

Starts the sandbox exchange, plants some faults, and runs the same commands a user types. Nothing
here is known to the commands: they see an archive and the APIs of three exchanges over HTTP.
"""

import os
import shutil
import subprocess
import sys
import time
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from rich.console import Console

from crypto_data.cli.output import print_table
from crypto_data.sandbox.remote import (
    clear_faults,
    plant_faults,
    read_requests,
    running_sandbox,
)
from crypto_data.sandbox.server import sandbox_config

FOLDER = Path(__file__).resolve().parent.parent / ".demo"
CONFIG = FOLDER / "crypto_data.yaml"
COMMAND = [sys.executable, "-m", "crypto_data.cli.main"]

# Kraken hands out the newest 720 klines and no older ones: 30 days of 1h.
KRAKEN_START = datetime.now(UTC).date() - timedelta(days=20)

FEEDS = f"""\
  - name: recorded          # real days, recorded at the exchange
    exchange: binance
    market: spot
    symbols: [BTCUSDT]
    intervals: [1m]
    start: 2020-01-01
    end: 2020-01-03
  - name: outage            # a real month with an outage of the whole exchange
    exchange: binance
    market: spot
    symbols: [BTCUSDT]
    intervals: [1h]
    start: 2023-03-01
    end: 2023-04-01
  - name: made              # made days; NEWUSDT was listed on 2024-05-17
    exchange: binance
    market: spot
    symbols: [ETHUSDT, NEWUSDT]
    intervals: [1m]
    start: 2024-05-01
    end: 2024-06-01
  - name: futures
    exchange: binance
    market: um
    symbols: [BTCUSDT]
    intervals: [1h]
    start: 2024-05-01
    end: 2024-06-01
  - name: stand_in          # an explicit yes to OKX's prices while Binance has none for us
    exchange: binance
    market: spot
    symbols: [ETHUSDT]
    intervals: [1h]
    start: 2024-05-09
    end: 2024-05-11
    sources: [vision, rest, "ccxt:okx"]
  - name: kraken            # another exchange, a feed of its own
    exchange: kraken
    market: spot
    symbols: [BTC/USD]
    intervals: [1h]
    start: {KRAKEN_START}
"""

# What goes wrong at the exchange, each with the words a person reads.
FAULTS: dict[str, dict[str, Any]] = {
    "the archive has no monthly file of ETHUSDT": {
        "path": "*/monthly/*/ETHUSDT-1m-2024-05.zip*",
        "action": "absent",
    },
    "the archive lacks ETHUSDT on 2024-05-11": {
        "path": "*/ETHUSDT-1m-2024-05-11.zip*",
        "action": "absent",
    },
    "the checksum of ETHUSDT on 2024-05-17 is wrong": {
        "path": "*/ETHUSDT-1m-2024-05-17.zip.CHECKSUM",
        "action": "wrong_checksum",
    },
    "the REST API answers 429 once: wait one second": {
        "path": "/api/v3/klines",
        "action": "status",
        "status": 429,
        "retry_after": 1,
        "times": 1,
    },
    "the archive's files of ETHUSDT 1h are damaged": {
        "path": "*/ETHUSDT-1h-*",
        "action": "corrupt",
    },
    "and for ETHUSDT 1h the REST API only says that it is busy": {
        "path": "/api/v3/klines?*symbol=ETHUSDT*interval=1h*",
        "action": "code0",
        "code": -1008,
        "msg": "Server is currently overloaded with other requests.",
    },
}

FAILOVERS = """\
SELECT symbol, interval, day, rows, expected, state, source, reason AS "what the better source said"
FROM coverage WHERE reason <> '' AND state NOT IN ('unlisted', 'provisional') ORDER BY symbol, day
"""

REPLACED = """\
SELECT symbol, interval, old_source, new_source, count(*) AS days, sum(rows_changed) AS klines
FROM corrections GROUP BY ALL
"""

console = Console(width=None if sys.stdout.isatty() else 160)


def main() -> int:
    """Run the demo; return 0 when every day is settled."""
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir()
    with running_sandbox() as url:
        CONFIG.write_text(sandbox_config(url, "./lake", FEEDS))
        say("A stand-in exchange serves recorded and made days. It will misbehave:")
        for words in FAULTS:
            console.print(f"  - {words}")
        plant_faults(url, list(FAULTS.values()))
        for step in (check, backfill, look):
            status = step()
            if status:
                return status
        clear_faults(url)
        status = replace_stand_ins()
        if status:
            return status
        count_requests(url)
    explain_what_next()
    return 0


def check() -> int:
    """Show what the configuration asks for."""
    say("What the configuration asks for:")
    return run("validate")


def backfill() -> int:
    """Fetch it all through Dagster."""
    say("Fetch it, through Dagster: the archive first, then REST where the archive falls short.")
    return run("backfill")


def replace_stand_ins() -> int:
    """Fetch again what another exchange stood in for."""
    say("Binance is well again. Days of OKX's klines are provisional, so they are asked for again:")
    status = run("backfill", "--symbols", "ETHUSDT")
    say("What stood in was replaced, and the lake says so:")
    return status or run("sql", REPLACED)


def look() -> int:
    """Show what is in the lake, and why."""
    say("What the lake holds now:")
    status = run("inventory")
    say("Every day has a state and a source; neighbouring days that are alike share a line:")
    status = status or run("coverage")
    say("The failovers that happened, and klines that no source has:")
    status = status or run("sql", FAILOVERS)
    return status or run("gaps")


def count_requests(url: str) -> None:
    """Show what the exchange was asked, and how it answered."""
    say("What the exchange was asked, and how it answered (429: too many requests, asked again):")
    counts = Counter((_place(one["path"]), one["status"]) for one in read_requests(url))
    print_table(
        [
            {"place": place, "status": str(status), "requests": count}
            for (place, status), count in sorted(counts.items())
        ]
    )


def _place(path: str) -> str:
    if path.startswith("/data/"):
        return "archive"
    if path.startswith(("/okx/", "/kraken/")):
        return f"ccxt {path}"
    return "archive listing" if path.startswith("/listing") else f"REST {path}"


def explain_what_next() -> None:
    """Tell how to go on."""
    shown = os.path.relpath(CONFIG)
    say("The UI on this lake (Ctrl-C ends it), then open http://127.0.0.1:3000")
    console.print(f"  .venv/bin/crypto-data start --config {shown}\n")
    say("A query of your own:")
    query = '"SELECT symbol, count(*) FROM klines GROUP BY ALL"'
    console.print(f"  .venv/bin/crypto-data sql --config {shown} {query}\n")


def say(text: str) -> None:
    """Print a heading."""
    console.print(f"\n[bold]{text}[/bold]")


def run(*arguments: str) -> int:
    """Run one command as a user would, on the terminal; return its exit status."""
    command = [arguments[0], *("…" if "\n" in text else text for text in arguments[1:])]
    console.print(f"[dim]$ crypto-data {' '.join(command)}[/dim]")
    sys.stdout.flush()
    environment = {
        **os.environ,
        "CRYPTO_DATA_CONFIG": str(CONFIG),
        "DAGSTER_HOME": str(FOLDER / ".dagster"),
        "XDG_STATE_HOME": str(FOLDER / "state"),
    }
    return subprocess.run([*COMMAND, *arguments], env=environment, check=False).returncode  # noqa: S603


if __name__ == "__main__":
    started = time.monotonic()
    exit_status = main()
    console.print(f"[dim]The demo took {time.monotonic() - started:.0f} s.[/dim]")
    raise SystemExit(exit_status)
