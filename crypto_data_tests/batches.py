"""Dagster's own SQLite storage, which also remembers in which pieces its events came."""

from collections.abc import Sequence
from typing import Any

import dagster as dg
from dagster._core.events.log import EventLogEntry
from dagster._core.storage.event_log import SqliteEventLogStorage


class RememberingStorage(SqliteEventLogStorage):
    """Named in a `dagster.yaml`; `pieces` are the calls: a batch, or one event."""

    def __init__(self, **options: Any) -> None:
        self.pieces: list[list[EventLogEntry]] = []
        self._in_batch = False
        super().__init__(**options)

    @classmethod
    def from_config_value(cls, inst_data: Any, config_value: Any) -> "RememberingStorage":
        return cls(inst_data=inst_data, **config_value)

    def store_event(self, event: EventLogEntry) -> None:
        if not self._in_batch:
            self.pieces.append([event])
        super().store_event(event)

    def store_event_batch(self, events: Sequence[EventLogEntry]) -> None:
        self.pieces.append(list(events))
        self._in_batch = True
        try:
            super().store_event_batch(events)
        finally:
            self._in_batch = False

    def pieces_of(self, event_type: dg.DagsterEventType) -> list[list[EventLogEntry]]:
        """Return the calls that stored events of one type."""
        return [piece for piece in self.pieces if piece[0].dagster_event_type is event_type]
