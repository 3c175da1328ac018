"""What is noted of a request that was sent: for who counts them, and as a line at DEBUG."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime

from crypto_data.sources.door import Door

LOGGER = logging.getLogger("crypto_data.sources")


@dataclass(frozen=True, slots=True)
class Sent:
    """One request as it went; where no answer came `status` is None and `fault` says why.

    `url` is without a login. `server_ms` is the clock of who answered, UTC epoch milliseconds,
    None where it did not say.
    """

    source: str
    url: str
    status: int | None
    seconds: float
    fault: str = ""
    server_ms: int | None = None


def server_ms_of(headers: Mapping[str, str]) -> int | None:
    """Return when an answer left, by the server's clock; a cache adds how old its copy is."""
    try:
        moment = parsedate_to_datetime(headers["date"])
        return int((moment.timestamp() + float(headers.get("age", "0"))) * 1000)
    except (KeyError, ValueError, TypeError):
        return None


def log_request(
    door: Door, asked: str, outcome: str, seconds: float, headers: Mapping[str, str]
) -> None:
    """Write the line of one request; `asked` holds no login, `headers` are those of the answer."""
    LOGGER.debug(
        "%s: %s %s: %s in %.0f ms, weight used %s",
        door.source, door.series, asked, outcome, seconds * 1000,
        headers.get("x-mbx-used-weight-1m", "-"),
    )  # fmt: skip
