"""Symbols written as patterns, and which symbols of an exchange they mean.

Arithmetic on names. What an exchange lists belongs to `lake.universe`, who asks it to `universe`.
"""

import re
from collections.abc import Collection, Iterable, Sequence

from crypto_data.errors import UsageError

LEAVE_OUT = "!"

_ALLOWED = re.compile(r"!?[\w.\-/:*?]{1,64}")


def is_pattern(text: str) -> bool:
    """Return whether a symbol of the configuration is no name but a pattern, or leaves out."""
    return text.startswith(LEAVE_OUT) or "*" in text or "?" in text


def check_pattern(text: str) -> str:
    """Return the pattern: `*` stands for any letters, `?` for one; a leading `!` leaves out.

    Raises:
        UsageError: other signs than a symbol has, or lower case.
    """
    if not _ALLOWED.fullmatch(text) or text != text.upper():
        raise UsageError(f"{text!r} is no pattern of symbols; write it as *USDT or !*UPUSDT")
    return text


def pick_symbols(written: Sequence[str], listed: Collection[str]) -> tuple[str, ...]:
    """Return the symbols that a feed means: those spelled out, then those its patterns match.

    Args:
        written: Names and patterns of a feed, in its order.
        listed: What the exchange lists in the feed's market, delisted ones too.

    A name that is spelled out is taken though the exchange does not list it, and though a `!`
    pattern matches it; only a `!` with that very name leaves it out.

    Example:
        >>> pick_symbols(["SOLUSDT", "B*", "!BNB*"], ["BNBUSDT", "BTCUSDT", "ETHUSDT"])
        ('SOLUSDT', 'BTCUSDT')
    """
    without = [text[len(LEAVE_OUT) :] for text in written if text.startswith(LEAVE_OUT)]
    spelled = [text for text in written if not is_pattern(text) and text not in without]
    wanted = _any_of(text for text in written if is_pattern(text) and text[0] != LEAVE_OUT)
    left_out = _any_of(without)
    matched = (
        name for name in sorted(listed) if wanted.fullmatch(name) and not left_out.fullmatch(name)
    )
    return tuple(dict.fromkeys([*spelled, *matched]))


def _any_of(patterns: Iterable[str]) -> re.Pattern[str]:
    """Return the expression that one of the patterns makes; of none, one that matches nothing."""
    parts = [re.escape(pattern).replace(r"\*", ".*").replace(r"\?", ".") for pattern in patterns]
    return re.compile("|".join(parts) if parts else r"(?!)")
