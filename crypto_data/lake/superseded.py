"""Files that were replaced because a source changed values, kept until nobody wants them back.

A kept file is a second name of the old one, so it costs no writing. What was changed is told by
the corrections in the footer of the file that replaced it.
"""

import os
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from crypto_data.lake.layout import SUPERSEDED, part_path, stamped_ms, superseded_path
from crypto_data.lake.part import make_folder, replace_file, sync_folder, writing
from crypto_data.series import Series


def keep_superseded(root: Path, series: Series, period: str, at_ms: int) -> str:
    """Keep the file of a period as it is now; return where, from the lake's folder on.

    The caller holds its lock, and replaces it next. After a kill in between one name too many is
    left, which the sweep takes.

    Args:
        root: The lake.
        series: What the file holds.
        period: Its name.
        at_ms: The exchange's clock, UTC epoch milliseconds.

    Raises:
        LakeNotWritable: no space or no permission; nothing was replaced.
    """
    path = part_path(root, series, period)
    kept = superseded_path(root, series, period, at_ms)
    with writing(kept):
        make_folder(kept.parent)
        while kept.exists() and not kept.samefile(path):
            at_ms += 1
            kept = superseded_path(root, series, period, at_ms)
        if not kept.exists():
            _link(path, kept)
        sync_folder(kept.parent)
    return str(kept.relative_to(root))


def _link(path: Path, kept: Path) -> None:
    try:
        kept.hardlink_to(path)
    except OSError:  # a file system that has no second names, or no more of them
        replace_file(kept, path.read_bytes())


def find_superseded(root: Path) -> Iterator[tuple[Path, int]]:
    """Yield every kept file and when it was replaced, UTC epoch milliseconds; any order."""
    for folder, _, names in os.walk(root / SUPERSEDED):
        for name in names:
            _, _, text = name.removesuffix(".parquet").partition(".")
            try:
                yield Path(folder, name), stamped_ms(text)
            except ValueError:
                continue  # not of ours, or being written


def sweep_superseded(root: Path, older_than_ms: int, most: int = 1000) -> int:
    """Delete files that were replaced before an instant; return how many.

    Args:
        root: The lake.
        older_than_ms: The instant, UTC epoch milliseconds.
        most: So many at once; the rest is left to the next call.

    Raises:
        LakeNotWritable: the system does not let us delete one.
    """
    old = (path for path, at_ms in find_superseded(root) if at_ms < older_than_ms)
    swept = 0
    for path in islice(old, most):
        with writing(path):
            path.unlink(missing_ok=True)
        swept += 1
    return swept
