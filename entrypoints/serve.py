"""What answers requests: model_fn and transform_fn for AWS's PyTorch inference toolkit, `respond` for any other server.

Lies in model.tar.gz as code/serve.py beside what it imports. By hand, with the unpacked archive in DIR:

    cd DIR/code && python -c "import serve, sys; m = serve.model_fn('..'); \\
        print(serve.respond(m, open(sys.argv[1], 'rb').read(), 'image/jpeg'))" dog.jpg

Request: an image (image/jpeg, image/png, image/webp, application/x-image), or application/json: a list of images in
base64, bare or as {"images": [...]}.
Answer: the best five classes first, as JSON, {"predictions": [{"label": ..., "probability": ...}, ...]}, of a list
{"answers": [{"predictions": ...}, ...]}; or with Accept: text/csv as lines image,label,probability. The header
X-Amzn-SageMaker-Custom-Attributes: top_k=3 asks for another number. A refusal is one line of text that says why.
"""

import base64
import csv
import io
import json
import re
import threading
import traceback
import warnings
from http import HTTPStatus

import torch
from batches import MOST, Batches
from engine import candidates, name_of, native_half
from model import decode_image, load_model, plain_view
from PIL import Image

try:
    from sagemaker_inference import content_types

    content_types.UTF8_TYPES = ()  # the toolkit answers JSON that is not UTF-8 with 500 and a traceback; see read_json
except ImportError:
    pass

CONTENT_TYPES = ("image/jpeg", "image/png", "image/webp", "application/x-image", "application/json")
TOP_K = 5
MOST_BYTES = 6_291_456  # InvokeEndpoint's own limit
MOST_IMAGES = 64  # of a request
MOST_PIXELS = 100_000_000  # of an image: 300 MB, once decoded
# PIL warns from this number on, and refuses twice as many.
Image.MAX_IMAGE_PIXELS = MOST_PIXELS // 2
warnings.simplefilter("ignore", Image.DecompressionBombWarning)


class Refusal(Exception):
    """What the client gets instead of an answer: an HTTP status and one line."""

    def __init__(self, status, reason):
        super().__init__(reason)
        self.status = status


class Classifier:
    """A trained model, ready to answer: loaded, folded, compiled for this machine and warm."""

    def __init__(self, model_dir):
        threads = torch.get_num_threads()
        self.decoding = threading.Semaphore(threads)  # bounds memory
        self.batches = Batches(lambda: self.load(model_dir))
        say(f"serving with {self.batches.engine.name}, {threads} threads")

    def load(self, model_dir):
        """The engine, and images to warm it up with."""
        network, description = load_model(model_dir)
        self.classes, self.size = description["classes"], description["image_size"]
        black = torch.zeros(MOST, 3, self.size, self.size, dtype=torch.uint8)
        # Half precision only of the kind that the model was evaluated in.
        half = native_half()
        half = half is not None and description.get("precision") == name_of(half)
        engine = next(candidates(network, black, **description["normalisation"], half=half, openvino=True, say=say))
        if not engine.is_torch:
            torch.set_num_threads(1)  # in this thread: what torch still does would keep a pool waiting, actively
        return engine, black

    def view(self, data):
        """The bytes of an image as the network sees it, like in training. Raises ValueError."""
        with self.decoding:
            return plain_view(decode_image(data), self.size)

    def classify(self, views):
        """All classes of each view, the most probable first: [[(label, probability), ...], ...]."""
        found = self.batches.run(views).softmax(1).sort(dim=1, descending=True, stable=True)
        return [
            [(self.classes[i], p) for i, p in zip(order, values, strict=True)]
            for order, values in zip(found.indices.tolist(), found.values.tolist(), strict=True)
        ]


def model_fn(model_dir):
    return Classifier(model_dir)


def transform_fn(model, body, content_type, accept, context):
    """The toolkit passes the request's context to a handler that takes one more argument."""
    headers = context.request_processor[0].get_request_properties()
    attributes = {name.lower(): value for name, value in headers.items()}.get("x-amzn-sagemaker-custom-attributes")
    status, answer, kind = respond(model, body, content_type, accept, attributes)
    context.set_response_status(code=status, phrase=HTTPStatus(status).phrase)
    return answer, kind


def respond(model, body, content_type, accept="*/*", attributes=""):
    """(HTTP status, text, its content type), whatever comes: a client never sees a traceback."""
    try:
        top_k = read_top_k(attributes or "")
        write = choose_format(accept or "*/*")
        images, listed = read_body(body, content_type or "")
        with model.batches.expected():
            views = [
                see(model, data, f"image {n} of {len(images)}" if listed else "the request's body")
                for n, data in enumerate(images, 1)
            ]
        predictions = [found[:top_k] for found in model.classify(views)]
        return 200, *write(predictions, listed)
    except Refusal as refusal:
        return refusal.status, str(refusal), "text/plain"
    except Exception:
        traceback.print_exc()
        return 500, "the model failed; the endpoint's log says why", "text/plain"


def say(line):
    print(line, flush=True)


# ---- reading a request


def read_top_k(attributes):
    found = re.search(r"\btop_k\s*=\s*([^,;\s]*)", attributes)
    if not found:
        return TOP_K
    if not re.fullmatch(r"0*[1-9][0-9]{0,8}", found[1]):
        raise Refusal(400, f"top_k must be a whole number from 1 up, not {found[1][:50]!r}")
    return int(found[1])


def read_body(body, content_type):
    """([an image's bytes, ...], whether they came in a list)."""
    kind = content_type.split(";")[0].strip().lower()
    if kind not in CONTENT_TYPES:
        allowed = ", ".join(CONTENT_TYPES)
        raise Refusal(415, f"content type {content_type[:100]!r} is not supported: send {allowed}")
    if len(body) > MOST_BYTES:
        raise Refusal(413, f"the request has {len(body)} bytes, more than {MOST_BYTES}")
    return (read_json(body), True) if kind == "application/json" else ([bytes(body)], False)


def read_json(body):
    try:
        found = json.loads(bytes(body))
    except (ValueError, RecursionError) as error:
        raise Refusal(400, f"the request's body is not JSON: {error}") from error
    images = found.get("images") if isinstance(found, dict) else found
    if not isinstance(images, list) or not images or not all(isinstance(image, str) for image in images):
        raise Refusal(400, 'the request\'s body must be a list of images in base64, bare or as {"images": [...]}')
    if len(images) > MOST_IMAGES:
        raise Refusal(413, f"the request has {len(images)} images, more than {MOST_IMAGES}")
    return [read_base64(image, f"image {n} of {len(images)}") for n, image in enumerate(images, 1)]


def read_base64(text, what):
    try:
        return base64.b64decode(text, validate=True)
    except ValueError as error:
        raise Refusal(400, f"{what} is not base64: {error}") from error


def see(model, data, what):
    try:
        return model.view(data)
    except ValueError as error:
        raise Refusal(400, f"{what} is {error}") from error


# ---- writing an answer


def choose_format(accept):
    """The function that writes what the client accepts, the first of its list that there is."""
    for kind in accept.split(","):
        if found := WRITERS.get(kind.split(";")[0].strip().lower()):
            return found
    raise Refusal(406, f"cannot answer as {accept[:100]!r}: only application/json and text/csv")


def write_json(predictions, listed):
    answers = [{"predictions": [{"label": label, "probability": p} for label, p in best]} for best in predictions]
    return json.dumps({"answers": answers} if listed else answers[0]), "application/json"


def write_csv(predictions, listed):
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(["image", "label", "probability"])
    rows.writerows((n, label, p) for n, best in enumerate(predictions) for label, p in best)
    return text.getvalue(), "text/csv"


WRITERS = {
    "application/json": write_json,
    "application/*": write_json,
    "*/*": write_json,
    "text/csv": write_csv,
    "text/*": write_csv,
}
