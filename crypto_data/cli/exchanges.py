"""The command `exchanges`: what can be collected from where."""

from typing import Annotated

import typer

from crypto_data.cli.options import Format, Output

exchanging = typer.Typer()

Name = Annotated[str | None, typer.Argument(help="Only this exchange.", show_default=False)]


@exchanging.command(epilog="Example: crypto-data exchanges kraken --format json")
def exchanges(name: Name = None, form: Output = Format.TABLE) -> None:
    """Show the exchanges: their markets, intervals, sources, and what their APIs can do.

    Other exchanges than binance are asked through ccxt, which is an extra of the installation.
    """
    from crypto_data.cli.exchange_rows import print_exchanges

    print_exchanges(name, form)
