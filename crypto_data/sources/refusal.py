"""What an HTTP answer other than 200 means: which of our errors it is.

A pure reading of status, headers and body. Sending and repeating belongs to `sources.http`.
"""

import json
import math
import re
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from http import HTTPStatus

from crypto_data.addresses import public_url
from crypto_data.errors import (
    Absent,
    Blocked,
    Broken,
    RateLimited,
    Rejected,
    SourceError,
    Unreachable,
)

# A refusal that names no time: the weight window of Binance is one minute.
DEFAULT_RETRY_AFTER_S = 60.0
# The longest ban Binance writes of is three days; a longer one is a misread number.
MAX_RETRY_AFTER_S = 3 * 86_400.0
I_AM_A_TEAPOT = 418  # Binance's answer to an address that went on after 429
REDIRECTS = range(300, 400)
SERVER_FAULTS = range(500, 600)

TOO_MUCH_WEIGHT = -1003
# Server-side faults, worth a repetition whatever their status: unknown, disconnected, timeout,
# overloaded. Source: errors.md of binance-spot-api-docs @a5e0bc3, checked 2026-11.
SERVER_CODES = frozenset({-1000, -1001, -1007, -1008})

_BANNED_UNTIL = re.compile(r"until (\d{12,14})")
_WORDS = 200


def refusal_of(
    status: int,
    headers: Mapping[str, str],
    body: bytes,
    *,
    asked: tuple[str, str, str],
    now_ms: int,
) -> SourceError:
    """Return the error that an answer other than 200 stands for.

    Args:
        status: The HTTP status.
        headers: Names in lower case.
        body: At least the first lines.
        asked: Source, series and URL, for the message.
        now_ms: The local clock, to turn "banned until" into seconds.

    Source: binance-spot-api-docs rest-api.md and errors.md, checked 2026-11.
    """
    source, series, url = asked
    text = body.decode("utf-8", "replace").strip()
    code, message = _exchange_words(text)
    detail = f"{url}: HTTP {status}: {message}"
    if status in (HTTPStatus.TOO_MANY_REQUESTS, I_AM_A_TEAPOT) or code == TOO_MUCH_WEIGHT:
        return RateLimited(source, series, detail, retry_after_s(headers, text, now_ms))
    if status in REDIRECTS:
        place = public_url(headers.get("location", "nowhere"))
        return Blocked(source, series, f"{url}: redirect to {place}, which is not followed")
    if status in SERVER_FAULTS or code in SERVER_CODES:
        return Unreachable(source, series, detail)
    kind = _kind_of_4xx(status, text, code)
    if kind is Absent:
        detail = f"{url}: HTTP {status}, not there"
    return kind(source, series, detail)


def _kind_of_4xx(status: int, text: str, code: int | None) -> type[SourceError]:
    if status == HTTPStatus.NOT_FOUND:
        return Absent
    if status == HTTPStatus.FORBIDDEN:
        # S3 hides a missing key behind AccessDenied; a firewall answers with a page for people.
        return Absent if "<Code>AccessDenied</Code>" in text else Blocked
    if status == HTTPStatus.UNAVAILABLE_FOR_LEGAL_REASONS:
        return Blocked
    if status == HTTPStatus.BAD_REQUEST:
        return Broken if code is None else Rejected
    return Rejected if status >= HTTPStatus.BAD_REQUEST else Broken


def _exchange_words(text: str) -> tuple[int | None, str]:
    """Return the code and message of a JSON error; no code and the first words of anything else."""
    try:
        answer = json.loads(text)
    except (ValueError, RecursionError):
        answer = None
    if isinstance(answer, dict) and isinstance(answer.get("code"), int):
        return answer["code"], f"code {answer['code']}: {str(answer.get('msg', ''))[:_WORDS]}"
    return None, plain_words(text)


def plain_words(text: str) -> str:
    """Return the first words of a page or message, without its tags."""
    return " ".join(re.sub(r"<[^>]*>", " ", text[: 10 * _WORDS]).split())[:_WORDS]


def retry_after_s(headers: Mapping[str, str], text: str, now_ms: int) -> float:
    """Return how many seconds to stay away; the message's "until <ms>" when no header says."""
    seconds = _header_seconds(headers.get("retry-after", ""), now_ms)
    if seconds is None:
        until = _BANNED_UNTIL.search(text)
        seconds = (int(until[1]) - now_ms) / 1000 if until else DEFAULT_RETRY_AFTER_S
    return min(max(seconds, 0.0), MAX_RETRY_AFTER_S)


def _header_seconds(value: str, now_ms: int) -> float | None:
    try:
        seconds = float(value)
    except ValueError:
        try:
            seconds = parsedate_to_datetime(value).timestamp() - now_ms / 1000
        except (ValueError, TypeError):
            return None
    return seconds if math.isfinite(seconds) else None
