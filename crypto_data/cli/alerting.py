"""What `alerts` and `alerts test` print."""

import sys
from collections.abc import Sequence
from datetime import UTC, datetime

from crypto_data.alerts.address import Secret, read_addresses
from crypto_data.alerts.delivery import BUDGET_S, Failure, Letter, send
from crypto_data.alerts.outbox import Outbox
from crypto_data.alerts.trouble import NAME
from crypto_data.catalog.configuration import Catalog
from crypto_data.cli.options import Format
from crypto_data.cli.output import Row, complain, print_rows, print_table
from crypto_data.errors import UsageError
from crypto_data.lake.layout import ALERTS

TEST_TEXT = f"{NAME}: test\nThis address is told when something is wrong.\nRun: {NAME} alerts"
NOBODY = "alerts.urls: no address is configured, so nobody is told"

_COLUMNS = (
    "kind", "key", "level", "what", "since", "last_told", "address", "attempts", "next_try", "why",
)  # fmt: skip
_OF_ALERTS = ("what", "since", "last_told", "key")
_OF_MESSAGES = ("address", "kind", "key", "since", "attempts", "next_try", "why")


def print_alerts(catalog: Catalog, form: Format) -> None:
    """Print a line an alert that lasts, and a line a message that waits.

    Raises:
        LakeDamaged: what was told cannot be read.
    """
    outbox = Outbox(catalog.lake / ALERTS)
    outbox.check()
    alerts, messages = _alert_rows(outbox), _message_rows(outbox)
    if not catalog.alerts.urls:
        complain([f"{NOBODY}; write one under alerts.urls in {catalog.path}"])
    if form is not Format.TABLE:
        print_rows([*alerts, *messages], form, columns=_COLUMNS)
        return
    if not alerts:
        complain(["nobody is being told of anything; see crypto-data status, crypto-data health"])
    for rows, columns in ((alerts, _OF_ALERTS), (messages, _OF_MESSAGES)):
        if rows:
            print_table([{name: row[name] for name in columns} for row in rows])
    if messages:
        complain([f"{len(messages)} messages wait to be delivered"])


def _alert_rows(outbox: Outbox) -> list[Row]:
    return [
        dict.fromkeys(_COLUMNS)
        | {
            "kind": "alert",
            "key": alert.trouble.key,
            "level": alert.trouble.level,
            "what": alert.trouble.what,
            "since": _moment(alert.trouble.since_ms),
            "last_told": _moment(alert.last_told_ms),
            "why": alert.trouble.words,
        }
        for alert in outbox.current()
    ]


def _message_rows(outbox: Outbox) -> list[Row]:
    return [
        dict.fromkeys(_COLUMNS)
        | {
            "kind": str(one.kind),
            "key": one.key,
            "what": one.text.partition("\n")[0],
            "since": _moment(one.queued_ms),
            "address": one.address or None,
            "attempts": one.attempts,
            "next_try": _moment(one.next_try_ms or None),
            "why": one.why if one.address else "its address left the configuration",
        }
        for one in outbox.waiting()
    ]


def _moment(time_ms: int | None) -> datetime | None:
    return None if time_ms is None else datetime.fromtimestamp(time_ms / 1000, UTC)


def send_test(catalog: Catalog, form: Format) -> int:
    """Send one message to every address at once; return 1 when one of them did not take it.

    Raises:
        UsageError: no address is configured.
    """
    if not catalog.alerts.urls:
        raise UsageError(f"{NOBODY}; write one under alerts.urls in {catalog.path}")
    failures = _try_all(catalog.alerts.urls)
    rows = [
        {
            "address": address.number,
            "scheme": address.scheme,
            "delivered": address.number not in failures,
            "why": failures[address.number].why if address.number in failures else "",
        }
        for address in read_addresses(catalog.alerts.urls)
    ]
    if form is Format.TABLE:
        for address in read_addresses(catalog.alerts.urls):
            line = failures.get(address.number, f"{address}: delivered")
            sys.stdout.write(f"{line}\n")
    else:
        print_rows(rows, form, columns=tuple(rows[0]))
    return 1 if failures else 0


def _try_all(urls: Sequence[Secret]) -> dict[int, Failure]:
    """Return the addresses that did not take a message, by number."""
    failures: dict[int, Failure] = {}
    letters = [Letter(address.number, address, TEST_TEXT) for address in read_addresses(urls)]

    def answered(letter: Letter, why: str) -> None:
        if why:
            failures[letter.number] = Failure(letter.number, letter.address.scheme, why)

    send(letters, BUDGET_S, answered)
    return failures
