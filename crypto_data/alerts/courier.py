"""The process that carries messages: `python -m crypto_data.alerts.courier`, told on stdin.

A process of its own, so that a hanging address is ended for certain, and a library that logs
addresses (Apprise, at DEBUG) has no log to write to. What it says of a failure is made of its own
words and status codes: the words of libraries hold addresses. What is sent and what becomes of the
answers belongs to `alerts.delivery`.

Reads `{"timeout_s": …, "budget_s": …, "rounds": [{"url": …, "messages": [[number, text], …]}]}`.
Writes a line `{"number": …, "why": …}` for each message it tried, `why` empty once it arrived.
"""

import asyncio
import json
import logging
import math
import os
import signal
import socket
import ssl
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx

Say = Callable[[int, str], None]

_WORDS: tuple[tuple[type[BaseException], str], ...] = (
    (socket.gaierror, "the name of its host is not known"),
    (ssl.SSLCertVerificationError, "its certificate is not trusted"),
    (ssl.SSLError, "no encrypted connection could be made"),
    (ConnectionRefusedError, "its host refuses the connection"),
    (httpx.TimeoutException, "no answer in time"),
    (TimeoutError, "no answer in time"),
    (httpx.ConnectError, "its host cannot be reached"),
    (httpx.ProxyError, "the proxy does not let us through"),
    (httpx.NetworkError, "the connection broke off"),
    (httpx.RemoteProtocolError, "the connection broke off, or the answer is no HTTP"),
    (httpx.InvalidURL, "the address cannot be used; correct it in the configuration"),
    (httpx.UnsupportedProtocol, "the address cannot be used; correct it in the configuration"),
)


def main() -> None:
    """Deliver what stdin says, and say on stdout how each message fared."""
    logging.disable(logging.CRITICAL)
    told, channel = json.load(sys.stdin), sys.stdout
    signal.alarm(math.ceil(told["budget_s"]) + 5)  # should whoever kills us be killed
    sys.stdout = open(os.devnull, "w")  # noqa: PTH123, SIM115 - what libraries print is no answer

    def say(number: int, why: str) -> None:
        channel.write(json.dumps({"number": number, "why": why}) + "\n")
        channel.flush()

    asyncio.run(_run(told, say))


async def _run(told: dict[str, Any], say: Say) -> None:
    """Visit all addresses at once; end the process, whatever a library's threads still do."""
    deadline = time.monotonic() + told["budget_s"]
    async with httpx.AsyncClient(
        follow_redirects=False, headers={"User-Agent": "crypto-data"}, timeout=told["timeout_s"]
    ) as client:
        rounds = (_visit(client, one, told["timeout_s"], deadline, say) for one in told["rounds"])
        ends = await asyncio.gather(*rounds, return_exceptions=True)
    os._exit(any(ends))


async def _visit(
    client: httpx.AsyncClient, one: dict[str, Any], timeout_s: float, deadline: float, say: Say
) -> None:
    """Deliver the messages of one address in their order, up to the first that does not arrive."""
    for number, text in one["messages"]:
        if time.monotonic() + timeout_s > deadline:
            return  # no send is begun that might be cut off halfway
        # As a value: whatever a library raises is a failure of this one message.
        (why,) = await asyncio.gather(
            _send(client, one["url"], text, timeout_s), return_exceptions=True
        )
        say(number, why if isinstance(why, str) else reason_of(why))
        if why:
            return


async def _send(client: httpx.AsyncClient, url: str, text: str, timeout_s: float) -> str:
    """Send one message; return why it did not arrive, `""` when it did."""
    async with asyncio.timeout(timeout_s):
        if url.partition("://")[0].lower() in {"http", "https"}:
            return await _post(client, url, text)
        return await asyncio.to_thread(_notify, url, text)


async def _post(client: httpx.AsyncClient, url: str, text: str) -> str:
    body, kind = json.dumps({"text": text}).encode(), {"Content-Type": "application/json"}
    async with client.stream("POST", url, content=body, headers=kind) as response:
        status = response.status_code  # the answer's body is not read
    if response.is_success:
        return ""
    if response.is_redirect:
        return "answers with a redirect to another address; configure the final one"
    return f"answers with HTTP {status}"


def _notify(url: str, text: str) -> str:
    from apprise import Apprise, AppriseAsset  # noqa: PLC0415 - 0.2 s that http(s) needs not

    asset = AppriseAsset(async_mode=False)
    asset.http_redirects = False
    service = Apprise(asset=asset)
    if not service.add(url):
        return "Apprise does not know this kind of address, or a part of it is missing"
    # The first line of a text is its title only to a person.
    return "" if service.notify(body=text) else "the service did not take the message"


def reason_of(error: BaseException) -> str:
    """Return an error in our own words, for its text may hold the address."""
    for one in _chain(error):
        for kind, words in _WORDS:
            if isinstance(one, kind):
                return words
    return f"could not be sent ({type(error).__name__})"


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Yield an error's causes, the first one first: it says most."""
    causes = [error]
    while (cause := causes[-1].__cause__ or causes[-1].__context__) and len(causes) < 20:  # noqa: PLR2004
        causes.append(cause)
    yield from reversed(causes)


if __name__ == "__main__":
    main()
