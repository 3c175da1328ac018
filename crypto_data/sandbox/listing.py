"""The archive's listing: S3 ListObjects version 1, as XML in pages.

`LastModified` and `ETag` of a zip always equal the file's own, and change with its faults. For
zips of more than 800 bars the listing would have to build hundreds of files, so their ETag has S3's
multipart form (`"<hex>-2"`, which is no md5), and their size is estimated until they are asked for.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import md5
from itertools import islice
from urllib.parse import quote
from xml.sax.saxutils import escape

from crypto_data.intervals import Interval, count_open_times
from crypto_data.sandbox.archive import (
    MARKET_FOLDERS,
    Archive,
    ArchiveFile,
    Span,
    checksum_of,
    has_folder,
)
from crypto_data.sandbox.exchange import Exchange
from crypto_data.sandbox.web import Answer, etag_of
from crypto_data.series import Market

_ROW_BYTES = 55
_CHECKSUM_BYTES = 66
_XMLNS = "http://s3.amazonaws.com/doc/2006-03-01/"


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of a listing: a folder (its key ends with `/`) or a file."""

    key: str
    file: ArchiveFile | None = None


class Listing:
    """Answers `GET /listing`."""

    def __init__(self, exchange: Exchange, archive: Archive, *, page_keys: int) -> None:
        self._exchange = exchange
        self._archive = archive
        self._page_keys = page_keys

    def serve(self, values: dict[str, str], now_ms: int) -> Answer:
        """Return one page; an unknown prefix gives an empty one, never an error."""
        prefix, marker = values.get("prefix", ""), values.get("marker", "")
        asked = values.get("max-keys", "")
        limit = min(self._page_keys, int(asked)) if asked.isdigit() else self._page_keys
        folded = values.get("delimiter") == "/"
        found = self._children(prefix, now_ms) if folded else self._all_files(prefix, now_ms)
        after = (entry for entry in found if entry.key.encode() > marker.encode())
        page = list(islice(after, limit + 1))
        is_truncated = len(page) > limit
        page = page[:limit]
        parts = [
            f'<?xml version="1.0" encoding="UTF-8"?>\n<ListBucketResult xmlns="{_XMLNS}">',
            f"<Name>data.binance.vision</Name><Prefix>{_text(prefix, values)}</Prefix>",
            f"<Marker>{_text(marker, values)}</Marker>",
        ]
        if is_truncated and folded and page:
            parts.append(f"<NextMarker>{_text(page[-1].key, values)}</NextMarker>")
        parts.append(f"<MaxKeys>{limit}</MaxKeys>")
        if folded:
            parts.append("<Delimiter>/</Delimiter>")
        parts.append(f"<IsTruncated>{str(is_truncated).lower()}</IsTruncated>")
        parts += [self._xml(entry, values) for entry in page]
        body = "".join([*parts, "</ListBucketResult>"]).encode()
        return Answer(200, body, (("Content-Type", "application/xml"), ("Server", "AmazonS3")))

    def _children(self, prefix: str, now_ms: int) -> Iterator[Entry]:
        """Yield what lies directly below the prefix's folder and starts with the prefix."""
        folder = prefix[: prefix.rfind("/") + 1]
        entries = self._folder(folder, prefix, now_ms)
        return (entry for entry in entries if entry.key.startswith(prefix))

    def _all_files(self, prefix: str, now_ms: int) -> Iterator[Entry]:
        for entry in self._children(prefix, now_ms):
            if entry.file is None:
                yield from self._all_files(entry.key, now_ms)
            else:
                yield entry

    def _folder(self, folder: str, prefix: str, now_ms: int) -> Iterator[Entry]:
        """Yield a folder's content, bytewise; files only with the prefix, the others cost time."""
        for market, place in MARKET_FOLDERS.items():
            for span in Span:
                root = f"data/{place}/{span}/klines/"
                if folder.startswith(root):
                    rest = folder.removeprefix(root)
                    return self._below(market, span, rest, f"/{prefix}", now_ms)
        roots = sorted(
            f"data/{place}/{span}/klines/" for place in MARKET_FOLDERS.values() for span in Span
        )
        names = {
            folder + root.removeprefix(folder).split("/")[0] + "/"
            for root in roots
            if root.startswith(folder) and root != folder
        }
        return (Entry(name) for name in sorted(names))

    def _below(
        self, market: Market, span: Span, rest: str, prefix: str, now_ms: int
    ) -> Iterator[Entry]:
        root = f"data/{MARKET_FOLDERS[market]}/{span}/klines/"
        match rest.split("/"):
            case [""]:
                for symbol in self._exchange.symbols.of_market(market):
                    if any(self._archive.files(symbol, Interval.DAY_1, span, now_ms)):
                        yield Entry(f"{root}{symbol.name}/")
            case [name, ""] if found := self._exchange.symbols.find(market, name):
                for interval in sorted(Interval, key=lambda each: each.value + "/"):
                    if has_folder(found, interval, span) and any(
                        self._archive.files(found, interval, span, now_ms)
                    ):
                        yield Entry(f"{root}{name}/{interval}/")
            case [name, text, ""] if (
                found := self._exchange.symbols.find(market, name)
            ) and text in list(Interval):
                files = self._archive.files(found, Interval(text), span, now_ms, prefix=prefix)
                for file in files:
                    yield Entry(file.path[1:], file)
                    if not self._archive.is_hidden(f"{file.path}.CHECKSUM"):
                        yield Entry(f"{file.path[1:]}.CHECKSUM", file)

    def _xml(self, entry: Entry, values: dict[str, str]) -> str:
        key = _text(entry.key, values)
        if entry.file is None:
            return f"<CommonPrefixes><Prefix>{key}</Prefix></CommonPrefixes>"
        modified = datetime.fromtimestamp(self._archive.modified_ms(entry.file) / 1000, UTC)
        etag, size = self._etag_and_size(entry.key, entry.file)
        return (
            f"<Contents><Key>{key}</Key>"
            f"<LastModified>{modified:%Y-%m-%dT%H:%M:%S}.000Z</LastModified>"
            f"<ETag>{escape(etag, {chr(34): '&quot;'})}</ETag><Size>{size}</Size>"
            "<StorageClass>STANDARD</StorageClass></Contents>"
        )

    def _etag_and_size(self, key: str, file: ArchiveFile) -> tuple[str, int]:
        data = self._archive.listed_zip(file)
        if key.endswith(".zip"):
            size = count_open_times(file.interval, file.opens) * _ROW_BYTES
            return self._archive.etag(file), size if data is None else len(data)
        if data is None:
            digest = md5(key.encode(), usedforsecurity=False).hexdigest()
            return f'"{digest}-2"', _sidecar_bytes(file)
        body = checksum_of(file, data)
        return etag_of(body), len(body)


def _sidecar_bytes(file: ArchiveFile) -> int:
    return _CHECKSUM_BYTES + len(f"{file.stem}.zip".encode())


def _text(key: str, values: dict[str, str]) -> str:
    return quote(key) if values.get("encoding-type") == "url" else escape(key)
