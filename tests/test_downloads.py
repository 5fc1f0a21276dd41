"""downloads.py against a server over HTTP that breaks off, changes its file, redirects and lies."""

import os
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from dogbreed_cli import downloads
from dogbreed_cli.cache import cache_folder
from dogbreed_cli.downloads import download
from dogbreed_cli.errors import DogbreedError, UsageError

CONTENT = bytes(range(256)) * 4000
PART = 4 * downloads.CHUNK


@dataclass
class Site:
    """What the server has and does; tests change it."""

    url: str = ""
    content: bytes = CONTENT
    tag: str = '"one"'
    breaks_after: list[int] = field(default_factory=list)  # bytes of the body, of one answer after the other
    knows_ranges: bool = True
    says_length: bool = True
    status: list[int] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)  # the Range of each request
    said: list[int] = field(default_factory=list)  # the status of each answer


@pytest.fixture
def site(tmp_path, monkeypatch) -> Iterator[Site]:
    monkeypatch.setenv("DOGBREED_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(downloads.time, "sleep", lambda seconds: None)
    site = Site()

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_):
            """Nothing."""

        def do_GET(self):
            if self.path.startswith("/moved"):
                self.send_response(302)
                self.send_header("Location", self.path.removeprefix("/moved") or "/moved")
                self.end_headers()
                return
            answer(self, site)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    site.url = f"http://127.0.0.1:{server.server_address[1]}/dogs.zip"
    yield site
    server.shutdown()
    server.server_close()


def answer(handler: BaseHTTPRequestHandler, site: Site) -> None:
    wanted = handler.headers.get("Range", "")
    site.asked.append(wanted)
    status, begin = 200, 0
    if site.status:
        status = site.status.pop(0)
    elif handler.headers.get("If-None-Match") == site.tag:
        status = 304
    elif site.knows_ranges and wanted and handler.headers.get("If-Range") == site.tag:
        status, begin = 206, int(wanted.removeprefix("bytes=").removesuffix("-"))
        status = 416 if begin >= len(site.content) else 206
    site.said.append(status)
    body = site.content[begin:] if status in (200, 206) else b""
    handler.send_response(status)
    handler.send_header("ETag", site.tag)
    if status == 206:
        handler.send_header("Content-Range", f"bytes {begin}-{len(site.content) - 1}/{len(site.content)}")
    if status == 416:
        handler.send_header("Content-Range", f"bytes */{len(site.content)}")
    if site.says_length:
        handler.send_header("Content-Length", str(len(body)))
    handler.end_headers()
    handler.wfile.write(body[: site.breaks_after.pop(0)] if site.breaks_after else body)


def get(site: Site, **options) -> bytes:
    return download(options.pop("url", site.url), check=lambda url: None, **options).read_bytes()


def test_a_broken_connection_goes_on_by_range(site):
    site.breaks_after = [PART, 0, PART]
    seen: list[tuple[int, int]] = []
    assert get(site, on_progress=lambda done, total: seen.append((done, total))) == CONTENT
    assert site.asked == ["", f"bytes={PART}-", f"bytes={PART}-", f"bytes={2 * PART}-"]
    assert seen == sorted(seen) and seen[-1] == (len(CONTENT), len(CONTENT))


def test_a_later_command_goes_on_and_the_next_fetches_nothing(site):
    site.breaks_after = [PART, *[0] * downloads.ATTEMPTS]
    with pytest.raises(DogbreedError, match="cannot be fetched") as caught:
        get(site)
    assert "goes on" in caught.value.fix
    site.asked.clear()
    site.breaks_after.clear()
    assert get(site) == CONTENT and site.asked == [f"bytes={PART}-"]
    assert get(site) == CONTENT and site.asked == [f"bytes={PART}-", ""]  # answered with 304


def test_what_is_asked_for_again_after_two_weeks_is_kept(site):
    get(site)
    (folder,) = (cache_folder() / "downloads").iterdir()
    os.utime(folder, (time.time() - 15 * 86_400,) * 2)
    assert get(site) == CONTENT and site.said == [200, 304]


def test_a_file_that_changed_meanwhile_is_fetched_anew(site):
    site.breaks_after = [PART, *[0] * downloads.ATTEMPTS]
    with pytest.raises(DogbreedError):
        get(site)
    site.content, site.tag = CONTENT[::-1], '"two"'
    site.breaks_after.clear()
    assert get(site) == CONTENT[::-1]
    site.content, site.tag = b"short", '"three"'
    assert get(site) == b"short"


def test_a_server_without_ranges_sends_all_again(site):
    site.knows_ranges, site.breaks_after = False, [PART]
    assert get(site) == CONTENT


def test_killed_between_the_last_byte_and_the_renaming(site):
    get(site)
    (whole,) = (cache_folder() / "downloads").glob("*/archive")
    whole.rename(whole.with_name("part"))
    assert get(site) == CONTENT and site.asked == ["", f"bytes={len(CONTENT)}-"]


@pytest.mark.parametrize("says_length", [True, False])
def test_size_limit(site, says_length):
    site.says_length = says_length
    with pytest.raises(DogbreedError, match="too large"):
        get(site, max_bytes=100_000)
    assert not list((cache_folder() / "downloads").glob("*/archive"))


def test_a_new_file_that_is_too_large_does_not_leave_its_tag_to_the_old_one(site):
    get(site)
    site.content, site.tag, site.says_length = CONTENT[::-1], '"two"', False
    for _ in range(2):
        with pytest.raises(DogbreedError, match="too large"):
            get(site, max_bytes=100_000)
    assert get(site) == CONTENT[::-1]


def test_a_part_of_what_is_shorter_now_does_not_leave_its_tag_to_the_old_one(site):
    get(site)
    site.content, site.tag, site.breaks_after = CONTENT[::-1], '"two"', [PART, *[0] * downloads.ATTEMPTS]
    with pytest.raises(DogbreedError, match="cannot be fetched"):
        get(site)
    site.content, site.breaks_after = b"short", []
    assert get(site) == b"short" and site.said[-2:] == [416, 200]


def test_a_busy_server_is_asked_again_and_a_missing_file_is_not(site):
    site.status = [503, 429]
    assert get(site) == CONTENT
    site.asked.clear()
    site.status = [404]
    with pytest.raises(DogbreedError, match="cannot be fetched"):
        get(site, url=site.url + "?other")
    assert len(site.asked) == 1


def test_each_redirect_is_checked(site):
    checked: list[str] = []
    base = site.url.removesuffix("/dogs.zip")
    assert download(f"{base}/moved/dogs.zip", check=checked.append).read_bytes() == CONTENT
    assert checked == [f"{base}/moved/dogs.zip", f"{base}/dogs.zip"]
    with pytest.raises(DogbreedError, match="cannot be fetched"):
        get(site, url=f"{base}/moved")


@pytest.mark.parametrize("url", ["http://example.org/a.zip", "ftp://example.org/a.zip", "https://127.0.0.1/a.zip"])
def test_only_https_and_public_addresses(site, url):
    with pytest.raises(UsageError):
        download(url)
