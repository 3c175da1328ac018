"""How a table is laid out so that a person can read it in the width there is.

Text only. Which columns a table has, and how values are written, belongs to `cli.output`.
"""

import os
import re
import sys
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from rich.cells import cell_len

# In a file or pipe, where nobody says how wide it may be.
FILE_WIDTH = 100
# Prose in a narrower column is a ladder of words.
PROSE_WIDTH = 24
INDENT = "    "
# Between two columns.
BLANKS = 2

_PARTS = re.compile(r",\s|\sthen\s")


@dataclass(frozen=True, slots=True)
class Column:
    """One column: its name, what stands in it, and whether it is prose, a list, or numbers.

    A name that a person wrote (`is_own_name`) stays as it is. Prose and lists may be wrapped at
    words. A name broken in two cannot be copied.
    """

    name: str
    cells: tuple[str, ...]
    is_prose: bool = False
    is_list: bool = False
    is_number: bool = False
    is_own_name: bool = False


def draw(columns: Sequence[Column]) -> None:
    """Print a table on stdout, as wide as the terminal.

    Where the columns are too wide, their names are wrapped; where that is not enough, prose goes
    below its row.
    """
    from rich.console import Console

    console = Console()
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console.width = FILE_WIDTH
    prose = [column for column in columns if column.is_prose]
    for names in (_as_it_is, _over_lines) if prose else (_as_it_is,):
        if _width(columns, names) <= console.width:
            console.print(_table(columns, names, console.width))
            return
    # With prose each row is one line now, so that what is said of it can follow.
    short = [
        replace(column, is_list=column.is_list and not prose)
        for column in columns
        if not column.is_prose
    ]
    console.width = max(console.width, _width(short, _over_lines))
    with console.capture() as captured:
        console.print(_table(short, _over_lines, console.width))
    # Of prose alone there is no row to follow: a blank line stands for it.
    lines = captured.get().splitlines() if short else [""] * len(prose[0].cells)
    _print_with_prose(lines, prose, console.width)


def _width(columns: Sequence[Column], names: Any) -> int:
    """Return the least width of a table, with blanks between its columns."""
    return sum(_narrowest(column, names) for column in columns) + BLANKS * (len(columns) - 1)


def _narrowest(column: Column, names: Any) -> int:
    """Return how narrow a column may become, its name included."""
    header = max(map(cell_len, _named(column, names).splitlines()), default=0)
    return max(header, _least(column, _widest(column)))


def _widest(column: Column) -> int:
    return max(map(cell_len, column.cells), default=0)


def _named(column: Column, names: Any) -> str:
    if column.is_own_name:
        return column.name
    return str(names(column.name.replace("_", " "), _widest(column)))


def _widths(columns: Sequence[Column], names: Any, available: int) -> list[int]:
    """Return how wide each column is: what the least widths leave goes to those that want more.

    rich shares out too, but then cuts columns that must not be wrapped.
    """
    widths = [_narrowest(column, names) for column in columns]
    wants = [max(0, _widest(column) - width) for column, width in zip(columns, widths, strict=True)]
    spare = available - BLANKS * (len(columns) - 1) - sum(widths)
    asking = sorted((place for place, want in enumerate(wants) if want), key=wants.__getitem__)
    for served, place in enumerate(asking):
        more = max(0, min(wants[place], spare // (len(asking) - served)))
        widths[place] += more
        spare -= more
    return widths


def _table(columns: Sequence[Column], names: Any, available: int) -> Any:
    from rich import box
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    for column, width in zip(columns, _widths(columns, names, available), strict=True):
        table.add_column(
            escape(_named(column, names)),
            justify="right" if column.is_number else "left",
            no_wrap=not (column.is_prose or column.is_list),
            width=width,
        )
    for row in zip(*(column.cells for column in columns), strict=True):
        table.add_row(*map(escape, row))
    return table


def _least(column: Column, widest: int) -> int:
    """Return how narrow the cells of a column may become."""
    if column.is_list:
        parts = [part for cell in column.cells for part in _PARTS.split(cell)]
        return max(map(len, parts), default=0)
    return min(widest, PROSE_WIDTH) if column.is_prose else widest


def _as_it_is(name: str, widest: int) -> str:
    del widest
    return name


def _over_lines(name: str, widest: int) -> str:
    """Return a name over several lines, where its column is narrower than that."""
    width = max(widest, *map(len, name.split()))
    return "\n".join(textwrap.wrap(name, width))


def _print_with_prose(lines: Sequence[str], prose: Sequence[Column], width: int) -> None:
    """Print a table's lines, each row followed by what is said of it."""
    rows = len(prose[0].cells) if prose else 0
    head = len(lines) - rows
    for number, line in enumerate(lines):
        sys.stdout.write(f"{line.rstrip()}\n")
        for column in prose if number >= head else ():
            if text := column.cells[number - head]:
                words = f"{column.name.replace('_', ' ')}: {text}"
                wrapped = textwrap.wrap(
                    words, width, initial_indent=INDENT, subsequent_indent=f"{INDENT}  ",
                    break_long_words=False, break_on_hyphens=False,
                )  # fmt: skip
                sys.stdout.write("".join(f"{one}\n" for one in wrapped))
