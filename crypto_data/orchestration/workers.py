"""Which commands work in a Dagster home: each leaves a note there, and takes it away at its end.

Knows nothing of Dagster, so that a command with nothing to do need not load it. Ending the runs of
commands that were killed belongs to `orchestration.instance`.
"""

import re
import socket
from collections.abc import Mapping
from pathlib import Path

import psutil

_NOTES = "at-work"
_NOTE = re.compile(r"\S+ \d+ \d+\.\d\d")  # host, number of the process, when it began


def home_of(folder: Path, environ: Mapping[str, str]) -> Path:
    """Return where Dagster's home is: `DAGSTER_HOME`, else `.dagster` in `folder`."""
    return Path(environ.get("DAGSTER_HOME") or folder / ".dagster").absolute()


def this_worker() -> str:
    """Return which process this is: its host, its number, and when it began."""
    return _describe(psutil.Process())


def is_alive(worker: str) -> bool:
    """Return whether the process still works; one of another host is left to that host."""
    host, pid, _ = worker.rsplit("/", 2)
    if host != socket.gethostname():
        return True
    try:
        return _describe(psutil.Process(int(pid))) == worker
    except psutil.NoSuchProcess:
        return False


def leave_note(home: Path) -> Path:
    """Leave a note in `home` that this process works there; it takes it away at a good end.

    Raises:
        OSError: it cannot be written.
    """
    notes = home / _NOTES
    notes.mkdir(exist_ok=True)
    note = notes / this_worker().replace("/", " ")
    note.touch()
    return note


def left_notes(home: Path) -> list[Path]:
    """Return the notes of commands that died over their work; other files are no notes."""
    notes = (note for note in (home / _NOTES).glob("*") if _NOTE.fullmatch(note.name))
    return [note for note in notes if not is_alive(note.name.replace(" ", "/"))]


def may_have_dead_runs(home: Path) -> bool:
    """Return whether a command may have died in `home`, with or without a note."""
    if (home / _NOTES).is_dir():
        return bool(left_notes(home))
    return (home / "history").is_dir()  # of a version that left none


def _describe(process: psutil.Process) -> str:
    return f"{socket.gethostname()}/{process.pid}/{process.create_time():.2f}"
