"""What most endpoints run, for serving.py to compare with: stands as code/serve.py beside the same model.

The network as it was trained, in float32, eager, one request at a time with every core: under the same toolkit and
server, with the same decoder and answer as ours.
"""

import json
import threading

import torch
from model import decode_image, load_model, normalise, plain_view

TURN = threading.Lock()  # without it, eight requests at once would fight for the cores


def model_fn(model_dir):
    return load_model(model_dir)


def input_fn(body, content_type):
    return decode_image(bytes(body))


@torch.inference_mode()
def predict_fn(image, model):
    network, description = model
    with TURN:
        batch = normalise(plain_view(image, description["image_size"])[None], **description["normalisation"])
        probabilities = network(batch)[0].softmax(0)
    best = probabilities.argsort(descending=True)[:5].tolist()
    return [{"label": description["classes"][i], "probability": probabilities[i].item()} for i in best]


def output_fn(predictions, accept):
    return json.dumps({"predictions": predictions}), "application/json"
