"""Listing pages of the archive, as S3 writes them and as it should not."""

import pytest

from crypto_data.errors import Broken, Unreachable
from crypto_data.sandbox.faults import Fault
from crypto_data.sandbox.server import Sandbox
from crypto_data.sources.gate import Gate
from crypto_data.sources.http import HttpClient, Retry
from crypto_data.sources.listing import Listing, PublishedFile, parse_page

FOLDER = "data/spot/daily/klines/BTCUSDT/1m/"
NOW_MS = 1_504_000_000_000  # 2017-08-29: twelve days after the first file


def page(*items, truncated="false", more=""):
    """Return a listing as S3 writes it, with the echoed root Prefix."""
    return (
        '<?xml version="1.0" encoding="UTF-8"?>'
        '<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
        f"<Name>data.binance.vision</Name><Prefix>{FOLDER}</Prefix><Marker></Marker>{more}"
        f"<MaxKeys>1000</MaxKeys><Delimiter>/</Delimiter><IsTruncated>{truncated}</IsTruncated>"
        f"{''.join(items)}</ListBucketResult>"
    ).encode()


def contents(name):
    """Return one file's entry."""
    return (
        f"<Contents><Key>{FOLDER}{name}</Key><LastModified>2023-07-17T07:48:12.000Z</LastModified>"
        "<ETag>&quot;0123abcd&quot;</ETag><Size>69497</Size>"
        "<StorageClass>STANDARD</StorageClass></Contents>"
    )


def folder(name):
    """Return one folder's entry."""
    return f"<CommonPrefixes><Prefix>{name}/</Prefix></CommonPrefixes>"


def test_one_entry_is_a_list_of_one() -> None:
    """A page with a single file has that file, and the echoed Prefix is no folder."""
    found = parse_page(page(contents("BTCUSDT-1m-2020-01-01.zip")))

    assert found.folders == []
    assert found.files == [
        PublishedFile(
            key=f"{FOLDER}BTCUSDT-1m-2020-01-01.zip",
            last_modified_ms=1_689_580_092_000,
            size=69497,
            etag="0123abcd",
        )
    ]


def test_nothing_is_an_answer() -> None:
    """An unknown prefix is an empty page, the last one."""
    found = parse_page(page())

    assert (found.files, found.folders, found.next_marker) == ([], [], "")


@pytest.mark.parametrize(
    ("more", "marker"),
    [
        pytest.param("<NextMarker>data/x/</NextMarker>", "data/x/", id="given"),
        pytest.param("", "data/z/", id="missing-is-the-last-entry"),
    ],
)
def test_where_the_next_page_begins(more, marker) -> None:
    """A truncated page goes on at NextMarker, or behind its own last entry."""
    body = page(contents("a.zip"), folder("data/z"), truncated="true", more=more)

    assert parse_page(body).next_marker == marker


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"<html><body>Index of</body></html>", id="html"),
        pytest.param(b"<!DOCTYPE html><html></html>", id="html-with-doctype"),
        pytest.param(
            b'<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]>'
            b"<ListBucketResult>&b;</ListBucketResult>",
            id="entity-bomb",
        ),
        pytest.param(b"", id="empty"),
        pytest.param(b"<ListBucketResult><Contents>", id="cut-short"),
        pytest.param(
            page(contents("a.zip").replace("2023-07-17T07:48:12.000Z", "yesterday")), id="no-date"
        ),
    ],
)
def test_what_is_no_listing(body) -> None:
    """Pages for people, bombs and torn answers are refused."""
    with pytest.raises(ValueError, match=r"listing|XML|root|isoformat"):
        parse_page(body)


@pytest.fixture
def listing(tmp_path):
    client = HttpClient(retry=Retry(max_retries=1, delay_s=0.01))
    with Sandbox(now_ms=NOW_MS, page_keys=3) as sandbox:
        yield sandbox, Listing(client, Gate(tmp_path, lambda: NOW_MS), f"{sandbox.url}/listing")
    client.close()


def test_all_pages_are_read(listing) -> None:
    """Twelve days and their sidecars come complete from pages of three entries."""
    sandbox, found = listing

    files = found.files(FOLDER, found.door("s"))

    zips = [name for name in files if name.endswith(".zip")]
    assert zips[0] == "BTCUSDT-1m-2017-08-17.zip"
    assert len(zips) * 2 == len(files) == len(sandbox.requests) * 3 - (-len(files) % 3)
    assert files[zips[0]].last_modified_ms < NOW_MS


def test_folders_are_the_symbols(listing) -> None:
    """Folders come over several pages, with names beyond ASCII."""
    _, found = listing

    names = found.folders("data/spot/daily/klines/", found.door("s"))

    assert {"BTCUSDT", "ETHUSDT", "币安人生USDT"} <= set(names)
    assert names == sorted(names)


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        pytest.param({"action": "html200"}, Broken, id="html-with-200"),
        pytest.param({"action": "status", "status": 503}, Unreachable, id="down"),
    ],
)
def test_a_listing_that_fails_says_so(listing, fault, kind) -> None:
    """Faults of the listing are errors, never an empty listing."""
    sandbox, found = listing
    sandbox.faults.add(Fault("/listing*", **fault))

    with pytest.raises(kind):
        found.files(FOLDER, found.door("s"))
