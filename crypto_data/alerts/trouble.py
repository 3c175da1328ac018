"""What a person is told of, and in which words.

Values and texts only. Finding trouble belongs to `watching`; what was told already, to
`alerts.state`.
"""

from dataclasses import dataclass
from enum import StrEnum

from crypto_data.partitions import utc

NAME = "crypto-data"

# Chat services cut or refuse long messages (Discord's limit of 2,000 is the lowest).
_LONGEST = {"what": 300, "words": 900, "remedy": 300}


@dataclass(frozen=True, slots=True)
class Trouble:
    """Something that lasts and that a person should know of.

    `key` names it for as long as it lasts (`feed/binance_spot`); a higher `level` of a key is told
    at once; `what` is one sentence; `words` are the source's own, `""` if it said none; `remedy` is
    the command that helps, or what to look at where no command does.
    """

    key: str
    level: int
    what: str
    since_ms: int
    words: str
    remedy: str


class Kind(StrEnum):
    """What a message says about a trouble."""

    STARTED = "started"
    WORSE = "worse"
    REMINDER = "reminder"
    OVER = "over"


_OPENINGS = {
    Kind.STARTED: "",
    Kind.WORSE: "worse: ",
    Kind.REMINDER: "still: ",
    Kind.OVER: "over: ",
}


def message(kind: Kind, trouble: Trouble, now_ms: int) -> str:
    """Return a message as a person reads it on a phone; its first line says it all.

    Args:
        kind: What is said about the trouble.
        trouble: What is wrong, or was.
        now_ms: The moment of the message, UTC epoch milliseconds.

    Example:
        >>> print(message(Kind.OVER, Trouble("k", 1, "Feed a: its last run failed.", 0, "", ""), 1))
        crypto-data: over: Feed a: its last run failed.
        From 1970-01-01 00:00:00 UTC to 1970-01-01 00:00:00 UTC.
    """
    lines = [f"{NAME}: {_OPENINGS[kind]}{_line('what', trouble.what)}"]
    if kind is Kind.OVER:
        return f"{lines[0]}\nFrom {utc(trouble.since_ms)} to {utc(now_ms)}."
    lines.append(f"Since {utc(trouble.since_ms)}.")
    if trouble.words:
        lines.append(f"In its own words: {_line('words', trouble.words)}")
    if trouble.remedy:
        run = "Run: " if trouble.remedy.startswith(f"{NAME} ") else ""
        lines.append(run + _line("remedy", trouble.remedy))
    return "\n".join(lines)


def _line(part: str, text: str) -> str:
    """Return a text on one line, cut to what the part may take."""
    # A source's words may hold half a character (JSON's \ud800), which no one can send or print.
    whole = text.encode(errors="replace").decode()
    text, longest = " ".join(whole.split()), _LONGEST[part]
    return text if len(text) <= longest else f"{text[: longest - 1]}…"
