"""The SageMaker of this machine over HTTP, for clients that nobody here wrote: `aws`, boto3, SageMaker's SDK, curl.

    server = Server(Home.find(), 8787)
    server.serve_forever()              # http://127.0.0.1:8787, until KeyboardInterrupt
    server.finish(seconds=1)

It is what `connect` gives in this process: http_routes.py finds the operation, wire.py answers it. Signatures are not
checked. Only this machine can reach it, and no web page: a request that a browser was led to send is refused.

(Not http.py: serving_app.py runs with this folder first on its path, where that would hide Python's own.)
"""

from __future__ import annotations

import re
import socketserver
import string
import sys
import threading
import time
import traceback
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import quote

from dogbreed_cli.local import services, wire
from dogbreed_cli.local.errors import AwsError
from dogbreed_cli.local.home import Home
from dogbreed_cli.local.http_body import RequestBody
from dogbreed_cli.local.http_routes import Routes, make_model, pick
from dogbreed_cli.local.wire_body import CHUNK, Response

HOST = "127.0.0.1"
# A page that has its name resolve to 127.0.0.1 (DNS rebinding) is betrayed by that name.
OWN_NAMES = re.compile(r"(127\.0\.0\.1|\[::1\]|([a-z0-9.-]+\.)?localhost)(:\d+)?", re.IGNORECASE)
SECONDS_OF_SILENCE = 120


class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True  # a port that was served from a moment ago
    daemon_threads = True  # connections that wait for a next request hold nothing up
    request_queue_size = 128

    def __init__(self, home: Home, port: int = 0, on_answer: Callable[[str], None] = lambda line: None):
        """Listens at once. `on_answer` gets `sagemaker:CreateTrainingJob 200`, from many threads."""
        home.create()
        self.services = services(home)
        self.routes = Routes(self.services)
        self.on_answer = on_answer
        self.answering = 0
        self.changed = threading.Condition()
        super().__init__((HOST, port), Handler)

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.server_address[1]}"

    @contextmanager
    def busy(self) -> Iterator[None]:
        with self.changed:
            self.answering += 1
        try:
            yield
        finally:
            with self.changed:
                self.answering -= 1
                self.changed.notify_all()

    def finish(self, seconds: float) -> None:
        """Take no new connection, and let the requests that are being answered come to their end."""
        self.server_close()
        end = time.monotonic() + seconds
        with self.changed:
            while self.answering and (left := end - time.monotonic()) > 0:
                self.changed.wait(left)

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exception(), (ConnectionError, TimeoutError)):  # who went away is not an error of ours
            traceback.print_exc()


class Handler(BaseHTTPRequestHandler):
    server: Server
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "dogbreed-local", ""
    timeout = SECONDS_OF_SILENCE
    disable_nagle_algorithm = True
    rbufsize = wbufsize = 1 << 16  # a picture in one read, an answer in one write

    def parse_request(self) -> bool:
        self.awaits_continue = False
        return super().parse_request()

    def handle_expect_100(self) -> bool:
        self.awaits_continue = True  # it is told to go on when its body is wanted
        return True

    def log_message(self, format: str, *args: Any) -> None:
        """Not the standard library's own lines."""

    def answer(self) -> None:
        with self.server.busy():
            body = self.open_body()
            if reason := self.refusal():
                body.drain()
                self.send_error(403, reason)  # and the connection ends
                self.server.on_answer(f"{self.command} {self.path!a} 403: {reason}")
                return
            operation = pick(make_model("json", "AWS", jsonVersion="1.1"), "this request")
            try:
                # Bytes that should have been escaped are, as S3 does for them.
                target = quote(self.path.encode("latin-1"), safe=string.punctuation)
                headers = {name.lower(): read_header(value) for name, value in self.headers.items()}
                call = self.server.routes.find(self.command, target, headers, body)
                operation = call.operation
                response = wire.respond(self.server.services, operation, call.url, headers, call.body)
            except (ConnectionError, TimeoutError):  # the client is gone: nobody to answer
                raise
            except Exception as error:
                if not isinstance(error, AwsError):
                    traceback.print_exc()
                    message = f"{type(error).__name__}: a bug of the local {operation.service_model.service_id}."
                    error = AwsError("InternalFailure", f"{message} Its traceback is where it is served.", 500)
                response = wire.serialize_error(operation, error, str(uuid.uuid4()))
            if not body.drain():
                self.close_connection = True
            self.send(response)
            self.server.on_answer(f"{operation.service_model.signing_name}:{operation.name} {response.status}")

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = do_PATCH = do_OPTIONS = answer

    def refusal(self) -> str:
        """Why this request must come from a browser that was led here, or from another machine; else nothing."""
        if not OWN_NAMES.fullmatch(self.headers.get("Host", "")):
            return "This server is 127.0.0.1 and no other Host"
        # An <img> of a page has no Origin; browsers say with each request what led to it, other clients never do.
        is_led = "Origin" in self.headers or self.headers.get("Sec-Fetch-Site", "none") not in ("none", "same-origin")
        return "No web page may ask this server" if is_led else ""

    def open_body(self) -> RequestBody:
        before = self.say_continue if self.awaits_continue else None
        if "chunked" in self.headers.get("Transfer-Encoding", "").lower():
            return RequestBody(self.rfile, None, before)
        length = self.headers.get("Content-Length", "0")
        if not re.fullmatch(r"\d{1,18}", length):
            raise ConnectionAbortedError(f"no length of a body: {length}")
        if before and not int(length):
            # botocore takes the status of an answer without it for that of the connection's next answer, too.
            before()
        return RequestBody(self.rfile, int(length), before)

    def say_continue(self) -> None:
        self.send_response_only(100)
        self.end_headers()
        self.wfile.flush()

    def send(self, response: Response) -> None:
        body = response.body
        has_body = self.command != "HEAD" and response.status not in (204, 304)
        headers = {name.lower(): (name, value) for name, value in response.headers.items()}
        if has_body and body.length is not None:
            headers["content-length"] = ("Content-Length", str(body.length))
        elif self.command == "HEAD":
            headers.setdefault("content-length", ("Content-Length", "0"))
        self.close_connection = self.close_connection or (has_body and body.length is None)
        if self.close_connection:
            headers["connection"] = ("Connection", "close")
        self.send_response(response.status)
        for name, value in headers.values():
            self.send_header(name, write_header(value))
        self.end_headers()
        sent = 0
        try:
            while has_body and (data := body.read(CHUNK)):
                self.wfile.write(data)
                sent += len(data)
        finally:
            body.close()
        if has_body and body.length not in (None, sent):
            self.close_connection = True  # a file was cut while it was read: let the client see it


def read_header(value: str) -> str:
    """http.server reads headers as Latin-1; S3's may be UTF-8."""
    return value.encode("latin-1").decode("utf-8", "surrogateescape")


def write_header(value: str) -> str:
    text = value.encode("utf-8", "surrogateescape").decode("latin-1")
    return re.sub(r"[\r\n\0]", " ", text)  # an object's metadata begins no header of its own
