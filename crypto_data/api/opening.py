"""The lake in Python: `open_lake`, and what an open lake can be asked.

Reading, fetching and judging belong to the modules beside this one; the views to `lake.inventory`.
"""

import logging
import os
import threading
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import pyarrow as pa

from crypto_data.api.answer import Reading, reading_of
from crypto_data.api.asking import Bounds
from crypto_data.api.names import AUTO, Place, check_columns, wanted_series
from crypto_data.api.reading import gather_klines
from crypto_data.api.session import Session
from crypto_data.api.times import Instant
from crypto_data.api.viewing import ask_view, run_select, select
from crypto_data.catalog.location import find_catalog

if TYPE_CHECKING:
    from crypto_data.lake.inventory import Relation

Names = str | Iterable[str]

log = logging.getLogger("crypto_data.api")


class OpenLake:
    """A lake, its configuration and the sources behind it; made by `open_lake`.

    Safe to use from several threads at once, and from several processes: pickled, or taken along
    by a fork, it opens anew. The configuration is read again when it has changed.
    """

    def __init__(self, config: Path) -> None:
        self._config = config
        self._begin()
        self._session()  # a configuration that is wrong is told of at once

    def _begin(self) -> None:
        self._process = os.getpid()
        self._lock = threading.Lock()
        self._held: Session | None = None

    def __reduce__(self) -> tuple[type["OpenLake"], tuple[Path]]:
        """Pickle as the path of the configuration."""
        return OpenLake, (self._config,)

    def __repr__(self) -> str:
        """Return how it was opened."""
        return f"open_lake({str(self._config)!r})"

    def __enter__(self) -> Self:
        """Return the lake, which is closed at the end of the `with` block."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close it."""
        self.close()

    def close(self) -> None:
        """Give back the connections; a later call makes new ones.

        A call that is fetching in another thread ends with `errors.Closed`.
        """
        self._leave_parent()
        with self._lock:
            session, self._held = self._held, None
        if session is not None:
            session.close()

    def _leave_parent(self) -> None:
        """Begin anew in a forked child: locks and connections are its parent's."""
        if self._process != os.getpid():
            self._begin()

    def _session(self) -> Session:
        """Return what is held for the configuration as it is now.

        Raises:
            CatalogError: the configuration was changed and cannot be used.
        """
        self._leave_parent()
        with self._lock:
            if self._held is None or not self._held.is_current():
                self._held = Session(self._config)
            return self._held

    def klines(  # noqa: PLR0913 - what can be said of a call
        self,
        symbols: Names,
        interval: str,
        start: Instant | None = None,
        end: Instant | None = None,
        *,
        market: str = "spot",
        exchange: str = "binance",
        source: str = AUTO,
        columns: Sequence[str] | None = None,
    ) -> pa.Table:
        """Return klines, sorted by open_time, each once, in UTC.

        What the lake lacks is fetched through the failover chain and stored, except for days that
        are not over: their closed klines are fetched by every call. Klines that no source has
        (an outage, a symbol that was not listed) are absent, which is no error.

        Args:
            symbols: One symbol as text, or several: then the table begins with a column `symbol`
                and is sorted by it first.
            interval: Bar length, such as `1m`, `1h`, `1d`, `1mo`.
            start: First open time: "2024-03-01", ISO text with a time, a date, a datetime or a
                pandas Timestamp; UTC where it has no zone. None: the start of the feed.
            end: First open time that is left out. None: now, or the end of the feed if it has one.
            market: `spot`, `um` or `cm`.
            exchange: The exchange's name, such as `binance`.
            source: `auto`; `lake` for what is stored, without a request; or one source that alone
                is asked, and nothing stored: `vision`, `rest`, `ccxt:okx`, ….
            columns: Some of the lake's columns, in this order; None for all.

        Raises:
            DataSourceError: some klines could not be had; `.attempts` says why, source by source.
                What came is stored. `read` returns it.
            UsageError: a name, a time or the range cannot be used; says what can.
            LakeDamaged: a file cannot be read; says how to mend it.
            CatalogError: the configuration cannot be used.
            Closed: another thread closed the lake meanwhile.
        """
        reading = self.read(
            symbols,
            interval,
            start,
            end,
            market=market,
            exchange=exchange,
            source=source,
            columns=columns,
        )
        for note in reading.notes:
            log.warning("%s", note)
        reading.check()
        return reading.table

    def read(  # noqa: PLR0913 - what can be said of a call
        self,
        symbols: Names,
        interval: str,
        start: Instant | None = None,
        end: Instant | None = None,
        *,
        market: str = "spot",
        exchange: str = "binance",
        source: str = AUTO,
        columns: Sequence[str] | None = None,
    ) -> Reading:
        """Return what `klines` would, with notes, and with reasons in place of `DataSourceError`.

        The arguments are those of `klines`.

        Raises:
            UsageError: a name, a time or the range cannot be used; says what can.
            LakeDamaged: a file cannot be read; says how to mend it.
            CatalogError: the configuration cannot be used.
            Closed: another thread closed the lake meanwhile.
        """
        session = self._session()
        names = check_columns(columns)
        bounds = Bounds.read(start, end)
        several = not isinstance(symbols, str)
        series = wanted_series(
            session,
            symbols if several else [str(symbols)],
            Place(exchange, market, interval, source),
        )
        gathered = gather_klines(session, series, bounds, source)
        return reading_of(gathered, names, has_symbol=several)

    def sql(
        self, statement: str, parameters: Sequence[Any] | Mapping[str, Any] | None = None
    ) -> "Relation":
        """Return one SELECT over the views as a DuckDB relation, read when it is used.

        The views are those of `crypto-data sql`. The statement cannot write, attach, install, or
        reach a file outside the lake.

        Args:
            statement: The SELECT.
            parameters: Values for its `?`, or by name for its `$name`.

        Raises:
            UsageError: it is not one SELECT, or DuckDB refuses it; the message is DuckDB's.
            LakeDamaged: it reads klines of a file that cannot be read.
        """
        return run_select(self._session().catalog, statement, parameters)

    def inventory(
        self,
        *,
        exchange: Names = (),
        market: Names = (),
        symbols: Names = (),
        intervals: Names = (),
    ) -> pa.Table:
        """Return a row a series, those that are asked for and lacking included.

        Args:
            exchange: Only these exchanges; one name or several, as in all of these filters.
            market: Only these markets.
            symbols: Only these symbols.
            intervals: Only these intervals.

        Raises:
            UsageError: a name is neither configured nor in the lake.
        """
        chosen = select(exchange, market, symbols, intervals)
        return ask_view(self._session().catalog, "inventory", chosen)

    def coverage(  # noqa: PLR0913 - a parameter a filter
        self,
        *,
        exchange: Names = (),
        market: Names = (),
        symbols: Names = (),
        intervals: Names = (),
        start: Instant | None = None,
        end: Instant | None = None,
    ) -> pa.Table:
        """Return a row a series and day: its state, its rows, where they are from, and why.

        Args:
            exchange: Only these exchanges; one name or several, as in all of these filters.
            market: Only these markets.
            symbols: Only these symbols.
            intervals: Only these intervals.
            start: First UTC day.
            end: First UTC day that is left out.

        Raises:
            UsageError: a name is neither configured nor in the lake, or the days make no range.
        """
        chosen = select(exchange, market, symbols, intervals, start, end)
        return ask_view(self._session().catalog, "coverage", chosen)

    def gaps(  # noqa: PLR0913 - a parameter a filter
        self,
        *,
        exchange: Names = (),
        market: Names = (),
        symbols: Names = (),
        intervals: Names = (),
        start: Instant | None = None,
        end: Instant | None = None,
    ) -> pa.Table:
        """Return a row an unbroken stretch of absent klines, explained ones too.

        Args:
            exchange: Only these exchanges; one name or several, as in all of these filters.
            market: Only these markets.
            symbols: Only these symbols.
            intervals: Only these intervals.
            start: First UTC day.
            end: First UTC day that is left out.

        Raises:
            UsageError: a name is neither configured nor in the lake, or the days make no range.
        """
        chosen = select(exchange, market, symbols, intervals, start, end)
        return ask_view(self._session().catalog, "gaps", chosen)


def open_lake(config: str | os.PathLike[str] | None = None) -> OpenLake:
    """Open the lake that a configuration describes; nothing is asked of anybody.

    Args:
        config: The YAML file. None: `$CRYPTO_DATA_CONFIG`, else `./crypto_data.yaml`, else
            `$XDG_CONFIG_HOME/crypto-data/crypto_data.yaml`.

    Raises:
        UsageError: there is no configuration; says where it was looked for.
        CatalogError: it cannot be used; holds all its faults.
    """
    named = None if config is None else Path(config)
    return OpenLake(find_catalog(named, os.environ, Path.cwd()))
