"""The commands that change the configuration's file: add, remove."""

import os
from pathlib import Path
from typing import Annotated

import typer

from crypto_data.cli.completion import feeds as complete_feeds
from crypto_data.cli.completion import intervals as complete_intervals
from crypto_data.cli.completion import markets as complete_markets
from crypto_data.cli.completion import symbols as complete_symbols
from crypto_data.cli.options import Config, Format, Output, parse_day, parse_intervals

changes = typer.Typer()

_Intervals = Annotated[
    str | None,
    typer.Option(
        "--interval", "--intervals", help="Intervals, separated by commas: 1m,1h.",
        autocompletion=complete_intervals,
    ),
]  # fmt: skip
_Feed = Annotated[str | None, typer.Option(help="The feed's name.", autocompletion=complete_feeds)]
_Market = Annotated[
    str | None, typer.Option(help="spot, um or cm.", autocompletion=complete_markets)
]


@changes.command(epilog="Example: crypto-data add SOLUSDT --market spot")
def add(
    symbols: Annotated[
        list[str], typer.Argument(help='Symbols, or patterns in quotes: SOLUSDT "*USDC".')
    ],
    market: _Market = None,
    exchange: Annotated[str | None, typer.Option(help="binance, okx, …")] = None,
    intervals: _Intervals = None,
    start: Annotated[str | None, typer.Option(help="First UTC day, for a new feed.")] = None,
    end: Annotated[
        str | None, typer.Option(help="First UTC day that is left out, for a new feed.")
    ] = None,
    feed: _Feed = None,
    config: Config = None,
    form: Output = Format.TABLE,
) -> None:
    """Add symbols to the feed that fits, or in a new one; the rest of the file stays as it is.

    Without options that is the feed of binance spot. A new feed needs --interval and --start.
    """
    from crypto_data.catalog.location import find_catalog
    from crypto_data.cli.editing import add_symbols
    from crypto_data.cli.wish import Wish

    path = find_catalog(config, os.environ, Path.cwd())
    named = parse_intervals("--interval", intervals)
    first, last = parse_day("--start", start), parse_day("--end", end)
    wish = Wish(tuple(symbols), exchange, market, named, first, feed, last)
    add_symbols(path, wish, form)


@changes.command(epilog="Example: crypto-data remove SOLUSDT --market spot")
def remove(
    symbols: Annotated[
        list[str],
        typer.Argument(help="Symbols or patterns.", autocompletion=complete_symbols),
    ],
    market: _Market = None,
    exchange: Annotated[str | None, typer.Option(help="Only of this exchange.")] = None,
    intervals: _Intervals = None,
    feed: _Feed = None,
    config: Config = None,
    form: Output = Format.TABLE,
) -> None:
    """Take symbols out of all feeds, or of those that the options name; the lake keeps its files.

    A feed without symbols goes. A symbol that only a pattern matches is left out by a `!`.
    """
    from crypto_data.catalog.location import find_catalog
    from crypto_data.cli.editing import remove_symbols
    from crypto_data.cli.wish import Wish

    path = find_catalog(config, os.environ, Path.cwd())
    named = parse_intervals("--interval", intervals)
    remove_symbols(path, Wish(tuple(symbols), exchange, market, named, None, feed), form)
