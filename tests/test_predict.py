"""`predict` of many: in order into files, as they come onto the screen, asked again only where that can help."""

from __future__ import annotations

import csv
import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from conftest import Dogbreed, InProcess, clean_environment, wait_for
from json_documents import check_document, schemas, validator
from local_jobs import Machine
from PIL import Image
from serving_machine import document, invoke, serving_image, trained_in

from dogbreed_cli import answers
from dogbreed_cli.answers import Answer, draw

SLOW = 0  # for a status: 200 after three seconds
BEST = ({"label": "Beagle", "probability": 0.75},)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """A machine with an endpoint that says Beagle."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        folder = tmp_path_factory.mktemp("served")
        with trained_in(folder, serving_image(tmp_path_factory), monkeypatch) as machine:
            invoke("deploy")
            yield machine


# ---- files


def test_a_folder_s_answers_in_all_forms(served: Machine, dogs: Path) -> None:
    broken = served.folder / "broken.jpg"
    broken.write_text("no image")
    split = dogs / "test"
    found = document("predict", str(split), str(broken), "--csv", "a.csv", "--jsonl", "a.jsonl", code=1)["answers"]
    images = [*(str(path) for path in sorted(split.rglob("*.jpg"))), str(broken)]
    assert [one["image"] for one in found] == images
    lines = [json.loads(line) for line in Path("a.jsonl").read_text().splitlines()]
    assert lines == found
    form = schemas()["predict.json"]["properties"]["answers"]["items"]
    assert all(validator("predict.json").evolve(schema=form).is_valid(line) for line in lines)
    rows = list(csv.DictReader(Path("a.csv").read_text().splitlines()))
    assert [(row["image"], row["label"]) for row in rows] == [(name, "Beagle") for name in images[:-1]] + [
        (images[-1], "")
    ]


def test_the_screen_shows_answers_as_they_come_and_files_need_a_folder(served: Machine, dogs: Path) -> None:
    dog = next(dogs.rglob("*.jpg"))
    done = invoke("predict", str(dog), str(dog))
    assert done.stdout.count(f"{dog}  (") == 2
    assert "Beagle" in done.stdout
    assert "no folder" in invoke("predict", str(dog), "--jsonl", "nowhere/a", code=2).stderr


# ---- an endpoint by any name, and none


def test_an_endpoint_of_any_name(served: Machine, dogs: Path) -> None:
    dog = str(next(dogs.rglob("*.jpg")))
    assert document("predict", dog, "--endpoint", "dogbreed-endpoint")["answers"][0]["error"] is None
    failed = document("predict", dog, "--endpoint", "cats", code=1)
    assert ("no endpoint cats" in failed["error"], failed["answers"]) == (True, [])


# ---- what is asked again


class Runtime(BaseHTTPRequestHandler):
    """InvokeEndpoint, answered by the next of the server's script: (status, code, the container's status)."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        script: list[tuple[int, str, int]] = self.server.script  # type: ignore[attr-defined]
        self.server.asked += 1  # type: ignore[attr-defined]
        status, code, inner = script.pop(0) if script else (200, "", 200)
        said: dict[str, Any] = {"predictions": list(BEST)}
        if status == SLOW:
            time.sleep(3)
            status = 200
        if status != 200:
            said = {"__type": code, "Message": "said no", "OriginalStatusCode": inner, "OriginalMessage": "said no"}
        body = json.dumps(said).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        if status != 200:
            self.send_header("x-amzn-ErrorType", code)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        self.server.answered += 1  # type: ignore[attr-defined]

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def runtime() -> Iterator[Any]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Runtime)
    server.daemon_threads = True
    server.script, server.asked, server.answered = [], 0, 0  # type: ignore[attr-defined]
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def on_aws(runtime: Any, folder: Path) -> dict[str, str]:
    return {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{runtime.server_port}",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_CONFIG_FILE": str(folder / "none"),
        "DOGBREED_TARGET": "aws",
        "DOGBREED_AWS__REGION": "us-east-1",
    }


@pytest.mark.parametrize(
    ("said", "asked", "error"),
    [
        ((400, "ThrottlingException", 0), 2, None),
        ((503, "ServiceUnavailable", 0), 2, None),
        ((500, "InternalFailure", 0), 2, None),
        ((424, "ModelError", 503), 2, None),
        ((429, "ModelNotReadyException", 0), 2, None),
        ((424, "ModelError", 500), 1, "said no"),
        ((424, "ModelError", 415), 1, "said no"),
    ],
)
def test_throttling_and_what_is_busy_is_asked_again_and_nothing_else(
    said: tuple[int, str, int], asked: int, error: str | None, runtime: Any, tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.setattr(answers, "PAUSE_SECONDS", 0.01)
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    aws = InProcess(tmp_path, on_aws(runtime, tmp_path))
    runtime.script = [said]
    (answer,) = aws.json("predict", "a.png", code=1 if error else 0)["answers"]
    assert (answer["error"], runtime.asked) == (error, asked)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_what_came_before_ctrl_c_is_not_lost(number: int, code: int, runtime: Any, tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        Image.new("RGB", (8, 8)).save(tmp_path / name)
    runtime.script = [(200, "", 200), (SLOW, "", 200)]
    dogbreed = Dogbreed(tmp_path, on_aws(runtime, tmp_path))
    waiting = dogbreed.start("--json", "predict", "a.png", "b.png")
    wait_for(lambda: (runtime.asked, runtime.answered) == (2, 1))
    time.sleep(0.5)  # until it has read the one answer
    waiting.send_signal(number)
    out, said = waiting.communicate(timeout=60)
    found = json.loads(out)
    check_document(["predict"], found)
    assert (waiting.returncode, found["code"], found["error"]) == (code, code, "interrupted"), said
    assert [one["error"] for one in found["answers"]] == [None]


# ---- URLs of this machine's network

SITE = """
import http.server
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), http.server.SimpleHTTPRequestHandler)
print(server.server_port, flush=True)
server.serve_forever()
"""


def test_private_urls_only_when_said(served: Machine, dogs: Path) -> None:
    dog = next(dogs.rglob("*.jpg"))
    program = [sys.executable, "-c", SITE]
    site = subprocess.Popen(program, cwd=dog.parent, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        assert site.stdout
        url = f"http://127.0.0.1:{site.stdout.readline().strip()}/{dog.name}"
        refused = document("predict", url, f"https{url[4:]}", code=1)["answers"]
        assert "only https" in refused[0]["error"]
        assert "--allow-private" in refused[1]["error"]
        (answer,) = document("predict", url, "--allow-private")["answers"]
        assert (answer["image"], answer["error"]) == (url, None)
        assert (
            "fetched" in document("predict", "ftp://127.0.0.1/a.jpg", "--allow-private", code=1)["answers"][0]["error"]
        )
    finally:
        site.kill()
        site.wait()
        site.stdout.close()  # type: ignore[union-attr]


# ---- one image, one second


def test_predict_imports_only_what_it_needs(served: Machine, dogs: Path) -> None:
    program = (
        "import sys\nfrom dogbreed_cli.cli import main\n"
        f"try: main(['predict', {str(next(dogs.rglob('*.jpg')))!r}], prog_name='dogbreed')\n"
        "finally: print(*sys.modules, file=sys.stderr)"
    )
    environment = clean_environment(DOGBREED_HOME=str(served.home.root))
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    loaded = {name.split(".")[0] for name in done.stderr.split()}
    assert not loaded & {"PIL", "numpy", "requests", "sagemaker", "optuna", "sklearn", "matplotlib", "jinja2"}


# ---- how it is drawn


@pytest.mark.parametrize(("columns", "bar"), [(200, 24), (80, 24), (40, 21), (20, 4)])
def test_a_bar_fits_the_terminal(columns: int, bar: int) -> None:
    drawn = draw(Answer("a.jpg", BEST, 12.3), columns)
    assert drawn.splitlines()[0] == "a.jpg  (12 ms)"
    line = drawn.splitlines()[1]
    assert len(line) == len("  Beagle  ") + bar + len("  75.0%")
    assert len(line) <= max(columns, 21)
