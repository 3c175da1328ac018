"""What `add` and `remove` change in the configuration, and what they say of it."""

import difflib
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from crypto_data.catalog.configuration import Catalog, Feed, parse_catalog
from crypto_data.catalog.editing import add_feed, add_items, take_feed, take_items
from crypto_data.catalog.file import rewrite
from crypto_data.catalog.location import state_folder
from crypto_data.catalog.patterns import LEAVE_OUT, is_pattern, pick_symbols
from crypto_data.cli.advice import Change, find_unlisted, how_to_split, next_commands
from crypto_data.cli.options import Format
from crypto_data.cli.output import complain, print_rows
from crypto_data.cli.wish import Wish, check_wish
from crypto_data.errors import UsageError
from crypto_data.intervals import Interval
from crypto_data.naming import describe_unknown

_COLUMNS = ("symbol", "feed", "change")


def add_symbols(path: Path, wish: Wish, form: Format) -> None:
    """Add symbols to the feed that fits, or in a new one, and print what changed.

    Raises:
        UsageError: no feed fits and too little was said for a new one, or several fit, or the
            list is written so that it cannot be changed safely.
        CatalogError: the file could not be used, before or after; it is as it was.
        CatalogNotWritten: it could not be replaced.
    """
    check_wish(wish)
    after, changes, diff = _edit(path, wish, _add)
    _print(changes, diff, form)
    complain(find_unlisted(after, changes))
    complain(f"next: {command}" for command in next_commands(after, changes))


def remove_symbols(path: Path, wish: Wish, form: Format) -> None:
    """Take symbols out of the feeds that are meant, and print what changed.

    Raises:
        UsageError: no such feed has them, or other series of a feed would go too.
        CatalogError: the file could not be used, before or after; it is as it was.
        CatalogNotWritten: it could not be replaced.
    """
    check_wish(wish)
    _, changes, diff = _edit(path, wish, _remove)
    _print(changes, diff, form)
    complain(["what the lake holds of them stays; nothing new is fetched"])


ALREADY = "already there"
_ELSEWHERE = "not in these feeds"

Edit = Callable[[str, Catalog, Wish], tuple[str, list[Change]]]


def _edit(path: Path, wish: Wish, edit: Edit) -> tuple[Catalog, list[Change], list[str]]:
    """Return the configuration after the change, what changed, and the lines that differ."""
    outcome: list[tuple[Catalog, list[Change]]] = []

    def change(text: str) -> str:
        after, done = edit(text, _parse(text, path), wish)
        outcome.append((_parse(after, path), done))
        return after

    before, after = rewrite(path, change, state_folder(os.environ))
    diff = difflib.unified_diff(before.splitlines(), after.splitlines(), lineterm="", n=1)
    [(catalog, changes)] = outcome
    return catalog, changes, [line for line in diff if not line.startswith(("---", "+++"))]


def _parse(text: str, path: Path) -> Catalog:
    return parse_catalog(text, path=path, environ=os.environ, today=datetime.now(UTC).date())


def _print(changes: Sequence[Change], diff: Sequence[str], form: Format) -> None:
    rows = [
        {"symbol": one.symbol, "feed": one.feed, "change": one.change} for one in changes
    ]  # fmt: skip
    if form is not Format.TABLE:
        print_rows(rows, form, columns=_COLUMNS)
        return
    for line in diff:
        sys.stdout.write(f"{line}\n")
    complain(f"{one.symbol}: {one.change}: feed {one.feed}" for one in changes)


def _has(feed: Feed, symbol: str) -> bool:
    """Return whether a feed asks for a symbol, by its name or by a pattern."""
    if is_pattern(symbol):
        return symbol in feed.symbols
    return symbol in pick_symbols(feed.symbols, [symbol])


def _add(text: str, catalog: Catalog, wish: Wish) -> tuple[str, list[Change]]:
    named = [feed for feed in catalog.feeds if feed.name == wish.feed]
    if wish.feed is not None and not named and not (wish.intervals and wish.start):
        found = _unknown_feed(wish.feed, catalog)
        raise UsageError(f"{found}; a new feed needs --interval 1m,1h and --start 2024-01-01 too")
    wish = _settled(wish, named)
    changes, groups = [], dict[tuple[Interval, ...], list[str]]()
    for symbol in dict.fromkeys(wish.symbols):
        holders = [feed for feed in catalog.feeds if _is_place(feed, wish) and _has(feed, symbol)]
        held = {interval for feed in holders for interval in feed.intervals}
        missing = tuple(interval for interval in wish.intervals if interval not in held)
        if holders and not missing:
            changes += [Change(symbol, feed.name, ALREADY) for feed in holders]
        else:
            groups.setdefault(missing, []).append(symbol)
    for intervals, symbols in groups.items():
        text, done = _add_group(text, catalog, wish, (intervals, symbols))
        changes += done
    return text, changes


def _settled(wish: Wish, named: Sequence[Feed]) -> Wish:
    """Return the wish with exchange and market, from the feed it names or by default."""
    if not named:
        return replace(wish, exchange=wish.exchange or "binance", market=wish.market or "spot")
    [feed] = named
    if not wish.fits(feed):
        raise UsageError(
            f"--feed {feed.name}: is {feed.exchange} {feed.market} from {feed.start} to "
            f"{feed.end or 'now'}; leave the other options out, or name a new feed"
        )
    return replace(wish, exchange=feed.exchange, market=str(feed.market))


def _unknown_feed(name: str, catalog: Catalog) -> str:
    return f"--feed: {describe_unknown(name, [feed.name for feed in catalog.feeds], 'no feed')}"


def _is_place(feed: Feed, wish: Wish) -> bool:
    return (feed.exchange, str(feed.market)) == (wish.exchange, wish.market)


def _add_group(
    text: str, catalog: Catalog, wish: Wish, group: tuple[tuple[Interval, ...], list[str]]
) -> tuple[str, list[Change]]:
    """Add symbols that lack the same intervals to the one feed that has exactly these."""
    intervals, symbols = group
    fitting = [
        (place, feed)
        for place, feed in enumerate(catalog.feeds)
        if wish.fits(feed) and (not intervals or set(feed.intervals) == set(intervals))
    ]
    if len(fitting) > 1:
        names = ", ".join(feed.name for _, feed in fitting)
        raise UsageError(f"{', '.join(symbols)}: several feeds fit; say --feed with one of {names}")
    if not fitting:
        return _add_new(text, catalog, wish, group)
    [(place, feed)] = fitting
    left_out = [f"{LEAVE_OUT}{one}" for one in symbols if f"{LEAVE_OUT}{one}" in feed.symbols]
    text = take_items(text, place, "symbols", left_out)
    kept = [one for one in feed.symbols if one not in left_out]
    new = [one for one in symbols if is_pattern(one) or one not in pick_symbols(kept, [one])]
    text = add_items(text, place, "symbols", new) if new else text
    return text, [Change(symbol, feed.name, "added", feed.intervals) for symbol in symbols]


def _add_new(
    text: str, catalog: Catalog, wish: Wish, group: tuple[tuple[Interval, ...], list[str]]
) -> tuple[str, list[Change]]:
    intervals, symbols = group
    lacking = [
        option
        for option, said in (("--interval 1m,1h", intervals), ("--start 2024-01-01", wish.start))
        if not said
    ]
    if lacking or any(feed.name == wish.feed for feed in catalog.feeds):
        what = f"in {', '.join(intervals)}" if intervals else "of its own"
        where = wish.feed or f"{wish.exchange} {wish.market}"
        raise UsageError(
            f"{', '.join(symbols)}: no feed of {where} fits; for a new feed {what} say "
            f"{' and '.join(lacking) or 'another name with --feed'}"
        )
    keys: dict[str, str | Sequence[str]] = {"name": wish.feed} if wish.feed else {}
    keys |= {
        "exchange": str(wish.exchange),
        "market": str(wish.market),
        "symbols": symbols,
        "intervals": list(map(str, intervals)),
        "start": str(wish.start),
    }
    keys |= {"end": str(wish.end)} if wish.end else {}
    text = add_feed(text, keys)
    name = _parse(text, catalog.path).feeds[-1].name  # by default one that no other feed has
    return text, [Change(one, name, "added, in a new feed", intervals) for one in symbols]


def _remove(text: str, catalog: Catalog, wish: Wish) -> tuple[str, list[Change]]:
    named = [feed for feed in catalog.feeds if wish.fits(feed)]
    if wish.feed is not None and all(feed.name != wish.feed for feed in catalog.feeds):
        raise UsageError(_unknown_feed(wish.feed, catalog))
    if not named:
        names = ", ".join(feed.name for feed in catalog.feeds)
        raise UsageError(f"no feed is meant by these options; there are: {names or 'none'}")
    _check_symbols(wish, named)
    held = {one for feed in named if _holds_any(feed, wish) for one in feed.intervals}
    known = [one for one in Interval if one in held]
    for interval in wish.intervals:
        if interval not in known:
            found = describe_unknown(interval, known, _ELSEWHERE)
            raise UsageError(f"--interval: {found}")
    meant = [feed for feed in named if _shared(feed, wish)]
    _check_symbols(wish, meant)
    changes: list[Change] = []
    for place, feed in reversed(list(enumerate(catalog.feeds))):
        going = [symbol for symbol in wish.symbols if feed in meant and _has(feed, symbol)]
        if going:
            text, done = _take(text, (place, feed), going, _shared(feed, wish))
            changes = [*done, *changes]
    return text, changes


def _check_symbols(wish: Wish, feeds: Sequence[Feed]) -> None:
    for symbol in wish.symbols:
        if not any(_has(feed, symbol) for feed in feeds):
            known = dict.fromkeys(one for feed in feeds for one in feed.symbols)
            raise UsageError(describe_unknown(symbol, known, _ELSEWHERE))


def _holds_any(feed: Feed, wish: Wish) -> bool:
    return any(_has(feed, symbol) for symbol in wish.symbols)


def _shared(feed: Feed, wish: Wish) -> list[Interval]:
    """Return the intervals of a feed that are meant."""
    return [one for one in feed.intervals if one in wish.intervals or not wish.intervals]


def _take(
    text: str, placed: tuple[int, Feed], going: Sequence[str], intervals: Sequence[Interval]
) -> tuple[str, list[Change]]:
    """Take symbols out of one feed, the feed itself when nothing is left of it."""
    place, feed = placed
    written = [symbol for symbol in going if symbol in feed.symbols]
    matched = [f"{LEAVE_OUT}{symbol}" for symbol in going if symbol not in feed.symbols]
    stays = [one for one in feed.symbols if one not in written and not one.startswith(LEAVE_OUT)]
    if len(intervals) < len(feed.intervals):
        if stays:
            raise UsageError(how_to_split(feed, going, intervals))
        text = take_items(text, place, "intervals", intervals)
        done = f"removed in {', '.join(intervals)}"
    elif not stays:
        text, done = take_feed(text, place), "removed, with the feed"
    else:
        text = take_items(text, place, "symbols", written)
        still = [one for one in feed.symbols if one not in written]
        # A name may be written and matched by a pattern of the same feed.
        matched += [
            f"{LEAVE_OUT}{one}"
            for one in written
            if not is_pattern(one) and one in pick_symbols(still, [one])
        ]
        text = add_items(text, place, "symbols", matched) if matched else text
        done = "removed"
    return text, [Change(symbol, feed.name, done) for symbol in going]
