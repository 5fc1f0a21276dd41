"""The body that comes in (AWS's chunked signing format), and the response that goes out with one (a bounded file)."""

import io
import json
from dataclasses import dataclass, field
from typing import Any

CHUNK = 1 << 20


def read_body(body: Any) -> bytes:
    """All of a request's body, which is bytes, text, a binary file or None."""
    if hasattr(body, "read"):
        body = body.read()
    return body.encode() if isinstance(body, str) else bytes(body or b"")


class ChunkedReader(io.RawIOBase):
    """The payload inside an `aws-chunked` body: `<hex size>[;signature]\\r\\n<data>\\r\\n ... 0\\r\\n<trailers>\\r\\n`.

    https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-streaming.html
    """

    def __init__(self, source: Any):
        self._source = source
        self._encoded = b""
        self._chunk = b""
        self._ended = False

    def readable(self) -> bool:
        return True

    def read(self, size: int | None = -1) -> bytes:
        if size is None or size < 0:
            return b"".join(iter(lambda: self.read(CHUNK), b""))
        if not self._chunk and not self._ended:
            self._chunk = self._decode_chunk()
        data, self._chunk = self._chunk[:size], self._chunk[size:]
        return data

    def readinto(self, buffer: Any) -> int:
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def _decode_chunk(self) -> bytes:
        while b"\r\n" not in self._encoded:
            self._fill()
        line, self._encoded = self._encoded.split(b"\r\n", 1)
        size = int(line.split(b";")[0], 16)
        if size == 0:
            # What follows are trailers (checksums). They are read to the end, so that a connection can be used again.
            while self._source.read(CHUNK):
                pass
            self._ended = True
            return b""
        while len(self._encoded) < size + 2:
            self._fill()
        data, self._encoded = self._encoded[:size], self._encoded[size + 2 :]
        return data

    def _fill(self) -> None:
        more = self._source.read(CHUNK)
        if not more:
            raise ValueError("an aws-chunked body ended inside a chunk")
        self._encoded += more


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
