"""The command `export`, and what it prints: a table of series, or JSON and CSV of files."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from crypto_data.cli.configuration import read_catalog
from crypto_data.cli.options import (
    Config,
    End,
    Exchange,
    Format,
    Intervals,
    MarketName,
    Output,
    Start,
    Symbols,
    local_ms,
    select,
)
from crypto_data.cli.output import Row, complain, print_rows
from crypto_data.exporting.order import ExportFormat, Order, Packing

if TYPE_CHECKING:
    from crypto_data.exporting.export import Exported

exporting = typer.Typer()

_COLUMNS = (
    "series",
    "file",
    "rows",
    "first_open",
    "last_open",
    "missing_open",
    "missing_explained",
    "stand_in_rows",
    "provisional_days",
    "sources",
    "reason",
)


@exporting.command(
    epilog="Example: crypto-data export freqtrade --to user_data/data --symbols BTCUSDT"
)
def export(
    program: Annotated[
        ExportFormat,
        typer.Argument(help="Who is to read it; csv is the form of the exchange's own archive."),
    ],
    to: Annotated[Path, typer.Option(help="The folder to write into.")],
    config: Config = None,
    exchange: Exchange = None,
    market: MarketName = None,
    symbols: Symbols = None,
    intervals: Intervals = None,
    start: Start = None,
    end: End = None,
    allow_gaps: Annotated[
        bool, typer.Option("--allow-gaps", help="Write series that have missing days too.")
    ] = False,
    packed: Annotated[
        bool, typer.Option("--zip", help="For csv: zip each file, with its CHECKSUM.")
    ] = False,
    form: Output = Format.TABLE,
) -> None:
    """Write klines of the lake as files for another program; asks no exchange.

    Nothing is filled or resampled. A series with missing days is not written, and named.
    """
    chosen = select(exchange, market, symbols, intervals, start, end)
    packing = Packing.ZIP if packed else Packing.PLAIN
    order = Order(program, to, chosen, allow_gaps, packing)
    raise typer.Exit(_export(config, order, form))


def _export(config: Path | None, order: Order, form: Format) -> int:
    """Export and print; return 1 when something asked for is not in the files."""
    from crypto_data.exporting.export import start_export

    done = list(_showing_progress(start_export(read_catalog(config), order, local_ms())))
    found = [(one, list(_files(one))) for one in done]
    rows = [
        row
        for one, files in found
        for row in ([*files, *_outside(one)] if files else [_nothing(one)])
    ]
    shown = [_summary(one, files) for one, files in found if files]
    if shown or form is not Format.TABLE:
        print_rows(rows, form, columns=_COLUMNS, shown=shown)
    for one, files in found:
        complain(f"{one.series}: {words}" for words in _remarks(one, files))
    count = sum(len(files) for _, files in found)
    written = f"{count:,} {'file' if count == 1 else 'files'} in {order.folder}"
    complain([written if count else "nothing was written"])
    return 0 if all(one.is_done for one in done) else 1


def _showing_progress(series: "Iterator[Exported]") -> "Iterator[Exported]":
    """Yield what comes, with a bar on a terminal."""
    from rich.console import Console
    from rich.progress import track

    console = Console(stderr=True)
    yield from track(
        series, "series", console=console, transient=True, disable=not console.is_terminal
    )


def _files(one: "Exported") -> Iterator[dict[str, Any]]:
    """Yield a row for each file of a series."""
    from crypto_data.coverage import DayState
    from crypto_data.partitions import day_of

    provisional = one.content.days(DayState.PROVISIONAL)
    for file in one.files:
        first, end = day_of(file.span.start_ms), day_of(file.span.end_ms)
        yield {
            "series": str(one.series),
            "file": str(file.path),
            "rows": file.rows,
            "first_open": _moment(file.first_open_ms),
            "last_open": _moment(file.last_open_ms),
            "missing_open": one.content.count_missing(file.span, is_open=True),
            "missing_explained": one.content.count_missing(file.span, is_open=False),
            "stand_in_rows": one.stand_ins(file),
            "provisional_days": sum(first <= day < end for day in provisional),
            "sources": _say_sources(file.sources),
            "reason": None,
        }


def _outside(one: "Exported") -> Iterator[dict[str, Any]]:
    """Yield a row for absent klines that lie in no file, as those of a day without any."""
    missing = {
        is_open: one.content.count_missing(one.content.span, is_open=is_open)
        - sum(one.content.count_missing(file.span, is_open=is_open) for file in one.files)
        for is_open in (True, False)
    }
    if any(missing.values()):
        yield dict.fromkeys(_COLUMNS, None) | {
            "series": str(one.series),
            "rows": 0,
            "missing_open": missing[True],
            "missing_explained": missing[False],
            "reason": "days without any kline have no file",
        }


def _nothing(one: "Exported") -> dict[str, Any]:
    """Return the row of a series of which nothing was written."""
    row = dict.fromkeys(_COLUMNS, None)
    return row | {"series": str(one.series), "rows": 0, "reason": one.reason}


def _moment(time_ms: int) -> datetime:
    return datetime.fromtimestamp(time_ms / 1000, UTC)


def _say_sources(sources: Sequence[tuple[str, int]]) -> str:
    return ", ".join(f"{source} {count}" for source, count in sources)


def _summary(one: "Exported", files: Sequence[Row]) -> dict[str, Any]:
    """Return the files of one series as one line of a table."""
    return {
        "series": files[0]["series"],
        "files": len(files),
        "rows": _total(files, "rows"),
        "from": f"{files[0]['first_open']:%Y-%m-%d %H:%M}",
        "to": f"{files[-1]['last_open']:%Y-%m-%d %H:%M}",
        "missing": one.content.count_missing(one.content.span, is_open=True),
        "explained": one.content.count_missing(one.content.span, is_open=False),
    }


def _total(files: Sequence[Row], name: str) -> int:
    return sum(file[name] for file in files)


def _remarks(one: "Exported", files: Sequence[Row]) -> Iterator[str]:
    """Yield what a person should know of a series, beside what stands in the table."""
    if one.reason:
        yield one.reason
    if stand_ins := _total(files, "stand_in_rows"):
        yield f"{stand_ins:,} klines only stand in, from another exchange or API: see sources"
    if provisional := _total(files, "provisional_days"):
        yield f"{provisional:,} days are provisional: the archive may still publish other values"
    if missing := one.content.count_missing(one.content.span, is_open=True):
        yield f"{missing:,} klines are missing, and nobody knows why"
