"""When a day that stays unmended is asked for again, and when repair has given up on it.

Arithmetic on what the ledger knows of a day. Who asks belongs to `orchestration.sensors`.
"""

from crypto_data.coverage import DayFacts
from crypto_data.intervals import DAY_MS, MINUTE_MS

# After the first attempt; doubled after each further one, up to a day.
FIRST_WAIT_MS = 15 * MINUTE_MS
LONGEST_WAIT_MS = DAY_MS
# The waits of so many attempts add up to a day and a half: a person is told then. It is still
# asked for once a day.
GIVEN_UP_ATTEMPTS = 8


def asked_again_ms(attempts: int, asked_ms: int) -> int:
    """Return from when a gap may be asked for again, UTC epoch milliseconds; 0 for at once.

    Args:
        attempts: How often it was asked for.
        asked_ms: When it was last asked for, by the exchange's clock.
    """
    if not attempts:
        return 0
    doublings = min(attempts - 1, 10)
    return asked_ms + min(FIRST_WAIT_MS << doublings, LONGEST_WAIT_MS)


def is_due(facts: DayFacts | None, now_ms: int) -> bool:
    """Return whether a gap may be asked for again; one that never was may."""
    return facts is None or asked_again_ms(facts.attempts, facts.asked_ms) <= now_ms
