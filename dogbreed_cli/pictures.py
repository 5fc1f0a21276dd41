"""The images that `predict` sends: from files, folders, https URLs or standard input, as bytes and their type."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from dogbreed_cli import image_files
from dogbreed_cli.errors import DogbreedError, UsageError
from dogbreed_cli.masking import hide_url, hide_urls

if TYPE_CHECKING:
    from requests import Response

SUFFIXES = set().union(*image_files.SUFFIXES.values())
# What every endpoint takes: a serverless one less than the 6 MiB of the others.
# https://docs.aws.amazon.com/sagemaker/latest/dg/serverless-endpoints.html
MAX_BYTES = 4_000_000
# Read into memory, whatever it is that somebody names.
MAX_READ = 64 * 2**20
SNIFFED = 12  # bytes that say what a file is
TIMEOUT_SECONDS, DOWNLOAD_SECONDS = 20, 120
MAX_REDIRECTS = 5
MAX_SIDE = 2048


@dataclass(frozen=True)
class Picture:
    name: str
    load: Callable[[], bytes]

    def read(self) -> tuple[bytes, str]:
        """The bytes to send and their content type, by content. Raises DogbreedError for what is no image."""
        try:
            data = self.load()
        except OSError as error:
            raise unreadable(error) from None
        if len(data) > MAX_READ:
            raise DogbreedError(f"larger than {MAX_READ >> 20} MB")
        content_type = sniff(data)
        if content_type is None:
            raise DogbreedError("no JPEG, PNG or WebP image" if data else "an empty file")
        return (data, content_type) if len(data) <= MAX_BYTES else (shrink(data), "image/jpeg")


Check = Callable[[str], None]  # of a URL, before it is asked for; raises DogbreedError


def open_source(source: str, check: Check | None = None) -> Iterator[Picture]:
    """Raises DogbreedError where there is nothing to read. `check` says which URLs are fetched: see `download`."""
    if source == "-":
        yield read_once("-", lambda: read(sys.stdin.buffer))
    elif "://" in source:
        yield Picture(hide_url(source), lambda: download(source, check))
    else:
        yield from open_path(Path(source))


def open_path(path: Path) -> Iterator[Picture]:
    if path.is_dir():
        found = sorted(file for name in image_files.list_files(str(path)) if is_image(file := Path(name)))
        if not found:
            raise DogbreedError("a folder without images")
        yield from (Picture(str(file), partial(read_file, file)) for file in found)
    elif path.is_file():
        yield Picture(str(path), partial(read_file, path))
    elif path.exists():
        yield read_once(str(path), partial(read_file, path))
    else:
        raise DogbreedError("no such file")


def read_once(name: str, load: Callable[[], bytes]) -> Picture:
    """Of a pipe or a device, which says what it says once: here, not in a thread, which Ctrl-C would not reach."""
    try:
        data = load()
    except OSError as error:
        raise unreadable(error) from None
    return Picture(name, lambda: data)


def unreadable(error: OSError) -> DogbreedError:
    return DogbreedError(f"cannot be read: {error.strerror or error}")


def is_image(file: Path) -> bool:
    """By its name, or by how it begins: `upload`, too, takes a JPEG without a suffix. Pipes are not waited for."""
    if not file.is_file():
        return False
    if file.suffix.lower() in SUFFIXES:
        return True
    try:
        with file.open("rb") as opened:
            return sniff(opened.read(SNIFFED)) is not None
    except OSError:
        return False


def read_file(path: Path) -> bytes:
    with path.open("rb") as file:
        return read(file)


def read(stream: BinaryIO) -> bytes:
    return stream.read(MAX_READ + 1)


def sniff(data: bytes) -> str | None:
    if data.startswith(b"\xff\xd8\xff"):
        return "image/jpeg"
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return "image/png"
    return "image/webp" if data[:4] == b"RIFF" and data[8:12] == b"WEBP" else None


def shrink(data: bytes) -> bytes:
    """An image over the endpoint's limit as a smaller JPEG. The network looks at a few hundred pixels anyway."""
    import io

    from PIL import Image

    from dogbreed_cli.image_reading import decode

    size, out = (MAX_SIDE, MAX_SIDE), io.BytesIO()
    try:
        with Image.open(io.BytesIO(data)) as opened:
            opened.draft("RGB", size)
            picture = decode(opened)
    except Exception as error:  # A decoder may raise anything on a broken file: OSError, ValueError, SyntaxError, ...
        raise DogbreedError(f"cannot be decoded: {error}") from None
    picture.thumbnail(size)
    picture.save(out, "JPEG", quality=90)
    return out.getvalue()


def download(url: str, check: Check | None = None) -> bytes:
    """By `check_address`, or `check`, asked for every redirect anew; at most MAX_READ. Raises DogbreedError.

    The name may resolve to another address a moment later; a host of a private network that then answers has no
    certificate for that name.
    """
    import requests

    end = time.monotonic() + DOWNLOAD_SECONDS
    check = check or check_address
    check(url)
    try:
        with request(url, check, TIMEOUT_SECONDS) as response:
            response.raise_for_status()
            data = bytearray()
            for chunk in response.iter_content(2**16):
                data += chunk
                if len(data) > MAX_READ:
                    raise DogbreedError(f"larger than {MAX_READ >> 20} MB")
                if time.monotonic() > end:
                    raise DogbreedError(f"not there after {DOWNLOAD_SECONDS} s")
            return bytes(data)
    except requests.TooManyRedirects as error:
        raise DogbreedError(str(error)) from None
    except (requests.RequestException, ValueError) as error:
        raise DogbreedError(f"cannot be fetched: {hide_urls(str(error))}") from None


def request(url: str, check: Check, timeout: float, headers: Mapping[str, str] | None = None) -> Response:
    """The answer, its body not yet read. The caller has checked `url`; `check` is asked for every redirect.

    Raises requests.RequestException, TooManyRedirects among them, and what `check` raises.
    """
    import requests

    for _ in range(1 + MAX_REDIRECTS):
        response = requests.get(url, headers=headers, stream=True, timeout=timeout, allow_redirects=False)
        if not response.is_redirect:
            return response
        response.close()
        url = requests.compat.urljoin(url, response.headers["Location"])
        check(url)
    raise requests.TooManyRedirects(f"more than {MAX_REDIRECTS} redirects")


def allow_any_address(url: str) -> None:
    """For who says so: this machine and its network, too, and by http. Raises UsageError for any other scheme."""
    if not url.startswith(("https://", "http://")):
        raise UsageError("only https:// and http:// URLs are fetched", fix="download it, and give the file")


def check_address(url: str) -> None:
    """https to a public address: a URL from somewhere must not make this machine ask its own network.

    Raises DogbreedError.
    """
    import ipaddress
    import socket
    from urllib.parse import urlsplit

    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port or 443
        if parts.scheme != "https" or not host:
            raise UsageError("only https:// URLs are fetched", fix="download it, and give the file")
        found = {entry[4][0] for entry in socket.getaddrinfo(host, port, proto=socket.IPPROTO_TCP)}
    except OSError as error:
        raise DogbreedError(f"{host} cannot be resolved: {error}") from None
    except ValueError:  # a port of 99999, a bracket without its partner, a name that no host can have
        raise UsageError(f"{hide_url(url)} is no URL") from None
    for text in found:
        address = ipaddress.ip_address(text)
        # 64:ff9b::/96 is the IPv4 internet seen through NAT64: what counts is the address inside.
        if address in ipaddress.ip_network("64:ff9b::/96"):
            address = ipaddress.ip_address(int(address) & 0xFFFFFFFF)
        address = getattr(address, "ipv4_mapped", None) or address
        if not address.is_global or address.is_multicast:
            raise UsageError(f"{host} is on a private network", fix="say --allow-private if you trust that URL")
