"""Fetch one large file over https into the cache folder, going on where an earlier attempt stopped.

archive = download("https://example.org/dogImages.zip")

The file is asked for in one piece; when the connection breaks, the rest by Range, and If-Range makes sure that it is
the rest of the same file. A download that is whole stays for two weeks and is asked for again with its ETag.
"""

import fcntl
import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dogbreed_cli.cache import cache_folder, forget_unused
from dogbreed_cli.errors import DogbreedError
from dogbreed_cli.masking import hide_url, hide_urls
from dogbreed_cli.pictures import MAX_REDIRECTS, check_address, request

if TYPE_CHECKING:
    from requests import Response

MAX_BYTES = 32 * 2**30
TIMEOUT_SECONDS = 30
ATTEMPTS = 4  # in a row that bring nothing
CHUNK = 1 << 16  # bytes; what has come of one when a connection breaks is fetched again
KEPT_DAYS = 14


def download(
    url: str,
    *,
    on_progress: Callable[[int, int], None] | None = None,
    check: Callable[[str], None] = check_address,
    max_bytes: int = MAX_BYTES,
) -> Path:
    """https only, to public addresses only (`check`, for every redirect anew). Raises DogbreedError or UsageError."""
    check(url)
    folder = cache_folder() / "downloads" / hashlib.sha256(url.encode()).hexdigest()[:32]
    folder.mkdir(parents=True, exist_ok=True)
    os.utime(folder)  # first, or a folder that was not used for so long would go, too
    forget_unused(folder.parent, KEPT_DAYS)
    with locked(folder):
        return fetch(url, folder / "part", folder / "archive", on_progress, check, max_bytes)


def fetch(
    url: str,
    part: Path,
    whole: Path,
    on_progress: Callable[[int, int], None] | None,
    check: Callable[[str], None],
    max_bytes: int,
) -> Path:
    failures = 0
    while True:
        before = size_of(part)
        try:
            with ask(url, part, whole, check) as answer:
                if answer.status_code in (304, 416):
                    return whole
                receive(answer, url, part, whole, on_progress, max_bytes)
            part.replace(whole)
            return whole
        except ConnectionError as error:
            failures = 0 if size_of(part) > before else failures + 1
            if failures >= ATTEMPTS:
                raise DogbreedError(
                    f"{hide_url(url)} cannot be fetched.",
                    hide_urls(str(error)),
                    "Run the command again: it goes on where it stopped.",
                ) from None
            time.sleep(min(2**failures - 1, 10))


def ask(url: str, part: Path, whole: Path, check: Callable[[str], None]) -> "Response":
    """The answer to a request for what is missing. Raises ConnectionError for what may be better in a moment."""
    import requests

    tag, headers = read_tag(part), {"Accept-Encoding": "identity"}
    if part.exists() and tag:
        headers |= {"Range": f"bytes={size_of(part)}-", "If-Range": tag}
    elif whole.exists() and tag:
        headers |= {"If-None-Match" if tag.startswith('"') else "If-Modified-Since": tag}
    try:
        answer = request(url, check, TIMEOUT_SECONDS, headers)
    except requests.TooManyRedirects:
        raise DogbreedError(
            f"{hide_url(url)} cannot be fetched.", f"It redirects more than {MAX_REDIRECTS} times."
        ) from None
    except requests.exceptions.SSLError as error:
        raise DogbreedError(f"{hide_url(url)} cannot be trusted.", hide_urls(str(error))) from None
    except requests.RequestException as error:
        raise ConnectionError(str(error)) from None
    if answer.status_code in (429, 500, 502, 503, 504):
        raise ConnectionError(f"the server says {answer.status_code}")
    if answer.status_code == 416:  # nothing is missing, unless what is there is another file
        if answer.headers.get("Content-Range") != f"bytes */{size_of(part)}":
            part.unlink()
            raise ConnectionError("the file has changed there")
        part.replace(whole)
    elif answer.status_code not in (200, 206, 304):
        raise DogbreedError(f"{hide_url(answer.url)} cannot be fetched.", f"The server says {answer.status_code}.")
    return answer


def receive(
    answer: "Response",
    url: str,
    part: Path,
    whole: Path,
    on_progress: Callable[[int, int], None] | None,
    max_bytes: int,
) -> None:
    """Write the answer's body behind what is there. Raises ConnectionError when it ends early."""
    import requests
    import urllib3

    begin, total = read_length(answer, size_of(part))
    free = shutil.disk_usage(part.parent).free
    most = min(max_bytes, begin + free)
    if total is not None and total > most:
        refuse_size(url, f"It has {total:,} bytes; {most:,} are allowed, or free.")
    if not begin:  # another version, it may be: its tag must not stand beside what is left of an earlier one
        part.unlink(missing_ok=True)
        whole.unlink(missing_ok=True)
        write_tag(part, answer)
    done = begin
    try:
        with part.open("r+b" if begin else "wb") as file:
            file.seek(begin)
            for chunk in answer.iter_content(CHUNK):
                done += len(chunk)
                if done > most:
                    part.unlink()
                    refuse_size(url, f"It has more than {most:,} bytes.")
                file.write(chunk)
                if on_progress:
                    on_progress(done, total or done)
    except (requests.RequestException, urllib3.exceptions.HTTPError) as error:
        raise ConnectionError(str(error)) from None
    if total is not None and done != total:
        raise ConnectionError(f"{done:,} of {total:,} bytes came")


def read_length(answer: "Response", have: int) -> tuple[int, int | None]:
    """Where the body begins and how long the whole file is. Raises ConnectionError for another place than asked for."""
    if answer.status_code == 206:
        begin, _, rest = answer.headers.get("Content-Range", "").removeprefix("bytes ").partition("-")
        total = rest.partition("/")[2]
        if begin != str(have):
            raise ConnectionError("the server sent another part than was asked for")
        return have, int(total) if total.isdecimal() else None
    length = answer.headers.get("Content-Length", "")
    return 0, int(length) if length.isdecimal() else None


def refuse_size(url: str, why: str) -> Any:
    raise DogbreedError(f"{hide_url(url)} is too large.", why, "Fetch and unpack it yourself, and give the folder.")


def write_tag(part: Path, answer: "Response") -> None:
    """What names this version of the file; a weak ETag cannot, says RFC 9110, 13.1.5."""
    tag = answer.headers.get("ETag", "")
    tag = "" if tag.startswith("W/") else tag
    (part.parent / "version.json").write_text(json.dumps(tag or answer.headers.get("Last-Modified", "")))


def read_tag(part: Path) -> str:
    try:
        return str(json.loads((part.parent / "version.json").read_text()))
    except (OSError, ValueError):
        return ""


def size_of(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Two commands that fetch one address take turns; the second finds what the first fetched."""
    with (folder / "lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # given up with the file, also by a kill
        yield
