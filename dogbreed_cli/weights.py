"""What model.weights names: nothing, a file or s3:// URI of a state_dict, or weights that torchvision can download."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

SUFFIXES = (".pt", ".pth", ".bin")


def kind_of(weights: str) -> Literal["none", "uri", "file", "name"]:
    if weights == "none":
        return "none"
    if weights.startswith("s3://"):
        return "uri"
    return "file" if "/" in weights or Path(weights).suffix.lower() in SUFFIXES else "name"
