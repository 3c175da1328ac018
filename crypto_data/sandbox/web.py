"""A request and an answer as values, between the sockets and what they are about."""

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from email.utils import format_datetime
from enum import StrEnum
from hashlib import md5


@dataclass(frozen=True, slots=True)
class Call:
    """One request: decoded path, raw query, its values, headers by lower-case name."""

    method: str
    path: str
    query: str = ""
    values: dict[str, str] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""


class Ending(StrEnum):
    """How the answer ends on the wire."""

    WHOLE = "whole"
    RESET = "reset"  # the connection is reset before a byte of the answer
    HALF_RESET = "half_reset"  # half of the answer, then a reset
    HALF = "half"  # half of the body under the full Content-Length, then closed
    HALF_SILENT = "half_silent"  # half of the body without a Content-Length, then closed


@dataclass(frozen=True, slots=True)
class Answer:
    """What goes back: status, headers (Content-Length is added), body, and how it ends."""

    status: int
    body: bytes = b""
    headers: tuple[tuple[str, str], ...] = ()
    ending: Ending = Ending.WHOLE

    def with_headers(self, *headers: tuple[str, str]) -> "Answer":
        """Return the answer with more headers."""
        return replace(self, headers=self.headers + headers)


def json_answer(status: int, body: bytes) -> Answer:
    """Return a JSON answer."""
    return Answer(status, body, (("Content-Type", "application/json;charset=UTF-8"),))


def http_date(time_ms: int) -> str:
    """Return an instant as HTTP writes it, whole seconds."""
    return format_datetime(datetime.fromtimestamp(time_ms // 1000, UTC), usegmt=True)


def etag_of(body: bytes) -> str:
    """Return S3's ETag of a file: its md5 in quotes."""
    return f'"{md5(body, usedforsecurity=False).hexdigest()}"'


def file_answer(call: Call, body: bytes, *, kind: str, modified_ms: int, etag: str = "") -> Answer:
    """Return a file as S3 does: 200, 206 for one range, 304 for a known ETag, or 416.

    `etag` is in quotes; without it, that of the body.
    """
    etag = etag or etag_of(body)
    headers = (
        ("Content-Type", kind),
        ("Last-Modified", http_date(modified_ms)),
        ("ETag", etag),
        ("Accept-Ranges", "bytes"),
        ("Server", "AmazonS3"),
        ("X-Cache", "Miss from cloudfront"),
    )
    if call.headers.get("if-none-match") in {etag, "*"}:
        return Answer(304, b"", headers[1:])
    wanted = call.headers.get("range", "")
    if not wanted.startswith("bytes=") or "," in wanted:
        return Answer(200, body, headers)
    return _range_answer(wanted.removeprefix("bytes="), body, headers)


def _range_answer(wanted: str, body: bytes, headers: tuple[tuple[str, str], ...]) -> Answer:
    first, _, last = wanted.partition("-")
    if not (first + last).isdigit():
        return Answer(200, body, headers)
    start = int(first) if first else max(0, len(body) - int(last))
    end = min(int(last) + 1, len(body)) if first and last else len(body)
    if start >= end:
        return Answer(416, b"", (*headers, ("Content-Range", f"bytes */{len(body)}")))
    place = ("Content-Range", f"bytes {start}-{end - 1}/{len(body)}")
    return Answer(206, body[start:end], (*headers, place))
