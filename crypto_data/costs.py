"""What a plan costs: requests, bytes over the network, bytes kept.

Rough figures for a person. What is planned belongs to `planning`.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from crypto_data.coverage import ARCHIVE
from crypto_data.exchanges import EXCHANGES
from crypto_data.partitions import group_days
from crypto_data.planning import Need

# Measured on spot 1m archives: bytes a row in a daily zip, and in the lake.
ZIPPED_BYTES_A_ROW = 48
STORED_BYTES_A_ROW = 58
# And of a row in the JSON of an API; ccxt's exchanges tell half as many columns.
SPOKEN_BYTES_A_ROW = 150
# An archive month of which more days than this are wanted is taken as a whole.
DAYS_OF_A_MONTH = 7
# A file, and its checksum.
REQUESTS_A_FILE = 2


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a plan costs, roughly: counts, bytes over the network and bytes kept."""

    series: int
    days: int
    rows: int
    requests: int
    bytes_fetched: int
    bytes_kept: int


def estimate(needs: Sequence[Need]) -> Estimate:
    """Return what filling all needs costs, when every best source answers.

    An archive month that is wanted as a whole is two requests, and so is each single day; an API is
    a request a page of its exchange, at the least one for each stretch of days.
    """
    return Estimate(
        series=len(needs),
        days=sum(len(need.days) for need in needs),
        rows=sum(need.rows for need in needs),
        requests=sum(_requests(need) for need in needs),
        bytes_fetched=sum(need.rows * _bytes_a_row(need) for need in needs),
        bytes_kept=sum(need.rows for need in needs) * STORED_BYTES_A_ROW,
    )


def _bytes_a_row(need: Need) -> int:
    if need.is_made:
        return 0
    return ZIPPED_BYTES_A_ROW if need.feed.sources[0] == ARCHIVE else SPOKEN_BYTES_A_ROW


def _requests(need: Need) -> int:
    if need.is_made:
        return 0
    if need.feed.sources[0] != ARCHIVE:
        page_rows = EXCHANGES[need.feed.exchange].page_rows
        return max(len(group_days(need.days)), -(-need.rows // page_rows))
    months = Counter(f"{day:%Y-%m}" for day in need.days)
    return sum(
        REQUESTS_A_FILE * (1 if days > DAYS_OF_A_MONTH else days) for days in months.values()
    )
