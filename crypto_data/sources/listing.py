"""The archive's own list of its files: S3 ListObjects pages.

Names, sizes and dates only. What the files hold belongs to `sources.archive_file`.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from xml.etree import ElementTree as ET

from crypto_data.addresses import place_of
from crypto_data.errors import Broken
from crypto_data.sources.gate import Gate, GateDoor
from crypto_data.sources.http import HttpClient, Request

SOURCE = "vision"

# More than this S3 never puts on one page.
PAGE_KEYS = 1000
# 1000 entries of at most 1 kB each, and the frame.
MAX_PAGE_BYTES = 4 * 1024 * 1024
# The largest folder has some 6000 keys; a listing that goes round in circles has more pages.
MAX_PAGES = 1000


@dataclass(frozen=True, slots=True)
class PublishedFile:
    """One file of the archive; `last_modified_ms` is UTC epoch milliseconds, `size` is bytes."""

    key: str
    last_modified_ms: int
    size: int
    etag: str

    @property
    def name(self) -> str:
        """The last piece of the key."""
        return self.key.rpartition("/")[2]


@dataclass(frozen=True, slots=True)
class ListingPage:
    """One page: its files and folders, and the marker of the next page, `""` on the last."""

    files: list[PublishedFile] = field(default_factory=list)
    folders: list[str] = field(default_factory=list)  # keys that end in `/`
    next_marker: str = ""


class Listing:
    """The archive's list of files.

    Args:
        client: Sends the requests.
        gate: Remembers when the listing wants to be left alone.
        url: The bucket, without a query.
    """

    def __init__(self, client: HttpClient, gate: Gate, url: str) -> None:
        self._client = client
        self._gate = gate
        self._url = url
        self.host = f"listing {place_of(url)}"

    def door(self, series: str) -> GateDoor:
        """Return the way to the listing for the requests about one series."""
        return self._gate.door(self.host, source=SOURCE, series=series)

    def files(self, prefix: str, door: GateDoor) -> dict[str, PublishedFile]:
        """Return the files whose key starts with `prefix`, by name; `{}` when there are none."""
        return {file.name: file for page in self.pages(prefix, door) for file in page.files}

    def folders(self, prefix: str, door: GateDoor) -> list[str]:
        """Return the names of the folders in the folder `prefix`, ascending."""
        return sorted(
            folder.rstrip("/").rpartition("/")[2]
            for page in self.pages(prefix, door)
            for folder in page.folders
        )

    def pages(
        self, prefix: str, door: GateDoor, keys: int = PAGE_KEYS, *, after: str = ""
    ) -> Iterator[ListingPage]:
        """Yield the pages below `prefix`, which ends where the caller wants it to.

        Args:
            prefix: How the keys begin.
            door: The way to the listing.
            keys: Entries on a page at most; who wants the first only need not read a thousand.
            after: Only keys behind this one, bytewise.

        Raises:
            SourceError: a page could not be fetched; `Broken` when it is no listing.
        """
        marker = after
        for _ in range(MAX_PAGES):
            params: dict[str, str | int] = {"delimiter": "/", "prefix": prefix}
            if keys < PAGE_KEYS:
                params["max-keys"] = keys
            if marker:
                params["marker"] = marker
            request = Request(self._url, params=params, max_bytes=MAX_PAGE_BYTES)
            try:
                page = parse_page(self._client.get(request, door).body)
            except ValueError as error:
                detail = f"{self._url}: listing of {prefix}: {error}"
                raise Broken(SOURCE, door.series, detail) from error
            yield page
            if not page.next_marker or page.next_marker <= marker:
                return
            marker = page.next_marker


def parse_page(body: bytes) -> ListingPage:
    """Return one page of a listing.

    The echoed `Prefix` of the root is no folder, one entry is a list of one, and a missing
    `NextMarker` is the last key.

    Raises:
        ValueError: the body is no ListBucketResult, or brings a document type of its own.

    Source: S3 ListObjects version 1, and public programs that read this bucket; checked 2026-11.
    """
    # Entity bombs need a document type, and S3 never sends one; the pages for people do.
    if b"<!doctype" in body.lower():
        raise ValueError("a document with a DOCTYPE is no listing")
    try:
        root = ET.fromstring(body)  # noqa: S314 - no DOCTYPE, so no entities
    except ET.ParseError as error:
        raise ValueError(f"no XML: {error}") from error
    if _tag(root) != "ListBucketResult":
        raise ValueError(f"root element is {_tag(root)[:40]!r}, expected 'ListBucketResult'")
    files = [_file(item) for item in root if _tag(item) == "Contents"]
    folders = [_text(item, "Prefix") for item in root if _tag(item) == "CommonPrefixes"]
    if _text(root, "IsTruncated").lower() != "true":
        return ListingPage(files, folders)
    last = max([*folders, *(file.key for file in files)], default="")
    return ListingPage(files, folders, _text(root, "NextMarker") or last)


def _file(item: ET.Element) -> PublishedFile:
    texts = {_tag(child): child.text or "" for child in item}
    modified = datetime.fromisoformat(texts.get("LastModified", ""))
    return PublishedFile(
        key=texts.get("Key", ""),
        last_modified_ms=int(modified.timestamp() * 1000),
        size=int(texts.get("Size") or 0),
        etag=texts.get("ETag", "").strip('"'),
    )


def _tag(element: ET.Element) -> str:
    """Return the name without its namespace, `{http://…}`."""
    return element.tag.rpartition("}")[2]


def _text(element: ET.Element, name: str) -> str:
    """Return the text of a direct child; `""` when it is absent."""
    return next((child.text or "" for child in element if _tag(child) == name), "")
