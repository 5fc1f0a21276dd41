"""For the tests of errors and retries: an AWS that answers every request with the same error, and counts them."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any


@dataclass
class FailingAws:
    """How it answers, and how often each operation was asked for."""

    status: int = 503
    code: str = "ServiceUnavailable"
    url: str = ""
    asked: Counter[str] = field(default_factory=Counter)


@contextmanager
def failing_aws() -> Iterator[FailingAws]:
    aws = FailingAws()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            operation = self.headers.get("X-Amz-Target", f"{self.command} {self.path.split('?')[0]}")
            aws.asked[operation.rpartition(".")[2]] += 1
            said = json.dumps({"__type": aws.code, "message": "Rate exceeded"}).encode()
            body = b"" if self.command == "HEAD" else said
            self.send_response(aws.status)
            self.send_header("x-amzn-RequestId", "id-7")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST = do_PUT = do_HEAD = do_DELETE = answer

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True  # a client keeps its connections
    aws.url = f"http://127.0.0.1:{server.server_port}"
    Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield aws
    finally:
        server.shutdown()
        server.server_close()
