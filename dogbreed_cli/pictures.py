"""The images that `predict` sends: from files, folders, https URLs or standard input, as bytes and their type."""

from __future__ import annotations

import ipaddress
import socket
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from dogbreed_cli.errors import DogbreedError, UsageError

SUFFIXES = {".jpg", ".jpeg", ".png", ".webp"}
# What a real-time endpoint takes: https://docs.aws.amazon.com/sagemaker/latest/dg/realtime-endpoints.html
MAX_BYTES = 6_291_456
MAX_DOWNLOAD = 64 * 2**20
TIMEOUT_SECONDS = 20


@dataclass(frozen=True)
class Picture:
    name: str
    load: Callable[[], bytes]

    def read(self) -> tuple[bytes, str]:
        """The bytes to send and their content type, by content. Raises DogbreedError for what is no image."""
        data = self.load()
        content_type = sniff(data)
        if content_type is None:
            raise DogbreedError("no JPEG, PNG or WebP image" if data else "an empty file")
        return (data, content_type) if len(data) <= MAX_BYTES else (shrink(data), "image/jpeg")


def open_source(source: str) -> Iterator[Picture]:
    """Raises DogbreedError where there is nothing to read."""
    if source == "-":
        yield Picture("-", sys.stdin.buffer.read)
    elif "://" in source:
        yield Picture(source, lambda: download(source))
    else:
        yield from open_path(Path(source))


def open_path(path: Path) -> Iterator[Picture]:
    if path.is_dir():
        found = sorted(p for p in path.rglob("*") if p.suffix.lower() in SUFFIXES and not p.name.startswith("."))
        if not found:
            raise DogbreedError("a folder without images")
        yield from (Picture(str(file), file.read_bytes) for file in found)
    elif path.is_file():
        yield Picture(str(path), path.read_bytes)
    else:
        raise DogbreedError("no such file")


def sniff(data: bytes) -> str | None:
    if data.startswith(b"\xff\xd8\xff"):
        return "image/jpeg"
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return "image/png"
    return "image/webp" if data[:4] == b"RIFF" and data[8:12] == b"WEBP" else None


def shrink(data: bytes) -> bytes:
    """An image over the endpoint's limit as a smaller JPEG. The network looks at a few hundred pixels anyway."""
    import io

    from PIL import Image, ImageOps, UnidentifiedImageError

    try:
        with Image.open(io.BytesIO(data)) as opened:
            opened.draft("RGB", (2048, 2048))
            picture = ImageOps.exif_transpose(opened).convert("RGB")
    except (UnidentifiedImageError, OSError, Image.DecompressionBombError) as error:
        raise DogbreedError(f"cannot be decoded: {error}") from None
    picture.thumbnail((2048, 2048))
    out = io.BytesIO()
    picture.save(out, "JPEG", quality=90)
    return out.getvalue()


def download(url: str) -> bytes:
    """https only, to public addresses only, at most MAX_DOWNLOAD bytes. Raises DogbreedError."""
    import requests

    for _ in range(5):
        check_address(url)
        try:
            with requests.get(url, stream=True, timeout=TIMEOUT_SECONDS, allow_redirects=False) as response:
                if response.is_redirect:
                    url = requests.compat.urljoin(url, response.headers["Location"])
                    continue
                response.raise_for_status()
                data = response.raw.read(MAX_DOWNLOAD + 1, decode_content=True)
        except requests.RequestException as error:
            raise DogbreedError(f"cannot be fetched: {error}") from None
        if len(data) > MAX_DOWNLOAD:
            raise DogbreedError(f"larger than {MAX_DOWNLOAD >> 20} MB")
        return data
    raise DogbreedError("too many redirects")


def check_address(url: str) -> None:
    """A URL from somewhere must not make this machine ask its own network. Raises UsageError."""
    parts = urlsplit(url)
    if parts.scheme != "https" or not parts.hostname:
        raise UsageError("only https:// URLs are fetched", fix="download it, and give the file")
    try:
        found = socket.getaddrinfo(parts.hostname, parts.port or 443, proto=socket.IPPROTO_TCP)
    except OSError as error:
        raise DogbreedError(f"{parts.hostname} cannot be resolved: {error}") from None
    for entry in found:
        if not ipaddress.ip_address(entry[4][0]).is_global:
            raise UsageError(f"{parts.hostname} is on a private network", fix="download it, and give the file")
