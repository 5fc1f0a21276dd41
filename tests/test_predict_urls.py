"""The URLs that `predict` fetches: https, public addresses only, also after a redirect, and never without an end."""

from __future__ import annotations

import datetime
import io
import ipaddress
import ssl
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from dogbreed_cli import pictures
from dogbreed_cli.errors import DogbreedError, UsageError
from dogbreed_cli.pictures import check_address, download, open_source, sniff


def draw(form: str) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (16, 16), 200).save(out, form)
    return out.getvalue()


@pytest.mark.parametrize(
    "url",
    [
        "http://example.com/dog.jpg",
        "ftp://example.com/dog.jpg",
        "file:///etc/passwd",
        "https:///dog.jpg",
        "https://localhost/dog.jpg",
        "https://127.0.0.1/dog.jpg",
        "https://127.1/dog.jpg",
        "https://2130706433/dog.jpg",
        "https://0.0.0.0/dog.jpg",
        "https://user:password@127.0.0.1:8443/dog.jpg",
        "https://10.0.0.1/dog.jpg",
        "https://172.16.0.1/dog.jpg",
        "https://192.168.1.1/dog.jpg",
        "https://169.254.169.254/latest/meta-data/",
        "https://100.64.0.1/dog.jpg",
        "https://224.0.0.1/dog.jpg",
        "https://[::1]/dog.jpg",
        "https://[::ffff:127.0.0.1]/dog.jpg",
        "https://[64:ff9b::a00:1]/dog.jpg",
        "https://[fe80::1]/dog.jpg",
        "https://[fd00::1]/dog.jpg",
        "https://127.0.0.1:99999/dog.jpg",
        "https://[::1/dog.jpg",
        "https://" + "a" * 70 + ".com/dog.jpg",
        "https://a..b/dog.jpg",
    ],
)
def test_addresses_of_this_machine_and_its_network_are_refused(url: str) -> None:
    with pytest.raises(UsageError):
        check_address(url)


def test_public_addresses_are_allowed() -> None:
    check_address("https://93.184.215.14/dog.jpg")
    check_address("https://[2606:4700:4700::1111]:8443/dog.jpg")


def test_a_name_that_nobody_has() -> None:
    with pytest.raises(DogbreedError, match="cannot be resolved"):
        check_address("https://nobody.invalid/dog.jpg")


def test_the_url_of_a_source_is_checked() -> None:
    [picture] = open_source("http://example.com/dog.jpg")
    with pytest.raises(UsageError, match="only https"):
        picture.read()


class Site(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        match self.path.strip("/").partition("/"):
            case ("to", _, target):
                self.send_response(302)
                self.send_header("Location", target)
                self.end_headers()
            case ("dog.png", _, _):
                self.answer(draw("PNG"))
            case ("endless", _, _):
                self.send_response(200)
                self.end_headers()
                while True:
                    self.wfile.write(bytes(2**20))
            case ("cut", _, _):
                self.send_response(200)
                self.send_header("Content-Length", "1000")
                self.end_headers()
                self.wfile.write(b"short")
            case _:
                self.send_error(404)

    def answer(self, data: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: Any) -> None:
        pass


class QuietServer(ThreadingHTTPServer):
    def handle_error(self, *_: Any) -> None:  # the client that hangs up on /endless
        pass


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for 127.0.0.1 and its key, in one file."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.datetime.now(datetime.UTC)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), 1, now, now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), True)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "both.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.write_bytes(made.public_bytes(serialization.Encoding.PEM) + private)
    return path


@pytest.fixture
def site(certificate: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The URL of an https server that requests trusts."""
    server = QuietServer(("127.0.0.1", 0), Site)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    yield f"https://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def fetch(site: str, path: str) -> bytes:
    """As `predict` does it, but for the one server on this machine that stands for the internet."""
    return download(f"{site}/{path}", lambda url: None if url.startswith(f"{site}/") else check_address(url))


def test_a_picture_is_fetched(site: str) -> None:
    assert sniff(fetch(site, "dog.png")) == "image/png"
    assert sniff(fetch(site, "to//dog.png")) == "image/png"
    assert sniff(fetch(site, f"to/{site}/dog.png")) == "image/png"


@pytest.mark.parametrize(
    "target",
    ["http://example.com/", "https://127.0.0.1:1/", "https://169.254.169.254/latest/meta-data/", "file:///etc"],
)
def test_a_redirect_cannot_lead_inside(site: str, target: str) -> None:
    with pytest.raises(UsageError):
        fetch(site, f"to/{target}")


def test_downloads_have_an_end(site: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DogbreedError, match="larger than 64 MB"):
        fetch(site, "endless")
    monkeypatch.setattr(pictures, "DOWNLOAD_SECONDS", 0)
    with pytest.raises(DogbreedError, match="not there after"):
        fetch(site, "endless")
    loop = site
    for _ in range(7):
        loop = f"{site}/to/{loop}"
    with pytest.raises(DogbreedError, match="more than 5 redirects"):
        fetch(site, loop.removeprefix(f"{site}/"))


def test_what_goes_wrong_on_the_way_is_an_error_of_ours(site: str) -> None:
    for path in ("missing", "cut"):
        with pytest.raises(DogbreedError, match="cannot be fetched"):
            fetch(site, path)
