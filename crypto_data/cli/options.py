"""The options that several commands share, and what every command does first."""

import logging
import sys
import time
from datetime import date
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from crypto_data.cli import completion
from crypto_data.errors import UsageError
from crypto_data.selection import Selection

if TYPE_CHECKING:
    from crypto_data.intervals import Interval


class Format(StrEnum):
    """How results are printed."""

    TABLE = "table"
    JSON = "json"
    CSV = "csv"


class LogLevel(StrEnum):
    """How much is said on stderr."""

    DEBUG = "DEBUG"
    INFO = "INFO"
    WARNING = "WARNING"
    ERROR = "ERROR"


def _say_version(is_asked: bool) -> None:
    if is_asked:
        from importlib.metadata import version

        sys.stdout.write(f"crypto-data {version('crypto-data')}\n")
        raise typer.Exit


Version = Annotated[
    bool,
    typer.Option(
        "--version", callback=_say_version, is_eager=True, help="Say the version, and end."
    ),
]
Config = Annotated[
    Path | None,
    typer.Option(
        "--config",
        help="The configuration; else it is looked for: $CRYPTO_DATA_CONFIG, ./crypto_data.yaml, "
        "$XDG_CONFIG_HOME/crypto-data/crypto_data.yaml.",
        show_default=False,
    ),
]
Output = Annotated[Format, typer.Option("--format", help="How to print the result.")]
Level = Annotated[
    LogLevel,
    typer.Option(
        "--log-level",
        envvar="CRYPTO_DATA_LOG_LEVEL",
        help="What to say on stderr; DEBUG shows every request.",
        case_sensitive=False,
    ),
]
Parallel = Annotated[
    int, typer.Option(min=0, max=64, help="Files at once, up to 64; 0 takes sources.concurrency.")
]
Exchange = Annotated[
    list[str] | None,
    typer.Option(help="Only this exchange; may be repeated.", autocompletion=completion.exchanges),
]
MarketName = Annotated[
    list[str] | None,
    typer.Option(
        "--market",
        help="Only this market: spot, um or cm; may be repeated.",
        autocompletion=completion.markets,
    ),
]
Symbols = Annotated[
    str | None,
    typer.Option(
        help="Only these symbols, separated by commas: BTCUSDT,ETHUSDT.",
        autocompletion=completion.symbols,
    ),
]
Intervals = Annotated[
    str | None,
    typer.Option(
        help="Only these intervals, separated by commas: 1m,1h.",
        autocompletion=completion.intervals,
    ),
]
Start = Annotated[str | None, typer.Option(help="First UTC day, such as 2024-01-01.")]
End = Annotated[str | None, typer.Option(help="First UTC day that is left out.")]
GapStart = Annotated[
    str | None, typer.Option("--start", help="Only gaps that reach to this UTC day or beyond.")
]
GapEnd = Annotated[
    str | None, typer.Option("--end", help="Only gaps that begin before this UTC day.")
]


def select(
    exchange: list[str] | None,
    market: list[str] | None,
    symbols: str | None,
    intervals: str | None,
    start: str | None = None,
    end: str | None = None,
) -> Selection:
    """Return what the options of a command choose.

    Raises:
        UsageError: an interval or a day cannot be read, or the days make no range.
    """
    return Selection(
        tuple(exchange or ()),
        tuple(market or ()),
        split_list("--symbols", symbols),
        tuple(map(str, parse_intervals("--intervals", intervals))),
        parse_day("--start", start),
        parse_day("--end", end),
    )


def split_list(option: str, text: str | None) -> tuple[str, ...]:
    """Return the names in a comma-separated list; none where the option was not given.

    Raises:
        UsageError: the option was given and names nothing, as by an unset variable of a shell.
    """
    names = tuple(name.strip() for name in (text or "").split(",") if name.strip())
    if text is not None and not names:
        raise UsageError(f"{option}: no name was given; leave the option out to mean all")
    return names


def parse_intervals(option: str, text: str | None) -> "tuple[Interval, ...]":
    """Return the intervals in a comma-separated list, each once; none where it was not given.

    Raises:
        UsageError: a name is no interval, or the option was given and names nothing.
    """
    return tuple(dict.fromkeys(parse_interval(option, name) for name in split_list(option, text)))


def parse_interval(option: str, text: str) -> "Interval":
    """Return the interval an option names; `1M` means `1mo`.

    Raises:
        UsageError: no interval.
    """
    from crypto_data.intervals import Interval

    try:
        return Interval.parse(text)
    except ValueError as error:
        raise UsageError(f"{option}: {error}") from None


def parse_day(option: str, text: str | None) -> date | None:
    """Return the day an option names.

    Raises:
        UsageError: no day of the calendar.
    """
    if text is None:
        return None
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise UsageError(f"{option}: {text!r} is no day; write it as 2024-01-01") from None


def local_ms() -> int:
    """Return this machine's clock, UTC epoch milliseconds."""
    return time.time_ns() // 1_000_000


def set_up_logging(level: LogLevel) -> None:
    """Send our own log lines to stderr; other libraries speak from WARNING on."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    logging.getLogger("crypto_data").setLevel(level.value)
