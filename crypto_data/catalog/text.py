"""The configuration as text: YAML values with their lines, and `${NAME}` filled in.

What the keys mean belongs to `catalog.configuration`. The environment is an argument; a value that
came from it is never shown again, only the `${NAME}` it came from.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from crypto_data.errors import Fault

WHOLE_FILE = "(whole file)"

_TAG = "tag:yaml.org,2002:"
_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
_PLAIN_KEY = re.compile(r"[\w\-]{1,40}")
_LONGEST_SHOWN = 80

# Far above any catalog; a few lines of aliases to aliases would otherwise unfold to billions.
_MOST_ENTRIES = 50_000

_YAML_HINT = (
    "YAML: indent with spaces, `key: value`, lists as `- item` or `[a, b]`, "
    "patterns and ${NAME} in quotes"
)


@dataclass(frozen=True, slots=True)
class Entry:
    """One value of the file: where it stands, what it is, and how a fault may cite it."""

    key: str
    line: int
    value: object
    shown: str
    from_environment: bool = False
    children: Mapping[str | int, "Entry"] = field(default_factory=dict)

    def at(self, place: Sequence[str | int]) -> "Entry":
        """Return the entry at `place`, or the deepest one on the way that exists."""
        entry = self
        for piece in place:
            if piece not in entry.children:
                break
            entry = entry.children[piece]
        return entry

    def items_of(self, name: str) -> list["Entry"]:
        """Return the items of the list under `name`; `[]` when there is no such list."""
        listed = self.children.get(name)
        if listed is None or not isinstance(listed.value, list):
            return []
        return list(listed.children.values())

    def texts_of(self, name: str) -> list["Entry"]:
        """Return the items of the list under `name`; a single text counts as a list of one."""
        found = self.children.get(name)
        single = found is not None and isinstance(found.value, str)
        return [found] if found and single else self.items_of(name)

    def text_of(self, name: str) -> str:
        """Return the text under `name`; empty when there is none."""
        found = self.children.get(name)
        return found.value if found is not None and isinstance(found.value, str) else ""


def join_key(parent: str, piece: str | int) -> str:
    """Return the name of a child as a fault gives it.

    Example:
        >>> join_key(join_key("feeds", 0), "market")
        'feeds[0].market'
    """
    if isinstance(piece, int):
        return f"{parent}[{piece}]"
    name = piece if _PLAIN_KEY.fullmatch(piece) else quote(piece)
    return f"{parent}.{name}" if parent else name


def read_entries(
    text: str, file: str, environ: Mapping[str, str]
) -> tuple[Entry | None, list[Fault]]:
    """Return the tree of values and the faults of the text itself.

    Args:
        text: The YAML text.
        file: Its name in the faults.
        environ: Where `${NAME}` is looked up.

    Returns:
        The root, `None` when the text is no YAML mapping, and all faults found on the way. A value
        with a fault keeps its text as written.
    """
    reader = _Reader(file, environ)
    try:
        node = YAML(typ="safe", pure=True).compose(text)
        root = reader.read(node, "", 1) if isinstance(node, MappingNode) else None
    except MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        reader.blame(WHOLE_FILE, line, f"a YAML mistake ({error.problem})", _YAML_HINT)
        return None, reader.faults
    except (YAMLError, RecursionError, ValueError) as error:
        reason = "nested too deeply" if isinstance(error, RecursionError) else _first_line(error)
        reader.blame(WHOLE_FILE, 1, f"a YAML mistake ({reason})", _YAML_HINT)
        return None, reader.faults
    if root is None:
        reader.blame(
            WHOLE_FILE,
            node.start_mark.line + 1 if node else 1,
            _kind_of(node),
            "keys and values: lake, feeds, sources, alerts, keep",
        )
    return root, reader.faults


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)


def _kind_of(node: Node | None) -> str:
    if node is None:
        return "an empty file"
    return "a list" if isinstance(node, SequenceNode) else "a single value"


@dataclass(slots=True)
class _Reader:
    """Walks the YAML nodes once and gathers what is wrong with the text."""

    file: str
    environ: Mapping[str, str]
    faults: list[Fault] = field(default_factory=list)
    seen: int = 0
    inside: set[int] = field(default_factory=set)

    def blame(self, key: str, line: int, found: str, allowed: str) -> None:
        self.faults.append(Fault(self.file, line, key, found, allowed))

    def read(self, node: Node, key: str, line: int) -> Entry:
        self.seen += 1
        if self.seen > _MOST_ENTRIES:
            raise ValueError(f"aliases unfold to more than {_MOST_ENTRIES} values")
        if id(node) in self.inside:
            raise ValueError(f"{key} contains itself through an alias")
        self.inside.add(id(node))
        try:
            match node:
                case MappingNode():
                    return self.read_mapping(node, key, line)
                case SequenceNode():
                    return self.read_list(node, key, line)
                case _:
                    return self.read_scalar(node, key, line)
        finally:
            self.inside.discard(id(node))

    def read_mapping(self, node: MappingNode, key: str, line: int) -> Entry:
        children: dict[str | int, Entry] = {}
        for name_node, value_node in node.value:
            name_line = name_node.start_mark.line + 1
            if not isinstance(name_node, ScalarNode):
                self.blame(key or WHOLE_FILE, name_line, "a key that is no text", "plain keys")
                continue
            name = name_node.value
            name_key = join_key(key, name)
            if name in children:
                self.blame(
                    name_key,
                    name_line,
                    "the key a second time",
                    f"each key once; it already stands in line {children[name].line}",
                )
                continue
            children[name] = self.read(value_node, name_key, name_line)
        value = {name: child.value for name, child in children.items()}
        return Entry(key, line, value, "keys and values", children=children)

    def read_list(self, node: SequenceNode, key: str, line: int) -> Entry:
        children: dict[str | int, Entry] = {
            number: self.read(item, join_key(key, number), item.start_mark.line + 1)
            for number, item in enumerate(node.value)
        }
        value = [child.value for child in children.values()]
        return Entry(key, line, value, "a list" if value else "an empty list", children=children)

    def read_scalar(self, node: Node, key: str, line: int) -> Entry:
        written, tag = str(node.value), str(node.tag)
        kind = tag.removeprefix(_TAG)
        match kind:
            case "str" | "timestamp":
                return self.read_text(written, key, line)
            case "null":
                return Entry(key, line, None, "nothing")
            case "bool":
                yes = written.lower() in {"true", "yes", "on", "y"}
                return Entry(key, line, yes, f"{written} (yes or no)")
            case "int" | "float":
                return Entry(key, line, _number(written), f"{quote(written)} (a number)")
        self.blame(key, line, f"the tag {quote(tag)}", "a plain value without a tag")
        return Entry(key, line, written, quote(written))

    def read_text(self, written: str, key: str, line: int) -> Entry:
        if "${" not in written:
            return Entry(key, line, written, quote(written))
        names = _VARIABLE.findall(written)
        unset = [name for name in dict.fromkeys(names) if name not in self.environ]
        if "${" in _VARIABLE.sub("", written):
            self.blame(key, line, quote(written), "${NAME}: a letter or _, then letters, digits, _")
        for name in unset:
            self.blame(key, line, f"${{{name}}}", f"a variable that is set; {name} is not")
        value = _VARIABLE.sub(lambda name: self.environ.get(name[1], name[0]), written)
        return Entry(key, line, value, quote(written), from_environment=True)


def _number(written: str) -> object:
    """Return the number as Python reads it, or the text when it cannot."""
    for convert in (int, float, lambda text: int(text, 0)):
        try:
            return convert(written)
        except ValueError:
            continue
    return written


def quote(text: str) -> str:
    """Return text as a fault cites it: in quotes, one line, cut when long."""
    if len(text) > _LONGEST_SHOWN:
        return f"{text[: _LONGEST_SHOWN - 1]!r}… ({len(text)} characters)"
    return repr(text)
