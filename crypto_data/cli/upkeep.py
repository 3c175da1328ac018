"""The commands that look after a lake: repair, health, reconcile, alerts.

What they do belongs to the modules beside this one; nothing heavy is imported before that.
"""

from typing import Annotated

import typer

from crypto_data.cli.options import (
    Config,
    End,
    Exchange,
    Format,
    Intervals,
    Level,
    LogLevel,
    MarketName,
    Output,
    Parallel,
    Start,
    Symbols,
    read_catalog,
    select,
    set_up_logging,
)

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
    log_level: Level = LogLevel.WARNING,
) -> None:
    """Heal damaged files, then ask again for every gap, trusting other sources first."""
    from crypto_data.cli.repairing import repair_lake

    set_up_logging(log_level)
    chosen = select(exchange, market, symbols, intervals, start, end)
    raise typer.Exit(repair_lake(read_catalog(config), chosen, parallel=parallel, form=form))


@upkeep.command(epilog="Example: crypto-data health --verify")
def health(
    config: Config = None,
    verify: Annotated[bool, typer.Option("--verify", help="Read every row.")] = False,
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
    log_level: Level = LogLevel.WARNING,
) -> None:
    """Tell Dagster of settled days in the lake that it lost or never had."""
    from crypto_data.cli.reconciling import reconcile_dagster

    set_up_logging(log_level)
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
