"""How many decimals numbers need, and the numbers with exactly so many, as decimals or text.

A double is taken for the shortest decimal that reads back as itself, as the exchange wrote it.
"""

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

# Of 38 digits that a decimal holds, 22 are left before the point.
MOST_DECIMALS = 16
_DIGITS = 38
# Up to so many units, doubles lie closer together than units.
_CLOSE = 2**52
# So many values tell nearly always that decimals are too few.
_SAMPLE = 256

Doubles = np.ndarray[Any, np.dtype[np.float64]]


def least_decimals(values: Doubles, at_least: int = 0) -> int | None:
    """Return how many decimals hold every value exactly; None when `MOST_DECIMALS` do not.

    Args:
        values: Finite numbers.
        at_least: Where to begin.
    """
    fitting = (one for one in range(at_least, MOST_DECIMALS + 1) if _fits(values, one))
    return next(fitting, None)


def to_decimals(values: Doubles, decimals: int) -> Any:
    """Return values as an Arrow decimal array with that many decimals, rounded to them."""
    kind = pa.decimal128(_DIGITS, decimals)
    numbers = pa.array(values).cast(kind)
    # Above, several decimals of that length are one double: the shortest is what was written.
    large = np.abs(values) >= _CLOSE / 10**decimals
    if not large.any():
        return numbers
    texts = [np.format_float_positional(one, precision=decimals) for one in values[large]]
    return pc.replace_with_mask(numbers, pa.array(large), pa.array(texts).cast(kind))


def to_text(values: Doubles, decimals: int | None) -> Any:
    """Return values as text with that many decimals, `None` for as many as each one needs."""
    if decimals is None:
        return pa.array([np.format_float_positional(value, trim="0") for value in values])
    return to_decimals(values, decimals).cast(pa.string())


def _fits(values: Doubles, decimals: int) -> bool:
    # Up to 2**53 units, numpy rounds to the double that such a decimal is read as.
    doubtful = values[np.round(values, decimals) != values]
    return all(_reads_back(part, decimals) for part in (doubtful[:_SAMPLE], doubtful[_SAMPLE:]))


def _reads_back(values: Doubles, decimals: int) -> bool:
    read = to_decimals(values, decimals).cast(pa.string()).cast(pa.float64())
    return bool((read.to_numpy() == values).all())
