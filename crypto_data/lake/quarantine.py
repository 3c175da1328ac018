"""Rows that broke a rule, kept where a person can look at them.

Which rule a row broke is decided by `validation`; here they are only written, each once.
"""

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from crypto_data.lake.part import UNREADABLE, damaged, encode_table, replace_file
from crypto_data.schema import FETCHED

QUARANTINED = FETCHED.append(pa.field("rule", pa.string()))

# A lying server must not fill the disk: of one file's rows the newest of this many are kept.
KEPT_ROWS = 100_000


def keep_aside(path: Path, tables: Sequence[pa.Table]) -> int:
    """Add rows to a quarantine file, those already in it once; return the bytes written.

    The caller holds the lock of the klines file they belong to.

    Raises:
        LakeDamaged: the quarantine file that is there cannot be read.
        LakeNotWritable: no space or no permission.
    """
    tables = [table for table in tables if table.num_rows]
    if not tables:
        return 0
    kept = [read_quarantined(path)] if path.exists() else []
    together = pa.concat_tables([*kept, *(table.cast(QUARANTINED) for table in tables)])
    distinct = together.group_by(together.column_names, use_threads=False).aggregate([])
    rows = distinct.slice(max(0, distinct.num_rows - KEPT_ROWS))
    if kept and distinct.num_rows == kept[0].num_rows:
        return 0
    return replace_file(path, encode_table(rows.select(QUARANTINED.names)))


def read_quarantined(path: Path) -> pa.Table:
    """Return the rows of a quarantine file, `QUARANTINED`.

    Raises:
        LakeDamaged: it cannot be read.
    """
    try:
        return pq.read_table(
            path, schema=QUARANTINED, partitioning=None, page_checksum_verification=True
        )
    except UNREADABLE as error:
        raise damaged(path, error) from error
