"""A request's body, read from its connection as it is asked for: never all of it in memory, and never past its end."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

from dogbreed_cli.local.errors import AwsError
from dogbreed_cli.local.wire_body import CHUNK

# Of a body that is wanted as a whole: AWS's JSON is at most some MB, InvokeEndpoint's body 6.
MOST_BYTES = 32 << 20


class RequestBody(io.RawIOBase):
    """`length` bytes of `source`, or, when that is None, the chunks of HTTP's `Transfer-Encoding: chunked`.

    `before` is called before the first byte is read: a client that sent `Expect: 100-continue` waits for a word.
    Raises ConnectionError when the client is gone before the end: what it sent until then is no object.
    """

    def __init__(self, source: Any, length: int | None, before: Callable[[], None] | None = None):
        self._source, self._before = source, before
        self._left = length or 0
        self._chunked = length is None
        self._ended = length == 0
        self.is_read = False

    def readable(self) -> bool:
        return True

    def read(self, size: int | None = -1) -> bytes:
        if size is None or size < 0:
            return self._read_all()
        if self._ended or not size:
            return b""
        if not self.is_read:
            self.is_read = True
            if self._before:
                self._before()
        if self._chunked and not self._left:
            self._enter_chunk()
        data: bytes = self._source.read(min(size, self._left))
        if len(data) < min(size, self._left):
            raise ConnectionAbortedError("the client went away inside a body")
        self._left -= len(data)
        if self._left == 0 and not self._ended:
            if self._chunked:
                self._read_line()  # what ends a chunk
            else:
                self._ended = True
        return data

    def readinto(self, buffer: Any) -> int:
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def _read_all(self) -> bytes:
        pieces, size = [], 0
        while data := self.read(CHUNK):
            size += len(data)
            if size > MOST_BYTES:
                raise AwsError("RequestEntityTooLargeException", f"The body has more than {MOST_BYTES} bytes.", 413)
            pieces.append(data)
        return b"".join(pieces)

    def _enter_chunk(self) -> None:
        size = self._read_line().split(b";")[0].strip()
        try:
            self._left = int(size, 16)
        except ValueError:
            raise ConnectionAbortedError("a chunk does not begin with its size") from None
        if self._left <= 0:
            while self._read_line():
                pass
            self._left, self._ended = 0, True

    def _read_line(self) -> bytes:
        line: bytes = self._source.readline(CHUNK)
        if not line.endswith(b"\n"):
            raise ConnectionAbortedError("the client went away inside a body")
        return line.rstrip(b"\r\n")

    def drain(self) -> bool:
        """Read what nobody wanted, so that the next request can follow. False when the client waits to be asked."""
        if self._before and not self.is_read and not self._ended:
            return False
        while self.read(CHUNK):
            pass
        return True
