"""One file of the lake: its rows, its ledger, and how it replaces its predecessor.

Written whole under another name, flushed to the disk, renamed over the old one, and the folder
flushed too: a reader sees the old file or the new one, after a power cut as well.
"""

import contextlib
import errno
import os
import threading
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from crypto_data.coverage import DayFacts
from crypto_data.errors import LakeDamaged, LakeNotWritable
from crypto_data.lake.corrections import (
    CORRECTIONS_KEY,
    Correction,
    decode_corrections,
    encode_corrections,
)
from crypto_data.lake.layout import owner_of, scratch_folder
from crypto_data.lake.ledger import KEY, DayRun, decode, encode
from crypto_data.schema import KLINES

TEMPORARY = ".tmp"
REPAIR = "run: crypto-data repair"
SUM_KEY = b"crypto_data.crc32"
OWNER_KEY = b"crypto_data.series"
OPEN_TIME_COLUMN = KLINES.get_field_index("open_time")
EPOCH_UTC = datetime(1970, 1, 1, tzinfo=UTC)

_FLOATS = [field.name for field in KLINES if field.type == pa.float64()]
_INTEGERS = ["open_time", "close_time", "trade_count"]


class NotOurs(ValueError):
    """A readable Parquet file that no commit of ours can have written at its place."""


# What reading a file of another form, a torn or a flipped one, may raise.
UNREADABLE = (OSError, pa.ArrowException, ValueError, KeyError, TypeError, OverflowError)


def read_rows(path: Path) -> pa.Table:
    """Return a file's klines, `schema.KLINES`, sorted; no rows when there is no file.

    Raises:
        LakeDamaged: the file is there and cannot be read.
    """
    try:
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            _check_columns(file)
            rows = file.read().replace_schema_metadata()
            rows.validate(full=True)  # page headers have no checksum
            return rows
    except FileNotFoundError:
        return KLINES.empty_table()
    except UNREADABLE as error:
        raise damaged(path, error) from error


@dataclass(frozen=True, slots=True)
class Footer:
    """What a file says of itself without its rows being read."""

    runs: tuple[DayRun, ...] = ()
    rows: int = 0
    first_open_ms: int | None = None
    last_open_ms: int | None = None
    corrections: tuple[Correction, ...] = ()


def read_footer(path: Path) -> Footer:
    """Return a file's day ledger and the extent of its rows; empty when there is no file.

    Raises:
        LakeDamaged: the file is there and its footer cannot be read, or holds no ledger.
    """
    try:
        with pq.ParquetFile(path) as file:
            _check_columns(file)
            metadata = file.metadata
            texts = metadata.metadata or {}
            _check_owner(path, texts)
            _check_sum(texts)
            runs = decode(texts[KEY])
            corrections = decode_corrections(texts.get(CORRECTIONS_KEY, b""))
            extents = [_extent(metadata, number) for number in range(metadata.num_row_groups)]
    except FileNotFoundError:
        return Footer()
    except UNREADABLE as error:
        raise damaged(path, error) from error
    held = [extent for extent in extents if extent]
    return Footer(
        tuple(runs),
        metadata.num_rows,
        held[0][0] if held else None,
        held[-1][1] if held else None,
        corrections,
    )


def _check_columns(file: pq.ParquetFile) -> None:
    """Refuse columns that are not those of klines: one that is not there would read as null."""
    if not file.schema_arrow.equals(KLINES):
        raise NotOurs("its columns are not those of klines")


def _check_owner(path: Path, texts: Mapping[bytes, bytes]) -> None:
    """Refuse a file without a ledger, and one that was copied to the place of another."""
    if KEY not in texts:
        raise NotOurs("it holds no ledger of ours")
    holds, place = texts.get(OWNER_KEY, b"").decode(), owner_of(path)
    if holds and place and holds != place:
        raise NotOurs(f"it holds {holds}")


def _check_sum(texts: Mapping[bytes, bytes]) -> None:
    """Refuse a ledger whose bytes are not those that were written.

    Raises:
        ValueError, KeyError: they are not.
    """
    if int(texts[SUM_KEY]) != _sum(texts[KEY], texts.get(CORRECTIONS_KEY, b"")):
        raise ValueError("the ledger does not fit its checksum")


def _sum(ledger: bytes, corrections: bytes) -> int:
    return zlib.crc32(corrections, zlib.crc32(ledger))


def _extent(metadata: pq.FileMetaData, number: int) -> tuple[int, int] | None:
    """Return the first and last open time of a row group by its statistics, epoch ms."""
    if not metadata.row_group(number).num_rows:
        return None
    statistics = read_statistics(metadata, number, OPEN_TIME_COLUMN)
    if statistics is None or not statistics.has_min_max:
        raise ValueError("its footer does not say from when to when it reaches")
    return _epoch_ms(statistics.min), _epoch_ms(statistics.max)


def read_statistics(metadata: pq.FileMetaData, number: int, place: int) -> pq.Statistics | None:
    """Return what a footer states of one column of a row group.

    Raises:
        ValueError: it contradicts itself.
    """
    column = metadata.row_group(number).column(place)
    if column.physical_type != metadata.schema.column(place).physical_type:
        # Arrow 26 would end the whole process over it.
        raise ValueError("its footer gives a column two types")
    return column.statistics


def _epoch_ms(moment: datetime) -> int:
    return (moment - EPOCH_UTC) // timedelta(milliseconds=1)


def damaged(path: Path, error: Exception) -> LakeDamaged:
    """Return the error for a file that is there and cannot be read."""
    words = " ".join(str(error).split()) or type(error).__name__
    remedy = "permit reading it, or mend the disk" if is_refused(error) else REPAIR
    return LakeDamaged(str(path), f"cannot be read ({words}); {remedy}")


def why_damaged(error: LakeDamaged) -> str:
    """Return what was wrong with the content, in the words of who found it."""
    return " ".join(str(error.__cause__ or error.detail).split())


def is_refused(error: BaseException | None) -> bool:
    """Return whether the operating system would not let us read: the content may well be good."""
    return isinstance(error, OSError) and error.errno not in {None, errno.EISDIR, errno.ENOTDIR}


def write_part(
    path: Path,
    rows: pa.Table,
    ledger: Mapping[date, DayFacts],
    corrections: Sequence[Correction] = (),
) -> int:
    """Replace a file by rows and ledger, atomically and durably; return its size in bytes.

    Raises:
        LakeNotWritable: no space, read-only, no permission; the old file is untouched.
    """
    texts = {KEY: encode(ledger), OWNER_KEY: owner_of(path).encode()}
    if corrections:
        texts[CORRECTIONS_KEY] = encode_corrections(corrections)
    texts[SUM_KEY] = str(_sum(texts[KEY], texts.get(CORRECTIONS_KEY, b""))).encode()
    return replace_file(path, encode_table(rows, texts))


def encode_table(table: pa.Table, texts: Mapping[bytes, bytes] | None = None) -> memoryview:
    """Return a table as the bytes of a Parquet file, `texts` in its footer by key.

    Byte-stream-split doubles and delta-packed integers are a quarter smaller than Parquet's
    default and several times faster to write for prices that hardly ever repeat.
    """
    names = set(table.column_names)
    encodings = {name: "BYTE_STREAM_SPLIT" for name in _FLOATS if name in names}
    encodings |= {name: "DELTA_BINARY_PACKED" for name in _INTEGERS if name in names}
    sink = pa.BufferOutputStream()
    with pq.ParquetWriter(
        sink,
        table.schema,
        compression="zstd",
        use_dictionary=[name for name in table.column_names if name not in encodings],
        column_encoding=encodings,
        write_page_checksum=True,  # zstd alone lets a flipped bit through as another price
    ) as writer:
        writer.write_table(table)
        # Not as the schema's metadata, of which Arrow keeps a second copy.
        writer.add_key_value_metadata(dict(texts or {}))
    return memoryview(sink.getvalue())


def replace_file(path: Path, content: memoryview | bytes) -> int:
    """Put `content` under `path`, atomically and durably; return the bytes written.

    Raises:
        LakeNotWritable: no space, read-only, no permission; the old file is untouched.
    """
    temporary = temporary_of(path)
    with writing(path):
        make_folder(path.parent)
        temporary.parent.mkdir(parents=True, exist_ok=True)  # nothing there outlives a power cut
        try:
            _write_durably(temporary, content)
            temporary.replace(path)
        except BaseException:
            with contextlib.suppress(OSError):
                temporary.unlink()
            raise
        sync_folder(path.parent)
    return len(content)


def temporary_of(path: Path) -> Path:
    """Return the name under which this thread writes a file before it is renamed."""
    name = f".{path.name}.{os.getpid()}.{threading.get_native_id()}{TEMPORARY}"
    return scratch_folder(path) / name


def leftovers_of(path: Path) -> Iterator[Path]:
    """Yield what writers of a file left under temporary names, or are writing just now."""
    # Its own pattern language must not read a file's name.
    for name in scratch_folder(path).glob(f".*{TEMPORARY}"):
        if name.name.startswith(f".{path.name}."):
            yield name


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn what the operating system says against writing `path` into `LakeNotWritable`."""
    try:
        yield
    except OSError as error:
        raise LakeNotWritable(
            str(path),
            f"cannot be written ({error.strerror or error}); what was there is untouched. "
            "Make room or permit writing, then run the command again",
        ) from error


def _write_durably(path: Path, content: memoryview | bytes) -> None:
    with path.open("wb", buffering=0) as file:
        left = memoryview(content)
        while left:
            left = left[file.write(left) :]
        os.fsync(file.fileno())


def make_folder(folder: Path) -> None:
    """Create a folder and its parents, each recorded durably in the one above it."""
    if folder.is_dir():
        return
    make_folder(folder.parent)
    with contextlib.suppress(FileExistsError):
        folder.mkdir()
    sync_folder(folder.parent)


def sync_folder(folder: Path) -> None:
    """Flush a folder's entries to the disk."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
