"""Rules of the configuration that look at several values at once.

Reads the written entries, so that these faults are found beside those of single values. Single
values belong to `catalog.configuration`; whatever is no proper value is passed over here.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date

from crypto_data.catalog.patterns import LEAVE_OUT, is_pattern
from crypto_data.catalog.text import Entry
from crypto_data.catalog.values import WrittenInterval, check_day, read_interval
from crypto_data.errors import Fault, UsageError
from crypto_data.exchanges import CCXT, EXCHANGES, OWN_SOURCES, Exchange
from crypto_data.intervals import Interval
from crypto_data.partitions import FIRST_DAY
from crypto_data.series import Market, check_symbol


def complete_feeds(root: Entry) -> object:
    """Return the values of the file, where every feed has a name, sources, and a list of symbols.

    The default name is `<exchange>_<market>`, then with `_2`, `_3` and so on. Names that were
    written are never given to another feed. The default sources are the exchange's own.
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
        exchange = EXCHANGES.get(feed.text_of("exchange"))
        if isinstance(value, dict) and "sources" not in value and exchange:
            value = {**value, "sources": exchange.default_sources}
        if isinstance(value, dict) and isinstance(value.get("symbols"), str):
            value = {**value, "symbols": [value["symbols"]]}
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
        exchange = EXCHANGES.get(feed.text_of("exchange"))
        if exchange:
            rules.check_offer(feed, exchange)
            rules.check_sources(feed, exchange)
        rules.check_included(feed)
        rules.check_made(feed)
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
            if feed.text_of("exchange") != "binance":
                break
            if interval is Interval.SECOND_1 and market in {Market.UM, Market.CM}:
                self.blame(item, f"{item.shown} for {market}", "1s for spot only; from 1m on here")
        for item in feed.texts_of("symbols"):
            if not isinstance(item.value, str) or item.value != item.value.upper():
                continue
            if feed.text_of("exchange") != "binance" or is_pattern(item.value):
                continue
            if market == Market.CM and "_" not in item.value:
                allowed = "a COIN-M symbol such as BTCUSD_PERP or BTCUSD_250627"
                self.blame(item, f"{item.shown} for cm", allowed)
            if market in {Market.SPOT, Market.UM} and item.value.endswith("_PERP"):
                allowed = "a symbol such as BTCUSDT; names with _PERP are of market cm"
                self.blame(item, f"{item.shown} for {market}", allowed)

    def check_offer(self, feed: Entry, exchange: Exchange) -> None:
        """Blame markets, intervals and spellings that the exchange does not have."""
        market = feed.text_of("market")
        if market in set(Market) and market not in exchange.markets:
            allowed = f"a market that {exchange.name} has here: {', '.join(exchange.markets)}"
            self.blame(feed.children["market"], f"{market} of {exchange.name}", allowed)
        for item, interval in _intervals(feed):
            if interval not in exchange.intervals and not _written(item).made_from:
                allowed = f"an interval that {exchange.name} has: {', '.join(exchange.intervals)}"
                self.blame(item, f"{item.shown} of {exchange.name}", allowed)
        for item in feed.texts_of("symbols"):
            if not isinstance(item.value, str) or not _is_symbol(item.value):
                continue
            paired, own = "/" in item.value, exchange.name == "binance"
            if paired and own:
                allowed = "binance's own spelling, such as BTCUSDT"
                self.blame(item, f"{item.shown} of binance", allowed)
            if not paired and not own:
                allowed = "ccxt's spelling: BTC/USD for spot, BTC/USDT:USDT for a contract"
                self.blame(item, f"{item.shown} of {exchange.name}", allowed)

    def check_sources(self, feed: Entry, exchange: Exchange) -> None:
        """Blame sources of another exchange that do not stand behind the exchange's own."""
        behind_own = False
        for item in feed.items_of("sources"):
            name = item.value
            if name in exchange.own_sources:
                behind_own = True
            elif name in OWN_SOURCES:
                allowed = f"{', '.join(exchange.own_sources)}; vision and rest are binance's"
                self.blame(item, f"{item.shown} for {exchange.name}", allowed)
            elif isinstance(name, str) and name.removeprefix(CCXT) in EXCHANGES:
                self._check_stand_in(feed, item, EXCHANGES[name.removeprefix(CCXT)])
                if not behind_own:
                    allowed = (
                        f"{' or '.join(exchange.own_sources)} before it: "
                        "prices of another exchange only ever stand in for the exchange's own"
                    )
                    self.blame(item, f"{item.shown} first", allowed)

    def _check_stand_in(self, feed: Entry, item: Entry, other: Exchange) -> None:
        market = feed.text_of("market")
        wanted = {interval for _, interval in _intervals(feed)}
        if market in set(Market) and market not in other.markets:
            allowed = f"an exchange with {market}; {other.name} has {', '.join(other.markets)} here"
            self.blame(item, f"{item.shown} for {market}", allowed)
        elif wanted and not wanted & set(other.intervals):
            allowed = f"an exchange with these intervals; it has {', '.join(other.intervals)}"
            self.blame(item, item.shown, allowed)

    def check_included(self, feed: Entry) -> None:
        """Blame symbols that only leave out."""
        written = [item.value for item in feed.texts_of("symbols")]
        if written and all(isinstance(one, str) and one.startswith(LEAVE_OUT) for one in written):
            entry = feed.children["symbols"]
            allowed = 'a name or "*" beside what is left out; as it is, nothing is included'
            self.blame(entry, f"only {', '.join(map(str, written))}", allowed)

    def check_made(self, feed: Entry) -> None:
        """Blame intervals that cannot be made from the one they name."""
        fetched = {one for item, one in _intervals(feed) if not _written(item).made_from}
        for item, interval in _intervals(feed):
            origin = _written(item).made_from
            if origin is None:
                continue
            if origin not in fetched:
                allowed = f"an interval that this feed fetches: {', '.join(fetched) or 'none'}"
                self.blame(item, f"{interval} from {origin}", allowed)
            elif not interval.is_made_of(origin):
                allowed = "an interval of at most 1d that is a whole number of the finer ones"
                self.blame(item, f"{interval} from {origin}", allowed)

    def check_doubles(self, items: list[Entry], what: str) -> None:
        first: dict[str, Entry] = {}
        for item in items:
            spelled = _spelled(item, what)
            if spelled is None:
                continue
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
        for item in feed.texts_of("symbols"):
            if not isinstance(item.value, str) or is_pattern(item.value):
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
            yield item, _written(item).interval
        except ValueError:
            continue


def _is_symbol(text: str) -> bool:
    try:
        return bool(check_symbol(text))
    except UsageError:
        return False


def _written(item: Entry) -> WrittenInterval:
    return read_interval(item.value)


def _spelled(item: Entry, what: str) -> str | None:
    """Return an item of a list as it counts for doubles; None where it is no proper value."""
    if what != "interval":
        return item.value if isinstance(item.value, str) else None
    try:
        return str(_written(item).interval)
    except ValueError:
        return item.value if isinstance(item.value, str) else None
