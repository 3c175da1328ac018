"""What has to stand before a command loads the heavy libraries, so that it starts fast and small.

Costs nothing itself: nothing heavy is imported here.
"""

import atexit
import contextlib
import ctypes
import gc
import os
import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

# Objects that are made between two searches for circles of them. Python's 700 search hundreds of
# times while a command works, and find nothing: 60 ms.
OBJECTS_A_SEARCH = 50_000
# From this size on a block of memory goes back to the system when it is freed: a month's text, a
# column of it. glibc would raise the size to the largest that was ever freed, and what lies between
# smaller blocks would stay: 25 MB of a year of 1m.
MAPPED_FROM_BYTES = 1024 * 1024
MMAP_THRESHOLD = "MALLOC_MMAP_THRESHOLD_"  # glibc's setting of it, read when a process starts
M_MMAP_THRESHOLD = -3  # the same in its malloc.h
# The same while libraries are loaded, of which all objects stay: Dagster's are 350,000, and seven
# searches of them took 0.18 s.
OBJECTS_LOADED = 1_000_000


def start_lean() -> None:
    """Choose how the libraries will be loaded; a setting of the environment goes before."""
    gc.set_threshold(OBJECTS_LOADED)
    # At its end Python would search all modules for circles before it drops them: 0.4 s of a
    # command that has loaded Dagster, 0.12 s of any other. Memory goes back to the system anyway.
    atexit.register(gc.freeze)
    # Arrow's own pool keeps what every thread freed, 130 MB of a year of 1m.
    os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")
    _map_large_blocks()
    # numpy would start threads for matrices, which nobody here has: 60 ms of a processor.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    # pydantic would search all installed packages for plugins: 15 ms.
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    # Arrow imports pandas to see whether the first list it is given is a frame, which takes
    # 0.2 s and 45 MB where pandas is installed. No command makes frames.
    sys.meta_path.insert(0, _Absent("pandas"))
    # Command line and colours of libraries that we never show: 100 modules, 70 ms where Dagster
    # is loaded. Both libraries go on without.
    sys.meta_path.insert(0, _Absent("httpx._main"))
    sys.meta_path.insert(0, _Absent("mako.ext.pygmentplugin"))


def end_loading() -> None:
    """Say that what is loaded stays: from here on the work's own objects are searched."""
    gc.freeze()
    gc.set_threshold(OBJECTS_A_SEARCH)


def _map_large_blocks() -> None:
    """Fix from which size on memory is mapped, here and in processes that start from here."""
    if MMAP_THRESHOLD in os.environ:
        return
    os.environ[MMAP_THRESHOLD] = str(MAPPED_FROM_BYTES)
    with contextlib.suppress(AttributeError):  # another C library
        ctypes.CDLL(None).mallopt(M_MMAP_THRESHOLD, MAPPED_FROM_BYTES)


class _Absent(MetaPathFinder):
    """Makes a library look as if it were not installed."""

    def __init__(self, library: str) -> None:
        self._library = library

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Refuse the library, and leave every other module to the finders behind.

        Raises:
            ModuleNotFoundError: as Python does.
        """
        del path, target
        if fullname == self._library:
            raise ModuleNotFoundError(f"{fullname} is left out of commands", name=fullname)
        return None
