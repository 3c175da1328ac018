"""The command `compare`: the lake's klines beside those the exchange itself has now."""

import os
from typing import TYPE_CHECKING, Annotated, Any

import typer

from crypto_data.cli.configuration import read_catalog
from crypto_data.cli.options import (
    Config,
    End,
    Format,
    Output,
    Start,
    local_ms,
    select,
)

if TYPE_CHECKING:
    from datetime import date

    from crypto_data.catalog.configuration import Catalog, Feed
    from crypto_data.comparing import Comparison
    from crypto_data.selection import Selection
    from crypto_data.series import Series

comparing = typer.Typer()

COLUMNS = ("open_time", "column", "lake", "exchange")
# Without `--start` so many of the newest days are compared.
NEWEST_DAYS = 7


@comparing.command(epilog="Example: crypto-data compare BTCUSDT --interval 15m --start 2024-03-01")
def compare(
    symbol: Annotated[str, typer.Argument(help="The exchange's own spelling, such as BTCUSDT.")],
    interval: Annotated[str, typer.Option(help="Bar length, such as 15m.")],
    market: Annotated[str, typer.Option(help="spot, um or cm.")] = "spot",
    exchange: Annotated[str, typer.Option(help="binance, okx, …")] = "binance",
    start: Start = None,
    end: End = None,
    config: Config = None,
    form: Output = Format.TABLE,
) -> None:
    """Fetch the exchange's own klines and print every value that differs from the lake's.

    Made to check intervals that are made of finer ones; nothing is stored. Without --start the
    newest seven days. Exit status 0 when all is equal, 1 when not or when the exchange did not
    answer.
    """
    chosen = select([exchange], [market], symbol, interval, start, end)
    raise typer.Exit(print_differences(read_catalog(config), chosen, form))


def print_differences(catalog: "Catalog", chosen: "Selection", form: Format) -> int:
    """Compare one series and print what differs; return the exit status.

    Raises:
        UsageError: no such series is configured, the exchange has no such interval, or the days
            are none of the feed's.
    """
    from crypto_data.catalog.location import state_folder
    from crypto_data.cli.output import complain, print_rows
    from crypto_data.comparing import check_is_offered, compare_days
    from crypto_data.lake.feeds import read_wishes
    from crypto_data.lake.store import Lake
    from crypto_data.planning import check_days, choose_series
    from crypto_data.sources.connect import open_chains

    series, feed = _only_one(choose_series(catalog, chosen))
    check_is_offered(series)
    ahead_ms = read_wishes(catalog.lake).clock_ahead_ms
    check_days({series: feed}, chosen, local_ms() + ahead_ms)
    first, end = _days(series, feed, chosen, local_ms() + ahead_ms)
    with open_chains(catalog, state_folder(os.environ), known_ahead_ms=ahead_ms) as chains:
        found = list(compare_days(Lake(catalog.lake), series, chains.chain(feed), first, end))
    rows = [_row(one) for comparison in found for one in comparison.differences]
    if rows or form is not Format.TABLE:
        print_rows(rows, form, columns=COLUMNS)
    complain(_summary(series, found))
    return 0 if all(comparison.is_equal for comparison in found) else 1


def _only_one(chosen: "dict[Series, Feed]") -> "tuple[Series, Feed]":
    from crypto_data.errors import UsageError

    if len(chosen) > 1:
        raise UsageError(
            f"one series is compared at a time, these are {len(chosen)}: "
            f"{', '.join(str(series) for series in chosen)}"
        )
    [one] = chosen.items()
    return one


def _days(series: "Series", feed: "Feed", chosen: "Selection", now_ms: int) -> "tuple[date, date]":
    """Return the first day to be compared and the one after the last.

    Raises:
        UsageError: none of the feed's days is over yet.
    """
    from crypto_data.errors import UsageError
    from crypto_data.partitions import ONE_DAY, closed_end

    closed = closed_end(series.interval, now_ms)
    end = min(closed, feed.end or closed, chosen.end or closed)
    if end <= feed.start:
        raise UsageError(f"{series}: no closed day yet; its feed starts {feed.start}")
    return max(feed.start, chosen.start or end - NEWEST_DAYS * ONE_DAY), end


def _row(one: Any) -> dict[str, Any]:
    return {name: getattr(one, name) for name in COLUMNS}


def _summary(series: "Series", found: "list[Comparison]") -> list[str]:
    """Return what was compared in a sentence, and a line for each day that could not be."""
    days = [day for one in found for day in one.days]
    rows = sum(one.rows for one in found)
    bars = {difference.open_time for one in found for difference in one.differences}
    differ = f"{len(bars)} differ" if bars else "none differs"
    said = f"{series}: {rows:,} klines of {days[0]} to {days[-1]} compared, {differ}"
    return [said] + [
        f"{series} {day}: not compared: {why}"
        for one in found
        for day, why in one.unanswered.items()
    ]
