"""Rules of the configuration that look at several values at once.

Reads the written entries, so that these faults are found beside those of single values. Single
values belong to `catalog.configuration`; whatever is no proper value is passed over here.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date

from crypto_data.catalog.text import Entry
from crypto_data.catalog.values import EXCHANGES, check_day
from crypto_data.errors import Fault
from crypto_data.intervals import Interval
from crypto_data.series import Market

# The first block of Bitcoin: nothing can have been traded before.
FIRST_DAY = date(2009, 1, 3)


def name_feeds(root: Entry) -> object:
    """Return the values of the file, where every feed without a name has its default name.

    The default is `<exchange>_<market>`, then with `_2`, `_3` and so on. Names that were written
    are never given to another feed.
    """
    values = dict(root.value) if isinstance(root.value, dict) else {}
    feeds = root.items_of("feeds")
    taken = {feed.text_of("name") for feed in feeds}
    named = []
    for feed in feeds:
        value = feed.value
        if isinstance(value, dict) and "name" not in value:
            name = _free_name(feed, taken)
            taken.add(name)
            value = {**value, "name": name}
        named.append(value)
    return {**values, "feeds": named} if named else values


def _free_name(feed: Entry, taken: set[str]) -> str:
    exchange, market = feed.text_of("exchange"), feed.text_of("market")
    # Where these two are wrong their own faults are enough; the name must not add one.
    stem = f"{exchange}_{market}" if exchange in EXCHANGES and market in set(Market) else "feed"
    name, number = stem, 1
    while name in taken:
        number += 1
        name = f"{stem}_{number}"
    return name


def check_rules(root: Entry, file: str, today: date) -> list[Fault]:
    """Return what is wrong between values: dates, impossible combinations, doubles.

    Args:
        root: The whole file.
        file: Its name in the faults.
        today: The current UTC day; a feed cannot start after it.
    """
    rules = _Rules(file)
    for feed in root.items_of("feeds"):
        rules.check_dates(feed, today)
        rules.check_combinations(feed)
        for name, what in (("symbols", "symbol"), ("intervals", "interval"), ("sources", "source")):
            rules.check_doubles(feed.items_of(name), what)
        rules.check_name(feed)
        rules.check_series(feed)
    return rules.faults


@dataclass(slots=True)
class _Rules:
    """Gathers faults and remembers which names and series the feeds above have taken."""

    file: str
    faults: list[Fault] = field(default_factory=list)
    names: dict[str, int] = field(default_factory=dict)
    series: dict[tuple[str, str, str, Interval], Entry] = field(default_factory=dict)

    def blame(self, entry: Entry, found: str, allowed: str) -> None:
        self.faults.append(Fault(self.file, entry.line, entry.key, found, allowed))

    def check_dates(self, feed: Entry, today: date) -> None:
        start, end = _day(feed, "start"), _day(feed, "end")
        if start is None:
            return
        entry = feed.children["start"]
        if start > today:
            self.blame(entry, entry.shown, f"today ({today}) or earlier")
        if start < FIRST_DAY:
            self.blame(entry, entry.shown, f"{FIRST_DAY}, the first day of Bitcoin, or later")
        if end is not None and end <= start:
            allowed = f"a day after start ({entry.shown}); end itself is not included"
            self.blame(feed.children["end"], feed.children["end"].shown, allowed)

    def check_combinations(self, feed: Entry) -> None:
        market = feed.text_of("market")
        for item, interval in _intervals(feed):
            if interval is Interval.SECOND_1 and market in {Market.UM, Market.CM}:
                self.blame(item, f"{item.shown} for {market}", "1s for spot only; from 1m on here")
        for item in feed.items_of("symbols"):
            if not isinstance(item.value, str) or item.value != item.value.upper():
                continue
            if market == Market.CM and "_" not in item.value and "*" not in item.value:
                allowed = "a COIN-M symbol such as BTCUSD_PERP or BTCUSD_250627"
                self.blame(item, f"{item.shown} for cm", allowed)
            if market in {Market.SPOT, Market.UM} and item.value.endswith("_PERP"):
                allowed = "a symbol such as BTCUSDT; names with _PERP are of market cm"
                self.blame(item, f"{item.shown} for {market}", allowed)

    def check_doubles(self, items: list[Entry], what: str) -> None:
        first: dict[str, Entry] = {}
        for item in items:
            if not isinstance(item.value, str):
                continue
            spelled = "1mo" if what == "interval" and item.value == "1M" else item.value
            if spelled in first:
                allowed = f"each {what} once; it already stands in line {first[spelled].line}"
                self.blame(item, f"{item.shown} a second time", allowed)
            first.setdefault(spelled, item)

    def check_name(self, feed: Entry) -> None:
        name = feed.text_of("name")
        if not name:
            return
        entry = feed.children["name"]
        if name in self.names:
            allowed = f"a name of its own; this one already stands in line {self.names[name]}"
            self.blame(entry, f"{entry.shown} a second time", allowed)
        self.names.setdefault(name, entry.line)

    def check_series(self, feed: Entry) -> None:
        place = feed.text_of("exchange"), feed.text_of("market")
        if not all(place):
            return
        mine: dict[tuple[str, str, str, Interval], Entry] = {}
        for item in feed.items_of("symbols"):
            if not isinstance(item.value, str):
                continue
            twice: dict[int, list[str]] = {}
            for written, interval in _intervals(feed):
                key = (*place, item.value, interval)
                mine.setdefault(key, item)
                if key in self.series:
                    twice.setdefault(self.series[key].line, []).append(written.shown)
            for line, intervals in twice.items():
                found = f"{item.shown} in {', '.join(dict.fromkeys(intervals))} a second time"
                allowed = f"each series in one feed; line {line} asks for it too"
                self.blame(item, found, allowed)
        for key, item in mine.items():
            self.series.setdefault(key, item)


def _day(feed: Entry, name: str) -> date | None:
    try:
        return check_day(feed.text_of(name))
    except ValueError:
        return None


def _intervals(feed: Entry) -> Iterator[tuple[Entry, Interval]]:
    for item in feed.items_of("intervals"):
        try:
            yield item, Interval.parse(str(item.value))
        except ValueError:
            continue
