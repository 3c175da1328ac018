"""What was told, what waits to be delivered, and what comes next.

Arithmetic on values, and their text. The file they stand in belongs to `alerts.outbox`.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from crypto_data.alerts.trouble import Kind, Trouble, message
from crypto_data.intervals import DAY_MS, HOUR_MS, MINUTE_MS

REMIND_MS = HOUR_MS
# Two that look at once may have read their clocks in the other order; no clock was set back then.
APART_MS = 10 * MINUTE_MS
# More of one sort at once, as when a disk loses files, are told of in one message.
MOST_OF_A_SORT = 5
# What is over is known for so long, and so long waits a message whose address left the
# configuration, in case it comes back.
KEPT_MS = 7 * DAY_MS
FIRST_WAIT_MS = 30_000
LONGEST_WAIT_MS = 30 * MINUTE_MS


@dataclass(frozen=True, slots=True)
class Alert:
    """A trouble and what was told of it: when last (None: nobody is there to tell), how bad."""

    trouble: Trouble
    last_told_ms: int | None = None
    told_level: int = 0
    ended_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Message:
    """A message on its way to one address; `address` is 0 when that left the configuration."""

    number: int
    key: str
    kind: Kind
    text: str
    queued_ms: int
    address: int
    mark: str


@dataclass(frozen=True, slots=True)
class Failing:
    """An address that did not take its next message."""

    attempts: int
    next_try_ms: int
    why: str


@dataclass(frozen=True, slots=True)
class State:
    """All that is known; addresses stand in it by their marks, made with `salt`."""

    salt: str
    next_number: int = 1
    alerts: Mapping[str, Alert] = field(default_factory=dict)
    queue: tuple[Message, ...] = ()
    failing: Mapping[str, Failing] = field(default_factory=dict)


Marks = Mapping[str, int]  # the mark of each address that is configured now, and its number


def advance(
    state: State, troubles: Iterable[Trouble], now_ms: int, marks: Marks
) -> tuple[State, list[str]]:
    """Return the state after a look around, and the texts that were queued for every address.

    Args:
        state: What was known.
        troubles: All there are now; a key that is absent is over.
        now_ms: The exchange's clock, UTC epoch milliseconds.
        marks: Whom to tell; with nobody there, alerts are kept and nothing is queued.
    """
    alerts, said = dict(state.alerts), list[tuple[Kind, Trouble]]()
    found = _worst(troubles)
    for key, trouble in found.items():
        alerts[key], kind = _go_on(alerts.get(key), trouble, now_ms, told=bool(marks))
        if kind:
            said.append((kind, alerts[key].trouble))
    for key, alert in alerts.items():
        if key not in found and alert.ended_ms is None:
            alerts[key] = replace(alert, ended_ms=now_ms)
            if alert.last_told_ms is not None and marks:
                said.append((Kind.OVER, alert.trouble))
    said = _gathered(said)
    state = _queue(replace(state, alerts=alerts), said, now_ms, marks)
    return state, [message(kind, trouble, now_ms) for kind, trouble in said]


def _gathered(said: Sequence[tuple[Kind, Trouble]]) -> list[tuple[Kind, Trouble]]:
    """Return what is said, with one in the place of many of a sort: `damage` of `damage/…`."""
    sorts: dict[tuple[Kind, str], list[Trouble]] = {}
    for kind, trouble in said:
        sorts.setdefault((kind, trouble.key.partition("/")[0]), []).append(trouble)
    gathered = list[tuple[Kind, Trouble]]()
    for (kind, sort), troubles in sorts.items():
        if len(troubles) <= MOST_OF_A_SORT:
            gathered += [(kind, trouble) for trouble in troubles]
        else:
            gathered.append((kind, _in_one(sort, troubles)))
    return gathered


def _in_one(sort: str, troubles: Sequence[Trouble]) -> Trouble:
    return replace(
        troubles[0],
        key=sort,
        what=f"{len(troubles)} alike at once, such as: {troubles[0].what}",
        since_ms=min(trouble.since_ms for trouble in troubles),
        remedy="crypto-data alerts",
    )


def _worst(troubles: Iterable[Trouble]) -> dict[str, Trouble]:
    """Return one trouble a key, the highest level of each."""
    found: dict[str, Trouble] = {}
    for trouble in troubles:
        if trouble.key not in found or trouble.level > found[trouble.key].level:
            found[trouble.key] = trouble
    return found


def _go_on(
    before: Alert | None, trouble: Trouble, now_ms: int, *, told: bool
) -> tuple[Alert, Kind | None]:
    """Return the alert of a trouble that is there, and what to say of it now."""
    if before is None or before.ended_ms is not None:
        before = Alert(trouble)
    # What began does not begin later because more is known of it.
    trouble = replace(trouble, since_ms=min(trouble.since_ms, before.trouble.since_ms))
    kind = _kind(before, trouble, now_ms) if told else None
    if kind is None:
        return replace(before, trouble=trouble), None
    return Alert(trouble, now_ms, max(before.told_level, trouble.level)), kind


def _kind(before: Alert, trouble: Trouble, now_ms: int) -> Kind | None:
    if before.last_told_ms is None:
        return Kind.STARTED
    if trouble.level > before.told_level:
        return Kind.WORSE
    # A clock that was set back must not silence reminders until it has caught up.
    if not -APART_MS < now_ms - before.last_told_ms < REMIND_MS:
        return Kind.REMINDER
    return None


def _queue(state: State, said: Sequence[tuple[Kind, Trouble]], now_ms: int, marks: Marks) -> State:
    """Return the state with a message an address for all that is said.

    A reminder that still waits gives way to whatever is said next about its key, so that a queue
    nobody takes from does not grow by the hour.
    """
    keys = {trouble.key for _, trouble in said}
    queue = [one for one in state.queue if one.kind is not Kind.REMINDER or one.key not in keys]
    number = state.next_number
    for kind, trouble in said:
        text = message(kind, trouble, now_ms)
        for mark, address in marks.items():
            queue.append(Message(number, trouble.key, kind, text, now_ms, address, mark))
            number += 1
    return replace(state, queue=tuple(queue), next_number=number)


def tidy(state: State, now_ms: int, marks: Marks) -> State:
    """Return the state without what is long over, its messages with today's address numbers."""

    def is_kept(since_ms: int) -> bool:
        return now_ms - since_ms < KEPT_MS

    return replace(
        state,
        alerts={
            key: alert
            for key, alert in state.alerts.items()
            if alert.ended_ms is None or is_kept(alert.ended_ms)
        },
        queue=tuple(
            replace(one, address=marks.get(one.mark, 0))
            for one in state.queue
            if one.mark in marks or is_kept(one.queued_ms)
        ),
        failing={mark: failing for mark, failing in state.failing.items() if mark in marks},
    )


def due(state: State, now_ms: int, marks: Marks) -> dict[str, list[Message]]:
    """Return the messages to deliver now, by the mark of their address, oldest first.

    An address that failed gets none until its wait is over; after it, its messages follow each
    other as they were queued, so that an end never overtakes its start.
    """
    waiting: dict[str, list[Message]] = {}
    for one in state.queue:
        if one.mark in marks and _is_open(state.failing.get(one.mark), now_ms):
            waiting.setdefault(one.mark, []).append(one)
    return waiting


def _is_open(failing: Failing | None, now_ms: int) -> bool:
    # No wait is that long: the clock was set back.
    return failing is None or not 0 < failing.next_try_ms - now_ms <= LONGEST_WAIT_MS


def delivered(state: State, number: int) -> State:
    """Return the state after a message arrived; one that is not there any more changes nothing."""
    marks = {one.mark for one in state.queue if one.number == number}
    return replace(
        state,
        queue=tuple(one for one in state.queue if one.number != number),
        failing={mark: one for mark, one in state.failing.items() if mark not in marks},
    )


def refused(state: State, mark: str, why: str, now_ms: int) -> State:
    """Return the state after an address did not take a message; its next try waits twice as long.

    The wait is 30 seconds after the first failure and at most 30 minutes.
    """
    before = state.failing.get(mark)
    attempts = 1 + (before.attempts if before else 0)
    wait_ms = min(FIRST_WAIT_MS << min(attempts - 1, 10), LONGEST_WAIT_MS)
    return replace(state, failing={**state.failing, mark: Failing(attempts, now_ms + wait_ms, why)})


def encode(state: State) -> bytes:
    """Return the state as JSON: `salt`, `next_number`, `alerts` by key, `queue`, `failing`."""
    text = json.dumps(asdict(state), ensure_ascii=False, indent=1)
    return text.encode(errors="replace")  # a source's words may hold half a character


def decode(text: bytes) -> State:
    """Return the state that `encode` wrote.

    Raises:
        ValueError, TypeError, KeyError, AttributeError: the text is none of ours.
    """
    facts = json.loads(text)
    return State(
        salt=str(facts["salt"]),
        next_number=int(facts["next_number"]),
        alerts={str(key): _alert_of(alert) for key, alert in facts["alerts"].items()},
        queue=tuple(_message_of(one) for one in facts["queue"]),
        failing={
            str(mark): Failing(int(one["attempts"]), int(one["next_try_ms"]), str(one["why"]))
            for mark, one in facts["failing"].items()
        },
    )


def _alert_of(facts: Mapping[str, Any]) -> Alert:
    told_ms, ended_ms = facts["last_told_ms"], facts["ended_ms"]
    return Alert(
        _trouble_of(facts["trouble"]),
        None if told_ms is None else int(told_ms),
        int(facts["told_level"]),
        None if ended_ms is None else int(ended_ms),
    )


def _trouble_of(facts: Mapping[str, Any]) -> Trouble:
    texts = {name: str(facts[name]) for name in ("key", "what", "words", "remedy")}
    return Trouble(level=int(facts["level"]), since_ms=int(facts["since_ms"]), **texts)


def _message_of(facts: Mapping[str, Any]) -> Message:
    return Message(
        number=int(facts["number"]),
        key=str(facts["key"]),
        kind=Kind(facts["kind"]),
        text=str(facts["text"]),
        queued_ms=int(facts["queued_ms"]),
        address=int(facts["address"]),
        mark=str(facts["mark"]),
    )
