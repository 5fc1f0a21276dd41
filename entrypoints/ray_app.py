"""serve.py under Ray Serve, for AWS's Ray Serve image, which starts what SM_RAYSERVE_APP=ray_app:app names.

That image answers /ping and /invocations on port 8080 and hands the body on to this, with its headers Content-Type and
Accept; the others, and so top_k, only in versions after v1.1. Its /ping is Ray's /-/healthz, which is green before the
model is loaded: a request that comes early waits. By hand, with the unpacked archive in DIR:

    cd DIR/code && serve run ray_app:app       # http://127.0.0.1:8000/

https://github.com/aws/deep-learning-containers/tree/main/scripts/docker/ray
"""

import os
from pathlib import Path

import serve
import torch
from ray import serve as ray_serve
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response


# Ray shows a replica as many GPUs as it asks for.
@ray_serve.deployment(ray_actor_options={"num_gpus": int(torch.cuda.is_available())}, max_ongoing_requests=64)
class Endpoint:
    def __init__(self):
        torch.set_num_threads(len(os.sched_getaffinity(0)))  # Ray leaves it one
        self.model = serve.model_fn(Path(__file__).parents[1])

    async def __call__(self, request):
        body, headers = await request.body(), request.headers
        attributes = headers.get("x-amzn-sagemaker-custom-attributes")
        status, answer, kind = await run_in_threadpool(
            serve.respond, self.model, body, headers.get("content-type"), headers.get("accept"), attributes
        )
        return Response(answer, status_code=status, media_type=kind)


app = Endpoint.bind()
