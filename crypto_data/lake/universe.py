"""Which symbols an exchange lists, as it was last asked: a copy that the lake keeps.

One file a market, `_universe/<exchange>_<market>.json`. Asking the exchange belongs to
`sources.directory`, saying when to ask to `universe`.
"""

import json
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from crypto_data.errors import LakeBusy, LakeDamaged
from crypto_data.lake.layout import LOCKS, UNIVERSE
from crypto_data.lake.part import damaged, make_folder, replace_file, writing
from crypto_data.series import Market

log = logging.getLogger("crypto_data.lake")

# A change is a matter of milliseconds; asking is done before.
LOCK_SECONDS = 60.0

# Half-open stretches of UTC days.
Stretches = tuple[tuple[date, date], ...]


@dataclass(frozen=True, slots=True, order=True)
class Listing:
    """One symbol of an exchange's market; days are UTC, None where nobody has told yet.

    `base` and `quote` are empty where the exchange no longer tells. `last_day` is given for a
    symbol that is delisted. `pauses` are the half-open stretches between the lives of a name.
    """

    symbol: str
    base: str = ""
    quote: str = ""
    first_day: date | None = None
    last_day: date | None = None
    is_trading: bool | None = None
    pauses: Stretches | None = None


@dataclass(frozen=True, slots=True)
class Universe:
    """The symbols of one market, by name, delisted ones too, and when the exchange told them."""

    listings: tuple[Listing, ...] = ()
    told_ms: int = 0  # UTC epoch milliseconds

    @property
    def symbols(self) -> tuple[str, ...]:
        """Every symbol, ascending."""
        return tuple(listing.symbol for listing in self.listings)


def universe_path(root: Path, exchange: str, market: Market) -> Path:
    """Return the file of one market's symbols."""
    return root / UNIVERSE / f"{exchange}_{market}.json"


def write_universe(root: Path, exchange: str, market: Market, universe: Universe) -> None:
    """Replace what the lake knows of a market's symbols.

    Raises:
        LakeNotWritable: no space or no permission.
    """
    path = universe_path(root, exchange, market)
    with writing(path):
        make_folder(path.parent)
    listings = sorted(universe.listings, key=lambda listing: listing.symbol)
    entries = [_entry(listing) for listing in listings]
    content = {"told_ms": universe.told_ms, "symbols": entries}
    replace_file(path, json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode())


def change_universe(
    root: Path, exchange: str, market: Market, change: Callable[[Universe], Universe]
) -> Universe:
    """Replace what the lake knows of a market's symbols by what `change` makes of it; return that.

    Two processes that do so at once lose nothing of each other. A damaged file counts as none, and
    is kept beside.

    Raises:
        LakeNotWritable: no space or no permission.
        LakeBusy: another process held the file for a minute.
    """
    path = root / LOCKS / "universe.lock"
    with writing(path):
        make_folder(path.parent)
        try:
            lock = FileLock(path, timeout=LOCK_SECONDS).acquire()
        except Timeout as error:
            raise LakeBusy(str(path), "held by another process; run the command again") from error
    with lock:
        known = _known_or_begun(root, exchange, market)
        changed = change(known)
        if changed != known:
            write_universe(root, exchange, market, changed)
    return changed


def read_universe(root: Path, exchange: str, market: Market) -> Universe:
    """Return the symbols of a market as the lake knows them; none when it was never told.

    Raises:
        LakeDamaged: the file is there and cannot be read.
    """
    return parse_universe(universe_path(root, exchange, market))


def parse_universe(path: Path) -> Universe:
    """Return the symbols that a file tells of; none when there is no file.

    Raises:
        LakeDamaged: the file is there and cannot be read.
    """
    try:
        content = json.loads(path.read_bytes())
        listings = tuple(_listing(entry) for entry in content["symbols"])
        return Universe(listings, int(content["told_ms"]))
    except FileNotFoundError:
        return Universe()
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise damaged(path, error) from error


def known_universe(root: Path, exchange: str, market: Market) -> Universe:
    """Return the symbols of a market; a damaged file counts as none, and a warning says so.

    It is a copy, asked for again by the next command that fetches.
    """
    try:
        return read_universe(root, exchange, market)
    except LakeDamaged as error:
        log.warning("%s; until then its patterns mean no symbol. Run: crypto-data backfill", error)
        return Universe()


def _known_or_begun(root: Path, exchange: str, market: Market) -> Universe:
    """Return the symbols of a market; a damaged file is moved beside, and a new one begun."""
    try:
        return read_universe(root, exchange, market)
    except LakeDamaged as error:
        path = universe_path(root, exchange, market)
        kept = path.with_name(f"{path.name}.damaged")
        with writing(path):
            path.replace(kept)
        log.warning("%s; moved to %s and begun anew", error, kept.name)
        return Universe()


def read_listed(
    root: Path, markets: Iterable[tuple[str, Market]]
) -> dict[tuple[str, Market], tuple[str, ...]]:
    """Return the symbols of some exchanges' markets; those the lake was never told of have none."""
    return {(name, market): known_universe(root, name, market).symbols for name, market in markets}


def _entry(listing: Listing) -> dict[str, Any]:
    """Return a symbol as JSON has it; what nobody has told is left out."""
    pauses = [[day.isoformat() for day in pause] for pause in listing.pauses or ()]
    fields = asdict(listing) | {
        "first_day": listing.first_day and listing.first_day.isoformat(),
        "last_day": listing.last_day and listing.last_day.isoformat(),
        "pauses": None if listing.pauses is None else pauses,
    }
    return {name: value for name, value in fields.items() if value is not None and value != ""}


def _listing(entry: Mapping[str, Any]) -> Listing:
    days = {
        name: date.fromisoformat(entry[name]) for name in ("first_day", "last_day") if name in entry
    }
    return Listing(**{**entry, **days, "pauses": _pauses(entry.get("pauses"))})


def _pauses(pauses: Sequence[Sequence[str]] | None) -> Stretches | None:
    if pauses is None:
        return None
    return tuple((date.fromisoformat(start), date.fromisoformat(end)) for start, end in pauses)
