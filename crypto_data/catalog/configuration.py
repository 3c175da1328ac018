"""The configuration: which series are wanted, from where, and where they are kept.

Values and the reading of `crypto_data.yaml`. The YAML text belongs to `catalog.text`, rules that
need several values at once to `catalog.rules`, the wording of faults to `catalog.faults`. No
network, and no look into the lake.
"""

from collections.abc import Collection, Container, Iterable, Mapping
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

from pydantic import BaseModel, Field, ValidationError

from crypto_data.catalog.faults import faults_of
from crypto_data.catalog.file import BYTE_ORDER_MARK, read_text
from crypto_data.catalog.patterns import is_pattern, pick_symbols
from crypto_data.catalog.rules import check_rules, complete_feeds
from crypto_data.catalog.settings import FROZEN, Alerts, Keep, SourceSettings
from crypto_data.catalog.text import Entry, read_entries
from crypto_data.catalog.values import (
    DAY_WORDS,
    INTERVAL_ITEM_WORDS,
    SOURCE_WORDS,
    Count,
    Cron,
    Day,
    ExchangeName,
    FeedInterval,
    FeedMarket,
    FeedName,
    FeedSymbol,
    IntervalItem,
    LakeText,
    Seconds,
    Source,
)
from crypto_data.errors import CatalogError, Fault
from crypto_data.exchanges import OWN_SOURCES, made_source
from crypto_data.intervals import Interval
from crypto_data.series import Market, Series


class _FeedKeys(BaseModel):
    """What a feed says that is the same as written and as used."""

    model_config = FROZEN

    # The title is the meaning of a key, the description what it may be.
    name: FeedName = Field(title="how it is called; also its group in Dagster")
    exchange: ExchangeName = Field(title="whose klines")
    market: FeedMarket = Field(title="spot, USDT-margined or coin-margined")
    symbols: tuple[FeedSymbol, ...] = Field(
        min_length=1,
        title="which symbols, in the exchange's own spelling, or patterns",
        description='a list of symbols such as [BTCUSDT, ETHUSDT], or one pattern such as "*USDT"',
    )
    intervals: tuple[Any, ...]  # each of the two says which; here for the order of the keys
    start: Day = Field(title="the first UTC day")
    end: Day | None = Field(
        None,
        title="the first UTC day that is left out; null keeps up with the market",
        description=f"{DAY_WORDS}, or null",
    )
    schedule: Cron = Field("30 0 * * *", title="when the last closed day is fetched, UTC")
    sources: tuple[Source, ...] = Field(
        OWN_SOURCES,
        min_length=1,
        title="the failover order, best first; default: the exchange's own",
        description=f"a list of {SOURCE_WORDS}, first asked first",
    )
    max_retries: Count = Field(
        3, ge=0, le=20, title="how often a request is repeated", description="a number, 0 to 20"
    )
    retry_delay: Seconds = Field(1.0, title="wait before the first repetition; then it doubles")


class FeedText(_FeedKeys):
    """One entry of the configuration as it is written. `start` in, `end` out, UTC days."""

    intervals: tuple[IntervalItem, ...] = Field(
        min_length=1,
        title="which bar lengths",
        description=f"a list of some of {INTERVAL_ITEM_WORDS}",
    )


class Feed(_FeedKeys):
    """Many series alike: one entry of the configuration. `start` in, `end` out, UTC days.

    `symbols` are names and patterns as written. `made_from` tells of intervals that are made of a
    finer one. `chosen` are the series where there are patterns to resolve.
    """

    intervals: tuple[FeedInterval, ...]
    made_from: dict[Interval, Interval] = {}
    chosen: tuple[Series, ...] | None = None

    def __hash__(self) -> int:
        """Return a hash of the name, which no other feed has: a dict has none."""
        return hash(self.name)

    @property
    def has_patterns(self) -> bool:
        """Whether the exchange's own list says which symbols are meant."""
        return any(map(is_pattern, self.symbols))

    @property
    def series(self) -> tuple[Series, ...]:
        """The series of this feed: every symbol in every interval, in the order of the file."""
        return self._of(self.symbols) if self.chosen is None else self.chosen

    @property
    def names(self) -> tuple[str, ...]:
        """The symbols of this feed, patterns resolved."""
        return tuple(dict.fromkeys(series.symbol for series in self.series))

    def finer(self, series: Series) -> Series | None:
        """Return the series that one of this feed is made of; None where it is fetched."""
        origin = self.made_from.get(series.interval)
        return replace(series, interval=origin) if origin else None

    def best_source(self, series: Series) -> str:
        """Return the source that klines of a series are best from."""
        origin = self.made_from.get(series.interval)
        return made_source(origin) if origin else self.sources[0]

    def resolve(self, listed: Collection[str], taken: Container[Series]) -> "Feed":
        """Return the feed with what its patterns match of `listed`, but for series in `taken`."""
        if not self.has_patterns:
            return self
        series = self._of(pick_symbols(self.symbols, listed))
        return self.model_copy(update={"chosen": tuple(one for one in series if one not in taken)})

    def _of(self, symbols: Iterable[str]) -> tuple[Series, ...]:
        return tuple(
            Series(self.exchange, self.market, symbol, interval)
            for symbol in symbols
            for interval in self.intervals
        )


def _read_feed(text: FeedText) -> Feed:
    items = text.intervals
    written = {name: getattr(text, name) for name in _FeedKeys.model_fields if name != "intervals"}
    return Feed(
        **written,
        intervals=tuple(item.interval for item in items),
        made_from={item.interval: item.made_from for item in items if item.made_from},
    ).resolve((), ())


class CatalogText(BaseModel):
    """What the file itself says, before its paths are resolved."""

    model_config = FROZEN

    lake: LakeText = Field(title="where the klines are kept; relative to this file")
    feeds: tuple[FeedText, ...] = Field(
        title="what is collected",
        description="a list of feeds, each with exchange, market, symbols, intervals and start",
    )
    sources: SourceSettings = Field(
        SourceSettings(),
        title="how sources are reached",
        description="the keys vision, rest, ccxt, timeout, concurrency and weights",
    )
    alerts: Alerts = Field(
        Alerts(),
        title="whom to tell, and of what",
        description="the keys urls, max_consecutive_errors and stale_after_hours",
    )
    keep: Keep = Field(
        Keep(),
        title="for how long what is no longer needed stays",
        description="the keys superseded_days and run_days",
    )


class Catalog(BaseModel):
    """The whole configuration; `path` is its file, `lake` the absolute folder of the lake."""

    model_config = FROZEN

    path: Path
    lake: Path
    feeds: tuple[Feed, ...]
    sources: SourceSettings = SourceSettings()
    alerts: Alerts = Alerts()
    keep: Keep = Keep()

    def resolve(self, listed: Mapping[tuple[str, Market], Collection[str]]) -> "Catalog":
        """Return the configuration with all patterns of symbols resolved.

        Args:
            listed: The symbols of each exchange and market, delisted ones too.

        A series belongs to the feed that spells it out, else to the first whose pattern matches.
        """
        taken = {one for feed in self.feeds if not feed.has_patterns for one in feed.series}
        feeds = []
        for feed in self.feeds:
            resolved = feed.resolve(listed.get((feed.exchange, feed.market), ()), taken)
            taken.update(resolved.series)
            feeds.append(resolved)
        return self.model_copy(update={"feeds": tuple(feeds)})

    def all_series(self) -> dict[Series, Feed]:
        """Return every wanted series with its feed, in the order of the file."""
        return {series: feed for feed in self.feeds for series in feed.series}


def load_catalog(path: Path, environ: Mapping[str, str], today: date) -> Catalog:
    """Read the configuration.

    Args:
        path: The YAML file.
        environ: Where `${NAME}` is looked up.
        today: The current UTC day; a feed cannot start after it.

    Raises:
        CatalogError: it cannot be read or used; holds all faults, in the order of the file.
    """
    text = read_text(path).removeprefix(BYTE_ORDER_MARK)
    return parse_catalog(text, path=path, environ=environ, today=today)


def parse_catalog(text: str, *, path: Path, environ: Mapping[str, str], today: date) -> Catalog:
    """Return the configuration that `text` would be if it stood in `path`.

    Raises:
        CatalogError: it cannot be used; holds all faults, in the order of the file.
    """
    root, faults = read_entries(text, str(path), environ)
    if root is None:
        raise CatalogError(faults)
    known = {fault.key for fault in faults}
    written, broken = _validate(root, str(path))
    rules = check_rules(root, str(path), today)
    faults += [fault for fault in (*broken, *rules) if fault.key not in known]
    lake = _resolve(path, written.lake, environ) if written else None
    if written and lake is None:
        found = root.at(["lake"])
        allowed = "a folder that can be reached, no file; ~ stands for $HOME"
        faults.append(Fault(str(path), found.line, "lake", found.shown, allowed))
    if faults or written is None or lake is None:
        raise CatalogError(sorted(faults, key=lambda fault: fault.line))
    return Catalog(
        path=path.absolute(),
        lake=lake,
        feeds=tuple(map(_read_feed, written.feeds)),
        sources=written.sources,
        alerts=written.alerts,
        keep=written.keep,
    )


def _validate(root: Entry, file: str) -> tuple[CatalogText | None, list[Fault]]:
    try:
        return CatalogText.model_validate(complete_feeds(root)), []
    except ValidationError as error:
        return None, faults_of(error, root, CatalogText, file)


def _resolve(path: Path, lake: str, environ: Mapping[str, str]) -> Path | None:
    """Return the absolute folder; relative ones start at the configuration's folder."""
    if lake == "~" or lake.startswith("~/"):
        home = environ.get("HOME", "")
        lake = f"{home}{lake[1:]}" if home else lake
    if lake.startswith("~"):
        return None
    try:
        folder = (path.absolute().parent / lake).resolve()
        return folder if folder.is_dir() or not folder.exists() else None
    except (OSError, RuntimeError, ValueError):  # RuntimeError: a loop of links before 3.13
        return None
