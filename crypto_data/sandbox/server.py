"""The stand-in exchange as a server on loopback: `Sandbox` for tests, `serve` for the command.

Sockets, the clock, the log of requests and the control endpoints. What is served belongs to
`archive`, `listing` and `rest`, for other exchanges to `okx` and `kraken`; what goes wrong on
demand to `faults` and `damage`.
"""

import signal
import socket
import threading
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import replace
from email.utils import formatdate
from http.server import ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import parse_qsl

import pyarrow as pa

from crypto_data.errors import UsageError
from crypto_data.intervals import TimeRange
from crypto_data.sandbox.archive import PUBLICATION_DELAY_MS, Archive
from crypto_data.sandbox.control import Clock, Control, Request
from crypto_data.sandbox.damage import ending_of, instead
from crypto_data.sandbox.exchange import Exchange
from crypto_data.sandbox.faults import (
    ANSWER_ACTIONS,
    FILE_ACTIONS,
    ROW_ACTIONS,
    Fault,
    FaultList,
)
from crypto_data.sandbox.kline_text import truth_table
from crypto_data.sandbox.kraken import KRAKEN_ROOT, Kraken
from crypto_data.sandbox.listing import Listing
from crypto_data.sandbox.okx import HISTORY_ROWS, OKX_ROOT, Okx
from crypto_data.sandbox.rest import ROOTS, Rest
from crypto_data.sandbox.sockets import SandboxHandler
from crypto_data.sandbox.symbols import Outage, Symbol, SymbolBook, known_outages
from crypto_data.sandbox.web import Answer, Call
from crypto_data.series import Market, Series

# Older entries of the request log make room beyond this.
_LOG_LIMIT = 200_000


class Sandbox:
    """A running stand-in exchange; leaving the `with` block ends it.

    Args:
        port: Where to listen on 127.0.0.1; 0 takes a free one.
        now_ms: The exchange's clock, standing still at this instant; None is real time.
        page_keys: Entries on a page of the listing.
        weights: REST budgets per market and minute that differ from Binance's.
        symbols: Symbols beyond the default ones; one of the same name replaces it.
        outages: Stops of trading; None for those that really happened.
        publication_delay_ms: How long after a day's end its file appears.
        crowd: How many of `S000USDT`, `S001USDT`, … are listed (all of them can be asked for).
        okx_history_rows: The longest page of OKX's old candles; 100 is what it was for long.
    """

    def __init__(  # noqa: PLR0913 - every setting has a default
        self,
        *,
        port: int = 0,
        now_ms: int | None = None,
        page_keys: int = 1000,
        weights: Mapping[Market, int] | None = None,
        symbols: Iterable[Symbol] = (),
        outages: Iterable[Outage] | None = None,
        publication_delay_ms: int = PUBLICATION_DELAY_MS,
        crowd: int = 0,
        okx_history_rows: int = HISTORY_ROWS,
    ) -> None:
        stops = known_outages() if outages is None else tuple(outages)
        self.exchange = Exchange(SymbolBook(symbols, crowd=crowd), stops)
        self.faults = FaultList()
        self.requests: list[Request] = []
        self.clock = Clock(now_ms)
        self._archive = Archive(self.exchange, self.faults, delay_ms=publication_delay_ms)
        self._listing = Listing(self.exchange, self._archive, page_keys=page_keys)
        self._rest = Rest(self.exchange, self.faults, weights=weights)
        self._okx = Okx(self.faults, history_rows=okx_history_rows)
        self._kraken = Kraken(self.faults)
        self._control = Control(self.faults, self.clock, self.requests)
        handler = type("Handler", (SandboxHandler,), {"answer_call": self._answer_call})
        self._server = _Server(("127.0.0.1", port), handler)
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True
        )

    def __enter__(self) -> Self:
        """Start serving."""
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        """Stop serving and free the port."""
        self._server.shutdown()
        self._server.server_close()
        self._server.end_connections()
        self._thread.join()

    @property
    def url(self) -> str:
        """The root of everything: `http://127.0.0.1:PORT`."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    @property
    def ccxt_urls(self) -> dict[str, str]:
        """What `sources.ccxt.urls` of a configuration says: the roots of the other exchanges."""
        return ccxt_urls(self.url)

    def set_clock(self, now_ms: int | None) -> None:
        """Let the exchange's clock stand still at an instant; None is real time."""
        self.clock.set(now_ms)

    def republish(self, path: str, at_ms: int | None = None) -> None:
        """Publish files (again), whole: what was wrong with them ends, their LastModified is new.

        Args:
            path: The pattern of the faults that end, exactly as they were added.
            at_ms: When, epoch milliseconds; None is now, by the exchange's clock.
        """
        self.faults.end(path, FILE_ACTIONS | ROW_ACTIONS | {"absent"})
        moment_ms = self.clock.now_ms() if at_ms is None else at_ms
        self.faults.add(Fault(path, "republished", last_modified_ms=moment_ms // 1000 * 1000))

    def klines(self, series: Series, span: TimeRange) -> pa.Table:
        """Return the truth: the closed klines of the span as `FETCHED`, ascending.

        Binance's times are those of the archive: spot's close_time has microseconds from 2025 on.
        Of okx and kraken it is what ccxt hands on, by ccxt's symbols.

        Raises:
            UsageError: the exchange has no such symbol.
        """
        now_ms = self.clock.now_ms()
        if series.exchange != "binance":
            return self._other_klines(series, span, now_ms)
        symbol = self.exchange.symbols.find(series.market, series.symbol)
        if symbol is None:
            raise UsageError(f"{series}: the sandbox has no such symbol")
        bars = self.exchange.closed_bars(symbol, series.interval, span, now_ms)
        return truth_table(bars, symbol)

    def _other_klines(self, series: Series, span: TimeRange, now_ms: int) -> pa.Table:
        books = {"okx": self._okx.book, "kraken": self._kraken.book}
        book = books.get(series.exchange)
        instrument = book.find(series.market, series.symbol) if book else None
        if book is None or instrument is None:
            raise UsageError(f"{series}: the sandbox has no such symbol")
        return book.truth(instrument, series.interval, span, now_ms)

    def _answer_call(self, call: Call) -> Answer:
        if call.path.startswith("/sandbox/"):
            return self._control.serve(call)
        at_ms = time.time_ns() // 1_000_000
        answer = self._with_faults(call)
        date = ("Date", formatdate(self.clock.now_ms() / 1000, usegmt=True))
        answer = replace(answer, headers=(*answer.headers, date))
        self.requests.append(Request(call.path, call.query, answer.status, at_ms))
        if len(self.requests) > _LOG_LIMIT:
            del self.requests[: _LOG_LIMIT // 2]
        return answer

    def _with_faults(self, call: Call) -> Answer:
        ending = None
        for fault in self.faults.take(ANSWER_ACTIONS, call.path, query=call.query):
            if fault.action == "delay":
                time.sleep(fault.seconds)
            elif (answer := instead(call, fault)) is not None:
                return answer
            else:
                ending = ending_of(fault)
        answer = self._route(call)
        return answer if ending is None else replace(answer, ending=ending)

    def _route(self, call: Call) -> Answer:
        now_ms = self.clock.now_ms()
        if call.path.startswith("/data/"):
            return self._archive.serve(call, now_ms)
        values = dict(parse_qsl(call.query, keep_blank_values=True))
        if call.path.rstrip("/") == "/listing":
            return self._listing.serve(values, now_ms)
        call = replace(call, values=values)
        if call.path.startswith(OKX_ROOT):
            return self._okx.serve(call, now_ms)
        if call.path.startswith(KRAKEN_ROOT):
            return self._kraken.serve(call, now_ms)
        for root, market in ROOTS.items():
            if call.path.startswith(root):
                return self._rest.serve(call, market, now_ms)
        return Answer(404, b"<html><body>404 Not found</body></html>")


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 256

    def __init__(self, address: tuple[str, int], handler: type[SandboxHandler]) -> None:
        super().__init__(address, handler)
        self._open: set[socket.socket] = set()

    def process_request(self, request: Any, client_address: Any) -> None:
        """Serve a new connection in its own thread, and remember it."""
        self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        """Close a connection, and forget it."""
        self._open.discard(request)
        super().shutdown_request(request)

    def end_connections(self) -> None:
        """Close what clients keep alive: a server that is gone answers nobody."""
        for connection in list(self._open):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)


def serve(port: int, **options: Any) -> None:
    """Run a sandbox in the foreground until SIGINT or SIGTERM; prints nothing.

    Args:
        port: Where to listen on 127.0.0.1.
        options: Those of `Sandbox`.
    """
    ended = threading.Event()
    before = {
        number: signal.signal(number, lambda *_: ended.set())
        for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        with Sandbox(port=port, **options):
            ended.wait()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def ccxt_urls(url: str) -> dict[str, str]:
    """Return where a sandbox at `url` speaks for other exchanges, by ccxt's names of them."""
    return {exchange: f"{url}/{exchange}" for exchange in ("okx", "kraken")}


def sandbox_config(url: str, lake: str, feeds_yaml: str) -> str:
    """Return the text of a `crypto_data.yaml` whose sources are a sandbox.

    Args:
        url: The sandbox's root.
        lake: The folder of the lake.
        feeds_yaml: The list below `feeds:`, at any indentation.
    """
    others = ", ".join(f'{name}: "{root}"' for name, root in ccxt_urls(url).items())
    return (
        f"lake: {lake}\n"
        f"feeds:\n{feeds_yaml.strip(chr(10))}\n"
        "sources:\n"
        f'  vision: {{url: "{url}", listing: "{url}/listing"}}\n'
        "  rest:\n"
        f'    spot: ["{url}"]\n    um: ["{url}"]\n    cm: ["{url}"]\n'
        "  ccxt:\n"
        f"    urls: {{{others}}}\n"
    )
