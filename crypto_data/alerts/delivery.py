"""Bringing messages to their addresses, through a child process that is ended in time.

Which messages there are belongs to `alerts.outbox`; how one is sent, to `alerts.courier`.
"""

import contextlib
import json
import logging
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from crypto_data.alerts.address import Address, Secret, read_addresses
from crypto_data.alerts.outbox import Outbox

LOGGER = logging.getLogger("crypto_data.alerts")

BUDGET_S = 20.0
# Of the budget, for one message; the rest is for starting the child, and for further messages.
TIMEOUT_S = 10.0
# The child stops by itself this long before it would be killed.
REST_S = 1.0


@dataclass(frozen=True, slots=True)
class Letter:
    """One message to one address."""

    number: int
    address: Address
    text: str


@dataclass(frozen=True, slots=True)
class Failure:
    """An address that did not take a message, and why, without a word of the address."""

    address: int
    scheme: str
    why: str

    def __str__(self) -> str:
        """Return `address 1 (https): why`."""
        return f"address {self.address} ({self.scheme}): {self.why}"


@dataclass(frozen=True, slots=True)
class DeliveryReport:
    """How many messages arrived, how many wait, and which addresses failed just now."""

    sent: int
    waiting: int
    failures: tuple[Failure, ...] = ()


Answer = Callable[[Letter, str], None]


def deliver(
    outbox: Outbox, urls: Sequence[Secret], now_ms: int, budget_s: float = BUDGET_S
) -> DeliveryReport:
    """Deliver what waits and may be tried now; an address that fails is tried again later.

    Each address gets its messages in their order. Returns at once when nothing is due, or when
    another process is delivering. A message is taken out of the queue when its arrival is known:
    killed between the two, this process or its child leaves a message that is sent once more.

    Args:
        outbox: What waits.
        urls: The addresses of the configuration.
        now_ms: The exchange's clock, UTC epoch milliseconds.
        budget_s: Seconds, after which the child is killed.

    Raises:
        LakeNotWritable: the disk is full or read-only; what has arrived may be sent once more.
        LakeBusy: another process holds the file for too long.
    """
    sent, failures = list[int](), list[Failure]()
    with outbox.delivering() as ours:
        ready = outbox.due(now_ms, urls) if ours else []
        addresses = {address.number: address for address in read_addresses(urls)}
        marks = {number: mark for mark, number, _ in ready}
        letters = [
            Letter(one.number, addresses[number], one.text)
            for _, number, messages in ready
            for one in messages
        ]

        def answered(letter: Letter, why: str) -> None:
            if not why:
                outbox.note_delivered(letter.number)
                sent.append(letter.number)
                return
            outbox.note_refused(marks[letter.address.number], why, now_ms)
            failures.append(Failure(letter.address.number, letter.address.scheme, why))
            LOGGER.warning("alerts: %s", failures[-1])

        if letters:
            send(letters, budget_s, answered)
    return DeliveryReport(len(sent), len(outbox.waiting()), tuple(failures))


def send(letters: Sequence[Letter], budget_s: float, answered: Answer) -> None:
    """Send letters through a child process, and hand on how each fared as soon as it is known.

    `answered` gets a letter and why it did not arrive (`""`: it did). After an address's first
    failure its further letters are not tried; nor is a letter that the budget has no time for, so
    neither is answered. The addresses go over stdin: arguments can be read by others.
    """
    open_letters = {letter.number: letter for letter in letters}
    failed: set[int] = set()

    def take(line: bytes) -> None:
        number, why = _answer_of(line)
        letter = open_letters.pop(number, None)
        if letter is not None:
            if why:
                failed.add(letter.address.number)
            answered(letter, why)

    ended = _converse(_instructions(letters, budget_s), budget_s, take)
    if ended:
        for letter in open_letters.values():
            if letter.address.number not in failed:
                failed.add(letter.address.number)
                answered(letter, ended)


def _answer_of(line: bytes) -> tuple[int, str]:
    """Return the message a line speaks of and why it did not arrive; 0 for a line of no use."""
    try:
        answer = json.loads(line)
        return int(answer["number"]), str(answer["why"])
    except (ValueError, TypeError, KeyError):
        return 0, ""


def _instructions(letters: Sequence[Letter], budget_s: float) -> bytes:
    """Return what the courier reads."""
    rounds: dict[int, dict[str, object]] = {}
    texts: dict[int, list[tuple[int, str]]] = {}
    for letter in letters:
        number = letter.address.number
        told = texts.setdefault(number, [])
        told.append((letter.number, letter.text))
        rounds[number] = {"url": letter.address.url, "messages": told}
    left_s = max(budget_s - REST_S, budget_s / 2)
    told_all = {
        "timeout_s": min(TIMEOUT_S, left_s / 2),
        "budget_s": left_s,
        "rounds": list(rounds.values()),
    }
    return json.dumps(told_all).encode()


def _converse(instructions: bytes, budget_s: float, take: Callable[[bytes], None]) -> str:
    """Run the courier, hand on its lines; return why it did not end in good order, else `""`."""
    with subprocess.Popen(
        [sys.executable, "-m", "crypto_data.alerts.courier"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,  # a traceback may show an address
        start_new_session=True,  # so that what it starts itself is killed with it
    ) as child:
        timer = threading.Timer(budget_s, _kill, (child,))
        timer.start()
        try:
            _hand_over(child, instructions)
            for line in child.stdout or ():
                take(line)
            status = child.wait()
        finally:
            in_time = timer.is_alive()
            timer.cancel()
            _kill(child)
    if status == 0:
        return ""
    if not in_time:
        return f"no answer within {budget_s:.0f} s"
    return f"the process that delivers ended with status {status}"


def _hand_over(child: "subprocess.Popen[bytes]", instructions: bytes) -> None:
    """Write to the child; one that has ended already is noticed by its silence."""
    if child.stdin is not None:
        with contextlib.suppress(BrokenPipeError):
            child.stdin.write(instructions)
        with contextlib.suppress(BrokenPipeError):
            child.stdin.close()


def _kill(child: "subprocess.Popen[bytes]") -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(child.pid, signal.SIGKILL)
