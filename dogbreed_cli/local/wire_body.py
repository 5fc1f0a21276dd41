"""The body that comes in (AWS's chunked signing format), and the response that goes out with one (a bounded file)."""

import io
import json
import re
from dataclasses import dataclass, field
from typing import Any

from dogbreed_cli.local.errors import AwsError

CHUNK = 1 << 20


def read_body(body: Any) -> bytes:
    """All of a request's body, which is bytes, text, a binary file or None."""
    if hasattr(body, "read"):
        body = body.read()
    return body.encode() if isinstance(body, str) else bytes(body or b"")


class ChunkedReader(io.RawIOBase):
    """The payload inside an `aws-chunked` body: `<hex size>[;signature]\\r\\n<data>\\r\\n ... 0\\r\\n<trailers>\\r\\n`.

    Any size of chunk passes through in pieces. Raises AwsError(IncompleteBody) for a body that is not whole.
    https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-streaming.html
    """

    def __init__(self, source: Any):
        self._source = source
        self._encoded = b""  # read from the source, not yet decoded
        self._left = 0  # of the chunk that is being read
        self._started, self._ended = False, False

    def readable(self) -> bool:
        return True

    def read(self, size: int | None = -1) -> bytes:
        if size is None or size < 0:
            return b"".join(iter(lambda: self.read(CHUNK), b""))
        if self._left == 0 and not self._ended and size:
            self._enter_chunk()
        if not self._encoded and self._left:
            self._fill()
        data = self._encoded[: min(size, self._left)]
        self._encoded, self._left = self._encoded[len(data) :], self._left - len(data)
        return data

    def readinto(self, buffer: Any) -> int:
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def _enter_chunk(self) -> None:
        if self._started and self._read_line():
            raise _incomplete("a chunk is longer than it says")
        self._started = True
        size = self._read_line().split(b";")[0]
        if not re.fullmatch(rb"[0-9a-fA-F]{1,15}", size):
            raise _incomplete("a chunk does not begin with its size")
        self._left = int(size, 16)
        if self._left == 0:
            # What follows are trailers (checksums). They are read to the end, so that a connection can be used again.
            while self._source.read(CHUNK):
                pass
            self._ended = True

    def _read_line(self) -> bytes:
        while b"\r\n" not in self._encoded:
            if len(self._encoded) > CHUNK:
                raise _incomplete("a chunk does not begin with its size")
            self._fill()
        line, self._encoded = self._encoded.split(b"\r\n", 1)
        return line

    def _fill(self) -> None:
        more = self._source.read(CHUNK)
        if not more:
            raise _incomplete("it ended inside a chunk")
        self._encoded += more


def _incomplete(reason: str) -> AwsError:
    return AwsError("IncompleteBody", f"The aws-chunked request body is not whole: {reason}.")


class ResponseBody(io.RawIOBase):
    """What botocore reads an answer from: `length` bytes of `source`, from where it stands, closed at the end."""

    def __init__(self, source: Any = b"", length: int | None = None):
        self.length = len(source) if isinstance(source, bytes) and length is None else length
        self._source = io.BytesIO(source) if isinstance(source, bytes) else source
        self._left = self.length

    def readable(self) -> bool:
        return True

    def read(self, size: int | None = -1) -> bytes:
        if self._source.closed:
            return b""
        if size is None or size < 0:
            size = -1 if self._left is None else self._left
        elif self._left is not None:
            size = min(size, self._left)
        data: bytes = self._source.read(size) if size else b""
        if self._left is not None:
            self._left -= len(data)
        if (size and not data) or self._left == 0:
            self._source.close()
        return data

    def readinto(self, buffer: Any) -> int:
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def stream(self, size: int = CHUNK, **_: Any) -> Any:
        """urllib3's name for reading on to the end; botocore calls it."""
        return iter(lambda: self.read(size), b"")

    def close(self) -> None:
        self._source.close()
        super().close()


@dataclass
class Response:
    """An HTTP response, not yet bound to a transport."""

    status: int
    headers: dict[str, str] = field(default_factory=dict)
    body: ResponseBody = field(default_factory=ResponseBody)

    def write_json(self, document: Any) -> None:
        self.body = ResponseBody(json.dumps(document).encode())

    def write_xml(self, element: str) -> None:
        self.body = ResponseBody(f'<?xml version="1.0" encoding="UTF-8"?>\n{element}'.encode())
