"""The configuration's file: how its text is read, and how it is replaced whole or not at all.

Knows nothing of what the text says; that belongs to `catalog.configuration` and `catalog.editing`.
"""

import hashlib
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from crypto_data.catalog.text import WHOLE_FILE
from crypto_data.errors import CatalogError, CatalogNotWritten, Fault

LOCK_SECONDS = 30.0
# What some editors put before the text; it stays when the file is replaced.
BYTE_ORDER_MARK = "\ufeff"


def read_text(path: Path) -> str:
    """Return the text of the file, its byte order mark included.

    Raises:
        CatalogError: it cannot be read, or is no UTF-8.
    """
    return _decode(_read(path), path)


def rewrite(path: Path, change: Callable[[str], str], state: Path) -> tuple[str, str]:
    """Replace the file by what `change` makes of its text; return the text before and after.

    Other commands wait meanwhile. The file keeps its mode and its byte order mark, a link stays a
    link, and nothing is written when nothing changes. What `change` raises leaves the file as it
    is.

    Args:
        path: The file.
        change: Takes the text without a byte order mark, and returns it changed.
        state: This account's folder, where the lock is held: none lies beside the file.

    Raises:
        CatalogError: the file cannot be read, or is no UTF-8.
        CatalogNotWritten: no permission, no space, or another command or an editor was there
            first; the file is untouched.
    """
    target = path.resolve()
    with _locked(target, state):
        before = _read(target)
        text = _decode(before, target)
        mark = BYTE_ORDER_MARK if text.startswith(BYTE_ORDER_MARK) else ""
        text = text.removeprefix(BYTE_ORDER_MARK)
        after = change(text)
        if after != text:
            if _read(target) != before:  # an editor asks for no lock
                raise CatalogNotWritten(
                    str(target), "it was changed meanwhile; run the command again"
                )
            try:
                _replace(target, f"{mark}{after}".encode())
            except OSError as error:
                raise CatalogNotWritten(
                    str(target), f"cannot be written ({error.strerror}); it is as it was"
                ) from error
        return text, after


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except (OSError, ValueError) as error:  # ValueError: no name that a file can have
        found = getattr(error, "strerror", None) or str(error)
        raise _unreadable(path, found, "a file that can be read") from None


def _decode(content: bytes, path: Path) -> str:
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError:
        raise _unreadable(path, "bytes that are no UTF-8", "UTF-8 text") from None


def _unreadable(path: Path, found: str, allowed: str) -> CatalogError:
    return CatalogError([Fault(str(path), 1, WHOLE_FILE, found, allowed)])


@contextmanager
def _locked(target: Path, state: Path) -> Iterator[None]:
    """Hold the lock of one file, against other processes of this account."""
    name = hashlib.sha256(os.fsencode(target)).hexdigest()[:32]
    lock = FileLock(state / "locks" / f"{name}.lock", timeout=LOCK_SECONDS)
    try:
        (state / "locks").mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except Timeout:
        raise CatalogNotWritten(
            str(target), "another command changes it; run the command again"
        ) from None
    except OSError as error:
        raise CatalogNotWritten(
            str(target),
            f"no lock can be held in {state} ({error.strerror}); make it writable, or set "
            "XDG_STATE_HOME to another folder",
        ) from error
    try:
        yield
    finally:
        lock.release()


def _replace(target: Path, content: bytes) -> None:
    handle, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    try:
        with os.fdopen(handle, "wb") as draft:
            draft.write(content)
            draft.flush()
            os.fsync(draft.fileno())
            status = target.stat()
            os.fchmod(draft.fileno(), status.st_mode & 0o7777)
            with suppress(PermissionError):  # only root gives a file back to its owner
                os.fchown(draft.fileno(), status.st_uid, status.st_gid)
        Path(name).replace(target)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    folder = os.open(target.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
