"""The command line: what can be asked, and the exit status of each answer.

Nothing heavy is imported before a command needs it, so that `--help` answers at once. What the
commands do belongs to the modules beside this one and below.

Exit status: 0 what was asked is done · 1 it is not · 2 the command or configuration is wrong.
"""

import signal
import sys
from pathlib import Path
from typing import Annotated

import typer

from crypto_data.cli.changing import changes
from crypto_data.cli.comparing import comparing
from crypto_data.cli.configuration import read_catalog
from crypto_data.cli.exchanges import exchanging
from crypto_data.cli.exporting import exporting
from crypto_data.cli.options import (
    Config,
    End,
    Exchange,
    Format,
    GapEnd,
    GapStart,
    Intervals,
    Level,
    LogLevel,
    MarketName,
    Output,
    Parallel,
    Start,
    Symbols,
    Version,
    select,
    set_up_logging,
)
from crypto_data.cli.shell import Shell
from crypto_data.cli.start_up import start_lean
from crypto_data.cli.universe import refresh, refresh_unknown, universe_app
from crypto_data.cli.upkeep import upkeep
from crypto_data.errors import CatalogError, CryptoDataError, UsageError
from crypto_data.selection import Selection

app = typer.Typer(
    cls=Shell,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["--help", "-h"]},
    help="A crypto kline lake with a known state and source for every day of every series.",
    epilog="Start with: crypto-data validate, then: crypto-data backfill",
)
app.add_typer(changes)
app.add_typer(exporting)
app.add_typer(upkeep)
app.add_typer(comparing)
app.add_typer(universe_app)
app.add_typer(exchanging)


@app.callback()
def everywhere(
    timezone: Annotated[
        str | None,
        typer.Option(
            envvar="CRYPTO_DATA_TIMEZONE",
            help="Show instants of tables in this zone, such as Europe/Berlin. Days, JSON and CSV "
            "stay UTC.",
            show_default=False,
        ),
    ] = None,
    log_level: Level = LogLevel.WARNING,
    _version: Version = False,
) -> None:
    """Hold a crypto kline lake with a known state and source for every day of every series."""
    set_up_logging(log_level)
    if timezone:
        from crypto_data.cli.zones import show_in

        show_in(timezone)


def main() -> None:
    """Run the command line; our own errors are sentences on stderr, never a traceback."""
    start_lean()
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        app()
    except (CatalogError, UsageError) as error:
        _end(error, 2)
    except CryptoDataError as error:
        _end(error, 1)
    except KeyboardInterrupt:
        _end("interrupted; what is committed stays", 1)
    except BrokenPipeError:
        # The reader of a pipe (head, less) has seen enough.
        sys.stderr.close()
        raise SystemExit(0) from None


def _interrupt(_number: int, _frame: object) -> None:
    """Treat SIGTERM like Ctrl-C: work ends in good order."""
    raise KeyboardInterrupt


def _end(message: object, status: int) -> None:
    sys.stderr.write(f"{message}\n")
    raise SystemExit(status)


@app.command(epilog="Example: crypto-data validate --config crypto_data.yaml")
def validate(config: Config = None, form: Output = Format.TABLE) -> None:
    """Check the configuration, and say what it asks for."""
    from crypto_data.cli.validating import print_demands

    print_demands(refresh_unknown(read_catalog(config)), form)


@app.command(
    "warm",
    help="The same as backfill: fill the lake before somebody asks for its klines.",
    epilog="Example: crypto-data warm --symbols BTCUSDT --dry-run",
)
@app.command(epilog="Example: crypto-data backfill --symbols BTCUSDT --start 2024-01-01 --dry-run")
def backfill(
    config: Config = None,
    exchange: Exchange = None,
    market: MarketName = None,
    symbols: Symbols = None,
    intervals: Intervals = None,
    start: Start = None,
    end: End = None,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run",
            help="Only say what would be asked for: days, rows, requests, bytes, seconds; these "
            "are estimates.",
        ),
    ] = False,
    parallel: Parallel = 0,
    form: Output = Format.TABLE,
) -> None:
    """Fill every gap of the chosen series through the failover chain.

    Runs in Dagster, which shows each day with its rows, state and source. A second run asks only
    for what is still missing.
    """
    chosen = select(exchange, market, symbols, intervals, start, end)
    raise typer.Exit(_fetch(config, chosen, dry_run=dry_run, parallel=parallel, form=form))


@app.command(epilog="Example, in a crontab: 45 0 * * * crypto-data collect --config /etc/my.yaml")
def collect(config: Config = None, form: Output = Format.TABLE) -> None:
    """Bring all feeds up to the last closed day, then exit.

    Days that wait for the archive are compared with it, and alerts go out: all that Dagster's
    daemon does, once.
    """
    from crypto_data.cli.collecting import look_after

    status = _fetch(config, Selection(), dry_run=False, parallel=0, form=form)
    raise typer.Exit(max(status, look_after(read_catalog(config))))


def _fetch(
    config: Path | None, chosen: Selection, *, dry_run: bool, parallel: int, form: Format
) -> int:
    from crypto_data.cli import fetching, settled

    catalog = refresh(read_catalog(config))
    if dry_run:
        fetching.print_plan(fetching.find_work(catalog, chosen), form)
        return 0
    fetching.refresh_clock(catalog, chosen)
    needs = fetching.find_work(catalog, chosen)
    fetching.note_wishes(catalog)
    if not needs:
        settled.say_nothing_to_fetch(catalog)
        if form is Format.TABLE:
            return 0
    return fetching.fetch(catalog, needs, parallel=parallel, form=form)


@app.command(epilog="Example: crypto-data inventory --market spot --format json")
def inventory(
    config: Config = None,
    exchange: Exchange = None,
    market: MarketName = None,
    symbols: Symbols = None,
    intervals: Intervals = None,
    form: Output = Format.TABLE,
) -> None:
    """Show what the lake holds, a line a series."""
    chosen = select(exchange, market, symbols, intervals)
    _print_view(config, "inventory", chosen, form)


@app.command(epilog="Example: crypto-data coverage --symbols BTCUSDT --intervals 1m")
def coverage(
    config: Config = None,
    exchange: Exchange = None,
    market: MarketName = None,
    symbols: Symbols = None,
    intervals: Intervals = None,
    start: Start = None,
    end: End = None,
    form: Output = Format.TABLE,
) -> None:
    """Show the state and source of every day; a table joins neighbouring days that are alike."""
    chosen = select(exchange, market, symbols, intervals, start, end)
    _print_view(config, "coverage", chosen, form)


@app.command(epilog="Example: crypto-data gaps --format csv > gaps.csv")
def gaps(
    config: Config = None,
    exchange: Exchange = None,
    market: MarketName = None,
    symbols: Symbols = None,
    intervals: Intervals = None,
    start: GapStart = None,
    end: GapEnd = None,
    form: Output = Format.TABLE,
) -> None:
    """Show every stretch of absent klines: open ones, and those that are explained."""
    chosen = select(exchange, market, symbols, intervals, start, end)
    _print_view(config, "gaps", chosen, form)


def _print_view(config: Path | None, view: str, chosen: Selection, form: Format) -> None:
    from crypto_data.cli.views import print_view

    print_view(read_catalog(config), view, chosen, form)


@app.command(epilog="Example: crypto-data status")
def status(config: Config = None, form: Output = Format.TABLE) -> None:
    """Show what ran last for each feed, and how many runs in a row have failed."""
    from crypto_data.cli.status import print_status

    print_status(read_catalog(config), form)


@app.command(epilog='Example: crypto-data sql "SELECT symbol, rows FROM inventory ORDER BY rows"')
def sql(
    statement: Annotated[str, typer.Argument(help="One SELECT.")],
    config: Config = None,
    form: Output = Format.TABLE,
) -> None:
    """Run one SELECT on the views klines, inventory, coverage, gaps, corrections and health."""
    from crypto_data.cli.views import print_statement

    print_statement(read_catalog(config), statement, form)


@app.command(epilog="Example: crypto-data start --port 3000")
def start(
    config: Config = None,
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port of the web page.")] = 3000,
    host: Annotated[
        str,
        typer.Option(
            help="Address to listen on. The page has no password: think before you open it to "
            "others."
        ),
    ] = "127.0.0.1",
) -> None:
    """Run Dagster's web server and daemon until SIGINT or SIGTERM."""
    from crypto_data.cli.serving import start_dagster

    raise typer.Exit(start_dagster(read_catalog(config), host, port))


@app.command(epilog="Example: crypto-data sandbox --port 8900, then fetch with the file it prints")
def sandbox(
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes any free port.")] = 8900,
) -> None:
    """Run a stand-in exchange on loopback: archive and REST, with recorded and made days."""
    from crypto_data.cli.serving import run_sandbox

    run_sandbox(port)


if __name__ == "__main__":
    main()
