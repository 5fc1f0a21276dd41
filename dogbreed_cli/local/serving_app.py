"""The server inside a local endpoint: AWS's PyTorch inference toolkit behind /ping and /invocations.

    <image>/bin/python serving_app.py LISTENING_FD MODEL_DIR

Runs in the container image, so it imports nothing of dogbreed_cli. The toolkit's own HandlerService loads code/ and
calls its functions, for several requests at a time; this file only gives it the context that TorchServe would.
"""

import socket
import sys
import threading

import uvicorn
from sagemaker_pytorch_serving_container.handler_service import HandlerService
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response
from starlette.routing import Route

# InvokeEndpoint refuses more; who asks this port directly is told so, too.
MOST_BYTES = 6_291_456


class Context(threading.local):
    """What the toolkit asks of TorchServe's context. The toolkit has one for its life; here each thread has its own."""

    model_name = "model"

    def __init__(self, model_dir):
        self.system_properties = {"model_dir": model_dir, "gpu_id": None}
        self.request_processor = [self]
        self.receive({})

    def receive(self, headers):
        # Spelt as the toolkit looks them up ("Content-Type", "Accept"); starlette has them in lower case.
        self.headers = {name.title(): value for name, value in headers.items()}
        self.status, self.content_type = 200, "text/plain"

    def get_request_properties(self):
        return self.headers

    def get_request_header(self, index, key):
        """For the script: the toolkit hands the context to its functions that take one argument more."""
        return self.headers.get(key.title())

    def set_response_status(self, code=200, phrase="", index=0):
        self.status = code

    def set_response_content_type(self, index, value):
        self.content_type = value


def create_app(model_dir):
    sys.path.insert(0, f"{model_dir}/code")
    context, service = Context(model_dir), HandlerService()
    service.initialize(context)

    def handle(body, headers):
        context.receive(headers)
        answer = service.handle([{"body": body}], context)
        return Response(answer[0], status_code=context.status, media_type=context.content_type)

    async def ping(request):
        return Response(status_code=200)

    async def invocations(request):
        body = await read(request)
        if len(body) > MOST_BYTES:
            return Response(f"the request has more than {MOST_BYTES} bytes", status_code=413, media_type="text/plain")
        return await run_in_threadpool(handle, body, dict(request.headers))

    return Starlette(routes=[Route("/ping", ping), Route("/invocations", invocations, methods=["POST"])])


async def read(request):
    """The body. Of one that is too long it reads all, since a client sends all before it listens, and keeps a part."""
    body = bytearray()
    async for part in request.stream():
        if len(body) <= MOST_BYTES:
            body += part
    return body


if __name__ == "__main__":
    # The model is loaded, compiled and warm before the socket is answered, so /ping is honest.
    config = uvicorn.Config(create_app(sys.argv[2]), log_level="warning")
    # As a socket: of a mere descriptor uvicorn thinks that it is a Unix socket's, and small answers wait (TCP_NODELAY).
    uvicorn.Server(config).run(sockets=[socket.socket(fileno=int(sys.argv[1]))])
