"""Which outcome an error of a request stands for.

The two words for one thing: errors travel inside a source, outcomes leave it.
"""

from crypto_data.errors import (
    Absent,
    Blocked,
    Broken,
    RateLimited,
    Rejected,
    SourceError,
    Unreachable,
)
from crypto_data.sources.base import Outcome

_OUTCOMES: dict[type[SourceError], Outcome] = {
    Absent: Outcome.ABSENT,
    Broken: Outcome.BROKEN,
    Rejected: Outcome.REJECTED,
    Blocked: Outcome.BLOCKED,
    RateLimited: Outcome.LIMITED,
    Unreachable: Outcome.DOWN,
}


def outcome_of(error: SourceError) -> Outcome:
    """Return how a source that met this error answered."""
    return _OUTCOMES.get(type(error), Outcome.BROKEN)
