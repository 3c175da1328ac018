"""Whole processes: how long one took, and the most memory it held."""

import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.exchange import environment

COMMAND = (sys.executable, "-m", "crypto_data.cli.main")
EMPTY = (sys.executable, "-c", "pass")
EMPTY_NAME = "python -c pass"
# Starts the command from a process of 10 MB: the system counts what its starter held as memory of
# the command too, and the bench holds hundreds of MB after its first figures.
LAUNCHER = """
import os, sys, time
report, *command = sys.argv[1:]
started = time.perf_counter()
process = os.posix_spawnp(command[0], command, os.environ)
_, status, usage = os.wait4(process, 0)
seconds = time.perf_counter() - started
with open(report, "w") as file:
    print(seconds, usage.ru_maxrss, os.waitstatus_to_exitcode(status), file=file)
"""


@dataclass(frozen=True, slots=True)
class Ran:
    """One process that ended well: wall time, most memory in MB of 10^6 bytes, what it printed."""

    seconds: float
    peak_mb: float
    output: str


def run(
    command: Sequence[str], *, environ: Mapping[str, str] | None = None, folder: Path | None = None
) -> Ran:
    """Run a command to its end.

    Args:
        command: Program and arguments.
        environ: Its environment; None is ours.
        folder: Where it runs; None is here.

    Raises:
        RuntimeError: it ended badly; the message has its last line on stderr.
    """
    with (
        tempfile.TemporaryFile() as out,
        tempfile.TemporaryFile() as err,
        tempfile.NamedTemporaryFile("r") as report,
    ):
        launched = [sys.executable, "-I", "-S", "-c", LAUNCHER, report.name, *command]
        subprocess.run(  # noqa: S603 - commands of the bench
            launched, env=environ, cwd=folder, stdout=out, stderr=err, check=True
        )
        seconds, peak, status = map(float, report.read().split())
        for stream in (out, err):
            stream.seek(0)
        if status:
            last = err.read().decode(errors="replace").strip().splitlines()[-1:]
            raise RuntimeError(f"exit status {status:.0f}: {' '.join(last)}")
        unit = 1 if sys.platform == "darwin" else 1024
        return Ran(seconds, peak * unit / 1e6, out.read().decode(errors="replace"))


def backfill(config: Path) -> Ran:
    """Run `crypto-data backfill`, with state and Dagster's storage beside the configuration."""
    command = (*COMMAND, "backfill", "--config", str(config), "--format", "json")
    return run(command, environ=environment(config.parent))
