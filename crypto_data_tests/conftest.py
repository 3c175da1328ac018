"""Shared by the tests that run whole chains: the stand-in exchange, and a desk to work from."""

import json
import os
import subprocess
import sys
import threading
from dataclasses import dataclass
from datetime import UTC, date, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import import_module
from pathlib import Path
from typing import Any

import httpx
import pyarrow as pa
import pytest

from crypto_data.catalog.configuration import Catalog, load_catalog
from crypto_data.harvest import Aim, Maker
from crypto_data.ingest import Job, ingest
from crypto_data.lake.store import Lake
from crypto_data.making.chain import chain_of
from crypto_data.partitions import span_of_days
from crypto_data.reports import SeriesReport
from crypto_data.sandbox.server import Sandbox, sandbox_config
from crypto_data.schema import FETCHED, epoch_ms
from crypto_data.series import Series
from crypto_data.sources.connect import open_chains

COMMAND = Path(sys.executable).with_name("crypto-data")

# What a feed says unless a test says otherwise; a retry waits for no longer than it must.
FEED = {
    "exchange": "binance",
    "market": "spot",
    "symbols": ["BTCUSDT"],
    "intervals": ["1h"],
    "start": "2024-01-10",
    "end": "2024-01-11",
    "max_retries": 1,
    "retry_delay": 0.05,
}


@dataclass
class Desk:
    """A folder with a configuration, a lake, and Dagster's and our own state beside it."""

    folder: Path
    sandbox: Sandbox
    environ: dict[str, str]

    @property
    def config(self) -> Path:
        return self.folder / "crypto_data.yaml"

    @property
    def state(self) -> Path:
        return Path(self.environ["XDG_STATE_HOME"]) / "crypto-data"

    @property
    def lake(self) -> Lake:
        return Lake(self.folder / "lake")

    def configure(self, *feeds: dict[str, Any], url: str = "", more: str = "") -> Catalog:
        """Write a configuration that points at the sandbox; `more` follows its `sources`."""
        # JSON is YAML: values need no quoting of our own.
        text = "\n".join(f"  - {json.dumps(FEED | feed)}" for feed in feeds or ({},))
        self.config.write_text(
            sandbox_config(url or self.sandbox.url, "./lake", text) + "  timeout: 5\n" + more
        )
        return self.catalog()

    def catalog(self) -> Catalog:
        return load_catalog(self.config, self.environ, datetime.now(UTC).date())

    def run(self, *arguments: object, timeout: float = 120, **options: Any):
        """Run a command to its end, in the desk's folder."""
        return subprocess.run(
            [COMMAND, *map(str, arguments)],
            cwd=self.folder,
            env=self.environ | options.pop("environ", {}),
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
            **options,
        )

    def start(self, *arguments: object, **options: Any) -> "subprocess.Popen[str]":
        """Begin a command that the test will end."""
        return subprocess.Popen(
            [COMMAND, *map(str, arguments)],
            cwd=self.folder,
            env=self.environ | options.pop("environ", {}),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            **options,
        )

    def fill(
        self, first: date | None = None, end: date | None = None, aim: Aim = Aim.FILL
    ) -> list[SeriesReport]:
        """Fill all feeds through the chain, without Dagster, as a process of its own would."""
        catalog, told = self.catalog(), []
        with open_chains(catalog, self.state) as chains:
            jobs = [
                Job(
                    series,
                    chain_of(series, feed, chains.chain(feed), self.lake),
                    first or feed.start,
                    end or feed.end or date.max,
                    aim,
                )
                for series, feed in catalog.all_series().items()
            ]
            # What is made of finer klines comes when these have come.
            made = {job.series for job in jobs if isinstance(job.chain, Maker)}
            reports = [
                report
                for are_made in (False, True)
                for report in ingest(
                    self.lake,
                    [job for job in jobs if (job.series in made) is are_made],
                    threads=4,
                    stop=threading.Event(),
                    on_days=lambda *days: told.append(days),
                )
            ]
            return sorted(reports, key=lambda report: report.series)

    def rows(self, series: Series | str, first: date, end: date) -> list[dict[str, Any]]:
        """Return the lake's rows of some days, with their sources."""
        series = Series.parse(series) if isinstance(series, str) else series
        return self.lake.read(series, span_of_days(first, end)).to_pylist()

    def equals_truth(
        self, series: Series | str, first: date, end: date, *, at: str | None = None
    ) -> bool:
        """Return whether the lake holds exactly what the exchange traded on some days.

        `at` is the series of another exchange that stands in, such as `okx/spot/BTC/USDT/1h`.
        Close times are compared in milliseconds: REST knows no finer ones, spot's archive does
        from 2025 on.
        """
        series = Series.parse(series) if isinstance(series, str) else series
        span = span_of_days(first, end)
        held = self.lake.read(series, span).select(FETCHED.names).cast(FETCHED)
        truth = self.sandbox.klines(Series.parse(at) if at else series, span)
        return held.num_rows > 0 and _in_ms(held).equals(_in_ms(truth))

    def asked(self, *words: str) -> list[str]:
        """Return the paths the exchange was asked for that contain one of the words."""
        paths = [f"{request.path}?{request.query}" for request in list(self.sandbox.requests)]
        return [path for path in paths if any(word in path for word in words or ("/",))]


def _in_ms(rows: pa.Table) -> pa.Table:
    place = rows.schema.get_field_index("close_time")
    return rows.set_column(place, "close_time", epoch_ms(rows["close_time"]))


def ccxt_client(sandbox: Sandbox, exchange: str) -> Any:
    """Return ccxt's own class for an exchange, its hosts replaced by the sandbox's."""
    # Not at the top: ccxt takes longer to import than most tests to run.
    client = getattr(import_module("ccxt"), exchange)({"enableRateLimit": False})
    client.urls["api"] = dict.fromkeys(client.urls["api"], sandbox.ccxt_urls[exchange])
    return client


def ohlcv_of(klines: pa.Table) -> list[list[float]]:
    """Return klines in the form of ccxt: open_time in milliseconds, prices, volume."""
    columns = (klines[name] for name in ("open", "high", "low", "close", "volume"))
    cells = [epoch_ms(klines["open_time"]), *columns]
    return [list(row) for row in zip(*(column.to_pylist() for column in cells), strict=True)]


# Stands in the address of alerts, and may stand nowhere else.
ALERT_TOKEN = "token-that-nobody-may-see"  # noqa: S105 - looked for in all files


@dataclass
class AlertReceiver:
    """A server that takes alerts: its address, the secret in it, and the texts that arrived."""

    address: str
    token: str
    texts: list[str]


@pytest.fixture
def alert_receiver():
    """Return a server on loopback that takes alerts."""
    texts: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            texts.append(json.loads(body)["text"])
            self.send_response(200)
            self.end_headers()

        def log_message(self, *args: object) -> None:
            del args

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield AlertReceiver(
        f"http://127.0.0.1:{server.server_address[1]}/{ALERT_TOKEN}", ALERT_TOKEN, texts
    )
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="session")
def running_sandbox():
    with Sandbox() as running:
        yield running


@pytest.fixture
def sandbox(running_sandbox):
    """Return the exchange on loopback: real time, no faults, nothing asked yet."""
    yield running_sandbox
    running_sandbox.faults.clear()
    running_sandbox.requests.clear()
    running_sandbox.set_clock(None)


@pytest.fixture(scope="session")
def new_desk(running_sandbox):
    """Return a function that makes a desk; nothing outside of its folder is read or written."""

    def make(folder: Path) -> Desk:
        kept = {name: os.environ[name] for name in ("PATH", "LANG", "TZ") if name in os.environ}
        environ = kept | {
            "HOME": str(folder / "home"),
            "XDG_STATE_HOME": str(folder / "state"),
            "XDG_CONFIG_HOME": str(folder / "config"),
            "DAGSTER_HOME": str(folder / "dagster"),
        }
        (folder / "desk").mkdir()
        return Desk(folder / "desk", running_sandbox, environ)

    return make


@pytest.fixture
def desk(tmp_path, sandbox, new_desk):
    """Return a folder to run commands in, with a healthy exchange."""
    del sandbox
    return new_desk(tmp_path)


@pytest.fixture(scope="module")
def running(request):
    """Return a stand-in exchange at the module's `NOW`, with its `WEIGHTS`, and a client of it."""
    weights = getattr(request.module, "WEIGHTS", None)
    with (
        Sandbox(now_ms=request.module.NOW, weights=weights) as sandbox,
        httpx.Client(base_url=sandbox.url) as client,
    ):
        yield sandbox, client


@pytest.fixture
def healed(running, request):
    """Take faults and the clock back after each test of a module that shares an exchange."""
    yield
    running[0].faults.clear()
    running[0].set_clock(request.module.NOW)
