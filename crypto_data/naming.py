"""How a name that nobody knows is answered: the nearest ones there are, then the others.

Words only. Which names there are is the caller's.
"""

import difflib
from collections import Counter
from collections.abc import Iterable

# How alike two names are, 0 to 1, to take one for the other: `1hour` and `1h` are by 0.57.
NEAR = 0.55
# More names than this are no help; there are so many intervals.
MOST_NAMES = 16


def nearest(name: str, known: Iterable[str], most: int = 1) -> list[str]:
    """Return the known names that are most like `name`, best first; case does not matter.

    Example:
        >>> nearest("btcusd", ["ETHUSDT", "BTCUSDT"])
        ['BTCUSDT']
    """
    by_fold: dict[str, str] = {}
    for one in known:
        by_fold.setdefault(str(one).casefold(), str(one))
    return [by_fold[one] for one in difflib.get_close_matches(name.casefold(), by_fold, most, NEAR)]


def slip_of(name: str, known: Iterable[str]) -> str | None:
    """Return the known name of which `name` is a slip: letters swapped, one too many or too few.

    Another letter in a place is no slip where the names are symbols: `BTCUSDC` is not `BTCUSDT`.

    Example:
        >>> slip_of("BTCUSTD", ["BTCUSDT"]), slip_of("BTCUSD", ["BTCUSDT"])
        ('BTCUSDT', 'BTCUSDT')
        >>> slip_of("NEWUSDT", ["ETHUSDT"]), slip_of("BTCUSDC", ["BTCUSDT"])
        (None, None)
    """
    letters = Counter(name)
    for one in nearest(name, known, 3):
        others = Counter(one)
        if one != name and (letters - others).total() + (others - letters).total() <= 1:
            return one
    return None


def describe_unknown(name: str, known: Iterable[str], what: str = "not known") -> str:
    """Return a sentence that says `name` is `what`, and what there is, nearest first.

    Example:
        >>> describe_unknown("sport", ["um", "spot"], "no market")
        "'sport' is no market; did you mean spot? there is spot, um"
    """
    name, *names = map(str, (name, *known))  # of an enum, its value
    near = nearest(name, names, 3)
    ordered = list(dict.fromkeys([*near, *names]))
    hint = f"did you mean {near[0]}? " if near else ""
    more = ", …" if len(ordered) > MOST_NAMES else ""
    return f"{name!r} is {what}; {hint}there is {', '.join(ordered[:MOST_NAMES]) or 'none'}{more}"
