"""What answers requests: model_fn, input_fn, predict_fn, output_fn for AWS's PyTorch inference toolkit.

Lies in model.tar.gz as code/serve.py beside model.py. By hand, with the unpacked archive in DIR:

    cd DIR/code && python -c "import serve, sys; m = serve.model_fn('..'); \\
        print(serve.predict_fn(serve.input_fn(open(sys.argv[1], 'rb').read(), 'image/jpeg'), m)[:5])" dog.jpg

Request: an image (image/jpeg, image/png, image/webp, application/x-image). Answer: JSON, the best five classes first,
{"predictions": [{"label": ..., "probability": ...}, ...]}; the header X-Amzn-SageMaker-Custom-Attributes: top_k=3
asks for another number.
"""

import json
import re

import torch
from model import decode_image, load_model, normalise, plain_view

try:
    from sagemaker_inference.errors import BaseInferenceToolkitError
except ImportError:  # another server, or none

    class BaseInferenceToolkitError(Exception):
        """An error with an HTTP status; any other exception reaches the client as 500."""

        def __init__(self, status_code, message, phrase):
            self.status_code, self.message, self.phrase = status_code, message, phrase
            super().__init__(status_code, message, phrase)


CONTENT_TYPES = ("image/jpeg", "image/png", "image/webp", "application/x-image")
TOP_K = 5


def model_fn(model_dir):
    network, description = load_model(model_dir)
    network.to("cuda" if torch.cuda.is_available() else "cpu")
    return network, description


def input_fn(body, content_type):
    kind = (content_type or "").split(";")[0].strip().lower()
    if kind not in CONTENT_TYPES:
        allowed = ", ".join(CONTENT_TYPES)
        raise BaseInferenceToolkitError(
            415, f"content type {content_type!r} is not supported: send {allowed}", "Unsupported Media Type"
        )
    try:
        return decode_image(bytes(body))
    except ValueError as error:
        raise BaseInferenceToolkitError(400, f"the request's body is {error}", "Bad Request") from error


@torch.inference_mode()
def predict_fn(image, model):
    """All classes, most probable first: [(label, probability), ...]."""
    network, description = model
    batch = plain_view(image, description["image_size"])[None].to(next(network.parameters()).device)
    probabilities = network(normalise(batch, **description["normalisation"]))[0].float().softmax(0).cpu()
    classes = description["classes"]
    order = probabilities.argsort(descending=True, stable=True)
    return [(classes[i], probabilities[i].item()) for i in order.tolist()]


def output_fn(predictions, accept, context=None):
    """The toolkit passes the request's context to a handler that takes one more argument."""
    kinds = [kind.split(";")[0].strip().lower() for kind in (accept or "*/*").split(",")]
    if not {"application/json", "application/*", "*/*"} & set(kinds):
        raise BaseInferenceToolkitError(406, f"cannot answer as {accept!r}: only application/json", "Not Acceptable")
    best = [{"label": label, "probability": p} for label, p in predictions[: requested_top_k(context)]]
    return json.dumps({"predictions": best}), "application/json"


def requested_top_k(context):
    processors = getattr(context, "request_processor", None)
    headers = processors[0].get_request_properties() if processors else {}
    attributes = {name.lower(): value for name, value in headers.items()}.get("x-amzn-sagemaker-custom-attributes", "")
    found = re.search(r"\btop_k\s*=\s*([^,;\s]*)", attributes or "")
    if not found:
        return TOP_K
    if not found[1].isdecimal() or int(found[1]) < 1:
        raise BaseInferenceToolkitError(400, f"top_k must be a whole number from 1 up, not {found[1]!r}", "Bad Request")
    return int(found[1])
