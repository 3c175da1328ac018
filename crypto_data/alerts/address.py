"""Where messages go. An address is a secret: it is shown as its number and its scheme.

Which addresses there are says the configuration; how a message gets there, `alerts.courier`.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol


class Secret(Protocol):
    """A text that does not show itself, as the configuration holds an address."""

    def get_secret_value(self) -> str:
        """Return the text."""


@dataclass(frozen=True, slots=True)
class Address:
    """One address: its number in the configuration, from 1, and the secret itself."""

    number: int
    url: str = field(repr=False)

    @property
    def scheme(self) -> str:
        """The part in front of `://`, all that may be shown."""
        return self.url.partition("://")[0].lower()

    def __str__(self) -> str:
        """Return `address 1 (https)`."""
        return f"address {self.number} ({self.scheme})"

    def mark(self, salt: str) -> str:
        """Return what stands for the address in files; without the address it tells nothing."""
        return hashlib.blake2b(self.url.encode(), key=salt.encode(), digest_size=4).hexdigest()


def read_addresses(urls: Sequence[Secret]) -> tuple[Address, ...]:
    """Return the addresses in the order of the configuration; one that stands twice counts once."""
    texts = [url.get_secret_value() for url in urls]
    return tuple(
        Address(number, text)
        for number, text in enumerate(texts, start=1)
        if text not in texts[: number - 1]
    )
