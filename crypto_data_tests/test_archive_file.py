"""One file of the archive: checksum, zip, CSV, and everything that can be wrong with them."""

import hashlib
import io
import struct
import time
import zipfile
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pytest

from crypto_data import sandbox
from crypto_data.errors import Broken
from crypto_data.schema import FETCHED, epoch_ms
from crypto_data.series import Series
from crypto_data.sources.archive_file import (
    BLOCK_BYTES,
    ArchiveFile,
    parse_csv,
    read_archive,
)

RECORDED = Path(sandbox.__file__).parent / "recorded"

SPOT = ArchiveFile(Series.parse("binance/spot/BTCUSDT/1m"), "2024-01-05")
CM = ArchiveFile(Series.parse("binance/cm/BTCUSD_PERP/1m"), "2024-01-05")

MILLI = b"1704412800000,1.0,4.0,0.5,2.0,10.0,1704412859999,20.0,7,6.0,12.0,0\n"
MICRO = b"1704412860000000,1.0,4.0,0.5,2.0,10.0,1704412919999999,20.0,7,6.0,12.0,0\n"
HEADER = (
    b"open_time,open,high,low,close,volume,close_time,quote_volume,count,"
    b"taker_buy_volume,taker_buy_quote_volume,ignore\n"
)


def zipped(content, name="BTCUSDT-1m-2024-01-05.csv", *more):
    """Return a zip with one member, and further ones."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for member in (name, *more):
            archive.writestr(member, content)
    return buffer.getvalue()


def sidecar(data, name="BTCUSDT-1m-2024-01-05.zip"):
    """Return the CHECKSUM that fits."""
    return f"{hashlib.sha256(data).hexdigest()}  {name}".encode()


def read(data, checksum=None):
    """Read a zip with a fitting checksum."""
    return read_archive(SPOT, data, sidecar(data) if checksum is None else checksum)


def recorded(path):
    """Return a recorded file's bytes."""
    return (RECORDED / path).read_bytes()


def utc(*parts):
    return datetime(*parts, tzinfo=UTC)


def test_a_good_file_becomes_a_table() -> None:
    """A row's columns, times and checksum come out as the schema has them."""
    data = zipped(MILLI)

    held = read(data)

    assert held.rows.schema == FETCHED
    assert held.checksum == hashlib.sha256(data).hexdigest()
    assert held.rows.to_pylist() == [
        {
            "open_time": utc(2024, 1, 5),
            "open": 1.0,
            "high": 4.0,
            "low": 0.5,
            "close": 2.0,
            "volume": 10.0,
            "quote_volume": 20.0,
            "trade_count": 7,
            "taker_buy_volume": 6.0,
            "taker_buy_quote_volume": 12.0,
            "close_time": utc(2024, 1, 5, 0, 0, 59, 999_000),
            "contract_volume": None,
        }
    ]


def test_units_are_told_apart_row_by_row() -> None:
    """A regenerated file may cross from milliseconds to microseconds."""
    rows = parse_csv(SPOT, MILLI + MICRO)

    assert rows["open_time"].to_pylist() == [utc(2024, 1, 5), utc(2024, 1, 5, 0, 1)]
    assert rows["close_time"][1].as_py() == utc(2024, 1, 5, 0, 1, 59, 999_999)


@pytest.mark.parametrize(
    ("content", "rows"),
    [
        pytest.param(b"", 0, id="empty"),
        pytest.param(b"\n", 0, id="empty-line"),
        pytest.param(HEADER, 0, id="header-alone"),
        pytest.param(HEADER.strip(), 0, id="header-without-line-end"),
        pytest.param(MILLI, 1, id="no-header"),
        pytest.param(HEADER + MILLI + MICRO, 2, id="header"),
        pytest.param(HEADER.replace(b"count", b"number_of_trades") + MILLI, 1, id="other-words"),
        pytest.param(b"\xef\xbb\xbf" + MILLI, 1, id="byte-order-mark"),
        pytest.param(MILLI.replace(b"\n", b"\r\n"), 1, id="crlf"),
        pytest.param(MILLI.rstrip(), 1, id="no-final-line-end"),
        pytest.param(MICRO + MILLI + MILLI, 3, id="disorder-and-doubles-as-they-came"),
    ],
)
def test_legal_forms(content, rows) -> None:
    """Header or none, one row or none: all of them occur."""
    assert parse_csv(SPOT, content).num_rows == rows


def test_long_text_is_parsed_piece_by_piece() -> None:
    """Every row is there in its order, and the table is in one piece."""
    day_ms = 1_704_412_800_000
    times = [day_ms + 1000 * number for number in range(86_400)]
    line = "{},1.0,4.0,0.5,{}.25,10.0,{},20.0,7,6.0,12.0,0\n"
    text = "".join(line.format(ms, place, ms + 999) for place, ms in enumerate(times))
    assert len(text) > 5 * BLOCK_BYTES

    table = parse_csv(SPOT, HEADER + text.encode())

    assert epoch_ms(table["open_time"]).to_pylist() == times
    assert table["close"].to_pylist() == [place + 0.25 for place in range(86_400)]
    assert {column.num_chunks for column in table.columns} == {1}


def test_damage_in_a_later_piece_is_broken() -> None:
    """A cell that is no number spoils the file wherever it stands."""
    with pytest.raises(Broken, match="damaged CSV"):
        parse_csv(SPOT, MILLI * (BLOCK_BYTES // len(MILLI) * 3) + MILLI.replace(b"4.0", b"four"))


def test_coin_margined_columns_mean_something_else() -> None:
    """In cm files column 6 counts contracts, and column 8 is base volume whatever its header."""
    row = parse_csv(CM, HEADER + MILLI).to_pylist()[0]

    assert (row["contract_volume"], row["volume"], row["taker_buy_volume"]) == (10.0, 20.0, 12.0)
    assert (row["quote_volume"], row["taker_buy_quote_volume"]) == (None, None)


def test_nan_is_not_swallowed() -> None:
    """The text NaN stays a NaN for the rules to find; it does not become an absent value."""
    rows = parse_csv(SPOT, MILLI.replace(b",2.0,", b",NaN,"))

    assert str(rows["close"][0].as_py()) == "nan"
    assert rows["close"].null_count == 0


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(MILLI + b"1704412860000,1.0,4.0\n", id="short-row"),
        pytest.param(MILLI.replace(b",0\n", b",0,0\n"), id="long-row"),
        pytest.param(MILLI.replace(b",2.0,", b",,"), id="empty-cell"),
        pytest.param(MILLI.replace(b",7,", b",NaN,"), id="nan-count"),
        pytest.param(MILLI + MILLI.replace(b"1704412800000", b"1.70441E+12"), id="spreadsheet"),
        pytest.param(MILLI.replace(b"1704412800000", b"1.70441E+12"), id="spreadsheet-first-row"),
        pytest.param(b"<html><body>no</body></html>", id="html"),
        pytest.param(MILLI.replace(b"1704412800000", b"9" * 30), id="time-overflow"),
        pytest.param(MILLI + MILLI.replace(b"1704412800000", b"-" + b"9" * 18), id="before-time"),
    ],
)
def test_damaged_csv_is_broken(content) -> None:
    """One damaged cell makes the file untrustworthy; nothing is guessed or skipped."""
    with pytest.raises(Broken, match="damaged CSV"):
        parse_csv(SPOT, content)


def test_recorded_files_parse() -> None:
    """A real spot day with its real CHECKSUM, of the time when stamps were milliseconds."""
    folder = "lostleaf/spot_daily"
    file = ArchiveFile(Series.parse("binance/spot/BTCUSDT/1m"), "2020-01-01")
    held = read_archive(
        file,
        recorded(f"{folder}/BTCUSDT-1m-2020-01-01.zip"),
        recorded(f"{folder}/BTCUSDT-1m-2020-01-01.zip.CHECKSUM"),
    )

    assert held.rows.num_rows == 1440
    assert held.rows["open"][0].as_py() == 7195.24


def test_recorded_microseconds() -> None:
    """A real spot day of 2026 in microseconds closes at …59.999999."""
    folder = "tommy-ca/spot_daily"
    file = ArchiveFile(Series.parse("binance/spot/BTCUSDT/1h"), "2026-05-08")
    held = read_archive(
        file,
        recorded(f"{folder}/BTCUSDT-1h-2026-05-08.zip"),
        recorded(f"{folder}/BTCUSDT-1h-2026-05-08.zip.CHECKSUM"),
    )

    assert held.rows["open_time"].to_pylist()[:2] == [utc(2026, 5, 8), utc(2026, 5, 8, 1)]
    assert held.rows["close_time"][0].as_py() == utc(2026, 5, 8, 0, 59, 59, 999_999)


def test_recorded_coin_margined_volumes_agree() -> None:
    """In a real cm day, contracts times 100 USD over the price are the base volume."""
    data = recorded("hal9000cc/cm_daily/BTCUSD_PERP-1m-2022-10-24.zip")
    file = ArchiveFile(Series.parse("binance/cm/BTCUSD_PERP/1m"), "2022-10-24")
    rows = read_archive(file, data, sidecar(data, "BTCUSD_PERP-1m-2022-10-24.zip")).rows

    for row in rows.slice(0, 50).to_pylist():
        most = row["contract_volume"] * 100 / row["low"]
        least = row["contract_volume"] * 100 / row["high"]
        assert least * 0.999 <= row["volume"] <= most * 1.001


@pytest.mark.parametrize(
    ("checksum", "said"),
    [
        pytest.param(b"", "no sha256sum line", id="empty"),
        pytest.param(b"<html></html>", "no sha256sum line", id="html"),
        pytest.param(b"0" * 64 + b"  BTCUSDT-1m-2024-01-05.zip", "sha256 is", id="wrong"),
        pytest.param(b"0" * 64 + b"  BTCUSDT-1m-2024-01-06.zip", "another file", id="other-file"),
    ],
)
def test_a_checksum_that_does_not_fit(checksum, said) -> None:
    """Without a fitting checksum a file is not trusted, and the message says what was found."""
    with pytest.raises(Broken, match=said):
        read(zipped(MILLI), checksum)


def test_forms_of_a_checksum_that_fit() -> None:
    """With a line feed at its end or none, in capitals, binary mode: all are sha256sum."""
    data = zipped(MILLI)
    digest = hashlib.sha256(data).hexdigest()

    for line in (f"{digest}  ", f"{digest.upper()}  ", f"{digest} *"):
        for end in ("", "\n"):
            checksum = f"{line}BTCUSDT-1m-2024-01-05.zip{end}".encode()
            assert read(data, checksum).rows.num_rows == 1


def lying_zip():
    """Return a zip whose headers declare 71 bytes for a member of 100 kB."""
    content = MILLI * 1500
    data = bytearray(zipped(content))
    true = struct.pack("<I", len(content))
    while (place := data.find(true)) >= 0:
        data[place : place + 4] = struct.pack("<I", len(MILLI))
    return bytes(data)


def damaged(data, place, value):
    """Return the bytes with one of them changed."""
    return data[:place] + bytes([value]) + data[place + 1 :]


def link_zip():
    """Return a zip whose member is a symbolic link."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        entry = zipfile.ZipInfo("BTCUSDT-1m-2024-01-05.csv")
        entry.external_attr = 0o120777 << 16
        archive.writestr(entry, "/etc/passwd")
    return buffer.getvalue()


GOOD = zipped(MILLI * 100)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        pytest.param(b"<html>This is no zip.</html>", "not a readable zip", id="html"),
        pytest.param(b"", "not a readable zip", id="nothing"),
        pytest.param(GOOD[: len(GOOD) // 2], "not a readable zip", id="cut"),
        pytest.param(damaged(GOOD, 80, GOOD[80] ^ 0xFF), "zip|damaged|cut", id="bit-flip"),
        pytest.param(zipped(MILLI, "x.csv"), "member is 'x.csv'", id="other-name"),
        pytest.param(zipped(MILLI, "../BTCUSDT-1m-2024-01-05.csv"), "member is", id="path"),
        pytest.param(
            zipped(MILLI, "BTCUSDT-1m-2024-01-05.csv", "b.csv"), "2 members", id="two-members"
        ),
        pytest.param(link_zip(), "member is", id="symbolic-link"),
        pytest.param(zipped(b"0" * 20_000_000), "declares 20000000 bytes", id="bomb"),
        pytest.param(lying_zip(), "damaged|zip", id="lying-about-its-size"),
    ],
)
def test_a_zip_that_cannot_be_trusted(data, said) -> None:
    """A right checksum is no proof of a readable zip: it is opened, bounded and counted."""
    with pytest.raises(Broken, match=said):
        read(data)


def test_a_bomb_is_not_inflated() -> None:
    """Twenty megabytes of one digit are refused in the time a small file takes."""
    data = zipped(b"0" * 20_000_000)
    started = time.perf_counter()

    with pytest.raises(Broken):
        read(data)

    assert time.perf_counter() - started < 0.05


def test_names_and_addresses() -> None:
    """Month and day, spot and futures lie where the archive's README says."""
    month = ArchiveFile(Series.parse("binance/um/BTCUSDT/1h"), "2024-02")

    assert SPOT.key == "data/spot/daily/klines/BTCUSDT/1m/BTCUSDT-1m-2024-01-05.zip"
    assert month.key == "data/futures/um/monthly/klines/BTCUSDT/1h/BTCUSDT-1h-2024-02.zip"
    assert month.span.end_ms - month.span.start_ms == 29 * 86_400_000
    assert pa.types.is_timestamp(parse_csv(month, b"")["open_time"].type)
