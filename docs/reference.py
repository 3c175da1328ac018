"""Writes the tables of the reference pages from the code: commands, configuration, views.

Run by `make docs`; with `--check` nothing is written, and pages that are not current end it with
status 1. The prose around the tables is written by hand, and stays.
"""

import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, get_args

import duckdb
import typer
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from crypto_data.catalog.configuration import CatalogText
from crypto_data.cli.main import app
from crypto_data.lake.health import HEALTH
from crypto_data.lake.inventory import rebuild_database
from crypto_data.lake.view_columns import MEANINGS

DOCS = Path(__file__).parent
# A table, from its head to its last line.
TABLE = re.compile(r"^\|.*\n\| ---.*\n(?:\|.*\n)*", re.MULTILINE)


def main() -> int:
    """Write every page, or with `--check` name those that are not current; return the status."""
    stale = []
    for name, tables in (
        ("commands.md", command_tables()),
        ("configuration.md", key_tables(CatalogText)),
        ("views.md", view_tables()),
    ):
        page = DOCS / name
        text = page.read_text("utf-8")
        current = with_tables(text, tables, name)
        if current != text:
            stale.append(name)
            if "--check" not in sys.argv:
                page.write_text(current, "utf-8")
    if stale:
        said = "not current, run make docs:" if "--check" in sys.argv else "written anew:"
        sys.stderr.write(f"{said} {' '.join(stale)}\n")
    return int(bool(stale) and "--check" in sys.argv)


def with_tables(text: str, tables: Mapping[str, str], page: str) -> str:
    """Return a page with the first table below each named heading replaced.

    Raises:
        SystemExit: the page lacks a heading, or a table below it.
    """
    for heading, table in tables.items():
        found = re.search(rf"^#+ `?{re.escape(heading)}`?$", text, re.MULTILINE)
        place = TABLE.search(text, found.end()) if found else None
        following = re.search(r"^#+ ", text[found.end() :], re.MULTILINE) if found else None
        if (
            found is None
            or place is None
            or (following and place.start() > found.end() + following.start())
        ):
            raise SystemExit(f"{page}: write a heading {heading!r} with a table below it")
        text = text[: place.start()] + table + text[place.end() :]
    return text


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(line)} |\n".replace("|  |", "| |") for line in lines)


def command_tables() -> dict[str, str]:
    """Return the options of every command, by its name, and those that all of them have."""
    group = typer.main.get_command(app)
    tables = {}
    for name, command in [("Options of every command", group), *commands_of(group)]:
        rows = [_parameter(one) for one in command.params if not getattr(one, "hidden", False)]
        tables[name] = table(("option", "meaning"), rows)
    return tables


def commands_of(group: Any, before: str = "") -> Iterator[tuple[str, Any]]:
    """Yield all commands of a group by name, those of a command after it: `alerts test`."""
    for name, command in group.commands.items():
        yield f"{before}{name}", command
        if hasattr(command, "commands"):
            yield from commands_of(command, f"{before}{name} ")


def _parameter(parameter: Any) -> tuple[str, str]:
    is_argument = not any(name.startswith("-") for name in parameter.opts)
    names = [parameter.name.upper()] if is_argument else parameter.opts + parameter.secondary_opts
    meaning = (parameter.help or "").rstrip(".")
    kind = parameter.type_descriptor.annotation
    if isinstance(kind, type) and issubclass(kind, StrEnum):
        meaning += f": {', '.join(f'`{one}`' for one in kind)}"
    if parameter.multiple:
        meaning += "; may be repeated" if "repeated" not in meaning else ""
    if parameter.default not in {None, False, ()} and parameter.show_default is not False:
        meaning += f"; default `{_plain(parameter.default)}`"
    if parameter.envvar:
        meaning += f"; `${parameter.envvar}` where it is not given"
    return ", ".join(f"`{name}`" for name in names), meaning.replace("|", "\\|")


def key_tables(model: type[BaseModel], where: str = "") -> dict[str, str]:
    """Return the keys of a model and of the models below it, by the heading they stand under."""
    rows, below = [], {}
    for name, field in model.model_fields.items():
        held = [field.annotation, *get_args(field.annotation)]
        inner = [one for one in held if isinstance(one, type) and issubclass(one, BaseModel)]
        listed = "[]" if get_args(field.annotation) else ""
        for one in inner:
            below |= key_tables(one, f"{where}.{name}{listed}".lstrip("."))
        allowed = (field.description or "").replace("|", "\\|")
        default = "as below" if inner else _default(field)
        rows.append((f"`{name}`", field.title or "", allowed, default))
    head = ("key", "meaning", "allowed", "default")
    return {where or "Top level": table(head, rows)} | below


def _default(field: FieldInfo) -> str:
    return "" if field.is_required() else f"`{_plain(field.get_default())}`"


def view_tables() -> dict[str, str]:
    """Return the columns of every view, with their types as DuckDB tells them."""
    with TemporaryDirectory() as folder:
        made = rebuild_database(Path(folder), 0, lambda _census: {"health": HEALTH.empty_table()})
        with duckdb.connect(str(made), read_only=True) as lake:
            return {
                view: table(
                    ("column", "type", "meaning"),
                    (
                        (f"`{name}`", kind, MEANINGS[view][name])
                        for name, kind, *_ in lake.sql(f"DESCRIBE {view}").fetchall()
                    ),
                )
                for view in MEANINGS
            }


def _plain(value: Any) -> str:
    """Return a value as the configuration or a command spells it."""
    if value is None:
        return "null"
    if isinstance(value, tuple):
        return f"[{', '.join(map(_plain, value))}]"
    return str(getattr(value, "value", value))


if __name__ == "__main__":
    sys.exit(main())
