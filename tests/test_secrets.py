"""Planted secrets, many commands, and a search through all that they said: nothing may hold one.

What jobs say and leave behind is looked through in test_pipeline.py, which has some.
"""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from click.testing import CliRunner
from conftest import PLANTED, SECRETS, SMALL
from failing_aws import failing_aws

from dogbreed_cli.cli import BESIDE, PIPELINE, cli
from dogbreed_cli.config import combine
from dogbreed_cli.console import Console
from dogbreed_cli.endpoint_requests import environment
from dogbreed_cli.errors import DogbreedError
from dogbreed_cli.masking import hide_secrets, hide_url, hide_urls, hide_values
from dogbreed_cli.pictures import download, open_source
from dogbreed_cli.source import find_entrypoints, pack
from dogbreed_cli.waiting import command_line

# Nobody listens on port 9: what is sent to it fails, and its errors like to repeat what they were given.
PROXY = f"http://user:{PLANTED}proxy-password@127.0.0.1:9"
SIGNED = f"X-Amz-Credential={PLANTED}credential&X-Amz-Signature={PLANTED}signature'(1)#{PLANTED}fragment"


@dataclass
class Session:
    """A folder, an environment full of secrets, and all that the commands there have said."""

    folder: Path
    said: list[tuple[tuple[str, ...], str]] = field(default_factory=list)

    def run(self, *arguments: str, code: int = 0, **environment: str) -> str:
        with pytest.MonkeyPatch.context() as patch:
            for name, value in environment.items():
                patch.setenv(name, value)
            result = CliRunner().invoke(cli, list(arguments))
        self.said.append((arguments, result.output))
        assert result.exit_code == code, result.output
        return result.output


@pytest.fixture(scope="module")
def session(dogs: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Session]:
    """The dogs uploaded; no job. test_pipeline.py looks for secrets in what jobs leave and say."""
    folder = tmp_path_factory.mktemp("secrets")
    for place in (folder, folder / "entrypoints", folder / "code"):
        place.mkdir(exist_ok=True)
        (place / ".env").write_text(f"AWS_SECRET_ACCESS_KEY={PLANTED}dotenv\nDOGBREED_TRAIN__EPOCHS=99\n")
        (place / "config.toml").write_text(f'[train]\nepochs = 1\n[train.environment]\nFILE_TOKEN = "{PLANTED}file"\n')
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for name, value in {**SMALL, **SECRETS}.items():
            patch.setenv(name, value)
        session = Session(folder)
        session.run("upload", str(dogs))
        yield session


# ---- what the commands say


def test_help_settings_and_requests_show_names_and_no_values(session: Session) -> None:
    for command in (*PIPELINE, *BESIDE):
        session.run(command, "--help")
    for option in ((), ("--json",)):
        shown = session.run(*option, "--set", f"train.environment.FLAG_TOKEN={PLANTED}flag", "init", "--print")
        assert all(name in shown for name in ("HF_TOKEN", "FILE_TOKEN", "FLAG_TOKEN", "***"))
        shown = session.run(*option, "train", "--dry-run")
        assert '"HF_TOKEN": "***"' in shown and '"sagemaker_program"' in shown
        session.run(*option, "tune", "--dry-run")


def test_a_hint_how_to_go_on_repeats_no_secret() -> None:
    for secret in (f".environment.T={PLANTED}1", f"={{epochs = 3, environment = {{T = '{PLANTED}1'}}}}"):
        given = ["--set", "train.epochs=2", "--set", f"train{secret}", "train"]
        with cli.make_context("dogbreed", given, obj=Console()):
            assert command_line("train", "--attach", "j") == "dogbreed --set train.epochs=2 train --attach j"


def test_the_code_that_is_sent_holds_no_secret(session: Session) -> None:
    session.run("train", "--dry-run")
    assert PLANTED.encode() not in gzip.decompress(pack(find_entrypoints()))


@pytest.mark.parametrize(
    "arguments",
    [
        ("--set", f"train.environment.HF-TOKEN={PLANTED}1", "status"),
        ("--set", f"train.environment.X=['{PLANTED}1']", "status"),
        ("--set", f"train.environment={PLANTED}1", "status"),
        ("--set", f"train=environment.HF_TOKEN={PLANTED}1", "status"),
        ("--set", f"aws.secret_access_key={PLANTED}1", "status"),
        ("--set", f"local.s3_endpoint=http://user:{PLANTED}1@127.0.0.1:9000", "status"),
        ("--config", "broken.toml", "status"),
        ("logs", "nosuch"),
        ("train", "--attach", "nosuch"),
        ("train", "--name", "bad name"),
    ],
    ids=lambda it: " ".join(it).replace(PLANTED, ""),
)
def test_errors_repeat_no_secret(session: Session, arguments: tuple[str, ...]) -> None:
    (session.folder / "broken.toml").write_text(f'[train]\nenvironment = {{HF_TOKEN = "{PLANTED}toml" oops}}\n')
    for option in ((), ("--json",)):
        result = CliRunner().invoke(cli, [*option, *arguments])
        session.said.append((arguments, result.output))
        assert result.exit_code not in (0, 130), result.output
    (session.folder / "broken.toml").unlink()


@pytest.mark.parametrize("value", [f"{PLANTED}text", f'["{PLANTED}list"]', f'{{"A": ["{PLANTED}nested"]}}'])
def test_an_environment_variable_that_cannot_be_read_is_not_repeated(session: Session, value: str) -> None:
    for variable in ("DOGBREED_TRAIN", "DOGBREED_TRAIN__ENVIRONMENT"):
        session.run("status", code=2, **{variable: value})


def test_errors_of_aws_repeat_no_secret(session: Session) -> None:
    aws = {"AWS_MAX_ATTEMPTS": "1", "AWS_CONFIG_FILE": "none", "DOGBREED_TARGET": "aws",
           "DOGBREED_AWS__REGION": "us-east-1", "AWS_EC2_METADATA_DISABLED": "true"}  # fmt: skip
    with failing_aws() as failing:
        failing.status, failing.code = 403, "AccessDeniedException"
        session.run("status", code=4, AWS_ENDPOINT_URL=failing.url, NO_PROXY="127.0.0.1", **aws)
        assert failing.asked
    session.run("status", code=1, HTTPS_PROXY=PROXY, **aws)
    session.run("status", code=1, AWS_ENDPOINT_URL=PROXY, NO_PROXY="127.0.0.1", **aws)


def test_a_signed_url_loses_its_query_in_every_answer(session: Session) -> None:
    urls = [f"{start}{SIGNED}" for start in (
        "https://127.0.0.1/dog.jpg?", f"https://user:{PLANTED}password@127.0.0.1/dog.jpg?", "http://example.com/d.jpg?",
        f"https://user:{PLANTED}@127.0.0.1:99999/?", f"https://[::1/{PLANTED}?", "https://93.184.215.14/dog.jpg?",
    )]  # fmt: skip
    shown = session.run("predict", *urls, "--csv", "answers.csv", code=1, HTTPS_PROXY=PROXY, NO_PROXY="")
    assert "https://127.0.0.1/dog.jpg\n" in shown and "cannot be fetched" in shown
    session.run("--json", "predict", *urls, code=1, HTTPS_PROXY=PROXY, NO_PROXY="")
    assert PLANTED not in (session.folder / "answers.csv").read_text()


def test_nothing_that_was_said_holds_a_secret(session: Session) -> None:
    """Last in this file: all outputs of the tests above."""
    assert len(session.said) > 40
    for arguments, output in session.said:
        assert PLANTED not in output, arguments


# ---- the parts


class Site(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        if self.path.startswith("/to"):
            self.send_response(302)
            self.send_header("Location", f"/missing.jpg?{SIGNED}")
            self.end_headers()
        elif self.path.startswith("/dog"):
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"\xff\xd8\xff")
        else:
            self.send_error(404, f"no such thing: {self.path}")

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture(scope="module")
def site() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Site)
    Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_a_download_with_a_signed_url_works_and_its_errors_do_not_repeat_it(
    site: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")

    def anywhere(url: str) -> None:
        """In place of check_address, which lets nobody ask this machine."""

    assert download(f"{site}/dog.jpg?{SIGNED}", anywhere) == b"\xff\xd8\xff"
    closed = "http://127.0.0.1:9"
    for url in (
        f"{site}/missing.jpg?{SIGNED}",
        f"{site}/to?{SIGNED}",
        f"{closed}/x?{SIGNED}",
        f"nonsense://x?{SIGNED}",
    ):
        with pytest.raises(DogbreedError, match="cannot be fetched") as caught:
            download(url, anywhere)
        assert PLANTED not in str(caught.value)
    [picture] = open_source(f"https://user:{PLANTED}@example.com:8443/a/dog.jpg?{SIGNED}")
    assert picture.name == "https://example.com:8443/a/dog.jpg"


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://example.com/dog.jpg", "https://example.com/dog.jpg"),
        ("https://example.com:8443/a/b.jpg?x=1#y", "https://example.com:8443/a/b.jpg"),
        ("https://u:p@w@example.com/@2x.png?x", "https://example.com/@2x.png"),
        ("https://[2606:4700::1111]/d.jpg", "https://[2606:4700::1111]/d.jpg"),
        ("https://user:secret/more@host/x", "https://***"),
        ("https://[::1/secret", "https://***"),
        ("https:///secret.jpg?x", "https:///secret.jpg"),
    ],
)
def test_what_is_shown_of_a_url(url: str, shown: str) -> None:
    assert hide_url(url) == shown


def test_what_is_shown_of_a_sentence() -> None:
    said = 'Failed to connect to proxy URL: "http://user:p@w@proxy:1": see #3, or why? Max retries with url: /a?b=c (x)'
    assert (
        hide_urls(said)
        == 'Failed to connect to proxy URL: "http://proxy:1": see #3, or why? Max retries with url: /a (x)'
    )


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        (f"Max retries exceeded with url: /a.jpg?{SIGNED} (x)", "Max retries exceeded with url: /a.jpg (x)"),
        (f"'https://b.s3.amazonaws.com/a.jpg?{SIGNED}' is gone", "'https://b.s3.amazonaws.com/a.jpg is gone"),
        (f"at b.s3.amazonaws.com/a.jpg?{SIGNED}", "at b.s3.amazonaws.com/a.jpg"),
        (f"key a.jpg?{SIGNED}", "key a.jpg"),
        (f"url: /?{PLANTED}token", "url: /"),
        (f"https://host/a#{PLANTED}fragment, https://host?{PLANTED}b", "https://host/a https://host"),
    ],
)
def test_a_query_is_shown_in_no_sentence(said: str, shown: str) -> None:
    assert hide_urls(said) == shown


@pytest.mark.parametrize(
    "said",
    [
        "no weights IMAGENET (did you mean IMAGENET1K_V1?): use one of DEFAULT, IMAGENET1K_V1",
        "(did you mean /opt/weights.pth?): use it, or https://host/weights.pth",
        "is it this one?, or that?; why?! C#/F#: n02085620#7.jpg, data/dog#7.jpg, issue#3?",
        "is a file missing?No such file: a*b?.jpg",
    ],
)
def test_an_ordinary_sentence_is_shown_as_it_is(said: str) -> None:
    assert hide_urls(said) == said


def test_what_is_ours_in_a_models_environment_is_shown() -> None:
    for container in ("pytorch", "ray"):
        ours = environment(combine([("flags", {"deploy": {"container": container}})]))
        hidden = {name for name, value in hide_values(ours).items() if value != ours[name]}
        assert hidden <= {"PYTHONPATH"}, "a name that people give, too"


def test_requests_keep_their_names_and_our_own_variables() -> None:
    ours = {"SAGEMAKER_PROGRAM": "serve.py"}
    request = {"A": 1, "Environment": {"T": "s"}, "Containers": [{"Environment": {**ours, "T": "s"}}], "B": ["x"]}
    masked = {"A": 1, "Environment": {"T": "***"}, "Containers": [{"Environment": {**ours, "T": "***"}}], "B": ["x"]}
    assert hide_secrets(request) == masked
    assert request["Environment"] == {"T": "s"}, "what is sent is another matter"


def test_hidden_files_never_travel_with_the_code(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text("pass")
    (tmp_path / ".env").write_text(f"A={PLANTED}")
    (tmp_path / ".aws").mkdir()
    (tmp_path / ".aws" / "credentials").write_text(PLANTED)
    packed = gzip.decompress(pack(tmp_path))
    assert b"train.py" in packed and PLANTED.encode() not in packed
