"""What `diagnose` asks, and how it tells a person of it."""

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime

from crypto_data.catalog.configuration import Catalog, Feed
from crypto_data.catalog.feeds import feed_of_none, feed_of_pattern
from crypto_data.catalog.location import state_folder
from crypto_data.cli.options import Format, local_ms, parse_interval
from crypto_data.cli.output import Row, complain, print_rows
from crypto_data.coverage import ARCHIVE
from crypto_data.diagnosis import Asked, Diagnosis, Finding, Holding, diagnose
from crypto_data.errors import UsageError
from crypto_data.exchanges import EXCHANGES
from crypto_data.lake.feeds import read_wishes
from crypto_data.lake.store import Lake
from crypto_data.lake.universe import known_universe
from crypto_data.naming import describe_unknown, slip_of
from crypto_data.partitions import ONE_DAY, closed_end, expected_count
from crypto_data.series import Market, Series
from crypto_data.sources.clock import how_far
from crypto_data.sources.connect import open_chains
from crypto_data.sources.probe import trying_once
from crypto_data.sources.sent import Sent

# Headers tell whole seconds; a difference this large may mean another day.
CLOCK_MATTERS_MS = 60_000

_COLUMNS = (
    "series", "day", "source", "used", "reached", "status", "outcome", "seconds", "requests",
    "rows", "expected", "newest_open", "behind_seconds", "state", "left_alone_until",
    "left_alone_why", "weight_used", "weight_limit", "why",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Question:
    """What a person wants to know of: words as they were typed."""

    exchange: str
    market: str
    symbol: str
    interval: str
    day: date | None


def print_diagnosis(catalog: Catalog, question: Question, form: Format) -> int:
    """Try every source once and print a line each, the lake first; return 1 when nobody serves.

    Raises:
        UsageError: no such exchange, market, interval or symbol, or a day that is not over.
    """
    series = _read(question)
    feed, series = _feed_of(catalog, series)
    known_ms = read_wishes(catalog.lake).clock_ahead_ms
    found, ahead_ms = _try(catalog, (feed, series, question.day), known_ms)
    if ahead_ms != known_ms:
        # Answered by another clock than was thought: which day is over is judged anew.
        complain([f"the local clock is {how_far(ahead_ms)} the exchange's"])
        found, _ = _try(catalog, (feed, series, question.day), ahead_ms)
    _print(found, form, local_ms() + ahead_ms)
    return 0 if found.is_served else 1


def _try(
    catalog: Catalog, asked: tuple[Feed, Series, date | None], ahead_ms: int
) -> tuple[Diagnosis, int]:
    """Return the diagnosis by a clock that is so far ahead of ours, and how far it really is."""
    feed, series, wanted = asked
    day = _day(wanted, series, feed, local_ms() + ahead_ms)
    sent: list[Sent] = []
    hasty = feed.model_copy(update={"max_retries": 0})
    folder, manner = state_folder(os.environ), trying_once(sent.append)
    with open_chains(catalog, folder, known_ahead_ms=ahead_ms, manner=manner) as chains:
        found = diagnose(Lake(catalog.lake), chains, Asked(hasty, series, day), sent)
    return found, _clock_ahead_ms(sent, ahead_ms)


def _print(found: Diagnosis, form: Format, now_ms: int) -> None:
    rows = _rows(found, now_ms)
    print_rows(rows, form, columns=_COLUMNS, shown=[_shown(row) for row in rows])
    if form is Format.TABLE:
        sys.stdout.write(f"\n{_verdict(found)}\n")
    elif not found.is_served:
        complain([_verdict(found)])


def _read(question: Question) -> Series:
    """Return the series that was meant.

    Raises:
        UsageError: no such exchange, market or interval, or no symbol; says what there is, nearest
            first.
    """
    exchange = EXCHANGES.get(question.exchange)
    if exchange is None:
        raise UsageError(f"--exchange: {describe_unknown(question.exchange, EXCHANGES)}")
    if question.market not in exchange.markets:
        raise UsageError(f"--market: {describe_unknown(question.market, exchange.markets)}")
    interval = parse_interval("--interval", question.interval)
    return Series(exchange.name, Market(question.market), question.symbol, interval)


def _feed_of(catalog: Catalog, series: Series) -> tuple[Feed, Series]:
    """Return the feed whose chain is tried, and the series that is fetched for it.

    Raises:
        UsageError: no feed makes the interval, and the exchange has none.
    """
    configured = catalog.all_series()
    feed = configured.get(series) or feed_of_pattern(catalog, series)
    if feed is None:
        _check_offered(series)
        feed = feed_of_none(series)
        hint = _hint(catalog, series)
        order = " then ".join(feed.sources)
        complain([f"no feed has {series}{hint}; tried are the default sources: {order}"])
    finer = feed.finer(series)
    if finer is None:
        return feed, series
    complain([f"{series} is made from {finer.interval}, so {finer.interval} is what is tried"])
    return feed, finer


def _hint(catalog: Catalog, series: Series) -> str:
    """Return which configured symbol was meant perhaps; nothing where the exchange has this one."""
    listed = known_universe(catalog.lake, series.exchange, series.market).symbols
    known = {one.symbol for one in catalog.all_series() if one.exchange == series.exchange}
    if series.symbol in known or series.symbol in listed:
        return ""
    near = slip_of(series.symbol, known)
    return f" (did you mean {near}?)" if near else ""


def _check_offered(series: Series) -> None:
    """Refuse an interval that the exchange does not have in this market.

    Raises:
        UsageError: says which it has, nearest first.
    """
    offered = EXCHANGES[series.exchange].intervals_of(series.market)
    if series.interval not in offered:
        what = f"no interval of {series.exchange} {series.market}"
        raise UsageError(f"--interval: {describe_unknown(series.interval, offered, what)}")


def _clock_ahead_ms(sent: Sequence[Sent], assumed_ms: int) -> int:
    """Return how far the exchange's clock is ahead of ours, as its answers just told."""
    told = [one for one in sent if one.server_ms is not None]
    told.sort(key=lambda one: one.source == ARCHIVE)  # an archive's answer may come out of a cache
    if not told or told[0].server_ms is None:
        return assumed_ms
    ahead_ms = told[0].server_ms - local_ms()
    return ahead_ms if abs(ahead_ms - assumed_ms) > CLOCK_MATTERS_MS else assumed_ms


def _day(asked: date | None, series: Series, feed: Feed, now_ms: int) -> date:
    """Return the day to ask for: by default the newest closed one on which a kline opens.

    Raises:
        UsageError: it is not over yet.
    """
    end = closed_end(series.interval, now_ms)
    if asked is not None and asked >= end:
        raise UsageError(
            f"--day {asked}: not over yet at the exchange; the newest closed day is {end - ONE_DAY}"
        )
    if asked is not None and not expected_count(series.interval, asked):
        raise UsageError(f"--day {asked}: no kline of {series.interval} opens on this day")
    day = asked or min(end, feed.end or end) - ONE_DAY
    while not expected_count(series.interval, day):
        day -= ONE_DAY
    return day


def _rows(found: Diagnosis, now_ms: int) -> list[Row]:
    return [_lake_row(found), *(_row(found, one, now_ms) for one in found.findings)]


def _lake_row(found: Diagnosis) -> Row:
    held = found.held
    return dict.fromkeys(_COLUMNS) | {
        "series": str(found.series),
        "day": found.day,
        "source": "lake",
        "used": found.used == "lake",
        "rows": held.rows,
        "expected": held.expected,
        "state": str(held.state),
        "why": _lake_words(held),
    }


def _lake_words(held: Holding) -> str:
    if held.is_settled:
        came = f", from {held.source}" if held.source else ""
        return f"{held.state}{came}: a request asks nobody"
    return f"{held.state}, so the sources are asked: {held.why}"


def _row(found: Diagnosis, one: Finding, now_ms: int) -> Row:
    closed = max((closing.until_ms for _, closing in one.closings), default=None)
    behind_ms = None if one.newest_ms is None else now_ms - one.newest_ms
    return dict.fromkeys(_COLUMNS) | {
        "series": str(found.series),
        "day": found.day,
        "source": one.source,
        "used": one.is_used and found.used != "lake",
        "reached": one.is_reached,
        "status": one.status,
        "outcome": str(one.outcome),
        "seconds": round(one.seconds, 3),
        "requests": one.requests,
        "rows": one.rows,
        "expected": found.fetched.expected,
        "newest_open": _moment(one.newest_ms),
        "behind_seconds": None if behind_ms is None else behind_ms // 1000,
        "left_alone_until": _moment(closed),
        "left_alone_why": "; ".join(f"{h}: {c.detail}" for h, c in one.closings) or None,
        "weight_used": one.budget_used,
        "weight_limit": one.budget_limit,
        "why": one.why,
    }


def _moment(time_ms: int | None) -> datetime | None:
    return None if time_ms is None else datetime.fromtimestamp(time_ms / 1000, UTC)


def _shown(row: Row) -> Row:
    """Return what a table shows of a source: who it is, how it answered, what it brought, why."""
    is_lake = row["source"] == "lake"
    why = [row["why"]]
    if row["left_alone_until"] and "left alone" not in row["why"]:
        why.append(f"left alone until {row['left_alone_until']:%H:%M:%S} UTC")
    if row["weight_used"]:
        why.append(f"weight used {row['weight_used']:,} of {row['weight_limit']:,} a minute")
    return {
        "source": row["source"],
        "used": row["used"],
        "reached": None if is_lake else row["reached"],
        "HTTP": row["status"],
        "ms": None if is_lake else round(row["seconds"] * 1000),
        "rows": f"{row['rows']}/{row['expected']}",
        "newest_open": row["newest_open"],
        "why": "; ".join(why),
    }


def _verdict(found: Diagnosis) -> str:
    what = f"{found.series} {found.day}"
    if found.held.is_settled:
        return f"{what}: a request would be served by the lake ({found.held.state})"
    fetched = found.fetched
    if not found.is_served:
        return f"{what}: a request would fall short: {fetched.rows} of {fetched.expected} klines"
    if fetched.source:
        return f"{what}: a request would be served by {fetched.source} ({fetched.state})"
    return f"{what}: a request would be served: the day is {fetched.state}, nobody has a kline"
