"""What has come of each series of a call, and the answer that is handed over.

Values, and how one follows from the other. Gathering belongs to `api.reading`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date

import pyarrow as pa

from crypto_data.api.asking import Wanted
from crypto_data.api.lacking import told_days
from crypto_data.errors import Attempt, DataSourceError
from crypto_data.schema import empty_klines

SYMBOL = pa.field("symbol", pa.dictionary(pa.int32(), pa.string()), nullable=False)


@dataclass(frozen=True, slots=True)
class Reading:
    """What a call for klines brought: all there is, and what there is to know about it.

    `notes` are sentences that tell of no failure. `shortfalls` tell of each series some of whose
    klines nobody could serve, and why not.
    """

    table: pa.Table
    notes: tuple[str, ...] = ()
    shortfalls: tuple[DataSourceError, ...] = ()

    @property
    def attempts(self) -> tuple[Attempt, ...]:
        """Each source's own reason, over all shortfalls."""
        return tuple(attempt for error in self.shortfalls for attempt in error.attempts)

    def check(self) -> None:
        """Refuse a reading that fell short.

        Raises:
            DataSourceError: klines are lacking, and nobody has explained why.
        """
        if len(self.shortfalls) == 1:
            raise self.shortfalls[0]
        if self.shortfalls:
            names = ", ".join(error.series for error in self.shortfalls)
            raise DataSourceError(names, "fell short", self.attempts)


@dataclass(slots=True, eq=False)
class Gathered:
    """What has been gathered of one series so far."""

    wanted: Wanted
    rows: list[pa.Table] = field(default_factory=list)  # `schema.KLINES`, ascending
    notes: list[str] = field(default_factory=list)  # sentences that tell of no failure
    short: dict[date, Sequence[Attempt]] = field(default_factory=dict)

    @property
    def table(self) -> pa.Table:
        """The rows as one table of `schema.KLINES`."""
        return pa.concat_tables([*self.rows, empty_klines()]).unify_dictionaries()

    @property
    def shortfall(self) -> DataSourceError | None:
        """The error that says what nobody could serve, None when nothing is lacking."""
        if not self.short:
            return None
        days = told_days(sorted(self.short))
        return DataSourceError(str(self.wanted.series), days, _fold(self.short))


def _fold(short: Mapping[date, Sequence[Attempt]]) -> list[Attempt]:
    """Return the attempts of some days, those of one source that ended alike as one."""
    alike: dict[tuple[str, str], list[tuple[date, str]]] = {}
    for day in sorted(short):
        for one in short[day]:
            alike.setdefault((one.source, one.outcome), []).append((day, one.detail))
    return [Attempt(source, outcome, _first_of(said)) for (source, outcome), said in alike.items()]


def _first_of(said: Sequence[tuple[date, str]]) -> str:
    others = len({day for day, _ in said}) - 1
    more = f" (and {others} more day{'s' if others > 1 else ''})" if others else ""
    return f"{said[0][0]}: {said[0][1]}{more}"


def reading_of(gathered: Sequence[Gathered], names: Sequence[str], *, has_symbol: bool) -> Reading:
    """Return what has been gathered as one answer.

    Args:
        gathered: The series, sorted; a single one where the symbol is not named.
        names: The columns of the table.
        has_symbol: Whether the table begins with the symbol.
    """
    return Reading(
        _with_symbols(gathered, names) if has_symbol else gathered[0].table.select(names),
        tuple(note for one in gathered for note in one.notes),
        tuple(error for one in gathered if (error := one.shortfall)),
    )


def _with_symbols(gathered: Sequence[Gathered], names: Sequence[str]) -> pa.Table:
    """Return the rows of several series as one table that begins with the symbol."""
    symbols = pa.array([one.wanted.series.symbol for one in gathered])
    tables = []
    for place, one in enumerate(gathered):
        rows = one.table.select(names)
        places = pa.nulls(rows.num_rows, pa.int32()).fill_null(place)
        marks = pa.DictionaryArray.from_arrays(places, symbols)
        tables.append(rows.add_column(0, SYMBOL, marks))
    # Copied together, as slices would keep the whole files of all series in memory.
    return pa.concat_tables(tables).unify_dictionaries().combine_chunks()
