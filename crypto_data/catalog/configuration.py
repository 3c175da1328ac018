"""The configuration: which series are wanted, from where, and where they are kept.

Values and the reading of `crypto_data.yaml`. The YAML text belongs to `catalog.text`, rules that
need several values at once to `catalog.rules`, the wording of faults to `catalog.faults`. No
network, and no look into the lake.
"""

from collections.abc import Mapping
from datetime import date
from pathlib import Path

from pydantic import BaseModel, Field, ValidationError

from crypto_data.catalog.faults import faults_of
from crypto_data.catalog.rules import check_rules, name_feeds
from crypto_data.catalog.settings import FROZEN, Alerts, Keep, SourceSettings
from crypto_data.catalog.text import WHOLE_FILE, Entry, read_entries
from crypto_data.catalog.values import (
    DAY_WORDS,
    INTERVAL_WORDS,
    SOURCE_WORDS,
    SOURCES,
    Count,
    Cron,
    Day,
    Exchange,
    FeedInterval,
    FeedMarket,
    FeedName,
    FeedSymbol,
    LakeText,
    Seconds,
    Source,
)
from crypto_data.errors import CatalogError, Fault, UsageError
from crypto_data.series import Series

FILE_NAME = "crypto_data.yaml"
VARIABLE = "CRYPTO_DATA_CONFIG"

EXAMPLE = """\
lake: ./lake
feeds:
  - exchange: binance
    market: spot
    symbols: [BTCUSDT, ETHUSDT]
    intervals: [1m, 1h]
    start: 2024-01-01
"""


class Feed(BaseModel):
    """One entry of the configuration: many series alike. `start` in, `end` out, UTC days."""

    model_config = FROZEN

    name: FeedName
    exchange: Exchange
    market: FeedMarket
    symbols: tuple[FeedSymbol, ...] = Field(
        min_length=1, description="a list of symbols such as [BTCUSDT, ETHUSDT]"
    )
    intervals: tuple[FeedInterval, ...] = Field(
        min_length=1, description=f"a list of some of {INTERVAL_WORDS}"
    )
    start: Day
    end: Day | None = Field(None, description=f"{DAY_WORDS}, or null")
    schedule: Cron = "30 0 * * *"
    sources: tuple[Source, ...] = Field(
        SOURCES, min_length=1, description=f"a list of some of {SOURCE_WORDS}, first asked first"
    )
    max_retries: Count = Field(3, ge=0, le=20, description="a whole number, 0 to 20")
    retry_delay: Seconds = 1.0

    @property
    def series(self) -> tuple[Series, ...]:
        """The series of this feed: every symbol in every interval, in the order of the file."""
        return tuple(
            Series(self.exchange, self.market, symbol, interval)
            for symbol in self.symbols
            for interval in self.intervals
        )


class CatalogText(BaseModel):
    """What the file itself says, before its paths are resolved."""

    model_config = FROZEN

    lake: LakeText
    feeds: tuple[Feed, ...] = Field(
        description="a list of feeds, each with exchange, market, symbols, intervals and start"
    )
    sources: SourceSettings = Field(
        SourceSettings(), description="the keys vision, rest, timeout, concurrency and weights"
    )
    alerts: Alerts = Field(
        Alerts(), description="the keys urls, max_consecutive_errors and stale_after_hours"
    )
    keep: Keep = Field(Keep(), description="the keys superseded_days and run_days")


class Catalog(BaseModel):
    """The whole configuration; `path` is its file, `lake` the absolute folder of the lake."""

    model_config = FROZEN

    path: Path
    lake: Path
    feeds: tuple[Feed, ...]
    sources: SourceSettings = SourceSettings()
    alerts: Alerts = Alerts()
    keep: Keep = Keep()

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
    try:
        text = path.read_text("utf-8-sig")
    except UnicodeDecodeError:
        found, allowed = "bytes that are no UTF-8", "UTF-8 text"
    except (OSError, ValueError) as error:
        found, allowed = getattr(error, "strerror", None) or str(error), "a file that can be read"
    else:
        return parse_catalog(text, path=path, environ=environ, today=today)
    raise CatalogError([Fault(str(path), 1, WHOLE_FILE, found, allowed)])


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
        feeds=written.feeds,
        sources=written.sources,
        alerts=written.alerts,
        keep=written.keep,
    )


def _validate(root: Entry, file: str) -> tuple[CatalogText | None, list[Fault]]:
    try:
        return CatalogText.model_validate(name_feeds(root)), []
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


def find_catalog(config: Path | None, environ: Mapping[str, str], cwd: Path) -> Path:
    """Return the absolute path of the configuration to use.

    Looks at `config`, `$CRYPTO_DATA_CONFIG`, `./crypto_data.yaml`, and then
    `$XDG_CONFIG_HOME/crypto-data/crypto_data.yaml`. A file that was named must exist; no other one
    is taken in its place.

    Raises:
        UsageError: there is none; says where it was looked for and how to make one.
    """
    named = config or (Path(environ[VARIABLE]) if environ.get(VARIABLE) else None)
    if named is not None:
        if _is_there(cwd / named):
            return cwd / named
        origin = "--config" if config else f"${VARIABLE}"
        raise UsageError(f"{origin}: there is no file {cwd / named}. {_how_to_make(cwd / named)}")
    places = [cwd / FILE_NAME]
    if home := _configuration_home(environ):
        places.append(home / "crypto-data" / FILE_NAME)
    for place in places:
        if _is_there(place):
            return place
    looked = ", ".join(["--config (not given)", f"${VARIABLE} (not set)", *map(str, places)])
    raise UsageError(f"There is no configuration. Looked at: {looked}. {_how_to_make(places[0])}")


def _configuration_home(environ: Mapping[str, str]) -> Path | None:
    if environ.get("XDG_CONFIG_HOME"):
        return Path(environ["XDG_CONFIG_HOME"])
    return Path(environ["HOME"]) / ".config" if environ.get("HOME") else None


def _is_there(place: Path) -> bool:
    try:
        return place.exists() and not place.is_dir()
    except OSError:
        return False


def _how_to_make(place: Path) -> str:
    return f"To make one, write this to {place}:\n\n{EXAMPLE}"
