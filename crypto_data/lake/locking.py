"""One lock a file of the lake: only who holds it writes, moves or removes that file.

Readers need none.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from crypto_data.errors import LakeBusy
from crypto_data.lake.layout import lock_path
from crypto_data.lake.part import make_folder, writing
from crypto_data.series import Series

LOCK_SECONDS = 300.0


@contextmanager
def locked(root: Path, series: Series, period: str) -> Iterator[None]:
    """Hold the lock of one file of the lake, against other threads and processes.

    Raises:
        LakeBusy: another process held it for five minutes.
        LakeNotWritable: no space or no permission.
    """
    path = lock_path(root, series, period)
    lock = FileLock(path, timeout=LOCK_SECONDS)
    with writing(path):
        make_folder(root)
        path.parent.mkdir(parents=True, exist_ok=True)  # a lock says nothing after a power cut
        try:
            lock.acquire()
        except Timeout as error:
            raise LakeBusy(
                str(path), "held by another process for five minutes; run the command again"
            ) from error
    try:
        yield
    finally:
        lock.release()
