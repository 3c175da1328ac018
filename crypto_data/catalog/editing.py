"""Changes of a configuration's feeds: text in, text out, nothing else touched.

The YAML is parsed to learn where things stand; the change itself is cut into the text, so that
comments, order, quoting and indentation of everything else stay byte for byte. Whether the result
can be used is for `catalog.configuration` to say; the file itself belongs to `catalog.file`.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from crypto_data.errors import UsageError

_PLAIN = re.compile(r"[A-Za-z][\w.\-]*(/[\w.\-]+)?")
_COMMA = re.compile(r"[ \t]*,")
# What may stand between two items of a flow list, but for their comma.
_BETWEEN = re.compile(r"(?:\s|#[^\n]*)*")
_REST = re.compile(r"[ \t]*(#.*)?\r?$", re.MULTILINE)  # of a line on which nothing more stands
# Words that YAML reads as something else than text, whatever their case.
_NO_TEXT = {"y", "n", "yes", "no", "on", "off", "true", "false", "null"}


def add_items(text: str, feed: int, key: str, items: Sequence[str]) -> str:
    """Return the text with further items at the end of a feed's list `symbols` or `intervals`.

    Args:
        text: A configuration that can be used.
        feed: The feed's place among the feeds, from 0.
        key: The key of the list.
        items: What the list does not have yet.

    Raises:
        UsageError: the list is shared by an anchor, or cannot be changed safely.
    """
    listed = _value_of(text, feed, key)
    if not isinstance(listed, SequenceNode):
        start, end = _span(listed)
        return _cut(text, start, end, f"[{', '.join([text[start:end], *map(_quoted, items)])}]")
    last = listed.value[-1]
    words = [_quoted(item, like=_quote_of(text, last)) for item in items]
    if listed.flow_style:
        after = _behind(text, last, words)
    else:
        dash = _dash_of(text, listed, last)
        after = _below(text, _span(last)[1], [f"{dash}{word}" for word in words])
    return _checked(after, feed, key, [*_names(listed, key), *items])


def take_items(text: str, feed: int, key: str, items: Sequence[str]) -> str:
    """Return the text without some items of a feed's list; others stay, with their comments.

    Raises:
        UsageError: the list is shared by an anchor, or cannot be changed safely, or an item comes
            from the environment.
    """
    for item in items:
        listed = _value_of(text, feed, key)
        if not isinstance(listed, SequenceNode):
            raise UsageError(f"feeds[{feed}].{key} is a single value; remove the whole feed")
        names = _names(listed, key)
        if item not in names:
            raise UsageError(f"feeds[{feed}].{key}: {item} is written by a variable; edit the file")
        after = _without(text, listed, names.index(item))
        text = _checked(after, feed, key, [name for name in names if name != item])
    return text


def _checked(text: str, feed: int, key: str, names: Sequence[str]) -> str:
    """Return a changed text in which a feed's list has just these items.

    Raises:
        UsageError: it has others, or can no longer be read.
    """
    with suppress(YAMLError, IndexError, AttributeError):  # the cut tore the text apart
        listed = _value_of(text, feed, key)
        if isinstance(listed, SequenceNode) and _names(listed, key) == list(names):
            return text
    raise UsageError(
        f"feeds[{feed}].{key} is written so that it cannot be changed safely; the file is as it "
        "was. Edit it by hand, or write the list with a comma behind each item"
    )


def add_feed(text: str, keys: Mapping[str, str | Sequence[str]]) -> str:
    """Return the text with one more feed behind the others, written as they are.

    Args:
        text: A configuration that can be used; it may have no feed.
        keys: What the feed says, in order; every value but a list is written as it is.
    """
    feeds = _feeds(text)
    pairs = [(name, _written(value)) for name, value in keys.items()]
    if not feeds.value:
        start, end = _span(feeds)
        lines = _feed_lines("  - ", pairs)
        start = len(text[:start].rstrip(" "))
        return _cut(text, start, end, "".join(f"{_newline(text)}{line}" for line in lines))
    last = feeds.value[-1]
    if feeds.flow_style:
        place = _span(last)[1]
        body = ", ".join(f"{name}: {value}" for name, value in pairs)
        return _cut(text, place, place, f", {{{body}}}")
    return _below(text, _content_end(last), _feed_lines(_dash_of(text, feeds, last), pairs))


def take_feed(text: str, feed: int) -> str:
    """Return the text without a feed; without its last one it says `feeds: []`."""
    feeds = _feeds(text)
    if len(feeds.value) > 1 or feeds.flow_style:
        return _without(text, feeds, feed)
    without = _without(text, feeds, feed)
    key = re.compile(r"""^(["']?feeds["']?[ \t]*:)""", re.MULTILINE)
    return key.sub(r"\1 []", without, count=1)


def _feed_lines(dash: str, pairs: Sequence[tuple[str, str]]) -> list[str]:
    indent = " " * len(dash)
    return [
        f"{dash if place == 0 else indent}{name}: {value}"
        for place, (name, value) in enumerate(pairs)
    ]


def _written(value: str | Sequence[str]) -> str:
    return value if isinstance(value, str) else f"[{', '.join(map(_quoted, value))}]"


def _quoted(text: str, like: str = "") -> str:
    """Return a text as a YAML scalar, in quotes where it would not stay one without."""
    plain = _PLAIN.fullmatch(text) and text.casefold() not in _NO_TEXT
    mark = like or ("" if plain else '"')
    return f"{mark}{text}{mark}"


def _root(text: str) -> MappingNode:
    node = YAML(typ="safe", pure=True).compose(text)
    if not isinstance(node, MappingNode):
        raise UsageError("the configuration has no keys")
    return node


def _walk(node: Node) -> Iterator[Node]:
    """Yield a node and all below it, as often as they are named."""
    yield node
    if isinstance(node, MappingNode):
        for key, value in node.value:
            yield key
            yield from _walk(value)
    elif isinstance(node, SequenceNode):
        for item in node.value:
            yield from _walk(item)


def _feeds(text: str) -> SequenceNode:
    feeds = _child(_root(text), "feeds")
    if not isinstance(feeds, SequenceNode):
        raise UsageError("feeds is no list")
    return feeds


def _child(node: MappingNode, name: str) -> Node:
    found: list[Node] = [value for key, value in node.value if key.value == name]
    return found[0]


def _value_of(text: str, feed: int, key: str) -> Node:
    """Return the node of a feed's list.

    Raises:
        UsageError: it stands in other feeds too.
    """
    root = _root(text)
    node = _child(_child(root, "feeds").value[feed], key)
    if sum(one is node for one in _walk(root)) > 1:
        raise UsageError(
            f"feeds[{feed}].{key} is shared with another feed by an alias, and would change there "
            "too; write the list out, or edit the file by hand"
        )
    return node


def _names(listed: SequenceNode, key: str) -> list[str]:
    return [_name_of(node, key) for node in listed.value]


def _name_of(node: Node, key: str) -> str:
    """Return what an item is called: its text, or the key of `15m: from 1m`; `1mo` for `1M`."""
    while isinstance(node, MappingNode):
        node = node.value[0][0]
    return "1mo" if (key, node.value) == ("intervals", "1M") else str(node.value)


def _span(node: Node) -> tuple[int, int]:
    return node.start_mark.index, node.end_mark.index


def _content_end(node: Node) -> int:
    """Return where the last word of a node ends; its own mark lies behind comments and blanks."""
    ends = [
        _span(one)[1]
        for one in _walk(node)
        if isinstance(one, ScalarNode) or getattr(one, "flow_style", False)
    ]
    return max(ends)


def _quote_of(text: str, node: Node) -> str:
    first = text[node.start_mark.index]
    return first if first in "'\"" else ""


def _dash_of(text: str, listed: Node, item: Node) -> str:
    """Return what stands before an item of a block list: its indentation, the dash, blanks."""
    start = item.start_mark.index
    before = text[_line_start(text, start) : start]
    return before if before.strip() == "-" else f"{' ' * listed.start_mark.column}- "


def _line_start(text: str, place: int) -> int:
    return text.rfind("\n", 0, place) + 1


def _newline(text: str) -> str:
    return "\r\n" if "\r\n" in text else "\n"


def _cut(text: str, start: int, end: int, instead: str) -> str:
    return f"{text[:start]}{instead}{text[end:]}"


def _below(text: str, place: int, lines: Sequence[str]) -> str:
    """Return the text with lines below the one that `place` lies in."""
    newline = _newline(text)
    end = text.find("\n", place)
    if end < 0:
        return text + "".join(f"{newline}{line}" for line in lines) + newline
    return _cut(text, end + 1, end + 1, "".join(f"{line}{newline}" for line in lines))


def _behind(text: str, last: Node, words: Sequence[str]) -> str:
    """Return the text with items behind the last one of a flow list, on lines of their own if so.

    A comma behind the last item of a list over several lines is kept up.
    """
    start, end = _span(last)
    indent = text[_line_start(text, start) : start]
    comma = _COMMA.match(text, end)
    if indent.strip() or not _REST.match(text, comma.end() if comma else end):
        return _cut(text, end, end, "".join(f", {word}" for word in words))
    closing = "," if comma else ""
    lines = [f"{indent}{word}," for word in words[:-1]] + [f"{indent}{words[-1]}{closing}"]
    text = text if closing else _cut(text, end, end, ",")
    return _below(text, end, lines)


def _without(text: str, listed: SequenceNode, place: int) -> str:
    """Return the text without one item of a list; a line of its own goes with its comment."""
    item = listed.value[place]
    start, end = item.start_mark.index, _content_end(item)
    if not listed.flow_style:
        return _without_lines(text, text.rfind("-", 0, start), end)
    before = _comma_behind(text, _content_end(listed.value[place - 1])) if place else None
    behind = _comma_behind(text, end)
    if (near := _COMMA.match(text, end)) is not None:
        end = near.end()
    elif before is not None:  # the comma before it goes
        if text[before + 1 : start].strip(" \t"):
            text, start, end = _cut(text, before, before + 1, ""), start - 1, end - 1
        else:
            start = before
    elif behind is not None:  # the comma stands before the next one, in another line
        text = _cut(text, behind, _past_blanks(text, behind + 1), "")
    if not text[_line_start(text, start) : start].strip() and _REST.match(text, end):
        return _without_lines(text, start, end)
    if _REST.match(text, end) or text[end : end + 1] == "]":
        if text[_line_start(text, start) : start].strip():
            start = len(text[:start].rstrip(" "))  # nothing follows: the blanks before it go
    else:
        end = _past_blanks(text, end)
    return _cut(text, start, end, "")


def _comma_behind(text: str, place: int) -> int | None:
    """Return where the comma behind an item stands; one in a comment is none."""
    between = _BETWEEN.match(text, place)
    comma = between.end() if between else place
    return comma if text[comma : comma + 1] == "," else None


def _past_blanks(text: str, place: int) -> int:
    return len(text) - len(text[place:].lstrip(" "))


def _without_lines(text: str, start: int, end: int) -> str:
    last = text.find("\n", end) + 1
    return text[: _line_start(text, start)] + (text[last:] if last else "")
