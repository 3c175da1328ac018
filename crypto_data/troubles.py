"""What is wrong that a person should know of: a function of what others have noted.

Of the census, how passes went, hosts that refuse us, and files that were moved aside. Reading
those belongs to `watching`; what was told before, and how it gets there, to `alerts`.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from crypto_data.addresses import place_of
from crypto_data.alerts.state import KEPT_MS, Alert
from crypto_data.alerts.trouble import Trouble
from crypto_data.catalog.configuration import Catalog
from crypto_data.exchanges import CCXT
from crypto_data.health import find_stale, lasts
from crypto_data.intervals import DAY_MS
from crypto_data.lake.census import Census
from crypto_data.lake.history import History
from crypto_data.lake.history_file import Standing
from crypto_data.lake.layout import QUARANTINE
from crypto_data.lake.overdue import GapDays, given_up_days, lacking_days
from crypto_data.lake.set_aside import SetAside
from crypto_data.partitions import period_days, utc
from crypto_data.patience import GIVEN_UP_ATTEMPTS
from crypto_data.series import Market, Series
from crypto_data.sources.gate import Closing, Reason
from crypto_data.sources.http import PATIENCE_S

# So many series, symbols or stretches of days are named; the rest is counted.
NAMED = 3
# Damage that healed at once is told of this long after; past that the outbox forgets having told.
RECENT_MS = KEPT_MS - DAY_MS


@dataclass(frozen=True, slots=True)
class Scene:
    """All that trouble is found in; `now_ms` is the exchange's clock, `local_ms` this machine's.

    `closings` are the hosts that are left alone, by name; `known` what was told lately, by key.
    """

    catalog: Catalog
    history: History
    census: Census
    closings: Mapping[str, Closing]
    set_aside: Sequence[SetAside]
    known: Mapping[str, Alert]
    now_ms: int
    local_ms: int


def find_troubles(scene: Scene) -> list[Trouble]:
    """Return all there is to tell of, each key once."""
    return [
        *_failing_feeds(scene),
        *_stale_feeds(scene),
        *_given_up_feeds(scene),
        *_damaged_files(scene),
        *_refusing_hosts(scene),
    ]


def _failing_feeds(scene: Scene) -> Iterator[Trouble]:
    for feed in scene.catalog.feeds:
        standing = scene.history.feeds.get(feed.name)
        if standing is None or not standing.errors_in_a_row:
            continue
        errors = standing.errors_in_a_row
        level = 2 if errors >= scene.catalog.alerts.max_consecutive_errors else 1
        failed = "its last run failed" if errors == 1 else f"{errors} runs in a row failed"
        short = [
            series
            for series in feed.series
            if scene.history.series.get(series, Standing()).errors_in_a_row
        ]
        yield Trouble(
            f"feed/{feed.name}",
            level,
            f"Feed {feed.name}: {failed}.",
            standing.since_ms,
            standing.why,
            # A run that died left no series short: what it was to fetch is asked for again.
            f"crypto-data gaps {_options(short)}" if short else "crypto-data collect",
        )


def _stale_feeds(scene: Scene) -> Iterator[Trouble]:
    hours = scene.catalog.alerts.stale_after_hours
    stale = find_stale(scene.catalog, scene.census, scene.now_ms)
    for feed in scene.catalog.feeds:
        found = {series: stale[series] for series in feed.series if series in stale}
        if not found:
            continue
        yield Trouble(
            f"stale/{feed.name}",
            1,
            f"Feed {feed.name}: nothing new for over {hours} hours in {len(found)} of "
            f"{len(feed.series)} series: {_named(found)}.",
            min(found.values()),
            next(filter(None, (_why(scene.history, series) for series in found)), ""),
            "crypto-data collect",
        )


def _given_up_feeds(scene: Scene) -> Iterator[Trouble]:
    for feed in scene.catalog.feeds:
        found = given_up_days(scene.census.runs, frozenset(feed.series))
        if not found:
            continue
        newest = max(found, key=lambda days: days.end)
        count = sum(days.days for days in found)
        yield Trouble(
            f"gaps/{feed.name}",
            1,
            f"Feed {feed.name}: {_counted(count, 'day')} stayed without klines through "
            f"{GIVEN_UP_ATTEMPTS} attempts and more: {_named(found)}.",
            min(days.last_attempt_ms for days in found),
            newest.reason,
            f"crypto-data repair {_options([days.series for days in found])}"
            f"{_dates(min(days.first for days in found), max(days.end for days in found))}",
        )


def _damaged_files(scene: Scene) -> Iterator[Trouble]:
    found: dict[str, Trouble] = {}
    for record in sorted(scene.set_aside, key=lambda one: one.at_ms):
        key = f"damage/{record.original}"
        lacking = _lacking(scene, record)
        if lacking or _is_news(scene, key, record.at_ms):
            found[key] = _moved_aside(key, record, lacking)
    for fault in scene.census.faults:
        path = _within(scene.catalog.lake, Path(fault.path))
        options = f" {_options([fault.series])}" if fault.series else ""
        found[f"damage/{path}"] = Trouble(
            f"damage/{path}",
            1,
            f"A file of the lake cannot be read: {path}.",
            scene.now_ms,
            fault.why,
            f"crypto-data repair{options}",
        )
    yield from found.values()


def _lacking(scene: Scene, record: SetAside) -> list[GapDays]:
    """Return the days of a klines file that was moved aside and that are not settled again."""
    if record.series not in scene.catalog.all_series() or record.original.startswith(QUARANTINE):
        return []
    return lacking_days(scene.census.runs, record.series, *period_days(record.period))


def _is_news(scene: Scene, key: str, at_ms: int) -> bool:
    """Return whether nobody was told of what happened to a key at a moment."""
    if scene.now_ms - at_ms > RECENT_MS:
        return False
    before = scene.known.get(key)
    return before is None or (before.ended_ms is not None and before.ended_ms < at_ms)


def _moved_aside(key: str, record: SetAside, lacking: Sequence[GapDays]) -> Trouble:
    if lacking and record.series:
        first, end = period_days(record.period)
        days = _dates(
            max(first, min(one.first for one in lacking)), min(end, max(one.end for one in lacking))
        )
        state = "some of its days are still missing"
        remedy = f"crypto-data repair {_options([record.series])}{days}"
    else:
        state = "none of its days is missing"
        remedy = "Nothing to run. If it happens again, check the disk and: crypto-data health"
    what = f"A file of the lake was damaged and moved aside, {state}: {record.original}."
    return Trouble(key, 1, what, record.at_ms, record.why, remedy)


def _within(root: Path, path: Path) -> Path:
    return path.relative_to(root) if path.is_relative_to(root) else path


def _refusing_hosts(scene: Scene) -> Iterator[Trouble]:
    ours = _hosts(scene.catalog)
    for host, closing in scene.closings.items():
        key = f"ban/{host}"
        # Other lakes of this machine keep what they met in the same place.
        is_ours = host.rpartition(" ")[2] in ours
        # One that is told of lasts to its end, though that has come near.
        going_on = closing.reason is Reason.LIMITED and lasts(scene.known, key)
        if not is_ours or not (going_on or _is_ban(closing, scene.local_ms)):
            continue
        until = utc(closing.until_ms - scene.local_ms + scene.now_ms)
        if closing.reason is Reason.BLOCKED:
            remedy = "Check whether this machine's network, or a proxy, may reach it"
        else:
            remedy = "Check what else on this machine's address asks it, or lower sources.weights"
        yield Trouble(
            key,
            1,
            f"{host} refuses us; it is left alone until {until}.",
            scene.now_ms,
            closing.detail,
            f"Nothing to run: other sources are asked. {remedy}",
        )


def _hosts(catalog: Catalog) -> set[str]:
    """Return the network places that the configuration names, and exchanges asked through ccxt."""
    sources = catalog.sources
    urls = [sources.vision.url, sources.vision.listing]
    urls += [url for market in Market for url in getattr(sources.rest, market)]
    urls += sources.ccxt.urls.values()
    names = {name.removeprefix(CCXT) for feed in catalog.feeds for name in feed.sources}
    return {place_of(url) for url in urls} | names


def _is_ban(closing: Closing, local_ms: int) -> bool:
    """Return whether a closing is worth a person's time: a short limit or a pause is not."""
    match closing.reason:
        case Reason.BLOCKED:
            return True
        case Reason.LIMITED:
            too_long = closing.until_ms - local_ms > PATIENCE_S * 1000
            return too_long or "HTTP 418" in closing.detail
        case _:
            return False


def _why(history: History, series: Series) -> str:
    return history.series.get(series, Standing()).why


def _counted(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _named(things: Iterable[object]) -> str:
    texts = [str(thing) for thing in things]
    more = f" and {len(texts) - NAMED} more" if len(texts) > NAMED else ""
    return f"{', '.join(texts[:NAMED])}{more}"


def _dates(first: date, end: date) -> str:
    return f" --start {first} --end {end}"


def _options(series: Iterable[Series]) -> str:
    """Return the options of a command that choose these series, or few others beside them."""
    held = list(series)
    symbols = list(dict.fromkeys(one.symbol for one in held))
    options = [
        f"--exchange {held[0].exchange}",
        f"--market {held[0].market}",
        f"--symbols {','.join(symbols)}" if len(symbols) <= NAMED else "",
        f"--intervals {','.join(dict.fromkeys(str(one.interval) for one in held))}",
    ]
    return " ".join(filter(None, options))
