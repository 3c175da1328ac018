"""Every error this project raises, in one tree, branched by what the caller does next.

Must stay out: retry counts and waits (`sources.http`) and exit codes (`cli`).

    CryptoDataError
    ├── CatalogError            fix the configuration (exit 2)
    ├── CatalogNotWritten       make room for the configuration's file, or run again
    ├── UsageError              fix the command or the argument (exit 2)
    ├── Closed                  another thread closed the lake meanwhile; ask again
    ├── SourceError             try the next source
    │   ├── Absent              the source has not published it (404)
    │   ├── Broken              it answered with something that cannot be trusted
    │   ├── Rejected            it refuses this request for good (unknown symbol, bad parameter)
    │   ├── Blocked             it refuses us: WAF or region; leave it alone for a while
    │   ├── RateLimited         it asks us to wait (429) or has banned us (418)
    │   └── Unreachable         it is down, slow, or cut the answer short
    ├── DataSourceError         every source of the chain failed; `.attempts` says how
    └── LakeError               stop and tell a person
        ├── LakeDamaged         a file of the lake cannot be read
        ├── LakeBusy            another process holds the file; run again
        └── LakeNotWritable     disk full, read-only, no permission
"""

from collections.abc import Sequence
from dataclasses import dataclass


class CryptoDataError(Exception):
    """Anything this project raises on purpose."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault of the configuration: where it is, what was found, what is allowed."""

    file: str
    line: int
    key: str
    found: str
    allowed: str

    def __str__(self) -> str:
        """Return `file:line: key: found …; allowed: …`."""
        where = f"{self.file}:{self.line}: {self.key}"
        return f"{where}: found {self.found}; allowed: {self.allowed}"


class CatalogError(CryptoDataError):
    """The configuration cannot be used; all its faults are in `faults`."""

    def __init__(self, faults: Sequence[Fault]) -> None:
        super().__init__(tuple(faults))
        self.faults = tuple(faults)

    def __str__(self) -> str:
        """Return one line a fault."""
        return "\n".join(str(fault) for fault in self.faults)


class CatalogNotWritten(CryptoDataError):
    """The configuration's file could not be replaced (full, not permitted, held)."""

    def __init__(self, path: str, detail: str) -> None:
        super().__init__(path, detail)
        self.path = path
        self.detail = detail

    def __str__(self) -> str:
        """Return `path: detail`."""
        return f"{self.path}: {self.detail}"


class UsageError(CryptoDataError):
    """An argument cannot be used; the message says what is allowed."""


class Closed(CryptoDataError):
    """The connections were closed while something was fetched over them."""

    def __str__(self) -> str:
        """Return what happened, and what to do."""
        return (
            "the lake was closed, or the call interrupted, while klines were fetched; "
            "files that were done are stored. Ask again for the rest"
        )


class SourceError(CryptoDataError):
    """A source could not serve a range of one series."""

    def __init__(self, source: str, series: str, detail: str, *facts: object) -> None:
        super().__init__(source, series, detail, *facts)  # all facts: survives pickling
        self.source = source
        self.series = series
        self.detail = detail

    def __str__(self) -> str:
        """Return the facts as one sentence."""
        return f"{self.source}: {self.series}: {self.detail}"


class Absent(SourceError):
    """The source has not published this (HTTP 404)."""


class Broken(SourceError):
    """The source answered, but not with something that can be trusted."""


class Rejected(SourceError):
    """The source refuses this request for good; asking again changes nothing."""


class Blocked(SourceError):
    """The source refuses us: a firewall (403) or our region (451)."""


class RateLimited(SourceError):
    """The source asked us to wait `retry_after` seconds."""

    def __init__(self, source: str, series: str, detail: str, retry_after: float) -> None:
        super().__init__(source, series, detail, retry_after)
        self.retry_after = retry_after


class Unreachable(SourceError):
    """The source is down, too slow, or cut its answer short."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """One source of the chain that was asked and did not deliver, in its own words."""

    source: str
    outcome: str
    detail: str

    def __str__(self) -> str:
        """Return `source: outcome: detail`."""
        return f"{self.source}: {self.outcome}: {self.detail}"


class DataSourceError(CryptoDataError):
    """No source of the chain could serve what was asked; `attempts` holds each one's reason."""

    def __init__(self, series: str, wanted: str, attempts: Sequence[Attempt]) -> None:
        super().__init__(series, wanted, tuple(attempts))
        self.series = series
        self.wanted = wanted
        self.attempts = tuple(attempts)

    def __str__(self) -> str:
        """Return the series, what was wanted, and each source's own reason."""
        reasons = "; ".join(str(attempt) for attempt in self.attempts) or "no source was asked"
        return f"{self.series}: {self.wanted}: {reasons}"


class LakeError(CryptoDataError):
    """The lake needs a person."""

    def __init__(self, path: str, detail: str) -> None:
        super().__init__(path, detail)
        self.path = path
        self.detail = detail

    def __str__(self) -> str:
        """Return `path: detail`."""
        return f"{self.path}: {self.detail}"


class LakeDamaged(LakeError):
    """A file of the lake cannot be read."""


class LakeBusy(LakeError):
    """Another process holds the file for too long; run the command again."""


class LakeNotWritable(LakeError):
    """The lake cannot be written (full, read-only, not permitted); old files are untouched."""
