"""How the commands stand in `--help`, and options that hold for all of them.

What a command does belongs to the modules beside this one.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from typer import BadParameter
from typer.core import TyperGroup

# What a person does, in the order in which they come to it. `docs/commands.md` has the same order.
PANELS = {
    "Say what is wanted": ("validate", "add", "remove", "exchanges", "universe"),
    "Fetch": ("backfill", "warm", "collect", "repair"),
    "See how it stands": (
        "inventory", "coverage", "gaps", "status", "health", "diagnose", "compare",
    ),
    "Use": ("sql", "export"),
    "Run and watch": ("start", "alerts", "reconcile", "sandbox"),
}  # fmt: skip

# Options of the whole program, which may stand behind the command too.
_EVERYWHERE = ("--timezone", "--log-level")


# How pydantic, which reads the options for typer, begins or words a refusal, and how we do.
_WORDS = {
    "Value error, ": "",
    "Input should be a valid integer, unable to parse string as an integer": "no whole number",
    "Input should be ": "it should be ",
}


class Shell(TyperGroup):
    """All commands, in panels."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        if "validate" in self.commands:  # the completion of options builds groups without commands
            self._arrange()

    def _arrange(self) -> None:
        places = {name: panel for panel, names in PANELS.items() for name in names}
        order = list(places)
        known = sorted(
            self.commands, key=lambda name: order.index(name) if name in order else len(order)
        )
        self.commands = {name: self.commands[name] for name in known}
        for name, command in self.commands.items():
            command.rich_help_panel = places.get(name, "More")  # type: ignore[attr-defined]

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Read `crypto-data status --timezone Asia/Tokyo` like `--timezone Asia/Tokyo status`."""
        with _in_our_words():
            return super().parse_args(ctx, _in_front(args))

    def invoke(self, ctx: Any) -> Any:
        """Run the command, whose own options are read only now."""
        with _in_our_words():
            return super().invoke(ctx)


@contextmanager
def _in_our_words() -> Iterator[None]:
    """Reword what is said of a value that an option cannot have."""
    try:
        yield
    except BadParameter as error:
        for theirs, ours in _WORDS.items():
            if error.message.startswith(theirs):
                error.message = ours + error.message.removeprefix(theirs)
                break
        raise


def _in_front(args: list[str]) -> list[str]:
    """Return arguments with the options of the whole program before the command."""
    front, rest, words = list[str](), list[str](), iter(args)
    for word in words:
        if word == "--":
            rest += [word, *words]
        elif word in _EVERYWHERE:
            value = next(words, None)
            if value is None:
                return [word]  # alone: it is refused, or its value is completed
            front += [word, value]
        elif word.partition("=")[0] in _EVERYWHERE:
            front.append(word)
        else:
            rest.append(word)
    return front + rest
