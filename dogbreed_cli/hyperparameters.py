"""The hyperparameters of entrypoints/train.py: of what kind they are, and how requests carry them."""

import json
from collections.abc import Mapping
from typing import Any

# Those of entrypoints/train.py, as they may be tuned.
HYPERPARAMETERS: dict[str, type] = {
    "batch-size": int,
    "lr": float,
    "epochs": int,
    "backbone": str,
    "weights": str,
    "data-fraction": float,
    "seed": int,
    "optimizer": str,
    "weight-decay": float,
    "image-size": int,
    "workers": int,
    "patience": int,
    "class-weights": str,
    "label-smoothing": float,
    "unfreeze": str,
    "views": int,
    "precision": str,
}


def say_epochs(epochs: int) -> str:
    return "1 epoch" if epochs == 1 else f"{epochs} epochs"


def encode(hyperparameters: Mapping[str, Any]) -> dict[str, str]:
    """As the training toolkit reads them: each value a JSON document in a string."""
    return {name: json.dumps(value) for name, value in hyperparameters.items()}


def decode(hyperparameters: Mapping[str, str]) -> dict[str, Any]:
    """The opposite of `encode`; a value that is no JSON (a tuned category of others' making) stays a string."""
    decoded: dict[str, Any] = {}
    for name, text in hyperparameters.items():
        try:
            decoded[name] = json.loads(text)
        except json.JSONDecodeError:
            decoded[name] = text
    return decoded
