"""What an exchange's answer means, read with ccxt's knowledge of that exchange's own words.

A pure reading of status, headers and body. Sending belongs to `sources.http`, the calls to
`sources.ccxt_client`.
"""

import time
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from crypto_data.errors import (
    Blocked,
    Broken,
    RateLimited,
    Rejected,
    SourceError,
    Unreachable,
)
from crypto_data.sources.refusal import plain_words, refusal_of, retry_after_s

# What ccxt's code raises over an answer of a form that it does not know.
UNREADABLE = (TypeError, ValueError, KeyError, AttributeError, IndexError, ArithmeticError)

# Of these the exchange may say more in its body; every other status speaks for itself.
_TALKING = range(400, 500)
_SILENT = (
    HTTPStatus.FORBIDDEN,
    HTTPStatus.TOO_MANY_REQUESTS,
    HTTPStatus.UNAVAILABLE_FOR_LEGAL_REASONS,
    418,
)
_REGION = ("restricted location", "from your country", "from a restricted")


def judge_answer(
    api: Any, asked: tuple[str, str, str], answer: tuple[int, Mapping[str, str], bytes]
) -> SourceError | None:
    """Return which error an answer is, None for JSON that says nothing bad.

    Args:
        api: ccxt's object for the exchange.
        asked: Source, series and URL, for the message.
        answer: Status, headers in lower case, body.

    Source: ccxt 4.5.90 run against stubs, 2026-11: HTML with status 200 would become an empty list
    of markets, or a kline of nothing for each of its letters.
    """
    status, headers, body = answer
    now_ms = time.time_ns() // 1_000_000
    by_status = refusal_of(status, headers, body, asked=asked, now_ms=now_ms)
    if status != HTTPStatus.OK and (status not in _TALKING or status in _SILENT):
        return by_status
    text = body.decode("utf-8", "replace")
    parsed = api.parse_json(text)
    if parsed is not None:
        try:
            api.handle_errors(status, "", asked[2], "GET", headers, text, parsed, {}, None)
        except UNREADABLE as error:
            return Broken(asked[0], asked[1], f"{asked[2]}: {error!r} over {text[:200]}")
        except _base_error() as error:
            return translate(error, asked, retry_after_s(headers, text, now_ms))
    if status != HTTPStatus.OK:
        return by_status
    if parsed is None:
        source, series, url = asked
        return Broken(source, series, f"{url}: no JSON: {plain_words(text)!r}")
    return None


def _base_error() -> type[Exception]:
    """Return the root of ccxt's errors; by now it is imported."""
    import ccxt  # noqa: PLC0415 - costs 0.3 s and 77 MB

    root: type[Exception] = ccxt.BaseError
    return root


def translate(error: Exception, asked: tuple[str, str, str], retry_after: float) -> SourceError:
    """Return the error of ours that one of ccxt's stands for.

    Only an unknown symbol is refused for good: a "bad request" of ccxt's own making must not count
    as the exchange having no klines.

    Args:
        error: ccxt's; its message holds the exchange's answer.
        asked: Source, series and URL, for the message.
        retry_after: Seconds to stay away, where it is a limit.
    """
    import ccxt  # noqa: PLC0415 - by now it is imported

    source, series, url = asked
    words = plain_words(str(error)) or type(error).__name__
    detail = f"{url}: {words}" if url and url not in words else words
    if isinstance(error, ccxt.DDoSProtection | ccxt.RateLimitExceeded):
        return RateLimited(source, series, detail, retry_after)
    blocks = isinstance(error, ccxt.AuthenticationError | ccxt.RestrictedLocation)
    if blocks or any(sign in str(error).lower() for sign in _REGION):
        return Blocked(source, series, detail)
    if isinstance(error, ccxt.BadSymbol):
        return Rejected(source, series, detail)
    if isinstance(error, ccxt.OperationFailed) and not isinstance(error, ccxt.BadResponse):
        return Unreachable(source, series, detail)
    return Broken(source, series, detail)
