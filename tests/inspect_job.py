"""Reads what a training job left, as its users do: tensors by smdebug, answers by AWS's inference toolkit.

    python inspect_job.py BASE IMAGES

Run by test_entrypoints_job.py; prints one JSON document as its last line.
"""
# ruff: noqa: E402  what is imported depends on what was put into the environment and the path before

import csv
import io
import json
import logging
import os
import pathlib
import sys

import torch
from PIL import Image

base, images = map(pathlib.Path, sys.argv[1:3])
state = torch.load(base / "model/model.pt", weights_only=True)
found = {"tensors": all(isinstance(t, torch.Tensor) and t.is_contiguous() for t in state.values()), "n": len(state)}

os.environ["SMDEBUG_LOG_LEVEL"] = "error"
from smdebug.pytorch import modes
from smdebug.trials import create_trial

trial = create_trial(str(base / "output/tensors"))
loss = trial.tensor("CrossEntropyLoss_output_0")
for name, mode in (("TRAIN", modes.TRAIN), ("EVAL", modes.EVAL)):
    found[name] = [float(loss.value(step, mode=mode)) for step in loss.steps(mode=mode)]
found["names"] = sorted(trial.tensor_names())

logging.disable(logging.CRITICAL)
sys.path.insert(0, str(base / "model/code"))
os.environ["SAGEMAKER_PROGRAM"] = "serve.py"
from sagemaker_pytorch_serving_container.handler_service import HandlerService


class Context:
    model_name = "model"
    status, answer_type = 200, None

    def __init__(self):
        self.system_properties, self.headers = {"model_dir": str(base / "model")}, {}

    def get_request_properties(self):
        return self.headers

    @property
    def request_processor(self):
        return [self]

    def set_response_status(self, code, phrase):
        self.status = code

    def set_response_content_type(self, request, kind):
        self.answer_type = kind


context, service = Context(), HandlerService()
service.initialize(context)
import model
import serve

found["served_from"] = [str(pathlib.Path(m.__file__).parent.resolve()) for m in (model, serve)]
network = model.load_model(base / "model")[0]
modules = list(network.modules())
found["hooks"] = sum(len(m._forward_hooks) + len(m._forward_pre_hooks) + len(m._backward_hooks) for m in modules)
found["training"] = any(m.training for m in modules)


def ask(body, kind, **headers):
    context.status, context.headers = 200, {"Content-Type": kind, **headers}
    answer = service.handle([{"body": bytearray(body)}], context)[0]
    if context.status == 200:
        return json.loads(answer)["predictions"], context.answer_type
    return context.status, answer.splitlines()[0]


with (base / "output/data/predictions.csv").open(newline="") as file:
    rows = list(csv.DictReader(file))
found["rows"] = [[row, ask((images / "test" / row["file"]).read_bytes(), "image/jpeg")[0]] for row in rows]
jpeg = (images / "test" / found["rows"][0][0]["file"]).read_bytes()
top_k = "X-Amzn-SageMaker-Custom-Attributes"


def encoded(image, kind, **options):
    image.save(file := io.BytesIO(), kind, **options)
    return file.getvalue()


picture = Image.open(io.BytesIO(jpeg))
found["asked"] = {
    "webp": ask(encoded(picture, "webp", lossless=True), "image/webp"),
    "png": ask(encoded(picture, "png"), "application/x-image; charset=utf-8"),
    "top 2": ask(jpeg, "image/jpeg", **{top_k: "a=b, top_k=2"}),
    "top again": ask(jpeg, "image/jpeg", **{top_k.lower(): "top_k=1"}),
    "top 99": ask(jpeg, "image/jpeg", **{top_k: "top_k=99"}),
    "top zero": ask(jpeg, "image/jpeg", **{top_k: "top_k=0"}),
    "text": ask(b"a dog", "text/plain"),
    "no image": ask(b"a dog", "image/jpeg"),
    "nothing": ask(b"", "image/jpeg"),
    "truncated": ask(jpeg[: len(jpeg) // 2], "image/jpeg"),
    "accept all": ask(jpeg, "image/jpeg", Accept="text/html, */*;q=0.8"),
    "accept html": ask(jpeg, "image/jpeg", Accept="text/html"),
}
found["decoded"] = {}
for path in sorted((images / "odd").iterdir()):
    image = model.decode_image(path)
    channels, height, width = image.shape
    corners = [image[:, y, x].tolist() for y, x in ((2, 2), (height - 3, width - 3))]
    found["decoded"][path.name] = [channels, [width, height], *corners]
print(json.dumps(found))
