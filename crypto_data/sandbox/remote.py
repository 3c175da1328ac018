"""A sandbox exchange in a process of its own: start it, plant faults, read what it was asked.

For programs that measure or show; a test in the same process uses `server.Sandbox`.
"""

import json
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

_COMMAND = (sys.executable, "-m", "crypto_data.cli.main", "sandbox", "--port", "0")


@contextmanager
def running_sandbox() -> Iterator[str]:
    """Run a sandbox exchange on a free port while the context lasts; yield its address."""
    process = subprocess.Popen(  # noqa: S603 - our own command
        _COMMAND, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    try:
        yield _address_of(process)
    finally:
        process.terminate()
        process.wait()


def _address_of(process: "subprocess.Popen[str]") -> str:
    for line in process.stderr or ():
        if "serves at " in line:
            return line.split("serves at ")[1].split(";")[0].strip()
    raise RuntimeError(f"the sandbox did not start: exit status {process.wait()}")


def plant_faults(url: str, faults: Sequence[Mapping[str, Any]]) -> None:
    """Tell a sandbox what to do wrong, each fault as `sandbox.faults` spells it."""
    _ask(f"{url}/sandbox/faults", "POST", json.dumps(list(faults)).encode())


def clear_faults(url: str) -> None:
    """Let a sandbox do everything right again."""
    _ask(f"{url}/sandbox/faults", "DELETE")


def read_requests(url: str) -> list[dict[str, Any]]:
    """Return what a sandbox was asked: path, query, status, at_ms."""
    answer: list[dict[str, Any]] = json.loads(_ask(f"{url}/sandbox/requests", "GET"))
    return answer


def _ask(url: str, method: str, body: bytes | None = None) -> bytes:
    request = urllib.request.Request(url, body, method=method)  # noqa: S310 - our own sandbox
    with urllib.request.urlopen(request) as answer:  # noqa: S310
        content: bytes = answer.read()
    return content
