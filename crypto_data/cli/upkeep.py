"""The commands that look after a lake: repair, diagnose, health, reconcile, alerts.

What they do belongs to the modules beside this one; nothing heavy is imported before that.
"""

from typing import Annotated

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
    Parallel,
    Start,
    Symbols,
    parse_day,
    select,
)
from crypto_data.cli.universe import refresh

upkeep = typer.Typer()
alerts = typer.Typer(invoke_without_command=True)
upkeep.add_typer(alerts, name="alerts")


@upkeep.command(epilog="Example: crypto-data repair --symbols BTCUSDT --start 2024-03-01")
def repair(
    config: Config = None,
    exchange: Exchange = None,
    market: MarketName = None,
    symbols: Symbols = None,
    intervals: Intervals = None,
    start: Start = None,
    end: End = None,
    parallel: Parallel = 0,
    form: Output = Format.TABLE,
) -> None:
    """Heal damaged files, then ask again for every gap, trusting other sources first."""
    from crypto_data.cli.repairing import repair_lake

    chosen = select(exchange, market, symbols, intervals, start, end)
    catalog = refresh(read_catalog(config))
    raise typer.Exit(repair_lake(catalog, chosen, parallel=parallel, form=form))


@upkeep.command(
    epilog="Example: crypto-data diagnose BTCUSDT --market spot --interval 1h --day 2024-03-07"
)
def diagnose(
    symbol: Annotated[str, typer.Argument(help="The exchange's own spelling, such as BTCUSDT.")],
    market: Annotated[str, typer.Option(help="spot, um or cm.")] = "spot",
    interval: Annotated[str, typer.Option(help="Bar length, such as 1m.")] = "1m",
    exchange: Annotated[str, typer.Option(help="binance, okx, …")] = "binance",
    day: Annotated[
        str | None, typer.Option(help="A UTC day that is over; default the newest one.")
    ] = None,
    config: Config = None,
    form: Output = Format.TABLE,
) -> None:
    """Try each source of a series once, and say which one a request would use, and why.

    Nothing is stored. Exit status 0 when a request for the day would be served.
    """
    from crypto_data.cli.diagnosing import Question, print_diagnosis

    question = Question(exchange, market, symbol, interval, parse_day("--day", day))
    raise typer.Exit(print_diagnosis(read_catalog(config), question, form))


@upkeep.command(epilog="Example: crypto-data health --verify")
def health(
    config: Config = None,
    verify: Annotated[
        bool,
        typer.Option(
            "--verify",
            help="Read every row too: checksums, and counts, order, sources and extents against "
            "the ledger.",
        ),
    ] = False,
    form: Output = Format.TABLE,
) -> None:
    """Look for unreadable, zero-byte, stray and foreign files; exit status 1 on damage."""
    from crypto_data.cli.health import print_health

    raise typer.Exit(print_health(read_catalog(config), form, verify=verify))


@upkeep.command(epilog="Example: crypto-data reconcile --symbols BTCUSDT")
def reconcile(
    config: Config = None,
    exchange: Exchange = None,
    market: MarketName = None,
    symbols: Symbols = None,
    intervals: Intervals = None,
    form: Output = Format.TABLE,
) -> None:
    """Tell Dagster of settled days in the lake that it lost or never had."""
    from crypto_data.cli.reconciling import reconcile_dagster

    chosen = select(exchange, market, symbols, intervals)
    raise typer.Exit(reconcile_dagster(read_catalog(config), chosen, form))


@alerts.callback(epilog="Example: crypto-data alerts")
def show_alerts(context: typer.Context, config: Config = None, form: Output = Format.TABLE) -> None:
    """Show what a person is being told, and messages that wait to be delivered."""
    context.obj = config
    if context.invoked_subcommand is None:
        from crypto_data.cli.alerting import print_alerts

        print_alerts(read_catalog(config), form)


@alerts.command("test", epilog="Example: crypto-data alerts test")
def send_test_alert(
    context: typer.Context, config: Config = None, form: Output = Format.TABLE
) -> None:
    """Send one message to every address of the configuration."""
    from crypto_data.cli.alerting import send_test

    raise typer.Exit(send_test(read_catalog(config or context.obj), form))
