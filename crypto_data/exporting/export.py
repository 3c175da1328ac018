"""Export series of the lake for another program, file by file, and say what is in each file.

Reads the lake only. How a format looks belongs to the modules beside this one.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from crypto_data.catalog.configuration import Catalog
from crypto_data.coverage import DayState
from crypto_data.errors import LakeDamaged, UsageError
from crypto_data.exchanges import EXCHANGES, is_stand_in
from crypto_data.exporting.archive_csv import ArchiveCsv
from crypto_data.exporting.content import Content, content_of, find_series
from crypto_data.exporting.files import Source, WrittenFile
from crypto_data.exporting.formats import Writer
from crypto_data.exporting.freqtrade import Freqtrade
from crypto_data.exporting.nautilus import Nautilus
from crypto_data.exporting.order import ExportFormat, Order, Packing
from crypto_data.exporting.pairs import PairBook
from crypto_data.intervals import TimeRange
from crypto_data.lake.census import Census, take_census
from crypto_data.lake.feeds import Wishes, current_wishes
from crypto_data.lake.store import Lake
from crypto_data.partitions import ONE_DAY, closed_end, day_of, day_start_ms, group_days
from crypto_data.planning import check_names
from crypto_data.selection import Selection
from crypto_data.series import Series

# More stretches of days than this are counted, not listed.
_MOST_STRETCHES = 3


@dataclass(frozen=True, slots=True)
class Exported:
    """What became of one series; `files` is empty where `reason` says why.

    `is_done` is False where something that was asked for is not in the files.
    """

    series: Series
    content: Content
    files: tuple[WrittenFile, ...]
    best_source: str
    reason: str = ""
    is_done: bool = True

    def stand_ins(self, file: WrittenFile) -> int:
        """Return how many klines of a file come from another exchange than the series is of."""
        return sum(count for source, count in file.sources if is_stand_in(source, self.best_source))


def start_export(catalog: Catalog, order: Order, local_ms: int) -> Iterator[Exported]:
    """Yield each series when it is written, in the order of the lake.

    Args:
        catalog: Names the lake, and what it is asked to hold.
        order: What is wanted.
        local_ms: This machine's clock, UTC epoch milliseconds.

    Raises:
        UsageError: before anything is written: the selection names what is not there or what the
            format cannot hold, two series would share a file, or the folder lies in the lake.
        LakeNotWritable: no space or no permission; the file that was there is untouched.
    """
    folder = order.folder.expanduser().absolute()
    _check_folder(folder, catalog.lake)
    wishes = current_wishes(catalog)
    census = take_census(catalog.lake, local_ms, wishes)
    series = find_series(census, order.selection)
    if not series:
        check_names(find_series(census, Selection()), order.selection)
        raise UsageError("no series of the lake is meant; run: crypto-data inventory")
    writer = _writer(order, folder, catalog.lake)
    _check_series(writer, series)
    now_ms = local_ms + wishes.clock_ahead_ms
    start = order.selection.start
    if start and day_start_ms(start) > now_ms:
        raise UsageError(f"start {start} lies in the future; today is {day_of(now_ms)}")
    work = _Work(catalog.lake, census, wishes, now_ms, writer)
    return (work.export(one, order) for one in series)


def _check_folder(folder: Path, lake: Path) -> None:
    if folder.resolve().is_relative_to(lake.resolve()):
        raise UsageError(f"{folder} lies in the lake, where only klines may be; choose another")
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder} is no folder; choose another")


def _writer(order: Order, folder: Path, lake: Path) -> Writer:
    if order.packing is not Packing.PLAIN and order.format is not ExportFormat.CSV:
        raise UsageError(f"only csv can be packed, {order.format} cannot")
    match order.format:
        case ExportFormat.FREQTRADE:
            return Freqtrade(folder, PairBook(lake))
        case ExportFormat.NAUTILUS:
            return Nautilus(folder, PairBook(lake))
        case ExportFormat.CSV:
            return ArchiveCsv(folder, order.packing)


def _check_series(writer: Writer, series: Sequence[Series]) -> None:
    """Refuse series that cannot be written, all of them in one message."""
    faults, places = [], dict[str, Series]()
    for one in series:
        try:
            refusal = writer.refusal(one)
            place = "" if refusal else writer.place(one)
        except UsageError as error:
            refusal = str(error)
        if refusal:
            faults.append(f"{one}: {refusal}")
        elif place in places:
            faults.append(f"{one}: its file would be that of {places[place]}; export one of them")
        else:
            places[place] = one
    if faults:
        chosen = "choose other markets, symbols or intervals; nothing was written"
        raise UsageError("\n".join([*faults, chosen]))


@dataclass(frozen=True, slots=True)
class _Work:
    """What an export needs of the lake; `now_ms` is the exchange's clock, UTC epoch ms."""

    lake: Path
    census: Census
    wishes: Wishes
    now_ms: int
    writer: Writer

    def export(self, series: Series, order: Order) -> Exported:
        """Write one series, unless it has days of which nobody knows what is in them."""
        closed = closed_end(series.interval, self.now_ms)
        chosen = order.selection
        content = content_of(self.census, series, chosen.start, chosen.end, closed)
        wanted = self.wishes.series.get(series)
        best = wanted.best_source if wanted else _own_best_source(series)
        unknown = content.days(DayState.MISSING, DayState.PARTIAL)
        if unknown and not order.allow_gaps:
            reason = f"{_unknown_days(unknown)}; {_remedy(content.wanted, unknown)}"
            return Exported(series, content, (), best, reason, is_done=False)
        try:
            source = Source(Lake(self.lake), series, content.span)
            files = tuple(self.writer.write(source))
        except (UsageError, LakeDamaged) as error:
            return Exported(series, content, (), best, str(error), is_done=False)
        reason = "" if files else f"no klines in this range; {_wanted_days(content.wanted)}"
        return Exported(series, content, files, best, reason)


def _own_best_source(series: Series) -> str:
    """Return the source that a feed of the exchange would have; `""` for an exchange we lack."""
    exchange = EXCHANGES.get(series.exchange)
    return exchange.default_sources[0] if exchange else ""


def _remedy(wanted: TimeRange, unknown: Sequence[date]) -> str:
    if any(day_start_ms(day) in wanted for day in unknown):
        return "run: crypto-data repair, or allow gaps (--allow-gaps)"
    return f"{_wanted_days(wanted)}; change the feed, start or end, or allow gaps (--allow-gaps)"


def _wanted_days(wanted: TimeRange) -> str:
    if not wanted:
        return "the lake is asked for no day of it yet"
    first, end = day_of(wanted.start_ms), day_of(wanted.end_ms)
    return f"the lake is asked for {first} up to {end} (exclusive)"


def _unknown_days(days: Sequence[date]) -> str:
    """Return which days are unknown, as a person says it."""
    stretches = [
        f"{first}" if end - first == ONE_DAY else f"{first} to {end - ONE_DAY}"
        for first, end in group_days(days)
    ]
    more = len(stretches) - _MOST_STRETCHES
    listed = ", ".join(stretches[:_MOST_STRETCHES]) + (f" and {more} more" if more > 0 else "")
    count = f"{len(days):,} days are" if len(days) > 1 else "1 day is"
    return f"{count} missing or partial: {listed}"
