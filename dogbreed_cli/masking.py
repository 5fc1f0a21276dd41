"""What is never shown: the values of environment variables, and of a URL its user, password and query."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

MASK = "***"
# A key of the config whose values may be secrets (HF_TOKEN, say).
SECRET_KEY = ("train", "environment")
# Our own in a model's Environment: what they say is no secret.
OPEN_VARIABLES = {
    "SAGEMAKER_PROGRAM",
    "SAGEMAKER_SUBMIT_DIRECTORY",
    "SAGEMAKER_CONTAINER_LOG_LEVEL",
    "SAGEMAKER_MODEL_SERVER_WORKERS",
    "SM_RAYSERVE_APP",
}


def is_secret(path: Sequence[str]) -> bool:
    """Whether a value at this path of the config may be a secret."""
    return tuple(path[:2]) == SECRET_KEY


def hide_secrets(request: Any) -> Any:
    """A request as it may be shown: the values in every `Environment` masked, their names kept."""
    if isinstance(request, Mapping):
        return {key: hide_values(value) if key == "Environment" else hide_secrets(value)
                for key, value in request.items()}  # fmt: skip
    if isinstance(request, (list, tuple)):
        return [hide_secrets(item) for item in request]
    return request


def hide_values(environment: Mapping[str, str]) -> dict[str, str]:
    return {name: value if name in OPEN_VARIABLES else MASK for name, value in environment.items()}


def hide_url(url: str) -> str:
    """A URL without user, password, query and fragment: any of them may let someone in."""
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:  # where its host ends is anybody's guess
        return url.partition("://")[0] + "://" + MASK
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def hide_source(source: str) -> str:
    """What was given to be read: a URL as hide_url has it, a path as it is."""
    return hide_url(source) if "://" in source else source


def hide_urls(text: str) -> str:
    """The same for URLs, for the paths of URLs and for whatever has a query like theirs, within somebody's sentence."""
    text = re.sub(r"(?<=://)[^\s/?#]*@", "", text)
    text = re.sub(r"(://[^\s?#]*)[?#]\S+", r"\1", text)
    # urllib3 leaves the host out ("url: /a?b=c"), others the scheme. A question mark that ends a word is a question.
    text = re.sub(r"(/[^\s?#]*)\?[\w%&=]\S*", r"\1", text)
    return re.sub(r"(?<=[\w/%.=&~-])\?[^\s?=]+=\S*", "", text)
