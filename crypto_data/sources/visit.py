"""One fetch from the archive on its way: the days still unanswered, and what requests cost.

Builds answers. Which files are asked for belongs to `sources.vision`.
"""

from collections.abc import Iterator, Sequence
from datetime import date
from typing import Any

import pyarrow as pa

from crypto_data.series import Series
from crypto_data.sources.archive import Archive, Fetch, FetchedFile
from crypto_data.sources.archive_file import SOURCE
from crypto_data.sources.base import Answer, Outcome, Trust
from crypto_data.sources.day_rows import OUTSIDE_RULE, without


class Visit:
    """The answers to one fetch; `left` are the days that none has been given for yet."""

    def __init__(self, archive: Archive, series: Series, days: Sequence[date]) -> None:
        self.series = series
        self.left = list(days)
        self.files = archive.door(series)
        self.listing = archive.listing.door(str(series))

    def fetched(self, fetch: Fetch) -> FetchedFile:
        """Wait for a file; the next answer tells what it cost.

        Raises:
            SourceError: see `Archive.fetch`.
        """
        try:
            return fetch.fetched.result()
        finally:
            self.files.charge(fetch.door)

    def aside(self, days: Sequence[date], outcome: Outcome, detail: str, **facts: Any) -> Answer:
        """Return an answer that leaves its days to a further one."""
        requests, seconds = self.files.spent()
        listings, listing_seconds = self.listing.spent()
        return Answer(
            SOURCE, tuple(days), outcome, detail,
            attempts=requests + listings, seconds=seconds + listing_seconds, **facts,
        )  # fmt: skip

    def answer(self, days: Sequence[date], outcome: Outcome, detail: str, **facts: Any) -> Answer:
        """Return the answer for some days, with the requests since the last one."""
        self.left = [day for day in self.left if day not in days]
        return self.aside(days, outcome, detail, **facts)

    def served(self, fetched: FetchedFile, days: Sequence[date], **facts: Any) -> Answer:
        """Return a file's rows of some days; `facts` are further fields of the answer."""
        fields = {
            "outcome": Outcome.SERVED,
            "detail": "",
            "rows": fetched.days.of(days),
            "address": fetched.address,
            "checksum": fetched.checksum,
            "etag": fetched.etag,
        }
        return self.answer(days, **(fields | facts))

    def daily(self, fetched: FetchedFile, day: date) -> Answer:
        """Return a daily archive's rows; an empty file is an answer too."""
        if not fetched.days.count(day):
            detail = f"{fetched.file.stem}.zip is empty"
            return self.served(fetched, [day], outcome=Outcome.NOTHING, detail=detail)
        return self.served(fetched, [day], **set_aside_of(fetched))

    def taken(self, fetched: FetchedFile, days: Sequence[date]) -> Iterator[Answer]:
        """Yield a file's rows of some days; those it has no row of are answered too."""
        filled = [day for day in days if fetched.days.count(day)]
        if filled:
            yield self.served(fetched, filled, **set_aside_of(fetched))
        empty = [day for day in days if day not in filled]
        if empty:
            detail = f"{fetched.file.stem}.zip has no kline of the day"
            yield self.served(fetched, empty, outcome=Outcome.NOTHING, detail=detail)

    def doubtful(
        self, fetched: FetchedFile, day: date, detail: str, *, filler: Any = None
    ) -> Answer:
        """Return rows that the next source must confirm, with `filler` rows where they lack."""
        rows = fetched.days.of([day])
        if filler is not None:
            rows = pa.concat_tables([rows, without(filler, rows)])
        return self.served(fetched, [day], detail=detail, rows=rows, trust=Trust.DOUBTFUL)

    def broken(self, fetched: FetchedFile, day: date, detail: str) -> Answer:
        """Return doubtful rows of a day whose own file is broken."""
        return self.served(
            fetched, [day], detail=detail, outcome=Outcome.BROKEN, trust=Trust.DOUBTFUL
        )


def set_aside_of(fetched: FetchedFile) -> dict[str, Any]:
    """Return the fields of an answer that tell of a file's rows of other periods."""
    if fetched.outside is None:
        return {}
    return {
        "set_aside": {OUTSIDE_RULE: fetched.outside.num_rows},
        "quarantined": fetched.outside,
    }
