"""The way of a request to one host: who lets it pass, and who is told how it went.

A protocol only. The door that the sources use belongs to `sources.gate`, sending to `sources.http`.
"""

from collections.abc import Mapping
from typing import Protocol

from crypto_data.errors import SourceError


class Door(Protocol):
    """What every attempt passes on its way to one host, for one series."""

    @property
    def source(self) -> str:
        """The source's name, for errors."""

    @property
    def series(self) -> str:
        """What is asked for, for errors."""

    def enter(self) -> None:
        """Wait for the permission to send one request, or raise a `SourceError`."""

    def answered(self, headers: Mapping[str, str]) -> None:
        """Note an answer, good or bad."""

    def refused(self, error: SourceError) -> None:
        """Note a failed attempt, which may be repeated."""

    def gave_up(self, error: SourceError) -> None:
        """Note that the request failed for good."""

    def passed(self) -> None:
        """Note that the request succeeded."""
