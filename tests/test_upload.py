"""`dogbreed upload` on archives and with findings: the table, the JSON, the page, --strict."""

import shutil
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from html.parser import HTMLParser
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import psutil
import pytest
from conftest import Dogbreed, InProcess
from json_documents import schemas
from packed import pack_tar, pack_zip

from dogbreed_cli.breeds import draw_breeds
from dogbreed_cli.data_report import MOST_FILES
from dogbreed_cli.image_findings import FAULTS
from dogbreed_cli.images import scan


@pytest.fixture
def dogs(tmp_path: Path) -> Path:
    draw_breeds(tmp_path / "dogs", seed=3, counts={"train": 3, "valid": 1, "test": 1}, size=(64, 64))
    return tmp_path / "dogs"


@pytest.fixture
def dogbreed(tmp_path: Path) -> InProcess:
    (tmp_path / "work").mkdir()
    return InProcess(tmp_path / "work", {"DOGBREED_CACHE": str(tmp_path / "cache")})


def spoil(dogs: Path) -> None:
    shutil.copy(dogs / "train/016.Beagle/Beagle_00001.jpg", dogs / "test/016.Beagle/<b>seen.jpg")
    (dogs / "train/016.Beagle/empty.jpg").touch()
    for n in range(MOST_FILES + 7):
        (dogs / f"train/016.Beagle/{n}.txt").write_text("a note")


def test_a_folder_and_its_archives_are_one_data_set(dogbreed: InProcess, dogs: Path, tmp_path: Path) -> None:
    first = dogbreed.json("upload", str(dogs))
    assert first["sent"] == 30 and first["findings"] == []
    for archive in (pack_zip(dogs, tmp_path / "d.zip"), pack_tar(dogs, tmp_path / "d.tgz", "w:gz")):
        again = dogbreed.json("upload", str(archive))
        assert (again["sent"], again["unchanged"], again["fingerprint"]) == (0, 30, first["fingerprint"])


def test_what_is_no_data_set(dogbreed: InProcess, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no archive")
    assert "no archive" in dogbreed.run("upload", str(tmp_path / "notes.txt"), code=2).stderr
    assert "https" in dogbreed.run("upload", "http://example.org/a.zip", code=2).stderr
    assert "private" in dogbreed.run("upload", "https://127.0.0.1/a.zip", code=2).stderr
    # Before anybody asks for credentials, of which there are none.
    assert "There is no folder" in dogbreed.run("--target", "aws", "upload", "nowhere", code=2).stderr
    assert not (dogbreed.folder / "data-report.html").exists()


def test_what_is_wrong_with_an_archive_is_said_of_the_archive(dogbreed: InProcess, dogs: Path, tmp_path: Path) -> None:
    (tmp_path / "notes/train/beagle").mkdir(parents=True)
    (tmp_path / "notes/train/beagle/1.jpg").write_text("no image")
    empty = pack_zip(tmp_path / "notes", tmp_path / "empty.zip")
    said = dogbreed.json("upload", str(empty), code=2)
    assert said["error"] == f"There is no readable image in {empty}."
    shutil.rmtree(dogs / "train")
    untrained = pack_tar(dogs, tmp_path / "untrained.tar", "w")
    assert f"{untrained}/dogImages has test" in dogbreed.json("upload", str(untrained), code=2)["error"]
    cut = pack_tar(dogs, tmp_path / "cut.tgz", "w:gz")
    cut.write_bytes(cut.read_bytes()[:-99])
    with serve_folder(tmp_path) as url:
        said = dogbreed.json("upload", f"{url}/cut.tgz?key=secret", "--allow-private", code=1)
    assert said["error"] == f"{url}/cut.tgz cannot be unpacked."


def test_an_archive_behind_a_url(dogbreed: InProcess, dogs: Path, tmp_path: Path) -> None:
    first = dogbreed.json("upload", str(dogs))
    pack_zip(dogs, tmp_path / "d.zip")
    with serve_folder(tmp_path) as url:
        assert "--allow-private" in dogbreed.json("upload", f"{url}/d.zip".replace("http", "https"), code=2)["fix"]
        again = dogbreed.json("upload", f"{url}/d.zip?key=secret", "--allow-private")
        assert (again["sent"], again["fingerprint"]) == (0, first["fingerprint"])
    page = Path(again["report"]).read_text()
    assert "/d.zip" in page and "secret" not in page


@contextmanager
def serve_folder(folder: Path) -> Iterator[str]:
    handler = partial(SimpleHTTPRequestHandler, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


def test_findings_as_table_and_json(dogbreed: InProcess, dogs: Path) -> None:
    spoil(dogs)
    found = {finding["kind"]: finding for finding in dogbreed.json("upload", str(dogs))["findings"]}
    assert set(found) == {"empty", "foreign", "leak"}
    assert found["leak"]["groups"] == [["test/016.Beagle/<b>seen.jpg", "train/016.Beagle/Beagle_00001.jpg"]]
    assert len(found["foreign"]["files"]) == MOST_FILES + 7
    table = dogbreed.run("upload", str(dogs)).stderr
    assert "leak" in table and "Beagle_00001.jpg" in table and f"and {MOST_FILES + 4} more" in table
    told = dogbreed.run("-v", "upload", str(dogs)).stderr
    assert sum("  foreign: " in line for line in told.splitlines()) == MOST_FILES + 7
    quiet = dogbreed.run("-q", "upload", str(dogs)).stderr
    assert quiet.count("warning: ") == 2 == len(quiet.splitlines())


def test_the_schema_knows_every_fault_of_a_file() -> None:
    finding = schemas()["upload.json"]["properties"]["findings"]["items"]
    assert set(FAULTS) < set(finding["properties"]["kind"]["enum"])


def test_strict_sends_nothing_but_writes_the_page(dogbreed: InProcess, dogs: Path) -> None:
    spoil(dogs)
    said = dogbreed.json("upload", str(dogs), "--strict", code=2)
    assert "2 findings" in said["error"] and said["fix"]
    assert not list(dogbreed.folder.rglob("*.jpg")) and (dogbreed.folder / "data-report.html").exists()


class Page(HTMLParser):
    """What a browser would fetch, and whether every element is closed."""

    VOID = ("meta", "link", "br", "wbr", "img", "hr")

    def __init__(self, text: str):
        super().__init__()
        self.open: list[str] = []
        self.fetched: list[str] = []
        self.tags: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.add(tag)
        self.fetched += [
            value for name, value in attributes if name in ("src", "data") or (tag, name) == ("link", "href")
        ]
        self.open += [tag] if tag not in self.VOID else []

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_the_page_is_one_offline_file_with_everything(dogbreed: InProcess, dogs: Path) -> None:
    spoil(dogs)
    dogbreed.run("upload", str(dogs), "--report", "pages/found.html")
    text = (dogbreed.folder / "pages/found.html").read_text()
    page = Page(text)
    assert page.open == [] and page.fetched == [] and not page.tags & {"b", "script"}
    for finding in scan(dogs).findings:
        assert finding.message in text
    assert "test/016.Beagle/&lt;b&gt;seen.jpg = train/016.Beagle/Beagle_00001.jpg" in text
    assert "and 7 more" in text and "2 findings to look at" in text and "016.Beagle" in text


def test_one_image_is_one_image(dogbreed: InProcess, dogs: Path) -> None:
    dogbreed.run("upload", str(dogs))
    (dogs / "train/016.Beagle/more.jpg").write_bytes((dogs / "train/016.Beagle/Beagle_00001.jpg").read_bytes())
    said = dogbreed.run("upload", str(dogs))
    assert ": 1 image (" in said.stderr and "sent 1 image (" in said.stdout


def test_a_clean_folder_says_so(dogbreed: InProcess, dogs: Path) -> None:
    assert dogbreed.run("upload", str(dogs)).stderr.count("warning") == 0
    assert "nothing to mend" in (dogbreed.folder / "data-report.html").read_text()


def test_ctrl_c_ends_it_at_once_with_all_its_processes(dogs: Path, tmp_path: Path) -> None:
    for n in range(3000):  # more than are read before it is told to end
        (dogs / f"train/016.Beagle/more_{n}.jpg").hardlink_to(dogs / "train/016.Beagle/Beagle_00001.jpg")
    upload = Dogbreed(tmp_path, {"DOGBREED_CACHE": str(tmp_path / "cache")}).start("upload", str(dogs))
    while not (readers := psutil.Process(upload.pid).children()):
        time.sleep(0.02)
    time.sleep(0.2)  # one that is just being started is not known yet: it ends by itself, when nothing more comes
    upload.send_signal(signal.SIGINT)
    _, said = upload.communicate(timeout=60)
    assert upload.returncode == 130
    assert "it goes on where it stopped" in said and "Traceback" not in said
    assert not [reader for reader in readers if is_alive(reader)]


def is_alive(process: psutil.Process) -> bool:
    """Not merely unreaped: a container's first process takes its time with the children of others."""
    with suppress(psutil.NoSuchProcess):
        return process.status() != psutil.STATUS_ZOMBIE
    return False
