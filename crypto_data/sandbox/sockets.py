"""HTTP/1.1 on a socket: read a request, write an answer in one call, keep the connection.

The standard library's own handler parses headers as e-mail, which costs more than a small answer.
"""

import socket
import struct
from http import HTTPStatus
from socketserver import StreamRequestHandler
from urllib.parse import unquote

from crypto_data.sandbox.web import Answer, Call, Ending

_LINE_LIMIT = 65_536
_LINGER_RESET = struct.pack("ii", 1, 0)


class SandboxHandler(StreamRequestHandler):
    """One connection; a subclass brings `answer_call`."""

    disable_nagle_algorithm = True
    connection: socket.socket

    def answer_call(self, call: Call) -> Answer:
        """Return the answer to a request."""
        raise NotImplementedError

    def handle(self) -> None:
        """Answer requests until either side closes."""
        try:
            while (call := self._read()) is not None:
                answer = self.answer_call(call)
                if not self._write(call, answer):
                    return
        except (ConnectionError, TimeoutError):
            return  # the client has gone, as clients do

    def finish(self) -> None:
        """Close without minding a client that is gone."""
        try:
            super().finish()
        except OSError:
            return

    def _read(self) -> Call | None:
        line = self.rfile.readline(_LINE_LIMIT)
        parts = line.decode("latin-1").split()
        if len(parts) != 3:  # noqa: PLR2004 - method, target, version
            return None
        headers: dict[str, str] = {}
        while (line := self.rfile.readline(_LINE_LIMIT)) not in {b"\r\n", b"\n", b""}:
            name, _, value = line.decode("latin-1").partition(":")
            headers[name.lower()] = value.strip()
        length = int(headers.get("content-length", "0"))
        body = self.rfile.read(length) if length else b""
        path, _, query = parts[1].partition("?")
        if "%" in path:
            path = unquote(path)
        return Call(parts[0], path, query, headers=headers, body=body)

    def _write(self, call: Call, answer: Answer) -> bool:
        """Send the answer; return whether the connection lives on."""
        is_bare = call.method == "HEAD" or answer.status == HTTPStatus.NOT_MODIFIED
        body = b"" if is_bare else answer.body
        if answer.ending is Ending.RESET:
            return self._reset()
        head = _head(answer)
        if answer.ending is Ending.WHOLE:
            self.connection.sendall(head + body)
            return call.headers.get("connection", "").lower() != "close"
        self.connection.sendall(head + body[: len(body) // 2])
        return self._reset() if answer.ending is Ending.HALF_RESET else False

    def _reset(self) -> bool:
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_RESET)
        return False


def _head(answer: Answer) -> bytes:
    lines = [f"HTTP/1.1 {answer.status} {_reason(answer.status)}"]
    lines += [f"{name}: {value}" for name, value in answer.headers]
    if answer.ending is Ending.HALF_SILENT:
        lines.append("Connection: close")
    else:
        lines.append(f"Content-Length: {len(answer.body)}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1", "replace")


def _reason(status: int) -> str:
    return _REASONS.get(status, "Unknown")


_REASONS: dict[int, str] = {status.value: status.phrase for status in HTTPStatus}
