"""What every format of an export is: which series it knows, and how it writes one of them.

The formats themselves belong to the modules beside this one, choosing and judging what is written
to `exporting.export`.
"""

from collections.abc import Iterator
from typing import Protocol

from crypto_data.exporting.files import Source, WrittenFile
from crypto_data.series import Series


class Writer(Protocol):
    """One format, below one folder."""

    def refusal(self, series: Series) -> str:
        """Return why no such series can be written, with what can; `""` for one that can be."""

    def place(self, series: Series) -> str:
        """Return what names the files of a series: no two series may share it.

        Raises:
            UsageError: it cannot be named.
        """

    def write(self, source: Source) -> Iterator[WrittenFile]:
        """Write the klines of a series and yield each file when it is in its place.

        Files that hold the same are replaced at once; a source without klines writes none.

        Raises:
            UsageError: the klines lack what the format needs, or it cannot hold their numbers.
            LakeDamaged: a file of the lake cannot be read.
            LakeNotWritable: no space or no permission.
        """
