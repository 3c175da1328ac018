"""Dagster's web server over a made lake, without its daemon: only what the pages need."""

import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

from crypto_data.orchestration.instance import (
    child_environment,
    code_server,
    prepare_home,
    shared_workspace,
)

PATIENCE_SECONDS = 90.0


@contextmanager
def serving(config: Path, environ: Mapping[str, str]) -> Iterator[str]:
    """Run a code server and a web server as `crypto-data start` does; yield the latter's address.

    Raises:
        RuntimeError: they do not answer in time.
    """
    environment = child_environment(prepare_home(config.parent, environ), config, environ)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    with ExitStack() as stack:
        # A socket's path has room for 107 bytes.
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        workspace = folder / "workspace.yaml"
        workspace.write_text(shared_workspace(folder / "code.sock"))
        stack.enter_context(_process(code_server(folder / "code.sock"), environment))
        _wait_for(folder / "code.sock")
        web = ["dagster_webserver", "-w", str(workspace), "-h", "127.0.0.1", "-p", str(port)]
        stack.enter_context(_process(web, environment))
        _wait_for_page(f"{url}/server_info")
        yield url


@contextmanager
def _process(arguments: list[str], environment: Mapping[str, str]) -> Iterator[None]:
    process = subprocess.Popen(  # noqa: S603 - our own servers
        [sys.executable, "-m", *arguments],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        yield
    finally:
        process.terminate()
        process.wait()


def _wait_for(address: Path) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            if connection.connect_ex(str(address)) == 0:
                return
        time.sleep(0.1)
    raise RuntimeError("the code server does not answer")


def _wait_for_page(url: str) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(url):  # noqa: S310 - our own server
                return
        except OSError:
            time.sleep(0.1)
    raise RuntimeError("the web server does not answer")
