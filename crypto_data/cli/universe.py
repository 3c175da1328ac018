"""The command `universe`, and how the other commands ask for the symbols behind patterns."""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from crypto_data.cli.configuration import read_catalog
from crypto_data.cli.options import (
    Config,
    Format,
    Output,
    local_ms,
    split_list,
)

if TYPE_CHECKING:
    from crypto_data.catalog.configuration import Catalog
    from crypto_data.lake.universe import Listing
    from crypto_data.resolving import Place

universe_app = typer.Typer()

COLUMNS = ("symbol", "base", "quote", "first_day", "last_day", "status", "pauses")


@dataclass(frozen=True, slots=True)
class _Filter:
    """Which symbols of a market are printed; `trading` None means those that ended, too."""

    quote: str | None
    symbols: tuple[str, ...]
    trading: bool | None


@universe_app.command(epilog="Example: crypto-data universe --market um --quote USDT")
def universe(
    exchange: Annotated[str, typer.Option(help="binance, okx, …")] = "binance",
    market: Annotated[str, typer.Option(help="spot, um or cm.")] = "spot",
    quote: Annotated[str | None, typer.Option(help="Only priced in this, such as USDT.")] = None,
    symbols: Annotated[
        str | None, typer.Option(help='Only these names and patterns: "BTC*,!*UPUSDT".')
    ] = None,
    trading: Annotated[
        bool | None, typer.Option("--trading/--delisted", help="Only those that trade, or not.")
    ] = None,
    pauses: Annotated[
        bool, typer.Option("--pauses", help="Also look for rests between two lives of a name.")
    ] = False,
    config: Config = None,
    form: Output = Format.TABLE,
) -> None:
    """Show every symbol an exchange has had: first day, last day, and whether it trades."""
    chosen = _Filter(quote, split_list("--symbols", symbols), trading)
    status = print_universe(
        read_catalog(config), _place(exchange, market), chosen, pauses=pauses, form=form
    )
    raise typer.Exit(status)


def refresh(catalog: "Catalog") -> "Catalog":
    """Return the configuration with its patterns resolved by the exchanges' own lists.

    They are asked when the lake's copy is over an hour old or absent; what could not be read, and
    patterns that match nothing, are told on stderr.

    Raises:
        DataSourceError: nobody could say what a pattern means, and the lake has no copy.
    """
    from crypto_data.resolving import pattern_places, resolve

    if not pattern_places(catalog):
        return catalog
    from crypto_data.cli.output import complain
    from crypto_data.universe import find_unmatched, stale_places

    _ask(catalog, stale_places(catalog, local_ms()))
    resolved = resolve(catalog)
    complain(map(str, find_unmatched(resolved)))
    return resolved


def refresh_unknown(catalog: "Catalog") -> "Catalog":
    """Return the configuration resolved like `refresh`, but ask only for what nobody has told yet.

    Says on stderr whom it has asked.

    Raises:
        DataSourceError: nobody could say what a pattern means.
    """
    from crypto_data.cli.output import complain
    from crypto_data.lake.universe import known_universe
    from crypto_data.resolving import pattern_places, resolve
    from crypto_data.universe import find_unmatched

    places = [
        place
        for place in pattern_places(catalog)
        if not known_universe(catalog.lake, *place).listings
    ]
    _ask(catalog, places)
    for place in places:
        count = len(known_universe(catalog.lake, *place).listings)
        complain([f"asked {'/'.join(place)} for its symbols: {count}"])
    resolved = resolve(catalog)
    complain(map(str, find_unmatched(resolved)))
    return resolved


def _ask(catalog: "Catalog", places: "Sequence[Place]") -> None:
    """Ask for the symbols of some markets; say on stderr what could not be read."""
    from crypto_data.catalog.location import state_folder
    from crypto_data.cli.output import complain
    from crypto_data.sources.http import Retry
    from crypto_data.universe import refresh_universe

    if places:
        state = state_folder(os.environ)
        complain(refresh_universe(catalog, places, state, now_ms=local_ms(), retry=Retry()))


def _place(exchange: str, market: str) -> "Place":
    """Return the exchange and the market that options name.

    Raises:
        UsageError: there is no such one; says what there is, nearest first.
    """
    from crypto_data.errors import UsageError
    from crypto_data.exchanges import EXCHANGES
    from crypto_data.naming import describe_unknown
    from crypto_data.series import Market

    if exchange not in EXCHANGES:
        raise UsageError(f"--exchange: {describe_unknown(exchange, EXCHANGES)}")
    markets = EXCHANGES[exchange].markets
    if market not in markets:
        raise UsageError(
            f"--market: {describe_unknown(market, markets, f'no market of {exchange}')}"
        )
    return exchange, Market(market)


def print_universe(
    catalog: "Catalog", place: "Place", chosen: _Filter, *, pauses: bool, form: Format
) -> int:
    """Print a line a symbol; return 1 when days of some could not be learnt.

    Raises:
        UsageError: no symbol fits; says what there is, nearest first.
        DataSourceError: nobody could say which symbols there are.
    """
    from crypto_data.catalog.location import state_folder
    from crypto_data.cli.output import complain, print_rows
    from crypto_data.lake.universe import known_universe
    from crypto_data.listings import Wanted, learn_days
    from crypto_data.sources.archive import BINANCE
    from crypto_data.universe import KEEP_MS

    known = known_universe(catalog.lake, *place)
    if not 0 <= local_ms() - known.told_ms < KEEP_MS:
        _ask(catalog, [place])
        known = known_universe(catalog.lake, *place)
    names = [one.symbol for one in _choose(known.listings, chosen)]
    failures: list[Any] = []
    if place[0] == BINANCE:
        with _showing_progress(len(names)) as on_listing:
            known, failures = learn_days(
                catalog,
                Wanted(place[1], frozenset(names), pauses=pauses),
                state_folder(os.environ),
                now_ms=local_ms(),
                on_listing=on_listing,
            )
    rows = [_row(one, form) for one in known.listings if one.symbol in set(names)]
    print_rows(rows, form, columns=COLUMNS, shown=[_without_empty(row, rows) for row in rows])
    if failures:
        complain([f"days of {len(failures)} symbols are not known: {failures[0]}"])
    return 1 if failures else 0


def _choose(listings: "Sequence[Listing]", chosen: _Filter) -> "list[Listing]":
    from crypto_data.catalog.patterns import LEAVE_OUT, check_pattern, is_pattern, pick_symbols
    from crypto_data.errors import UsageError
    from crypto_data.naming import describe_unknown

    names = {one.symbol for one in listings}
    quotes = sorted({one.quote for one in listings if one.quote})
    if chosen.quote is not None and chosen.quote not in quotes:
        raise UsageError(
            f"--quote: {describe_unknown(chosen.quote, quotes, 'no quote of this market')}"
        )
    for text in filter(is_pattern, chosen.symbols):
        check_pattern(text)
    for name in chosen.symbols:
        if not is_pattern(name) and name not in names:
            raise UsageError(
                f"--symbols: {describe_unknown(name, sorted(names), 'no symbol of this market')}"
            )
    only_left_out = all(text.startswith(LEAVE_OUT) for text in chosen.symbols)
    written = ("*", *chosen.symbols) if only_left_out else chosen.symbols
    picked = set(pick_symbols(written, names))
    found = [
        one
        for one in listings
        if one.symbol in picked
        and chosen.quote in {None, one.quote}
        and chosen.trading in {None, one.is_trading}
    ]
    if not found:
        raise UsageError(
            f"none of the {len(names)} symbols of this market fits; leave an option out"
        )
    return found


def _row(listing: "Listing", form: Format) -> dict[str, Any]:
    pauses: Any = listing.pauses
    if pauses is not None and form is Format.JSON:
        pauses = [{"start": start, "end": end} for start, end in pauses]
    elif pauses is not None:
        pauses = ", ".join(f"{start}/{end}" for start, end in pauses)
    return {
        "symbol": listing.symbol,
        "base": listing.base,
        "quote": listing.quote,
        "first_day": listing.first_day,
        "last_day": listing.last_day,
        "status": _status(listing),
        "pauses": pauses,
    }


def _status(listing: "Listing") -> str:
    if listing.is_trading is None:
        return "delisted" if listing.last_day else "unknown"
    return "trading" if listing.is_trading else "delisted"


def _without_empty(row: dict[str, Any], rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return a row for the table, without the pauses where no symbol has any."""
    has_pauses = any(one["pauses"] for one in rows)
    return row if has_pauses else {name: row[name] for name in COLUMNS if name != "pauses"}


@contextmanager
def _showing_progress(count: int) -> "Iterator[Callable[[Listing], None]]":
    """Yield a listener that moves a bar; nothing is drawn where stderr is no terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    console = Console(stderr=True)
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        console=console,
        disable=not console.is_terminal,
        transient=True,
    )
    task = bar.add_task("first and last days", total=count)
    with bar:
        yield lambda _listing: bar.update(task, advance=1)
