"""`dogbreed local serve` itself: it starts, says where it is, keeps strangers out, ends what it answers, ends."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import Dogbreed, clean_environment, wait_for
from local_jobs import machine_in
from local_server import open_client, send, serving
from served import Served, serve

from dogbreed_cli.local import Home
from dogbreed_cli.local.http_server import Server


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("served")) as server:
        yield server


# ---- the command


def test_it_says_where_it_is_and_ends_on_sigterm(tmp_path: Path) -> None:
    with serve(Home(tmp_path)) as served:
        idle = http.client.HTTPConnection("127.0.0.1", int(served.url.rpartition(":")[2]), timeout=60)
        idle.request("GET", "/")
        assert b"ListAllMyBucketsResult" in idle.getresponse().read()  # and the connection stays open
        wait_for(lambda: ("s3:ListBuckets", 200) in served.calls)
        assert served.end() == 0
    said = "".join(served.lines)
    assert f"export AWS_ENDPOINT_URL={served.url}\n" in said
    assert "export AWS_ACCESS_KEY_ID=local\n" in said
    assert "Signatures are not checked; only this machine can reach it" in said
    assert "Traceback" not in said
    idle.close()


def test_ctrl_c_is_the_normal_end_and_json_is_one_document(dogbreed: Dogbreed) -> None:
    process = dogbreed.start("--json", "local", "serve", "--port", "0")
    assert process.stdout
    lines: list[str] = []
    while not lines or lines[-1] != "}\n":
        lines.append(process.stdout.readline())
    document = json.loads("".join(lines))
    assert document["environment"]["AWS_ENDPOINT_URL"] == document["url"]
    with urllib.request.urlopen(document["url"], timeout=60) as answer:
        assert answer.status == 200
    process.send_signal(signal.SIGINT)
    rest, errors = process.communicate(timeout=60)
    assert (process.returncode, rest) == (0, "")
    assert "Traceback" not in errors


def test_a_port_that_is_taken_is_said(dogbreed: Dogbreed, server: Server) -> None:
    error = dogbreed.json("local", "serve", "--port", str(server.server_address[1]), code=1)
    assert error["error"] == f"port {server.server_address[1]} cannot be had"
    assert "--port 0" in error["fix"]


def test_a_home_that_cannot_be_written_is_not_the_port_s_fault(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o500)
    command = [sys.executable, "-m", "dogbreed_cli", "local", "serve", "--port", "0"]
    if os.geteuid() == 0:  # who may write everywhere, as long as he has this
        if not shutil.which("setpriv"):
            pytest.skip("root may write everywhere")
        command = ["setpriv", "--bounding-set", "-dac_override", *command]
    environment = clean_environment(DOGBREED_HOME=str(closed / "home"))
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert f"cannot keep its things in {closed / 'home'}\n  why: Permission denied" in done.stderr


def test_what_runs_goes_on_and_is_found_again(tmp_path: Path) -> None:
    go = tmp_path / "go"
    script = f"import pathlib, time\nwhile not pathlib.Path({str(go)!r}).exists(): time.sleep(0.05)\nprint('gone on')\n"
    with machine_in(tmp_path) as machine:
        name = "dogbreed-train-1"
        with serve(machine.home) as served:
            served.client("s3").create_bucket(Bucket="dogbreed-local")
            served.client("sagemaker").create_training_job(**machine.training(name, script))
            wait_for(lambda: machine.describe(name)["SecondaryStatus"] == "Training")
            assert served.end() == 0
        assert machine.processes()
        with serve(machine.home) as served:
            client = served.client("sagemaker")
            assert client.describe_training_job(TrainingJobName=name)["TrainingJobStatus"] == "InProgress"
            go.touch()
            wait_for(lambda: client.describe_training_job(TrainingJobName=name)["TrainingJobStatus"] == "Completed")


def test_it_ends_what_it_answers_before_it_ends(tmp_path: Path) -> None:
    server = Server(Home(tmp_path / "home"))
    asked = threading.Event()

    class Slow:
        def get_caller_identity(self, request: dict[str, Any]) -> dict[str, Any]:
            asked.set()
            time.sleep(0.5)
            return {"Account": "1"}

    server.services["sts"] = Slow()
    serving = threading.Thread(target=server.serve_forever)
    serving.start()
    answers: list[Any] = []
    client = open_client(server, "sts")
    asking = threading.Thread(target=lambda: answers.append(client.get_caller_identity()["Account"]))
    asking.start()
    assert asked.wait(60)
    server.shutdown()
    server.finish(seconds=60)
    assert server.answering == 0
    asking.join(60)
    serving.join(60)
    assert answers == ["1"]


def test_served_reads_the_lines_of_v() -> None:
    served = Served(None, "", Home(Path()), ["sagemaker:ListModels 200\n", "warning: x\n", "s3:GetObject 404\n"])  # type: ignore[arg-type]
    assert served.calls == [("sagemaker:ListModels", 200), ("s3:GetObject", 404)]
    assert served.operations == {"sagemaker:ListModels", "s3:GetObject"}


# ---- who may ask


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "evil.example"},
        {"Host": "127.0.0.1.evil.example:8787"},
        {"Host": "localhost.evil.example"},
        {"Host": "169.254.169.254"},
        {"Host": ""},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},  # an <img> of a page
        {"Sec-Fetch-Site": "same-site"},  # of another server on localhost
    ],
)
def test_pages_and_rebound_names_are_refused(server: Server, headers: dict[str, str]) -> None:
    status, answered, _ = send(server, "PUT", "/stranger", b"", **headers)
    assert (status, answered["connection"]) == (403, "close")
    assert send(server, "HEAD", "/stranger")[0] == 404
    assert "access-control-allow-origin" not in answered


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost:8787", "LOCALHOST", "[::1]:1", "s3.localhost:80"])
def test_our_own_names_are_not(server: Server, host: str) -> None:
    assert send(server, "GET", "/", Host=host)[0] != 403


@pytest.mark.parametrize("site", ["none", "same-origin"])
def test_an_address_that_somebody_typed_into_a_browser_is_answered(server: Server, site: str) -> None:
    assert send(server, "GET", "/", **{"Sec-Fetch-Site": site})[0] == 200


def test_it_listens_on_this_machine_only(server: Server) -> None:
    assert server.socket.getsockname()[0] == "127.0.0.1"
